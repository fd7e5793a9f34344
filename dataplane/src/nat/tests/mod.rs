//! Requirements by their ids, histories, and a model beside the real one.

mod egress;
mod histories;
mod hostile;
mod icmp;
mod identification;
mod ledger;
mod limits;
mod memory;
mod model;
mod publish;
mod stories;
mod tcp;
mod udp;
mod world;
