//! Random histories, lived through by the real one and by the model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::model::{Model, OPEN_FROM};
use super::world::*;
use crate::gateway::{Egress, Filtering};
use crate::nat::conntrack::Tracker;
use crate::nat::timers::tick;
use crate::nat::{Limits, Protocol, Published, Record, SessionRow};
use crate::tables::PortId;
use crate::wire::TcpFlags;

const LENT: [u16; 9] = [40_000, 40_001, 40_002, 40_003, 40_004, 40_005, 1_000, 1_001, 53];
const REMOTES: [&str; 3] = ["8.8.8.8", "9.9.9.9", "203.0.113.5"];

/// One event.
#[derive(Clone, Debug)]
enum Event {
    Out {
        from: u32,
        pk: Kind,
        port: u16,
        remote: usize,
    },
    /// To the own address `own`, or with `known` to what some session stands for outside.
    Hairpin {
        from: u32,
        pk: Kind,
        port: u16,
        own: usize,
        known: Option<prop::sample::Index>,
    },
    Back {
        pk: Kind,
        own: usize,
        port: u16,
        remote: usize,
        known: Option<prop::sample::Index>,
    },
    Wait(u64),
    Publish(u8),
    Two(Two),
    Dead(u32),
    Restart,
}

/// A protocol, a remote port and the rest of a packet.
#[derive(Clone, Copy, Debug)]
struct Kind {
    protocol: Protocol,
    remote_port: u16,
    flags: TcpFlags,
    sequence: u32,
    acknowledgement: u32,
    request: bool,
}

