//! From what the engine says of ports to what is asked of the manager.

use super::error::DockerError;
use super::wire::PortBinding;
use crate::model::{Protocol, PublishRequest};

/// Protocol numbers of IP.
const TCP: u8 = 6;
const UDP: u8 = 17;

/// What is to be published, always in the same order: the engine's own is not the same in every call.
///
/// # Errors
/// [`DockerError`] names the port that cannot be published.
pub(super) fn requests(bindings: &[PortBinding]) -> Result<Vec<PublishRequest>, DockerError> {
    let mut bindings: Vec<_> = bindings.to_vec();
    bindings.sort_by_key(|b| (b.protocol, b.port, b.host_ip, b.host_port, b.host_port_end));
    bindings.dedup();
    bindings.iter().map(request).collect()
}

fn request(binding: &PortBinding) -> Result<PublishRequest, DockerError> {
    let &PortBinding { protocol, port, host_ip, host_port: from, host_port_end: to } = binding;
    let protocol = match protocol {
        TCP => Protocol::Tcp,
        UDP => Protocol::Udp,
        _ => return Err(DockerError::Protocol { port, protocol }),
    };
    // The end of a range may be left out.
    let host = if from == 0 && to == 0 { None } else { Some(from..=if to == 0 { from } else { to }) };
    let address = host_ip.map(|ip| ip.to_canonical());
    PublishRequest::one(address, host, port, protocol).ok_or(DockerError::Range { port, from, to })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::Problem;

    fn published(portmap: &str) -> Result<Vec<String>, String> {
        let bindings: Vec<PortBinding> = serde_json::from_str(portmap).unwrap();
        let requests = requests(&bindings).map_err(|error| Problem::from(error).to_string())?;
        Ok(requests.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_binding_is_one_port_of_the_container() {
        let portmap = r#"[
            {"Proto":6,"IP":"","Port":80,"HostIP":"127.0.0.1","HostPort":8080,"HostPortEnd":8080},
            {"Proto":17,"IP":"","Port":90,"HostIP":"127.0.0.1","HostPort":9000,"HostPortEnd":9001},
            {"Proto":6,"IP":"","Port":81,"HostIP":"","HostPort":0,"HostPortEnd":0},
            {"Proto":6,"IP":"","Port":82,"HostIP":"::","HostPort":82,"HostPortEnd":82},
            {"Proto":6,"IP":"","Port":83,"HostIP":"0.0.0.0","HostPort":83}
        ]"#;
        let expected = [
            "127.0.0.1:8080:80/tcp",
            ":81/tcp",
            "[::]:82:82/tcp",
            "0.0.0.0:83:83/tcp",
            "127.0.0.1:9000-9001:90/udp",
        ];
        assert_eq!(published(portmap).unwrap(), expected);
        assert_eq!(published("[]").unwrap(), [""; 0]);
    }

    #[test]
    fn the_order_is_always_the_same() {
        let (one, two) = (
            r#"{"Proto":6,"Port":80,"HostPort":8080,"HostPortEnd":8080}"#,
            r#"{"Proto":17,"Port":53,"HostPort":53,"HostPortEnd":53}"#,
        );
        let (there, back) = (format!("[{one},{two}]"), format!("[{two},{one},{one}]"));
        assert_eq!(published(&there), published(&back));
    }

    #[test]
    fn what_cannot_be_published_is_named() {
        let refusal = |binding: &str| published(&format!("[{binding}]")).unwrap_err();
        let sctp = refusal(r#"{"Proto":132,"Port":7,"HostPort":7,"HostPortEnd":7}"#);
        assert!(sctp.contains("port 7") && sctp.contains("132") && sctp.contains("ports=engine"), "{sctp}");
        for (port, from, to) in [(0, 80, 80), (80, 9001, 9000), (80, 0, 9)] {
            let text = format!(r#"{{"Proto":6,"Port":{port},"HostPort":{from},"HostPortEnd":{to}}}"#);
            let told = refusal(&text);
            assert!(
                told.contains(&format!("{port} cannot")) && told.contains(&format!("{from} to")),
                "{told}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_binding_is_one_port_or_refused(
            protocol in prop_oneof![Just(6u8), Just(17), any::<u8>()], port: u16, from: u16, to: u16,
        ) {
            let binding = PortBinding { protocol, port, host_ip: None, host_port: from, host_port_end: to };
            match requests(&[binding]) {
                Ok(asked) => {
                    prop_assert_eq!(asked[0].mappings().map(|one| one.container).collect::<Vec<_>>(), [port]);
                    let last = if to == 0 { from } else { to };
                    prop_assert!(from == 0 || asked[0].choices() == (from..=last));
                }
                Err(error) => {
                    let backwards = to != 0 && to < from;
                    let impossible = port == 0 || ![TCP, UDP].contains(&protocol) || backwards || (from == 0 && to != 0);
                    prop_assert!(impossible, "{}", error);
                }
            }
        }
    }
}
