use proptest::prelude::*;

use super::*;
use crate::error::Problem;

fn parse(text: &str) -> Result<PublishRequest, PublishError> {
    text.parse()
}

/// What a request comes to, and what it is written as.
fn told(text: &str) -> (Vec<String>, String) {
    let request = parse(text).unwrap();
    let pair = |mapping: PortMapping| format!("{mapping}>{}", mapping.container);
    (request.mappings().map(pair).collect(), request.to_string())
}

#[test]
fn every_form_of_docker_is_understood() {
    for (text, mapping, canonical) in [
        ("8080:80", "*:8080/tcp>80", "8080:80/tcp"),
        ("8080:80/udp", "*:8080/udp>80", "8080:80/udp"),
        ("80", "*:0/tcp>80", ":80/tcp"),
        (":80", "*:0/tcp>80", ":80/tcp"),
        ("0:80", "*:0/tcp>80", ":80/tcp"),
        ("192.0.2.1:8080:80", "192.0.2.1:8080/tcp>80", "192.0.2.1:8080:80/tcp"),
        ("192.0.2.1::80/udp", "192.0.2.1:0/udp>80", "192.0.2.1::80/udp"),
        ("0.0.0.0:8080:80", "0.0.0.0:8080/tcp>80", "0.0.0.0:8080:80/tcp"),
        ("[::1]:8080:80", "[::1]:8080/tcp>80", "[::1]:8080:80/tcp"),
        ("[2001:db8::7]::80", "[2001:db8::7]:0/tcp>80", "[2001:db8::7]::80/tcp"),
        ("[::ffff:192.0.2.1]:1:2", "192.0.2.1:1/tcp>2", "192.0.2.1:1:2/tcp"),
        ("65535:65535", "*:65535/tcp>65535", "65535:65535/tcp"),
    ] {
        assert_eq!(told(text), (vec![mapping.to_owned()], canonical.to_owned()), "{text}");
    }
    let (ranges, canonical) = told("8000-8002:80-82/udp");
    assert_eq!(ranges, ["*:8000/udp>80", "*:8001/udp>81", "*:8002/udp>82"]);
    assert_eq!(canonical, "8000-8002:80-82/udp");
    let (one, canonical) = told("127.0.0.1:8000-8010:80");
    assert_eq!(
        (one.as_slice(), canonical.as_str()),
        (["127.0.0.1:0/tcp>80".to_owned()].as_slice(), "127.0.0.1:8000-8010:80/tcp")
    );
    assert_eq!(parse("8000-8010:80").unwrap().choices(), 8000..=8010);
    assert_eq!(parse(":80").unwrap().choices(), EPHEMERAL);
    assert_eq!(told("80-81").0, ["*:0/tcp>80", "*:0/tcp>81"]);
    assert_eq!(parse("1-65535:1-65535").unwrap().mappings().count(), 65_535);
}

#[test]
fn ports_that_follow_each_other_are_written_as_one_range() {
    let all = ["80:80", "81-89:81-89", "90:91", "91:92/udp", "[::1]:92:93", "65535:65535"];
    let ports: Vec<_> =
        all.iter().flat_map(|text| parse(text).unwrap().mappings().collect::<Vec<_>>()).collect();
    let written: Vec<_> = PublishRequest::of(&ports).iter().map(ToString::to_string).collect();
    let expected = ["80-89:80-89/tcp", "90:91/tcp", "91:92/udp", "[::1]:92:93/tcp", "65535:65535/tcp"];
    assert_eq!(written, expected);
}

