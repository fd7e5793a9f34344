//! What Docker Engine must find on a host to use the plugin: written, or taken away again.
//!
//! ```text
//! /etc/docker/plugins/weft.spec                        where the plugin's socket is, even while it is not there
//! /etc/systemd/system/docker.service.d/weft.conf       the engine starts after the daemon; where systemd starts the engine
//! ```
//!
//! Either can be repeated. A file that says something else is not ours: it is neither replaced nor removed.

use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::SOCKET;
use crate::error::{Code, Explain};

const SPEC: &str = "etc/docker/plugins/weft.spec";

const DROP_IN: &str = "etc/systemd/system/docker.service.d/weft.conf";

/// Where systemd may find the engine's unit.
const UNITS: [&str; 3] = [
    "etc/systemd/system/docker.service",
    "usr/lib/systemd/system/docker.service",
    "lib/systemd/system/docker.service",
];

const ORDER: &str = "\
# Written by 'weft docker install'; 'weft docker uninstall' removes it.
[Unit]
Wants=weft.service
After=weft.service
";

/// What belongs to the engine, on the host whose root directory this is.
#[derive(Clone, Debug)]
pub struct Install {
    root: PathBuf,
}

/// What was done about one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The file.
    pub path: PathBuf,
    /// `written`, `there already`, `removed`, `not there`, or `not ours, left as it is`.
    pub done: &'static str,
}

/// Why a file could not be had, or not be removed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Somebody else has such a file.
    #[error("{} is there and not by weft", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The kernel refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Explain for InstallError {
    fn code(&self) -> Code {
        match self {
            Self::Foreign { .. } => Code::Conflict,
            Self::Io { .. } => Code::Failed,
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Foreign { .. } => "look at it, and move it away first".into(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run as root".into()
            }
            Self::Io { .. } => "look at its directory".into(),
        })
    }
}

impl Install {
    /// For the host whose root directory is `root`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Writes what is missing.
    ///
    /// # Errors
    /// [`InstallError`]; what was written before stays.
    pub fn install(&self) -> Result<Vec<Step>, InstallError> {
        let files = self.files().into_iter().filter(|file| file.wanted);
        files.map(|file| Ok(Step { done: write(&file)?, path: file.path })).collect()
    }

    /// Removes what [`Install::install`] has written, and the directories of it that are empty then.
    ///
    /// # Errors
    /// [`InstallError`]; what was removed before stays so.
    pub fn uninstall(&self) -> Result<Vec<Step>, InstallError> {
        let files = self.files().into_iter();
        files.map(|file| Ok(Step { done: remove(&file)?, path: file.path })).collect()
    }

    /// Whether systemd must be told that something is different.
    #[must_use]
    pub fn concerns_systemd(&self, steps: &[Step]) -> bool {
        let drop_in = self.root.join(DROP_IN);
        steps.iter().any(|step| step.path == drop_in && matches!(step.done, "written" | "removed"))
    }

    fn files(&self) -> [File; 2] {
        let has_unit = UNITS.iter().any(|unit| self.root.join(unit).exists());
        [
            File { path: self.root.join(SPEC), content: format!("unix://{SOCKET}\n"), wanted: true },
            File { path: self.root.join(DROP_IN), content: ORDER.into(), wanted: has_unit },
        ]
    }
}

/// A file of ours.
struct File {
    path: PathBuf,
    content: String,
    /// Whether this host has use for it.
    wanted: bool,
}

impl File {
    fn error(&self, what: &'static str) -> impl Fn(io::Error) -> InstallError {
        move |source| InstallError::Io { what, path: self.path.clone(), source }
    }

    /// What is there in its place; `None`: nothing.
    fn found(&self) -> Result<Option<Vec<u8>>, InstallError> {
        match std::fs::read(&self.path) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.error("read")(error)),
        }
    }

    fn is(&self, found: &[u8]) -> bool {
        found == self.content.as_bytes()
    }
}

fn write(file: &File) -> Result<&'static str, InstallError> {
    match file.found()? {
        Some(found) if file.is(&found) => return Ok("there already"),
        Some(_) => return Err(InstallError::Foreign { path: file.path.clone() }),
        None => {}
    }
    let directory = file.path.parent().unwrap_or(Path::new("/"));
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(directory);
    made.map_err(file.error("make the directory of"))?;
    // Appears under its name when it is whole.
    let put = || {
        let mut new = tempfile::NamedTempFile::new_in(directory)?;
        new.write_all(file.content.as_bytes())?;
        new.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        new.persist(&file.path).map(drop).map_err(|error| error.error)
    };
    put().map_err(file.error("write"))?;
    Ok("written")
}

fn remove(file: &File) -> Result<&'static str, InstallError> {
    match file.found()? {
        Some(found) if file.is(&found) => {}
        Some(_) => return Ok("not ours, left as it is"),
        None => return Ok("not there"),
    }
    std::fs::remove_file(&file.path).map_err(file.error("remove"))?;
    if let Some(directory) = file.path.parent() {
        // Others' files are in it, most likely.
        let _ = std::fs::remove_dir(directory);
    }
    Ok("removed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(unit: bool) -> (tempfile::TempDir, Install) {
        let root = tempfile::tempdir().unwrap();
        if unit {
            std::fs::create_dir_all(root.path().join("usr/lib/systemd/system")).unwrap();
            std::fs::write(root.path().join(UNITS[1]), "").unwrap();
        }
        let install = Install::new(root.path());
        (root, install)
    }

    fn done(steps: &[Step]) -> Vec<&'static str> {
        steps.iter().map(|step| step.done).collect()
    }

    #[test]
    fn what_was_written_is_removed_and_both_can_be_repeated() {
        let (root, install) = host(true);
        let steps = install.install().unwrap();
        assert_eq!(done(&steps), ["written", "written"]);
        assert!(install.concerns_systemd(&steps));
        let spec = root.path().join(SPEC);
        assert_eq!(std::fs::read_to_string(&spec).unwrap(), "unix:///run/docker/plugins/weft.sock\n");
        assert_eq!(std::fs::metadata(&spec).unwrap().permissions().mode() & 0o777, 0o644);
        let again = install.install().unwrap();
        assert_eq!(done(&again), ["there already", "there already"]);
        assert!(!install.concerns_systemd(&again));
        assert_eq!(done(&install.uninstall().unwrap()), ["removed", "removed"]);
        assert!(!spec.parent().unwrap().exists() && root.path().join("etc/systemd/system").exists());
        assert_eq!(done(&install.uninstall().unwrap()), ["not there", "not there"]);
    }

    #[test]
    fn without_a_unit_of_the_engine_there_is_nothing_to_order() {
        let (root, install) = host(false);
        assert_eq!(done(&install.install().unwrap()), ["written"]);
        assert!(!root.path().join("etc/systemd").exists());
    }

    #[test]
    fn what_others_have_written_stays() {
        let (root, install) = host(true);
        let drop_in = root.path().join(DROP_IN);
        install.install().unwrap();
        std::fs::write(&drop_in, "[Unit]\n").unwrap();
        let error = install.install().unwrap_err();
        assert!(matches!(&error, InstallError::Foreign { path } if *path == drop_in), "{error}");
        assert_eq!(error.code().exit(), 4);
        assert_eq!(done(&install.uninstall().unwrap()), ["removed", "not ours, left as it is"]);
        assert_eq!(std::fs::read_to_string(&drop_in).unwrap(), "[Unit]\n");
    }
}
