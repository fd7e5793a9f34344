use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use redb::Database;
use tempfile::TempDir;

use super::faults::{Faults, Faulty};
use super::file::{Device, ENTRIES, META, builder};
use super::*;
use crate::error::{Code, Explain, Problem};
use crate::store::conformance::{key, suite};

fn fresh() -> (RedbStore, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (RedbStore::open(&file_in(&directory)).unwrap(), directory)
}

suite!(fresh, 24);

fn file_in(directory: &TempDir) -> PathBuf {
    directory.path().join("weft.redb")
}

fn hash(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    fs::read(path).unwrap().hash(&mut hasher);
    hasher.finish()
}

fn everything(store: &RedbStore) -> Listing {
    store.list(&Prefix::all()).unwrap()
}

/// A store with a few hundred values, closed.
fn filled(directory: &TempDir) -> (PathBuf, Listing) {
    let path = file_in(directory);
    let store = RedbStore::open(&path).unwrap();
    let entry = |n: usize| (key(&format!("networks/{n}")), vec![n as u8; 100]);
    store.replace((0..300).map(entry).collect(), false).unwrap();
    store.delete(&key("networks/7")).unwrap();
    (path, everything(&store))
}

/// The refusal of the file at `path`, which must be as it was.
fn refused(path: &Path) -> StoreError {
    let before = hash(path);
    let error = RedbStore::open(path).unwrap_err();
    assert_eq!(hash(path), before, "a file that is refused is not touched");
    error
}

#[test]
fn what_was_there_is_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let (path, before) = filled(&directory);
    let store = RedbStore::open(&path).unwrap();
    assert_eq!(everything(&store), before, "values, versions and revision");
    let next = store.put(&key("a"), vec![]).unwrap().revision;
    assert!(next > before.revision);
    let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["weft.redb"], "and nothing else");
}

#[test]
fn a_file_has_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = file_in(&directory);
    let first = RedbStore::open(&path).unwrap();
    let error = RedbStore::open(&path).unwrap_err();
    assert!(
        matches!(&error, StoreError::Locked { holder, .. } if holder.is_none_or(|pid| pid == std::process::id()))
    );
    assert_eq!(error.code(), Code::Conflict);
    let message = error.to_string();
    assert!(message.contains("weft.redb is in use by "), "{message}");
    drop(first);
    assert!(RedbStore::open(&path).is_ok());
}

#[test]
fn a_half_made_store_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("weft.redb.new"), b"interrupted").unwrap();
    let store = RedbStore::open(&file_in(&directory)).unwrap();
    assert!(everything(&store).entries.is_empty());
}

#[test]
fn what_cannot_be_opened_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let in_directory = RedbStore::open(directory.path()).unwrap_err();
    assert!(matches!(in_directory, StoreError::Io { what: "open", .. }), "{in_directory}");
    let nowhere = RedbStore::open(&directory.path().join("missing/weft.redb")).unwrap_err();
    assert!(nowhere.to_string().contains("missing/weft.redb"), "{nowhere}");
}

#[test]
fn no_store_at_all_is_refused_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = file_in(&directory);
    for content in [&b""[..], b"x", b"{\"networks\": []}", &[0; 8192], &[0xff; 8192]] {
        fs::write(&path, content).unwrap();
        let error = refused(&path);
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        let message = Problem::from(error).to_string();
        assert!(
            message.contains("weft.redb is damaged: ") && message.contains("; it was left as it is: "),
            "{message}"
        );
    }
}

#[test]
fn a_truncated_store_is_refused_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = filled(&directory);
    let whole = fs::read(&path).unwrap();
    for keep in [1, 100, 4096, whole.len() / 2, whole.len() - 4096] {
        fs::write(&path, &whole[..keep]).unwrap();
        let error = refused(&path);
        assert!(matches!(error, StoreError::Damaged { .. }), "{keep} bytes: {error}");
    }
}

/// Wherever a bit of the file is wrong, the store is refused as it was found or says what it said before.
#[test]
fn a_flipped_bit_is_found_or_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let (path, before) = filled(&directory);
    let whole = fs::read(&path).unwrap();
    let mut found = 0;
    let header = (0..320).step_by(7);
    for offset in header.chain((4096..whole.len()).step_by(whole.len() / 60)) {
        let mut broken = whole.clone();
        broken[offset] ^= 0x10;
        fs::write(&path, &broken).unwrap();
        let original = hash(&path);
        match RedbStore::open(&path) {
            Err(error) => {
                assert!(matches!(error, StoreError::Damaged { .. }), "byte {offset}: {error}");
                assert_eq!(hash(&path), original, "byte {offset}");
                found += 1;
            }
            Ok(store) => assert_eq!(everything(&store), before, "byte {offset}"),
        }
    }
    assert!(found > 10, "{found} were found");
}

