//! The OpenGroove ports (637xx): whoever opens a connection says `OpenGroove` first (contract 2, seed 002).

use super::Host;
use crate::engine::command::Role;
use crate::engine::ctx::Ctx;
use crate::engine::ctx::LinkId;
use crate::wire::Code;
use crate::wire::GREETING;

/// Line ends that may stand before it are ignored as between packets, but not without end.
const MOST: usize = 64;

impl<R: Role> Host<R> {
    /// Bytes on a link whose peer has not said the word.
    pub(super) fn greeted(&mut self, link: LinkId, bytes: &[u8]) {
        let Some(entry) = self.ctx.slot_mut(link) else { return };
        let mut came = std::mem::take(&mut entry.incoming.tail);
        came.extend_from_slice(bytes);
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let start = came.iter().position(|byte| !is_end(byte)).unwrap_or(came.len());
        let line = came.get(start..).unwrap_or_default();
        match line.iter().position(is_end) {
            Some(length)
                if start <= MOST && line.get(..length).is_some_and(|said| said.eq_ignore_ascii_case(GREETING)) =>
            {
                entry.greets = false;
                // Of a CRLF the LF is left: an empty line, which is ignored.
                self.process(link, line.get(length + 1..).unwrap_or_default());
            }
            None if start <= MOST && is_beginning(line) => entry.incoming.tail = came,
            _ => self.refuse(link, Code::BadPacket, "the first line on this port is OpenGroove"),
        }
    }
}

impl<R: Role> Ctx<R> {
    /// This side opened the link, and says the word.
    pub(super) fn greet(&mut self, id: LinkId) {
        let Some(link) = self.slot_mut(id).filter(|link| link.greets) else { return };
        link.greets = false;
        let out = link.out.last();
        out.extend_from_slice(GREETING);
        out.push(b'\n');
        if !std::mem::replace(&mut link.dirty, true) {
            self.dirty.push(id);
        }
    }
}

fn is_beginning(line: &[u8]) -> bool {
    GREETING.get(..line.len()).is_some_and(|word| word.eq_ignore_ascii_case(line))
}
