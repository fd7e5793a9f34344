//! `recvmmsg` and `sendmmsg` with the control messages that a VTEP needs.
//!
//! Each batch owns all memory that the kernel is told about, allocated once. Pointers are written into the headers anew
//! before every call and mean nothing after it, so the batches may move between calls.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::sockopt::{UDP_GRO, UDP_SEGMENT};

/// Room for the control messages of one datagram: TOS or traffic class, and a segment size.
#[derive(Clone, Copy)]
#[repr(align(8))]
struct Control([u8; 96]);

/// Memory for receiving a batch.
pub(crate) struct RecvBatch {
    slots: Vec<u8>,
    slot_len: usize,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

// SAFETY: the raw pointers inside point into the batch's own vectors and are rewritten before every use.
unsafe impl Send for RecvBatch {}

/// What the kernel said about a received datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    pub(crate) sender: IpAddr,
    pub(crate) tos: u8,
    /// The size of each of the datagrams that were received as one (`UDP_GRO`), the last may be shorter.
    pub(crate) segment: Option<usize>,
    pub(crate) len: usize,
    pub(crate) truncated: bool,
}

impl RecvBatch {
    /// For up to `count` datagrams of up to `slot_len` bytes.
    pub(crate) fn new(count: usize, slot_len: usize) -> Self {
        Self {
            slots: vec![0; count * slot_len],
            slot_len,
            names: vec![zeroed_name(); count],
            controls: vec![Control([0; 96]); count],
            vectors: vec![libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; count],
            headers: vec![zeroed_header(); count],
        }
    }

    /// Receives without waiting; returns how many datagrams there are.
    pub(crate) fn recv(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        for (index, slot) in self.slots.chunks_exact_mut(self.slot_len).enumerate() {
            self.vectors[index] = libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot.len() };
            let header = &mut self.headers[index].msg_hdr;
            header.msg_name = (&raw mut self.names[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut self.vectors[index];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[index].0.as_mut_ptr().cast();
            header.msg_controllen = self.controls[index].0.len() as _;
        }
        // SAFETY: every header points at memory of this batch with the length stated beside it, all of it alive and
        // unaliased during the call; a null timeout is allowed; fd is open.
        let count = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        if count < 0 { Err(io::Error::last_os_error()) } else { Ok(count as usize) }
    }

    /// What the kernel said about datagram `index` of the last batch; `None` if its sender is not an IP address.
    pub(crate) fn meta(&self, index: usize) -> Option<Meta> {
        let header = &self.headers[index];
        let mut meta = Meta {
            sender: sender_of(&self.names[index])?,
            tos: 0,
            segment: None,
            len: (header.msg_len as usize).min(self.slot_len),
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        };
        let used = header.msg_hdr.msg_controllen.min(size_of::<Control>());
        for (level, kind, data) in ControlMessages(&self.controls[index].0[..used]) {
            match (level, kind) {
                (libc::SOL_IP, libc::IP_TOS) => meta.tos = data.first().copied().unwrap_or(0),
                (libc::SOL_IPV6, libc::IPV6_TCLASS) => meta.tos = int_of(data).unwrap_or(0) as u8,
                (libc::SOL_UDP, UDP_GRO) => {
                    meta.segment = int_of(data).and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
                }
                _ => {}
            }
        }
        Some(meta)
    }

    /// The bytes of slot `index`.
    pub(crate) fn slot(&mut self, index: usize) -> &mut [u8] {
        &mut self.slots[index * self.slot_len..(index + 1) * self.slot_len]
    }
}

/// Walks a control buffer that the kernel wrote: `cmsghdr` is a length, a level and a type, then data, padded to eight.
struct ControlMessages<'a>(&'a [u8]);

const CMSG_HEADER: usize = size_of::<libc::cmsghdr>();

impl<'a> Iterator for ControlMessages<'a> {
    type Item = (libc::c_int, libc::c_int, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = usize::from_ne_bytes(*self.0.first_chunk()?);
        let message = self.0.get(..len).filter(|m| m.len() >= CMSG_HEADER)?;
        let level = int_of(&message[CMSG_HEADER - 8..])?;
        let kind = int_of(&message[CMSG_HEADER - 4..])?;
        self.0 = self.0.get(len.next_multiple_of(align_of::<libc::cmsghdr>())..).unwrap_or_default();
        Some((level, kind, &message[CMSG_HEADER..]))
    }
}

fn int_of(data: &[u8]) -> Option<libc::c_int> {
    data.first_chunk().map(|bytes| libc::c_int::from_ne_bytes(*bytes))
}

/// One datagram, or several of equal size that leave as one, to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) to: SocketAddr,
    pub(crate) tos: u8,
    /// Cut the payload into datagrams of this size (`UDP_SEGMENT`).
    pub(crate) segment: Option<u16>,
    pub(crate) payload: &'a [u8],
}

/// Memory for sending a batch.
pub(crate) struct SendBatch {
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    used: usize,
}

// SAFETY: the raw pointers inside are written before every use and point at memory that is borrowed for that use.
unsafe impl Send for SendBatch {}

impl SendBatch {
    /// For up to `count` messages.
    pub(crate) fn new(count: usize) -> Self {
        Self {
            names: vec![zeroed_name(); count],
            controls: vec![Control([0; 96]); count],
            vectors: vec![libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; count],
            headers: vec![zeroed_header(); count],
            used: 0,
        }
    }

