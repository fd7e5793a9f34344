//! Weft's control side: who should be connected, and why.
//!
//! ```text
//! cli > api::client ~~ socket ~~ api::server > network::Manager > network::Plane > packet, sandbox
//!  |                                              |                                 |
//!  +--> daemon: starts and ends all of it         +--> model, ipam                  ~~ socket ~~ weft dataplane
//!  +--> demo:   the product shown by itself
//!  +--> driver: the same for container runtimes: a CNI plugin
//! dockerd ~~ socket ~~ driver::docker > network::Manager, as the API does
//! ```
//!
//! The [`network`] room decides and remembers; [`model`] has the nouns, [`ipam`] the addresses, [`store`] keeps what
//! outlives the process, [`reconcile`] compares that with what there is. [`sandbox`] enters other namespaces,
//! [`underlay`] finds the next hops of super-frames. Packets are none of this crate's business: they are the dataplane's,
//! in a process that [`packet`] looks after.

pub mod api;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod driver;
pub mod egress;
pub mod error;
pub mod health;
pub(crate) mod http;
pub mod ipam;
pub mod log;
pub mod metrics;
pub mod model;
pub mod network;
pub mod notify;
pub mod packet;
pub mod publish;
pub mod reconcile;
pub mod sandbox;
pub mod store;
pub mod underlay;
