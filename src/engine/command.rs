//! The table of commands: a row says what a command is called, where it may be sent, by whom, and what runs.

use super::ctx::Ctx;
use super::ctx::LinkId;
use crate::config::PortKey;
use crate::voice;
use crate::wire::blob::Blob;
use crate::wire::packet::MAX_ID;
use crate::wire::raw;
use crate::wire::Body;
use crate::wire::Fail;
use crate::wire::Packet;
use crate::wire::Raw;

/// A role: state and a table of commands. It never awaits, locks, or looks at a clock: the engine brings events, and
/// what shall happen is written into the `Ctx`.
pub trait Role: Sized + Send + 'static {
    /// What the role remembers of a link.
    type Peer: Default + Send;

    /// The role's name in the log.
    const NAME: &'static str;

    /// Every command the role answers, as one explicit list.
    fn commands() -> &'static [Command<Self>];

    /// Behind how many fields the last one of a request stands, if the role wants a large one as a blob (`Request::body`). `data` is the
    /// beginning of its DATA.
    fn blob_behind(_command: &[u8], _data: Raw<'_>) -> Option<usize> {
        None
    }

    /// The role's listeners are bound.
    fn start(&mut self, _ctx: &mut Ctx<Self>) {}

    /// An accepted or requested link is ready.
    fn opened(&mut self, _ctx: &mut Ctx<Self>, _link: LinkId) {}

    /// A link is gone, or could not be made. Every link that `connect` returned or `opened` announced comes here once.
    fn closed(&mut self, _ctx: &mut Ctx<Self>, _link: LinkId, _gone: Gone<Self::Peer>) {}

    /// What the voice channels of this process tell (`Ctx::voice`).
    fn voice(&mut self, _ctx: &mut Ctx<Self>, _events: Vec<voice::Event>) {}

    /// At the end of every event, and of what became due by it: what was gathered goes out.
    fn settled(&mut self, _ctx: &mut Ctx<Self>) {}

    /// Once a second.
    fn tick(&mut self, _ctx: &mut Ctx<Self>) {}

    /// The process will stop: say goodbye to links; what is queued is still written.
    fn stop(&mut self, _ctx: &mut Ctx<Self>) {}
}

/// What is left of a link that is gone.
#[derive(Debug)]
pub struct Gone<P> {
    /// The port it was on.
    pub port: PortKey,
    /// What the role remembered of it.
    pub peer: P,
    /// Whether it had been open at all.
    pub was_open: bool,
    /// Why, for the log and for people.
    pub why: String,
    /// Whole packets that the peer may not have read, oldest first; only of links that keep them.
    pub undelivered: Vec<u8>,
}

/// One row of the table.
pub struct Command<R: Role> {
    /// The word on the wire.
    pub name: &'static str,
    /// The ports on which it is known.
    pub ports: &'static [PortKey],
    /// Its DATA, in words, as docs/protocol.md has it; empty: it takes none, and any is FAIL BADARGS. When it ends with `LF bytes`,
    /// the limit on DATA counts those bytes alone.
    pub args: &'static str,
    /// Checked before anything else is looked at.
    pub gate: fn(&R, &Ctx<R>, LinkId) -> Result<(), Fail>,
    /// The handler.
    pub run: fn(&mut R, &mut Ctx<R>, &Request<'_>) -> Result<Answer, Fail>,
}

// By hand: a row can be copied whatever the role.
impl<R: Role> Clone for Command<R> {
    fn clone(&self) -> Command<R> {
        *self
    }
}

impl<R: Role> Copy for Command<R> {}

impl<R: Role> Command<R> {
    /// What is looked at before the handler runs.
    #[inline]
    pub(super) fn check(&self, role: &R, ctx: &Ctx<R>, request: &Request<'_>) -> Result<(), Fail> {
        (self.gate)(role, ctx, request.link)?;
        match self.args.is_empty() && !request.packet.data.is_empty() {
            true => Err(Fail::bad_args("this command takes no arguments")),
            false => Ok(()),
        }
    }

