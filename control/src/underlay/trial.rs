//! Real frames through an uplink of the kind to be used, before anything depends on it.
//!
//! ```text
//!   near namespace                                    far namespace
//!   uplink TAP --filter--> veth n  ------------------> veth f, UDP socket on the tunnel port
//! ```
//!
//! No version number tells whether a kernel takes super-frames inside a tunnel, redirects them, and cuts them right; this
//! does. One super-frame crosses whole and one is cut on the way, and every byte that arrives is compared. Both
//! namespaces are nameless: they end with their last descriptor, also if the process is killed half-way.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use ipnet::IpNet;
use netlink_packet_route::link::LinkAttribute;
use tokio::time::{Instant, timeout};
use weft_dataplane::io::tap::TapError;
use weft_dataplane::io::uplink::{Uplink, Way};
use weft_dataplane::offload::{Checksum, Gso, GsoKind, Offload};
use weft_dataplane::tunnel::Envelope;
use weft_dataplane::tunnel::outer::{Ends, NextHop};
use weft_dataplane::wire::checksum::{Sum, checksum};
use weft_dataplane::wire::{Ecn, MacAddr, ethernet, ipv4, protocol, tcp, vxlan};

use crate::sandbox::link::change;
use crate::sandbox::topology::{VethEnd, veth_pair};
use crate::sandbox::{Link, Netns, SandboxError};

/// How long a frame may take from one namespace to the other; it takes microseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the first frame is sent again: an IPv6 address is usable a moment after it was added, which no one tells.
const AGAIN: Duration = Duration::from_millis(10);

const MTU: u32 = 1500;

/// The index of the loopback interface in every namespace.
const LOOPBACK: u32 = 1;

const NEAR: &str = "n";
const FAR: &str = "f";

/// Bytes of TCP payload in each segment, and in the whole super-frame: the last segment is shorter than the others.
const SEGMENT: usize = 1000;
const PAYLOAD: usize = 20 * SEGMENT + 7;
const HEADERS: usize = ethernet::HEADER_LEN + ipv4::HEADER_LEN + tcp::HEADER_LEN;

