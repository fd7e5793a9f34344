//! The scene of every requirement.
//!
//! ```text
//!  containers 10.88.0.N, fd88::N --[subject]-- host 172.31.77.1 ===u0==u0=== server .2 and .3; ghosts .66 and .67
//! ```
//!
//! The subject, the kernel or the product, stands in the host's namespace. The server is a real machine with two
//! addresses and two ports each. The ghosts are addresses that the server's kernel knows nothing of: what is sent to them
//! is read from the wire, and what they say is written there, byte by byte. The same holds for a container once it is
//! [`silent`](crate::ends::Container::silence): then both ends of a conversation are the test's own.

use crate::ends::{Container, Craft};
use crate::kernel::Kernel;
use crate::outcome::{Miss, OrBreaks, Outcome};
use crate::packet::Packet;
use crate::sockets::Udp;
use crate::weft::Weft;
use harness::daemon::Daemon;
use harness::frame::{self, Mac};
use harness::netns::{self, Namespace, format_mac};
use harness::raw::RawSocket;
use harness::underlay::{Family, Offloads, UPLINK, Underlay};
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::os::unix::fs::symlink;
use std::time::Duration;

/// The host's address outside.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(172, 31, 77, 1);
/// The server's two.
pub(crate) const SERVERS: [Ipv4Addr; 2] = [Ipv4Addr::new(172, 31, 77, 2), Ipv4Addr::new(172, 31, 77, 3)];
/// Two machines that are only played.
pub(crate) const GHOST: Ipv4Addr = Ipv4Addr::new(172, 31, 77, 66);
pub(crate) const STRANGER: Ipv4Addr = Ipv4Addr::new(172, 31, 77, 67);
pub(crate) const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 1);
pub(crate) const SERVER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 2);
/// The ports a server listens on, TCP and UDP, on each address.
pub(crate) const PORTS: [u16; 2] = [7001, 7002];

pub(crate) const SUBNET: &str = "10.88.0.0/24";
pub(crate) const SUBNET6: &str = "fd88::/64";
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);
pub(crate) const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfd88, 0, 0, 0, 0, 0, 0, 1);

/// A container's addresses.
pub(crate) fn inside(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 88, 0, number)
}

pub(crate) fn inside6(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd88, 0, 0, 0, 0, 0, 0, u16::from(number))
}

/// Who translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Weft,
    Kernel,
}

/// A port of the host that leads to one of a container.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publish {
    pub(crate) outside: u16,
    pub(crate) inside: u16,
    /// `tcp` or `udp`.
    pub(crate) protocol: &'static str,
}

impl Publish {
    pub(crate) const fn tcp(outside: u16, inside: u16) -> Self {
        Publish { outside, inside, protocol: "tcp" }
    }

    pub(crate) const fn udp(outside: u16, inside: u16) -> Self {
        Publish { outside, inside, protocol: "udp" }
    }

    /// As the command line has it.
    pub(crate) fn text(&self) -> String {
        format!("{}:{}/{}", self.outside, self.inside, self.protocol)
    }
}

/// Something that translates for containers.
pub(crate) trait Subject {
    /// Gives a namespace `eth0` with [`inside`] and [`inside6`] of `number`, and publishes ports of it.
    fn connect(&self, host: &Namespace, ns: &Namespace, number: u8, publish: &[Publish]);

    /// Takes it away again.
    fn disconnect(&self, host: &Namespace, number: u8);

    /// The hardware address of the containers' first hop.
    fn gateway_mac(&self, host: &Namespace) -> Mac;

    /// The product, if it is the product.
    fn daemon(&self) -> Option<&Daemon> {
        None
    }
}

/// What is not as usual.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup<'a> {
    /// More arguments of `weft network create`; with any, the kernel is not asked.
    pub(crate) options: &'a [&'a str],
    /// Lines of the daemon's configuration, put before every table; with any, the kernel is not asked.
    pub(crate) config: &'a str,
    /// The MTU of the host's side of the uplink.
    pub(crate) mtu: Option<u16>,
    /// One keeps the order in which packets of different flows come; the product chooses when absent.
    pub(crate) workers: Option<u8>,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Setup { options: &[], config: "", mtu: None, workers: Some(1) }
    }
}

