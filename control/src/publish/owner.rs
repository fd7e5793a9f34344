//! Which process has a port: from the kernel's socket tables to the descriptors of processes.
//!
//! Only what this process may see in `/proc` is found: not the sockets of another PID namespace, nor one that no process
//! has open, such as a connection in its last minutes. It reads every descriptor of the host at worst, so it is done only
//! when a port is refused.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::model::Protocol;

/// A listening TCP socket, in the tables' words.
const LISTENING: &str = "0A";

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its number.
    pub pid: u32,
    /// What it calls itself.
    pub name: String,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' (pid {})", self.name, self.pid)
    }
}

/// Who has `port` on `address`, or on an address that includes it or is included.
#[must_use]
pub fn find(protocol: Protocol, address: IpAddr, port: u16) -> Option<Owner> {
    let mut sockets = Vec::new();
    for suffix in ["", "6"] {
        // Without IPv6 there is no second table.
        let table =
            fs::read_to_string(format!("/proc/thread-self/net/{protocol}{suffix}")).unwrap_or_default();
        sockets.extend(table.lines().filter_map(socket));
    }
    sockets.retain(|socket| socket.port == port && could_be(socket.address, address));
    // A listener is more likely in the way than a connection.
    sockets.sort_by_key(|socket| !socket.listening);
    sockets.into_iter().find_map(|socket| process_with(socket.inode))
}

/// A row of a socket table.
#[derive(Debug, PartialEq, Eq)]
struct Socket {
    address: IpAddr,
    port: u16,
    listening: bool,
    inode: u64,
}

/// `  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 12345 1 ...`; `None`: the header, or a
/// socket that nobody has open.
fn socket(line: &str) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    let listening = fields.nth(1)? == LISTENING;
    let inode = fields.nth(5)?.parse().ok().filter(|&inode| inode != 0)?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(Socket { address: ip(address)?, port, listening, inode })
}

/// Words of four bytes, each as this machine's memory has it.
fn ip(digits: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(digits.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match digits.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (piece, at) in bytes.chunks_mut(4).zip((0..).step_by(8)) {
                piece.copy_from_slice(&word(at)?);
            }
            Some(IpAddr::from(Ipv6Addr::from(bytes)).to_canonical())
        }
        _ => None,
    }
}

/// Whether a socket on one address keeps another from the other address. An IPv6 one on all addresses may have IPv4 too.
fn could_be(has: IpAddr, wanted: IpAddr) -> bool {
    let of_a_family = has.is_ipv4() == wanted.is_ipv4();
    has == wanted
        || of_a_family && wanted.is_unspecified()
        || has.is_unspecified() && (of_a_family || has.is_ipv6())
}

fn process_with(inode: u64) -> Option<Owner> {
    let link = format!("socket:[{inode}]");
    let pids =
        fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let pid: u32 = pids.into_iter().find(|pid| has_open(*pid, &link))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(Owner { pid, name: name.trim_end().to_owned() })
}

/// Whether a process has a descriptor of what `link` names; no, if it is gone or not to be looked at.
fn has_open(pid: u32, link: &str) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|to| to == Path::new(link)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read() {
        let row = "   3: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 ffff 100";
        let expected = Socket { address: [127, 0, 0, 1].into(), port: 8080, listening: true, inode: 4711 };
        assert_eq!(socket(row), Some(expected));
        let six =
            row.replace("0100007F:1F90", "00000000000000000000000001000000:0035").replace(" 0A ", " 07 ");
        let expected =
            Socket { address: Ipv6Addr::LOCALHOST.into(), port: 53, listening: false, inode: 4711 };
        assert_eq!(socket(&six), Some(expected));
        assert_eq!(socket(&row.replace("4711", "0")), None, "nobody has it open");
        for bad in ["", "  sl  local_address rem_address   st", "1: 7F:1 0:0 0A 0 0 0 0 0 7", "1: 0100007F"] {
            assert_eq!(socket(bad), None, "{bad}");
        }
    }

    #[test]
    fn our_own_sockets_are_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let bound = std::net::UdpSocket::bind("[::1]:0").unwrap();
        for (protocol, address) in
            [(Protocol::Tcp, listener.local_addr().unwrap()), (Protocol::Udp, bound.local_addr().unwrap())]
        {
            let owner = find(protocol, address.ip(), address.port()).unwrap();
            assert_eq!(owner.pid, std::process::id());
            assert!(!owner.name.is_empty());
        }
        let port = listener.local_addr().unwrap().port();
        assert!(
            find(Protocol::Tcp, Ipv4Addr::UNSPECIFIED.into(), port).is_some(),
            "it is in the way there too"
        );
        drop(listener);
        assert_eq!(find(Protocol::Tcp, Ipv4Addr::LOCALHOST.into(), port), None);
    }
}
