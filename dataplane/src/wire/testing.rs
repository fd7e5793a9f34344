//! Frames for property tests, built by etherparse so that the grammar does not judge itself.

use etherparse::{
    IpAuthHeader, IpFragOffset, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions,
    Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader, PacketBuilder, PacketBuilderStep, TcpHeader, VlanId,
};
use proptest::prelude::*;

/// What a frame is made of.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) macs: [[u8; 6]; 2],
    /// VLAN tags: 0 to 2.
    pub(crate) tags: usize,
    pub(crate) network: Network,
    pub(crate) transport: Transport,
    pub(crate) payload: Vec<u8>,
}

/// The IP header and what stands between it and the transport.
#[derive(Clone, Debug)]
pub(crate) enum Network {
    V4 { addresses: [[u8; 4]; 2], tos: u8, identification: u16, option_words: usize },
    V6 { addresses: [[u8; 16]; 2], traffic_class: u8, chain: Chain },
}

/// The IPv6 extension headers there are, in the order in which they stand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chain {
    pub(crate) hop_by_hop: bool,
    pub(crate) options: bool,
    /// A fragment header on a packet that is whole.
    pub(crate) atomic: bool,
    pub(crate) authentication: bool,
}

/// The transport header.
#[derive(Clone, Debug)]
pub(crate) enum Transport {
    Tcp { ports: [u16; 2], sequence: u32, flags: u8, option_words: usize },
    Udp { ports: [u16; 2] },
    Echo { ident: u16, sequence: u16 },
}

impl Recipe {
    /// The frame, every length and checksum right.
    pub(crate) fn build(&self) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2(self.macs[0], self.macs[1]);
        let id = VlanId::try_new(7).unwrap();
        let step = match self.tags {
            0 => ethernet.ip(self.network.headers()),
            1 => ethernet.single_vlan(id).ip(self.network.headers()),
            _ => ethernet.double_vlan(id, id).ip(self.network.headers()),
        };
        self.finish(step)
    }

    fn finish(&self, step: PacketBuilderStep<IpHeaders>) -> Vec<u8> {
        let mut frame = Vec::new();
        match self.transport {
            Transport::Tcp { ports, sequence, flags, option_words } => step
                .tcp_header(tcp_header(ports, sequence, flags, option_words))
                .write(&mut frame, &self.payload),
            Transport::Udp { ports } => step.udp(ports[0], ports[1]).write(&mut frame, &self.payload),
            Transport::Echo { ident, sequence } => match self.network {
                Network::V4 { .. } => {
                    step.icmpv4_echo_request(ident, sequence).write(&mut frame, &self.payload)
                }
                Network::V6 { .. } => {
                    step.icmpv6_echo_request(ident, sequence).write(&mut frame, &self.payload)
                }
            },
        }
        .unwrap();
        frame
    }
}

fn tcp_header(ports: [u16; 2], sequence: u32, flags: u8, option_words: usize) -> TcpHeader {
    let mut header = TcpHeader::new(ports[0], ports[1], sequence, 512);
    header.acknowledgment_number = !sequence;
    let bits = std::array::from_fn(|bit| flags >> bit & 1 == 1);
    [header.fin, header.syn, header.rst, header.psh, header.ack, header.urg, header.ece, header.cwr] = bits;
    header.set_options_raw(&vec![1; option_words * 4]).unwrap();
    header
}

impl Network {
    fn headers(&self) -> IpHeaders {
        match *self {
            Self::V4 { addresses: [source, destination], tos, identification, option_words } => {
                let mut header = Ipv4Header::new(0, 64, IpNumber::TCP, source, destination).unwrap();
                header.dscp = (tos >> 2).try_into().unwrap();
                header.ecn = (tos & 3).try_into().unwrap();
                header.identification = identification;
                header.options = vec![1; option_words * 4][..].try_into().unwrap();
                IpHeaders::Ipv4(header, Ipv4Extensions::default())
            }
            Self::V6 { addresses: [source, destination], traffic_class, chain } => {
                let header =
                    Ipv6Header { traffic_class, hop_limit: 64, source, destination, ..Default::default() };
                IpHeaders::Ipv6(header, chain.headers())
            }
        }
    }
}

