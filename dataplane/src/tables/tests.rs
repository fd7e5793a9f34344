//! What control may not want, and what survives a change of what it wants.

use proptest::prelude::*;

use super::*;
use crate::switch::EntryKind;
use crate::testing::{World, ground, station, vni, vtep};
use crate::time::Moment;
use crate::verdict::DropReason;

const NOW: Moment = Moment::from_secs(5);
const STRANGER: MacAddr = MacAddr([2, 9, 9, 9, 9, 9]);

fn build(world: &World, previous: &Tables) -> Result<Tables, TablesError> {
    Tables::build(&world.0, previous, &ground(1))
}

fn refused(change: impl FnOnce(&mut TablesSpec)) -> TablesError {
    let mut world = two_networks();
    change(&mut world.0);
    build(&world, &Tables::empty(&ground(1))).unwrap_err()
}

fn two_networks() -> World {
    World::default().segment(1, &[2, 3]).port(11, 1).port(12, 2).segment(2, &[2]).port(21, 1)
}

/// Teaches segment 1 that a stranger is at `location`, and counts something on it.
fn use_it(tables: &Tables, location: Location) {
    let segment = tables.segment(SegmentId(1)).unwrap();
    assert_eq!(segment.consult(STRANGER, location, MacAddr::BROADCAST, NOW), Ok(None));
    segment.counters(0).passed(100);
    segment.counters(1).dropped(DropReason::Storm);
}

fn stranger(tables: &Tables) -> Option<Location> {
    tables.segment(SegmentId(1)).unwrap().locate(STRANGER, NOW)
}

#[test]
fn nonsense_is_refused_by_name() {
    let (port, segment) = (PortId(11), SegmentId(1));
    let group = MacAddr([1, 0, 0x5e, 0, 0, 1]);
    assert_eq!(refused(|s| s.segments[1].id = segment), TablesError::DuplicateSegment(segment));
    assert_eq!(refused(|s| s.ports[1].id = port), TablesError::DuplicatePort(port));
    assert_eq!(refused(|s| s.segments[1].vni = Some(vni(1))), TablesError::DuplicateVni(vni(1)));
    assert_eq!(refused(|s| s.ports[1].mac = s.ports[0].mac), TablesError::DuplicateMac(station(1).mac));
    assert_eq!(
        refused(|s| s.ports[0].segment = SegmentId(9)),
        TablesError::NoSegment(port, SegmentId(9)),
        "and not the first one listed"
    );
    assert_eq!(refused(|s| s.ports[0].mac = group), TablesError::BadMac(port, group));
    assert_eq!(refused(|s| s.ports[0].mac = MacAddr::ZERO), TablesError::BadMac(port, MacAddr::ZERO));
}

#[test]
fn sizes_are_bounded() {
    let too_many = |what, max| TablesError::TooMany { what, count: max + 1, max };
    let ports = refused(|s| s.ports = vec![s.ports[0].clone(); PORTS_MAX + 1]);
    assert_eq!(ports, too_many("ports", PORTS_MAX));
    let segments = refused(|s| s.segments = vec![s.segments[0].clone(); SEGMENTS_MAX + 1]);
    assert_eq!(segments, too_many("segments", SEGMENTS_MAX));
    let vteps = refused(|s| s.segments[1].vteps = vec![vtep(2).address(); VTEPS_MAX + 1]);
    assert_eq!(vteps, too_many("VTEPs of one segment", VTEPS_MAX));
}

#[test]
fn the_same_macs_on_two_segments_are_two_facts() {
    let tables = two_networks().tables(1);
    let place = |id| tables.segment(SegmentId(id)).unwrap().locate(station(1).mac, NOW);
    assert_eq!(place(1), Some(Location::Local(PortId(11))));
    assert_eq!(place(2), Some(Location::Local(PortId(21))));
}

#[test]
fn a_vtep_is_one_member_however_often_and_however_it_is_written() {
    let mut world = two_networks();
    world.0.segments[0].vteps =
        vec![vtep(3).address(), "::ffff:192.0.2.3".parse().unwrap(), vtep(2).address(), vtep(3).address()];
    world.0.segments[1].vni = None;
    let tables = world.tables(1);
    assert_eq!(tables.segment(SegmentId(1)).unwrap().vteps().collect::<Vec<_>>(), [vtep(2), vtep(3)]);
    assert_eq!(tables.segment(SegmentId(2)).unwrap().vteps().count(), 0, "no VNI, no tunnel");
    let closed: Vec<_> = [1, 2, 3].map(|n| vtep(n).address()).into();
    assert_eq!(tables.vtep_ports().addresses, closed, "this host's and every peer's");
}

