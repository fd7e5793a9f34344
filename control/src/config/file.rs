//! The grammar of a configuration, as written: every key of every build, and where each value stands.

use serde::Deserialize;
use toml::{Spanned, Value};

use super::Place;

/// A configuration as written. All keys are optional, and values are no more than the right kind of TOML.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigFile {
    node: Option<Spanned<String>>,
    state_dir: Option<Spanned<String>>,
    run_dir: Option<Spanned<String>>,
    #[serde(default)]
    underlay: UnderlayTable,
    #[serde(default)]
    uplink: UplinkTable,
    #[serde(default)]
    dataplane: DataplaneTable,
    #[serde(default)]
    store: StoreTable,
    #[serde(default)]
    metrics: MetricsTable,
    #[serde(default)]
    log: LogTable,
    #[serde(default)]
    docker: DockerTable,
    peer: Option<Vec<PeerTable>>,
    gossip: Option<Spanned<Value>>,
    dns: Option<Spanned<Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct UnderlayTable {
    address: Option<Spanned<String>>,
    port: Option<Spanned<u16>>,
    mode: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct UplinkTable {
    interface: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DataplaneTable {
    workers: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreTable {
    url: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricsTable {
    listen: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogTable {
    format: Option<Spanned<String>>,
    level: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DockerTable {
    plugin: Option<Spanned<bool>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PeerTable {
    address: Spanned<String>,
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// What one layer, or all of them together, say.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) node: Option<Located<String>>,
    pub(super) state_dir: Option<Located<String>>,
    pub(super) run_dir: Option<Located<String>>,
    pub(super) underlay_address: Option<Located<String>>,
    pub(super) underlay_port: Option<Located<u16>>,
    pub(super) underlay_mode: Option<Located<String>>,
    pub(super) uplink_interface: Option<Located<String>>,
    pub(super) workers: Option<Located<u32>>,
    pub(super) store_url: Option<Located<String>>,
    pub(super) metrics_listen: Option<Located<String>>,
    pub(super) log_format: Option<Located<String>>,
    pub(super) log_level: Option<Located<String>>,
    pub(super) docker_plugin: Option<Located<bool>>,
    pub(super) peers: Option<Vec<Located<String>>>,
    /// Tables of features that this build has not.
    pub(super) absent: Vec<Located<&'static str>>,
}

impl ConfigFile {
    /// The layer that this text is; `place` tells where a byte offset of it was written.
    pub(super) fn locate(self, place: impl Fn(usize) -> Place) -> Settings {
        let tables = [("gossip", self.gossip), ("dns", self.dns)];
        let absent = tables
            .into_iter()
            .filter_map(|(key, table)| Some(Located { value: key, place: place(table?.span().start) }))
            .collect();
        let peers =
            self.peer.map(|peers| peers.into_iter().filter_map(|p| at(Some(p.address), &place)).collect());
        Settings {
            node: at(self.node, &place),
            state_dir: at(self.state_dir, &place),
            run_dir: at(self.run_dir, &place),
            underlay_address: at(self.underlay.address, &place),
            underlay_port: at(self.underlay.port, &place),
            underlay_mode: at(self.underlay.mode, &place),
            uplink_interface: at(self.uplink.interface, &place),
            workers: at(self.dataplane.workers, &place),
            store_url: at(self.store.url, &place),
            metrics_listen: at(self.metrics.listen, &place),
            log_format: at(self.log.format, &place),
            log_level: at(self.log.level, &place),
            docker_plugin: at(self.docker.plugin, &place),
            peers,
            absent,
        }
    }
}

fn at<T>(value: Option<Spanned<T>>, place: &impl Fn(usize) -> Place) -> Option<Located<T>> {
    value.map(|spanned| {
        let place = place(spanned.span().start);
        Located { value: spanned.into_inner(), place }
    })
}

impl Settings {
    /// Takes from a weaker layer what this one does not say. What a build has not is refused in every layer.
    pub(super) fn fill_from(&mut self, weaker: Self) {
        fill(&mut self.node, weaker.node);
        fill(&mut self.state_dir, weaker.state_dir);
        fill(&mut self.run_dir, weaker.run_dir);
        fill(&mut self.underlay_address, weaker.underlay_address);
        fill(&mut self.underlay_port, weaker.underlay_port);
        fill(&mut self.underlay_mode, weaker.underlay_mode);
        fill(&mut self.uplink_interface, weaker.uplink_interface);
        fill(&mut self.workers, weaker.workers);
        fill(&mut self.store_url, weaker.store_url);
        fill(&mut self.metrics_listen, weaker.metrics_listen);
        fill(&mut self.log_format, weaker.log_format);
        fill(&mut self.log_level, weaker.log_level);
        fill(&mut self.docker_plugin, weaker.docker_plugin);
        fill(&mut self.peers, weaker.peers);
        self.absent.extend(weaker.absent);
    }
}

fn fill<T>(mine: &mut Option<T>, weaker: Option<T>) {
    if mine.is_none() {
        *mine = weaker;
    }
}
