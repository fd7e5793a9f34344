//! The host that the targets send to, and what can be seen of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weft_dataplane::counters::Totals;
use weft_dataplane::datapath::Datapath;
use weft_dataplane::switch::EntryKind;
use weft_dataplane::tables::{
    Ground, PortId, PortKind, PortSpec, SegmentId, SegmentOptions, SegmentSpec, Tables, TablesSpec,
    VlanPolicy,
};
use weft_dataplane::time::Moment;
use weft_dataplane::tunnel::Vtep;
use weft_dataplane::wire::{MacAddr, Vni};

pub(crate) const NOW: Moment = Moment::from_secs(5);
pub(crate) fn datapath() -> Datapath {
    Datapath::new(0, 7)
}
/// The port that VTEPs listen on.
pub(crate) const TUNNEL_PORT: u16 = 4789;

/// The VNIs of the two networks: the first drops tags, the second passes them. Both hold endpoints to their addresses.
pub(crate) const VNIS: [u32; 2] = [0x0a_0b0c, 0xff_ffff];
/// VTEPs of both networks.
pub(crate) const VTEPS: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 2), Ipv4Addr::new(192, 0, 2, 3)];

/// Endpoint `n`, 1 or 2, of either network.
pub(crate) fn mac(n: u8) -> MacAddr {
    MacAddr::from_ipv4(v4(n))
}

pub(crate) const fn v4(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 0, n)
}

pub(crate) const fn v6(n: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n as u16)
}

/// Two networks with ports 0 and 1, 2 and 3.
pub(crate) fn tables() -> Tables {
    let mut spec = TablesSpec::default();
    for (index, vni) in (0u32..).zip(VNIS) {
        let vlan = if index == 0 { VlanPolicy::Drop } else { VlanPolicy::Pass };
        spec.segments.push(SegmentSpec {
            id: SegmentId(index),
            vni: Vni::new(vni).ok(),
            mtu: 1_450,
            options: SegmentOptions { vlan, ..SegmentOptions::default() },
            vteps: VTEPS.map(IpAddr::from).to_vec(),
            gateway: None,
        });
        for n in [1, 2] {
            let addresses = vec![v4(n).into(), v6(n).into()];
            let id = PortId(index * 2 + u32::from(n) - 1);
            let (kind, segment) = (PortKind::Endpoint, SegmentId(index));
            spec.ports.push(PortSpec { id, kind, segment, mac: mac(n), addresses });
        }
    }
    let own = Vtep::new(Ipv4Addr::new(192, 0, 2, 1).into());
    let ground = Ground { shards: 1, seed: 7, underlay: Some((own, TUNNEL_PORT)) };
    Tables::build(&spec, &Tables::empty(&ground), &ground).expect("a spec that makes sense")
}

/// How many dynamic entries there are.
pub(crate) fn learned(tables: &Tables) -> usize {
    let rows = tables.segments().iter().flat_map(|segment| segment.fdb_rows(NOW));
    rows.filter(|row| row.kind == EntryKind::Dynamic).count()
}

/// How many frames have come to an end.
pub(crate) fn ended(totals: &Totals) -> u64 {
    totals.packets + totals.drops.iter().sum::<u64>()
}
