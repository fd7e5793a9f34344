//! The two labs: who takes part in each, and with what.

use serde::{Deserialize, Serialize};

use super::workload::Workload;
use crate::stage::contender::{Contender, everybody};
use crate::stage::nat::Nat;

/// What is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Lab {
    /// Two hosts that share a network.
    #[default]
    Overlay,
    /// A container's way out of its host, and in by a published port.
    Nat,
}

impl Lab {
    /// Everybody, in the order of the report.
    pub(crate) fn contenders(self) -> Vec<Contender> {
        match self {
            Self::Overlay => everybody(),
            Self::Nat => Nat::ALL.map(Contender::Nat).to_vec(),
        }
    }

    /// Everything, in the order of the report.
    pub(crate) fn workloads(self) -> &'static [Workload] {
        use Workload::{
            Cps, Rest, Rr, Tcp1, Tcp1Back, Tcp8, Tcp8Back, TcpIn, TcpOut, TcpPublished, Udp64, Udp1400,
        };
        match self {
            Self::Overlay => &[Tcp1, Tcp1Back, Tcp8, Tcp8Back, Udp64, Udp1400, Rr, Rest],
            Self::Nat => &[TcpOut, TcpIn, TcpPublished, Cps, Udp64, Rr, Rest],
        }
    }

    /// What a smoke test has time for.
    pub(crate) fn quick_workloads(self) -> &'static [Workload] {
        match self {
            Self::Overlay => &[Workload::Tcp1, Workload::Udp64, Workload::Rr, Workload::Rest],
            Self::Nat => self.workloads(),
        }
    }

    /// The heading of its chart.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Overlay => "Container networks beside the kernel's own VXLAN",
            Self::Nat => "Egress NAT beside the kernel's own masquerade",
        }
    }

    /// What the contender called `kernel` is.
    pub(crate) fn baseline(self) -> &'static str {
        match self {
            Self::Overlay => "kernel bridge + vxlan",
            Self::Nat => "kernel bridge + nft masquerade",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_workload_is_some_labs() {
        for workload in Workload::value_variants() {
            assert!(
                [Lab::Overlay, Lab::Nat].iter().any(|lab| lab.workloads().contains(workload)),
                "{workload}"
            );
        }
    }

    #[test]
    fn everybody_is_compared_with_the_kernel() {
        for lab in [Lab::Overlay, Lab::Nat] {
            assert_eq!(lab.contenders()[0].to_string(), crate::stage::contender::BASELINE.to_string());
            assert!(lab.quick_workloads().iter().all(|workload| lab.workloads().contains(workload)));
        }
    }
}
