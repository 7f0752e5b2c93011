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
    /// How it had come here; None: it signed on here.
    came: Option<Came>,
    /// The version of the table with which it had moved; `u64::MAX` while the target has not said which.
    version: u64,
    at: u64,
}

impl Departed {
    /// The version of the table with which it had come here; 0: it signed on here.
    fn since(&self) -> u64 {
        self.came.as_ref().map_or(0, |came| came.version)
    }
}

/// Where a session has gone on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// The id of the move.
    pub id: String,
    /// Where to.
    pub to: ServerNo,
    /// It was here for all who have a table of this version or a later one: they sent to it here.
    pub since: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Moved {
    /// Sessions that moved away from here, by folded name.
    away: HashMap<Box<str>, Vec<Departed>>,
    /// The move by which a session that is away had come here → the folded name.
    after: HashMap<String, Box<str>>,
    /// Folded name and server → when the table said that the user was not there any more.
    gone: HashMap<(Box<str>, ServerNo), u64>,
    /// Folded name and server → what was accepted there under a table below this version is not taken any more, and since when.
    passed: HashMap<(Box<str>, ServerNo), (u64, u64)>,
    /// Users, and servers that they are at by the word of the server that had them: management could not be told.
    vouched: HashSet<(Box<str>, ServerNo)>,
}

impl Moved {
    /// A session has moved to another server. `came`: how it came here. `version`: of the table that says so; `u64::MAX` while that is
    /// not known.
    pub fn add(&mut self, user: &str, id: &str, came: Option<&Came>, to: ServerNo, version: u64, now: u64) {
        if self.away.len() < MOST && self.after.len() < MOST {
            let folded: Box<str> = Box::from(&*name::fold(user));
            if let Some(came) = came {
                self.after.insert(came.id.clone(), folded.clone());
            }
            let departed = Departed { id: id.to_owned(), to, came: came.cloned(), version, at: now };
            self.away.entry(folded).or_default().push(departed);
        }
    }

    /// Since which version of the table a session that moved away by `id`, to `to`, is there. How it had come here, if that was
    /// not known before and is now: as it was never here by any table, it came with the same version.
    pub fn settle(&mut self, user: &str, id: &str, to: ServerNo, version: u64) -> Option<Came> {
        let away = self.away.get_mut(&*name::fold(user))?;
        let departed = away.iter_mut().find(|one| one.id == id && one.to == to && one.version == u64::MAX)?;
        departed.version = version;
        let came = departed.came.as_mut().filter(|came| came.version == u64::MAX)?;
        came.version = version;
        Some(came.clone())
    }

    /// The table has all users.
    pub fn all_told(&mut self) {
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
            .filter(|one| one.since() <= version && version < one.version);
        late.map(|one| (one.id.clone(), one.to)).collect()
    }

    /// Where a session is that came here by the move `id` and has gone on.
    pub fn after(&self, id: &str) -> Option<Next> {
        let away = self.away.get(self.after.get(id)?)?;
        let one = away.iter().find(|one| one.came.as_ref().is_some_and(|came| came.id == id))?;
        Some(Next { id: one.id.clone(), to: one.to, since: one.since() })
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

    /// A session of the user goes on elsewhere: what it sent at `server`, under a table below that version, comes too late.
    pub fn pass(&mut self, user: &str, server: ServerNo, below: u64, now: u64) {
        if self.passed.len() < MOST {
            let (known, at) = self.passed.entry((Box::from(&*name::fold(user)), server)).or_default();
            (*known, *at) = (below.max(*known), now);
        }
    }

    /// Whether what a user sent at a server, under a table of that version, comes too late.
    pub fn is_passed(&self, user: &str, server: ServerNo, version: u64) -> bool {
        if self.passed.is_empty() {
            return false;
        }
        let passed = self.passed.get(&(Box::from(&*name::fold(user)), server));
        passed.is_some_and(|(below, _)| version < *below)
    }

    /// Forgets what is over. `alone`: management is away.
    pub fn sweep(&mut self, now: u64, alone: bool) {
        self.away.retain(|_, all| {
            // While the table does not say it, nobody else knows where they are.
            all.iter_mut().filter(|one| alone && one.version == u64::MAX).for_each(|one| one.at = now);
            all.retain(|one| now < one.at.saturating_add(KEPT));
            !all.is_empty()
        });
        let Moved { away, after, .. } = self;
        after.retain(|_, user| away.contains_key(user));
        self.gone.retain(|_, at| now < at.saturating_add(KEPT));
        self.passed.retain(|_, (_, at)| now < at.saturating_add(2 * KEPT));
    }
}
