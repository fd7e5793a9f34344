//! What a test needs from the machine. A test that cannot run says so and why; `tests/run` repeats it at the end.

use crate::cmd;
use crate::netns::Namespace;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;

/// One thing a machine may lack.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// Namespaces, links and raw sockets need uid 0.
    Root,
    /// The TUN/TAP driver.
    Tun,
    /// The kernel's own VXLAN device, as a peer.
    KernelVxlan,
    /// Open vSwitch, as a peer.
    OpenVswitch,
    /// Docker Engine, which uses the product, and busybox for its image.
    Docker,
    /// `nft` and the kernel's address translation, as a peer.
    Nft,
    /// The reference CNI plugins, as neighbours of ours in a list.
    CniPlugins,
    /// `iptables`, which the plugin `portmap` translates with.
    Iptables,
    /// A runtime that speaks CNI, and what goes into its image.
    Podman,
}

impl Need {
    /// The reason why this is missing here; `None` when it is there.
    fn missing(self) -> Option<String> {
        match self {
            Need::Root if !nix::unistd::geteuid().is_root() => Some("not root".into()),
            Need::Tun if !Path::new("/dev/net/tun").exists() => Some("no /dev/net/tun".into()),
            Need::KernelVxlan if !kernel_has_vxlan() => Some("the kernel has no vxlan device".into()),
            Need::OpenVswitch if !Path::new("/usr/sbin/ovs-vswitchd").exists() => {
                Some("openvswitch-switch is not installed".into())
            }
            Need::Docker => {
                missing_program(&["dockerd", "docker", "containerd", "runc", "busybox", "iptables"])
            }
            Need::Nft => nftables_translate().err(),
            Need::CniPlugins if !Path::new("/usr/lib/cni/host-local").exists() => {
                Some("containernetworking-plugins is not installed".into())
            }
            Need::Iptables => iptables_translate().err(),
            Need::Podman if !Path::new("/usr/bin/podman").exists() => Some("podman is not installed".into()),
            Need::Podman if !Path::new("/bin/busybox").exists() => {
                Some("busybox-static is not installed".into())
            }
            _ => None,
        }
    }
}

/// Prints and records why a test is skipped; true when it is.
pub fn skip(needs: &[Need]) -> bool {
    let Some(reason) = needs.iter().find_map(|need| need.missing()) else { return false };
    tell(&reason);
    true
}

/// Prints and records why a test is skipped that has found out by itself.
pub fn tell(reason: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    println!("skipped: {reason} ({test})");
    if let Some(path) = std::env::var_os("WEFT_SKIP_LOG") {
        let line = format!("{test}: {reason}\n");
        let opened = OpenOptions::new().create(true).append(true).open(path);
        opened.and_then(|mut log| log.write_all(line.as_bytes())).expect("the skip log can be written");
    }
}

/// True when the full amounts were asked for (`tests/run --full`).
pub fn full() -> bool {
    std::env::var("WEFT_FULL").is_ok_and(|value| value == "1")
}

/// The first of these programs that is not installed.
fn missing_program(programs: &[&str]) -> Option<String> {
    let places = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(Path::new);
    let missing = programs.iter().find(|program| !places.iter().any(|place| place.join(program).exists()))?;
    Some(format!("{missing} is not installed"))
}

/// Whether a namespace takes a table that translates.
fn nftables_translate() -> Result<(), String> {
    if !Path::new("/usr/sbin/nft").exists() {
        return Err("nftables is not installed".into());
    }
    let probe = Namespace::new("probe");
    let table = "table ip probe { chain c { type nat hook postrouting priority 100; masquerade; }; }";
    if probe.exec(&["nft", table]).ok() {
        Ok(())
    } else {
        Err("the kernel does not translate addresses".into())
    }
}

/// Whether a namespace takes a rule that translates.
fn iptables_translate() -> Result<(), String> {
    if !Path::new("/usr/sbin/iptables").exists() {
        return Err("iptables is not installed".into());
    }
    let probe = Namespace::new("probe");
    if probe.exec(&["/usr/sbin/iptables", "-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE"]).ok() {
        Ok(())
    } else {
        Err("iptables does not translate addresses".into())
    }
}

fn kernel_has_vxlan() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let probe = Namespace::new("probe");
        cmd::run(
            "ip",
            &["-n", probe.name(), "link", "add", "vx", "type", "vxlan", "id", "1", "dstport", "4789"],
        )
        .ok()
    })
}

/// Leaves the test with a printed reason unless the machine has everything named.
#[macro_export]
macro_rules! need {
    ($($need:ident),+ $(,)?) => {
        if $crate::need::skip(&[$($crate::need::Need::$need),+]) {
            return;
        }
    };
}
