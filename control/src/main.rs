//! The `weft` executable.
fn main() {}
