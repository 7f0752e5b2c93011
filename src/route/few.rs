//! A list that mostly has one item: two words, and no allocation for the first item. A million users have two each.

use std::ops::Deref;
use std::ops::DerefMut;

/// A list of few items, in the order they came. Read it as a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Few<T>(Repr<T>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Repr<T> {
    None,
    One(T),
    // One word, where a boxed slice has two: with it the list itself would have three.
    #[allow(clippy::box_collection)]
    More(Box<Vec<T>>),
}

impl<T> Default for Few<T> {
    fn default() -> Few<T> {
        Few(Repr::None)
    }
}

impl<T> Few<T> {
    /// Appends an item.
    pub fn push(&mut self, item: T) {
        self.insert(self.len(), item);
    }

    /// Puts an item before the one at `index`, or at the end if there are not so many.
    pub fn insert(&mut self, index: usize, item: T) {
        self.0 = match std::mem::replace(&mut self.0, Repr::None) {
            Repr::None => Repr::One(item),
            Repr::One(first) if index == 0 => Repr::More(Box::new(vec![item, first])),
            Repr::One(first) => Repr::More(Box::new(vec![first, item])),
            Repr::More(mut items) => {
                items.insert(index.min(items.len()), item);
                Repr::More(items)
            }
        };
    }

    /// Keeps the items for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        match &mut self.0 {
            Repr::None => {}
            Repr::One(item) => {
                if !keep(item) {
                    self.0 = Repr::None;
                }
            }
            Repr::More(items) => {
                items.retain(keep);
                if items.len() < 2 {
                    self.0 = items.pop().map_or(Repr::None, Repr::One);
                }
            }
        }
    }

    /// Removes all items.
    pub fn clear(&mut self) {
        self.0 = Repr::None;
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Repr::None => &[],
            Repr::One(item) => std::slice::from_ref(item),
            Repr::More(items) => items,
        }
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            Repr::None => &mut [],
            Repr::One(item) => std::slice::from_mut(item),
            Repr::More(items) => items,
        }
    }
}

impl<'a, T> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Few<T> {
        let mut few = Few::default();
        items.into_iter().for_each(|item| few.push(item));
        few
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_small_and_keeps_the_order() {
        assert_eq!(std::mem::size_of::<Few<u64>>(), 16);
        let mut few: Few<u32> = (1..4).collect();
        few.insert(0, 0);
        few.insert(99, 4);
        assert_eq!(*few, [0, 1, 2, 3, 4]);
        few.retain(|n| *n == 3);
        assert_eq!((&*few, &few.0), (&[3][..], &Repr::One(3)));
        few.insert(0, 2);
        few[1] = 5;
        assert_eq!(*few, [2, 5]);
        few.retain(|_| false);
        assert!(few.is_empty() && few == Few::default());
    }
}
