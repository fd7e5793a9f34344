//! A capture that runs in the packet process.

use std::thread;
use std::time::Duration;

use super::RemoteError;
use super::channel::Channel;
use super::message::{CaptureRequest, Piece};
use crate::runtime::Capture;

/// Frames of one piece: at most 8 MiB, as long as a frame can be.
const PIECE_FRAMES: usize = 128;

/// How long a piece may be waited for: less than the other side waits for an answer.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Serves `capture` to the other end of `channel`, on a thread of its own, until that is closed.
pub(super) fn record(capture: Capture, channel: Channel) -> Result<(), RemoteError> {
    let thread = thread::Builder::new().name("weft-capture".into());
    thread.spawn(move || {
        if let Err(error) = answer(capture, channel) {
            tracing::debug!(%error, "a capture has lost its reader");
        }
    })?;
    Ok(())
}

fn answer(mut capture: Capture, mut channel: Channel) -> Result<(), RemoteError> {
    while let Some((request, _)) = channel.wait()? {
        match request {
            CaptureRequest::Next(frames, millis) => {
                let patience = Duration::from_millis(millis).min(WAIT_MAX);
                let (bytes, frames) = capture.next(frames.min(PIECE_FRAMES), patience);
                channel.send(&Piece { bytes, frames }, &[])?;
            }
            CaptureRequest::Finish => {
                return channel.send(&Piece { bytes: capture.finish(), frames: 0 }, &[]);
            }
        }
    }
    Ok(())
}

/// The reader's end. Dropping it ends the capture.
#[derive(Debug)]
pub struct RemoteCapture {
    channel: Channel,
}

impl RemoteCapture {
    pub(super) fn new(channel: Channel) -> Self {
        Self { channel }
    }

    /// What has been captured since the last call, as [`Capture::next`]: at most `frames` frames, waited for up to
    /// `patience`, or less of either.
    ///
    /// # Errors
    /// [`RemoteError`]: the capture has ended, because the packet process has.
    pub fn next(&mut self, frames: usize, patience: Duration) -> Result<(Vec<u8>, usize), RemoteError> {
        let millis = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let piece = self.ask(&CaptureRequest::Next(frames, millis))?;
        Ok((piece.bytes, piece.frames))
    }

    /// The last block: how much was missed.
    ///
    /// # Errors
    /// As [`RemoteCapture::next`].
    pub fn finish(mut self) -> Result<Vec<u8>, RemoteError> {
        Ok(self.ask(&CaptureRequest::Finish)?.bytes)
    }

    fn ask(&mut self, request: &CaptureRequest) -> Result<Piece, RemoteError> {
        self.channel.send(request, &[])?;
        Ok(self.channel.recv()?.0)
    }
}
