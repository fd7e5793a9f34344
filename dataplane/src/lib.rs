//! Frames in, frames out.

pub mod time;
