//! How long attaching and detaching take on a full host, what that host costs, and how soon a new daemon has it again.
//!
//! One daemon, one `bridge` network, many endpoints spread over a few sandboxes. Times are those of an API call, from the
//! request to the answer: when it has come, the interface is up and has its addresses.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use weft::api::Client;
use weft::model::{IfName, Name};
use weft::network::{EndpointRequest, NetworkRequest};

use crate::error::LabError;
use crate::interrupt;
use crate::measure::cpu::resident;
use crate::measure::quantiles::Quantiles;
use crate::stage::daemon::{Daemon, directory, text};
use crate::stage::docker::Machine;
use crate::stage::netns::{Namespace, remove_leftovers};

/// The network that everything is connected to.
pub(crate) const NETWORK: &str = "full";

/// How many endpoints a sandbox gets: a namespace with thousands of links would measure the kernel's search for names.
const PER_SANDBOX: usize = 64;

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Endpoints that are there while things are measured.
    pub(crate) count: usize,
    /// How many times something comes and goes meanwhile: an endpoint, a container.
    pub(crate) samples: usize,
}

/// What came of it. Times are in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    count: usize,
    samples: usize,
    fill_s: f64,
    attach: Quantiles,
    detach: Quantiles,
    /// Resident memory of the daemon and the packet process, MiB.
    memory_mib: f64,
    /// Open descriptors of the daemon and of the packet process.
    descriptors: Vec<usize>,
    /// From the start of a daemon to its answer, the former one having been killed, with all endpoints back.
    restart_ms: f64,
}

/// Builds the host, fills it and measures.
///
/// # Errors
/// [`LabError`]; what was made is removed.
pub(crate) fn run(weft: &Path, plan: Plan) -> Result<Figures, LabError> {
    let (mut lab, fill) = Lab::filled(weft, plan.count, Plugin::Off)?;
    let fill_s = fill.as_secs_f64();
    let (mut attach, mut detach) = (Vec::new(), Vec::new());
    for sample in 0..plan.samples {
        interrupt::check()?;
        // A stride that meets every sandbox and, in the end, every endpoint.
        let number = sample * 7_919 % plan.count;
        detach.push(lab.detach(number)?);
        attach.push(lab.attach(number)?);
    }
    let pids = lab.pids()?;
    let memory_mib = resident(&pids) as f64 / f64::from(1 << 20);
    let descriptors = pids.iter().map(|pid| descriptors(*pid)).collect();
    let restart_ms = lab.restart(plan.count)?.as_secs_f64() * 1e3;
    let (attach, detach) = (Quantiles::of(&attach), Quantiles::of(&detach));
    Ok(Figures {
        count: plan.count,
        samples: plan.samples,
        fill_s,
        attach,
        detach,
        memory_mib,
        descriptors,
        restart_ms,
    })
}

/// The figures, a line each.
pub(crate) fn render(figures: &Figures) -> String {
    format!(
        "{} endpoints attached in {:.1} s; with them present, {} times:\n{}{}\
         daemon and packet process: {:.1} MiB resident, {:?} descriptors\n\
         a daemon that takes over has all of them after {:.0} ms\n",
        figures.count,
        figures.fill_s,
        figures.samples,
        figures.attach.line("attach"),
        figures.detach.line("detach"),
        figures.memory_mib,
        figures.descriptors,
        figures.restart_ms,
    )
}

/// Whether the daemon is to be a plugin of Docker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plugin {
    Off,
    /// On a machine where an engine can be started beside it.
    On,
}

/// A host with a daemon, and sandboxes for its endpoints.
pub(crate) struct Lab {
    runtime: Runtime,
    client: Client,
    daemon: Option<Daemon>,
    sandboxes: Vec<Namespace>,
    /// Where an engine finds the daemon as its plugin.
    pub(crate) machine: Option<Arc<Machine>>,
    /// Where the daemon is.
    pub(crate) host: Namespace,
    weft: PathBuf,
    /// Removed last.
    directory: TempDir,
}

impl Lab {
    /// One with `count` endpoints, and how long it took to attach them.
    ///
    /// # Errors
    /// [`LabError`]; what was made is removed.
    pub(crate) fn filled(weft: &Path, count: usize, plugin: Plugin) -> Result<(Self, Duration), LabError> {
        if !rustix::process::geteuid().is_root() {
            return Err(LabError::NotRoot);
        }
        remove_leftovers();
        let lab = Self::build(weft, count, plugin)?;
        lab.create()?;
        let started = Instant::now();
        for number in 0..count {
            interrupt::check()?;
            lab.attach(number)?;
            if (number + 1) % 100 == 0 {
                eprintln!("{} of {count} endpoints attached", number + 1);
            }
        }
        Ok((lab, started.elapsed()))
    }

