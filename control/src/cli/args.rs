//! What can be typed, and the help that explains it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use weft_dataplane::wire::MacAddr;

use super::values::{checked, filter, key_value, label, plain, socket, subnet};
use crate::model::{Driver, IfName, Name};

/// The socket that is asked when none is named.
pub(super) const DEFAULT_HOST: &str = "unix:///run/weft/weft.sock";

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong usage or an impossible value
  3  not found
  4  conflict: taken, exists already, overlaps
  5  no daemon answers

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
    /// Look at forwarding tables: which station is behind which port or VTEP
    #[command(subcommand)]
    Fdb(FdbCommand),
    /// Copy frames as they cross the endpoints' ports, as pcapng
    #[command(after_help = "Watch live:  weft capture -w - --network blue | tcpdump -nr -")]
    Capture(CaptureArgs),
}

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
  [[peer]]                                               the other VTEPs, one table each
  address = \"10.9.0.2\"

Two hosts that share a network, on 10.9.0.1 (and the other way round on 10.9.0.2):
  weft daemon --set underlay.address=10.9.0.1 --set 'peer=[{address=\"10.9.0.2\"}]' &
  weft network create blue -d overlay --vni 5000 --subnet 10.1.0.0/24 --ip-range 10.1.0.0/25";

#[derive(Debug, Args)]
#[command(after_help = CONFIGURATION)]
pub(super) struct DaemonArgs {
    /// The configuration file; /etc/weft/config.toml is read if it exists and none is named
    #[arg(long, env = "WEFT_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Set one configuration key, for example underlay.port=4790 (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum NetworkCommand {
    /// Create a network and print its id
    Create(CreateArgs),
    /// List networks
    Ls(ListArgs),
    /// Print networks as a JSON array, shaped as 'docker network inspect' does
    Inspect {
        /// Names, ids, or the first 12 digits of ids
        #[arg(required = true, value_name = "NETWORK")]
        networks: Vec<String>,
    },
    /// Remove networks with their endpoints
    Rm {
        /// Names, ids, or the first 12 digits of ids
        #[arg(required = true, value_name = "NETWORK")]
        networks: Vec<String>,
    },
    /// Give a network namespace an interface on a network, and print the endpoint's name
    Connect(ConnectArgs),
    /// Take an interface away again
    Disconnect {
        /// Name, id, or the first 12 digits of an id
        network: String,
        /// The endpoint's name or id
        endpoint: String,
    },
}

const OPTIONS: &str = "\
Network options (-o):
  anti_spoof=on|off  hold endpoints to their own addresses (default on)
  fdb_limit=N        stations that one port may have behind it (default 1024)
  storm_kpps=N       thousand broadcasts a second that one port may send; 0: no limit (default 10)
  vlan=drop|pass     inner VLAN tags (default drop)";

#[derive(Debug, Args)]
#[command(after_help = OPTIONS)]
pub(super) struct CreateArgs {
    /// Letters, digits, '_', '.', '-'; at most 63
    #[arg(value_parser = checked::<Name>)]
    pub(super) name: Name,
    /// bridge: this host only; overlay: all peers, over VXLAN; host: the host's own namespace; none: loopback only
    #[arg(short, long, default_value = "bridge", value_parser = checked::<Driver>)]
    pub(super) driver: Driver,
    /// A subnet (repeatable); chosen from Docker's default pools unless given. Endpoints get one address of each family
    #[arg(long, value_name = "CIDR", value_parser = subnet)]
    pub(super) subnet: Vec<IpNet>,
    /// The first hop of a subnet; its first address unless given (repeatable)
    #[arg(long, value_name = "IP", value_parser = plain::<IpAddr>)]
    pub(super) gateway: Vec<IpAddr>,
    /// Choose endpoints' addresses from this part of the subnet
    #[arg(long, value_name = "CIDR", value_parser = subnet)]
    pub(super) ip_range: Option<IpNet>,
    /// The overlay's VNI, the same on every host; from 4096 up unless given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=0x00ff_ffff))]
    pub(super) vni: Option<u32>,
    /// The endpoints' MTU; 1500 for a bridge, what the underlay leaves for an overlay, unless given
    #[arg(long, value_name = "BYTES")]
    pub(super) mtu: Option<u32>,
    /// No way out of the network: no default route
    #[arg(long)]
    pub(super) internal: bool,
    /// An IPv6 subnet too, even if none is given
    #[arg(long)]
    pub(super) ipv6: bool,
    /// A label for your own use (repeatable)
    #[arg(long, value_name = "K=V", value_parser = label)]
    pub(super) label: Vec<(String, String)>,
    /// A network option (repeatable)
    #[arg(short = 'o', long = "opt", value_name = "K=V", value_parser = key_value)]
    pub(super) opt: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Print ids only
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Only networks with name=PART, id=START, driver=NAME or label=K[=V] (repeatable; one of each key must fit)
    #[arg(short, long, value_name = "K=V", value_parser = filter)]
    pub(super) filter: Vec<(FilterKey, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FilterKey {
    Name,
    Id,
    Driver,
    Label,
}

#[derive(Debug, Args)]
pub(super) struct ConnectArgs {
    /// Name, id, or the first 12 digits of an id
    pub(super) network: String,
    /// The namespace's path, such as /run/netns/c1 or /proc/PID/ns/net
    pub(super) netns: PathBuf,
    /// The endpoint's name; from the path unless given
    #[arg(long, value_parser = checked::<Name>)]
    pub(super) name: Option<Name>,
    /// The interface's name inside; eth0, or the next that Weft has not used there, unless given
    #[arg(long, value_parser = checked::<IfName>)]
    pub(super) ifname: Option<IfName>,
    /// The IPv4 address; the lowest free one unless given
    #[arg(long, value_parser = plain::<Ipv4Addr>)]
    pub(super) ip: Option<Ipv4Addr>,
    /// The IPv6 address; the lowest free one unless given
    #[arg(long, value_parser = plain::<Ipv6Addr>)]
    pub(super) ip6: Option<Ipv6Addr>,
    /// The MAC address; 02:42 and the IPv4 address unless given
    #[arg(long, value_parser = plain::<MacAddr>)]
    pub(super) mac: Option<MacAddr>,
}

#[derive(Debug, Subcommand)]
pub(super) enum EndpointCommand {
    /// List endpoints
    Ls,
    /// Print endpoints as a JSON array, one element for each network that has such a one
    Inspect {
        /// Name, id, or the first 12 digits of an id
        endpoint: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum FdbCommand {
    /// Print the forwarding table of a network, or of all
    Show {
        /// Name, id, or the first 12 digits of an id
        network: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct CaptureArgs {
    /// Where to write; '-' is standard output
    #[arg(short, long, value_name = "FILE|-")]
    pub(super) write: PathBuf,
    /// Only this network
    #[arg(long)]
    pub(super) network: Option<String>,
    /// Only this endpoint
    #[arg(long)]
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