impl Chain {
    fn headers(self) -> Ipv6Extensions {
        // etherparse puts the right next-header numbers in.
        let next = IpNumber::TCP;
        let raw = |len| Ipv6RawExtHeader::new_raw(next, &vec![0; len]).unwrap();
        Ipv6Extensions {
            hop_by_hop_options: self.hop_by_hop.then(|| raw(6)),
            destination_options: self.options.then(|| raw(22)),
            fragment: self.atomic.then(|| Ipv6FragmentHeader::new(next, IpFragOffset::ZERO, false, 9)),
            auth: self.authentication.then(|| IpAuthHeader::new(next, 1, 2, &[3; 12]).unwrap()),
            ..Default::default()
        }
    }
}

pub(crate) fn network() -> impl Strategy<Value = Network> {
    prop_oneof![
        (any::<[[u8; 4]; 2]>(), any::<u8>(), any::<u16>(), prop_oneof![3 => Just(0), 1 => 1usize..=10])
            .prop_map(|(addresses, tos, identification, option_words)| Network::V4 {
                addresses,
                tos,
                identification,
                option_words
            }),
        (any::<[[u8; 16]; 2]>(), any::<u8>(), prop::bool::weighted(0.2), prop::bool::weighted(0.2)).prop_map(
            |(addresses, traffic_class, hop_by_hop, options)| Network::V6 {
                addresses,
                traffic_class,
                chain: Chain { hop_by_hop, options, ..Default::default() }
            }
        ),
    ]
}

pub(crate) fn tcp() -> impl Strategy<Value = Transport> {
    (any::<[u16; 2]>(), any::<u32>(), any::<u8>(), prop_oneof![Just(0), Just(3), 0usize..=10]).prop_map(
        |(ports, sequence, flags, option_words)| Transport::Tcp { ports, sequence, flags, option_words },
    )
}

pub(crate) fn udp() -> impl Strategy<Value = Transport> {
    any::<[u16; 2]>().prop_map(|ports| Transport::Udp { ports })
}

/// Recipes with this transport and a payload length from this range.
pub(crate) fn recipe(
    transport: impl Strategy<Value = Transport>,
    payload: std::ops::Range<usize>,
) -> impl Strategy<Value = Recipe> {
    let bytes = (payload, any::<u64>()).prop_map(|(len, seed)| noise(len, seed));
    (any::<[[u8; 6]; 2]>(), 0usize..=2, network(), transport, bytes).prop_map(
        |(macs, tags, network, transport, payload)| Recipe { macs, tags, network, transport, payload },
    )
}

/// Small recipes of every kind.
pub(crate) fn any_recipe() -> impl Strategy<Value = Recipe> {
    let echo = any::<(u16, u16)>().prop_map(|(ident, sequence)| Transport::Echo { ident, sequence });
    let rare = || prop::bool::weighted(0.1);
    (recipe(prop_oneof![tcp(), udp(), echo], 0..80), rare(), rare()).prop_map(
        |(mut recipe, whole, signed)| {
            if let Network::V6 { chain, .. } = &mut recipe.network {
                (chain.atomic, chain.authentication) = (whole, signed);
            }
            recipe
        },
    )
}

/// Bytes to be read as a frame: well-formed ones with some bytes changed, often by one, and often cut off at the
/// end; or pure noise.
pub(crate) fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        any::<u8>().prop_map(|value| (0, value)),
        prop_oneof![Just(1u8), Just(255)].prop_map(|step| (1, step))
    ];
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), value), 0..6);
    let cut = prop_oneof![2 => Just(0usize), 1 => 1usize..3, 1 => 0usize..120];
    let mangled = (any_recipe(), changes, cut).prop_map(|(recipe, changes, cut)| {
        let mut frame = recipe.build();
        // Most of the meaning is in the first bytes.
        let span = frame.len().min(80);
        for (at, (keep, value)) in changes {
            let byte = &mut frame[at.index(span)];
            *byte = (*byte * keep).wrapping_add(value);
        }
        frame.truncate(frame.len().saturating_sub(cut));
        frame
    });
    prop_oneof![4 => mangled, 1 => proptest::collection::vec(any::<u8>(), 0..120)]
}

/// Cheap incompressible bytes (xorshift), so that no two segments of a payload look alike.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}
