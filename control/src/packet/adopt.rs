//! The packet process of an earlier daemon: found, and adopted or ended.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

use weft_dataplane::io::tap::Tap;
use weft_dataplane::runtime::remote::{Client, Inventory, RemoteError};

use super::Options;
use super::memory::Memory;
use super::process::Process;
use super::reaper::Reaper;

/// A packet process with all it has.
pub(super) type Adopted = (Client, Process, Memory);

/// Adopts the packet process at `path` if it can be. If there is one and it is not adopted, it has
/// ended when this returns, and with it all that it served; `reaper` closes that.
pub(super) fn adopt(path: &Path, options: &Options, reaper: &Reaper) -> Option<Adopted> {
    // No name, or nobody behind it.
    let socket = UnixStream::connect(path).ok()?;
    let process = Process::at(&socket)?;
    let pid = process.id();
    match get_to_know(socket, options) {
        Ok((client, memory)) => {
            tracing::info!(pid, ports = memory.taps.len(), "a packet process is running and is adopted");
            Some((client, process, memory))
        }
        Err(Unfit { reason, client, taps }) => {
            tracing::warn!(pid, "a packet process is running and is replaced: {reason}");
            match client.map(Client::end) {
                Some(Ok(())) => {}
                Some(Err(_)) | None => process.kill(),
            }
            process.wait();
            taps.into_iter().for_each(|tap| reaper.close(tap));
            reaper.wait();
            None
        }
    }
}

/// Why a packet process is not adopted, how it can be spoken to, if it can, and what it served: if it were the last to
/// close all that, it would close one after the other.
struct Unfit {
    reason: String,
    client: Option<Client>,
    taps: Vec<Tap>,
}

fn get_to_know(socket: UnixStream, options: &Options) -> Result<(Client, Memory), Unfit> {
    let broken = |error: RemoteError| Unfit { reason: told(&error), client: None, taps: Vec::new() };
    let mut client = Client::greet(socket).map_err(broken)?;
    let inventory = client.inventory().map_err(broken)?;
    if let Some(reason) = misfit(&inventory, options) {
        let memory = Memory::of(&mut client, inventory).unwrap_or_default();
        return Err(Unfit { reason, client: Some(client), taps: memory.taps.into_values().collect() });
    }
    let memory = Memory::of(&mut client, inventory).map_err(broken)?;
    Ok((client, memory))
}

fn told(error: &RemoteError) -> String {
    match error {
        RemoteError::Io(e) if e.kind() == io::ErrorKind::WouldBlock => "it does not answer".to_owned(),
        other => other.to_string(),
    }
}

/// What speaks against adopting it.
pub(super) fn misfit(inventory: &Inventory, options: &Options) -> Option<String> {
    let setup = &inventory.setup;
    if setup.workers != options.workers {
        return Some(format!("it has {} workers, and {} are configured", setup.workers, options.workers));
    }
    if setup.underlay.as_ref().map(|(underlay, _)| underlay) != options.underlay.as_ref() {
        return Some("it has another underlay than is configured".to_owned());
    }
    None
}