/// Why a trial failed.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The kernel is too old, or built without it.
    #[error("this kernel has no segmentation offload for UDP tunnels over TAP (Linux 6.17 has it)")]
    NoTunnelOffload,
    /// There is no TAP to try with.
    #[error(transparent)]
    Tap(TapError),
    /// The namespaces or what is in them cannot be made.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// There is no socket to receive by.
    #[error("cannot open a UDP socket to receive by: {0}")]
    Socket(io::Error),
    /// The kernel does not take a frame.
    #[error("the kernel refuses {what}: {source}")]
    Write {
        /// Which frame.
        what: &'static str,
        /// Its answer.
        source: io::Error,
    },
    /// A frame was taken but did not arrive.
    #[error("{0} did not arrive")]
    Lost(&'static str),
    /// What arrived is not what was sent.
    #[error("{0} arrived mangled")]
    Mangled(&'static str),
}

/// Sends a small frame and two super-frames, over IPv6 if `v6`, and looks at what arrives.
///
/// # Errors
/// [`TrialError`]; nothing is left behind.
pub(super) async fn run(v6: bool) -> Result<(), TrialError> {
    let range = Range::open(v6).await?;
    range.small_frame().await?;
    let (frame, offload) = super_frame();
    let what = "a super-frame";
    range.send(what, &frame, offload)?;
    check(what, range.receive(what).await? == range.dressed(&frame))?;

    let what = "a super-frame that is cut on the way";
    range.no_super_frames().await?;
    range.send(what, &frame, offload)?;
    for expected in frame[HEADERS..].chunks(SEGMENT) {
        let datagram = range.receive(what).await?;
        let inner = datagram.strip_prefix(&range.envelope.vxlan).ok_or(TrialError::Mangled(what))?;
        check(what, inner.len() == HEADERS + expected.len() && inner[HEADERS..] == *expected)?;
        check(what, checksum(&inner[ethernet::HEADER_LEN..][..ipv4::HEADER_LEN]) == 0)?;
    }
    Ok(())
}

fn check(what: &'static str, holds: bool) -> Result<(), TrialError> {
    if holds { Ok(()) } else { Err(TrialError::Mangled(what)) }
}

/// Both namespaces and what is in them.
struct Range {
    uplink: Uplink,
    near: Link,
    near_index: u32,
    socket: tokio::net::UdpSocket,
    way: Way,
    envelope: Envelope,
}

impl Range {
    async fn open(v6: bool) -> Result<Self, TrialError> {
        let (near, far) = (Netns::nameless()?, Netns::nameless()?);
        let uplink = near.run(|| Uplink::create("wfu", 1))?.map_err(uplink_error)?;
        let (near_link, far_link) = (near.link()?, far.link()?);
        let ends = (VethEnd { netns: &near, ifname: NEAR }, VethEnd { netns: &far, ifname: FAR });
        veth_pair(&near_link, ends.0, ends.1, MTU).await?;
        let (near_index, far_index) = (near_link.index_of(NEAR).await?, far_link.index_of(FAR).await?);
        // Addresses for documentation; nobody but these two namespaces sees them.
        let (from, to): (IpAddr, IpAddr) = if v6 {
            ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 2].into())
        } else {
            ([192, 0, 2, 1].into(), [192, 0, 2, 2].into())
        };
        // Up in this order the pair carries frames at once. An IPv6 address would wait for the kernel to notice that, but
        // not on the loopback interface; an IPv4 address has to be where frames come in, for the sake of rp_filter.
        far_link.up(LOOPBACK).await?;
        far_link.up(far_index).await?;
        near_link.up(near_index).await?;
        let (home, prefix) = if v6 { (LOOPBACK, 128) } else { (far_index, 24) };
        far_link.add_address(home, IpNet::new_assert(to, prefix)).await?;
        super::plumb::lead(&near_link, uplink.name(), near_index).await?;
        let mac = |device: Option<crate::sandbox::Device>| device.map_or(MacAddr::ZERO, |device| device.mac);
        let source = mac(near_link.device(near_index).await?);
        let neighbor = mac(far_link.device(far_index).await?);
        let hop = NextHop { source, neighbor, mtu: MTU as u16 };
        let ends = Ends::new(from, to).ok_or(TrialError::Lost("an address"))?;
        let socket = far.run(|| UdpSocket::bind(SocketAddr::new(to, vxlan::PORT)))?;
        let socket = socket
            .and_then(|socket| {
                socket.set_nonblocking(true)?;
                tokio::net::UdpSocket::from_std(socket)
            })
            .map_err(TrialError::Socket)?;
        let envelope =
            Envelope { vxlan: vxlan::header(vxlan::Vni::MAX), source_port: 50_000, ecn: Ecn::NotEct };
        let way = Way { ends, hop, port: vxlan::PORT };
        Ok(Self { uplink, near: near_link, near_index, socket, way, envelope })
    }

    fn send(&self, what: &'static str, inner: &[u8], offload: Offload) -> Result<(), TrialError> {
        let sent = self.uplink.send(&self.way, &self.envelope, inner, offload);
        sent.map_err(|source| TrialError::Write { what, source })
    }

    /// Sends a small frame until it arrives.
    async fn small_frame(&self) -> Result<(), TrialError> {
        let what = "a single frame";
        let inner = [&[0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x88, 0xb5][..], b"a single frame"].concat();
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.send(what, &inner, Offload::NONE)?;
            match timeout(AGAIN, self.receive(what)).await {
                Ok(arrived) => return check(what, arrived? == self.dressed(&inner)),
                Err(_) if Instant::now() < deadline => {}
                Err(_) => return Err(TrialError::Lost(what)),
            }
        }
    }

    /// The datagram that `inner` travels in.
    fn dressed(&self, inner: &[u8]) -> Vec<u8> {
        [self.envelope.vxlan.as_slice(), inner].concat()
    }

    async fn receive(&self, what: &'static str) -> Result<Vec<u8>, TrialError> {
        let mut buffer = vec![0; usize::from(u16::MAX)];
        match timeout(PATIENCE, self.socket.recv(&mut buffer)).await {
            Ok(Ok(len)) => {
                buffer.truncate(len);
                Ok(buffer)
            }
            Ok(Err(source)) => Err(TrialError::Socket(source)),
            Err(_) => Err(TrialError::Lost(what)),
        }
    }

    /// From here on the near device takes nothing larger than its MTU, as if it could not cut anything itself.
    async fn no_super_frames(&self) -> Result<(), SandboxError> {
        let limit = LinkAttribute::GsoMaxSize(MTU);
        let message = change(self.near_index).append_extra_attribute(limit).build();
        self.near.set(|| format!("set gso_max_size {MTU}"), message).await
    }
}

fn uplink_error(error: TapError) -> TrialError {
    match error {
        TapError::Io { source, .. } if source.kind() == io::ErrorKind::InvalidInput => {
            TrialError::NoTunnelOffload
        }
        other => TrialError::Tap(other),
    }
}

/// A TCP segment of [`PAYLOAD`] bytes, to be cut into pieces of [`SEGMENT`] bytes, with its checksum still to be computed.
fn super_frame() -> (Vec<u8>, Offload) {
    let (from, to) = (Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(198, 51, 100, 2));
    let segment_len = tcp::HEADER_LEN + PAYLOAD;
    let mut frame = vec![0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x08, 0];
    let mut ip = [0; ipv4::HEADER_LEN];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&((ipv4::HEADER_LEN + segment_len) as u16).to_be_bytes());
    ip[6] = 0x40;
    (ip[8], ip[9]) = (64, protocol::TCP);
    ip[12..16].copy_from_slice(&from.octets());
    ip[16..20].copy_from_slice(&to.octets());
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(ip);
    let mut header = [0; tcp::HEADER_LEN];
    header[..4].copy_from_slice(&[0xc0, 0, 0x14, 0x51]);
    // Data offset 5, ACK, a window.
    (header[12], header[13], header[14]) = (0x50, 0x10, 0xff);
    let pseudo = Sum::pseudo_v4(from, to, protocol::TCP, segment_len).fold();
    header[16..18].copy_from_slice(&pseudo.to_be_bytes());
    frame.extend(header);
    frame.extend((0..PAYLOAD).map(|at| (at ^ at >> 8) as u8));
    let start = (ethernet::HEADER_LEN + ipv4::HEADER_LEN) as u16;
    let gso = Gso { kind: GsoKind::Tcp4, size: SEGMENT as u16, ecn: false, header_len: HEADERS as u16 };
    (frame, Offload { checksum: Checksum::Partial { start, offset: 16 }, gso: Some(gso) })
}
