//! The rig against something known to work: what it crafts and reads is VXLAN, as the kernel's own device sees it.

use harness::frame::{self, Outer, OuterChecksum, Station, Tunnelled, VXLAN_PORT, cookie};
use harness::kernel_vtep::KernelVtep;
use harness::need;
use harness::netns::Namespace;
use harness::raw::RawSocket;
use harness::underlay::{Family, Offloads, UPLINK, Underlay};
use std::net::Ipv4Addr;

const VNI: u32 = 0x00ab_cdef;

#[test]
fn the_rig_speaks_and_reads_vxlan_as_the_kernel_does() {
    need!(Root, KernelVxlan);
    for family in [Family::V4, Family::V6] {
        let underlay = Underlay::new(2, family, Offloads::Off);
        let [host, far_host] = underlay.hosts.as_slice() else { panic!("two hosts were made") };
        let vtep = KernelVtep::new(host, VNI, family.inner_mtu(), &[far_host.address]);
        let container = Namespace::new("container");
        vtep.attach("c", &container, &["10.77.0.11/24"]);
        let own = Station { mac: container.mac("eth0"), ip: Ipv4Addr::new(10, 77, 0, 11) };
        let (inside, far) = (RawSocket::open(&container, "eth0"), RawSocket::open(&far_host.ns, UPLINK));

        let payload = cookie("out");
        let inner = frame::udp(own, Station::made_up(50), &payload);
        inside.send(&inner);
        let datagram = far.wait_for("a tunnelled frame", |bytes| {
            Tunnelled::parse(bytes).filter(|datagram| frame::carries(&datagram.inner, &payload))
        });
        assert_eq!((datagram.vni(), &datagram.inner), (VNI, &inner));
        assert_eq!(datagram.ips, (host.address, far_host.address));
        assert!(datagram.checksum == 0 || datagram.checksum_is_right);

        let mut outer = Outer {
            macs: (far_host.ns.mac(UPLINK), host.ns.mac(UPLINK)),
            ips: (far_host.address, host.address),
            ports: (50_000, VXLAN_PORT),
            ecn: 0,
            checksum: OuterChecksum::Bad,
        };
        let (spoilt, payload) = (cookie("spoilt"), cookie("in"));
        far.send(&outer.around(&frame::vxlan(VNI, &frame::udp(Station::made_up(50), own, &spoilt))));
        outer.checksum = OuterChecksum::Good;
        let inner = frame::udp(Station::made_up(50), own, &payload);
        far.send(&outer.around(&frame::vxlan(VNI, &inner)));
        let before = inside.all_before(|bytes| bytes == inner);
        assert!(
            before.iter().all(|bytes| !frame::carries(bytes, &spoilt)),
            "a wrong outer checksum is not wrong"
        );
    }
}
