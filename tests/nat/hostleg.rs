//! The host as a neighbour of its containers.

use crate::lab::{GATEWAY, GATEWAY6, HOST, Kind, Lab, Setup};
use crate::outcome::{Outcome, hold};
use crate::sockets::{accept, connect_from, hears_nothing, listen, pings, talks};

pub(crate) fn host_and_containers_reach_each_other(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    hold!(pings(lab.host(), a.ip.into(), 56), "the host does not reach the container");
    hold!(pings(lab.host(), a.ip6.into(), 56), "the host does not reach the container over IPv6");
    hold!(pings(lab.host(), a.ip.into(), 3000), "3,000 bytes from the host are not answered");
    let (inside, outside) = (listen(&a.ns, (a.ip, 80).into()), listen(lab.host(), (HOST, 8090).into()));
    let mut near = connect_from(lab.host(), (GATEWAY, 0).into(), (a.ip, 80).into(), lab.patience())?;
    let (mut far, from) = accept(&inside, lab.patience())?;
    talks(&mut near, &mut far)?;
    hold!(from.ip() == GATEWAY, "the host was seen as {from}");
    let mut near = connect_from(&a.ns, a.at(0).into(), (HOST, 8090).into(), lab.patience())?;
    let (mut far, from) = accept(&outside, lab.patience())?;
    talks(&mut near, &mut far)?;
    hold!(from.ip() == a.ip, "the container was seen as {from}");
    Ok(())
}

pub(crate) fn host_services_on_the_gateways_address_are_reached(kind: Kind) -> Outcome {
    let lab = Lab::new(kind)?;
    let a = lab.container(11);
    for at in [(GATEWAY, 8090).into(), (GATEWAY6, 8090).into()] {
        let service = listen(lab.host(), at);
        let mut near = match at {
            std::net::SocketAddr::V4(_) => connect_from(&a.ns, a.at(0).into(), at, lab.patience())?,
            std::net::SocketAddr::V6(_) => connect_from(&a.ns, (a.ip6, 0).into(), at, lab.patience())?,
        };
        let (mut far, _) = accept(&service, lab.patience())?;
        talks(&mut near, &mut far)?;
    }
    Ok(())
}

pub(crate) fn host_access_can_be_switched_off(kind: Kind) -> Outcome {
    let lab = Lab::with(kind, Setup { options: &["-o", "host_access=off"], ..Setup::default() })?;
    let a = lab.container(11);
    hold!(a.pings(GATEWAY, 56), "the gateway does not answer");
    hold!(hears_nothing(lab.host(), a.ip.into()), "the host reaches the container");
    let _service = listen(lab.host(), (HOST, 8090).into());
    let limit = std::time::Duration::from_millis(500);
    hold!(
        connect_from(&a.ns, a.at(0).into(), (HOST, 8090).into(), limit).is_err(),
        "the container reaches the host"
    );
    hold!(a.pings(crate::lab::SERVERS[0], 56), "the outside is not reached");
    Ok(())
}
