//! Whether a namespace still means anything to anybody.
//!
//! A namespace that holds a TAP of ours lives as long as the TAP, because its descriptors keep the namespace that they were
//! opened in. So its end has to be told otherwise: nobody can get there by its path, no process is in it, and it is
//! mounted nowhere.
//!
//! Not seen: processes of which `/proc` tells this process nothing (other PID namespaces above ours), single threads that
//! are elsewhere than their process, mounts in other mount namespaces, and who only holds a descriptor.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::NetnsId;

/// Which namespace, if it is one, `path` leads to. Cheap: nothing is opened.
#[must_use]
pub fn at(path: &Path) -> Option<NetnsId> {
    fs::metadata(path).ok().map(|meta| NetnsId::of(&meta))
}

/// Every namespace that a process is in or that is mounted somewhere, as far as this process can see.
#[must_use]
pub fn inhabited() -> HashSet<NetnsId> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let inside = processes().filter_map(|path| at(&path));
    inside.chain(mounts.lines().filter_map(mounted)).collect()
}

/// The namespace as a path, by a process that is in it, if there is one.
#[must_use]
pub fn process_in(netns: NetnsId) -> Option<PathBuf> {
    processes().find(|path| at(path) == Some(netns))
}

/// The namespaces of all processes, as paths.
fn processes() -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit());
    processes.map(|entry| entry.path().join("ns/net"))
}

/// The namespace that a line of `/proc/self/mountinfo` is about: its third field is the device, `0:4`, its fourth the
/// root, `net:[4026532281]`.
fn mounted(line: &str) -> Option<NetnsId> {
    let mut fields = line.split(' ').skip(2);
    let (major, minor) = fields.next()?.split_once(':')?;
    let ino = fields.next()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()?;
    Some(NetnsId { dev: rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?), ino })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Netns;

    #[test]
    fn our_own_namespace_is_inhabited_and_found_by_its_path() {
        let ours = Netns::current().unwrap().id();
        assert_eq!(at(Path::new("/proc/self/ns/net")), Some(ours));
        assert!(inhabited().contains(&ours));
        assert!(!inhabited().contains(&NetnsId { dev: ours.dev, ino: 1 }));
        assert_eq!(at(Path::new("/nonexistent/netns")), None);
        assert_eq!(process_in(ours).and_then(|path| at(&path)), Some(ours));
        assert_eq!(process_in(NetnsId { dev: ours.dev, ino: 1 }), None);
    }

    #[test]
    fn mounts_of_namespaces_are_read_and_others_are_not() {
        let line = "1234 25 0:4 net:[4026532281] /run/netns/c1 rw shared:5 - nsfs nsfs rw";
        assert_eq!(mounted(line), Some(NetnsId { dev: 4, ino: 4_026_532_281 }));
        let others = [
            "1234 25 0:4 mnt:[4026532281] /run/x rw - nsfs nsfs rw",
            "25 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw",
            "1234 25 0:4 net:[] /run/x rw - nsfs nsfs rw",
            "1234 25 4 net:[7] /run/x",
            "",
        ];
        assert!(others.iter().all(|line| mounted(line).is_none()));
    }
}
