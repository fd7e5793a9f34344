//! The daemon's configuration: from what people write to what cannot be wrong.
//!
//! Four layers say what a key is, the first that speaks wins: `--set KEY=VALUE` flags, `WEFT_*` variables, the file,
//! the defaults. Every layer is read by one grammar ([`file::ConfigFile`], which may be nonsense) and remembers where
//! each value stands, so that an error names the key and its place. [`Config`] is what remains after the checks that
//! need nothing but the text; [`Config::settle`] then asks the host which underlay address that means.
//!
//! Keys of features that this build has not (`[gossip]`, `[dns]`) are refused, not ignored: a
//! setting that does nothing is a lie. Unknown keys, and stores of other builds, are errors for the same reason.
//!
//! Limits: a file of [`FILE_MAX`] bytes, [`PEERS_MAX`] peers, [`WORKERS_MAX`] workers; more is refused.

mod check;
mod difference;
mod error;
mod file;
mod layers;
mod underlay;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use weft_dataplane::runtime::Mode;

pub use check::{PEERS_MAX, WORKERS_MAX};
pub use difference::{Difference, Takes};
pub use error::{ConfigError, Place, Reason};
pub use layers::{ENVIRONMENT, FILE_MAX};
pub use underlay::{HostView, Underlay};

use crate::log::LogConfig;
use crate::model::{IfName, Name};
use crate::store::StoreUrl;

/// The file that is read when none is named; it need not exist.
pub const DEFAULT_FILE: &str = "/etc/weft/config.toml";

/// Where the daemon keeps its lock and its state.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/weft";

/// Where the daemon's sockets live.
pub const DEFAULT_RUN_DIR: &str = "/run/weft";

/// Where metrics are served.
pub const DEFAULT_METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9789);

/// The name of the API socket within the run directory.
pub const SOCKET_NAME: &str = "weft.sock";

/// What the daemon does, as far as text can say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This host's name in status and logs.
    pub node: Name,
    /// Absolute.
    pub state_dir: PathBuf,
    /// Absolute.
    pub run_dir: PathBuf,
    /// The underlay address, if one was named; a unicast address that is not loopback.
    pub underlay_address: Option<IpAddr>,
    /// The UDP port of this VTEP, not 0.
    pub underlay_port: u16,
    /// How the underlay is driven.
    pub underlay_mode: Mode,
    /// The interface whose address the underlay takes when none was named.
    pub uplink: Option<IfName>,
    /// Worker threads; 0: the dataplane decides.
    pub workers: usize,
    /// Where networks and endpoints are kept.
    pub store: StoreUrl,
    /// Where metrics are served, if anywhere; not port 0.
    pub metrics: Option<SocketAddr>,
    /// How the daemon logs.
    pub log: LogConfig,
    /// Whether the plugin of Docker Engine is served.
    pub docker: bool,
    /// The other VTEPs, all different, all of one family.
    pub peers: Vec<IpAddr>,
}

impl Config {
    /// Reads all layers: `file` (or [`DEFAULT_FILE`] if that exists), the variables that `environment` answers for, and
    /// the `--set` flags.
    ///
    /// # Errors
    /// [`ConfigError`] with the place of the first value that is wrong.
    pub fn load(
        file: Option<&Path>,
        environment: impl Fn(&str) -> Option<String>,
        set: &[String],
    ) -> Result<Self, ConfigError> {
        let mut settings = layers::from_flags(set)?;
        settings.fill_from(layers::from_environment(environment)?);
        settings.fill_from(layers::from_file(file)?);
        check::check(settings)
    }

    /// Where the API socket is.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join(SOCKET_NAME)
    }
}

#[cfg(test)]
mod tests;
