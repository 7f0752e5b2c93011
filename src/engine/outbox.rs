//! What waits to be written to one link, and what was written but not yet proven read.

use std::collections::VecDeque;

use super::chunk::Chunk;
use super::limits;
use crate::wire::Blob;

/// Chunks up to this size are copied together when they are kept.
const GATHER: usize = 16 << 10;
/// The longest ID that is written here.
const ID: usize = 32;

/// Empty buffers for the next chunks; the one used last first, as it is in the cache.
#[derive(Debug, Default)]
pub struct Pool {
    spare: Vec<Vec<u8>>,
    bytes: usize,
}

impl Pool {
    /// Keeps a buffer, within bounds.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        let size = buffer.capacity();
        if size > 0 && size <= limits::SPARE_BYTES && self.bytes + size <= limits::SPARE_TOTAL {
            buffer.clear();
            self.bytes += size;
            self.spare.push(buffer);
        }
    }

    /// An empty buffer; perhaps one without memory.
    fn take(&mut self) -> Vec<u8> {
        let buffer = self.spare.pop().unwrap_or_default();
        self.bytes -= buffer.capacity();
        buffer
    }
}

/// Where new bytes go, and the stages behind it:
/// `full`, `last` → (taken by the link's task) `in flight` → (written) `unproven` → (a later PING was answered) gone.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Chunks that take no more, oldest first.
    full: VecDeque<Chunk>,
    full_bytes: usize,
    /// The chunk that packets are appended to.
    last: Vec<u8>,
    in_flight: usize,
    /// Set for links that carry messages answered OK: only these keep unproven bytes.
    keeps: bool,
    unproven: VecDeque<Chunk>,
    unproven_bytes: usize,
    /// The PINGs that ask for proof, oldest first.
    marks: VecDeque<Mark>,
    /// Where the latest mark is.
    marked: u64,
    /// Bytes ever taken off the front of `unproven`, so that marks can be told in absolute positions.
    proven_until: u64,
    /// What of this link the host's total already counts.
    accounted: usize,
}

#[derive(Debug)]
struct Mark {
    ping: u64,
    /// The position behind the PING.
    until: u64,
}

impl Outbox {
    /// From now on, what is written is kept until it is proven read.
    pub fn keep_unproven(&mut self) {
        self.keeps = true;
    }

    /// The buffer that a packet is appended to.
    pub fn buffer(&mut self, pool: &mut Pool) -> &mut Vec<u8> {
        if self.is_chunk_full() {
            self.next_chunk(pool);
        }
        &mut self.last
    }

    /// The same, whether or not it is full.
    #[inline]
    pub fn last(&mut self) -> &mut Vec<u8> {
        &mut self.last
    }

    /// Whether the next packet goes into another chunk; also when there is none.
    #[inline]
    pub fn is_chunk_full(&self) -> bool {
        self.last.len() > limits::CHUNK - limits::CHUNK_LEFT || self.last.capacity() == 0
    }

    /// Whether a packet of so many bytes, its ID not counted, fits into the chunk. One that fits into none gets its own.
    pub fn has_room(&self, length: usize) -> bool {
        let full = self.last.len().saturating_add(length) > limits::CHUNK - ID;
        !self.is_chunk_full() && (self.last.is_empty() || !full)
    }

    /// Begins another chunk.
    #[cold]
    pub fn next_chunk(&mut self, pool: &mut Pool) {
        let mut next = pool.take();
        if !self.last.is_empty() {
            if next.capacity() == 0 {
                // As much will follow as came: not to be grown into step by step.
                next.reserve(limits::CHUNK);
            }
            self.full_bytes += self.last.len();
            self.full.push_back(Chunk::from(std::mem::take(&mut self.last)));
        }
        self.last = next;
    }

