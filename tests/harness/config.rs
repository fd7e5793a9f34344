//! The configuration file of a daemon under test.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

/// What goes into the daemon's configuration file.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The underlay address.
    pub address: Option<IpAddr>,
    /// The VTEPs it may talk to.
    pub peers: Vec<IpAddr>,
    /// `underlay.mode`; the daemon chooses when absent.
    pub mode: Option<&'static str>,
    /// `dataplane.workers`; the daemon chooses when absent.
    pub workers: Option<u8>,
    /// `docker.plugin`: this machine has one socket for it, which daemons under test leave alone unless told otherwise.
    pub docker: bool,
    /// Lines put before every table.
    pub top: String,
    /// Lines put into the table `[underlay]`.
    pub underlay: String,
}

impl Config {
    /// For a host with this address and these peers.
    pub fn new(address: IpAddr, peers: &[IpAddr]) -> Self {
        Config { address: Some(address), peers: peers.to_vec(), ..Config::default() }
    }

    /// Writes `config.toml` for a daemon whose files are all in `directory`.
    pub fn write(&self, directory: &Path) {
        fs::write(directory.join("config.toml"), self.text(directory)).expect("our own directory");
    }

    fn text(&self, directory: &Path) -> String {
        let here = directory.display();
        let mut text = format!("{}\nstate_dir = \"{here}/state\"\nrun_dir = \"{here}/run\"\n", self.top);
        if let Some(address) = self.address {
            text += &format!("[underlay]\naddress = \"{address}\"\n");
            if let Some(mode) = self.mode {
                text += &format!("mode = \"{mode}\"\n");
            }
        }
        text += &self.underlay;
        if let Some(workers) = self.workers {
            text += &format!("[dataplane]\nworkers = {workers}\n");
        }
        text += &format!("[docker]\nplugin = {}\n", self.docker);
        for peer in &self.peers {
            text += &format!("\n[[peer]]\naddress = \"{peer}\"\n");
        }
        text
    }
}
