//! Longest prefix match as ranges: prefixes nest, so they cut the addresses into ranges with one answer each.

use std::net::IpAddr;

use crate::wire::Prefix;

/// The answer for every address of one family.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranges {
    /// Where each range begins, ascending; empty, or from 0 on.
    starts: Vec<u128>,
    /// The answer in each.
    exits: Vec<Option<u32>>,
}

impl Ranges {
    /// The ranges of `routes`, all of one family; of two with one prefix, the first stands.
    pub(crate) fn build(mut routes: Vec<(Prefix, Option<u32>)>) -> Self {
        // Outer prefixes before those within them; the sort is stable, so the first of equals is kept.
        routes.sort_by_key(|(prefix, _)| (bits(prefix.address()), prefix.len()));
        routes.dedup_by_key(|(prefix, _)| *prefix);
        let mut ranges = Self::default();
        // The prefixes that the sweep is in, by their last address; every other is within the one below it.
        let mut open = vec![(u128::MAX, None)];
        for (prefix, exit) in routes {
            let start = bits(prefix.address());
            ranges.close(&mut open, start);
            ranges.push(start, exit);
            open.push((bits(prefix.last()), exit));
        }
        ranges.close(&mut open, u128::MAX);
        ranges
    }

    /// The answer for `address`.
    #[inline]
    pub(crate) fn find(&self, address: IpAddr) -> Option<u32> {
        let address = bits(address);
        let after = self.starts.partition_point(|&start| start <= address);
        after.checked_sub(1).and_then(|at| self.exits[at])
    }

    /// Leaves the prefixes that end before `start`.
    fn close(&mut self, open: &mut Vec<(u128, Option<u32>)>, start: u128) {
        while let [.., (_, outer), (last, _)] = open[..]
            && last < start
        {
            self.push(last + 1, outer);
            open.pop();
        }
    }

    fn push(&mut self, start: u128, exit: Option<u32>) {
        match (self.starts.last(), self.exits.last_mut()) {
            (Some(&last), Some(answer)) if last == start => *answer = exit,
            (_, Some(answer)) if *answer == exit => {}
            _ => {
                self.starts.push(start);
                self.exits.push(exit);
            }
        }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}