    /// Queues a packet whose last field is a blob, behind everything else. `head` is what stands before the field.
    pub fn put_blob(&mut self, head: Vec<u8>, blob: Blob) {
        let packets = std::mem::take(&mut self.last);
        match packets.is_empty() {
            // An empty buffer is of use for what follows.
            true => self.last = packets,
            false => {
                self.full_bytes += packets.len();
                self.full.push_back(Chunk::from(packets));
            }
        }
        let chunk = Chunk { bytes: head, blob: Some(blob) };
        self.full_bytes += chunk.len();
        self.full.push_back(chunk);
    }

    /// Bytes that the peer has not taken.
    #[inline]
    pub fn waiting(&self) -> usize {
        self.full_bytes + self.last.len() + self.in_flight
    }

    /// Nothing waits to be written.
    pub fn is_drained(&self) -> bool {
        self.waiting() == 0
    }

    /// The link's task takes the oldest chunk.
    pub fn take(&mut self) -> Chunk {
        let chunk = match self.full.pop_front() {
            Some(chunk) => {
                self.full_bytes -= chunk.len();
                chunk
            }
            None => Chunk::from(std::mem::take(&mut self.last)),
        };
        self.in_flight = chunk.len();
        chunk
    }

    /// The taken chunk is written.
    pub fn wrote(&mut self, chunk: Chunk, pool: &mut Pool) {
        self.in_flight = 0;
        if !self.keeps || chunk.is_empty() {
            // The head of a blob is no buffer worth keeping.
            if chunk.blob.is_none() {
                pool.give(chunk.bytes);
            }
            return;
        }
        self.unproven_bytes += chunk.len();
        while self.unproven_bytes > limits::UNPROVEN {
            let Some(oldest) = self.unproven.pop_front() else { break };
            self.drop_proven(oldest.len());
            // Nor is anything to be learnt from their answers.
            while self.marks.front().is_some_and(|mark| mark.until <= self.proven_until) {
                self.marks.pop_front();
            }
        }
        // Small chunks are gathered, so that a trickle of messages does not hold a large buffer each.
        match self.unproven.back_mut().filter(|back| back.blob.is_none()) {
            _ if chunk.blob.is_some() => return self.unproven.push_back(chunk),
            Some(back) if back.len() + chunk.len() <= GATHER => back.bytes.extend_from_slice(&chunk.bytes),
            _ if chunk.len() <= GATHER / 4 => self.unproven.push_back(Chunk::from(chunk.bytes.as_slice().to_vec())),
            _ => return self.unproven.push_back(chunk),
        }
        pool.give(chunk.bytes);
    }

    fn drop_proven(&mut self, bytes: usize) {
        self.unproven_bytes = self.unproven_bytes.saturating_sub(bytes);
        self.proven_until += bytes as u64;
    }

    /// Bytes behind the latest mark.
    fn unmarked(&self) -> usize {
        let end = self.proven_until + (self.unproven_bytes + self.waiting()) as u64;
        usize::try_from(end - self.marked.max(self.proven_until).min(end)).unwrap_or(usize::MAX)
    }

    /// Whether a PING should ask for proof at the end of what the task takes next: it is the last chunk, so that IDs stay in order.
    pub fn wants_mark(&self) -> bool {
        // Behind a blob it is a chunk of its own.
        let is_last = match self.full.len() {
            0 => !self.last.is_empty(),
            count => count == 1 && self.last.is_empty(),
        };
        self.keeps && is_last && self.unmarked() >= limits::PROOF_BYTES
    }

    /// Whether one should before the next chunk is begun.
    pub fn wants_mark_within(&self) -> bool {
        self.keeps && self.unmarked() >= limits::PROOF_BYTES_WITHIN
    }

    /// Whether one should by and by: something was written that no mark is out for.
    pub fn wants_late_mark(&self) -> bool {
        self.unproven_bytes > 0 && self.marks.is_empty()
    }

    /// The PING numbered `ping` was queued behind everything else.
    pub fn mark(&mut self, ping: u64) {
        self.marked = self.proven_until + (self.unproven_bytes + self.waiting()) as u64;
        self.marks.push_back(Mark { ping, until: self.marked });
    }

