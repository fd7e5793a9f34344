//! Who is at the other end of the socket, by the word of the kernel.
//!
//! The socket's mode keeps others out already. This is the second lock: modes are changed by hand, and sockets are mounted
//! into containers where the owner is somebody else's.

use rustix::process::geteuid;
use tokio::net::UnixStream;

use super::socket::{GROUP, group_id};

/// The user that may do everything.
const ROOT: u32 = 0;

/// Those who are let in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Callers {
    own: u32,
    group: Option<u32>,
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Peer {
    uid: u32,
    gid: u32,
    /// Supplementary groups.
    groups: Vec<u32>,
}

impl Callers {
    /// Root, the user of this process, and the group `weft` if there is one.
    pub(super) fn of_this_process() -> Self {
        Self { own: geteuid().as_raw(), group: group_id(GROUP) }
    }

    /// Root, and the user of this process.
    pub(crate) fn root() -> Self {
        Self { own: geteuid().as_raw(), group: None }
    }

    /// Whether whoever connected may ask anything. Without credentials nobody may.
    pub(crate) fn admit(self, stream: &UnixStream) -> bool {
        let Ok(credentials) = stream.peer_cred() else { return false };
        let mut peer = Peer { uid: credentials.uid(), gid: credentials.gid(), groups: vec![] };
        if !self.may(&peer) {
            // Read only when it matters: the kernel tells the first group with the connection, the others not.
            peer.groups = credentials.pid().map(supplementary).unwrap_or_default();
        }
        let admitted = self.may(&peer);
        if !admitted {
            tracing::warn!(uid = peer.uid, gid = peer.gid, pid = credentials.pid(), "refused a connection");
        }
        admitted
    }

    fn may(self, peer: &Peer) -> bool {
        let in_group = |gid| peer.gid == gid || peer.groups.contains(&gid);
        peer.uid == ROOT || peer.uid == self.own || self.group.is_some_and(in_group)
    }
}

/// The supplementary groups of a process; none when it has gone.
fn supplementary(pid: i32) -> Vec<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Groups:"));
    line.unwrap_or_default().split_whitespace().filter_map(|gid| gid.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_the_owner_and_the_group_are_let_in() {
        let callers = Callers { own: 500, group: Some(77) };
        let peer = |uid, gid, groups: &[u32]| Peer { uid, gid, groups: groups.to_vec() };
        for admitted in [peer(0, 1, &[]), peer(500, 1, &[]), peer(9, 77, &[]), peer(9, 1, &[5, 77])] {
            assert!(callers.may(&admitted), "{admitted:?}");
        }
        for refused in [peer(9, 1, &[]), peer(77, 1, &[1]), peer(9, 0, &[0, 500])] {
            assert!(!callers.may(&refused), "{refused:?}");
        }
        assert!(!Callers { own: 0, group: None }.may(&peer(9, 77, &[77])));
    }

    #[tokio::test]
    async fn credentials_come_from_the_kernel() {
        let (here, _there) = UnixStream::pair().unwrap();
        assert!(Callers::of_this_process().admit(&here));
        let pid = i32::try_from(std::process::id()).unwrap();
        let ours: Vec<u32> = rustix::process::getgroups().unwrap().iter().map(|gid| gid.as_raw()).collect();
        assert_eq!(supplementary(pid), ours);
        assert!(supplementary(i32::MAX).is_empty());
    }
}
