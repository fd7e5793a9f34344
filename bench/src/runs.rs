//! How long `docker run` takes on a host with many endpoints, on Weft's network and on Docker's own bridge in alternation,
//! and what part of it is Weft's: the sum of the times of all calls that the engine has made to the plugin meanwhile.
//!
//! A run is `docker run --rm` of a program that ends at once, from the start of the command to its end; when that has come,
//! the engine has taken the endpoint back as well. The endpoints that are there are on a network of their own, in sandboxes
//! that the engine does not know. The times of the calls are the daemon's own, from its metrics, read before and after
//! each run: nobody else calls meanwhile, so their difference is that run's.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::endpoints::{Lab, Plan, Plugin, refused};
use crate::error::LabError;
use crate::interrupt;
use crate::measure::quantiles::Quantiles;
use crate::stage::docker::{Driver, Engine, IMAGE, network_options};
use crate::stage::netns::Namespace;

/// Where the daemon's metrics are, unless it is told otherwise.
const METRICS: &str = "127.0.0.1:9789";

/// The sum of a call's times in them, seconds.
const SUM: &str = "weft_docker_call_seconds_sum{call=\"";

/// How long they may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs on each network before the first that counts: an engine makes some things once.
const WARM_UP: usize = 2;

/// What came of it. Times are in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    count: usize,
    samples: usize,
    /// The sum of the calls of one run.
    share: Quantiles,
    /// The whole of it.
    weft: Quantiles,
    bridge: Quantiles,
    /// The mean of each call in a run.
    calls: BTreeMap<String, f64>,
    /// Every run, in pairs.
    runs: Vec<Pair>,
}

/// A run on each network, one after the other.
#[derive(Clone, Debug, Serialize)]
struct Pair {
    bridge_ms: f64,
    weft_ms: f64,
    share_ms: f64,
}

