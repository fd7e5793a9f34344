//! One turn: one workload through one contender.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Duration;

use super::workload::{Metric, Workload};
use crate::error::LabError;
use crate::interrupt;
use crate::measure::cpu::{Look, resident};
use crate::measure::search::{PRECISION, highest_passing};
use crate::stage::Stage;
use crate::traffic::{Agent, Answer, Task};

/// The loss that counts as low: a fraction.
const LOW_LOSS: f64 = 0.005;

/// A sender that does not reach this part of the rate it was given did not offer that rate.
const REACHED: f64 = 0.95;

/// How long things are measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// A flood, a series of round trips, a rest; bulk transfers take about as long.
    pub(crate) measure: Duration,
}

impl Times {
    /// Before it, and not counted: TCP finds its window, tables are learned, the clock speeds up.
    fn warm_up(self) -> Duration {
        (self.measure / 4).clamp(Duration::from_millis(50), Duration::from_secs(2))
    }

    /// The bytes of a bulk transfer: 10^9 for each second, which takes about that long at 8 Gb/s.
    fn bytes(self) -> u64 {
        (self.measure.as_secs_f64() * 1e9) as u64
    }

    /// How long they may take: who is slower is measured over fewer.
    fn patience(self) -> Duration {
        4 * self.measure
    }

    /// One rate of a search.
    fn rate(self) -> Duration {
        (self.measure / 5).clamp(Duration::from_millis(40), Duration::from_secs(2))
    }

    /// About how long a workload takes, for the estimate at the start.
    pub(crate) fn estimate(self, workload: Workload) -> Duration {
        // Two searches, which are short when flood passes, and the waiting after a loss for what may still come.
        let search = 12 * (self.rate() + Duration::from_millis(30));
        match workload {
            Workload::Udp64 | Workload::Udp1400 => self.warm_up() + self.measure + search,
            Workload::Rest => self.measure,
            _ => self.warm_up() + self.measure + Duration::from_millis(20),
        }
    }
}

/// What came of it.
pub(crate) type Figures = BTreeMap<Metric, f64>;

/// Performs one turn.
///
/// # Errors
/// What an agent fails with; afterwards the agents may be out of step and should be started afresh.
pub(crate) fn perform(
    stage: &mut Stage,
    workload: Workload,
    times: Times,
    marks: &mut u64,
) -> Result<Figures, LabError> {
    let daemons = stage.daemons();
    let [near, far] = stage.addresses();
    let (from, to, on) = match workload.is_back() {
        false => (&mut stage.near, &mut stage.far, far),
        true => (&mut stage.far, &mut stage.near, near),
    };
    match workload {
        Workload::Tcp1 | Workload::Tcp1Back | Workload::Tcp8 | Workload::Tcp8Back => {
            let streams = if matches!(workload, Workload::Tcp8 | Workload::Tcp8Back) { 8 } else { 1 };
            let (warm_up, enough, patience) = (times.warm_up(), times.bytes(), times.patience());
            bulk(from, to, Task::TcpReceive { on, streams, warm_up, enough, patience, daemons })
        }
        Workload::Udp64 | Workload::Udp1400 => {
            let payload = if workload == Workload::Udp64 { 64 } else { 1400 };
            let Answer::Ready(target) = to.ask(&Task::UdpReceive { on }, Duration::ZERO)? else {
                return Err(out_of_step());
            };
            Datagrams { from, to, target, payload, times, marks }.figures()
        }
        Workload::Rr => {
            let Answer::Ready(target) = to.ask(&Task::Echo { on }, Duration::ZERO)? else {
                return Err(out_of_step());
            };
            round_trips(from, target, times)
        }
        Workload::Rest => rest(&daemons, times),
    }
}

fn out_of_step() -> LabError {
    LabError::Traffic("an answer to another question".into())
}

fn bulk(from: &mut Agent, to: &mut Agent, task: Task) -> Result<Figures, LabError> {
    let Task::TcpReceive { streams, warm_up, patience, .. } = task else { return Err(out_of_step()) };
    let limit = warm_up + patience;
    to.tell(&task)?;
    let Answer::Ready(address) = to.answer(Duration::ZERO)? else { return Err(out_of_step()) };
    from.tell(&Task::TcpSend { to: address, streams, limit })?;
    let received = to.answer(limit)?;
    let Answer::Done = from.answer(limit)? else { return Err(out_of_step()) };
    let Answer::Received { bytes, seconds, usage } = received else { return Err(out_of_step()) };
    if bytes == 0 {
        return Err(LabError::Traffic("connected, but no byte came".into()));
    }
    let gigabytes = bytes as f64 / 1e9;
    Ok(Figures::from([
        (Metric::Gbps, gigabytes * 8.0 / seconds),
        (Metric::CpuPerGb, usage.machine_s / gigabytes),
        (Metric::DaemonCpuPerGb, usage.daemons_s / gigabytes),
    ]))
}

fn round_trips(from: &mut Agent, to: SocketAddrV4, times: Times) -> Result<Figures, LabError> {
    let (warm_up, measure) = (times.warm_up(), times.measure);
    let answer = from.ask(&Task::RequestResponse { to, warm_up, measure }, warm_up + measure)?;
    let Answer::RoundTrips { p50_us, p99_us, .. } = answer else { return Err(out_of_step()) };
    Ok(Figures::from([(Metric::P50, p50_us / 2.0), (Metric::P99, p99_us / 2.0)]))
}

fn rest(daemons: &[u32], times: Times) -> Result<Figures, LabError> {
    let before = Look::now(daemons)?;
    interrupt::pause(times.measure)?;
    let usage = Look::now(daemons)?.since(before);
    let idle = 100.0 * usage.daemons_s / times.measure.as_secs_f64();
    let memory = resident(daemons) as f64 / f64::from(1 << 20);
    Ok(Figures::from([(Metric::Memory, memory), (Metric::IdleCpu, idle)]))
}

/// Floods and searches with one size of datagram.
struct Datagrams<'a> {
    from: &'a mut Agent,
    to: &'a mut Agent,
    target: SocketAddrV4,
    payload: usize,
    times: Times,
    /// The last mark used; each trial takes the next.
    marks: &'a mut u64,
}

/// What one trial saw, in datagrams per second.
struct Seen {
    offered: f64,
    received: f64,
    /// A fraction of what was sent.
    loss: f64,
}

impl Datagrams<'_> {
    fn figures(mut self) -> Result<Figures, LabError> {
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
