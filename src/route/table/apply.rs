//! Management's word comes in: a whole portion, or what has changed.

use super::Change;
use super::ServerNo;
use super::Slot;
use super::Table;
use super::UserRef;
use crate::route::entry;
use crate::route::entry::Entry;
use crate::route::entry::Places;
use crate::route::Few;
use crate::route::USERS;
use crate::wire::Code;
use crate::wire::Fail;

impl<S: Copy + PartialEq> Table<S> {
    /// The portion is loaded anew from here on: `apply` gets all of it, and updates in between, then comes `end_load`. What
    /// is known stays until then, as do references; the checksum is only of what has come since.
    pub fn begin_load(&mut self) {
        self.load = self.load.wrapping_add(1);
        self.checksum = 0;
    }

    /// The last page was applied: what did not come is not there any more. Does not change the checksum.
    pub fn end_load(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (number, server) in self.servers.iter_mut().enumerate() {
            if server.load != self.load && server.next.take().is_some() {
                changes.push(Change::Route(ServerNo(number as u32)));
            }
        }
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            let Some(user) = slot.user.as_mut().filter(|user| slot.load != self.load && !user.at.is_empty()) else {
                continue;
            };
            let gone = std::mem::take(&mut user.at).to_vec();
            let user = UserRef { index: index as u32, generation: slot.generation };
            self.left(&gone);
            self.tidy(user);
            changes.push(Change::User { user, gone });
        }
        changes
    }

    /// Forgets at once all that management has told. Sessions stay; references to users without one find nobody any more.
    pub fn forget(&mut self) {
        self.begin_load();
        self.end_load();
    }

    /// Applies lines of PORTION or ROUTES, in their order. A line that changes nothing yields no change.
    ///
    /// # Errors
    /// BADARGS or LIMIT: a line is wrong. Those before it were applied: the portion has to be loaded anew.
    pub fn apply(&mut self, lines: &str) -> Result<Vec<Change>, Fail> {
        let mut changes = Vec::new();
        for line in lines.split('\n').filter(|line| !line.is_empty()) {
            let change = match Entry::parse(line)? {
                Entry::User { name, at } => self.apply_user(name, at)?,
                Entry::Route { server, next } => self.apply_route(server, next)?,
                Entry::Gone { server } => {
                    self.apply_gone(server, &mut changes);
                    None
                }
                Entry::Moved { id, name, from, to } => {
                    let (from, to) = (self.server(from)?, self.server(to)?);
                    Some(Change::Moved { id: Box::from(id), name: Box::from(name), from, to })
                }
            };
            changes.extend(change);
        }
        Ok(changes)
    }

    fn apply_user(&mut self, name: &str, at: Places<'_>) -> Result<Option<Change>, Fail> {
        let at: Few<ServerNo> = at.iter().map(|id| self.server(id)).collect::<Result<_, _>>()?;
        let user = match self.find(name) {
            Some(user) => user,
            None if at.is_empty() => return Ok(None),
            None if self.len() >= USERS => return Err(Fail::new(Code::Limit, "too many users for one table")),
            None => self.add(name),
        };
        let counted = self.counts(user);
        let Some(entry) = self.get(user) else { return Ok(None) };
        let same = entry.at == at && (*entry.name == *name || at.is_empty());
        if same && counted {
            return Ok(None);
        }
        let gone: Vec<ServerNo> = entry.at.iter().filter(|server| !at.contains(server)).copied().collect();
        let come: Few<ServerNo> = at.iter().filter(|server| !entry.at.contains(server)).copied().collect();
        for server in &come {
            self.servers[server.index()].users.add(user.index);
        }
        let old = if counted { self.hash_of(user) } else { 0 };
        if let Some(slot) = self.slots.get_mut(user.index as usize) {
            slot.load = self.load;
            if let Some(entry) = &mut slot.user {
                entry.at = at;
                // Only its case can differ.
                if *entry.name != *name {
                    entry.name = Box::from(name);
                }
            }
        }
        self.checksum = self.checksum.wrapping_sub(old).wrapping_add(self.hash_of(user));
        self.left(&gone);
        self.tidy(user);
        Ok(Some(Change::User { user, gone }).filter(|_| !same))
    }

    /// Whether a user's entry is in the checksum.
    fn counts(&self, user: UserRef) -> bool {
        self.slots.get(user.index as usize).is_some_and(|slot| slot.load == self.load)
    }

    fn hash_of(&self, user: UserRef) -> u64 {
        let ids = |at: &ServerNo| self.servers.get(at.index()).map_or("", |server| &*server.id);
        self.get(user).map_or(0, |entry| entry::user_hash(&entry.name, entry.at.iter().map(ids)))
    }

    fn left(&mut self, gone: &[ServerNo]) {
        let Table { servers, slots, .. } = self;
        for server in gone {
            servers[server.index()].users.left(|slot| is_at(slots, slot, *server));
        }
    }

    /// Nobody is signed on at a server any more.
    fn apply_gone(&mut self, id: &str, changes: &mut Vec<Change>) {
        let Some(server) = self.server_no(id) else { return };
        let Table { servers, slots, .. } = self;
        let users = servers[server.index()].users.take(|slot| is_at(slots, slot, server));
        for index in users {
            let user = UserRef { index, generation: self.slots[index as usize].generation };
            let old = self.hash_of(user);
            if let Some(entry) = self.get_mut(user) {
                entry.at.retain(|one| *one != server);
            }
            if self.counts(user) {
                self.checksum = self.checksum.wrapping_sub(old).wrapping_add(self.hash_of(user));
            }
            self.tidy(user);
            changes.push(Change::User { user, gone: vec![server] });
        }
    }

    fn apply_route(&mut self, server: &str, next: Option<&str>) -> Result<Option<Change>, Fail> {
        let number = self.server(server)?;
        let hop = next.map(|next| self.server(next)).transpose()?;
        if self.own.is_some() && (self.own == Some(number) || self.own == hop) {
            return Err(Fail::bad_args("a route to this server itself, or through it"));
        }
        let old = self.next_hop(number);
        let entry = &mut self.servers[number.index()];
        let counted = std::mem::replace(&mut entry.load, self.load) == self.load;
        entry.next = hop;
        let old_hash = match old.filter(|_| counted) {
            Some(old) => entry::route_hash(server, Some(self.server_id(old))),
            None => 0,
        };
        self.checksum = self.checksum.wrapping_sub(old_hash).wrapping_add(entry::route_hash(server, next));
        Ok(Some(Change::Route(number)).filter(|_| old != hop))
    }
}

