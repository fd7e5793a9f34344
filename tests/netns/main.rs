//! The product on real packets, one behaviour for each test.
//!
//! Most tests stand on [`harness::wire::Wire`]: a daemon, containers on it, and a far end of the underlay that can
//! pretend to be any VTEP. Each builds its own and is independent of the others and of their order. "Nothing arrives" is
//! never waited for: the test sends a good frame after the bad one and looks at what came before it.
//!
//! ```text
//! endpoints     connect and disconnect, and what is left behind (nothing)
//! switching     learning, moves, caps          broadcast   exactly once to each member, and what is never relayed
//! spoofing      what a port may not say        isolation   networks with the same subnet and MACs
//! receive, send VXLAN as RFC 7348 says it, each way (VX ids of the conformance list)
//! hostile       any bytes at all               refusals    bad input: exit code, one line, nothing half-made
//! api           the socket and HTTP            capture     what `weft capture` writes
//! churn         many at once, many in a row, a crash        faults      full disk, no descriptors
//! durable       what outlives a daemon, however it ends    drivers     bridge, host, none, several subnets
//! publish       the host's leg on bridge networks, published ports from the host itself
//! processes     control and packets: either dies, both die, neither may do more than it must
//! demo          `weft demo`, also interrupted                 rig         the rig against the kernel's vxlan
//! surfaces      signals, notifications, metrics, logs, strangers at the socket
//! uplink        underlay mode tunnel-gso, chosen, healing, gone without trace
//! ```

mod api;
mod broadcast;
mod capture;
mod churn;
mod demo;
mod drivers;
mod durable;
mod endpoints;
mod faults;
mod hostile;
mod isolation;
mod processes;
mod publish;
mod receive;
mod refusals;
mod rig;
mod send;
mod spoofing;
mod surfaces;
mod switching;
mod uplink;
