//! The lab from end to end, as briefly as it can be. No figure is judged: only that there are figures, that the files are
//! what they claim to be, and that nothing is left behind.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;

/// The executable under test: `WEFT_BIN`, or the release build of this workspace.
fn weft() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("WEFT_BIN") {
        return Some(path.into());
    }
    let own = Path::new(env!("CARGO_BIN_EXE_weft-bench"));
    let built = own.ancestors().nth(2)?.join("release/weft");
    built.exists().then_some(built)
}

/// The lab with `weft` to compare; `None`, with the reason printed, where it cannot run.
fn lab() -> Option<Command> {
    if !geteuid().is_root() {
        println!("skipped: not root");
        return None;
    }
    let Some(weft) = weft() else {
        println!("skipped: no weft; cargo build --release --bin weft, or set WEFT_BIN");
        return None;
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft-bench"));
    command.arg("compare").env("WEFT_BIN", weft);
    Some(command)
}

/// Whether a program can be found.
fn exists(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|dir| dir.join(program).is_file())
}

/// The namespaces that carry this process's id.
fn namespaces_of(pid: u32) -> Vec<String> {
    let entries = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&format!("weftbench-{pid}-"))).collect()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[test]
fn weft_beside_the_kernel() {
    let Some(mut command) = lab() else { return };
    let directory = tempfile::tempdir().unwrap();
    let [json, markdown, svg] = ["out.json", "out.md", "out.svg"].map(|name| directory.path().join(name));
    // Theft and other tests may not make this one fail: every turn counts.
    command.args(["--quick", "--contenders", "weft:udp,kernel", "--variants", "super", "--max-steal", "100"]);
    command.arg("--json").arg(&json).arg("--markdown").arg(&markdown).arg("--svg").arg(&svg);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));

    let report: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    for contender in ["weft:udp", "kernel"] {
        for (workload, metric) in [("tcp1", "gbps"), ("udp64", "flood_kpps"), ("rr", "p50")] {
            let rows = report["rows"].as_array().unwrap();
            let row = rows.iter().find(|row| {
                (&row["contender"], &row["workload"], &row["metric"])
                    == (&contender.into(), &workload.into(), &metric.into())
            });
            let value = row.map_or(&Value::Null, |row| &row["value"]["median"]);
            assert!(
                value.as_f64().is_some_and(|value| value > 0.0),
                "{contender} {workload}: {}",
                text(&output)
            );
        }
    }
    assert!(std::fs::read_to_string(&markdown).unwrap().contains("| | weft:udp | kernel |"));
    assert!(std::fs::read_to_string(&svg).unwrap().trim_end().ends_with("</svg>"));
    assert!(text(&output).contains("TCP, 1 stream: throughput"));
    assert_eq!(namespaces_of(pid), Vec::<String>::new());
}

#[test]
fn masquerade_beside_plain_routing() {
    if !geteuid().is_root() || !exists("nft") {
        println!("skipped: needs root and nft (apt-get install nftables)");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let [json, markdown] = ["out.json", "out.md"].map(|name| directory.path().join(name));
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft-bench"));
    command.args(["nat", "--quick", "--contenders", "direct,kernel", "--variants", "super"]);
    command.args(["--workloads", "tcp-out,tcp-in,tcp-published,cps,rr", "--max-steal", "100"]);
    command.arg("--json").arg(&json).arg("--markdown").arg(&markdown);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));

    let report: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let samples = report["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 2 * 2 * 5, "rounds, contenders, workloads");
    for sample in samples {
        assert_eq!(sample["failure"], Value::Null, "{sample}");
    }
    let made = samples.iter().filter(|sample| sample["workload"] == "cps");
    assert!(
        made.clone().count() == 4
            && made.clone().all(|sample| sample["figures"]["connection_rate"].as_f64() > Some(0.0))
    );
    assert!(std::fs::read_to_string(&markdown).unwrap().contains("| | direct | kernel |"));
    assert!(text(&output).contains("TCP connections: rate, conn/s"));
    assert_eq!(namespaces_of(pid), Vec::<String>::new());
}

#[test]
fn the_cni_plugin_on_a_host_with_endpoints() {
    let Some(command) = lab() else { return };
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("out.json");
    // The same program and environment, another instrument.
    let mut cni = Command::new(command.get_program());
    cni.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    cni.args(["cni", "--quick", "--count", "3", "--samples", "4", "--json"]).arg(&json);
    let child = cni.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let figures: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!((&figures["count"], &figures["samples"]), (&3.into(), &4.into()));
    for verb in ["add", "del", "version"] {
        assert!(figures[verb]["p99_ms"].as_f64() > Some(0.0), "{figures}");
    }
    assert_eq!(namespaces_of(pid), Vec::<String>::new());
}

/// The same program and environment, as another instrument of an engine's; `None` where there is none.
fn docker(words: &[&str]) -> Option<Command> {
    let command = lab()?;
    if let Some(missing) = ["dockerd", "docker", "iptables", "busybox"].iter().find(|name| !exists(name)) {
        println!("skipped: no {missing}");
        return None;
    }
    let mut docker = Command::new(command.get_program());
    docker.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    docker.arg("docker").args(words);
    Some(docker)
}

#[test]
fn containers_of_an_engine() {
    for (words, samples) in [
        (&["local", "--workloads", "tcp1,rr"][..], 2 * 2 * 2),
        (&["outside", "--workloads", "tcp-in,tcp-published"], 2 * 2 * 2),
        (&["hosts", "--contenders", "weft", "--workloads", "tcp1-back,rr"], 2 * 2),
    ] {
        let Some(mut command) = docker(words) else { return };
        let directory = tempfile::tempdir().unwrap();
        let json = directory.path().join("out.json");
        command.args(["--quick", "--max-steal", "100", "--json"]).arg(&json);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let report: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
        let turns = report["samples"].as_array().unwrap();
        assert_eq!(turns.len(), samples, "{}", text(&output));
        for turn in turns {
            assert_eq!(turn["failure"], Value::Null, "{turn}");
        }
        assert_eq!(namespaces_of(pid), Vec::<String>::new());
    }
}

#[test]
fn docker_run_on_a_host_with_endpoints() {
    let Some(mut command) = docker(&["run", "--quick", "--count", "3", "--samples", "2"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("out.json");
    let child =
        command.arg("--json").arg(&json).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let figures: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let run = &figures["runs"][1];
    assert!(
        run["share_ms"].as_f64() > Some(0.0) && run["share_ms"].as_f64() < run["weft_ms"].as_f64(),
        "{run}"
    );
    assert!(figures["calls"]["NetworkDriver.Join"].as_f64() > Some(0.0), "{figures}");
    assert_eq!(namespaces_of(pid), Vec::<String>::new());
}

#[test]
fn a_lab_that_is_interrupted_leaves_nothing_behind() {
    let Some(mut command) = lab() else { return };
    // Long enough to be caught in the middle of it.
    command.args(["--contenders", "kernel,weft:udp", "--variants", "super", "--seconds", "60"]);
    let mut child = Guard(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let pid = child.0.id();
    // Four hosts, four containers: everything is built, and a minute of traffic has begun.
    while namespaces_of(pid).len() < 8 {
        assert!(child.0.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::yield_now();
    }
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(130));
    assert_eq!(namespaces_of(pid), Vec::<String>::new());
}

/// A child that does not outlive a failed test.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // It has ended unless the test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
