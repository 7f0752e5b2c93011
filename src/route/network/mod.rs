//! Management's side: the servers of the network, what they reach, and where each user is; from it the portion of each
//! main server, and what has changed in it.
//!
//! Each change of a user is one line, the same for all servers: written once, into the chunk that is open. A change of
//! the graph makes a plan due; `replan` finds out whose next hops change. `take` hands out what is new (`updates`).

mod log;
mod updates;

pub use updates::Page;
pub use updates::Update;

use super::entry;
use super::index::Index;
use super::plan::Graph;
use super::plan::Planner;
use super::plan::NONE;
use super::Few;
use super::SERVERS;
use super::USERS;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;
use log::Log;
use std::collections::HashMap;
use std::sync::Arc;

/// A round trip that has changed by less than this, in µs, or by less than a quarter, is the same: noise must not
/// turn routes around.
const NOISE: u32 = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// By the operator; its number stays.
    Removed,
    /// Known, but not here.
    Down,
    /// It has introduced itself.
    Up,
}

#[derive(Debug)]
struct Server {
    id: Arc<str>,
    state: State,
    /// It has begun to load its portion: from then on it gets updates.
    listens: bool,
    /// The first chunk of the log that it has not been given.
    next_chunk: u64,
    /// What it says it is linked to, with round trips in µs, sorted by number.
    links: Vec<(u16, u32)>,
    /// Its next hop to each server, by number.
    column: Vec<u16>,
    /// The sum over the entries of the column.
    routes_sum: u64,
    /// Entries of the column that have changed since it was last given some.
    pending: Vec<u16>,
    /// How many users have a session there.
    users: usize,
}

/// Sessions of one user on one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    server: u16,
    /// Its link was lost: kept until the server says again, or `settle`.
    doubtful: bool,
    sessions: u32,
}

#[derive(Debug)]
struct User {
    /// As registered.
    name: Box<str>,
    /// Sorted by the ids of the servers.
    at: Few<Place>,
}

/// The network, as management knows it.
pub struct Network {
    servers: Vec<Server>,
    numbers: HashMap<Arc<str>, u16>,
    names: Index,
    users: Vec<Option<User>>,
    free: Vec<u32>,
    /// The sum over the entries of all users.
    users_sum: u64,
    version: u64,
    plan_due: bool,
    log: Log,
}

impl Network {
    /// A network of nobody. Versions count from `version`: management's start in µs, so that they rise over restarts.
    pub fn new(version: u64) -> Network {
        Network {
            servers: Vec::new(),
            numbers: HashMap::new(),
            names: Index::default(),
            users: Vec::new(),
            free: Vec::new(),
            users_sum: 0,
            version,
            plan_due: false,
            log: Log::default(),
        }
    }

    /// Rises with every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many users are signed on.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether nobody is signed on.
    pub fn is_empty(&self) -> bool {
        self.names.len() == 0
    }

    /// A server of the network, which may be named in LINKS from now on, up or not.
    ///
    /// # Errors
    /// BADARGS: no good name. LIMIT: too many servers since the start.
    pub fn add(&mut self, id: &str) -> Result<(), Fail> {
        if let Some(number) = self.numbers.get(id) {
            let server = &mut self.servers[usize::from(*number)];
            if server.state == State::Removed {
                server.state = State::Down;
            }
            return Ok(());
        }
        name::check(id)?;
        if self.servers.len() >= SERVERS {
            return Err(Fail::new(Code::Limit, "too many servers for one network"));
        }
        let id: Arc<str> = Arc::from(id);
        self.numbers.insert(id.clone(), self.servers.len() as u16);
        self.servers.push(Server {
            id,
            state: State::Down,
            listens: false,
            next_chunk: 0,
            links: Vec::new(),
            column: Vec::new(),
            routes_sum: 0,
            pending: Vec::new(),
            users: 0,
        });
        Ok(())
    }

