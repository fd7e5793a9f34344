//! Joining, judged by cutting again.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::*;
use crate::offload::segments;

const SIZE: usize = 100;

/// One segment of a flow that began at sequence number 1,000.
#[derive(Clone, Debug)]
struct Segment {
    v6: bool,
    port: u16,
    from: usize,
    payload: Vec<u8>,
    psh: bool,
    id: u16,
}

impl Segment {
    fn new(port: u16, from: usize, len: usize) -> Self {
        let payload = (from..from + len).map(|i| (i ^ usize::from(port)) as u8).collect();
        Self { v6: false, port, from, payload, psh: false, id: 0 }
    }

    fn frame(&self) -> Vec<u8> {
        let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let (a, b) = (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2));
        let ip = if self.v6 {
            link.ipv6(a.octets(), b.octets(), 64)
        } else {
            link.ipv4(Ipv4Addr::new(10, 0, 0, 1).octets(), Ipv4Addr::new(10, 0, 0, 2).octets(), 64)
        };
        let mut tcp = ip.tcp(self.port, 80, 1_000 + self.from as u32, 5_000).ack(77);
        if self.psh {
            tcp = tcp.psh();
        }
        let mut frame = Vec::new();
        tcp.write(&mut frame, &self.payload).unwrap();
        if !self.v6 {
            frame[18..20].copy_from_slice(&self.id.to_be_bytes());
            frame[24..26].fill(0);
            let sum = crate::wire::checksum::checksum(&frame[14..34]);
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        frame
    }
}

/// What comes out of one batch.
fn join(frames: &[Vec<u8>]) -> Vec<(Vec<u8>, Offload, u64)> {
    let mut joining = Coalescer::default();
    let mut left = Vec::new();
    for frame in frames {
        joining.push((), frame, Offload::NONE, |j| left.push((j.bytes.to_vec(), j.offload, j.count)));
    }
    joining.flush(|j| left.push((j.bytes.to_vec(), j.offload, j.count)));
    left
}

/// Everything that came out, cut again.
fn cut(joined: &[(Vec<u8>, Offload, u64)]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for (bytes, offload, _) in joined {
        let pieces = segments(bytes, *offload).unwrap();
        for index in 0..pieces.len() {
            let mut out = vec![0; pieces.max_len()];
            let len = pieces.write(index, &mut out);
            out.truncate(len);
            frames.push(out);
        }
    }
    frames
}

fn stream(port: u16, count: usize, v6: bool) -> Vec<Segment> {
    (0..count).map(|n| Segment { v6, id: 40 + n as u16, ..Segment::new(port, n * SIZE, SIZE) }).collect()
}

fn frames(segments: &[Segment]) -> Vec<Vec<u8>> {
    segments.iter().map(Segment::frame).collect()
}

#[test]
fn a_burst_becomes_one_super_frame_that_cuts_into_the_same_bytes() {
    for v6 in [false, true] {
        let mut burst = stream(9, 20, v6);
        burst.last_mut().unwrap().payload.truncate(33);
        burst.last_mut().unwrap().psh = true;
        let sent = frames(&burst);
        let joined = join(&sent);
        assert_eq!(joined.iter().map(|j| j.2).collect::<Vec<_>>(), [20], "one super-frame");
        assert_eq!(joined[0].1.gso.unwrap().size as usize, SIZE);
        assert_eq!(cut(&joined), sent);
    }
}

#[test]
fn two_flows_in_turn_become_two_super_frames() {
    let (a, b) = (stream(1, 10, false), stream(2, 10, false));
    let mixed: Vec<_> = a.iter().zip(&b).flat_map(|(a, b)| [a.frame(), b.frame()]).collect();
    let joined = join(&mixed);
    assert_eq!(joined.iter().map(|j| j.2).collect::<Vec<_>>(), [10, 10]);
    assert_eq!(cut(&joined), [frames(&a), frames(&b)].concat());
}

#[test]
fn a_gap_a_push_or_a_shorter_segment_ends_a_super_frame() {
    let mut gap = stream(9, 6, false);
    gap.remove(3);
    assert_eq!(join(&frames(&gap)).iter().map(|j| j.2).collect::<Vec<_>>(), [3, 2]);
    let mut push = stream(9, 6, false);
    push[2].psh = true;
    assert_eq!(join(&frames(&push)).iter().map(|j| j.2).collect::<Vec<_>>(), [3, 3]);
    let mut short = stream(9, 6, false);
    short[2].payload.pop();
    assert_eq!(join(&frames(&short)).iter().map(|j| j.2).collect::<Vec<_>>(), [3, 3]);
}

#[test]
fn a_corrupt_segment_leaves_as_it_came() {
    let mut sent = frames(&stream(9, 5, false));
    *sent[2].last_mut().unwrap() ^= 1;
    let joined = join(&sent);
    assert_eq!(cut(&joined), sent, "same bytes, same order, no checksum mended");
    assert_eq!(joined.iter().map(|j| j.2).collect::<Vec<_>>(), [2, 1, 2]);
}

#[test]
fn a_bare_ack_makes_what_is_held_of_its_flow_leave_first() {
    let mut burst = stream(9, 3, false);
    burst.push(Segment { payload: vec![], ..Segment::new(9, 3 * SIZE, 0) });
    let other = stream(8, 1, false);
    let sent = [frames(&other), frames(&burst)].concat();
    let left = join(&sent);
    assert_eq!(left.iter().map(|j| j.2).collect::<Vec<_>>(), [3, 1, 1]);
    assert_eq!(left[1].0, sent[4], "the ACK follows its flow");
}

