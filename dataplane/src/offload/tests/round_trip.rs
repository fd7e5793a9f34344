//! What was cut is joined again, and what was joined is cut again, without a bit of difference.

use super::segment::frames;
use super::*;
use crate::offload::coalesce::Coalescer;
use crate::wire::testing::{recipe, tcp, udp};

/// What leaves the coalescer when `parts` come in one batch.
fn join(parts: &[Vec<u8>]) -> Vec<(Vec<u8>, Offload)> {
    let mut joining = Coalescer::default();
    let mut left = Vec::new();
    parts.iter().for_each(|part| {
        joining.push((), part, Offload::NONE, |j| left.push((j.bytes.to_vec(), j.offload)));
    });
    joining.flush(|j| left.push((j.bytes.to_vec(), j.offload)));
    left
}

/// `frame` without what cutting cannot give back: the lengths and the checksums of a super-frame are those of whoever
/// made it.
fn essence(frame: &[u8]) -> Vec<u8> {
    let layout = Layout::of(frame).unwrap();
    let mut frame = frame.to_vec();
    put16(&mut frame, layout.l4 + layout.checksum_offset().unwrap(), 0);
    if layout.v4 {
        put16(&mut frame, layout.l3 + 10, 0);
    }
    frame
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_cut_joined_and_cut_again_is_the_same(
        recipe in recipe(prop_oneof![tcp(), udp()], 0..6_000), size in prop_oneof![64u16..200, 1_000u16..3_000],
    ) {
        let mut whole = recipe.build();
        let offload = super_frame(&recipe, &mut whole, size);
        let parts = frames(&segments(&whole, offload).unwrap());
        let joined = join(&parts);
        let again: Vec<_> =
            joined.iter().flat_map(|(bytes, offload)| frames(&segments(bytes, *offload).unwrap())).collect();
        for part in &again {
            verify(part)?;
        }
        prop_assert_eq!(&again, &parts);
        if let [(bytes, _)] = &joined[..] {
            prop_assert_eq!(essence(bytes), essence(&whole));
        }
    }

    /// Whatever the addresses, tags, options and marks: a plain stream is joined, not merely passed on.
    #[test]
    fn a_plain_burst_becomes_one_again(
        plain in recipe(tcp(), 2_000..6_000), push: bool, marked in 0u8..4,
    ) {
        let mut recipe = plain;
        if let Transport::Tcp { flags, .. } = &mut recipe.transport {
            *flags = if push { 0x18 } else { 0x10 };
        }
        match &mut recipe.network {
            Network::V4 { tos, option_words, .. } => (*tos, *option_words) = (marked, 0),
            Network::V6 { traffic_class, chain, .. } => {
                (*traffic_class, *chain) = (marked, Default::default());
            }
        }
        let mut whole = recipe.build();
        let offload = super_frame(&recipe, &mut whole, 1_000);
        let joined = join(&frames(&segments(&whole, offload).unwrap()));
        prop_assert_eq!(joined.len(), 1);
        prop_assert_eq!(joined[0].1, offload);
        prop_assert_eq!(essence(&joined[0].0), essence(&whole));
    }
}
