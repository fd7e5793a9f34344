//! A host with a Docker Engine of its own.
//!
//! Its network is a namespace's, and its `/run` is its own, so that an engine finds its plugins, its socket and its pid file
//! where it always does, and none of them is another machine's. Everything else of the file system is shared.
//!
//! Dropping it ends what was started in it and every container of its engine, and nothing else.

use crate::cmd::{self, Outcome};
use crate::daemon::{Config, Daemon};
use crate::netns::{Namespace, scratch};
use crate::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long the engine may take over one command on a machine that is busy with other tests.
const ENGINE_LIMIT: Duration = Duration::from_secs(120);

/// What the image can do, all of it busybox.
const APPLETS: [&str; 9] = ["sh", "ip", "ping", "httpd", "wget", "timeout", "sleep", "true", "printf"];

/// The image every container runs.
pub const IMAGE: &str = "box";

/// The machine; see the module's head.
#[derive(Debug)]
pub struct Machine<'a> {
    host: &'a Namespace,
    /// Holds the mount namespace.
    holder: Child,
    /// The engine's data.
    directory: TempDir,
    engine: Option<Child>,
}

impl<'a> Machine<'a> {
    /// A machine without an engine yet, on the network of `host`.
    #[track_caller]
    pub fn new(host: &'a Namespace) -> Self {
        // The answer says that the mounts are there.
        let script = "mount -t tmpfs tmpfs /run && mkdir -p /run/lock && echo ready && exec sleep infinity";
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is installed");
        let mut answer = String::new();
        let stdout = holder.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut answer).expect("a pipe of our own");
        assert_eq!(answer.trim(), "ready", "no mount namespace");
        Machine { host, holder, directory: scratch(), engine: None }
    }

    /// What starts a program on it.
    pub fn launcher(&self) -> Vec<String> {
        let mounts = format!("--mount=/proc/{}/ns/mnt", self.holder.id());
        vec!["/usr/bin/nsenter".into(), mounts, format!("--net={}", self.host.path())]
    }

    /// A command on it.
    pub fn command(&self, words: &[&str]) -> Command {
        let launcher = self.launcher();
        let mut command = Command::new(&launcher[0]);
        command.args(&launcher[1..]).args(words);
        command
    }

    /// Runs a command on it.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> Outcome {
        cmd::finish_within(ENGINE_LIMIT, self.command(words))
    }

    /// Starts the daemon on it, with the plugin on, and waits until both can be used.
    #[track_caller]
    pub fn weft(&self, config: &Config) -> Daemon {
        let directory = scratch();
        Config { docker: true, ..config.clone() }.write(directory.path());
        self.weft_in(directory, &[])
    }

    /// The same with the files of a daemon before, and more arguments.
    #[track_caller]
    pub fn weft_in(&self, directory: TempDir, args: &[&str]) -> Daemon {
        let daemon = Daemon::launch(&self.launcher(), directory, args, &[]).ready();
        wait::until_true("the plugin's socket is there", || {
            self.run(&["test", "-S", "/run/docker/plugins/weft.sock"]).ok()
        });
        daemon
    }

    /// Starts the engine and waits until it answers; the image is there then.
    #[track_caller]
    pub fn start_engine(&mut self, args: &[&str]) {
        let log = self.open("dockerd.log");
        let data = self.directory.path().join("data");
        let mut command = self.command(&["dockerd", "--data-root"]);
        // A bridge whose subnet nothing here uses; the engine insists on one.
        command.arg(data).args(["--bip", "192.168.231.1/24"]).args(args);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a descriptor")).stderr(log);
        self.engine = Some(command.spawn().expect("nsenter is installed"));
        let answers = wait::within(ENGINE_LIMIT, || self.docker(&["version"]).ok().then_some(()));
        assert_eq!(answers, Some(()), "the engine does not answer:\n{}", self.log());
        if !self.docker(&["image", "inspect", IMAGE]).ok() {
            self.docker(&["import", &self.image().display().to_string(), IMAGE]).must();
        }
    }

    /// Runs a command of Docker's.
    #[track_caller]
    pub fn docker(&self, args: &[&str]) -> Outcome {
        self.run(&[&["/usr/bin/docker"], args].concat())
    }

    /// The engine's process.
    ///
    /// # Panics
    /// When it was not started.
    #[track_caller]
    pub fn engine(&self) -> Pid {
        Pid::from_raw(self.engine.as_ref().expect("the engine was started").id() as i32)
    }

    /// Ends the engine, by SIGTERM or as a crash would.
    #[track_caller]
    pub fn stop_engine(&mut self, signal: Signal) {
        let pid = self.engine();
        kill(pid, signal).expect("the engine runs");
        let mut engine = self.engine.take().expect("the engine was started");
        let ended = wait::within(ENGINE_LIMIT, || engine.try_wait().expect("our child"));
        assert!(ended.is_some(), "the engine does not end:\n{}", self.log());
        if signal == Signal::SIGKILL {
            // What would be taken for a living engine's.
            self.run(&["rm", "-f", "/run/docker.pid", "/run/docker/containerd/containerd.pid"]).must();
        }
    }

    /// What the engine has written.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("dockerd.log")).unwrap_or_default()
    }

    fn open(&self, name: &str) -> File {
        let path = self.directory.path().join(name);
        File::options().create(true).append(true).open(path).expect("our own directory")
    }

    /// What the image's web server shows: at `/cgi-bin/who`, the client's address.
    pub fn pages(&self) -> PathBuf {
        let pages = self.directory.path().join("root/www");
        let who = pages.join("cgi-bin/who");
        fs::create_dir_all(pages.join("cgi-bin")).expect("our own directory");
        let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n%s\\n' \"$REMOTE_ADDR\"\n";
        fs::write(&who, script).expect("our own directory");
        fs::set_permissions(&who, fs::Permissions::from_mode(0o755)).expect("our own file");
        pages
    }

    /// An image as a tar archive.
    fn image(&self) -> PathBuf {
        let (root, archive) = (self.directory.path().join("root"), self.directory.path().join("image.tar"));
        fs::create_dir_all(root.join("bin")).expect("our own directory");
        self.pages();
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet)).expect("our own directory");
        }
        let paths = [&archive, &root].map(|path| path.display().to_string());
        cmd::run("tar", &["-cf", &paths[0], "-C", &paths[1], "."]).must();
        archive
    }

    /// Every process that stands on this machine, or in a container of its engine.
    fn processes(&self) -> Vec<Pid> {
        let mounts = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
        let own = mounts(&self.holder.id().to_string());
        let containers = names(&self.directory.path().join("data/containers"));
        let held = |pid: &str| {
            let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            containers.iter().any(|id| groups.contains(id.as_str()))
        };
        let here = names(Path::new("/proc")).into_iter().filter(|pid| pid.parse::<i32>().is_ok());
        let here = here.filter(|pid| (own.is_some() && mounts(pid) == own) || held(pid));
        here.filter_map(|pid| pid.parse().ok().map(Pid::from_raw)).collect()
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let last: Vec<_> = log.lines().rev().take(40).collect();
            eprintln!("the engine wrote last:\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        // The engine first, which would bring back what is killed. The second look finds what the first was too early for.
        if let Some(mut engine) = self.engine.take() {
            let _ = engine.kill();
            let _ = engine.wait();
        }
        for _ in 0..3 {
            for pid in self.processes() {
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// The names in a directory; none if there is no such directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
