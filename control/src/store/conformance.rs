//! What every backend must do: one suite, run by each of them.
//!
//! [`suite`] makes the tests of a backend in its own module, from a function that gives a fresh store and whatever must
//! live as long as that. The model of the property test is a plain map, and versions are compared only as the trait
//! allows: for being equal.

use std::collections::BTreeMap;
use std::sync::Barrier;

use proptest::prelude::*;

use super::*;
use crate::error::{Code, Explain};

pub(super) fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn below(text: &str) -> Prefix {
    Prefix::below(&key(text))
}

fn value(store: &dyn Store, text: &str) -> Option<Vec<u8>> {
    store.get(&key(text)).unwrap().map(|entry| entry.value.to_vec())
}

fn version(store: &dyn Store, text: &str) -> Version {
    store.get(&key(text)).unwrap().unwrap().version
}

/// All that a watch tells without waiting.
fn told(watch: &mut Watch) -> Vec<Notice> {
    std::iter::from_fn(|| watch.try_next()).collect()
}

/// What `listing` becomes by the changes that a watch told.
fn follow(listing: &Listing, notices: Vec<Notice>) -> BTreeMap<Key, Vec<u8>> {
    let mut state = contents(listing);
    for notice in notices {
        let Notice::Changed(change) = notice else { panic!("changes were lost") };
        match change.value {
            Some((value, _)) => state.insert(change.key, value.to_vec()),
            None => state.remove(&change.key),
        };
    }
    state
}

fn contents(listing: &Listing) -> BTreeMap<Key, Vec<u8>> {
    listing.entries.iter().map(|entry| (entry.key.clone(), entry.value.to_vec())).collect()
}

pub(super) fn values_are_kept_and_versions_tell_them_apart(store: &dyn Store) {
    assert_eq!(store.get(&key("a")).unwrap(), None);
    let first = store.put(&key("a"), b"1".to_vec()).unwrap().versions[&key("a")];
    assert_eq!((value(store, "a"), version(store, "a")), (Some(b"1".to_vec()), first));
    let same = store.put(&key("a"), b"1".to_vec()).unwrap().versions[&key("a")];
    assert_ne!(first, same, "the same bytes written again are another value");
    store.delete(&key("a")).unwrap();
    store.delete(&key("a")).unwrap();
    assert_eq!(value(store, "a"), None);
    let again = store.put(&key("a"), vec![]).unwrap().versions[&key("a")];
    assert!(again != first && again != same, "a version never comes back");
    assert_eq!(value(store, "a"), Some(vec![]));
}

pub(super) fn a_list_has_what_is_below_and_nothing_beside(store: &dyn Store) {
    for text in ["n", "n/a", "n/a/1", "n/b", "na", "m/z", "o"] {
        store.put(&key(text), text.as_bytes().to_vec()).unwrap();
    }
    let keys = |prefix: &Prefix| -> Vec<String> {
        store.list(prefix).unwrap().entries.into_iter().map(|entry| entry.key.into()).collect()
    };
    assert_eq!(keys(&below("n")), ["n/a", "n/a/1", "n/b"]);
    assert_eq!(keys(&below("n/a")), ["n/a/1"]);
    assert_eq!(keys(&Prefix::all()), ["m/z", "n", "n/a", "n/a/1", "n/b", "na", "o"]);
    assert!(keys(&below("o")).is_empty());
}

pub(super) fn a_transaction_happens_whole_or_not_at_all(store: &dyn Store) {
    let made = Transaction::new().create(key("name"), b"x".to_vec()).create(key("id"), b"y".to_vec());
    let versions = store.commit(&made).unwrap().versions;
    assert_eq!(versions.len(), 2);
    let before = store.list(&Prefix::all()).unwrap();
    let taken = Transaction::new().put(key("other"), b"z".to_vec()).create(key("name"), b"z".to_vec());
    assert!(matches!(store.commit(&taken), Err(StoreError::Conflict { key: k }) if k == key("name")));
    let stale = Transaction::new()
        .expect(key("id"), Expect::Version(versions[&key("id")]))
        .delete(key("name"))
        .expect(key("missing"), Expect::Version(versions[&key("id")]));
    let error = store.commit(&stale).unwrap_err();
    assert_eq!(error.code(), Code::Conflict);
    assert!(matches!(error, StoreError::Conflict { key: k } if k == key("missing")));
    assert_eq!(store.list(&Prefix::all()).unwrap(), before);
    let held =
        Transaction::new().expect(key("id"), Expect::Version(versions[&key("id")])).delete(key("name"));
    store.commit(&held).unwrap();
    assert_eq!((value(store, "name"), value(store, "id")), (None, Some(b"y".to_vec())));
}