#[test]
fn what_was_learned_and_counted_outlives_a_change_elsewhere() {
    let first = two_networks().tables(1);
    use_it(&first, Location::Remote(vtep(2)));
    let second = build(&two_networks().segment(3, &[]).port(31, 7), &first).unwrap();
    assert_eq!(stranger(&second), Some(Location::Remote(vtep(2))));
    assert_eq!(second.totals(), first.totals());
    assert_eq!((second.totals().packets, second.totals().drops(DropReason::Storm)), (1, 1));
}

#[test]
fn a_member_that_leaves_takes_what_it_taught_with_it() {
    for (place, stays) in [(Location::Remote(vtep(2)), false), (Location::Remote(vtep(3)), true)] {
        let first = two_networks().tables(1);
        use_it(&first, place);
        let mut world = two_networks();
        world.0.segments[0].vteps.retain(|&v| v != vtep(2).address());
        assert_eq!(stranger(&build(&world, &first).unwrap()).is_some(), stays, "{place:?}");
    }
    let first = two_networks().tables(1);
    use_it(&first, Location::Local(PortId(12)));
    let mut world = two_networks();
    world.0.ports.retain(|p| p.id != PortId(12));
    let second = build(&world, &first).unwrap();
    assert_eq!(stranger(&second), None);
    assert_eq!(second.segment(SegmentId(1)).unwrap().locate(station(2).mac, NOW), None);
}

#[test]
fn an_endpoint_that_moves_between_segments_is_known_on_the_new_one_only() {
    let first = two_networks().tables(1);
    use_it(&first, Location::Local(PortId(12)));
    let mut world = two_networks();
    world.0.ports[1].segment = SegmentId(2);
    let second = build(&world, &first).unwrap();
    assert_eq!(stranger(&second), None, "what its port taught there is forgotten");
    let place = |id| second.segment(SegmentId(id)).unwrap().locate(station(2).mac, NOW);
    assert_eq!((place(1), place(2)), (None, Some(Location::Local(PortId(12)))));
    assert_eq!(second.segment_of(second.port(PortId(12)).unwrap()).id, SegmentId(2));
}

#[test]
fn storm_limits_are_not_escaped_by_a_change_of_tables() {
    let first = two_networks().tables(1);
    let spend = |tables: &Tables| {
        let segment = tables.segment(SegmentId(1)).unwrap();
        let port = tables.port(PortId(11)).unwrap();
        let from_port = (0..5_000).filter(|_| port.storm.admit(segment.port_storm(), NOW)).count();
        let member = segment.member(vtep(2)).unwrap();
        (from_port, (0..50_000).filter(|_| member.admit(segment.vtep_storm(), NOW)).count())
    };
    let burst = spend(&first);
    assert!(burst.0 > 0 && burst.1 > 0);
    assert_eq!(spend(&build(&two_networks(), &first).unwrap()), (0, 0));
}

#[test]
fn a_refused_spec_changes_nothing() {
    let first = two_networks().tables(1);
    use_it(&first, Location::Remote(vtep(2)));
    let rows = |tables: &Tables| {
        let mut rows = tables.segment(SegmentId(1)).unwrap().fdb_rows(NOW);
        rows.sort_by_key(|row| row.mac);
        rows
    };
    let (before, counted) = (rows(&first), first.totals());
    let mut world = two_networks();
    world.0.segments[0].vteps.clear();
    world.0.segments[0].options.fdb_limit = 0;
    world.0.ports.remove(1);
    world.0.ports[1].mac = MacAddr::ZERO;
    assert!(build(&world, &first).is_err());
    assert_eq!((rows(&first), first.totals()), (before, counted));
    let segment = first.segment(SegmentId(1)).unwrap();
    let known = segment.consult(MacAddr([2; 6]), Location::Remote(vtep(3)), MacAddr::BROADCAST, NOW);
    assert_eq!(known, Ok(None));
    assert_eq!(rows(&first).iter().filter(|r| r.kind == EntryKind::Dynamic).count(), 2, "it still learns");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Segments come and go; whatever was counted stays counted.
    #[test]
    fn totals_never_go_backwards(versions in prop::collection::vec(prop::collection::btree_set(1..6u32, 0..5), 1..12)) {
        let mut tables = Tables::empty(&ground(1));
        let mut counted = 0;
        for version in versions {
            let world = version.iter().fold(World::default(), |world, &id| world.segment(id, &[2]));
            tables = build(&world, &tables).unwrap();
            prop_assert_eq!(tables.totals().packets, counted);
            for segment in tables.segments() {
                segment.counters(0).passed(60);
                counted += 1;
            }
            tables.nowhere.shard(0).dropped(DropReason::UnknownVni);
            prop_assert_eq!((tables.totals().packets, tables.totals().bytes), (counted, 60 * counted));
        }
    }
}
