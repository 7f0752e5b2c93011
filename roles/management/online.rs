//! Who is signed on where, and how often. Pure. Users are named by their folded names.

use std::collections::BTreeMap;
use std::collections::HashMap;

use crate::accounts::users::UserId;

/// Whose account it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The account.
    pub id: UserId,
    /// The name as registered.
    pub name: Box<str>,
}

/// A user who is signed on.
#[derive(Debug)]
pub struct Presence {
    /// Whose account it is.
    pub who: Who,
    /// Sessions by server; none is 0.
    pub servers: BTreeMap<Box<str>, u32>,
    /// What the user says of itself.
    pub status: Box<str>,
}

/// Everybody who is signed on.
#[derive(Debug, Default)]
pub struct Online {
    users: HashMap<Box<str>, Presence>,
    /// Sessions by server.
    clients: HashMap<Box<str>, u64>,
}

impl Online {
    /// Users that are signed on.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// The user, if signed on.
    pub fn get(&self, user: &str) -> Option<&Presence> {
        self.users.get(user)
    }

    /// Sessions of the user on this server.
    pub fn sessions(&self, user: &str, server: &str) -> u32 {
        self.users.get(user).and_then(|user| user.servers.get(server)).copied().unwrap_or(0)
    }

    /// Sessions of the user, over all servers.
    pub fn all_sessions(&self, user: &str) -> u32 {
        self.users.get(user).map_or(0, |user| user.servers.values().sum())
    }

    /// The servers that the user is signed on to, in the order of their ids.
    pub fn servers(&self, user: &str) -> Vec<String> {
        self.users.get(user).map(|user| user.servers.keys().map(|id| id.to_string()).collect()).unwrap_or_default()
    }

    /// Sessions on this server.
    pub fn clients(&self, server: &str) -> u64 {
        self.clients.get(server).copied().unwrap_or(0)
    }

    /// Sessions on all servers.
    pub fn total(&self) -> u64 {
        self.clients.values().fold(0, |sum, clients| sum.saturating_add(*clients))
    }

    /// The user has so many sessions on this server now. True: it was not signed on there before, or is not any more.
    pub fn set(&mut self, user: &str, who: &Who, server: &str, sessions: u32) -> bool {
        if sessions == 0 && self.sessions(user, server) == 0 {
            return false;
        }
        let fresh = || Presence { who: who.clone(), servers: BTreeMap::new(), status: Box::default() };
        let presence = self.users.entry(Box::from(user)).or_insert_with(fresh);
        // Another account of that name has come, while the link of a deleted one is not closed yet.
        if who.id > presence.who.id {
            presence.who = who.clone();
        }
        let before = match sessions {
            0 => presence.servers.remove(server).unwrap_or(0),
            _ => presence.servers.insert(Box::from(server), sessions).unwrap_or(0),
        };
        if presence.servers.is_empty() {
            self.users.remove(user);
        }
        let clients = self.clients.entry(Box::from(server)).or_default();
        *clients = clients.saturating_sub(u64::from(before)).saturating_add(u64::from(sessions));
        if *clients == 0 {
            self.clients.remove(server);
        }
        (before == 0) != (sessions == 0)
    }

    /// What the user says of itself; not when it is not signed on. True: that is another text.
    pub fn set_status(&mut self, user: &str, status: &str) -> bool {
        let Some(presence) = self.users.get_mut(user).filter(|presence| *presence.status != *status) else {
            return false;
        };
        presence.status = Box::from(status);
        true
    }

    /// Those who are signed on there: the folded name, whose account it is, and how many sessions.
    pub fn on(&self, server: &str) -> Vec<(Box<str>, Who, u32)> {
        let users = self.users.iter();
        let here = users.filter_map(|(user, presence)| Some((user, presence, *presence.servers.get(server)?)));
        let mut all: Vec<(Box<str>, Who, u32)> =
            here.map(|(user, presence, sessions)| (user.clone(), presence.who.clone(), sessions)).collect();
        // The map has no order, and a simulation runs alike each time.
        all.sort_unstable_by(|(one, ..), (other, ..)| one.cmp(other));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_counted() {
        let mut online = Online::default();
        let who = Who { id: UserId(1), name: Box::from("Alice") };
        assert!(!online.set("alice", &who, "a", 0));
        assert!(online.set("alice", &who, "b", 1) && online.set("alice", &who, "a", 1));
        assert!(!online.set("alice", &who, "a", 3));
        assert_eq!((online.sessions("alice", "a"), online.all_sessions("alice"), online.clients("a")), (3, 4, 3));
        assert_eq!((online.servers("alice"), online.total()), (vec!["a".to_owned(), "b".to_owned()], 4));
        assert_eq!(online.on("a"), [(Box::from("alice"), who.clone(), 3)]);
        assert!(online.set_status("alice", "x") && !online.set_status("alice", "x") && !online.set_status("bob", "x"));
        assert!(!online.set("alice", &who, "a", 2) && online.set("alice", &who, "a", 0));
        assert!(online.set("alice", &who, "b", 0));
        assert_eq!((online.len(), online.clients("a"), online.clients("b")), (0, 0, 0));
        assert!(online.clients.is_empty());
    }
}
