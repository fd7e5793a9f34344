//! What can be typed after `weft network`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use ipnet::IpNet;
use weft_dataplane::wire::MacAddr;

use crate::cli::values::{checked, filter, key, key_value, label, path, plain, subnet};
use crate::model::{Driver, IfName, Name, PublishRequest};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum NetworkCommand {
    /// Create a network and print its id
    Create(CreateArgs),
    /// List networks
    Ls(ListArgs),
    /// Print networks as a JSON array, shaped as 'docker network inspect' does
    Inspect {
        /// Names, ids, or the first 12 digits of ids
        #[arg(required = true, value_name = "NETWORK", value_parser = key)]
        networks: Vec<String>,
    },
    /// Remove networks with their endpoints
    Rm {
        /// Names, ids, or the first 12 digits of ids
        #[arg(required = true, value_name = "NETWORK", value_parser = key)]
        networks: Vec<String>,
    },
    /// Remove every network that has no endpoints
    Prune {
        /// Do not ask
        #[arg(short, long)]
        force: bool,
    },
    /// Give a network namespace an interface on a network, and print the endpoint's name
    Connect(ConnectArgs),
    /// Take an interface away again
    Disconnect {
        /// Name, id, or the first 12 digits of an id
        #[arg(value_parser = key)]
        network: String,
        /// The endpoint's name or id
        #[arg(value_parser = key)]
        endpoint: String,
    },
}

const OPTIONS: &str = "\
Network options (-o):
  anti_spoof=on|off  hold endpoints to their own addresses (default on)
  fdb_limit=N        stations that one port may have behind it (default 1024)
  storm_kpps=N       thousand broadcasts a second that one port may send; 0: no limit (default 10)
  vlan=drop|pass     inner VLAN tags (default drop)
  nat=on|off         translate what leaves to addresses of this host (default on)
  filtering=address-dependent|endpoint-independent
                     who may answer: those who were asked (default), or everybody
  host_access=on|off this host stands on the network, with the gateway's addresses (bridge only, default on)";

#[derive(Debug, Args)]
#[command(after_help = OPTIONS)]
pub(in crate::cli) struct CreateArgs {
    /// Letters, digits, '_', '.', '-'; at most 63
    #[arg(value_parser = checked::<Name>)]
    pub(in crate::cli) name: Name,
    /// bridge: this host only; overlay: all peers, over VXLAN
    #[arg(short, long, default_value = "bridge", value_parser = checked::<Driver>)]
    pub(in crate::cli) driver: Driver,
    /// One IPv4 and one IPv6 subnet; chosen from Docker's default pools unless given
    #[arg(long, value_name = "CIDR", value_parser = subnet)]
    pub(in crate::cli) subnet: Vec<IpNet>,
    /// The first hop of a subnet; its first address unless given
    #[arg(long, value_name = "IP", value_parser = plain::<IpAddr>)]
    pub(in crate::cli) gateway: Vec<IpAddr>,
    /// Choose endpoints' addresses from this part of the subnet
    #[arg(long, value_name = "CIDR", value_parser = subnet)]
    pub(in crate::cli) ip_range: Option<IpNet>,
    /// The overlay's VNI, the same on every host; from 4096 up unless given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=0x00ff_ffff))]
    pub(in crate::cli) vni: Option<u32>,
    /// The endpoints' MTU; 1500 for a bridge, what the underlay leaves for an overlay, unless given
    #[arg(long, value_name = "BYTES")]
    pub(in crate::cli) mtu: Option<u32>,
    /// No way out of the network: no default route
    #[arg(long)]
    pub(in crate::cli) internal: bool,
    /// An IPv6 subnet too, even if none is given
    #[arg(long)]
    pub(in crate::cli) ipv6: bool,
    /// A label for your own use (repeatable; of two with one key the later holds)
    #[arg(long, value_name = "K=V", value_parser = label)]
    pub(in crate::cli) label: Vec<(String, String)>,
    /// A network option (repeatable; of two with one key the later holds)
    #[arg(short = 'o', long = "opt", value_name = "K=V", value_parser = key_value)]
    pub(in crate::cli) opt: Vec<(String, String)>,
}

const FILTERS: &str = "\
Filters (-f):
  name=PART          whose name has this in it
  id=START           whose id starts so
  driver=NAME        bridge or overlay
  label=K[=V]        that have this label, with this value
  scope=local        of this host; all networks are, without a cluster store
  type=custom        made by somebody; type=builtin: there from the start
  dangling=true      without endpoints; dangling=false: with some";

#[derive(Debug, Args)]
#[command(after_help = FILTERS)]
pub(in crate::cli) struct ListArgs {
    /// Print ids only
    #[arg(short, long)]
    pub(in crate::cli) quiet: bool,
    /// Only networks that fit (repeatable; of several filters with one key one must fit)
    #[arg(short, long, value_name = "K=V", value_parser = filter)]
    pub(in crate::cli) filter: Vec<(FilterKey, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum FilterKey {
    Name,
    Id,
    Driver,
    Label,
    Scope,
    Type,
    Dangling,
}

const PUBLISHING: &str = "\
Publishing (-p):
  8080:80               port 80 of the endpoint is port 8080 of this host, on every address
  127.0.0.1:5353:53/udp on one address only; IPv6 in brackets: [::1]:8080:80
  8000-8010:80-90       a range; both have the same length
  8000-8010:80          one of these ports of this host, whichever is free
  :80                   a free port of this host; 'weft port ls' says which";

#[derive(Debug, Args)]
#[command(after_help = PUBLISHING)]
pub(in crate::cli) struct ConnectArgs {
    /// Name, id, or the first 12 digits of an id
    #[arg(value_parser = key)]
    pub(in crate::cli) network: String,
    /// The namespace's path, such as /run/netns/c1 or /proc/PID/ns/net
    #[arg(value_parser = path)]
    pub(in crate::cli) netns: PathBuf,
    /// The endpoint's name; from the path unless given
    #[arg(long, value_parser = checked::<Name>)]
    pub(in crate::cli) name: Option<Name>,
    /// The interface's name inside; eth0, or the next that Weft has not used there, unless given
    #[arg(long, value_parser = checked::<IfName>)]
    pub(in crate::cli) ifname: Option<IfName>,
    /// The IPv4 address; the lowest free one unless given
    #[arg(long, value_parser = plain::<Ipv4Addr>)]
    pub(in crate::cli) ip: Option<Ipv4Addr>,
    /// The IPv6 address; the lowest free one unless given
    #[arg(long, value_parser = plain::<Ipv6Addr>)]
    pub(in crate::cli) ip6: Option<Ipv6Addr>,
    /// The MAC address; 02:42 and the IPv4 address unless given
    #[arg(long, value_parser = plain::<MacAddr>)]
    pub(in crate::cli) mac: Option<MacAddr>,
    /// Publish a port, or a range of them, on this host (repeatable)
    #[arg(short, long, value_name = "[IP:]HOST:PORT[/tcp|udp]", value_parser = checked::<PublishRequest>)]
    pub(in crate::cli) publish: Vec<PublishRequest>,
    /// A further name on this network (repeatable)
    #[arg(long, value_name = "NAME", value_parser = checked::<Name>)]
    pub(in crate::cli) alias: Vec<Name>,
}
