//! A host that does what a row says, and says what comes of it.
//!
//! ```text
//! from a: FRAME                               the endpoint of port a sends
//! from a 50 times: FRAME                      at once
//! tunnel 192.0.2.2 red: FRAME                 a VTEP sends; red is a network of the head, or a VNI
//! tunnel 192.0.2.2 red flags=00 reserved=ffffffff ecn=3 cut=7: FRAME
//!                                             with this flags byte, these reserved bits, this outer ECN field, and cut
//! wait 300                                    seconds
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use weft_dataplane::counters::Totals;
use weft_dataplane::datapath::Datapath;
use weft_dataplane::io::FrameIo;
use weft_dataplane::io::memory::{Carried, MemoryPort, MemoryRx, MemoryUnderlay};
use weft_dataplane::offload::{Checksum, Offload};
use weft_dataplane::runtime::{Engine, Progress};
use weft_dataplane::switch::{EntryKind, Location};
use weft_dataplane::tables::{Ground, PortId, Tables};
use weft_dataplane::time::Moment;
use weft_dataplane::tunnel::Vtep;
use weft_dataplane::wire::Ecn;

use crate::frame::{self, Frame};
use crate::world::{World, bytes, hex, parsed};

/// A seed is a secret of the host; this one makes source ports the same every time.
const SEED: u64 = 7;

/// One host, its endpoints and its peers.
pub(crate) struct Host<'w> {
    world: &'w World,
    tables: Tables,
    engine: Engine,
    now: Moment,
    underlay: MemoryUnderlay,
    rx: MemoryRx,
    endpoints: Vec<MemoryPort>,
    peers: BTreeMap<IpAddr, MemoryRx>,
}

impl<'w> Host<'w> {
    pub(crate) fn of(world: &'w World) -> Self {
        let vtep = Vtep::new(world.host);
        let ground = Ground { shards: 1, seed: SEED, underlay: Some((vtep, 4789)) };
        let tables = Tables::build(&world.spec, &Tables::empty(&ground), &ground)
            .unwrap_or_else(|error| panic!("the head makes no sense: {error}"));
        let underlay = MemoryUnderlay::new();
        let (rx, tx) = underlay.attach(vtep);
        let mut engine = Engine::new(Datapath::new(0, SEED), Some(Box::new(tx)));
        let endpoints = (0..world.ports.len() as u32)
            .map(|id| {
                let (near, far) = MemoryPort::pair();
                engine.attach(PortId(id), Box::new(near));
                far
            })
            .collect();
        let vteps = world.spec.segments.iter().flat_map(|s| &s.vteps);
        let peers = vteps.map(|&vtep| (vtep, underlay.attach(Vtep::new(vtep)).0)).collect();
        Self { world, tables, engine, now: Moment::from_secs(1), underlay, rx, endpoints, peers }
    }

    /// Does what `line` says; returns what comes out.
    pub(crate) fn step(&mut self, line: &str) -> Vec<String> {
        if line.is_empty() || line.starts_with('#') {
            return Vec::new();
        }
        let (head, tail) = line.split_once(": ").unwrap_or((line, ""));
        let (head, tail): (Vec<_>, Vec<_>) =
            (head.split_whitespace().collect(), tail.split_whitespace().collect());
        match head[..] {
            ["from", port] => self.endpoint_sends(port, 1, &frame::build(self.world, &tail)),
            ["from", port, count, "times"] => {
                self.endpoint_sends(port, parsed(count), &frame::build(self.world, &tail));
            }
            ["tunnel", peer, network, ref words @ ..] => {
                let frame = frame::build(self.world, &tail);
                self.peer_sends(peer, network, words, &frame.bytes);
            }
            ["wait", seconds] => self.now = self.now.after(Duration::from_secs(parsed(seconds))),
            _ => panic!("what is this? {line}"),
        }
        self.collect()
    }

