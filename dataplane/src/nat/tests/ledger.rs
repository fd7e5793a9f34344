//! What another process makes of the records.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::tcp::Connection;
use super::world::*;
use crate::nat::{Limits, Protocol, Record, Restored, SessionRow, SessionState};
use crate::verdict::DropReason;
use crate::wire::TcpFlags;

const A: &str = "10.1.0.2";
const PEER: &str = "8.8.8.8";

/// The records as a file would have them.
fn written(world: &mut World, file: &mut BTreeMap<u32, Record>) {
    loop {
        let changes = world.nat.changes(3);
        if changes.is_empty() {
            return;
        }
        file.extend(changes);
    }
}

fn busy() -> World {
    let mut world = World::new();
    world.nat.publish(&[
        published(Protocol::Tcp, 80, 1, at(A, 8_080)),
        published(Protocol::Udp, 53, 1, at(A, 53)),
    ]);
    Connection::open(&mut world, at(A, 5_000), at(PEER, 80));
    Connection::open(&mut world, at(A, 5_001), at(PEER, 80)).close(&mut world);
    world.out(1, syn(at(A, 5_002), at(PEER, 80)));
    world.out(2, udp(at(A, 5_000), at(PEER, 53)));
    world.out(2, echo(at(A, 77), PEER, true));
    world.out(3, udp(at("fd00::2", 9), at("2001:db8:9::1", 9)));
    world.back(1, udp(at(PEER, 9), at(TWO, 53)));
    world.back(1, syn(at(PEER, 9), at(ONE, 80)));
    world
}

/// What there is, but for how long it has been idle.
fn rows(world: &World) -> Vec<SessionRow> {
    let mut rows: Vec<SessionRow> = world.nat.sessions(world.now).collect();
    rows.iter_mut().for_each(|row| {
        row.idle = std::time::Duration::ZERO;
        row.expires = std::time::Duration::ZERO;
    });
    rows.sort_by_key(|row| (row.protocol, row.inside, row.remote, row.port));
    rows
}

fn rules(world: &mut World) {
    world.nat.publish(&[
        published(Protocol::Tcp, 80, 1, at(A, 8_080)),
        published(Protocol::Udp, 53, 1, at(A, 53)),
    ]);
}

#[test]
fn sessions_survive_and_go_on() {
    let (mut world, mut file) = (busy(), BTreeMap::new());
    written(&mut world, &mut file);
    let open = world
        .nat
        .sessions(world.now)
        .find(|row| row.state == SessionState::Open && row.protocol == Protocol::Tcp);
    let open = open.expect("a connection");
    let mut next = World::new();
    rules(&mut next);
    assert_eq!(next.nat.restore(file.values(), next.now), Restored { sessions: 8, skipped: 0 });
    assert_eq!(rows(&next), rows(&world));
    next.wait(0);
    let c = Connection { inside: open.inside, remote: open.remote, outside: open.outside };
    assert!(c.comes(&mut next, TcpFlags::ACK, 501, 101, 10) && c.goes(&mut next, TcpFlags::ACK, 101, 511, 0));
    assert!(c.comes(&mut next, TcpFlags::RST, 511, 0, 0), "the numbers are learned anew");
    assert_eq!(next.nat.counts().closed, 2);
}

#[test]
fn only_what_changes_is_written_and_what_ends_is_erased() {
    let (mut world, mut file) = (World::new(), BTreeMap::new());
    let c = Connection::open(&mut world, at(A, 5_000), at(PEER, 80));
    written(&mut world, &mut file);
    assert_eq!(file.len(), 1);
    for n in 0..10 {
        assert!(c.comes(&mut world, TcpFlags::ACK, 501 + n * 10, 101, 10));
    }
    assert!(world.nat.changes(9).is_empty(), "packets alone are not worth a record");
    world.wait(7_441);
    written(&mut world, &mut file);
    assert!(file.values().all(|record| record.iter().all(|&byte| byte == 0)));
    assert_eq!(World::new().nat.restore(file.values(), world.now), Restored::default());
}

#[test]
fn what_does_not_fit_what_is_configured_is_skipped() {
    let (mut world, mut file) = (busy(), BTreeMap::new());
    written(&mut world, &mut file);
    let mut no_rules = World::new();
    assert_eq!(no_rules.nat.restore(file.values(), no_rules.now), Restored { sessions: 6, skipped: 2 });
    let mut no_ports = World::bare(Limits::default());
    rules(&mut no_ports);
    let left = no_ports.nat.restore(file.values(), no_ports.now);
    assert_eq!(left, Restored { sessions: 3, skipped: 5 }, "published ones, and the query");
    let mut twice = World::new();
    rules(&mut twice);
    let doubled = file.values().chain(file.values());
    assert_eq!(twice.nat.restore(doubled, twice.now), Restored { sessions: 8, skipped: 8 });
    let mut small =
        World::with(Limits { endpoint_ports: 1, endpoint_sessions: 2, half_open: 1, ..Limits::default() });
    rules(&mut small);
    small.nat.restore(file.values(), small.now);
    small.wait(0);
    assert!(small.nat.sessions(small.now).filter(|row| row.port.0 == 1 && !row.published).count() <= 2);
}

#[test]
fn a_restored_port_is_not_drawn_again() {
    let (mut world, mut file) = (World::bare(Limits::default()), BTreeMap::new());
    world.nat.lend(at(ONE, 0).0, Protocol::Udp, &[40_000]);
    world.out(1, udp(at(A, 5_000), at(PEER, 9))).source();
    written(&mut world, &mut file);
    let mut next = World::bare(Limits::default());
    next.nat.lend(at(ONE, 0).0, Protocol::Udp, &[40_000]);
    next.nat.restore(file.values(), next.now);
    assert_eq!(next.out(2, udp(at(A, 5_000), at(PEER, 9))), Seen::Dropped(DropReason::NatPortsLate));
    assert_eq!(next.out(1, udp(at(A, 5_000), at(PEER, 10))).source(), at(ONE, 40_000));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn spoiled_records_are_skipped_and_the_others_live(hits in proptest::collection::vec((0..8usize, 0..72usize, 1..=255u8), 0..12)) {
        let (mut world, mut file) = (busy(), BTreeMap::new());
        written(&mut world, &mut file);
        let mut records: Vec<Record> = file.into_values().collect();
        let clean = records.clone();
        for (record, at, bits) in hits {
            records[record][at] ^= bits;
        }
        let spoiled = records.iter().zip(&clean).filter(|(now, was)| now != was).count();
        let mut next = World::new();
        rules(&mut next);
        let restored = next.nat.restore(&records, next.now);
        prop_assert_eq!(restored, Restored { sessions: 8 - spoiled, skipped: spoiled });
        next.wait(0);
    }
}
