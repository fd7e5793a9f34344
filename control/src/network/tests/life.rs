//! A life in random steps.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::super::fake::Refuse;
use super::*;

/// One step of a life with two networks and a few endpoints.
#[derive(Clone, Debug)]
enum Step {
    Connect { network: usize, name: u8, ip: Option<u8>, fails: Option<u8> },
    Disconnect { network: usize, name: u8 },
    Gone { port: u32 },
    Recreate { network: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fails = prop::option::weighted(0.2, 0u8..3);
    let connect = (0usize..2, 0u8..6, prop::option::of(0u8..9), fails)
        .prop_map(|(network, name, ip, fails)| Step::Connect { network, name, ip, fails });
    let disconnect = (0usize..2, 0u8..6).prop_map(|(network, name)| Step::Disconnect { network, name });
    let gone = (1u32..30).prop_map(|port| Step::Gone { port });
    let recreate = (0usize..2).prop_map(|network| Step::Recreate { network });
    prop::collection::vec(prop_oneof![6 => connect, 3 => disconnect, 1 => gone, 1 => recreate], 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens: book, tables and open ports tell the same, and no address has two owners.
    #[test]
    fn book_and_packet_side_never_disagree(steps in steps()) {
        let (manager, plane) = manager();
        let names = ["blue", "red"];
        for name in names {
            manager.create(&with_subnet(name, "10.1.0.0/29")).unwrap();
        }
        for step in steps {
            let refuse = |n: u8| [Refuse::Publish, Refuse::OpenPort, Refuse::Plug][usize::from(n)];
            // What a step is refused is the model's business elsewhere; here only the state after it counts.
            match step {
                Step::Connect { network, name, ip, fails } => {
                    plane.world(|world| world.refuse = fails.map(refuse));
                    let ip = ip.map(|last| Ipv4Addr::new(10, 1, 0, last));
                    let request = EndpointRequest { ip, ..endpoint(&format!("e{name}")) };
                    let connected = manager.connect(names[network], &request);
                    prop_assert!(connected.is_err() || fails.is_none());
                    plane.world(|world| world.refuse = None);
                }
                Step::Disconnect { network, name } => {
                    let _ = manager.disconnect(names[network], &format!("e{name}"));
                }
                Step::Gone { port } => {
                    plane.world(|world| {
                        world.open.remove(&PortId(port));
                        world.dead.insert(NETNS.into())
                    });
                    manager.port_gone(PortId(port));
                    plane.world(|world| world.dead.clear());
                }
                Step::Recreate { network } => {
                    manager.remove(names[network]).unwrap();
                    manager.create(&with_subnet(names[network], "10.1.0.0/29")).unwrap();
                }
            }
            for network in manager.networks() {
                let mut addresses: Vec<_> = network.endpoints.iter().flat_map(|e| e.addresses().to_vec()).collect();
                let count = addresses.len();
                addresses.sort();
                addresses.dedup();
                prop_assert_eq!(addresses.len(), count);
            }
            let mut ports: Vec<_> = manager.endpoints().iter().filter_map(|(_, e)| e.port()).collect();
            ports.sort();
            plane.world(|world| {
                prop_assert_eq!(world.ports(), ports.clone());
                let mut published = world.published_ports();
                published.sort();
                prop_assert_eq!(published, ports);
                Ok(())
            })?;
        }
    }
}
