//! What kind of refusal each is, and what to do about it.

use super::NetworkError;
use crate::error::{Code, Explain};
use crate::model::PUBLISH_MAX;
use crate::network::{ALIASES_MAX, MTU_MAX, MTU_MIN, MTU_MIN_IPV6, ROUTES_MAX, SUBNETS_MAX};

impl Explain for NetworkError {
    fn code(&self) -> Code {
        match self {
            Self::NoNetwork { .. } | Self::NoEndpoint { .. } | Self::NoPool { .. } => Code::NotFound,
            Self::NetworkExists { .. }
            | Self::EndpointExists { .. }
            | Self::VniTaken { .. }
            | Self::UnderlayOverlap { .. }
            | Self::HostOverlap { .. }
            | Self::PortTaken { .. }
            | Self::PoolTaken { .. }
            | Self::NotEmpty { .. }
            | Self::MacTaken { .. } => Code::Conflict,
            Self::TooManyNetworks
            | Self::TooManyEndpoints
            | Self::TooManyPublished
            | Self::TooManyPools
            | Self::PoolExhausted { .. }
            | Self::NoFreePort { .. }
            | Self::TooManyCaptures
            | Self::OutOfIds
            | Self::Closing => Code::Exhausted,
            Self::Random(_) => Code::Failed,
            Self::Ipam(error) => error.code(),
            Self::Catalog(error) => error.code(),
            Self::Transfer(error) => error.code(),
            Self::Option(error) => error.code(),
            Self::Plane(error) => error.code(),
            _ => Code::InvalidArgument,
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::NoNetwork { .. } => "see 'weft network ls'".into(),
            Self::NoEndpoint { .. } => "see 'weft endpoint ls'".into(),
            Self::OnSeveralNetworks { .. } => "say which with --network".into(),
            Self::TooManyCaptures => "end one first".into(),
            Self::NetworkExists { name } => format!("choose another name, or 'weft network rm {name}' first"),
            Self::EndpointExists { name, network } => {
                format!("choose another --name, or 'weft network disconnect {network} {name}' first")
            }
            Self::Unnameable { .. } => "give one with --name".into(),
            Self::RelativePath { .. } => "give one such as /run/netns/c1".into(),
            Self::NoUnderlay => "set underlay.address in the daemon's configuration".into(),
            Self::VniOnBridge { .. } => "leave --vni out, or use -d overlay".into(),
            Self::BadVni { .. } => "use a number from 0 to 16777215".into(),
            Self::VniTaken { .. } => "use another --vni, or leave it to weft".into(),
            Self::BadMtu { ipv6, .. } => {
                format!("use {} to {MTU_MAX} bytes", if *ipv6 { MTU_MIN_IPV6 } else { MTU_MIN })
            }
            Self::MtuOverUnderlay { max, .. } => format!("use at most --mtu {max}"),
            Self::Predefined { .. } => "leave it, it costs nothing; or disconnect its endpoints".into(),
            Self::NotOnDriver { .. } => "leave it out, or use -d bridge or overlay".into(),
            Self::NotTheHost { .. } => "give /proc/1/ns/net, or use a network of another driver".into(),
            Self::NoInterface { .. } => "name one of a network of the driver bridge or overlay".into(),
            Self::TooManySubnets { .. } => format!("give at most {SUBNETS_MAX}"),
            Self::SubnetsOverlap { .. } => "give each address once".into(),
            Self::NoSubnetFor { .. } => "give the --subnet it lies in".into(),
            Self::TwoGateways { .. } => "give at most one --gateway for each --subnet".into(),
            Self::TwoRanges { .. } => "give at most one --ip-range for each --subnet".into(),
            Self::HostOverlap { .. } => "choose another --subnet, or -o host_access=off".into(),
            Self::UnderlayOverlap { .. } => "choose another --subnet".into(),
            Self::NoFamily { .. } => "leave it out, or create the network with such a --subnet".into(),
            Self::BadMac { .. } => "give six bytes such as 02:42:0a:01:00:02".into(),
            Self::MacTaken { .. } => "choose another --mac".into(),
            Self::NoWayIn { .. } => "leave out -p, or use another network".into(),
            Self::PublishedTwice { .. } => "give each port once".into(),
            Self::PortTaken { network, endpoint, .. } => {
                format!("choose another port, or 'weft network disconnect {network} {endpoint}' first")
            }
            Self::TooManyPorts { .. } => format!("publish at most {PUBLISH_MAX}"),
            Self::TooManyAliases { .. } => format!("give at most {ALIASES_MAX}"),
            Self::TooManyRoutes { .. } => format!("give at most {ROUTES_MAX}"),
            Self::BadRoute { .. } => "give a subnet, and a router in the network's own".into(),
            Self::TooManyPublished | Self::NoFreePort { .. } => {
                "disconnect an endpoint that publishes some first".into()
            }
            Self::NoPool { .. } => "create the network again".into(),
            Self::PoolTaken { .. } => "choose another --subnet".into(),
            Self::TooManyPools | Self::PoolExhausted { .. } => "remove a network or a container first".into(),
            Self::WrongFamily { .. } => "give an IPv4 and an IPv6 address at most".into(),
            Self::TooManyNetworks => "remove one first".into(),
            Self::TooManyEndpoints => "disconnect one first".into(),
            Self::OutOfIds | Self::Closing => "start it again".into(),
            Self::Random(_) => "try again".into(),
            Self::Ipam(error) => return error.remedy(),
            Self::Catalog(error) => return error.remedy(),
            Self::NotEmpty { .. } => {
                "import before the first 'weft network create', or remove what is there".into()
            }
            Self::Transfer(error) => return error.remedy(),
            Self::Option(error) => return error.remedy(),
            Self::Plane(error) => return error.remedy(),
        })
    }
}
