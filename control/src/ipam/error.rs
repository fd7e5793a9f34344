//! Why an address or a subnet cannot be had.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{AUXILIARY_MAX, Owner, Usage, first_usable};
use crate::error::{Code, Explain};
use crate::model::Driver;

/// Why an address or a subnet cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IpamError {
    /// The subnet is written with an address in it.
    #[error("the subnet {net} has host bits set")]
    HostBits {
        /// The refused subnet.
        net: IpNet,
    },
    /// The subnet has one address.
    #[error("the subnet {net} has no room for a gateway and an endpoint")]
    TooSmall {
        /// The refused subnet.
        net: IpNet,
    },
    /// The subnet overlaps loopback, multicast, link-local or reserved addresses.
    #[error("the subnet {net} holds addresses that no endpoint can have")]
    NotUnicast {
        /// The refused subnet.
        net: IpNet,
    },
    /// `--ip-range` is not a part of the subnet.
    #[error("the range {range} is not inside the subnet {net}")]
    RangeOutside {
        /// The refused range.
        range: IpNet,
        /// The subnet.
        net: IpNet,
    },
    /// The gateway is not in the subnet.
    #[error("the gateway {gateway} is not inside the subnet {net}")]
    GatewayOutside {
        /// The refused gateway.
        gateway: IpAddr,
        /// The subnet.
        net: IpNet,
    },
    /// The gateway is the network's or the broadcast address.
    #[error("the gateway {gateway} is not a host address of the subnet {net}")]
    GatewayReserved {
        /// The refused gateway.
        gateway: IpAddr,
        /// The subnet.
        net: IpNet,
    },
    /// The address is not in the subnet.
    #[error("the address {address} is not inside the subnet {net}")]
    Outside {
        /// The refused address.
        address: IpAddr,
        /// The subnet.
        net: IpNet,
    },
    /// Somebody has the address.
    #[error("the address {address} is taken by {owner}")]
    Taken {
        /// The refused address.
        address: IpAddr,
        /// Who has it.
        owner: Owner,
    },
    /// Nothing is free in the range.
    #[error("no address is free in {net}: {usage} are taken")]
    Exhausted {
        /// The subnet.
        net: IpNet,
        /// How full it is.
        usage: Usage,
    },
    /// More than [`AUXILIARY_MAX`] auxiliary addresses.
    #[error("the subnet {net} has more than {AUXILIARY_MAX} auxiliary addresses")]
    TooManyAuxiliary {
        /// The subnet.
        net: IpNet,
    },
    /// Nothing is free in the default pools.
    #[error("none of the default subnets for {driver} networks is free")]
    NoSubnet {
        /// The driver whose pools were tried.
        driver: Driver,
    },
}

impl Explain for IpamError {
    fn code(&self) -> Code {
        match self {
            Self::Taken { .. } => Code::Conflict,
            Self::Exhausted { .. } | Self::NoSubnet { .. } => Code::Exhausted,
            _ => Code::InvalidArgument,
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::HostBits { net } => format!("write {}", net.trunc()),
            Self::TooSmall { net } => format!("use a prefix of at most /{}", net.max_prefix_len() - 1),
            Self::NotUnicast { .. } => "use a private subnet such as 10.1.0.0/24 or fd00:1::/64".into(),
            Self::RangeOutside { net, .. } | Self::GatewayOutside { net, .. } | Self::Outside { net, .. } => {
                format!("choose one inside {net}")
            }
            Self::GatewayReserved { net, .. } => format!("use another one, such as {}", first_usable(*net)),
            Self::Taken { .. } => "choose another one, or leave it to weft".into(),
            Self::Exhausted { .. } => "disconnect an endpoint, or use a larger subnet or range".into(),
            Self::TooManyAuxiliary { .. } => "keep them out of the way with --ip-range".into(),
            Self::NoSubnet { .. } => "give one with --subnet".into(),
        })
    }
}
