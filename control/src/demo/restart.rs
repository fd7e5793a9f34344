//! The parts in which a process of host a is killed while its containers talk, and another one takes its place.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::bulk::{Transfer, Way, transfer};
use super::daemon::Daemon;
use super::error::DemoError;
use super::lab::{Cast, Container};
use super::parts::PINGS;
use super::ping::ping;

/// The ICMP identifiers of the pings to `a2`, to `b1` and outside.
const NEAR: u16 = 4;
const FAR: u16 = 5;
const OUT: u16 = 6;

/// Between two blocks and between two series of pings: other people use this machine too.
const PAUSE: Duration = Duration::from_millis(1);

/// How many blocks follow when all is well again.
const AFTERWARDS: u32 = 8;

/// The daemon is killed and another one started while `a1` pings its neighbours here and there and the machine outside,
/// and has a connection with that: the packets do not notice.
pub(super) async fn daemon(cast: &Cast, daemon: &mut Daemon) -> Result<String, DemoError> {
    let traffic = Traffic::new(&cast.a1);
    let (elapsed, near, far, out, session) = tokio::join!(
        traffic.during(daemon.replace(&cast.a)),
        traffic.pings(&cast.a2, NEAR),
        traffic.pings(&cast.b1, FAR),
        traffic.pings(&cast.o, OUT),
        traffic.session(&cast.o),
    );
    let (milliseconds, answered, session) = (elapsed?.as_secs_f64() * 1e3, near? + far? + out?, session?);
    Ok(format!(
        "another one took over after {milliseconds:.0} ms; {answered} of {answered} pings answered meanwhile; {}",
        told(&session)
    ))
}

/// The packet process is killed while `a1` has a connection with the machine outside: that goes on.
pub(super) async fn packet_process(cast: &Cast, daemon: &mut Daemon) -> Result<String, DemoError> {
    let traffic = Traffic::new(&cast.a1);
    let (elapsed, session) =
        tokio::join!(traffic.during(daemon.lose_packet_process()), traffic.session(&cast.o));
    let (milliseconds, session) = (elapsed?.as_secs_f64() * 1e3, session?);
    Ok(format!("another one took over after {milliseconds:.0} ms; {}", told(&session)))
}

fn told(session: &Transfer) -> String {
    format!("TCP a1 -> o went on: {:.0} MB, hashes equal", session.bytes as f64 / 1e6)
}

/// What somebody says to others until something is over.
struct Traffic<'a> {
    from: &'a Container,
    over: Cell<bool>,
}

impl<'a> Traffic<'a> {
    fn new(from: &'a Container) -> Self {
        Self { from, over: Cell::new(false) }
    }

    /// Does what the traffic is to be there for, and returns how long that took.
    async fn during(&self, work: impl Future<Output = Result<(), DemoError>>) -> Result<Duration, DemoError> {
        let started = Instant::now();
        let done = work.await;
        self.over.set(true);
        done.map(|()| started.elapsed())
    }

    /// Returns how many pings were sent, and answered.
    async fn pings(&self, to: &Container, ident: u16) -> Result<usize, DemoError> {
        let mut answered = 0;
        while !self.over.get() {
            answered += ping(self.from.netns(), to.ip, ident, PINGS).await?.count();
            sleep(PAUSE).await;
        }
        Ok(answered)
    }

    /// One connection, which is used afterwards, too.
    async fn session(&self, to: &Container) -> Result<Transfer, DemoError> {
        let mut afterwards = AFTERWARDS;
        let more = async |_, _| {
            sleep(PAUSE).await;
            afterwards -= u32::from(self.over.get());
            afterwards > 0
        };
        transfer(Way::direct(self.from.netns(), to.netns(), to.ip), more).await
    }
}
