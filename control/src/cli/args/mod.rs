//! What can be typed, and the help that explains it.

mod network;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(super) use network::{ConnectArgs, CreateArgs, FilterKey, ListArgs, NetworkCommand};

use super::values::{key, session_filter, socket};
use crate::api::DEFAULT_HOST;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong usage or an impossible value
  3  not found
  4  conflict: taken, exists already, overlaps
  5  no daemon answers
Of several things that fail, the highest counts.

See it work on this machine, as root:  weft demo
First steps with a daemon of your own:
  weft daemon &
  weft network create blue --subnet 10.1.0.0/24
  ip netns add c1; weft network connect blue /run/netns/c1
  weft network inspect blue";

/// Container networks in user space: TAP endpoints on a learning switch, carried between hosts as VXLAN
#[derive(Debug, Parser)]
#[command(name = "weft", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// The daemon's API socket
    #[arg(short = 'H', long, global = true, env = "WEFT_HOST", value_name = "unix://PATH", default_value = DEFAULT_HOST, value_parser = socket)]
    pub(super) host: PathBuf,
    /// How to print what is asked for
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    pub(super) format: Format,
    /// Tell on standard error what is being done
    #[arg(short, long, global = true)]
    pub(super) verbose: bool,
    /// Colour on standard error; 'auto' also heeds NO_COLOR
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    pub(super) color: ColorChoice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// For programs; keys are stable
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ColorChoice {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show two hosts in namespaces on this machine, and how fast they talk (needs root, changes nothing)
    Demo,
    /// Run the daemon in the foreground, until SIGTERM
    Daemon(DaemonArgs),
    /// Carry packets for the daemon, which starts this itself
    #[command(hide = true)]
    Dataplane,
    /// What the daemon is and does
    Status,
    /// What differs from what there should be, and what to do about it; exit code 1 if anything does
    Doctor,
    /// Packet counters, whole and per network, and why frames were dropped
    Stats,
    /// Create, look at, and remove networks; connect namespaces to them
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Look at endpoints: the interfaces that Weft has put into namespaces
    #[command(subcommand)]
    Endpoint(EndpointCommand),
    /// Look at published ports
    #[command(subcommand)]
    Port(PortCommand),
    /// Look at NAT: which sessions leave by which address and port of this host
    #[command(subcommand)]
    Nat(NatCommand),
    /// Have Docker Engine on this host use Weft, or no longer
    #[command(subcommand)]
    Docker(DockerCommand),
    /// Look at nodes: the hosts that share networks through one store
    #[command(subcommand)]
    Node(NodeCommand),
    /// Look at forwarding tables: which station is behind which port or VTEP
    #[command(subcommand)]
    Fdb(FdbCommand),
    /// Copy frames as they cross the endpoints' ports, as pcapng
    #[command(after_help = "Watch live:  weft capture -w - --network blue | tcpdump -nr -")]
    Capture(CaptureArgs),
    /// Print the completion script of a shell
    #[command(after_help = COMPLETION)]
    Completion {
        /// Whose script
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write the manual pages, one for each command, and print their paths
    Man {
        /// The directory; made if it is missing
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

const COMPLETION: &str = "\
For this shell:   source <(weft completion bash)
For every shell:  weft completion bash > /usr/share/bash-completion/completions/weft
                  weft completion zsh > /usr/share/zsh/vendor-completions/_weft
                  weft completion fish > /usr/share/fish/vendor_completions.d/weft.fish";

const CONFIGURATION: &str = "\
Configuration keys (TOML). A flag beats a variable, which beats the file, which beats the default:
  node = \"host-a\"               WEFT_NODE                default: the host name
  state_dir = \"/var/lib/weft\"   WEFT_STATE_DIR
  run_dir = \"/run/weft\"         WEFT_RUN_DIR             weft.sock lives here
  [underlay]
  address = \"10.9.0.1\"          WEFT_UNDERLAY_ADDRESS    default: the default route's address
  port = 4789                   WEFT_UNDERLAY_PORT
  mode = \"auto\"                 WEFT_UNDERLAY_MODE       auto | tunnel-gso | udp-gso | udp
  [uplink]
  interface = \"eth0\"            WEFT_UPLINK_INTERFACE    whose address the underlay takes by default
  [dataplane]
  workers = 0                   WEFT_DATAPLANE_WORKERS   0: decide
  [store]
  url = \"redb:\"                 WEFT_STORE_URL           redb:[PATH], by default weft.redb in state_dir
  [metrics]
  listen = \"127.0.0.1:9789\"     WEFT_METRICS_LISTEN      /metrics /healthz /readyz; off: nowhere
  [log]
  format = \"text\"               WEFT_LOG_FORMAT          text | json | journald
  level = \"info\"                WEFT_LOG_LEVEL           error ... trace, or info,weft::underlay=debug
  [docker]
  plugin = true                 WEFT_DOCKER_PLUGIN       /run/docker/plugins/weft.sock
  [[peer]]                                               the other VTEPs, one table each
  address = \"10.9.0.2\"

SIGHUP reads all of this again: peers, metrics.listen and log.level change at once, for the rest the log says that it
waits for a restart. SIGTERM and SIGINT end the daemon.

Two hosts that share a network, on 10.9.0.1 (and the other way round on 10.9.0.2):
  weft daemon --set underlay.address=10.9.0.1 --set 'peer=[{address=\"10.9.0.2\"}]' &
  weft network create blue -d overlay --vni 5000 --subnet 10.1.0.0/24 --ip-range 10.1.0.0/25";

#[derive(Debug, Args)]
#[command(after_help = CONFIGURATION)]
pub(super) struct DaemonArgs {
    /// The configuration file; /etc/weft/config.toml is read if it exists and none is named
    #[arg(long, env = "WEFT_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Go on forwarding when told to end, until the next daemon takes over
    #[arg(long)]
    pub(super) live_restore: bool,
    /// Set one configuration key, for example underlay.port=4790 (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum EndpointCommand {
    /// List endpoints
    Ls,
    /// Print endpoints as a JSON array, one element for each network that has such a one
    Inspect {
        /// Name, id, or the first 12 digits of an id
        #[arg(value_parser = key)]
        endpoint: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum PortCommand {
    /// List the ports of this host behind which endpoints answer
    Ls,
}

#[derive(Debug, Subcommand)]
pub(super) enum NatCommand {
    /// Print the sessions of endpoints with the outside
    #[command(after_help = SESSION_FILTERS)]
    Show {
        /// Only sessions that fit (repeatable; of two with one key the later holds)
        #[arg(short, long, value_name = "K=V", value_parser = session_filter)]
        filter: Vec<(SessionKey, String)>,
    },
}

const SESSION_FILTERS: &str = "\
Filters (-f):
  network=NETWORK    of this network's endpoints: a name, an id, or the first 12 digits of one
  endpoint=ENDPOINT  of this endpoint
  protocol=tcp|udp|icmp";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionKey {
    Network,
    Endpoint,
    Protocol,
}

const DOCKER: &str = "\
Then, with a daemon running:
  docker network create -d weft --ipam-driver weft --subnet 10.10.2.0/24 blue
  docker run --net blue -p 8080:80 ...";

#[derive(Debug, Subcommand)]
pub(super) enum DockerCommand {
    /// Write what Docker Engine and systemd must know, and say what was written
    #[command(after_help = DOCKER)]
    Install(InstallArgs),
    /// Remove what 'install' has written, and say what was removed
    Uninstall(InstallArgs),
}

#[derive(Debug, Args)]
pub(super) struct InstallArgs {
    /// The root directory of the host
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    pub(super) root: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    /// List nodes; without a cluster store that is this host
    Ls,
}

#[derive(Debug, Subcommand)]
pub(super) enum FdbCommand {
    /// Print the forwarding table of a network, or of all
    Show {
        /// Name, id, or the first 12 digits of an id
        #[arg(value_parser = key)]
        network: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct CaptureArgs {
    /// Where to write; '-' is standard output
    #[arg(short, long, value_name = "FILE|-")]
    pub(super) write: PathBuf,
    /// Only this network
    #[arg(long, value_parser = key)]
    pub(super) network: Option<String>,
    /// Only this endpoint
    #[arg(long, value_parser = key)]
    pub(super) endpoint: Option<String>,
    /// End after this many frames; otherwise with Ctrl-C
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
