//! Weft's control side: who should be connected, and why.

pub mod api;
pub mod config;
pub mod demo;
pub mod error;
pub mod ipam;
pub mod model;
pub mod network;
pub mod sandbox;
