//! What can be wrong with a configuration, and where it stands.

use std::net::IpAddr;
use std::path::PathBuf;

use super::{DEFAULT_FILE, FILE_MAX, PEERS_MAX, WORKERS_MAX};
use crate::error::{Code, Explain};
use crate::model::IfName;
use crate::store::StoreUrlError;

/// Why there is no configuration to run with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The named file is not there.
    #[error("there is no configuration file {}", path.display())]
    NoFile {
        /// The path as given.
        path: PathBuf,
    },
    /// The file is there and cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// The file is larger than [`FILE_MAX`].
    #[error("the configuration file {} is larger than {FILE_MAX} bytes", path.display())]
    TooLarge {
        /// The path.
        path: PathBuf,
    },
    /// Not TOML, an unknown key, or a value of the wrong type.
    #[error("{place}: {what}")]
    Grammar {
        /// Where.
        place: Place,
        /// The parser's words.
        what: String,
    },
    /// `--set` without `=` or with a key that is none.
    #[error("--set '{text}' is not of the form KEY=VALUE")]
    BadSet {
        /// The flag's value.
        text: String,
    },
    /// A key of a feature that this build has not.
    #[error("{place}: '{key}' is not in this build")]
    NotInThisBuild {
        /// Where.
        place: Place,
        /// The key.
        key: &'static str,
    },
    /// A value that parses and cannot be.
    #[error("{place}: {key} = {value}: {reason}")]
    Impossible {
        /// Where.
        place: Place,
        /// The key.
        key: &'static str,
        /// The refused value.
        value: String,
        /// Why it cannot be.
        reason: Reason,
    },
    /// The underlay address is no address of this host.
    #[error("underlay.address {address} is not an address of this host")]
    NotOurs {
        /// The address.
        address: IpAddr,
    },
    /// The uplink interface is not there, or has no usable address.
    #[error("uplink.interface '{ifname}' {}", if *exists { "has no address to use as the underlay's" } else { "does not exist" })]
    NoUplink {
        /// The interface.
        ifname: IfName,
        /// Whether there is such an interface.
        exists: bool,
    },
    /// Peers need an underlay and there is no default route to find one by.
    #[error("there are peers, but no underlay.address, and no default route to take it from")]
    NoUnderlay,
    /// A peer is this host.
    #[error("the peer {peer} is this host")]
    PeerIsUs {
        /// The peer.
        peer: IpAddr,
    },
    /// A peer speaks the other IP version.
    #[error(
        "the peer {peer} cannot be reached from the underlay address {address}: one is IPv4, the other IPv6"
    )]
    PeerFamily {
        /// The peer.
        peer: IpAddr,
        /// The underlay address.
        address: IpAddr,
    },
}

/// Why a value cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Text that is no address.
    #[error("not an IP address")]
    NotAnAddress,
    /// 0.0.0.0 or ::.
    #[error("the unspecified address names no host")]
    Unspecified,
    /// 127/8 or ::1.
    #[error("a loopback address reaches no other host")]
    Loopback,
    /// A group or the broadcast address.
    #[error("a multicast or broadcast address is not one host")]
    Multicast,
    /// fe80::/10, which means nothing without an interface.
    #[error("an IPv6 link-local address needs an interface to mean anything")]
    LinkLocal,
    /// 240/4 or 0/8.
    #[error("a reserved address names no host")]
    ReservedAddress,
    /// Port 0.
    #[error("port 0 is no port")]
    PortZero,
    /// Not a mode.
    #[error("not an underlay mode")]
    NotAMode,
    /// Not a legal node name.
    #[error("not a name")]
    NotAName,
    /// Not a legal interface name.
    #[error("not an interface name")]
    NotAnInterface,
    /// Not an address with a port, nor `off`.
    #[error("not an address with a port")]
    NotAListener,
    /// Any port, which nobody could find.
    #[error("port 0 is no port")]
    ListenerPortZero,
    /// Not a log format.
    #[error("not a log format")]
    NotALogFormat,
    /// Not a log level, nor a list of levels of parts.
    #[error("not a log level")]
    NotALogLevel,
    /// A relative path.
    #[error("not an absolute path")]
    NotAbsolute,
    /// More workers than [`WORKERS_MAX`].
    #[error("more than {WORKERS_MAX} workers")]
    TooManyWorkers,
    /// Peers beyond [`PEERS_MAX`].
    #[error("more than {PEERS_MAX} peers")]
    TooManyPeers,
    /// A URL that is no store of this build.
    #[error(transparent)]
    Store(#[from] StoreUrlError),
    /// A peer given twice.
    #[error("this peer is listed twice")]
    DuplicatePeer,
    /// A peer of the other IP version than the underlay address.
    #[error("IPv4 and IPv6 peers cannot share an underlay")]
    OtherFamily,
    /// A peer that is the underlay address.
    #[error("this is the underlay address of this very host")]
    Ourselves,
}

impl Reason {
    fn remedy(self) -> String {
        match self {
            Self::NotAnAddress
            | Self::Unspecified
            | Self::Loopback
            | Self::Multicast
            | Self::LinkLocal
            | Self::ReservedAddress => "give the unicast address of a host, such as 10.9.0.1".into(),
            Self::PortZero => "use 4789".into(),
            Self::NotAMode => "use auto, tunnel-gso, udp-gso or udp".into(),
            Self::NotAName => "use 1 to 63 of letters, digits, '_', '.', '-'".into(),
            Self::NotAnInterface => "use an interface of this host, such as eth0".into(),
            Self::NotAListener | Self::ListenerPortZero => "use 127.0.0.1:9789, or off".into(),
            Self::NotALogFormat => "use text, json or journald".into(),
            Self::NotALogLevel => {
                "use error, warn, info, debug or trace, or info,weft::underlay=debug".into()
            }
            Self::NotAbsolute => "start it with '/'".into(),
            Self::TooManyWorkers => "use 0 and let weft decide".into(),
            Self::TooManyPeers => "split the network".into(),
            Self::Store(_) => "use redb: or redb:/var/lib/weft/weft.redb".into(),
            Self::DuplicatePeer => "remove one of the two".into(),
            Self::OtherFamily => "use addresses of one IP version".into(),
            Self::Ourselves => "list only other hosts as [[peer]]".into(),
        }
    }
}

impl Explain for ConfigError {
    fn code(&self) -> Code {
        match self {
            Self::NoFile { .. } => Code::NotFound,
            Self::Unreadable { .. } => Code::Failed,
            _ => Code::InvalidArgument,
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::NoFile { .. } => format!("create it, or leave --config out ({DEFAULT_FILE} is optional)"),
            Self::Unreadable { .. } => "check its permissions".into(),
            Self::TooLarge { .. } => "is this the right file?".into(),
            Self::Grammar { .. } => "correct it (see 'weft daemon --help' for the keys)".into(),
            Self::BadSet { .. } => "write for example --set underlay.port=4789".into(),
            Self::NotInThisBuild { .. } => "remove it".into(),
            Self::Impossible { reason, .. } => reason.remedy(),
            Self::NotOurs { .. } => {
                "give it to an interface first, or name one that 'ip address' shows".into()
            }
            Self::NoUplink { .. } => "name another interface, or set underlay.address".into(),
            Self::NoUnderlay => "set underlay.address".into(),
            Self::PeerIsUs { .. } => "list only other hosts as [[peer]]".into(),
            Self::PeerFamily { .. } => "use addresses of one IP version".into(),
        })
    }
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// In an environment variable.
    Variable(&'static str),
    /// In a `--set` flag.
    Flag(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}, line {line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(text) => write!(f, "--set {text}"),
        }
    }
}
