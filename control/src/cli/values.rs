//! From what was typed to values, with a word on what to type instead.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;

use super::args::{DEFAULT_HOST, FilterKey};
use crate::error::{Explain, Problem};

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
    match text.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(path.into()),
        _ => Err(format!("write unix:// and an absolute path, such as {DEFAULT_HOST}")),
    }
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

pub(super) fn filter(text: &str) -> Result<(FilterKey, String), String> {
    let (key, value) = key_value(text)?;
    let key = match key.as_str() {
        "name" => FilterKey::Name,
        "id" => FilterKey::Id,
        "driver" => FilterKey::Driver,
        "label" => FilterKey::Label,
        _ => return Err("filter by name, id, driver or label".to_owned()),
    };
    Ok((key, value))
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
        assert!(filter("colour=red").is_err());
    }
}
