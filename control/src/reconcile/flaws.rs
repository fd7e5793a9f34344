//! An interface that stands in its namespace, and is not what Weft made it. Nobody but its own administrator can have done
//! that, so it is told and not undone.

use std::fmt;

use ipnet::IpNet;
use weft_dataplane::wire::MacAddr;

use crate::sandbox::Plug;
use crate::sandbox::inside::Found;

/// What is not as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// No interface has its name.
    Missing,
    /// It is down.
    Down,
    /// It has this MTU, and should have that, in bytes.
    Mtu(u32, u32),
    /// It should have this MAC address: the switch drops what comes from another.
    Mac(MacAddr),
    /// It lacks this address.
    Address(IpNet),
}

/// What of `plug` does not hold among the interfaces `found`.
#[must_use]
pub fn flaws(plug: &Plug, found: &[Found]) -> Vec<Flaw> {
    let Some(found) = found.iter().find(|found| found.ifname == plug.ifname) else {
        return vec![Flaw::Missing];
    };
    let down = (!found.up).then_some(Flaw::Down);
    let mtu = (found.mtu != plug.mtu).then_some(Flaw::Mtu(found.mtu, plug.mtu));
    let mac = (found.mac != Some(plug.mac)).then_some(Flaw::Mac(plug.mac));
    let lost = plug.addresses.iter().filter(|address| !found.addresses.contains(address));
    down.into_iter().chain(mtu).chain(mac).chain(lost.copied().map(Flaw::Address)).collect()
}

impl Flaw {
    /// The words after `ip` that set it right, if they do.
    #[must_use]
    pub fn command(&self, ifname: &str) -> Option<String> {
        Some(match self {
            Self::Missing => return None,
            Self::Down => format!("link set {ifname} up"),
            Self::Mtu(_, mtu) => format!("link set {ifname} mtu {mtu}"),
            Self::Mac(mac) => format!("link set {ifname} address {mac}"),
            Self::Address(address) => format!("address add {address} dev {ifname}"),
        })
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("was renamed or moved away"),
            Self::Down => f.write_str("is down"),
            Self::Mtu(is, should) => write!(f, "has an MTU of {is} bytes, not {should}"),
            Self::Mac(should) => write!(f, "has another MAC than {should}"),
            Self::Address(lost) => write!(f, "has lost its address {lost}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plug() -> Plug {
        Plug {
            ifname: "eth0".into(),
            mac: MacAddr([2, 66, 10, 1, 0, 2]),
            addresses: vec!["10.1.0.2/24".parse().unwrap(), "fd00:1::2/64".parse().unwrap()],
            gateways: vec![],
            routes: vec![],
            mtu: 1450,
        }
    }

    fn found() -> Found {
        let Plug { ifname, mac, addresses, mtu, .. } = plug();
        Found { ifname, up: true, mtu, mac: Some(mac), addresses }
    }

    #[test]
    fn each_flaw_is_seen_and_has_its_cure() {
        let lo = Found { ifname: "lo".into(), mac: None, addresses: vec![], ..found() };
        let of = |change: &dyn Fn(&mut Found)| {
            let mut changed = found();
            change(&mut changed);
            flaws(&plug(), &[lo.clone(), changed])
        };
        assert_eq!(of(&|_| ()), []);
        assert_eq!(of(&|f| f.addresses.push("192.0.2.1/24".parse().unwrap())), [], "more is no flaw");
        let all = [
            (of(&|f| f.ifname = "wan".into()), Flaw::Missing),
            (of(&|f| f.up = false), Flaw::Down),
            (of(&|f| f.mtu = 1400), Flaw::Mtu(1400, 1450)),
            (of(&|f| f.mac = None), Flaw::Mac(plug().mac)),
            (of(&|f| f.addresses.truncate(1)), Flaw::Address("fd00:1::2/64".parse().unwrap())),
        ];
        let cures: Vec<_> = all.iter().map(|(_, flaw)| flaw.command("eth0").unwrap_or_default()).collect();
        for (seen, flaw) in all {
            assert_eq!(seen, [flaw]);
        }
        let expected = [
            "",
            "link set eth0 up",
            "link set eth0 mtu 1450",
            "link set eth0 address 02:42:0a:01:00:02",
            "address add fd00:1::2/64 dev eth0",
        ];
        assert_eq!(cures, expected);
    }
}
