//! Places that keep their number.
//!
//! Grows by blocks, so that growing never moves what is there. Places are used again, the last one given back first;
//! blocks are not returned to the system.

/// Places in a block.
const BLOCK: usize = 1_024;

#[derive(Debug)]
pub(super) struct Slab<T> {
    blocks: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { blocks: Vec::new(), free: Vec::new(), len: 0 }
    }
}

impl<T> Slab<T> {
    /// Things that are there.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Puts `thing` into a place of its own.
    pub(super) fn insert(&mut self, thing: T) -> u32 {
        self.len += 1;
        if let Some(slot) = self.free.pop() {
            self.blocks[slot as usize / BLOCK][slot as usize % BLOCK] = Some(thing);
            return slot;
        }
        match self.blocks.last_mut() {
            Some(block) if block.len() < BLOCK => block.push(Some(thing)),
            _ => {
                let mut block = Vec::with_capacity(BLOCK);
                block.push(Some(thing));
                self.blocks.push(block);
            }
        }
        (self.len - 1) as u32
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<T> {
        let thing = self.blocks.get_mut(slot as usize / BLOCK)?.get_mut(slot as usize % BLOCK)?.take()?;
        self.free.push(slot);
        self.len -= 1;
        Some(thing)
    }

    pub(super) fn get(&self, slot: u32) -> Option<&T> {
        self.blocks.get(slot as usize / BLOCK)?.get(slot as usize % BLOCK)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.blocks.get_mut(slot as usize / BLOCK)?.get_mut(slot as usize % BLOCK)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let places = self.blocks.iter().flatten().enumerate();
        places.filter_map(|(slot, place)| place.as_ref().map(|thing| (slot as u32, thing)))
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.blocks.len() * BLOCK * size_of::<Option<T>>()
            + self.free.capacity() * size_of::<u32>()
            + self.blocks.capacity() * size_of::<Vec<Option<T>>>()
    }
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, slot: u32) -> &T {
        self.get(slot).expect("a slot that is referred to is taken")
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, slot: u32) -> &mut T {
        self.get_mut(slot).expect("a slot that is referred to is taken")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_keep_their_numbers_and_are_used_again() {
        let mut slab = Slab::default();
        let slots: Vec<u32> = (0..3_000).map(|n| slab.insert(n)).collect();
        assert!(slots.iter().zip(0..).all(|(&slot, n)| slot == n && slab[slot] == n));
        assert_eq!(slab.remove(17), Some(17));
        assert_eq!((slab.remove(17), slab.get(17), slab.len()), (None, None, 2_999));
        assert_eq!(slab.insert(9), 17);
        assert_eq!(slab.iter().filter(|(_, n)| **n == 9).map(|(slot, _)| slot).collect::<Vec<_>>(), [9, 17]);
        assert_eq!(slab.insert(3_000), 3_000);
    }
}
