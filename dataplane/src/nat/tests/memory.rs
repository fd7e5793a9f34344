//! What a session takes.

use crate::gateway::Filtering;
use crate::nat::conntrack::Tracker;
use crate::nat::key::{End, Net};
use crate::nat::rewrite::Protocol;
use crate::nat::table::{Mapping, Session, Table};
use crate::nat::timers::Class;
use crate::nat::types::Inside;
use crate::tables::PortId;

/// A table of as many sessions, each with a mapping and a remote address of its own.
fn table(sessions: u32) -> Table {
    let mut table = Table::new(foldhash::fast::FixedState::with_seed(1));
    let net = Net { protocol: Protocol::Tcp, v6: false };
    for n in 0..sessions {
        let [a, b, c, d] = n.to_be_bytes();
        let end = |first: u8, port| End::new(std::net::Ipv4Addr::new(first | a, b, c, d).into(), port);
        let from = Inside { port: PortId(n / 4_096), filtering: Filtering::AddressDependent };
        let mapping = table.add_lent(from, end(10, 5_000), net, end(100, 40_000));
        let tcp = Tracker::new(true);
        table.add_session(mapping, end(8, 80), end(100, 0).ip, Class::Established, tcp, 0);
    }
    table
}

#[test]
fn c5_a_session_takes_at_most_512_bytes_all_included() {
    // Just after the hash tables have grown, when they are emptiest.
    for sessions in [60_000, 115_000] {
        let table = table(sessions);
        let each = table.bytes() / sessions as usize;
        assert!(each <= 512, "{each} bytes at {sessions} sessions");
    }
}

#[test]
fn a_million_sessions_fit_into_512_mib() {
    let table = table(1_000_000);
    assert!(table.bytes() <= 512 << 20, "{}", table.bytes());
}

#[test]
fn the_parts_are_small() {
    assert!(size_of::<Option<Session>>() <= 136, "{}", size_of::<Option<Session>>());
    assert!(size_of::<Option<Mapping>>() <= 96, "{}", size_of::<Option<Mapping>>());
}
