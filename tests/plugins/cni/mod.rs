//! The CNI plugin. [`client`] does what the specification says a runtime does, and nothing else.
//!
//! ```text
//! verbs     ADD, CHECK, DEL, GC, STATUS, VERSION in every version     refused   bad input: the code, the message, no change
//! wishes    what a runtime asks for one container                     chained   other plugins, delegated IPAM
//! cycles    hundreds of ADD and DEL with kills in between             podman    a runtime of the distribution
//! ```

mod chained;
mod client;
mod cycles;
mod podman;
mod refused;
mod verbs;
mod wishes;
