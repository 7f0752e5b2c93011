//! From bytes to packets: what a link brings is handled as far as it is whole and need not wait, and kept else. A packet with a
//! large last field is not kept as it came: that field is decoded while it arrives.

use super::Host;
use crate::engine::command::Command;
use crate::engine::command::Request;
use crate::engine::command::Role;
use crate::engine::ctx::LinkId;
use crate::engine::ctx::State;
use crate::engine::incoming::Growing;
use crate::engine::incoming::Piece;
use crate::engine::link::ThenReply;
use crate::wire::blob::LARGE;
use crate::wire::raw;
use crate::wire::Batch;
use crate::wire::Blob;
use crate::wire::Body;
use crate::wire::Code;
use crate::wire::Packet;
use crate::wire::Parsed;
use crate::wire::Raw;

/// How much is added at a time to a packet that was cut, at least.
const JOIN: usize = 512;
/// Where the last field of a large packet begins at the latest, in bytes of its DATA; one that begins later is not decoded as it
/// comes.
const FIELDS: usize = 12 << 10;

impl<R: Role> Host<R> {
    /// Bytes came on a link. `own_task`: the caller will `exchange` on this link right after, so it needs no wake-up.
    pub fn received(&mut self, now: u64, link: LinkId, bytes: &[u8], own_task: bool) {
        if self.heard(now, link, own_task) {
            if self.ctx.slot(link).is_some_and(|entry| entry.info.remote.is_some()) {
                self.ctx.counters.bytes_in += bytes.len() as u64;
            }
            self.process(link, bytes);
            self.settle();
        }
    }

    /// A packet came on a link within the process: what stands before its last field, and that field.
    pub fn received_blob(&mut self, now: u64, link: LinkId, head: &[u8], blob: Blob) {
        if !self.heard(now, link, false) {
            return;
        }
        self.drain(link);
        let must_wait = self.must_wait(link);
        let Some(entry) = self.ctx.slot_mut(link).filter(|entry| entry.state == State::Open) else { return };
        if must_wait || !entry.incoming.is_empty() {
            entry.blocked = true;
            entry.incoming.behind.push_back(Piece::Packet(head.to_vec(), blob));
        } else {
            self.whole(link, head, blob);
        }
        self.settle();
    }

    fn heard(&mut self, now: u64, link: LinkId, own_task: bool) -> bool {
        self.ctx.now = self.ctx.now.max(now);
        let now = self.ctx.now;
        let Some(entry) = self.ctx.slot_mut(link) else { return false };
        entry.dirty |= own_task;
        entry.heard = now;
        entry.pinged = false;
        true
    }

    fn must_wait(&self, link: LinkId) -> bool {
        self.ctx.slot(link).is_some_and(|entry| entry.must_wait(&self.ctx.limits, self.ctx.total))
    }

    /// Handles what came before and `bytes`, as far as it is whole packets; keeps the rest.
    pub(super) fn process(&mut self, link: LinkId, bytes: &[u8]) {
        let Some(entry) = self.ctx.slot_mut(link) else { return };
        if entry.greets {
            return self.greeted(link, bytes);
        }
        if entry.incoming.behind.is_empty() {
            return self.bytes(link, bytes);
        }
        if !bytes.is_empty() {
            entry.incoming.behind.push_back(Piece::Bytes(bytes.to_vec()));
        }
        self.bytes(link, &[]);
        self.drain(link);
    }

    /// Handles what had to wait behind other packets, as far as those are done with.
    fn drain(&mut self, link: LinkId) {
        loop {
            let must_wait = self.must_wait(link);
            let Some(entry) = self.ctx.slot_mut(link) else { return };
            if entry.incoming.behind.is_empty() {
                return;
            }
            entry.blocked = must_wait;
            // A tail that need not wait is the beginning of a packet, whose end is behind it.
            let cut = matches!(entry.incoming.behind.front(), Some(Piece::Bytes(_)));
            if must_wait || !(cut || entry.incoming.tail.is_empty()) {
                return;
            }
            match entry.incoming.behind.pop_front() {
                Some(Piece::Bytes(bytes)) => self.bytes(link, &bytes),
                Some(Piece::Packet(head, blob)) => self.whole(link, &head, blob),
                None => return,
            }
        }
    }

