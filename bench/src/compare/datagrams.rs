//! A turn of datagrams: a flood, and two searches for the highest rate that is not lost.

use std::net::SocketAddrV4;
use std::time::Duration;

use super::trial::{Figures, Times, out_of_step};
use super::workload::Metric;
use crate::error::LabError;
use crate::measure::search::{PRECISION, highest_passing};
use crate::traffic::{Agent, Answer, Task};

/// The loss that counts as low: a fraction.
const LOW_LOSS: f64 = 0.005;

/// A sender that does not reach this part of the rate it was given did not offer that rate.
const REACHED: f64 = 0.95;

/// Floods and searches with one size of datagram.
pub(super) struct Datagrams<'a> {
    pub(super) from: &'a mut Agent,
    pub(super) to: &'a mut Agent,
    pub(super) target: SocketAddrV4,
    pub(super) payload: usize,
    pub(super) times: Times,
    /// The last mark used; each trial takes the next.
    pub(super) marks: &'a mut u64,
}

/// What one trial saw, in datagrams per second.
struct Seen {
    offered: f64,
    received: f64,
    /// A fraction of what was sent.
    loss: f64,
}

impl Datagrams<'_> {
    /// What is received at flood, and the rates at which little and nothing is lost.
    ///
    /// # Errors
    /// What an agent fails with.
    pub(super) fn figures(mut self) -> Result<Figures, LabError> {
        self.send(None, self.times.warm_up())?;
        let flood = self.trial(None, self.times.measure)?;
        let mut figures = Figures::from([
            (Metric::FloodKpps, flood.received / 1e3),
            (Metric::OfferedKpps, flood.offered / 1e3),
        ]);
        let low = self.search(&flood, flood.offered, LOW_LOSS)?;
        if let Some(rate) = low {
            figures.insert(Metric::LowLossKpps, rate / 1e3);
            // Where nothing at all may be lost, the rate is at most that, whatever the search's precision makes of it.
            if let Some(lossless) = self.search(&flood, rate * PRECISION, 0.0)? {
                figures.insert(Metric::NoLossKpps, lossless.min(rate) / 1e3);
            }
        }
        Ok(figures)
    }

    /// A flood that passes is the answer already: more cannot be offered.
    fn search(&mut self, flood: &Seen, high: f64, allowed: f64) -> Result<Option<f64>, LabError> {
        if flood.loss <= allowed {
            return Ok(Some(flood.received));
        }
        let low = (flood.received / 16.0).max(1_000.0).min(high / 2.0);
        let time = self.times.rate();
        highest_passing(low, high, allowed, |rate| self.trial(Some(rate), time).map(|seen| seen.loss))
    }

    fn trial(&mut self, rate: Option<f64>, time: Duration) -> Result<Seen, LabError> {
        let (sent, sending) = self.send(rate, time)?;
        let count = Task::UdpCount { mark: *self.marks, sent };
        let Answer::Counted { received, seconds } = self.to.ask(&count, Duration::ZERO)? else {
            return Err(out_of_step());
        };
        let offered = sent as f64 / sending;
        let reached = rate.is_none_or(|rate| offered >= rate * REACHED);
        let loss = if reached && sent > 0 { 1.0 - received as f64 / sent as f64 } else { 1.0 };
        Ok(Seen { offered, received: received as f64 / sending.max(seconds), loss })
    }

    fn send(&mut self, rate: Option<f64>, time: Duration) -> Result<(u64, f64), LabError> {
        *self.marks += 1;
        let (to, payload, mark) = (self.target, self.payload, *self.marks);
        match self.from.ask(&Task::UdpSend { to, payload, rate, time, mark }, time)? {
            Answer::Sent { sent, seconds } => Ok((sent, seconds)),
            _ => Err(out_of_step()),
        }
    }
}
