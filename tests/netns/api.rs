//! The API socket as somebody who does not use our client meets it.

use harness::cmd::LIMIT;
use harness::need;
use harness::wire::Wire;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

fn connect(wire: &Wire) -> UnixStream {
    let stream = UnixStream::connect(wire.daemon.socket()).expect("the daemon listens");
    stream.set_read_timeout(Some(LIMIT)).expect("not zero");
    stream.set_write_timeout(Some(LIMIT)).expect("not zero");
    stream
}

/// Sends these bytes and returns the status and the rest of the answer; `None` when the connection just closes.
fn exchange(wire: &Wire, request: &[u8]) -> Option<(u16, String)> {
    let mut stream = connect(wire);
    // A server that has seen enough may close before it has read everything.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, text))
}

fn post(path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: weft\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn networks(wire: &Wire) -> usize {
    wire.daemon.json(&["network", "ls"]).as_array().expect("an array").len()
}

#[test]
fn an_oversized_body_is_refused() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let before = networks(&wire);
    let body = [b"{\"name\":\"".as_slice(), &vec![b'x'; 8 << 20], b"\"}"].concat();
    let answer = exchange(&wire, &post("/v1/networks", "application/json", &body));
    assert_eq!(answer.map(|(status, _)| status), Some(413));
    assert_eq!(networks(&wire), before);
}

#[test]
fn malformed_bodies_are_refused_with_a_reason() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let before = networks(&wire);
    for body in
        ["", "{", "[]", "null", "\u{feff}{}", "{\"name\":7}", "{\"name\":\"a\",\"surprise\":1}", "\0\0\0\0"]
    {
        let (status, text) =
            exchange(&wire, &post("/v1/networks", "application/json", body.as_bytes())).expect("an answer");
        assert!((400..=422).contains(&status), "{body:?} was answered with {text}");
        assert!(text.contains("\"message\""), "{body:?} was refused without a reason: {text}");
    }
    assert_eq!(networks(&wire), before);
}

#[test]
fn what_is_not_http_is_dropped_and_others_are_served() {
    need!(Root, Tun);
    let mut wire = Wire::blue();
    let half_open = connect(&wire);
    (&half_open).write_all(b"POST /v1/networks HTTP/1.1\r\nContent-Length: 10\r\n\r\n{").expect("it listens");
    for junk in [b"\x16\x03\x01\x02\x00".as_slice(), b"GET\r\n\r\n", &[0xff; 70_000], b"\r\n\r\n\r\n"] {
        let mut stream = connect(&wire);
        let _ = stream.write_all(junk);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    assert_eq!(networks(&wire), 2, "it and bridge are served while another request hangs");
    assert!(wire.daemon.alive());
}

#[test]
fn unknown_paths_and_methods_have_their_own_answers() {
    need!(Root, Tun);
    let wire = Wire::blue();
    for (line, expected) in [("GET /v1/nowhere", 404), ("GET /", 404), ("DELETE /v1/status", 405)] {
        let request = format!("{line} HTTP/1.1\r\nHost: weft\r\nConnection: close\r\n\r\n");
        let answer = exchange(&wire, request.as_bytes());
        assert_eq!(answer.map(|(status, _)| status), Some(expected), "{line}");
    }
}

#[test]
fn the_socket_is_for_root_and_its_group_only() {
    need!(Root, Tun);
    let wire = Wire::blue();
    let mode = std::fs::metadata(wire.daemon.socket()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o660, "{mode:o}");
}
