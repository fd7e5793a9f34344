//! Every segment is a correct frame, and together they are what was to be sent.

use super::*;
use crate::offload::checksum::{complete, recognise};
use crate::offload::segment::MAX_SEGMENTS;
use crate::offload::vnet;
use crate::wire::testing::{Chain, any_recipe, hostile, noise, recipe, tcp, udp};
use crate::wire::{Ipv4Packet, TcpFlags, TcpSegment};

/// The segments of a frame, each as a frame.
pub(super) fn frames(segments: &Segments<'_>) -> Vec<Vec<u8>> {
    let mut out = vec![0; segments.max_len()];
    (0..segments.len())
        .map(|index| {
            let len = segments.write(index, &mut out);
            out[..len].to_vec()
        })
        .collect()
}

/// Checks the TCP header of segment `index` of `count` against the one it was cut from.
fn check_tcp(whole: &[u8], part: &[u8], l4: usize, from: usize, last: bool) -> Result<(), TestCaseError> {
    let (whole, part) = (TcpSegment::parse(&whole[l4..]).unwrap(), TcpSegment::parse(&part[l4..]).unwrap());
    prop_assert_eq!(part.sequence(), whole.sequence().wrapping_add(from as u32));
    let mut flags = whole.flags();
    if !last {
        flags = flags.without(TcpFlags::FIN).without(TcpFlags::PSH);
    }
    if from > 0 {
        flags = flags.without(TcpFlags::CWR);
    }
    prop_assert_eq!(part.flags(), flags);
    prop_assert_eq!(part.options(), whole.options());
    prop_assert_eq!(part.acknowledgement(), whole.acknowledgement());
    prop_assert_eq!(part.window(), whole.window());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn segments_are_correct_and_complete(
        recipe in recipe(prop_oneof![tcp(), udp()], 0..6_000), size in prop_oneof![64u16..200, 1_000u16..3_000],
    ) {
        let mut frame = recipe.build();
        let offload = super_frame(&recipe, &mut frame, size);
        let segments = segments(&frame, offload).unwrap();
        let layout = Layout::of(&frame).unwrap();
        let headers_len = usize::from(offload.gso.unwrap().header_len);
        prop_assert_eq!(segments.headers_len(), headers_len);
        prop_assert_eq!(segments.len(), recipe.payload.len().div_ceil(size.into()).max(1));

        let mut sent = Vec::new();
        for (index, part) in frames(&segments).iter().enumerate() {
            let last = index + 1 == segments.len();
            let payload = verify(part)?;
            prop_assert!(last || payload.len() == usize::from(size));
            prop_assert_eq!(payload, segments.payload(index));
            prop_assert_eq!(&part[..layout.l3], &frame[..layout.l3]);
            match recipe.network {
                Network::V4 { identification, .. } => {
                    let packet = Ipv4Packet::parse(&part[layout.l3..]).unwrap();
                    prop_assert_eq!(packet.identification(), identification.wrapping_add(index as u16));
                    prop_assert!(packet.dont_fragment());
                }
                Network::V6 { .. } => {
                    let constant = layout.l3 + 6;
                    prop_assert_eq!(&part[constant..layout.l4], &frame[constant..layout.l4]);
                }
            }
            if let Transport::Tcp { .. } = recipe.transport {
                check_tcp(&frame, part, layout.l4, sent.len(), last)?;
            }
            sent.extend_from_slice(payload);
        }
        prop_assert_eq!(sent, recipe.payload);
    }

    #[test]
    fn a_frame_that_is_no_super_frame_is_one_segment(recipe in recipe(prop_oneof![tcp(), udp()], 0..200), padding in 0usize..9) {
        let mut original = recipe.build();
        original.extend(noise(padding, 3));
        for checksum in [Checksum::Complete, Checksum::Verified] {
            let whole = segments(&original, Offload { checksum, gso: None }).unwrap();
            prop_assert_eq!(frames(&whole), vec![original.clone()]);
        }
        let mut frame = original.clone();
        let checksum = make_partial(&mut frame);
        let whole = segments(&frame, Offload { checksum, gso: None }).unwrap();
        prop_assert_eq!(frames(&whole), vec![original]);
    }

    #[test]
    fn heads_and_payloads_are_the_segments(recipe in recipe(tcp(), 0..3_000), partial: bool) {
        let mut frame = recipe.build();
        let mut offload = super_frame(&recipe, &mut frame, 700);
        if partial {
            offload.gso = None;
        }
        let segments = segments(&frame, offload).unwrap();
        let mut head = vec![0; segments.headers_len()];
        for (index, part) in frames(&segments).iter().enumerate() {
            prop_assert_eq!(segments.write_head(index, &mut head), head.len());
            prop_assert_eq!([&head[..], segments.payload(index)].concat(), &part[..]);
            let mut short = vec![0xee; part.len() - 1];
            prop_assert_eq!(segments.write(index, &mut short), 0);
            prop_assert!(short.iter().all(|&byte| byte == 0xee), "written to a buffer that is too short");
        }
        prop_assert_eq!(segments.write(segments.len(), &mut [0; 4_000]), 0);
        prop_assert_eq!(segments.write_head(segments.len(), &mut [0; 4_000]), 0);
        prop_assert!(segments.payload(segments.len()).is_empty());
    }

    #[test]
    fn lies_end_in_errors(frame in hostile(), start: u8, offset in 0u16..30, size in 0u16..80, kind in 0u8..4, header_len in 0u16..130) {
        let kind = [None, Some(GsoKind::Tcp4), Some(GsoKind::Tcp6), Some(GsoKind::Udp)][usize::from(kind)];
        let offload = Offload {
            checksum: Checksum::Partial { start: start.into(), offset },
            gso: kind.map(|kind| Gso { kind, size, ecn: false, header_len }),
        };
        if let Ok(segments) = segments(&frame, offload) {
            prop_assert!(frames(&segments).iter().all(|part| part.len() <= segments.max_len() && !part.is_empty()));
        }
        let mut offload = offload;
        complete(&mut frame.clone(), &mut offload);
    }

    #[test]
    fn another_frames_offload_is_refused(ours in recipe(tcp(), 2_000..2_100), theirs in any_recipe()) {
        let mut frame = ours.build();
        let offload = super_frame(&ours, &mut frame, 1_000);
        let other = theirs.build();
        let same = Layout::of(&other).and_then(|layout| layout.gso(&other, 1_000));
        prop_assume!(same.is_none_or(|same| same.kind != offload.gso.unwrap().kind || same.header_len != offload.gso.unwrap().header_len));
        prop_assert_eq!(segments(&other, offload).err(), Some(OffloadError::Mismatch));
    }
}

