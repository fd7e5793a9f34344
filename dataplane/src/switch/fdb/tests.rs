//! The forwarding database at its edges, and over random histories beside [`Model`].

use proptest::prelude::*;

use super::model::Model;
use super::*;
use crate::tunnel::Vtep;

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb]);
const NANO: Duration = Duration::from_nanos(1);

impl Fdb {
    /// A table that is full sooner.
    fn small(limit: usize, segment_limit: usize) -> Self {
        Self { segment_limit, ..Self::new(limit, 7) }
    }

    /// Everything that must hold between two calls.
    fn audit(&self) {
        let mut slots = self.owners.audit(&self.entries);
        let statics: Vec<u32> = self.slots_where(|e| e.kind == EntryKind::Static);
        assert_eq!(statics.len(), self.statics);
        slots.extend(&statics);
        assert_eq!(slots.len(), self.index.len(), "every entry is static or somebody's");
        for (mac, &slot) in &self.index {
            assert_eq!(self.entries[slot as usize].mac, *mac);
        }
        slots.extend(&self.free);
        slots.sort_unstable();
        assert!(slots.into_iter().eq(0..self.entries.len() as u32), "every place is used once, or free once");
    }

    fn hear(&mut self, mac: MacAddr, location: Location, now: Moment) -> Learned {
        let learned = self.learn(mac, location, now);
        self.audit();
        learned
    }

    fn owned(&self, location: Location, now: Moment) -> Vec<MacAddr> {
        let rows = self.rows(now).filter(|r| r.location == location && r.kind == EntryKind::Dynamic);
        let mut macs: Vec<_> = rows.map(|r| r.mac).collect();
        macs.sort_unstable();
        macs
    }
}

fn port(id: u32) -> Location {
    Location::Local(PortId(id))
}

fn vtep(last: u8) -> Location {
    Location::Remote(Vtep::new([192, 0, 2, last].into()))
}

/// An invented source, the `n`th.
fn mac(n: u32) -> MacAddr {
    let [a, b, c, d] = n.to_be_bytes();
    MacAddr([2, 1, a, b, c, d])
}

fn at(seconds: u64) -> Moment {
    Moment::from_secs(seconds)
}

#[test]
fn an_entry_lives_300_seconds_and_not_a_nanosecond_longer() {
    let mut fdb = Fdb::new(8, 7);
    assert_eq!(fdb.hear(A, port(1), at(10)), Learned::Added);
    assert_eq!(fdb.lookup(A, at(310)), Some(port(1)));
    assert_eq!(fdb.lookup(A, at(310).after(NANO)), None);
    assert_eq!(fdb.rows(at(310)).count(), 1);
    assert_eq!(fdb.rows(at(310).after(NANO)).count(), 0, "an operator does not see it either");
}

#[test]
fn only_being_a_source_keeps_an_entry_young() {
    let mut fdb = Fdb::new(8, 7);
    assert_eq!(fdb.hear(A, port(1), at(0)), Learned::Added);
    for second in 0..=300 {
        assert_eq!(fdb.lookup(A, at(second)), Some(port(1)));
    }
    assert_eq!(fdb.lookup(A, at(301)), None, "being a destination 301 times did not");
    assert_eq!(fdb.refresh(A, port(1), at(301)), Refresh::Fresh);
    assert_eq!(fdb.lookup(A, at(601)), Some(port(1)));
    assert_eq!(fdb.lookup(A, at(602)), None);
}

#[test]
fn a_refresh_is_noted_at_least_every_half_second() {
    let mut fdb = Fdb::new(8, 7);
    assert_eq!(fdb.hear(A, port(1), at(0)), Learned::Added);
    let half = Moment::ZERO.after(Duration::from_millis(500));
    assert_eq!(fdb.refresh(A, port(1), half), Refresh::Fresh);
    assert_eq!(fdb.lookup(A, half.after(AGEING)), Some(port(1)));
    assert_eq!(fdb.lookup(A, half.after(AGEING).after(NANO)), None);
}

#[test]
fn the_last_speaker_wins_and_a_stranger_must_ask_for_the_lock() {
    let mut fdb = Fdb::new(8, 7);
    assert_eq!(fdb.refresh(A, port(1), at(0)), Refresh::Learn);
    assert_eq!(fdb.hear(A, port(1), at(0)), Learned::Added);
    assert_eq!(fdb.hear(A, port(1), at(1)), Learned::Refreshed);
    assert_eq!(fdb.refresh(A, vtep(2), at(2)), Refresh::Learn);
    assert_eq!(fdb.hear(A, vtep(2), at(2)), Learned::Moved);
    assert_eq!((fdb.lookup(A, at(2)), fdb.len()), (Some(vtep(2)), 1));
}

