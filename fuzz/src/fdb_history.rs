//! A history of the forwarding database beside the reference model that the product's own tests use.
//!
//! Four bytes are a step: what, which MAC, where, and by how much.

use std::net::Ipv4Addr;
use std::time::Duration;

use weft_dataplane::switch::fdb::{
    AGEING, Learned, MOVES_MAX, MOVES_WINDOW, Refresh, SECOND_CHANCES, SEGMENT_LIMIT, VTEP_SHARE,
};
use weft_dataplane::switch::{EntryKind, Fdb, FdbRow, Location};
use weft_dataplane::tables::PortId;
use weft_dataplane::time::Moment;
use weft_dataplane::tunnel::Vtep;
use weft_dataplane::wire::MacAddr;

use self::model::Model;

#[path = "../../dataplane/src/switch/fdb/model.rs"]
mod model;

/// Steps of one history, which bounds what an input can cost.
const STEPS: usize = 512;

/// Plays `data` on the table and on the model, and expects the same of both.
pub fn fdb_history(data: &[u8]) {
    let (mut fdb, mut model) = (Fdb::new(4, 7), Model::new(4, SEGMENT_LIMIT));
    let mut now = Moment::from_secs(1);
    for step in data.chunks_exact(4).take(STEPS) {
        let (mac, location, by) = (mac(step[1]), place(step[2]), step[3]);
        match step[0] % 16 {
            0..=5 => assert_eq!(fdb.learn(mac, location, now), model.learn(mac, location, now)),
            6..=8 => assert_eq!(fdb.refresh(mac, location, now), model.refresh(mac, location, now)),
            9..=11 => now = now.after(Duration::from_millis(u64::from(by) * 1_000 + u64::from(step[1]))),
            12 => assert_eq!(fdb.expire(now, usize::MAX), model.expire(now)),
            13 => {
                let wanted: Vec<_> =
                    (0..by % 4).map(|n| (self::mac(step[1].wrapping_add(n)), PortId(n.into()))).collect();
                fdb.set_static(&wanted);
                model.set_static(&wanted);
            }
            14 => {
                fdb.forget(|l| l == location);
                model.forget(|l| l == location);
            }
            _ => {
                fdb.set_limit(usize::from(by % 8));
                model.set_limit(usize::from(by % 8));
            }
        }
        assert_eq!(fdb.lookup(mac, now), model.lookup(mac, now));
        assert_eq!(sorted(fdb.rows(now)), sorted(model.rows(now)));
    }
}

/// One of 32 MACs.
fn mac(n: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, n % 32])
}

/// One of four ports and four VTEPs.
fn place(n: u8) -> Location {
    match n % 8 {
        port @ 0..4 => Location::Local(PortId(port.into())),
        vtep => Location::Remote(Vtep::new(Ipv4Addr::new(192, 0, 2, vtep).into())),
    }
}

fn sorted(rows: impl IntoIterator<Item = FdbRow>) -> Vec<FdbRow> {
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|row| row.mac);
    rows
}
