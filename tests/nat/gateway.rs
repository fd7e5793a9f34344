//! The first hop of a subnet: ARP and ND, echo, errors, suppression, and what is routed and what is not.

use crate::ends::{Container, Craft};
use crate::lab::{GATEWAY, GATEWAY6, GHOST, Kind, Lab, SERVERS, Setup, inside};
use crate::outcome::{Miss, OrBreaks, Outcome, hold};
use crate::packet::{Packet, TIME_EXCEEDED};
use etherparse::ArpOperation;
use harness::frame::{self, BROADCAST, Mac, Station, cookie};
use harness::netns::Namespace;
use harness::wait;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::time::{Duration, Instant};

const NEIGHBOR_ADVERTISEMENT: u8 = 136;

/// The next ICMPv6 message to this end that `pick` makes something of, given its source and its bytes.
pub(crate) fn awaits6<T>(
    craft: &Craft,
    what: &str,
    pick: impl Fn(Ipv6Addr, &[u8]) -> Option<T>,
) -> Outcome<T> {
    let deadline = Instant::now() + craft.patience;
    while let Some(bytes) = craft.raw.next_within(deadline.saturating_duration_since(Instant::now())) {
        if bytes.get(12..14) != Some(&[0x86, 0xdd]) || bytes.len() < 62 || bytes[20] != 58 {
            continue;
        }
        let source: [u8; 16] = bytes[22..38].try_into().expect("sixteen bytes");
        if let Some(found) = pick(source.into(), &bytes[54..]) {
            return Ok(found);
        }
    }
    Err(Miss::Breaks(format!("{what} did not come")))
}

/// Sender and target of an ARP message with this operation.
fn arp(frame: &[u8], operation: u8) -> Option<(Station, Station)> {
    if frame.len() < 42 || frame[12..14] != [0x08, 0x06] || frame[21] != operation {
        return None;
    }
    let station = |at: usize| {
        let mac: Mac = frame[at..at + 6].try_into().expect("six bytes");
        let ip: [u8; 4] = frame[at + 6..at + 10].try_into().expect("four bytes");
        Station { mac, ip: ip.into() }
    };
    Some((station(22), station(32)))
}

fn ask(craft: &Craft, sender: Ipv4Addr, target: Ipv4Addr) {
    let own = Station { mac: craft.macs.0, ip: sender };
    let wanted = Station { mac: [0; 6], ip: target };
    craft.raw.send(&frame::arp(own.mac, BROADCAST, ArpOperation::REQUEST, own, wanted));
}

/// A neighbour solicitation; from the unspecified address it is a probe for duplicates, without the own hardware address.
fn solicit(craft: &Craft, sender: Ipv6Addr, target: Ipv6Addr) {
    let [.., x, y, z] = target.octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(x), u16::from(y) << 8 | u16::from(z));
    let option = [&[1, 1][..], &craft.macs.0].concat();
    let option = if sender.is_unspecified() { &[][..] } else { &option };
    let body = [&target.octets()[..], option].concat();
    let to = ([0x33, 0x33, 0xff, x, y, z], group);
    craft.raw.send(&frame::icmp6((craft.macs.0, sender), to, 135, [0; 4], &body));
}

/// Everything that comes within `limit`.
fn frames_within(craft: &Craft, limit: Duration) -> Vec<Vec<u8>> {
    let deadline = Instant::now() + limit;
    let next = || craft.raw.next_within(deadline.saturating_duration_since(Instant::now()));
    std::iter::from_fn(next).collect()
}

