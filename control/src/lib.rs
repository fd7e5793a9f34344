//! Weft's control side: who should be connected, and why.

pub mod demo;
pub mod sandbox;
