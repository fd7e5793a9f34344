//! Docker Engine with the product as its network and address driver.
//!
//! ```text
//!  c1 c2 ... of dockerd --TAP-- weft on host 1, 172.31.77.1 ===u0==u0=== host 2, 172.31.77.2, or a second engine
//! ```

mod crashes;
mod cycle;
mod demo;
mod hosts;
mod networks;
mod ports;
mod refusals;
mod run;

use harness::cmd::Outcome;
use harness::daemon::{Config, Daemon};
use harness::machine::{IMAGE, Machine};
use harness::netns::Namespace;
use harness::underlay::{Family, Offloads, Underlay};
use harness::wait;
use serde_json::Value;

/// What every container runs: a web server that tells clients their addresses, until it is stopped.
pub(super) const SERVE: [&str; 6] = ["httpd", "-f", "-p", "0.0.0.0:80", "-h", "/www"];

/// Where it does.
pub(super) const WHO: &str = "/cgi-bin/who";

/// One machine with engine and daemon, and a wire to another one.
pub(super) fn underlay() -> Underlay {
    Underlay::new(2, Family::V4, Offloads::On)
}

/// The product and an engine on one machine. The engine goes first, so that its containers say goodbye to somebody.
pub(super) struct Scene<'a> {
    pub(super) machine: Machine<'a>,
    pub(super) daemon: Daemon,
}

impl<'a> Scene<'a> {
    /// On the `number`th host, counted from 0; every other one is a peer.
    #[track_caller]
    pub(super) fn on(underlay: &'a Underlay, number: usize) -> Self {
        let own = underlay.hosts[number].address;
        let peers: Vec<_> = underlay.hosts.iter().map(|host| host.address).filter(|a| *a != own).collect();
        let mut machine = Machine::new(&underlay.hosts[number].ns);
        let daemon = machine.weft(&Config::new(own, &peers));
        machine.start_engine(&[]);
        Scene { machine, daemon }
    }

    /// Runs a command of Docker's, which has to succeed.
    #[track_caller]
    pub(super) fn docker(&self, args: &[&str]) -> String {
        self.machine.docker(args).must().trim().to_owned()
    }

    /// Creates a network of the product's driver.
    #[track_caller]
    pub(super) fn create(&self, name: &str, options: &[&str]) {
        let line = ["network", "create", "-d", "weft", "--ipam-driver", "weft"];
        self.docker(&[&line, options, &[name]].concat());
    }

    /// Starts a container that serves.
    #[track_caller]
    pub(super) fn serve(&self, name: &str, options: &[&str]) {
        let line = ["run", "-d", "--stop-timeout", "1", "--name", name];
        self.docker(&[&line, options, &[IMAGE], &SERVE].concat());
    }

    /// Runs a command in a container.
    #[track_caller]
    pub(super) fn exec(&self, container: &str, words: &[&str]) -> Outcome {
        self.machine.docker(&[&["exec", container], words].concat())
    }

    /// The address that a server sees when `container` asks it.
    #[track_caller]
    pub(super) fn seen_from(&self, container: &str, server: &str) -> String {
        let url = format!("http://{server}{WHO}");
        let mut last = None;
        let asked = wait::within(wait::PATIENCE, || {
            let outcome = self.exec(container, &["timeout", "3", "wget", "-qO-", &url]);
            last = Some(outcome.clone());
            outcome.ok().then_some(outcome.stdout)
        });
        let asked = asked.unwrap_or_else(|| panic!("{server} does not answer {container}: {last:?}"));
        asked.trim().to_owned()
    }

    /// Whether `container` gets an answer to one ping of an address or a name.
    #[track_caller]
    pub(super) fn pings(&self, container: &str, whom: &str) -> bool {
        self.exec(container, &["ping", "-c", "1", "-W", "3", whom]).ok()
    }

    /// A container's address on a network.
    #[track_caller]
    pub(super) fn address(&self, container: &str, network: &str) -> String {
        let path = format!("{{{{(index .NetworkSettings.Networks {network:?}).IPAddress}}}}");
        self.docker(&["inspect", "-f", &path, container])
    }

    /// The product's endpoints on all networks.
    #[track_caller]
    pub(super) fn endpoints(&self) -> Vec<Value> {
        let endpoints = self.daemon.json(&["endpoint", "ls"]);
        endpoints.as_array().expect("an array").clone()
    }

    /// Waits until the product has `count` endpoints, each with its interface in a container.
    #[track_caller]
    pub(super) fn await_endpoints(&self, count: usize) {
        wait::until_true(&format!("{count} endpoints in their containers"), || {
            let endpoints = self.endpoints();
            let inside =
                |endpoint: &&Value| endpoint["ifname"].as_str().is_some_and(|n| n.starts_with("eth"));
            endpoints.len() == count && endpoints.iter().filter(inside).count() == count
        });
    }

    /// Waits until nothing is the matter.
    #[track_caller]
    pub(super) fn await_health(&self) {
        let mut last = String::new();
        let healthy = wait::within(wait::PATIENCE, || {
            let doctor = self.daemon.weft(&["doctor"]);
            last = format!("{}{}", doctor.stdout, doctor.stderr);
            doctor.ok().then_some(())
        });
        assert!(healthy.is_some(), "the doctor still finds:\n{last}");
    }
}

/// Asks a server from a namespace; the address that it sees.
#[track_caller]
pub(super) fn seen_by(from: &Namespace, server: &str) -> Option<String> {
    let url = format!("http://{server}{WHO}");
    let asked = from.exec(&["timeout", "3", "busybox", "wget", "-qO-", &url]);
    asked.ok().then(|| asked.stdout.trim().to_owned())
}

/// A web server in a namespace, until that ends.
#[track_caller]
pub(super) fn serve_outside(scene: &Scene<'_>, ns: &Namespace) {
    let pages = scene.machine.pages();
    let pages = pages.display().to_string();
    // Without -f it goes into the background, and the command ends once it listens.
    ns.exec(&["busybox", "httpd", "-p", "0.0.0.0:80", "-h", &pages]).must();
}
