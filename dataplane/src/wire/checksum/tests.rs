use proptest::prelude::*;

use super::*;

/// RFC 1071 section 4.1, word by word.
fn naive(data: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in data.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

#[test]
fn rfc_1071_example() {
    assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
}

#[test]
fn rfc_1624_section_4_example() {
    // The case in which RFC 1141 gives 0xffff instead of 0.
    assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
}

#[test]
fn all_ones_do_not_overflow_a_super_frame() {
    assert_eq!(sum(&[0xff; 65_536]), 0xffff);
    assert_eq!(sum(&[0; 65_536]), 0);
    assert_eq!(fold(u64::MAX), 0xffff);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn agrees_with_the_definition(data in proptest::collection::vec(any::<u8>(), 0..700)) {
        prop_assert_eq!(sum(&data), u64::from(naive(&data)));
    }

    #[test]
    fn composes_at_any_cut(
        data in proptest::collection::vec(any::<u8>(), 0..300),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(data.len() + 1)).collect();
        cuts.extend([0, data.len()]);
        cuts.sort_unstable();
        let parts = cuts.windows(2).fold(Sum::new(), |sum, ends| sum.add(&data[ends[0]..ends[1]]));
        prop_assert_eq!(parts.fold(), naive(&data));
    }

    #[test]
    fn update_is_recomputation(mut data in proptest::collection::vec(1u8.., 2..64), at: prop::sample::Index, new: u16) {
        data.truncate(data.len() & !1);
        let at = at.index(data.len() / 2) * 2;
        let before = checksum(&data);
        let old = u16::from_be_bytes([data[at], data[at + 1]]);
        data[at..at + 2].copy_from_slice(&new.to_be_bytes());
        // All-zero data has a checksum that no update can reach (RFC 1624 section 3).
        prop_assume!(data.iter().any(|&byte| byte != 0));
        prop_assert_eq!(update(before, old, new), checksum(&data));
    }

    #[test]
    fn pseudo_headers_are_their_bytes(source: [u8; 16], destination: [u8; 16], protocol: u8, len: u16) {
        let mut bytes = [&source[..], &destination[..]].concat();
        bytes.extend([0, 0]);
        bytes.extend(len.to_be_bytes());
        bytes.extend([0, 0, 0, protocol]);
        let v6 = Sum::pseudo_v6(source.into(), destination.into(), protocol, len.into());
        prop_assert_eq!(v6.fold(), naive(&bytes));

        let (source, destination): ([u8; 4], [u8; 4]) = (array(&source, 0), array(&destination, 0));
        let bytes = [&source[..], &destination, &[0, protocol], &len.to_be_bytes()].concat();
        let v4 = Sum::pseudo_v4(source.into(), destination.into(), protocol, len.into());
        prop_assert_eq!(v4.fold(), naive(&bytes));
        prop_assert_eq!(v4.add_u16(7).finish(), !naive(&[&bytes[..], &[0, 7]].concat()));
    }

    #[test]
    fn a_change_of_words_is_recomputation(old: [u8; 16], new: [u8; 16], rest in proptest::collection::vec(1u8.., 2)) {
        let [before, after] = [old, new].map(|words| [&words[..], &rest].concat());
        let change = Change::NONE.words(&old, &new);
        prop_assert_eq!(change.checksum(checksum(&before)), checksum(&after));
        prop_assert_eq!(u64::from(change.sum(sum(&before) as u16)), sum(&after));
    }
}
