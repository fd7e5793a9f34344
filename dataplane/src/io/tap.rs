//! TAP devices: the endpoints' side of the switch.
//!
//! A [`Tap`] is a device with one queue per worker. It lives as long as one of its descriptors is open, wherever its
//! link has been moved since; closing the last one removes the link from the namespace it is in. The kernel steers a flow
//! to the queue that its reverse direction was last written to, so a flow stays with its worker.
//!
//! The descriptors keep the network namespace alive that they were opened in. When the link's namespace dies, which can
//! only be another one, or the link is deleted, reading says so.
//!
//! A device for one worker is not a multi-queue one: that would have [`QUEUES_MAX`] queues however many are used, and a
//! queueing discipline for each, which is 6 MiB of kernel memory.

use std::ffi::CString;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::sys::tun;
use super::{FrameIo, Gone, Received};
use crate::offload::{Offload, vnet};
use crate::verdict::DropReason;

/// The longest interface name, in bytes (`IFNAMSIZ` less its terminator).
pub const NAME_MAX: usize = 15;
/// Queues of one device (`MAX_TAP_QUEUES`).
pub const QUEUES_MAX: usize = 256;

/// Why there is no TAP.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// No device node.
    #[error(
        "/dev/net/tun does not exist: load the tun module or create it with 'mknod /dev/net/tun c 10 200'"
    )]
    NoDevice,
    /// Not allowed.
    #[error("no permission to create a TAP device: run as root or grant CAP_NET_ADMIN")]
    NotPermitted,
    /// The name is in use in this namespace.
    #[error("interface name '{0}' is taken: choose another")]
    NameTaken(String),
    /// The name cannot be an interface's.
    #[error("'{0}' cannot be an interface name: use 1 to {NAME_MAX} bytes without '/' or blanks")]
    BadName(String),
    /// Zero queues, or too many.
    #[error("{0} queues for one TAP are not possible: use 1 to {QUEUES_MAX}")]
    BadQueues(usize),
    /// Anything else.
    #[error("cannot {what} TAP '{name}': {source}")]
    Io {
        /// Which step.
        what: &'static str,
        /// On which device.
        name: String,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// A TAP device that nothing has been read from yet.
#[derive(Debug)]
pub struct Tap {
    name: String,
    queues: Vec<TapQueue>,
}

impl Tap {
    /// Creates the device `name` with `queues` queues in the calling thread's network namespace: virtio headers of 12
    /// bytes, checksum and TCP segmentation offload, and UDP segmentation offload where the kernel has it (Linux 6.2).
    /// The link is down and has a random MAC.
    pub fn create(name: &str, queues: usize) -> Result<Self, TapError> {
        let fits = (1..=NAME_MAX).contains(&name.len())
            && !name.contains(|c: char| c == '/' || c.is_whitespace() || c == '%');
        let c_name =
            CString::new(name).ok().filter(|_| fits).ok_or_else(|| TapError::BadName(name.into()))?;
        if !(1..=QUEUES_MAX).contains(&queues) {
            return Err(TapError::BadQueues(queues));
        }
        let fail = |what| {
            let name = name.to_owned();
            move |source| TapError::Io { what, name, source }
        };
        let mut tap = Self { name: name.to_owned(), queues: Vec::with_capacity(queues) };
        for index in 0..queues {
            let fd = tun::open().map_err(|e| open_error(e, name))?;
            tun::set_iff(fd.as_fd(), &c_name, queues > 1, index == 0).map_err(|e| create_error(e, name))?;
            tun::set_header_len(fd.as_fd(), vnet::LEN).map_err(fail("set the virtio header of"))?;
            tap.queues.push(TapQueue { fd });
        }
        let fd = tap.queues[0].fd.as_fd();
        tun::set_offload(fd, tun::OFFLOAD_TSO | tun::OFFLOAD_USO)
            .or_else(|_| tun::set_offload(fd, tun::OFFLOAD_TSO))
            .map_err(fail("set the offloads of"))?;
        Ok(tap)
    }

    /// What its owners call it: unless [`Tap::known_as`] says otherwise the name it was created under. The link may be
    /// called otherwise.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same device, called `name` among its owners; the link keeps its name.
    #[must_use]
    pub fn known_as(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// Where the link is now: its network namespace, which the descriptor keeps alive, and its name there.
    ///
    /// # Errors
    /// `EBADFD` when the link is gone, `EINVAL` before Linux 5.8.
    pub fn place(&self) -> io::Result<(OwnedFd, String)> {
        let queue = self.queues.first().ok_or(Errno::BADFD)?.fd.as_fd();
        Ok((tun::netns(queue)?, tun::name(queue)?))
    }

    /// The TAP whose queues another process has opened. `name` is what its owners call it.
    #[must_use]
    pub fn from_descriptors(name: String, queues: Vec<OwnedFd>) -> Self {
        Self { name, queues: queues.into_iter().map(|fd| TapQueue { fd }).collect() }
    }

    /// The descriptors of its queues.
    #[must_use]
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.queues.iter().map(|queue| queue.fd.as_fd()).collect()
    }

    /// The same device by a second set of descriptors. It then lives until both sets are closed.
    ///
    /// # Errors
    /// `EMFILE` when there are no more descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        let queue = |queue: &TapQueue| Ok(TapQueue { fd: queue.fd.try_clone()? });
        Ok(Self {
            name: self.name.clone(),
            queues: self.queues.iter().map(queue).collect::<io::Result<_>>()?,
        })
    }

    /// The descriptors of its queues, for somebody who uses them otherwise.
    pub(crate) fn into_descriptors(self) -> Vec<OwnedFd> {
        self.queues.into_iter().map(|queue| queue.fd).collect()
    }

    /// Its queues, one per worker.
    #[must_use]
    pub fn into_queues(self) -> Vec<TapQueue> {
        self.queues
    }
}

