//! Who asks for networks besides people: container engines and runtimes in their own protocols, each turned into what the
//! network room understands.
//!
//! [`docker`] is served by the daemon and talks to the [`crate::network::Manager`]. [`cni`] is an executable of its own, the
//! plugin of the Container Network Interface, and a client of the API like the command line.

pub mod cni;
pub mod docker;
