//! Outside ports: those that control has lent, and which of them are free.
//!
//! Only a port that a socket of this host reserves is ever lent, so a mapping can never stand in the way of the host's
//! own services (CVE-2021-3773), and a published port is withheld. Query ids of ICMP need no socket: all from 1,024 up
//! are there.
//!
//! A port is drawn at random from those of the class (below 1,024 or not) and parity of the inside port (RFC 4787 REQ-3a
//! and 4); then from those of the class, of the parity, from any. A port given back rests [`REST`] before it is drawn
//! again (RFC 6888 REQ-8; tracked TCP is exempt), unless no other is left.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::key::{Ip, Net, hash};
use super::rewrite::Protocol;
use super::timers::ticks;
use super::types::Want;
use crate::gateway::Egress;

/// How long a port rests.
pub const REST: Duration = Duration::from_secs(120);
/// Control is asked for more when fewer than this many are free, besides the eighth that is kept for those who have few.
pub const SPARE: usize = 256;
/// The most that control is asked for at once: some milliseconds of its time.
pub const ASKED_MAX: usize = 512;
/// Ports of an endpoint that has few: of the last eighth of a pool that cannot grow at the
/// moment, only such endpoints are given any.
pub const FEW_PORTS: u32 = 64;

/// Why no port is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// None is free.
    Final,
    /// Control is asked for more.
    Awaited,
}

/// How long control is not asked again when it had not enough.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// The first port of the upper class.
const UPPER: u16 = 1_024;

/// The ports of one address and transport.
#[derive(Debug)]
struct Pool {
    /// A bit for each that is lent.
    lent: Vec<u64>,
    count: usize,
    /// By class and parity.
    free: [Vec<u16>; 4],
    /// Since when, the longest first.
    resting: VecDeque<(u32, u16)>,
    /// How many control was asked for and has not answered yet.
    asked: Option<usize>,
    /// When control had not enough.
    refused: Option<u32>,
}

const fn bucket(port: u16) -> usize {
    (port >= UPPER) as usize * 2 + (port & 1) as usize
}

impl Pool {
    const fn new() -> Self {
        Self {
            lent: Vec::new(),
            count: 0,
            free: [const { Vec::new() }; 4],
            resting: VecDeque::new(),
            asked: None,
            refused: None,
        }
    }

    fn is_lent(&self, port: u16) -> bool {
        self.lent.get(usize::from(port) / 64).is_some_and(|word| word >> (port % 64) & 1 == 1)
    }

    /// Whether `port` is new here.
    fn add(&mut self, port: u16) -> bool {
        if self.lent.is_empty() {
            self.lent = vec![0; 1_024];
        }
        let word = &mut self.lent[usize::from(port) / 64];
        let new = *word >> (port % 64) & 1 == 0;
        *word |= 1 << (port % 64);
        self.count += usize::from(new);
        new
    }

    fn available(&self) -> usize {
        self.free.iter().map(Vec::len).sum::<usize>() + self.resting.len()
    }

    fn wake(&mut self, tick: u32) {
        let rest = ticks(REST);
        while let Some(&(since, port)) = self.resting.front() {
            if tick.saturating_sub(since) < rest {
                return;
            }
            self.resting.pop_front();
            self.free[bucket(port)].push(port);
        }
    }

    fn draw(&mut self, like: u16, random: u32) -> Option<u16> {
        let best = bucket(like);
        for bucket in [best, best ^ 1, best ^ 2, best ^ 3] {
            let ports = &mut self.free[bucket];
            if !ports.is_empty() {
                let at = (u64::from(random) * ports.len() as u64) >> 32;
                return Some(ports.swap_remove(at as usize));
            }
        }
        self.resting.pop_front().map(|(_, port)| port)
    }

    fn forget(&mut self, port: u16) {
        self.free[bucket(port)].retain(|&p| p != port);
        self.resting.retain(|&(_, p)| p != port);
    }
}

/// Every pool.
#[derive(Debug)]
pub(super) struct Ports {
    pools: HashMap<(Ip, Net), Pool, FixedState>,
    /// The pools of addresses by which nothing leaves, as they were when the addresses were last set.
    idle: Vec<(Ip, Net)>,
    seed: FixedState,
    drawn: u64,
    /// Ports that a pool asks for at most.
    max: usize,
}

impl Ports {
    pub(super) fn new(seed: u64, max: usize) -> Self {
        let state = FixedState::with_seed(seed);
        Self { pools: HashMap::with_hasher(state.clone()), idle: Vec::new(), seed: state, drawn: 0, max }
    }

