//! From what was typed to values, with a word on what to type instead.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;

use super::args::{FilterKey, SessionKey};
use crate::api::{DEFAULT_HOST, socket_path};
use crate::error::{Explain, Problem};
use crate::model::Name;

/// Digits of an id.
const ID_DIGITS: usize = 64;

/// A value that explains why it is none.
pub(super) fn checked<T: FromStr<Err: Explain>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| Problem::from(error).to_string())
}

/// A value of the standard kind.
pub(super) fn plain<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

pub(super) fn subnet(text: &str) -> Result<IpNet, String> {
    text.parse().map_err(|_| "write an address and a prefix length, such as 10.1.0.0/24".to_owned())
}

pub(super) fn socket(text: &str) -> Result<PathBuf, String> {
    socket_path(text).ok_or_else(|| format!("write unix:// and an absolute path, such as {DEFAULT_HOST}"))
}

pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

/// A label may lack its value, as Docker's may.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() { Err("write KEY=VALUE".to_owned()) } else { Ok((key.to_owned(), value.to_owned())) }
}

/// A filter of `network ls`, with the words that Docker has for it.
pub(super) fn filter(text: &str) -> Result<(FilterKey, String), String> {
    let (key, value) = key_value(text)?;
    let one_of = |words: &[&str]| match words.contains(&value.as_str()) {
        true => Ok(()),
        false => Err(format!("give {key}={}", words.join("|"))),
    };
    let key = match key.as_str() {
        "name" => FilterKey::Name,
        "id" => FilterKey::Id,
        "driver" => FilterKey::Driver,
        "label" => FilterKey::Label,
        "scope" => one_of(&["local", "swarm", "global"]).map(|()| FilterKey::Scope)?,
        "type" => one_of(&["custom", "builtin"]).map(|()| FilterKey::Type)?,
        "dangling" => one_of(&["true", "false", "1", "0"]).map(|()| FilterKey::Dangling)?,
        _ => return Err("filter by name, id, driver, label, scope, type or dangling".to_owned()),
    };
    Ok((key, value))
}

/// A filter of `nat show`.
pub(super) fn session_filter(text: &str) -> Result<(SessionKey, String), String> {
    let (word, value) = key_value(text)?;
    let filter = match word.as_str() {
        "network" => SessionKey::Network,
        "endpoint" => SessionKey::Endpoint,
        "protocol" if matches!(value.as_str(), "tcp" | "udp" | "icmp") => {
            return Ok((SessionKey::Protocol, value));
        }
        "protocol" => return Err("give protocol=tcp|udp|icmp".to_owned()),
        _ => return Err("filter by network, endpoint or protocol".to_owned()),
    };
    Ok((filter, key(&value)?))
}

/// A name or an id, as far as text can be one.
pub(super) fn key(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("write a name or an id".to_owned()),
        1..=ID_DIGITS => Ok(text.to_owned()),
        len => Err(format!(
            "it has {len} bytes, but a name has at most {} and an id {}",
            Name::MAX_LEN,
            ID_DIGITS
        )),
    }
}

/// A path that can be told to the daemon.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("write a path, such as /run/netns/c1".to_owned()) } else { Ok(text.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_unix_socket() {
        assert_eq!(socket("unix:///run/w.sock"), Ok(PathBuf::from("/run/w.sock")));
        for bad in ["/run/w.sock", "tcp://1.2.3.4:1", "unix://w.sock", ""] {
            assert!(socket(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pairs_and_filters() {
        assert_eq!(key_value("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(key_value("a").is_err() && key_value("=a").is_err());
        assert_eq!(label("a"), Ok(("a".into(), String::new())));
        assert_eq!(filter("label=a=b"), Ok((FilterKey::Label, "a=b".into())));
        assert_eq!(filter("dangling=1"), Ok((FilterKey::Dangling, "1".into())));
        for bad in ["colour=red", "name", "=a", "dangling=maybe", "type=own", "scope=here"] {
            assert!(filter(bad).is_err(), "{bad}");
        }
        assert_eq!(session_filter("network=blue"), Ok((SessionKey::Network, "blue".into())));
        assert_eq!(session_filter("protocol=icmp"), Ok((SessionKey::Protocol, "icmp".into())));
        for bad in ["network=", "protocol=sctp", "state=established", "endpoint"] {
            assert!(session_filter(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_neither_empty_nor_longer_than_an_id() {
        assert_eq!(key("blue"), Ok("blue".into()));
        assert!(key(&"f".repeat(64)).is_ok());
        assert!(key("").is_err() && key(&"f".repeat(65)).is_err());
    }
}
