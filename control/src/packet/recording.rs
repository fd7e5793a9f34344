//! A capture that outlives the packet process it was started in.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use weft_dataplane::runtime::CaptureFilter;
use weft_dataplane::runtime::remote::RemoteCapture;
use weft_dataplane::tables::PortId;

use super::{Dataplane, PacketError};

/// A running capture. When the packet process is replaced it goes on in the next one, as a further pcapng section.
/// Dropping it ends it.
#[derive(Debug)]
pub struct Recording {
    dataplane: Arc<Dataplane>,
    filter: CaptureFilter,
    labels: Vec<(PortId, String)>,
    remote: Option<RemoteCapture>,
}

impl Recording {
    /// Starts copying what `filter` wants; `labels` are the ports' names in the capture.
    ///
    /// # Errors
    /// [`PacketError`], most likely because too many captures run already.
    pub fn start(
        dataplane: Arc<Dataplane>,
        filter: CaptureFilter,
        labels: Vec<(PortId, String)>,
    ) -> Result<Self, PacketError> {
        let remote = Some(dataplane.capture(filter, &labels)?);
        Ok(Self { dataplane, filter, labels, remote })
    }

    /// What was copied since the last call, at most `frames` frames, as pcapng, and how many frames that is; waits up to
    /// `patience` for the first.
    pub fn next(&mut self, frames: usize, patience: Duration) -> (Vec<u8>, usize) {
        if self.remote.is_none() {
            self.remote = self.dataplane.capture(self.filter, &self.labels).ok();
        }
        match self.remote.as_mut().map(|remote| remote.next(frames, patience)) {
            Some(Ok(piece)) => piece,
            Some(Err(_)) | None => {
                self.remote = None;
                thread::sleep(patience);
                (Vec::new(), 0)
            }
        }
    }

    /// The last block: how many frames were missed.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.remote.and_then(|remote| remote.finish().ok()).unwrap_or_default()
    }
}
