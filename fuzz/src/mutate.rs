//! Inputs made of other inputs, the same ones each time.

/// Bytes at which things tend to go wrong: signs, full lengths, versions, flags, protocols.
const INTERESTING: [u8; 16] =
    [0, 1, 4, 7, 8, 0x10, 0x20, 0x3a, 0x40, 0x45, 0x60, 0x7f, 0x80, 0x81, 0xfe, 0xff];

/// Longest input that is made.
const LONGEST: usize = 4_096;

/// A seeded source of mutations.
#[derive(Clone, Debug)]
pub struct Mutator(u64);

impl Mutator {
    /// The sequence that belongs to `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of `corpus` with one to eight changes.
    pub fn mutant(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(8) {
            self.change(&mut input, corpus);
        }
        input.truncate(LONGEST);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(input.len());
        match self.below(8) {
            _ if input.is_empty() => input.push(self.byte()),
            0 => input[at] ^= 1 << self.below(8),
            1 => input[at] = self.byte(),
            2 => input[at] = INTERESTING[self.below(INTERESTING.len())],
            3 => input[at] = input[at].wrapping_add(self.below(9) as u8).wrapping_sub(4),
            4 => input.insert(at, INTERESTING[self.below(INTERESTING.len())]),
            5 => drop(input.remove(at)),
            6 => input.truncate(at),
            _ => {
                let other = &corpus[self.below(corpus.len())];
                let from = self.below(other.len());
                input.truncate(at);
                input.extend(&other[from..]);
            }
        }
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
