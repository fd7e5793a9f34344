//! Histories of the table: what is asked, kept, given up, and how much of it there ever is.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::offload::Offload;

const ROUTER: MacAddr = MacAddr([0x0a, 0x57, 192, 0, 2, 1]);

fn at(millis: u64) -> Moment {
    Moment::from_secs(1_000).after(Duration::from_millis(millis))
}

fn target(segment: u32, host: u32) -> Target {
    Target { segment: SegmentId(segment), address: Ipv4Addr::from_bits(0x0a00_0000 + host).into() }
}

fn mac(n: u32) -> MacAddr {
    MacAddr([2, 0, (n >> 24) as u8, (n >> 16) as u8, (n >> 8) as u8, n as u8])
}

fn packet(from: u32, frame: &[u8]) -> Waiting<'_> {
    Waiting { from: PortId(from), frame, offload: Offload::NONE }
}

fn table() -> Neighbors {
    Neighbors::new(ROUTER, 7)
}

/// Whether this asks everybody.
fn asks_all(question: Option<Question>) -> bool {
    question.is_some_and(|question| question.frame[..6] == MacAddr::BROADCAST.0)
}

#[test]
fn a_packet_waits_for_the_answer() {
    let (mut table, it) = (table(), target(1, 2));
    let Resolved::Asking { question, replaced: false } = table.resolve(it, packet(5, b"one"), at(0)) else {
        panic!("not asked");
    };
    assert!(asks_all(question));
    let again = table.resolve(it, packet(6, b"two"), at(500));
    assert_eq!(again, Resolved::Asking { question: None, replaced: true });
    assert_eq!(table.heard(target(2, 2), mac(3), at(600)), None, "another segment");
    let held = table.heard(it, mac(2), at(700)).unwrap();
    assert_eq!((held.from, &held.frame[..], held.target), (PortId(6), &b"two"[..], it));
    assert_eq!(table.resolve(it, packet(5, b"three"), at(800)), Resolved::Known(mac(2), None));
    assert_eq!(table.poll(at(9_000)), Polled::default());
}

#[test]
fn after_three_questions_a_target_is_given_up() {
    let (mut table, it) = (table(), target(1, 2));
    let _ = table.resolve(it, packet(5, b"one"), at(0));
    assert_eq!(table.poll(at(999)), Polled::default());
    for now in [1_000, 2_000] {
        let polled = table.poll(at(now));
        assert_eq!((polled.questions.len(), polled.unanswered.len()), (1, 0));
        assert_eq!(table.poll(at(now + 999)), Polled::default());
    }
    let polled = table.poll(at(3_000));
    assert_eq!((polled.questions.len(), polled.unanswered.len()), (0, 1));
    assert_eq!(polled.unanswered[0].frame, b"one");
    assert_eq!(table.sizes(), Sizes::default());
    assert_eq!(table.shares.len(), 0);
}

#[test]
fn a_neighbour_in_use_is_asked_again_and_one_that_is_silent_is_forgotten() {
    let (mut table, it) = (table(), target(1, 2));
    let _ = table.resolve(it, packet(5, b"x"), at(0));
    let _ = table.heard(it, mac(2), at(0));
    assert_eq!(table.resolve(it, packet(5, b"x"), at(239_999)), Resolved::Known(mac(2), None));
    let Resolved::Known(_, Some(question)) = table.resolve(it, packet(5, b"x"), at(240_000)) else {
        panic!("not asked again");
    };
    assert_eq!(question.frame[..6], mac(2).0, "that station alone");
    assert_eq!(table.resolve(it, packet(5, b"x"), at(240_999)), Resolved::Known(mac(2), None));
    // What it says renews it, and says where it is now.
    assert_eq!(table.heard(it, mac(9), at(241_000)), None);
    assert_eq!(table.resolve(it, packet(5, b"x"), at(480_000)), Resolved::Known(mac(9), None));
    assert!(matches!(table.resolve(it, packet(5, b"x"), at(540_900)), Resolved::Known(_, Some(_))));
    // Everybody is asked, but not within a second of the last question.
    let late = table.resolve(it, packet(5, b"x"), at(541_000));
    assert_eq!(late, Resolved::Asking { question: None, replaced: false });
    assert_eq!(table.poll(at(541_899)), Polled::default());
    for now in [541_900, 542_900, 543_900] {
        assert!(asks_all(table.poll(at(now)).questions.pop()), "three questions, as to anybody");
    }
    assert_eq!(table.poll(at(544_900)).unanswered.len(), 1);
}

#[test]
fn nobody_becomes_known_uninvited() {
    let mut table = table();
    assert_eq!(table.heard(target(1, 2), mac(2), at(0)), None);
    assert_eq!(table.sizes(), Sizes::default());
    let _ = table.resolve(target(1, 2), packet(5, b"x"), at(0));
    for nobody in [MacAddr::BROADCAST, MacAddr::ZERO, GATEWAY_MAC, ROUTER] {
        assert_eq!(table.heard(target(1, 2), nobody, at(0)), None, "{nobody}");
    }
    assert_eq!(table.sizes(), Sizes { known: 0, asking: 1 });
}

