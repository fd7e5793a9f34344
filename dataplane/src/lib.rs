//! Frames in, frames out.

pub mod offload;
pub mod time;
pub mod wire;
