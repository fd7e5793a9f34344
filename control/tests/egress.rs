//! What is told to a dataplane about the way out of real namespaces. Needs root; elsewhere each test says that it was
//! skipped.
#![allow(clippy::unwrap_used, reason = "a test's helpers are tests too")]

mod support;

use std::net::{IpAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ipnet::IpNet;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::LinkAttribute;
use netlink_packet_route::route::{RouteMessage, RouteType};
use rtnetlink::{LinkUnspec, RouteMessageBuilder};
use tokio::sync::Notify;
use tokio::time::timeout;
use weft::egress::{Door, Handle, Plan, Want};
use weft::sandbox::topology::{VethEnd, veth_pair};
use weft::sandbox::{Link, Netns};
use weft_dataplane::gateway::{Egress, EgressSpec, Hop, LinkId};
use weft_dataplane::io::PacketIo;
use weft_dataplane::io::link::LinkSockets;
use weft_dataplane::io::packet::PacketSocket;
use weft_dataplane::io::reserve::{Reserved, Transport};
use weft_dataplane::wire::{MacAddr, protocol};

use support::{rtnetlink_in, skipped};

/// Nothing that is waited for takes this long.
const PATIENCE: Duration = Duration::from_secs(20);
const OUTSIDE: &str = "203.0.113.9";
const OUTSIDE6: &str = "2001:db8:f::9";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// A dataplane that only remembers.
#[derive(Default)]
struct Fake {
    told: Mutex<Told>,
    news: Notify,
}

type Lent = (IpAddr, Transport, Vec<(u16, Reserved)>);

#[derive(Default)]
struct Told {
    egress: Egress,
    spec: EgressSpec,
    sockets: Vec<(LinkId, LinkSockets)>,
    lent: Vec<Lent>,
    wants: Vec<Want>,
    missing: Vec<(LinkId, IpAddr)>,
    /// Told again and again.
    used: Vec<(LinkId, IpAddr)>,
}

impl Fake {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap()
    }

    fn tell(&self, what: impl FnOnce(&mut Told)) {
        what(&mut self.told());
        self.news.notify_one();
    }

    /// Waits until what was told is as `wanted` has it, and gives what that finds.
    async fn until<T>(&self, what: &str, wanted: impl Fn(&Told) -> Option<T>) -> T {
        let found = timeout(PATIENCE, async {
            loop {
                let news = self.news.notified();
                if let Some(found) = wanted(&self.told()) {
                    return found;
                }
                news.await;
            }
        });
        found.await.unwrap_or_else(|_| panic!("{what}; there is {:?}", self.told().spec))
    }

    /// Waits for a way to `to` that is as `wanted` has it.
    async fn hop(&self, to: &str, wanted: impl Fn(&Hop) -> bool) -> Hop {
        self.until(to, |told| told.egress.lookup(ip(to)).filter(&wanted)).await
    }

    async fn no_hop(&self, to: &str) {
        self.until(to, |told| told.egress.lookup(ip(to)).is_none().then_some(())).await;
    }
}

impl Door for Fake {
    fn is_closed(&self) -> bool {
        false
    }

    fn links(&self) -> Vec<(LinkId, PacketSocket)> {
        let told = self.told();
        told.sockets.iter().map(|(id, sockets)| (*id, sockets.packets.try_clone().unwrap())).collect()
    }

    fn set_egress(&self, spec: EgressSpec, opened: Vec<(LinkId, LinkSockets)>) {
        self.tell(|told| {
            told.egress = Egress::build(&spec).unwrap();
            told.sockets.retain(|(id, _)| spec.links.iter().any(|link| link.id == *id));
            told.sockets.extend(opened);
            told.lent.retain(|(address, ..)| told.egress.has(*address));
            let has_socket = |id| told.sockets.iter().any(|(open, _)| *open == id);
            assert!(spec.links.iter().all(|link| has_socket(link.id)), "every link has a socket");
            told.spec = spec;
        });
    }

