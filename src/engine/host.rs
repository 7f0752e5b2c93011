//! A host: one role with all its links. Bytes and events in, bytes and effects out; pure, so that a driver for sockets
//! and one for a simulation run the same code.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::task::Waker;

use super::chunk::Chunk;
use super::command::Answer;
use super::command::Command;
use super::command::Gone;
use super::command::Request;
use super::command::Role;
use super::ctx::rows;
use super::ctx::Ctx;
use super::ctx::Info;
use super::ctx::JobResult;
use super::ctx::LinkId;
use super::ctx::State;
use super::limits;
use super::limits::Limits;
use crate::config::PortKey;
use crate::voice;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Packet;
use crate::wire::Reply;

pub use super::effect::Effects;
pub use super::effect::Next;

/// One role with its links.
pub struct Host<R: Role> {
    role: R,
    ctx: Ctx<R>,
    /// The role's rows by port; index: the port's number.
    tables: Vec<Vec<&'static Command<R>>>,
    next_tick: u64,
}

impl<R: Role> Host<R> {
    /// A host that is not started. `seed` feeds the role's random source.
    pub fn new(role: R, limits: Limits, seed: [u8; 32], now: u64) -> Host<R> {
        let ports = PortKey::ALL.iter().copied().chain([PortKey::Admin]);
        let mut tables = Vec::new();
        for port in ports {
            let number = port as usize;
            if tables.len() <= number {
                tables.resize_with(number + 1, Vec::new);
            }
            tables[number] = rows::<R>(port).collect();
        }
        Host { role, ctx: Ctx::new(limits, seed, now), tables, next_tick: now }
    }

    /// Enters the role from outside: start-up, the client library's calls, tests.
    pub fn with<T>(&mut self, now: u64, run: impl FnOnce(&mut R, &mut Ctx<R>) -> T) -> T {
        self.ctx.now = self.ctx.now.max(now);
        let result = run(&mut self.role, &mut self.ctx);
        self.settle();
        result
    }

    /// Replaces the bounds in force (a reload).
    pub fn set_limits(&mut self, limits: Limits) {
        self.ctx.limits = limits;
    }

    /// A connection was accepted, before TLS. None: there are too many links; drop it.
    pub fn accepted(
        &mut self,
        now: u64,
        port: PortKey,
        remote: Option<IpAddr>,
        local: Option<SocketAddr>,
    ) -> Option<LinkId> {
        self.ctx.now = self.ctx.now.max(now);
        let internal = remote.is_none() && port != PortKey::Admin;
        if self.ctx.stopping || (self.ctx.open_links >= self.ctx.limits.links && !internal) {
            return None;
        }
        if self.ctx.waiting >= self.ctx.limits.waiting_links && !internal {
            self.evict();
        }
        self.ctx.counters.accepted += 1;
        let info = Info { port, opener: false, remote, local, fingerprint: None };
        Some(self.ctx.insert(info, internal, internal || port == PortKey::Admin))
    }

    /// Of the links that have not signed on, those that were silent longest go: some at a time, as looking for them costs.
    fn evict(&mut self) {
        let waiting = self.ctx.slots.iter().enumerate().filter_map(|(index, slot)| {
            let link = slot.link.as_deref()?;
            let candidate = !link.trusted && matches!(link.state, State::Connecting | State::Open);
            candidate.then_some((link.heard, index as u32, slot.generation))
        });
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_unstable();
        let some = (self.ctx.limits.waiting_links / 64).max(1);
        for (_, index, generation) in waiting.into_iter().take(some) {
            self.ctx.counters.evicted += 1;
            let link = LinkId { index, generation };
            self.ctx.abort(link, "too many connections wait for a sign-on");
            // Not one of those that wait any more.
            self.ctx.trust(link);
        }
    }

