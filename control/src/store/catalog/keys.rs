//! Where things stand; the module's head has the whole tree.

use std::fmt::Display;
use std::net::IpAddr;

use ipnet::IpNet;
use weft_dataplane::wire::MacAddr;

use crate::model::{Id, Name};
use crate::store::{Key, Prefix};

pub(super) fn node(name: &Name) -> Key {
    key(&[&"nodes", name])
}

pub(super) fn network(id: Id) -> Key {
    key(&[&"networks", &id])
}

pub(super) fn endpoint(network: Id, id: Id) -> Key {
    key(&[&"endpoints", &network, &id])
}

/// All endpoints of a network.
pub(super) fn endpoints(network: Id) -> Prefix {
    Prefix::below(&key(&[&"endpoints", &network]))
}

pub(super) fn network_name(name: &Name) -> Key {
    key(&[&"names", &"networks", name])
}

pub(super) fn endpoint_name(network: Id, name: &Name) -> Key {
    key(&[&"names", &"endpoints", &network, name])
}

pub(super) fn segment(number: u32) -> Key {
    key(&[&"segments", &number])
}

pub(super) fn vni(number: u32) -> Key {
    key(&[&"vnis", &number])
}

pub(super) fn address(network: Id, address: IpAddr) -> Key {
    key(&[&"addresses", &network, &address])
}

pub(super) fn mac(network: Id, mac: MacAddr) -> Key {
    key(&[&"macs", &network, &mac])
}

pub(super) fn pool(net: IpNet) -> Key {
    key(&[&"pools", &net.addr(), &net.prefix_len()])
}

fn key(segments: &[&dyn Display]) -> Key {
    let texts: Vec<String> = segments.iter().map(ToString::to_string).collect();
    Key::new(texts.join("/"))
        .unwrap_or_else(|_| unreachable!("ids, names, numbers and addresses are legal segments"))
}