    /// How many fields stand before the bytes that the limit on DATA counts.
    pub(super) fn before_payload(&self) -> usize {
        self.args.strip_suffix(" LF bytes").map_or(0, |before| before.split(" LF ").count())
    }
}

/// Two lists of rows as one; `N` must be `A + B`.
pub const fn joined<R: Role, const A: usize, const B: usize, const N: usize>(
    one: &[Command<R>; A],
    other: &[Command<R>; B],
) -> [Command<R>; N] {
    assert!(A > 0 && A + B == N);
    let mut all = [one[0]; N];
    let mut n = 0;
    while n < N {
        all[n] = if n < A { one[n] } else { other[n - A] };
        n += 1;
    }
    all
}

/// The gate that lets everyone on the port pass.
pub fn anyone<R: Role>(_: &R, _: &Ctx<R>, _: LinkId) -> Result<(), Fail> {
    Ok(())
}

/// A request, borrowed from the batch it came in.
pub struct Request<'a> {
    /// The link it came on.
    pub link: LinkId,
    /// The port of that link.
    pub port: PortKey,
    /// The packet.
    pub packet: Packet<'a>,
    /// The length of the first field, if it is known already.
    pub(super) first: Option<usize>,
    /// The request that this one came inside of.
    pub(super) outer: Option<&'a Later>,
    /// Its last field; it is empty in the packet then.
    pub(super) blob: Option<&'a Blob>,
}

impl<'a> Request<'a> {
    /// The packet's DATA.
    pub fn data(&self) -> Raw<'a> {
        self.packet.data
    }

    /// The last field, if it is large and the role wants it so.
    pub fn blob(&self) -> Option<&'a Blob> {
        self.blob
    }

    /// The bytes of the last field, which is `last` in the packet.
    pub fn body(&self, last: Raw<'a>) -> Body<'a> {
        match self.blob {
            Some(blob) => Body::Blob(blob.clone()),
            None => Body::Raw(last),
        }
    }

    /// The first field, and the rest behind its LF. FAIL BADARGS when there is no LF.
    #[inline]
    pub fn split(&self) -> Result<(Raw<'a>, Raw<'a>), Fail> {
        let data = self.packet.data;
        if let Some((field, rest)) = self.first.and_then(|first| data.0.split_at_checked(first)) {
            return Ok((Raw(field), Raw(rest.get(raw::SEPARATOR.len()..).unwrap_or_default())));
        }
        data.take().map(|[field, rest]| (field, rest))
    }

    /// What is needed to answer after the handler has returned `Answer::Later`.
    pub fn later(&self) -> Later {
        if let Some(outer) = self.outer {
            return outer.clone();
        }
        let command = Box::from(self.packet.command);
        let mut later = Later { link: self.link, id: [0; MAX_ID], id_len: 0, command, weight: 0 };
        for (to, from) in later.id.iter_mut().zip(self.packet.id) {
            *to = *from;
        }
        later.id_len = self.packet.id.len().min(MAX_ID);
        later
    }
}

/// Runs a row for a command that came inside of another request, as if it had come by itself: what its handler answers, at once or
/// later, is the answer to `outer`, under the command of that.
pub fn run_within<R: Role>(role: &mut R, ctx: &mut Ctx<R>, row: &Command<R>, outer: &Later, data: Raw<'_>) {
    let port = row.ports.first().copied().unwrap_or(PortKey::Admin);
    let packet = Packet { id: outer.id(), command: row.name.as_bytes(), data };
    let request = Request { link: outer.link, port, packet, first: None, outer: Some(outer), blob: None };
    let result = row.check(role, ctx, &request).and_then(|()| (row.run)(role, ctx, &request));
    match result {
        Ok(Answer::Later) => {}
        Ok(Answer::Ok | Answer::None) => ctx.answer(outer, Ok(Vec::new())),
        Ok(Answer::Data(data)) => ctx.answer(outer, Ok(data)),
        Err(fail) => ctx.answer(outer, Err(fail)),
    }
}

/// What a handler says.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// `OK`
    Ok,
    /// `OK data`
    Data(Vec<u8>),
    /// Will be answered through `Ctx::answer`.
    Later,
    /// Has no answer (what a server tells unasked).
    None,
}

/// A request that will be answered later. Dropping it unanswered is a bug.
#[derive(Clone, Debug)]
pub struct Later {
    pub(super) link: LinkId,
    id: [u8; MAX_ID],
    id_len: usize,
    pub(super) command: Box<[u8]>,
    /// See `Ctx::weigh`.
    pub(super) weight: u64,
}

impl Later {
    /// The link that will be answered.
    pub fn link(&self) -> LinkId {
        self.link
    }

    pub(super) fn id(&self) -> &[u8] {
        self.id.get(..self.id_len).unwrap_or_default()
    }
}
