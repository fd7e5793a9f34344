use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::*;

/// A directory with a plugin that is this shell script.
fn plugin(script: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("other");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

fn delegate<'a>(directory: &Path, input: &'a [u8]) -> Delegate<'a> {
    Delegate::find("other", Some(directory.as_os_str()), input).unwrap()
}

#[tokio::test]
async fn a_plugin_that_hangs_is_not_waited_for() {
    let directory = plugin("exec sleep 1000");
    let mut hung = delegate(directory.path(), b"{}");
    hung.patience = Duration::from_millis(50);
    let (code, message) = refusal(hung.add().await);
    assert!(code == own::DELEGATE && message.contains("not done within 50ms"), "{message}");
}

#[tokio::test]
async fn a_plugin_that_does_not_read_or_never_stops_talking_does_not_block() {
    let input = vec![b' '; 1 << 20];
    let deaf = plugin("exec <&-; echo '{\"ips\":[]}'");
    assert_eq!(delegate(deaf.path(), &input).add().await.unwrap(), Attached::default());
    let talkative = plugin("exec cat /dev/zero");
    let (code, message) = refusal(delegate(talkative.path(), b"{}").add().await);
    assert_eq!(code, own::DELEGATE, "{message}");
}

#[tokio::test]
async fn the_first_of_the_path_is_taken_and_hears_the_verb_and_all_of_the_input() {
    let (empty, first) = (tempfile::tempdir().unwrap(), plugin("echo \"$CNI_COMMAND $(cat)\""));
    let second = plugin("exit 1");
    let path = std::env::join_paths([empty.path(), first.path(), second.path()]).unwrap();
    let delegate = Delegate::find("other", Some(&path), b"all of it").unwrap();
    assert_eq!(delegate.call(Verb::Gc).await.unwrap(), b"GC all of it\n");
    let (code, message) = refusal(Delegate::find("third", Some(&path), b""));
    assert!(code == own::DELEGATE && message.contains("'third'"), "{message}");
    assert_eq!(refusal(Delegate::find("other", None, b"")).0, 4);
    assert_eq!(refusal(Delegate::find("other", Some(OsStr::new("")), b"")).0, 4);
}