pub(super) fn limits_are_refusals(store: &dyn Store) {
    let commit = |transaction: Transaction| store.commit(&transaction).unwrap_err();
    let twice = Transaction::new().put(key("a"), vec![1]).delete(key("a"));
    assert!(matches!(commit(twice), StoreError::Twice { .. }));
    let expected_twice = Transaction::new().expect(key("a"), Expect::Absent).expect(key("a"), Expect::Absent);
    assert!(matches!(commit(expected_twice), StoreError::Twice { .. }));
    let many =
        |count: usize| (0..count).fold(Transaction::new(), |t, n| t.put(key(&format!("k/{n}")), vec![]));
    assert!(store.commit(&many(TRANSACTION_KEYS_MAX)).is_ok());
    assert!(matches!(commit(many(TRANSACTION_KEYS_MAX + 1)), StoreError::TooManyKeys { count: 65 }));
    assert!(store.put(&key("v"), vec![7; VALUE_MAX]).is_ok());
    let large = store.put(&key("v"), vec![8; VALUE_MAX + 1]).unwrap_err();
    assert!(matches!(large, StoreError::ValueTooLarge { .. }));
    assert_eq!(value(store, "v"), Some(vec![7; VALUE_MAX]));
}

pub(super) fn of_two_racing_clients_one_wins(store: &dyn Store) {
    for round in 0..20 {
        let name = key(&format!("names/{round}"));
        let start = Barrier::new(2);
        let race = |client: u8| {
            let claim = Transaction::new().create(name.clone(), vec![client]);
            start.wait();
            store.commit(&claim)
        };
        let outcomes = std::thread::scope(|scope| {
            let clients = [1, 2].map(|client| scope.spawn(move || (client, race(client))));
            clients.map(|client| client.join().unwrap())
        });
        let winners: Vec<_> =
            outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(c, _)| *c).collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        let lost = outcomes.iter().find_map(|(_, outcome)| outcome.as_ref().err()).unwrap();
        assert!(matches!(lost, StoreError::Conflict { key } if *key == name));
        assert_eq!(store.get(&name).unwrap().unwrap().value[..], [winners[0]]);
    }
}

pub(super) fn a_watch_goes_on_where_a_list_ends(store: &dyn Store) {
    store.put(&key("n/old"), b"1".to_vec()).unwrap();
    let listing = store.list(&below("n")).unwrap();
    store.put(&key("n/between"), b"2".to_vec()).unwrap();
    let mut watch = store.watch(&below("n"), listing.revision).unwrap();
    store.put(&key("beside"), b"3".to_vec()).unwrap();
    let both = Transaction::new().delete(key("n/old")).put(key("n/new"), b"4".to_vec());
    let committed = store.commit(&both).unwrap();
    let notices = told(&mut watch);
    let last = notices.last().cloned();
    assert_eq!(follow(&listing, notices), contents(&store.list(&below("n")).unwrap()));
    assert!(matches!(last, Some(Notice::Changed(change)) if change.revision == committed.revision));
    assert!(told(&mut watch).is_empty());
    store.delete(&key("n/new")).unwrap();
    let next = watch.next_blocking();
    assert!(matches!(next, Some(Notice::Changed(Change { value: None, .. }))), "{next:?}");
}

pub(super) fn a_watcher_that_falls_behind_is_told_so(store: &dyn Store) {
    let start = store.list(&Prefix::all()).unwrap().revision;
    let mut slow = store.watch(&Prefix::all(), start).unwrap();
    let entry = |n: usize| (key(&format!("k/{n}")), vec![]);
    store.replace((0..=WATCH_QUEUE).map(entry).collect(), false).unwrap();
    let notices = told(&mut slow);
    assert_eq!(notices.iter().filter(|notice| **notice == Notice::Lost).count(), 1);
    assert_eq!(notices.last(), Some(&Notice::Lost));
    assert_eq!(slow.next_blocking(), None, "and that was the end");

    let mut late = store.watch(&Prefix::all(), start).unwrap();
    assert_eq!(told(&mut late), [Notice::Lost], "the start is no longer known");
    let future = Revision(store.list(&Prefix::all()).unwrap().revision.0 + 1);
    let mut foreign = store.watch(&Prefix::all(), future).unwrap();
    assert_eq!(told(&mut foreign), [Notice::Lost], "no such moment");
}

pub(super) fn watches_are_counted_while_they_live(store: &dyn Store) {
    let now = store.list(&Prefix::all()).unwrap().revision;
    let watch = || store.watch(&Prefix::all(), now);
    let mut watches: Vec<_> = (0..WATCHES_MAX).map(|_| watch().unwrap()).collect();
    assert!(matches!(watch(), Err(StoreError::TooManyWatches)));
    watches.pop();
    assert!(watch().is_ok());
}

