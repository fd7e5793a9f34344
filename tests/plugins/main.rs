//! The product as container engines drive it: by their own protocols, and by themselves.
//!
//! ```text
//! cni      the plugin executable: an exact client of the specification, other plugins before and after it, podman
//! docker   the plugin socket: a real Docker Engine, on one machine and on two
//! ```

mod cni;
mod docker;
mod inventory;
