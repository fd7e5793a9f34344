//! Whether datagrams can leave as one: found out by doing it.
//!
//! A test that sends real datagrams to an address of this host also meets what a version check would miss: kernels that
//! mangle the last segment, seccomp profiles, missing loopback.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::Socket;

use super::udp_socket;
use crate::io::sys::mmsg::{Outgoing, RecvBatch, SendBatch};

/// Two whole segments: the last one as long as the others is the case that some kernels get wrong.
const SEGMENT: usize = 100;
const SEGMENTS: usize = 2;
const PATIENCE: Duration = Duration::from_millis(200);

/// Why segmentation cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    #[error("the test sockets cannot be opened: {0}")]
    Socket(String),
    #[error("the kernel refuses UDP_SEGMENT: {0}")]
    Send(io::Error),
    #[error("the test datagrams did not arrive; is the loopback interface up?")]
    Lost,
    #[error("the test datagrams arrived mangled")]
    Mangled,
}

/// Sends [`SEGMENTS`] datagrams as one from `address` to itself and checks that they arrive as they should.
pub(super) fn segmentation(address: IpAddr) -> Result<(), ProbeError> {
    let (sender, receiver) = (open(address)?, open(address)?);
    let to = receiver.local_addr().ok().and_then(|a| a.as_socket()).ok_or(ProbeError::Lost)?;
    let payload: Vec<u8> = (0..SEGMENT * SEGMENTS).map(|i| i as u8).collect();
    let message = Outgoing { to, tos: 0, segment: Some(SEGMENT as u16), payload: &payload };
    SendBatch::new(1).send(sender.as_fd(), std::iter::once(message)).map_err(ProbeError::Send)?;
    let mut batch = RecvBatch::new(1, payload.len());
    let mut received = Vec::new();
    while received.len() < payload.len() {
        let mut ready = [PollFd::new(&receiver, PollFlags::IN)];
        let patience = Timespec::try_from(PATIENCE).map_err(|_| ProbeError::Lost)?;
        if poll(&mut ready, Some(&patience)) != Ok(1) || batch.recv(receiver.as_fd()).ok() != Some(1) {
            return Err(ProbeError::Lost);
        }
        let len = batch.meta(0).map_or(0, |m| m.len);
        if len != SEGMENT {
            return Err(ProbeError::Mangled);
        }
        received.extend_from_slice(&batch.slot(0)[..len]);
    }
    if received == payload { Ok(()) } else { Err(ProbeError::Mangled) }
}

fn open(address: IpAddr) -> Result<Socket, ProbeError> {
    let socket = udp_socket(address).map_err(|e| ProbeError::Socket(e.to_string()))?;
    let any_port = SocketAddr::new(address, 0).into();
    socket.bind(&any_port).map_err(|e| ProbeError::Socket(e.to_string()))?;
    Ok(socket)
}
