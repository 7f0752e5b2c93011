//! A main server's portion of the route table. `S` is how the holder names a session of its own.

mod apply;

use super::index::Index;
use super::members::Members;
use super::Few;
use super::SERVERS;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;
use std::collections::HashMap;

/// A user in a `Table`; cheap to keep, and harmless when the user has gone meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserRef {
    index: u32,
    generation: u32,
}

/// A server in a `Table`. Given once, and for the table's whole life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerNo(u32);

impl ServerNo {
    /// From 0, without gaps: for lists with a place for each server.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// The server whose `index` that is.
    pub fn from_index(index: usize) -> ServerNo {
        ServerNo(index as u32)
    }
}

/// A user who is signed on, here or elsewhere.
#[derive(Debug)]
pub struct User<S> {
    /// The name as registered: management's spelling, once it has told.
    pub name: Box<str>,
    /// The user's sessions on this server, oldest first.
    pub here: Few<S>,
    /// The servers where the user is signed on, this one among them: management's word, sorted by id.
    pub at: Few<ServerNo>,
    /// Free for the holder's use; 0 at first.
    pub mark: u64,
}

/// What a line has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A user is signed on elsewhere than before. If the user is nowhere now and has no session here, the reference finds
    /// nobody any more.
    User {
        /// Who.
        user: UserRef,
        /// Where the user was before and is not any more.
        gone: Vec<ServerNo>,
    },
    /// The way to a server.
    Route(ServerNo),
    /// One session has moved. The user's own line follows, if it changes.
    Moved {
        /// Of the redirect.
        id: Box<str>,
        /// The user, as registered.
        name: Box<str>,
        /// The server that had the session.
        from: ServerNo,
        /// The server that has it now.
        to: ServerNo,
    },
}

#[derive(Debug)]
struct Slot<S> {
    generation: u32,
    /// The load in which management has told where the user is: only then the entry is in the checksum.
    load: u32,
    user: Option<User<S>>,
}

#[derive(Debug)]
struct Server {
    id: Box<str>,
    next: Option<ServerNo>,
    /// As in `Slot`, of the next hop.
    load: u32,
    /// Slots of the users who are signed on there.
    users: Members,
}

/// One main server's portion of the route table.
pub struct Table<S> {
    names: Index,
    slots: Vec<Slot<S>>,
    free: Vec<u32>,
    numbers: HashMap<Box<str>, ServerNo>,
    servers: Vec<Server>,
    own: Option<ServerNo>,
    checksum: u64,
    /// How often loading has begun.
    load: u32,
}

impl<S> Default for Table<S> {
    fn default() -> Table<S> {
        Table {
            names: Index::default(),
            slots: Vec::new(),
            free: Vec::new(),
            numbers: HashMap::new(),
            servers: Vec::new(),
            own: None,
            checksum: 0,
            load: 0,
        }
    }
}

impl<S: Copy + PartialEq> Table<S> {
    /// The user of that name, in any case, if signed on anywhere.
    pub fn find(&self, user: &str) -> Option<UserRef> {
        let folded = name::fold(user);
        let index = self.names.find(&folded, |slot| self.is(slot, &folded))?;
        let slot = self.slots.get(index as usize)?;
        Some(UserRef { index, generation: slot.generation })
    }

    fn is(&self, slot: u32, folded: &str) -> bool {
        let user = self.slots.get(slot as usize).and_then(|slot| slot.user.as_ref());
        user.is_some_and(|user| name::fold(&user.name) == folded)
    }

    /// The user, unless gone since.
    pub fn get(&self, user: UserRef) -> Option<&User<S>> {
        let slot = self.slots.get(user.index as usize)?;
        if slot.generation != user.generation {
            return None;
        }
        slot.user.as_ref()
    }

    /// The user, unless gone since. Only `mark` is the holder's to change.
    pub fn get_mut(&mut self, user: UserRef) -> Option<&mut User<S>> {
        let slot = self.slots.get_mut(user.index as usize)?;
        if slot.generation != user.generation {
            return None;
        }
        slot.user.as_mut()
    }

    /// A session of the user begins here.
    pub fn sign_on(&mut self, user: &str, session: S) -> UserRef {
        let found = self.find(user).unwrap_or_else(|| self.add(user));
        if let Some(user) = self.get_mut(found) {
            user.here.push(session);
        }
        found
    }

