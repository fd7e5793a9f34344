//! Programs, run by an interpreter of our own and by the kernel, against what they are to accept.

use std::net::Ipv4Addr;
use std::os::unix::net::UnixDatagram;

use proptest::prelude::*;
use socket2::SockRef;

use super::*;

const TUNNEL: u16 = 4_789;
const LENT: u16 = 32_768;

/// What the kernel knows about a packet beside its bytes.
#[derive(Clone, Copy, Default)]
struct About {
    packet_type: u32,
    tagged: u32,
    interface: u32,
}

/// What linux/filter.h says about the instructions that are used here.
fn run(program: &[Instruction], packet: &[u8], about: About) -> bool {
    let (mut at, mut a, mut x) = (0, 0_u32, 0_u32);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let load = |offset: u32, len: usize| {
            let bytes = packet.get(offset as usize..)?.get(..len)?;
            Some(bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
        };
        match code {
            0x20 | 0x28 | 0x30 | 0x48 | 0xb1 => {
                let value = match code {
                    0x20 if k.cast_signed() < 0 => about.ancillary(k),
                    0x20 => load(k, 4),
                    0x28 => load(k, 2),
                    0x48 => load(x + k, 2),
                    _ => load(k, 1),
                };
                let Some(value) = value else { return false };
                if code == 0xb1 { x = 4 * (value & 15) } else { a = value }
            }
            0x54 => a &= k,
            0x05 => at += k as usize,
            0x15 => at += usize::from(if a == k { jt } else { jf }),
            0x25 => at += usize::from(if a > k { jt } else { jf }),
            0x35 => at += usize::from(if a >= k { jt } else { jf }),
            0x45 => at += usize::from(if a & k != 0 { jt } else { jf }),
            0x06 => return k > 0,
            _ => panic!("{code:#x} is no instruction"),
        }
    }
}

impl About {
    fn ancillary(self, k: u32) -> Option<u32> {
        match k.cast_signed() - libc::SKF_AD_OFF {
            libc::SKF_AD_PKTTYPE => Some(self.packet_type),
            libc::SKF_AD_VLAN_TAG_PRESENT => Some(self.tagged),
            libc::SKF_AD_IFINDEX => Some(self.interface),
            _ => None,
        }
    }
}

/// The parts of a packet that matter.
#[derive(Clone, Copy, Debug)]
struct Parts {
    to: IpAddr,
    protocol: u8,
    /// TCP and UDP: the destination port. ICMP: the type, in the upper byte's place.
    port: u16,
    /// Offset in units of eight bytes, and whether more follow.
    fragment: Option<(u16, bool)>,
    /// IPv4: words of options.
    options: u8,
}

impl Parts {
    fn packet(&self) -> Vec<u8> {
        let mut packet = vec![0; 12];
        let payload =
            if matches!(self.protocol, 1 | 58) { self.icmp().to_vec() } else { self.transport().to_vec() };
        match self.to {
            IpAddr::V4(to) => {
                packet.extend([0x08, 0x00, 0x45 + self.options, 0, 0, 0, 0, 0]);
                let (offset, more) = self.fragment.unwrap_or_default();
                packet.extend((offset | u16::from(more) << 13).to_be_bytes());
                packet.extend([64, self.protocol, 0, 0, 192, 0, 2, 99]);
                packet.extend(to.octets());
                packet.extend(vec![1; usize::from(self.options) * 4]);
            }
            IpAddr::V6(to) => {
                let next = if self.fragment.is_some() { 44 } else { self.protocol };
                packet.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, next, 64]);
                packet.extend([9; 16]);
                packet.extend(to.octets());
                if let Some((offset, more)) = self.fragment {
                    let field = offset << 3 | u16::from(more);
                    packet.extend([self.protocol, 0, (field >> 8) as u8, field as u8, 0, 0, 0, 7]);
                }
            }
        }
        packet.extend(payload);
        packet
    }

    fn transport(&self) -> [u8; 8] {
        let [high, low] = self.port.to_be_bytes();
        [0x99, 0x99, high, low, 0, 0, 0, 0]
    }

    fn icmp(&self) -> [u8; 8] {
        [(self.port >> 8) as u8, 0, 0, 0, 0, 0, 0, 0]
    }

    /// What the table in the module's head says.
    fn is_wanted(&self, interest: &Interest) -> bool {
        let later = self.fragment.is_some_and(|(offset, _)| offset > 0);
        if self.protocol == 17 && self.port == TUNNEL && !later {
            return false;
        }
        let published = interest.published.contains(&(self.protocol, self.port));
        let first_of_many = self.fragment.is_some_and(|(_, more)| more);
        let payload_is_wanted = match (self.to, self.protocol) {
            _ if later => true,
            (IpAddr::V6(_), _) if self.fragment.is_some() => true,
            (_, 6 | 17) => first_of_many || self.port >= LENT || published,
            (IpAddr::V4(_), 1) => true,
            (IpAddr::V6(_), 58) => !(133..=137).contains(&(self.port >> 8)),
            _ => false,
        };
        self.is_for(interest) && payload_is_wanted
    }

    fn is_for(&self, interest: &Interest) -> bool {
        let bits = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => (4, u128::from(ip.to_bits()) << 96),
            IpAddr::V6(ip) => (6, ip.to_bits()),
        };
        let within = |(net, len): &(IpAddr, u8)| {
            let ((a, to), (b, net)) = (bits(self.to), bits(*net));
            a == b && (to ^ net).checked_shr(128 - u32::from(*len)).unwrap_or(0) == 0
        };
        interest.addresses.contains(&self.to) || interest.routed.iter().any(within)
    }
}

