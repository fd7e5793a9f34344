//! Queries, errors in both directions, and what no error may do (RFC 5508; RFC 4787 REQ-10, RFC 5382 REQ-9, REQ-10).

use crate::ends::{Container, Craft};
use crate::lab::{GHOST, HOST, Kind, Lab, SERVERS, STRANGER, places};
use crate::outcome::{OrBreaks, Outcome, hold};
use crate::packet::{ECHO, ECHO_REPLY, Packet, TIME_EXCEEDED, UNREACHABLE};
use crate::sockets::{accept, connect_from, listen, talks};
use harness::frame::cookie;
use std::net::SocketAddrV4;

const PORT: u16 = 6000;
const PEER: SocketAddrV4 = SocketAddrV4::new(GHOST, 4000);

/// Both ends crafted, and one datagram that went out between them: as it left, and as it was seen.
struct Talk {
    lab: Lab,
    a: Container,
    inside: Craft,
    outside: Craft,
    left: Packet,
    seen: Packet,
}

impl Talk {
    fn new(kind: Kind) -> Outcome<Self> {
        let lab = Lab::new(kind)?;
        let a = lab.container(11);
        let (inside, outside) = (a.silence(), lab.ghost());
        let mark = cookie("opens");
        let left = Packet::udp(a.at(PORT), PEER, &mark);
        inside.send(&left);
        let seen = outside.awaits(&mark)?;
        Ok(Talk { lab, a, inside, outside, left, seen })
    }

    /// Where the container is seen from outside.
    fn mapping(&self) -> SocketAddrV4 {
        self.seen.flow().expect("UDP").0
    }

    /// Of what came in before a good datagram, the ICMP.
    fn errors_before_a_mark(&self) -> Outcome<Vec<Packet>> {
        let mark = cookie("mark");
        self.outside.send(&Packet::udp(PEER, self.mapping(), &mark));
        let before = self.inside.before(&mark)?;
        Ok(before.into_iter().filter(|packet| packet.kind().is_some()).collect())
    }

    /// The error came in, about what the container sent, as the container sent it.
    fn is_told(&self, error: &Packet) -> Outcome<Packet> {
        let told = self.inside.wait_for("the error", |packet| packet.kind() == error.kind())?;
        hold!(
            told.destination == self.a.ip && told.source == error.source,
            "from {} to {}",
            told.source,
            told.destination
        );
        hold!(told.checksum_is_right(), "its ICMP checksum is wrong");
        let embedded = told.embedded().or_breaks("what it embeds has a wrong header checksum")?;
        hold!(embedded.flow() == self.left.flow(), "it embeds {:?}", embedded.flow());
        Ok(told)
    }
}

pub(crate) fn i_1_pings_with_the_same_id_from_two_containers(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let (a, b, outside) = (lab.container(11), lab.container(12), lab.ghost());
    let ends = [(a.silence(), a.ip), (b.silence(), b.ip)];
    let mut ids = Vec::new();
    for (end, ip) in &ends {
        let mark = cookie("echo");
        end.send(&Packet::echo(*ip, GHOST, 77, &mark));
        let request = outside.awaits(&mark)?;
        hold!(
            request.source == HOST && request.checksum_is_right(),
            "the request came out wrong: {request:?}"
        );
        ids.push((request.query(), request, mark));
    }
    hold!(ids[0].0 != ids[1].0, "two containers share the id {:?}", ids[0].0);
    // In the other order, so that the later one is not just the last.
    for ((_, request, mark), (end, ip)) in ids.iter().zip(&ends).rev() {
        outside.send(&request.echo_reply());
        let reply = end.awaits(mark)?;
        hold!(reply.kind() == Some((ECHO_REPLY, 0)) && reply.query() == Some(77), "{reply:?}");
        hold!(reply.destination == *ip && reply.checksum_is_right(), "{reply:?}");
    }
    Ok(())
}

pub(crate) fn i_1a_a_query_keeps_its_outside_id_for_every_host(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let (a, b, outside) = (lab.container(11), lab.container(12), lab.ghost());
    let (one, other) = (a.silence(), b.silence());
    let id = |end: &Craft, from: &Container, to| {
        let mark = cookie("echo");
        end.send(&Packet::echo(from.ip, to, 77, &mark));
        outside.awaits(&mark)?.query().or_breaks("not a query")
    };
    id(&other, &b, GHOST)?;
    let seen = [id(&one, &a, STRANGER)?, id(&one, &a, GHOST)?];
    hold!(seen[0] == seen[1], "one id became {seen:?}");
    Ok(())
}

pub(crate) fn i_1_pings_of_every_size_pass(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    for size in [0, 56, 1472, 1473, 3000, 20_000] {
        hold!(a.pings(SERVERS[0], size), "a ping of {size} bytes is not answered");
    }
    Ok(())
}

