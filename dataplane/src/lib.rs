//! Frames in, frames out.

pub mod time;
pub mod wire;
