//! Packet sockets: linux/if_packet.h, and the addresses that socket2 has no safe way to write.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::sockopt::set_int;

const SOL_PACKET: libc::c_int = 263;
const PACKET_VNET_HDR: libc::c_int = 15;
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// Puts a virtio header of ten bytes in front of every frame, read or written.
pub(crate) fn set_vnet_header(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_int(fd, SOL_PACKET, PACKET_VNET_HDR, 1)
}

/// Shows the socket only what comes in (Linux 4.20).
pub(crate) fn ignore_outgoing(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_int(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
}

/// From here on the socket is shown every protocol on the interface `index`, and sends there.
pub(crate) fn bind(fd: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    let mut address = zeroed_address();
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index.cast_signed();
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes of `address`, which outlives the call; fd is open.
    let result = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast::<libc::sockaddr>(), len) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The interface that the socket is bound to; `None` when that has been deleted since.
pub(crate) fn interface(fd: BorrowedFd<'_>) -> io::Result<Option<u32>> {
    let mut address = zeroed_address();
    let mut len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, the size of `address`, and the length; both outlive the call.
    let result = unsafe {
        libc::getsockname(fd.as_raw_fd(), (&raw mut address).cast::<libc::sockaddr>(), &raw mut len)
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u32::try_from(address.sll_ifindex).ok().filter(|&index| index != 0))
}

fn zeroed_address() -> libc::sockaddr_ll {
    // SAFETY: sockaddr_ll is integers and an array of them, for which all zeroes is a valid value.
    unsafe { std::mem::zeroed() }
}
