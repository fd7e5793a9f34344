//! Records in a file that exists in memory only and outlives the process that writes it.
//!
//! ```text
//!   slot 0: magic, record length     slot n + 1: record n     (a slot never written, or cleared: zeroes)
//! ```
//!
//! What a process changes it writes at once, a system call for each run of neighbouring slots; whoever holds the
//! descriptor reads everything back when the writer is no more, or while it is. A record may then be torn, so each has a
//! checksum of its owner's. Memory is used for pages that were written, and only given back when a whole page of records
//! is cleared at once, or with the last descriptor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FallocateFlags, MemfdFlags, SeekFrom, fallocate, ftruncate, memfd_create, seek};
use rustix::io::{Errno, pread, pwrite};

/// Slots a ledger can have.
pub const SLOTS_MAX: u32 = 1 << 22;
/// Bytes a record can have, and must be able to hold what stands in slot 0.
pub const RECORD_MAX: usize = 4_096;
const RECORD_MIN: usize = MAGIC.len() + size_of::<u32>();

const MAGIC: &[u8; 8] = b"weftledg";
/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;

/// Why there is no ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The descriptor is not that of a ledger of such records.
    #[error("the file is no ledger of {0}-byte records")]
    Foreign(usize),
    /// The record's length is impossible.
    #[error("records of {0} bytes are not possible: use {RECORD_MIN} to {RECORD_MAX}")]
    BadLength(usize),
    /// The slot is impossible.
    #[error("there is no slot {0}: a ledger has {SLOTS_MAX}")]
    BadSlot(u32),
    /// Anything else.
    #[error("cannot {what} a ledger: {source}")]
    Io {
        /// Which step.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// Fixed-size records by slot.
#[derive(Debug)]
pub struct Ledger {
    fd: OwnedFd,
    record_len: usize,
}

impl Ledger {
    /// An empty one. `name` is seen in `/proc/PID/fd` only.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn create(name: &str, record_len: usize) -> Result<Self, LedgerError> {
        check(record_len)?;
        let fd = memfd_create(name, MemfdFlags::CLOEXEC).map_err(failed("create"))?;
        let ledger = Self { fd, record_len };
        // Its whole length from the start; pages come with what is written.
        ftruncate(&ledger.fd, ledger.offset(SLOTS_MAX)).map_err(failed("size"))?;
        ledger.write_at(0, &ledger.head())?;
        Ok(ledger)
    }

    /// The one that another process has created, for records of the same length.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn from_descriptor(fd: OwnedFd, record_len: usize) -> Result<Self, LedgerError> {
        check(record_len)?;
        let ledger = Self { fd, record_len };
        let mut head = vec![0; record_len];
        let read = ledger.read_at(0, &mut head)?;
        if head[..read] == ledger.head() { Ok(ledger) } else { Err(LedgerError::Foreign(record_len)) }
    }

    /// Its descriptor.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The same ledger by a second descriptor.
    ///
    /// # Errors
    /// `EMFILE` when there are no more descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, record_len: self.record_len })
    }

    /// Writes `records`, one behind the other, to `slot` and those that follow it. The last may be incomplete.
    ///
    /// # Errors
    /// [`LedgerError`]; some may be written.
    pub fn write(&self, slot: u32, records: &[u8]) -> Result<(), LedgerError> {
        let count = u32::try_from(records.len().div_ceil(self.record_len)).unwrap_or(u32::MAX);
        self.check_slots(slot, count)?;
        self.write_at(self.offset(slot), records)
    }

    /// Makes `count` slots from `slot` on empty.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn clear(&self, slot: u32, count: u32) -> Result<(), LedgerError> {
        self.check_slots(slot, count)?;
        let (from, to) = (self.offset(slot), self.offset(slot + count));
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if count > 0 { fallocate(&self.fd, mode, from, to - from).map_err(failed("clear")) } else { Ok(()) }
    }

    /// Calls `each` with every slot up to `slots` that is not empty, and its record.
    ///
    /// # Errors
    /// [`LedgerError`]; `each` may have been called.
    pub fn read(&self, slots: u32, mut each: impl FnMut(u32, &[u8])) -> Result<(), LedgerError> {
        let slots = slots.min(SLOTS_MAX);
        let per_chunk = (CHUNK / self.record_len) as u32;
        let mut chunk = vec![0; per_chunk as usize * self.record_len];
        let mut next = 0;
        while let Some(first) = self.first_written(next)?.filter(|first| *first < slots) {
            next = slots.min(first + per_chunk);
            let count = (next - first) as usize;
            let read = self.read_at(self.offset(first), &mut chunk[..count * self.record_len])?;
            for (slot, record) in (first..).zip(chunk[..read].chunks_exact(self.record_len)) {
                if record.iter().any(|byte| *byte != 0) {
                    each(slot, record);
                }
            }
        }
        Ok(())
    }

    /// The first slot from `from` on that may hold something: pages that were never written are passed over unread.
    fn first_written(&self, from: u32) -> Result<Option<u32>, LedgerError> {
        match seek(&self.fd, SeekFrom::Data(self.offset(from))) {
            Ok(at) => Ok(Some((at / self.record_len as u64 - 1) as u32)),
            Err(Errno::NXIO) => Ok(None),
            Err(errno) => Err(failed("search")(errno)),
        }
    }

    fn check_slots(&self, slot: u32, count: u32) -> Result<(), LedgerError> {
        let end = slot.saturating_add(count);
        if end > SLOTS_MAX { Err(LedgerError::BadSlot(end)) } else { Ok(()) }
    }

    fn offset(&self, slot: u32) -> u64 {
        (u64::from(slot) + 1) * self.record_len as u64
    }

    fn head(&self) -> Vec<u8> {
        let mut head = [&MAGIC[..], &(self.record_len as u32).to_le_bytes()].concat();
        head.resize(self.record_len, 0);
        head
    }

    fn write_at(&self, mut offset: u64, mut bytes: &[u8]) -> Result<(), LedgerError> {
        while !bytes.is_empty() {
            let written = pwrite(&self.fd, bytes, offset).map_err(failed("write"))?;
            (offset, bytes) = (offset + written as u64, &bytes[written..]);
        }
        Ok(())
    }

    /// Reads until `room` is full or the file has ended.
    fn read_at(&self, offset: u64, room: &mut [u8]) -> Result<usize, LedgerError> {
        let mut read = 0;
        while read < room.len() {
            match pread(&self.fd, &mut room[read..], offset + read as u64).map_err(failed("read"))? {
                0 => break,
                more => read += more,
            }
        }
        Ok(read)
    }
}

