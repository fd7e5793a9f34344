//! System calls that no safe crate offers in the form that the packet path needs.

pub(crate) mod bpf;
pub(crate) mod ethtool;
pub(crate) mod mmsg;
pub(crate) mod packet;
pub(crate) mod sockopt;
pub(crate) mod tun;
