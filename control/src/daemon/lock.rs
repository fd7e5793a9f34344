//! One daemon for each state directory.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::DaemonError;

/// The name of the lock file within the state directory.
const LOCK_NAME: &str = "weft.lock";

/// Proof that no other daemon uses a state directory; ends with the process at the latest.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(state_dir: &Path) -> Result<Self, DaemonError> {
        let path = state_dir.join(LOCK_NAME);
        let failed = |source| DaemonError::Directory { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                // The number is for the message only.
                let _ = file.take(16).read_to_string(&mut pid);
                return Err(DaemonError::Locked { state_dir: state_dir.into(), pid: pid.trim().into() });
            }
            Err(errno) => return Err(failed(errno.into())),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Explain;

    #[test]
    fn a_state_directory_has_one_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let first = Lock::take(directory.path()).unwrap();
        let error = Lock::take(directory.path()).unwrap_err();
        let pid = std::process::id().to_string();
        assert!(matches!(&error, DaemonError::Locked { pid: p, .. } if *p == pid), "{error}");
        assert_eq!(error.code().exit(), 4);
        drop(first);
        assert!(Lock::take(directory.path()).is_ok());
    }
}