    /// The PING numbered `ping` was answered: all before it was read.
    pub fn proven(&mut self, ping: u64, pool: &mut Pool) {
        let Some(at) = self.marks.iter().position(|mark| mark.ping == ping) else { return };
        let Some(Mark { until, .. }) = self.marks.drain(..=at).next_back() else { return };
        while let Some(first) = self.unproven.front_mut() {
            let open = usize::try_from(until.saturating_sub(self.proven_until)).unwrap_or(usize::MAX);
            if open == 0 {
                break;
            }
            if first.len() <= open {
                let chunk = std::mem::take(first);
                self.unproven.pop_front();
                self.drop_proven(chunk.len());
                if chunk.blob.is_none() {
                    pool.give(chunk.bytes);
                }
            } else {
                // A later chunk was gathered into this buffer.
                first.bytes.drain(..open.min(first.bytes.len()));
                self.drop_proven(open);
            }
        }
        if self.unproven.is_empty() {
            self.unproven = VecDeque::new();
        }
        if self.marks.is_empty() {
            self.marks = VecDeque::new();
        }
    }

    /// Everything that was written was read.
    pub fn all_read(&mut self) {
        self.drop_proven(self.unproven_bytes);
        self.unproven = VecDeque::new();
        self.marks = VecDeque::new();
    }

    /// The empty chunk's buffer, for reuse: a link at rest holds none.
    pub fn rest(&mut self) -> Vec<u8> {
        self.full = VecDeque::new();
        std::mem::take(&mut self.last)
    }

