//! How fast Weft is, and beside what.
//!
//! Six instruments share this package. `cargo bench -p weft-bench` times the pure packet path on named frames
//! ([`frames`]): nanoseconds and allocations, no kernel. `weft-bench compare` ([`cli`]) is the lab: it builds the same two
//! hosts for Weft in each underlay mode, the kernel's bridge and vxlan, a bare veth and Open vSwitch, sends the same
//! traffic through each in turn, and says how they compare. `weft-bench nat` is the
//! same for a container's way out of its host, beside the kernel's masquerade, slirp4netns and pasta. `weft-bench
//! docker` is the same for the containers of Docker Engine, beside its own bridge, and times `docker run`. `weft-bench
//! endpoints` fills one host, and `weft-bench cni` calls the CNI plugin on it.
//!
//! ```text
//!   endpoints  a full host: how long attaching and detaching take there, and what it costs
//!   cni        how long the CNI plugin takes there, from its start to its end
//!   runs       how long `docker run` takes there, and what part of it is Weft's
//!   compare/   what is to be compared, and the order in which it is done
//!   stage/     the two hosts: namespaces, the wire between them, and each contender's way of joining containers
//!   traffic/   the programs inside the containers, and the line protocol that drives them
//!   measure/   arithmetic: medians and spreads, rate search, CPU time
//!   report/    what is said about it: text, Markdown, SVG, JSON
//! ```
//!
//! What it is not: a test (nothing here passes or fails on a figure), nor RFC 2544: both hosts, both switches and the
//! traffic itself share the cores of one machine. That is why every figure that matters is a ratio to the kernel's own
//! VXLAN, taken seconds apart on the same machine.
//!
//! Limits: every wait has an end, and what a contender cannot do is shown with its reason and leaves the others alone.
//! Everything made carries this process's id in its name and is removed at the end, on errors and on Ctrl-C; what a
//! killed run left behind is removed by the next one.

pub mod cli;
mod cni;
mod compare;
mod endpoints;
mod error;
pub mod frames;
mod interrupt;
mod measure;
mod report;
mod runs;
mod stage;
mod traffic;