#[test]
fn a_newer_store_is_refused_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = filled(&directory);
    set_meta(&path, "schema", SCHEMA + 1);
    let error = refused(&path);
    assert!(matches!(error, StoreError::Newer { found, .. } if found == SCHEMA + 1));
    let message = Problem::from(error).to_string();
    assert!(
        message
            .contains("has schema 2, this build knows up to 1; it was left as it is: install the newer weft"),
        "{message}"
    );
}

#[test]
fn a_store_that_contradicts_itself_is_refused_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = filled(&directory);
    set_meta(&path, "revision", 0);
    assert!(matches!(refused(&path), StoreError::Damaged { .. }), "values newer than the store");
    set_meta(&path, "revision", 9);
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(ENTRIES).unwrap().insert("not a key", (1, &b""[..])).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(matches!(refused(&path), StoreError::Damaged { .. }), "a key that cannot be");
}

fn set_meta(path: &Path, name: &str, number: u64) {
    let database = Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert(name, number).unwrap();
    transaction.commit().unwrap();
}

fn open_faulty(path: &Path, faults: &Arc<Faults>) -> RedbStore {
    let faults = Arc::clone(faults);
    let open = move |file: &Arc<File>| {
        builder()
            .create_with_backend(Faulty { device: Device(Arc::clone(file)), faults: Arc::clone(&faults) })
    };
    RedbStore::open_with(path, Box::new(open)).unwrap()
}

/// The store as the next process finds it when the power goes at once.
fn after_power_cut(faults: &Faults) -> Listing {
    let directory = tempfile::tempdir().unwrap();
    let path = file_in(&directory);
    File::create(&path).unwrap().write_all(&faults.durable.lock().unwrap()).unwrap();
    everything(&RedbStore::open(&path).unwrap())
}

#[test]
fn an_answer_comes_after_the_disks() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = filled(&directory);
    let faults = Arc::default();
    let store = open_faulty(&path, &faults);
    for n in 0..10 {
        store.put(&key(&format!("n/{n}")), vec![n; 5000]).unwrap();
        assert_eq!(after_power_cut(&faults), everything(&store), "commit {n}");
    }
}

/// Wherever in a commit the medium fails: the request fails with the reason, reads go on, nothing has changed, and when
/// the medium is well again so is the store, on the disk too.
#[test]
fn a_medium_that_fails_fails_the_request_and_nothing_else() {
    use rustix::io::Errno;
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = filled(&directory);
    for errno in [Errno::NOSPC, Errno::IO] {
        let mut failures = 0;
        for operations in 0.. {
            let faults = Arc::default();
            let store = open_faulty(&path, &faults);
            let before = everything(&store);
            let mut watch = store.watch(&Prefix::all(), before.revision).unwrap();
            let name = key(&format!("{}/{operations}", errno.raw_os_error()));
            let large = Transaction::new().create(name.clone(), vec![1; 60_000]).delete(key("networks/8"));
            faults.fail_after(operations, errno);
            let outcome = store.commit(&large);
            if let Err(error) = &outcome {
                let full = matches!(error, StoreError::DiskFull { .. });
                assert!(
                    full == (errno == Errno::NOSPC) && (full || matches!(error, StoreError::Io { .. })),
                    "{error}"
                );
                assert_eq!(everything(&store), before, "reads go on");
                assert!(store.commit(&large).is_err(), "still broken");
                assert_eq!(watch.try_next(), None, "nobody is told what has not happened");
                failures += 1;
            }
            faults.heal();
            store.put(&key("after"), vec![operations as u8]).unwrap();
            assert_eq!(store.get(&name).unwrap().is_some(), outcome.is_ok());
            assert_eq!(
                after_power_cut(&faults),
                everything(&store),
                "{errno:?} after {operations} operations"
            );
            if outcome.is_ok() {
                break;
            }
        }
        assert!(failures > 3, "{failures} places to fail");
        RedbStore::open(&path).unwrap().put(&key("networks/8"), vec![]).unwrap();
    }
}

/// Whenever the power goes, what is found is the state before the last commit or after it.
#[test]
fn a_process_killed_in_a_commit_leaves_one_state_or_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = filled(&directory);
    for operations in 0.. {
        let faults = Arc::default();
        let store = open_faulty(&path, &faults);
        store.put(&key("before"), vec![operations as u8]).unwrap();
        let before = everything(&store);
        faults.fail_after(operations, rustix::io::Errno::IO);
        let outcome = store.put(&key("k"), vec![operations as u8; 9000]);
        drop(store);
        let found = everything(&RedbStore::open(&path).unwrap());
        let k = found.entries.iter().find(|entry| entry.key == key("k")).map(|entry| entry.value[0]);
        if found != before {
            assert_eq!(k, Some(operations as u8));
        }
        if outcome.is_ok() {
            assert_eq!(k, Some(operations as u8), "what was answered is there");
            break;
        }
    }
}
