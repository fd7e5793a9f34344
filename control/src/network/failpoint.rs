//! The moments at which a test lets the daemon die. Outside tests there is nothing here but names.

/// A moment between two steps of a change; named after what has just been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// A network's name and numbers are claimed.
    CreateClaimed,
    /// The packet side knows the network.
    CreatePublished,
    /// The host stands on it, if it is to.
    CreateRaised,
    /// An endpoint's name and addresses are claimed.
    ConnectClaimed,
    /// The packet side knows the endpoint.
    ConnectPublished,
    /// Its TAP is served.
    ConnectOpened,
    /// Its interface is ready.
    ConnectPlugged,
    /// It is on record as connected.
    ConnectRecorded,
    /// An endpoint is off the record.
    DisconnectForgotten,
    /// Its TAP is gone.
    DisconnectClosed,
    /// A network takes no endpoint any more.
    RemoveClosed,
    /// Its first endpoint is off the record.
    RemoveForgotten,
    /// Its endpoints are gone.
    RemoveEmptied,
    /// It is off the record.
    RemoveUnclaimed,
}

/// Nothing happens.
#[cfg(not(test))]
pub(super) const fn reached(_: Point) {}

#[cfg(test)]
pub(super) use armed::{Died, arm, reached};

#[cfg(test)]
mod armed {
    use std::cell::Cell;

    use super::Point;

    thread_local! {
        static ARMED: Cell<Option<Point>> = const { Cell::new(None) };
    }

    /// What a test catches: the daemon died here, without cleaning up.
    #[derive(Debug)]
    pub(in super::super) struct Died;

    impl Point {
        /// Every point there is.
        pub(in super::super) const ALL: [Self; 14] = [
            Self::CreateClaimed,
            Self::CreatePublished,
            Self::CreateRaised,
            Self::ConnectClaimed,
            Self::ConnectPublished,
            Self::ConnectOpened,
            Self::ConnectPlugged,
            Self::ConnectRecorded,
            Self::DisconnectForgotten,
            Self::DisconnectClosed,
            Self::RemoveClosed,
            Self::RemoveForgotten,
            Self::RemoveEmptied,
            Self::RemoveUnclaimed,
        ];
    }

    /// Lets this thread's next visit to `point` be its last.
    pub(in super::super) fn arm(point: Point) {
        ARMED.set(Some(point));
    }

    /// Dies if `point` is armed.
    pub(in super::super) fn reached(point: Point) {
        if ARMED.get() == Some(point) {
            ARMED.set(None);
            std::panic::resume_unwind(Box::new(Died));
        }
    }
}
