//! Rewriting against recomputation, and packets that are not to be believed.

mod build;
mod embedded;
mod hostile;
mod parse;
mod translate;