impl Kind {
    fn packet(self, source: At, destination: At) -> Pk {
        let pk = packet(self.protocol, source, destination);
        Pk { request: self.request, ..pk }.with(self.flags, self.sequence, self.acknowledgement, 0)
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    let protocol = prop_oneof![
        3 => Just(Protocol::Tcp),
        2 => Just(Protocol::Udp),
        1 => Just(Protocol::Icmp),
    ];
    let flags = prop_oneof![
        4 => Just(TcpFlags::SYN),
        3 => Just(TcpFlags::SYN.with(TcpFlags::ACK)),
        4 => Just(TcpFlags::ACK),
        3 => Just(TcpFlags::FIN.with(TcpFlags::ACK)),
        2 => Just(TcpFlags::RST),
        1 => any::<u8>().prop_map(TcpFlags),
    ];
    let remote_port = prop_oneof![Just(53u16), Just(80), Just(81)];
    (protocol, remote_port, flags, 0..3u32, 0..3u32, prop::bool::weighted(0.8)).prop_map(
        |(protocol, remote_port, flags, sequence, acknowledgement, request)| Kind {
            protocol,
            remote_port,
            // Only the bits that the packets of these tests can have.
            flags: TcpFlags(flags.0 & 0x17),
            sequence,
            acknowledgement,
            request,
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let port = || prop_oneof![Just(500u16), Just(5_000), Just(5_001), Just(8_080)];
    let known = || prop::option::weighted(0.85, any::<prop::sample::Index>());
    prop_oneof![
        12 => (1..5u32, kind(), port(), 0..3usize)
            .prop_map(|(from, pk, port, remote)| Event::Out { from, pk, port, remote }),
        4 => (1..5u32, kind(), port(), 0..3usize, known())
            .prop_map(|(from, pk, port, own, known)| Event::Hairpin { from, pk, port, own, known }),
        12 => (kind(), 0..3usize, prop_oneof![Just(80u16), Just(53), Just(81), Just(40_000)], 0..3usize, known())
            .prop_map(|(pk, own, port, remote, known)| Event::Back { pk, own, port, remote, known }),
        2 => prop_oneof![Just(0u64), 1..40u64, 100..320u64, 7_000..7_500u64].prop_map(Event::Wait),
        1 => any::<u8>().prop_map(Event::Publish),
        1 => prop_oneof![2 => Just(Two::Up), 1 => Just(Two::Down), 1 => Just(Two::Gone)].prop_map(Event::Two),
        1 => (1..5u32).prop_map(Event::Dead),
        1 => Just(Event::Restart),
    ]
}

/// The rules whose bit is set.
fn rules(bits: u8) -> Vec<Published> {
    let web = published(Protocol::Tcp, 80, 1, (inside(1), 8_080));
    let all = [
        web,
        Published { outside_port: 81, ..web },
        Published { port: PortId(2), inside: inside(2), outside: Some(at(TWO, 0).0), ..web },
        published(Protocol::Udp, 53, 2, (inside(2), 5_000)),
        published(Protocol::Udp, 53, 3, (inside(3), 5_000)),
        published(Protocol::Tcp, 40_000, 4, (inside(4), 500)),
        Published { outside: Some(at(ONE, 0).0), ..published(Protocol::Udp, 40_001, 1, (inside(1), 5_001)) },
    ];
    let mut rules: Vec<Published> =
        all.into_iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1).map(|(_, rule)| rule).collect();
    // Two rules for one port are refused.
    if bits & 0b11000 == 0b11000 {
        rules.retain(|rule| rule.protocol != Protocol::Udp || rule.port.0 != 3);
    }
    rules
}

fn inside(port: u32) -> std::net::IpAddr {
    // Two tenants have the same address.
    at(if port.is_multiple_of(2) { "10.1.0.2" } else { "10.1.0.3" }, 0).0
}

struct Pair {
    world: World,
    model: Model,
    file: BTreeMap<u32, Record>,
}

impl Pair {
    fn new(limits: Limits) -> Self {
        let mut world = World::bare(limits);
        world.lend(&LENT);
        let model = Model::new(limits, &LENT, tick(world.now));
        Self { world, model, file: BTreeMap::new() }
    }

    fn known(&self, known: Option<prop::sample::Index>, protocol: Protocol) -> Option<SessionRow> {
        let rows: Vec<SessionRow> = self.rows().into_iter().filter(|row| row.protocol == protocol).collect();
        known.filter(|_| !rows.is_empty()).map(|known| rows[known.index(rows.len())])
    }

    fn rows(&self) -> Vec<SessionRow> {
        let mut rows: Vec<SessionRow> = self.world.nat.sessions(self.world.now).collect();
        rows.sort_by_key(|row| (row.protocol, row.port, row.inside, row.remote, row.outside));
        rows
    }

    fn live(&mut self, event: &Event) {
        match event {
            Event::Out { from, pk, port, remote } => {
                let to = (at(REMOTES[*remote], 0).0, pk.remote_port);
                self.out(*from, pk.packet((inside(*from), *port), to));
            }
            Event::Hairpin { from, pk, port, own, known } => {
                let own = (at([ONE, TWO, OTHER][*own], 0).0, pk.remote_port);
                let to = self.known(*known, pk.protocol).map_or(own, |row| row.outside);
                self.out(*from, pk.packet((inside(*from), *port), to));
            }
            Event::Back { pk, own, port, remote, known } => {
                let row = self.known(*known, pk.protocol);
                let own = (at([ONE, TWO, OTHER][*own], 0).0, *port);
                let (from, to) = row.map_or(((at(REMOTES[*remote], 0).0, pk.remote_port), own), |row| {
                    let other = (at(REMOTES[*remote], 0).0, pk.remote_port);
                    (if *port == 80 { other } else { row.remote }, row.outside)
                });
                let is_own = [ONE, TWO, OTHER].iter().any(|own| at(own, 0).0 == from.0);
                if !is_own {
                    let from = if pk.protocol == Protocol::Icmp { (from.0, to.1) } else { from };
                    let pk = pk.packet(from, to);
                    let real = self.world.back(1, pk);
                    assert_eq!(real, self.model.back(pk), "{pk:?}");
                }
            }
            Event::Wait(secs) => {
                self.world.wait(*secs);
                self.model.wait(tick(self.world.now));
            }
            Event::Publish(bits) => {
                assert_eq!(self.world.nat.publish(&rules(*bits)), []);
                self.model.publish(&rules(*bits));
            }
            Event::Two(two) => self.set_two(*two),
            Event::Dead(port) => {
                self.world.nat.retain(|p| p.0 != *port);
                self.model.retain(*port);
            }
            Event::Restart => self.restart(),
        }
    }

    fn out(&mut self, from: u32, pk: Pk) {
        self.world.filtering =
            if from < OPEN_FROM { Filtering::AddressDependent } else { Filtering::EndpointIndependent };
        let real = self.world.out(from, pk);
        let remote = (pk.destination.0, if pk.protocol == Protocol::Icmp { 0 } else { pk.destination.1 });
        let own = |row: &SessionRow| {
            !row.published
                && (row.port.0, row.protocol, row.inside, row.remote)
                    == (from, pk.protocol, pk.source, remote)
        };
        // Of two, at two outside addresses, the one that was not there before.
        let before = |row: &SessionRow| {
            self.model.sessions.iter().any(|s| {
                (s.port, s.protocol, s.inside, s.remote, s.outside)
                    == (row.port.0, row.protocol, row.inside, row.remote, row.outside)
            })
        };
        let drawn = self.rows().into_iter().find(|row| own(row) && !before(row)).map(|row| row.outside.1);
        let expected = self.model.out(from, pk, drawn);
        assert_eq!(real, expected, "{from} {pk:?}");
    }

    fn egress(two: Two) -> Egress {
        let mut egress = spec();
        if two != Two::Up {
            egress.links.truncate(1);
            egress.routes.remove(1);
        }
        if two == Two::Gone {
            egress.own.retain(|own| *own != at(TWO, 0).0);
        }
        Egress::build(&egress).expect("it makes sense")
    }

    fn set_two(&mut self, two: Two) {
        self.world.nat.set_egress(Self::egress(two), self.world.now);
        self.world.lend(&LENT);
        self.model.set_two(two);
    }

    /// Another process takes over.
    fn restart(&mut self) {
        let now = self.world.now;
        let mut next = World::bare(self.model.limits);
        next.now = now;
        next.nat.set_egress(Self::egress(self.model.two), now);
        next.lend(&LENT);
        next.nat.publish(&self.model.rules);
        let before = self.model.sessions.len();
        let restored = next.nat.restore(self.file.values(), now);
        assert_eq!(restored.sessions + restored.skipped, before, "every session had a record");
        self.world.nat = next.nat;
        let order: Vec<SessionRow> = self.world.nat.sessions(now).collect();
        self.model.resting.clear();
        self.model.orphans.clear();
        let limits = self.model.limits;
        let owned = |port: u32| order.iter().filter(|row| row.port.0 == port).count();
        self.model.sessions.retain_mut(|s| {
            let place = order.iter().position(|row| {
                (row.protocol, row.port.0, row.inside, row.remote, row.outside)
                    == (s.protocol, s.port, s.inside, s.remote, s.outside)
            });
            assert!(place.is_some() || owned(s.port) >= limits.endpoint_sessions, "{s:?} was lost");
            let place = place.unwrap_or(0) as u64;
            (s.stamp, s.refreshed, s.queued) = (tick(now), place, place);
            s.tcp = Tracker::resumed(s.tcp.phase);
            order.iter().any(|row| {
                (row.port.0, row.inside, row.remote, row.outside) == (s.port, s.inside, s.remote, s.outside)
                    && row.protocol == s.protocol
            })
        });
        self.file.clear();
    }

    /// Everything that can be seen is as the model says.
    fn compare(&mut self) {
        self.world.nat.table.audit();
        while let changes = self.world.nat.changes(5)
            && !changes.is_empty()
        {
            self.file.extend(changes);
        }
        let mut model: Vec<_> = self
            .model
            .sessions
            .iter()
            .map(|s| {
                (s.protocol, s.port, s.inside, s.remote, s.outside, s.rule.is_some(), s.state(), s.stamp)
            })
            .collect();
        model.sort_unstable_by_key(|s| (s.0, s.1, s.2, s.3, s.4));
        let now = tick(self.world.now);
        let quarters = |idle: std::time::Duration| (idle.as_millis() / 250) as u32;
        let real: Vec<_> = self
            .rows()
            .into_iter()
            .map(|r| {
                (
                    r.protocol,
                    r.port.0,
                    r.inside,
                    r.remote,
                    r.outside,
                    r.published,
                    r.state,
                    now - quarters(r.idle),
                )
            })
            .collect();
        assert_eq!(real, model);
    }
}

fn live(limits: Limits, history: &[Event]) {
    let mut pair = Pair::new(limits);
    for event in history {
        pair.live(event);
        pair.compare();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_model_agrees(history in proptest::collection::vec(event(), 1..150)) {
        live(Limits { endpoint_rate: 0, ..Limits::default() }, &history);
    }

    #[test]
    fn the_model_agrees_at_the_limits(
        history in proptest::collection::vec(event(), 1..150),
        sessions in 4..12usize,
        endpoint_sessions in 2..5usize,
        endpoint_ports in 1..4usize,
        half_open in 1..3usize,
    ) {
        let limits = Limits { sessions, endpoint_sessions, endpoint_ports, half_open, endpoint_rate: 0, ..Limits::default() };
        live(limits, &history);
    }
}
