//! Resets as etherparse reads them, and who gets none.

use etherparse::{IpSlice, PacketBuilder, TcpHeader, TcpSlice};
use proptest::prelude::*;

use super::*;
use crate::wire::testing::{hostile, noise};

const V4: [[u8; 4]; 2] = [[10, 1, 0, 2], [8, 8, 8, 8]];

/// A segment of either family from port 5,000 to port 80.
fn sent(is_v4: bool, change: impl FnOnce(&mut TcpHeader), payload: &[u8]) -> Vec<u8> {
    let mut header = TcpHeader::new(5_000, 80, 1_000, 65_535);
    change(&mut header);
    let mut packet = Vec::new();
    let step = if is_v4 {
        PacketBuilder::ipv4(V4[0], V4[1], 64)
    } else {
        PacketBuilder::ipv6([0xfd; 16], [0x20; 16], 64)
    };
    step.tcp_header(header).write(&mut packet, payload).unwrap();
    packet
}

/// The reset of the sender of `packet`, if there is one.
fn told(packet: &[u8]) -> Option<TcpHeader> {
    let mut room = vec![0xee; 14];
    let told = reset(packet, &mut room);
    assert_eq!((told, &room[..14]), (room.len() > 14, &[0xee; 14][..]));
    if !told {
        return None;
    }
    let (ip, about) = (IpSlice::from_slice(&room[14..]).unwrap(), IpSlice::from_slice(packet).unwrap());
    assert_eq!((ip.source_addr(), ip.destination_addr()), (about.destination_addr(), about.source_addr()));
    let segment = TcpSlice::from_slice(ip.payload().payload).unwrap();
    let sum = match &ip {
        IpSlice::Ipv4(v4) => {
            let header = v4.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            segment.calc_checksum_ipv4(v4.header().source(), v4.header().destination())
        }
        IpSlice::Ipv6(v6) => segment.calc_checksum_ipv6(v6.header().source(), v6.header().destination()),
    };
    assert_eq!(sum, Ok(segment.checksum()));
    assert!(segment.payload().is_empty());
    Some(segment.to_header())
}

#[test]
fn a_reset_is_what_its_receiver_expects_next() {
    for is_v4 in [true, false] {
        let payload = noise(3_000, 1);
        let acknowledging =
            sent(is_v4, |header| (header.ack, header.acknowledgment_number) = (true, 77), &payload);
        let reset = told(&acknowledging).unwrap();
        assert_eq!((reset.source_port, reset.destination_port), (80, 5_000));
        assert!(reset.rst && !reset.ack && !reset.syn && !reset.fin);
        assert_eq!((reset.sequence_number, reset.acknowledgment_number), (77, 0));

        let plain = told(&sent(is_v4, |header| header.fin = true, b"abc")).unwrap();
        assert!(plain.rst && plain.ack);
        assert_eq!((plain.sequence_number, plain.acknowledgment_number), (0, 1_004));
        assert_eq!(told(&sent(is_v4, |header| header.rst = true, b"")), None, "no answer to a reset");
    }
}

#[test]
fn what_is_no_segment_is_not_answered() {
    let mut datagram = Vec::new();
    PacketBuilder::ipv4(V4[0], V4[1], 64).udp(5_000, 80).write(&mut datagram, &[0; 40]).unwrap();
    assert_eq!(told(&datagram), None);
    let mut later = sent(true, |_| {}, b"");
    later[7] = 1;
    assert_eq!(told(&later), None);
    assert_eq!(told(&sent(true, |_| {}, b"")[..30]), None);
    assert_eq!(told(&[]), None);
}

proptest! {
    #[test]
    fn hostile_packets_do_not_panic(frame in hostile()) {
        let mut room = Vec::new();
        let _ = reset(frame.get(14..).unwrap_or_default(), &mut room);
    }
}
