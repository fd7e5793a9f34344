//! Who has a file locked, for the message that says so.

use std::fs::File;
use std::os::unix::fs::MetadataExt;

/// The process that holds a `flock` on the file, as far as this process may know.
pub(super) fn holder(file: &File) -> Option<u32> {
    let inode = file.metadata().ok()?.ino().to_string();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| pid_in(line, &inode))
}

/// The process in a line of `/proc/locks` (proc_locks(5)): `1: FLOCK  ADVISORY  WRITE 4711 00:2e:1234 0 EOF`. The device
/// is not compared: layered file systems show another one there than `stat` does.
fn pid_in(line: &str, inode: &str) -> Option<u32> {
    let fields: Vec<_> = line.split_whitespace().collect();
    match fields.as_slice() {
        [_, "FLOCK", _, "WRITE", pid, place, ..] if place.rsplit(':').next() == Some(inode) => {
            pid.parse().ok().filter(|&pid| pid > 0)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_held_lock_on_this_file_counts() {
        assert_eq!(pid_in("1: FLOCK  ADVISORY  WRITE 4711 00:2e:1234 0 EOF", "1234"), Some(4711));
        for other in [
            "1: FLOCK  ADVISORY  WRITE 4711 00:2e:1235 0 EOF",
            "1: POSIX  ADVISORY  WRITE 4711 00:2e:1234 0 EOF",
            "1: -> FLOCK  ADVISORY  WRITE 4712 00:2e:1234 0 EOF",
            "1: FLOCK  ADVISORY  WRITE 0 00:2e:1234 0 EOF",
            "",
        ] {
            assert_eq!(pid_in(other, "1234"), None, "{other}");
        }
    }
}
