//! Frames in, frames out.

#[cfg(feature = "os")]
pub mod io;
pub mod time;
pub mod wire;
