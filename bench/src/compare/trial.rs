//! One turn: one workload through one contender.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Duration;

use super::datagrams::Datagrams;
use super::workload::{Metric, Workload};
use crate::error::LabError;
use crate::interrupt;
use crate::measure::cpu::{Look, Usage, resident};
use crate::stage::Stage;
use crate::stage::nat::PORT;
use crate::traffic::{Agent, Answer, End, Task};

/// TCP connections that are open at a time.
const CONCURRENT: usize = 16;

/// How long things are measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// A flood, a series of round trips, a rest; bulk transfers take about as long.
    pub(crate) measure: Duration,
}

impl Times {
    /// Before it, and not counted: TCP finds its window, tables are learned, the clock speeds up.
    pub(super) fn warm_up(self) -> Duration {
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
    pub(super) fn rate(self) -> Duration {
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
    let published = stage.published();
    let (from, to, on) = match workload.is_back() {
        false => (&mut stage.near, &mut stage.far, far),
        true => (&mut stage.far, &mut stage.near, near),
    };
    let bulk = Bulk { streams: 1, listens: Listens::Receiver, on: SocketAddrV4::new(on, 0), by: None, times };
    match workload {
        Workload::Tcp1 | Workload::Tcp1Back | Workload::TcpOut => bulk.figures(from, to, daemons),
        Workload::Tcp8 | Workload::Tcp8Back => Bulk { streams: 8, ..bulk }.figures(from, to, daemons),
        Workload::TcpIn => {
            let on = SocketAddrV4::new(far, 0);
            Bulk { listens: Listens::Sender, on, ..bulk }.figures(from, to, daemons)
        }
        Workload::TcpPublished => {
            Bulk { on: SocketAddrV4::new(near, PORT), by: published, ..bulk }.figures(from, to, daemons)
        }
        Workload::Cps => {
            let target = listen(to, &Task::Serve { on })?;
            connections(from, target, times, daemons)
        }
        Workload::Udp64 | Workload::Udp1400 => {
            let payload = if workload == Workload::Udp64 { 64 } else { 1400 };
            let target = listen(to, &Task::UdpReceive { on })?;
            Datagrams { from, to, target, payload, times, marks }.figures()
        }
        Workload::Rr => {
            let target = listen(to, &Task::Echo { on })?;
            round_trips(from, target, times)
        }
        Workload::Rest => rest(&daemons, times),
    }
}

pub(super) fn out_of_step() -> LabError {
    LabError::Traffic("an answer to another question".into())
}

/// Who waits for the other's connections.
#[derive(Clone, Copy)]
enum Listens {
    Receiver,
    Sender,
}

/// A bulk transfer.
#[derive(Clone, Copy)]
struct Bulk {
    streams: usize,
    listens: Listens,
    /// Where.
    on: SocketAddrV4,
    /// Where that appears to the other end, when something between them translates it.
    by: Option<SocketAddrV4>,
    times: Times,
}

impl Bulk {
    fn figures(self, from: &mut Agent, to: &mut Agent, daemons: Vec<u32>) -> Result<Figures, LabError> {
        let Self { streams, listens, on, by, times } = self;
        let (warm_up, enough, patience) = (times.warm_up(), times.bytes(), times.patience());
        let limit = warm_up + patience;
        let receive = |end| Task::TcpReceive { end, streams, warm_up, enough, patience, daemons };
        let send = |end| Task::TcpSend { end, streams, limit };
        match listens {
            Listens::Receiver => {
                let address = listen(to, &receive(End::Listen(on)))?;
                from.tell(&send(End::Connect(by.unwrap_or(address))))?;
            }
            Listens::Sender => {
                let address = listen(from, &send(End::Listen(on)))?;
                to.tell(&receive(End::Connect(by.unwrap_or(address))))?;
            }
        }
        let received = to.answer(limit)?;
        let Answer::Done = from.answer(limit)? else { return Err(out_of_step()) };
        let Answer::Received { bytes, seconds, usage } = received else { return Err(out_of_step()) };
        throughput(bytes, seconds, usage)
    }
}

fn listen(agent: &mut Agent, task: &Task) -> Result<SocketAddrV4, LabError> {
    match agent.ask(task, Duration::ZERO)? {
        Answer::Ready(address) => Ok(address),
        _ => Err(out_of_step()),
    }
}

fn throughput(bytes: u64, seconds: f64, usage: Usage) -> Result<Figures, LabError> {
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

fn connections(
    from: &mut Agent,
    to: SocketAddrV4,
    times: Times,
    daemons: Vec<u32>,
) -> Result<Figures, LabError> {
    let (warm_up, measure) = (times.warm_up(), times.measure);
    let task = Task::Connect { to, concurrent: CONCURRENT, warm_up, measure, daemons };
    let Answer::Connected { made, failed, seconds, usage } = from.ask(&task, warm_up + measure)? else {
        return Err(out_of_step());
    };
    if made == 0 {
        return Err(LabError::Traffic(format!("no connection was completed, {failed} failed")));
    }
    let each = 1e6 / made as f64;
    Ok(Figures::from([
        (Metric::ConnectionRate, made as f64 / seconds),
        (Metric::ConnectionsFailed, 100.0 * failed as f64 / (made + failed) as f64),
        (Metric::CpuPerConnection, usage.machine_s * each),
        (Metric::DaemonCpuPerConnection, usage.daemons_s * each),
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
