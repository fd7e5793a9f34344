//! What a host can run out of: room on its disk, descriptors. Requests are refused with a reason, and frames go on.

use harness::cmd::{self, Outcome};
use harness::daemon::{Config, Daemon};
use harness::need;
use harness::netns::{self, Namespace};
use harness::traffic::{self, End};
use harness::wire::{Container, NETWORK};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

/// Requests until one has to meet the limit that the test has set.
const ATTEMPTS: usize = 300;

/// A file system of 4 MiB, mounted until this is dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(path: PathBuf) -> Self {
        fs::create_dir_all(&path).expect("our own directory");
        let target = path.to_str().expect("a path in UTF-8");
        cmd::run("mount", &["-t", "tmpfs", "-o", "size=4m,mode=0700", "weft-test", target]).must();
        Disk(path)
    }

    fn fill(&self) {
        let mut file = File::create(self.0.join("ballast")).expect("there is room for a name");
        let block = [0xa5; 4096];
        while file.write_all(&block).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("ballast")).expect("we made it");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        cmd::run("umount", &["-l", self.0.to_str().expect("a path in UTF-8")]);
    }
}

/// Refused in one line that has `word` in it, by exit code 1.
#[track_caller]
fn refused(outcome: &Outcome, word: &str) {
    let said = outcome.stderr.trim();
    assert_eq!(outcome.code, Some(1), "`{}` said: {said}", outcome.command);
    assert!(said.lines().count() == 1 && said.contains(word), "`{}` said: {said}", outcome.command);
}

fn talk(a: &Container, b: &Container) {
    let [a, b] = [a, b].map(|end| End { ns: &end.ns, ip: end.station.ip.into() });
    traffic::ping(a, b);
}

fn count(daemon: &Daemon, what: &[&str]) -> usize {
    daemon.json(what).as_array().expect("an array").len()
}

#[test]
fn a_full_disk_refuses_changes_and_stops_no_frame() {
    need!(Root, Tun);
    let host = Namespace::new("host");
    let directory = netns::scratch();
    let disk = Disk::mount(directory.path().join("state"));
    Config::default().write(directory.path());
    let daemon = Daemon::spawn_in(&host, directory, &[]).ready();
    daemon.weft(&["network", "create", NETWORK, "--subnet", "10.77.0.0/24"]).must();
    let [a, b] = [11, 12].map(|number| Container::connect(&daemon, NETWORK, number, &[]));
    disk.fill();
    let create = |number: usize| daemon.weft(&["network", "create", &format!("n{number}"), "--internal"]);
    let first = (0..ATTEMPTS).map(create).find(|outcome| !outcome.ok()).expect("the disk is full");
    refused(&first, "is full; make room there");
    let networks = count(&daemon, &["network", "ls"]);
    refused(&create(ATTEMPTS), "is full; make room there");
    assert_eq!(count(&daemon, &["network", "ls"]), networks, "what was refused is not there");
    talk(&a, &b);
    disk.empty();
    create(ATTEMPTS).must();
    daemon.weft(&["network", "disconnect", NETWORK, &b.name]).must();
    assert_eq!(count(&daemon, &["network", "ls"]), networks + 1);
    let next = Daemon::spawn_in(&host, daemon.crash(), &[]).ready();
    assert_eq!(count(&next, &["network", "ls"]), networks + 1, "what was answered for is on record");
    next.weft(&["doctor"]).must();
    drop(next);
}

/// Sets how many descriptors a process may have.
fn limit(pid: Pid, descriptors: usize) {
    let [pid, limit] = [pid.to_string(), format!("--nofile={descriptors}:")];
    cmd::run("prlimit", &["--pid", &pid, &limit]).must();
}

#[test]
fn without_descriptors_connecting_is_refused_and_the_rest_goes_on() {
    need!(Root, Tun);
    let host = Namespace::new("host");
    let daemon = Daemon::start(&host, &Config::default());
    daemon.weft(&["network", "create", NETWORK, "--subnet", "10.77.0.0/16"]).must();
    let [a, b] = [11, 12].map(|number| Container::connect(&daemon, NETWORK, number, &[]));
    let crowd = Namespace::new("crowd");
    let connect = |number: usize| {
        let [name, ifname] = [format!("crowd{number}"), format!("e{number}")];
        let line = ["network", "connect", NETWORK, &crowd.path(), "--name", &name, "--ifname", &ifname];
        daemon.weft(&line)
    };
    for pid in [daemon.pid(), daemon.dataplane()] {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count();
        limit(pid, open + 24);
        let (last, refusal) = (0..ATTEMPTS)
            .map(|number| (number, connect(number)))
            .find(|(_, outcome)| !outcome.ok())
            .expect("there are no more descriptors");
        refused(&refusal, "descriptors");
        assert_eq!(crowd.links().len(), 1 + last, "nothing of it is left");
        assert_eq!(count(&daemon, &["endpoint", "ls"]), 2 + last);
        talk(&a, &b);
        limit(pid, 1024);
        connect(last).must();
        for number in 0..=last {
            daemon.weft(&["network", "disconnect", NETWORK, &format!("crowd{number}")]).must();
        }
        daemon.weft(&["doctor"]).must();
    }
    let log = daemon.stderr();
    assert!(!log.contains("panicked"), "{log}");
}