fn big(payload: usize) -> Recipe {
    Recipe {
        macs: [[2; 6], [4; 6]],
        tags: 0,
        network: Network::V4 {
            addresses: [[10, 0, 0, 2], [10, 0, 0, 3]],
            tos: 2,
            identification: 0xfffe,
            option_words: 0,
        },
        transport: Transport::Tcp { ports: [1, 2], sequence: u32::MAX, flags: 0x99, option_words: 3 },
        payload: noise(payload, 1),
    }
}

#[test]
fn the_largest_super_frame_is_cut() {
    let recipe = big(65_535 - 20 - 32);
    let mut frame = recipe.build();
    let offload = super_frame(&recipe, &mut frame, 1_398);
    let segments = segments(&frame, offload).unwrap();
    assert_eq!((segments.len(), segments.max_len()), (47, 14 + 1_450));
    let sent: Vec<u8> = frames(&segments).iter().flat_map(|part| verify(part).unwrap().to_vec()).collect();
    assert!(sent == recipe.payload);
}

#[test]
fn segments_are_bounded() {
    let recipe = big(MAX_SEGMENTS * 60);
    let mut frame = recipe.build();
    let mut offload = super_frame(&recipe, &mut frame, 60);
    assert_eq!(segments(&frame, offload).unwrap().len(), MAX_SEGMENTS);
    for size in [0, 1, 59] {
        offload.gso.as_mut().unwrap().size = size;
        assert_eq!(segments(&frame, offload).err(), Some(OffloadError::TooManySegments), "size {size}");
    }
}

#[test]
fn a_super_frame_needs_a_partial_checksum_and_no_padding() {
    let recipe = big(3_000);
    let mut frame = recipe.build();
    let offload = super_frame(&recipe, &mut frame, 1_000);
    for checksum in [Checksum::Complete, Checksum::Verified, Checksum::Partial { start: 34, offset: 6 }] {
        assert_eq!(segments(&frame, Offload { checksum, ..offload }).err(), Some(OffloadError::Mismatch));
    }
    frame.push(0);
    assert_eq!(segments(&frame, offload).err(), Some(OffloadError::Mismatch));
}

#[test]
fn a_udp_segment_with_a_checksum_of_zero_gets_ones() {
    let mut recipe = big(64 + 2);
    recipe.transport = Transport::Udp { ports: [1, 2] };
    recipe.payload[64..].fill(0);
    let last = |recipe: &Recipe| {
        let mut frame = recipe.build();
        let offload = super_frame(recipe, &mut frame, 64);
        frames(&segments(&frame, offload).unwrap()).pop().unwrap()
    };
    // The payload that brings the sum to all ones is the checksum over a payload of zero.
    let zero = last(&recipe);
    recipe.payload[64..].copy_from_slice(&zero[40..42]);
    let part = last(&recipe);
    assert_eq!(be16(&part, 40), 0xffff);
    assert_eq!(verify(&part).unwrap(), &recipe.payload[64..]);
}

#[test]
fn a_first_fragment_is_not_cut() {
    let mut recipe = big(3_000);
    let chain = Chain { atomic: true, ..Default::default() };
    recipe.network = Network::V6 { addresses: [[0xfd; 16]; 2], traffic_class: 0, chain };
    let mut frame = recipe.build();
    frame[14 + 40 + 3] |= 1;
    let offload = super_frame(&recipe, &mut frame, 1_000);
    assert_eq!(segments(&frame, offload).err(), Some(OffloadError::Mismatch));
    assert_eq!(recognise(&mut frame, 1_450), Err(OffloadError::Oversize));
    assert_eq!(recognise(&mut frame, 9_000), Ok(Offload::NONE));
    assert_eq!(vnet::parse(&vnet::emit(offload), &frame), Err(vnet::VnetError::ChecksumMisplaced));
}
