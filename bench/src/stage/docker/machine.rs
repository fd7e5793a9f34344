//! A Docker Engine of the lab's own on a host's network.
//!
//! It has a `/run` of its own, so that it finds its plugin, its socket and its pid file where every engine does, and none
//! of them is the machine's. Everything else of the file system is shared.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use crate::error::LabError;
use crate::stage::command::{find, finish, require, run};
use crate::stage::daemon::{Daemon, directory, text};
use crate::stage::netns::Namespace;

/// How long the engine may take to start, or over one command.
const LIMIT: Duration = Duration::from_secs(120);

/// The image of every container: busybox and nothing else.
pub(crate) const IMAGE: &str = "weftbench";

/// Makes sure that an engine can be started.
///
/// # Errors
/// [`LabError::Missing`] with the first thing that is not there and may not be installed.
pub(crate) fn prepare(install: bool) -> Result<(), LabError> {
    let needs = [
        ("dockerd", "docker.io"),
        ("docker", "docker.io"),
        ("iptables", "iptables"),
        ("busybox", "busybox-static"),
        ("nsenter", "util-linux"),
    ];
    needs.into_iter().try_for_each(|(program, package)| require(program, package, install))
}

/// Makes a `/run` by way of the directory `$1`: with the namespaces that have a name by now, and nothing else of the
/// machine's. The answer says that it is there.
const MOUNTS: &str = "mount -t tmpfs tmpfs $1 && mkdir $1/lock $1/netns && mount --rbind /run/netns $1/netns && \
                      mount -n --move $1 /run && echo ready && exec sleep infinity";

/// A mount namespace with a `/run` of its own, on the network of a host. It lives as long as somebody is in it.
#[derive(Debug)]
pub(crate) struct Machine {
    holder: Child,
}

impl Machine {
    /// One on the network of `host`.
    pub(crate) fn on(host: &Namespace) -> Result<Self, LabError> {
        let directory = directory()?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", MOUNTS]).arg("sh");
        command.arg(directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut machine = Self { holder: host.spawn(command)? };
        let mut answer = String::new();
        if let Some(out) = machine.holder.stdout.take() {
            let read = BufReader::new(out).read_line(&mut answer);
            read.map_err(LabError::io("read the answer of unshare"))?;
        }
        match answer.trim() {
            "ready" => Ok(machine),
            _ => Err(LabError::Refused("no mount namespace can be made here".into())),
        }
    }

    /// A command that becomes `program` there, on the network of whoever starts it. Of the environment it only gets the
    /// search path: no settings for another daemon, no other engine.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id())).arg(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It has nothing to say goodbye to.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A running engine. Dropping it removes its containers and ends it. Fields drop in order.
#[derive(Debug)]
pub(crate) struct Engine {
    /// Their names.
    containers: Vec<String>,
    _dockerd: Daemon,
    machine: Arc<Machine>,
    /// Its data; removed last.
    _directory: TempDir,
}

impl Engine {
    /// Starts one on `machine`, which stands on `host`, and waits until it answers and has the image.
    ///
    /// # Errors
    /// [`LabError::Refused`] with its last words when it ends instead.
    pub(crate) fn start(machine: &Arc<Machine>, host: &Namespace) -> Result<Self, LabError> {
        let directory = directory()?;
        let mut command = machine.command("dockerd".as_ref());
        command.arg("--data-root").arg(directory.path().join("data"));
        // The predefined bridge, which nobody uses here: not where the container networks are.
        command.args(["--bip", "192.168.231.1/24"]);
        let mut dockerd = Daemon::start(host, command, directory.path().join("dockerd.log"))?;
        dockerd.ready_within(LIMIT, "the engine answers", || docker(machine, &["version"]).ok())?;
        let archive = image(directory.path())?;
        let machine = Arc::clone(machine);
        let engine = Self { containers: Vec::new(), _dockerd: dockerd, machine, _directory: directory };
        engine.docker(&["import", &archive, IMAGE])?;
        Ok(engine)
    }

    /// Runs a command of Docker's; returns what it wrote.
    pub(crate) fn docker(&self, args: &[&str]) -> Result<String, LabError> {
        docker(&self.machine, args)
    }

    /// Starts a container that does nothing, and gives its network namespace a name of the lab's.
    pub(crate) fn container(&mut self, name: &str, options: &[&str]) -> Result<Namespace, LabError> {
        self.containers.push(name.to_owned());
        let line = ["run", "-d", "--name", name];
        self.docker(&[&line, options, &[IMAGE, "sleep", "100000000"]].concat())?;
        let pid = self.docker(&["inspect", "-f", "{{.State.Pid}}", name])?;
        Namespace::adopt(name, pid.trim())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // While the network's driver can still say goodbye to them, and faster than a stop.
        for name in &self.containers {
            let _ = self.docker(&["rm", "-f", name]);
        }
    }
}

fn docker(machine: &Machine, args: &[&str]) -> Result<String, LabError> {
    let mut command = machine.command("docker".as_ref());
    command.args(args);
    finish(command, LIMIT).map_err(|error| match error {
        LabError::Command { said, .. } => {
            LabError::Command { line: format!("docker {}", args.join(" ")), said }
        }
        other => other,
    })
}

/// Packs the image; the path of the archive.
fn image(directory: &Path) -> Result<String, LabError> {
    let failed = || LabError::io("make an image");
    let (root, archive) = (directory.join("root"), directory.join("image.tar"));
    std::fs::create_dir_all(root.join("bin")).map_err(failed())?;
    let busybox = find("busybox").unwrap_or_else(|| "/bin/busybox".into());
    std::fs::copy(busybox, root.join("bin/busybox")).map_err(failed())?;
    for applet in ["sleep", "true"] {
        symlink("busybox", root.join("bin").join(applet)).map_err(failed())?;
    }
    let (root, archive) = (text(&root), text(&archive));
    run("tar", &["-cf", &archive, "-C", &root, "."])?;
    Ok(archive)
}
