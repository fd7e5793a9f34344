//! The CNI plugin: what a container runtime runs to put a container on a network, CNI 0.3.1 to 1.1.0.
//!
//! ```text
//! CNI_* -> environment (args) --+                                 +-> network   found, compared, made
//!                               +-> add, check, remove (DEL, GC) -+-> ipam      another plugin that gives addresses
//! stdin -> configuration -------+        |         ^              +-> api::Client ~~ the daemon
//!          (fields, runtime)             v         | wishes, labels
//!                                     result, error -> stdout
//! ```
//!
//! The same executable as everything else, under its own name or any other: without arguments and with `CNI_COMMAND` in
//! its environment it is the plugin. It keeps nothing: the daemon's record is the only one. An endpoint's name follows
//! from container and interface, and its labels say both, so that DEL and GC need neither the namespace nor a memory.
//!
//! A key that is not known is refused by name, and so is what cannot be honoured. DEL and GC read no more of the
//! configuration than they need, so that what was refused does not stand in the way of cleaning up. DEL succeeds when
//! there is nothing to remove, and fails with "try again later" while no daemon answers: it would leave something behind.
//!
//! Limits: configurations of [`configuration::INPUT_MAX`] bytes, delegated plugins that end within
//! [`ipam::IPAM_TIMEOUT`], one address of a family for an interface. What is not there: rate limits (`bandwidth`),
//! `ipRanges` without a delegated plugin, a host-side interface for plugins that want one, a default route that is not by
//! the network's gateway.

mod add;
mod args;
mod check;
pub mod configuration;
mod environment;
mod error;
mod fields;
pub mod ipam;
mod labels;
mod network;
mod remove;
mod result;
mod runtime;
mod version;
mod wishes;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

pub use args::{ARGS_MAX, Args};
pub use configuration::{ConfigArgs, Configuration, Head, INPUT_MAX, NetworkWish};
pub use environment::{Attachment, CONTAINER_ID_MAX, Call, Place, Verb};
pub use error::{CniError, Refusal, own};
pub use result::{Address, Attached, Dns, Interface, Route};
pub use runtime::{AddressWish, Range, Runtime};
pub use version::Version;

use crate::api::{Client, DEFAULT_SOCKET};
use fields::Fields;
use ipam::Delegate;

/// Whether this process was started as a plugin.
#[must_use]
pub fn is_called() -> bool {
    std::env::args_os().len() <= 1 && std::env::var_os("CNI_COMMAND").is_some()
}

/// Does what the environment and standard input ask for; the answer, or the error, goes to standard output.
#[must_use]
pub fn main() -> ExitCode {
    let mut version = Version::NEWEST;
    let (answer, code) = match run(&mut version) {
        Ok(answer) => (answer, ExitCode::SUCCESS),
        Err(error) => (Some(json!(error.told(version))), ExitCode::FAILURE),
    };
    match answer.map_or(Ok(()), |answer| writeln!(io::stdout(), "{answer}")) {
        Ok(()) => code,
        // Nobody hears it. What was made is removed when the runtime calls DEL.
        Err(_) => ExitCode::FAILURE,
    }
}

/// The answer to a call; `spoken` becomes the version that errors are told in.
fn run(spoken: &mut Version) -> Result<Option<Value>, CniError> {
    let input = read(io::stdin())?;
    let fields = configuration::decode(&input);
    if let Ok(fields) = &fields {
        *spoken = fields.version().unwrap_or(*spoken);
    }
    let call = Call::read(|name| std::env::var_os(name))?;
    if call == Call::Version {
        // An empty input is a question, too.
        return if input.is_empty() { Ok(()) } else { fields.map(drop) }.map(|()| Some(versions(*spoken)));
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CniError::Runtime)?;
    runtime.block_on(perform(&call, fields?, &input))
}

async fn perform(call: &Call, mut fields: Fields, input: &[u8]) -> Result<Option<Value>, CniError> {
    let path = std::env::var_os("CNI_PATH");
    match call {
        Call::Add(place) => {
            let config = Configuration::read(fields, call.verb())?;
            let (client, delegate) = (client(&config.head), delegate_of(&config.head, &path, input)?);
            let attached = add::add(&client, place, &config, delegate).await?;
            Ok(Some(attached.write(config.head.version)))
        }
        Call::Del(attachment) => {
            let head = Head::take(&mut fields, call.verb())?;
            remove::del(&client(&head), attachment, &head).await?;
            forward(delegate_of(&head, &path, input)?, call.verb()).await
        }
        Call::Check(place) => {
            let config = Configuration::read(fields, call.verb())?;
            let delegate = delegate_of(&config.head, &path, input)?;
            check::check(&client(&config.head), place, &config).await?;
            forward(delegate, call.verb()).await
        }
        Call::Gc => {
            let kept = remove::kept(&mut fields)?;
            let head = Head::take(&mut fields, call.verb())?;
            let own = remove::gc(&client(&head), &kept, &head).await;
            let other = match delegate_of(&head, &path, input) {
                Ok(delegate) => forward(delegate, call.verb()).await,
                Err(error) => Err(error),
            };
            own.and(other)
        }
        Call::Status => {
            let config = Configuration::read(fields, call.verb())?;
            let delegate = delegate_of(&config.head, &path, input)?;
            status(&client(&config.head), &config).await?;
            forward(delegate, call.verb()).await
        }
        Call::Version => Ok(None),
    }
}

/// Whether ADD would work.
async fn status(client: &Client, config: &Configuration) -> Result<(), CniError> {
    let socket = client.socket().display().to_string();
    let not_ready = |why: String| CniError::NotReady { socket: socket.clone(), why };
    let status = client.status().await.map_err(|error| not_ready(error.to_string()))?;
    if !status.ready {
        return Err(not_ready(
            status.dataplane_reason.unwrap_or_else(|| "it is starting, or stopping".into()),
        ));
    }
    network::find(client, &config.network).await.map(drop)
}

async fn forward(delegate: Option<Delegate<'_>>, verb: Verb) -> Result<Option<Value>, CniError> {
    if let Some(delegate) = delegate {
        delegate.call(verb).await?;
    }
    Ok(None)
}

fn delegate_of<'a>(
    head: &'a Head,
    path: &Option<OsString>,
    input: &'a [u8],
) -> Result<Option<Delegate<'a>>, CniError> {
    head.ipam.as_deref().map(|plugin| Delegate::find(plugin, path.as_deref(), input)).transpose()
}

/// The daemon that a configuration names, or the usual one. `WEFT_HOST` has no say: a runtime's environment need not be the
/// same for DEL as it was for ADD.
fn client(head: &Head) -> Client {
    Client::new(head.socket.as_deref().unwrap_or(Path::new(DEFAULT_SOCKET)))
}

/// Standard input, within its limit.
fn read(from: impl Read) -> Result<Vec<u8>, CniError> {
    let mut input = Vec::new();
    let failed = |source| CniError::Io { what: "read standard input", source };
    from.take(INPUT_MAX as u64 + 1).read_to_end(&mut input).map_err(failed)?;
    if input.len() > INPUT_MAX {
        let why = format!("it has more than {INPUT_MAX} bytes");
        return Err(CniError::Decode { what: "the network configuration on standard input".into(), why });
    }
    Ok(input)
}

fn versions(spoken: Version) -> Value {
    json!({"cniVersion": spoken.as_str(), "supportedVersions": Version::ALL.map(Version::as_str)})
}

#[cfg(test)]
mod tests;
