//! Adoption, with a packet process that is a thread of this one.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use weft_dataplane::io::tap::Tap;
use weft_dataplane::runtime::remote::{Client, RemoteError, serve};
use weft_dataplane::tables::{PortId, TablesSpec};

use super::adopt::{adopt, misfit};
use super::launch::{bind, setup};
use super::reaper::Reaper;
use super::{Options, SOCKET_NAME};

struct Scene {
    directory: tempfile::TempDir,
    thread: JoinHandle<Result<(), RemoteError>>,
    /// What the other end of the port's TAP is.
    _wire: std::os::fd::OwnedFd,
}

impl Scene {
    fn options(&self) -> Options {
        Options { run_dir: self.directory.path().into(), workers: 1, underlay: None }
    }
}

/// A packet process that serves one port and whose daemon has left.
fn scene() -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let listener = bind(&directory.path().join(SOCKET_NAME)).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let thread = thread::spawn(move || serve(theirs));
    let (queue, wire) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::NONBLOCK, None).unwrap();
    let scene = Scene { directory, thread, _wire: wire };
    let mut client = Client::greet(ours).unwrap();
    client.start(&setup(&scene.options(), None), listener.as_fd(), None).unwrap();
    client.attach(PortId(7), &Tap::from_descriptors("wf7".into(), vec![queue])).unwrap();
    scene
}

#[test]
fn what_an_earlier_daemon_has_left_is_adopted_with_everything() {
    let scene = scene();
    let path = scene.directory.path().join(SOCKET_NAME);
    let (mut client, process, memory) = adopt(&path, &scene.options(), &Reaper::default()).unwrap();
    assert_eq!(process.id(), std::process::id());
    let tap = &memory.taps[&PortId(7)];
    assert_eq!((tap.name(), tap.descriptors().len()), ("wf7", 1));
    assert_eq!(client.stats().unwrap().total.packets, 0);
    client.end().unwrap();
    scene.thread.join().unwrap().unwrap();
}

#[test]
fn where_nobody_listens_nobody_is_adopted() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { run_dir: directory.path().into(), workers: 1, underlay: None };
    let path = directory.path().join(SOCKET_NAME);
    assert!(adopt(&path, &options, &Reaper::default()).is_none());
    drop(bind(&path).unwrap());
    assert!(adopt(&path, &options, &Reaper::default()).is_none(), "a name without a process");
}

#[test]
fn what_does_not_fit_is_not_adopted_and_the_reason_says_why() {
    let scene = scene();
    let socket = UnixStream::connect(scene.directory.path().join(SOCKET_NAME)).unwrap();
    let mut client = Client::greet(socket).unwrap();
    let inventory = client.inventory().unwrap();
    assert_eq!(inventory.tables, TablesSpec::default());
    let fits = scene.options();
    assert_eq!(misfit(&inventory, &fits), None);
    let more = Options { workers: 3, ..scene.options() };
    assert!(misfit(&inventory, &more).unwrap().contains("3 are configured"));
    client.end().unwrap();
    scene.thread.join().unwrap().unwrap();
}
