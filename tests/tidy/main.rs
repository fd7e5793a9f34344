//! Style as a test: what can be said about the source text itself.

use harness::cmd;
use harness::netns::workspace;
use std::fs;
use std::path::{Path, PathBuf};

/// A file longer than this hides a second room.
const LONGEST: usize = 500;

/// From here on a file is worth a look.
const LONG: usize = 300;

/// The only place with system calls of its own.
const UNSAFE_ROOM: &str = "dataplane/src/io/";

/// The rooms that have no clock, socket, thread or file.
const PURE_ROOMS: [&str; 13] = [
    "dataplane/src/wire/",
    "dataplane/src/switch/",
    "dataplane/src/tunnel/",
    "dataplane/src/gateway/",
    "dataplane/src/nat/",
    "dataplane/src/offload/",
    "dataplane/src/datapath.rs",
    "dataplane/src/datapath/",
    "dataplane/src/house.rs",
    "dataplane/src/counters.rs",
    "dataplane/src/verdict.rs",
    "dataplane/src/tables.rs",
    "dataplane/src/time.rs",
];

/// One source file of the workspace.
struct Source {
    /// Its path from the workspace's root.
    path: String,
    text: String,
}

impl Source {
    /// Its lines without comments, with their numbers from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = (1..).zip(self.text.lines());
        lines
            .map(|(number, line)| (number, line.split("//").next().unwrap_or("")))
            .filter(|(_, code)| !code.is_empty())
    }

    fn is_in(&self, room: &str) -> bool {
        self.path.starts_with(room)
    }
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory of ours").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.starts_with('.') || name == "target" || name == "corpus" {
            continue;
        }
        if path.is_dir() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Every file of the workspace whose name ends in one of these.
fn files(endings: &[&str]) -> Vec<Source> {
    let root = workspace();
    let mut found = Vec::new();
    walk(&root, &mut found);
    found.retain(|path| endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)));
    found
        .into_iter()
        .map(|path| Source {
            text: fs::read_to_string(&path).expect("text"),
            path: path.strip_prefix(&root).expect("inside the root").display().to_string(),
        })
        .collect()
}

fn sources() -> Vec<Source> {
    let found = files(&[".rs"]);
    assert!(found.len() > 20, "the workspace has its sources");
    found
}

#[test]
fn no_source_file_is_too_long() {
    let mut too_long = Vec::new();
    for source in sources() {
        match source.text.lines().count() {
            length if length > LONGEST => too_long.push(format!("{} ({length})", source.path)),
            length if length > LONG => println!("long: {} ({length})", source.path),
            _ => {}
        }
    }
    assert!(too_long.is_empty(), "longer than {LONGEST} lines: {too_long:?}");
}

#[test]
fn unsafe_code_is_in_one_room_and_each_piece_says_why_it_is_sound() {
    // Written in two parts, so that this file does not find itself.
    let word = concat!("un", "safe");
    let starts =
        [format!("{word} {{"), format!("{word} fn"), format!("{word} impl"), format!("{word} extern")];
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, code) in source.code() {
            if !starts.iter().any(|start| code.contains(start)) {
                continue;
            }
            assert!(source.is_in(UNSAFE_ROOM), "{}:{number}: {word} outside {UNSAFE_ROOM}", source.path);
            let before = &lines[number.saturating_sub(8)..number];
            let explained = before.iter().any(|line| line.contains("SAFETY:") || line.contains("# Safety"));
            assert!(explained, "{}:{number}: no SAFETY comment", source.path);
        }
    }
}

#[test]
fn nothing_is_left_for_later() {
    let words =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("unimpl", "emented!")];
    for source in files(&[".rs", ".toml", ".md", "tests/run", ".ci/run"]) {
        for (number, line) in (1..).zip(source.text.lines()) {
            for word in words {
                assert!(!line.contains(word), "{}:{number}: {line}", source.path);
            }
        }
    }
}

#[test]
fn the_source_speaks_of_itself_and_not_of_its_making() {
    let words = [concat!("issue", " #"), concat!("issue", "s show"), concat!("../sha", "red")];
    for source in files(&[".rs", ".toml", ".md", "tests/run", ".ci/run"]) {
        for (number, line) in (1..).zip(source.text.lines()) {
            for word in words {
                assert!(!line.contains(word), "{}:{number}: {line}", source.path);
            }
        }
    }
}

#[test]
fn the_visible_root_is_the_architecture() {
    let mut visible: Vec<String> = fs::read_dir(workspace())
        .expect("the root")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    visible.sort();
    let expected = [
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "bench",
        "control",
        "dataplane",
        "fuzz",
        "tests",
    ];
    assert_eq!(visible, expected);
}

#[test]
fn the_pure_rooms_have_no_clock_thread_socket_or_file() {
    let impure =
        ["std::time::Instant", "std::time::SystemTime", "std::thread", "std::net::UdpSocket", "std::fs"];
    let mut looked_at = 0;
    for source in sources() {
        if !PURE_ROOMS.iter().any(|room| source.is_in(room)) {
            continue;
        }
        looked_at += 1;
        for (number, code) in source.code() {
            for name in impure {
                assert!(!code.contains(name), "{}:{number}: {name}", source.path);
            }
        }
    }
    assert!(looked_at > 10, "the pure rooms are where they were");
}

#[test]
fn the_pure_rooms_build_without_any_crate_of_the_operating_system() {
    let root = workspace().display().to_string();
    let line = [
        "tree",
        "--offline",
        "-p",
        "weft-dataplane",
        "--no-default-features",
        "-e",
        "normal",
        "--prefix",
        "none",
    ];
    let mut command = std::process::Command::new("cargo");
    command.args(line).current_dir(root);
    let tree = cmd::finish_within(cmd::LIMIT, command).must();
    assert!(tree.starts_with("weft-dataplane"), "{tree}");
    for name in ["libc", "rustix", "socket2", "mio", "nix", "tokio"] {
        let found = tree.lines().any(|line| line.split_whitespace().next() == Some(name));
        assert!(!found, "{name} is in the tree of the pure rooms:\n{tree}");
    }
}
