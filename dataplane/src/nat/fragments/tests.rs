//! Fragments told one by one, and histories against a model that keeps every byte.

use std::time::Duration;

use proptest::prelude::*;

use super::model::Model;
use super::*;

const LIFETIME: Duration = Duration::from_secs(15);

fn key(id: u32) -> FragmentKey {
    let source = [192, 0, 2, (id % 2) as u8].into();
    FragmentKey { from: None, source, destination: [198, 51, 100, 1].into(), protocol: 17, id }
}

const fn part(offset: u32, len: u32, more: bool) -> Part {
    Part { id: 0, offset, len, more }
}

fn fragments(limits: FragmentLimits) -> Fragments<u32> {
    Fragments::new(1, limits)
}

fn usual() -> Fragments<u32> {
    fragments(FragmentLimits::default())
}

#[test]
fn what_is_decided_first_holds_for_the_rest() {
    let mut all = usual();
    assert_eq!(all.first(key(1), part(0, 16, true), 7, Moment::ZERO), Ok(vec![]));
    assert_eq!(all.later(key(1), part(16, 16, true), b"b", Moment::ZERO), Ok(Some(7)));
    assert_eq!(all.known(), 1);
    assert_eq!(all.later(key(1), part(32, 3, false), b"c", Moment::ZERO), Ok(Some(7)));
    assert_eq!(all.known(), 0, "complete, so the identification is free");
    assert_eq!(all.first(key(1), part(0, 16, true), 8, Moment::ZERO), Ok(vec![]));
    assert_eq!(all.later(key(1), part(16, 16, false), b"b", Moment::ZERO), Ok(Some(8)));
}

#[test]
fn those_that_overtake_the_first_wait_for_it() {
    let mut all = usual();
    assert_eq!(all.later(key(1), part(32, 3, false), b"c", Moment::ZERO), Ok(None));
    assert_eq!(all.later(key(1), part(16, 16, true), b"b", Moment::ZERO), Ok(None));
    assert_eq!(all.held(), 2);
    let held = all.first(key(1), part(0, 16, true), 7, Moment::ZERO).unwrap();
    assert_eq!(held, [b"c"[..].into(), b"b"[..].into()], "in the order in which they came");
    assert_eq!((all.held(), all.known(), all.lost()), (0, 0, vec![]));
}

#[test]
fn an_overlap_ends_the_datagram_and_a_duplicate_does_not() {
    let mut all = usual();
    assert_eq!(all.later(key(1), part(16, 16, true), b"b", Moment::ZERO), Ok(None));
    let again = all.later(key(1), part(16, 16, true), b"b", Moment::ZERO);
    assert_eq!(again, Err(DropReason::FragmentDuplicate));
    let overlap = all.later(key(1), part(24, 16, true), b"x", Moment::ZERO);
    assert_eq!(overlap, Err(DropReason::FragmentOverlap));
    assert_eq!(all.lost(), [(DropReason::FragmentOverlap, 1)]);
    assert_eq!((all.held(), all.lost()), (0, vec![]), "counted once");
    assert_eq!(all.first(key(1), part(0, 16, true), 7, Moment::ZERO), Err(DropReason::FragmentOverlap));
    let later = Moment::ZERO.after(LIFETIME);
    assert_eq!(all.first(key(1), part(0, 16, true), 7, later), Ok(vec![]), "until it expires");
}

#[test]
fn ends_that_contradict_each_other_are_overlaps() {
    for (one, other) in [
        (part(32, 8, false), part(40, 8, true)),
        (part(32, 8, false), part(48, 8, false)),
        (part(48, 8, true), part(32, 8, false)),
        (part(32, 8, false), part(32, 8, true)),
        (part(32, 8, false), part(16, 8, false)),
    ] {
        let mut all = usual();
        assert_eq!(all.later(key(1), one, b"", Moment::ZERO), Ok(None));
        let placed = all.later(key(1), other, b"", Moment::ZERO);
        assert_eq!(placed, Err(DropReason::FragmentOverlap), "{one:?} {other:?}");
    }
    for beyond in [part(65_528, 8, false), part(u32::MAX, u32::MAX, true), part(8, 0, false)] {
        let placed = usual().later(key(1), beyond, b"", Moment::ZERO);
        assert_eq!(placed, Err(DropReason::FragmentOverlap), "{beyond:?}");
    }
    assert_eq!(usual().later(key(1), part(65_528, 7, false), b"", Moment::ZERO), Ok(None));
}

#[test]
fn the_rest_of_a_refused_datagram_is_refused_for_the_same_reason() {
    let mut all = usual();
    assert_eq!(all.later(key(1), part(16, 16, true), b"b", Moment::ZERO), Ok(None));
    all.refuse(key(1), part(0, 16, true), DropReason::Martian, Moment::ZERO);
    assert_eq!(all.lost(), [(DropReason::Martian, 1)]);
    let rest = all.later(key(1), part(32, 16, false), b"c", Moment::ZERO);
    assert_eq!(rest, Err(DropReason::Martian));

    assert_eq!(all.later(key(2), part(16, 16, false), b"b", Moment::ZERO), Ok(None));
    all.refuse(key(2), part(0, 16, true), DropReason::Martian, Moment::ZERO);
    assert_eq!((all.known(), all.lost()), (1, vec![(DropReason::Martian, 1)]), "complete, so forgotten");
}

#[test]
fn time_ends_all_datagrams() {
    let mut all = usual();
    let _ = all.later(key(1), part(16, 16, true), b"b", Moment::ZERO);
    let _ = all.first(key(2), part(0, 16, true), 7, Moment::from_secs(1));
    all.expire(Moment::from_secs(14));
    assert_eq!((all.known(), all.held()), (2, 1));
    all.expire(Moment::from_secs(15));
    assert_eq!((all.known(), all.held()), (1, 0));
    assert_eq!(all.lost(), [(DropReason::FragmentTimeout, 1)]);
    assert_eq!(all.later(key(2), part(16, 16, false), b"b", Moment::from_secs(16)), Ok(None), "too late");
}

