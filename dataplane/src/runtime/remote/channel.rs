//! Messages with descriptors over a Unix stream socket.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{DESCRIPTORS_MAX, MESSAGE_MAX, PATIENCE, RemoteError};

/// Room for the descriptors of one message.
const RIGHTS_LEN: usize = rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX));

/// Bytes of a message's length.
const LENGTH_LEN: usize = 4;

/// One end of a connection. An error that [`RemoteError::is_final`] leaves it in the middle of a message.
#[derive(Debug)]
pub(super) struct Channel {
    socket: UnixStream,
}

impl Channel {
    pub(super) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { socket })
    }

    /// Sends a message. Nothing is sent of one that is too long.
    pub(super) fn send(
        &mut self,
        message: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), RemoteError> {
        if descriptors.len() > DESCRIPTORS_MAX {
            return Err(RemoteError::TooManyDescriptors(descriptors.len()));
        }
        let body = postcard::to_allocvec(message)?;
        let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= MESSAGE_MAX);
        let length = length.ok_or(RemoteError::TooLong(body.len()))?.to_le_bytes();
        let mut room = [MaybeUninit::uninit(); RIGHTS_LEN];
        let mut rights = SendAncillaryBuffer::new(&mut room);
        if !descriptors.is_empty() && !rights.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(RemoteError::TooManyDescriptors(descriptors.len()));
        }
        let parts = [IoSlice::new(&length), IoSlice::new(&body)];
        let sent = retry(|| sendmsg(&self.socket, &parts, &mut rights, SendFlags::NOSIGNAL))?;
        match sent.checked_sub(LENGTH_LEN) {
            Some(sent) => Ok(self.socket.write_all(&body[sent..])?),
            None => Err(RemoteError::Garbled),
        }
    }

    /// Waits for the next message as long as it takes; `None`: there will be none.
    pub(super) fn wait<T: DeserializeOwned>(&mut self) -> Result<Option<(T, Vec<OwnedFd>)>, RemoteError> {
        let mut ready = [PollFd::new(&self.socket, PollFlags::IN)];
        retry(|| poll(&mut ready, None))?;
        match self.recv() {
            Ok(message) => Ok(Some(message)),
            Err(RemoteError::Closed) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Receives the next message, within [`PATIENCE`]. A process that has no room for all descriptors gets none of them.
    ///
    /// # Errors
    /// [`RemoteError::Closed`] when the other side has closed and all it sent was read.
    pub(super) fn recv<T: DeserializeOwned>(&mut self) -> Result<(T, Vec<OwnedFd>), RemoteError> {
        let (length, descriptors) = self.recv_length()?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > MESSAGE_MAX {
            return Err(RemoteError::Garbled);
        }
        // Grows as bytes arrive, so that a wrong length costs no memory.
        let mut body = Vec::new();
        (&self.socket).take(length as u64).read_to_end(&mut body)?;
        if body.len() < length {
            return Err(RemoteError::Closed);
        }
        Ok((postcard::from_bytes(&body)?, descriptors))
    }

    fn recv_length(&mut self) -> Result<(u32, Vec<OwnedFd>), RemoteError> {
        let mut length = [0; LENGTH_LEN];
        let mut room = [MaybeUninit::uninit(); RIGHTS_LEN];
        let mut rights = RecvAncillaryBuffer::new(&mut room);
        let mut part = [IoSliceMut::new(&mut length)];
        let received = retry(|| recvmsg(&self.socket, &mut part, &mut rights, RecvFlags::CMSG_CLOEXEC))?;
        let descriptors = rights.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<_>>(),
            _ => Vec::new(),
        });
        let descriptors: Vec<_> = descriptors.collect();
        match received.bytes {
            0 => return Err(RemoteError::Closed),
            LENGTH_LEN => {}
            had => (&self.socket).read_exact(&mut length[had..])?,
        }
        // The kernel delivers what fits into the table of this process and drops the rest.
        let whole = !received.flags.contains(ReturnFlags::CTRUNC);
        Ok((u32::from_le_bytes(length), if whole { descriptors } else { Vec::new() }))
    }
}

impl Drop for Channel {
    /// The other side learns of the end even if somebody else still has a descriptor of ours.
    fn drop(&mut self) {
        // It may have gone first.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other.map_err(io::Error::from),
        }
    }
}