#[test]
fn nonsense_is_refused_by_name() {
    for (text, named) in [
        ("", "'' is no port"),
        ("0", "'0' is no port"),
        ("80:0", "'0' is no port"),
        ("65536:80", "'65536' is no port"),
        ("80:65536", "'65536' is no port"),
        ("+80:80", "'+80' is no port"),
        (" 80:80", "' 80' is no port"),
        ("0-5:80-85", "'0' is no port"),
        ("80-:80", "'' is no port"),
        ("http:80", "'http' is no port"),
        ("90-80:90-80", "'90-80' ends before"),
        ("8000-8010:80-81", "11 ports of the host for 2 of the endpoint"),
        ("80:80/sctp", "the protocol 'sctp'"),
        ("80:80/TCP", "the protocol 'TCP'"),
        ("80:80/", "the protocol ''"),
        ("::80", "'' is no IP address"),
        ("localhost:80:80", "'localhost' is no IP address"),
        ("[::g]:80:80", "'::g' is no IP address"),
        ("[fe80::1]:80:80", "'fe80::1' is no IP address to publish on"),
        ("[ff02::1]:80:80", "'ff02::1' is no IP address to publish on"),
        ("224.0.0.1:80:80", "'224.0.0.1' is no IP address to publish on"),
        ("255.255.255.255:80:80", "'255.255.255.255' is no IP address"),
        ("[::1]80:80", "is no port to publish"),
        ("[::1]:80", "is no port to publish"),
        ("::1:80:80", "is no port to publish"),
        ("1:2:3:4", "is no port to publish"),
    ] {
        let problem = Problem::from(parse(text).unwrap_err());
        assert!(problem.message.contains(named), "{text}: {problem}");
        assert_eq!((problem.code.exit(), problem.remedy.is_some()), (2, true), "{text}");
    }
}

#[test]
fn ports_overlap_where_something_could_be_meant_for_both() {
    let one = |text: &str| parse(text).unwrap().mappings().next().unwrap();
    for (a, b, expected) in [
        ("80:1", "80:2", true),
        ("80:1", "81:1", false),
        ("80:1/tcp", "80:1/udp", false),
        ("80:1", "192.0.2.1:80:1", true),
        ("80:1", "[::1]:80:1", true),
        ("192.0.2.1:80:1", "192.0.2.2:80:1", false),
        ("0.0.0.0:80:1", "192.0.2.2:80:1", true),
        ("0.0.0.0:80:1", "[::]:80:1", false),
        ("[::]:80:1", "[::1]:80:1", true),
    ] {
        assert_eq!(one(a).overlaps(&one(b)), expected, "{a} {b}");
        assert_eq!(one(b).overlaps(&one(a)), expected, "{b} {a}");
    }
}

#[test]
fn a_place_is_of_the_family_of_what_it_leads_to() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let (four, six) = (ip("10.1.0.2"), ip("fd00::2"));
    let places = |text: &str| parse(text).unwrap().mappings().next().unwrap().places([four, six]);
    assert_eq!(places("80:80"), [(ip("0.0.0.0"), four), (ip("::"), six)]);
    assert_eq!(places("0.0.0.0:80:80"), [(ip("0.0.0.0"), four)]);
    assert_eq!(places("[::1]:80:80"), [(ip("::1"), six)]);
    assert_eq!(parse("[::1]:80:80").unwrap().mappings().next().unwrap().places([four]), []);
}

proptest! {
    #[test]
    fn no_text_is_a_panic_and_what_is_taken_reads_back(text in "[0-9:\\[\\]./tcpudsf-]{0,24}") {
        if let Ok(request) = parse(&text) {
            prop_assert_eq!(parse(&request.to_string()).unwrap(), request.clone());
            prop_assert_eq!(request.mappings().count(), request.count());
            let chosen: Vec<_> =
                request.mappings().map(|mapping| PortMapping { host: mapping.host.max(1), ..mapping }).collect();
            let again: Vec<_> = PublishRequest::of(&chosen).iter().flat_map(PublishRequest::mappings).collect();
            prop_assert_eq!(again, chosen);
        }
    }
}

#[test]
fn one_port_is_asked_for_without_text() {
    let one = |host, container| PublishRequest::one(None, host, container, Protocol::Udp);
    assert_eq!(one(Some(9000..=9001), 90), parse("9000-9001:90/udp").ok());
    assert_eq!(one(Some(9000..=9000), 90), parse("9000:90/udp").ok());
    assert_eq!(one(None, 90), parse(":90/udp").ok());
    let backwards = std::ops::RangeInclusive::new(9001, 9000);
    assert_eq!([one(None, 0), one(Some(0..=5), 90), one(Some(backwards), 90)], [None, None, None]);
}