    /// The link is ready for packets. False: it is not wanted any more.
    pub fn open(&mut self, now: u64, link: LinkId, fill: impl FnOnce(&mut Info)) -> bool {
        self.ctx.now = self.ctx.now.max(now);
        let now = self.ctx.now;
        let Some(entry) = self.ctx.slot_mut(link).filter(|entry| entry.state == State::Connecting) else {
            return false;
        };
        entry.state = State::Open;
        entry.was_open = true;
        entry.heard = now;
        fill(&mut entry.info);
        if entry.info.opener {
            self.ctx.greet(link);
        }
        self.role.opened(&mut self.ctx, link);
        self.settle();
        true
    }

    /// The waker of the link's task, for the time until it first asks what to do next.
    pub fn set_waker(&mut self, link: LinkId, waker: &Waker) {
        if let Some(entry) = self.ctx.slot_mut(link) {
            entry.waker = Some(waker.clone());
        }
    }

    /// A link that is not open yet has come a step further: it has `time` for the next, and the time for its sign-on begins anew.
    pub fn extend(&mut self, now: u64, link: LinkId, time: u64) {
        self.ctx.now = self.ctx.now.max(now);
        let now = self.ctx.now;
        if let Some(entry) = self.ctx.slot_mut(link).filter(|entry| entry.state == State::Connecting) {
            (entry.born, entry.heard, entry.until) = (now, now, now.saturating_add(time));
        }
    }

    /// Whether the driver shall drop the link.
    pub fn is_aborted(&self, link: LinkId) -> bool {
        self.ctx.slot(link).is_none_or(|entry| entry.state == State::Aborting)
    }

    fn refuse(&mut self, id: LinkId, code: Code, text: &'static str) {
        self.ctx.put_answer(id, b"-0", b"ERROR", Err(&Fail::new(code, text)));
        self.ctx.close(id, text);
    }

    /// `alike`: the command is that of `last`.
    fn request(&mut self, request: &Request<'_>, alike: bool, last: &mut Option<&'static Command<R>>) {
        let Request { link: id, port, packet, .. } = *request;
        let row = match last {
            Some(row) if alike => Some(*row),
            _ => self.row(port, packet.command),
        };
        let Some(row) = row else {
            return self.built_in(id, packet);
        };
        *last = Some(row);
        let checked = row.check(&self.role, &self.ctx, request);
        let result = checked.and_then(|()| (row.run)(&mut self.role, &mut self.ctx, request));
        match result {
            Ok(Answer::Later) => {
                if let Some(entry) = self.ctx.slot_mut(id) {
                    entry.unanswered += 1;
                }
            }
            Ok(Answer::None) => {}
            // Nobody asked for this answer.
            Ok(_) if packet.id == b"0" => {}
            Ok(Answer::Ok) => self.ctx.put_answer(id, packet.id, packet.command, Ok(b"")),
            Ok(Answer::Data(data)) => self.ctx.put_answer(id, packet.id, packet.command, Ok(&data)),
            Err(fail) => self.ctx.put_answer(id, packet.id, packet.command, Err(&fail)),
        }
    }