#[test]
fn a_mac_moves_five_times_in_180_seconds_and_then_stays_until_they_have_passed() {
    let mut fdb = Fdb::new(8, 7);
    assert_eq!(fdb.hear(A, port(0), at(0)), Learned::Added);
    for moved in 1..=u32::from(MOVES_MAX) {
        assert_eq!(fdb.hear(A, port(moved), at(1)), Learned::Moved);
    }
    assert_eq!(fdb.hear(A, port(9), at(1)), Learned::Frozen);
    assert_eq!(fdb.hear(A, port(9), at(180)), Learned::Frozen);
    assert_eq!(fdb.lookup(A, at(180)), Some(port(5)));
    assert_eq!(fdb.hear(A, port(9), at(180).after(NANO)), Learned::Moved);
    for moved in 1..u32::from(MOVES_MAX) {
        assert_eq!(fdb.hear(A, port(moved), at(181)), Learned::Moved, "a new window");
    }
    assert_eq!(fdb.hear(A, port(9), at(182)), Learned::Frozen);
}

#[test]
fn a_frozen_mac_whose_holder_falls_silent_is_free_after_ageing() {
    let mut fdb = Fdb::new(8, 7);
    for moved in 0..=u32::from(MOVES_MAX) {
        let _ = fdb.hear(A, port(moved), at(0));
    }
    assert_eq!(fdb.hear(A, port(9), at(100)), Learned::Frozen);
    assert_eq!(fdb.hear(A, port(9), at(300).after(NANO)), Learned::Added);
    assert_eq!(fdb.lookup(A, at(301)), Some(port(9)));
}

#[test]
fn a_static_entry_neither_ages_nor_moves_nor_makes_room() {
    let mut fdb = Fdb::small(2, 2);
    fdb.set_static(&[(A, PortId(1))]);
    assert_eq!(fdb.refresh(A, port(1), at(5)), Refresh::Fresh);
    assert_eq!(fdb.refresh(A, vtep(2), at(5)), Refresh::Conflict);
    assert_eq!(fdb.hear(A, vtep(2), at(5)), Learned::Conflict);
    assert_eq!(fdb.hear(A, port(2), at(5)), Learned::Conflict);
    for n in 0..100 {
        let _ = fdb.hear(mac(n), port(1), at(6));
        let _ = fdb.hear(mac(1_000 + n), vtep(3), at(6));
    }
    fdb.forget(|_| true);
    assert_eq!(fdb.expire(at(1_000_000), 1_000), 0);
    assert_eq!(fdb.lookup(A, at(1_000_000)), Some(port(1)));
    let row = fdb.rows(at(1_000_000)).next();
    assert_eq!(row, Some(FdbRow { mac: A, location: port(1), kind: EntryKind::Static, age: None }));
    fdb.audit();
}

#[test]
fn static_entries_become_exactly_what_control_wants() {
    let mut fdb = Fdb::new(8, 7);
    assert_eq!(fdb.hear(A, vtep(2), at(0)), Learned::Added);
    fdb.set_static(&[(A, PortId(1)), (B, PortId(2))]);
    fdb.audit();
    assert_eq!(fdb.lookup(A, at(0)), Some(port(1)), "what was learned gives way");
    fdb.set_static(&[(A, PortId(3))]);
    fdb.audit();
    assert_eq!((fdb.lookup(A, at(0)), fdb.lookup(B, at(0))), (Some(port(3)), None));
    fdb.set_static(&[]);
    fdb.audit();
    assert!(fdb.is_empty());
    assert_eq!(fdb.hear(A, vtep(2), at(1)), Learned::Added, "and can be learned again");
}

#[test]
fn forgetting_a_location_takes_its_entries_and_no_others() {
    let mut fdb = Fdb::new(8, 7);
    for n in 0..4 {
        let _ = fdb.hear(mac(n), if n % 2 == 0 { port(1) } else { vtep(2) }, at(0));
    }
    fdb.forget(|location| location == vtep(2));
    fdb.audit();
    assert_eq!(fdb.owned(port(1), at(0)), [mac(0), mac(2)]);
    assert_eq!(fdb.owned(vtep(2), at(0)), []);
}

