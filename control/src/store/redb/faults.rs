//! A medium that fails when it is told to, and remembers what of it would survive a power cut.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

use super::file::Device;

/// What goes wrong with a medium, and what of it would survive a power cut.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// How many operations still succeed; then all that write fail until `broken` is taken back.
    healthy: AtomicU64,
    broken: AtomicBool,
    errno: AtomicU64,
    /// The file as of the last fsync.
    pub(super) durable: Mutex<Vec<u8>>,
}

impl Faults {
    pub(super) fn fail_after(&self, operations: u64, errno: rustix::io::Errno) {
        self.errno.store(errno.raw_os_error() as u64, Ordering::SeqCst);
        self.healthy.store(operations, Ordering::SeqCst);
        self.broken.store(true, Ordering::SeqCst);
    }

    pub(super) fn heal(&self) {
        self.broken.store(false, Ordering::SeqCst);
    }

    fn operate(&self) -> io::Result<()> {
        let spend = |n: u64| n.checked_sub(1);
        let spent = !self.broken.load(Ordering::SeqCst)
            || self.healthy.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend).is_ok();
        let errno = || io::Error::from_raw_os_error(self.errno.load(Ordering::SeqCst) as i32);
        if spent { Ok(()) } else { Err(errno()) }
    }
}

/// A file on a medium with faults.
#[derive(Debug)]
pub(super) struct Faulty {
    pub(super) device: Device,
    pub(super) faults: Arc<Faults>,
}

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.device.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.device.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.faults.operate()?;
        self.device.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.operate()?;
        self.device.sync_data()?;
        let mut image = vec![0; self.device.len()? as usize];
        self.device.read(0, &mut image)?;
        *self.faults.durable.lock().unwrap() = image;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.faults.operate()?;
        self.device.write(offset, data)
    }
}
