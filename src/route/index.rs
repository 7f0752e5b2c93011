//! Folded name → slot. The names themselves stay in the slots: for a million users that is half the memory of a
//! `HashMap` with a copy of each name.

use std::hash::BuildHasher;
use std::hash::RandomState;

const EMPTY: u32 = u32::MAX;
/// Cells at the start; a power of two, as all sizes after it.
const CELLS: usize = 64;

#[derive(Clone, Copy)]
struct Cell {
    /// The lower half of the name's hash: tells nearly all strangers apart, and where the cell belongs.
    tag: u32,
    slot: u32,
}

/// An open hash table with linear probing, at most three quarters full.
pub(super) struct Index {
    /// Keyed at random, so that no outsider can choose names that collide.
    hasher: RandomState,
    cells: Vec<Cell>,
    len: usize,
}

impl Default for Index {
    fn default() -> Index {
        Index { hasher: RandomState::new(), cells: vec![Cell { tag: 0, slot: EMPTY }; CELLS], len: 0 }
    }
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn tag(&self, folded: &str) -> u32 {
        self.hasher.hash_one(folded) as u32
    }

    fn mask(&self) -> usize {
        self.cells.len() - 1
    }

    /// The cell of the slot for which `is` is true, among those with this tag.
    fn cell(&self, tag: u32, is: impl Fn(u32) -> bool) -> Option<usize> {
        let mut at = tag as usize & self.mask();
        loop {
            let cell = self.cells.get(at).filter(|cell| cell.slot != EMPTY)?;
            if cell.tag == tag && is(cell.slot) {
                return Some(at);
            }
            at = (at + 1) & self.mask();
        }
    }

    /// The slot of a name; `is` tells whether a slot has that name.
    pub(super) fn find(&self, folded: &str, is: impl Fn(u32) -> bool) -> Option<u32> {
        self.cell(self.tag(folded), is).map(|at| self.cells[at].slot)
    }

    /// Adds a name that is not there.
    pub(super) fn insert(&mut self, folded: &str, slot: u32) {
        if (self.len + 1) * 4 > self.cells.len() * 3 {
            let larger = vec![Cell { tag: 0, slot: EMPTY }; self.cells.len() * 2];
            for cell in std::mem::replace(&mut self.cells, larger) {
                if cell.slot != EMPTY {
                    self.place(cell);
                }
            }
        }
        self.place(Cell { tag: self.tag(folded), slot });
        self.len += 1;
    }

    fn place(&mut self, cell: Cell) {
        let mut at = cell.tag as usize & self.mask();
        while self.cells[at].slot != EMPTY {
            at = (at + 1) & self.mask();
        }
        self.cells[at] = cell;
    }

    /// Removes the name of a slot.
    pub(super) fn remove(&mut self, folded: &str, slot: u32) {
        let Some(mut hole) = self.cell(self.tag(folded), |one| one == slot) else { return };
        self.len -= 1;
        // Those behind the hole that it would cut off from their place move up.
        let mut at = hole;
        loop {
            at = (at + 1) & self.mask();
            let cell = self.cells[at];
            if cell.slot == EMPTY {
                break;
            }
            let home = cell.tag as usize & self.mask();
            if (at.wrapping_sub(home) & self.mask()) >= (at.wrapping_sub(hole) & self.mask()) {
                self.cells[hole] = cell;
                hole = at;
            }
        }
        self.cells[hole].slot = EMPTY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Against a map that is known to be right.
        #[test]
        fn it_finds_what_is_there(steps in prop::collection::vec((0u32..400, any::<bool>()), 0..1500)) {
            let mut index = Index::default();
            let mut known = BTreeMap::new();
            for (n, add) in steps {
                let name = n.to_string();
                if add && known.insert(n, n + 7).is_none() {
                    index.insert(&name, n + 7);
                } else if !add && known.remove(&n).is_some() {
                    index.remove(&name, n + 7);
                }
            }
            prop_assert_eq!(index.len(), known.len());
            for n in 0..400 {
                prop_assert_eq!(index.find(&n.to_string(), |slot| slot == n + 7), known.get(&n).copied());
            }
        }
    }
}
