//! What [`Fragments`](super::Fragments) does, slowly.

use std::mem;

use super::{FragmentKey, FragmentLimits, Part};
use crate::time::Moment;
use crate::verdict::DropReason;

/// Everything by its definition: a list of datagrams, each with all of its parts.
#[derive(Default)]
pub(super) struct Model {
    pub(super) datagrams: Vec<Known>,
    pub(super) lost: Vec<(DropReason, u64)>,
}

pub(super) struct Known {
    key: FragmentKey,
    born: Moment,
    parts: Vec<Part>,
    held: Vec<Vec<u8>>,
    decided: Option<Result<u32, DropReason>>,
}

impl Known {
    fn bytes(part: &Part) -> std::ops::Range<u32> {
        part.offset..part.offset + part.len
    }

    fn covers(&self, byte: u32) -> bool {
        self.parts.iter().any(|part| Self::bytes(part).contains(&byte))
    }

    fn contradicts(&self, new: &Part) -> bool {
        let all = || self.parts.iter().chain([new]);
        let mut ends = all().filter(|part| !part.more).map(|part| Self::bytes(part).end);
        let end = ends.next();
        Self::bytes(new).any(|byte| self.covers(byte))
            || ends.next().is_some()
            || end.is_some_and(|end| all().any(|part| Self::bytes(part).end > end))
    }

    fn is_complete(&self) -> bool {
        let end = self.parts.iter().find(|part| !part.more).map(|part| Self::bytes(part).end);
        end.is_some_and(|end| (0..end).all(|byte| self.covers(byte)))
    }
}

impl Model {
    pub(super) fn lose(&mut self, reason: DropReason, held: usize) {
        self.lost.extend((held > 0).then_some((reason, held as u64)));
    }

    fn give_up_oldest(&mut self, reason: DropReason) {
        let oldest = self.datagrams.remove(0);
        self.lose(reason, oldest.held.len());
    }

    fn find(&self, key: FragmentKey) -> Option<usize> {
        self.datagrams.iter().position(|known| known.key == key)
    }

    pub(super) fn place(
        &mut self,
        limits: &FragmentLimits,
        key: FragmentKey,
        part: Part,
        now: Moment,
    ) -> Result<usize, DropReason> {
        while self.datagrams.first().is_some_and(|known| now.since(known.born) >= limits.lifetime) {
            self.give_up_oldest(DropReason::FragmentTimeout);
        }
        if self.find(key).is_none() {
            let same = self.datagrams.iter().filter(|known| known.key.source == key.source).count();
            if same >= limits.per_source as usize {
                return Err(DropReason::FragmentLimit);
            }
            if self.datagrams.len() == limits.datagrams {
                self.give_up_oldest(DropReason::FragmentLimit);
            }
            self.datagrams.push(Known { key, born: now, parts: vec![], held: vec![], decided: None });
        }
        let at = self.find(key).unwrap();
        let known = &mut self.datagrams[at];
        if let Some(Err(reason)) = known.decided {
            return Err(reason);
        }
        let reason = if known.parts.contains(&part) {
            return Err(DropReason::FragmentDuplicate);
        } else if known.contradicts(&part) {
            DropReason::FragmentOverlap
        } else if known.parts.len() == limits.parts {
            DropReason::FragmentLimit
        } else {
            known.parts.push(part);
            return Ok(at);
        };
        known.decided = Some(Err(reason));
        let held = mem::take(&mut known.held).len();
        self.lose(reason, held);
        Err(reason)
    }

    pub(super) fn decide(&mut self, at: usize, decided: Result<u32, DropReason>) -> Vec<Vec<u8>> {
        let known = &mut self.datagrams[at];
        known.decided = Some(decided);
        let held = mem::take(&mut known.held);
        self.leave_if_complete(at);
        held
    }

    fn leave_if_complete(&mut self, at: usize) {
        if self.datagrams[at].is_complete() {
            self.datagrams.remove(at);
        }
    }

    pub(super) fn later(
        &mut self,
        limits: &FragmentLimits,
        key: FragmentKey,
        part: Part,
        packet: &[u8],
        now: Moment,
    ) -> Result<Option<u32>, DropReason> {
        let at = self.place(limits, key, part, now)?;
        if let Some(decided) = self.datagrams[at].decided {
            self.leave_if_complete(at);
            return decided.map(Some);
        }
        while self.held().len() >= limits.packets
            || self.held().iter().map(|held| held.len()).sum::<usize>() + packet.len() > limits.bytes
        {
            self.give_up_oldest(DropReason::FragmentLimit);
        }
        let at = self.find(key).ok_or(DropReason::FragmentLimit)?;
        self.datagrams[at].held.push(packet.to_vec());
        Ok(None)
    }

    pub(super) fn held(&self) -> Vec<&[u8]> {
        self.datagrams.iter().flat_map(|known| known.held.iter().map(Vec::as_slice)).collect()
    }
}
