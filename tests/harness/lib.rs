//! The rig the product is tested on: hosts, wires, containers and peers made of network namespaces.
//!
//! A test reads top to bottom: it builds an [`underlay::Underlay`] of two or more hosts, starts a [`daemon::Daemon`] on
//! some of them and a [`kernel_vtep::KernelVtep`] or [`ovs::OvsVtep`] on others, attaches containers, and looks at what
//! arrives. [`wire::Wire`] is the shorter rig for crafted datagrams: one daemon, one container or more, and a far end
//! that is nobody in particular and can pretend to be anybody. [`relay::Relay`] is a bad wire: it stands between two hosts
//! and drops, doubles and delays what they send each other.
//!
//! The harness knows the product only by its executable, its configuration file, its command line and what it does to
//! packets; it links nothing of it. Everything made has a unique name and is removed by `Drop`, also when a test
//! panics. Every command has a time limit, every wait awaits a condition, and no test asserts a time.
//!
//! It needs root, and for a few peers a kernel device or a package; [`need!`] leaves a test that cannot run, with the
//! reason printed and recorded.

pub mod cmd;
pub mod config;
pub mod daemon;
pub mod datagram;
pub mod frame;
pub mod impairment;
pub mod kernel_vtep;
pub mod machine;
pub mod need;
pub mod netns;
pub mod ovs;
pub mod random;
pub mod raw;
pub mod relay;
pub mod sieve;
pub mod stream;
pub mod traffic;
pub mod underlay;
pub mod wait;
pub mod wire;
