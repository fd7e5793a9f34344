//! ICMP errors: what they are about is found, and exchanged as computing anew would.

use super::build::{Built, Random, Sum, finish_header, put};
use super::translate::scale;
use crate::nat::rewrite::{
    Embedded, Kind, MAX_ERROR_LEN, Packet, Protocol, Side, parse, translate, translate_embedded,
};
use crate::verdict::DropReason;

const ERRORS: usize = 100_000;

/// An ICMP error and what it is about.
#[derive(Clone, Debug)]
pub(super) struct Error {
    /// The packet up to the message, whose content does not matter.
    outer: Built,
    icmp_type: u8,
    pub(super) inner: Built,
    /// Bytes of `inner` that are quoted.
    quoted: usize,
    form: Form,
}

/// What follows the quoted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    /// Zeros, of which nothing is said.
    ZeroPadding,
    /// Padding up to a length that is told, and ICMP extensions.
    Extensions,
}

impl Error {
    pub(super) fn random(random: &mut Random) -> Self {
        let v4 = random.below(2) == 0;
        let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp][random.below(3)];
        let sum = if random.below(4) == 0 { Sum::Absent } else { Sum::Complete };
        let sum = if protocol == Protocol::Udp { sum } else { Sum::Complete };
        let inner = Built::of(random, v4, protocol, sum);
        let whole = inner.ip.len();
        let mut quoted = inner.l4 + 8 + random.below(whole - inner.l4 - 8 + 1);
        // Of half a checksum there is no keeping.
        quoted -= usize::from(protocol == Protocol::Tcp && quoted == inner.l4 + 17);
        let form = match random.below(4) {
            // Only a whole packet can be padded without saying so: any more bytes would be read as more of it.
            0 => Form::ZeroPadding,
            1 => Form::Extensions,
            _ => Form::Plain,
        };
        let quoted = if form == Form::Plain { quoted } else { whole };
        let icmp_type = if v4 { [3, 11, 12][random.below(3)] } else { [1, 3][random.below(2)] };
        Self { outer: Built::of(random, v4, Protocol::Icmp, Sum::Complete), icmp_type, inner, quoted, form }
    }

    /// The error as a packet, all checksums computed.
    pub(super) fn built(&self) -> Built {
        let (v4, l4) = (self.outer.v4(), self.outer.l4);
        let mut message = vec![self.icmp_type, 1, 0, 0, 0, 0, 0, 0];
        message.extend(&self.inner.ip[..self.quoted]);
        match self.form {
            Form::Plain => {}
            Form::ZeroPadding => message.extend([0; 9]),
            Form::Extensions => {
                message.resize(8 + 128, 0);
                message[if v4 { 5 } else { 4 }] = if v4 { 128 / 4 } else { 128 / 8 };
                message.extend([0x20, 0, 0, 0, 0, 8, 1, 1, 0xff, 0xff, 0xff, 0xff]);
            }
        }
        let mut ip = [&self.outer.ip[..l4], &message].concat();
        let len = ip.len() - if v4 { 0 } else { 40 };
        put(&mut ip, if v4 { 2 } else { 4 }, len as u16);
        let mut built = Built { ip, ..self.outer.clone() };
        built.finish();
        built
    }
}

fn embedded(packet: &Packet) -> Embedded {
    let Kind::Error { embedded, .. } = packet.kind else { panic!("{packet:?}") };
    embedded
}

#[test]
fn exchanges_in_errors_are_recomputations() {
    let mut random = Random::new(0x1234_5678_9abc_def1);
    for _ in 0..ERRORS * scale() {
        let mut error = Error::random(&mut random);
        let Built { mut ip, .. } = error.built();
        let packet = parse(&ip).unwrap_or_else(|reason| panic!("{reason}: {error:?}"));
        for side in [Side::Source, Side::Destination] {
            let v4 = error.inner.v4();
            let (address, port, outer) = (random.address(v4), random.port(), random.address(v4));
            translate(&mut ip, &packet, side, outer, Some(1), false);
            translate_embedded(&mut ip, &packet, side, address, port);
            error.outer = error.outer.with(side, outer, None);
            error.inner = error.inner.with(side, address, Some(port));
            assert_eq!(ip, error.built().ip, "{error:?} {side:?} {address} {port}");
        }
        assert!(parse(&ip).is_ok(), "what is passed on is sound");
    }
}

