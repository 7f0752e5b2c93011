//! A host's entry for one link: what it is, what waits to be written to it, what its peer owes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::task::Waker;

use super::chunk::Chunk;
use super::command::Role;
use super::ctx::Ctx;
use super::effect::Fingerprint;
use super::ids::Ids;
use super::ids::Words;
use super::incoming::Incoming;
use super::limits;
use super::limits::Limits;
use super::outbox::Outbox;
use super::outbox::Pool;
use crate::config::PortKey;
use crate::wire::Blob;
use crate::wire::Body;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// A link of one role. Never reused: a new link in the same place has another generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// Facts about a link.
#[derive(Clone, Debug)]
pub struct Info {
    /// The port, as a kind.
    pub port: PortKey,
    /// This side opened it.
    pub opener: bool,
    /// The peer's address; None for a local link.
    pub remote: Option<IpAddr>,
    /// This side's address; None for a local link.
    pub local: Option<SocketAddr>,
    /// Of the accepting side's certificate, on links with TLS: the peer's where this side opened it, else this side's own.
    pub fingerprint: Option<Fingerprint>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Connecting,
    Open,
    /// Writes what is queued, then closes; nothing more is read or queued.
    Closing,
    /// The driver shall drop it now.
    Aborting,
}

type ThenRaw<R> = Box<dyn FnOnce(&mut R, &mut Ctx<R>, Result<Raw<'_>, Fail>) + Send>;
type ThenBody<R> = Box<dyn FnOnce(&mut R, &mut Ctx<R>, Result<Body<'_>, Fail>) + Send>;

/// Who waits for an answer.
pub(super) enum ThenReply<R: Role> {
    /// Takes it as it stands on the wire.
    Raw(ThenRaw<R>),
    /// Takes a large one as a blob.
    Body(ThenBody<R>),
}

impl<R: Role> ThenReply<R> {
    pub(super) fn run(self, role: &mut R, ctx: &mut Ctx<R>, result: Result<Raw<'_>, Fail>) {
        match self {
            ThenReply::Raw(then) => then(role, ctx, result),
            ThenReply::Body(then) => then(role, ctx, result.map(Body::Raw)),
        }
    }
}

pub(super) struct Link<R: Role> {
    pub(super) info: Info,
    pub(super) state: State,
    pub(super) peer: R::Peer,
    /// Signed on, or needs no sign-on to be trusted with large packets.
    pub(super) trusted: bool,
    /// Between roles or servers of one network: other bounds.
    pub(super) internal: bool,
    /// To a server of another network.
    pub(super) foreign: bool,
    /// Has packets left unread, because its own outbox is over the bound or the role wants a pause.
    pub(super) blocked: bool,
    pub(super) paused: bool,
    /// Its task was woken, or will ask again by itself.
    pub(super) dirty: bool,
    pub(super) was_open: bool,
    /// `OpenGroove` comes first: it was not said so far.
    pub(super) greets: bool,
    pub(super) incoming: Incoming,
    pub(super) out: Outbox,
    pub(super) ids: Ids,
    pub(super) requests: HashMap<u64, ThenReply<R>>,
    /// Requests of the peer whose handlers returned `Answer::Later`, and that are not answered yet.
    pub(super) unanswered: usize,
    /// Bytes that they stand for, as far as their handlers have said.
    pub(super) weight: u64,
    pub(super) born: u64,
    /// Until when it must be open.
    pub(super) until: u64,
    pub(super) heard: u64,
    pub(super) pinged: bool,
    pub(super) stalled: Option<u64>,
    pub(super) closing_since: u64,
    pub(super) why: String,
    pub(super) waker: Option<Waker>,
}

impl<R: Role> Link<R> {
    #[inline]
    pub(super) fn room(&self, limits: &Limits, total: usize) -> Result<(), Fail> {
        if self.state != State::Open {
            return Err(Fail::new(Code::Offline, "not connected"));
        }
        let full = match self.internal {
            true => self.out.waiting() > limits::INTERNAL_OUTBOX,
            false if self.foreign => self.out.waiting() > limits::FOREIGN_OUTBOX,
            false => self.out.waiting() > limits.outbox || total > limits.outbox_total,
        };
        match full {
            true => Err(Fail::new(Code::Busy, "the queue to the recipient is full; retry later")),
            false => Ok(()),
        }
    }

    /// Whether its requests have to wait: until its answers are read, until those before them are answered, or until the
    /// role wants more.
    #[inline]
    pub(super) fn must_wait(&self, limits: &Limits, total: usize) -> bool {
        if self.paused {
            return true;
        }
        let waiting = self.out.waiting();
        if self.internal {
            // Two roles of one process must not wait for each other to read; another server that reads nothing is not read either.
            return self.weight >= limits::WEIGHT || (self.info.remote.is_some() && waiting > limits::INTERNAL_OUTBOX);
        }
        if self.foreign {
            // What either sends of its own accord does not fill this: so two servers do not wait for each other to read.
            let full = waiting > 2 * limits::FOREIGN_OUTBOX;
            return full || self.unanswered >= limits::UNANSWERED || self.weight >= limits::WEIGHT;
        }
        // One answer with a whole block does not count as full: the next one is asked for meanwhile.
        let full = waiting > limits.outbox + limits::AROUND || (waiting > 0 && total > limits.outbox_total);
        full || self.unanswered >= limits::UNANSWERED || self.weight >= limits::WEIGHT
    }

    /// Brings `total` up to date; returns what this link holds of it.
    pub(super) fn account(&mut self, total: &mut usize) -> usize {
        self.out.account(self.incoming.size(), total)
    }

    /// Queues a packet of this side: the ID, a space, `words`, `rest`, LF.
    #[inline]
    pub(super) fn put(&mut self, words: &Words, rest: &[u8], pool: &mut Pool) {
        if self.out.is_chunk_full() {
            self.next_chunk(pool);
        }
        self.ids.step();
        let out = self.out.last();
        out.reserve(Ids::ROOM + words.room() + rest.len() + 1);
        self.ids.put(out);
        words.put(out);
        out.extend_from_slice(rest);
        out.push(b'\n');
    }

    /// Starts a packet of this side: the ID, a space, then `command`.
    pub(super) fn head(&mut self, command: &[u8], pool: &mut Pool) -> &mut Vec<u8> {
        if self.out.is_chunk_full() {
            self.next_chunk(pool);
        }
        self.put_head(command)
    }

    /// The same for a packet of so many bytes behind its ID, which shall not make its chunk larger.
    pub(super) fn head_of(&mut self, length: usize, pool: &mut Pool) -> &mut Vec<u8> {
        if !self.out.has_room(length) {
            self.next_chunk(pool);
        }
        self.put_head(b"")
    }

    /// Queues a packet of this side: `words` are what stands between its ID and the last field, escaped.
    pub(super) fn put_blob(&mut self, words: &[&[u8]], blob: Blob) {
        self.ids.step();
        let mut head = Vec::with_capacity(Ids::ROOM + words.iter().map(|part| part.len()).sum::<usize>());
        self.ids.put(&mut head);
        words.iter().for_each(|part| head.extend_from_slice(part));
        self.out.put_blob(head, blob);
    }

    #[cold]
    fn next_chunk(&mut self, pool: &mut Pool) {
        if self.out.wants_mark_within() {
            self.mark();
        }
        self.out.next_chunk(pool);
    }

    fn put_head(&mut self, command: &[u8]) -> &mut Vec<u8> {
        self.ids.step();
        let out = self.out.last();
        self.ids.put(out);
        out.extend_from_slice(command);
        out
    }

    /// Queues a PING.
    pub(super) fn ping(&mut self) {
        self.put_head(b"PING\n");
    }

    /// Queues a PING that asks whether all before it was read.
    pub(super) fn mark(&mut self) {
        self.ping();
        self.out.mark(self.ids.number());
    }

    /// What the link's task writes next. Where much is unproven, the last bytes of it are a PING that asks for proof.
    pub(super) fn take(&mut self) -> Chunk {
        if self.state == State::Open && self.out.wants_mark() {
            self.mark();
        }
        self.out.take()
    }
}

pub(super) struct Slot<R: Role> {
    pub(super) generation: u32,
    pub(super) link: Option<Box<Link<R>>>,
}
