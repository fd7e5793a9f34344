//! How far a TCP connection has come, as seen from its middle.
//!
//! A tracker judges and never drops: a segment that it does not believe passes, for the ends know better, but moves
//! nothing. So a forged segment must hit the window to matter at all, and a forged RST the exact next number
//! (RFC 5961 section 3.2), and even that one is forgiven when its alleged sender goes on (RFC 7857 section 2.2).
//!
//! ```text
//!   Opening --both sides have acknowledged--> Open --both FINs--> Closing --both acknowledged--> Closed
//!      ^  \_______________ exact RST _______/____________________/                                 |
//!      |___________________________ SYN (or, after an RST, its sender goes on) ____________________|
//! ```
//!
//! The window test is that of G. van Rooij, "Real Stateful TCP Packet Filtering in IP Filter" (2000): a segment ends at
//! most one window above what the other side has acknowledged and not more than one window below what was sent; an
//! acknowledgement is for something that was sent, and not older than a window.
//!
//! Not here: SACK, timestamps (PAWS), the urgent pointer, options other than the window scale.

use super::rewrite::Tcp;
use crate::wire::TcpFlags;

/// Which way a segment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the endpoint.
    Out,
    /// To the endpoint.
    In,
}

impl Way {
    const fn back(self) -> Self {
        match self {
            Self::Out => Self::In,
            Self::In => Self::Out,
        }
    }
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    Opening,
    Open,
    Closing,
    Closed,
}

/// What one side has said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flank {
    /// One beyond the highest number sent.
    end: u32,
    /// The highest acknowledgement sent, if `acks`.
    ack: u32,
    /// The largest window advertised, in bytes.
    window: u32,
    /// The window scale; [`UNKNOWN_SCALE`] when the handshake was not seen.
    scale: u8,
    /// Whether anything was seen of it.
    known: bool,
    /// Whether it has acknowledged something of the other side's.
    acks: bool,
    /// Whether it has sent its FIN, which is then the last below `end`.
    fin: bool,
}

/// RFC 7323 section 2.3 allows shifts up to 14: believed of a side that was not heard to say.
const UNKNOWN_SCALE: u8 = 14;
/// A window that is tolerated at least: a segment of a super-frame is that long.
const LEAST_WINDOW: u32 = 66_000;

/// Bytes of data that a SYN may carry.
const SYN_DATA: u32 = 1_500;

/// A connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tracker {
    flanks: [Flank; 2],
    pub(super) phase: Phase,
    /// Whether it has been open, and where an RST came from.
    was_open: bool,
    reset_by: Option<Way>,
}

/// `a` is after `b` in sequence space (RFC 9293 section 3.4).
const fn after(a: u32, b: u32) -> bool {
    (b.wrapping_sub(a) as i32) < 0
}

const fn later(a: u32, b: u32) -> u32 {
    if after(a, b) { a } else { b }
}

/// Whether `segment` acknowledges the SYN that `opener` has sent, with or without the data in it (RFC 7413 section 3).
const fn answers_syn(segment: &Tcp, opener: &Flank) -> bool {
    opener.end.wrapping_sub(segment.acknowledgement) <= SYN_DATA
}

/// Whether no segment has these flags.
pub(super) const fn nonsense(flags: TcpFlags) -> bool {
    let syn = flags.contains(TcpFlags::SYN);
    let rst = flags.contains(TcpFlags::RST);
    let fin = flags.contains(TcpFlags::FIN);
    syn && (rst || fin) || rst && fin || !(syn || rst || flags.contains(TcpFlags::ACK))
}

/// Whether it asks for a new connection.
pub(super) const fn is_opening(flags: TcpFlags) -> bool {
    flags.contains(TcpFlags::SYN) && !flags.contains(TcpFlags::ACK)
}

/// The shift of the window scale option (RFC 7323 section 2.2) in `options`, 0 if it is not there.
pub(super) fn window_scale(mut options: &[u8]) -> u8 {
    loop {
        options = match options {
            [1, rest @ ..] => rest,
            [3, 3, shift, ..] => return (*shift).min(UNKNOWN_SCALE),
            [kind, len, ..] if *kind != 0 && *len >= 2 && usize::from(*len) <= options.len() => {
                &options[usize::from(*len)..]
            }
            _ => return 0,
        };
    }
}

impl Tracker {
    /// Nothing seen yet; with `open`, of a connection that is known to be open.
    pub(super) fn new(open: bool) -> Self {
        let flank = Flank { scale: UNKNOWN_SCALE, ..Flank::default() };
        let phase = if open { Phase::Open } else { Phase::Opening };
        Self { flanks: [flank; 2], phase, was_open: open, reset_by: None }
    }

    /// A connection in `phase` of which nothing else is known any more.
    pub(super) fn resumed(phase: Phase) -> Self {
        Self { phase, ..Self::new(phase != Phase::Opening) }
    }