    /// What was counted and learned.
    pub(crate) fn sum(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut nowhere = self.tables.totals();
        for (name, segment) in self.world.networks.iter().zip(self.tables.segments()) {
            let totals = segment.totals();
            for (rest, counted) in nowhere.drops.iter_mut().zip(totals.drops) {
                *rest -= counted;
            }
            (nowhere.packets, nowhere.bytes) =
                (nowhere.packets - totals.packets, nowhere.bytes - totals.bytes);
            lines.extend(counted(name, &totals));
        }
        lines.extend(counted("none", &nowhere));
        for (name, segment) in self.world.networks.iter().zip(self.tables.segments()) {
            let mut rows = segment.fdb_rows(self.now);
            rows.retain(|row| row.kind == EntryKind::Dynamic);
            rows.sort_by_key(|row| row.mac);
            lines.extend(rows.iter().map(|row| {
                let place = match row.location {
                    Location::Local(port) => self.world.ports[port.0 as usize].clone(),
                    Location::Remote(vtep) => vtep.to_string(),
                };
                format!("learned {name} {} at {place}", row.mac)
            }));
        }
        if lines.is_empty() { vec!["nothing was counted or learned".to_owned()] } else { lines }
    }

    fn endpoint_sends(&mut self, name: &str, count: usize, frame: &Frame) {
        let id = self.world.port(name);
        for _ in 0..count {
            let endpoint = &mut self.endpoints[id.0 as usize];
            endpoint.send(&frame.bytes, frame.offload).expect("room in the port");
        }
        while self.engine.drain_port(&self.tables, id, self.now) == Progress::More {}
        self.engine.flush(&self.tables);
    }

    fn peer_sends(&mut self, peer: &str, network: &str, words: &[&str], inner: &[u8]) {
        let vni = match network.parse::<u32>() {
            Ok(vni) => vni,
            Err(_) => self.world.spec.segments[self.world.network(network)].vni.expect("a VNI").get(),
        };
        let [_, a, b, c] = vni.to_be_bytes();
        let mut header = [0x08, 0, 0, 0, a, b, c, 0];
        let (mut ecn, mut end) = (Ecn::NotEct, usize::MAX);
        for word in words {
            match word.split_once('=') {
                Some(("flags", value)) => header[0] = bytes(value)[0],
                Some(("reserved", value)) => {
                    let value = bytes(value);
                    header[1..4].copy_from_slice(&value[..3]);
                    header[7] = value[3];
                }
                Some(("ecn", value)) => ecn = Ecn::from_bits(parsed(value)),
                Some(("cut", value)) => end = parsed(value),
                _ => panic!("what is this? {word}"),
            }
        }
        let mut payload = [&header[..], inner].concat();
        payload.truncate(end);
        let datagram = Carried { sender: Vtep::new(parsed(peer)), source_port: 50_000, ecn, payload };
        assert!(self.underlay.inject(Vtep::new(self.world.host), datagram));
        self.engine.drain_underlay(&self.tables, &mut self.rx, self.now);
        self.engine.flush(&self.tables);
    }

    /// Everything that has come out since the last time.
    fn collect(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, endpoint) in self.world.ports.iter().zip(&self.endpoints) {
            while let Some((frame, offload)) = endpoint.take() {
                lines.push(format!("to {name}{}: {}", owed(offload), hex(&frame)));
            }
        }
        for (vtep, peer) in &self.peers {
            while let Some(Carried { source_port, ecn, payload, .. }) = peer.take() {
                let outer = format!("port {source_port}, ecn {}", ecn.bits());
                lines.push(format!("to {vtep} from {outer}: {}", hex(&payload)));
            }
        }
        folded(lines)
    }
}

/// The same line again and again becomes one line that says how often.
fn folded(lines: Vec<String>) -> Vec<String> {
    let mut folded = Vec::<(usize, String)>::new();
    for line in lines {
        match folded.last_mut() {
            Some((count, last)) if *last == line => *count += 1,
            _ => folded.push((1, line)),
        }
    }
    let say = |(count, line)| if count == 1 { line } else { format!("{count} times {line}") };
    folded.into_iter().map(say).collect()
}

fn owed(offload: Offload) -> String {
    let checksum = match offload.checksum {
        Checksum::Complete => String::new(),
        Checksum::Verified => " (verified)".to_owned(),
        Checksum::Partial { start, offset } => {
            format!(" (checksum over {start}.. owed at {})", start + offset)
        }
    };
    match offload.gso {
        Some(gso) => format!("{checksum} ({:?} in parts of {})", gso.kind, gso.size),
        None => checksum,
    }
}

fn counted(name: &str, totals: &Totals) -> Vec<String> {
    let packets = [("packets", totals.packets), ("bytes", totals.bytes)];
    let drops = totals.nonzero_drops().map(|(reason, count)| (reason.name(), count));
    let moved = packets.into_iter().filter(|(_, count)| *count > 0).chain(drops);
    moved.map(|(counter, count)| format!("count {name} {counter} {count}")).collect()
}