#[test]
fn a_flood_costs_the_oldest_and_stays_within_its_bounds() {
    let mut all = usual();
    for id in 0..200_000u32 {
        let source = IpAddr::from([10, (id >> 16) as u8, (id >> 8) as u8, id as u8]);
        let key = FragmentKey { source, ..key(id) };
        assert_eq!(all.later(key, part(8, 8, false), &[0; 1_400], Moment::ZERO), Ok(None));
        assert!(all.held() <= 1_000 && all.known() <= 4_096);
    }
    assert_eq!(all.lost(), [(DropReason::FragmentLimit, 199_000)]);
    // In the middle of it an honest datagram comes through.
    let honest = key(9);
    assert_eq!(all.later(honest, part(8, 8, false), b"b", Moment::ZERO), Ok(None));
    assert_eq!(all.first(honest, part(0, 8, true), 7, Moment::ZERO), Ok(vec![b"b"[..].into()]));
    assert_eq!((all.order.len(), all.sources.len()), (all.known(), all.known()));
}

#[test]
fn one_source_has_its_share() {
    let mut all = usual();
    let from_one = |id: u32| FragmentKey { source: [192, 0, 2, 1].into(), ..key(id) };
    for id in 0..256 {
        assert_eq!(all.first(from_one(id), part(0, 8, true), 7, Moment::ZERO), Ok(vec![]));
    }
    let one_more = all.first(from_one(256), part(0, 8, true), 7, Moment::ZERO);
    assert_eq!(one_more, Err(DropReason::FragmentLimit));
    assert_eq!(all.first(key(1_000), part(0, 8, true), 7, Moment::ZERO), Ok(vec![]), "another source");
    assert_eq!(all.later(from_one(0), part(8, 8, false), b"", Moment::ZERO), Ok(Some(7)));
    assert_eq!(all.first(from_one(256), part(0, 8, true), 7, Moment::ZERO), Ok(vec![]), "in its place");
}

#[test]
fn a_packet_that_can_never_be_held_costs_nobody_else() {
    let mut all = fragments(FragmentLimits { bytes: 100, ..FragmentLimits::default() });
    assert_eq!(all.later(key(1), part(8, 8, false), &[0; 60], Moment::ZERO), Ok(None));
    let placed = all.later(key(2), part(8, 8, false), &[0; 101], Moment::ZERO);
    assert_eq!(placed, Err(DropReason::FragmentLimit));
    assert_eq!((all.held(), all.lost()), (1, vec![]));
}

/// What happens.
#[derive(Clone, Debug)]
enum Event {
    First(u32, Part),
    Later(u32, Part, usize),
    Refuse(u32, Part),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let id = 0u32..6;
    let first = (1u32..4, prop::bool::weighted(0.95)).prop_map(|(len, more)| part(0, len * 8, more));
    let later =
        (1u32..7, 1u32..4, 0u32..8, prop::bool::weighted(0.7)).prop_map(|(offset, len, odd, more)| {
            part(offset * 8, if more { len * 8 } else { len * 8 - odd }, more)
        });
    prop_oneof![
        3 => (id.clone(), first.clone()).prop_map(|(id, part)| Event::First(id, part)),
        8 => (id.clone(), later, 1usize..60).prop_map(|(id, part, len)| Event::Later(id, part, len)),
        1 => (id, first).prop_map(|(id, part)| Event::Refuse(id, part)),
        1 => (1u64..9).prop_map(Event::Wait),
    ]
}

fn tally(lost: &[(DropReason, u64)]) -> BTreeMap<DropReason, u64> {
    let mut tally = BTreeMap::new();
    lost.iter().for_each(|&(reason, count)| *tally.entry(reason).or_default() += count);
    tally
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn histories_go_as_the_model_says(events in proptest::collection::vec(event(), 1..80)) {
        let limits = FragmentLimits {
            packets: 4, bytes: 150, datagrams: 4, per_source: 3, parts: 4, lifetime: LIFETIME,
        };
        let (mut all, mut model, mut now) = (fragments(limits), Model::default(), Moment::ZERO);
        for (number, event) in events.iter().enumerate() {
            match *event {
                Event::First(id, part) => {
                    let what = number as u32;
                    let expected = model
                        .place(&limits, key(id), part, now)
                        .map(|at| model.decide(at, Ok(what)));
                    let got = all.first(key(id), part, what, now);
                    let got = got.map(|held| held.into_iter().map(Vec::from).collect::<Vec<_>>());
                    prop_assert_eq!(got, expected);
                }
                Event::Later(id, part, len) => {
                    let packet = vec![number as u8; len];
                    let expected = model.later(&limits, key(id), part, &packet, now);
                    prop_assert_eq!(all.later(key(id), part, &packet, now), expected);
                }
                Event::Refuse(id, part) => {
                    if let Ok(at) = model.place(&limits, key(id), part, now) {
                        let held = model.decide(at, Err(DropReason::Martian)).len();
                        model.lose(DropReason::Martian, held);
                    }
                    all.refuse(key(id), part, DropReason::Martian, now);
                }
                Event::Wait(secs) => now = now.after(Duration::from_secs(secs)),
            }
            prop_assert_eq!(all.held(), model.held().len());
            prop_assert_eq!(all.known(), model.datagrams.len());
            prop_assert_eq!(all.bytes, model.held().iter().map(|held| held.len()).sum::<usize>());
        }
        prop_assert_eq!(tally(&all.lost()), tally(&model.lost));
    }
}