fn check(record_len: usize) -> Result<(), LedgerError> {
    let possible = (RECORD_MIN..=RECORD_MAX).contains(&record_len);
    if possible { Ok(()) } else { Err(LedgerError::BadLength(record_len)) }
}

fn failed(what: &'static str) -> impl Fn(Errno) -> LedgerError {
    move |errno| LedgerError::Io { what, source: errno.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(ledger: &Ledger, slots: u32) -> Vec<(u32, Vec<u8>)> {
        let mut all = Vec::new();
        ledger.read(slots, |slot, record| all.push((slot, record.to_vec()))).unwrap();
        all
    }

    #[test]
    fn what_was_written_is_read_by_whoever_has_the_descriptor() {
        let ledger = Ledger::create("test", 128).unwrap();
        assert_eq!(records(&ledger, SLOTS_MAX), []);
        let distant = SLOTS_MAX - 1;
        ledger.write(7, &[[7; 128], [8; 128]].concat()).unwrap();
        ledger.write(distant, &[9; 128]).unwrap();
        let other = Ledger::from_descriptor(ledger.try_clone().unwrap().fd, 128).unwrap();
        drop(ledger);
        let expected = [(7, vec![7; 128]), (8, vec![8; 128]), (distant, vec![9; 128])];
        assert_eq!(records(&other, SLOTS_MAX), expected);
        assert_eq!(records(&other, 8), expected[..1]);
        other.clear(8, 1_000_000).unwrap();
        other.write(7, &[1; 128]).unwrap();
        assert_eq!(records(&other, 1_000), [(7, vec![1; 128])]);
    }

    #[test]
    fn records_across_pages_and_chunks_are_all_found() {
        let ledger = Ledger::create("test", 96).unwrap();
        // 84 begins in one page and ends in the next; the chunks are of 10,922 slots from 84 on.
        let written = [84, 85, 11_005, 11_006, 500_000];
        for slot in written {
            ledger.write(slot, &[5; 96]).unwrap();
        }
        let found: Vec<_> = records(&ledger, SLOTS_MAX).into_iter().map(|(slot, _)| slot).collect();
        assert_eq!(found, written);
    }

    #[test]
    fn what_is_no_ledger_is_refused() {
        let foreign = |fd: OwnedFd, len| Ledger::from_descriptor(fd, len).unwrap_err();
        let ledger = Ledger::create("test", 128).unwrap();
        assert!(matches!(foreign(ledger.try_clone().unwrap().fd, 96), LedgerError::Foreign(96)));
        let null = std::fs::File::open("/dev/null").unwrap();
        assert!(matches!(foreign(null.into(), 128), LedgerError::Foreign(128)));
        for len in [0, 11, 4_097] {
            assert!(matches!(Ledger::create("test", len), Err(LedgerError::BadLength(_))), "{len}");
        }
        assert!(matches!(ledger.write(SLOTS_MAX, &[1; 128]), Err(LedgerError::BadSlot(_))));
        assert!(matches!(ledger.write(SLOTS_MAX - 1, &[1; 129]), Err(LedgerError::BadSlot(_))));
        assert!(matches!(ledger.clear(1, u32::MAX), Err(LedgerError::BadSlot(_))));
    }
}
