//! What a client has received: a server gives again what was not proven read when a connection broke.

use std::collections::hash_map::DefaultHasher;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::hash::Hash;
use std::hash::Hasher;

use crate::wire::Raw;

/// Messages remembered. More than a server keeps unproven.
const REMEMBERED: usize = 100_000;

/// See the module.
#[derive(Default)]
pub struct Received {
    /// Connections to main servers so far.
    connection: u64,
    /// Hashes of what was received, and how often; oldest first in `order`.
    seen: HashMap<u64, Seen>,
    order: VecDeque<u64>,
}

impl Received {
    /// What comes from now on comes on another connection.
    pub fn new_connection(&mut self) {
        self.connection += 1;
    }

    /// Whether this message came on an earlier connection already: a server gives again what was not proven read. Two that
    /// are alike to the millisecond and the byte are told apart by counting.
    pub fn is_given_again(&mut self, data: Raw<'_>) -> bool {
        let mut hasher = DefaultHasher::new();
        data.0.hash(&mut hasher);
        let (hash, connection) = (hasher.finish(), self.connection);
        let seen = self.seen.entry(hash).or_insert_with(|| {
            self.order.push_back(hash);
            Seen { connection, before: 0, now: 0 }
        });
        if seen.connection != connection {
            *seen = Seen { connection, before: seen.before.max(seen.now), now: 0 };
        }
        seen.now = seen.now.saturating_add(1);
        let again = seen.now <= seen.before;
        if self.order.len() > REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.seen.remove(&oldest);
            }
        }
        again
    }
}

/// How often a message came.
struct Seen {
    /// The last connection that it came on.
    connection: u64,
    /// The most often that it came on one connection before that.
    before: u32,
    now: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_often_as_before_is_again() {
        let (one, two) = (Raw(b"alice~\n1~\nhi"), Raw(b"alice~\n2~\nhi"));
        let mut received = Received::default();
        received.new_connection();
        // Alike to the millisecond and the byte, and still two.
        assert!(!received.is_given_again(one) && !received.is_given_again(one));
        received.new_connection();
        assert!(received.is_given_again(one) && !received.is_given_again(two));
        assert!(received.is_given_again(one) && !received.is_given_again(one));
    }
}