    /// All that the peer may not have read, oldest first; the outbox is empty afterwards. `taken` is the chunk that
    /// the link's task held.
    pub fn undelivered(&mut self, taken: &Chunk) -> Vec<u8> {
        let mut all = Vec::new();
        if self.keeps {
            for chunk in self.unproven.iter().chain([taken]).chain(&self.full) {
                chunk.write(&mut all);
            }
            all.append(&mut self.last);
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

    fn queue(out: &mut Outbox, pool: &mut Pool, bytes: &[u8]) {
        out.buffer(pool).extend_from_slice(bytes);
    }

    fn write(out: &mut Outbox, pool: &mut Pool, bytes: &[u8]) {
        queue(out, pool, bytes);
        let chunk = out.take();
        out.wrote(chunk, pool);
    }

    #[test]
    fn only_what_lies_before_an_answered_ping_is_proven() {
        let (mut out, mut pool) = (Outbox::default(), Pool::default());
        out.keep_unproven();
        write(&mut out, &mut pool, b"one");
        assert!(out.wants_late_mark() && !out.wants_mark());
        out.mark(7);
        write(&mut out, &mut pool, b"two");
        out.proven(6, &mut pool);
        out.proven(7, &mut pool);
        queue(&mut out, &mut pool, b"four");
        assert_eq!(out.undelivered(&Chunk::from(b"three".to_vec())), b"twothreefour");
    }

    #[test]
    fn a_mark_behind_what_is_queued_proves_it_when_it_is_written() {
        let (mut out, mut pool) = (Outbox::default(), Pool::default());
        out.keep_unproven();
        queue(&mut out, &mut pool, &[b'a'; limits::CHUNK]);
        queue(&mut out, &mut pool, b"b");
        assert!(out.wants_mark_within() || out.unmarked() < limits::PROOF_BYTES_WITHIN);
        let first = out.take();
        out.wrote(first, &mut pool);
        assert!(out.wants_mark(), "the last chunk");
        out.mark(1);
        let second = out.take();
        out.wrote(second, &mut pool);
        write(&mut out, &mut pool, b"c");
        out.mark(2);
        write(&mut out, &mut pool, b"d");
        out.proven(1, &mut pool);
        out.proven(1, &mut pool);
        assert_eq!(out.unproven_bytes, 2);
        out.proven(2, &mut pool);
        assert_eq!(out.undelivered(&Chunk::default()), b"d");
    }

    #[test]
    fn chunks_leave_in_order() {
        let (mut out, mut pool) = (Outbox::default(), Pool::default());
        out.keep_unproven();
        let mut all = Vec::new();
        for n in 0..1_000u32 {
            let packet = [n as u8; 300];
            all.extend_from_slice(&packet);
            queue(&mut out, &mut pool, &packet);
        }
        assert_eq!(out.waiting(), all.len());
        let taken = out.take();
        assert!(taken.len() <= limits::CHUNK && taken.bytes.capacity() >= limits::CHUNK);
        let mut got = taken.bytes.clone();
        out.wrote(taken, &mut pool);
        let taken = out.take();
        got.extend_from_slice(&taken.bytes);
        let kept = out.undelivered(&taken);
        assert_eq!(kept, all);
        assert_eq!(got, all[..got.len()]);
    }

    #[test]
    fn a_blob_has_its_place_in_the_order_and_is_proven_like_others() {
        let (mut out, mut pool) = (Outbox::default(), Pool::default());
        out.keep_unproven();
        queue(&mut out, &mut pool, b"before\n");
        let blob = Blob::from(vec![b'~'; limits::PROOF_BYTES]);
        out.put_blob(b"7 X OK ".to_vec(), blob.clone());
        queue(&mut out, &mut pool, b"behind\n");
        assert_eq!(out.waiting(), 7 + 7 + blob.len() + 1 + 7);
        let chunks: Vec<Chunk> = std::iter::from_fn(|| {
            (!out.is_drained()).then(|| {
                let chunk = out.take();
                out.wrote(chunk.clone(), &mut pool);
                chunk
            })
        })
        .collect();
        let heads: Vec<&[u8]> = chunks.iter().map(|chunk| &chunk.bytes[..]).collect();
        assert_eq!(heads, [&b"before\n"[..], b"7 X OK ", b"behind\n"]);
        out.mark(1);
        let mut other = Outbox::default();
        other.keep_unproven();
        other.put_blob(b"8 X OK ".to_vec(), blob.clone());
        assert!(other.wants_mark(), "the PING is behind it");
        let kept = out.undelivered(&Chunk::default());
        assert_eq!(kept, [&b"before\n7 X OK "[..], &b"~".repeat(2 * blob.len()), b"\nbehind\n"].concat());
        let mut out = Outbox::default();
        out.keep_unproven();
        out.put_blob(b"7 X OK ".to_vec(), blob);
        let chunk = out.take();
        out.wrote(chunk, &mut pool);
        out.mark(2);
        out.proven(2, &mut pool);
        assert_eq!((out.unproven_bytes, pool.bytes), (0, pool.spare.iter().map(Vec::capacity).sum()));
    }

    #[test]
    fn unproven_bytes_are_bounded() {
        let (mut out, mut pool) = (Outbox::default(), Pool::default());
        out.keep_unproven();
        for ping in 0..100 {
            write(&mut out, &mut pool, &vec![b'x'; 1 << 20]);
            out.mark(ping);
        }
        let mut total = 0;
        out.account(0, &mut total);
        assert!(total <= limits::UNPROVEN, "{total}");
        assert!(out.marks.len() <= 9, "marks of what is not kept any more");
    }

    #[test]
    fn a_link_that_keeps_nothing_returns_its_buffers() {
        let (mut out, mut pool) = (Outbox::default(), Pool::default());
        write(&mut out, &mut pool, b"x");
        assert_eq!(pool.spare.len(), 1);
        assert!(out.undelivered(&Chunk::default()).is_empty());
    }

    #[test]
    fn spare_buffers_are_bounded() {
        let mut pool = Pool::default();
        for _ in 0..1_000 {
            pool.give(Vec::with_capacity(limits::CHUNK));
        }
        assert!(pool.bytes <= limits::SPARE_TOTAL);
        while pool.take().capacity() > 0 {}
        assert_eq!(pool.bytes, 0);
    }
}