    /// Handles the tail and `bytes`.
    fn bytes(&mut self, link: LinkId, bytes: &[u8]) {
        let must_wait = self.must_wait(link);
        let Some(entry) = self.ctx.slot_mut(link) else { return };
        if entry.incoming.growing.is_some() {
            if !must_wait {
                entry.blocked = false;
                return self.grow(link, bytes);
            }
            entry.blocked = true;
            if !bytes.is_empty() {
                entry.incoming.behind.push_front(Piece::Bytes(bytes.to_vec()));
            }
            return;
        }
        let mut tail = std::mem::take(&mut entry.incoming.tail);
        if tail.is_empty() {
            let used = self.packets(link, bytes);
            return self.keep(link, &bytes[used..], Vec::new());
        }
        // The packet that was cut is put together; what follows it is handled where it lies.
        let (mut taken, mut used) = (0, 0);
        while used == 0 {
            let step = tail.len().max(JOIN).min(bytes.len() - taken);
            tail.extend_from_slice(&bytes[taken..taken + step]);
            taken += step;
            used = self.packets(link, &tail);
            if taken == bytes.len() {
                break;
            }
            if used == 0 && tail.len() >= LARGE && self.begin(link, &tail) {
                return self.grow(link, &bytes[taken..]);
            }
        }
        let left = tail.len() - used;
        if self.is_blocked(link) || used == 0 || left > taken {
            tail.drain(..used);
            tail.extend_from_slice(&bytes[taken..]);
            return self.keep(link, &[], tail);
        }
        let rest = &bytes[taken - left..];
        let used = self.packets(link, rest);
        // The next cut packet needs as much.
        tail.clear();
        self.keep(link, &rest[used..], tail);
    }

    /// Keeps `tail` and then `rest`, or begins to decode it.
    fn keep(&mut self, link: LinkId, rest: &[u8], mut tail: Vec<u8>) {
        let begun = match tail.is_empty() {
            true => rest.len() >= LARGE && self.begin(link, rest),
            false => tail.len() >= LARGE && rest.is_empty() && self.begin(link, &tail),
        };
        if begun {
            return;
        }
        if let Some(entry) = self.ctx.slot_mut(link).filter(|entry| entry.state == State::Open) {
            tail.extend_from_slice(rest);
            entry.incoming.tail = if tail.is_empty() { Vec::new() } else { tail };
        }
    }

    /// Begins to decode the last field of the packet that begins with `part`, if somebody wants it so. False: nothing is changed.
    fn begin(&mut self, link: LinkId, part: &[u8]) -> bool {
        let must_wait = self.must_wait(link);
        let Some(entry) = self.ctx.slot_mut(link).filter(|entry| entry.state == State::Open) else { return false };
        if must_wait {
            return false;
        }
        let Ok(packet) = Packet::parse(part) else { return false };
        let data = part.len() - packet.data.0.len();
        let body = match packet.id.starts_with(b"-") == entry.info.opener {
            true => R::blob_behind(packet.command, start(packet.data)).and_then(|fields| behind(packet.data, fields)),
            false => {
                let wanted = number(packet.id).is_some_and(|number| entry.requests.get(&number).is_some_and(wants));
                (wanted && packet.data.0.starts_with(b"OK ")).then_some(3)
            }
        };
        let Some(body) = body else { return false };
        let (head, rest) = part.split_at(data + body);
        entry.incoming.growing = Some(Box::new(Growing::new(head, data)));
        entry.incoming.framer = Default::default();
        self.grow(link, rest);
        true
    }

    /// The next bytes of a packet whose last field is being decoded, and what follows it.
    fn grow(&mut self, link: LinkId, bytes: &[u8]) {
        let Some(entry) = self.ctx.slot(link).filter(|entry| entry.state == State::Open) else { return };
        let (bound, port) = (entry.bound(&self.ctx.limits), entry.info.port);
        let Some(mut growing) = self.ctx.slot_mut(link).and_then(|entry| entry.incoming.growing.take()) else { return };
        let end = growing.decoder.feed(bytes);
        growing.wire = growing.wire.saturating_add(end.unwrap_or(bytes.len()));
        // Of a command with a payload, that alone counts.
        let before = Packet::parse(&growing.head).ok().and_then(|packet| self.row(port, packet.command));
        let counts = match before.is_some_and(|row| row.before_payload() > 0) {
            true => growing.payload(),
            false => growing.data(),
        };
        if growing.wire > bound.wire || counts > bound.data {
            return self.refuse(link, Code::TooLong, "the packet is too long");
        }
        let Some(end) = end else {
            if let Some(entry) = self.ctx.slot_mut(link) {
                entry.incoming.growing = Some(growing);
            }
            return;
        };
        let Growing { head, decoder, .. } = *growing;
        self.whole(link, &head, decoder.into_blob());
        self.bytes(link, &bytes[end + 1..]);
    }

