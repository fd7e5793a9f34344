//! How an endpoint says whose it is: by a name that follows from container and interface, so that one call finds it, and by
//! labels that say both in full.

use std::collections::BTreeMap;

use super::CniError;
use super::environment::{Attachment, wrong};
use crate::api::types::EndpointInfo;
use crate::model::Name;

/// The container's id.
pub(super) const CONTAINER: &str = "weft.cni/container";

/// The interface's name inside.
pub(super) const IFNAME: &str = "weft.cni/ifname";

/// The network's name in the configuration.
pub(super) const NETWORK: &str = "weft.cni/network";

/// How many characters of a container's id begin an endpoint's name.
const READABLE: usize = 32;

/// The endpoint's name: the beginning of the container's id, and a digest of the whole of it and of the interface's name.
///
/// # Errors
/// [`CniError::Environment`] for a container id that is none.
pub(super) fn name_of(attachment: &Attachment) -> Result<Name, CniError> {
    let Attachment { container, ifname } = attachment;
    let readable: String = container.chars().take(READABLE).collect();
    let text = format!("{readable}-{:016x}", digest(&[container, ifname.as_str()]));
    Name::new(text).map_err(|error| wrong("CNI_CONTAINERID", &error.to_string()))
}

/// The endpoint's labels.
#[must_use]
pub(super) fn of(attachment: &Attachment, network: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (CONTAINER.to_owned(), attachment.container.clone()),
        (IFNAME.to_owned(), attachment.ifname.to_string()),
        (NETWORK.to_owned(), network.to_owned()),
    ])
}

/// Whose an endpoint is, container and interface, if it was made for a configuration of this network.
#[must_use]
pub(super) fn owner<'a>(endpoint: &'a EndpointInfo, network: &str) -> Option<(&'a str, &'a str)> {
    let label = |key| endpoint.labels.get(key).map(String::as_str);
    label(NETWORK).filter(|own| *own == network)?;
    Some((label(CONTAINER)?, label(IFNAME)?))
}

/// FNV-1a, 64 bits: the same in every build, for names must be.
fn digest(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
