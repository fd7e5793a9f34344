//! Ports that somebody else has: refused, with the owner named, and nothing half-made.

use crate::lab::{HOST, Kind, Lab, Publish};
use crate::outcome::{Outcome, hold};
use crate::sockets::{Udp, listen};
use crate::weft::{NETWORK, endpoint};
use harness::cmd;
use harness::netns::Namespace;
use std::net::Ipv4Addr;

/// `connect` with these ports has to be refused as a conflict.
fn refusal(lab: &Lab, publish: &str) -> Outcome<cmd::Outcome> {
    let ns = Namespace::new("refused");
    let line = ["network", "connect", NETWORK, &ns.path(), "--name", "refused", "-p", publish];
    let refusal = lab.weft()?.weft(&line);
    hold!(refusal.code == Some(4), "-p {publish} ended with {:?}: {}", refusal.code, refusal.stderr);
    hold!(ns.links() == ["lo"], "half a container was left: {:?}", ns.links());
    Ok(refusal)
}

pub(crate) fn published_a_port_that_a_process_has_is_refused_with_its_name(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    lab.weft()?;
    let _tcp = listen(lab.host(), (Ipv4Addr::UNSPECIFIED, 8080).into());
    let _udp = Udp::bind(lab.host(), (HOST, 6053).into(), lab.patience());
    let name = std::fs::read_to_string("/proc/self/comm").expect("a process has a name");
    for publish in ["8080:80", "6053:53/udp", "8078-8082:80-84"] {
        let said = refusal(&lab, publish)?.stderr;
        let pid = std::process::id().to_string();
        hold!(
            said.contains(name.trim()) || said.contains(&pid),
            "-p {publish} does not name {}: {said}",
            name.trim()
        );
    }
    // Other addresses of the host are free, and what was refused left nothing reserved.
    let ns = Namespace::new("free");
    lab.weft()?.weft(&["network", "connect", NETWORK, &ns.path(), "--name", "f", "-p", "8079:80"]).must();
    Ok(())
}

pub(crate) fn published_a_port_of_another_endpoint_is_refused_with_its_name(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    lab.weft()?;
    let _a = lab.publishing(11, &[Publish::tcp(8080, 80), Publish::udp(6053, 53)]);
    for publish in ["8080:81", "6053:54/udp", "172.31.77.1:8080:82", "8079-8081:80-82"] {
        let said = refusal(&lab, publish)?.stderr;
        hold!(said.contains(&endpoint(11)), "-p {publish} does not name the endpoint: {said}");
    }
    // The other protocol is another port.
    lab.publishing(12, &[Publish::udp(8080, 80), Publish::tcp(6053, 53)]);
    Ok(())
}
