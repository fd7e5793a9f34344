//! Network options (`-o KEY=VALUE`): an unknown key is refused by name, and so is one that this build cannot honour.

use std::collections::BTreeMap;

use weft_dataplane::tables::{SegmentOptions, VlanPolicy};

use crate::error::{Code, Explain};

/// The most FDB entries per port that `fdb_limit` can ask for: no segment holds more.
pub const FDB_LIMIT_MAX: u32 = 65_536;

/// The highest storm limit in thousand frames per second; 0 means none.
pub const STORM_KPPS_MAX: u32 = 100_000;

/// Reads the options of a network; keys that are not given keep the dataplane's defaults.
///
/// # Errors
/// [`OptionError`] names the key and, where there is one, the value.
pub fn parse_options(given: &BTreeMap<String, String>) -> Result<SegmentOptions, OptionError> {
    let mut options = SegmentOptions::default();
    for (key, value) in given {
        match key.as_str() {
            "anti_spoof" => options.anti_spoof = one_of(key, value, &[("on", true), ("off", false)])?,
            "vlan" => {
                options.vlan = one_of(key, value, &[("drop", VlanPolicy::Drop), ("pass", VlanPolicy::Pass)])?;
            }
            "fdb_limit" => options.fdb_limit = number(key, value, 1, FDB_LIMIT_MAX)?,
            "storm_kpps" => options.storm_kpps = number(key, value, 0, STORM_KPPS_MAX)?,
            "host_access" | "nat" if value == "off" => {}
            "host_access" | "nat" | "filtering" => {
                return Err(OptionError::NotInThisBuild { key: key.clone() });
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
    /// An option whose feature this build has not.
    #[error("the network option '{key}' is not in this build")]
    NotInThisBuild {
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
            Self::Unknown { .. } => "use anti_spoof, fdb_limit, storm_kpps or vlan".into(),
            Self::NotInThisBuild { .. } => "leave it out".into(),
            Self::BadValue { expected, .. } => format!("give {expected}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<SegmentOptions, OptionError> {
        parse_options(&pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect())
    }

    #[test]
    fn every_option_of_this_build_takes_effect() {
        let options =
            parse(&[("anti_spoof", "off"), ("fdb_limit", "7"), ("storm_kpps", "9"), ("vlan", "pass")])
                .unwrap();
        assert!(!options.anti_spoof);
        assert_eq!((options.fdb_limit, options.storm_kpps, options.vlan), (7, 9, VlanPolicy::Pass));
    }

    #[test]
    fn without_options_the_defaults_hold() {
        assert_eq!(parse(&[]).unwrap(), SegmentOptions::default());
        assert_eq!(parse(&[("nat", "off"), ("host_access", "off")]).unwrap(), SegmentOptions::default());
    }

    #[test]
    fn what_is_refused_is_named() {
        assert_eq!(parse(&[("antispoof", "on")]), Err(OptionError::Unknown { key: "antispoof".into() }));
        for (key, value) in [("nat", "on"), ("host_access", "on"), ("filtering", "address-dependent")] {
            assert_eq!(parse(&[(key, value)]), Err(OptionError::NotInThisBuild { key: key.into() }));
        }
        for (key, value) in
            [("fdb_limit", "0"), ("fdb_limit", "65537"), ("storm_kpps", "-1"), ("vlan", "keep")]
        {
            let error = parse(&[(key, value)]).unwrap_err();
            assert!(
                matches!(&error, OptionError::BadValue { key: k, value: v, .. } if k == key && v == value)
            );
        }
    }
}
