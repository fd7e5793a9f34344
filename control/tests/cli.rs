//! The executable as a stranger meets it, as far as that needs no privileges.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};
use std::thread;

fn weft(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

/// Exit code, standard output, standard error.
fn outcome(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the executable runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    outcome(&mut weft(args))
}

/// Runs a command that must refuse in one line, with nothing on standard output; gives code and line.
fn refusal(command: &mut Command) -> (Option<i32>, String) {
    let (code, stdout, stderr) = outcome(command);
    assert_eq!((stdout.as_str(), stderr.lines().count()), ("", 1), "{stderr}");
    assert!(stderr.starts_with("weft: "), "{stderr}");
    (code, stderr.trim_start_matches("weft: ").trim_end().to_owned())
}

fn daemon_refusal(config: &str, args: &[&str]) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("config.toml");
    std::fs::write(&file, config).expect("our own directory");
    let (code, line) = refusal(weft(&["daemon", "--config"]).arg(&file).args(args));
    (code, line.replace(&file.display().to_string(), "FILE"))
}

#[test]
fn help_teaches_the_tool() {
    let (code, help, stderr) = run(&["--help"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for word in [
        "demo",
        "daemon",
        "status",
        "stats",
        "network",
        "endpoint",
        "fdb",
        "capture",
        "node",
        "docker",
        "completion",
        "man",
        "Exit codes",
        "WEFT_HOST",
    ] {
        assert!(help.contains(word), "{word} is missing in\n{help}");
    }
    let (_, help, _) = run(&["daemon", "--help"]);
    for key in
        ["state_dir", "WEFT_UNDERLAY_ADDRESS", "[[peer]]", "workers", "WEFT_METRICS_LISTEN", "log", "SIGHUP"]
    {
        assert!(help.contains(key), "{key} is missing in\n{help}");
    }
    let (_, help, _) = run(&["network", "create", "--help"]);
    for word in ["--subnet", "--vni", "anti_spoof", "storm_kpps"] {
        assert!(help.contains(word), "{word} is missing in\n{help}");
    }
}

#[test]
fn what_docker_needs_is_written_and_removed() {
    let root = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(root.path().join("lib/systemd/system")).expect("our own directory");
    std::fs::write(root.path().join("lib/systemd/system/docker.service"), "").expect("our own directory");
    let docker = |verb: &str| outcome(weft(&["docker", verb, "--root"]).arg(root.path()));
    let spec = root.path().join("etc/docker/plugins/weft.spec");
    let (code, stdout, stderr) = docker("install");
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with(&format!("{}: written\n", spec.display())), "{stdout}");
    assert!(
        stdout.contains("docker.service.d/weft.conf: written") && stderr.contains("daemon-reload"),
        "{stdout}{stderr}"
    );
    assert!(spec.exists());
    let (code, stdout, stderr) = docker("uninstall");
    assert_eq!((code, stderr.contains("daemon-reload")), (Some(0), true));
    assert!(stdout.contains("weft.spec: removed") && !spec.exists(), "{stdout}");
    assert_eq!(docker("uninstall").1.matches("not there").count(), 2);
    std::fs::create_dir_all(&spec).expect("our own directory");
    let (code, line) = refusal(weft(&["docker", "install", "--root"]).arg(root.path()));
    assert_eq!(code, Some(1), "{line}");
}

#[test]
fn the_version_is_data() {
    let (code, stdout, stderr) = run(&["--version"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(stdout, format!("weft {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn without_a_command_help_is_wrong_usage() {
    let (code, stdout, stderr) = run(&[]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("Usage: weft"));
}

#[test]
fn a_configuration_error_names_file_line_and_key() {
    let (code, line) = daemon_refusal("node = 'a'\n\n[underlay]\nadress = '10.9.0.1'\n", &[]);
    assert_eq!(code, Some(2));
    assert!(line.starts_with("FILE, line 4: unknown field `adress`"), "{line}");

    let (code, line) = daemon_refusal("[underlay]\naddress = '239.0.0.1'", &[]);
    assert_eq!(code, Some(2));
    assert!(line.starts_with("FILE, line 2: underlay.address = 239.0.0.1: "), "{line}");

    let own = "[underlay]\naddress = '10.9.0.1'\n[[peer]]\naddress = '10.9.0.1'";
    let (code, line) = daemon_refusal(own, &[]);
    assert_eq!(code, Some(2));
    assert!(
        line.starts_with("FILE, line 4: peer.address = 10.9.0.1: ") && line.contains("this very host"),
        "{line}"
    );

    let (code, line) = daemon_refusal("[log]\nformat = 'xml'", &[]);
    assert_eq!(code, Some(2));
    assert!(line.starts_with("FILE, line 2: log.format = xml: ") && line.contains("json"), "{line}");

    let (code, line) = daemon_refusal("[gossip]\nlisten = '0.0.0.0:7946'", &[]);
    assert_eq!(code, Some(2));
    assert!(line.starts_with("FILE, line 1: 'gossip' is not in this build"), "{line}");

    let (code, line) = daemon_refusal("", &["--set", "underlay.port=0"]);
    assert_eq!(code, Some(2));
    assert!(line.starts_with("--set underlay.port=0: underlay.port = 0: "), "{line}");
}

#[test]
fn variables_are_checked_as_the_file_is() {
    let (code, line) = refusal(weft(&["daemon"]).env("WEFT_UNDERLAY_ADDRESS", "10.9.0.256"));
    assert_eq!(code, Some(2));
    assert!(
        line.starts_with("WEFT_UNDERLAY_ADDRESS: underlay.address = 10.9.0.256: not an IP address"),
        "{line}"
    );
}

#[test]
fn a_configuration_file_that_is_named_must_exist() {
    let (code, line) = refusal(&mut weft(&["daemon", "--config", "/nonexistent/weft.toml"]));
    assert_eq!(code, Some(3));
    assert!(line.contains("/nonexistent/weft.toml"), "{line}");
}

#[test]
fn a_journal_that_is_not_there_is_told() {
    if std::path::Path::new("/run/systemd/journal/socket").exists() {
        println!("skipped: there is a journal on this machine");
        return;
    }
    let (code, line) = daemon_refusal("", &["--set", "log.format=journald"]);
    assert_eq!(code, Some(1));
    assert!(line.starts_with("log.format = journald: cannot reach the journal: "), "{line}");
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, stderr) = run(&["completion", shell]);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{shell}");
        for word in ["disconnect", "prune", "ip-range"] {
            assert!(script.contains(word), "{word} is missing in that of {shell}");
        }
    }
}

#[test]
fn every_command_has_its_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("new/man1");
    let (code, stdout, stderr) = run(&["man", pages.to_str().unwrap()]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for name in
        ["weft", "weft-daemon", "weft-network", "weft-network-create", "weft-fdb-show", "weft-node-ls"]
    {
        let page = std::fs::read_to_string(pages.join(format!("{name}.1")))
            .unwrap_or_else(|_| panic!("no {name}.1"));
        assert!(page.contains(".SH SYNOPSIS") && page.contains(".SH NAME"), "{name}");
    }
    assert_eq!(stdout.lines().count(), std::fs::read_dir(&pages).unwrap().count());
    let create = std::fs::read_to_string(pages.join("weft-network-create.1")).unwrap();
    assert!(create.contains("storm_kpps") && create.contains("ip\\-range"), "{create}");

    let (code, line) = refusal(&mut weft(&["man", "/proc/nowhere"]));
    assert_eq!(code, Some(1));
    assert!(line.contains("/proc/nowhere"), "{line}");
}

#[test]
fn pruning_asks_first_and_a_no_is_a_no() {
    let (code, line) = refusal(weft(&["network", "prune"]).env("WEFT_HOST", "unix:///nonexistent/weft.sock"));
    assert_eq!(code, Some(2), "before any daemon is asked");
    assert!(line.contains("--force"), "{line}");

    for (answer, reached) in [("n\n", false), ("\n", false), ("yes\n", true)] {
        let (mut person, terminal) = terminal();
        person.write_all(answer.as_bytes()).unwrap();
        let mut command = weft(&["network", "prune"]);
        let asked = command.env("WEFT_HOST", "unix:///nonexistent/weft.sock").stdin(terminal);
        let (code, stdout, stderr) = outcome(asked);
        assert!(stdout.is_empty() && stderr.contains("Continue? [y/N] "), "{stderr}");
        assert_eq!(code, Some(if reached { 5 } else { 0 }), "{answer:?}: {stderr}");
    }
}

/// Both ends of a terminal: the person's, and the program's.
fn terminal() -> (std::fs::File, std::fs::File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&person).expect("a terminal");
    unlockpt(&person).expect("a terminal");
    let path = ptsname(&person, Vec::new()).expect("a terminal");
    let program = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path.to_str().expect("a terminal"))
        .expect("a terminal");
    (person.into(), program)
}

/// Refuses so many requests: of `taken` with a conflict, of anything else with not found.
fn refuse(listener: &UnixListener, requests: usize) {
    for _ in 0..requests {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut request = [0; 4096];
        let read = stream.read(&mut request).expect("a request");
        let taken = String::from_utf8_lossy(&request[..read]).contains("/taken ");
        let (status, code) = if taken { (409, "conflict") } else { (404, "not_found") };
        let body = format!(r#"{{"code":"{code}","message":"no","remedy":null}}"#);
        let length = body.len();
        write!(stream, "HTTP/1.1 {status} No\r\ncontent-length: {length}\r\n\r\n{body}")
            .expect("the client waits");
    }
}

#[test]
fn of_several_that_fail_the_worst_counts() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("weft.sock");
    let host = format!("unix://{}", socket.display());
    let listener = UnixListener::bind(&socket).unwrap();
    for (keys, expected) in [(["a", "b"], 3), (["taken", "b"], 4), (["a", "taken"], 4)] {
        for verb in ["rm", "inspect"] {
            let listener = listener.try_clone().unwrap();
            let daemon = thread::spawn(move || refuse(&listener, 2));
            let (code, stdout, stderr) = run(&["-H", &host, "network", verb, keys[0], keys[1]]);
            daemon.join().unwrap();
            assert_eq!((code, stderr.lines().count()), (Some(expected), 2), "{verb} {keys:?}: {stderr}");
            assert!(matches!(stdout.trim(), "" | "[]"), "{stdout}");
        }
    }
}

/// Answers one request with an empty list.
fn answer_once(listener: &UnixListener) {
    let (mut stream, _) = listener.accept().expect("a client");
    let mut request = [0; 4096];
    let read = stream.read(&mut request).expect("a request");
    assert!(request[..read].starts_with(b"GET /v1/networks HTTP/1.1"));
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]").expect("the client waits");
}

#[test]
fn a_reader_that_has_left_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("weft.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let host = format!("unix://{}", socket.display());
    let nobody = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    for args in [&["--help"][..], &["network", "ls"], &["network", "ls", "--format", "json"]] {
        let daemon = (args[0] != "--help").then(|| {
            let listener = listener.try_clone().unwrap();
            thread::spawn(move || answer_once(&listener))
        });
        let mut child =
            weft(args).args(["-H", &host]).stdout(nobody()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""), "{args:?}");
        if let Some(daemon) = daemon {
            daemon.join().unwrap();
        }
    }
}
