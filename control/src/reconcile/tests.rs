use super::*;

fn wanted(n: u8, state: EndpointState, network: &str) -> Wanted {
    let subject = Subject {
        network: Name::new(network).unwrap(),
        name: Name::new(format!("e{n}")).unwrap(),
        id: Id::from_bytes([n; 32]),
        netns: format!("/run/netns/c{n}").into(),
    };
    Wanted { subject, state, port: Some(PortId(n.into())), publishes: false, overdue: false }
}

fn attached(n: u8) -> Wanted {
    wanted(n, EndpointState::Attached, "blue")
}

fn desired(endpoints: &[Wanted]) -> Desired {
    Desired { endpoints: endpoints.to_vec(), legs: vec![], closed: BTreeSet::new() }
}

fn found(sandboxes: &[(u8, Presence)]) -> Actual {
    let sandboxes = sandboxes.iter().map(|(n, presence)| (Id::from_bytes([*n; 32]), presence.clone()));
    Actual { sandboxes: sandboxes.collect(), ..Actual::default() }
}

#[test]
fn what_is_as_it_should_be_needs_no_step() {
    assert_eq!(plan(&Desired::default(), &Actual::default()), []);
    let served = Actual { serving: BTreeSet::from([PortId(1)]), ..found(&[]) };
    assert_eq!(plan(&desired(&[attached(1)]), &served), []);
    let bare = Wanted { port: None, ..attached(2) };
    assert_eq!(plan(&desired(&[bare]), &found(&[(2, Presence::Alive)])), [], "it has no interface to lose");
}

#[test]
fn a_served_port_is_right_until_its_namespace_is_known_to_be_dead() {
    let steps = |presence| {
        let served = Actual { serving: BTreeSet::from([PortId(1)]), ..found(&[(1, presence)]) };
        plan(&desired(&[attached(1)]), &served)
    };
    let subject = || attached(1).subject;
    assert_eq!(steps(Presence::Alive), []);
    assert_eq!(steps(Presence::Unknown("no descriptor".into())), []);
    assert_eq!(steps(Presence::Gone), [Step::Release(subject(), false)]);
    assert_eq!(steps(Presence::Replaced), [Step::Release(subject(), true)]);
}

#[test]
fn what_lives_is_restored_and_what_died_is_released() {
    let all = [attached(1), attached(2), attached(3), attached(4)];
    let actual = found(&[
        (1, Presence::Gone),
        (2, Presence::Alive),
        (3, Presence::Replaced),
        (4, Presence::Unknown("no descriptor".into())),
    ]);
    let subject = |n: usize| all[n - 1].subject.clone();
    let expected = [
        Step::Attach(subject(2)),
        Step::Wait(subject(4), "no descriptor".into()),
        Step::Release(subject(1), false),
        Step::Release(subject(3), true),
    ];
    assert_eq!(plan(&desired(&all), &actual), expected);
}

#[test]
fn an_endpoint_without_interface_dies_with_its_namespace() {
    let bare = Wanted { port: None, ..attached(1) };
    let steps = plan(&desired(std::slice::from_ref(&bare)), &found(&[(1, Presence::Replaced)]));
    assert_eq!(steps, [Step::Release(bare.subject, true)]);
}

#[test]
fn what_was_begun_is_taken_back_even_if_it_is_served() {
    let begun = wanted(1, EndpointState::Attaching, "blue");
    let served = Actual { serving: BTreeSet::from([PortId(1)]), ..found(&[(1, Presence::Alive)]) };
    assert_eq!(plan(&desired(std::slice::from_ref(&begun)), &served), [Step::RollBack(begun.subject)]);
}

#[test]
fn a_network_that_is_being_removed_takes_its_endpoints_with_it() {
    let red = Name::new("red").unwrap();
    let all = [attached(1), wanted(2, EndpointState::Attached, "red")];
    let desired = Desired { closed: BTreeSet::from([red.clone()]), ..desired(&all) };
    let actual = found(&[(1, Presence::Alive), (2, Presence::Alive)]);
    assert_eq!(plan(&desired, &actual), [Step::Attach(all[0].subject.clone()), Step::Remove(red)]);
}

#[test]
fn garbage_comes_last() {
    let stranger = ServedPort { port: PortId(9), tap: "eth0".into() };
    let actual = Actual { strangers: vec![stranger.clone()], ..found(&[(1, Presence::Alive)]) };
    let steps = plan(&desired(&[attached(1)]), &actual);
    assert_eq!(steps, [Step::Attach(attached(1).subject), Step::Close(stranger)]);
}

#[test]
fn every_step_says_what_differs_and_what_to_do() {
    let subject = attached(1).subject;
    let steps = [
        Step::Attach(subject.clone()),
        Step::Wait(subject.clone(), "no descriptor".into()),
        Step::RollBack(subject.clone()),
        Step::Release(subject.clone(), false),
        Step::Release(subject, true),
        Step::Remove(Name::new("blue").unwrap()),
        Step::Close(ServedPort { port: PortId(9), tap: "eth7".into() }),
    ];
    let texts: BTreeSet<String> = steps.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), steps.len(), "no two differences read the same");
    for step in &steps {
        let text = step.to_string();
        assert!(text.contains("e1") || text.contains("blue") || text.contains("eth7"), "{text}");
        assert!(!step.remedy().is_empty() && !text.contains('\n'), "{text}");
    }
}
