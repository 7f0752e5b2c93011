//! What a role sees of the engine: its links, and the effects it may ask for. Pure: a driver carries effects out.

use std::any::Any;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::task::Waker;

use rand::rngs::StdRng;
use rand::SeedableRng;

use super::command::Command;
use super::command::Later;
use super::command::Role;
use super::ids::Ids;
use super::incoming::Incoming;
use super::limits;
use super::limits::Limits;
use super::link::Link;
use super::link::Slot;
use super::outbox::Outbox;
use super::outbox::Pool;
use crate::config::PortKey;
use crate::voice;
use crate::wire::raw;
use crate::wire::Code;
use crate::wire::Fail;

pub use super::effect::Connect;
pub use super::effect::Fingerprint;
pub use super::effect::Job;
pub use super::effect::JobResult;
pub use super::effect::Lane;
pub use super::effect::Target;
pub use super::effect::Verify;
pub use super::effect::Work;
pub use super::ids::put_number;
pub use super::ids::Words;
pub use super::link::Info;
pub use super::link::LinkId;
pub(super) use super::link::State;

type ThenJob<R> = Box<dyn FnOnce(&mut R, &mut Ctx<R>, JobResult) + Send>;
type ThenTime<R> = Box<dyn FnOnce(&mut R, &mut Ctx<R>) + Send>;

/// Counters for `status` and for tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets read.
    pub packets: u64,
    /// Links accepted.
    pub accepted: u64,
    /// Links closed because their reader stalled.
    pub stalled: u64,
    /// Links closed because too many waited.
    pub evicted: u64,
    /// Bytes read from other processes, without TLS.
    pub bytes_in: u64,
    /// Bytes given to be written to them, without TLS.
    pub bytes_out: u64,
}

/// A role's view of the engine.
pub struct Ctx<R: Role> {
    pub(super) now: u64,
    pub(super) rng: StdRng,
    pub(super) limits: Limits,
    pub(super) slots: Vec<Slot<R>>,
    pub(super) free: Vec<u32>,
    pub(super) open_links: usize,
    pub(super) waiting: usize,
    pub(super) total: usize,
    pub(super) dirty: Vec<LinkId>,
    /// Of links that are gone.
    pub(super) orphans: Vec<Waker>,
    pub(super) connects: Vec<Connect>,
    pub(super) jobs: Vec<Job>,
    pub(super) voice: Vec<voice::Order>,
    pub(super) job_thens: HashMap<u64, (Lane, ThenJob<R>)>,
    pub(super) jobs_open: [usize; 3],
    pub(super) refused_jobs: Vec<(u64, Fail)>,
    pub(super) timers: BTreeMap<(u64, u64), ThenTime<R>>,
    pub(super) next_token: u64,
    pub(super) pool: Pool,
    pub(super) counters: Counters,
    pub(super) stopping: bool,
}

impl<R: Role> Ctx<R> {
    pub(super) fn new(limits: Limits, seed: [u8; 32], now: u64) -> Ctx<R> {
        Ctx {
            now,
            rng: StdRng::from_seed(seed),
            limits,
            slots: Vec::new(),
            free: Vec::new(),
            open_links: 0,
            waiting: 0,
            total: 0,
            dirty: Vec::new(),
            orphans: Vec::new(),
            connects: Vec::new(),
            jobs: Vec::new(),
            voice: Vec::new(),
            job_thens: HashMap::new(),
            jobs_open: [0; 3],
            refused_jobs: Vec::new(),
            timers: BTreeMap::new(),
            next_token: 1,
            pool: Pool::default(),
            counters: Counters::default(),
            stopping: false,
        }
    }

    /// Unix milliseconds; the same for a whole event.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The role's random source: of the system in a process, of the seed in a simulation.
    pub fn rng(&mut self) -> &mut StdRng {
        &mut self.rng
    }

    /// Whether the process is about to stop: no new link is of use.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// The bounds in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Links there are, of all states.
    pub fn links(&self) -> usize {
        self.open_links
    }

    /// Asks for something of the thread that has the UDP sockets of voice. Where there is none, as in a simulation, nothing happens.
    pub fn voice(&mut self, order: voice::Order) {
        self.voice.push(order);
    }

    /// Bytes queued or unproven, over all links.
    pub fn queued(&self) -> usize {
        self.total
    }

