//! Why tables are refused.

use super::{PortId, SegmentId};
use crate::gateway::{GATEWAY_MAC, GatewayError};
use crate::wire::{MacAddr, Vni};

/// Why a [`TablesSpec`](super::TablesSpec) is nonsense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TablesError {
    /// Two segments with one id.
    #[error("segment {} is listed twice", .0.0)]
    DuplicateSegment(SegmentId),
    /// Two ports with one id.
    #[error("port {} is listed twice", .0.0)]
    DuplicatePort(PortId),
    /// Two segments with one VNI.
    #[error("VNI {0} belongs to two segments")]
    DuplicateVni(Vni),
    /// Two ports of one segment with one MAC.
    #[error("MAC {0} belongs to two ports of one segment")]
    DuplicateMac(MacAddr),
    /// A port that names a segment that is not there.
    #[error("port {} names segment {}, which is not listed", .0.0, .1.0)]
    NoSegment(PortId, SegmentId),
    /// A MAC that no endpoint can have.
    #[error("port {} has MAC {}, which is a group address or zero", .0.0, .1)]
    BadMac(PortId, MacAddr),
    /// An endpoint with the gateway's MAC.
    #[error("port {} has MAC {GATEWAY_MAC}, which is the gateway's", .0.0)]
    GatewayMac(PortId),
    /// A gateway that cannot be one.
    #[error("the gateway of segment {}: {error}", .segment.0)]
    Gateway {
        /// Its segment.
        segment: SegmentId,
        /// Why.
        error: GatewayError,
    },
    /// A host's leg or a published port that leads to no port of the kind.
    #[error("{what} names port {}, which is not listed as such", .port.0)]
    NoPort {
        /// What leads there.
        what: &'static str,
        /// Where it leads.
        port: PortId,
    },
    /// More than the table holds.
    #[error("{count} {what} are more than the {max} that a dataplane carries")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many were asked for.
        count: usize,
        /// How many there may be.
        max: usize,
    },
}
