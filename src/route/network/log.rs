//! What has changed in users, as lines, until every server has it. The same bytes for all: written once.

use std::collections::VecDeque;
use std::sync::Arc;

/// A chunk is closed when it is longer than this, in bytes: after a server is gone, there are lines for all its users,
/// and a packet is bounded. Every chunk ends with a checksum of its own.
const CHUNK: usize = 64 << 10;

/// Lines that belong together, and the state after them.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub(super) version: u64,
    pub(super) users_sum: u64,
    pub(super) lines: Arc<str>,
}

/// Chunks, numbered through since the start.
#[derive(Debug, Default)]
pub(super) struct Log {
    chunks: VecDeque<Chunk>,
    /// The number of the first one that is still held.
    first: u64,
    open: String,
    version: u64,
    users_sum: u64,
}

impl Log {
    /// Where lines are appended; `changed` says that a change is complete.
    pub(super) fn open(&mut self) -> &mut String {
        &mut self.open
    }

    /// What was appended is a change as a whole, which leads to this state.
    pub(super) fn changed(&mut self, version: u64, users_sum: u64) {
        (self.version, self.users_sum) = (version, users_sum);
        if self.open.len() >= CHUNK {
            self.close();
        }
    }

    /// Closes the open chunk, if anything is in it. All servers get the same chunks, so a version stands for one state.
    pub(super) fn close(&mut self) {
        if !self.open.is_empty() {
            let lines = Arc::from(&*self.open);
            self.open.clear();
            self.chunks.push_back(Chunk { version: self.version, users_sum: self.users_sum, lines });
        }
    }

    /// The number that the next closed chunk gets.
    pub(super) fn end(&self) -> u64 {
        self.first + self.chunks.len() as u64
    }

    /// Whether a chunk is open that has something in it.
    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// The closed chunks from a number on.
    pub(super) fn since(&self, number: u64) -> impl Iterator<Item = &Chunk> {
        self.chunks.range((number.saturating_sub(self.first) as usize).min(self.chunks.len())..)
    }

    /// Drops those before a number: every server has them.
    pub(super) fn drop_before(&mut self, number: u64) {
        while self.first < number && self.chunks.pop_front().is_some() {
            self.first += 1;
        }
    }
}
