//! Socket options that socket2 does not know.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use socket2::Socket;

/// `UDP_SEGMENT` and `UDP_GRO` of linux/udp.h.
pub(crate) const UDP_SEGMENT: libc::c_int = 103;
pub(crate) const UDP_GRO: libc::c_int = 104;

/// `SO_MEMINFO` of asm-generic/socket.h, and the place of the drop count in what it returns (linux/sock_diag.h).
const SO_MEMINFO: libc::c_int = 55;
const SK_MEMINFO_DROPS: usize = 8;
const SK_MEMINFO_VARS: usize = 9;

/// Sets an integer option.
pub(crate) fn set_int(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes of `value`, which outlives the call; fd is open.
    let result = unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast::<libc::c_void>(), len)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives a socket buffers of `bytes` each way, or as much of it as the host allows.
pub(crate) fn set_buffers(socket: &Socket, bytes: usize) -> io::Result<()> {
    // The forced options go beyond net.core.{r,w}mem_max but need CAP_NET_ADMIN.
    let force = |name| set_int(socket.as_fd(), libc::SOL_SOCKET, name, bytes as libc::c_int);
    if force(libc::SO_RCVBUFFORCE).and_then(|()| force(libc::SO_SNDBUFFORCE)).is_err() {
        socket.set_recv_buffer_size(bytes)?;
        socket.set_send_buffer_size(bytes)?;
    }
    Ok(())
}

/// Datagrams that the kernel dropped on this socket: its queue was full, or a checksum was wrong.
pub(crate) fn drops(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut info = [0u32; SK_MEMINFO_VARS];
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, the size of `info`, and the length it wrote; both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            info.as_mut_ptr().cast::<libc::c_void>(),
            &raw mut len,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(u64::from(info[SK_MEMINFO_DROPS])) }
}
