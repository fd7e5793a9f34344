//! A JSON object whose keys are taken out one by one: what is left at the end is what nobody here knows.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{CniError, Version};

/// The most characters of a value that a message repeats.
const SHOWN: usize = 120;

/// An object, and how it is called in messages.
#[derive(Debug)]
pub(super) struct Fields {
    prefix: &'static str,
    map: Map<String, Value>,
}

impl Fields {
    /// The object that `value` is; `prefix` (`runtimeConfig.`) comes before its keys in messages.
    pub(super) fn of(what: &str, prefix: &'static str, value: Value) -> Result<Self, CniError> {
        match value {
            Value::Object(map) => Ok(Self { prefix, map }),
            other => {
                Err(CniError::Decode { what: what.to_owned(), why: format!("{} is no object", show(&other)) })
            }
        }
    }

    /// The version of the protocol that errors are to be told in, if it is one of ours; nothing is taken out.
    pub(super) fn version(&self) -> Option<Version> {
        self.map.get("cniVersion")?.as_str()?.parse().ok()
    }

    /// The key's name in messages.
    pub(super) fn name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Takes out the value of `key`; `null` counts as missing.
    ///
    /// # Errors
    /// [`CniError::Decode`] if it is of another type.
    pub(super) fn take<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, CniError> {
        let Some(value) = self.map.remove(key).filter(|value| !value.is_null()) else { return Ok(None) };
        let shown = show(&value);
        serde_json::from_value(value).map(Some).map_err(|error| CniError::Decode {
            what: format!("'{}'", self.name(key)),
            why: format!("{error}, in {shown}"),
        })
    }

    /// Takes out the object at `key`; without it, an empty one.
    ///
    /// # Errors
    /// [`CniError::Decode`] if it is no object.
    pub(super) fn object(&mut self, key: &str, prefix: &'static str) -> Result<Self, CniError> {
        let value = self.map.remove(key).filter(|value| !value.is_null());
        Self::of(&format!("'{}'", self.name(key)), prefix, value.unwrap_or_else(|| Map::new().into()))
    }

    /// Takes out what has no meaning here.
    pub(super) fn pass_over(&mut self, known: impl Fn(&str) -> bool) {
        self.map.retain(|key, _| !known(key));
    }

    /// Takes out what asks for something that cannot be done; a value that asks for nothing is no harm.
    ///
    /// # Errors
    /// [`CniError::Unsupported`].
    pub(super) fn refuse(&mut self, key: &str, instead: &str) -> Result<(), CniError> {
        match self.map.remove(key).filter(asks) {
            None => Ok(()),
            Some(value) => Err(self.unsupported(key, &value, instead)),
        }
    }

    pub(super) fn unsupported(&self, key: &str, value: &Value, instead: &str) -> CniError {
        CniError::Unsupported { key: self.name(key), value: show(value), instead: instead.to_owned() }
    }

    /// An error about the value of `key`.
    pub(super) fn wrong(&self, key: &str, why: impl ToString) -> CniError {
        CniError::Configuration { key: self.name(key), why: why.to_string() }
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Refuses what is left.
    ///
    /// # Errors
    /// [`CniError::UnknownKey`].
    pub(super) fn end(self) -> Result<(), CniError> {
        match self.map.iter().find(|(_, value)| !value.is_null()) {
            None => Ok(()),
            Some((key, value)) => Err(CniError::UnknownKey { key: self.name(key), value: show(value) }),
        }
    }
}

/// Whether a value asks for anything: zeros, empty texts and lists, and objects of nothing but such do not.
fn asks(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => values.iter().any(asks),
        Value::Object(map) => map.values().any(asks),
    }
}

/// A value in a message.
pub(super) fn show(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text,
    }
}
