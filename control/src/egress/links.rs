//! Sockets for each link.

use weft_dataplane::gateway::LinkId;
use weft_dataplane::io::filter::Interest;
use weft_dataplane::io::link::LinkSockets;
use weft_dataplane::io::packet::{EdgeError, PacketSocket};
use weft_dataplane::io::raw::RawSockets;

use crate::sandbox::{Device, Netns};

/// The links that are open.
#[derive(Debug)]
pub(super) struct Links {
    open: Vec<Open>,
    next: u32,
}

#[derive(Debug)]
struct Open {
    id: LinkId,
    index: u32,
    /// A second handle on the dataplane's, to see whether its interface is still there.
    socket: PacketSocket,
}

impl Links {
    /// Those that an earlier daemon has opened: one opened anew would lose what waits in its socket. `seed` keeps further
    /// ids from those that were used.
    pub(super) fn new(seed: u64, earlier: Vec<(LinkId, PacketSocket)>) -> Self {
        let bound =
            |(id, socket): (LinkId, PacketSocket)| Some(Open { id, index: socket.interface()?, socket });
        Self { open: earlier.into_iter().filter_map(bound).collect(), next: seed as u32 }
    }

    /// Makes `devices` those that are open in `netns`. Gives the sockets of those that are new, which are shown nothing
    /// yet. What cannot be opened is left out, with a line in the log.
    pub(super) fn set(&mut self, netns: &Netns, devices: &[&Device]) -> Vec<(LinkId, LinkSockets)> {
        // A device that was deleted may have a successor of the same index.
        let stays = |open: &Open| {
            devices.iter().any(|device| device.index == open.index)
                && open.socket.interface() == Some(open.index)
        };
        self.open.retain(stays);
        let mut opened = Vec::new();
        for device in devices {
            if self.id_of(device.index).is_none() {
                opened.extend(self.open(netns, device));
            }
        }
        opened
    }

    fn open(&mut self, netns: &Netns, device: &Device) -> Option<(LinkId, LinkSockets)> {
        let index = device.index;
        let (sockets, socket) = match netns.run(|| sockets(index)) {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return refuse(device, &error),
            Err(error) => return refuse(device, &error),
        };
        let id = LinkId(self.next);
        self.next = self.next.wrapping_add(1);
        tracing::info!(link = id.0, device = %device.name, "an interface is open for NAT");
        self.open.push(Open { id, index, socket });
        Some((id, sockets))
    }

    /// The link that is the interface `index`.
    pub(super) fn id_of(&self, index: u32) -> Option<LinkId> {
        self.open.iter().find(|open| open.index == index).map(|open| open.id)
    }

    /// The interface that is the link `id`.
    pub(super) fn index_of(&self, id: LinkId) -> Option<u32> {
        self.open.iter().find(|open| open.id == id).map(|open| open.index)
    }
}

fn refuse<T>(device: &Device, error: &dyn std::fmt::Display) -> Option<T> {
    tracing::warn!(%error, device = %device.name, "nothing leaves by an interface");
    None
}

/// The sockets of the interface `index`, and the packet socket once more.
fn sockets(index: u32) -> Result<(LinkSockets, PacketSocket), EdgeError> {
    let nothing = Interest { lent_from: u16::MAX, ..Interest::default() };
    let packets = PacketSocket::open(index, &nothing)?;
    let twice = |source| EdgeError::Io { what: "duplicate a packet socket", source };
    let clone = packets.try_clone().map_err(twice)?;
    Ok((LinkSockets { packets, raw: RawSockets::open(index)? }, clone))
}
