//! A capture on its way out: a thread reads it from the dataplane, the connection takes it at its own pace.

use std::convert::Infallible;
use std::thread;
use std::time::Duration;

use axum::body::Body;
use futures_util::stream;
use hyper::body::Bytes;
use tokio::sync::mpsc;

use crate::network::Capture;

/// How many pieces wait for a slow reader; then the capture itself begins to drop and to count.
const PIECES: usize = 16;

/// The most frames of one piece.
const PIECE_FRAMES: usize = 64;

/// How long the thread may be unaware that nobody reads any more.
const PATIENCE: Duration = Duration::from_millis(100);

/// The pcapng of `capture` as a body that ends after `count` frames, or never.
///
/// # Errors
/// When no thread can be started.
pub(super) fn body(capture: Box<dyn Capture>, count: Option<u64>) -> std::io::Result<Body> {
    let (sender, receiver) = mpsc::channel(PIECES);
    thread::Builder::new().name("weft-capture".into()).spawn(move || copy(capture, count, &sender))?;
    let pieces = stream::unfold(receiver, |mut receiver| async {
        let piece: Bytes = receiver.recv().await?;
        Some((Ok::<_, Infallible>(piece), receiver))
    });
    Ok(Body::from_stream(pieces))
}

fn copy(mut capture: Box<dyn Capture>, count: Option<u64>, sender: &mpsc::Sender<Bytes>) {
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 && !sender.is_closed() {
        let frames = usize::try_from(left).unwrap_or(PIECE_FRAMES).min(PIECE_FRAMES);
        let (piece, frames) = capture.next(frames, PATIENCE);
        left = left.saturating_sub(frames as u64);
        if !piece.is_empty() && sender.blocking_send(piece.into()).is_err() {
            return;
        }
    }
    let last = capture.finish();
    if !last.is_empty() {
        // The reader may have left meanwhile, and needs no last piece.
        let _ = sender.blocking_send(last.into());
    }
}
