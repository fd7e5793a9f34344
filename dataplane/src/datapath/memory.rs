//! A datapath that remembers conversations answers as one that does not.

use std::time::Duration;

use proptest::prelude::*;

use super::tests::world;
use super::*;
use crate::switch::FdbRow;
use crate::tables::SegmentId;
use crate::testing::{ground, plain, station, udp4, vni, vtep, vxlan};

/// Something that happens to a host.
#[derive(Clone, Debug)]
enum Step {
    FromPort {
        port: u32,
        source: u8,
        destination: u8,
    },
    FromTunnel {
        segment: u32,
        sender: u8,
        source: u8,
        destination: u8,
    },
    Wait(Duration),
    Sweep,
    /// Tables without this port, or without this segment, or whole.
    Publish {
        without_port: Option<u32>,
        without_segment: Option<u32>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let stations = || (1..6u8, 1..6u8);
    let waits = [1, 499_999_999, 500_000_000, 299_500_000_000, 300_000_000_000, 300_000_000_001];
    prop_oneof![
        4 => (prop::sample::select(vec![11, 12, 21, 31, 32]), stations())
            .prop_map(|(port, (source, destination))| Step::FromPort { port, source, destination }),
        8 => (1..4u32, 2..4u8, stations()).prop_map(|(segment, sender, (source, destination))| {
            Step::FromTunnel { segment, sender, source, destination }
        }),
        2 => prop::sample::select(waits.to_vec()).prop_map(|nanos| Step::Wait(Duration::from_nanos(nanos))),
        1 => Just(Step::Sweep),
        1 => (prop::option::of(prop::sample::select(vec![12, 31])), prop::option::of(2..4u32))
            .prop_map(|(without_port, without_segment)| Step::Publish { without_port, without_segment }),
    ]
}

/// A host with a datapath of either kind.
struct Host {
    datapath: Datapath,
    tables: Tables,
}

impl Host {
    fn new(datapath: Datapath) -> Self {
        Self { datapath, tables: world().tables(1) }
    }

    fn take(&mut self, step: &Step, now: Moment) -> Option<Verdict> {
        match *step {
            Step::FromPort { port, source, destination } => {
                let port = self.tables.port(PortId(port))?;
                let mut bytes = plain(station(destination).mac, station(source).mac, b"hello");
                let frame = Frame { bytes: &mut bytes, offload: Offload::NONE };
                Some(self.datapath.from_port(&self.tables, port, frame, now).verdict)
            }
            Step::FromTunnel { segment, sender, source, destination } => {
                let frame = udp4(station(source), station(destination), (1, 2), b"hello");
                let mut datagram = vxlan(vni(segment), &frame);
                let sender = vtep(sender);
                Some(self.datapath.from_tunnel(&self.tables, sender, Ecn::NotEct, &mut datagram, now).verdict)
            }
            Step::Wait(_) => None,
            Step::Sweep => {
                for segment in self.tables.segments() {
                    segment.expire(now, 100);
                }
                None
            }
            Step::Publish { without_port, without_segment } => {
                let mut spec = world().0;
                let gone = |segment: SegmentId| Some(segment.0) == without_segment;
                spec.segments.retain(|segment| !gone(segment.id));
                spec.ports.retain(|port| Some(port.id.0) != without_port && !gone(port.segment));
                self.tables = Tables::build(&spec, &self.tables, &ground(1)).unwrap();
                None
            }
        }
    }

    fn rows(&self, now: Moment) -> Vec<Vec<FdbRow>> {
        let sorted = |segment: &Segment| {
            let mut rows = segment.fdb_rows(now);
            rows.sort_by_key(|row| row.mac);
            rows
        };
        self.tables.segments().iter().map(sorted).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn memory_changes_no_answer(steps in prop::collection::vec(step(), 1..60)) {
        let mut now = Moment::from_secs(5);
        let (mut plain, mut remembering) =
            (Host::new(Datapath::new(0, 7)), Host::new(Datapath::new(0, 7).remembering()));
        for step in &steps {
            if let Step::Wait(time) = step {
                now = now.after(*time);
            }
            prop_assert_eq!(plain.take(step, now), remembering.take(step, now), "{:?}", step);
            prop_assert_eq!(plain.rows(now), remembering.rows(now), "after {:?}", step);
        }
        prop_assert_eq!(plain.tables.totals(), remembering.tables.totals());
    }
}

#[test]
fn a_conversation_is_remembered() {
    let now = Moment::from_secs(5);
    let mut host = Host::new(Datapath::new(0, 7).remembering());
    let hello = Step::FromTunnel { segment: 1, sender: 2, source: 4, destination: 1 };
    for _ in 0..3 {
        host.take(&hello, now);
    }
    let known = host.datapath.memo.known();
    assert_eq!(known, 1, "the first frame teaches the table, the second one the memory");
}
