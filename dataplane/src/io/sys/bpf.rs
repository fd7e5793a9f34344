//! One socket filter for many sockets.
//!
//! A classic program is translated and made executable anew for every socket that it is attached to, which takes two
//! thirds of the time that a reserving socket takes in all. A loaded one is attached by its descriptor, and shared.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::sockopt::set_int;

/// `BPF_PROG_LOAD` and `BPF_PROG_TYPE_SOCKET_FILTER` of linux/bpf.h.
const PROG_LOAD: libc::c_int = 5;
const SOCKET_FILTER: u32 = 1;

/// The part of `union bpf_attr` that [`PROG_LOAD`] needs; the kernel takes the rest as zero.
#[repr(C)]
struct ProgLoad {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// `r0 = 0; exit`: nothing passes. Of a `struct bpf_insn` only the first byte, the code, is not zero here, so its bytes are
/// the same on every machine.
const NOTHING: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

/// A program that lets nothing in.
///
/// # Errors
/// The kernel's: it has no bpf(2), or not for this process.
pub(crate) fn nothing() -> io::Result<OwnedFd> {
    let attributes = ProgLoad {
        kind: SOCKET_FILTER,
        count: NOTHING.len() as u32,
        instructions: NOTHING.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the kernel reads `attributes`, of the size said, and the instructions and the text it points to, all of
    // which outlive the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const attributes, size_of::<ProgLoad>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given this descriptor to us and to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// Gives `socket` a loaded program as its filter.
pub(crate) fn attach(socket: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    set_int(socket, libc::SOL_SOCKET, libc::SO_ATTACH_BPF, program.as_raw_fd())
}
