//! The labs: who takes part in each, and with what.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::workload::Workload;
use crate::stage::contender::{BASELINE, Contender, everybody};
use crate::stage::docker::{Docker, Driver, Place};
use crate::stage::nat::Nat;
use crate::stage::underlay::Variant;

/// What is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Lab {
    /// Two hosts that share a network.
    #[default]
    Overlay,
    /// A container's way out of its host, and in by a published port.
    Nat,
    /// Two containers of one engine.
    DockerLocal,
    /// An engine's container and the world.
    DockerOutside,
    /// Containers of two engines.
    DockerHosts,
}

impl Lab {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 5] =
        [Self::Overlay, Self::Nat, Self::DockerLocal, Self::DockerOutside, Self::DockerHosts];

    /// Between whom the traffic of an engine's containers runs; `None` where there is no engine.
    fn place(self) -> Option<Place> {
        match self {
            Self::Overlay | Self::Nat => None,
            Self::DockerLocal => Some(Place::Local),
            Self::DockerOutside => Some(Place::Outside),
            Self::DockerHosts => Some(Place::Hosts),
        }
    }

    /// Over which underlays, unless told otherwise. Docker's networks are compared as they are, so one is enough.
    pub(crate) fn variants(self) -> &'static [Variant] {
        if self.place().is_some() { &[Variant::Super] } else { Variant::value_variants() }
    }

    /// Whether the containers' MTU is the underlay's: nothing is tunnelled.
    pub(crate) fn is_untunnelled(self) -> bool {
        matches!(self, Self::Nat | Self::DockerLocal | Self::DockerOutside)
    }

    /// Everybody, in the order of the report.
    pub(crate) fn contenders(self) -> Vec<Contender> {
        match self {
            Self::Overlay => everybody(),
            Self::Nat => Nat::ALL.map(Contender::Nat).to_vec(),
            Self::DockerLocal => dockers(Place::Local),
            Self::DockerOutside => dockers(Place::Outside),
            Self::DockerHosts => {
                let weft = Docker { place: Place::Hosts, driver: Driver::Weft };
                vec![BASELINE, Contender::Plain, Contender::Docker(weft)]
            }
        }
    }

    /// The contender that all others are compared with, by its name.
    pub(crate) fn rival(self) -> &'static str {
        match self {
            Self::DockerLocal | Self::DockerOutside => "bridge",
            Self::Overlay | Self::Nat | Self::DockerHosts => "kernel",
        }
    }

    /// Everything, in the order of the report.
    pub(crate) fn workloads(self) -> &'static [Workload] {
        use Workload::{
            Cps, Rest, Rr, Tcp1, Tcp1Back, Tcp8, Tcp8Back, TcpIn, TcpOut, TcpPublished, Udp64, Udp1400,
        };
        match self {
            Self::Overlay => &[Tcp1, Tcp1Back, Tcp8, Tcp8Back, Udp64, Udp1400, Rr, Rest],
            Self::Nat | Self::DockerOutside => &[TcpOut, TcpIn, TcpPublished, Cps, Udp64, Rr, Rest],
            Self::DockerLocal | Self::DockerHosts => &[Tcp1, Tcp1Back, Rr, Rest],
        }
    }

    /// What a smoke test has time for.
    pub(crate) fn quick_workloads(self) -> &'static [Workload] {
        match self {
            Self::Overlay => &[Workload::Tcp1, Workload::Udp64, Workload::Rr, Workload::Rest],
            _ => self.workloads(),
        }
    }

    /// The heading of its chart.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Overlay => "Container networks beside the kernel's own VXLAN",
            Self::Nat => "Egress NAT beside the kernel's own masquerade",
            Self::DockerLocal => "Two containers of Docker beside Docker's own bridge",
            Self::DockerOutside => "Docker's containers and the world, beside Docker's own bridge",
            Self::DockerHosts => "Containers of two Docker Engines beside the kernel's own VXLAN",
        }
    }

    /// What the contender is that all others are compared with.
    pub(crate) fn baseline(self) -> &'static str {
        match self {
            Self::Overlay | Self::DockerHosts => "kernel bridge + vxlan",
            Self::Nat => "kernel bridge + nft masquerade",
            Self::DockerLocal | Self::DockerOutside => "Docker's bridge",
        }
    }
}

/// Docker's own network and Weft's.
fn dockers(place: Place) -> Vec<Contender> {
    [Driver::Bridge, Driver::Weft].map(|driver| Contender::Docker(Docker { place, driver })).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_is_some_labs() {
        for workload in Workload::value_variants() {
            assert!(Lab::ALL.iter().any(|lab| lab.workloads().contains(workload)), "{workload}");
        }
    }

    #[test]
    fn who_is_compared_with_comes_first() {
        for lab in Lab::ALL {
            assert_eq!(lab.contenders()[0].to_string(), lab.rival());
            assert!(lab.quick_workloads().iter().all(|workload| lab.workloads().contains(workload)));
        }
    }
}