    pub(super) fn slot(&self, id: LinkId) -> Option<&Link<R>> {
        let slot = self.slots.get(id.index as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        slot.link.as_deref()
    }

    pub(super) fn slot_mut(&mut self, id: LinkId) -> Option<&mut Link<R>> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        slot.link.as_deref_mut()
    }

    /// What the role remembers of a link; None when it is gone.
    pub fn peer(&mut self, link: LinkId) -> Option<&mut R::Peer> {
        self.slot_mut(link).map(|link| &mut link.peer)
    }

    /// The same, to look at.
    pub fn peer_ref(&self, link: LinkId) -> Option<&R::Peer> {
        self.slot(link).map(|link| &link.peer)
    }

    /// Facts about a link; None when it is gone.
    pub fn info(&self, link: LinkId) -> Option<&Info> {
        self.slot(link).map(|link| &link.info)
    }

    /// Whether packets can be queued on the link.
    pub fn is_open(&self, link: LinkId) -> bool {
        self.slot(link).is_some_and(|link| link.state == State::Open)
    }

    /// Since when nothing can be queued on the link any more; None while it is open.
    pub fn closing_since(&self, link: LinkId) -> Option<u64> {
        match self.slot(link) {
            Some(link) if link.state == State::Open => None,
            Some(link) => Some(link.closing_since),
            None => Some(0),
        }
    }

    /// The link has signed on: it may send large packets and is not one of those that wait.
    pub fn trust(&mut self, id: LinkId) {
        let Some(link) = self.slot_mut(id) else { return };
        if !std::mem::replace(&mut link.trusted, true) {
            self.waiting = self.waiting.saturating_sub(1);
        }
    }

    /// From now on, what the link's peer may not have read when the link goes is given to `Role::closed`.
    pub fn keep_undelivered(&mut self, id: LinkId) {
        if let Some(link) = self.slot_mut(id) {
            link.out.keep_unproven();
        }
    }

    /// Whether the link has brought a packet's beginning, so that its end is on its way.
    pub fn is_cut(&self, id: LinkId) -> bool {
        self.slot(id).is_some_and(|link| !link.incoming.is_empty())
    }

    /// Whether a packet can be queued now: FAIL OFFLINE when the link is not open, BUSY when its queue is full.
    pub fn room(&self, id: LinkId) -> Result<(), Fail> {
        match self.slot(id) {
            Some(link) => link.room(&self.limits, self.total),
            None => Err(Fail::new(Code::Offline, "not connected")),
        }
    }

    /// Bytes that are queued for the link and that its peer has not taken; for who drops what comes too late.
    pub fn queued_on(&self, id: LinkId) -> usize {
        self.slot(id).map_or(0, |link| link.out.waiting())
    }

    /// Queues a packet that has no answer, from parts that are escaped already: `words` (`COMMAND SP`, perhaps more), and
    /// what follows them. FAIL as `room`.
    #[inline]
    pub fn put(&mut self, id: LinkId, words: &Words, rest: &[u8]) -> Result<(), Fail> {
        let (link, pool) = self.writable(id)?;
        link.put(words, rest, pool);
        Ok(())
    }

    /// Queues a packet that has no answer, from parts that are escaped already; the first begins with the command. FAIL as `room`.
    pub fn put_parts(&mut self, id: LinkId, parts: &[&[u8]]) -> Result<(), Fail> {
        let (link, pool) = self.writable(id)?;
        let length = parts.iter().map(|part| part.len()).sum::<usize>() + 1;
        let out = link.head_of(length, pool);
        out.reserve(length);
        for part in parts {
            out.extend_from_slice(part);
        }
        out.push(b'\n');
        Ok(())
    }

