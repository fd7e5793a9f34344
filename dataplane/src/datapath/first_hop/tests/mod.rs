//! A host with gateways and links to the outside: every frame, what becomes of it, and how it is counted.

mod neighbors;
mod outside;
mod routed;
mod size;
mod world;
