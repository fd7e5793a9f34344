//! The ways off the host, over the wire: what is told, wanted, held, given back, and outlives the process.

use std::net::Ipv4Addr;

use etherparse::PacketBuilder;

use super::*;
use crate::gateway::route::LinkId;
use crate::gateway::{EgressSpec, GATEWAY_MAC, GatewaySpec, LinkSpec, RouteSpec};
use crate::io::ledger::Ledger;
use crate::io::link::LinkSockets;
use crate::io::packet::PacketSocket;
use crate::io::raw::RawSockets;
use crate::io::reserve::{Admit, Reserved};
use crate::nat::{Protocol, RECORD_LEN, Restored, SessionRow};
use crate::runtime::{HeldPort, Purpose};
use crate::tables::Transport;

const ENDPOINT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
/// The address that packets to a part of the world have, which no link lists.
const SPECIAL: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
const PEER: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);
const LINK: LinkId = LinkId(1);

fn with_gateway() -> TablesSpec {
    let mut spec = tables(&[A]);
    let subnets = vec![("10.1.0.0/24".parse().unwrap(), Ipv4Addr::new(10, 1, 0, 254).into())];
    spec.segments[0].gateway = Some(GatewaySpec { subnets, nat: true, ..GatewaySpec::default() });
    spec.ports[0].addresses = vec![ENDPOINT.into()];
    spec
}

fn egress() -> EgressSpec {
    let route = |prefix: &str, source| RouteSpec {
        prefix: prefix.parse().unwrap(),
        link: Some(LINK),
        via: None,
        source,
    };
    EgressSpec {
        links: vec![LinkSpec {
            id: LINK,
            mac: MacAddr([2, 0, 0, 0, 9, 9]),
            mtu: 1_500,
            addresses: vec![OUTSIDE],
        }],
        routes: vec![route("0.0.0.0/0", None), route("9.0.0.0/8", Some(SPECIAL))],
        neighbors: vec![],
        own: vec![OUTSIDE, SPECIAL],
    }
}

/// A UDP datagram of the endpoint with the virtio header of a TAP.
fn datagram(to: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0; vnet::LEN];
    let builder = PacketBuilder::ethernet2(mac(A).0, GATEWAY_MAC.0);
    let builder = builder.ipv4(ENDPOINT.octets(), to.octets(), 64).udp(5_000, 123);
    builder.write(&mut frame, b"what time is it").unwrap();
    frame
}

/// Sockets that stand for ports of the outside address: nobody looks at what they are bound to.
fn reserved(count: u16) -> Vec<(u16, Reserved)> {
    let open = || Reserved::open(Transport::Udp, "127.47.91.1".parse().unwrap(), 0, Admit::Nothing).unwrap();
    (0..count).map(|n| (40_000 + n, open())).collect()
}

fn lend(client: &mut Client, address: IpAddr, ports: &[(u16, Reserved)]) {
    let sockets = ports.iter().map(|(port, reserved)| (*port, reserved));
    client.hold(Purpose::Lent, (address, Transport::Udp), sockets).unwrap();
    let numbers = ports.iter().map(|(port, _)| *port).collect();
    client.lend(address, Transport::Udp, numbers).unwrap();
}

/// Asks until `found` finds something.
fn await_some<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(std::time::Instant::now() < deadline, "it does not come");
        thread::yield_now();
    }
}

/// The one session that there is, once there is one.
fn session(client: &mut Client) -> SessionRow {
    await_some(|| client.sessions(10).unwrap().first().copied())
}

/// The records of a ledger, once there are `count`.
fn records(ledger: &Ledger, count: usize) {
    await_some(|| {
        let mut records = 0;
        ledger.read(100, |_, _| records += 1).unwrap();
        (records == count).then_some(())
    });
}

/// A process with an endpoint, a way out without a device, and ports; the endpoint's end.
fn outward() -> (Process, Client, UnixDatagram) {
    let (process, mut client) = Process::start();
    client.publish(&with_gateway()).unwrap();
    let (tap, wire) = tap("wfa");
    client.attach(A, &tap).unwrap();
    client.set_egress(&egress(), []).unwrap();
    lend(&mut client, OUTSIDE, &reserved(200));
    (process, client, wire)
}

#[test]
fn control_is_called_for_ports_and_hops_and_holds_what_it_gives() {
    let (process, mut client) = Process::start();
    let mut events = client.events().unwrap();
    assert_eq!(events.next(), Some(Event::OutsideWants), "somebody may have been told before");
    client.publish(&with_gateway()).unwrap();
    client.set_egress(&egress(), []).unwrap();
    assert_eq!(events.next(), Some(Event::OutsideWants));
    let wants = client.take_wants().unwrap();
    let wanted =
        |protocol| wants.ports.iter().any(|w| (w.address, w.protocol) == (OUTSIDE, protocol) && w.count > 0);
    assert!(wanted(Protocol::Tcp) && wanted(Protocol::Udp), "{wants:?}");
    assert_eq!(client.take_wants().unwrap().ports, []);

    let ports = reserved(200);
    lend(&mut client, OUTSIDE, &ports);
    assert_eq!((client.nat_counts().unwrap().lent, client.nat_counts().unwrap().free), (200, 200));
    let (tap, wire) = tap("wfa");
    client.attach(A, &tap).unwrap();
    wire.send(&datagram(PEER)).unwrap();
    assert_eq!(events.next(), Some(Event::OutsideWants));
    assert_eq!(client.take_wants().unwrap().wanted, [(LINK, PEER.into())]);
    let row = session(&mut client);
    assert_eq!((row.port, row.inside, row.remote), (A, (ENDPOINT.into(), 5_000), (PEER.into(), 123)));
    assert_eq!(client.stats().unwrap().total.drops(crate::verdict::DropReason::UplinkDown), 1, "no device");
    let nonsense = EgressSpec { links: vec![], ..egress() };
    let error = client.set_egress(&nonsense, []).unwrap_err();
    assert!(!error.is_final() && error.to_string().contains("link 1"), "{error}");
    assert_eq!(client.sessions(10).unwrap().len(), 1, "nothing has changed");
    process.end(client);
}

