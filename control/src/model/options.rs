//! Network options (`-o KEY=VALUE`): an unknown key is refused by name, and so is what a network of that kind cannot have.

use std::collections::BTreeMap;

use weft_dataplane::gateway::Filtering;
use weft_dataplane::tables::{SegmentOptions, VlanPolicy};

use super::Driver;
use crate::error::{Code, Explain};

/// The most FDB entries per port that `fdb_limit` can ask for: no segment holds more.
pub const FDB_LIMIT_MAX: u32 = 65_536;

/// The highest storm limit in thousand frames per second; 0 means none.
pub const STORM_KPPS_MAX: u32 = 100_000;

/// The options of a network, as far as they were given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkOptions {
    /// What the dataplane's segment is told; keys that were not given have its defaults.
    pub segment: SegmentOptions,
    nat: Option<bool>,
    filtering: Option<Filtering>,
    host_access: Option<bool>,
}

/// What a network's gateway does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayOptions {
    /// Whether packets to the outside are translated; otherwise they leave as they are.
    pub nat: bool,
    /// Who may answer them.
    pub filtering: Filtering,
    /// Whether the host stands on the network with the gateway's addresses.
    pub host_access: bool,
}

impl NetworkOptions {
    /// What the gateway of a network of this kind does; `None`: it has none.
    ///
    /// NAT is on, filtering address-dependent, and the host stands on bridge networks, unless the options say otherwise.
    /// An overlay never has the host on it: its gateway's address is on every host, and answers would go to the wrong one.
    ///
    /// # Errors
    /// [`OptionError::NotOnInternal`], [`OptionError::NotOnOverlay`].
    pub fn gateway(&self, driver: Driver, internal: bool) -> Result<Option<GatewayOptions>, OptionError> {
        let asked = [
            ("nat", self.nat == Some(true)),
            ("host_access", self.host_access == Some(true)),
            ("filtering", self.filtering.is_some()),
        ];
        if let Some((key, _)) = asked.into_iter().find(|&(_, asked)| asked && internal) {
            return Err(OptionError::NotOnInternal { key: key.into() });
        }
        if driver == Driver::Overlay && self.host_access == Some(true) {
            return Err(OptionError::NotOnOverlay { key: "host_access".into() });
        }
        if internal || !driver.has_interfaces() {
            return Ok(None);
        }
        Ok(Some(GatewayOptions {
            nat: self.nat.unwrap_or(true),
            filtering: self.filtering.unwrap_or_default(),
            host_access: self.host_access.unwrap_or(driver == Driver::Bridge),
        }))
    }
}

/// Reads the options of a network.
///
/// # Errors
/// [`OptionError`] names the key and, where there is one, the value.
pub fn parse_options(given: &BTreeMap<String, String>) -> Result<NetworkOptions, OptionError> {
    const SWITCH: [(&str, bool); 2] = [("on", true), ("off", false)];
    let mut options = NetworkOptions::default();
    let segment = &mut options.segment;
    for (key, value) in given {
        match key.as_str() {
            "anti_spoof" => segment.anti_spoof = one_of(key, value, &SWITCH)?,
            "vlan" => {
                segment.vlan = one_of(key, value, &[("drop", VlanPolicy::Drop), ("pass", VlanPolicy::Pass)])?;
            }
            "fdb_limit" => segment.fdb_limit = number(key, value, 1, FDB_LIMIT_MAX)?,
            "storm_kpps" => segment.storm_kpps = number(key, value, 0, STORM_KPPS_MAX)?,
            "nat" => options.nat = Some(one_of(key, value, &SWITCH)?),
            "host_access" => options.host_access = Some(one_of(key, value, &SWITCH)?),
            "filtering" => {
                let choices = [
                    ("address-dependent", Filtering::AddressDependent),
                    ("endpoint-independent", Filtering::EndpointIndependent),
                ];
                options.filtering = Some(one_of(key, value, &choices)?);
            }
            _ => return Err(OptionError::Unknown { key: key.clone() }),
        }
    }
    Ok(options)
}

