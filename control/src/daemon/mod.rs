//! `weft daemon`: everything together, in the order it starts and ends.
//!
//! ```text
//! privileges > host facts > directories, lock, store > uplink > dataplane > what was on record > API socket > ready
//! SIGTERM    > API socket > interfaces > dataplane > the end
//! ```
//!
//! One process holds control and packets: the dataplane's threads beside the async runtime. Whatever was made ends with
//! its descriptor, so that even a daemon that is killed leaves no interface behind; what remains then is the socket's
//! name, which the next daemon replaces, and the store. However a daemon ends, networks and endpoints stay on record: the
//! next one restores them, and drops endpoints whose namespaces have died.
//!
//! A state directory has one daemon: a lock is held in it as long as the process lives, and a second daemon refuses.

mod error;
mod lock;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use weft_dataplane::io::uplink::Uplink;
use weft_dataplane::runtime::{self, Event, Handle, StartError, UnderlayConfig};

pub use error::DaemonError;

use crate::api::{self, Server};
use crate::config::{Config, Underlay};
use crate::network::{self, HostPlane, Manager};
use crate::sandbox::host::{HostNets, check_privileges, check_tun};
use crate::store::{Catalog, RedbStore, Store, StoreUrl};
use crate::underlay::{self, Choice, Following, Road};
use lock::Lock;

/// How long requests that are still under way at the end may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// Runs a daemon until SIGTERM, SIGINT or SIGHUP, and removes every interface it made.
///
/// # Errors
/// [`DaemonError`]; nothing is left behind.
pub fn run(config: &Config) -> Result<(), DaemonError> {
    check_privileges()?;
    check_tun()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("weft-control")
        .build()
        .map_err(DaemonError::io("start the control threads"))?;
    let underlay = config.settle(&runtime.block_on(HostNets::read())?)?;
    make_directory(&config.state_dir, 0o700)?;
    make_directory(&config.run_dir, 0o755)?;
    let _lock = Lock::take(&config.state_dir)?;
    let catalog = Catalog::new(open_store(&config.store)?);

    let (uplink, refusal) = runtime.block_on(find_uplink(config, underlay.as_ref()))?;
    let device = uplink.as_ref().map(|road| road.device);
    let dataplane = dataplane_config(config, underlay.as_ref(), uplink.map(|road| road.uplink));
    let dataplane = Arc::new(Handle::start(dataplane)?);
    let events = dataplane.events();
    if let (Some(device), Some(underlay)) = (device, &underlay) {
        runtime.spawn(follow_hops(config, underlay, device, Arc::downgrade(&dataplane)));
    }
    let plane = HostPlane::new(dataplane, runtime.handle().clone(), refusal);
    let node = config.node.clone();
    let manager = Manager::open(Box::new(plane), catalog, node, underlay, config.peers.clone())?;
    manager.ensure_predefined();
    manager.reconcile();
    let manager = Arc::new(manager);
    let (witness, keeper) = (Arc::downgrade(&manager), Arc::downgrade(&manager));
    let thread = |name: &str| std::thread::Builder::new().name(name.into());
    thread("weft-events")
        .spawn(move || watch(events.iter(), &witness))
        .map_err(DaemonError::io("start the event thread"))?;
    thread("weft-reconcile")
        .spawn(move || keep_right(&keeper))
        .map_err(DaemonError::io("start the reconciling thread"))?;

    runtime.block_on(serve(config, &manager))?;
    tracing::info!("stopping");
    manager.close();
    runtime.shutdown_timeout(FAREWELL);
    Ok(())
}

/// Serves the API until a signal says to end.
async fn serve(config: &Config, manager: &Arc<Manager>) -> Result<(), DaemonError> {
    let mut signals = Signals::install().map_err(DaemonError::io("watch for signals"))?;
    let socket = config.socket();
    let listener = api::bind(&socket)?;
    let server = Server::new(listener, socket.clone(), Arc::clone(manager), config.node.to_string());
    log_ready(config, manager, &socket);
    server
        .run(async {
            let name = signals.next().await;
            tracing::info!(signal = name, "told to end");
        })
        .await;
    Ok(())
}

fn log_ready(config: &Config, manager: &Manager, socket: &Path) {
    let (node, workers, socket) = (&config.node, manager.plane().workers(), socket.display());
    match manager.plane().underlay() {
        Some(u) => {
            if let Some(reason) = &u.reason {
                tracing::info!(mode = u.mode, "underlay mode: {reason}");
            }
            let (vtep, port, mode, peers) = (u.address, u.port, u.mode, config.peers.len());
            tracing::info!(%node, workers, %vtep, port, mode, peers, %socket, "ready");
        }
        None => tracing::info!(%node, workers, %socket, "ready, without an underlay: bridge networks only"),
    }
}

/// Passes on what the dataplane says unasked, until either side is gone.
fn watch(events: impl Iterator<Item = Event>, manager: &Weak<Manager>) {
    for event in events {
        let Some(manager) = manager.upgrade() else { return };
        match event {
            Event::PortGone(port) => manager.port_gone(port),
        }
    }
}

/// Sets right what went wrong meanwhile, until the manager is gone.
fn keep_right(manager: &Weak<Manager>) {
    loop {
        std::thread::sleep(network::PERIOD);
        let Some(manager) = manager.upgrade() else { return };
        manager.reconcile();
    }
}

fn open_store(url: &StoreUrl) -> Result<Arc<dyn Store>, DaemonError> {
    match url {
        StoreUrl::Redb(path) => Ok(Arc::new(RedbStore::open(path)?)),
    }
}

/// A road for whole super-frames, or why there is none if that needs a reason.
async fn find_uplink(
    config: &Config,
    underlay: Option<&Underlay>,
) -> Result<(Option<Road>, Option<String>), DaemonError> {
    let Some(underlay) = underlay else { return Ok((None, None)) };
    let workers = runtime::worker_count(config.workers)?;
    match underlay::choose(config.underlay_mode, underlay.address, workers).await.map_err(StartError::from)? {
        Choice::Road(road) => Ok((Some(road), None)),
        Choice::NotWanted => Ok((None, None)),
        Choice::Refused(reason) => Ok((None, Some(format!("tunnel-gso: {reason}")))),
    }
}

/// Tells `dataplane`, as long as it exists, how peers are reached.
fn follow_hops(
    config: &Config,
    underlay: &Underlay,
    device: u32,
    dataplane: Weak<Handle>,
) -> impl Future<Output = ()> + use<> {
    let (own, port, peers) = (underlay.address, config.underlay_port, config.peers.clone());
    underlay::follow(Following { device, own, port, peers }, move |hops| {
        dataplane.upgrade().map(|dataplane| dataplane.set_next_hops(hops)).is_some()
    })
}

fn dataplane_config(config: &Config, underlay: Option<&Underlay>, uplink: Option<Uplink>) -> runtime::Config {
    let underlay = underlay.map(|underlay| UnderlayConfig {
        address: underlay.address,
        port: config.underlay_port,
        mode: config.underlay_mode,
        uplink,
    });
    runtime::Config { workers: config.workers, underlay }
}

fn make_directory(path: &Path, mode: u32) -> Result<(), DaemonError> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|source| DaemonError::Directory { path: path.into(), source })
}

/// The signals that end a daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }
}
