//! How long a container runtime waits for the CNI plugin: ADD and DEL on a host with many endpoints, each from the start
//! of the process to its end.
//!
//! The runtime's side is as small as it can be: a process with its environment and its standard input, in the host's
//! namespace. The container's namespace is there already; making it is the runtime's own work.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use crate::endpoints::{Lab, NETWORK, Plan, Plugin, refused};
use crate::error::LabError;
use crate::interrupt;
use crate::measure::quantiles::Quantiles;
use crate::stage::netns::Namespace;

/// What came of it. Times are in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    count: usize,
    samples: usize,
    add: Quantiles,
    del: Quantiles,
    /// VERSION: the process alone, which asks nobody.
    version: Quantiles,
}

/// Fills a host and calls the plugin.
///
/// # Errors
/// [`LabError`]; what was made is removed.
pub(crate) fn run(weft: &Path, plan: Plan) -> Result<Figures, LabError> {
    let (lab, _) = Lab::filled(weft, plan.count, Plugin::Off)?;
    let container = Namespace::new("container")?;
    let input = json!({
        "cniVersion": "1.1.0", "name": NETWORK, "type": "weft", "host": format!("unix://{}", lab.socket().display()),
    });
    let runtime = Runtime { weft, lab: &lab, netns: container.path(), input: input.to_string() };
    let (mut add, mut del, mut version) = (Vec::new(), Vec::new(), Vec::new());
    for sample in 0..plan.samples {
        interrupt::check()?;
        let id = format!("sample-{sample}");
        add.push(runtime.call("ADD", &id)?);
        del.push(runtime.call("DEL", &id)?);
        version.push(runtime.call("VERSION", &id)?);
    }
    Ok(Figures {
        count: plan.count,
        samples: plan.samples,
        add: Quantiles::of(&add),
        del: Quantiles::of(&del),
        version: Quantiles::of(&version),
    })
}

/// The figures, a line each.
pub(crate) fn render(figures: &Figures) -> String {
    format!(
        "the CNI plugin from its start to its end, {} times with {} endpoints present:\n{}{}{}",
        figures.samples,
        figures.count,
        figures.add.line("ADD"),
        figures.del.line("DEL"),
        figures.version.line("VERSION"),
    )
}

/// What a container runtime does.
struct Runtime<'a> {
    weft: &'a Path,
    lab: &'a Lab,
    netns: String,
    input: String,
}

impl Runtime<'_> {
    /// Calls the plugin; how long that took.
    fn call(&self, verb: &str, container: &str) -> Result<Duration, LabError> {
        let mut command = Command::new(self.weft);
        command.env_clear().env("CNI_COMMAND", verb).env("CNI_CONTAINERID", container);
        command.env("CNI_NETNS", &self.netns).env("CNI_IFNAME", "eth0").env("CNI_PATH", "/opt/cni/bin");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let started = Instant::now();
        let mut child = self.lab.host.spawn(command)?;
        let failed = || LabError::io(format!("call the plugin for {verb}"));
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(self.input.as_bytes()).map_err(failed())?;
        }
        let output = child.wait_with_output().map_err(failed())?;
        let elapsed = started.elapsed();
        if output.status.success() {
            Ok(elapsed)
        } else {
            Err(refused(String::from_utf8_lossy(&output.stdout).trim()))
        }
    }
}
