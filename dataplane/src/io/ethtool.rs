//! What an interface's driver offers: the features that `ethtool -k` lists.

use std::io;
use std::os::fd::AsFd;

use socket2::{Domain, Socket, Type};

use super::sys::ethtool;
use super::tap::NAME_MAX;

/// The driver, or the kernel before it, cuts super-frames that are inside a UDP tunnel.
pub const UDP_TUNNEL_SEGMENTATION: &str = "tx-udp_tnl-segmentation";

/// Whether `feature` is switched on at the interface `name` of the calling thread's network namespace. A feature this
/// kernel has never heard of is off.
///
/// # Errors
/// `ENODEV` when there is no such interface, `EINVAL` when `name` cannot be one.
pub fn has_feature(name: &str, feature: &str) -> io::Result<bool> {
    if name.is_empty() || name.len() > NAME_MAX || name.contains('\0') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // Any socket of the namespace will do.
    let socket = Socket::new(Domain::IPV4, Type::DGRAM.cloexec(), None)?;
    let names = ethtool::feature_names(socket.as_fd(), name)?;
    let Some(index) = names.iter().position(|known| known == feature) else { return Ok(false) };
    let active = ethtool::active_features(socket.as_fd(), name, names.len())?;
    Ok(active[index / 32] >> (index % 32) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_what_it_always_has() {
        assert!(has_feature("lo", "loopback").unwrap());
        assert!(!has_feature("lo", "tx-vlan-hw-insert").unwrap());
        assert!(!has_feature("lo", "no-such-feature").unwrap());
    }

    #[test]
    fn what_is_no_interface_is_an_error() {
        assert_eq!(has_feature("no-such-link", "loopback").unwrap_err().raw_os_error(), Some(libc::ENODEV));
        for name in ["", "longer-than-any-name", "l\0o"] {
            assert_eq!(has_feature(name, "loopback").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