    /// Takes note of a segment; returns whether it is believed and so refreshes the session. `scale` is the window
    /// scale option of a SYN.
    pub(super) fn observe(&mut self, way: Way, segment: &Tcp, scale: u8) -> bool {
        let flags = segment.flags;
        if flags.contains(TcpFlags::RST) {
            return self.reset(way, segment);
        }
        if flags.contains(TcpFlags::SYN) {
            return self.synchronise(way, segment, scale);
        }
        if !self.in_window(way, segment) {
            return false;
        }
        self.note(way, segment, u32::from(flags.contains(TcpFlags::FIN)));
        if flags.contains(TcpFlags::FIN) {
            self.flanks[way as usize].fin = true;
        }
        if self.phase == Phase::Closed && self.reset_by == Some(way) {
            self.reset_by = None;
            self.phase = if self.was_open { Phase::Open } else { Phase::Opening };
        }
        self.advance();
        true
    }

    /// An RST never refreshes (RFC 7857 section 2.2); an exact one closes.
    fn reset(&mut self, way: Way, segment: &Tcp) -> bool {
        let (own, other) = (self.flanks[way as usize], self.flanks[way.back() as usize]);
        // The receiver expects what it last acknowledged, or all that was sent if that has reached it meanwhile.
        let exact = other.acks && segment.sequence == other.ack || own.known && segment.sequence == own.end;
        // In answer to a SYN there is no number to expect, but an acknowledgement to give (RFC 9293 section 3.5.2).
        let refused = !own.known
            && other.known
            && segment.flags.contains(TcpFlags::ACK)
            && answers_syn(segment, &other);
        if self.phase != Phase::Closed && (exact || refused) {
            self.phase = Phase::Closed;
            self.reset_by = Some(way);
        }
        false
    }

    fn synchronise(&mut self, way: Way, segment: &Tcp, scale: u8) -> bool {
        if is_opening(segment.flags) && self.phase == Phase::Closed {
            *self = Self::new(false);
        }
        let (own, other) = (self.flanks[way as usize], self.flanks[way.back() as usize]);
        if self.phase != Phase::Opening {
            return false;
        }
        let end = segment.sequence.wrapping_add(1).wrapping_add(segment.payload);
        let answers = segment.flags.contains(TcpFlags::ACK);
        // Nobody has answered the former number yet, so the sender may think again; an answer must fit what was asked.
        let welcome = if answers {
            !other.known || answers_syn(segment, &other) || own.known && own.end == end
        } else {
            !own.known || own.end == end || !other.acks
        };
        if !welcome {
            return false;
        }
        if !own.known || own.end != end {
            let fresh = Flank { end, window: LEAST_WINDOW, scale, known: true, ..Flank::default() };
            self.flanks[way as usize] = fresh;
        }
        if answers {
            self.acknowledge(way, segment);
        }
        // The window of a SYN is not scaled (RFC 7323 section 2.2).
        let flank = &mut self.flanks[way as usize];
        flank.window = flank.window.max(segment.window.into());
        self.advance();
        true
    }

    fn in_window(&self, way: Way, segment: &Tcp) -> bool {
        let (own, other) = (&self.flanks[way as usize], &self.flanks[way.back() as usize]);
        let first = segment.sequence;
        let end = first.wrapping_add(segment.payload);
        let room = other.window.max(LEAST_WINDOW);
        let above = other.known && other.acks && after(first, other.ack.wrapping_add(room));
        let apart =
            own.known && (after(first, own.end.wrapping_add(room)) || after(own.end.wrapping_sub(room), end));
        let acknowledges = segment.flags.contains(TcpFlags::ACK);
        let reach = own.window.max(LEAST_WINDOW);
        let ack = segment.acknowledgement;
        let unsent = acknowledges
            && other.known
            && (after(ack, other.end) || after(other.end.wrapping_sub(reach), ack));
        // A side that was not heard to open can only join if the other side shows that the numbers fit.
        let stranger = !own.known && self.phase == Phase::Opening && other.known && !acknowledges;
        !(above || apart || unsent || stranger)
    }

    fn note(&mut self, way: Way, segment: &Tcp, more: u32) {
        let end = segment.sequence.wrapping_add(segment.payload).wrapping_add(more);
        let flank = &mut self.flanks[way as usize];
        flank.end = if flank.known { later(end, flank.end) } else { end };
        flank.known = true;
        flank.window = flank.window.max(u32::from(segment.window) << flank.scale);
        if segment.flags.contains(TcpFlags::ACK) {
            self.acknowledge(way, segment);
        }
    }

    fn acknowledge(&mut self, way: Way, segment: &Tcp) {
        let flank = &mut self.flanks[way as usize];
        let ack = segment.acknowledgement;
        flank.ack = if flank.acks { later(ack, flank.ack) } else { ack };
        flank.acks = true;
    }

    fn advance(&mut self) {
        let [out, back] = self.flanks;
        let heard = |own: Flank, other: Flank| own.fin && other.acks && other.ack == own.end;
        if self.phase == Phase::Opening && out.known && back.known && out.acks && back.acks {
            self.phase = Phase::Open;
            self.was_open = true;
        }
        if self.phase == Phase::Open && out.fin && back.fin {
            self.phase = Phase::Closing;
        }
        if self.phase == Phase::Closing && heard(out, back) && heard(back, out) {
            self.phase = Phase::Closed;
        }
    }
}
