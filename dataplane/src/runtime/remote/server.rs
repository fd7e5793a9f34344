//! The packet process's side: a [`Handle`] that is driven by messages.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;

use super::channel::Channel;
use super::herald::{Ports, SharedPorts};
use super::message::{Answer, Hello, Inventory, Refusal, Request, Setup};
use super::{RemoteError, recorder};
use crate::gateway::EgressSpec;
use crate::gateway::route::LinkId;
use crate::io::ledger::Ledger;
use crate::io::link::LinkSockets;
use crate::io::reserve::Reserved;
use crate::io::tap::Tap;
use crate::io::udp::Sockets;
use crate::io::uplink::Uplink;
use crate::nat::RECORD_LEN;
use crate::runtime::{AttachError, Handle, OutsideError, Purpose};
use crate::tables::{PortId, TablesSpec, Transport};
use crate::tunnel::Vtep;
use crate::tunnel::outer::NextHop;

/// Clients that may wait for the one that is served.
const BACKLOG: i32 = 4;

/// How long to wait after no client could be accepted, for lack of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves `first`, and after it one client after the other, until one of them says to end.
///
/// # Errors
/// [`RemoteError`] when the first client leaves before it has started the workers.
pub fn serve(first: UnixStream) -> Result<(), RemoteError> {
    let mut channel = Channel::new(first)?;
    greet(&mut channel)?;
    let mut station = Station::start(&mut channel)?;
    let mut client = Some(channel);
    loop {
        match client.take().map(|mut channel| station.converse(&mut channel)) {
            Some(Ok(Ended::Told)) => {
                // The herald, which shares them, may end a little later.
                *station.ports.lock() = Ports::default();
                return Ok(());
            }
            Some(Ok(Ended::Left)) => tracing::info!("control has left; forwarding goes on"),
            Some(Err(error)) => tracing::warn!(%error, "control is given up; forwarding goes on"),
            None => {}
        }
        client = Some(station.next_client());
    }
}

/// Tells who we are, and listens who the other is.
fn greet(channel: &mut Channel) -> Result<(), RemoteError> {
    let Some((theirs, _)) = channel.wait::<Hello>()? else { return Err(RemoteError::Closed) };
    channel.send(&Hello::ours(), &[])?;
    if theirs == Hello::ours() { Ok(()) } else { Err(RemoteError::OtherVersion(theirs.version())) }
}

/// How a conversation ended.
enum Ended {
    /// With the request to end.
    Told,
    /// The client has closed.
    Left,
}

/// A running dataplane with all that belongs to it.
struct Station {
    handle: Handle,
    setup: Setup,
    listener: UnixListener,
    sockets: Option<Sockets>,
    ports: SharedPorts,
    uplink: Option<Uplink>,
    tables: TablesSpec,
    hops: Vec<(Vtep, NextHop)>,
}

/// An answer with the descriptors that go along.
type Reply = (Answer, Vec<OwnedFd>);

impl Station {
    /// Waits for the request to start and does so.
    fn start(channel: &mut Channel) -> Result<Self, RemoteError> {
        let Some((request, descriptors)) = channel.wait()? else { return Err(RemoteError::Closed) };
        let Request::Start(setup) = request else { return Err(RemoteError::Garbled) };
        match Self::build(setup, descriptors) {
            Ok(station) => {
                channel.send(&Answer::Done, &[])?;
                Ok(station)
            }
            Err(error) => {
                channel.send(&Answer::Refused(Refusal::Start(error.to_string())), &[])?;
                Err(error)
            }
        }
    }

    fn build(setup: Setup, mut descriptors: Vec<OwnedFd>) -> Result<Self, RemoteError> {
        if descriptors.is_empty() {
            return Err(RemoteError::NoDescriptors);
        }
        let listener = descriptors.remove(0);
        // Whoever connects is told the credentials of the process that made this call.
        rustix::net::listen(&listener, BACKLOG).map_err(std::io::Error::from)?;
        let sockets = match &setup.underlay {
            Some((_, terms)) => {
                let sockets = Sockets::from_descriptors(descriptors, terms.clone());
                Some(sockets.ok_or(RemoteError::NoDescriptors)?)
            }
            None => None,
        };
        let twice =
            sockets.as_ref().map(Sockets::try_clone).transpose().map_err(crate::runtime::StartError::from)?;
        let underlay = setup.underlay.as_ref().map(|(config, _)| *config).zip(twice);
        let handle = Handle::start_with(setup.workers, underlay)?;
        let ports = SharedPorts::default();
        let (herald, events) = (ports.clone(), handle.events());
        thread::Builder::new().name("weft-herald".into()).spawn(move || herald.herald(&events))?;
        Ok(Self {
            handle,
            setup,
            listener: listener.into(),
            sockets,
            ports,
            uplink: None,
            tables: TablesSpec::default(),
            hops: Vec::new(),
        })
    }