#[test]
fn the_next_client_gets_everything_back() {
    let (process, mut client, _wire) = outward();
    let published = reserved(1);
    let ports = published.iter().map(|(port, reserved)| (port - 30_000, reserved));
    client.hold(Purpose::Published, (OUTSIDE, Transport::Udp), ports).unwrap();
    let ledger = Ledger::create("weft-test", RECORD_LEN).unwrap();
    assert_eq!(client.keep_ledger(&ledger).unwrap(), Restored::default());
    drop(client);

    let mut client = process.next_client();
    let inventory = client.inventory().unwrap();
    assert_eq!((&inventory.egress, inventory.ledger, inventory.held.len()), (&egress(), true, 201));
    let held = |port| HeldPort { address: OUTSIDE, transport: Transport::Udp, port };
    assert!(inventory.held.contains(&(held(10_000), Purpose::Published)));
    assert!(inventory.held.contains(&(held(40_199), Purpose::Lent)));
    let names: Vec<_> = inventory.held.iter().map(|(held, _)| *held).collect();
    let again = client.held(&names).unwrap();
    assert_eq!(again.len(), 201);
    assert_eq!(again[0].local(), published[0].1.local());
    assert!(client.ledger().is_ok());
    // Lent ports stay while somebody may speak from them.
    client.release(&[held(10_000), held(40_000)]).unwrap();
    assert_eq!(client.inventory().unwrap().held.len(), 200);
    process.end(client);
}

#[test]
fn ports_stay_reserved_as_long_as_the_host_has_their_address() {
    let (process, mut client, wire) = outward();
    lend(&mut client, SPECIAL, &reserved(2));
    client.set_egress(&egress(), []).unwrap();
    assert_eq!(client.inventory().unwrap().held.len(), 202, "a route has that address");
    wire.send(&datagram(Ipv4Addr::new(9, 9, 9, 9))).unwrap();
    assert_eq!(session(&mut client).outside.0, SPECIAL);
    let mut without = egress();
    without.routes.truncate(1);
    client.set_egress(&without, []).unwrap();
    assert_eq!(client.inventory().unwrap().held.len(), 202, "the host has that address still");
    assert_eq!((client.sessions(10).unwrap().len(), client.nat_counts().unwrap().lent), (1, 202));
    without.own.retain(|own| *own != SPECIAL);
    client.set_egress(&without, []).unwrap();
    assert_eq!(client.inventory().unwrap().held.len(), 200);
    assert_eq!((client.sessions(10).unwrap().len(), client.nat_counts().unwrap().lent), (0, 200));
    process.end(client);
}

#[test]
fn sessions_outlive_the_process_by_the_ledger_whenever_it_came() {
    let (process, mut client, wire) = outward();
    wire.send(&datagram(PEER)).unwrap();
    let row = session(&mut client);
    let ledger = Ledger::create("weft-test", RECORD_LEN).unwrap();
    assert_eq!(client.keep_ledger(&ledger).unwrap(), Restored::default());
    records(&ledger, 1);
    // Once more, and to another ledger.
    let other = Ledger::create("weft-test", RECORD_LEN).unwrap();
    client.keep_ledger(&other).unwrap();
    records(&other, 1);
    process.end(client);

    let (process, mut client, _wire) = outward();
    assert_eq!(client.keep_ledger(&other).unwrap(), Restored { sessions: 1, skipped: 0 });
    let restored = session(&mut client);
    assert_eq!((restored.inside, restored.outside, restored.remote), (row.inside, row.outside, row.remote));
    records(&other, 1);
    process.end(client);
}

/// The only interface of a network namespace of its own, where the thread is from here on.
fn loopback_of_our_own() -> Option<u32> {
    let denied = |error: std::io::Error| {
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::PERM.raw_os_error()), "{error}");
    };
    crate::io::netns::unshare_thread().map_err(denied).ok().map(|()| 1)
}

#[test]
fn the_sockets_of_a_link_are_handed_over_and_back() {
    let Some(index) = loopback_of_our_own() else { return eprintln!("skipped: needs root") };
    let packets = PacketSocket::open(index, &crate::io::filter::Interest::default()).unwrap();
    let sockets = LinkSockets { packets, raw: RawSockets::open(index).unwrap() };
    let (process, mut client, wire) = outward();
    client.set_egress(&egress(), [(LINK, &sockets)]).unwrap();
    assert_eq!(client.inventory().unwrap().links, [LINK]);
    assert_eq!(client.link(LINK).unwrap().packets.interface(), Some(index));
    // Lo is down there: the kernel itself refuses the packet.
    wire.send(&datagram(PEER)).unwrap();
    session(&mut client);
    let refused = await_some(|| {
        let total = client.stats().unwrap().total;
        total.nonzero_drops().next()
    });
    assert!(refused.0.name().starts_with("uplink_"), "{refused:?}");
    client.set_egress(&EgressSpec::default(), []).unwrap();
    assert_eq!(client.inventory().unwrap().links, []);
    assert!(matches!(client.link(LINK), Err(RemoteError::NoSuch)));
    process.end(client);
}