#[test]
fn at_its_limit_a_port_loses_its_own_oldest_and_nobody_elses() {
    let mut fdb = Fdb::new(3, 7);
    assert_eq!(fdb.hear(A, port(2), at(0)), Learned::Added);
    for n in 0..5 {
        assert_eq!(fdb.hear(mac(n), port(1), at(1 + u64::from(n))), Learned::Added);
    }
    assert_eq!(fdb.owned(port(1), at(9)), [mac(2), mac(3), mac(4)]);
    assert_eq!(fdb.lookup(A, at(9)), Some(port(2)));
}

#[test]
fn a_vtep_may_teach_64_times_as_much_as_a_port() {
    let mut fdb = Fdb::new(2, 7);
    for n in 0..200 {
        let _ = fdb.learn(mac(n), vtep(2), at(0));
        let _ = fdb.learn(mac(1_000 + n), port(1), at(0));
    }
    fdb.audit();
    assert_eq!((fdb.owned(vtep(2), at(0)).len(), fdb.owned(port(1), at(0)).len()), (128, 2));
}

#[test]
fn a_lowered_limit_is_reached_by_losing_two_for_each_one_learned() {
    let mut fdb = Fdb::new(10, 7);
    (0..10).for_each(|n| assert_eq!(fdb.hear(mac(n), port(1), at(0)), Learned::Added));
    fdb.set_limit(4);
    let sizes: Vec<_> = (10..18)
        .map(|n| {
            let _ = fdb.hear(mac(n), port(1), at(1));
            fdb.owned(port(1), at(1)).len()
        })
        .collect();
    assert_eq!(sizes, [9, 8, 7, 6, 5, 4, 4, 4]);
    fdb.set_limit(0);
    assert_eq!(fdb.hear(mac(99), port(1), at(2)), Learned::Refused);
}

#[test]
fn a_flood_of_sources_displaces_only_the_flooders_own() {
    let mut fdb = Fdb::small(1_000, 64);
    let victims: Vec<_> =
        (0..8).map(|n| (mac(n), if n % 2 == 0 { port(n) } else { vtep(n as u8) })).collect();
    for &(mac, location) in &victims {
        assert_eq!(fdb.hear(mac, location, at(0)), Learned::Added);
    }
    for n in 0..2_000 {
        assert_eq!(fdb.learn(mac(10_000 + n), port(99), at(1)), Learned::Added);
        assert!(fdb.len() <= 64, "{} entries", fdb.len());
    }
    fdb.audit();
    for (mac, location) in victims {
        assert_eq!(fdb.lookup(mac, at(1)), Some(location), "{mac} was there first and owns one entry");
    }
    assert_eq!(fdb.owned(port(99), at(1)).len(), 56);
}

#[test]
fn eviction_passes_over_what_was_heard_since_it_was_queued() {
    let mut fdb = Fdb::new(4, 7);
    (0..4).for_each(|n| assert_eq!(fdb.hear(mac(n), port(1), at(0)), Learned::Added));
    assert_eq!(fdb.refresh(mac(0), port(1), at(1)), Refresh::Fresh);
    assert_eq!(fdb.refresh(mac(1), port(1), at(1)), Refresh::Fresh);
    let _ = fdb.hear(mac(9), port(1), at(2));
    assert_eq!(fdb.owned(port(1), at(2)), [mac(0), mac(1), mac(3), mac(9)]);
}

#[test]
fn where_everybody_was_heard_again_the_seventeenth_goes() {
    let mut fdb = Fdb::new(20, 7);
    (0..20).for_each(|n| assert_eq!(fdb.hear(mac(n), port(1), at(0)), Learned::Added));
    (0..20).for_each(|n| assert_eq!(fdb.refresh(mac(n), port(1), at(1)), Refresh::Fresh));
    let _ = fdb.hear(mac(99), port(1), at(2));
    assert_eq!(fdb.lookup(mac(SECOND_CHANCES as u32), at(2)), None);
    assert_eq!(fdb.len(), 20);
}

#[test]
fn sweeping_keeps_to_its_budget_and_places_are_used_again() {
    let mut fdb = Fdb::new(100, 7);
    (0..100).for_each(|n| assert_eq!(fdb.learn(mac(n), port(n % 3), at(0)), Learned::Added));
    assert_eq!(fdb.expire(at(300), 1_000), 0, "nothing has aged");
    assert_eq!(fdb.expire(at(301), 30), 30);
    fdb.audit();
    assert_eq!(fdb.expire(at(301), 1_000), 70);
    assert!(fdb.is_empty());
    (0..100).for_each(|n| assert_eq!(fdb.learn(mac(500 + n), vtep(2), at(302)), Learned::Added));
    assert_eq!(fdb.entries.len(), 100);
    fdb.audit();
}

