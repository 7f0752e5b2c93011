//! Which users are at a server, so that its end costs as much as it has users, not as much as there are.

/// Slots of users, in no order. One that has left stays until half of the list is such: four to eight bytes a user.
#[derive(Debug, Default)]
pub(super) struct Members {
    slots: Vec<u32>,
    count: usize,
}

/// As many may have left before it is worth a look.
const SLACK: usize = 64;

impl Members {
    /// How many are there.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn add(&mut self, slot: u32) {
        self.slots.push(slot);
        self.count += 1;
    }

    /// One has left; `is` tells whether a slot's user is there now.
    pub(super) fn left(&mut self, is: impl Fn(u32) -> bool) {
        self.count = self.count.saturating_sub(1);
        if self.slots.len() > self.count * 2 + SLACK {
            self.slots = Members::only(std::mem::take(&mut self.slots), is);
        }
    }

    /// Takes all out. `is` as in `left`.
    pub(super) fn take(&mut self, is: impl Fn(u32) -> bool) -> Vec<u32> {
        Members::only(std::mem::take(self).slots, is)
    }

    /// Those that are there.
    pub(super) fn list(&self, is: impl Fn(u32) -> bool) -> Vec<u32> {
        Members::only(self.slots.clone(), is)
    }

    /// Each once, in the order of slots: who left and came back is in the list twice.
    fn only(mut slots: Vec<u32>, is: impl Fn(u32) -> bool) -> Vec<u32> {
        slots.sort_unstable();
        slots.dedup();
        slots.retain(|slot| is(*slot));
        slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_left_are_not_listed_and_take_no_room() {
        let mut members = Members::default();
        for n in 0..10_000 {
            members.add(n % 100);
            members.left(|slot| slot == 200);
            members.add(200);
            members.left(|slot| slot == 200);
        }
        members.add(200);
        assert!(members.slots.len() <= SLACK + 2);
        assert_eq!((members.list(|slot| slot == 200), members.count()), (vec![200], 1));
        assert_eq!((members.take(|slot| slot == 200), members.count()), (vec![200], 0));
    }
}
