//! `weft daemon`: everything together, in the order it starts and ends.
//!
//! ```text
//! privileges > host facts > directories, lock, store > packet process > uplink, way out > what was on record > API socket, Docker's plugin > ready
//! SIGHUP     > the configuration, again ([`reload`])
//! SIGTERM    > API socket, Docker's plugin > interfaces > packet process > the end
//! ```
//!
//! Packets are another process's ([`crate::packet`]), which goes on when this one is killed and which the next daemon
//! finds. Whatever was made ends with its descriptor, so that no interface is left when both processes are gone; what
//! remains when both were killed are the names of their sockets, which the next daemon replaces, and the store. However a
//! daemon ends, networks and endpoints stay on record: the next one restores them, and drops endpoints whose namespaces
//! have died.
//!
//! A state directory has one daemon: a lock is held in it as long as the process lives, and a second daemon refuses.

mod error;
mod lock;
mod reload;
mod signals;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use weft_dataplane::runtime::{Event, StartError, UnderlayConfig, random_seed, worker_count};

pub use error::DaemonError;
pub use reload::Loader;

use crate::api::{self, Server};
use crate::config::{Config, Underlay};
use crate::driver::docker;
use crate::egress::{self, Outdoors};
use crate::health::{Health, Phase};
use crate::log::Log;
use crate::network::{self, HostPlane, Manager};
use crate::packet::{self, Dataplane};
use crate::sandbox::Netns;
use crate::sandbox::host::{HostNets, check_privileges, check_tun};
use crate::store::{Catalog, RedbStore, Store, StoreUrl};
use crate::underlay::{self, Outlook, Plan};
use crate::{metrics, notify};
use lock::Lock;
use reload::Reload;
use signals::{Asked, Signals};

/// How long requests that are still under way at the end may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// What becomes of interfaces when the daemon is told to end. Networks and endpoints stay on record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtEnd {
    /// They are removed, and the packet process ends.
    #[default]
    RemoveAll,
    /// The packet process goes on forwarding, for the next daemon to adopt.
    LeaveForwarding,
}

/// Runs a daemon until SIGTERM or SIGINT. SIGHUP has `load` read the configuration again.
///
/// # Errors
/// [`DaemonError`]; nothing is left behind but a packet process that was there before.
pub fn run(config: &Config, log: Log, load: Loader, at_end: AtEnd) -> Result<(), DaemonError> {
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

    let (dataplane, events) = Dataplane::open(packet_options(config, underlay.as_ref())?)?;
    let dataplane = Arc::new(dataplane);
    let outlook = runtime.block_on(start_uplink(config, underlay.as_ref(), &dataplane))?;
    let (outdoors, way_out) = runtime.block_on(open_way_out(config, &dataplane))?;
    let plane = HostPlane::new(Arc::clone(&dataplane), runtime.handle().clone(), outlook);
    let node = config.node.clone();
    let manager = Manager::open(Box::new(plane), catalog, node, underlay, config.peers.clone())?;
    manager.ensure_predefined();
    manager.reconcile();
    manager.plane().settle();
    let manager = Arc::new(manager);
    let (witness, keeper) = (Arc::downgrade(&manager), Arc::downgrade(&manager));
    let thread = |name: &str| std::thread::Builder::new().name(name.into());
    thread("weft-events")
        .spawn(move || watch(events, &witness, &way_out))
        .map_err(DaemonError::io("start the event thread"))?;
    thread("weft-reconcile")
        .spawn(move || keep_right(&keeper))
        .map_err(DaemonError::io("start the reconciling thread"))?;

    runtime.block_on(serve(config, log, load, &manager))?;
    drop(outdoors);
    tracing::info!(?at_end, "stopping");
    match at_end {
        AtEnd::RemoveAll => manager.close(),
        AtEnd::LeaveForwarding => {
            manager.freeze();
            dataplane.leave();
        }
    }
    runtime.shutdown_timeout(FAREWELL);
    Ok(())
}

