//! Which counters of one member have come: so that no packet counts twice.

/// How far behind the newest a counter may be.
pub const WIDTH: u64 = 64;

/// What a counter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Higher than all before.
    Newest,
    /// Not the highest, and it has not come before.
    Late,
    /// It has come, or it cannot be told any more.
    Stale,
}

/// The newest counter, and which of those before it have come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    newest: u64,
    /// Bit n: `newest - n` has come. 0: none has.
    came: u64,
}

impl Window {
    /// What this counter is. It does not count as come.
    pub fn age(&self, counter: u64) -> Age {
        if self.came == 0 || counter > self.newest {
            return Age::Newest;
        }
        match self.newest - counter {
            behind if behind < WIDTH && self.came >> behind & 1 == 0 => Age::Late,
            _ => Age::Stale,
        }
    }

    /// The counter has come, in a packet that is good.
    pub fn mark(&mut self, counter: u64) {
        if self.came == 0 {
            (self.newest, self.came) = (counter, 1);
        } else if counter > self.newest {
            let ahead = counter - self.newest;
            self.came = if ahead < WIDTH { self.came << ahead | 1 } else { 1 };
            self.newest = counter;
        } else if self.newest - counter < WIDTH {
            self.came |= 1 << (self.newest - counter);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_counter_is_any() {
        for first in [0, 1, u64::MAX] {
            let mut window = Window::default();
            assert_eq!(window.age(first), Age::Newest);
            window.mark(first);
            assert_eq!(window.age(first), Age::Stale);
        }
    }

    #[test]
    fn sixty_four_are_known() {
        let mut window = Window::default();
        window.mark(100);
        assert_eq!(window.age(37), Age::Late);
        assert_eq!(window.age(36), Age::Stale);
        window.mark(163);
        assert_eq!(window.age(100), Age::Stale, "it has come");
        assert_eq!(window.age(99), Age::Stale, "too old");
        assert_eq!(window.age(101), Age::Late);
        window.mark(227);
        assert_eq!(window.age(163), Age::Stale);
        assert_eq!(window.age(164), Age::Late);
    }

    proptest! {
        #[test]
        fn as_a_set_would_have_it(counters in prop::collection::vec(0u64..300, 1..200)) {
            let (mut window, mut came) = (Window::default(), BTreeSet::new());
            for counter in counters {
                let newest = came.last().copied();
                let expected = match newest {
                    None => Age::Newest,
                    Some(newest) if counter > newest => Age::Newest,
                    Some(newest) if newest - counter < WIDTH && !came.contains(&counter) => Age::Late,
                    Some(_) => Age::Stale,
                };
                prop_assert_eq!(window.age(counter), expected);
                if expected != Age::Stale {
                    window.mark(counter);
                    came.insert(counter);
                }
            }
        }
    }
}