    /// Handles a packet: what stands before its last field, and that field.
    fn whole(&mut self, link: LinkId, head: &[u8], blob: Blob) {
        let Some(entry) = self.ctx.slot(link).filter(|entry| entry.state == State::Open) else { return };
        let (port, opener) = (entry.info.port, entry.info.opener);
        let Ok(packet) = Packet::parse(head) else {
            return self.refuse(link, Code::BadPacket, "a packet is: ID COMMAND DATA");
        };
        let is_request = packet.id.starts_with(b"-") == opener;
        let wanted = match is_request {
            true => R::blob_behind(packet.command, packet.data).is_some(),
            false => number(packet.id).is_some_and(|number| entry.requests.get(&number).is_some_and(wants)),
        };
        if !wanted {
            // Who asks for no blob gets the text.
            let mut line = head.to_vec();
            raw::escape_into(&mut line, &blob);
            line.push(b'\n');
            let _ = self.packets(link, &line);
            return;
        }
        self.ctx.counters.packets += 1;
        match is_request {
            true => self.request(
                &Request { link, port, packet, first: None, blob: Some(&blob), outer: None },
                false,
                &mut None,
            ),
            false => {
                let then = number(packet.id)
                    .and_then(|number| self.ctx.slot_mut(link).and_then(|entry| entry.requests.remove(&number)));
                if let Some(ThenReply::Body(then)) = then {
                    then(&mut self.role, &mut self.ctx, Ok(Body::Blob(blob)));
                }
            }
        }
    }

    /// Handles the whole packets in `input`; returns how many bytes of it are done with.
    pub(super) fn packets(&mut self, id: LinkId, input: &[u8]) -> usize {
        let Some(entry) = self.ctx.slot_mut(id) else { return input.len() };
        entry.blocked = false;
        let mut batch = Batch::new(input, std::mem::take(&mut entry.incoming.framer));
        let (port, opener) = (entry.info.port, entry.info.opener);
        // The row of the packet before: most batches are of one command.
        let mut last: Option<&'static Command<R>> = None;
        let mut count = 0;
        let used = loop {
            let slot = self.ctx.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation);
            let Some(entry) = slot.and_then(|slot| slot.link.as_deref_mut()).filter(|link| link.state == State::Open)
            else {
                break input.len();
            };
            if entry.must_wait(&self.ctx.limits, self.ctx.total) {
                entry.blocked = true;
                break batch.used();
            }
            let line = batch.line();
            let length = line.map_or(input.len() - batch.used(), |line| line.bytes.len());
            if length > self.ctx.limits.packet_before_sign_on {
                let bound = entry.bound(&self.ctx.limits);
                let before = |command: &[u8]| self.row(port, command).map_or(0, |row| row.before_payload());
                if length > bound.wire || line.is_some_and(|line| bound.is_passed(line.bytes, before)) {
                    self.refuse(id, Code::TooLong, "the packet is too long");
                    break input.len();
                }
            }
            let Some(line) = line else { break batch.used() };
            let Ok(Parsed { packet, alike, first }) = batch.parse(line, last.map_or("", |row| row.name)) else {
                self.refuse(id, Code::BadPacket, "a packet is: ID COMMAND DATA");
                break input.len();
            };
            count += 1;
            if packet.id.starts_with(b"-") == opener {
                self.request(&Request { link: id, port, packet, first, blob: None, outer: None }, alike, &mut last);
            } else {
                self.response(id, packet);
            }
        };
        self.ctx.counters.packets += count;
        if let Some(entry) = self.ctx.slot_mut(id) {
            entry.incoming.framer = batch.into_framer();
        }
        used
    }
}

fn number(id: &[u8]) -> Option<u64> {
    let digits = id.strip_prefix(b"-").unwrap_or(id);
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok())
}

fn wants<R: Role>(then: &ThenReply<R>) -> bool {
    matches!(then, ThenReply::Body(_))
}

fn start(data: Raw<'_>) -> Raw<'_> {
    Raw(data.0.get(..FIELDS).unwrap_or(data.0))
}

/// Where in DATA the field behind so many others begins, if that is soon.
fn behind(data: Raw<'_>, fields: usize) -> Option<usize> {
    let mut rest = start(data);
    for _ in 0..fields {
        rest = rest.split_field().1?;
    }
    Some(start(data).0.len() - rest.0.len())
}

#[cfg(test)]
mod tests;