#[test]
fn a_sweep_over_entries_that_are_in_use_keeps_to_its_budget_too() {
    let mut fdb = Fdb::new(100, 7);
    (0..100).for_each(|n| assert_eq!(fdb.learn(mac(n), port(1), at(0)), Learned::Added));
    (0..50).for_each(|n| assert_eq!(fdb.refresh(mac(n), port(1), at(200)), Refresh::Fresh));
    assert_eq!(fdb.expire(at(301), 60), 10, "fifty were put back, ten removed");
    assert_eq!(fdb.expire(at(301), 60), 40);
    assert_eq!(fdb.expire(at(301), 60), 0);
    assert_eq!(fdb.len(), 50);
    fdb.audit();
}

#[test]
fn the_place_of_a_silent_entry_is_free_within_twice_its_lifetime() {
    let mut fdb = Fdb::new(8, 7);
    assert_eq!(fdb.hear(A, port(1), at(0)), Learned::Added);
    assert_eq!(fdb.refresh(A, port(1), at(299)), Refresh::Fresh);
    let gone = (300..).find(|&second| fdb.expire(at(second), 10) == 1);
    assert!(gone.is_some_and(|second| (600..=899).contains(&second)), "{gone:?}");
}

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Refresh(u8, u8),
    Learn(u8, u8),
    Expire,
    SetStatic(Vec<(u8, u8)>),
    Forget(u8),
    Limit(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (mac, place) = (0..24u8, 0..6u8);
    prop_oneof![
        3 => (0..200_000u64).prop_map(Step::Pass),
        4 => (mac.clone(), place.clone()).prop_map(|(m, p)| Step::Refresh(m, p)),
        12 => (mac.clone(), place.clone()).prop_map(|(m, p)| Step::Learn(m, p)),
        1 => Just(Step::Expire),
        1 => prop::collection::vec((mac, 0..3u8), 0..4).prop_map(Step::SetStatic),
        1 => place.prop_map(Step::Forget),
        1 => (0..6usize).prop_map(Step::Limit),
    ]
}

/// Three ports and three VTEPs.
fn place(n: u8) -> Location {
    if n < 3 { port(u32::from(n)) } else { vtep(n) }
}

fn sorted(mut rows: Vec<FdbRow>) -> Vec<FdbRow> {
    rows.sort_by_key(|row| row.mac);
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_history_ends_as_the_model_says(steps in prop::collection::vec(step(), 1..160), full in 3..16usize) {
        let (mut fdb, mut model) = (Fdb::small(4, full), Model::new(4, full));
        let mut now = at(1);
        for step in steps {
            match step {
                Step::Pass(millis) => now = now.after(Duration::from_millis(millis)),
                Step::Refresh(m, p) => {
                    let (m, p) = (mac(m.into()), place(p));
                    prop_assert_eq!(fdb.refresh(m, p, now), model.refresh(m, p, now));
                }
                Step::Learn(m, p) => {
                    let (m, p) = (mac(m.into()), place(p));
                    prop_assert_eq!(fdb.learn(m, p, now), model.learn(m, p, now));
                }
                Step::Expire => prop_assert_eq!(fdb.expire(now, usize::MAX), model.expire(now)),
                Step::SetStatic(mut wanted) => {
                    wanted.sort_unstable();
                    wanted.dedup_by_key(|(m, _)| *m);
                    let wanted: Vec<_> =
                        wanted.into_iter().map(|(m, p)| (mac(m.into()), PortId(p.into()))).collect();
                    fdb.set_static(&wanted);
                    model.set_static(&wanted);
                }
                Step::Forget(p) => {
                    fdb.forget(|location| location == place(p));
                    model.forget(|location| location == place(p));
                }
                Step::Limit(limit) => {
                    fdb.set_limit(limit);
                    model.set_limit(limit);
                }
            }
            fdb.audit();
            prop_assert_eq!(sorted(fdb.rows(now).collect()), sorted(model.rows(now)));
            for n in 0..24 {
                prop_assert_eq!(fdb.lookup(mac(n), now), model.lookup(mac(n), now));
            }
        }
    }
}
