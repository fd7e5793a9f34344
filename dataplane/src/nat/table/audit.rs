//! The tables counted and held against themselves.

use super::super::timers::{Class, Queue, Thread};
use super::{Outside, Session, Table};

impl Table {
    /// Bytes of everything that grows with the sessions.
    pub(in crate::nat) fn bytes(&self) -> usize {
        self.mappings.bytes()
            + self.sessions.bytes()
            + self.owners.bytes()
            + self.by_inside.bytes()
            + self.by_outside.bytes()
            + self.by_remote.bytes()
            + self.peers.allocation_size()
            + self.changed.capacity() * size_of::<u32>()
            + self.is_changed.capacity() * size_of::<u64>()
    }

    /// Holds the parts of the table against each other.
    pub(in crate::nat) fn audit(&self) {
        assert_eq!(self.by_remote.len(), self.sessions.len());
        let lent = self.mappings.iter().filter(|(_, m)| matches!(m.outside, Outside::Lent(_)));
        let lent: Vec<u32> = lent.map(|(slot, _)| slot).collect();
        assert_eq!((self.by_inside.len(), self.by_outside.len()), (lent.len(), lent.len()));
        assert!(lent.iter().all(|&m| self.mappings[m].sessions.len > 0), "an unused mapping is gone");
        for class in Class::ALL {
            let mut stamp = 0;
            let mut count = 0;
            let mut next = self.classes[class as usize].first();
            while let Some(slot) = next {
                assert!(self.sessions[slot].stamp >= stamp && self.sessions[slot].class == class);
                stamp = self.sessions[slot].stamp;
                count += 1;
                next = Queue::next(&self.sessions, Thread::Timer, slot);
            }
            assert_eq!(count, self.classes[class as usize].len);
        }
        for (slot, owner) in self.owners.iter() {
            let mine = |s: &&Session| self.mappings[s.mapping].owner == slot;
            let sessions: Vec<&Session> = self.sessions.iter().map(|(_, s)| s).filter(mine).collect();
            let count = |is: &dyn Fn(Class) -> bool| sessions.iter().filter(|s| is(s.class)).count();
            assert_eq!(owner.sessions as usize, count(&|class| !class.is_half_open()));
            assert_eq!(owner.closed.len as usize, count(&|class| class == Class::Closed));
            let mappings = self.mappings.iter().filter(|(_, m)| m.owner == slot).count();
            assert_eq!(owner.mappings as usize, mappings);
        }
    }
}
