use super::*;

fn id(n: u8) -> Id {
    Id::from_bytes([n; 32])
}

fn set(ids: &[u8]) -> BTreeSet<Id> {
    ids.iter().copied().map(id).collect()
}

#[test]
fn what_has_no_name_is_asked_about_more_and_more_rarely() {
    let (mut schedule, began) = (Schedule::default(), Instant::now());
    let mut asked = Vec::new();
    let mut now = began;
    while asked.len() < 14 {
        assert_eq!(schedule.due(&set(&[1]), now), [id(1)]);
        asked.push((now - began).as_millis());
        now = schedule.next().unwrap();
        assert!(schedule.due(&set(&[1]), now - Duration::from_millis(1)).is_empty(), "not before its time");
    }
    assert_eq!(asked[..5], [0, 500, 1_500, 3_500, 7_500]);
    assert_eq!(asked[13] - asked[12], RARELY.as_millis());
    schedule.hurry(id(1), now);
    assert_eq!(schedule.next(), Some(now + SOON), "a call brings it forward");
}

#[test]
fn what_has_its_name_is_not_asked_about() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    schedule.hurry(id(1), now);
    schedule.hurry(id(2), now);
    assert!(schedule.due(&set(&[]), now).is_empty());
    assert_eq!(schedule.due(&set(&[2]), now + SOON), [id(2)]);
    assert!(schedule.due(&set(&[]), now + RARELY).is_empty());
    assert_eq!(schedule.next(), None);
}

#[test]
fn of_many_some_are_asked_about_at_a_time() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    let all: Vec<u8> = (0..40).collect();
    let rounds: Vec<_> = (0..4).map(|_| schedule.due(&set(&all), now).len()).collect();
    assert_eq!(rounds, [16, 16, 8, 0]);
}
