//! What waits to be written to one link, and what was written but not yet proven read.

use std::collections::VecDeque;

use super::limits;

/// Chunks up to this size are copied together when they are kept.
const GATHER: usize = 16 << 10;

/// Where new bytes go, and the three stages behind it:
/// `queued` → (taken by the link's task) `in flight` → (written) `unproven` → (a later PING was answered) gone.
#[derive(Debug, Default)]
pub struct Outbox {
    queued: Vec<u8>,
    in_flight: usize,
    /// Set for links that carry messages answered OK: only these keep unproven bytes.
    keeps: bool,
    unproven: VecDeque<Vec<u8>>,
    unproven_bytes: usize,
    /// The PING that asks for proof: its number, and how many unproven bytes lay before it when it was queued.
    mark: Option<Mark>,
    /// Bytes ever taken off the front of `unproven`, so that marks can be told in absolute positions.
    proven_until: u64,
    /// What of this link the host's total already counts.
    accounted: usize,
}

#[derive(Debug)]
struct Mark {
    ping: u64,
    until: u64,
}

impl Outbox {
    /// From now on, what is written is kept until it is proven read.
    pub fn keep_unproven(&mut self) {
        self.keeps = true;
    }

    /// The buffer that packets are appended to.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.queued
    }

    /// Bytes that the peer has not taken.
    pub fn waiting(&self) -> usize {
        self.queued.len() + self.in_flight
    }

    /// Nothing waits to be written.
    pub fn is_drained(&self) -> bool {
        self.waiting() == 0
    }

    /// The link's task takes what is queued; `spare` becomes the new queue.
    pub fn take(&mut self, mut spare: Vec<u8>) -> Vec<u8> {
        self.in_flight = self.queued.len();
        if spare.capacity() == 0 && self.in_flight > GATHER {
            // As much will follow as came: not to be grown into step by step.
            spare.reserve(self.in_flight);
        }
        std::mem::replace(&mut self.queued, spare)
    }

    /// The taken chunk is written. Returns it for reuse unless it is kept as unproven.
    pub fn wrote(&mut self, chunk: Vec<u8>) -> Option<Vec<u8>> {
        self.in_flight = 0;
        if !self.keeps || chunk.is_empty() {
            return Some(chunk);
        }
        self.unproven_bytes += chunk.len();
        while self.unproven_bytes > limits::UNPROVEN {
            let Some(oldest) = self.unproven.pop_front() else { break };
            self.drop_proven(oldest.len());
        }
        // Small chunks are gathered, so that a trickle of messages does not hold a large buffer each.
        match self.unproven.back_mut() {
            Some(last) if last.len() + chunk.len() <= GATHER => last.extend_from_slice(&chunk),
            _ if chunk.len() <= GATHER / 4 => self.unproven.push_back(chunk.as_slice().to_vec()),
            _ => {
                self.unproven.push_back(chunk);
                return None;
            }
        }
        Some(chunk)
    }

    fn drop_proven(&mut self, bytes: usize) {
        self.unproven_bytes = self.unproven_bytes.saturating_sub(bytes);
        self.proven_until += bytes as u64;
    }

    /// Whether a PING should ask for proof now: there is something to prove and no mark is out.
    /// `at_once`: only when much is unproven.
    pub fn wants_mark(&self, at_once: bool) -> bool {
        let least = if at_once { limits::PROOF_BYTES } else { 1 };
        self.mark.is_none() && self.unproven_bytes >= least
    }

    /// The PING numbered `ping` was queued behind everything that is unproven now.
    pub fn mark(&mut self, ping: u64) {
        self.mark = Some(Mark { ping, until: self.proven_until + self.unproven_bytes as u64 });
    }

    /// The PING numbered `ping` was answered: all before it was read. `recycle` gets the buffers.
    pub fn proven(&mut self, ping: u64, mut recycle: impl FnMut(Vec<u8>)) {
        let until = match &self.mark {
            Some(mark) if mark.ping == ping => mark.until,
            _ => return,
        };
        self.mark = None;
        while let Some(first) = self.unproven.front_mut() {
            let open = usize::try_from(until.saturating_sub(self.proven_until)).unwrap_or(usize::MAX);
            if open == 0 {
                break;
            }
            if first.len() <= open {
                let buffer = std::mem::take(first);
                self.unproven.pop_front();
                self.drop_proven(buffer.len());
                recycle(buffer);
            } else {
                // A later chunk was gathered into this buffer.
                first.drain(..open);
                self.drop_proven(open);
            }
        }
        if self.unproven.is_empty() {
            self.unproven = VecDeque::new();
        }
    }

    /// The empty queue's buffer, for reuse: a link at rest holds none.
    pub fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.queued)
    }

    /// All that the peer may not have read, oldest first; the outbox is empty afterwards. `taken` is the chunk that
    /// the link's task held.
    pub fn undelivered(&mut self, taken: Vec<u8>) -> Vec<u8> {
        let mut all = Vec::new();
        if self.keeps {
            for chunk in self.unproven.drain(..) {
                all.extend_from_slice(&chunk);
            }
            all.extend_from_slice(&taken);
            all.append(&mut self.queued);
        }
        *self = Outbox { accounted: self.accounted, ..Outbox::default() };
        all
    }

    /// Brings `total` up to date with this outbox and `more` bytes that the link holds besides; returns what it holds.
    pub fn account(&mut self, more: usize, total: &mut usize) -> usize {
        let now = self.waiting() + self.unproven_bytes + more;
        *total = (*total + now).saturating_sub(self.accounted);
        self.accounted = now;
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(out: &mut Outbox, bytes: &[u8]) {
        out.buffer().extend_from_slice(bytes);
        let chunk = out.take(Vec::new());
        out.wrote(chunk);
    }

    #[test]
    fn only_what_lies_before_an_answered_ping_is_proven() {
        let mut out = Outbox::default();
        out.keep_unproven();
        write(&mut out, b"one");
        assert!(out.wants_mark(false) && !out.wants_mark(true));
        out.mark(7);
        write(&mut out, b"two");
        let mut spare = Vec::new();
        out.proven(6, |buffer| spare.push(buffer));
        out.proven(7, |buffer| spare.push(buffer));
        assert!(spare.is_empty(), "what follows was gathered into the same buffer");
        out.buffer().extend_from_slice(b"four");
        assert_eq!(out.undelivered(b"three".to_vec()), b"twothreefour");
    }

    #[test]
    fn unproven_bytes_are_bounded() {
        let mut out = Outbox::default();
        out.keep_unproven();
        for _ in 0..100 {
            write(&mut out, &vec![b'x'; 1 << 20]);
        }
        let mut total = 0;
        out.account(0, &mut total);
        assert!(total <= limits::UNPROVEN, "{total}");
    }

    #[test]
    fn a_link_that_keeps_nothing_returns_its_buffers() {
        let mut out = Outbox::default();
        out.buffer().extend_from_slice(b"x");
        let chunk = out.take(Vec::new());
        assert!(out.wrote(chunk).is_some());
        assert!(out.undelivered(Vec::new()).is_empty());
    }
}
