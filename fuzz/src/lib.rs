//! Bodies of fuzz targets: bytes in, and nothing may come of them but what is promised.
//!
//! A target takes any bytes. It panics if the product does, and when a promise is broken: something that was refused
//! was learned, something that was accepted was not allowed, a segment's checksum is wrong. Judges are written here or
//! come from a library that is not the product's, never from the code that is judged.
//!
//! ```text
//!   fuzz_targets/*.rs   three lines each, for libFuzzer (shells/Cargo.toml; needs a nightly toolchain)
//!   src/                the bodies, on stable Rust
//!   corpus/TARGET/      inputs to start from; written by `seeds`, and added to by fuzzing
//!   regressions/TARGET/ inputs that once broke a promise, named after the story
//! ```
//!
//! `cargo test -p weft-fuzz` replays corpus and regressions, and a few thousand seeded mutations of them.

mod decap;
mod fdb_history;
mod first_hop;
mod from_port;
mod gateway;
pub mod mutate;
mod parse;
mod rewrite;
pub mod seeds;
mod vnet;
mod world;

pub use decap::decap;
pub use fdb_history::fdb_history;
pub use first_hop::first_hop;
pub use from_port::from_port;
pub use gateway::gateway;
pub use parse::parse;
pub use rewrite::rewrite;
pub use vnet::vnet;

/// A target: its name, which is that of its folders, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 8] = [
    ("parse", parse),
    ("decap", decap),
    ("from_port", from_port),
    ("gateway", gateway),
    ("first_hop", first_hop),
    ("vnet", vnet),
    ("fdb_history", fdb_history),
    ("rewrite", rewrite),
];