    fn add(&mut self, user: &str) -> UserRef {
        let index = self.free.pop().unwrap_or_else(|| {
            // From 1, so that the default reference is nobody's.
            self.slots.push(Slot { generation: 1, load: 0, user: None });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.user = Some(User { name: Box::from(user), here: Few::default(), at: Few::default(), mark: 0 });
        self.names.insert(&name::fold(user), index);
        UserRef { index, generation: slot.generation }
    }

    /// A session of the user ends. Returns how many the user still has here.
    pub fn sign_off(&mut self, user: UserRef, session: S) -> usize {
        let Some(entry) = self.get_mut(user) else { return 0 };
        entry.here.retain(|one| *one != session);
        let left = entry.here.len();
        self.tidy(user);
        left
    }

    /// A user without a session here, who is nowhere else, has no entry.
    fn tidy(&mut self, user: UserRef) {
        let Some(slot) = self.slots.get_mut(user.index as usize) else { return };
        let over = slot.user.as_ref().is_some_and(|entry| entry.here.is_empty() && entry.at.is_empty());
        if slot.generation != user.generation || !over {
            return;
        }
        let folded = slot.user.as_ref().map(|entry| name::fold(&entry.name).into_owned()).unwrap_or_default();
        self.names.remove(&folded, user.index);
        slot.user = None;
        slot.generation = slot.generation.wrapping_add(1).max(1);
        self.free.push(user.index);
    }

    /// Every user who is signed on, here or elsewhere.
    pub fn users(&self) -> impl Iterator<Item = &User<S>> {
        self.slots.iter().filter_map(|slot| slot.user.as_ref())
    }

    /// The users with a session here.
    pub fn users_here(&self) -> impl Iterator<Item = &User<S>> {
        self.users().filter(|user| !user.here.is_empty())
    }

    /// How many users are signed on, here or elsewhere.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether nobody is signed on.
    pub fn is_empty(&self) -> bool {
        self.names.len() == 0
    }

    /// The number of a server; it gets one if it has none.
    ///
    /// # Errors
    /// BADARGS: no good name. LIMIT: too many servers.
    pub fn server(&mut self, id: &str) -> Result<ServerNo, Fail> {
        if let Some(known) = self.numbers.get(id) {
            return Ok(*known);
        }
        name::check(id)?;
        if self.servers.len() >= SERVERS {
            return Err(Fail::new(Code::Limit, "too many servers for one table"));
        }
        let number = ServerNo(self.servers.len() as u32);
        self.servers.push(Server { id: Box::from(id), next: None, load: 0, users: Members::default() });
        self.numbers.insert(Box::from(id), number);
        Ok(number)
    }

    /// The number of a server that has one.
    pub fn server_no(&self, id: &str) -> Option<ServerNo> {
        self.numbers.get(id).copied()
    }

    /// The id of a server of this table.
    pub fn server_id(&self, server: ServerNo) -> &str {
        self.servers.get(server.index()).map_or("", |server| &server.id)
    }

    /// Says which server holds this table: a route to it or through it is refused from now on.
    ///
    /// # Errors
    /// As `server`.
    pub fn set_own(&mut self, id: &str) -> Result<ServerNo, Fail> {
        let own = self.server(id)?;
        self.own = Some(own);
        Ok(own)
    }

    /// The neighbour to which what is for `server` is sent; none: no way, or this server itself.
    pub fn next_hop(&self, server: ServerNo) -> Option<ServerNo> {
        self.servers.get(server.index())?.next
    }

    /// The sum over all entries that management has told. `entry::checksum_text` writes it.
    pub fn checksum(&self) -> u64 {
        self.checksum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::entry;

    #[test]
    fn names_are_found_in_any_case_and_shown_as_registered() {
        let mut table = Table::default();
        let user = table.sign_on("Alice", 1);
        assert_eq!(table.sign_on("ALICE", 2), user);
        assert_eq!(table.find("alice"), Some(user));
        let found = table.get(user).unwrap();
        assert_eq!((&*found.name, &*found.here), ("Alice", &[1, 2][..]));
    }

    #[test]
    fn an_old_reference_never_finds_the_next_user() {
        let mut table = Table::default();
        let alice = table.sign_on("alice", 1);
        assert_eq!(table.sign_off(alice, 9), 1);
        assert_eq!(table.sign_off(alice, 1), 0);
        let bob = table.sign_on("bob", 1);
        assert!(table.get(alice).is_none());
        assert_eq!(table.sign_off(alice, 1), 0);
        assert!(table.get(bob).is_some());
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn an_entry_stays_while_there_is_a_session_or_a_place() {
        let mut table = Table::default();
        let alice = table.sign_on("alice", 1);
        let (a, b) = (table.server("a").unwrap(), table.server("b").unwrap());
        // Management writes the name otherwise: it is one user, and management's spelling counts.
        assert_eq!(table.apply("u|Alice|a|b\n").unwrap(), [Change::User { user: alice, gone: vec![] }]);
        assert_eq!((&*table.get(alice).unwrap().name, &*table.get(alice).unwrap().at), ("Alice", &[a, b][..]));
        assert_eq!(table.checksum(), entry::hash("u|Alice|a|b"));
        table.get_mut(alice).unwrap().mark = 7;
        assert_eq!(table.sign_off(alice, 1), 0);
        assert_eq!(table.get(alice).unwrap().mark, 7);
        assert_eq!((table.users().count(), table.users_here().count()), (1, 0));
        assert_eq!(table.apply("u|Alice|b").unwrap(), [Change::User { user: alice, gone: vec![a] }]);
        assert_eq!(table.apply("u|Alice|b").unwrap(), []);
        assert_eq!(table.apply("u|Alice|").unwrap(), [Change::User { user: alice, gone: vec![b] }]);
        assert!(table.get(alice).is_none() && table.is_empty());
        assert_eq!((table.checksum(), table.apply("u|nobody|").unwrap()), (0, vec![]));
    }

    #[test]
    fn there_is_a_bound_on_servers_and_an_entry_is_one_cache_line() {
        let mut table = Table::<u64>::default();
        for n in 0..SERVERS {
            table.server(&format!("s{n}")).unwrap();
        }
        assert_eq!(table.server("more").unwrap_err().code, Code::Limit);
        assert!(table.server("s7").is_ok() && table.apply("u|bob|more").is_err());
        assert_eq!(std::mem::size_of::<Slot<u64>>(), 64);
    }
}
