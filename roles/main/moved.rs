//! What is remembered for a while of those who have left this server or another: messages that were sent before that was known
//! are still on the way.

use std::collections::HashMap;
use std::collections::HashSet;

use super::Came;
use crate::route::ServerNo;
use crate::wire::name;

/// How long; milliseconds. Longer than a stream keeps trying.
const KEPT: u64 = 60_000;
/// How many, of each kind.
const MOST: usize = 200_000;

#[derive(Clone, Debug)]
struct Departed {
    id: String,
    to: ServerNo,
    /// The version of the table with which it had come here; 0: it signed on here.
    since: u64,
    /// The version of the table with which it had moved.
    version: u64,
    at: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Moved {
    /// Sessions that moved away from here, by folded name.
    away: HashMap<Box<str>, Vec<Departed>>,
    /// The move by which a session came here → the one by which it went on, to where, and when.
    after: HashMap<String, (String, ServerNo, u64)>,
    /// Folded name and server → when the table said that the user was not there any more.
    gone: HashMap<(Box<str>, ServerNo), u64>,
    /// Users, and servers that they are at by the word of the server that had them: management could not be told.
    vouched: HashSet<(Box<str>, ServerNo)>,
}

impl Moved {
    /// A session has moved to another server. `came`: how it came here. `version`: of the table that says so; `u64::MAX` while none
    /// does.
    pub fn add(&mut self, user: &str, id: &str, came: Option<&Came>, to: ServerNo, version: u64, now: u64) {
        if self.away.len() < MOST && self.after.len() < MOST {
            if let Some(came) = came {
                self.after.insert(came.id.clone(), (id.to_owned(), to, now));
            }
            let since = came.map_or(0, |came| came.version);
            let departed = Departed { id: id.to_owned(), to, since, version, at: now };
            self.away.entry(Box::from(&*name::fold(user))).or_default().push(departed);
        }
    }

    /// The table says now, with `version`, that the user is signed on at `to`.
    pub fn told(&mut self, user: &str, to: ServerNo, version: u64) {
        for departed in self.away.get_mut(&*name::fold(user)).into_iter().flatten() {
            if departed.to == to && departed.version == u64::MAX {
                departed.version = version;
            }
        }
    }

    /// The table, of `version`, has all moves.
    pub fn all_told(&mut self, version: u64) {
        for departed in self.away.values_mut().flatten().filter(|departed| departed.version == u64::MAX) {
            departed.version = version;
        }
        self.vouched.clear();
    }

    /// The server that had a session of the user says that it is at `server`, which the table cannot say now.
    pub fn vouch(&mut self, user: &str, server: ServerNo) {
        if self.vouched.len() < MOST {
            self.vouched.insert((Box::from(&*name::fold(user)), server));
        }
    }

    /// Sessions of the user that were here for somebody with the table of `version`, and are not any more: the ids of the moves, and where
    /// to.
    pub fn of(&self, user: &str, version: u64) -> Vec<(String, ServerNo)> {
        if self.away.is_empty() {
            return Vec::new();
        }
        let late = self
            .away
            .get(&*name::fold(user))
            .into_iter()
            .flatten()
            .filter(|one| one.since <= version && version < one.version);
        late.map(|one| (one.id.clone(), one.to)).collect()
    }

    /// Where a session is that came here by the move `id` and has gone on.
    pub fn after(&self, id: &str) -> Option<(String, ServerNo)> {
        self.after.get(id).map(|(next, to, _)| (next.clone(), *to))
    }

    /// A user is not signed on at a server any more.
    pub fn left(&mut self, user: &str, server: ServerNo, now: u64) {
        if self.gone.len() < MOST {
            self.gone.insert((Box::from(&*name::fold(user)), server), now);
        }
    }

    /// Whether a user was signed on at a server not long ago, or is by the word of another: what was accepted there may be sent.
    pub fn had(&self, user: &str, server: ServerNo) -> bool {
        let key = (Box::from(&*name::fold(user)), server);
        self.gone.contains_key(&key) || self.vouched.contains(&key)
    }

    /// Forgets what is over.
    pub fn sweep(&mut self, now: u64) {
        self.away.retain(|_, all| {
            // While the table does not say it, nobody else knows where they are.
            all.retain(|one| one.version == u64::MAX || now < one.at.saturating_add(KEPT));
            !all.is_empty()
        });
        self.after.retain(|_, (_, _, at)| now < at.saturating_add(KEPT));
        self.gone.retain(|_, at| now < at.saturating_add(KEPT));
    }
}
