//! Writes programs with labels in place of distances.
//!
//! A test can skip at most 255 instructions, so each one that goes anywhere is followed by a jump, which can skip any
//! number: two instructions for each test.

use super::Instruction;

const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF_INDEXED: u16 = 0x48;
/// X = 4 * (the byte's low four bits), which is the length of an IPv4 header that begins with it.
const LOAD_X_LENGTH: u16 = 0xb1;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;

/// What the loaded value is compared for.
#[derive(Clone, Copy, Debug)]
#[repr(u16)]
pub(super) enum Test {
    Equal = 0x15,
    Greater = 0x25,
    AtLeast = 0x35,
    AnyBit = 0x45,
}

/// A place in a program, known by the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label(usize);

/// A program in the making. All jumps must be forward.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    code: Vec<Instruction>,
    /// Where each label is.
    places: Vec<usize>,
    /// Which jump goes to which label.
    jumps: Vec<(usize, Label)>,
}

/// Ends with this many bytes accepted.
pub(super) fn give(bytes: u32) -> Instruction {
    Instruction { code: RETURN, jt: 0, jf: 0, k: bytes }
}

impl Assembler {
    /// A label that is to be placed.
    pub(super) fn label(&mut self) -> Label {
        self.places.push(usize::MAX);
        Label(self.places.len() - 1)
    }

    pub(super) fn labels<const N: usize>(&mut self) -> [Label; N] {
        std::array::from_fn(|_| self.label())
    }

    /// What comes next is where `label` is.
    pub(super) fn place(&mut self, label: Label) {
        self.places[label.0] = self.code.len();
    }

    pub(super) fn load_word(&mut self, offset: u32) {
        self.put(LOAD_WORD, offset);
    }

    pub(super) fn load_half(&mut self, offset: u32) {
        self.put(LOAD_HALF, offset);
    }

    pub(super) fn load_byte(&mut self, offset: u32) {
        self.put(LOAD_BYTE, offset);
    }

    /// Loads what is `offset` behind the IPv4 header that begins at `header`.
    pub(super) fn load_half_behind_v4(&mut self, header: u32, offset: u32) {
        self.put(LOAD_X_LENGTH, header);
        self.put(LOAD_HALF_INDEXED, header + offset);
    }

    /// Loads what the kernel knows about a packet beside its bytes: one of `SKF_AD_*`.
    pub(super) fn load_ancillary(&mut self, what: libc::c_int) {
        self.put(LOAD_WORD, (libc::SKF_AD_OFF + what).cast_unsigned());
    }

    pub(super) fn and(&mut self, mask: u32) {
        self.put(AND, mask);
    }

    pub(super) fn when(&mut self, test: Test, k: u32, to: Label) {
        self.code.push(Instruction { code: test as u16, jt: 0, jf: 1, k });
        self.go(to);
    }

    pub(super) fn unless(&mut self, test: Test, k: u32, to: Label) {
        self.code.push(Instruction { code: test as u16, jt: 1, jf: 0, k });
        self.go(to);
    }

    pub(super) fn go(&mut self, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.put(JUMP, 0);
    }

    /// The whole packet is shown.
    pub(super) fn accept(&mut self) {
        self.code.push(give(u32::MAX));
    }

    pub(super) fn reject(&mut self) {
        self.code.push(give(0));
    }

    pub(super) fn finish(mut self) -> Vec<Instruction> {
        for (jump, label) in self.jumps {
            self.code[jump].k = (self.places[label.0] - jump - 1) as u32;
        }
        self.code
    }

    fn put(&mut self, code: u16, k: u32) {
        self.code.push(Instruction { code, jt: 0, jf: 0, k });
    }
}
