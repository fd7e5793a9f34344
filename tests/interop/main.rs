//! Two VTEPs of different make on one VNI: does everything arrive, unchanged, both ways?
//!
//! Each test is one pairing over one kind of underlay. It pings, has a datagram of every size echoed, and carries a
//! bulk transfer in each direction, in which every byte is compared. The pairings without the product in them (the
//! kernel and Open vSwitch with each other) hold the rig to the same: when one of those fails, look at the rig.
//!
//! Then each mode of the underlay with each, and with the kernel, over a wire that loses, doubles and reorders frames.

mod conversation;
mod impaired;

use conversation::{Pairing, Side, converse, converse_all_at_once};
use harness::need;
use harness::underlay::{Family::*, Offloads::*};
use impaired::{endure, endure_lost_super_frames};

/// One test for each line: its name, the two sides, the underlay, and what the machine needs.
macro_rules! pairings {
    ($($name:ident: $left:ident, $right:ident, $family:ident, $offloads:ident, $($need:ident)+;)*) => {
        $(
            #[test]
            fn $name() {
                need!(Root, Tun, $($need),+);
                converse(Pairing {
                    left: Side::$left,
                    right: Side::$right,
                    family: $family,
                    offloads: $offloads,
                    ..Pairing::default()
                });
            }
        )*
    };
}

pairings! {
    weft_and_the_kernel_over_ipv4_with_offloads: Weft, Kernel, V4, On, KernelVxlan;
    weft_and_the_kernel_over_ipv4_without_offloads: Weft, Kernel, V4, Off, KernelVxlan;
    weft_and_the_kernel_over_ipv6_with_offloads: Weft, Kernel, V6, On, KernelVxlan;
    weft_and_the_kernel_over_ipv6_without_offloads: Weft, Kernel, V6, Off, KernelVxlan;
    weft_and_open_vswitch_over_ipv4_with_offloads: Weft, Ovs, V4, On, OpenVswitch;
    weft_and_open_vswitch_over_ipv4_without_offloads: Weft, Ovs, V4, Off, OpenVswitch;
    weft_and_open_vswitch_over_ipv6_with_offloads: Weft, Ovs, V6, On, OpenVswitch;
    weft_and_open_vswitch_over_ipv6_without_offloads: Weft, Ovs, V6, Off, OpenVswitch;
    weft_and_weft_over_ipv4_with_offloads: Weft, Weft, V4, On, Root;
    weft_and_weft_over_ipv4_without_offloads: Weft, Weft, V4, Off, Root;
    weft_and_weft_over_ipv6_with_offloads: Weft, Weft, V6, On, Root;
    weft_and_weft_over_ipv6_without_offloads: Weft, Weft, V6, Off, Root;
    the_rig_holds_for_the_kernel_with_itself: Kernel, Kernel, V4, On, KernelVxlan;
    the_rig_holds_for_the_kernel_and_open_vswitch_over_ipv4: Kernel, Ovs, V4, On, KernelVxlan OpenVswitch;
    the_rig_holds_for_the_kernel_and_open_vswitch_over_ipv6: Kernel, Ovs, V6, Off, KernelVxlan OpenVswitch;
}

#[test]
fn weft_and_the_kernel_in_every_mode_of_the_underlay() {
    need!(Root, Tun, KernelVxlan);
    for mode in ["udp", "udp-gso", "tunnel-gso"] {
        converse(Pairing { mode: Some(mode), ..Pairing::default() });
    }
}

/// With nothing taken from the sender's interface: plain datagrams are what Open vSwitch can read from any.
#[test]
fn weft_and_open_vswitch_in_mode_udp_with_every_offload_on() {
    need!(Root, Tun, OpenVswitch);
    converse(Pairing { right: Side::Ovs, mode: Some("udp"), ..Pairing::default() });
}

#[test]
fn weft_and_weft_in_different_modes_of_the_underlay() {
    need!(Root, Tun);
    for right_mode in ["udp", "udp-gso"] {
        let right_mode = Some(right_mode);
        converse(Pairing { right: Side::Weft, mode: Some("tunnel-gso"), right_mode, ..Pairing::default() });
    }
}

#[test]
fn weft_and_weft_with_two_workers_each() {
    need!(Root, Tun);
    converse(Pairing { right: Side::Weft, workers: Some(2), ..Pairing::default() });
}

#[test]
fn weft_and_the_kernel_with_ipv6_inside_and_outside() {
    need!(Root, Tun, KernelVxlan);
    for offloads in [On, Off] {
        converse(Pairing { family: V6, inner: V6, offloads, ..Pairing::default() });
    }
}

