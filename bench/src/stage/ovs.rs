//! Open vSwitch's userspace (netdev) datapath: the peer that, like Weft, switches in a process.
//!
//! It runs inside the host's namespace with a database, sockets and logs of its own. Its tunnel leaves through a bridge
//! that owns the underlay interface and carries the host's address: that is how the userspace datapath finds routes and
//! neighbours. The container's interface is a TAP it made, moved into the container.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::command::{finish, require};
use super::daemon::{Daemon, directory, text};
use super::underlay::{Host, INNER_MTU, UPLINK};
use super::{Container, VNI, kernel};
use crate::error::LabError;
use crate::interrupt::wait_until;

/// Where Debian's package keeps the database's schema.
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// How long one of its tools may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A switch on one host with one container. Fields drop in order: the switch goes before its database.
#[derive(Debug)]
pub(super) struct Ovs {
    daemons: Vec<Daemon>,
    directory: TempDir,
}

/// Makes sure that it is installed.
///
/// # Errors
/// [`LabError::Missing`].
pub(crate) fn prepare(install: bool) -> Result<(), LabError> {
    require("ovs-vswitchd", "openvswitch-switch", install)
}

impl Ovs {
    /// Starts a switch on `host` and attaches the container.
    pub(super) fn join(host: &Host, container: &Container, peer: Ipv4Addr) -> Result<Self, LabError> {
        let mut ovs = Self { daemons: Vec::new(), directory: directory()? };
        ovs.start(host)?;
        ovs.underlay_bridge(host)?;
        ovs.tunnel(host, peer)?;
        ovs.attach(host, container)?;
        Ok(ovs)
    }

    /// Its processes.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.daemons.iter().map(Daemon::pid).collect()
    }

    fn start(&mut self, host: &Host) -> Result<(), LabError> {
        let file = |name: &str| self.directory.path().join(name);
        let database = text(&file("conf.db"));
        finish(self.tool("ovsdb-tool", &["create", &database, SCHEMA]), LIMIT)?;
        let listen = format!("--remote=punix:{}", text(&file("db.sock")));
        let server = self.tool("ovsdb-server", &[&database, "--no-chdir", &listen]);
        let mut server = Daemon::start(&host.ns, server, file("db.log"))?;
        server.ready("the database listens", || file("db.sock").exists().then_some(()))?;
        let switch = self.tool("ovs-vswitchd", &[&self.socket(), "--disable-system", "--no-chdir"]);
        self.vsctl(&["--no-wait", "init"])?;
        let switch = Daemon::start(&host.ns, switch, file("switch.log"))?;
        self.daemons = vec![switch, server];
        Ok(())
    }

    fn underlay_bridge(&self, host: &Host) -> Result<(), LabError> {
        let mac = hardware_address(host)?;
        self.vsctl(&["add-br", "br-phy", "--", "set", "bridge", "br-phy", "datapath_type=netdev"])?;
        let same_mac = format!("other_config:hwaddr=\"{mac}\"");
        self.vsctl(&["set", "bridge", "br-phy", &same_mac, "--", "add-port", "br-phy", UPLINK])?;
        host.ns.ip(&["address", "flush", "dev", UPLINK, "scope", "global"])?;
        host.ns.ip(&["link", "set", "br-phy", "up"])?;
        let address = format!("{}/24", host.address);
        host.ns.ip(&["address", "add", &address, "dev", "br-phy"]).map(drop)
    }

    fn tunnel(&self, host: &Host, peer: Ipv4Addr) -> Result<(), LabError> {
        self.vsctl(&["add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev"])?;
        let ends = [
            format!("options:remote_ip=\"{peer}\""),
            format!("options:local_ip=\"{}\"", host.address),
            format!("options:key={VNI}"),
        ];
        let port = ["add-port", "br-int", "vx0", "--", "set", "interface", "vx0", "type=vxlan"];
        self.vsctl(&[port.as_slice(), &ends.each_ref().map(String::as_str)].concat())
    }

    fn attach(&self, host: &Host, container: &Container) -> Result<(), LabError> {
        let mtu = format!("mtu_request={INNER_MTU}");
        self.vsctl(&["add-port", "br-int", "c0", "--", "set", "interface", "c0", "type=internal", &mtu])?;
        let made = || Ok(host.ns.ip(&["link", "show", "dev", "c0"]).is_ok().then_some(()));
        wait_until("Open vSwitch makes the container's TAP", LIMIT, made)?;
        host.ns.ip(&["link", "set", "c0", "netns", container.ns.name(), "name", "eth0"])?;
        kernel::address(&container.ns, container.address)
    }

    /// Runs ovs-vsctl, which waits until the switch has done it.
    fn vsctl(&self, args: &[&str]) -> Result<(), LabError> {
        let database = format!("--db={}", self.socket());
        finish(self.tool("ovs-vsctl", &[&["--timeout=20", database.as_str()], args].concat()), LIMIT)
            .map(drop)
    }

    fn socket(&self) -> String {
        format!("unix:{}", self.directory.path().join("db.sock").display())
    }

    /// One of its programs with every default path in our directory.
    fn tool(&self, program: &str, args: &[&str]) -> Command {
        let here = self.directory.path();
        let mut command = Command::new(program);
        command.args(args).envs(["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"].map(|name| (name, here)));
        command
    }
}

fn hardware_address(host: &Host) -> Result<String, LabError> {
    let shown = host.ns.ip(&["-json", "link", "show", "dev", UPLINK])?;
    let links: Value = serde_json::from_str(&shown).unwrap_or_default();
    let address = links[0]["address"].as_str().map(str::to_owned);
    address.ok_or_else(|| LabError::Command { line: "ip -json link show".into(), said: shown })
}
