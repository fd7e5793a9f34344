//! XXH64: a fast 64-bit hash of a byte stream, to tell whether what arrived is what was sent. Not cryptographic; the
//! adversary here is a checksum left out or a segment cut wrong.

const P1: u64 = 0x9e37_79b1_85eb_ca87;
const P2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const P3: u64 = 0x1656_67b1_9e37_79f9;
const P4: u64 = 0x85eb_ca77_c2b2_ae63;
const P5: u64 = 0x27d4_eb2f_1656_67c5;

/// Bytes taken in at once: one word for each of four lanes.
const STRIPE: usize = 32;

/// The hash of the bytes so far, with seed 0. However they are divided into calls, the hash is the same.
#[derive(Clone, Debug)]
pub(super) struct Hasher {
    lanes: [u64; 4],
    rest: [u8; STRIPE],
    total: u64,
}

impl Hasher {
    pub(super) fn new() -> Self {
        let lanes = [P1.wrapping_add(P2), P2, 0, 0u64.wrapping_sub(P1)];
        Self { lanes, rest: [0; STRIPE], total: 0 }
    }

    /// How many bytes were taken in.
    pub(super) fn bytes(&self) -> u64 {
        self.total
    }

    /// Takes in more bytes.
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        let held = (self.total % STRIPE as u64) as usize;
        self.total += bytes.len() as u64;
        if held > 0 {
            let missing = (STRIPE - held).min(bytes.len());
            self.rest[held..held + missing].copy_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if held + missing < STRIPE {
                return;
            }
            let stripe = self.rest;
            self.stripe(&stripe);
        }
        let (stripes, rest) = bytes.as_chunks::<STRIPE>();
        for stripe in stripes {
            self.stripe(stripe);
        }
        self.rest[..rest.len()].copy_from_slice(rest);
    }

    /// The hash of everything so far.
    pub(super) fn finish(&self) -> u64 {
        let mut hash = if self.total < STRIPE as u64 {
            P5
        } else {
            let [a, b, c, d] = self.lanes;
            let sum = a.rotate_left(1).wrapping_add(b.rotate_left(7));
            let sum = sum.wrapping_add(c.rotate_left(12)).wrapping_add(d.rotate_left(18));
            self.lanes.iter().fold(sum, |h, &lane| (h ^ round(0, lane)).wrapping_mul(P1).wrapping_add(P4))
        };
        hash = hash.wrapping_add(self.total);
        avalanche(self.tail(hash))
    }

    fn stripe(&mut self, stripe: &[u8; STRIPE]) {
        let (words, _) = stripe.as_chunks::<8>();
        for (lane, word) in self.lanes.iter_mut().zip(words) {
            *lane = round(*lane, u64::from_le_bytes(*word));
        }
    }

    /// The bytes that did not fill a stripe: by eight, then four, then one.
    fn tail(&self, mut hash: u64) -> u64 {
        let held = (self.total % STRIPE as u64) as usize;
        let (words, rest) = self.rest[..held].as_chunks::<8>();
        for word in words {
            hash ^= round(0, u64::from_le_bytes(*word));
            hash = hash.rotate_left(27).wrapping_mul(P1).wrapping_add(P4);
        }
        let (halves, rest) = rest.as_chunks::<4>();
        for half in halves {
            hash ^= u64::from(u32::from_le_bytes(*half)).wrapping_mul(P1);
            hash = hash.rotate_left(23).wrapping_mul(P2).wrapping_add(P3);
        }
        for &byte in rest {
            hash ^= u64::from(byte).wrapping_mul(P5);
            hash = hash.rotate_left(11).wrapping_mul(P1);
        }
        hash
    }
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(P2)).rotate_left(31).wrapping_mul(P1)
}

fn avalanche(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(P2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(P3);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(bytes: &[u8]) -> u64 {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    #[test]
    fn agrees_with_the_published_values() {
        assert_eq!(hash(b""), 0xef46_db37_51d8_e999);
        assert_eq!(hash(b"a"), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(hash(b"abc"), 0x44bc_2cf5_ad77_0999);
        assert_eq!(hash(b"Nobody inspects the spammish repetition"), 0xfbce_a83c_8a37_8bf1);
    }

    proptest! {
        #[test]
        fn the_division_into_calls_does_not_matter(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            cuts in prop::collection::vec(0..300usize, 0..8),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut hasher = Hasher::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([bytes.len()]) {
                hasher.update(&bytes[from..cut]);
                from = cut;
            }
            prop_assert_eq!(hasher.finish(), hash(&bytes));
            prop_assert_eq!(hasher.bytes(), bytes.len() as u64);
        }
    }
}