const ADDRESSES: [&str; 10] = [
    "192.0.2.1",
    "192.0.2.2",
    "198.51.100.7",
    "198.51.100.127",
    "198.51.100.128",
    "2001:db8::1",
    "2001:db8::2",
    "2001:db8:0:5::1",
    "2001:db8:0:5:8000::1",
    "2001:db8:1::1",
];

fn interest() -> Interest {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    Interest {
        addresses: vec![ip("192.0.2.1"), ip("2001:db8::1")],
        routed: vec![(ip("198.51.100.0"), 25), (ip("2001:db8:0:5::"), 65), (ip("2001:db8:1::"), 48)],
        published: vec![
            (6, 80),
            (6, 8_000),
            (6, 8_001),
            (6, 8_002),
            (17, 53),
            (17, TUNNEL),
            (6, 443),
            (6, 1),
        ],
        lent_from: LENT,
        tunnel_port: TUNNEL,
    }
}

fn parts() -> impl Strategy<Value = Parts> {
    let port = prop_oneof![
        prop::sample::select(vec![0, 1, 2, 52, 53, 79, 80, 81, 443, 7_999, 8_000, 8_002, 8_003]),
        prop::sample::select(vec![TUNNEL, LENT - 1, LENT, u16::MAX]),
        (128_u16..140).prop_map(|kind| kind << 8),
        any::<u16>(),
    ];
    let fragment = prop_oneof![
        4 => Just(None),
        3 => (prop::sample::select(vec![0, 1, 185, 8_191]), any::<bool>()).prop_map(Some),
    ];
    let protocol = prop::sample::select(vec![6, 17, 6, 17, 1, 58, 132]);
    (prop::sample::select(&ADDRESSES[..]), protocol, port, fragment, 0..=10_u8).prop_map(
        |(to, protocol, port, fragment, options)| Parts {
            to: to.parse().unwrap(),
            protocol,
            port,
            fragment,
            options,
        },
    )
}

/// A socket whose filter sees what is sent to it from its first byte on, as a packet socket's does.
struct Kernel(UnixDatagram, UnixDatagram);

impl Kernel {
    fn new(program: &[Instruction]) -> Self {
        let (from, to) = UnixDatagram::pair().unwrap();
        SockRef::from(&to).attach_filter(&native(program)).unwrap();
        to.set_nonblocking(true).unwrap();
        Self(from, to)
    }

    fn shows(&self, packet: &[u8]) -> bool {
        self.0.send(packet).unwrap();
        self.1.recv(&mut [0; 200]).is_ok_and(|len| len == packet.len())
    }
}

