//! A fixed number of places, each with a generation, so that a message to a former tenant reaches nobody.

/// A place in a worker and which tenancy of it is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotId {
    /// The place.
    pub index: u32,
    /// Counts the place's tenants.
    pub generation: u32,
}

/// Hands out places and takes them back.
#[derive(Debug)]
pub(crate) struct Slots {
    limit: usize,
    /// The current generation of each place ever used.
    generations: Vec<u32>,
    free: Vec<u32>,
}

impl Slots {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, generations: Vec::new(), free: Vec::new() }
    }

    /// Takes a place; `None` where all are taken.
    pub(crate) fn take(&mut self) -> Option<SlotId> {
        if let Some(index) = self.free.pop() {
            return Some(SlotId { index, generation: self.generations[index as usize] });
        }
        if self.generations.len() >= self.limit {
            return None;
        }
        let index = u32::try_from(self.generations.len()).ok()?;
        self.generations.push(0);
        Some(SlotId { index, generation: 0 })
    }

    /// Gives a place back; whatever still carries `slot` is stale from now on. Returns whether it was not stale before.
    pub(crate) fn free(&mut self, slot: SlotId) -> bool {
        if !self.holds(slot) {
            return false;
        }
        let generation = &mut self.generations[slot.index as usize];
        *generation = generation.wrapping_add(1);
        self.free.push(slot.index);
        true
    }

    /// How many places have ever been made.
    #[cfg(test)]
    pub(crate) fn made(&self) -> usize {
        self.generations.len()
    }

    /// Whether `slot` names the present tenant of its place.
    pub(crate) fn holds(&self, slot: SlotId) -> bool {
        self.generations.get(slot.index as usize) == Some(&slot.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_place_is_another_slot() {
        let mut slots = Slots::new(2);
        let first = slots.take().unwrap();
        let other = slots.take().unwrap();
        assert_ne!(first.index, other.index);
        assert_eq!(slots.take(), None, "the limit holds");
        assert!(slots.free(first));
        let second = slots.take().unwrap();
        assert_eq!(second.index, first.index);
        assert!(slots.holds(second) && !slots.holds(first));
        assert!(!slots.free(first), "a stale id frees nothing");
        assert!(slots.holds(second));
    }

    #[test]
    fn places_are_made_once() {
        let mut slots = Slots::new(8);
        for _ in 0..10_000 {
            let slot = slots.take().unwrap();
            slots.free(slot);
        }
        assert_eq!(slots.generations.len(), 1);
    }
}
