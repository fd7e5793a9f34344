//! Delegated IPAM: another plugin of `CNI_PATH` that gives addresses, called as a runtime would call it, with the same
//! environment and the whole of standard input.

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::error::Refusal;
use super::result::Attached;
use super::{CniError, Verb};

/// How long the other plugin may take. DHCP takes seconds; longer than this, it is hung.
pub const IPAM_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest answer that is read, in bytes.
const ANSWER_MAX: u64 = 1 << 20;

/// The other plugin, and what it is told.
#[derive(Debug)]
pub(super) struct Delegate<'a> {
    plugin: &'a str,
    executable: PathBuf,
    input: &'a [u8],
    /// How long it may take.
    pub(super) patience: Duration,
}

impl<'a> Delegate<'a> {
    /// The plugin of this name in `path`, a list as `PATH` is.
    ///
    /// # Errors
    /// [`CniError::Delegate`] if there is none, [`CniError::Environment`] if there is no `CNI_PATH`.
    pub(super) fn find(plugin: &'a str, path: Option<&OsStr>, input: &'a [u8]) -> Result<Self, CniError> {
        let path = path.filter(|path| !path.is_empty()).ok_or_else(|| CniError::Environment {
            variable: "CNI_PATH".into(),
            problem: format!("missing, and the IPAM plugin '{plugin}' is looked for there"),
        })?;
        let candidates = std::env::split_paths(path).map(|directory| directory.join(plugin));
        let executable = candidates.into_iter().find(|candidate| candidate.is_file()).ok_or_else(|| {
            CniError::Delegate {
                plugin: plugin.to_owned(),
                why: format!("is in no directory of CNI_PATH, {}", path.display()),
            }
        })?;
        Ok(Self { plugin, executable, input, patience: IPAM_TIMEOUT })
    }

    /// Asks for addresses.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub(super) async fn add(&self) -> Result<Attached, CniError> {
        let answer = self.call(Verb::Add).await?;
        let told = |error: serde_json::Error| self.failed(format!("gave no result: {error}"));
        let value = serde_json::from_slice(&answer).map_err(told)?;
        Attached::read(value, &format!("the result of the IPAM plugin '{}'", self.plugin))
    }

    /// Calls it with another verb than ours, or the same.
    ///
    /// # Errors
    /// [`CniError::Refused`] with its own code, or [`CniError::Delegate`].
    pub(super) async fn call(&self, verb: Verb) -> Result<Vec<u8>, CniError> {
        let child = Command::new(&self.executable)
            .env("CNI_COMMAND", verb.as_str())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.failed(format!("cannot be started: {error}")))?;
        let (status, answer) = match tokio::time::timeout(self.patience, self.converse(child)).await {
            Ok(ended) => ended.map_err(|error| self.failed(format!("cannot be talked to: {error}")))?,
            Err(_) => return Err(self.failed(format!("was not done within {:?}", self.patience))),
        };
        if status.success() {
            return Ok(answer);
        }
        match serde_json::from_slice::<Refusal>(&answer) {
            Ok(refusal) => Err(CniError::Refused { plugin: self.plugin.to_owned(), refusal }),
            Err(_) => Err(self.failed(format!("ended with {status}, and did not say why"))),
        }
    }

    async fn converse(&self, mut child: Child) -> io::Result<(ExitStatus, Vec<u8>)> {
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let tell = async {
            if let Some(mut stdin) = stdin {
                // A plugin need not read what it is told.
                let _ = stdin.write_all(self.input).await;
            }
        };
        let listen = async {
            let mut answer = Vec::new();
            if let Some(stdout) = stdout {
                stdout.take(ANSWER_MAX).read_to_end(&mut answer).await?;
            }
            Ok::<_, io::Error>(answer)
        };
        let ((), answer) = tokio::join!(tell, listen);
        Ok((child.wait().await?, answer?))
    }

    /// An error about the other plugin.
    pub(super) fn failed(&self, why: String) -> CniError {
        CniError::Delegate { plugin: self.plugin.to_owned(), why }
    }
}