    fn lend(&self, address: IpAddr, transport: Transport, ports: Vec<(u16, Reserved)>) {
        self.tell(|told| told.lent.push((address, transport, ports)));
    }

    fn take_wants(&self) -> Vec<Want> {
        std::mem::take(&mut self.told().wants)
    }

    fn take_used(&self) -> Vec<(LinkId, IpAddr)> {
        self.told().used.clone()
    }

    fn take_missing(&self) -> Vec<(LinkId, IpAddr)> {
        std::mem::take(&mut self.told().missing)
    }
}

/// A host with two wires.
struct Lab {
    host: Netns,
    link: Link,
    netlink: rtnetlink::Handle,
    /// The other ends of `a` and `b`.
    routers: [Netns; 2],
}

const WIRES: [(&str, [&str; 2], [&str; 2]); 2] = [
    ("a", ["192.0.2.1/24", "192.0.2.2/24"], ["2001:db8:a::1/64", "2001:db8:a::2/64"]),
    ("b", ["198.51.100.1/24", "198.51.100.2/24"], ["2001:db8:b::1/64", "2001:db8:b::2/64"]),
];

impl Lab {
    async fn new() -> Self {
        let host = Netns::nameless().unwrap();
        let routers = [Netns::nameless().unwrap(), Netns::nameless().unwrap()];
        let (link, netlink) = (host.link().unwrap(), rtnetlink_in(&host));
        let lab = Self { host, link, netlink, routers };
        lab.link.up(lab.link.index_of("lo").await.unwrap()).await.unwrap();
        for wire in 0..WIRES.len() {
            lab.lay(wire).await;
        }
        lab
    }

    /// Makes one of the wires, up and with addresses of both kinds.
    async fn lay(&self, wire: usize) {
        let (ifname, v4, v6) = WIRES[wire];
        let ends = [&self.host, &self.routers[wire]].map(|netns| VethEnd { netns, ifname });
        veth_pair(&self.link, ends[0], ends[1], 1400).await.unwrap();
        for (side, netns) in [&self.routers[wire], &self.host].into_iter().enumerate().rev() {
            let link = netns.link().unwrap();
            let index = link.index_of(ifname).await.unwrap();
            link.up(index).await.unwrap();
            for addresses in [v4, v6] {
                link.add_address(index, net(addresses[1 - side])).await.unwrap();
            }
        }
    }

    async fn index(&self, ifname: &str) -> u32 {
        self.link.index_of(ifname).await.unwrap()
    }

    async fn mac_of_router(&self, wire: usize) -> MacAddr {
        let message = self.routers[wire].link().unwrap().get_link(WIRES[wire].0).await.unwrap().unwrap();
        let mac = message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok(),
            _ => None,
        });
        MacAddr(mac.unwrap())
    }

    /// Adds a route, in place of one to the same prefix with the same metric.
    async fn route(&self, message: RouteMessage) {
        self.netlink.route().add(message).replace().execute().await.unwrap();
    }

    async fn follow(&self, interface: Option<&str>) -> (Arc<Fake>, Handle) {
        let fake = Arc::new(Fake::default());
        let handle = self.follow_for(&fake, interface, 7).await;
        (fake, handle)
    }

    /// Follows for a dataplane that may have links from before.
    async fn follow_for(&self, fake: &Arc<Fake>, interface: Option<&str>, seed: u64) -> Handle {
        let interface = interface.map(|name| weft::model::IfName::new(name).unwrap());
        let plan = Plan { interface, seed };
        let netns = self.host.run(|| Netns::current().unwrap()).unwrap();
        weft::egress::start(plan, netns, fake).await
    }
}

/// `hi` from 198.51.100.1 to port 7 of [`OUTSIDE`]. The kernel does the IPv4 checksum, UDP's is not used.
fn datagram() -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 30, 0, 0, 0, 0, 64, protocol::UDP, 0, 0, 198, 51, 100, 1];
    packet.extend([203, 0, 113, 9, 0xee, 0x48, 0, 7, 0, 10, 0, 0]);
    packet.extend(b"hi");
    packet
}

