//! From nothing to a packet process that forwards.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::{fs, io};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use weft_dataplane::io::udp::Sockets;
use weft_dataplane::runtime::remote::{Client, Setup};

use super::memory::Memory;
use super::process::Process;
use super::{Options, PacketError, error};

/// The socket's permissions: who may connect may command the packet process.
const MODE: u32 = 0o600;

/// How a packet process is set up for `options` with these sockets.
pub(super) fn setup(options: &Options, sockets: Option<&Sockets>) -> Setup {
    let underlay = options.underlay.zip(sockets.map(|sockets| sockets.terms().clone()));
    Setup { workers: options.workers, underlay }
}

/// Starts a packet process that listens at `path` and has all that `memory` holds. If that fails, none is left.
pub(super) fn launch(
    path: &Path,
    options: &Options,
    memory: &mut Memory,
) -> Result<(Client, Process), PacketError> {
    let listener = bind(path).map_err(error::io("bind the packet process's socket"))?;
    let (ours, theirs) = UnixStream::pair().map_err(error::io("make a pair of sockets"))?;
    let process = Process::spawn(theirs)?;
    match feed(ours, &listener, options, memory) {
        Ok(client) => Ok((client, process)),
        Err(failure) => {
            process.kill();
            process.wait();
            Err(failure)
        }
    }
}

fn feed(
    socket: UnixStream,
    listener: &OwnedFd,
    options: &Options,
    memory: &mut Memory,
) -> Result<Client, PacketError> {
    let mut client = Client::greet(socket)?;
    let setup = setup(options, memory.sockets.as_ref());
    client.start(&setup, listener.as_fd(), memory.sockets.as_ref())?;
    memory.tell(&mut client)?;
    Ok(client)
}

/// A socket that has its name but does not listen yet: nobody can connect before its permissions are right.
pub(super) fn bind(path: &Path) -> io::Result<OwnedFd> {
    remove(path)?;
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    Ok(socket)
}

/// Removes the socket's name, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
