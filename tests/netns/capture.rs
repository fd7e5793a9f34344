//! `weft capture`: a file that other tools read.

use harness::cmd;
use harness::daemon;
use harness::frame::{self, Station, cookie};
use harness::need;
use harness::netns;
use harness::wire::{NETWORK, Wire};
use std::process::{Child, Stdio};

/// Sends broadcasts until the capture has seen enough and ends; returns their payload.
fn talk_until_done(wire: &Wire, capture: &mut Child) -> Vec<u8> {
    let container = wire.container(11);
    let payload = cookie("captured");
    let ended = harness::wait::within(cmd::LIMIT, || {
        container.tap.send(&frame::udp(container.station, Station::EVERYBODY, &payload));
        capture.try_wait().expect("our child")
    });
    if ended.is_none() {
        let _ = capture.kill();
    }
    assert!(ended.is_some_and(|status| status.success()), "the capture ended with {ended:?}");
    payload
}

#[test]
fn a_capture_file_holds_the_frames_and_other_tools_read_it() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let directory = netns::scratch();
    let file = directory.path().join("blue.pcap").display().to_string();
    let api = wire.daemon.api();
    let line = ["-H", api.as_str(), "capture", "-w", &file, "--network", NETWORK, "--count", "5"];
    let mut capture = daemon::command(&line).stderr(Stdio::null()).spawn().expect("the executable is there");
    let payload = talk_until_done(&wire, &mut capture);
    let bytes = std::fs::read(&file).expect("the file is there");
    assert!(frame::carries(&bytes, &payload), "our frames are in it");
    let read = cmd::run("tcpdump", &["-n", "-e", "-r", &file]).must();
    assert_eq!(read.lines().count(), 5, "{read}");
    assert!(
        read.lines()
            .all(|line| line.contains("10.77.0.255") || line.contains("fe80") || line.contains("ARP"))
    );
}

#[test]
fn a_capture_can_go_to_standard_output() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let api = wire.daemon.api();
    let line = ["-H", api.as_str(), "capture", "-w", "-", "--count", "2"];
    let directory = netns::scratch();
    let file = directory.path().join("out.pcap");
    let out = std::fs::File::create(&file).expect("our own directory");
    let mut capture =
        daemon::command(&line).stdout(out).stderr(Stdio::null()).spawn().expect("the executable is there");
    talk_until_done(&wire, &mut capture);
    let read = cmd::run("tcpdump", &["-n", "-r", &file.display().to_string()]).must();
    assert_eq!(read.lines().count(), 2, "{read}");
}

#[test]
fn a_capture_of_what_is_not_there_is_refused() {
    need!(Root, Tun);
    let wire = Wire::blue();
    for what in [["--network", "nowhere"], ["--endpoint", "nobody"]] {
        let refused = wire.daemon.weft(&[&["capture", "-w", "-"], what.as_slice()].concat());
        assert_eq!(refused.code, Some(3), "{}", refused.stderr);
        assert!(refused.stdout.is_empty());
    }
}
