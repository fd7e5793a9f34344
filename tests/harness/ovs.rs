//! Open vSwitch's userspace datapath as a peer: a second implementation of VXLAN that shares no code with the kernel's.
//!
//! It runs inside a host's namespace with a database, sockets and log of its own. Its tunnels leave through a bridge
//! that owns the underlay interface, and that bridge's own port carries the host's address: that is how the userspace
//! datapath finds routes and neighbours. The container's interface is a TAP it made, moved into the container.
//!
//! Its packet sockets read frames of at most the MTU and drop longer ones, and it drops a tunnel packet whose outer
//! checksum is not filled in. So whoever sends to it must do so as on a wire: [`OvsVtep::spare`] says what that means
//! for the sender's interface. That is a limit of this peer, the same towards the kernel's own vxlan.

use crate::cmd::{self, Outcome};
use crate::netns::{self, Namespace};
use crate::underlay::{Host, UPLINK};
use crate::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use tempfile::TempDir;

/// An Open vSwitch VTEP on one host.
#[derive(Debug)]
pub struct OvsVtep<'a> {
    host: &'a Host,
    directory: TempDir,
    mtu: usize,
}

impl<'a> OvsVtep<'a> {
    /// Starts the switch with one tunnel for `vni` to `remote`.
    #[track_caller]
    pub fn new(host: &'a Host, vni: u32, mtu: usize, remote: IpAddr) -> Self {
        let vtep = OvsVtep { host, directory: netns::scratch(), mtu };
        vtep.start();
        vtep.underlay_bridge();
        vtep.tunnel(vni, remote);
        vtep
    }

    /// Takes from the interface that sends towards Open vSwitch the offloads whose results it cannot read.
    #[track_caller]
    pub fn spare(sender: &Host) {
        let off = ["tso", "off", "gso", "off", "tx", "off", "tx-udp-segmentation", "off"];
        sender.ns.exec(&[&["ethtool", "-K", UPLINK], off.as_slice()].concat()).must();
    }

    /// Attaches a container: `eth0` inside is a TAP of the switch, with these addresses (`IP/PREFIX`).
    #[track_caller]
    pub fn attach(&self, port: &str, container: &Namespace, addresses: &[&str]) {
        let request = format!("mtu_request={}", self.mtu);
        self.vsctl(&["add-port", "br-int", port, "--", "set", "interface", port, "type=internal", &request]);
        let outside = &self.host.ns;
        wait::until_true("Open vSwitch makes the container's TAP", || outside.link(port).is_some());
        outside.ip(&["link", "set", port, "netns", container.name(), "name", "eth0"]);
        container.ip(&["link", "set", "eth0", "mtu", &self.mtu.to_string(), "up"]);
        for address in addresses {
            container.ip(&["address", "add", address, "dev", "eth0"]);
        }
    }

    /// What the switch says of its tunnel state, for failure messages.
    pub fn report(&self) -> String {
        let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        format!("{}\n{log}", self.tool("ovs-vsctl", &["show"]).stdout)
    }

    fn start(&self) {
        let here = self.directory.path();
        let database = here.join("conf.db").display().to_string();
        let schema = "/usr/share/openvswitch/vswitch.ovsschema";
        cmd::run("ovsdb-tool", &["create", &database, schema]).must();
        let [listen, pid, log] =
            [("--remote=punix:", "db.sock"), ("--pidfile=", "db.pid"), ("--log-file=", "log")]
                .map(|(option, file)| format!("{option}{}", here.join(file).display()));
        self.tool("ovsdb-server", &[&database, "--detach", "--no-chdir", &listen, &pid, &log]).must();
        self.vsctl_now(&["init"]);
        let [pid, log] = [("--pidfile=", "switch.pid"), ("--log-file=", "log")]
            .map(|(o, f)| format!("{o}{}", here.join(f).display()));
        let remote = self.database();
        self.tool("ovs-vswitchd", &[&remote, "--disable-system", "--detach", "--no-chdir", &pid, &log])
            .must();
    }

    fn underlay_bridge(&self) {
        let ns = &self.host.ns;
        let (mac, address) = (netns::format_mac(ns.mac(UPLINK)), self.host.address);
        self.vsctl(&["add-br", "br-phy", "--", "set", "bridge", "br-phy", "datapath_type=netdev"]);
        let same_mac = format!("other_config:hwaddr=\"{mac}\"");
        self.vsctl(&["set", "bridge", "br-phy", &same_mac, "--", "add-port", "br-phy", UPLINK]);
        let prefix = if address.is_ipv4() { 24 } else { 64 };
        let with_prefix = format!("{address}/{prefix}");
        ns.ip(&["address", "flush", "dev", UPLINK, "scope", "global"]);
        ns.ip(&["link", "set", "br-phy", "up"]);
        let mut line = vec!["address", "add", with_prefix.as_str(), "dev", "br-phy"];
        if address.is_ipv6() {
            line.push("nodad");
        }
        ns.ip(&line);
    }

    fn tunnel(&self, vni: u32, remote: IpAddr) {
        let ends = [
            format!("options:remote_ip=\"{remote}\""),
            format!("options:local_ip=\"{}\"", self.host.address),
            format!("options:key={vni}"),
        ];
        self.vsctl(&["add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev"]);
        let mut line = vec!["add-port", "br-int", "vx0", "--", "set", "interface", "vx0", "type=vxlan"];
        line.extend(ends.iter().map(String::as_str));
        self.vsctl(&line);
    }

    /// Waits until the switch has done it.
    #[track_caller]
    fn vsctl(&self, args: &[&str]) {
        let database = format!("--db={}", self.database());
        self.tool("ovs-vsctl", &[&["--timeout=20", database.as_str()], args].concat()).must();
    }

    /// Only writes it into the database.
    #[track_caller]
    fn vsctl_now(&self, args: &[&str]) {
        self.vsctl(&[&["--no-wait"], args].concat());
    }

    fn database(&self) -> String {
        format!("unix:{}", self.directory.path().join("db.sock").display())
    }

    /// Runs one of its programs in the host's namespace with every default path in our directory.
    #[track_caller]
    fn tool(&self, program: &str, args: &[&str]) -> Outcome {
        let here = self.directory.path().display();
        let variables = ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"].map(|name| format!("{name}={here}"));
        let mut line = vec!["env"];
        line.extend(variables.iter().map(String::as_str));
        line.push(program);
        line.extend(args);
        self.host.ns.exec(&line)
    }
}

impl Drop for OvsVtep<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("Open vSwitch:\n{}", self.report());
        }
        for file in ["switch.pid", "db.pid"] {
            end(&self.directory.path().join(file));
        }
    }
}

/// Ends the daemon that wrote this pid file and waits until it has gone.
fn end(pid_file: &Path) {
    let Some(pid) = fs::read_to_string(pid_file).ok().and_then(|text| text.trim().parse().ok()) else {
        return;
    };
    let pid = Pid::from_raw(pid);
    let _ = kill(pid, Signal::SIGTERM);
    if wait::within(cmd::LIMIT, || kill(pid, None).is_err().then_some(())).is_none() {
        let _ = kill(pid, Signal::SIGKILL);
    }
}
