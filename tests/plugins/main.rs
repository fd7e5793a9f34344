//! The product as others' plugin: what they ask of it, in their words, and the real ones asking.

mod docker;
