//! What container engines and runtimes ask in their own protocols, told to the [`crate::network::Manager`] in its words.

pub mod docker;