#[test]
fn a_scan_is_refused_at_its_port_its_segment_and_in_all() {
    let mut table = table();
    let mut asked = |segment: u32, port: u32, hosts: u32| {
        let wanted = (0..hosts).filter(|host| {
            let it = target(segment, port * 1_000 + host);
            matches!(table.resolve(it, packet(port, b"x"), at(0)), Resolved::Asking { .. })
        });
        wanted.count()
    };
    assert_eq!(asked(1, 1, 500), ASKING_PER_PORT);
    assert_eq!((2..20).map(|port| asked(1, port, 20)).sum::<usize>(), ASKING_PER_SEGMENT - ASKING_PER_PORT);
    assert_eq!(asked(2, 30, 20), 20, "another segment still may");
    assert_eq!(
        (40..80).map(|port| asked(port, port, 32)).sum::<usize>(),
        ASKING_MAX - ASKING_PER_SEGMENT - 20
    );
    assert_eq!(table.poll(at(1_000)).questions.len(), ASKING_MAX);
}

#[test]
fn a_full_table_refuses_until_something_is_old() {
    let mut table = table();
    let mut fill = |segment: u32, count: usize, now: Moment| {
        (0..count as u32)
            .filter(|&host| {
                let it = target(segment, host);
                let asked = matches!(table.resolve(it, packet(1, b"x"), now), Resolved::Asking { .. });
                asked && table.heard(it, mac(host), now).is_some()
            })
            .count()
    };
    assert_eq!(fill(1, SEGMENT_MAX + 10, at(0)), SEGMENT_MAX);
    assert_eq!((2..=4).map(|segment| fill(segment, SEGMENT_MAX, at(1_000))).sum::<usize>(), SEGMENT_MAX * 3);
    assert_eq!(fill(5, 1, at(1_000)), 0, "full in all");
    assert_eq!(fill(5, 1, at(300_500)), 1, "what is old gives way");
    assert_eq!(table.sizes().known, SEGMENT_MAX * 3 + 1);
    let it = target(2, 0);
    assert!(matches!(table.resolve(it, packet(1, b"x"), at(300_500)), Resolved::Known(..)), "live ones stay");
}

#[test]
fn making_room_is_no_reason_to_ask_too_soon() {
    let mut table = table();
    for host in 0..SEGMENT_MAX as u32 {
        let _ = table.resolve(target(1, host), packet(1, b"x"), at(0));
        let _ = table.heard(target(1, host), mac(host), at(0));
    }
    assert!(matches!(table.resolve(target(1, 0), packet(1, b"x"), at(299_500)), Resolved::Known(_, Some(_))));
    let new = table.resolve(target(1, 9_999), packet(1, b"x"), at(300_000));
    assert!(matches!(new, Resolved::Asking { question: Some(_), .. }));
    assert_eq!(table.sizes(), Sizes { known: 1, asking: 1 });
    let early = table.resolve(target(1, 0), packet(1, b"x"), at(300_000));
    assert_eq!(early, Resolved::Asking { question: None, replaced: false });
}

#[test]
fn segments_that_are_gone_take_everything_with_them() {
    let mut table = table();
    for segment in 1..=2 {
        for host in 0..3 {
            let _ = table.resolve(target(segment, host), packet(1, b"x"), at(0));
        }
        let _ = table.heard(target(segment, 0), mac(1), at(0));
    }
    let lost = table.retain(|segment| segment == SegmentId(2));
    assert_eq!((lost.len(), table.sizes()), (2, Sizes { known: 1, asking: 2 }));
    assert_eq!(table.shares.len(), 1);
}

/// One step of a history: what, whose, and how long after the one before.
fn step() -> impl Strategy<Value = (u8, u32, u32, u64)> {
    let pause = prop_oneof![4 => 0u64..400, 2 => 400u64..2_000, 1 => 100_000u64..320_000];
    (0u8..8, 0u32..3, 0u32..40, pause)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn histories_stay_within_bounds(steps in proptest::collection::vec(step(), 1..300)) {
        let (mut table, mut now) = (table(), at(0));
        let mut asked: HashMap<(SegmentId, Vec<u8>), Moment> = HashMap::new();
        // Packets handed in that are neither sent, replaced, refused nor given up.
        let mut waiting = 0usize;
        for (what, segment, host, pause) in steps {
            now = now.after(Duration::from_millis(pause));
            let it = target(segment, host);
            let mut questions = Vec::new();
            match what {
                0..4 => match table.resolve(it, packet(host % 4, b"x"), now) {
                    Resolved::Known(_, question) => questions.extend(question),
                    Resolved::Asking { question, replaced } => {
                        questions.extend(question);
                        waiting += usize::from(!replaced);
                    }
                    Resolved::Full => {}
                },
                4 | 5 => waiting -= usize::from(table.heard(it, mac(host), now).is_some()),
                6 => {
                    let polled = table.poll(now);
                    questions.extend(polled.questions);
                    waiting -= polled.unanswered.len();
                }
                _ if host == 0 => {
                    waiting -= table.retain(|it| it != SegmentId(segment)).len();
                    asked.retain(|(it, _), _| *it != SegmentId(segment));
                }
                _ => {}
            }
            for question in questions {
                // Everything but the Ethernet header is the same for one target.
                let key = (question.segment, question.frame[14..].to_vec());
                if let Some(last) = asked.insert(key, now) {
                    prop_assert!(now.since(last) >= QUESTION_INTERVAL, "asked too soon");
                }
            }
            prop_assert_eq!(table.sizes().asking, waiting);
            prop_assert!(waiting <= ASKING_MAX);
            let sum: usize = table.shares.values().sum();
            prop_assert_eq!(sum, table.sizes().known + waiting, "shares are what is there");
        }
    }
}