/// A route to `to` by way of `via`.
fn route(to: &str, via: &str) -> RouteMessageBuilder<IpAddr> {
    let to = net(to);
    let builder =
        RouteMessageBuilder::<IpAddr>::new().destination_prefix(to.addr(), to.prefix_len()).unwrap();
    builder.gateway(ip(via)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_route_is_followed_from_link_to_link() {
    if skipped() {
        return;
    }
    let lab = Lab::new().await;
    let (fake, _handle) = lab.follow(None).await;
    fake.hop("192.0.2.77", |hop| hop.next == ip("192.0.2.77") && hop.source == ip("192.0.2.1")).await;
    fake.no_hop(OUTSIDE).await;
    lab.route(route("0.0.0.0/0", "192.0.2.2").priority(5).build()).await;
    lab.route(route("::/0", "2001:db8:a::2").build()).await;
    let first = fake.hop(OUTSIDE, |hop| hop.next == ip("192.0.2.2")).await;
    assert_eq!((first.source, first.mtu), (ip("192.0.2.1"), 1400));
    let six = fake.hop(OUTSIDE6, |hop| hop.next == ip("2001:db8:a::2")).await;
    assert_eq!((six.source, six.link), (ip("2001:db8:a::1"), first.link));

    lab.route(route("0.0.0.0/0", "198.51.100.2").priority(4).build()).await;
    let second = fake.hop(OUTSIDE, |hop| hop.next == ip("198.51.100.2")).await;
    assert_eq!(second.source, ip("198.51.100.1"), "the smaller metric wins");
    assert_ne!(second.link, first.link);
    lab.netlink.route().del(route("0.0.0.0/0", "198.51.100.2").priority(4).build()).execute().await.unwrap();
    fake.hop(OUTSIDE, |hop| hop.link == first.link).await;

    let refused = RouteMessageBuilder::<IpAddr>::new().destination_prefix(ip("203.0.113.0"), 24).unwrap();
    lab.route(refused.kind(RouteType::Prohibit).build()).await;
    fake.no_hop(OUTSIDE).await;
    fake.hop("203.0.112.1", |hop| hop.link == first.link).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_come_and_go_and_a_route_may_name_one() {
    if skipped() {
        return;
    }
    let lab = Lab::new().await;
    lab.route(route("0.0.0.0/0", "192.0.2.2").build()).await;
    let (fake, _handle) = lab.follow(None).await;
    let first = fake.hop(OUTSIDE, |hop| hop.source == ip("192.0.2.1")).await;
    let (a, lo) = (lab.index("a").await, lab.index("lo").await);
    lab.link.add_address(a, net("192.0.2.7/24")).await.unwrap();
    lab.link.add_address(lo, net("198.18.0.1/32")).await.unwrap();
    fake.until("both are own", |told| told.egress.is_own(ip("198.18.0.1")).then_some(())).await;
    fake.hop(OUTSIDE, |hop| hop.source == ip("192.0.2.1")).await;
    assert!(fake.told().egress.is_outside(ip("192.0.2.7")), "it may be used, too");
    assert!(!fake.told().egress.is_outside(ip("198.18.0.1")), "no route leaves with it");
    assert!(fake.told().egress.is_own(ip("127.0.0.1")));

    let by_name = route("203.0.113.0/24", "192.0.2.2").pref_source(ip("198.18.0.1")).unwrap().build();
    lab.route(by_name).await;
    fake.hop(OUTSIDE, |hop| hop.source == ip("198.18.0.1")).await;
    assert!(fake.told().egress.is_outside(ip("198.18.0.1")));
    fake.hop("203.0.112.1", |hop| hop.source == ip("192.0.2.1")).await;

    // The kernel makes the secondary address the primary one, or removes it and the routes, too.
    lab.host.run(|| std::fs::write("/proc/sys/net/ipv4/conf/a/promote_secondaries", "1").unwrap()).unwrap();
    for message in lab.link.addresses().await.unwrap() {
        if message.attributes.contains(&AddressAttribute::Local(ip("192.0.2.1"))) {
            lab.netlink.address().del(message).execute().await.unwrap();
        }
    }
    lab.route(route("0.0.0.0/0", "192.0.2.2").build()).await;
    let last = fake.hop("203.0.112.1", |hop| hop.source == ip("192.0.2.7")).await;
    assert_eq!(last.link, first.link);
    assert!(!fake.told().egress.is_own(ip("192.0.2.1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_neighbor_is_found_when_it_is_missed_and_a_router_without_being_missed() {
    if skipped() {
        return;
    }
    let lab = Lab::new().await;
    lab.route(route("0.0.0.0/0", "192.0.2.2").build()).await;
    let (fake, handle) = lab.follow(None).await;
    let router = lab.mac_of_router(0).await;
    fake.hop(OUTSIDE, |hop| hop.mac == Some(router)).await;
    let hop = fake.hop("198.51.100.2", |_| true).await;
    assert_eq!(hop.mac, None, "nobody has asked for it");
    fake.tell(|told| told.missing.push((hop.link, hop.next)));
    handle.nudge();
    let mac = lab.mac_of_router(1).await;
    fake.hop("198.51.100.2", |hop| hop.mac == Some(mac)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_neighbor_in_use_that_moves_to_another_mac_is_found_again() {
    if skipped() {
        return;
    }
    let lab = Lab::new().await;
    lab.route(route("0.0.0.0/0", "192.0.2.2").build()).await;
    let (fake, _handle) = lab.follow(None).await;
    let former = lab.mac_of_router(0).await;
    let hop = fake.hop(OUTSIDE, |hop| hop.mac == Some(former)).await;
    fake.tell(|told| told.used.push((hop.link, hop.next)));
    let link = lab.routers[0].link().unwrap();
    let index = link.index_of("a").await.unwrap();
    let mac = MacAddr([2, 0, 0, 0, 0, 7]);
    let message = LinkUnspec::new_with_index(index).address(mac.0.to_vec()).build();
    // Nobody is told: it is down while it changes, and silent when it comes up.
    let quiet = || std::fs::write("/proc/sys/net/ipv4/conf/a/arp_notify", "0").unwrap();
    lab.routers[0].run(quiet).unwrap();
    link.set(|| "change the router's MAC".into(), message).await.unwrap();
    fake.hop(OUTSIDE, |hop| hop.mac.is_none()).await;
    // What is sent raw then makes the kernel look for it.
    fake.tell(|told| told.missing.push((hop.link, hop.next)));
    fake.hop(OUTSIDE, |hop| hop.mac == Some(mac)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_comes_back_is_another_one() {
    if skipped() {
        return;
    }
    let lab = Lab::new().await;
    let (fake, _handle) = lab.follow(None).await;
    let first = fake.hop("192.0.2.77", |_| true).await;
    let other = fake.hop("198.51.100.77", |_| true).await;
    lab.netlink.link().del(lab.index("a").await).execute().await.unwrap();
    fake.no_hop("192.0.2.77").await;
    assert!(fake.told().sockets.iter().all(|(id, _)| *id != first.link));
    lab.lay(0).await;
    let second = fake.hop("192.0.2.77", |_| true).await;
    assert_ne!(second.link, first.link);
    let told = fake.told();
    let (_, opened) = told.sockets.iter().find(|(id, _)| *id == second.link).unwrap();
    assert!(opened.packets.interface().is_some(), "its socket is a new one");
    assert_eq!(told.egress.lookup(ip("198.51.100.77")).unwrap().link, other.link, "the other has stayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_an_earlier_daemon_has_opened_stay_open() {
    if skipped() {
        return;
    }
    let lab = Lab::new().await;
    let (former, _handle) = lab.follow(None).await;
    let first = former.hop("192.0.2.77", |_| true).await;
    let next = Arc::new(Fake::default());
    let sockets = |(id, sockets): &(LinkId, LinkSockets)| (*id, sockets.try_clone().unwrap());
    let adopted = former.told().sockets.iter().map(sockets).collect();
    next.tell(|told| told.sockets = adopted);
    drop(former);
    let _handle = lab.follow_for(&next, None, 70_000).await;
    assert_eq!(next.hop("192.0.2.77", |_| true).await.link, first.link);
    assert_eq!(next.told().sockets.len(), 2, "none is opened anew");
    lab.netlink.link().del(lab.index("a").await).execute().await.unwrap();
    next.no_hop("192.0.2.77").await;
    lab.lay(0).await;
    let again = next.hop("192.0.2.77", |_| true).await;
    assert_ne!(again.link, first.link);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_interface_named_the_others_do_not_count() {
    if skipped() {
        return;
    }
    let lab = Lab::new().await;
    lab.route(route("0.0.0.0/0", "192.0.2.2").priority(1).build()).await;
    lab.route(route("0.0.0.0/0", "198.51.100.2").priority(2).build()).await;
    let (fake, _handle) = lab.follow(Some("b")).await;
    let hop = fake.hop(OUTSIDE, |hop| hop.next == ip("198.51.100.2")).await;
    fake.hop("192.0.2.77", |direct| direct.next == hop.next).await;
    assert_eq!(fake.told().spec.links.len(), 1);

    // Nor do they for what the kernel routes.
    let router = &lab.routers[1];
    let loopback = router.link().unwrap();
    loopback.up(loopback.index_of("lo").await.unwrap()).await.unwrap();
    loopback.add_address(1, net(&format!("{OUTSIDE}/32"))).await.unwrap();
    let ears = router.run(|| UdpSocket::bind((OUTSIDE, 7)).unwrap()).unwrap();
    ears.set_read_timeout(Some(PATIENCE)).unwrap();
    fake.told().sockets[0].1.raw.send(&datagram()).unwrap();
    let (len, from) = ears.recv_from(&mut [0; 8]).unwrap();
    assert_eq!((len, from.ip()), (2, ip("198.51.100.1")));
    assert!(fake.told().egress.is_own(ip("192.0.2.1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_reserved_as_they_are_wanted() {
    if skipped() {
        return;
    }
    let lab = Lab::new().await;
    let (fake, handle) = lab.follow(None).await;
    let want = |address: &str, transport, count| {
        fake.tell(|told| {
            told.lent.clear();
            told.wants.push(Want { address: ip(address), transport, count });
        });
        handle.nudge();
    };
    let answer = |told: &Told| {
        let (address, transport, ports) = told.lent.first()?;
        Some((*address, *transport, ports.iter().map(|(port, _)| *port).collect::<Vec<_>>()))
    };
    want("192.0.2.1", Transport::Udp, 100);
    let (address, transport, ports) = fake.until("ports", answer).await;
    assert_eq!((address, transport, ports.len()), (ip("192.0.2.1"), Transport::Udp, 100));
    assert!(ports.iter().all(|port| *port >= 61_000));
    let bind = |port| lab.host.run(|| UdpSocket::bind(("192.0.2.1", port)).is_ok()).unwrap();
    assert!(!bind(ports[0]), "they are nobody else's");
    want("192.0.2.1", Transport::Udp, 100);
    let (.., more) = fake.until("more ports", answer).await;
    assert!(more.iter().all(|port| !ports.contains(port)), "and none is lent twice");
    want("2001:db8:b::1", Transport::Tcp, 5);
    assert_eq!(fake.until("ports of IPv6", answer).await.2.len(), 5);
    want("192.0.2.99", Transport::Tcp, 5);
    assert!(fake.until("an answer", answer).await.2.is_empty(), "that is no address of ours");
}
