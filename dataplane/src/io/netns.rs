//! The questions about network namespaces that only an unsafe call can ask.
//!
//! Entering an existing namespace is safe (`setns` through rustix) and therefore lives with its user.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};

/// Gives the calling thread a new, empty network namespace; other threads stay where they are.
///
/// The namespace lives as long as the thread, or longer if something else (a bind mount, a descriptor) holds it.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN, `ENOSPC` when `/proc/sys/user/max_net_namespaces` is used up.
#[allow(unsafe_code)]
pub fn unshare_thread() -> io::Result<()> {
    // SAFETY: the call is unsafe only for CLONE_FILES, which would split the descriptor table; NEWNET does not.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }?;
    Ok(())
}

/// Whether `fd` refers to a network namespace, as opposed to another kind of namespace (`NS_GET_NSTYPE`).
///
/// `fd` must be a file of nsfs: on another file system the request number could mean anything.
///
/// # Errors
/// `ENOTTY` when `fd` is not a namespace at all.
#[allow(unsafe_code)]
pub fn is_network(fd: impl AsFd) -> io::Result<bool> {
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: NS_GET_NSTYPE takes no argument and writes no memory; the descriptor is borrowed, hence open.
    let kind = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), NS_GET_NSTYPE) };
    match kind {
        -1 => Err(io::Error::last_os_error()),
        kind => Ok(kind == libc::CLONE_NEWNET),
    }
}

/// The cookie of the network namespace that `socket` was made in: a number that no other namespace has or had since the
/// machine was started (`SO_NETNS_COOKIE`, Linux 5.14).
///
/// # Errors
/// `ENOPROTOOPT` on older kernels.
#[allow(unsafe_code)]
pub fn cookie(socket: impl AsFd) -> io::Result<u64> {
    let mut cookie = 0u64;
    let mut len = mem::size_of::<u64>() as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the option writes at most `len` bytes, which is the size of `cookie`; the descriptor is borrowed, hence open.
    let outcome = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_NETNS_COOKIE, (&raw mut cookie).cast(), &raw mut len)
    };
    if outcome == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}