proptest! {
    #[test]
    fn exactly_what_may_be_wanted_is_shown(packets in prop::collection::vec(parts(), 50)) {
        let interest = interest();
        let program = build(&interest, INSTRUCTIONS_MAX);
        let kernel = Kernel::new(&program);
        for parts in packets {
            let packet = parts.packet();
            let wanted = parts.is_wanted(&interest);
            prop_assert_eq!(run(&program, &packet, About::default()), wanted, "{:?}", parts);
            prop_assert_eq!(kernel.shows(&packet), wanted, "{:?}, by the kernel", parts);
        }
    }

    #[test]
    fn whatever_was_cut_off_is_judged_all_the_same(parts in parts(), len in 0..70_usize) {
        let mut packet = parts.packet();
        packet.truncate(len);
        let program = build(&interest(), INSTRUCTIONS_MAX);
        let shown = run(&program, &packet, About::default());
        prop_assert!(len >= 14 || !shown);
    }

    #[test]
    fn any_set_of_ports_is_told_from_its_neighbors(ports in prop::collection::btree_set(1..200_u16, 0..60)) {
        let published = ports.iter().map(|port| (6, *port)).collect();
        let program = build(&Interest { published, ..interest() }, INSTRUCTIONS_MAX);
        for port in 0..202 {
            let to = "192.0.2.1".parse().unwrap();
            let packet = Parts { to, protocol: 6, port, fragment: None, options: 0 }.packet();
            prop_assert_eq!(run(&program, &packet, About::default()), ports.contains(&port), "{}", port);
        }
    }
}

fn syn(to: &str, port: u16) -> Vec<u8> {
    Parts { to: to.parse().unwrap(), protocol: 6, port, fragment: None, options: 0 }.packet()
}

#[test]
fn other_hosts_groups_and_tagged_frames_are_others_business() {
    let program = build(&interest(), INSTRUCTIONS_MAX);
    let packet = syn("192.0.2.1", 80);
    let shown = |about| run(&program, &packet, about);
    assert!(shown(About::default()));
    for packet_type in 1..=4 {
        assert!(!shown(About { packet_type, ..About::default() }));
    }
    assert!(!shown(About { tagged: 1, ..About::default() }));
    let mut arp = packet.clone();
    arp[12..14].copy_from_slice(&[8, 6]);
    assert!(!run(&program, &arp, About::default()));
}

#[test]
fn extension_headers_hide_the_ports() {
    let program = build(&interest(), INSTRUCTIONS_MAX);
    for (next, shown) in [(0, true), (60, true), (43, false), (59, false)] {
        let mut packet = syn("2001:db8::1", 22);
        packet[20] = next;
        assert_eq!(run(&program, &packet, About::default()), shown, "{next}");
    }
}

#[test]
fn what_does_not_fit_makes_the_filter_wider_and_the_kernel_takes_it() {
    let scattered = |count: u16| Interest {
        published: (0..count).map(|n| (6, 2 * n + 1)).collect(),
        addresses: (0..8_u8).map(|n| [192, 0, 2, n].into()).collect(),
        ..interest()
    };
    let shows = |interest: &Interest, to, port| {
        let program = build(interest, INSTRUCTIONS_MAX);
        assert!(program.len() <= INSTRUCTIONS_MAX);
        Kernel::new(&program).shows(&syn(to, port))
    };
    let many = scattered(700);
    assert!(shows(&many, "192.0.2.1", 1_399) && !shows(&many, "192.0.2.1", 1_400));
    let too_many = scattered(1_000);
    assert!(shows(&too_many, "192.0.2.1", 1_400));
    assert!(!shows(&too_many, "192.0.2.9", 1_400));
    let everywhere =
        Interest { addresses: (0..3_000_u32).map(|n| Ipv4Addr::from(n).into()).collect(), ..too_many };
    assert!(shows(&everywhere, "192.0.2.9", 1_400));
    let mut tunnel = syn("192.0.2.9", TUNNEL);
    tunnel[23] = 17;
    assert!(!Kernel::new(&build(&everywhere, INSTRUCTIONS_MAX)).shows(&tunnel));
    assert!(build(&everywhere, 0).len() < 100, "the widest is used if nothing fits");
}

#[test]
fn reserving_filters_let_in_nothing_or_what_came_by_loopback() {
    assert!(!run(&nothing(), &[0; 60], About::default()));
    for (interface, shown) in [(0, false), (1, true), (2, false)] {
        let about = About { interface, ..About::default() };
        assert_eq!(run(&loopback(), &[0; 60], about), shown);
    }
}