fn open_error(error: io::Error, name: &str) -> TapError {
    match error.kind() {
        io::ErrorKind::NotFound => TapError::NoDevice,
        io::ErrorKind::PermissionDenied => TapError::NotPermitted,
        _ if error.raw_os_error() == Some(libc::ENXIO) || error.raw_os_error() == Some(libc::ENODEV) => {
            TapError::NoDevice
        }
        _ => TapError::Io { what: "open /dev/net/tun for", name: name.to_owned(), source: error },
    }
}

fn create_error(error: io::Error, name: &str) -> TapError {
    match error.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST | libc::EINVAL) => TapError::NameTaken(name.to_owned()),
        Some(libc::EPERM | libc::EACCES) => TapError::NotPermitted,
        _ => TapError::Io { what: "create", name: name.to_owned(), source: error },
    }
}

/// One queue of a TAP.
#[derive(Debug)]
pub struct TapQueue {
    fd: OwnedFd,
}

impl FrameIo for TapQueue {
    fn recv(&mut self, buffer: &mut [u8]) -> Result<Option<Received>, Gone> {
        let mut header = [0; vnet::LEN];
        let mut parts = [IoSliceMut::new(&mut header), IoSliceMut::new(buffer)];
        match rustix::io::readv(&self.fd, &mut parts) {
            Ok(len) if len >= vnet::LEN => {
                let len = len - vnet::LEN;
                Ok(Some(Received { len, offload: vnet::parse(&header, &buffer[..len]) }))
            }
            Ok(_) => Ok(None),
            // EIO: the link is down. Its end is told apart from that by EBADFD.
            Err(Errno::AGAIN | Errno::INTR | Errno::IO | Errno::NOBUFS | Errno::NOMEM) => Ok(None),
            Err(_) => Err(Gone),
        }
    }

    fn send(&mut self, frame: &[u8], offload: Offload) -> Result<(), DropReason> {
        let header = vnet::emit(offload);
        match rustix::io::writev(&self.fd, &[IoSlice::new(&header), IoSlice::new(frame)]) {
            Ok(_) => Ok(()),
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => Err(DropReason::PortFull),
            Err(Errno::IO) => Err(DropReason::PortDown),
            Err(Errno::BADFD | Errno::BADF) => Err(DropReason::PortGone),
            Err(_) => Err(DropReason::PortRefused),
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }
}
