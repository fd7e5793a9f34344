//! The switch as a table of examples: frames in, frames out, and exactly these counters move.
//!
//! Each file of `rows/` describes one host and then rows, whose names are sentences. A row is played against a new host
//! with an empty memory, and everything that can be seen is written down under it: every frame and datagram byte for
//! byte, every counter that moved, every station that was learned. The row holds if that is what the file says.
//!
//! ```text
//! row A station behind a VTEP is learned and then answered by unicast
//! tunnel 192.0.2.2 red: udp r a text=hello      what happens
//!   to a: 0242…                                 what comes of it
//!   count red packets 1                         what was counted; what is not listed has not moved
//!   learned red 02:42:0a:01:00:09 at 192.0.2.2
//! ```
//!
//! Lines that begin with two spaces are results. `WEFT_GOLDEN=write cargo test -p weft-tests --test golden` writes them
//! anew; read the difference before you commit it. [`world`], [`play`] and [`frame`] say what may stand in a file.

mod frame;
mod play;
mod world;

use std::fs;
use std::path::{Path, PathBuf};

/// What makes the test write results instead of comparing them.
const WRITE: &str = "WEFT_GOLDEN";

/// One file of rows.
struct File {
    path: PathBuf,
    /// Everything before the first row.
    head: Vec<String>,
    rows: Vec<Row>,
}

/// A row: its `row` line and what follows it.
struct Row {
    name: String,
    lines: Vec<String>,
}

fn is_result(line: &str) -> bool {
    line.starts_with("  ")
}

fn read(path: PathBuf) -> File {
    let text = fs::read_to_string(&path).expect("a readable file");
    let (mut head, mut rows) = (Vec::new(), Vec::<Row>::new());
    for line in text.lines().map(str::to_owned) {
        match (line.strip_prefix("row "), rows.last_mut()) {
            (Some(name), _) => rows.push(Row { name: name.to_owned(), lines: Vec::new() }),
            (None, Some(row)) => row.lines.push(line),
            (None, None) => head.push(line),
        }
    }
    File { path, head, rows }
}

fn files() -> Vec<File> {
    let rows = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/rows");
    let mut paths: Vec<_> =
        fs::read_dir(rows).expect("the rows").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.into_iter().map(read).collect()
}

/// The row's lines as they would be if what happens were right: results replaced, everything else kept.
fn played(file: &File, row: &Row) -> Vec<String> {
    let world = world::World::parse(&file.head);
    let mut host = play::Host::of(&world);
    let blank = row.lines.iter().rev().take_while(|line| line.is_empty()).count();
    let mut lines = Vec::new();
    for line in row.lines[..row.lines.len() - blank].iter().filter(|line| !is_result(line)) {
        lines.push(line.clone());
        lines.extend(host.step(line).into_iter().map(|result| format!("  {result}")));
    }
    lines.extend(host.sum().into_iter().map(|result| format!("  {result}")));
    lines.extend(vec![String::new(); blank]);
    lines
}

/// What an operator would compare: the lines that differ, in order, with their places.
fn difference(expected: &[String], actual: &[String]) -> String {
    let missing = expected.iter().filter(|line| !actual.contains(line)).map(|line| format!("    - {line}"));
    let unexpected =
        actual.iter().filter(|line| !expected.contains(line)).map(|line| format!("    + {line}"));
    let lines: Vec<_> = missing.chain(unexpected).collect();
    if lines.is_empty() { "    the same lines in another order".to_owned() } else { lines.join("\n") }
}

#[test]
fn every_row_behaves_as_it_is_written() {
    let write = std::env::var(WRITE).is_ok_and(|value| value == "write");
    let mut wrong = Vec::new();
    for file in files() {
        let mut text = file.head.clone();
        for row in &file.rows {
            let actual = played(&file, row);
            if actual != row.lines {
                let place = file.path.file_name().unwrap_or_default().to_string_lossy();
                wrong.push(format!("{place}: {}\n{}", row.name, difference(&row.lines, &actual)));
            }
            text.push(format!("row {}", row.name));
            text.extend(actual);
        }
        if write {
            fs::write(&file.path, text.join("\n") + "\n").expect("the file can be written");
        }
    }
    let verdict = format!("{} rows (- as written, + as it is):\n{}", wrong.len(), wrong.join("\n"));
    assert!(write || wrong.is_empty(), "{verdict}\n{WRITE}=write accepts what is");
    println!("{verdict}");
}

#[test]
fn rows_have_names_of_their_own_and_say_what_comes_of_them() {
    let files = files();
    let mut names: Vec<_> = files.iter().flat_map(|file| &file.rows).map(|row| &row.name).collect();
    for row in files.iter().flat_map(|file| &file.rows) {
        assert!(row.lines.iter().any(|line| is_result(line)), "a row without results: {}", row.name);
    }
    let count = names.len();
    assert!(count >= 40, "{count} rows");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "two rows with one name");
}