#[test]
fn what_an_error_is_about_is_told() {
    let mut random = Random::new(17);
    for _ in 0..2_000 {
        let error = Error::random(&mut random);
        let packet = parse(&error.built().ip).unwrap();
        let about = embedded(&packet);
        let inner = parse(&error.inner.ip).unwrap();
        let Kind::Flow { protocol, source, destination, .. } = inner.kind else { panic!("{inner:?}") };
        assert_eq!((about.source, about.destination), (inner.source, inner.destination));
        assert_eq!(
            (about.protocol, about.source_port, about.destination_port),
            (protocol, source, destination)
        );
        assert_eq!((about.at, about.l4), (packet.l4 + 8, packet.l4 + 8 + inner.l4));
        assert_eq!(about.end, about.at + error.quoted);
    }
}

/// An error over IPv4 about a UDP datagram with options in its header.
fn about_udp() -> Error {
    let mut random = Random::new(19);
    loop {
        let error = Error::random(&mut random);
        let plain = error.form == Form::Plain && error.inner.protocol == Protocol::Udp;
        if plain && error.outer.v4() && error.inner.l4 > 20 && error.quoted >= error.inner.l4 + 8 {
            return error;
        }
    }
}

#[track_caller]
fn is_refused(error: &Error) {
    assert_eq!(parse(&error.built().ip), Err(DropReason::BadIcmp), "{error:?}");
}

#[test]
fn a_wrong_checksum_of_the_error_is_refused() {
    let mut random = Random::new(23);
    for _ in 0..1_000 {
        let mut built = Error::random(&mut random).built();
        let at = built.l4 + random.below(built.ip.len() - built.l4);
        built.ip[at] ^= 1 << random.below(8);
        assert!(matches!(
            parse(&built.ip),
            Err(DropReason::BadIcmp) | Ok(Packet { kind: Kind::Other(_), .. })
        ));
    }
}

#[test]
fn a_wrong_header_checksum_within_is_refused_and_a_wrong_transport_checksum_is_not() {
    let mut error = about_udp();
    error.inner.ip[10] ^= 1;
    is_refused(&error);
    let mut error = about_udp();
    error.inner.ip[error.inner.l4 + 6] ^= 1;
    assert!(parse(&error.built().ip).is_ok());
}

#[test]
fn errors_that_quote_too_little_are_refused() {
    let mut error = about_udp();
    for quoted in 0..error.inner.l4 + 8 {
        error.quoted = quoted;
        is_refused(&error);
    }
    error.quoted += 1;
    assert!(parse(&error.built().ip).is_ok());
}

#[test]
fn errors_about_what_is_not_translated_are_refused() {
    let refused = |change: &dyn Fn(&mut Built)| {
        let mut error = about_udp();
        change(&mut error.inner);
        finish_header(&mut error.inner.ip);
        is_refused(&error);
    };
    refused(&|inner| inner.ip[9] = 132);
    refused(&|inner| inner.ip[7] = 2);
    refused(&|inner| (inner.ip[9], inner.ip[inner.l4]) = (1, 3));
    refused(&|inner| inner.ip[0] = 0x65);
}

#[test]
fn an_error_longer_than_any_is_refused() {
    let mut error = about_udp();
    let room = MAX_ERROR_LEN - 8;
    error.inner.ip.resize(error.inner.ip.len() + room, 0);
    error.quoted = room;
    // The quoted header speaks of less; the rest is padding.
    assert!(parse(&error.built().ip).is_ok());
    error.quoted += 1;
    is_refused(&error);
}

/// Senders that know nothing of the length field may have left anything in it.
#[test]
fn a_length_too_short_for_extensions_is_ignored() {
    let mut built = about_udp().built();
    let expected = parse(&built.ip).unwrap();
    built.ip[built.l4 + 5] = 5;
    built.finish();
    assert_eq!(parse(&built.ip), Ok(expected));
}

#[test]
fn fragments_of_errors_are_refused() {
    let mut built = about_udp().built();
    let len = built.ip.len() / 8 * 8 + built.l4 % 8;
    built.ip.resize(len, 0);
    put(&mut built.ip, 2, len as u16);
    put(&mut built.ip, 6, 0x2000);
    built.finish();
    assert_eq!(parse(&built.ip), Err(DropReason::BadIcmp));
}

#[test]
fn extensions_are_no_part_of_what_is_quoted() {
    for v4 in [true, false] {
        let mut random = Random::new(53);
        let mut error = loop {
            let error = Error::random(&mut random);
            if error.outer.v4() == v4
                && error.form == Form::Extensions
                && error.inner.protocol == Protocol::Tcp
            {
                break error;
            }
        };
        error.inner.ip.resize(300, 7);
        put(&mut error.inner.ip, if v4 { 2 } else { 4 }, if v4 { 300 } else { 260 });
        error.inner.finish();
        error.quoted = 128;
        let packet = parse(&error.built().ip).unwrap();
        let about = embedded(&packet);
        assert_eq!((about.end, packet.total), (about.at + 128, about.at + 128 + 12));
    }
}