fn one_of<T: Copy>(key: &str, value: &str, choices: &[(&'static str, T)]) -> Result<T, OptionError> {
    let chosen = choices.iter().find(|(word, _)| *word == value).map(|&(_, meaning)| meaning);
    chosen.ok_or_else(|| {
        let words: Vec<_> = choices.iter().map(|&(word, _)| word).collect();
        OptionError::BadValue { key: key.into(), value: value.into(), expected: words.join(" or ") }
    })
}

fn number(key: &str, value: &str, min: u32, max: u32) -> Result<u32, OptionError> {
    value.parse().ok().filter(|n| (min..=max).contains(n)).ok_or_else(|| OptionError::BadValue {
        key: key.into(),
        value: value.into(),
        expected: format!("a number from {min} to {max}"),
    })
}

/// Why a network option was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// No option of this name.
    #[error("there is no network option '{key}'")]
    Unknown {
        /// The refused key.
        key: String,
    },
    /// An option of networks with a gateway.
    #[error("the network option '{key}' makes no sense on an internal network, which has no gateway")]
    NotOnInternal {
        /// The refused key.
        key: String,
    },
    /// An option of networks that stay on one host.
    #[error("the network option '{key}' cannot be on for an overlay, whose gateway is on every host")]
    NotOnOverlay {
        /// The refused key.
        key: String,
    },
    /// The key is known, the value is not.
    #[error("the network option '{key}' cannot be '{value}'")]
    BadValue {
        /// The key.
        key: String,
        /// The refused value.
        value: String,
        /// What would be taken.
        expected: String,
    },
}

impl Explain for OptionError {
    fn code(&self) -> Code {
        Code::InvalidArgument
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Unknown { .. } => {
                "use anti_spoof, fdb_limit, filtering, host_access, nat, storm_kpps or vlan".into()
            }
            Self::NotOnInternal { .. } => "leave it out, or leave out --internal".into(),
            Self::NotOnOverlay { .. } => "leave it out, or use -d bridge".into(),
            Self::BadValue { expected, .. } => format!("give {expected}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<NetworkOptions, OptionError> {
        parse_options(&pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect())
    }

    fn gateway(pairs: &[(&str, &str)], driver: Driver) -> GatewayOptions {
        parse(pairs).unwrap().gateway(driver, false).unwrap().unwrap()
    }

    #[test]
    fn every_option_takes_effect() {
        let given = [("anti_spoof", "off"), ("fdb_limit", "7"), ("storm_kpps", "9"), ("vlan", "pass")];
        let options = parse(&given).unwrap().segment;
        assert!(!options.anti_spoof);
        assert_eq!((options.fdb_limit, options.storm_kpps, options.vlan), (7, 9, VlanPolicy::Pass));
        let given = [("nat", "off"), ("filtering", "endpoint-independent"), ("host_access", "off")];
        let filtering = Filtering::EndpointIndependent;
        let expected = GatewayOptions { nat: false, filtering, host_access: false };
        assert_eq!(gateway(&given, Driver::Bridge), expected);
    }

    #[test]
    fn without_options_the_defaults_hold() {
        assert_eq!(parse(&[]).unwrap(), NetworkOptions::default());
        let filtering = Filtering::AddressDependent;
        for (driver, host_access) in [(Driver::Bridge, true), (Driver::Overlay, false)] {
            assert_eq!(gateway(&[], driver), GatewayOptions { nat: true, filtering, host_access });
        }
        for (driver, internal) in [(Driver::Bridge, true), (Driver::Host, false), (Driver::None, false)] {
            assert_eq!(parse(&[]).unwrap().gateway(driver, internal), Ok(None));
        }
    }

    #[test]
    fn without_a_gateway_what_it_does_is_refused() {
        for (key, value) in [("nat", "on"), ("host_access", "on"), ("filtering", "address-dependent")] {
            let refused = parse(&[(key, value)]).unwrap().gateway(Driver::Bridge, true);
            assert_eq!(refused, Err(OptionError::NotOnInternal { key: key.into() }));
        }
        let off = parse(&[("nat", "off"), ("host_access", "off")]).unwrap();
        assert_eq!(off.gateway(Driver::Bridge, true), Ok(None));
        let refused = parse(&[("host_access", "on")]).unwrap().gateway(Driver::Overlay, false);
        assert_eq!(refused, Err(OptionError::NotOnOverlay { key: "host_access".into() }));
    }

    #[test]
    fn what_is_refused_is_named() {
        assert_eq!(parse(&[("antispoof", "on")]), Err(OptionError::Unknown { key: "antispoof".into() }));
        for (key, value) in [
            ("fdb_limit", "0"),
            ("fdb_limit", "65537"),
            ("storm_kpps", "-1"),
            ("vlan", "keep"),
            ("nat", "yes"),
            ("host_access", ""),
            ("filtering", "port-dependent"),
        ] {
            let error = parse(&[(key, value)]).unwrap_err();
            assert!(
                matches!(&error, OptionError::BadValue { key: k, value: v, .. } if k == key && v == value)
            );
        }
    }
}