/// Serves the API, the metrics and the plugin of Docker until a signal says to end.
async fn serve(config: &Config, log: Log, load: Loader, manager: &Arc<Manager>) -> Result<(), DaemonError> {
    let mut signals = Signals::install().map_err(DaemonError::io("watch for signals"))?;
    let socket = config.socket();
    let listener = api::bind(&socket)?;
    let health = Arc::new(Health::default());
    let node = config.node.to_string();
    let server = Server::new(listener, socket.clone(), Arc::clone(manager), Arc::clone(&health), node);
    let (metrics, listen) = watch::channel(config.metrics);
    // Both end with the runtime; the metrics before, with the sender of their address.
    let calls = Arc::new(docker::Calls::default());
    tokio::spawn(metrics::run(listen, Arc::clone(manager), Arc::clone(&health), Arc::clone(&calls)));
    tokio::spawn(notify::watchdog(Arc::clone(manager)));
    let plugin = config.docker.then(|| {
        let [socket, engine] = [docker::SOCKET, docker::ENGINE].map(Path::new);
        docker::Service::start(socket, engine, manager, &health, &calls)
    });
    let mut reload = Reload { current: config.clone(), load, log, metrics, manager: Arc::clone(manager) };
    health.enter(Phase::Ready);
    log_ready(config, manager, &socket);
    notify::ready();
    let told_to_end = async {
        loop {
            match signals.next().await {
                Asked::Reload => {
                    notify::reloading();
                    reload.run().await;
                    notify::ready();
                }
                Asked::End(name) => break tracing::info!(signal = name, "told to end"),
            }
        }
        health.enter(Phase::Stopping);
        notify::stopping();
    };
    server.run(told_to_end).await;
    if let Some(plugin) = plugin {
        plugin.stop().await;
    }
    Ok(())
}

fn log_ready(config: &Config, manager: &Manager, socket: &Path) {
    let (node, workers, socket) = (&config.node, manager.plane().workers(), socket.display());
    match manager.plane().underlay() {
        Some(u) => {
            if let Some(reason) = &u.reason {
                tracing::info!(mode = %u.mode, "underlay mode: {reason}");
            }
            let (vtep, port, mode, peers) = (u.address, u.port, u.mode, config.peers.len());
            tracing::info!(%node, workers, %vtep, port, %mode, peers, %socket, "ready");
        }
        None => tracing::info!(%node, workers, %socket, "ready, without an underlay: bridge networks only"),
    }
}

/// Passes on what the dataplane says unasked, until either side is gone.
fn watch(events: Receiver<Event>, manager: &Weak<Manager>, way_out: &egress::Handle) {
    for event in events {
        let Some(manager) = manager.upgrade() else { return };
        match event {
            Event::PortGone(port) => manager.port_gone(port),
            Event::OutsideWants => way_out.nudge(),
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

/// Gives `dataplane` an uplink, if it can have one.
async fn start_uplink(
    config: &Config,
    underlay: Option<&Underlay>,
    dataplane: &Arc<Dataplane>,
) -> Result<Outlook, StartError> {
    let Some(underlay) = underlay else { return Ok(Outlook::default()) };
    let plan = Plan {
        mode: config.underlay_mode,
        address: underlay.address,
        port: config.underlay_port,
        peers: config.peers.clone(),
    };
    Ok(underlay::start(plan, dataplane).await?)
}

/// Opens the ways off the host, and follows its routing for as long as what is returned lives.
async fn open_way_out(
    config: &Config,
    dataplane: &Arc<Dataplane>,
) -> Result<(Arc<Outdoors>, egress::Handle), DaemonError> {
    let outdoors = Arc::new(Outdoors::new(Arc::clone(dataplane)));
    let plan = egress::Plan { interface: config.uplink.clone(), seed: random_seed() };
    let way_out = egress::start(plan, Netns::current()?, &outdoors).await;
    Ok((outdoors, way_out))
}

fn packet_options(config: &Config, underlay: Option<&Underlay>) -> Result<packet::Options, StartError> {
    let underlay = underlay.map(|underlay| UnderlayConfig {
        address: underlay.address,
        port: config.underlay_port,
        mode: config.underlay_mode,
    });
    let workers = worker_count(config.workers)?;
    Ok(packet::Options { run_dir: config.run_dir.clone(), workers, underlay })
}

fn make_directory(path: &Path, mode: u32) -> Result<(), DaemonError> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|source| DaemonError::Directory { path: path.into(), source })
}
