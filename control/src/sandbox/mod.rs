//! Other people's network namespaces: where a container's end of a network is put.
//!
//! A sandbox is any network namespace named by a path. This room opens it, talks netlink inside it, and turns a TAP of
//! ours into the container's interface: MAC, MTU, addresses, routes, up. It tells what has become of that ([`inside`], [`route`]),
//! and whether anybody is in there any more ([`life`]). It also answers what the host's own namespace looks like ([`host`]), and builds scratch namespaces with
//! links between them ([`named`], [`topology`]).
//!
//! What it is not: it keeps no state and decides nothing. Which address goes where is the caller's business, and so is
//! the life of the TAP: closing its descriptors removes the link wherever it is, which is how everything here is undone.
//!
//! How it works, and why:
//! - No `ip` processes: rtnetlink only. A netlink socket stays in the namespace it was opened in, so a thread that ends
//!   right afterwards enters the namespace, opens the socket and hands it to the runtime. No thread of the runtime ever
//!   leaves the host's namespace, and nothing forks.
//! - A TAP is made where it is to stand ([`Netns::run`]): moving it there would take the kernel 16 to 40 ms. Only those
//!   that somebody else is to move are made at home ([`shape`]).
//! - A [`Netns`] or [`Link`] keeps its namespace alive, and so does a TAP that was made in it. Drop the former when done.
//! - Each netlink request waits at most [`link::TIMEOUT`]; the kernel answers within microseconds unless another
//!   process holds its link lock.

mod device;
mod error;
pub mod host;
pub mod inside;
mod leg;
pub mod life;
pub mod link;
mod listener;
pub mod named;
mod neighbor;
mod netns;
mod nets;
mod plug;
pub mod route;
pub mod topology;

pub(crate) use device::Device;
pub use error::SandboxError;
pub use leg::{Leg, stand};
pub use link::Link;
pub(crate) use listener::Listener;
pub use named::NamedNetns;
pub(crate) use neighbor::Neighbor;
pub use netns::{Birth, Netns, NetnsId};
pub use plug::{IFNAME_MAX, Plug, Plugged, check_ifname, loopback_up, plug, shape, taken};
pub use route::StaticRoute;
