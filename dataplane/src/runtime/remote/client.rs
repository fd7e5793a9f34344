//! Control's side: the verbs of a [`Handle`](crate::runtime::Handle), carried to the packet process.

mod outside;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::channel::Channel;
use super::message::{Answer, Hello, Inventory, Refusal, Request, Setup};
use super::{RemoteCapture, RemoteError};
use crate::io::tap::Tap;
use crate::io::udp::Sockets;
use crate::io::uplink::Uplink;
use crate::runtime::{AttachError, CaptureFilter, Event, FdbRow, Stats, UnderlayInfo};
use crate::tables::{Ground, PortId, SegmentId, Tables, TablesError, TablesSpec};
use crate::tunnel::Vtep;
use crate::tunnel::outer::NextHop;

/// Requests that may be under way at a time: their answers fit into the socket's buffer.
const AHEAD: usize = 32;

/// A connection to a packet process. Each verb waits for its answer, at most [`super::PATIENCE`]; after an error that
/// [`RemoteError::is_final`] no verb works any more.
#[derive(Debug)]
pub struct Client {
    channel: Channel,
    /// Zero until it is known.
    workers: usize,
}

impl Client {
    /// Begins to speak with whoever is at the other end of `socket`.
    ///
    /// # Errors
    /// [`RemoteError::OtherVersion`] and those of the connection.
    pub fn greet(socket: UnixStream) -> Result<Self, RemoteError> {
        let mut channel = Channel::new(socket)?;
        channel.send(&Hello::ours(), &[])?;
        let (theirs, _) = channel.recv::<Hello>()?;
        if theirs != Hello::ours() {
            return Err(RemoteError::OtherVersion(theirs.version()));
        }
        Ok(Self { channel, workers: 0 })
    }

    /// Has the packet process start its workers: `workers` of them, with the sockets of `underlay`, and with `listener`,
    /// a Unix socket that is bound but does not listen, for later clients.
    ///
    /// # Errors
    /// [`RemoteError::Start`] and those of the connection; the process ends then.
    pub fn start(
        &mut self,
        setup: &Setup,
        listener: BorrowedFd<'_>,
        sockets: Option<&Sockets>,
    ) -> Result<(), RemoteError> {
        let sockets = sockets.map(Sockets::descriptors).unwrap_or_default();
        let descriptors: Vec<_> = std::iter::once(listener).chain(sockets).collect();
        self.done(&Request::Start(setup.clone()), &descriptors)?;
        self.workers = setup.workers;
        Ok(())
    }

