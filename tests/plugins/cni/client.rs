//! A runtime as the specification has it, and the host it runs on.

use harness::cmd::LIMIT;
use harness::daemon::{self, Config, Daemon};
use harness::netns::{self, Namespace};
use harness::underlay::{Family, Offloads, Underlay};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::io::Write;
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use tempfile::TempDir;

/// Where Debian keeps the reference plugins.
pub(super) const REFERENCE: &str = "/usr/lib/cni";

/// A host with a daemon and a directory of plugins, and another machine beside it.
pub(super) struct Scene {
    pub(super) underlay: Underlay,
    pub(super) daemon: Daemon,
    /// `CNI_PATH` begins with it; ours is in it as `weft`.
    pub(super) plugins: TempDir,
}

impl Scene {
    pub(super) fn start() -> Self {
        let underlay = Underlay::new(2, Family::V4, Offloads::On);
        let [host, other] = underlay.hosts.as_slice() else { panic!("two hosts were made") };
        let daemon = Daemon::start(&host.ns, &Config::new(host.address, &[other.address]));
        let plugins = netns::scratch();
        std::os::unix::fs::symlink(daemon::executable(), plugins.path().join("weft"))
            .expect("our own directory");
        Scene { underlay, daemon, plugins }
    }

    pub(super) fn host(&self) -> &Namespace {
        &self.underlay.hosts[0].ns
    }

    pub(super) fn address(&self) -> IpAddr {
        self.underlay.hosts[0].address
    }

    pub(super) fn outside(&self) -> (&Namespace, IpAddr) {
        (&self.underlay.hosts[1].ns, self.underlay.hosts[1].address)
    }

    /// A configuration of the network `web`, newest version, with `more` keys.
    pub(super) fn config(&self, more: Value) -> Value {
        let mut config =
            json!({"cniVersion": "1.1.0", "name": "web", "type": "weft", "host": self.daemon.api()});
        let Value::Object(more) = more else { panic!("an object was meant") };
        config.as_object_mut().expect("an object").extend(more);
        config
    }

    /// A call of our plugin, to be changed.
    pub(super) fn call(&self, verb: &str, config: &Value) -> Call<'_> {
        Call::new(self.host(), &self.plugins, verb, config)
    }

    /// The call about the interface `eth0` of a container that is called as its namespace is.
    pub(super) fn about(&self, verb: &str, config: &Value, container: &Namespace) -> Call<'_> {
        self.call(verb, config)
            .set("CNI_CONTAINERID", container.name())
            .set("CNI_NETNS", &container.path())
            .set("CNI_IFNAME", "eth0")
    }

    #[track_caller]
    pub(super) fn add(&self, config: &Value, container: &Namespace) -> Value {
        self.about("ADD", config, container).result()
    }

    #[track_caller]
    pub(super) fn del(&self, config: &Value, container: &Namespace) {
        self.about("DEL", config, container).nothing();
    }

    /// What CHECK says when the runtime has kept `result`.
    pub(super) fn check(&self, config: &Value, container: &Namespace, result: &Value) -> Answer {
        let mut config = config.clone();
        config["prevResult"] = result.clone();
        self.about("CHECK", &config, container).make()
    }

    /// All that is on record, as text.
    pub(super) fn store(&self) -> String {
        self.daemon.get("/v1/store")
    }

    /// The names of all endpoints.
    pub(super) fn endpoints(&self) -> Vec<Value> {
        self.daemon.json(&["endpoint", "ls"]).as_array().expect("an array").clone()
    }
}

/// The address of a result's `index`th entry, without its prefix length.
#[track_caller]
pub(super) fn address(result: &Value, index: usize) -> IpAddr {
    let text = result["ips"][index]["address"].as_str().unwrap_or_else(|| panic!("no address in {result}"));
    text.split('/').next().expect("a part").parse().expect("an address")
}

/// One run of a plugin: the environment is exactly what is said here.
pub(super) struct Call<'a> {
    host: &'a Namespace,
    plugin: String,
    input: Vec<u8>,
    environment: Vec<(String, String)>,
}

/// What a plugin said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl<'a> Call<'a> {
    /// A call of the plugin that the configuration names.
    pub(super) fn new(host: &'a Namespace, plugins: &TempDir, verb: &str, config: &Value) -> Self {
        let own = plugins.path().display();
        let name = config["type"].as_str().unwrap_or("weft");
        let inside = plugins.path().join(name);
        let plugin =
            if inside.exists() { inside.display().to_string() } else { format!("{REFERENCE}/{name}") };
        let path = format!("{own}:{REFERENCE}");
        let search = "/usr/sbin:/usr/bin:/sbin:/bin";
        let pairs = [("CNI_COMMAND", verb), ("CNI_PATH", path.as_str()), ("PATH", search)];
        let environment = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Call { host, plugin, input: config.to_string().into_bytes(), environment }
    }

    /// Sets a variable.
    pub(super) fn set(mut self, name: &str, value: &str) -> Self {
        self = self.unset(name);
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Leaves a variable out.
    pub(super) fn unset(mut self, name: &str) -> Self {
        self.environment.retain(|(other, _)| other != name);
        self
    }

    /// Puts these bytes on standard input.
    pub(super) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Starts it in the host's network namespace.
    pub(super) fn spawn(&self) -> Child {
        let mut command = Command::new(&self.plugin);
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.host.enter(|| command.spawn()).expect("the plugin can be started");
        let mut stdin = child.stdin.take().expect("it was asked for");
        let input = self.input.clone();
        // It need not read to the end.
        thread::spawn(move || stdin.write_all(&input));
        child
    }

    /// Runs it to its end.
    #[track_caller]
    pub(super) fn make(&self) -> Answer {
        let child = self.spawn();
        let pid = Pid::from_raw(child.id() as i32);
        let (send, receive) = mpsc::channel();
        thread::spawn(move || send.send(child.wait_with_output()));
        let output = receive.recv_timeout(LIMIT).unwrap_or_else(|_| {
            // The reaping thread still holds the child, so the id cannot have been given to another process.
            let _ = kill(pid, Signal::SIGKILL);
            panic!("{} does not end", self.plugin)
        });
        let output = output.expect("it can be waited for");
        Answer {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The result of a call that has to succeed and has one.
    #[track_caller]
    pub(super) fn result(&self) -> Value {
        let answer = self.make();
        assert_eq!(answer.code, Some(0), "{answer:?}");
        serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {answer:?}"))
    }

    /// A call that has to succeed, and to print nothing.
    #[track_caller]
    pub(super) fn nothing(&self) {
        let answer = self.make();
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(0), ""), "{answer:?}");
    }

    /// The code and the message of a call that has to fail, in the specification's shape.
    #[track_caller]
    pub(super) fn refusal(&self) -> (u64, String) {
        self.make().refusal()
    }
}

impl Answer {
    /// The code and the message of a failure, in the specification's shape.
    #[track_caller]
    pub(super) fn refusal(&self) -> (u64, String) {
        assert_eq!((self.code, self.stderr.as_str()), (Some(1), ""), "{self:?}");
        let told: Value = serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("no JSON: {self:?}"));
        let keys: Vec<&String> = told.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["cniVersion", "code", "details", "msg"], "{self:?}");
        let message = told["msg"].as_str().expect("a text");
        assert!(!message.is_empty() && !message.contains('\n'), "{self:?}");
        (told["code"].as_u64().expect("a number"), message.to_owned())
    }
}