    /// The next client that may be one and is of our version.
    fn next_client(&self) -> Channel {
        loop {
            let accepted = self.listener.accept().map_err(RemoteError::from).and_then(|(socket, _)| {
                let same_user =
                    socket_peercred(&socket).is_ok_and(|peer| peer.uid == rustix::process::getuid());
                let mut channel = Channel::new(socket)?;
                if !same_user {
                    return Err(RemoteError::Closed);
                }
                greet(&mut channel)?;
                Ok(channel)
            });
            match accepted {
                Ok(channel) => return channel,
                Err(error) => {
                    tracing::warn!(%error, "a client is refused");
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    fn converse(&mut self, channel: &mut Channel) -> Result<Ended, RemoteError> {
        while let Some((request, descriptors)) = channel.wait()? {
            if matches!(request, Request::End) {
                channel.send(&Answer::Done, &[])?;
                return Ok(Ended::Told);
            }
            let (answer, given) = match self.carry_out(request, descriptors) {
                Ok(reply) => reply,
                Err(refusal) => (Answer::Refused(refusal), Vec::new()),
            };
            let given: Vec<BorrowedFd<'_>> = given.iter().map(AsFd::as_fd).collect();
            channel.send(&answer, &given)?;
        }
        Ok(Ended::Left)
    }

    fn carry_out(&mut self, request: Request, descriptors: Vec<OwnedFd>) -> Result<Reply, Refusal> {
        let mut given = Vec::new();
        let answer = match request {
            Request::Start(_) | Request::End => return Err(Refusal::NoSuch),
            Request::Publish(tables) => {
                self.handle.publish(&tables).map_err(|_| Refusal::Tables)?;
                self.tables = tables;
                Answer::Done
            }
            Request::Attach(port, name) => self.attach(port, Tap::from_descriptors(name, descriptors))?,
            Request::Detach(port) => {
                self.detach(port);
                Answer::Done
            }
            Request::Events => {
                self.ports.lock().listen(side_channel(descriptors)?);
                Answer::Done
            }
            Request::Stats => Answer::Stats((&self.handle.stats()).into()),
            Request::Fdb(segment) => Answer::Fdb(self.handle.fdb(segment)),
            Request::Capture(filter, labels) => {
                let channel = side_channel(descriptors)?;
                let named =
                    move |port| labels.iter().find(|(id, _)| *id == port).map(|(_, name)| name.clone());
                let label = move |port: PortId| named(port).unwrap_or_else(|| format!("port-{}", port.0));
                let capture = self.handle.capture(filter, label).ok_or(Refusal::TooManyCaptures)?;
                recorder::record(capture, channel).map_err(|_| Refusal::Descriptors)?;
                Answer::Done
            }
            Request::Underlay => Answer::Underlay(self.handle.underlay()),
            Request::OpenUplink(name) => self.open_uplink(Uplink::from_descriptors(name, descriptors))?,
            Request::CloseUplink => {
                self.handle.close_uplink();
                self.uplink = None;
                Answer::Done
            }
            Request::NextHops(hops) => {
                self.handle.set_next_hops(hops.iter().copied());
                self.hops = hops;
                Answer::Done
            }
            Request::UsedNextHops => Answer::Vteps(self.handle.take_used_next_hops()),
            Request::Egress(spec, links) => self.set_egress(&spec, &links, descriptors)?,
            Request::Hold(purpose, address, transport, ports) => {
                self.hold(purpose, (address, transport), ports, descriptors)?
            }
            Request::Lend(address, transport, ports) => {
                self.handle.lend(address, transport, &ports);
                Answer::Done
            }
            Request::Release(ports) => {
                self.handle.release(&ports);
                Answer::Done
            }
            Request::Wants => Answer::Wants(self.handle.take_wants()),
            Request::Sessions(max) => Answer::Sessions(self.handle.sessions(max)),
            Request::NatCounts => Answer::NatCounts(self.handle.nat_counts()),
            Request::Ledger => self.keep_ledger(descriptors)?,
            Request::Inventory => Answer::Inventory(Box::new(self.inventory())),
            Request::Sockets => {
                let sockets = self.sockets.as_ref().ok_or(Refusal::NoSuch)?;
                given = duplicates(&sockets.descriptors())?;
                Answer::Done
            }
            Request::Port(port) => {
                given =
                    duplicates(&self.ports.lock().served.get(&port).ok_or(Refusal::NoSuch)?.descriptors())?;
                Answer::Done
            }
            Request::Link(id) => {
                let open = self.handle.shared.doors.open();
                given = duplicates(&open.link_descriptors(id).ok_or(Refusal::NoSuch)?)?;
                Answer::Done
            }
            Request::Held(ports) => {
                given = duplicates(&self.handle.shared.doors.open().held_descriptors(&ports))?;
                Answer::Done
            }
            Request::GiveLedger => {
                let ledger = self.handle.shared.doors.ledger();
                given = duplicates(&[ledger.as_ref().ok_or(Refusal::NoSuch)?.descriptor()])?;
                Answer::Done
            }
            Request::Uplink => {
                given = duplicates(&self.uplink.as_ref().ok_or(Refusal::NoSuch)?.descriptors())?;
                Answer::Done
            }
        };
        Ok((answer, given))
    }

    /// A port that is served already is served from the new TAP.
    fn attach(&mut self, port: PortId, tap: Tap) -> Result<Answer, Refusal> {
        let theirs = tap.try_clone().map_err(|_| Refusal::Descriptors)?;
        match theirs.descriptors().len() {
            0 => return Err(Refusal::Descriptors),
            queues if queues != self.handle.workers() => return Err(Refusal::Queues(queues)),
            _ => {}
        }
        self.detach(port);
        // Before the workers have it, so that an early end is not overheard.
        self.ports.lock().add(port, tap);
        self.handle.attach(port, theirs).map_err(refusal)?;
        Ok(Answer::Done)
    }

    fn detach(&self, port: PortId) {
        if self.ports.lock().served.contains_key(&port) {
            self.handle.detach(port);
            self.ports.lock().remove(port);
        }
    }

    fn open_uplink(&mut self, uplink: Uplink) -> Result<Answer, Refusal> {
        let theirs = uplink.try_clone().map_err(|_| Refusal::Descriptors)?;
        self.handle.open_uplink(theirs).map_err(refusal)?;
        (self.uplink, self.hops) = (Some(uplink), Vec::new());
        Ok(Answer::Done)
    }

    fn set_egress(
        &self,
        spec: &EgressSpec,
        links: &[(LinkId, usize)],
        descriptors: Vec<OwnedFd>,
    ) -> Result<Answer, Refusal> {
        let mut descriptors = descriptors.into_iter();
        let sockets = links.iter().map(|&(id, count)| {
            let sockets = LinkSockets::from_descriptors(descriptors.by_ref().take(count).collect());
            Ok((id, sockets.ok_or(Refusal::Descriptors)?))
        });
        let sockets = sockets.collect::<Result<_, Refusal>>()?;
        self.handle.set_egress(spec, sockets).map_err(outside)?;
        Ok(Answer::Done)
    }

    fn hold(
        &self,
        purpose: Purpose,
        (address, transport): (IpAddr, Transport),
        ports: Vec<u16>,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Answer, Refusal> {
        if ports.len() != descriptors.len() {
            return Err(Refusal::Descriptors);
        }
        let sockets = descriptors.into_iter().map(Reserved::from_descriptor);
        self.handle.hold(purpose, address, transport, ports.into_iter().zip(sockets).collect());
        Ok(Answer::Done)
    }

    fn keep_ledger(&self, descriptors: Vec<OwnedFd>) -> Result<Answer, Refusal> {
        let fd = descriptors.into_iter().next().ok_or(Refusal::Descriptors)?;
        let ledger = Ledger::from_descriptor(fd, RECORD_LEN).map_err(|error| outside(error.into()))?;
        Ok(Answer::Restored(self.handle.keep_ledger(ledger).map_err(outside)?))
    }

    fn inventory(&self) -> Inventory {
        let ports = self.ports.lock();
        let doors = self.handle.shared.doors.open();
        Inventory {
            setup: self.setup.clone(),
            tables: self.tables.clone(),
            ports: ports.served.iter().map(|(id, tap)| (*id, tap.name().to_owned())).collect(),
            uplink: self.uplink.as_ref().map(|uplink| uplink.name().to_owned()),
            hops: self.hops.clone(),
            egress: doors.spec.clone(),
            links: doors.links.keys().copied().collect(),
            held: doors.held.iter().map(|(port, (purpose, _))| (*port, *purpose)).collect(),
            ledger: self.handle.shared.doors.ledger().is_some(),
        }
    }
}

fn refusal(error: AttachError) -> Refusal {
    let AttachError::Queues { queues, .. } = error;
    Refusal::Queues(queues)
}

fn outside(error: OutsideError) -> Refusal {
    Refusal::Outside(error.to_string())
}

/// The socket that came with a request.
fn side_channel(descriptors: Vec<OwnedFd>) -> Result<Channel, Refusal> {
    let socket = descriptors.into_iter().next().ok_or(Refusal::Descriptors)?;
    Channel::new(UnixStream::from(socket)).map_err(|_| Refusal::Descriptors)
}

/// They are sent after the lock on their owner is gone, so they must be our own.
fn duplicates(descriptors: &[BorrowedFd<'_>]) -> Result<Vec<OwnedFd>, Refusal> {
    let all = descriptors.iter().map(BorrowedFd::try_clone_to_owned).collect::<std::io::Result<_>>();
    all.map_err(|_| Refusal::Descriptors)
}
