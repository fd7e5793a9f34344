//! Virtual reassembly: a NAT needs ports, which only a datagram's first fragment has (RFC 4787 section 11).
//!
//! Nothing is put together. What is decided about the first fragment is remembered for the later ones, and those that
//! overtake it are held until it comes. Beside that, account is kept of which bytes of a datagram have come, so that
//! fragments that overlap or contradict each other are found out; with them the whole datagram is refused (RFC 5722,
//! here for IPv4 too). A fragment that comes twice exactly is dropped alone, as RFC 8200 section 4.5 allows. A datagram
//! is forgotten when all of it has come, so that its identification may be used again at once.
//!
//! # Limits
//!
//! See [`FragmentLimits`]. When there are too many datagrams or held packets, the oldest datagrams are given up: whoever
//! floods has to do so within the milliseconds that an honest datagram takes to arrive. One source beyond its share has
//! its new datagrams refused, and a datagram of too many parts is refused as a whole. Unfragmented packets never come
//! here.
//!
//! A datagram given up is forgotten altogether; the rest of it waits in vain for another first fragment.

use std::collections::BTreeMap;
use std::mem;
use std::net::IpAddr;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::tables::PortId;
use crate::time::Moment;
use crate::verdict::DropReason;

mod datagram;
mod limits;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use datagram::{Datagram, State};
pub use datagram::{FragmentKey, Part};
pub use limits::FragmentLimits;

/// What is known of datagrams that come in parts; `T` is what was decided about their first fragments.
#[derive(Debug)]
pub struct Fragments<T> {
    limits: FragmentLimits,
    datagrams: HashMap<FragmentKey, Datagram<T>, FixedState>,
    /// The datagrams by number, which is the order in which they came and will expire.
    order: BTreeMap<u64, FragmentKey>,
    next: u64,
    /// Datagrams of each source that has any.
    sources: HashMap<(Option<PortId>, IpAddr), u32, FixedState>,
    /// Packets held, and their bytes.
    packets: usize,
    bytes: usize,
    /// Held packets lost since they were last asked about. There are no more entries than reasons.
    lost: Vec<(DropReason, u64)>,
}

impl<T: Copy> Fragments<T> {
    /// Nothing is known. `seed` keeps senders from choosing keys that collide.
    #[must_use]
    pub fn new(seed: u64, limits: FragmentLimits) -> Self {
        Self {
            limits,
            datagrams: HashMap::with_hasher(FixedState::with_seed(seed)),
            order: BTreeMap::new(),
            next: 0,
            sources: HashMap::with_hasher(FixedState::with_seed(seed)),
            packets: 0,
            bytes: 0,
            lost: Vec::new(),
        }
    }

    /// The first fragment has come, and `what` was decided about it. Gives the packets that were held for it, to be
    /// sent after it in this order.
    ///
    /// # Errors
    ///
    /// The fragment is to be dropped: [`DropReason::FragmentOverlap`], [`DropReason::FragmentDuplicate`],
    /// [`DropReason::FragmentLimit`], or the reason for which its datagram was [refused](Self::refuse).
    pub fn first(
        &mut self,
        key: FragmentKey,
        part: Part,
        what: T,
        now: Moment,
    ) -> Result<Vec<Box<[u8]>>, DropReason> {
        let complete = self.place(key, part, now)?;
        let held = self.turn(key, State::Decided(what));
        if complete {
            self.forget(&key);
        }
        Ok(held)
    }

    /// A later fragment has come, in the packet `ip`. Gives what was decided about the first one; `None` when that has
    /// not come and a copy of the packet is held.
    ///
    /// # Errors
    ///
    /// As [`first`](Self::first).
    pub fn later(
        &mut self,
        key: FragmentKey,
        part: Part,
        ip: &[u8],
        now: Moment,
    ) -> Result<Option<T>, DropReason> {
        let complete = self.place(key, part, now)?;
        if let Some(State::Decided(what)) = self.datagrams.get(&key).map(|datagram| &datagram.state) {
            let what = *what;
            if complete {
                self.forget(&key);
            }
            return Ok(Some(what));
        }
        self.make_room(ip.len())?;
        // Making room may have cost this very datagram.
        let Some(Datagram { state: State::Waiting(held), .. }) = self.datagrams.get_mut(&key) else {
            return Err(DropReason::FragmentLimit);
        };
        held.push(ip.into());
        self.packets += 1;
        self.bytes += ip.len();
        Ok(None)
    }

