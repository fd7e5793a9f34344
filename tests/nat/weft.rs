//! The product as a subject: a daemon with a bridge network.

use crate::lab::{self, HOST, Publish, Setup, Subject};
use harness::daemon::{Config, Daemon};
use harness::frame::Mac;
use harness::netns::Namespace;

/// The network of every lab.
pub(crate) const NETWORK: &str = "lab";

/// What every node answers for a gateway with.
pub(crate) const GATEWAY_MAC: Mac = [0x02, 0x57, 0x45, 0x46, 0x54, 0x01];

/// A host on which a daemon runs.
pub(crate) struct Weft {
    daemon: Daemon,
}

impl Weft {
    pub(crate) fn new(host: &Namespace, setup: &Setup) -> Self {
        let mut config = Config::new(HOST.into(), &[]);
        config.workers = setup.workers;
        config.top = setup.config.into();
        let daemon = Daemon::start(host, &config);
        let create = ["network", "create", NETWORK, "--subnet", lab::SUBNET, "--subnet", lab::SUBNET6];
        daemon.weft(&[create.as_slice(), setup.options].concat()).must();
        Weft { daemon }
    }
}

/// The endpoint of a lab's container.
pub(crate) fn endpoint(number: u8) -> String {
    format!("c{number}")
}

impl Subject for Weft {
    fn connect(&self, _: &Namespace, ns: &Namespace, number: u8, publish: &[Publish]) {
        let (path, name) = (ns.path(), endpoint(number));
        let (ip, ip6) = (lab::inside(number).to_string(), lab::inside6(number).to_string());
        let ports: Vec<String> = publish.iter().map(Publish::text).collect();
        let mut line =
            vec!["network", "connect", NETWORK, &path, "--name", &name, "--ip", &ip, "--ip6", &ip6];
        line.extend(ports.iter().flat_map(|port| ["-p", port.as_str()]));
        self.daemon.weft(&line).must();
    }

    fn disconnect(&self, _: &Namespace, number: u8) {
        self.daemon.weft(&["network", "disconnect", NETWORK, &endpoint(number)]).must();
    }

    fn gateway_mac(&self, _: &Namespace) -> Mac {
        GATEWAY_MAC
    }

    fn daemon(&self) -> Option<&Daemon> {
        Some(&self.daemon)
    }
}
