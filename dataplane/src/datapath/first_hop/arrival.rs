//! What comes to the host through a link and belongs to an endpoint.

use super::packet::{self, Header, L3, is_partial};
use super::size;
use crate::datapath::made::To;
use crate::datapath::{Datapath, Frame, Judged};
use crate::gateway::icmp::{self, ErrorKind};
use crate::gateway::route::LinkId;
use crate::gateway::spec::is_station;
use crate::nat::Outcome;
use crate::switch::{Port, Segment};
use crate::tables::Tables;
use crate::time::Moment;
use crate::verdict::{DropReason, Verdict};
use crate::wire::Ethernet;

/// A verdict, with the endpoint that it is about, if there is one.
type Arrival<'t> = (Verdict, Option<&'t Port>);

impl Datapath {
    /// Judges a frame that has come through `link`. What is not an endpoint's is the host's own, which has a copy: it is
    /// [`Verdict::Consumed`], and nothing is counted.
    #[must_use]
    pub fn from_link<'t, 'f>(
        &mut self,
        tables: &'t Tables,
        link: LinkId,
        mut frame: Frame<'f>,
        now: Moment,
    ) -> Judged<'t, 'f> {
        let (verdict, port) = self.arrive(tables, link, &mut frame, now);
        let segment = port.map(|port| tables.segment_of(port));
        self.judged(tables, verdict, segment, None, frame)
    }

    fn arrive<'t>(
        &mut self,
        tables: &'t Tables,
        link: LinkId,
        frame: &mut Frame<'_>,
        now: Moment,
    ) -> Arrival<'t> {
        let header = match Header::of(frame.bytes) {
            Ok(header) => header,
            Err(reason) => return (Verdict::Drop(reason), None),
        };
        let quote = size::quote(tables.narrowest(), header, frame);
        let port = match self.owner(tables, link, header, frame, now) {
            Ok(port) => port,
            Err(verdict) => return (verdict, None),
        };
        let segment = tables.segment_of(port);
        if let Err((reason, told)) = header.outlives().and_then(|()| size::fits(frame, header, segment.mtu)) {
            if let (Some(kind), Some(quote)) = (told, quote) {
                self.tell_outside(tables, port, link, (kind, &quote), now);
            }
            return (Verdict::Drop(reason), Some(port));
        }
        (self.hand_over(tables, port, header, frame), Some(port))
    }

    /// The endpoint that a packet belongs to, which from here on is addressed to it; otherwise what becomes of it.
    fn owner<'t>(
        &mut self,
        tables: &'t Tables,
        link: LinkId,
        header: Header,
        frame: &mut Frame<'_>,
        now: Moment,
    ) -> Result<&'t Port, Verdict> {
        let mut outside = tables.house.outside();
        if let Some(segment) = tables.segment_around(header.destination)
            && !outside.nat.egress().is_own(header.destination)
        {
            let spoofed = outside.nat.egress().is_own(header.source);
            return routed_to(tables, segment, header, spoofed);
        }
        if tables.segment_around(header.source).is_some() {
            return Err(Verdict::Drop(DropReason::Martian));
        }
        let partial = is_partial(frame.offload);
        let outcome = outside.nat.inbound(link, &mut frame.bytes[L3..], partial, now);
        let released = outside.nat.released();
        drop(outside);
        tables.house.touch();
        for (packet, outcome) in released {
            self.release(tables, None, &packet, outcome);
        }
        match outcome {
            Outcome::Deliver { port } => tables.port(port).ok_or(Verdict::Drop(DropReason::PortGone)),
            // Not of the NAT, and so the host's.
            Outcome::Drop(DropReason::NatNotMapped | DropReason::NatUnsupported) | Outcome::Leave(_) => {
                Err(Verdict::Consumed)
            }
            Outcome::Held => Err(Verdict::Held),
            Outcome::Drop(reason) => Err(Verdict::Drop(reason)),
        }
    }

    /// Tells the sender of a packet that came through `link` why it went no further.
    fn tell_outside(
        &mut self,
        tables: &Tables,
        port: &Port,
        link: LinkId,
        (kind, quote): (ErrorKind, &[u8]),
        now: Moment,
    ) {
        let (Ok(header), Ok(ethernet)) = (Header::of(quote), Ethernet::parse(quote)) else { return };
        let mut bytes = packet::ethernet(ethernet.source(), ethernet.destination(), header.source);
        let written = icmp::error(kind, header.destination, &quote[L3..], &mut bytes);
        if written && tables.house.errors().admit(port.id, now) {
            self.make(To::Link(link), tables.segment_of(port), bytes);
        }
    }
}

/// The endpoint that a packet is addressed to, on a network whose packets are not translated. `own` says that the host
/// itself seems to have sent it: neither the host nor any network of its is beyond a link.
fn routed_to<'t>(
    tables: &'t Tables,
    segment: &Segment,
    header: Header,
    own: bool,
) -> Result<&'t Port, Verdict> {
    let translated =
        segment.gateway.as_ref().is_none_or(|gateway| gateway.spec().translates(header.destination));
    let port = segment.port_at(header.destination).filter(|_| !translated);
    let port = port.and_then(|port| tables.port(port)).ok_or(Verdict::Consumed)?;
    if own || !is_station(header.source) || tables.segment_around(header.source).is_some() {
        return Err(Verdict::Drop(DropReason::Martian));
    }
    Ok(port)
}