    /// A main server has introduced itself. It gets updates from its first `page` on. One that is up already keeps
    /// what it has: after a restart (another boot) call `down` first; after a lost link, `doubt`.
    ///
    /// # Errors
    /// As `add`.
    pub fn up(&mut self, id: &str) -> Result<(), Fail> {
        self.add(id)?;
        let number = self.known(id)?;
        let server = &mut self.servers[number];
        // Its link is new: what it was given on the old one may be lost, so it loads first.
        server.listens = false;
        server.pending.clear();
        if server.state != State::Up {
            server.state = State::Up;
            self.plan_due = true;
        }
        Ok(())
    }

    /// A server is gone, its users and links with it. Nothing happens if it was not up.
    pub fn down(&mut self, id: &str) {
        let Ok(number) = self.known(id) else { return };
        let server = &mut self.servers[number];
        if server.state != State::Up {
            return;
        }
        server.state = State::Down;
        server.listens = false;
        server.links.clear();
        server.column.clear();
        server.routes_sum = 0;
        server.pending.clear();
        self.plan_due = true;
        self.sweep(number as u16, |_| true);
    }

    /// The operator has removed a server: as `down`, and who names it in LINKS is refused.
    pub fn remove(&mut self, id: &str) {
        self.down(id);
        if let Ok(number) = self.known(id) {
            self.servers[number].state = State::Removed;
        }
    }

    /// The link to a server was lost, and perhaps nothing else. It gets no updates. Its users stay, until it has
    /// introduced itself again and reported them: then `settle` ends those that it did not report.
    pub fn doubt(&mut self, id: &str) {
        let Ok(number) = self.known(id) else { return };
        self.servers[number].listens = false;
        for user in self.users.iter_mut().flatten() {
            user.at
                .iter_mut()
                .filter(|place| usize::from(place.server) == number)
                .for_each(|place| place.doubtful = true);
        }
    }

    /// A server has reported all its users again: those it did not name since `doubt` are not there any more.
    pub fn settle(&mut self, id: &str) {
        if let Ok(number) = self.known(id) {
            self.sweep(number as u16, |place| place.doubtful);
        }
    }

    /// Whether a server has introduced itself and is not gone.
    pub fn is_up(&self, id: &str) -> bool {
        self.known(id).is_ok_and(|number| self.servers[number].state == State::Up)
    }

    /// How many users have a session at a server.
    pub fn users_at(&self, id: &str) -> usize {
        self.known(id).map_or(0, |number| self.servers[number].users)
    }

    /// Where a user is signed on, with the number of sessions there; sorted by id.
    pub fn places(&self, user: &str) -> Vec<(&str, u32)> {
        let slot = self.find(user).and_then(|slot| self.users.get(slot as usize)?.as_ref());
        let places = slot.map_or(&[][..], |user| &user.at);
        places.iter().map(|place| (&*self.servers[usize::from(place.server)].id, place.sessions)).collect()
    }

