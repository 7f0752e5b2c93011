//! What main servers are given: their portion page by page, and what has changed since.

use super::Network;
use super::State;
use crate::route::entry;
use crate::route::plan::NONE;
use crate::wire::Code;
use crate::wire::Fail;
use std::sync::Arc;

/// Cursors below it are of routes, those from it on are of users.
const USERS_FROM: u64 = 1 << 32;

/// One ROUTES packet: `version LF checksum LF lines`, the lines being `routes` and then `users`.
#[derive(Clone, Debug)]
pub struct Update {
    /// The server to send it to.
    pub server: Arc<str>,
    /// The version after it.
    pub version: u64,
    /// The checksum of the server's portion after it.
    pub checksum: u64,
    /// Lines for this server alone; each ends with LF.
    pub routes: String,
    /// Lines that are the same for all; each ends with LF.
    pub users: Arc<str>,
}

/// The answer to PORTION.
#[derive(Clone, Debug)]
pub struct Page {
    /// To be sent to the server before the answer, in this order.
    pub before: Vec<Update>,
    /// The cursor of the next page; none: this was the last one, and now the checksum must be right.
    pub next: Option<u64>,
    /// The version of this page.
    pub version: u64,
    /// The checksum of the server's portion after the last page.
    pub checksum: u64,
    /// Each ends with LF.
    pub lines: String,
}

impl Network {
    /// The checksum of a server's portion as it is now; 0 for an unknown server.
    pub fn checksum(&self, id: &str) -> u64 {
        self.known(id).map_or(0, |number| self.users_sum.wrapping_add(self.servers[number].routes_sum))
    }

    /// Whether `take` would find anything.
    pub fn has_news(&self) -> bool {
        let end = self.log.end();
        let news = |server: &super::Server| server.next_chunk < end || !server.pending.is_empty();
        self.log.is_open() || self.servers.iter().any(|server| server.listens && news(server))
    }

    /// What is new, for every server that has begun to load its portion. For one server, in the order in which it must
    /// be sent.
    pub fn take(&mut self) -> Vec<Update> {
        self.log.close();
        let mut updates = Vec::new();
        for number in 0..self.servers.len() {
            if self.servers[number].listens {
                self.take_for(number, &mut updates);
            }
        }
        self.log.drop_before(self.log.end());
        updates
    }

    fn take_for(&mut self, number: usize, updates: &mut Vec<Update>) {
        let mut routes = String::new();
        for target in std::mem::take(&mut self.servers[number].pending) {
            let next = self.servers[number].column.get(usize::from(target)).copied().unwrap_or(NONE);
            self.put_route(&mut routes, usize::from(target), next);
        }
        let end = self.log.end();
        let server = &mut self.servers[number];
        let first = std::mem::replace(&mut server.next_chunk, end);
        // Routes first: what is for users that are gone has time.
        for chunk in self.log.since(first) {
            updates.push(Update {
                server: server.id.clone(),
                version: chunk.version,
                checksum: chunk.users_sum.wrapping_add(server.routes_sum),
                routes: std::mem::take(&mut routes),
                users: chunk.lines.clone(),
            });
        }
        if !routes.is_empty() {
            let (version, checksum) = (self.version, self.users_sum.wrapping_add(server.routes_sum));
            updates.push(Update { server: server.id.clone(), version, checksum, routes, users: Arc::from("") });
        }
    }

    /// A page of a server's portion, of about `max_bytes` of lines; `cursor` is 0 at first. Changes may go on between the
    /// pages: the server gets them as updates, and all lines are absolute, so that after the last page it has
    /// the state of that moment.
    ///
    /// # Errors
    /// DENIED: the server is not up. BADARGS: not a cursor of this portion, or it did not begin with 0.
    pub fn page(&mut self, id: &str, cursor: u64, max_bytes: usize) -> Result<Page, Fail> {
        let number = self.known(id).ok().filter(|number| self.servers[*number].state == State::Up);
        let number = number.ok_or_else(|| Fail::new(Code::Denied, "this server has not introduced itself"))?;
        if cursor == 0 {
            self.log.close();
            let end = self.log.end();
            let server = &mut self.servers[number];
            // One that loads anew while it listens has missed nothing: it goes on where it is.
            if !std::mem::replace(&mut server.listens, true) {
                server.next_chunk = end;
                server.pending.clear();
            }
        }
        if !self.servers[number].listens {
            return Err(Fail::bad_args("a portion is loaded from cursor 0 on"));
        }
        let (lines, next) = self.lines(number, cursor, max_bytes)?;
        let mut before = Vec::new();
        if next.is_none() {
            self.log.close();
            self.take_for(number, &mut before);
            let slowest = self.servers.iter().filter(|server| server.listens).map(|server| server.next_chunk).min();
            self.log.drop_before(slowest.unwrap_or(0));
        }
        Ok(Page { before, next, version: self.version, checksum: self.checksum(id), lines })
    }

    fn lines(&self, number: usize, mut cursor: u64, max_bytes: usize) -> Result<(String, Option<u64>), Fail> {
        let mut lines = String::new();
        if cursor < USERS_FROM {
            let column = &self.servers[number].column;
            for (target, next) in column.iter().enumerate().skip(cursor as usize) {
                if lines.len() >= max_bytes {
                    return Ok((lines, Some(target as u64)));
                }
                if *next != NONE {
                    self.put_route(&mut lines, target, *next);
                }
            }
            cursor = USERS_FROM;
        }
        let first = usize::try_from(cursor - USERS_FROM).ok().filter(|first| *first <= self.users.len());
        let first = first.ok_or_else(|| Fail::bad_args("not a cursor"))?;
        for (slot, user) in self.users.iter().enumerate().skip(first) {
            if lines.len() >= max_bytes {
                return Ok((lines, Some(USERS_FROM + slot as u64)));
            }
            if let Some(user) = user {
                let ids = user.at.iter().map(|place| &*self.servers[usize::from(place.server)].id);
                entry::put_user(&mut lines, &user.name, ids);
            }
        }
        Ok((lines, None))
    }

    fn put_route(&self, out: &mut String, target: usize, next: u16) {
        let next = self.servers.get(usize::from(next)).map(|server| &*server.id);
        entry::put_route(out, &self.servers[target].id, next);
    }
}
