//! How often the gateway sends errors: [`PER_PORT`] for each port, [`TOTAL`] for all (RFC 1812 section 4.3.2.8,
//! RFC 4443 section 2.4 (f)).
//!
//! A port that has not been told anything for a second is not remembered, so there is never more to remember than
//! [`TOTAL`] lets through in two; [`PORTS_MAX`] is beyond that.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::tables::PortId;
use crate::time::{Moment, Rate};

/// Errors to one port: 100 a second, all of them at once if need be.
pub const PER_PORT: Rate = Rate::per_second(100, 100);
/// Errors to all ports: 1,000 a second, all of them at once if need be.
pub const TOTAL: Rate = Rate::per_second(1_000, 1_000);
/// Ports remembered.
pub const PORTS_MAX: usize = 4_096;

/// What ports have been told lately.
#[derive(Clone, Debug, Default)]
pub struct ErrorLimit {
    ports: HashMap<PortId, Moment, FixedState>,
    total: Moment,
}

impl ErrorLimit {
    /// Nobody has been told anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether `port` may be sent one more error at `now`. A port that is refused takes nothing from the others.
    #[must_use]
    pub fn admit(&mut self, port: PortId, now: Moment) -> bool {
        let state = self.ports.get(&port).copied().unwrap_or_default();
        let Some(state) = PER_PORT.admit(state, now) else { return false };
        let Some(total) = TOTAL.admit(self.total, now) else { return false };
        if self.ports.len() == PORTS_MAX {
            self.ports.retain(|_, state| *state > now);
        }
        self.ports.insert(port, state);
        self.total = total;
        true
    }

    /// How many ports are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ports.len()
    }

    /// Whether no port is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::ZERO.after(Duration::from_millis(millis))
    }

    #[test]
    fn a_port_gets_its_hundred_and_then_one_in_ten_milliseconds() {
        let mut limit = ErrorLimit::new();
        let told = (0..1_000).filter(|_| limit.admit(PortId(1), at(5_000))).count();
        assert_eq!(told, 100);
        let told = (5_000..15_000).filter(|&ms| limit.admit(PortId(1), at(ms))).count();
        assert!((999..=1_000).contains(&told), "{told}");
    }

    #[test]
    fn one_port_that_asks_too_much_leaves_the_rest_to_others() {
        let mut limit = ErrorLimit::new();
        for _ in 0..100_000 {
            let _ = limit.admit(PortId(1), at(0));
        }
        let told =
            (2..100).flat_map(|port| [port; 50]).filter(|&port| limit.admit(PortId(port), at(0))).count();
        assert_eq!(told, 900);
    }

    #[test]
    fn memory_is_bounded_under_many_ports() {
        let mut limit = ErrorLimit::new();
        let mut told = 0;
        for port in 0..60_000u32 {
            told += usize::from(limit.admit(PortId(port), at(u64::from(port))));
            assert!(limit.len() <= PORTS_MAX);
        }
        assert_eq!(told, 60_000, "a thousand a second");
    }
}
