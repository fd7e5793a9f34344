//! Two processes: either may die, and the frames go on.
//!
//! ```text
//! control   the daemon is killed, told to end, told to leave forwarding, or a second one comes
//! packets   the packet process is killed, killed again and again, or stands still; what it may do
//! ```

mod control;
mod packets;

use harness::daemon::{Config, Daemon};
use harness::netns::Namespace;
use harness::traffic::{self, End};
use harness::underlay::{Family, Offloads, Underlay};
use harness::wait;
use harness::wire::{Container, NETWORK};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Two containers on one host and a third on another, each host with a daemon.
struct Rig {
    near: Daemon,
    _far: Daemon,
    a: Container,
    b: Container,
    c: Container,
    underlay: Underlay,
}

impl Rig {
    fn start() -> Self {
        Self::start_with(&[])
    }

    /// The near daemon gets these arguments.
    fn start_with(args: &[&str]) -> Self {
        let underlay = Underlay::new(2, Family::V4, Offloads::On);
        let [host, peer] = underlay.hosts.as_slice() else { panic!("two hosts were made") };
        let directory = harness::netns::scratch();
        Config::new(host.address, &[peer.address]).write(directory.path());
        let near = Daemon::spawn_in(&host.ns, directory, args).ready();
        let far = Daemon::start(&peer.ns, &Config::new(peer.address, &[host.address]));
        for daemon in [&near, &far] {
            create(daemon);
        }
        let [a, b] = [11, 12].map(|number| Container::connect(&near, NETWORK, number, &[]));
        let c = Container::connect(&far, NETWORK, 13, &[]);
        let rig = Rig { near, _far: far, a, b, c, underlay };
        traffic::ping(end(&rig.a), end(&rig.b));
        traffic::ping(end(&rig.a), end(&rig.c));
        rig
    }

    fn host(&self) -> &Namespace {
        &self.underlay.hosts[0].ns
    }
}

fn create(daemon: &Daemon) {
    let line = ["network", "create", NETWORK, "-d", "overlay", "--subnet", "10.77.0.0/24", "--vni", "7001"];
    daemon.weft(&line).must();
}

fn end(container: &Container) -> End<'_> {
    End { ns: &container.ns, ip: container.station.ip.into() }
}

#[track_caller]
fn kill_and_wait(pid: Pid) {
    kill(pid, Signal::SIGKILL).expect("it runs");
    wait::until_true("the process is gone", || is_gone(pid));
}

/// Also true for one that nobody has waited for.
fn is_gone(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.is_empty() || status.contains("State:\tZ")
}

/// Pings that go on for a while: 500 within 5 s.
struct Pings {
    child: Child,
    output: tempfile::NamedTempFile,
}

impl Pings {
    const COUNT: u32 = 500;

    /// From `from` to `to`; the first has been answered.
    #[track_caller]
    fn start(from: &Container, to: &Container) -> Self {
        let output = tempfile::NamedTempFile::new().expect("a file");
        let file = File::create(output.path()).expect("our own file");
        let (count, target) = (Self::COUNT.to_string(), to.station.ip.to_string());
        let child = Command::new("/sbin/ip")
            .args([
                "netns",
                "exec",
                from.ns.name(),
                "ping",
                "-n",
                "-i",
                "0.01",
                "-c",
                &count,
                "-W",
                "5",
                &target,
            ])
            .stdin(Stdio::null())
            .stdout(file)
            .spawn()
            .expect("ip is installed");
        let pings = Pings { child, output };
        wait::until_true("the first ping is answered", || pings.said().contains("icmp_seq=1 "));
        pings
    }

    fn said(&self) -> String {
        fs::read_to_string(self.output.path()).unwrap_or_default()
    }

    /// How many of the 500 were not answered.
    #[track_caller]
    fn lost(&mut self) -> u32 {
        wait::until("the pings end", || self.child.try_wait().expect("our child"));
        let said = self.said();
        let answered = said.lines().filter(|line| line.contains("icmp_seq=")).count() as u32;
        Self::COUNT - answered
    }
}

impl Drop for Pings {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the kernel says about a container's interface, from start to end.
struct LinkWatch<'a> {
    container: &'a Container,
    child: Child,
    output: tempfile::NamedTempFile,
}

impl<'a> LinkWatch<'a> {
    fn start(container: &'a Container) -> Self {
        let output = tempfile::NamedTempFile::new().expect("a file");
        let file = File::create(output.path()).expect("our own file");
        let child = Command::new("/sbin/ip")
            .args(["-n", container.ns.name(), "-details", "monitor", "link"])
            .stdin(Stdio::null())
            .stdout(file)
            .spawn()
            .expect("ip is installed");
        let watch = LinkWatch { container, child, output };
        watch.mark("begin");
        watch
    }

    /// Makes the kernel say something, until it is heard.
    #[track_caller]
    fn mark(&self, word: &str) {
        wait::until_true(&format!("the mark {word} is heard"), || {
            self.container.ns.ip(&["link", "set", "eth0", "alias", word]);
            self.said().contains(&format!("alias {word}"))
        });
    }

    fn said(&self) -> String {
        fs::read_to_string(self.output.path()).unwrap_or_default()
    }

    /// The interface has been there and had its carrier all the time.
    #[track_caller]
    fn never_went_down(&self) {
        self.mark("end");
        let said = self.said();
        for word in ["NO-CARRIER", "state DOWN", "Deleted"] {
            assert!(!said.contains(word), "{word}:\n{said}");
        }
    }
}

impl Drop for LinkWatch<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sockets_in(run_dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(run_dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