#[test]
fn the_rig_holds_with_ipv6_inside() {
    need!(Root, KernelVxlan);
    converse(Pairing { left: Side::Kernel, inner: V6, ..Pairing::default() });
}

#[test]
fn weft_and_the_kernel_with_many_flows_at_once() {
    need!(Root, Tun, KernelVxlan);
    for offloads in [On, Off] {
        converse_all_at_once(Pairing { offloads, ..Pairing::default() });
    }
}

#[test]
fn weft_and_weft_with_many_flows_at_once() {
    need!(Root, Tun);
    for workers in [1, 2] {
        converse_all_at_once(Pairing { right: Side::Weft, workers: Some(workers), ..Pairing::default() });
    }
}

/// One test for each line: its name, the two sides with their modes, the underlay's protocol, and what the machine
/// needs; what they are to do stands in front.
macro_rules! bad_wires {
    ($act:ident: $($name:ident: $left:ident $left_mode:expr, $right:ident $right_mode:expr, $family:ident, $need:ident;)*) => {
        $(
            #[test]
            fn $name() {
                need!(Root, Tun, $need);
                $act(Pairing {
                    left: Side::$left,
                    right: Side::$right,
                    family: $family,
                    mode: $left_mode,
                    right_mode: $right_mode,
                    ..Pairing::default()
                });
            }
        )*
    };
}

const UDP: Option<&str> = Some("udp");
const UDP_GSO: Option<&str> = Some("udp-gso");
const TUNNEL_GSO: Option<&str> = Some("tunnel-gso");

bad_wires! { endure:
    bad_wire_between_udp_and_udp: Weft UDP, Weft UDP, V4, Root;
    bad_wire_between_udp_and_udp_gso: Weft UDP, Weft UDP_GSO, V4, Root;
    bad_wire_between_udp_and_tunnel_gso: Weft UDP, Weft TUNNEL_GSO, V4, Root;
    bad_wire_between_udp_gso_and_udp_gso: Weft UDP_GSO, Weft UDP_GSO, V4, Root;
    bad_wire_between_udp_gso_and_tunnel_gso: Weft UDP_GSO, Weft TUNNEL_GSO, V4, Root;
    bad_wire_between_tunnel_gso_and_tunnel_gso: Weft TUNNEL_GSO, Weft TUNNEL_GSO, V4, Root;
    bad_wire_between_udp_and_the_kernel: Weft UDP, Kernel None, V4, KernelVxlan;
    bad_wire_between_udp_gso_and_the_kernel: Weft UDP_GSO, Kernel None, V4, KernelVxlan;
    bad_wire_between_tunnel_gso_and_the_kernel: Weft TUNNEL_GSO, Kernel None, V4, KernelVxlan;
    bad_ipv6_wire_between_udp_and_udp_gso: Weft UDP, Weft UDP_GSO, V6, Root;
    bad_ipv6_wire_between_udp_gso_and_tunnel_gso: Weft UDP_GSO, Weft TUNNEL_GSO, V6, Root;
    bad_ipv6_wire_between_tunnel_gso_and_the_kernel: Weft TUNNEL_GSO, Kernel None, V6, KernelVxlan;
    the_rig_holds_for_the_kernel_with_itself_over_a_bad_wire: Kernel None, Kernel None, V4, KernelVxlan;
}

bad_wires! { endure_lost_super_frames:
    lost_super_frames_between_udp_gso_and_udp_gso: Weft UDP_GSO, Weft UDP_GSO, V4, Root;
    lost_super_frames_between_udp_gso_and_tunnel_gso: Weft UDP_GSO, Weft TUNNEL_GSO, V4, Root;
    lost_super_frames_between_tunnel_gso_and_tunnel_gso: Weft TUNNEL_GSO, Weft TUNNEL_GSO, V4, Root;
    lost_super_frames_between_udp_gso_and_the_kernel: Weft UDP_GSO, Kernel None, V4, KernelVxlan;
    lost_super_frames_between_tunnel_gso_and_the_kernel: Weft TUNNEL_GSO, Kernel None, V4, KernelVxlan;
    lost_super_frames_over_ipv6_between_tunnel_gso_and_the_kernel: Weft TUNNEL_GSO, Kernel None, V6, KernelVxlan;
    the_rig_holds_for_the_kernel_with_itself_and_lost_super_frames: Kernel None, Kernel None, V4, KernelVxlan;
}
