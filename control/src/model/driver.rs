//! Drivers: what kind of network a network is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Explain};

/// What a network is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Driver {
    /// One host: the endpoints on this machine, and no one else.
    #[default]
    Bridge,
    /// Many hosts: one VNI, carried as VXLAN to the other VTEPs.
    Overlay,
    /// The host's own namespace, as it is: endpoints get nothing.
    Host,
    /// No network: endpoints get their loopback and nothing else.
    None,
}

impl Driver {
    /// The word for it on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Overlay => "overlay",
            Self::Host => "host",
            Self::None => "none",
        }
    }

    /// Whether endpoints get an interface, and with it a port on the switch, a MAC and addresses.
    #[must_use]
    pub const fn has_interfaces(self) -> bool {
        matches!(self, Self::Bridge | Self::Overlay)
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<Driver> for String {
    fn from(driver: Driver) -> Self {
        driver.as_str().to_owned()
    }
}

impl FromStr for Driver {
    type Err = DriverError;

    fn from_str(text: &str) -> Result<Self, DriverError> {
        match text {
            "bridge" => Ok(Self::Bridge),
            "overlay" => Ok(Self::Overlay),
            "host" => Ok(Self::Host),
            "none" => Ok(Self::None),
            "macvlan" | "ipvlan" => Err(DriverError::NotInThisBuild { driver: text.to_owned() }),
            _ => Err(DriverError::Unknown { driver: text.to_owned() }),
        }
    }
}

impl TryFrom<String> for Driver {
    type Error = DriverError;

    fn try_from(text: String) -> Result<Self, DriverError> {
        text.parse()
    }
}

/// Why a driver was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// A driver that Docker has and this build has not.
    #[error("the driver '{driver}' is not in this build")]
    NotInThisBuild {
        /// The refused word.
        driver: String,
    },
    /// No driver of anybody.
    #[error("there is no driver '{driver}'")]
    Unknown {
        /// The refused word.
        driver: String,
    },
}

impl Explain for DriverError {
    fn code(&self) -> Code {
        Code::InvalidArgument
    }

    fn remedy(&self) -> Option<String> {
        Some("use bridge (one host), overlay (many hosts), host or none".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip_and_others_are_refused_by_name() {
        for driver in [Driver::Bridge, Driver::Overlay, Driver::Host, Driver::None] {
            assert_eq!(driver.as_str().parse(), Ok(driver));
        }
        for later in ["macvlan", "ipvlan"] {
            assert!(
                matches!(later.parse::<Driver>(), Err(DriverError::NotInThisBuild { driver }) if driver == later)
            );
        }
        assert!(matches!("Bridge".parse::<Driver>(), Err(DriverError::Unknown { .. })));
    }
}
