//! Management's side: the servers of the network, what they reach, and where each user is; from it the portion of each
//! main server, and what has changed in it.
//!
//! Each change of a user is one line, the same for all servers: written once, into the chunk that is open. A change of
//! the graph makes a plan due; `replan` finds out whose next hops change. `take` hands out what is new (`updates`).

mod graph;
mod log;
mod updates;
mod users;

pub use updates::Page;
pub use updates::Update;

use super::index::Index;
use super::members::Members;
use super::Few;
use super::SERVERS;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;
use log::Log;
use std::collections::HashMap;
use std::sync::Arc;

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
    /// Slots of the users who have a session there.
    users: Members,
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
    /// Of the users: servers that have the same have the same of them, whatever their routes.
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

    /// Rises with every change of who is where; routes change without it, as not all servers hear of every one.
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
            users: Members::default(),
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
        self.all_gone(number);
    }

    /// The operator has removed a server: as `down`, and who names it in LINKS is refused.
    pub fn remove(&mut self, id: &str) {
        self.down(id);
        if let Ok(number) = self.known(id) {
            self.servers[number].state = State::Removed;
        }
    }

    /// Whether a server has introduced itself and is not gone.
    pub fn is_up(&self, id: &str) -> bool {
        self.known(id).is_ok_and(|number| self.servers[number].state == State::Up)
    }

    fn known(&self, id: &str) -> Result<usize, Fail> {
        let number = self.numbers.get(id).ok_or_else(|| Fail::bad_args("no server of this network"))?;
        Ok(usize::from(*number))
    }

    fn known_up(&self, id: &str) -> Result<usize, Fail> {
        let number = self.known(id).ok().filter(|number| self.servers[*number].state == State::Up);
        number.ok_or_else(|| Fail::new(Code::Denied, "this server has not introduced itself"))
    }

    fn id(&self, number: u16) -> &str {
        &self.servers[usize::from(number)].id
    }
}
