//! Hosts that share an underlay in memory.

use std::collections::BTreeMap;

use super::super::*;
use crate::io::memory::{Carried, MemoryPort, MemoryRx, MemoryUnderlay};
use crate::offload::Offload;
use crate::testing::{World, vtep};

/// When everything happens.
pub(super) const NOW: Moment = Moment::from_secs(5);

/// A frame that came out of a host, with its place: host and port.
pub(super) type Delivered = ((u8, u32), Vec<u8>, Offload);

/// Hosts 192.0.2.1 and up. Host h has stations 10h+1 and 10h+2 behind the ports of the same numbers on segment 1, and
/// behind the ports with 100 more on segment 2.
pub(super) struct Net {
    underlay: MemoryUnderlay,
    hosts: BTreeMap<u8, Host>,
}

pub(super) struct Host {
    pub(super) engine: Engine,
    pub(super) tables: Tables,
    rx: MemoryRx,
    /// The endpoints' ends of the ports.
    pub(super) ends: BTreeMap<u32, MemoryPort>,
}

impl Net {
    pub(super) fn of(hosts: u8) -> Self {
        let mut net = Self { underlay: MemoryUnderlay::new(), hosts: BTreeMap::new() };
        for host in 1..=hosts {
            let peers: Vec<_> = (1..=hosts.max(3)).filter(|&peer| peer != host).collect();
            let mut world = World::default();
            for segment in [1, 2] {
                world = world.segment(segment, &peers);
                for number in [10 * host + 1, 10 * host + 2] {
                    world = world.port(u32::from(number) + 100 * (segment - 1), number);
                }
            }
            let (rx, tx) = net.underlay.attach(vtep(host));
            let engine = Engine::new(Datapath::new(0, 7), Some(Box::new(tx)));
            net.hosts.insert(host, Host { engine, tables: world.tables(host), rx, ends: BTreeMap::new() });
            for port in [1, 2, 101, 102] {
                net.attach(host, u32::from(host) * 10 + port);
            }
        }
        net
    }

    pub(super) fn host(&mut self, host: u8) -> &mut Host {
        self.hosts.get_mut(&host).unwrap()
    }

    /// Gives `port` of `host` a new link.
    pub(super) fn attach(&mut self, host: u8, port: u32) {
        let (near, far) = MemoryPort::pair();
        let host = self.host(host);
        host.engine.attach(PortId(port), Box::new(near));
        host.ends.insert(port, far);
    }

    /// A VTEP whose datagrams nobody switches.
    pub(super) fn stranger(&self, last: u8) -> MemoryRx {
        self.underlay.attach(vtep(last)).0
    }

    /// Lets the endpoint of `port` send `frame` `count` times, without switching it.
    pub(super) fn offer(&mut self, host: u8, port: u32, frame: &[u8], count: usize) {
        let end = self.host(host).ends.get_mut(&port).unwrap();
        (0..count).for_each(|_| end.send(frame, Offload::NONE).unwrap());
    }

    pub(super) fn send(&mut self, host: u8, port: u32, frame: &[u8]) {
        self.send_owing(host, port, frame, Offload::NONE);
    }

    /// Lets the endpoint of `port` send a frame, and all hosts work until they have nothing left to do.
    pub(super) fn send_owing(&mut self, host: u8, port: u32, frame: &[u8], offload: Offload) {
        self.host(host).ends.get_mut(&port).unwrap().send(frame, offload).unwrap();
        self.settle();
    }

    /// Hands `host` a datagram from anywhere, and lets all hosts work.
    pub(super) fn inject(&mut self, host: u8, datagram: Carried) {
        assert!(self.underlay.inject(vtep(host), datagram));
        self.settle();
    }

    pub(super) fn settle(&mut self) {
        loop {
            let moved: usize = self.hosts.values_mut().map(Host::work).sum();
            if moved == 0 {
                return;
            }
        }
    }

    /// Takes everything that endpoints have received.
    pub(super) fn delivered(&mut self) -> Vec<Delivered> {
        let mut delivered = Vec::new();
        for (&host, state) in &self.hosts {
            for (&port, end) in &state.ends {
                let frames = std::iter::from_fn(|| end.take());
                delivered.extend(frames.map(|(frame, offload)| ((host, port), frame, offload)));
            }
        }
        delivered
    }

    pub(super) fn assert_nothing_dropped(&self) {
        for (number, host) in &self.hosts {
            let drops: Vec<_> = host.tables.totals().nonzero_drops().collect();
            assert!(drops.is_empty(), "host {number}: {drops:?}");
        }
    }
}

impl Host {
    /// One batch from everything; returns how much there was.
    fn work(&mut self) -> usize {
        let mut moved = 0;
        for &port in self.ends.keys() {
            let before = judged(&self.tables);
            let _ = self.engine.drain_port(&self.tables, PortId(port), NOW);
            moved += (judged(&self.tables) - before) as usize;
        }
        moved += self.engine.drain_underlay(&self.tables, &mut self.rx, NOW);
        self.engine.flush(&self.tables);
        moved
    }
}

/// How many frames have come to an end.
pub(super) fn judged(tables: &Tables) -> u64 {
    let totals = tables.totals();
    totals.packets + totals.drops.iter().sum::<u64>()
}
