//! The VXLAN header (RFC 7348 section 5), strict in what it sends and liberal in what it takes.
//!
//! ```text
//!  |R|R|R|R|I|R|R|R|            reserved (24)             |
//!  |             VNI (24)              |   reserved (8)   |
//! ```
//!
//! Only the I flag means something: a header without it carries no VNI (VX-1). The other 39 bits are sent as zero
//! (VX-2) and ignored on receipt (VX-3).

use std::fmt;
use std::str::FromStr;

use super::{array, ethernet};

/// Bytes of the header.
pub const HEADER_LEN: usize = 8;

/// The UDP destination port assigned to VXLAN.
pub const PORT: u16 = 4789;

/// The I flag in the first byte: the VNI is valid.
const VNI_VALID: u8 = 0x08;

/// A VXLAN network identifier: 24 bits, all of them legal on the wire, zero included (VX-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "os",
    derive(serde::Serialize, serde::Deserialize),
    serde(into = "u32", try_from = "u32")
)]
pub struct Vni(u32);

/// A number or a text that is no VNI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VniError {
    /// The number needs more than 24 bits.
    #[error("VNI {0} is out of range: use a number from 0 to 16777215")]
    OutOfRange(u32),
    /// The text is not a number, or not one of 32 bits.
    #[error("{0:?} is not a VNI: use a number from 0 to 16777215")]
    NotANumber(String),
}

impl Vni {
    /// The largest VNI.
    pub const MAX: Self = Self(0x00ff_ffff);

    /// The VNI with this number.
    ///
    /// # Errors
    ///
    /// [`VniError::OutOfRange`] from 2^24 on.
    pub const fn new(number: u32) -> Result<Self, VniError> {
        if number > Self::MAX.0 {
            return Err(VniError::OutOfRange(number));
        }
        Ok(Self(number))
    }

    /// The number, below 2^24.
    #[must_use]
    #[inline]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, out)
    }
}

impl From<Vni> for u32 {
    fn from(vni: Vni) -> Self {
        vni.get()
    }
}

impl TryFrom<u32> for Vni {
    type Error = VniError;

    fn try_from(number: u32) -> Result<Self, VniError> {
        Self::new(number)
    }
}

impl FromStr for Vni {
    type Err = VniError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.parse().map_err(|_| VniError::NotANumber(text.to_owned()))?;
        Self::new(number)
    }
}

/// Why a datagram is not VXLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum VxlanError {
    /// Shorter than the header and an Ethernet header: no frame could be inside (VX-19).
    #[error("the datagram is too short for VXLAN and Ethernet headers")]
    Truncated,
    /// The I flag is not set, so there is no VNI (VX-1).
    #[error("the VXLAN header has no VNI")]
    NoVniFlag,
}

/// The VNI of a UDP payload, and where the inner frame begins in it (always 8).
///
/// # Errors
///
/// See [`VxlanError`].
#[inline]
pub fn parse(datagram: &[u8]) -> Result<(Vni, usize), VxlanError> {
    if datagram.len() < HEADER_LEN + ethernet::HEADER_LEN {
        return Err(VxlanError::Truncated);
    }
    if datagram[0] & VNI_VALID == 0 {
        return Err(VxlanError::NoVniFlag);
    }
    let [a, b, c, _] = array(datagram, 4);
    Ok((Vni(u32::from_be_bytes([0, a, b, c])), HEADER_LEN))
}

/// The header to send: I flag and VNI, every other bit zero.
#[must_use]
#[inline]
pub const fn header(vni: Vni) -> [u8; HEADER_LEN] {
    let [_, a, b, c] = vni.0.to_be_bytes();
    [VNI_VALID, 0, 0, 0, a, b, c, 0]
}