fn is_at<S>(slots: &[Slot<S>], slot: u32, server: ServerNo) -> bool {
    let user = slots.get(slot as usize).and_then(|slot| slot.user.as_ref());
    user.is_some_and(|user| user.at.contains(&server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_and_moves() {
        let mut table = Table::<u32>::default();
        table.set_own("me").unwrap();
        let changes = table.apply("r|a|b\nr|b|b\nm|17|Bob|a|b\nu|Bob|b\n").unwrap();
        let (a, b) = (table.server_no("a").unwrap(), table.server_no("b").unwrap());
        let bob = table.find("bob").unwrap();
        let moved = Change::Moved { id: "17".into(), name: "Bob".into(), from: a, to: b };
        assert_eq!(changes, [Change::Route(a), Change::Route(b), moved, Change::User { user: bob, gone: vec![] }]);
        assert_eq!((table.next_hop(a), table.server_id(a)), (Some(b), "a"));
        let sum = ["r|a|b", "r|b|b", "u|Bob|b"].iter().fold(0u64, |sum, line| sum.wrapping_add(entry::hash(line)));
        assert_eq!(table.checksum(), sum);
        assert_eq!(table.apply("r|a|").unwrap(), [Change::Route(a)]);
        assert_eq!(table.next_hop(a), None);
        for bad in ["r|me|a", "r|a|me", "r|a|me\nr|b|", "u|bob|b|a", "x"] {
            assert!(table.apply(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_server_that_is_gone_takes_its_users_along() {
        let mut table = Table::default();
        let alice = table.sign_on("alice", 1);
        table.apply("u|alice|b|c\nu|bob|b\nu|carol|b\nu|carol|c\n").unwrap();
        let (bob, b) = (table.find("bob").unwrap(), table.server_no("b").unwrap());
        let changes = [alice, bob].map(|user| Change::User { user, gone: vec![b] });
        assert_eq!(table.apply("g|b\n").unwrap(), changes);
        assert_eq!(table.checksum(), entry::hash("u|alice|c").wrapping_add(entry::hash("u|carol|c")));
        assert!(table.get(bob).is_none() && table.len() == 2);
        assert_eq!(table.apply("g|b\ng|nobody").unwrap(), []);
    }

    #[test]
    fn forgetting_keeps_sessions() {
        let mut table = Table::default();
        let alice = table.sign_on("alice", 1);
        table.apply("r|a|b\nu|alice|a\nu|bob|b").unwrap();
        table.forget();
        assert_eq!((table.checksum(), table.len()), (0, 1));
        assert_eq!((&*table.get(alice).unwrap().here, table.get(alice).unwrap().at.len()), (&[1][..], 0));
        assert_eq!(table.next_hop(table.server_no("a").unwrap()), None);
    }

    #[test]
    fn a_new_load_tells_what_is_gone_and_keeps_references() {
        let mut table = Table::<u32>::default();
        table.apply("r|a|b\nr|b|b\nu|alice|a\nu|bob|b\nu|carol|a").unwrap();
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| table.find(name).unwrap());
        let [a, b] = ["a", "b"].map(|id| table.server_no(id).unwrap());
        table.begin_load();
        assert_eq!(table.apply("r|b|b\nu|alice|a\nu|bob|a").unwrap(), [Change::User { user: bob, gone: vec![b] }]);
        let sum = ["r|b|b", "u|alice|a", "u|bob|a"].iter().fold(0u64, |sum, line| sum.wrapping_add(entry::hash(line)));
        assert_eq!((table.checksum(), table.next_hop(a)), (sum, Some(b)));
        assert_eq!(table.end_load(), [Change::Route(a), Change::User { user: carol, gone: vec![a] }]);
        assert_eq!((table.checksum(), table.next_hop(a), table.len()), (sum, None, 2));
        assert!(table.get(alice).is_some() && table.get(carol).is_none());
        // One that is gone in the middle, whether or not it has come by then.
        table.begin_load();
        table.apply("u|bob|a\ng|a\nr|b|b").unwrap();
        assert!(table.end_load().is_empty() && table.is_empty());
        assert_eq!(table.checksum(), entry::hash("r|b|b"));
    }
}
