//! Whatever the bytes, nothing panics, and only the packet's own bytes change.

use super::build::{Built, Random, finish_header, put};
use super::embedded::Error;
use crate::nat::rewrite::{Kind, Side, parse, translate, translate_embedded};

/// A sound packet of any kind.
fn sound(random: &mut Random) -> Built {
    if random.below(2) == 0 { Built::random(random) } else { Error::random(random).built() }
}

/// Parses and, if that is allowed, exchanges both ends, inside and out.
fn exercise(ip: &[u8], random: &mut Random) -> bool {
    let Ok(packet) = parse(ip) else { return false };
    assert!(packet.l4 <= packet.total && packet.total <= ip.len());
    let mut copy = ip.to_vec();
    for side in [Side::Source, Side::Destination] {
        let address = random.address(packet.source.is_ipv4());
        translate(&mut copy, &packet, side, address, Some(random.port()), random.below(2) == 0);
        translate_embedded(&mut copy, &packet, side, address, random.port());
        let after = parse(&copy).expect("the headers are as sound as before");
        assert_eq!((after.l4, after.total, after.part), (packet.l4, packet.total, packet.part));
    }
    assert_eq!(copy[packet.total..], ip[packet.total..], "what follows the packet");
    true
}

#[test]
fn packets_that_are_cut_off_are_refused() {
    let mut random = Random::new(31);
    for _ in 0..300 {
        let built = sound(&mut random);
        for len in 0..built.ip.len() {
            assert!(parse(&built.ip[..len]).is_err(), "{len} of {built:?}");
        }
        assert!(exercise(&[&built.ip[..], &[0xaa; 9]].concat(), &mut random));
    }
}

/// The same with lengths and checksums that agree, as a hostile sender would have them.
#[test]
fn packets_that_were_sent_too_short_are_no_danger() {
    let mut random = Random::new(37);
    for _ in 0..300 {
        let built = sound(&mut random);
        for len in built.l4..built.ip.len() {
            let mut ip = built.ip[..len].to_vec();
            let v4 = built.v4();
            put(&mut ip, if v4 { 2 } else { 4 }, (if v4 { len } else { len - 40 }) as u16);
            let mut short = Built { ip, ..built.clone() };
            short.finish();
            exercise(&short.ip, &mut random);
        }
    }
}

#[test]
fn changed_bytes_are_no_danger() {
    let mut random = Random::new(41);
    let mut sound_still = 0;
    for _ in 0..100_000 {
        let mut built = sound(&mut random);
        for _ in 0..=random.below(3) {
            let at = random.below(built.ip.len());
            built.ip[at] = random.next() as u8;
        }
        // Half of them with the header checksum that they need to get further.
        if random.below(2) == 0 {
            finish_header(&mut built.ip);
        }
        sound_still += usize::from(exercise(&built.ip, &mut random));
    }
    assert!(sound_still > 10_000, "{sound_still} got further than parsing");
}

#[test]
fn noise_is_no_danger() {
    let mut random = Random::new(43);
    for _ in 0..200_000 {
        let mut ip: Vec<u8> = (0..random.below(120)).map(|_| random.next() as u8).collect();
        if let Some(first) = ip.first_mut() {
            *first = if random.below(2) == 0 { 0x40 | *first & 7 } else { 0x60 | *first & 15 };
        }
        if ip.first().is_some_and(|first| first >> 4 == 6) && ip.len() >= 40 {
            put(&mut ip, 4, (random.below(100)) as u16);
            ip[6] = [0, 6, 17, 43, 44, 51, 58, 60][random.below(8)];
        }
        exercise(&ip, &mut random);
    }
}

#[test]
fn of_anything_but_an_error_nothing_embedded_is_changed() {
    let mut random = Random::new(47);
    let built = Built::random(&mut random);
    let packet = parse(&built.ip).unwrap();
    assert!(matches!(packet.kind, Kind::Flow { .. }));
    let mut ip = built.ip.clone();
    translate_embedded(&mut ip, &packet, Side::Source, random.address(built.v4()), 1);
    assert_eq!(ip, built.ip);
}
