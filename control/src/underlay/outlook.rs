//! What is known at the moment about the way to the peers, for those who ask.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weft_dataplane::tunnel::outer::NextHop;

/// The same view for the one who keeps it up to date and for all who read it.
#[derive(Clone, Debug, Default)]
pub struct Outlook(Arc<Mutex<View>>);

/// A moment of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Why there is no uplink, if that needs a reason: one line that begins with the mode's name.
    pub refusal: Option<String>,
    /// The underlay device's name, while there is an uplink to it.
    pub device: Option<String>,
    /// How each peer is reached through the uplink, in the order of the configuration; empty without an uplink.
    pub reaches: Vec<Reach>,
}

/// How one peer is reached through the uplink, or why it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The peer.
    pub peer: IpAddr,
    /// Its router, or itself if it is on the link; `None` without a route.
    pub via: Option<IpAddr>,
    /// What the outer frame says.
    pub hop: Result<NextHop, Obstacle>,
}

/// Why a peer is left to the sockets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// No unicast route, or one that encapsulates once more.
    #[error("there is no plain route to it")]
    NoRoute,
    /// Another interface.
    #[error("its route leaves through another interface")]
    Elsewhere,
    /// The kernel has no MAC for its neighbour: it looks for one, or found none.
    #[error("{0} has not told its MAC")]
    Silent(IpAddr),
}

impl Outlook {
    /// What it is at the moment.
    #[must_use]
    pub fn view(&self) -> View {
        self.lock().clone()
    }

    /// There is no uplink. Tells whether that, or the reason for it, is news.
    pub(super) fn close(&self, refusal: String) -> bool {
        let closed = View { refusal: Some(refusal), ..View::default() };
        std::mem::replace(&mut *self.lock(), closed.clone()) != closed
    }

    /// There is an uplink to `device`; nothing is known about peers.
    pub(super) fn open(&self, device: &str) {
        *self.lock() = View { device: Some(device.to_owned()), ..View::default() };
    }

    /// This is known about peers.
    pub(super) fn set_reaches(&self, reaches: Vec<Reach>) {
        self.lock().reaches = reaches;
    }

    fn lock(&self) -> MutexGuard<'_, View> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