/// Fills a host, starts an engine beside it and runs containers.
///
/// # Errors
/// [`LabError`]; what was made is removed.
pub(crate) fn run(weft: &Path, plan: Plan) -> Result<Figures, LabError> {
    let (lab, _) = Lab::filled(weft, plan.count, Plugin::On)?;
    let Some(machine) = &lab.machine else { return Err(refused("no machine for an engine")) };
    let engine = Engine::start(machine, &lab.host)?;
    for (driver, subnet) in [(Driver::Bridge, "10.78.0.0/24"), (Driver::Weft, "10.79.0.0/24")] {
        let (name, options) = (network(driver), network_options(driver));
        engine.docker(&[&["network", "create", "--subnet", subnet], options, &[&name]].concat())?;
    }
    for _ in 0..WARM_UP {
        time(&engine, Driver::Bridge)?;
        time(&engine, Driver::Weft)?;
    }
    let (mut whole_bridge, mut whole_weft, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    let first = calls(&lab.host)?;
    for sample in 0..plan.samples {
        interrupt::check()?;
        // Every other pair the other way round.
        let bridge_first = sample % 2 == 0;
        if bridge_first {
            whole_bridge.push(time(&engine, Driver::Bridge)?);
        }
        let before = calls(&lab.host)?;
        whole_weft.push(time(&engine, Driver::Weft)?);
        shares.push(share(&before, &calls(&lab.host)?)?);
        if !bridge_first {
            whole_bridge.push(time(&engine, Driver::Bridge)?);
        }
        if (sample + 1) % 20 == 0 {
            eprintln!("{} of {} containers run on each network", sample + 1, plan.samples);
        }
    }
    let last = calls(&lab.host)?;
    Ok(figures(plan, &[whole_bridge, whole_weft, shares], &difference(&first, &last)))
}

fn figures(plan: Plan, [bridge, weft, share]: &[Vec<Duration>; 3], calls: &BTreeMap<String, f64>) -> Figures {
    let ms = |time: &Duration| time.as_secs_f64() * 1e3;
    let pairs = bridge.iter().zip(weft).zip(share);
    let runs = pairs.map(|((b, w), s)| Pair { bridge_ms: ms(b), weft_ms: ms(w), share_ms: ms(s) });
    let mean = |(name, sum): (&String, &f64)| (name.clone(), sum * 1e3 / plan.samples as f64);
    Figures {
        count: plan.count,
        samples: plan.samples,
        share: Quantiles::of(share),
        weft: Quantiles::of(weft),
        bridge: Quantiles::of(bridge),
        calls: calls.iter().filter(|(_, sum)| **sum > 0.0).map(mean).collect(),
        runs: runs.collect(),
    }
}

/// The figures, a line each.
pub(crate) fn render(figures: &Figures) -> String {
    let calls = figures.calls.iter().map(|(name, mean)| format!("  {name:<44} mean {mean:>7.2} ms\n"));
    format!(
        "docker run --rm, {} times on each network in alternation, with {} endpoints present:\n{}{}{}Weft's share, by call:\n{}",
        figures.samples,
        figures.count,
        figures.bridge.line("bridge"),
        figures.weft.line("weft"),
        figures.share.line("its share"),
        calls.collect::<String>(),
    )
}

/// What the network of a driver is called.
fn network(driver: Driver) -> String {
    format!("bench-{driver}")
}

/// Runs a container; how long that took.
fn time(engine: &Engine, driver: Driver) -> Result<Duration, LabError> {
    let started = Instant::now();
    engine.docker(&["run", "--rm", "--net", &network(driver), IMAGE, "true"])?;
    Ok(started.elapsed())
}

/// The sum of each call's times so far, seconds.
fn calls(host: &Namespace) -> Result<BTreeMap<String, f64>, LabError> {
    let page = host.inside(|| {
        let mut stream = TcpStream::connect(METRICS)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET /metrics HTTP/1.0\r\nHost: {METRICS}\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok(page)
    });
    Ok(sums(&page.map_err(LabError::io(format!("read the metrics at {METRICS}")))?))
}

/// The sums on a page of metrics.
fn sums(page: &str) -> BTreeMap<String, f64> {
    let sum = |line: &str| {
        let (name, value) = line.strip_prefix(SUM)?.split_once("\"} ")?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    page.lines().filter_map(sum).collect()
}

/// What was added to each.
fn difference(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let added = |(name, sum): (&String, &f64)| (name.clone(), sum - before.get(name).unwrap_or(&0.0));
    after.iter().map(added).collect()
}

/// What the calls between two looks took together.
fn share(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) -> Result<Duration, LabError> {
    let sum: f64 = difference(before, after).values().sum();
    if sum > 0.0 { Ok(Duration::from_secs_f64(sum)) } else { Err(refused("the engine has not called Weft")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_the_difference_of_two_looks() {
        let page = |join: &str, more: &str| {
            format!(
                "# TYPE weft_docker_call_seconds histogram\n\
                 weft_docker_call_seconds_bucket{{call=\"NetworkDriver.Join\",le=\"0.001\"}} 7\n\
                 weft_docker_call_seconds_sum{{call=\"NetworkDriver.Join\"}} {join}\n{more}"
            )
        };
        let (before, leave) = (sums(&page("0.5", "")), format!("{SUM}NetworkDriver.Leave\"}} 0.25\n"));
        let after = sums(&page("0.75", &leave));
        assert_eq!(before, BTreeMap::from([("NetworkDriver.Join".to_owned(), 0.5)]));
        assert_eq!(share(&before, &after).unwrap(), Duration::from_millis(500));
        assert!(share(&after, &after).is_err());
    }

    #[test]
    fn figures_keep_every_run() {
        let times = |ms: u64| vec![Duration::from_millis(ms); 2];
        let calls = BTreeMap::from([("a".to_owned(), 0.004), ("b".to_owned(), 0.0)]);
        let plan = Plan { count: 1, samples: 2 };
        let figures = figures(plan, &[times(300), times(400), times(5)], &calls);
        assert_eq!(figures.calls, BTreeMap::from([("a".to_owned(), 2.0)]));
        assert_eq!(figures.runs.len(), 2);
        let run = &figures.runs[1];
        assert_eq!((run.bridge_ms, run.weft_ms, run.share_ms), (300.0, 400.0, 5.0));
        assert!(render(&figures).contains("its share"));
    }
}
