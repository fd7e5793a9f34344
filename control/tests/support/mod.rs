//! What the tests in real namespaces share.
#![allow(clippy::unwrap_used, reason = "a test's helpers are tests too")]

use weft::sandbox::Netns;
use weft::sandbox::host::check_privileges;

/// True, with a line saying so, when this process may not make namespaces.
pub(crate) fn skipped() -> bool {
    let reason = check_privileges().err();
    if let Some(reason) = &reason {
        eprintln!("skipped: {reason}");
    }
    reason.is_some()
}

/// For what [`weft::sandbox::Link`] does not do.
pub(crate) fn rtnetlink_in(netns: &Netns) -> rtnetlink::Handle {
    let runtime = tokio::runtime::Handle::current();
    let open = || {
        let _inside = runtime.enter();
        rtnetlink::new_connection().unwrap()
    };
    let (connection, handle, _) = netns.run(open).unwrap();
    tokio::spawn(connection);
    handle
}