    fn row(&self, port: PortKey, command: &[u8]) -> Option<&'static Command<R>> {
        self.tables.get(port as usize)?.iter().find(|row| row.name.as_bytes() == command).copied()
    }

    /// Commands that every port knows.
    fn built_in(&mut self, id: LinkId, packet: Packet<'_>) {
        match packet.command {
            b"PING" => self.ctx.put_answer(id, packet.id, packet.command, Ok(b"")),
            // The other side says that it closes, and why; answering a FAIL with a FAIL would never end.
            b"ERROR" => log::debug!("{}: the peer reports {}", R::NAME, packet.data.0.escape_ascii()),
            _ => {
                let fail = Fail::new(Code::BadCommand, "no such command here");
                self.ctx.put_answer(id, packet.id, packet.command, Err(&fail));
            }
        }
    }

    fn response(&mut self, id: LinkId, packet: Packet<'_>) {
        let slot = self.ctx.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation);
        let Some(entry) = slot.and_then(|slot| slot.link.as_deref_mut()) else { return };
        let digits = packet.id.strip_prefix(b"-").unwrap_or(packet.id);
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u64>().ok());
        let Some(number) = number else { return };
        if packet.command == b"PING" {
            entry.out.proven(number, &mut self.ctx.pool);
            self.ctx.account(id);
        }
        // A PING is the role's own as well, if it sent it as a request.
        let Some(then) = self.ctx.slot_mut(id).and_then(|entry| entry.requests.remove(&number)) else { return };
        let result = match Reply::parse(packet.data) {
            Ok(Reply::Ok(data)) => Ok(data),
            Ok(Reply::Fail(code, text)) => {
                Err(Fail::new(code, String::from_utf8_lossy(&text.unescape()).chars().take(500).collect::<String>()))
            }
            Err(_) => Err(Fail::new(Code::Internal, "the answer is neither OK nor FAIL")),
        };
        then.run(&mut self.role, &mut self.ctx, result);
    }

    /// The link's task has written `done` (if anything) and asks what next. Its waker is kept for when there is more.
    pub fn exchange(&mut self, now: u64, link: LinkId, done: Option<Chunk>, waker: Option<&Waker>) -> Next {
        self.ctx.now = self.ctx.now.max(now);
        let Ctx { slots, pool, .. } = &mut self.ctx;
        let slot = slots.get_mut(link.index as usize).filter(|slot| slot.generation == link.generation);
        let Some(entry) = slot.and_then(|slot| slot.link.as_deref_mut()) else { return Next::Finish };
        if entry.state == State::Aborting {
            // Written, but not proven read.
            if let Some(chunk) = done {
                entry.out.wrote(chunk, pool);
            }
            return Next::Finish;
        }
        // What is queued in here needs no wake-up: this task is awake.
        entry.dirty = true;
        if let Some(chunk) = done {
            entry.out.wrote(chunk, pool);
        }
        self.resume(link);
        let Some(entry) = self.ctx.slot_mut(link) else { return Next::Finish };
        if entry.out.is_drained() {
            entry.stalled = None;
            entry.dirty = false;
            match entry.state {
                State::Closing | State::Aborting => return Next::Finish,
                State::Connecting | State::Open => {}
            }
            if let Some(waker) = waker {
                if !entry.waker.as_ref().is_some_and(|old| old.will_wake(waker)) {
                    entry.waker = Some(waker.clone());
                }
            }
            let read = !entry.blocked && !entry.paused;
            let rest = entry.out.rest();
            self.ctx.pool.give(rest);
            self.ctx.account(link);
            return Next::Idle { read };
        }
        entry.dirty = true;
        let chunk = entry.take();
        if entry.info.remote.is_some() {
            self.ctx.counters.bytes_out += chunk.len() as u64;
        }
        self.ctx.account(link);
        Next::Write(chunk)
    }

    /// Whether the link's own outbox is over its bound, so that nothing more shall be read from it.
    pub fn is_blocked(&self, link: LinkId) -> bool {
        self.ctx.slot(link).is_some_and(|entry| entry.blocked || entry.paused)
    }

    /// The link is gone; `chunk` is what its task had not finished writing.
    pub fn gone(&mut self, now: u64, link: LinkId, chunk: Chunk, why: &str) {
        self.ctx.now = self.ctx.now.max(now);
        let Some(slot) = self.ctx.slots.get_mut(link.index as usize).filter(|s| s.generation == link.generation) else {
            return;
        };
        let Some(mut entry) = slot.link.take() else { return };
        if entry.internal {
            // The task of this direction may not be the one that found out.
            self.ctx.orphans.extend(entry.waker.take());
        }
        slot.generation = slot.generation.wrapping_add(1);
        self.ctx.free.push(link.index);
        self.ctx.open_links -= 1;
        if !entry.trusted {
            self.ctx.waiting = self.ctx.waiting.saturating_sub(1);
        }
        let undelivered = entry.out.undelivered(&chunk);
        entry.incoming = Default::default();
        entry.account(&mut self.ctx.total);
        for (_, then) in std::mem::take(&mut entry.requests) {
            let fail = Fail::new(Code::Unavailable, "the connection to a server that is needed broke; retry later");
            then.run(&mut self.role, &mut self.ctx, Err(fail));
        }
        let why = if entry.why.is_empty() { why.to_owned() } else { entry.why };
        let gone = Gone { port: entry.info.port, peer: entry.peer, was_open: entry.was_open, why, undelivered };
        self.role.closed(&mut self.ctx, link, gone);
        self.settle();
    }

    /// A job is done.
    pub fn finished(&mut self, now: u64, token: u64, result: JobResult) {
        self.ctx.now = self.ctx.now.max(now);
        self.finish(token, result);
        self.settle();
    }

    /// What the voice channels tell.
    pub fn voice(&mut self, now: u64, events: Vec<voice::Event>) {
        self.ctx.now = self.ctx.now.max(now);
        self.role.voice(&mut self.ctx, events);
        self.settle();
    }

    fn finish(&mut self, token: u64, result: JobResult) {
        if let Some((lane, then)) = self.ctx.job_thens.remove(&token) {
            let open = &mut self.ctx.jobs_open[lane as usize];
            *open = open.saturating_sub(1);
            then(&mut self.role, &mut self.ctx, result);
        }
    }

    /// Runs what is due.
    pub fn timers(&mut self, now: u64) {
        self.ctx.now = self.ctx.now.max(now);
        self.settle();
        if self.ctx.now >= self.next_tick {
            self.next_tick = self.ctx.now + limits::TICK;
            self.keep_alive();
            self.role.tick(&mut self.ctx);
            self.settle();
        }
    }

    /// Runs what became due by the event just handled.
    fn settle(&mut self) {
        loop {
            if let Some((token, fail)) = self.ctx.refused_jobs.pop() {
                self.finish(token, Err(fail));
                continue;
            }
            match self.ctx.timers.first_entry() {
                Some(first) if first.key().0 <= self.ctx.now => {
                    let then = first.remove();
                    then(&mut self.role, &mut self.ctx);
                }
                _ => break,
            }
        }
        self.role.settled(&mut self.ctx);
    }

    fn keep_alive(&mut self) {
        let now = self.ctx.now;
        let mut holders = Vec::new();
        for index in 0..self.ctx.slots.len() {
            let Some(slot) = self.ctx.slots.get_mut(index) else { continue };
            let id = LinkId { index: index as u32, generation: slot.generation };
            let Some(entry) = slot.link.as_deref_mut() else { continue };
            // A task whose socket takes nothing does not come by itself.
            let held = entry.account(&mut self.ctx.total);
            if entry.state == State::Open && !entry.internal && held > 0 {
                holders.push((held, id));
            }
            let silent = now.saturating_sub(entry.heard);
            let full = match (entry.internal, entry.info.remote) {
                (false, _) if entry.foreign => entry.out.waiting() > limits::FOREIGN_OUTBOX,
                (false, _) => entry.out.waiting() > self.ctx.limits.outbox,
                (true, Some(_)) => entry.out.waiting() > limits::INTERNAL_OUTBOX,
                (true, None) => false,
            };
            entry.stalled = if full { entry.stalled.or(Some(now)) } else { None };
            let stalled = entry.stalled.is_some_and(|since| now.saturating_sub(since) >= self.ctx.limits.stall);
            match entry.state {
                State::Aborting => {}
                State::Closing if now.saturating_sub(entry.closing_since) >= limits::CLOSING => {
                    self.ctx.abort(id, "the peer takes nothing more");
                }
                State::Closing => {}
                State::Connecting if now >= entry.until => {
                    self.ctx.abort(id, "the handshake took too long");
                }
                State::Connecting => {}
                State::Open if stalled => {
                    self.ctx.counters.stalled += 1;
                    self.ctx.abort(id, "the reader does not read");
                }
                // Silence is no fault of a link whose requests we do not read.
                State::Open if silent >= limits::SILENCE_GONE && !entry.blocked && !entry.paused => {
                    self.ctx.abort(id, "silent for too long")
                }
                State::Open
                    if !entry.trusted
                        && sign_on_within(entry.info.port)
                            .is_some_and(|limit| now.saturating_sub(entry.born) >= limit) =>
                {
                    self.ctx.abort(id, "no sign-on in time");
                }
                State::Open => {
                    if silent >= limits::SILENCE_PING && !entry.pinged {
                        entry.pinged = true;
                        entry.ping();
                        if !std::mem::replace(&mut entry.dirty, true) {
                            self.ctx.dirty.push(id);
                        }
                    }
                    if entry.out.wants_late_mark() {
                        entry.mark();
                        if !std::mem::replace(&mut entry.dirty, true) {
                            self.ctx.dirty.push(id);
                        }
                    }
                }
            }
        }
        self.shed(holders);
    }

    /// While all links together hold too much, those that hold most go: the others must not get BUSY for their sake.
    fn shed(&mut self, mut holders: Vec<(usize, LinkId)>) {
        let mut excess = self.ctx.total.saturating_sub(self.ctx.limits.outbox_total);
        if excess == 0 {
            return;
        }
        holders.sort_unstable();
        while let Some((held, id)) = holders.pop().filter(|_| excess > 0) {
            self.ctx.counters.stalled += 1;
            self.ctx.abort(id, "too much waits to be read by its peer");
            excess = excess.saturating_sub(held);
        }
    }

    /// The process will stop: the role says goodbye, every link is closed after what is queued.
    pub fn stop(&mut self, now: u64) {
        self.ctx.now = self.ctx.now.max(now);
        self.ctx.stopping = true;
        self.role.stop(&mut self.ctx);
        for index in 0..self.ctx.slots.len() {
            let Some(slot) = self.ctx.slots.get(index) else { continue };
            let id = LinkId { index: index as u32, generation: slot.generation };
            if slot.link.is_some() {
                self.ctx.close(id, "the server stops");
            }
        }
        self.settle();
    }

    /// Links and jobs that are not done yet.
    pub fn busy(&self) -> (usize, usize) {
        (self.ctx.open_links, self.ctx.jobs_open.iter().sum())
    }

    /// What the driver shall carry out now.
    pub fn effects(&mut self) -> Effects {
        let mut effects = Effects {
            wake: std::mem::take(&mut self.ctx.orphans),
            connects: std::mem::take(&mut self.ctx.connects),
            jobs: std::mem::take(&mut self.ctx.jobs),
            voice: std::mem::take(&mut self.ctx.voice),
            deadline: Some(self.ctx.timers.keys().next().map_or(self.next_tick, |first| first.0.min(self.next_tick))),
            ..Effects::default()
        };
        for at in 0..self.ctx.dirty.len() {
            let id = self.ctx.dirty[at];
            self.ctx.account(id);
            if let Some(entry) = self.ctx.slot(id) {
                match &entry.waker {
                    Some(waker) => effects.wake.push(waker.clone()),
                    None => effects.dirty.push(id),
                }
            }
        }
        self.ctx.dirty.clear();
        effects
    }
}

/// How soon a link on this port must sign on after it opens; None: it need not. Milliseconds.
fn sign_on_within(port: PortKey) -> Option<u64> {
    match port {
        PortKey::PublicManagement | PortKey::Validation | PortKey::ClientRealms | PortKey::Admin => None,
        PortKey::Realm | PortKey::Web => Some(limits::SIGN_ON_DOOR),
        _ => Some(limits::SIGN_ON),
    }
}

mod greet;
mod receive;
mod resume;
#[cfg(test)]
mod tests;