pub(crate) fn i_1_a_request_from_outside_reaches_no_container(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let (a, outside) = (lab.container(11), lab.ghost());
    let inside = a.silence();
    let (ping, mark) = (cookie("echo"), cookie("from outside"));
    inside.send(&Packet::echo(a.ip, GHOST, 77, &ping));
    let request = outside.awaits(&ping)?;
    let id = request.query().or_breaks("not a query")?;
    outside.send(&Packet::echo(GHOST, HOST, id, &mark));
    outside.send(&request.echo_reply());
    let before = inside.before(&ping)?;
    hold!(
        before.iter().all(|packet| packet.kind() != Some((ECHO, 0))),
        "a request came in by a mapping of queries"
    );
    Ok(())
}

pub(crate) fn u_12_a_closed_port_is_told_and_the_mapping_lives_on(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let (a, server) = (lab.container(11), &lab.servers()[0]);
    let client = lab.udp(&a, PORT);
    let seen = lab.seen(&client, server)?;
    client.send((SERVERS[0], 9).into(), b"to nobody")?;
    client.is_refused()?;
    hold!(lab.seen(&client, server)? == seen, "the mapping is another one");
    Ok(())
}

pub(crate) fn u_12a_an_error_from_a_router_on_the_way_is_told(kind: Kind) -> Outcome {
    let talk = Talk::new(kind)?;
    for (code, kind) in [(0, TIME_EXCEEDED), (0, UNREACHABLE), (1, UNREACHABLE), (13, UNREACHABLE)] {
        let error = talk.seen.error(STRANGER, kind, code);
        talk.outside.send(&error);
        talk.is_told(&error)?;
    }
    hold!(talk.errors_before_a_mark()?.is_empty(), "more errors came than were sent");
    Ok(())
}

pub(crate) fn u_12_fragmentation_needed_further_on_is_told_with_its_mtu(kind: Kind) -> Outcome {
    let talk = Talk::new(kind)?;
    let error = talk.seen.error_with(STRANGER, (UNREACHABLE, 4), [0, 0, 0x05, 0x14]);
    talk.outside.send(&error);
    let told = talk.is_told(&error)?;
    hold!(told.payload[4..8] == [0, 0, 0x05, 0x14], "with the MTU {:?}", &told.payload[4..8]);
    Ok(())
}

pub(crate) fn i_3_an_error_with_a_wrong_checksum_is_dropped(kind: Kind) -> Outcome {
    let talk = Talk::new(kind)?;
    let error = talk.seen.error(GHOST, UNREACHABLE, 3);
    talk.outside.send(&error.clone().with_checksum(error.checksum().expect("ICMP") ^ 0x1234));
    hold!(talk.errors_before_a_mark()?.is_empty(), "it came in");
    Ok(())
}

pub(crate) fn i_3a_an_error_that_embeds_a_wrong_header_checksum_is_dropped(kind: Kind) -> Outcome {
    let talk = Talk::new(kind)?;
    let mut error = talk.seen.error(GHOST, UNREACHABLE, 3);
    error.payload[8 + 10] ^= 0x5a;
    talk.outside.send(&error.sealed());
    hold!(talk.errors_before_a_mark()?.is_empty(), "it came in");
    Ok(())
}

pub(crate) fn i_3b_options_of_the_embedded_header_are_skipped(kind: Kind) -> Outcome {
    let talk = Talk::new(kind)?;
    let with_options = Packet { options: vec![1, 1, 1, 1], ..talk.seen.clone() };
    let error = with_options.error(GHOST, UNREACHABLE, 3);
    talk.outside.send(&error);
    talk.is_told(&error).map(drop)
}

pub(crate) fn i_3c_an_error_with_more_of_the_packet_and_extensions_is_told(kind: Kind) -> Outcome {
    let talk = Talk::new(kind)?;
    // The datagram padded to 128 bytes, and an extension structure (RFC 4884) behind it.
    let mut embedded = talk.seen.bytes();
    embedded.resize(128, 0);
    embedded.extend([0x20, 0, 0, 0]);
    let source = (GHOST, talk.seen.source);
    let error = Packet::icmp(source, (UNREACHABLE, 1), [0, 32, 0, 0], &embedded);
    talk.outside.send(&error);
    let told = talk.is_told(&error)?;
    let end = told.payload.len() - 4;
    hold!(told.payload[end..] == [0x20, 0, 0, 0] && told.payload[5] == 32, "the extension is not as it was");
    Ok(())
}

