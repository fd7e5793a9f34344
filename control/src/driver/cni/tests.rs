//! The pure parts: environment, configuration, results, what fits a network.

mod configuration;
mod environment;
mod ipam;
mod network;
mod result;
mod wishes;

use serde_json::{Value, json};

use super::*;
use crate::api::types::NetworkInfo;

/// A configuration with `more` keys.
fn with(more: Value) -> Value {
    let mut config = json!({"cniVersion": "1.1.0", "name": "web", "type": "weft"});
    let Value::Object(more) = more else { panic!("an object was meant") };
    config.as_object_mut().unwrap().extend(more);
    config
}

fn read(config: &Value) -> Result<Configuration, CniError> {
    Configuration::read(configuration_of(config), Verb::Add)
}

fn configuration_of(config: &Value) -> Fields {
    super::configuration::decode(config.to_string().as_bytes()).unwrap()
}

/// The code and the message of a refusal.
fn refusal(outcome: Result<impl std::fmt::Debug, CniError>) -> (u32, String) {
    let told = outcome.unwrap_err().told(Version::NEWEST);
    (told.code, told.msg)
}

/// A network 10.1.0.0/24 and fd01::/64.
fn info(driver: &str) -> NetworkInfo {
    serde_json::from_value(json!({
        "id": "5d1c", "name": "web", "driver": driver, "vni": 7, "mtu": 1450, "internal": false,
        "subnets": [
            {"subnet": "10.1.0.0/24", "gateway": "10.1.0.1", "range": null},
            {"subnet": "fd01::/64", "gateway": "fd01::1", "range": null},
        ],
        "options": {"nat": "off"}, "labels": {}, "created": "", "peers": [], "endpoints": [],
    }))
    .unwrap()
}
