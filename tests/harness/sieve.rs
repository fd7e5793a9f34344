//! Loss where super-frames cross: at the receiver's interface some are led astray, each of them whole.
//!
//! The [`relay`](crate::relay) sees frames of the wire only: no socket carries a tunnel's super-frame on. So this is the
//! kernel's own work, a classifier with a random number in it. Nothing is reordered, frames of the wire's size are
//! spared, and which super-frames are lost differs from run to run.

use crate::netns::Namespace;
use crate::underlay::{self, Host, UPLINK};
use serde_json::Value;

/// Where what is lost goes: a veth whose other end is down.
const ASTRAY: &str = "astray";

/// One frame in 32 of 3000 bytes or more: classic BPF, as `tc-bpf(8)` takes it.
///
/// ```text
///   ld len;  jge 3000 else pass;  ld rand;  and 31;  jeq 0 else pass;  ret match;  pass: ret 0
/// ```
const ONE_IN_32: &str =
    "7,128 0 0 0,53 0 4 3000,32 0 0 4294963256,84 0 0 31,21 0 1 0,6 0 0 4294967295,6 0 0 0";

/// Loss at one host's underlay interface, as long as the host is there.
#[derive(Debug)]
pub struct Sieve<'a> {
    ns: &'a Namespace,
}

impl<'a> Sieve<'a> {
    /// Begins to lose what comes to `host`.
    #[track_caller]
    pub fn new(host: &'a Host) -> Self {
        let ns = &host.ns;
        underlay::veth(ns, ASTRAY, ns, "nowhere");
        ns.ip(&["link", "set", ASTRAY, "up"]);
        tc(ns, &["qdisc", "add", "dev", UPLINK, "clsact"]);
        let rule = ["filter", "add", "dev", UPLINK, "ingress", "bpf", "bytecode", ONE_IN_32];
        let action = ["action", "mirred", "egress", "redirect", "dev", ASTRAY];
        tc(ns, &[rule.as_slice(), &action].concat());
        Sieve { ns }
    }

    /// How many segments were in the super-frames it has lost so far.
    #[track_caller]
    pub fn lost(&self) -> u64 {
        let shown = tc(self.ns, &["-s", "-j", "filter", "show", "dev", UPLINK, "ingress"]);
        let rules: Value = serde_json::from_str(&shown).expect("tc writes JSON");
        let counters = |rule: &Value| rule["options"]["actions"][0]["stats"]["packets"].as_u64();
        let found = rules.as_array().into_iter().flatten().find_map(counters);
        found.unwrap_or_else(|| panic!("no counters in {shown}"))
    }
}

#[track_caller]
fn tc(ns: &Namespace, args: &[&str]) -> String {
    ns.exec(&[&["tc"], args].concat()).must()
}
