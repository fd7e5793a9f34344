//! The virtio header: what is true is read, what is false is refused.

use super::*;
use crate::offload::checksum::complete;
use crate::offload::vnet::{LEN, VnetError, emit, parse};
use crate::wire::testing::{any_recipe, hostile, recipe, tcp, udp};
use crate::wire::{EtherType, protocol, vlan};

/// Headers that are near enough to the truth to be interesting.
fn header() -> impl Strategy<Value = [u8; LEN]> {
    let kind = prop_oneof![3 => Just(0u8), 3 => 1u8..=5, 1 => Just(0x81u8), 1 => any::<u8>()];
    (0u8..4, kind, 0u16..200, 0u16..2_000, 0u16..130, prop_oneof![Just(2u16), Just(6), Just(16), 0u16..60])
        .prop_map(|(flags, kind, header_len, size, start, offset)| {
            let mut header = [0; LEN];
            header[..2].copy_from_slice(&[flags, kind]);
            for (at, value) in [(2, header_len), (4, size), (6, start), (8, offset)] {
                header[at..at + 2].copy_from_slice(&value.to_le_bytes());
            }
            header
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_truth_round_trips(recipe in recipe(prop_oneof![tcp(), udp()], 0..3_000), size in 1u16..2_000) {
        let mut frame = recipe.build();
        for offload in [Offload::NONE, Offload { checksum: Checksum::Verified, gso: None }] {
            prop_assert_eq!(parse(&emit(offload), &frame), Ok(offload));
        }
        let offload = super_frame(&recipe, &mut frame, size);
        prop_assert_eq!(parse(&emit(offload), &frame), Ok(offload));
        let partial = Offload { gso: None, ..offload };
        prop_assert_eq!(parse(&emit(partial), &frame), Ok(partial));
    }

    #[test]
    fn the_header_length_is_recomputed(recipe in recipe(tcp(), 100..3_000), claimed in 0u16..100) {
        let mut frame = recipe.build();
        let offload = super_frame(&recipe, &mut frame, 500);
        let mut header = emit(offload);
        header[2..4].copy_from_slice(&claimed.to_le_bytes());
        prop_assert_eq!(parse(&header, &frame), Ok(offload));
    }

    #[test]
    fn stripping_a_tag_shifts_the_offload(recipe in recipe(prop_oneof![tcp(), udp()], 0..2_000)) {
        let mut frame = recipe.build();
        let offload = super_frame(&recipe, &mut frame, 500);
        let (frame, by) = vlan::strip(&mut frame);
        prop_assert_eq!(parse(&emit(offload.shift(by)), frame), Ok(offload.shift(by)));
        prop_assert_eq!(parse(&emit(offload), frame).is_ok(), by == 0);
    }

    #[test]
    fn any_header_beside_any_frame(header: [u8; LEN], near in header(), frame in hostile()) {
        for header in [header, near] {
            let Ok(offload) = parse(&header, &frame) else { continue };
            if offload.gso.is_some() {
                let cut = segments(&frame, offload);
                prop_assert!(matches!(cut, Ok(_) | Err(OffloadError::TooManySegments)), "{:?}", cut.err());
            }
            if let Checksum::Partial { start, offset } = offload.checksum {
                prop_assert!(usize::from(start) + usize::from(offset) + 2 <= frame.len());
            }
            prop_assert_eq!(parse(&emit(offload), &frame), Ok(offload));
        }
    }

    /// Whatever a tenant makes the kernel say, finishing the checksum changes no address, no port, and nothing in an
    /// ARP or neighbour discovery message but its checksum.
    #[test]
    fn a_checksum_field_forges_nothing(header in header(), recipe in any_recipe(), place in 0usize..4) {
        let frame = recipe.build();
        let layout = Layout::of(&frame).unwrap();
        let mut header = header;
        header[0] |= 1;
        let starts = [None, Some(layout.l4), Some(layout.l3), Some(layout.l4 + 8)];
        if let Some(start) = starts[place] {
            header[6..8].copy_from_slice(&(start as u16).to_le_bytes());
        }
        let Ok(mut offload) = parse(&header, &frame) else { return Ok(()) };
        let mut finished = frame.clone();
        complete(&mut finished, &mut offload);
        let own = match layout.protocol {
            protocol::TCP => layout.l4 + 16,
            protocol::UDP => layout.l4 + 6,
            _ => layout.l4 + 2,
        };
        let payload = if layout.protocol == protocol::UDP { layout.l4 + 8 } else { frame.len() };
        for (at, (before, after)) in frame.iter().zip(&finished).enumerate() {
            prop_assert!(before == after || at == own || at == own + 1 || at >= payload, "byte {} changed", at);
        }
    }
}

fn tcp_frame() -> (Vec<u8>, Offload) {
    let recipe = Recipe {
        macs: [[2; 6], [4; 6]],
        tags: 0,
        network: Network::V4 {
            addresses: [[10, 0, 0, 2], [10, 0, 0, 3]],
            tos: 0,
            identification: 0,
            option_words: 0,
        },
        transport: Transport::Tcp { ports: [1, 2], sequence: 0, flags: 0x90, option_words: 0 },
        payload: vec![7; 3_000],
    };
    let mut frame = recipe.build();
    let offload = super_frame(&recipe, &mut frame, 1_000);
    (frame, offload)
}

#[test]
fn lies_are_refused_by_name() {
    let (frame, offload) = tcp_frame();
    let truth = emit(offload);
    assert_eq!(truth, [1, 0x81, 54, 0, 0xe8, 3, 34, 0, 16, 0, 0, 0]);
    assert_eq!(parse(&truth, &frame), Ok(offload));
    let lie = |changes: &[(usize, u8)]| {
        let mut header = truth;
        for &(at, value) in changes {
            header[at] = value;
        }
        parse(&header, &frame).unwrap_err()
    };
    assert_eq!(lie(&[(0, 0)]), VnetError::GsoWithoutChecksum);
    assert_eq!(lie(&[(0, 2)]), VnetError::GsoWithoutChecksum);
    assert_eq!(lie(&[(4, 0), (5, 0)]), VnetError::ZeroGsoSize);
    assert_eq!(lie(&[(7, 0xff)]), VnetError::ChecksumOutside);
    assert_eq!(lie(&[(9, 0xff)]), VnetError::ChecksumOutside);
    assert_eq!(lie(&[(8, 6)]), VnetError::ChecksumMisplaced);
    assert_eq!(lie(&[(6, 14), (8, 10)]), VnetError::ChecksumMisplaced);
    assert_eq!(lie(&[(3, 0xff)]), VnetError::HeaderOutside);
    assert_eq!(lie(&[(1, 4)]), VnetError::GsoMismatch);
    assert_eq!(lie(&[(1, 5)]), VnetError::GsoMismatch);
    assert_eq!(lie(&[(1, 3)]), VnetError::Ufo);
    assert_eq!(lie(&[(1, 0x85)]), VnetError::UnknownGsoType(0x85));
    assert_eq!(lie(&[(1, 0x21)]), VnetError::UnknownGsoType(0x21));
    assert_eq!(parse(&truth, &frame[..frame.len() - 1]), Err(VnetError::ChecksumMisplaced), "cut off");
    let padded = [&frame[..], &[0]].concat();
    assert_eq!(parse(&truth, &padded), Err(VnetError::GsoMismatch), "padded");
}

#[test]
fn arp_has_no_checksum_to_fill_in() {
    let mut frame = vec![0; 12];
    frame.extend(EtherType::ARP.0.to_be_bytes());
    frame.resize(60, 0);
    let header = emit(Offload { checksum: Checksum::Partial { start: 14, offset: 14 }, gso: None });
    assert_eq!(parse(&header, &frame), Err(VnetError::ChecksumMisplaced));
    frame[12..14].copy_from_slice(&[0x88, 0x64]);
    assert!(parse(&header, &frame).is_ok(), "PPPoE may carry one");
}

#[test]
fn fragments_owe_no_checksum() {
    let (mut frame, offload) = tcp_frame();
    frame[14 + 6] |= 0x20;
    assert_eq!(parse(&emit(offload), &frame), Err(VnetError::ChecksumMisplaced));
}

#[test]
fn a_deeper_checksum_lies_in_the_payload_of_udp() {
    let (mut frame, _) = tcp_frame();
    frame[14 + 9] = protocol::UDP;
    for start in 34..=50 {
        for offset in [0, 1, 6, 7] {
            let offload = Offload { checksum: Checksum::Partial { start, offset }, gso: None };
            let fine = start >= 42 || (start, offset) == (34, 6);
            assert_eq!(parse(&emit(offload), &frame).is_ok(), fine, "start {start}, offset {offset}");
        }
    }
}