#[test]
fn more_flows_than_can_grow_make_the_oldest_leave() {
    let all: Vec<_> = (0..2 * FLOWS_MAX as u16).flat_map(|port| frames(&stream(port, 1, false))).collect();
    assert_eq!(cut(&join(&all)), all);
}

#[test]
fn a_super_frame_stays_below_64_kib() {
    let long: Vec<_> =
        (0..80).map(|n| Segment { id: n as u16, ..Segment::new(9, n * 1_400, 1_400) }.frame()).collect();
    let joined = join(&long);
    assert!(joined.iter().all(|j| j.0.len() <= FRAME_MAX));
    assert_eq!(cut(&joined), long);
}

/// UDP datagrams from port 9, `lens` bytes each.
fn datagrams(to: u16, lens: &[usize]) -> Vec<Vec<u8>> {
    let datagram = |(n, &len): (usize, &usize)| {
        let mut frame = Vec::new();
        let ip = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4(
            [10, 0, 0, 1],
            [10, 0, 0, 2],
            64,
        );
        ip.udp(9, to).write(&mut frame, &vec![n as u8 + 1; len]).unwrap();
        frame[18..20].copy_from_slice(&(n as u16).to_be_bytes());
        frame[24..26].fill(0);
        let sum = crate::wire::checksum::checksum(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame
    };
    lens.iter().enumerate().map(datagram).collect()
}

fn counts(joined: &[(Vec<u8>, Offload, u64)]) -> Vec<u64> {
    joined.iter().map(|j| j.2).collect()
}

#[test]
fn datagrams_of_equal_length_become_one_and_keep_their_boundaries() {
    let sent = datagrams(7_000, &[64, 64, 64, 64, 30, 64, 64]);
    let joined = join(&sent);
    assert_eq!(counts(&joined), [5, 2], "a shorter one ends a super-frame");
    assert_eq!(cut(&joined), sent);
    let many = datagrams(7_000, &[10; 150]);
    assert_eq!(counts(&join(&many)), [64, 64, 22]);
    assert_eq!(cut(&join(&many)), many);
}

#[test]
fn a_longer_datagram_begins_a_super_frame_of_its_own() {
    let sent = datagrams(7_000, &[64, 64, 65, 65]);
    assert_eq!(counts(&join(&sent)), [2, 2]);
    assert_eq!(cut(&join(&sent)), sent);
}

#[test]
fn datagrams_of_tunnels_without_checksum_or_corrupt_are_not_joined() {
    for port in TUNNEL_PORTS {
        let sent = datagrams(port, &[64; 4]);
        assert_eq!(counts(&join(&sent)), [1; 4]);
    }
    let mut sent = datagrams(7_000, &[64; 3]);
    sent.iter_mut().for_each(|frame| frame[40..42].fill(0));
    assert_eq!(counts(&join(&sent)), [1; 3]);
    assert_eq!(cut(&join(&sent)), sent);
    let mut sent = datagrams(7_000, &[64; 3]);
    *sent[1].last_mut().unwrap() ^= 1;
    assert_eq!(counts(&join(&sent)), [1, 1, 1]);
    assert_eq!(cut(&join(&sent)), sent);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever the interleaving: every frame comes out once, unchanged, and each flow in its order.
    #[test]
    fn any_interleaving_keeps_each_flows_bytes_and_order(
        plan in proptest::collection::vec((0u16..4, 0usize..=SIZE, 0u8..12), 1..120),
    ) {
        let mut at = [0usize; 4];
        let mut ids = [0u16; 4];
        let mut sent = Vec::new();
        for (flow, len, oddity) in plan {
            let index = usize::from(flow);
            let len = if oddity > 3 { SIZE } else { len };
            let mut segment = Segment { v6: flow == 3, psh: oddity == 0, id: ids[index], ..Segment::new(flow, at[index], len) };
            if oddity == 1 {
                segment.from += 7;
            }
            at[index] += len;
            ids[index] = ids[index].wrapping_add(1);
            let mut frame = segment.frame();
            if oddity == 2 {
                *frame.last_mut().unwrap() ^= 0x10;
            }
            sent.push((flow, frame));
        }
        let left = cut(&join(&sent.iter().map(|(_, frame)| frame.clone()).collect::<Vec<_>>()));
        prop_assert_eq!(left.len(), sent.len());
        for flow in 0..4u16 {
            let of_flow = |frame: &&Vec<u8>| {
                let ports = if frame[12..14] == [0x86, 0xdd] { 54 } else { 34 };
                frame[ports..ports + 2] == flow.to_be_bytes()
            };
            let came: Vec<_> = sent.iter().map(|(_, frame)| frame).filter(of_flow).collect();
            let went: Vec<_> = left.iter().filter(of_flow).collect();
            prop_assert_eq!(came, went);
        }
    }

    #[test]
    fn arbitrary_bytes_come_out_as_they_went_in(frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..8)) {
        let left: Vec<_> = join(&frames).into_iter().map(|j| j.0).collect();
        prop_assert_eq!(left, frames);
    }
}