    /// All that a running packet process has.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn inventory(&mut self) -> Result<Inventory, RemoteError> {
        match self.ask(&Request::Inventory, &[])? {
            (Answer::Inventory(inventory), _) => {
                self.workers = inventory.setup.workers;
                Ok(*inventory)
            }
            _ => Err(RemoteError::Garbled),
        }
    }

    /// A second set of descriptors of the underlay's sockets, which `setup` tells of; `None` without an underlay.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub fn sockets(&mut self, setup: &Setup) -> Result<Option<Sockets>, RemoteError> {
        let Some((_, terms)) = &setup.underlay else { return Ok(None) };
        let descriptors = self.given(&Request::Sockets)?;
        let sockets = Sockets::from_descriptors(descriptors, terms.clone());
        sockets.map(Some).ok_or(RemoteError::NoDescriptors)
    }

    /// A second set of descriptors of the TAP of `port`, which its owners call `tap`.
    ///
    /// # Errors
    /// [`RemoteError::NoSuch`] and those of the connection.
    pub fn port(&mut self, port: PortId, tap: &str) -> Result<Tap, RemoteError> {
        Ok(Tap::from_descriptors(tap.to_owned(), self.given(&Request::Port(port))?))
    }

    /// A second set of descriptors of the uplink of this name.
    ///
    /// # Errors
    /// As [`Client::port`].
    pub fn uplink(&mut self, name: &str) -> Result<Uplink, RemoteError> {
        Ok(Uplink::from_descriptors(name.to_owned(), self.given(&Request::Uplink)?))
    }

    /// Makes `tables` the whole truth. Nothing changes if it is refused.
    ///
    /// # Errors
    /// [`RemoteError::Tables`] and those of the connection.
    pub fn publish(&mut self, tables: &TablesSpec) -> Result<(), RemoteError> {
        match self.ask(&Request::Publish(tables.clone()), &[])? {
            (Answer::Done, _) => Ok(()),
            (Answer::Refused(Refusal::Tables), _) => {
                Err(why_refused(tables).map_or(RemoteError::Garbled, Into::into))
            }
            (answer, _) => Err(self.unwanted(answer)),
        }
    }

    /// Serves `port` from `tap`, which must have a queue for each worker. The caller keeps `tap`.
    ///
    /// # Errors
    /// [`RemoteError::Attach`] and those of the connection.
    pub fn attach(&mut self, port: PortId, tap: &Tap) -> Result<(), RemoteError> {
        self.done(&Request::Attach(port, tap.name().to_owned()), &tap.descriptors())
    }

    /// [`Client::attach`] for many, without waiting for each answer. Gives those that were refused, and why.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn attach_all<'t>(
        &mut self,
        taps: impl IntoIterator<Item = (PortId, &'t Tap)>,
    ) -> Result<Vec<(PortId, RemoteError)>, RemoteError> {
        let mut taps = taps.into_iter();
        let mut refused = Vec::new();
        loop {
            let mut asked = Vec::with_capacity(AHEAD);
            for (port, tap) in taps.by_ref().take(AHEAD) {
                self.channel.send(&Request::Attach(port, tap.name().to_owned()), &tap.descriptors())?;
                asked.push(port);
            }
            if asked.is_empty() {
                return Ok(refused);
            }
            for port in asked {
                match self.channel.recv()? {
                    (Answer::Done, _) => {}
                    (answer, _) => refused.push((port, self.unwanted(answer))),
                }
            }
        }
    }

    /// Stops serving `port`. When this returns, the packet process has closed the TAP's descriptors.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn detach(&mut self, port: PortId) -> Result<(), RemoteError> {
        self.done(&Request::Detach(port), &[])
    }

    /// What the packet process says unasked, from here on and of all ports whose devices have gone before. It tells one
    /// listener: the last.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn events(&mut self) -> Result<Events, RemoteError> {
        let channel = self.side_channel(&Request::Events)?;
        Ok(Events { channel })
    }

    /// Reads the counters.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn stats(&mut self) -> Result<Stats, RemoteError> {
        match self.ask(&Request::Stats, &[])? {
            (Answer::Stats(stats), _) => Ok(stats.into()),
            (answer, _) => Err(self.unwanted(answer)),
        }
    }

    /// The forwarding database of `segment`; empty if there is no such segment.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn fdb(&mut self, segment: SegmentId) -> Result<Vec<FdbRow>, RemoteError> {
        match self.ask(&Request::Fdb(segment), &[])? {
            (Answer::Fdb(rows), _) => Ok(rows),
            (answer, _) => Err(self.unwanted(answer)),
        }
    }

    /// Starts a capture; `labels` name ports in it.
    ///
    /// # Errors
    /// [`RemoteError::TooManyCaptures`] and those of the connection.
    pub fn capture(
        &mut self,
        filter: CaptureFilter,
        labels: Vec<(PortId, String)>,
    ) -> Result<RemoteCapture, RemoteError> {
        Ok(RemoteCapture::new(self.side_channel(&Request::Capture(filter, labels))?))
    }

    /// The underlay, if there is one, as it is at the moment.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn underlay(&mut self) -> Result<Option<UnderlayInfo>, RemoteError> {
        match self.ask(&Request::Underlay, &[])? {
            (Answer::Underlay(info), _) => Ok(info),
            (answer, _) => Err(self.unwanted(answer)),
        }
    }

    /// As [`Handle::open_uplink`](crate::runtime::Handle::open_uplink). The caller keeps `uplink`.
    ///
    /// # Errors
    /// [`RemoteError::Attach`] and those of the connection.
    pub fn open_uplink(&mut self, uplink: &Uplink) -> Result<(), RemoteError> {
        self.done(&Request::OpenUplink(uplink.name().to_owned()), &uplink.descriptors())
    }

    /// As [`Handle::close_uplink`](crate::runtime::Handle::close_uplink).
    ///
    /// # Errors
    /// Those of the connection.
    pub fn close_uplink(&mut self) -> Result<(), RemoteError> {
        self.done(&Request::CloseUplink, &[])
    }

    /// As [`Handle::set_next_hops`](crate::runtime::Handle::set_next_hops).
    ///
    /// # Errors
    /// Those of the connection.
    pub fn set_next_hops(&mut self, hops: &[(Vtep, NextHop)]) -> Result<(), RemoteError> {
        self.done(&Request::NextHops(hops.to_vec()), &[])
    }

    /// As [`Handle::take_used_next_hops`](crate::runtime::Handle::take_used_next_hops).
    ///
    /// # Errors
    /// Those of the connection.
    pub fn take_used_next_hops(&mut self) -> Result<Vec<Vtep>, RemoteError> {
        match self.ask(&Request::UsedNextHops, &[])? {
            (Answer::Vteps(vteps), _) => Ok(vteps),
            (answer, _) => Err(self.unwanted(answer)),
        }
    }

    /// Tells the packet process to end. It closes everything, and then it is gone.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn end(mut self) -> Result<(), RemoteError> {
        self.done(&Request::End, &[])
    }

    fn side_channel(&mut self, request: &Request) -> Result<Channel, RemoteError> {
        let (ours, theirs) = UnixStream::pair()?;
        self.done(request, &[theirs.as_fd()])?;
        Ok(Channel::new(ours)?)
    }

    fn done(&mut self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Result<(), RemoteError> {
        match self.ask(request, descriptors)? {
            (Answer::Done, _) => Ok(()),
            (answer, _) => Err(self.unwanted(answer)),
        }
    }

    fn given(&mut self, request: &Request) -> Result<Vec<OwnedFd>, RemoteError> {
        match self.ask(request, &[])? {
            (Answer::Done, descriptors) if descriptors.is_empty() => Err(RemoteError::NoDescriptors),
            (Answer::Done, descriptors) => Ok(descriptors),
            (answer, _) => Err(self.unwanted(answer)),
        }
    }

    fn ask(
        &mut self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(Answer, Vec<OwnedFd>), RemoteError> {
        self.channel.send(request, descriptors)?;
        self.channel.recv()
    }

    /// What an answer means that is not the wanted one.
    fn unwanted(&self, answer: Answer) -> RemoteError {
        match answer {
            Answer::Refused(Refusal::Queues(queues)) => {
                RemoteError::Attach(AttachError::Queues { queues, workers: self.workers })
            }
            Answer::Refused(Refusal::NoSuch) => RemoteError::NoSuch,
            Answer::Refused(Refusal::TooManyCaptures) => RemoteError::TooManyCaptures,
            Answer::Refused(Refusal::Start(reason)) => RemoteError::Start(reason),
            Answer::Refused(Refusal::Descriptors) => RemoteError::NoDescriptors,
            Answer::Refused(Refusal::Outside(reason)) => RemoteError::Outside(reason),
            _ => RemoteError::Garbled,
        }
    }
}

/// Whether tables make sense depends on nothing but themselves, so it can be found out here.
fn why_refused(tables: &TablesSpec) -> Option<TablesError> {
    let ground = Ground { shards: 1, seed: 0, underlay: None };
    Tables::build(tables, &Tables::empty(&ground), &ground).err()
}

/// What a packet process says unasked.
#[derive(Debug)]
pub struct Events {
    channel: Channel,
}

impl Iterator for Events {
    type Item = Event;

    /// Waits for the next; `None`: the packet process has ended, or tells somebody else.
    fn next(&mut self) -> Option<Event> {
        self.channel.wait().ok().flatten().map(|(event, _)| event)
    }
}
