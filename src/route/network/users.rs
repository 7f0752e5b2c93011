//! Where users are, and each change of it as a line.

use super::Network;
use super::Place;
use super::Server;
use super::User;
use crate::route::entry;
use crate::route::Few;
use crate::route::USERS;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

impl Network {
    /// How many users have a session at a server.
    pub fn users_at(&self, id: &str) -> usize {
        self.known(id).map_or(0, |number| self.servers[number].users.count())
    }

    /// Where a user is signed on, with the number of sessions there; sorted by id.
    pub fn places(&self, user: &str) -> Vec<(&str, u32)> {
        let slot = self.find(user).and_then(|slot| self.users.get(slot as usize)?.as_ref());
        let places = slot.map_or(&[][..], |user| &user.at);
        places.iter().map(|place| (&*self.servers[usize::from(place.server)].id, place.sessions)).collect()
    }

    /// So many sessions a user has at a server; 0: none.
    ///
    /// # Errors
    /// DENIED: the server is not up. BADARGS: no good name. LIMIT: too many users, or servers of one user.
    pub fn presence(&mut self, id: &str, user: &str, sessions: u32) -> Result<(), Fail> {
        let number = self.known_up(id)? as u16;
        self.edit(user, Line::User, |places| places.set(number, |_| sessions))
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
        self.edit(user, Line::Moved([request, from, to]), |places| {
            places.set(source, |sessions| sessions.saturating_sub(1))?;
            places.set(target, |sessions| sessions.saturating_add(1))
        })
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
        let Ok(number) = self.known(id) else { return };
        for slot in self.slots_at(number) {
            let _ = self.edit_slot(slot, Line::User, |places| places.settle(number as u16));
        }
    }

    /// A server is gone: so are all sessions there.
    pub(super) fn all_gone(&mut self, number: usize) {
        let Network { servers, users, .. } = self;
        let over = servers[number].users.take(|slot| is_at(users, slot, number as u16));
        if over.is_empty() {
            return;
        }
        for slot in over {
            // Taking away passes no limit.
            let _ = self.edit_slot(slot, Line::None, |places| places.set(number as u16, |_| 0));
        }
        // One line for all of them: a tenth of a large network would be megabytes to every server that is left.
        self.write(|out, network| out.extend(["g|", network.id(number as u16), "\n"]));
    }

    fn find(&self, user: &str) -> Option<u32> {
        let folded = name::fold(user);
        let is =
            |slot: u32| matches!(self.users.get(slot as usize), Some(Some(user)) if name::fold(&user.name) == folded);
        self.names.find(&folded, is)
    }

    fn slots_at(&self, number: usize) -> Vec<u32> {
        self.servers[number].users.list(|slot| is_at(&self.users, slot, number as u16))
    }

    fn edit(
        &mut self,
        user: &str,
        line: Line<'_>,
        change: impl FnOnce(&mut Places<'_>) -> Result<(), Fail>,
    ) -> Result<(), Fail> {
        if let Some(slot) = self.find(user) {
            return self.edit_slot(slot, line, change);
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
        let result = self.edit_slot(slot, line, change);
        self.tidy(slot);
        result
    }

    /// Every change of a user goes through here: the sum, the lists of the servers, the line, the end of an empty entry.
    fn edit_slot(
        &mut self,
        slot: u32,
        line: Line<'_>,
        change: impl FnOnce(&mut Places<'_>) -> Result<(), Fail>,
    ) -> Result<(), Fail> {
        let Some(Some(user)) = self.users.get(slot as usize) else {
            return Err(Fail::internal("a name stands for no user"));
        };
        let mut places = Places { at: user.at.clone(), servers: &self.servers };
        change(&mut places)?;
        let new = places.at;
        let ids = |at: &Few<Place>| -> Few<&str> { at.iter().map(|place| self.id(place.server)).collect() };
        let (before, after) = (ids(&user.at), ids(&new));
        let sum = |ids: &Few<&str>| entry::user_hash(&user.name, ids.iter().copied());
        let difference = sum(&after).wrapping_sub(sum(&before));
        let same = before == after;
        let Some(Some(user)) = self.users.get_mut(slot as usize) else { return Ok(()) };
        let old = std::mem::replace(&mut user.at, new.clone());
        self.users_sum = self.users_sum.wrapping_add(difference);
        if !same {
            let Network { servers, users, .. } = self;
            for place in old.iter().filter(|old| new.iter().all(|new| new.server != old.server)) {
                servers[usize::from(place.server)].users.left(|slot| is_at(users, slot, place.server));
            }
            for place in new.iter().filter(|new| old.iter().all(|old| old.server != new.server)) {
                servers[usize::from(place.server)].users.add(slot);
            }
        }
        match line {
            Line::Moved(moved) => self.write(|out, network| network.put(out, slot, Some(moved), !same)),
            Line::User if !same => self.write(|out, network| network.put(out, slot, None, true)),
            Line::User | Line::None => {}
        }
        self.tidy(slot);
        Ok(())
    }

    /// Appends the lines of one change to the log, and numbers it.
    fn write(&mut self, lines: impl FnOnce(&mut String, &Network)) {
        self.version += 1;
        let mut out = std::mem::take(self.log.open());
        lines(&mut out, self);
        *self.log.open() = out;
        self.log.changed(self.version, self.users_sum);
    }

    fn put(&self, out: &mut String, slot: u32, moved: Option<[&str; 3]>, user: bool) {
        let Some(Some(User { name, at })) = self.users.get(slot as usize) else { return };
        if let Some([id, from, to]) = moved {
            out.extend(["m|", id, "|", name, "|", from, "|", to, "\n"]);
        }
        if user {
            entry::put_user(out, name, at.iter().map(|place| self.id(place.server)));
        }
    }

    /// A user who is nowhere has no entry.
    fn tidy(&mut self, slot: u32) {
        let Some(Some(user)) = self.users.get(slot as usize) else { return };
        if user.at.is_empty() {
            let folded = name::fold(&user.name).into_owned();
            self.names.remove(&folded, slot);
            self.users[slot as usize] = None;
            self.free.push(slot);
        }
    }
}

/// What a change of a user writes into the log.
enum Line<'a> {
    /// Nothing: another line says it.
    None,
    /// The user's line, if it is another than before.
    User,
    /// Before that, that a session has moved: request, from, to.
    Moved([&'a str; 3]),
}

fn is_at(users: &[Option<User>], slot: u32, server: u16) -> bool {
    let user = users.get(slot as usize).and_then(Option::as_ref);
    user.is_some_and(|user| user.at.iter().any(|place| place.server == server))
}

/// The places of a user while they are changed.
struct Places<'a> {
    at: Few<Place>,
    servers: &'a [Server],
}

impl Places<'_> {
    /// Ends the doubt: what was not reported again is over.
    fn settle(&mut self, server: u16) -> Result<(), Fail> {
        self.at.retain(|place| place.server != server || !place.doubtful);
        Ok(())
    }

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