/// Who answers a question for `target` within half a second.
fn answers(craft: &Craft, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<Mac> {
    craft.raw.drain();
    ask(craft, sender, target);
    let frames = frames_within(craft, Duration::from_millis(500));
    let replies = frames.iter().filter_map(|bytes| arp(bytes, 2));
    replies.filter(|(from, _)| from.ip == target).map(|(from, _)| from.mac).collect()
}

pub(crate) fn gateway_answers_arp_and_nd_with_its_own_mac(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    let craft = a.craft();
    let macs = answers(&craft, a.ip, GATEWAY);
    hold!(macs == [lab.gateway_mac()], "the gateway's address is answered for by {macs:02x?}");
    solicit(&craft, a.ip6, GATEWAY6);
    let told = awaits6(&craft, "a neighbour advertisement", |source, message| {
        (message[0] == NEIGHBOR_ADVERTISEMENT && source == GATEWAY6).then(|| message.to_vec())
    })?;
    hold!(told[8..24] == GATEWAY6.octets(), "it is about another address");
    hold!(told[26..32] == lab.gateway_mac(), "it tells {:02x?}", &told[26..32]);
    Ok(())
}

pub(crate) fn gateway_answers_pings_of_every_size_in_both_families(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    for size in [0, 56, 1472, 3000, 20_000] {
        hold!(a.pings(GATEWAY, size), "a ping of {size} bytes is not answered");
        hold!(a.pings(GATEWAY6, size), "a ping of {size} bytes over IPv6 is not answered");
    }
    Ok(())
}

pub(crate) fn gateway_tells_that_a_ttl_is_exceeded(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    let (craft, outside) = (a.silence(), lab.ghost());
    let probe = Packet { ttl: 1, ..Packet::udp(a.at(6000), SocketAddrV4::new(GHOST, 33_434), b"traceroute") };
    craft.send(&probe);
    let told = craft.wait_for("time exceeded", |packet| packet.kind().is_some())?;
    hold!(told.kind() == Some((TIME_EXCEEDED, 0)), "the answer is ICMP {:?}", told.kind());
    hold!(told.source == GATEWAY && told.destination == a.ip && told.checksum_is_right(), "{told:?}");
    hold!(told.embedded().and_then(|packet| packet.flow()) == probe.flow(), "it embeds something else");
    craft.send(&Packet {
        ttl: 2,
        ..Packet::udp(a.at(6000), SocketAddrV4::new(GHOST, 33_435), b"the next hop")
    });
    let before = outside.before(b"the next hop")?;
    hold!(before.iter().all(|packet| !packet.carries(b"traceroute")), "it left all the same");
    Ok(())
}

pub(crate) fn gateway_tells_that_a_hop_limit_is_exceeded(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    let craft = a.craft();
    let to = (lab.gateway_mac(), crate::lab::SERVER6);
    let mut probe = frame::udp6((craft.macs.0, a.ip6), to, (6000, 33_434), b"traceroute");
    probe[21] = 1;
    craft.raw.send(&probe);
    let source = awaits6(&craft, "time exceeded", |source, message| (message[0] == 3).then_some(source))?;
    hold!(source == GATEWAY6, "it came from {source}");
    Ok(())
}

pub(crate) fn gateway_answers_for_a_sibling_without_flooding(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    lab.weft()?;
    let (a, b) = (lab.container(11), lab.container(12));
    let (asks, asked) = (a.craft(), b.craft());
    asked.raw.drain();
    let macs = answers(&asks, a.ip, b.ip);
    hold!(macs == [b.ns.mac("eth0")], "the sibling is answered for by {macs:02x?}");
    let heard = frames_within(&asked, Duration::ZERO);
    hold!(heard.iter().all(|bytes| arp(bytes, 1).is_none()), "the question was flooded");
    Ok(())
}

pub(crate) fn gateway_answers_for_a_sibling_over_ipv6_and_not_for_a_probe(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    lab.weft()?;
    let (a, b) = (lab.container(11), lab.container(12));
    let (asks, asked) = (a.craft(), b.craft());
    let is_for = |target: Ipv6Addr, kind: u8, bytes: &Vec<u8>| {
        bytes.len() >= 78
            && bytes[12..14] == [0x86, 0xdd]
            && bytes[54] == kind
            && bytes[62..78] == target.octets()
    };
    asked.raw.drain();
    solicit(&asks, a.ip6, b.ip6);
    let answers = frames_within(&asks, Duration::from_millis(500));
    let answers: Vec<_> =
        answers.iter().filter(|bytes| is_for(b.ip6, NEIGHBOR_ADVERTISEMENT, bytes)).collect();
    hold!(answers.len() == 1, "{} answers came", answers.len());
    hold!(answers[0][80..86] == b.ns.mac("eth0"), "it tells {:02x?}", &answers[0][80..86]);
    let heard = frames_within(&asked, Duration::ZERO);
    hold!(!heard.iter().any(|bytes| is_for(b.ip6, 135, bytes)), "the question was flooded");
    solicit(&asks, Ipv6Addr::UNSPECIFIED, crate::lab::inside6(99));
    let answers = frames_within(&asks, Duration::from_millis(300));
    let lies = answers.iter().filter(|bytes| is_for(crate::lab::inside6(99), NEIGHBOR_ADVERTISEMENT, bytes));
    hold!(lies.count() == 0, "a free address is answered for");
    solicit(&asks, Ipv6Addr::UNSPECIFIED, b.ip6);
    let mac = b.ns.mac("eth0");
    let defended = wait::within(lab.patience(), || {
        let frames = frames_within(&asks, Duration::from_millis(50));
        frames.into_iter().find(|bytes| is_for(b.ip6, NEIGHBOR_ADVERTISEMENT, bytes))
    });
    let defended = defended.or_breaks("a taken address is not defended")?;
    hold!(defended[6..12] == mac, "a taken address is defended by {:02x?}", &defended[6..12]);
    Ok(())
}

pub(crate) fn gateway_leaves_probes_for_an_address_to_its_owner(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let (a, b) = (lab.container(11), lab.container(12));
    let (asks, owner) = (a.craft(), b.craft());
    let nobody = Ipv4Addr::UNSPECIFIED;
    let macs = answers(&asks, nobody, inside(99));
    hold!(macs.is_empty(), "a free address is answered for by {macs:02x?}");
    owner.raw.drain();
    let macs = answers(&asks, nobody, b.ip);
    hold!(macs == [b.ns.mac("eth0")], "a taken address is answered for by {macs:02x?}");
    let heard = frames_within(&owner, Duration::ZERO);
    let probed = heard.iter().any(|bytes| arp(bytes, 1).is_some_and(|(_, target)| target.ip == b.ip));
    hold!(probed, "the owner was not asked");
    let macs = answers(&asks, nobody, GATEWAY);
    hold!(macs == [lab.gateway_mac()], "the gateway's own address is answered for by {macs:02x?}");
    Ok(())
}

pub(crate) fn gateway_routes_between_subnets_of_a_network(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let daemon = lab.weft()?;
    let line = ["network", "create", "two", "--subnet", "10.81.0.0/24", "--subnet", "10.82.0.0/24"];
    daemon.weft(&line).must();
    let connect = |ip: &str| {
        let ns = Namespace::new("two");
        daemon.weft(&["network", "connect", "two", &ns.path(), "--name", ns.name(), "--ip", ip]).must();
        ns
    };
    let (a, b) = (connect("10.81.0.5"), connect("10.82.0.5"));
    for size in [56, 3000] {
        for (ns, to) in [(&a, "10.82.0.5"), (&b, "10.81.0.5")] {
            let to = to.parse().expect("an address");
            hold!(crate::sockets::pings(ns, to, size), "{to} does not answer {size} bytes");
        }
    }
    let shown = a.exec(&["ping", "-n", "-c", "1", "-W", "5", "10.82.0.5"]).must();
    hold!(shown.contains("ttl=63"), "it is not one hop away: {shown}");
    Ok(())
}

pub(crate) fn gateway_of_an_internal_network_is_not_there(kind: Kind) -> Outcome {
    let lab = Lab::with(kind, Setup { options: &["--internal"], ..Setup::default() })?;
    let (a, b) = (lab.container(11), lab.container(12));
    let (craft, outside) = (a.craft(), lab.ghost());
    hold!(a.pings(b.ip, 56), "siblings do not reach each other");
    let macs = answers(&craft, a.ip, GATEWAY);
    hold!(macs.is_empty(), "the gateway's address is answered for by {macs:02x?}");
    // Whoever knows the gateway's address all the same gets nowhere.
    let mark = cookie("escapes");
    craft.send(&Packet::udp(a.at(6000), SocketAddrV4::new(GHOST, 4000), &mark));
    craft.send(&Packet::echo(a.ip, GATEWAY, 5, &mark));
    let left = outside.within(Duration::from_millis(300), |packet| packet.carries(&mark));
    hold!(left.is_none(), "it reached the outside");
    let answer = craft.within(Duration::from_millis(300), |packet| packet.carries(&mark));
    hold!(answer.is_none(), "the gateway answered");
    Ok(())
}

pub(crate) fn gateway_keeps_networks_apart(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let daemon = lab.weft()?;
    daemon.weft(&["network", "create", "other", "--subnet", "10.89.0.0/24"]).must();
    let ns = Namespace::new("other");
    daemon.weft(&["network", "connect", "other", &ns.path(), "--name", "o", "--ip", "10.89.0.5"]).must();
    let a = lab.container(11);
    hold!(a.pings(SERVERS[0], 56), "the outside is not reached, so nothing follows");
    for (from, to) in [(&a.ns, "10.89.0.5"), (&ns, "10.88.0.11"), (&a.ns, "10.89.0.1"), (&ns, "10.88.0.1")] {
        hold!(
            crate::sockets::hears_nothing(from, to.parse().expect("an address")),
            "{to} answers the other network"
        );
    }
    Ok(())
}

pub(crate) fn gateway_follows_the_hosts_routes(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a: Container = lab.container(11);
    let beyond = Ipv4Addr::new(198, 18, 5, 5);
    lab.server().ip(&["address", "add", &format!("{beyond}/32"), "dev", "lo"]);
    hold!(a.pings(beyond, 56), "what is behind the default route is not reached");
    lab.host().ip(&["route", "add", "blackhole", "198.18.0.0/16"]);
    let gone =
        wait::within(lab.patience(), || crate::sockets::hears_nothing(&a.ns, beyond.into()).then_some(()));
    gone.or_breaks("a blackhole is not followed")?;
    lab.host().ip(&["route", "replace", "198.18.0.0/16", "via", &SERVERS[1].to_string()]);
    let back = wait::within(lab.patience(), || a.pings(beyond, 56).then_some(()));
    back.or_breaks("a new route is not followed")
}
