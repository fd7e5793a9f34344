//! Neighbour discovery as etherparse reads it, option by option.

use std::net::Ipv6Addr;

use etherparse::icmpv6::{NdpOptionSlice, NdpOptionsIterator};
use proptest::prelude::*;

use crate::wire::*;

/// A neighbour discovery message with options that may be wrong in every way.
fn nd_message() -> impl Strategy<Value = Vec<u8>> {
    let unicast = any::<[u8; 16]>().prop_map(|mut address| {
        address[0] = 0xfe;
        address
    });
    let fixed = (132u8..=138, prop_oneof![9 => Just(0u8), 1 => any::<u8>()], any::<[u8; 6]>(), unicast);
    let option =
        (prop_oneof![2 => 1u8..=2, 1 => 6u8..], prop_oneof![8 => Just(1u8), 1 => 0u8..4], any::<[u8; 6]>());
    (fixed, proptest::collection::vec(option, 0..4), 0usize..8).prop_map(
        |((kind, code, rest, target), options, cut)| {
            let mut message = vec![kind, code];
            message.extend(rest);
            message.extend(match kind {
                133 => &[][..],
                134 => &target[..8],
                _ => &target,
            });
            if kind == 137 {
                message.extend(target);
            }
            for (kind, units, mac) in options {
                message.extend([kind, units]);
                message.extend(mac);
            }
            // Mostly whole, sometimes cut.
            message.truncate(message.len() - cut.saturating_sub(5));
            message
        },
    )
}

fn agree_on_nd(message: &[u8]) -> Result<(), TestCaseError> {
    let fixed_len = match message[0] {
        133 => 8,
        134 => 16,
        135 | 136 => 24,
        137 => 40,
        _ => {
            prop_assert_eq!(NdMessage::parse(message), Ok(None));
            return Ok(());
        }
    };
    let Some((fixed, options)) = message.split_at_checked(fixed_len) else {
        prop_assert_eq!(NdMessage::parse(message), Err(ParseError::Truncated));
        return Ok(());
    };
    let options: Result<Vec<NdpOptionSlice<'_>>, _> = NdpOptionsIterator::from_slice(options).collect();
    let addresses = |wanted: u8| {
        let found = options.iter().flatten().filter_map(move |option| match option {
            NdpOptionSlice::SourceLinkLayerAddress(option) if wanted == 1 => option.as_bytes().get(2..8),
            NdpOptionSlice::TargetLinkLayerAddress(option) if wanted == 2 => option.as_bytes().get(2..8),
            _ => None,
        });
        found.map(|mac| MacAddr(array(mac, 0))).collect::<Vec<_>>()
    };
    let (sources, targets) = (addresses(1), addresses(2));
    let conflict = |macs: &[MacAddr]| macs.windows(2).any(|pair| pair[0] != pair[1]);
    let parsed = NdMessage::parse(message);
    if fixed[1] != 0 {
        prop_assert_eq!(parsed, Err(ParseError::BadCode));
        return Ok(());
    }
    if options.is_err() {
        prop_assert!(parsed.is_err());
        return Ok(());
    }
    // Link-layer addresses of another size than Ethernet's are none.
    let six = options.iter().flatten().all(|option| match option {
        NdpOptionSlice::SourceLinkLayerAddress(option) => option.as_bytes().len() == 8,
        NdpOptionSlice::TargetLinkLayerAddress(option) => option.as_bytes().len() == 8,
        _ => true,
    });
    if !six || conflict(&sources) || conflict(&targets) {
        prop_assert!(matches!(parsed, Err(ParseError::BadLength | ParseError::BadOption)));
        return Ok(());
    }
    let source_mac = sources.first().copied();
    let target = || Ipv6Addr::from(array::<16>(fixed, 8));
    let expected = match message[0] {
        133 => NdMessage::RouterSolicit { source_mac },
        134 => NdMessage::RouterAdvert,
        135 => NdMessage::NeighborSolicit { target: target(), source_mac },
        136 => NdMessage::NeighborAdvert {
            target: target(),
            target_mac: targets.first().copied(),
            router: fixed[4] >> 7 == 1,
            solicited: fixed[4] >> 6 & 1 == 1,
            override_: fixed[4] >> 5 & 1 == 1,
        },
        _ => NdMessage::Redirect,
    };
    prop_assert_eq!(parsed, Ok(Some(expected)));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn neighbor_discovery_is_judged_alike(message in nd_message()) {
        agree_on_nd(&message)?;
    }
}

#[test]
fn multicast_targets_are_refused() {
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0, 0xff, 0x02];
    message.resize(24, 0);
    assert_eq!(NdMessage::parse(&message), Err(ParseError::BadTarget));
}