thread_local! {
    /// What the daemon of this test's last lab had to say.
    static LAST_WORDS: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What the daemon of this test's last lab had to say at its end.
pub(crate) fn last_words() -> String {
    LAST_WORDS.take()
}

/// A subject, its host and a server.
pub(crate) struct Lab {
    pub(crate) kind: Kind,
    subject: Box<dyn Subject>,
    /// Last, because fields drop in order.
    pub(crate) underlay: Underlay,
}

impl Lab {
    pub(crate) fn new(kind: Kind) -> Outcome<Self> {
        Self::with(kind, Setup::default())
    }

    pub(crate) fn with(kind: Kind, setup: Setup<'_>) -> Outcome<Self> {
        if kind == Kind::Kernel && !(setup.options.is_empty() && setup.config.is_empty()) {
            return Err(Miss::NotApplicable("a setting of Weft's"));
        }
        let underlay = Underlay::new(2, Family::V4, Offloads::On);
        let [host, server] = underlay.hosts.as_slice() else { panic!("two hosts were made") };
        underlay.also(1, 3);
        for (ns, address) in [(&host.ns, HOST6), (&server.ns, SERVER6)] {
            ns.ip(&["address", "add", &format!("{address}/64"), "dev", UPLINK, "nodad"]);
        }
        let mac = format_mac(server.ns.mac(UPLINK));
        for ghost in [GHOST, STRANGER] {
            let line =
                ["neighbor", "add", &ghost.to_string(), "lladdr", &mac, "dev", UPLINK, "nud", "permanent"];
            host.ns.ip(&line);
        }
        host.ns.ip(&["route", "add", "default", "via", &SERVERS[0].to_string()]);
        host.ns.ip(&["-6", "route", "add", "default", "via", &SERVER6.to_string()]);
        if let Some(mtu) = setup.mtu {
            host.ns.ip(&["link", "set", UPLINK, "mtu", &mtu.to_string()]);
        }
        // A new namespace may have it from the machine.
        host.ns.sysctl("ipv4/ip_forward", "0");
        let subject: Box<dyn Subject> = match kind {
            Kind::Weft => Box::new(Weft::new(&host.ns, &setup)),
            Kind::Kernel => Box::new(Kernel::new(&host.ns)),
        };
        Ok(Lab { kind, subject, underlay })
    }

    /// The product; what follows is not asked of the kernel.
    pub(crate) fn weft(&self) -> Outcome<&Daemon> {
        self.subject.daemon().ok_or(Miss::NotApplicable("a feature of Weft's"))
    }

    /// The next daemon in the place of one that has been killed; what the lab asks, it asks the new one.
    pub(crate) fn successor(&self) -> Outcome<Daemon> {
        let former = self.weft()?.directory();
        let directory = netns::scratch();
        std::fs::copy(former.join("config.toml"), directory.path().join("config.toml"))
            .expect("files of ours");
        // Its socket is where the configuration says, which is the former's.
        symlink(former.join("run"), directory.path().join("run")).expect("a directory of ours");
        Ok(Daemon::spawn_in(self.host(), directory, &[]).ready())
    }

    pub(crate) fn host(&self) -> &Namespace {
        &self.underlay.hosts[0].ns
    }

    pub(crate) fn server(&self) -> &Namespace {
        &self.underlay.hosts[1].ns
    }

    /// A new container.
    pub(crate) fn container(&self, number: u8) -> Container {
        self.publishing(number, &[])
    }

    /// A new container with published ports.
    pub(crate) fn publishing(&self, number: u8, publish: &[Publish]) -> Container {
        let ns = Namespace::new(&format!("c{number}"));
        ns.sysctl("ipv6/conf/default/router_solicitations", "0");
        self.subject.connect(self.host(), &ns, number, publish);
        let gateway = self.subject.gateway_mac(self.host());
        Container { ip: inside(number), ip6: inside6(number), gateway, patience: self.patience(), ns }
    }

    pub(crate) fn disconnect(&self, number: u8) {
        self.subject.disconnect(self.host(), number);
    }

    pub(crate) fn gateway_mac(&self) -> Mac {
        self.subject.gateway_mac(self.host())
    }

    /// How long something is awaited that has to come. The product may be slow on a busy machine; the kernel is
    /// expected to break some requirements, and nobody wants to wait for that.
    pub(crate) fn patience(&self) -> Duration {
        match self.kind {
            Kind::Weft => Duration::from_secs(10),
            Kind::Kernel => Duration::from_secs(2),
        }
    }

    /// A UDP socket of a container.
    pub(crate) fn udp(&self, container: &Container, port: u16) -> Udp {
        Udp::bind(&container.ns, (container.ip, port).into(), self.patience())
    }

    /// A UDP socket of the server.
    pub(crate) fn server_udp(&self, to: SocketAddr) -> Udp {
        Udp::bind(self.server(), to, self.patience())
    }

    /// The server's four: two addresses, and two ports on each.
    pub(crate) fn servers(&self) -> [Udp; 4] {
        places().map(|place| self.server_udp(place))
    }

    /// The outside address a container's datagrams to this server socket come from, seen by one that was answered.
    pub(crate) fn seen(&self, client: &Udp, server: &Udp) -> Outcome<SocketAddr> {
        let (question, answer) = (frame::cookie("question"), frame::cookie("answer"));
        client.send(server.address(), &question)?;
        let seen = server.awaits(&question)?;
        server.send(seen, &answer)?;
        let from = client.awaits(&answer)?;
        crate::outcome::hold!(
            from == server.address(),
            "the answer of {} came from {from}",
            server.address()
        );
        Ok(seen)
    }

    /// What the uplink's far end can read and write byte by byte.
    pub(crate) fn ghost(&self) -> Craft {
        let (host, server) = (self.host().mac(UPLINK), self.server().mac(UPLINK));
        Craft { raw: RawSocket::open(self.server(), UPLINK), macs: (server, host), patience: self.patience() }
    }

    /// A silent container's mapping for a UDP port: opened by a datagram to `to`, read from the wire.
    pub(crate) fn opened(
        &self,
        inside: &Craft,
        outside: &Craft,
        from: SocketAddrV4,
        to: SocketAddrV4,
    ) -> Outcome<SocketAddrV4> {
        let mark = frame::cookie("opens");
        inside.send(&Packet::udp(from, to, &mark));
        let packet = outside.awaits(&mark)?;
        Ok(packet.flow().or_breaks("a datagram came out as something else")?.0)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let Some(daemon) = self.subject.daemon() else { return };
        let shown = [["stats"].as_slice(), &["nat", "show"]].map(|line| daemon.weft(line).stdout);
        LAST_WORDS.set(format!("{}\n{}", daemon.stderr(), shown.concat()));
    }
}

/// The server's addresses and ports: same address other port, other address same port, both.
pub(crate) fn places() -> [SocketAddr; 4] {
    let [a, b] = SERVERS.map(IpAddr::from);
    [(a, PORTS[0]), (a, PORTS[1]), (b, PORTS[0]), (b, PORTS[1])].map(SocketAddr::from)
}

/// The IPv4 address and port of a socket address.
pub(crate) fn v4(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(_) => panic!("{address} is not IPv4"),
    }
}
