//! From a TAP to a device: whatever is written to the one leaves through the other.

use futures_util::TryStreamExt;
use netlink_packet_route::link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute};
use netlink_packet_route::tc::{
    TcActionAttribute, TcActionMirrorOption, TcActionOption, TcAttribute, TcFilterU32Option, TcHandle,
    TcMessage, TcMirrorActionType, TcOption,
};

use crate::sandbox::link::change;
use crate::sandbox::{Link, SandboxError};

/// `ETH_P_ALL`, as the filter's header wants it: in network order.
const EVERY_PROTOCOL: u16 = 0x0003_u16.to_be();

/// Brings the TAP `uplink` up, without any address, and redirects all its ingress to `device`'s egress. `u32` matches
/// everything: `matchall` is not in every kernel. Qdisc and filter go with the TAP.
///
/// # Errors
/// [`SandboxError::Netlink`]; `ENOENT` and `EOPNOTSUPP` where the kernel has no `cls_u32` or no `act_mirred`.
pub(super) async fn lead(link: &Link, uplink: &str, device: u32) -> Result<(), SandboxError> {
    let index = link.index_of(uplink).await?;
    stay_silent(link, index).await;
    let step = || format!("add an ingress qdisc to {uplink}");
    let (signed, mut qdisc) = (index.cast_signed(), link.raw().qdisc());
    link.finish(step, qdisc.add(signed).ingress().execute()).await?;
    let step = || format!("redirect {uplink} to interface {device}");
    let mut filters = link.raw().traffic_filter(signed);
    let parent = u32::from(TcHandle { major: TcHandle::INGRESS.major, minor: 0 });
    link.finish(step, async move {
        filters.add().parent(parent).protocol(EVERY_PROTOCOL).redirect(device)?.execute().await
    })
    .await?;
    link.up(index).await
}

/// Whether what is written to the interface `uplink` still leaves through `device`: its filter is as [`lead`] made
/// it. The kernel keeps a filter whose device has gone, but not the device's index.
///
/// # Errors
/// [`SandboxError::Netlink`].
pub(super) async fn leads_to(link: &Link, uplink: u32, device: u32) -> Result<bool, SandboxError> {
    let filters = link.raw().traffic_filter(uplink.cast_signed()).get().ingress().execute();
    let filters: Vec<_> = link.finish(|| "list filters".into(), filters.try_collect()).await?;
    Ok(filters.iter().any(|filter| redirects_to(filter, device)))
}

fn redirects_to(filter: &TcMessage, device: u32) -> bool {
    let options = filter.attributes.iter().flat_map(|attribute| match attribute {
        TcAttribute::Options(options) => options.as_slice(),
        _ => &[],
    });
    let actions = options.flat_map(|option| match option {
        TcOption::U32(TcFilterU32Option::Action(actions)) => actions.as_slice(),
        _ => &[],
    });
    let options = actions.flat_map(|action| &action.attributes).flat_map(|attribute| match attribute {
        TcActionAttribute::Options(options) => options.as_slice(),
        _ => &[],
    });
    let mut redirects = options.filter_map(|option| match option {
        TcActionOption::Mirror(TcActionMirrorOption::Parms(mirror)) => Some(mirror),
        _ => None,
    });
    redirects.any(|mirror| mirror.eaction == TcMirrorActionType::EgressRedir && mirror.ifindex == device)
}

/// Keeps the host's IPv6 from talking to a device that nobody reads. It cannot reach the underlay this way, but would
/// fill a queue. Best effort: it fails only where there is no IPv6.
async fn stay_silent(link: &Link, index: u32) {
    let inet6 = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
    let message = change(index).append_extra_attribute(LinkAttribute::AfSpecUnspec(vec![inet6])).build();
    if let Err(error) = link.set(|| "set addr_gen_mode none".into(), message).await {
        tracing::debug!(%error, "addr_gen_mode not set");
    }
}
