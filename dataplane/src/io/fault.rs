//! A port that misbehaves on purpose, the same way each time it is given the same seed.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

use super::{FrameIo, Gone, Received};
use crate::offload::Offload;
use crate::verdict::DropReason;

/// How often what goes wrong with frames on their way into the switch: one in so many; zero: never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A frame vanishes.
    pub lose: u32,
    /// A frame comes twice.
    pub duplicate: u32,
    /// A frame comes after the one behind it.
    pub reorder: u32,
    /// One bit of a frame flips.
    pub corrupt: u32,
    /// A frame is cut short.
    pub truncate: u32,
}

/// Wraps a port with [`Faults`].
#[derive(Debug)]
pub struct Faulty<P> {
    port: P,
    faults: Faults,
    random: SplitMix,
    /// Frames that come before anything newly read.
    pending: VecDeque<(Vec<u8>, Received)>,
}

impl<P: FrameIo> Faulty<P> {
    /// Wraps `port`; `seed` decides which frames suffer.
    #[must_use]
    pub const fn new(port: P, faults: Faults, seed: u64) -> Self {
        Self { port, faults, random: SplitMix(seed), pending: VecDeque::new() }
    }

    fn damage(&mut self, frame: &mut [u8], received: &mut Received) {
        if received.len > 0 && self.random.one_in(self.faults.corrupt) {
            let bit = self.random.below(received.len * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
        }
        if self.random.one_in(self.faults.truncate) {
            received.len = self.random.below(received.len + 1);
        }
    }
}

impl<P: FrameIo> FrameIo for Faulty<P> {
    fn recv(&mut self, buffer: &mut [u8]) -> Result<Option<Received>, Gone> {
        if let Some((frame, received)) = self.pending.pop_front() {
            buffer[..frame.len()].copy_from_slice(&frame);
            return Ok(Some(received));
        }
        loop {
            let Some(mut received) = self.port.recv(buffer)? else { return Ok(None) };
            if self.random.one_in(self.faults.lose) {
                continue;
            }
            self.damage(buffer, &mut received);
            let copy = (buffer[..received.len].to_vec(), received);
            if self.random.one_in(self.faults.reorder)
                && let Some(next) = self.port.recv(buffer)?
            {
                self.pending.push_back(copy);
                return Ok(Some(next));
            }
            if self.random.one_in(self.faults.duplicate) {
                self.pending.push_back(copy);
            }
            return Ok(Some(received));
        }
    }

    fn send(&mut self, frame: &[u8], offload: Offload) -> Result<(), DropReason> {
        self.port.send(frame, offload)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.port.descriptor()
    }
}

/// SplitMix64: enough randomness to choose frames by, in three lines.
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn one_in(&mut self, n: u32) -> bool {
        n > 0 && self.next().is_multiple_of(u64::from(n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::memory::MemoryPort;

    /// What comes out of 1,000 numbered frames.
    fn run(faults: Faults, seed: u64) -> Vec<Vec<u8>> {
        let (near, mut far) = MemoryPort::pair();
        let mut faulty = Faulty::new(near, faults, seed);
        (0..1_000u32).for_each(|n| far.send(&n.to_be_bytes(), Offload::NONE).unwrap());
        let mut buffer = [0; 64];
        std::iter::from_fn(|| faulty.recv(&mut buffer).unwrap().map(|r| buffer[..r.len].to_vec())).collect()
    }

    #[test]
    fn a_seed_decides_everything() {
        let faults = Faults { lose: 10, duplicate: 10, reorder: 10, corrupt: 10, truncate: 10 };
        assert_eq!(run(faults, 1), run(faults, 1));
        assert_ne!(run(faults, 1), run(faults, 2));
    }

    #[test]
    fn each_fault_does_what_it_says() {
        let sent: Vec<_> = (0..1_000u32).map(|n| n.to_be_bytes().to_vec()).collect();
        assert_eq!(run(Faults::default(), 7), sent);
        let lossy = run(Faults { lose: 10, ..Faults::default() }, 7);
        assert!((800..1_000).contains(&lossy.len()));
        let doubled = run(Faults { duplicate: 10, ..Faults::default() }, 7);
        assert!(doubled.len() > 1_000);
        let mut reordered = run(Faults { reorder: 10, ..Faults::default() }, 7);
        assert_ne!(reordered, sent);
        reordered.sort();
        assert_eq!(reordered, sent, "nothing is lost by reordering");
        let corrupt = run(Faults { corrupt: 10, ..Faults::default() }, 7);
        assert!(corrupt.iter().zip(&sent).filter(|(a, b)| a != b).count() > 50);
    }
}