pub(super) fn everything_is_replaced_at_once(store: &dyn Store) {
    let entries = |texts: &[&str]| texts.iter().map(|text| (key(text), text.as_bytes().to_vec())).collect();
    store.replace(entries(&["a", "b"]), false).unwrap();
    let before = store.list(&Prefix::all()).unwrap();
    assert!(matches!(store.replace(entries(&["c"]), false), Err(StoreError::NotEmpty { keys: 2 })));
    assert!(matches!(store.replace(entries(&["c", "c"]), true), Err(StoreError::Twice { .. })));
    assert_eq!(store.list(&Prefix::all()).unwrap(), before);
    let mut watch = store.watch(&Prefix::all(), before.revision).unwrap();
    let many = (0..TRANSACTION_KEYS_MAX * 2).map(|n| (key(&format!("k/{n}")), vec![1])).collect();
    store.replace(many, true).unwrap();
    let after = store.list(&Prefix::all()).unwrap();
    assert_eq!(after.entries.len(), TRANSACTION_KEYS_MAX * 2);
    assert_eq!(follow(&before, told(&mut watch)), contents(&after));
}

/// A step of a random life: which keys are written or removed, and whether the expectation about one is right.
#[derive(Clone, Debug)]
pub(super) struct Step {
    writes: BTreeMap<u8, Option<Vec<u8>>>,
    expect: Option<(u8, bool)>,
}

pub(super) fn histories() -> impl Strategy<Value = Vec<Step>> {
    let write = prop::option::weighted(0.7, prop::collection::vec(any::<u8>(), 0..4));
    let writes = prop::collection::btree_map(0u8..6, write, 0..4);
    let expect = prop::option::of((0u8..6, prop::bool::weighted(0.7)));
    prop::collection::vec((writes, expect).prop_map(|(writes, expect)| Step { writes, expect }), 0..25)
}

/// Every history leaves what a plain map would hold, and a watch from its start tells the way there.
pub(super) fn a_history_agrees_with_a_plain_map(store: &dyn Store, steps: Vec<Step>) {
    let name = |n: u8| key(&format!("h/{n}"));
    let start = store.list(&below("h")).unwrap();
    let mut watch = store.watch(&below("h"), start.revision).unwrap();
    let mut model: BTreeMap<u8, (Vec<u8>, Version)> = BTreeMap::new();
    let mut spent: BTreeMap<u8, Version> = BTreeMap::new();
    for Step { writes, expect } in steps {
        let mut transaction = Transaction::new();
        if let Some((n, right)) = expect {
            let is = model.get(&n).map_or(Expect::Absent, |&(_, version)| Expect::Version(version));
            let was = Expect::Version(spent.get(&n).copied().unwrap_or(Version(u64::MAX)));
            transaction = transaction.expect(name(n), if right { is } else { was });
        }
        for (&n, write) in &writes {
            transaction = match write {
                Some(value) => transaction.put(name(n), value.clone()),
                None => transaction.delete(name(n)),
            };
        }
        let right = expect.is_none_or(|(_, right)| right);
        match store.commit(&transaction) {
            Ok(committed) => {
                assert!(right, "an expectation that was wrong did not stop {transaction:?}");
                for (n, write) in writes {
                    let old = match write {
                        Some(value) => model.insert(n, (value, committed.versions[&name(n)])),
                        None => model.remove(&n),
                    };
                    spent.extend(old.map(|(_, version)| (n, version)));
                }
            }
            Err(StoreError::Conflict { key }) => {
                assert!(!right && expect.is_some_and(|(n, _)| key == name(n)), "{key}: {transaction:?}");
            }
            Err(other) => panic!("{other}"),
        }
        for n in 0..6 {
            let found = store.get(&name(n)).unwrap().map(|entry| (entry.value.to_vec(), entry.version));
            assert_eq!(found.as_ref(), model.get(&n));
        }
    }
    let expected: BTreeMap<_, _> = model.into_iter().map(|(n, (value, _))| (name(n), value)).collect();
    assert_eq!(contents(&store.list(&below("h")).unwrap()), expected);
    assert_eq!(follow(&start, told(&mut watch)), expected);
}

/// The tests of a backend. `$fresh` gives an empty store, and what must live as long as it.
macro_rules! suite {
    ($fresh:expr, $cases:expr) => {
        mod conforms {
            use proptest::prelude::*;

            use super::*;
            use crate::store::conformance as suite;

            macro_rules! each {
                ($name:ident) => {
                    #[test]
                    fn $name() {
                        let (store, _keep) = $fresh();
                        suite::$name(&store);
                    }
                };
            }

            each!(values_are_kept_and_versions_tell_them_apart);
            each!(a_list_has_what_is_below_and_nothing_beside);
            each!(a_transaction_happens_whole_or_not_at_all);
            each!(limits_are_refusals);
            each!(of_two_racing_clients_one_wins);
            each!(a_watch_goes_on_where_a_list_ends);
            each!(a_watcher_that_falls_behind_is_told_so);
            each!(watches_are_counted_while_they_live);
            each!(everything_is_replaced_at_once);

            proptest! {
                #![proptest_config(ProptestConfig::with_cases($cases))]

                #[test]
                fn a_history_agrees_with_a_plain_map(steps in suite::histories()) {
                    let (store, _keep) = $fresh();
                    suite::a_history_agrees_with_a_plain_map(&store, steps);
                }
            }
        }
    };
}
pub(super) use suite;