    /// What a server is linked to now, all of it, with round trips in µs. An edge counts when both ends report it.
    ///
    /// # Errors
    /// DENIED: it is not up. BADARGS: it names itself, a server twice, or one that nobody knows. Nothing is changed then.
    pub fn links<'a>(&mut self, id: &str, links: impl IntoIterator<Item = (&'a str, u32)>) -> Result<(), Fail> {
        let number = self.known_up(id)?;
        let mut new = Vec::new();
        for (to, round_trip) in links {
            let to = self.known(to)?;
            if to == number || self.servers[to].state == State::Removed || new.len() >= SERVERS {
                return Err(Fail::bad_args("a link to itself, or to a server that is not of this network"));
            }
            new.push((to as u16, round_trip));
        }
        new.sort_unstable();
        if new.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(Fail::bad_args("two links to one server"));
        }
        let old = &mut self.servers[number].links;
        for (to, round_trip) in &mut new {
            let Ok(known) = old.binary_search_by_key(to, |(to, _)| *to) else { continue };
            let known = old[known].1;
            if round_trip.abs_diff(known) <= NOISE.max(known / 4) {
                *round_trip = known;
            }
        }
        if *old != new {
            *old = new;
            self.plan_due = true;
        }
        Ok(())
    }

    /// So many sessions a user has at a server; 0: none.
    ///
    /// # Errors
    /// DENIED: the server is not up. BADARGS: no good name. LIMIT: too many users, or servers of one user.
    pub fn presence(&mut self, id: &str, user: &str, sessions: u32) -> Result<(), Fail> {
        let number = self.known_up(id)? as u16;
        self.edit(user, None, |places| places.set(number, |_| sessions))
    }

    /// One session of a user has moved. The server it comes from may be gone, and count no session of the user any more.
    ///
    /// # Errors
    /// DENIED: `to` is not up. BADARGS: no good names, `from` was never known, or is `to`. LIMIT: as `presence`.
    pub fn moved(&mut self, request: &str, user: &str, from: &str, to: &str) -> Result<(), Fail> {
        name::check(request)?;
        let (source, target) = (self.known(from)? as u16, self.known_up(to)? as u16);
        if source == target {
            return Err(Fail::bad_args("a move from a server to itself"));
        }
        self.edit(user, Some([request, from, to]), |places| {
            places.set(source, |sessions| sessions.saturating_sub(1))?;
            places.set(target, |sessions| sessions.saturating_add(1))
        })
    }

    /// Plans anew, if that is due: after servers have come or gone, or links have changed. To be called when a burst of
    /// such events is over. Tells whether any next hop has changed.
    pub fn replan(&mut self) -> bool {
        if !std::mem::take(&mut self.plan_due) {
            return false;
        }
        let mut planner = Planner::new(self.graph());
        let mut changed = false;
        for number in 0..self.servers.len() {
            if self.servers[number].state == State::Up {
                let mut column = std::mem::take(&mut self.servers[number].column);
                column.resize(self.servers.len(), NONE);
                for (target, next) in planner.next_hops(number as u16).enumerate() {
                    let next = next.unwrap_or(NONE);
                    if column[target] != next {
                        changed = true;
                        self.reroute(number, target, std::mem::replace(&mut column[target], next), next);
                    }
                }
                let server = &mut self.servers[number];
                server.column = column;
                // Some may still wait since the last plan.
                server.pending.sort_unstable();
                server.pending.dedup();
            }
        }
        self.version += u64::from(changed);
        changed
    }

    /// Whether `replan` would plan.
    pub fn plan_due(&self) -> bool {
        self.plan_due
    }

    fn reroute(&mut self, number: usize, target: usize, old: u16, new: u16) {
        let id = |number: u16| self.servers.get(usize::from(number)).map(|server| &*server.id);
        let hash = |next| entry::route_hash(&self.servers[target].id, id(next));
        let difference = hash(new).wrapping_sub(hash(old));
        let server = &mut self.servers[number];
        server.routes_sum = server.routes_sum.wrapping_add(difference);
        if server.listens {
            server.pending.push(target as u16);
        }
    }

    /// Edges that both ends report; the lower round trip, as noise only adds.
    fn graph(&self) -> Graph {
        let mut graph = Graph::new(self.servers.len() as u16);
        for (number, server) in self.servers.iter().enumerate() {
            for (to, round_trip) in server.links.iter().filter(|(to, _)| usize::from(*to) > number) {
                let back = &self.servers[usize::from(*to)].links;
                if let Ok(back) = back.binary_search_by_key(&(number as u16), |(to, _)| *to) {
                    graph.connect(number as u16, *to, (*round_trip).min(self.servers[usize::from(*to)].links[back].1));
                }
            }
        }
        graph
    }

    fn known(&self, id: &str) -> Result<usize, Fail> {
        let number = self.numbers.get(id).ok_or_else(|| Fail::bad_args("no server of this network"))?;
        Ok(usize::from(*number))
    }

    fn known_up(&self, id: &str) -> Result<usize, Fail> {
        let number = self.known(id).ok().filter(|number| self.servers[*number].state == State::Up);
        number.ok_or_else(|| Fail::new(Code::Denied, "this server has not introduced itself"))
    }

    fn find(&self, user: &str) -> Option<u32> {
        let folded = name::fold(user);
        let is =
            |slot: u32| matches!(self.users.get(slot as usize), Some(Some(user)) if name::fold(&user.name) == folded);
        self.names.find(&folded, is)
    }

    /// Ends the sessions at a server that `over` picks.
    fn sweep(&mut self, number: u16, over: impl Fn(&Place) -> bool) {
        for slot in 0..self.users.len() {
            let Some(user) = &self.users[slot] else { continue };
            if user.at.iter().any(|place| place.server == number && over(place)) {
                // Taking away passes no limit.
                let _ = self.edit_slot(slot as u32, None, |places| places.set(number, |_| 0));
            }
        }
    }

    fn edit(
        &mut self,
        user: &str,
        moved: Option<[&str; 3]>,
        change: impl FnOnce(&mut Places<'_>) -> Result<(), Fail>,
    ) -> Result<(), Fail> {
        if let Some(slot) = self.find(user) {
            return self.edit_slot(slot, moved, change);
        }
        name::check_user(user)?;
        if self.len() >= USERS {
            return Err(Fail::new(Code::Limit, "too many users are signed on"));
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.users.push(None);
            (self.users.len() - 1) as u32
        });
        self.users[slot as usize] = Some(User { name: Box::from(user), at: Few::default() });
        self.names.insert(&name::fold(user), slot);
        self.edit_slot(slot, moved, change)
    }

    /// Every change of a user goes through here: sum, version, line, and the end of an entry that is empty.
    fn edit_slot(
        &mut self,
        slot: u32,
        moved: Option<[&str; 3]>,
        change: impl FnOnce(&mut Places<'_>) -> Result<(), Fail>,
    ) -> Result<(), Fail> {
        let Some(User { name, at }) = self.users.get_mut(slot as usize).and_then(Option::as_mut) else {
            return Err(Fail::internal("a name stands for no user"));
        };
        let mut places = Places { at: at.clone(), servers: &self.servers };
        let result = change(&mut places);
        let new = match result {
            Ok(()) => places.at,
            Err(_) => at.clone(),
        };
        let same = new.len() == at.len() && new.iter().zip(at.iter()).all(|(new, old)| new.server == old.server);
        let old = std::mem::replace(at, new);
        let ids = |places: &Few<Place>| {
            let ids: Few<&str> = places.iter().map(|place| &*self.servers[usize::from(place.server)].id).collect();
            ids
        };
        let (before, after) = (ids(&old), ids(at));
        let sum = |ids: &Few<&str>| entry::user_hash(name, ids.iter().copied());
        self.users_sum = self.users_sum.wrapping_add(sum(&after)).wrapping_sub(sum(&before));
        if result.is_ok() && (!same || moved.is_some()) {
            self.version += 1;
            if let Some([id, from, to]) = moved {
                self.log.open().push_str(&format!("{}\n", entry::Entry::Moved { id, name, from, to }));
            }
            if !same {
                entry::put_user(self.log.open(), name, after.iter().copied());
            }
            self.log.changed(self.version, self.users_sum);
        }
        let empty = after.is_empty();
        let (gone, come) = (old, at.clone());
        if empty {
            let folded = name::fold(name).into_owned();
            self.names.remove(&folded, slot);
            self.users[slot as usize] = None;
            self.free.push(slot);
        }
        if !same {
            gone.iter().for_each(|place| self.servers[usize::from(place.server)].users -= 1);
            come.iter().for_each(|place| self.servers[usize::from(place.server)].users += 1);
        }
        result
    }
}

/// The places of a user while they are changed.
struct Places<'a> {
    at: Few<Place>,
    servers: &'a [Server],
}

impl Places<'_> {
    fn set(&mut self, server: u16, sessions: impl FnOnce(u32) -> u32) -> Result<(), Fail> {
        let found = self.at.iter().position(|place| place.server == server);
        let sessions = sessions(found.map_or(0, |found| self.at[found].sessions));
        match found {
            _ if sessions == 0 => self.at.retain(|place| place.server != server),
            Some(found) => self.at[found] = Place { server, doubtful: false, sessions },
            None if self.at.len() >= entry::PLACES => {
                return Err(Fail::new(Code::Limit, "one user is signed on at too many servers"));
            }
            None => {
                let id = |number: u16| &*self.servers[usize::from(number)].id;
                let before = self.at.partition_point(|place| id(place.server) < id(server));
                self.at.insert(before, Place { server, doubtful: false, sessions });
            }
        }
        Ok(())
    }
}
