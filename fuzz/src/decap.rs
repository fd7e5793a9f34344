//! A datagram from the underlay: two bytes say who sends it, the rest is its payload.

use std::net::Ipv4Addr;

use weft_dataplane::datapath::Judged;
use weft_dataplane::offload::segments;
use weft_dataplane::tables::Tables;
use weft_dataplane::tunnel::Vtep;
use weft_dataplane::verdict::{DropReason, Verdict};
use weft_dataplane::wire::Ecn;

use crate::world::{NOW, VNIS, VTEPS, datapath, ended, learned, tables};

/// Where the inner frame begins.
const INNER: usize = 8;

/// Judges `data` as a datagram: byte 0 chooses the VTEP (every fourth is nobody's), byte 1 the outer ECN field.
pub fn decap(data: &[u8]) {
    let [who, ecn, payload @ ..] = data else { return };
    let sender = match who % 4 {
        3 => Ipv4Addr::new(192, 0, 2, 99),
        n => VTEPS[usize::from(n) % 2],
    };
    let (tables, mut datagram) = (tables(), payload.to_vec());
    let sender = Vtep::new(sender.into());
    let judged = datapath().from_tunnel(&tables, sender, Ecn::from_bits(*ecn), &mut datagram, NOW);
    assert_eq!(ended(&tables.totals()), 1, "one datagram, one verdict");
    match judged.verdict {
        Verdict::Transmit(_) => panic!("from a tunnel into a tunnel"),
        Verdict::Leave(_) | Verdict::ByHost(_) | Verdict::Consumed | Verdict::Held => {
            panic!("these networks have no gateway")
        }
        Verdict::Drop(reason) => refused(&tables, reason),
        Verdict::Deliver(_) | Verdict::Flood => accepted(&tables, sender, payload, &judged),
    }
}

/// Only what a member said teaches anything, even if its frame goes nowhere.
fn refused(tables: &Tables, reason: DropReason) {
    let heard = matches!(reason, DropReason::SplitHorizon | DropReason::SamePort | DropReason::Storm);
    assert_eq!(learned(tables), usize::from(heard), "{reason}");
    assert_eq!(tables.totals().drops(reason), 1);
}

fn accepted(tables: &Tables, sender: Vtep, payload: &[u8], judged: &Judged<'_, '_>) {
    assert!(VTEPS.contains(&match sender.address() {
        std::net::IpAddr::V4(v4) => v4,
        std::net::IpAddr::V6(v6) => panic!("{v6} is nobody"),
    }));
    assert!(payload[0] & 0x08 != 0, "the I flag");
    let vni = u32::from_be_bytes([0, payload[4], payload[5], payload[6]]);
    let network = VNIS.iter().position(|&v| v == vni).expect("a VNI that is known");
    let segment = judged.segment.expect("its segment");
    assert_eq!(segment.id.0 as usize, network);
    if let Verdict::Deliver(port) = judged.verdict {
        assert!(segment.ports.contains(&port), "to a port of that network");
    }
    assert_eq!(judged.flood_vteps().count(), 0, "split horizon");
    let source = &payload[INNER + 6..INNER + 12];
    assert!(source[0] & 1 == 0 && source != [0; 6], "a source that can be one");
    assert_eq!(learned(tables), 1);
    changed(&payload[INNER..], judged);
}

/// The frame is the one that came: what may differ is an ECN field with its checksum, and a super-frame's checksum.
fn changed(came: &[u8], judged: &Judged<'_, '_>) {
    let frame = &*judged.frame.bytes;
    assert_eq!(frame.len(), came.len());
    let different = frame.iter().zip(came).filter(|(a, b)| a != b).count();
    let may = if judged.frame.offload.gso.is_some() { 5 } else { 3 };
    assert!(different <= may, "{different} bytes changed");
    let pieces = segments(frame, judged.frame.offload).expect("an offload that is true of its frame");
    let segment = judged.segment.expect("its segment");
    if judged.frame.offload.gso.is_some() {
        let mtu = usize::from(segment.mtu);
        assert!(pieces.max_len() <= 14 + 8 + mtu, "a segment of {} bytes", pieces.max_len());
    }
}
