//! Things that are handed out under an unguessable id and taken back once: tickets, pending registrations.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::collections::VecDeque;
use std::hash::Hash;

/// The id: 32 random bytes, so no two are ever the same.
pub type Id = [u8; 32];

/// How long an id is remembered after its time, in ms, to tell who comes late from who guesses.
pub const LATE: u64 = 60_000;

/// What [`OneUse::take`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken<T> {
    /// In time.
    Live(T),
    /// Too late; its value is gone since its time was over.
    Late,
    /// Never handed out, taken before, or long over.
    Unknown,
}

struct Entry<O, T> {
    owner: O,
    value: T,
    place: (u64, u64),
}

/// Values of one common lifetime, each with an owner that can be bounded.
pub struct OneUse<O, T> {
    lifetime: u64,
    live: HashMap<Id, Entry<O, T>>,
    /// By when they expire; the number tells apart those that do at the same time.
    order: BTreeMap<(u64, u64), Id>,
    next: u64,
    owners: HashMap<O, VecDeque<Id>>,
    late: HashSet<Id>,
    late_order: VecDeque<(u64, Id)>,
    /// The most that are alive, and the most that are remembered as late.
    max: usize,
}

impl<O: Clone + Eq + Hash, T> OneUse<O, T> {
    /// Nothing handed out yet; each value lives `lifetime` ms, and beyond `max` (at least one) the oldest go.
    pub fn new(max: usize, lifetime: u64) -> OneUse<O, T> {
        OneUse {
            lifetime,
            live: HashMap::new(),
            order: BTreeMap::new(),
            next: 0,
            owners: HashMap::new(),
            late: HashSet::new(),
            late_order: VecDeque::new(),
            max: max.max(1),
        }
    }

    /// Values alive. Call [`OneUse::sweep`] first.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether none is alive.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Values of `owner` alive. Call [`OneUse::sweep`] first.
    pub fn owned(&self, owner: &O) -> usize {
        self.owners.get(owner).map_or(0, VecDeque::len)
    }

    /// Hands out `value` under `id`.
    pub fn put(&mut self, id: Id, owner: O, value: T, now: u64) {
        self.sweep(now);
        while self.live.len() >= self.max {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.forget(&oldest);
        }
        self.next += 1;
        let place = (now.saturating_add(self.lifetime), self.next);
        self.owners.entry(owner.clone()).or_default().push_back(id);
        self.live.insert(id, Entry { owner, value, place });
        self.order.insert(place, id);
    }

    /// The value under `id`, for a change before its owner knows the id.
    pub fn get_mut(&mut self, id: &Id, now: u64) -> Option<&mut T> {
        self.sweep(now);
        self.live.get_mut(id).map(|entry| &mut entry.value)
    }

    /// Takes back what was handed out under `id`; whatever the outcome, it is void afterwards.
    pub fn take(&mut self, id: &Id, now: u64) -> Taken<T> {
        self.sweep(now);
        match self.forget(id) {
            Some(entry) => Taken::Live(entry.value),
            None if self.late.contains(id) => Taken::Late,
            None => Taken::Unknown,
        }
    }

    /// Voids the oldest of one owner.
    pub fn drop_oldest_of(&mut self, owner: &O) {
        if let Some(id) = self.owners.get(owner).and_then(VecDeque::front).copied() {
            self.forget(&id);
        }
    }

    /// Drops all whose time is over. Each is dropped once, so the cost is spread over the calls of [`OneUse::put`].
    pub fn sweep(&mut self, now: u64) {
        while let Some(first) = self.order.first_entry().filter(|first| first.key().0 <= now) {
            let ((expires, _), id) = first.remove_entry();
            self.forget(&id);
            self.late.insert(id);
            self.late_order.push_back((expires.saturating_add(LATE), id));
        }
        while let Some((until, id)) = self.late_order.front().copied() {
            if until > now && self.late_order.len() <= self.max {
                break;
            }
            self.late_order.pop_front();
            self.late.remove(&id);
        }
    }

    fn forget(&mut self, id: &Id) -> Option<Entry<O, T>> {
        let entry = self.live.remove(id)?;
        self.order.remove(&entry.place);
        if let Some(ids) = self.owners.get_mut(&entry.owner) {
            ids.retain(|other| other != id);
            if ids.is_empty() {
                self.owners.remove(&entry.owner);
            }
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(n: u8) -> Id {
        [n; 32]
    }

    #[test]
    fn once_late_and_forgotten() {
        let mut map = OneUse::new(10, 100);
        map.put(id(1), "a", 'x', 0);
        map.put(id(2), "a", 'y', 0);
        assert_eq!(map.owned(&"a"), 2);
        assert_eq!(map.take(&id(1), 99), Taken::Live('x'));
        assert_eq!(map.take(&id(1), 99), Taken::Unknown);
        assert_eq!(map.take(&id(2), 100), Taken::Late);
        assert_eq!(map.take(&id(2), 100 + LATE - 1), Taken::Late);
        assert_eq!(map.take(&id(2), 100 + LATE), Taken::Unknown);
        assert_eq!(map.owned(&"a"), 0);
    }

    #[test]
    fn the_oldest_go() {
        let mut map = OneUse::new(2, 100);
        for n in 0..3 {
            map.put(id(n), n % 2, (), 0);
        }
        assert_eq!(map.take(&id(0), 1), Taken::Unknown);
        map.drop_oldest_of(&0);
        assert_eq!(map.take(&id(2), 1), Taken::Unknown);
        assert_eq!(map.take(&id(1), 1), Taken::Live(()));
    }

    proptest! {
        #[test]
        fn bounded_and_consistent(calls in prop::collection::vec((0u8..60, 0u64..40, prop::bool::ANY), 0..300)) {
            let mut map = OneUse::new(8, 100);
            let mut now = 0;
            let mut used = HashSet::new();
            for (n, later, take) in calls {
                now += later * 100;
                if take {
                    map.take(&id(n), now);
                } else if used.insert(n) {
                    map.put(id(n), n % 3, n, now);
                }
                prop_assert!(map.live.len() <= 8 && map.order.len() == map.live.len());
                prop_assert!(map.late_order.len() <= 8 && map.late.len() <= 8);
                prop_assert_eq!(map.owners.values().map(VecDeque::len).sum::<usize>(), map.live.len());
            }
        }
    }
}
