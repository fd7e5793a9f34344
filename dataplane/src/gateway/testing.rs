//! Packets for tests, and a reassembler that is slow and simple.

use etherparse::{IpNumber, Ipv4Header, PacketBuilder};

/// The IP packets of an echo request over IPv4 and IPv6, every checksum right.
pub(crate) fn echo_requests(data: &[u8]) -> [Vec<u8>; 2] {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    let builder = PacketBuilder::ipv4([10, 1, 0, 2], [10, 1, 0, 1], 9).icmpv4_echo_request(7, 8);
    builder.write(&mut v4, data).unwrap();
    let [from, to] = [2, 1].map(|n| std::net::Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, n).octets());
    PacketBuilder::ipv6(from, to, 9).icmpv6_echo_request(7, 8).write(&mut v6, data).unwrap();
    [v4, v6]
}

/// A UDP datagram over IPv4 with header options (`4 * n` bytes); more than one packet can hold is cut off.
pub(crate) fn udp_with_options(options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut header = Ipv4Header::new(0, 64, IpNumber::UDP, [10, 1, 0, 2], [192, 0, 2, 1]).unwrap();
    header.options = options.try_into().unwrap();
    header.identification = 0x1234;
    header.dont_fragment = false;
    header.set_payload_len(payload.len()).unwrap();
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes()[..], payload].concat()
}

/// The datagram of IPv4 fragments that may come in any order: the first one's header as it would be on the whole, and
/// the payload. Panics if anything is missing, contradictory or doubled.
pub(crate) fn reassemble(fragments: &[Vec<u8>]) -> (Ipv4Header, Vec<u8>) {
    let mut payload: Vec<Option<u8>> = Vec::new();
    let (mut first, mut end) = (None, None);
    for fragment in fragments {
        let (header, data) = Ipv4Header::from_slice(fragment).unwrap();
        assert_eq!(usize::from(header.total_len), fragment.len());
        assert_eq!(header.header_checksum, header.calc_header_checksum());
        let at = usize::from(header.fragment_offset.value()) * 8;
        payload.resize(payload.len().max(at + data.len()), None);
        for (slot, &byte) in payload[at..].iter_mut().zip(data) {
            assert!(slot.replace(byte).is_none(), "doubled");
        }
        if !header.more_fragments {
            assert_eq!(end.replace(at + data.len()), None, "two ends");
        }
        if at == 0 {
            first = Some(header);
        }
    }
    let mut header = first.expect("a first fragment");
    assert_eq!(end, Some(payload.len()));
    header.more_fragments = false;
    header.set_payload_len(payload.len()).unwrap();
    header.header_checksum = header.calc_header_checksum();
    (header, payload.into_iter().map(|byte| byte.expect("no gap")).collect())
}

/// Every fragment that [`fragments`](super::fragment::fragments) makes.
pub(crate) fn cut(ip: &[u8], mtu: u16) -> Vec<Vec<u8>> {
    let mut fragments = super::fragment::fragments(ip, mtu).unwrap_or_else(|error| panic!("{error}"));
    let mut all = Vec::new();
    loop {
        // What is in the room already is left alone.
        let mut room = vec![0xee; 14];
        if !fragments.next_into(&mut room) {
            assert_eq!(room, [0xee; 14]);
            return all;
        }
        assert_eq!(room[..14], [0xee; 14]);
        all.push(room.split_off(14));
    }
}
