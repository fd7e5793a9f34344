//! Partial checksums come out as a stack would have written them, and nothing else is touched.

use super::*;
use crate::offload::checksum::{complete, recognise};
use crate::wire::testing::{any_recipe, hostile, noise, recipe, tcp, udp};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn completing_restores_the_checksum(recipe in recipe(prop_oneof![tcp(), udp()], 0..400), padding in 0usize..9) {
        let mut original = recipe.build();
        original.extend(noise(padding, 3));
        let mut frame = original.clone();
        let mut offload = Offload { checksum: make_partial(&mut frame), gso: None };
        complete(&mut frame, &mut offload);
        prop_assert_eq!(offload, Offload::NONE);
        prop_assert_eq!(&frame, &original);
        complete(&mut frame, &mut offload);
        prop_assert_eq!(frame, original);
    }

    #[test]
    fn partial_checksums_are_recognised(recipe in recipe(prop_oneof![tcp(), udp()], 0..400), padding in 0usize..9) {
        let mut original = recipe.build();
        original.extend(noise(padding, 3));
        let mut frame = original.clone();
        let checksum = make_partial(&mut frame);
        let before = frame.clone();
        prop_assert_eq!(recognise(&mut frame, 1_450), Ok(Offload { checksum, gso: None }));
        prop_assert_eq!(frame, before);

        // A complete checksum equals the sum of the pseudo header once in 65,536; finishing it is harmless then.
        let mut frame = original.clone();
        let mut offload = recognise(&mut frame, 1_450).unwrap();
        complete(&mut frame, &mut offload);
        prop_assert_eq!(offload, Offload::NONE);
        prop_assert_eq!(frame, original);
    }

    #[test]
    fn super_frames_are_recognised(recipe in recipe(tcp(), 1_600..9_000), mtu in 576u16..1_500, partial: bool) {
        let original = recipe.build();
        let mut stacks = original.clone();
        let expected = super_frame(&recipe, &mut stacks, 0);
        let mut frame = if partial { stacks.clone() } else { original };
        let offload = recognise(&mut frame, mtu).unwrap();
        let gso = offload.gso.unwrap();
        prop_assert_eq!(Offload { gso: Some(Gso { size: 0, ..gso }), ..offload }, expected);
        prop_assert_eq!(&frame, &stacks);

        let segments = segments(&frame, offload).unwrap();
        let l3 = 14 + 4 * recipe.tags;
        prop_assert_eq!(segments.max_len(), l3 + usize::from(mtu));
        let mut out = vec![0; segments.max_len()];
        let mut sent = Vec::new();
        for index in 0..segments.len() {
            let len = segments.write(index, &mut out);
            sent.extend_from_slice(verify(&out[..len])?);
        }
        prop_assert_eq!(sent, recipe.payload);
    }

    #[test]
    fn corruption_is_not_laundered(recipe in recipe(tcp(), 1_600..3_000), at: prop::sample::Index, bit in 0u8..8) {
        let mut frame = recipe.build();
        let at = frame.len() - 1 - at.index(recipe.payload.len());
        frame[at] ^= 1 << bit;
        prop_assert_eq!(recognise(&mut frame, 1_450), Err(OffloadError::BadChecksum));
    }

    #[test]
    fn only_tcp_may_exceed_the_mtu(recipe in recipe(udp(), 1_600..3_000), partial: bool) {
        let mut frame = recipe.build();
        if partial {
            make_partial(&mut frame);
        }
        prop_assert_eq!(recognise(&mut frame, 1_450), Err(OffloadError::Oversize));
    }

    #[test]
    fn recognising_never_panics_nor_lies(mut frame in prop_oneof![hostile(), any_recipe().prop_map(|recipe| recipe.build())], mtu in 0u16..200) {
        let before = frame.clone();
        match recognise(&mut frame, mtu) {
            Ok(offload) if offload.gso.is_some() => {
                prop_assert!(segments(&frame, offload).is_ok_and(|segments| segments.len() > 1));
            }
            Ok(Offload { checksum: Checksum::Partial { start, offset }, .. }) => {
                prop_assert_eq!(&frame, &before);
                prop_assert!(usize::from(start) + usize::from(offset) + 2 <= frame.len());
            }
            Ok(offload) => {
                prop_assert_eq!(offload, Offload::NONE);
                prop_assert_eq!(frame, before);
            }
            Err(_) => prop_assert_eq!(frame, before),
        }
    }
}

#[test]
fn a_udp_checksum_of_zero_is_sent_as_ones() {
    let mut recipe = Recipe {
        macs: [[2; 6], [4; 6]],
        tags: 0,
        network: Network::V4 {
            addresses: [[10, 0, 0, 2], [10, 0, 0, 3]],
            tos: 0,
            identification: 0,
            option_words: 0,
        },
        transport: Transport::Udp { ports: [1, 2] },
        payload: vec![0, 0],
    };
    // The payload that brings the sum to all ones is the checksum over a payload of zero.
    let frame = recipe.build();
    recipe.payload = frame[40..42].to_vec();
    let mut frame = recipe.build();
    let mut offload = Offload { checksum: make_partial(&mut frame), gso: None };
    complete(&mut frame, &mut offload);
    assert_eq!(be16(&frame, 40), 0xffff);
    verify(&frame).unwrap();
}

#[test]
fn no_checksum_stays_no_checksum() {
    let recipe = Recipe {
        macs: [[2; 6], [4; 6]],
        tags: 1,
        network: Network::V4 {
            addresses: [[10, 0, 0, 2], [10, 0, 0, 3]],
            tos: 0,
            identification: 0,
            option_words: 0,
        },
        transport: Transport::Udp { ports: [1, 2] },
        payload: vec![7; 10],
    };
    let mut frame = recipe.build();
    put16(&mut frame, 18 + 20 + 6, 0);
    assert_eq!(recognise(&mut frame, 1_450), Ok(Offload::NONE));
}

#[test]
fn the_mtu_is_that_of_the_ip_packet() {
    for tags in 0..=2 {
        let mut frame = vec![0; 12];
        frame.extend([0x81, 0, 0, 1].repeat(tags));
        frame.extend([8, 6]);
        frame.resize(14 + 4 * tags + 1_450, 0);
        assert_eq!(recognise(&mut frame, 1_450), Ok(Offload::NONE), "{tags} tags");
        frame.push(0);
        assert_eq!(recognise(&mut frame, 1_450), Err(OffloadError::Oversize), "{tags} tags");
    }
    assert_eq!(recognise(&mut [], 0), Ok(Offload::NONE));
}

#[test]
fn an_mtu_without_room_for_payload_is_refused() {
    let recipe = Recipe {
        macs: [[2; 6], [4; 6]],
        tags: 0,
        network: Network::V4 {
            addresses: [[10, 0, 0, 2], [10, 0, 0, 3]],
            tos: 0,
            identification: 0,
            option_words: 0,
        },
        transport: Transport::Tcp { ports: [1, 2], sequence: 0, flags: 0x10, option_words: 0 },
        payload: vec![7; 100],
    };
    let mut frame = recipe.build();
    assert_eq!(recognise(&mut frame, 40), Err(OffloadError::Oversize));
    assert_eq!(recognise(&mut frame, 41).unwrap().gso.unwrap().size, 1);
}
