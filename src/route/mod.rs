//! Floor 1: who is where. Pure: no I/O, no clock, so that whole networks can be simulated.
//!
//! A main server holds its **portion** of the network's route table. `S` is how the holder names a session of its own.

use std::collections::HashMap;

use crate::wire::name;

/// A user in a `Table`; cheap to keep, and harmless when the user has gone meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserRef {
    index: u32,
    generation: u32,
}

/// A user who is signed on.
#[derive(Debug)]
pub struct User<S> {
    /// The name as registered.
    pub name: Box<str>,
    /// The user's sessions on this server, oldest first.
    pub here: Vec<S>,
}

struct Slot<S> {
    generation: u32,
    user: Option<User<S>>,
}

/// One main server's portion of the route table.
pub struct Table<S> {
    /// Folded name → place in `slots`.
    names: HashMap<Box<str>, u32>,
    slots: Vec<Slot<S>>,
    free: Vec<u32>,
}

impl<S> Default for Table<S> {
    fn default() -> Table<S> {
        Table { names: HashMap::new(), slots: Vec::new(), free: Vec::new() }
    }
}

impl<S: Copy + PartialEq> Table<S> {
    /// The user of that name, in any case, if signed on.
    pub fn find(&self, user: &str) -> Option<UserRef> {
        let index = *self.names.get(name::fold(user).as_ref())?;
        let slot = self.slots.get(index as usize)?;
        Some(UserRef { index, generation: slot.generation })
    }

    /// The user, unless signed off since.
    pub fn get(&self, user: UserRef) -> Option<&User<S>> {
        let slot = self.slots.get(user.index as usize)?;
        if slot.generation != user.generation {
            return None;
        }
        slot.user.as_ref()
    }

    /// A session of the user begins here.
    pub fn sign_on(&mut self, user: &str, session: S) -> UserRef {
        if let Some(found) = self.find(user) {
            if let Some(user) = self.slots.get_mut(found.index as usize).and_then(|slot| slot.user.as_mut()) {
                user.here.push(session);
            }
            return found;
        }
        let index = self.free.pop().unwrap_or_else(|| {
            // From 1, so that the default reference is nobody's.
            self.slots.push(Slot { generation: 1, user: None });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.user = Some(User { name: Box::from(user), here: vec![session] });
        self.names.insert(Box::from(name::fold(user).as_ref()), index);
        UserRef { index, generation: slot.generation }
    }

    /// A session of the user ends. Returns how many the user still has here.
    pub fn sign_off(&mut self, user: UserRef, session: S) -> usize {
        let Some(slot) = self.slots.get_mut(user.index as usize).filter(|slot| slot.generation == user.generation)
        else {
            return 0;
        };
        let Some(entry) = slot.user.as_mut() else { return 0 };
        entry.here.retain(|one| *one != session);
        if !entry.here.is_empty() {
            return entry.here.len();
        }
        self.names.remove(name::fold(&entry.name).as_ref());
        slot.user = None;
        slot.generation = slot.generation.wrapping_add(1).max(1);
        self.free.push(user.index);
        0
    }

    /// Every user who is signed on.
    pub fn users(&self) -> impl Iterator<Item = &User<S>> {
        self.slots.iter().filter_map(|slot| slot.user.as_ref())
    }

    /// How many users are signed on.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether nobody is signed on.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_shown_as_registered() {
        let mut table = Table::default();
        let user = table.sign_on("Alice", 1);
        assert_eq!(table.sign_on("ALICE", 2), user);
        assert_eq!(table.find("alice"), Some(user));
        let found = table.get(user).unwrap();
        assert_eq!((&*found.name, &*found.here), ("Alice", &[1, 2][..]));
    }

    #[test]
    fn an_old_reference_never_finds_the_next_user() {
        let mut table = Table::default();
        let alice = table.sign_on("alice", 1);
        assert_eq!(table.sign_off(alice, 9), 1);
        assert_eq!(table.sign_off(alice, 1), 0);
        let bob = table.sign_on("bob", 1);
        assert!(table.get(alice).is_none());
        assert_eq!(table.sign_off(alice, 1), 0);
        assert!(table.get(bob).is_some());
        assert_eq!(table.len(), 1);
    }
}