    /// A link that has room, and is written to now. FAIL as `room`.
    #[inline]
    pub(super) fn writable(&mut self, id: LinkId) -> Result<(&mut Link<R>, &mut Pool), Fail> {
        // Looked up by hand, as the borrow must not hold `self.dirty`.
        let slot = self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation);
        let Some(link) = slot.and_then(|slot| slot.link.as_deref_mut()) else {
            return Err(Fail::new(Code::Offline, "not connected"));
        };
        link.room(&self.limits, self.total)?;
        if !std::mem::replace(&mut link.dirty, true) {
            self.dirty.push(id);
        }
        Ok((link, &mut self.pool))
    }

    /// Queues a packet with DATA that is escaped already, whatever is queued before it.
    pub fn push_kept(&mut self, id: LinkId, command: &str, data: &[u8]) {
        let slot = self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation);
        let link = slot.and_then(|slot| slot.link.as_deref_mut()).filter(|link| link.state == State::Open);
        let Some(link) = link else { return };
        let out = link.head(command.as_bytes(), &mut self.pool);
        out.push(b' ');
        out.extend_from_slice(data);
        out.push(b'\n');
        if !std::mem::replace(&mut link.dirty, true) {
            self.dirty.push(id);
        }
    }

    /// Queues a packet that has no answer. FAIL as `room`.
    pub fn push(&mut self, id: LinkId, command: &str, fields: &[&[u8]]) -> Result<(), Fail> {
        let (link, pool) = self.writable(id)?;
        let buffer = link.head(command.as_bytes(), pool);
        buffer.push(b' ');
        for (n, field) in fields.iter().enumerate() {
            if n > 0 {
                buffer.extend_from_slice(raw::SEPARATOR);
            }
            raw::escape_into(buffer, field);
        }
        buffer.push(b'\n');
        // At once: the same may go to many links in one event.
        self.account(id);
        Ok(())
    }

    /// Brings the total up to date with a link.
    pub(super) fn account(&mut self, id: LinkId) {
        let slot = self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation);
        if let Some(link) = slot.and_then(|slot| slot.link.as_deref_mut()) {
            link.account(&mut self.total);
        }
    }

    pub(super) fn answered(&mut self, later: &Later) {
        if let Some(link) = self.slot_mut(later.link) {
            link.unanswered = link.unanswered.saturating_sub(1);
            link.weight = link.weight.saturating_sub(later.weight);
            // There may be nothing to write, but requests that waited for this. Even if it was woken before: a local link's
            // other end may have nothing more to take.
            if link.blocked {
                link.dirty = true;
                if self.dirty.last() != Some(&later.link) {
                    self.dirty.push(later.link);
                }
            }
        }
    }

    /// Says how many bytes a request that is answered later stands for: what it brings, and what it asks for. While the link has
    /// more than 16 MiB of them unanswered, nothing more is read from it.
    pub fn weigh(&mut self, later: &mut Later, bytes: u64) {
        if let Some(link) = self.slot_mut(later.link) {
            link.weight = link.weight.saturating_add(bytes);
            later.weight = later.weight.saturating_add(bytes);
        }
    }

    /// Answers a request that the role remembers by its packet ID. Nothing happens when the link is gone.
    pub fn answer_to(&mut self, id: LinkId, packet: &[u8], command: &[u8], result: Result<&[u8], &Fail>) {
        self.put_answer(id, packet, command, result);
    }

    /// Requests of the link that handlers have put off, and that are not answered.
    pub fn unanswered(&self, id: LinkId) -> usize {
        self.slot(id).map_or(0, |link| link.unanswered)
    }

    /// Makes a new link to `target`, whose end is of the kind `port`. `opened` or `closed` tells how it went.
    pub fn connect(&mut self, port: PortKey, target: Target, peer: R::Peer) -> LinkId {
        let internal = matches!(target, Target::Local(_));
        let info = Info { port, opener: true, remote: None, local: None, fingerprint: None };
        let link = self.insert(info, internal, true);
        if let Some(slot) = self.slot_mut(link) {
            slot.peer = peer;
        }
        self.connects.push(Connect { link, port, target });
        link
    }

    pub(super) fn insert(&mut self, info: Info, internal: bool, trusted: bool) -> LinkId {
        let (opener, greets) = (info.opener, info.port.greets());
        let link = Box::new(Link {
            info,
            state: State::Connecting,
            peer: R::Peer::default(),
            trusted,
            internal,
            foreign: false,
            blocked: false,
            paused: false,
            dirty: false,
            was_open: false,
            greets,
            incoming: Incoming::default(),
            out: Outbox::default(),
            ids: Ids::new(opener),
            requests: HashMap::new(),
            unanswered: 0,
            weight: 0,
            born: self.now,
            until: self.now.saturating_add(limits::HANDSHAKE),
            heard: self.now,
            pinged: false,
            stalled: None,
            closing_since: 0,
            why: String::new(),
            waker: None,
        });
        self.open_links += 1;
        if !trusted {
            self.waiting += 1;
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, link: None });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.link = Some(link);
        LinkId { index, generation: slot.generation }
    }

    /// Reads nothing more from the link until it is called with false: what the role passes on is not taken.
    pub fn pause(&mut self, id: LinkId, pause: bool) {
        let Some(link) = self.slot_mut(id) else { return };
        if std::mem::replace(&mut link.paused, pause) != pause && !pause && !std::mem::replace(&mut link.dirty, true) {
            self.dirty.push(id);
        }
    }

    /// Closes the link after what is queued is written.
    pub fn close(&mut self, id: LinkId, why: &str) {
        self.end(id, why, State::Closing);
    }

    /// Drops the link now.
    pub fn abort(&mut self, id: LinkId, why: &str) {
        self.end(id, why, State::Aborting);
    }

    fn end(&mut self, id: LinkId, why: &str, state: State) {
        let now = self.now;
        let Some(link) = self.slot_mut(id) else { return };
        if link.state == State::Aborting || link.state == state {
            return;
        }
        // Nothing was queued on a link that never opened.
        link.state = if link.state == State::Connecting { State::Aborting } else { state };
        link.closing_since = now;
        if link.why.is_empty() {
            link.why = why.to_owned();
        }
        // Even if it was woken before: its task may be waiting for a socket that takes nothing.
        link.dirty = true;
        self.dirty.push(id);
    }

    /// Runs `work` on a thread for long computations, then `then` in the role.
    pub fn heavy<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> Result<T, Fail> + Send + 'static,
        then: impl FnOnce(&mut R, &mut Ctx<R>, Result<T, Fail>) + Send + 'static,
    ) {
        self.job(Lane::Heavy, move |_| work(), then);
    }

    /// Changes the database on its writer thread; `then` runs after the commit. An Err undoes this job's changes alone.
    pub fn store<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&rusqlite::Connection) -> Result<T, Fail> + Send + 'static,
        then: impl FnOnce(&mut R, &mut Ctx<R>, Result<T, Fail>) + Send + 'static,
    ) {
        self.job(Lane::Store, with_database(work), then);
    }

    /// Reads the database on its reader thread.
    pub fn query<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&rusqlite::Connection) -> Result<T, Fail> + Send + 'static,
        then: impl FnOnce(&mut R, &mut Ctx<R>, Result<T, Fail>) + Send + 'static,
    ) {
        self.job(Lane::Query, with_database(work), then);
    }

    fn job<T: Send + 'static>(
        &mut self,
        lane: Lane,
        work: impl FnOnce(Option<&rusqlite::Connection>) -> Result<T, Fail> + Send + 'static,
        then: impl FnOnce(&mut R, &mut Ctx<R>, Result<T, Fail>) + Send + 'static,
    ) {
        let token = self.token();
        let open = &mut self.jobs_open[lane as usize];
        *open += 1;
        let full = *open > limits::JOBS;
        let then = move |role: &mut R, ctx: &mut Ctx<R>, result: JobResult| {
            let result = result.and_then(|value| match value.downcast::<T>() {
                Ok(value) => Ok(*value),
                Err(_) => Err(Fail::internal("a job returned another type")),
            });
            then(role, ctx, result);
        };
        self.job_thens.insert(token, (lane, Box::new(then)));
        if full {
            self.refused_jobs.push((token, Fail::new(Code::Busy, "the server is busy; retry later")));
            return;
        }
        let work: Work =
            Box::new(move |connection| work(connection).map(|value| Box::new(value) as Box<dyn Any + Send>));
        self.jobs.push(Job { lane, token, work });
    }

    /// Runs `then` once, `delay` milliseconds from now; 0: right after the running handler.
    pub fn after(&mut self, delay: u64, then: impl FnOnce(&mut R, &mut Ctx<R>) + Send + 'static) {
        let token = self.token();
        self.timers.insert((self.now.saturating_add(delay), token), Box::new(then));
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }
}

fn with_database<T>(
    work: impl FnOnce(&rusqlite::Connection) -> Result<T, Fail>,
) -> impl FnOnce(Option<&rusqlite::Connection>) -> Result<T, Fail> {
    move |connection| match connection {
        Some(connection) => work(connection),
        None => Err(Fail::internal("this role has no database")),
    }
}

/// The rows of a role's table that are known on `port`.
pub(super) fn rows<R: Role>(port: PortKey) -> impl Iterator<Item = &'static Command<R>> {
    R::commands().iter().filter(move |row| row.ports.contains(&port))
}
