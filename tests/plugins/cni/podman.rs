//! podman with its CNI backend: a runtime of the distribution, which nobody taught anything about Weft.

use super::client::{REFERENCE, Scene};
use super::wishes::serve;
use harness::cmd::{self, Outcome};
use harness::need;
use harness::netns::{self, Namespace};
use harness::wait;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// How long podman may take for one command.
const PATIENCE: Duration = Duration::from_secs(120);

/// The image that all containers are made of.
const IMAGE: &str = "weft-test";

/// Without these podman asks for more than a container on a small machine may have.
const LIMITS: [&str; 4] = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];

/// podman with everything it keeps in a directory of its own, standing in the host's namespace. Dropping it removes its
/// containers.
struct Podman<'a> {
    host: &'a Namespace,
    directory: TempDir,
}

impl<'a> Podman<'a> {
    /// With the networks `networks`, by name.
    fn new(scene: &'a Scene, networks: &[(&str, Value)]) -> Self {
        let directory = netns::scratch();
        let here = directory.path();
        fs::create_dir(here.join("net.d")).expect("our own directory");
        for (name, plugin) in networks {
            let list = json!({"cniVersion": "1.0.0", "name": name, "plugins": [plugin]});
            let file = here.join("net.d").join(format!("{name}.conflist"));
            fs::write(file, list.to_string()).expect("our own directory");
        }
        let (own, plugins) = (here.display(), scene.plugins.path().display());
        let text = format!(
            "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nenable_port_reservation = false\n\
             [network]\nnetwork_backend = \"cni\"\nnetwork_config_dir = \"{own}/net.d\"\n\
             cni_plugin_dirs = [\"{plugins}\", \"{REFERENCE}\"]\n"
        );
        fs::write(here.join("containers.conf"), text).expect("our own directory");
        let podman = Podman { host: scene.host(), directory };
        podman.import();
        podman
    }

    fn import(&self) {
        let here = self.directory.path();
        let programs = here.join("image/bin");
        fs::create_dir_all(&programs).expect("our own directory");
        fs::copy("/bin/busybox", programs.join("busybox")).expect("it is installed");
        for name in ["sh", "sleep", "httpd", "wget", "ip", "nc", "echo", "mkdir"] {
            symlink("busybox", programs.join(name)).expect("our own directory");
        }
        let (image, archive) = (here.join("image"), here.join("image.tar"));
        let (image, archive) = (image.display().to_string(), archive.display().to_string());
        cmd::run("tar", &["-C", &image, "-cf", &archive, "."]).must();
        self.run(&["import", &archive, IMAGE]).must();
    }

    /// Runs a command of podman's.
    fn run(&self, args: &[&str]) -> Outcome {
        let own = |name: &str| self.directory.path().join(name);
        let mut command = Command::new("podman");
        command
            .arg("--root")
            .arg(own("root"))
            .arg("--runroot")
            .arg(own("run"))
            .arg("--tmpdir")
            .arg(own("tmp"));
        command.args(["--cgroup-manager=cgroupfs", "--storage-driver=vfs"]).args(args);
        command.env("CONTAINERS_CONF", own("containers.conf"));
        self.host.enter(|| cmd::finish_within(PATIENCE, command))
    }

    /// Starts a container; gives its id.
    #[track_caller]
    fn start(&self, args: &[&str], script: &str) -> String {
        let line = [&["run", "-d"], &LIMITS[..], args, &[IMAGE, "sh", "-c", script]].concat();
        self.run(&line).must().trim().to_owned()
    }

    /// Why this machine runs no container at all, networks aside.
    fn cannot(&self) -> Option<String> {
        let line = [&["run", "--rm", "--network", "none"], &LIMITS[..], &[IMAGE, "echo", "works"]].concat();
        let outcome = self.run(&line);
        (!outcome.ok()).then(|| format!("podman cannot run containers: {}", outcome.stderr.trim()))
    }

    #[track_caller]
    fn inside(&self, container: &str, args: &[&str]) -> String {
        self.run(&[&["exec", container], args].concat()).must()
    }
}

impl Drop for Podman<'_> {
    fn drop(&mut self) {
        self.run(&["rm", "--all", "--force", "--time", "0"]);
    }
}

