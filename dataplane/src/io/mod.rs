//! The kernel at arm's length: the only room with `unsafe` in it.

pub mod netns;