    /// Forgets the ports of addresses that the host has no more, and makes pools for those of its links, so that control
    /// is asked to fill them. Where nothing leaves, no answer is awaited any more.
    pub(super) fn set_addresses(&mut self, egress: &Egress) {
        self.pools.retain(|&(ip, net), pool| {
            let address = net.address(ip);
            pool.asked = pool.asked.filter(|_| egress.is_outside(address));
            egress.has(address)
        });
        let idle = |&&(ip, net): &&(Ip, Net)| !egress.is_outside(net.address(ip));
        self.idle = self.pools.keys().filter(idle).copied().collect();
        for &address in egress.links().flat_map(|link| &link.addresses) {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                self.pool(address.into(), Net::new(protocol, address));
            }
        }
    }

    /// The addresses with ports by which nothing leaves at the moment.
    pub(super) fn idle(&self, net: Net) -> impl Iterator<Item = Ip> {
        self.idle.iter().filter(move |(_, of)| *of == net).map(|(ip, _)| *ip)
    }

    fn pool(&mut self, ip: Ip, net: Net) -> &mut Pool {
        self.pools.entry((ip, net)).or_insert_with(|| match net.protocol {
            Protocol::Icmp => query_ids(),
            Protocol::Tcp | Protocol::Udp => Pool::new(),
        })
    }

    /// Adds `ports`, but for those already there. `withheld` says which of them may not be drawn.
    pub(super) fn lend(
        &mut self,
        ip: Ip,
        net: Net,
        ports: &[u16],
        tick: u32,
        withheld: impl Fn(u16) -> bool,
    ) {
        let pool = self.pool(ip, net);
        for &port in ports.iter().filter(|&&port| port != 0) {
            if pool.add(port) && !withheld(port) {
                pool.free[bucket(port)].push(port);
            }
        }
        if let Some(asked) = pool.asked.take() {
            pool.refused = (ports.len() < asked).then_some(tick);
        }
    }

    /// What control should be asked for now, at addresses that are `usable`.
    pub(super) fn wants(&mut self, tick: u32, usable: impl Fn(IpAddr) -> bool) -> Vec<Want> {
        let mut wants = Vec::new();
        for (&(ip, net), pool) in &mut self.pools {
            let again = pool.refused.is_none_or(|since| tick.saturating_sub(since) >= ticks(ASK_AGAIN));
            let low = pool.available() < SPARE + pool.count / 8;
            if net.protocol == Protocol::Icmp
                || !usable(net.address(ip))
                || pool.asked.is_some()
                || !again
                || !low
                || pool.count >= self.max
            {
                continue;
            }
            let count = pool.count.clamp(SPARE, ASKED_MAX).min(self.max - pool.count);
            pool.asked = Some(count);
            wants.push(Want { address: net.address(ip), protocol: net.protocol, count });
        }
        wants
    }

    /// Draws a free port for an endpoint that has `owned` of them.
    pub(super) fn take(&mut self, ip: Ip, net: Net, like: u16, owned: u32, tick: u32) -> Result<u16, Lack> {
        self.drawn += 1;
        let random = hash(&self.seed, (self.drawn, 0x706f_7274_u32));
        let max = self.max;
        let pool = self.pool(ip, net);
        let full = net.protocol == Protocol::Icmp || pool.count >= max || pool.refused.is_some();
        let lack = if full { Lack::Final } else { Lack::Awaited };
        let grown = full || pool.asked.is_some();
        if grown && owned >= FEW_PORTS && pool.available() <= pool.count / 8 {
            return Err(lack);
        }
        pool.wake(tick);
        pool.draw(like, random).ok_or(lack)
    }

    /// Takes this very port, if it is free.
    pub(super) fn claim(&mut self, ip: Ip, net: Net, port: u16) -> bool {
        let pool = self.pool(ip, net);
        let before = pool.available();
        pool.forget(port);
        pool.available() < before
    }

    /// Gives back a port that was taken.
    pub(super) fn give_back(&mut self, ip: Ip, net: Net, port: u16, tick: u32) {
        let Some(pool) = self.pools.get_mut(&(ip, net)) else { return };
        match net.protocol {
            Protocol::Tcp => pool.free[bucket(port)].push(port),
            Protocol::Udp | Protocol::Icmp => pool.resting.push_back((tick, port)),
        }
    }

    /// Sees to it that `port` is not drawn at `ip`, or at any address.
    pub(super) fn withhold(&mut self, ip: Option<Ip>, net: Net, port: u16) {
        for (_, pool) in self.at(ip, net) {
            pool.forget(port);
        }
    }

    /// The contrary, for a port that is not in use. `withheld` says whether another rule still withholds it there.
    pub(super) fn allow(&mut self, ip: Option<Ip>, net: Net, port: u16, withheld: impl Fn(Ip) -> bool) {
        for (ip, pool) in self.at(ip, net) {
            if pool.is_lent(port) && !withheld(ip) {
                pool.forget(port);
                pool.free[bucket(port)].push(port);
            }
        }
    }

    fn at(&mut self, wanted: Option<Ip>, net: Net) -> impl Iterator<Item = (Ip, &mut Pool)> {
        let pools =
            self.pools.iter_mut().filter(move |((ip, n), _)| *n == net && wanted.is_none_or(|w| w == *ip));
        pools.map(|(&(ip, _), pool)| (ip, pool))
    }

    /// Ports lent and ports free; query ids are not counted.
    pub(super) fn counts(&self) -> (usize, usize) {
        let lent = self.pools.iter().filter(|((_, net), _)| net.protocol != Protocol::Icmp);
        lent.fold((0, 0), |(lent, free), (_, pool)| (lent + pool.count, free + pool.available()))
    }
}

fn query_ids() -> Pool {
    let mut pool = Pool::new();
    for id in UPPER..=u16::MAX {
        pool.add(id);
        pool.free[bucket(id)].push(id);
    }
    pool
}
