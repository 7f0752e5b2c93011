//! What a main server may say of users: that they are there, when management has found a ticket of theirs good for that
//! server, when a session was moved there, or when they were there before its link broke. Pure. Names are folded.

use std::collections::BTreeMap;
use std::collections::HashMap;

use super::online::Who;

/// How long a grant waits for its PRESENCE; milliseconds. Longer than a dead link takes to be noticed, as a sign-on may
/// be reported only when the server is back.
const LIFETIME: u64 = 300_000;
/// Grants of one kind that wait, over all; then the oldest goes. As many as there may be tickets.
const GRANTS: usize = 65_536;

type Key = (Box<str>, Box<str>);

/// Rights that are good once, by user and server.
#[derive(Debug, Default)]
struct Grants {
    /// (until, number) → whose.
    order: BTreeMap<(u64, u64), Key>,
    by_key: HashMap<Key, (Who, Vec<(u64, u64)>)>,
    next: u64,
}

impl Grants {
    fn add(&mut self, user: &str, server: &str, who: &Who, now: u64) {
        self.sweep(now, GRANTS - 1);
        self.next += 1;
        let order = (now.saturating_add(LIFETIME), self.next);
        let key: Key = (Box::from(user), Box::from(server));
        self.by_key.entry(key.clone()).or_insert_with(|| (who.clone(), Vec::new())).1.push(order);
        self.order.insert(order, key);
    }

    /// Drops what is over, and the oldest while there are more than `most`.
    fn sweep(&mut self, now: u64, most: usize) {
        while let Some(first) = self.order.first_entry() {
            if first.key().0 > now && self.order.len() <= most {
                return;
            }
            if let Some((order, key)) = self.order.pop_first() {
                self.forget(&key, order);
            }
        }
    }

    fn forget(&mut self, key: &Key, order: (u64, u64)) {
        let Some((_, orders)) = self.by_key.get_mut(key) else { return };
        orders.retain(|known| *known != order);
        if orders.is_empty() {
            self.by_key.remove(key);
        }
    }

    fn count(&self, user: &str, server: &str) -> usize {
        self.by_key.get(&(Box::from(user), Box::from(server))).map_or(0, |(_, orders)| orders.len())
    }

    /// Takes so many of those there are.
    fn take(&mut self, user: &str, server: &str, count: usize) -> Option<Who> {
        let key: Key = (Box::from(user), Box::from(server));
        let (who, orders) = self.by_key.get(&key)?;
        let (who, orders): (Who, Vec<_>) = (who.clone(), orders.iter().copied().take(count).collect());
        for order in orders {
            self.order.remove(&order);
            self.forget(&key, order);
        }
        Some(who)
    }
}

/// What main servers may say.
#[derive(Debug, Default)]
pub struct Trust {
    /// The server may report one more session.
    granted: Grants,
    /// The server has reported one session less, and that another may go on with it.
    released: Grants,
    /// Servers whose link is gone.
    away: HashMap<String, Away>,
}

#[derive(Debug)]
struct Away {
    /// Names the process.
    boot: u64,
    users: HashMap<Box<str>, (Who, u32)>,
}

impl Trust {
    /// One more session of the user may be reported by the server.
    pub fn grant(&mut self, user: &str, server: &str, who: &Who, now: u64) {
        self.granted.add(user, server, who, now);
    }

    /// The server has reported one session less, and that another server may go on with it.
    pub fn release(&mut self, user: &str, server: &str, who: &Who, now: u64) {
        self.released.add(user, server, who, now);
    }

    /// The server says that the user has `count` sessions more there. None: it may not say so, and nothing has changed.
    pub fn take(&mut self, user: &str, server: &str, count: u32, now: u64) -> Option<Who> {
        self.granted.sweep(now, GRANTS);
        let (count, granted) = (count as usize, self.granted.count(user, server));
        let before = self.away.get(server).and_then(|away| away.users.get(user)).map_or(0, |(_, before)| *before);
        if granted.saturating_add(before as usize) < count {
            return None;
        }
        let mut who = self.granted.take(user, server, count.min(granted));
        for _ in granted..count {
            who = self.take_away(user, server).or(who);
        }
        who
    }

    /// A standby says that it goes on with a session of the user on `server`, which has given it up, or is gone. None: it may
    /// not say so.
    pub fn take_over(&mut self, user: &str, server: &str, now: u64) -> Option<Who> {
        self.released.sweep(now, GRANTS);
        self.released.take(user, server, 1).or_else(|| self.take_away(user, server))
    }

