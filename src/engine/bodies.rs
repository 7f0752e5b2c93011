//! Requests and answers of a role, with small and large bodies.

use super::command::Later;
use super::command::Role;
use super::ctx::Ctx;
use super::ctx::LinkId;
use super::ctx::State;
use super::limits;
use super::link::Link;
use super::link::ThenReply;
use super::outbox::Pool;
use crate::wire::blob::LARGE;
use crate::wire::packet;
use crate::wire::raw;
use crate::wire::Blob;
use crate::wire::Body;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

impl<R: Role> Ctx<R> {
    /// Queues a request; `then` gets the answer, or FAIL UNAVAILABLE when the link goes before it.
    pub fn request(
        &mut self,
        id: LinkId,
        command: &str,
        fields: &[&[u8]],
        then: impl FnOnce(&mut R, &mut Ctx<R>, Result<Raw<'_>, Fail>) + Send + 'static,
    ) {
        self.request_with(id, |ctx| ctx.push(id, command, fields), ThenReply::Raw(Box::new(then)));
    }

    /// As `request`, with DATA whose parts are escaped already.
    pub fn request_parts(
        &mut self,
        id: LinkId,
        command: &str,
        parts: &[&[u8]],
        then: impl FnOnce(&mut R, &mut Ctx<R>, Result<Raw<'_>, Fail>) + Send + 'static,
    ) {
        let all: Vec<&[u8]> = [command.as_bytes(), b" "].into_iter().chain(parts.iter().copied()).collect();
        self.request_with(id, |ctx| ctx.put_parts(id, &all), ThenReply::Raw(Box::new(then)));
        self.account(id);
    }

    /// As `request_parts`, with a last field that may be large, and an answer that may be.
    pub fn request_body(
        &mut self,
        id: LinkId,
        command: &str,
        parts: &[&[u8]],
        body: Body<'_>,
        then: impl FnOnce(&mut R, &mut Ctx<R>, Result<Body<'_>, Fail>) + Send + 'static,
    ) {
        let head = [command.as_bytes(), b" "].into_iter().chain(parts.iter().copied());
        let put = |ctx: &mut Ctx<R>| match body {
            Body::Raw(raw) => ctx.put_parts(id, &head.chain([raw.0]).collect::<Vec<_>>()),
            Body::Blob(blob) if blob.len() < LARGE => {
                let mut escaped = Vec::new();
                raw::escape_into(&mut escaped, &blob);
                ctx.put_parts(id, &head.chain([&escaped[..]]).collect::<Vec<_>>())
            }
            Body::Blob(blob) => ctx.put_blob(id, &head.collect::<Vec<_>>(), blob),
        };
        self.request_with(id, put, ThenReply::Body(Box::new(then)));
        self.account(id);
    }

    /// Queues a packet from parts that are escaped already, and a last field. FAIL as `room`.
    fn put_blob(&mut self, id: LinkId, parts: &[&[u8]], blob: Blob) -> Result<(), Fail> {
        let (link, _) = self.writable(id)?;
        link.put_blob(parts, blob);
        Ok(())
    }

    fn request_with(&mut self, id: LinkId, put: impl FnOnce(&mut Ctx<R>) -> Result<(), Fail>, then: ThenReply<R>) {
        let refused = match self.slot_mut(id) {
            Some(link) if link.requests.len() < limits::REQUESTS && link.state == State::Open => put(self).err(),
            Some(link) if link.state == State::Open => {
                Some(Fail::new(Code::Busy, "too many requests wait; retry later"))
            }
            _ => Some(Fail::new(Code::Unavailable, "a server that is needed is not reachable; retry later")),
        };
        if let Some(fail) = refused {
            // Told after the running handler, so that `then` always finds the role at rest.
            self.after(0, move |role, ctx| then.run(role, ctx, Err(fail)));
        } else if let Some(link) = self.slot_mut(id) {
            link.requests.insert(link.ids.number(), then);
        }
    }

    /// Answers a request whose handler returned `Answer::Later`. Nothing happens when the link is gone.
    pub fn answer(&mut self, later: &Later, result: Result<Vec<u8>, Fail>) {
        match result {
            Ok(data) if data.len() >= LARGE => self.answer_body(later, Ok(Body::Blob(Blob::from(data)))),
            result => {
                self.answered(later);
                self.put_answer(later.link, later.id(), &later.command, result.as_deref());
                self.account(later.link);
            }
        }
    }
    /// Answers with what another role or server has answered, as it stands on the wire.
    pub fn answer_kept(&mut self, later: &Later, result: Result<Raw<'_>, Fail>) {
        self.answer_body(later, result.map(Body::Raw));
    }

    /// The same with DATA that came from elsewhere, and is passed on.
    pub fn answer_body(&mut self, later: &Later, result: Result<Body<'_>, Fail>) {
        self.answered(later);
        match result {
            Ok(_) if later.id() == b"0" => {}
            Ok(Body::Raw(data)) => {
                let ok: &[u8] = if data.is_empty() { b" OK" } else { b" OK " };
                self.put_line(later.link, &[later.id(), b" ", &later.command, ok, data.0]);
            }
            Ok(Body::Blob(blob)) if blob.len() < LARGE => {
                self.put_answer(later.link, later.id(), &later.command, Ok(&blob));
            }
            Ok(Body::Blob(blob)) => {
                if let Some((link, _)) = self.answering(later.link) {
                    let head = [later.id(), b" ", &later.command, b" OK "].concat();
                    link.out.put_blob(head, blob);
                }
            }
            Err(fail) => self.put_answer(later.link, later.id(), &later.command, Err(&fail)),
        }
        self.account(later.link);
    }

    /// Queues a whole line of a link that is open or closing.
    fn put_line(&mut self, id: LinkId, parts: &[&[u8]]) {
        let Some((link, pool)) = self.answering(id) else { return };
        let out = link.out.buffer(pool);
        for part in parts {
            out.extend_from_slice(part);
        }
        out.push(b'\n');
    }

    pub(super) fn put_answer(&mut self, id: LinkId, packet: &[u8], command: &[u8], result: Result<&[u8], &Fail>) {
        if packet == b"0" && result.is_ok() {
            return;
        }
        let Some((link, pool)) = self.answering(id) else { return };
        let out = link.out.buffer(pool);
        match result {
            Ok(data) => packet::put_ok(out, packet, command, data),
            Err(fail) => packet::put_fail(out, packet, command, fail),
        }
    }

    /// A link that is open or closing, and is written to now.
    fn answering(&mut self, id: LinkId) -> Option<(&mut Link<R>, &mut Pool)> {
        let slot = self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation);
        let link = slot.and_then(|slot| slot.link.as_deref_mut())?;
        if link.state != State::Open && link.state != State::Closing {
            return None;
        }
        if !std::mem::replace(&mut link.dirty, true) {
            self.dirty.push(id);
        }
        Some((link, &mut self.pool))
    }
}
