//! The files that a package brings, against the program that they are for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use weft::config::{Config, ENVIRONMENT};

fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(packaging(name)).expect("a file of ours")
}

/// The example with its settings said instead of shown.
fn said() -> String {
    let is_setting = |line: &str| {
        line.starts_with("#[")
            || line.split_once(" = ").is_some_and(|(key, _)| {
                key.strip_prefix('#')
                    .is_some_and(|key| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
            })
    };
    let example = read("config.toml");
    let lines = example.lines().map(|line| if is_setting(line) { &line[1..] } else { line });
    lines.map(|line| format!("{line}\n")).collect()
}

/// The dotted names of all values.
fn keys(table: &toml::Table, prefix: &str, found: &mut BTreeSet<String>) {
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        match value {
            toml::Value::Table(inner) => keys(inner, &format!("{name}."), found),
            _ => drop(found.insert(name)),
        }
    }
}

#[test]
fn the_example_configuration_says_nothing_and_shows_every_key() {
    let load = |text: &str| {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("config.toml");
        std::fs::write(&file, text).expect("our own directory");
        Config::load(Some(&file), |_| None, &[]).unwrap_or_else(|error| panic!("{error}"))
    };
    assert_eq!(load(&read("config.toml")), load(""), "as it is installed it changes nothing");
    let shown = load(&said());
    assert_eq!((shown.node.as_str(), shown.peers.len()), ("host-a", 1));
    let mut named = BTreeSet::new();
    keys(&said().parse().expect("TOML"), "", &mut named);
    let mut expected: BTreeSet<String> = ENVIRONMENT.iter().map(|(_, key)| (*key).to_owned()).collect();
    expected.insert("peer".into());
    assert_eq!(named, expected);
}

#[test]
fn the_help_names_every_variable_and_key() {
    let help = Command::new(env!("CARGO_BIN_EXE_weft")).args(["daemon", "--help"]).output().expect("it runs");
    let help = String::from_utf8(help.stdout).expect("UTF-8");
    for (variable, key) in ENVIRONMENT {
        let last = key.rsplit('.').next().unwrap_or(key);
        let line =
            help.lines().find(|line| line.contains(&format!(" {variable} ")) || line.ends_with(variable));
        assert!(line.is_some_and(|line| line.trim_start().starts_with(last)), "{variable} in\n{help}");
    }
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    let unit = read("weft.service");
    for law in [
        "Type=notify",
        "DeviceAllow=/dev/net/tun rw",
        "NoNewPrivileges=true",
        "ProtectSystem=strict",
        "WatchdogSec=",
    ] {
        assert!(unit.lines().any(|line| line.starts_with(law)), "{law}");
    }
    // The executable is where the test's is, so that the unit is judged and not this machine.
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("weft.service");
    let here = unit
        .replace("/usr/bin/weft", env!("CARGO_BIN_EXE_weft"))
        .lines()
        .filter(|line| !line.starts_with("Documentation="))
        .map(|line| format!("{line}\n"))
        .collect::<String>();
    std::fs::write(&file, here).expect("our own directory");
    let Ok(judged) = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output() else {
        println!("skipped: no systemd-analyze on this machine");
        return;
    };
    let told = String::from_utf8_lossy(&judged.stderr).into_owned();
    let ours: Vec<_> = told.lines().filter(|line| line.contains("weft.service")).collect();
    assert!(ours.is_empty(), "{told}");
}

#[test]
fn the_package_ships_what_exists_or_is_made() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(manifest.join("Cargo.toml")).expect("the manifest");
    let manifest_of_package: toml::Table = text.parse().expect("TOML");
    let deb = &manifest_of_package["package"]["metadata"]["deb"];
    let script = read("build-deb");
    for asset in deb["assets"].as_array().expect("a list") {
        let source = asset[0].as_str().expect("a path");
        let made = source.contains("target/");
        assert!(made || manifest.join(source).exists(), "{source} is not there");
        if let Some(name) = source.strip_prefix("../target/package/") {
            let stem = name.split(['/', '.']).next().expect("a name");
            assert!(script.contains(&format!("$share/{stem}")), "{source} is not made");
        }
    }
    assert!(packaging("deb/postinst").exists() && read("deb/postinst").contains("#DEBHELPER#"));
    assert_eq!(deb["conf-files"][0].as_str(), Some("/etc/weft/config.toml"));
}