pub(crate) fn i_4_errors_from_outside_about_foreign_flows_are_dropped(kind: Kind) -> Outcome {
    let talk = Talk::new(kind)?;
    let mapping = talk.mapping();
    // Another port of the host, a peer that was never sent to, and a protocol without a mapping.
    let unused = SocketAddrV4::new(HOST, mapping.port() ^ 0x55);
    let flows = [
        Packet::udp(unused, PEER, b"foreign"),
        Packet::tcp((mapping, PEER), 2, (1, 0), b""),
        Packet::echo(HOST, GHOST, mapping.port(), b"foreign"),
        Packet::udp(talk.a.at(PORT), PEER, b"not translated"),
    ];
    for flow in &flows {
        let about = flow.bytes();
        talk.outside.send(&Packet::icmp((GHOST, HOST), (UNREACHABLE, 3), [0; 4], &about));
    }
    let errors = talk.errors_before_a_mark()?;
    hold!(errors.is_empty(), "{} of {} came in: {errors:?}", errors.len(), flows.len());
    Ok(())
}

pub(crate) fn i_5_errors_from_inside_are_told_with_outside_addresses(kind: Kind) -> Outcome {
    let talk = Talk::new(kind)?;
    let mark = cookie("comes in");
    talk.outside.send(&Packet::udp(PEER, talk.mapping(), &mark));
    let came = talk.inside.awaits(&mark)?;
    hold!(came.checksum_is_right() && came.flow() == Some((PEER, talk.a.at(PORT))), "it came in as {came:?}");
    talk.inside.send(&came.error(talk.a.ip, UNREACHABLE, 3));
    let told = talk.outside.wait_for("the error", |packet| packet.kind() == Some((UNREACHABLE, 3)))?;
    hold!(told.source == HOST && told.destination == GHOST, "from {} to {}", told.source, told.destination);
    hold!(told.checksum_is_right(), "its ICMP checksum is wrong");
    let embedded = told.embedded().or_breaks("what it embeds has a wrong header checksum")?;
    hold!(embedded.flow() == Some((PEER, talk.mapping())), "it embeds {:?}", embedded.flow());
    Ok(())
}

pub(crate) fn i_5_errors_from_inside_about_foreign_flows_are_dropped(kind: Kind) -> Outcome {
    let talk = Talk::new(kind)?;
    let b = talk.lab.container(12);
    let liar = b.silence();
    // About the other container's conversation, about one that nobody has, and about the outside address itself.
    for about in [
        Packet::udp(PEER, talk.a.at(PORT), b"foreign"),
        Packet::udp(PEER, b.at(PORT), b"nobody's"),
        Packet::udp(PEER, talk.mapping(), b"from outside"),
    ] {
        liar.send(&Packet::icmp((b.ip, GHOST), (UNREACHABLE, 3), [0; 4], &about.bytes()));
    }
    let mark = cookie("mark");
    liar.send(&Packet::udp(b.at(PORT), PEER, &mark));
    let before = talk.outside.before(&mark)?;
    let errors = before.iter().filter(|packet| packet.kind().is_some()).count();
    hold!(errors == 0, "{errors} of 3 left");
    Ok(())
}

pub(crate) fn t_9_an_error_about_a_syn_is_told(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    let (inside, outside) = (a.silence(), lab.ghost());
    let syn = Packet::tcp((a.at(PORT), PEER), crate::packet::SYN, (100, 0), b"");
    inside.send(&syn);
    let seen = outside.wait_for("the SYN", |packet| packet.source == HOST && packet.flags() != 0)?;
    outside.send(&seen.error(STRANGER, UNREACHABLE, 1));
    let told = inside.wait_for("the error", |packet| packet.kind() == Some((UNREACHABLE, 1)))?;
    hold!(told.source == STRANGER && told.destination == a.ip && told.checksum_is_right(), "{told:?}");
    let embedded = told.embedded().or_breaks("what it embeds has a wrong header checksum")?;
    hold!(embedded.flow() == syn.flow(), "it embeds {:?}", embedded.flow());
    hold!(embedded.payload[4..8] == 100u32.to_be_bytes(), "its sequence number is another one");
    Ok(())
}

pub(crate) fn t_10_no_error_ends_a_connection(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    let listener = listen(lab.server(), places()[0]);
    let mut near = connect_from(&a.ns, a.at(PORT).into(), places()[0], lab.patience())?;
    let (mut far, seen) = accept(&listener, lab.patience())?;
    talks(&mut near, &mut far)?;
    let (outside, inside) = (lab.ghost(), a.craft());
    let about = Packet::tcp((crate::lab::v4(seen), crate::lab::v4(places()[0])), 16, (1, 1), b"");
    for code in [0, 1, 2, 3, 13] {
        outside.send(&about.error(SERVERS[0], UNREACHABLE, code));
        inside.wait_for("the error", |packet| packet.kind() == Some((UNREACHABLE, code)))?;
        talks(&mut near, &mut far)?;
    }
    Ok(())
}
