//! Fragments put together again by a reassembler that knows nothing of how they were made.

use etherparse::Ipv4Header;
use proptest::prelude::*;

use super::*;
use crate::gateway::testing::{cut, reassemble, udp_with_options};
use crate::wire::testing::{hostile, noise};

/// Record route (not copied), router alert (copied), padding between them.
const OPTIONS: [u8; 16] = [7, 7, 4, 0, 0, 0, 0, 1, 148, 4, 0, 0, 1, 0, 0, 0];

/// Options of every kind, well-formed and padded to words.
fn options() -> impl Strategy<Value = Vec<u8>> {
    let one = prop_oneof![
        Just(vec![1]),
        (2u8.., 0usize..8).prop_map(|(kind, len)| {
            let mut option = vec![kind, len as u8 + 2];
            option.extend(noise(len, 3));
            option
        })
    ];
    proptest::collection::vec(one, 0..5).prop_map(|options| {
        let mut all = options.concat();
        all.resize(all.len().next_multiple_of(4).min(40), 0);
        all
    })
}

#[test]
fn options_are_copied_by_their_flag() {
    let packet = udp_with_options(&OPTIONS, &noise(100, 1));
    let fragments = cut(&packet, 68);
    assert_eq!(&fragments[0][20..36], &OPTIONS);
    for later in &fragments[1..] {
        assert_eq!((later[0], &later[20..24]), (0x46, &[148, 4, 0, 0][..]));
    }
    assert_eq!(reassemble(&fragments).1, noise(100, 1));
}

#[test]
fn what_fits_is_left_as_it_is() {
    let mut packet = udp_with_options(&OPTIONS, &noise(100, 1));
    assert_eq!(cut(&packet, 136), [packet.clone()]);
    let mut header = Ipv4Header::from_slice(&packet).unwrap().0;
    header.dont_fragment = true;
    header.header_checksum = header.calc_header_checksum();
    packet[..36].copy_from_slice(&header.to_bytes());
    assert_eq!(cut(&packet, 136), [packet.clone()]);
    assert!(matches!(fragments(&packet, 135), Err(FragmentError::DontFragment)));
}

#[test]
fn what_cannot_be_cut_is_refused_by_name() {
    let packet = udp_with_options(&OPTIONS, &noise(100, 1));
    assert!(matches!(fragments(&packet, 43), Err(FragmentError::TooNarrow)));
    assert!(fragments(&packet, 44).is_ok());
    let refused = |change: fn(&mut Ipv4Header), payload: usize| {
        let mut header = Ipv4Header::from_slice(&packet).unwrap().0;
        change(&mut header);
        header.set_payload_len(payload).unwrap();
        header.header_checksum = header.calc_header_checksum();
        let packet = [&header.to_bytes()[..], &noise(payload, 1)].concat();
        matches!(fragments(&packet, 100), Err(FragmentError::Malformed))
    };
    assert!(refused(|h| h.more_fragments = true, 100), "a middle that does not end on eight bytes");
    assert!(refused(|h| h.fragment_offset = 8_191.try_into().unwrap(), 8), "beyond the longest datagram");
    assert!(refused(|h| h.options = [7, 9, 0, 0][..].try_into().unwrap(), 8), "an option beyond the header");
    assert!(!refused(|h| h.more_fragments = true, 104));
    let mut damaged = packet.clone();
    damaged[8] ^= 1;
    assert!(matches!(fragments(&damaged, 100), Err(FragmentError::Malformed)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_parts_make_the_whole(options in options(), len in 0usize..4_000, mtu in 68u16..2_000) {
        let (packet, payload) = (udp_with_options(&options, &noise(len, 5)), noise(len, 5));
        let fragments = cut(&packet, mtu);
        prop_assert!(fragments.iter().all(|fragment| fragment.len() <= usize::from(mtu)));
        let offsets: Vec<_> = fragments.iter().map(|f| Ipv4Packet::parse(f).unwrap().fragment_offset()).collect();
        prop_assert!(offsets.is_sorted() && offsets[0] == 0, "in order");
        let (header, data) = reassemble(&fragments);
        prop_assert_eq!(&header.to_bytes()[..], &packet[..packet.len() - len]);
        prop_assert_eq!(data, payload);
    }

    #[test]
    fn fragments_of_fragments_make_the_whole(options in options(), len in 0usize..4_000, mtus: [u16; 2]) {
        let packet = udp_with_options(&options, &noise(len, 5));
        let [wide, narrow] = mtus.map(|mtu| 68 + mtu % 1_500);
        let mut fragments: Vec<_> = cut(&packet, wide).iter().flat_map(|part| cut(part, narrow)).collect();
        prop_assert!(fragments.iter().all(|fragment| fragment.len() <= usize::from(narrow)));
        fragments.reverse();
        let (header, data) = reassemble(&fragments);
        prop_assert_eq!([&header.to_bytes()[..], &data].concat(), packet);
    }

    #[test]
    fn hostile_packets_end(frame in hostile(), mtu: u16) {
        if let Some(ip) = frame.get(14..)
            && let Ok(mut fragments) = fragments(ip, mtu)
        {
            let (mut room, mut count) = (Vec::new(), 0);
            while fragments.next_into(&mut room) {
                count += 1;
            }
            prop_assert!(count <= ip.len().div_ceil(8).max(1));
        }
    }
}
