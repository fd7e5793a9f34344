//! DEL and GC: what is to go, goes; what is gone already, is no error. Neither needs the container's namespace.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::configuration::Head;
use super::environment::Attachment;
use super::fields::Fields;
use super::{CniError, labels};
use crate::api::{Client, ClientError};
use crate::error::{Code, Explain};

/// An attachment that is to stay, as GC is told it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) struct Kept {
    #[serde(rename = "containerID")]
    container: String,
    ifname: String,
}

/// Removes one attachment. A delegated plugin gets its addresses back afterwards: nobody else may have them before.
///
/// # Errors
/// [`CniError`]; the runtime may try again.
pub(super) async fn del(client: &Client, attachment: &Attachment, head: &Head) -> Result<(), CniError> {
    Ok(disconnect(client, &head.name, labels::name_of(attachment)?.as_str()).await?)
}

/// The attachments that are to stay.
///
/// # Errors
/// [`CniError::Configuration`] if there is no list: that would be to remove everything.
pub(super) fn kept(fields: &mut Fields) -> Result<BTreeSet<Kept>, CniError> {
    const KEY: &str = "cni.dev/valid-attachments";
    fields.take(KEY)?.ok_or_else(|| fields.wrong(KEY, "it is missing; an empty list removes everything"))
}

/// Removes all attachments of this network that are not in the list, whoever else's endpoints there are.
///
/// # Errors
/// The first [`CniError`]; the others are removed all the same.
pub(super) async fn gc(client: &Client, kept: &BTreeSet<Kept>, head: &Head) -> Result<(), CniError> {
    let endpoints = match client.network(&head.name).await {
        Ok(network) => network.endpoints,
        Err(error) if error.code() == Code::NotFound => vec![],
        Err(error) => return Err(error.into()),
    };
    let mut first = None;
    for endpoint in endpoints {
        let Some((container, ifname)) = labels::owner(&endpoint, &head.name) else { continue };
        if kept.contains(&Kept { container: container.to_owned(), ifname: ifname.to_owned() }) {
            continue;
        }
        if let Err(error) = disconnect(client, &head.name, &endpoint.name).await {
            first = first.or(Some(error));
        }
    }
    first.map_or(Ok(()), |error| Err(error.into()))
}

async fn disconnect(client: &Client, network: &str, endpoint: &str) -> Result<(), ClientError> {
    match client.disconnect(network, endpoint).await {
        Err(error) if error.code() != Code::NotFound => Err(error),
        _ => Ok(()),
    }
}