/// A page of a web server.
fn page(from: &Namespace, at: SocketAddr) -> String {
    let mut stream = wait::until("somebody answers", || {
        from.enter(|| TcpStream::connect_timeout(&at, wait::PATIENCE)).ok()
    });
    stream.set_read_timeout(Some(wait::PATIENCE)).expect("it can be set");
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.split("\r\n\r\n").last().unwrap_or_default().trim().to_owned()
}

#[test]
fn podman_runs_its_containers_on_our_networks() {
    need!(Root, Tun, CniPlugins, Podman);
    let scene = Scene::start();
    let plugin = |subnet: &str| {
        let capabilities = json!({"portMappings": true, "ips": true, "mac": true, "aliases": true});
        json!({"type": "weft", "host": scene.daemon.api(), "subnet": subnet, "capabilities": capabilities})
    };
    let networks = [("front", plugin("10.84.0.0/24")), ("back", plugin("10.85.0.0/24"))];
    let podman = Podman::new(&scene, &networks);
    if let Some(reason) = podman.cannot() {
        return need::tell(&reason);
    }
    let links = others(scene.host());
    let server = "mkdir -p /www; echo hello >/www/index.html; exec httpd -f -p 80 -h /www";
    let web = podman.start(&["--name", "web", "--network", "front", "-p", "8080:80"], server);
    let fixed =
        ["--name", "fixed", "--network", "front", "--ip", "10.84.0.77", "--mac-address", "02:00:00:00:00:77"];
    podman.start(&fixed, "exec sleep 1000");

    let inspect: Value = serde_json::from_str(&podman.run(&["inspect", "web"]).must()).expect("JSON");
    let told = &inspect[0]["NetworkSettings"]["Networks"]["front"];
    assert_eq!((&told["IPAddress"], &told["Gateway"]), (&json!("10.84.0.2"), &json!("10.84.0.1")));
    assert!(podman.inside("fixed", &["ip", "addr"]).contains("inet 10.84.0.77/24"));
    assert_eq!(podman.inside("fixed", &["wget", "-qO-", "http://10.84.0.2/"]).trim(), "hello");
    let (outside, far) = scene.outside();
    assert_eq!(page(outside, (scene.address(), 8080).into()), "hello");
    assert_eq!(page(scene.host(), ([127, 0, 0, 1], 8080).into()), "hello");
    serve(outside, 9000);
    let seen = podman.inside("fixed", &["nc", &far.to_string(), "9000"]);
    assert_eq!(seen, scene.address().to_string(), "the outside sees the host");

    let endpoints = scene.endpoints();
    let namespaces: Vec<_> = endpoints.iter().filter_map(|e| Some(e["netns"].as_str()?.to_owned())).collect();
    assert_eq!(namespaces.len(), 2);
    let ours = endpoints.iter().find(|e| e["addresses"][0] == "10.84.0.2/24").expect("it is listed");
    assert!(ours["name"].as_str().expect("a name").starts_with(&web[..32]), "{ours}");
    assert_eq!(ours["aliases"], json!([&web[..12]]), "podman calls every container by its short id");
    podman.run(&["network", "connect", "back", "fixed"]).must();
    assert!(podman.inside("fixed", &["ip", "addr", "show", "eth1"]).contains("inet 10.85.0.2/24"));
    podman.run(&["network", "disconnect", "front", "fixed"]).must();
    assert_eq!(scene.endpoints().len(), 2);
    podman.run(&["restart", "--time", "0", "web"]).must();
    assert_eq!(page(outside, (scene.address(), 8080).into()), "hello");

    podman.run(&["rm", "--force", "--time", "0", "web", "fixed"]).must();
    assert_eq!((scene.endpoints(), scene.daemon.json(&["port", "ls"])), (vec![], json!([])));
    assert_eq!(others(scene.host()), links);
    let left: Vec<_> = namespaces.iter().filter(|path| Path::new(path).exists()).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(podman.run(&["ps", "--all", "--quiet"]).must(), "");
}

/// The host's links, without its legs on the networks, which stay.
fn others(host: &Namespace) -> Vec<String> {
    host.links().into_iter().filter(|link| !link.starts_with("wb-")).collect()
}
