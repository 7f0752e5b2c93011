//! A map that forgets: bounded, and no call does more than a few steps of housekeeping.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::hash::Hash;

/// Entries dropped in one call. Two for each one that is added is enough to keep up.
const STEPS: usize = 2;

/// A map of at most `max` entries, each forgotten `keep` ms after it was last kept.
/// When it is full, the one that was not kept for the longest time goes.
pub struct Expiring<K, V> {
    map: HashMap<K, Slot<V>>,
    /// By when they are due; the number tells apart those due at the same time.
    order: BTreeMap<(u64, u64), K>,
    next: u64,
    max: usize,
    keep: u64,
}

struct Slot<V> {
    value: V,
    place: (u64, u64),
}

impl<V> Slot<V> {
    fn is_live(&self, now: u64) -> bool {
        self.place.0 > now
    }
}

impl<K: Clone + Eq + Hash, V> Expiring<K, V> {
    /// An empty map of at most `max` entries (at least one), kept for `keep` ms.
    pub fn new(max: usize, keep: u64) -> Expiring<K, V> {
        Expiring { map: HashMap::new(), order: BTreeMap::new(), next: 0, max: max.max(1), keep }
    }

    /// The value, if it is not forgotten at `now`.
    pub fn get(&self, key: &K, now: u64) -> Option<&V> {
        self.map.get(key).filter(|slot| slot.is_live(now)).map(|slot| &slot.value)
    }

    /// The value for a change that does not make it last longer.
    pub fn get_mut(&mut self, key: &K, now: u64) -> Option<&mut V> {
        self.map.get_mut(key).filter(|slot| slot.is_live(now)).map(|slot| &mut slot.value)
    }

    /// The value, made by `make` if there is none, and kept from `now` on.
    pub fn keep(&mut self, key: &K, now: u64, make: impl FnOnce() -> V) -> &mut V {
        self.tidy(now);
        // A slot whose time is over is as good as none: its value must not come back.
        let old = self.take(key);
        let until = now.saturating_add(self.keep).max(old.as_ref().map_or(0, |slot| slot.place.0));
        let value = old.filter(|slot| slot.is_live(now)).map_or_else(make, |slot| slot.value);
        while self.map.len() >= self.max {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.map.remove(&oldest);
        }
        self.next += 1;
        let place = (until, self.next);
        self.order.insert(place, key.clone());
        &mut self.map.entry(key.clone()).insert_entry(Slot { value, place }).into_mut().value
    }

    /// Forgets one entry.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.take(key).map(|slot| slot.value)
    }

    /// How many entries there are, counting those that are due but not yet tidied away.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Drops a few entries that are due.
    pub fn tidy(&mut self, now: u64) {
        for _ in 0..STEPS {
            match self.order.first_entry() {
                Some(first) if first.key().0 <= now => self.map.remove(&first.remove()),
                _ => return,
            };
        }
    }

    fn take(&mut self, key: &K) -> Option<Slot<V>> {
        let slot = self.map.remove(key)?;
        self.order.remove(&slot.place);
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forgets_after_its_time() {
        let mut map = Expiring::new(10, 100);
        *map.keep(&'a', 0, || 1) += 1;
        assert_eq!(map.get(&'a', 99), Some(&2));
        assert_eq!(map.get(&'a', 100), None);
        // More are due than one call tidies away, and the last of them is asked for.
        for key in ['b', 'c', 'd', 'e'] {
            map.keep(&key, 0, || 1);
        }
        assert_eq!(*map.keep(&'e', 100, || 7), 7, "a forgotten value does not come back");
    }

    #[test]
    fn keeping_makes_it_last() {
        let mut map = Expiring::new(10, 100);
        map.keep(&'a', 0, || 1);
        map.keep(&'a', 60, || 2);
        map.tidy(130);
        assert_eq!(map.get(&'a', 159), Some(&1));
        map.tidy(160);
        assert!(map.is_empty());
    }

    #[test]
    fn what_is_in_use_goes_last() {
        let mut map = Expiring::new(4, 1000);
        for key in 0..4 {
            map.keep(&key, 0, || ());
        }
        map.keep(&0, 5, || ());
        map.keep(&9, 6, || ());
        assert!(map.get(&0, 7).is_some());
        assert!(map.get(&1, 7).is_none());
    }

    proptest! {
        #[test]
        fn bounded_and_never_stale(calls in prop::collection::vec((0u8..40, 0u64..30, prop::bool::ANY), 0..400)) {
            let mut map = Expiring::new(8, 50);
            let mut now = 0;
            let mut kept = HashMap::new();
            for (key, later, remove) in calls {
                now += later;
                if remove {
                    map.remove(&key);
                    kept.remove(&key);
                } else {
                    map.keep(&key, now, || key);
                    kept.insert(key, now);
                    prop_assert_eq!(map.get(&key, now), Some(&key));
                }
                prop_assert!(map.len() <= 8 && map.order.len() == map.len());
                for key in 0..40 {
                    if map.get(&key, now).is_some() {
                        prop_assert!(kept.get(&key).is_some_and(|at| at + 50 > now));
                    }
                }
            }
        }
    }
}
