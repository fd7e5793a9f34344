//! What is asked of a daemon, through its API.
use super::error::DemoError;
use super::report::HostCounters;
use std::net::Ipv4Addr;
use std::path::Path;
pub(super) struct Control;
pub(super) struct Attachment<'a> {
    pub(super) name: &'static str,
    pub(super) netns: &'a Path,
    pub(super) ip: Ipv4Addr,
}
impl Control {
    pub(super) fn new(_socket: &Path) -> Self {
        Self
    }
    pub(super) async fn is_ready(&self) -> bool {
        false
    }
    pub(super) async fn create(&self, _: &str, _: u32, _: &str) -> Result<(), DemoError> {
        unimplemented!()
    }
    pub(super) async fn connect(&self, _: &str, a: Attachment<'_>) -> Result<(), DemoError> {
        unimplemented!("{} {:?} {}", a.name, a.netns, a.ip)
    }
    pub(super) async fn counters(&self, _: &str) -> Result<HostCounters, DemoError> {
        unimplemented!()
    }
}
