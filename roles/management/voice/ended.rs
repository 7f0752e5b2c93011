//! Joins that have ended. Their numbers prove themselves for ever, but a server that was not told in time, or had said before who is there,
//! brings nobody back with them. In memory: after a restart of management an end that was not told is not known.

use std::collections::HashMap;
use std::collections::VecDeque;

/// How long an end is remembered; milliseconds.
const KEPT: u64 = 24 * 3_600_000;
/// Ends of one server; one more, and the oldest is forgotten.
const OF_SERVER: usize = 8_192;

/// Of one server.
#[derive(Debug, Default)]
struct Ends {
    /// The highest join of a channel and uid that has ended.
    last: HashMap<(u64, u64), u64>,
    /// When, whose, and which; the oldest first.
    order: VecDeque<(u64, (u64, u64), u64)>,
}

impl Ends {
    /// Forgets the oldest while there are more than so many, or they are from before that time.
    fn tidy(&mut self, most: usize, before: u64) {
        while self.order.len() > most || self.order.front().is_some_and(|(at, ..)| *at < before) {
            let Some((_, whose, join)) = self.order.pop_front() else { return };
            if self.last.get(&whose) == Some(&join) {
                self.last.remove(&whose);
            }
        }
    }
}

/// By server.
#[derive(Debug, Default)]
pub struct Ended(HashMap<Box<str>, Ends>);

impl Ended {
    /// This join has ended; now, in Unix milliseconds.
    pub fn note(&mut self, server: &str, channel: u64, uid: u64, join: u64, now: u64) {
        let ends = self.0.entry(Box::from(server)).or_default();
        let last = ends.last.entry((channel, uid)).or_default();
        if *last < join {
            *last = join;
            ends.order.push_back((now, (channel, uid), join));
        }
        ends.tidy(OF_SERVER, 0);
    }

    /// Whether this join, or a later one of the same user in the same channel there, has ended.
    pub fn has(&self, server: &str, channel: u64, uid: u64, join: u64) -> bool {
        self.0.get(server).and_then(|ends| ends.last.get(&(channel, uid))).is_some_and(|last| join <= *last)
    }

    /// Forgets what is old.
    pub fn tidy(&mut self, now: u64) {
        self.0.retain(|_, ends| {
            ends.tidy(OF_SERVER, now.saturating_sub(KEPT));
            !ends.order.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_end_counts_for_a_day() {
        let mut ended = Ended::default();
        ended.note("a", 1, 2, 50, 1_000);
        ended.note("a", 1, 2, 40, 2_000);
        for (server, channel, uid, join, is) in [
            ("a", 1, 2, 50, true),
            ("a", 1, 2, 49, true),
            ("a", 1, 2, 51, false),
            ("b", 1, 2, 50, false),
            ("a", 2, 2, 50, false),
        ] {
            assert_eq!(ended.has(server, channel, uid, join), is, "{server} {channel} {uid} {join}");
        }
        ended.note("a", 1, 2, 60, 3_000);
        ended.tidy(KEPT + 2_000);
        assert!(ended.has("a", 1, 2, 60), "the first is forgotten, and not the second");
        ended.tidy(KEPT + 4_000);
        assert!(ended.0.is_empty());
    }

    #[test]
    fn bounded() {
        let mut ended = Ended::default();
        for uid in 0..=OF_SERVER as u64 {
            ended.note("a", 1, uid, 5, 1_000);
        }
        let ends = &ended.0["a"];
        assert_eq!((ends.last.len(), ends.order.len()), (OF_SERVER, OF_SERVER));
        assert!(!ended.has("a", 1, 0, 5) && ended.has("a", 1, 1, 5));
    }
}
