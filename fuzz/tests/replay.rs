//! Corpus, regressions and seeded mutations of both, through every target.

use std::collections::BTreeMap;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use weft_fuzz::mutate::Mutator;
use weft_fuzz::{TARGETS, Target, seeds};

/// Mutations per target; `WEFT_FUZZ_RUNS` asks for another number.
const RUNS: u64 = 10_000;
/// What one input may take. A machine that is busy with something else is given three attempts.
const PATIENCE: Duration = Duration::from_millis(100);
const ATTEMPTS: usize = 3;

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target)
}

/// The inputs of a folder by name; a folder that is not there is empty.
fn inputs(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let named = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, fs::read(entry.path()).expect("a readable file"))
    };
    entries.map(named).collect()
}

fn hex(input: &[u8]) -> String {
    input.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs one input; the panic message of a target is followed by what it takes to repeat it.
fn run((name, body): Target, what: &str, input: &[u8]) {
    let attempts = (0..ATTEMPTS).map(|_| {
        let start = Instant::now();
        let outcome = catch_unwind(|| body(input));
        assert!(
            outcome.is_ok(),
            "{name}: {what} broke a promise (see above). Keep it under regressions/{name}/: {}",
            hex(input)
        );
        start.elapsed()
    });
    let quick = attempts.into_iter().any(|took| took <= PATIENCE);
    assert!(quick, "{name}: {what} takes longer than {PATIENCE:?}: {}", hex(input));
}

fn replay(target: Target) {
    let (name, _) = target;
    let (corpus, regressions) = (inputs(&folder("corpus", name)), inputs(&folder("regressions", name)));
    assert!(corpus.len() >= 10, "{name}: a corpus of {}", corpus.len());
    for (kind, inputs) in [("regressions", &regressions), ("corpus", &corpus)] {
        for (file, input) in inputs {
            run(target, &format!("{kind}/{name}/{file}"), input);
        }
    }
    let all: Vec<_> = corpus.into_values().chain(regressions.into_values()).collect();
    let runs = std::env::var("WEFT_FUZZ_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(RUNS);
    for seed in 0..runs {
        let input = Mutator::new(seed).mutant(&all);
        run(target, &format!("the mutation of seed {seed}"), &input);
    }
}

fn target(name: &str) -> Target {
    *TARGETS.iter().find(|(target, _)| *target == name).expect("a target")
}

#[test]
fn parse_keeps_its_promises() {
    replay(target("parse"));
}

#[test]
fn decap_keeps_its_promises() {
    replay(target("decap"));
}

#[test]
fn from_port_keeps_its_promises() {
    replay(target("from_port"));
}

#[test]
fn gateway_keeps_its_promises() {
    replay(target("gateway"));
}

#[test]
fn first_hop_keeps_its_promises() {
    replay(target("first_hop"));
}

#[test]
fn vnet_keeps_its_promises() {
    replay(target("vnet"));
}

#[test]
fn fdb_history_keeps_its_promises() {
    replay(target("fdb_history"));
}

#[test]
fn rewrite_keeps_its_promises() {
    replay(target("rewrite"));
}

/// `WEFT_FUZZ_SEEDS=write` writes the seeds into the corpus; what fuzzing has added stays.
#[test]
fn the_corpus_holds_the_seeds() {
    let write = std::env::var("WEFT_FUZZ_SEEDS").is_ok_and(|value| value == "write");
    for (name, _) in TARGETS {
        let folder = folder("corpus", name);
        if write {
            fs::create_dir_all(&folder).expect("a folder");
        }
        for (seed, bytes) in seeds::of(name) {
            let path = folder.join(seed);
            if write {
                fs::write(&path, &bytes).expect("a writable file");
            }
            assert_eq!(fs::read(&path).ok(), Some(bytes), "{}", path.display());
        }
    }
}

#[test]
fn every_regression_tells_its_story_by_its_name() {
    for (name, _) in TARGETS {
        for file in inputs(&folder("regressions", name)).keys() {
            assert!(file.split('_').count() >= 3, "{name}/{file}: what was the story?");
        }
    }
}

#[test]
fn every_target_has_its_shell() {
    let shells = fs::read_to_string(folder("shells", "Cargo.toml")).expect("the shells' manifest");
    for (name, _) in TARGETS {
        let shell = fs::read_to_string(folder("fuzz_targets", &format!("{name}.rs"))).expect("a shell");
        assert!(shell.contains(&format!("weft_fuzz::{name}(data)")), "{shell}");
        assert!(shells.contains(&format!("path = \"../fuzz_targets/{name}.rs\"")), "{name}");
    }
}
