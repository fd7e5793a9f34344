//! `/dev/net/tun`: the ioctls of linux/if_tun.h.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

/// `TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6`.
pub(crate) const OFFLOAD_TSO: libc::c_uint = 0x01 | 0x02 | 0x04;
/// `TUN_F_USO4 | TUN_F_USO6`, which the kernel takes only together (Linux 6.2).
pub(crate) const OFFLOAD_USO: libc::c_uint = 0x20 | 0x40;

/// `TUN_F_UDP_TUNNEL_GSO | TUN_F_UDP_TUNNEL_GSO_CSUM` (Linux 6.17).
pub(crate) const OFFLOAD_UDP_TUNNEL: libc::c_uint = 0x080 | 0x100;

const TUNGETDEVNETNS: libc::Ioctl = 0x54e3;

/// Opens the clone device.
pub(crate) fn open() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(c"/dev/net/tun", OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?)
}

/// Makes `fd` a queue of the TAP device `name`, with a virtio header before each frame. `several`: the device has, or will
/// have, more than this one; `exclusive`: it must be new. The device is created in the calling thread's network namespace.
pub(crate) fn set_iff(fd: BorrowedFd<'_>, name: &CStr, several: bool, exclusive: bool) -> io::Result<()> {
    let mut flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    if several {
        flags |= libc::IFF_MULTI_QUEUE;
    }
    if exclusive {
        flags |= libc::IFF_TUN_EXCL;
    }
    // SAFETY: ifreq is a C struct of integers and arrays, for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.to_bytes()) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which outlives the call; fd is open.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) })
}

/// Sets the length of the virtio header, in bytes.
pub(crate) fn set_header_len(fd: BorrowedFd<'_>, len: usize) -> io::Result<()> {
    let len = len as libc::c_int;
    // SAFETY: TUNSETVNETHDRSZ reads one int, which outlives the call; fd is open.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETHDRSZ as _, &raw const len) })
}

/// Says which offloads the reader of this device understands: the whole device's, not this queue's.
pub(crate) fn set_offload(fd: BorrowedFd<'_>, mask: libc::c_uint) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes the mask by value; fd is open.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD as _, libc::c_ulong::from(mask)) })
}

/// The name of the link that `fd` is a queue of, in the namespace it is in now.
pub(crate) fn name(fd: BorrowedFd<'_>) -> io::Result<String> {
    // SAFETY: ifreq is a C struct of integers and arrays, for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // SAFETY: TUNGETIFF writes one ifreq, which outlives the call; fd is open.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNGETIFF as _, &raw mut request) })?;
    let name = request.ifr_name.iter().take_while(|byte| **byte != 0).map(|byte| *byte as u8);
    String::from_utf8(name.collect()).map_err(io::Error::other)
}

/// The network namespace that the link is in now (`TUNGETDEVNETNS`, Linux 5.8).
pub(crate) fn netns(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: TUNGETDEVNETNS takes no argument and writes no memory; fd is open.
    let netns = unsafe { libc::ioctl(fd.as_raw_fd(), TUNGETDEVNETNS) };
    check(netns)?;
    // SAFETY: the kernel has just made this descriptor, for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(netns) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