    /// Whose sessions on `server` may be gone on with, if any are.
    pub fn whose(&self, user: &str, server: &str) -> Option<&Who> {
        let released = self.released.by_key.get(&(Box::from(user), Box::from(server))).map(|(who, _)| who);
        released.or_else(|| self.away.get(server)?.users.get(user).map(|(who, _)| who))
    }

    fn take_away(&mut self, user: &str, server: &str) -> Option<Who> {
        let users = &mut self.away.get_mut(server)?.users;
        let (who, left) = users.get_mut(user)?;
        let who = who.clone();
        *left = left.saturating_sub(1);
        if *left == 0 {
            users.remove(user);
        }
        Some(who)
    }

    /// The server's link is gone, and these were there: when the same process comes back, it may report them again.
    pub fn server_lost(&mut self, server: &str, boot: u64, users: Vec<(Box<str>, Who, u32)>) {
        self.server_back(server, boot);
        let away = self.away.entry(server.to_owned()).or_insert_with(|| Away { boot, users: HashMap::new() });
        // Who was not reported again before the link broke once more is still there.
        away.users.extend(users.into_iter().map(|(user, who, sessions)| (user, (who, sessions))));
    }

    /// The server is back: another process has none of the old sessions, and says nothing of them.
    pub fn server_back(&mut self, server: &str, boot: u64) {
        if self.away.get(server).is_some_and(|away| away.boot != boot) {
            self.away.remove(server);
        }
    }

    /// The operator removed the server.
    pub fn server_removed(&mut self, server: &str) {
        self.away.remove(server);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::users::UserId;

    fn who() -> Who {
        Who { id: UserId(1), name: Box::from("Alice") }
    }

    #[test]
    fn a_grant_is_for_one_session_on_one_server() {
        let mut trust = Trust::default();
        assert_eq!(trust.take("alice", "a", 1, 0), None);
        trust.grant("alice", "a", &who(), 0);
        assert_eq!((trust.take("alice", "b", 1, 1), trust.take("bob", "a", 1, 1)), (None, None));
        assert_eq!(trust.take("alice", "a", 2, 1), None);
        assert_eq!(trust.take("alice", "a", 1, 1), Some(who()));
        assert_eq!(trust.take("alice", "a", 1, 1), None);
        trust.grant("alice", "a", &who(), 0);
        trust.grant("alice", "a", &who(), 0);
        assert_eq!(trust.take("alice", "a", 2, LIFETIME - 1), Some(who()));
        trust.grant("alice", "a", &who(), 0);
        assert_eq!(trust.take("alice", "a", 1, LIFETIME), None, "too late");
    }

    #[test]
    fn who_was_there_may_be_reported_again_by_the_same_process() {
        let mut trust = Trust::default();
        let users = || vec![(Box::from("alice"), who(), 2)];
        trust.server_lost("a", 7, users());
        trust.server_back("a", 7);
        trust.grant("alice", "a", &who(), 0);
        assert_eq!(trust.take("alice", "a", 4, 1), None);
        assert_eq!(trust.take("alice", "a", 2, 1), Some(who()), "the grant, and one of before");
        assert_eq!(trust.take("alice", "a", 1, 1), Some(who()));
        assert_eq!(trust.take("alice", "a", 1, 1), None);
        trust.server_lost("a", 7, users());
        trust.server_back("a", 8);
        assert_eq!(trust.take("alice", "a", 1, 1), None);
    }

    #[test]
    fn a_session_is_taken_over_once() {
        let mut trust = Trust::default();
        trust.server_lost("a", 7, vec![(Box::from("alice"), who(), 1)]);
        assert_eq!((trust.take_over("alice", "a", 1), trust.take_over("alice", "a", 1)), (Some(who()), None));
        trust.release("alice", "b", &who(), 1);
        assert_eq!((trust.take_over("alice", "b", 1), trust.take_over("alice", "b", 1)), (Some(who()), None));
        assert_eq!(trust.take("alice", "b", 1, 1), None, "to give up is no right to report");
    }

    #[test]
    fn bounded() {
        let mut trust = Trust::default();
        for n in 0..=GRANTS {
            trust.grant(&n.to_string(), "a", &who(), 0);
        }
        assert!(trust.granted.order.len() <= GRANTS && trust.granted.by_key.len() <= GRANTS);
        assert_eq!((trust.take("0", "a", 1, 1), trust.take("1", "a", 1, 1)), (None, Some(who())));
    }
}