    /// The first fragment has come and is dropped for `reason`: so is the rest of its datagram.
    pub fn refuse(&mut self, key: FragmentKey, part: Part, reason: DropReason, now: Moment) {
        let Ok(complete) = self.place(key, part, now) else { return };
        let held = self.turn(key, State::Refused(reason));
        // What has come by a link and is not mapped is the host's, which has a copy: nothing is lost.
        if key.from.is_some() || reason != DropReason::NatNotMapped {
            self.lose(reason, held.len());
        }
        if complete {
            self.forget(&key);
        }
    }

    /// Gives up the datagrams whose time is over. Every other call does so first.
    pub fn expire(&mut self, now: Moment) {
        while let Some((_, &key)) = self.order.first_key_value() {
            if self.datagrams.get(&key).is_some_and(|datagram| now < datagram.deadline) {
                return;
            }
            self.give_up(&key, DropReason::FragmentTimeout);
        }
    }

    /// Packets that were held and then lost since the last call, by reason.
    pub fn lost(&mut self) -> Vec<(DropReason, u64)> {
        mem::take(&mut self.lost)
    }

    /// Packets held.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.packets
    }

    /// Datagrams known.
    #[must_use]
    pub fn known(&self) -> usize {
        self.datagrams.len()
    }

    /// Notes that `part` has come; gives whether the datagram, which is known thereafter, is complete with it.
    fn place(&mut self, key: FragmentKey, part: Part, now: Moment) -> Result<bool, DropReason> {
        self.expire(now);
        if !self.datagrams.contains_key(&key) {
            self.admit(key, now)?;
        }
        let Some(datagram) = self.datagrams.get_mut(&key) else { return Err(DropReason::FragmentLimit) };
        if let State::Refused(reason) = datagram.state {
            return Err(reason);
        }
        let placed = datagram.place(part, self.limits.parts);
        if let Err(reason @ (DropReason::FragmentOverlap | DropReason::FragmentLimit)) = placed {
            let held = self.turn(key, State::Refused(reason));
            self.lose(reason, held.len());
        }
        placed
    }

    /// Makes `key` known, at the expense of the oldest if there are too many.
    fn admit(&mut self, key: FragmentKey, now: Moment) -> Result<(), DropReason> {
        let source = (key.from, key.source);
        if self.sources.get(&source).is_some_and(|&count| count >= self.limits.per_source) {
            return Err(DropReason::FragmentLimit);
        }
        while self.datagrams.len() >= self.limits.datagrams {
            self.give_up_oldest()?;
        }
        *self.sources.entry(source).or_default() += 1;
        self.order.insert(self.next, key);
        self.datagrams.insert(key, Datagram::new(self.next, now.after(self.limits.lifetime)));
        self.next += 1;
        Ok(())
    }

    /// Sees to it that a packet of `len` bytes can be held.
    fn make_room(&mut self, len: usize) -> Result<(), DropReason> {
        if len > self.limits.bytes {
            return Err(DropReason::FragmentLimit);
        }
        while self.packets >= self.limits.packets || self.bytes + len > self.limits.bytes {
            self.give_up_oldest()?;
        }
        Ok(())
    }

    fn give_up_oldest(&mut self) -> Result<(), DropReason> {
        let (_, &key) = self.order.first_key_value().ok_or(DropReason::FragmentLimit)?;
        self.give_up(&key, DropReason::FragmentLimit);
        Ok(())
    }

    fn give_up(&mut self, key: &FragmentKey, reason: DropReason) {
        let held = self.forget(key);
        self.lose(reason, held.len());
    }

    /// Removes a datagram; gives the packets held for it.
    fn forget(&mut self, key: &FragmentKey) -> Vec<Box<[u8]>> {
        let Some(datagram) = self.datagrams.remove(key) else { return Vec::new() };
        self.order.remove(&datagram.number);
        let source = (key.from, key.source);
        if let Some(count) = self.sources.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
        self.unhold(datagram.state)
    }

    /// Gives a known datagram another state, and the packets that were held for it.
    fn turn(&mut self, key: FragmentKey, state: State<T>) -> Vec<Box<[u8]>> {
        let Some(datagram) = self.datagrams.get_mut(&key) else { return Vec::new() };
        if let State::Refused(_) = state {
            datagram.parts = Vec::new();
        }
        let old = mem::replace(&mut datagram.state, state);
        self.unhold(old)
    }

    fn unhold(&mut self, state: State<T>) -> Vec<Box<[u8]>> {
        let State::Waiting(held) = state else { return Vec::new() };
        self.packets -= held.len();
        self.bytes -= held.iter().map(|packet| packet.len()).sum::<usize>();
        held
    }

    fn lose(&mut self, reason: DropReason, packets: usize) {
        match self.lost.iter_mut().find(|(known, _)| *known == reason) {
            _ if packets == 0 => {}
            Some((_, count)) => *count += packets as u64,
            None => self.lost.push((reason, packets as u64)),
        }
    }
}