    /// Sends `messages`, as many as fit, through `fd` without waiting. Returns how many the kernel took (the rest of the
    /// batch may be tried again), or the error of the first.
    pub(crate) fn send<'a>(
        &mut self,
        fd: BorrowedFd<'_>,
        messages: impl Iterator<Item = Outgoing<'a>>,
    ) -> io::Result<usize> {
        self.used = 0;
        for message in messages.take(self.headers.len()) {
            self.put(&message);
        }
        // SAFETY: the first `used` headers point at names, vectors and controls of this batch and at payloads that
        // `messages` borrows for 'a, which outlives this call; the kernel only reads them; fd is open.
        let count = unsafe {
            libc::sendmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.used as libc::c_uint,
                (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
            )
        };
        if count < 0 { Err(io::Error::last_os_error()) } else { Ok(count as usize) }
    }

    fn put(&mut self, message: &Outgoing<'_>) {
        let index = self.used;
        let name_len = write_name(&mut self.names[index], message.to);
        let control_len = write_controls(&mut self.controls[index].0, message);
        // The kernel only reads through this pointer, whatever C's prototype says.
        let base = message.payload.as_ptr().cast_mut().cast();
        self.vectors[index] = libc::iovec { iov_base: base, iov_len: message.payload.len() };
        let header = &mut self.headers[index].msg_hdr;
        header.msg_name = (&raw mut self.names[index]).cast();
        header.msg_namelen = name_len;
        header.msg_iov = &raw mut self.vectors[index];
        header.msg_iovlen = 1;
        header.msg_control =
            if control_len == 0 { ptr::null_mut() } else { self.controls[index].0.as_mut_ptr().cast() };
        header.msg_controllen = control_len as _;
        self.used += 1;
    }
}

fn write_controls(buffer: &mut [u8], message: &Outgoing<'_>) -> usize {
    let mut len = 0;
    let mut put = |level: libc::c_int, kind: libc::c_int, data: &[u8]| {
        let message = &mut buffer[len..];
        message[..CMSG_HEADER - 8].copy_from_slice(&(CMSG_HEADER + data.len()).to_ne_bytes());
        message[CMSG_HEADER - 8..CMSG_HEADER - 4].copy_from_slice(&level.to_ne_bytes());
        message[CMSG_HEADER - 4..CMSG_HEADER].copy_from_slice(&kind.to_ne_bytes());
        message[CMSG_HEADER..CMSG_HEADER + data.len()].copy_from_slice(data);
        len += (CMSG_HEADER + data.len()).next_multiple_of(align_of::<libc::cmsghdr>());
    };
    if message.tos != 0 {
        let tos = libc::c_int::from(message.tos).to_ne_bytes();
        match message.to {
            SocketAddr::V4(_) => put(libc::SOL_IP, libc::IP_TOS, &tos),
            SocketAddr::V6(_) => put(libc::SOL_IPV6, libc::IPV6_TCLASS, &tos),
        }
    }
    if let Some(size) = message.segment {
        put(libc::SOL_UDP, UDP_SEGMENT, &size.to_ne_bytes());
    }
    len
}

fn zeroed_name() -> libc::sockaddr_storage {
    // SAFETY: sockaddr_storage is integers and padding, for which all zeroes is a valid value.
    unsafe { std::mem::zeroed() }
}

fn zeroed_header() -> libc::mmsghdr {
    // SAFETY: mmsghdr is integers and raw pointers, for which all zeroes is a valid value.
    unsafe { std::mem::zeroed() }
}

fn sender_of(name: &libc::sockaddr_storage) -> Option<IpAddr> {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the kernel wrote a sockaddr_in, as the family says; storage is larger and more strictly aligned.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in>() };
            Some(Ipv4Addr::from(name.sin_addr.s_addr.to_ne_bytes()).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the kernel wrote a sockaddr_in6, as the family says; storage is larger and more strictly aligned.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in6>() };
            Some(Ipv6Addr::from(name.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

fn write_name(name: &mut libc::sockaddr_storage, to: SocketAddr) -> libc::socklen_t {
    match to {
        SocketAddr::V4(to) => write_name_v4(name, to),
        SocketAddr::V6(to) => write_name_v6(name, to),
    }
}

fn write_name_v4(name: &mut libc::sockaddr_storage, to: SocketAddrV4) -> libc::socklen_t {
    // SAFETY: storage is larger than sockaddr_in and more strictly aligned, and any bytes are a valid value of both.
    let name = unsafe { &mut *(&raw mut *name).cast::<libc::sockaddr_in>() };
    name.sin_family = libc::AF_INET as libc::sa_family_t;
    name.sin_port = to.port().to_be();
    name.sin_addr.s_addr = u32::from_ne_bytes(to.ip().octets());
    size_of::<libc::sockaddr_in>() as libc::socklen_t
}

fn write_name_v6(name: &mut libc::sockaddr_storage, to: SocketAddrV6) -> libc::socklen_t {
    // SAFETY: storage is larger than sockaddr_in6 and more strictly aligned, and any bytes are a valid value of both.
    let name = unsafe { &mut *(&raw mut *name).cast::<libc::sockaddr_in6>() };
    name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
    name.sin6_port = to.port().to_be();
    name.sin6_flowinfo = 0;
    name.sin6_addr.s6_addr = to.ip().octets();
    name.sin6_scope_id = to.scope_id();
    size_of::<libc::sockaddr_in6>() as libc::socklen_t
}
