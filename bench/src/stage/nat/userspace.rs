//! Those that end TCP and UDP in a process on the host: slirp4netns and pasta.

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::{GATEWAY, INSIDE, PORT, SUBNET};
use crate::error::LabError;
use crate::stage::daemon::{Daemon, directory, text};
use crate::stage::netns::Namespace;
use crate::stage::underlay::Host;

/// The address slirp4netns gives the container, the hundredth of its subnet.
pub(super) const SLIRP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);

/// The container's MTU in bytes: nothing of it reaches the wire, and less costs more.
const MTU: &str = "65520";

/// How long slirp4netns may take to answer.
const LIMIT: Duration = Duration::from_secs(10);

/// A process on the host that speaks for one container.
#[derive(Debug)]
pub(in crate::stage) struct Userspace {
    daemon: Daemon,
    /// Removed last.
    _directory: TempDir,
}

impl Userspace {
    /// slirp4netns, the published port added by its API.
    pub(super) fn slirp4netns(host: &Host, inside: &Namespace) -> Result<Self, LabError> {
        let directory = directory()?;
        let socket = directory.path().join("api");
        let mut command = Command::new("slirp4netns");
        command.args(["--configure", "--disable-host-loopback", "--mtu", MTU, "--cidr", SUBNET]);
        command.arg("--api-socket").arg(&socket);
        command.args(["--netns-type", "path", &inside.path(), "eth0"]);
        let started = Self::start(host, inside, command, directory)?;
        publish(&socket)?;
        Ok(started)
    }

    /// pasta, the published port given at its start. It stays root, which it has to be to enter a namespace that root
    /// made.
    pub(super) fn pasta(host: &Host, inside: &Namespace) -> Result<Self, LabError> {
        let mut command = Command::new("pasta");
        command.args(["--foreground", "--quiet", "--config-net", "--ns-ifname", "eth0", "--mtu", MTU]);
        let (address, gateway, port) = (INSIDE.to_string(), GATEWAY.to_string(), PORT.to_string());
        command.args(["-a", &address, "-n", "24", "-g", &gateway, "-4", "--runas", "0"]);
        command.args(["-t", &port, "-u", "none", "-T", "none", "-U", "none"]);
        command.args(["--netns", &inside.path()]);
        Self::start(host, inside, command, directory()?)
    }

    /// Starts it and waits until the container has a default route, the last thing they configure.
    fn start(
        host: &Host,
        inside: &Namespace,
        command: Command,
        directory: TempDir,
    ) -> Result<Self, LabError> {
        let mut daemon = Daemon::start(&host.ns, command, directory.path().join("log"))?;
        let routed =
            || inside.ip(&["route", "show", "default"]).ok().filter(|shown| !shown.trim().is_empty());
        daemon.ready("the container has a default route", routed)?;
        Ok(Self { daemon, _directory: directory })
    }

    /// Its process.
    pub(in crate::stage) fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// What is not as with the others.
    pub(in crate::stage) fn note() -> String {
        format!("MTU {MTU} inside")
    }
}

/// Asks slirp4netns for the published port.
fn publish(socket: &Path) -> Result<(), LabError> {
    let request = format!(
        r#"{{"execute":"add_hostfwd","arguments":{{"proto":"tcp","host_addr":"0.0.0.0","host_port":{PORT},"guest_port":{PORT}}}}}"#
    );
    let ask = || {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(request.as_bytes())?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(LabError::io(format!("reach slirp4netns at {}", text(socket))))?;
    if answer.contains("\"return\"") {
        return Ok(());
    }
    Err(LabError::Refused(format!("slirp4netns does not publish port {PORT}: {}", answer.trim())))
}
