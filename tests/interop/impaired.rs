//! What every pairing has to get through over a bad wire.
//!
//! Numbered and hashed datagrams of several flows go both ways at once, alone and in bursts that the sender's stack
//! leaves to its device as one super-frame. The wire keeps the order in which they came to it and went from it, so
//! both halves of the way are held to the same: of each flow, everything arrives, once, unchanged and in order. Then
//! TCP streams go both ways, and the hashes of what was sent and what arrived are compared.

use crate::conversation::{Pairing, meet_on};
use harness::datagram;
use harness::impairment::Impairment;
use harness::need;
use harness::random::Random;
use harness::relay::{Crossing, Relay};
use harness::sieve::Sieve;
use harness::stream;
use harness::traffic::{self, End};
use harness::underlay::{Offloads, UPLINK, Underlay};
use harness::wait::PATIENCE;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg, setsockopt, sockopt};
use std::io::{ErrorKind, IoSlice};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::thread;

/// Flows of datagrams each way.
const FLOWS: u16 = 3;

/// Datagrams on their way to the wire at most: fewer than a container's device queues.
const WINDOW: usize = 100;

/// Datagrams in one burst at most. With [`WINDOW`], less than a queue of 500 holds.
const BURST: usize = 24;

/// Room for a whole flow that nobody has read yet.
const BACKLOG: usize = 16 << 20;

/// Streams each way that may happen to lose no super-frame: hundreds of these, of which one in 32 is to get lost.
const LOSSLESS_MAX: usize = 20;

/// The number of the last datagram of each flow.
const LAST: u32 = u32::MAX;

/// Two containers and the wire between their hosts.
struct Rig<'a> {
    ends: [End<'a>; 2],
    relay: &'a Relay,
    /// Bytes of the longest datagram.
    longest: usize,
}

/// Talks through the pairing over a wire that gets worse, and then to receivers whose interfaces join frames (GRO).
pub(crate) fn endure(pairing: Pairing) {
    let underlay = Underlay::severed(pairing.family);
    let relay = Relay::start(&underlay);
    meet_on(&underlay, pairing, &[], |left, right| {
        traffic::ping(left, right);
        let headers = if left.ip.is_ipv4() { 28 } else { 48 };
        let rig = Rig { ends: [left, right], relay: &relay, longest: pairing.family.inner_mtu() - headers };
        rig.datagrams(Impairment::NONE);
        rig.datagrams(Impairment::LOSS);
        rig.streams(Impairment::LOSS);
        for joining in ["off", "on"] {
            for host in &underlay.hosts {
                host.ns.exec(&["ethtool", "-K", UPLINK, "gro", joining]).must();
            }
            rig.datagrams(Impairment::DISORDER);
            rig.streams(Impairment::DISORDER);
        }
    });
}

/// Carries TCP streams both ways over a wire that super-frames cross, and on which some of them get lost.
pub(crate) fn endure_lost_super_frames(pairing: Pairing) {
    let underlay = Underlay::new(2, pairing.family, Offloads::On);
    let sieves: Vec<_> = underlay.hosts.iter().map(Sieve::new).collect();
    meet_on(&underlay, pairing, &[], |left, right| {
        traffic::ping(left, right);
        let least = if need::full() { 100 } else { 2 };
        for round in 1.. {
            for (from, to) in [(left, right), (right, left)] {
                stream::carry(from, to, 64);
            }
            if round >= least && sieves.iter().all(|sieve| sieve.lost() > 0) {
                break;
            }
            assert!(round < least + LOSSLESS_MAX, "no super-frame was lost in {round} rounds");
        }
    });
}

impl Rig<'_> {
    /// TCP both ways at once.
    fn streams(&self, impairment: Impairment) {
        let [left, right] = self.ends;
        self.relay.impair(impairment);
        let blocks = if need::full() { 1_024 } else { 48 };
        thread::scope(|scope| {
            scope.spawn(|| stream::carry(right, left, blocks));
            stream::carry(left, right, blocks);
        });
        for from in [0, 1] {
            assert_impaired(&self.relay.crossing(from), impairment);
        }
    }

    /// Datagrams both ways at once.
    fn datagrams(&self, impairment: Impairment) {
        self.relay.impair(impairment);
        let ways = [0, 1].map(|from| Way::open(self, from));
        let bursts = if need::full() { 4_000 } else { 200 };
        let (sent, received) = thread::scope(|scope| {
            let receivers = ways.each_ref().map(|way| {
                way.flows.each_ref().map(|flow| scope.spawn(|| receive_until_last(&flow.receiver)))
            });
            let senders = ways.each_ref().map(|way| scope.spawn(|| way.send(bursts)));
            let sent = senders.map(|sender| sender.join().unwrap_or_else(|p| std::panic::resume_unwind(p)));
            // What marks the end of a flow must not be lost nor overtake anything.
            for from in [0, 1] {
                assert!(self.relay.await_datagrams(from, sent[from].len()), "the relay lacks some datagrams");
                assert!(self.relay.await_release(from), "the relay holds frames for ever");
            }
            self.relay.heal();
            ways.iter().for_each(Way::send_last);
            (sent, receivers.map(|way| way.map(|flow| flow.join().expect("no panic"))))
        });
        for (from, (sent, received)) in sent.into_iter().zip(received).enumerate() {
            let crossing = self.relay.crossing(from);
            assert_impaired(&crossing, impairment);
            for (flow, received) in (0..).zip(received) {
                judge(flow, &sent, &crossing, &received);
            }
        }
    }
}