    /// The socket of its daemon.
    pub(crate) fn socket(&self) -> &Path {
        self.client.socket()
    }

    fn build(weft: &Path, count: usize, plugin: Plugin) -> Result<Self, LabError> {
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(LabError::io("start a client"))?;
        let directory = directory()?;
        let client = Client::new(directory.path().join("run/weft.sock"));
        let host = Namespace::new("host")?;
        let sandboxes = (0..count.div_ceil(PER_SANDBOX))
            .map(|_| Namespace::new("sandbox"))
            .collect::<Result<Vec<_>, _>>()?;
        let weft = weft.to_owned();
        // After them, so that they are there as well.
        let machine = match plugin {
            Plugin::Off => None,
            Plugin::On => Some(Arc::new(Machine::on(&host)?)),
        };
        let mut lab = Self { runtime, client, daemon: None, sandboxes, machine, host, weft, directory };
        lab.start()?;
        Ok(lab)
    }

    /// Starts a daemon and waits for its answer.
    fn start(&mut self) -> Result<(), LabError> {
        let here = text(self.directory.path());
        let mut command = match &self.machine {
            Some(machine) => machine.command(&self.weft),
            None => {
                let mut command = Command::new(&self.weft);
                command.env_clear().env("WEFT_DOCKER_PLUGIN", "false");
                command
            }
        };
        let places = [format!("state_dir=\"{here}/state\""), format!("run_dir=\"{here}/run\"")];
        command.arg("daemon").args(["--set", &places[0], "--set", &places[1]]);
        let mut daemon = Daemon::start(&self.host, command, self.directory.path().join("log"))?;
        let (client, runtime) = (&self.client, &self.runtime);
        daemon.ready("the daemon is ready", || runtime.block_on(client.status()).ok().filter(|s| s.ready))?;
        self.daemon = Some(daemon);
        Ok(())
    }

    fn create(&self) -> Result<(), LabError> {
        let mut request = NetworkRequest::new(name(NETWORK)?);
        request.subnets = vec!["10.64.0.0/16".parse().map_err(|_| refused("a subnet"))?];
        self.runtime
            .block_on(self.client.create_network(&request))
            .map(drop)
            .map_err(|e| refused(&e.to_string()))
    }

    fn attach(&self, number: usize) -> Result<Duration, LabError> {
        let mut request = EndpointRequest::new(self.sandboxes[number / PER_SANDBOX].path());
        request.name = Some(name(&format!("e{number}"))?);
        let ifname: Result<IfName, _> = format!("e{}", number % PER_SANDBOX).parse();
        request.ifname = Some(ifname.map_err(|_| refused("an interface name"))?);
        let started = Instant::now();
        let done = self.runtime.block_on(self.client.connect(NETWORK, &request));
        done.map(|_| started.elapsed()).map_err(|error| refused(&error.to_string()))
    }

    fn detach(&self, number: usize) -> Result<Duration, LabError> {
        let started = Instant::now();
        let done = self.runtime.block_on(self.client.disconnect(NETWORK, &format!("e{number}")));
        done.map(|_| started.elapsed()).map_err(|error| refused(&error.to_string()))
    }

    /// The daemon and, where that is another one, the packet process.
    fn pids(&self) -> Result<Vec<u32>, LabError> {
        let status = self.runtime.block_on(self.client.status()).map_err(|e| refused(&e.to_string()))?;
        Ok([Some(status.daemon_pid), status.dataplane_pid].into_iter().flatten().collect())
    }

    /// Kills the daemon and starts another one; how long that takes to have all `count` endpoints.
    fn restart(&mut self, count: usize) -> Result<Duration, LabError> {
        if let Some(daemon) = &mut self.daemon {
            daemon.kill()?;
        }
        self.daemon = None;
        let started = Instant::now();
        self.start()?;
        let elapsed = started.elapsed();
        let back = self.runtime.block_on(self.client.endpoints()).map_err(|e| refused(&e.to_string()))?.len();
        if back == count {
            Ok(elapsed)
        } else {
            Err(refused(&format!("{back} of {count} endpoints came back")))
        }
    }
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

fn name(text: &str) -> Result<Name, LabError> {
    text.parse().map_err(|_| refused(text))
}

pub(crate) fn refused(what: &str) -> LabError {
    LabError::Refused(what.to_owned())
}
