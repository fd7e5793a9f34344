//! The API socket in the file system: whose it is, and whether somebody is behind it.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use crate::error::{Code, Explain};

/// Members of this group may use the socket, if the group exists.
pub const GROUP: &str = "weft";

/// Owner and group may connect, others may not.
const MODE: u32 = 0o660;

/// Only the owner may connect.
const MODE_ROOT: u32 = 0o600;

/// Listens at `path`. A socket that a dead daemon left there is replaced; a living daemon's is not.
///
/// The socket appears under its name only when its owner and mode are set, so that nobody can connect too early.
///
/// # Errors
/// [`SocketError`]; nothing is left behind.
pub fn bind(path: &Path) -> Result<UnixListener, SocketError> {
    bind_for(path, Some(GROUP), MODE)
}

/// As [`bind`], for root alone.
///
/// # Errors
/// [`SocketError`]; nothing is left behind.
pub(crate) fn bind_for_root(path: &Path) -> Result<UnixListener, SocketError> {
    bind_for(path, None, MODE_ROOT)
}

fn bind_for(path: &Path, group: Option<&str>, mode: u32) -> Result<UnixListener, SocketError> {
    match UnixStream::connect(path) {
        Ok(_) => return Err(SocketError::Alive { path: path.into() }),
        Err(e) if is_dead(&e) => {}
        Err(source) => return Err(SocketError::Io { what: "look at", path: path.into(), source }),
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    // Left by a process of the same id that was killed just here.
    let _ = std::fs::remove_file(&temporary);
    let listener = listen(&temporary, path, group, mode);
    if listener.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    listener
}

/// Nobody behind the socket, or no socket.
fn is_dead(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

fn listen(
    temporary: &Path,
    path: &Path,
    group: Option<&str>,
    mode: u32,
) -> Result<UnixListener, SocketError> {
    let failed = |what| move |source| SocketError::Io { what, path: path.into(), source };
    let listener = UnixListener::bind(temporary).map_err(failed("listen at"))?;
    if let Some(gid) = group.and_then(group_id) {
        std::os::unix::fs::chown(temporary, None, Some(gid)).map_err(failed("give to the group weft"))?;
    }
    std::fs::set_permissions(temporary, std::fs::Permissions::from_mode(mode)).map_err(failed("protect"))?;
    std::fs::rename(temporary, path).map_err(failed("put in place"))?;
    Ok(listener)
}

/// The id of a local group. The file is read as it is: a daemon that may run without libc's name services does not ask
/// them.
pub(super) fn group_id(name: &str) -> Option<u32> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// Why there is no API socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A daemon answers there.
    #[error("a daemon is already listening at {}", path.display())]
    Alive {
        /// The socket.
        path: PathBuf,
    },
    /// The kernel refused.
    #[error("cannot {what} the socket {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The socket.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Explain for SocketError {
    fn code(&self) -> Code {
        match self {
            Self::Alive { .. } => Code::Conflict,
            Self::Io { .. } => Code::Failed,
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Alive { .. } => "stop it first, or set another run_dir and state_dir".into(),
            Self::Io { .. } => "check the directory and its permissions, or set another run_dir".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weft.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a socket without a listener is left");

        let listener = bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        let error = bind(&path).unwrap_err();
        assert!(matches!(&error, SocketError::Alive { path: p } if *p == path));
        assert_eq!(error.code().exit(), 4);
        drop(listener);
        assert!(bind(&path).is_ok());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing temporary is left");
    }

    #[tokio::test]
    async fn without_its_directory_there_is_no_socket() {
        let error = bind(Path::new("/nonexistent/weft.sock")).unwrap_err();
        assert!(matches!(error, SocketError::Io { what: "listen at", .. }), "{error}");
    }
}
