//! Numbered datagrams that know what they should be: of which flow, the how many-th, how long, with which hash.
//!
//! ```text
//!   0 flow   2 0   4 number   8 length   10 hash of all the rest   18 bytes that look random
//! ```

use crate::random::Random;
use std::hash::{DefaultHasher, Hasher};

/// The shortest: a header and nothing behind it.
pub const SHORTEST: usize = 18;

/// Where the hash stands.
const HASH: std::ops::Range<usize> = 10..18;

/// The first eight bytes of a datagram: its flow and its number there.
pub fn head(flow: u16, number: u32) -> u64 {
    u64::from(flow) << 48 | u64::from(number)
}

/// The flow of a head.
pub fn flow(head: u64) -> u16 {
    (head >> 48) as u16
}

/// Writes a datagram of `size` bytes, which are [`SHORTEST`] or more.
pub fn write(head: u64, size: usize) -> Vec<u8> {
    let length = u16::try_from(size).expect("a datagram").to_be_bytes();
    let body = Random::new(head).bytes(size - SHORTEST);
    let mut bytes = [&head.to_be_bytes()[..], &length, &[0; 8], &body].concat();
    let hash = hash(&bytes);
    bytes[HASH].copy_from_slice(&hash.to_be_bytes());
    bytes
}

/// The head of a datagram that is whole.
///
/// # Errors
/// What is wrong with one that is not.
pub fn read(bytes: &[u8]) -> Result<u64, String> {
    let Some((header, _)) = bytes.split_first_chunk::<SHORTEST>() else {
        return Err(format!("a datagram of {} bytes", bytes.len()));
    };
    let head = u64::from_be_bytes(*header.first_chunk().expect("eight of eighteen"));
    let length = usize::from(u16::from_be_bytes([header[8], header[9]]));
    if length != bytes.len() {
        return Err(format!("datagram {head:#x} of {length} bytes came with {}", bytes.len()));
    }
    if header[HASH] != hash(bytes).to_be_bytes() {
        return Err(format!("datagram {head:#x} of {length} bytes came with other bytes"));
    }
    Ok(head)
}

/// SipHash, with the hash field left out.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(&bytes[..HASH.start]);
    hasher.write(&bytes[HASH.end..]);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_damage_shows() {
        let whole = write(head(3, 70_000), 64);
        assert_eq!(read(&whole), Ok(head(3, 70_000)));
        assert_eq!(flow(head(3, 70_000)), 3);
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            assert!(read(&damaged).is_err(), "byte {at}");
            assert!(read(&whole[..at]).is_err(), "cut at {at}");
        }
        assert!(read(&[whole.as_slice(), &[0]].concat()).is_err());
    }
}
