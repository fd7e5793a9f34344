//! From settings that may be nonsense to a configuration that cannot be, as far as the text alone can tell.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use weft_dataplane::runtime::Mode;
use weft_dataplane::wire::vxlan;

use super::file::{Located, Settings};
use super::{Config, ConfigError, DEFAULT_METRICS, DEFAULT_RUN_DIR, DEFAULT_STATE_DIR, Reason};
use crate::log::{LogConfig, is_level};
use crate::model::{IfName, Name};
use crate::store::StoreUrl;

/// The most peers: as many as one segment of the dataplane has members.
pub const PEERS_MAX: usize = weft_dataplane::tables::VTEPS_MAX;

/// The most worker threads that the dataplane starts.
pub const WORKERS_MAX: u32 = 64;

pub(super) fn check(settings: Settings) -> Result<Config, ConfigError> {
    if let Some(absent) = settings.absent.into_iter().next() {
        return Err(ConfigError::NotInThisBuild { place: absent.place, key: absent.value });
    }
    let node = parsed("node", settings.node, |text| Name::new(text).map_err(|_| Reason::NotAName))?;
    let underlay_address = parsed("underlay.address", settings.underlay_address, |text| unicast(text))?;
    let underlay_mode = parsed("underlay.mode", settings.underlay_mode, |text| {
        text.parse::<Mode>().map_err(|_| Reason::NotAMode)
    })?;
    let uplink = parsed("uplink.interface", settings.uplink_interface, |text| {
        IfName::new(text).map_err(|_| Reason::NotAnInterface)
    })?;
    let state_dir = parsed("state_dir", settings.state_dir, |text| absolute(text))?;
    let run_dir = parsed("run_dir", settings.run_dir, |text| absolute(text))?;
    let port = parsed("underlay.port", settings.underlay_port, |&port| match port {
        0 => Err(Reason::PortZero),
        port => Ok(port),
    })?;
    let workers = parsed("dataplane.workers", settings.workers, |&workers| match workers {
        0..=WORKERS_MAX => Ok(workers as usize),
        _ => Err(Reason::TooManyWorkers),
    })?;
    let state_dir = state_dir.unwrap_or_else(|| DEFAULT_STATE_DIR.into());
    let store = parsed("store.url", settings.store_url, |text| Ok(StoreUrl::parse(text, &state_dir)?))?;
    let metrics = parsed("metrics.listen", settings.metrics_listen, |text| listener(text))?;
    let log_format =
        parsed("log.format", settings.log_format, |text| text.parse().map_err(|_| Reason::NotALogFormat))?;
    let log_level = parsed("log.level", settings.log_level, |text| match is_level(text) {
        true => Ok(text.clone()),
        false => Err(Reason::NotALogLevel),
    })?;
    Ok(Config {
        node: node.unwrap_or_else(host_name),
        store: store.unwrap_or_else(|| StoreUrl::embedded(&state_dir)),
        state_dir,
        run_dir: run_dir.unwrap_or_else(|| DEFAULT_RUN_DIR.into()),
        underlay_address,
        underlay_port: port.unwrap_or(vxlan::PORT),
        underlay_mode: underlay_mode.unwrap_or(Mode::Auto),
        uplink,
        workers: workers.unwrap_or(0),
        metrics: metrics.unwrap_or(Some(DEFAULT_METRICS)),
        log: LogConfig { format: log_format.unwrap_or_default(), level: log_level },
        docker: settings.docker_plugin.is_none_or(|plugin| plugin.value),
        peers: peers(settings.peers.unwrap_or_default(), underlay_address)?,
    })
}

/// The peers, all different, none this host, all of the underlay's family.
fn peers(listed: Vec<Located<String>>, ours: Option<IpAddr>) -> Result<Vec<IpAddr>, ConfigError> {
    let mut peers: Vec<IpAddr> = Vec::new();
    for peer in listed {
        let address = parsed("peer.address", Some(peer), |text| {
            let address = unicast(text)?;
            let same_family = |other: &IpAddr| other.is_ipv4() == address.is_ipv4();
            if ours == Some(address) {
                Err(Reason::Ourselves)
            } else if peers.contains(&address) {
                Err(Reason::DuplicatePeer)
            } else if !ours.iter().chain(&peers).all(same_family) {
                Err(Reason::OtherFamily)
            } else if peers.len() == PEERS_MAX {
                Err(Reason::TooManyPeers)
            } else {
                Ok(address)
            }
        })?;
        peers.extend(address);
    }
    Ok(peers)
}

/// An address that one other host can have. `::ffff:10.9.0.1` is 10.9.0.1.
fn unicast(text: &str) -> Result<IpAddr, Reason> {
    let address: IpAddr = text.parse().map_err(|_| Reason::NotAnAddress)?;
    let address = address.to_canonical();
    if address.is_unspecified() {
        return Err(Reason::Unspecified);
    }
    if address.is_loopback() {
        return Err(Reason::Loopback);
    }
    if address.is_multicast() || matches!(address, IpAddr::V4(v4) if v4.is_broadcast()) {
        return Err(Reason::Multicast);
    }
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Err(Reason::LinkLocal),
        IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.octets()[0] >= 240 => Err(Reason::ReservedAddress),
        _ => Ok(address),
    }
}

/// Where to listen; `off` is nowhere.
fn listener(text: &str) -> Result<Option<SocketAddr>, Reason> {
    match text.parse::<SocketAddr>() {
        _ if text == "off" => Ok(None),
        Ok(address) if address.port() == 0 => Err(Reason::ListenerPortZero),
        Ok(address) => Ok(Some(address)),
        Err(_) => Err(Reason::NotAListener),
    }
}

fn absolute(text: &str) -> Result<PathBuf, Reason> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err(Reason::NotAbsolute) }
}

/// What `parse` makes of a value; its refusal gets the key, the value and the place.
fn parsed<T: std::fmt::Display, U>(
    key: &'static str,
    setting: Option<Located<T>>,
    parse: impl FnOnce(&T) -> Result<U, Reason>,
) -> Result<Option<U>, ConfigError> {
    let Some(Located { value, place }) = setting else { return Ok(None) };
    match parse(&value) {
        Ok(parsed) => Ok(Some(parsed)),
        Err(reason) => Err(ConfigError::Impossible { place, key, value: value.to_string(), reason }),
    }
}

/// The host's name as far as it is a legal one: a stray character becomes a dash.
fn host_name() -> Name {
    let uname = rustix::system::uname();
    let legal = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let text: String = uname.nodename().to_string_lossy().chars().map(legal).take(Name::MAX_LEN).collect();
    let text = text.trim_start_matches(['.', '_', '-']);
    Name::new(text).or_else(|_| Name::new("host")).unwrap_or_else(|_| unreachable!("'host' is a legal name"))
}