/// One direction of the datagrams.
struct Way<'a> {
    rig: &'a Rig<'a>,
    from: usize,
    flows: [Flow; FLOWS as usize],
}

struct Flow {
    sender: UdpSocket,
    receiver: UdpSocket,
}

impl<'a> Way<'a> {
    fn open(rig: &'a Rig<'a>, from: usize) -> Self {
        let (near, far) = (rig.ends[from], rig.ends[1 - from]);
        let open =
            |end: End<'_>| end.ns.enter(|| UdpSocket::bind((end.ip, 0)).expect("the address is there"));
        let flows = [(); FLOWS as usize].map(|()| {
            let flow = Flow { sender: open(near), receiver: open(far) };
            flow.sender.connect(flow.receiver.local_addr().expect("bound")).expect("a route");
            flow.receiver.set_read_timeout(Some(PATIENCE)).expect("not zero");
            setsockopt(&flow.receiver, sockopt::RcvBufForce, &BACKLOG).expect("as root");
            flow
        });
        Way { rig, from, flows }
    }

    /// Sends bursts of datagrams and returns their heads in order. The wire sets the pace: a container's device drops
    /// what the switch cannot keep up with.
    fn send(&self, bursts: usize) -> Vec<u64> {
        let mut random = Random::new(self.from as u64);
        let mut heads = Vec::new();
        for _ in 0..bursts {
            let wanted = heads.len().saturating_sub(WINDOW);
            let came = self.rig.relay.await_datagrams(self.from, wanted);
            assert!(came, "fewer than {wanted} of {} datagrams reached the wire", heads.len());
            let flow = random.below(FLOWS.into()) as u16;
            let size = datagram::SHORTEST + random.below(self.rig.longest - datagram::SHORTEST + 1);
            let tail = datagram::SHORTEST + random.below(size - datagram::SHORTEST + 1);
            let count = 1 + random.below(2) * random.below(BURST);
            let from = heads.len();
            heads.extend((from..from + count).map(|number| datagram::head(flow, number as u32)));
            let sizes = std::iter::repeat_n(size, count - 1).chain([tail]);
            let burst: Vec<_> =
                heads[from..].iter().zip(sizes).map(|(head, size)| datagram::write(*head, size)).collect();
            self.flows[usize::from(flow)].send(&burst.concat(), size);
        }
        heads
    }

    fn send_last(&self) {
        for (number, flow) in (0..).zip(&self.flows) {
            let last = datagram::write(datagram::head(number, LAST), datagram::SHORTEST);
            flow.send(&last, last.len());
        }
    }
}

impl Flow {
    /// Sends datagrams of `size` bytes, the last perhaps shorter, by one call: a super-frame where the device takes it.
    fn send(&self, bytes: &[u8], size: usize) {
        let size = size as u16;
        let control = [ControlMessage::UdpGsoSegments(&size)];
        let parts = [IoSlice::new(bytes)];
        sendmsg::<()>(self.sender.as_raw_fd(), &parts, &control, MsgFlags::empty(), None)
            .unwrap_or_else(|error| panic!("sending {} bytes by {size}: {error}", bytes.len()));
    }
}

/// What arrives up to the datagram that ends the flow, or until nothing has come for long.
fn receive_until_last(socket: &UdpSocket) -> Vec<Result<u64, String>> {
    let mut buffer = vec![0; 65_536];
    let mut arrived = Vec::new();
    loop {
        match socket.recv(&mut buffer) {
            Ok(length) => {
                let read = datagram::read(&buffer[..length]);
                let last = matches!(read, Ok(head) if head as u32 == LAST);
                arrived.push(read);
                if last {
                    return arrived;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return arrived,
        }
    }
}

/// The wire has really been as bad as asked, and what was on it was fit for a wire.
#[track_caller]
fn assert_impaired(crossing: &Crossing, asked: Impairment) {
    let (fates, faults) = (crossing.fates, &crossing.faults);
    assert!(faults.is_empty(), "{faults:?}");
    assert!(fates.came > 0, "nothing came: {fates:?}");
    assert_eq!(fates.dropped > 0, asked.drop > 0, "{fates:?}");
    assert_eq!(fates.duplicated > 0, asked.duplicate > 0, "{fates:?}");
    assert_eq!(fates.overtaken > 0, asked.hold > 0, "{fates:?}");
}

/// Holds both halves of the way to order and completeness within one flow.
#[track_caller]
fn judge(flow: u16, sent: &[u64], crossing: &Crossing, received: &[Result<u64, String>]) {
    let of_flow = |heads: &[u64]| -> Vec<u64> {
        heads.iter().copied().filter(|&head| datagram::flow(head) == flow).collect()
    };
    let received: Vec<u64> = received.iter().map(|read| read.clone().expect("a whole datagram")).collect();
    let sent = [of_flow(sent), vec![datagram::head(flow, LAST)]].concat();
    assert_same(&format!("flow {flow} on its way to the wire"), &sent, &of_flow(&crossing.came));
    assert_same(&format!("flow {flow} on its way from the wire"), &of_flow(&crossing.went), &received);
}

#[track_caller]
fn assert_same(what: &str, expected: &[u64], found: &[u64]) {
    let Some(at) = (0..expected.len().max(found.len())).find(|&at| expected.get(at) != found.get(at)) else {
        return;
    };
    let near = |heads: &[u64]| -> Vec<u32> {
        heads.iter().skip(at.saturating_sub(4)).take(12).map(|&head| head as u32).collect()
    };
    panic!(
        "{what}: {} of {} datagrams; from about the {at}th on {:?} were expected and {:?} came",
        found.len(),
        expected.len(),
        near(expected),
        near(found)
    );
}
