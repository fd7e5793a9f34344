//! What the two processes say to each other.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::error::Version;
use crate::counters::Totals;
use crate::gateway::EgressSpec;
use crate::gateway::route::LinkId;
use crate::io::udp::Terms;
use crate::nat::{Counts, Restored, SessionRow};
use crate::runtime::{
    CaptureFilter, FdbRow, HeldPort, OutsideWants, Purpose, Stats, UnderlayConfig, UnderlayInfo,
};
use crate::tables::{PortId, SegmentId, TablesSpec, Transport};
use crate::tunnel::Vtep;
use crate::tunnel::outer::NextHop;

/// Counts the changes of this protocol.
const PROTOCOL: u32 = 2;

/// How every conversation begins, in every version: says who we are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    magic: [u8; 4],
    protocol: u32,
    build: String,
}

impl Hello {
    /// Ours.
    pub(super) fn ours() -> Self {
        Self { magic: *b"weft", protocol: PROTOCOL, build: env!("CARGO_PKG_VERSION").to_owned() }
    }

    pub(super) fn version(self) -> Version {
        Version { protocol: self.protocol, build: self.build }
    }
}

/// What does not change while a packet process lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// How many workers.
    pub workers: usize,
    /// The underlay, if there is one, and the terms of its sockets.
    pub underlay: Option<(UnderlayConfig, Terms)>,
}

/// What a packet process has, for whoever comes to know it later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// How it was started.
    pub setup: Setup,
    /// The tables it goes by.
    pub tables: TablesSpec,
    /// The ports it serves, with the names their TAPs were created under.
    pub ports: Vec<(PortId, String)>,
    /// The name of its uplink.
    pub uplink: Option<String>,
    /// The next hops it was told.
    pub hops: Vec<(Vtep, NextHop)>,
    /// How packets leave the host.
    pub egress: EgressSpec,
    /// The links it has sockets of.
    pub links: Vec<LinkId>,
    /// The ports it holds, and what for.
    pub held: Vec<(HeldPort, Purpose)>,
    /// Whether it writes sessions down.
    pub ledger: bool,
}

/// What control asks. Descriptors that come along stand in brackets.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Start the workers. [A bound Unix socket, the underlay's sockets]
    Start(Setup),
    /// Make these tables the whole truth.
    Publish(TablesSpec),
    /// Serve a port from the TAP of this name. [Its queues]
    Attach(PortId, String),
    /// Let go of a port.
    Detach(PortId),
    /// Tell events from here on. [A socket to tell them on]
    Events,
    /// Read the counters.
    Stats,
    /// Read the forwarding database of a segment.
    Fdb(SegmentId),
    /// Start a capture; ports have these names in it. [A socket for it]
    Capture(CaptureFilter, Vec<(PortId, String)>),
    /// How is the underlay?
    Underlay,
    /// Send through the uplink of this name. [Its queues]
    OpenUplink(String),
    /// Send everything through sockets.
    CloseUplink,
    /// This is how VTEPs are reached.
    NextHops(Vec<(Vtep, NextHop)>),
    /// Which next hops were used since this was last asked?
    UsedNextHops,
    /// Route what leaves the host so. [Sockets of these links, so many of each]
    Egress(EgressSpec, Vec<(LinkId, usize)>),
    /// Hold these ports. [Their sockets, in the same order]
    Hold(Purpose, IpAddr, Transport, Vec<u16>),
    /// Lend these ports, which are held, to NAT.
    Lend(IpAddr, Transport, Vec<u16>),
    /// Let go of these published ports.
    Release(Vec<HeldPort>),
    /// What does the NAT want?
    Wants,
    /// List sessions, so many at most.
    Sessions(usize),
    /// How much does the NAT hold?
    NatCounts,
    /// Take over these sessions and write them down from here on. [A ledger]
    Ledger,
    /// What do you have?
    Inventory,
    /// Give back the underlay's sockets.
    Sockets,
    /// Give back the queues of a port's TAP.
    Port(PortId),
    /// Give back the queues of the uplink.
    Uplink,
    /// Give back the sockets of a link.
    Link(LinkId),
    /// Give back the sockets of these held ports, as many as fit into a message.
    Held(Vec<HeldPort>),
    /// Give back the ledger.
    GiveLedger,
    /// End.
    End,
}

/// What the packet process answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// It is done. [What was asked for]
    Done,
    /// It cannot be done, and nothing has changed.
    Refused(Refusal),
    /// The counters.
    Stats(StatsMessage),
    /// A forwarding database.
    Fdb(Vec<FdbRow>),
    /// The underlay.
    Underlay(Option<UnderlayInfo>),
    /// VTEPs.
    Vteps(Vec<Vtep>),
    /// What is wanted.
    Wants(OutsideWants),
    /// Sessions.
    Sessions(Vec<SessionRow>),
    /// How much the NAT holds.
    NatCounts(Counts),
    /// Sessions were taken over.
    Restored(Restored),
    /// Everything.
    Inventory(Box<Inventory>),
}

/// Why not.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Refusal {
    /// The tables are nonsense; control finds out why by the same rules.
    Tables,
    /// The TAP has another number of queues than there are workers.
    Queues(usize),
    /// There is no such thing.
    NoSuch,
    /// There are too many captures.
    TooManyCaptures,
    /// The workers do not start, and why.
    Start(String),
    /// No descriptor is left.
    Descriptors,
    /// The ways off the host cannot be so, and why.
    Outside(String),
}

/// What is asked of a capture, on its own socket.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum CaptureRequest {
    /// At most so many frames, after at most so many milliseconds.
    Next(usize, u64),
    /// The last block.
    Finish,
}

/// pcapng, and how many frames it holds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    pub(super) frames: usize,
}

/// [`Stats`] in a form that serde knows.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StatsMessage {
    total: TotalsMessage,
    segments: Vec<(SegmentId, TotalsMessage)>,
}

/// Packets, bytes, and drops by the number of their reason.
type TotalsMessage = (u64, u64, Vec<u64>);

impl From<&Stats> for StatsMessage {
    fn from(stats: &Stats) -> Self {
        let told = |totals: &Totals| (totals.packets, totals.bytes, totals.drops.to_vec());
        let segments = stats.segments.iter().map(|(id, totals)| (*id, told(totals))).collect();
        Self { total: told(&stats.total), segments }
    }
}

impl From<StatsMessage> for Stats {
    fn from(message: StatsMessage) -> Self {
        let heard = |(packets, bytes, counts): TotalsMessage| {
            let mut totals = Totals { packets, bytes, ..Totals::default() };
            totals.drops.iter_mut().zip(counts).for_each(|(drop, count)| *drop = count);
            totals
        };
        let segments = message.segments.into_iter().map(|(id, totals)| (id, heard(totals))).collect();
        Self { total: heard(message.total), segments }
    }
}
