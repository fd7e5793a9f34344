//! Arithmetic of measuring: what a set of samples says, at which rate packets start to be lost, where the CPU time went.
//!
//! Pure but for [`cpu`], which reads `/proc`. What it is not: a judge. It neither knows contenders nor rejects samples.

pub(crate) mod cpu;
pub(crate) mod quantiles;
pub(crate) mod search;
pub(crate) mod stats;
