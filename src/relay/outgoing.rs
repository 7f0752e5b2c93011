//! The sending end of a stream.

use std::collections::VecDeque;

use super::packet::put_item;
use super::packet::Items;
use super::Outcome;
use super::BATCH;
use super::HOPELESS;
use super::OVERHEAD;
use super::PATIENCE;
use super::SLOWEST;
use super::WINDOW;

/// Bytes of empty batches that a busy stream keeps, to be used again: about what is under way.
const SPARE: usize = 4 << 20;

/// Items of one kind that follow each other: one packet.
#[derive(Debug)]
pub struct Batch<W> {
    /// The number of the first item.
    pub first: u64,
    /// How many there are.
    pub count: u64,
    /// What they are, as it stands on the wire.
    pub what: Vec<u8>,
    /// The items, as they stand on the wire.
    pub items: Vec<u8>,
    /// The packet IDs of those who asked, a length before each; empty: no answer is wanted.
    ids: Vec<u8>,
    /// Who asked.
    pub who: W,
    /// The version of the table under which they were accepted.
    pub version: u64,
}

/// An item whose result has come.
#[derive(Debug)]
pub struct Item<'a, W> {
    /// Who asked.
    pub who: &'a W,
    /// What it is.
    pub what: &'a [u8],
    /// The item.
    pub item: &'a [u8],
    /// The asker's packet ID; empty: no answer is wanted.
    pub id: &'a [u8],
    /// The version of the table under which it was accepted.
    pub version: u64,
    /// None: it was queued.
    pub outcome: Option<&'a Outcome>,
}

/// The sending end.
#[derive(Debug)]
pub struct Outgoing<W> {
    number: u64,
    /// The first item that is not acknowledged.
    base: u64,
    next: u64,
    batches: VecDeque<Batch<W>>,
    /// How many of `batches` were sent over the present route.
    sent: usize,
    bytes: usize,
    /// When there was progress last, or the first item was sent.
    progress: u64,
    /// The same, but that it was sent again is none. None: nothing waits.
    since: Option<u64>,
    patience: u64,
    resent: u64,
    /// Empty; the one used last first, as it is in the cache.
    spare: Vec<[Vec<u8>; 3]>,
    spare_bytes: usize,
}

impl<W: PartialEq> Outgoing<W> {
    /// An empty stream. `number` is greater than that of every earlier one between these two servers.
    pub fn new(number: u64) -> Outgoing<W> {
        Outgoing {
            number,
            base: 1,
            next: 1,
            batches: VecDeque::new(),
            sent: 0,
            bytes: 0,
            progress: 0,
            since: None,
            patience: PATIENCE,
            resent: 0,
            spare: Vec::new(),
            spare_bytes: 0,
        }
    }

    /// The stream's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Everything up to this number is acknowledged.
    pub fn acked(&self) -> u64 {
        self.base - 1
    }

    /// The number of the last item.
    pub fn last(&self) -> u64 {
        self.next - 1
    }

    /// What the items are that wait to be acknowledged, in order: once for those that follow each other and are alike.
    pub fn kinds(&self) -> impl Iterator<Item = &[u8]> {
        self.batches.iter().map(|batch| &*batch.what)
    }

    /// Whether nothing waits to be acknowledged.
    pub fn is_idle(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether no more items should come now.
    pub fn is_full(&self) -> bool {
        self.bytes >= WINDOW
    }

    /// Whether there is something that was not sent over the present route.
    pub fn has_unsent(&self) -> bool {
        self.sent < self.batches.len()
    }

    /// Adds an item and returns its number. It joins the batch before it when that is not sent yet and is of the same kind.
    #[inline]
    pub fn push(&mut self, version: u64, what: &[u8], who: W, id: &[u8], item: &[u8]) -> u64 {
        let number = self.next;
        self.next += 1;
        let open = self.batches.len() > self.sent;
        let joins = open
            && self.batches.back().is_some_and(|last| {
                last.items.len() < BATCH && last.what == what && last.who == who && last.version == version
            });
        if !joins {
            let [mut kind, mut items, ids] = self.spare.pop().unwrap_or_default();
            self.spare_bytes = self.spare_bytes.saturating_sub(items.capacity());
            if open && items.capacity() == 0 {
                // As much will follow as came: not to be grown into step by step.
                items.reserve(BATCH);
            }
            kind.extend_from_slice(what);
            self.bytes += kind.len() + OVERHEAD;
            self.batches.push_back(Batch { first: number, count: 0, what: kind, items, ids, who, version });
        }
        if let Some(batch) = self.batches.back_mut() {
            let before = batch.items.len() + batch.ids.len();
            batch.count += 1;
            batch.ids.push(id.len() as u8);
            batch.ids.extend_from_slice(id);
            put_item(&mut batch.items, item);
            self.bytes += batch.items.len() + batch.ids.len() - before;
        }
        number
    }

    /// Gives every batch that was not sent over the present route to `send`, until that says no.
    pub fn send(&mut self, now: u64, mut send: impl FnMut(&Batch<W>) -> bool) {
        while let Some(batch) = self.batches.get(self.sent) {
            if !send(batch) {
                return;
            }
            if self.sent == 0 {
                self.progress = now;
            }
            self.since = self.since.or(Some(now));
            self.sent += 1;
        }
    }

    /// All that is not acknowledged has to be sent again.
    pub fn rewind(&mut self) {
        self.sent = 0;
    }

    /// The other end misses something. Asked for many times while it is on its way, so not each time.
    pub fn gap(&mut self, now: u64) {
        if now >= self.resent.saturating_add(PATIENCE / 10) {
            self.resent = now;
            self.rewind();
        }
    }

    /// Whether there was no progress for too long, since the last time that this was asked and true.
    pub fn is_stuck(&mut self, now: u64) -> bool {
        let stuck = self.sent > 0 && now >= self.progress.saturating_add(self.patience);
        if stuck {
            self.progress = now;
            self.patience = (self.patience * 2).min(SLOWEST);
        }
        stuck
    }

    /// The first batch, if it was sent: sent once more it makes the other end say how far it has come.
    pub fn first_sent(&self) -> Option<&Batch<W>> {
        self.batches.front().filter(|_| self.sent > 0)
    }

    /// Whether there was no progress for so long that there will be none.
    pub fn is_hopeless(&self, now: u64) -> bool {
        self.since.is_some_and(|since| now >= since.saturating_add(HOPELESS))
    }

    /// Everything up to `upto` is done with; `results` tells what failed, in the order of numbers. `done` hears of each item, in order.
    /// A number that was never sent is ignored.
    pub fn done(&mut self, now: u64, upto: u64, results: &[(u64, Outcome)], mut done: impl FnMut(Item<'_, W>)) {
        if upto < self.base || upto >= self.next {
            return;
        }
        (self.progress, self.patience) = (now, PATIENCE);
        let base = self.base;
        let mut results = results.iter().skip_while(|(number, _)| *number < base).peekable();
        while let Some(batch) = self.batches.front().filter(|batch| batch.first <= upto) {
            let end = batch.first + batch.count - 1;
            let (mut number, mut ids) = (batch.first, &*batch.ids);
            for item in Items(&batch.items).flatten() {
                if number > upto {
                    break;
                }
                let (length, rest) = ids.split_first().map_or((0, ids), |(length, rest)| (usize::from(*length), rest));
                let (id, rest) = rest.split_at(length.min(rest.len()));
                ids = rest;
                if number >= self.base {
                    let outcome = results.next_if(|(of, _)| *of == number).map(|(_, outcome)| outcome);
                    done(Item { who: &batch.who, what: &batch.what, item, id, version: batch.version, outcome });
                }
                number += 1;
            }
            if end > upto {
                break;
            }
            self.forget_first();
        }
        self.base = upto + 1;
        self.since = (!self.batches.is_empty()).then_some(now);
    }

    /// As `done`, for the batches at the front all of whose items succeeded: `take` hears of each batch at once, with the packet
    /// IDs of its items, a length before each. It says no where it has to hear of each item: there it ends.
    pub fn succeeded(
        &mut self,
        now: u64,
        upto: u64,
        results: &[(u64, Outcome)],
        mut take: impl FnMut(&W, u64, &[u8]) -> bool,
    ) {
        let first_failed = results.iter().map(|(number, _)| *number).find(|number| *number >= self.base);
        let end = first_failed.map_or(upto, |failed| upto.min(failed - 1));
        while let Some(batch) = self.batches.front() {
            let whole = upto < self.next && batch.first == self.base && batch.first + batch.count - 1 <= end;
            if !whole || !take(&batch.who, batch.count, &batch.ids) {
                return;
            }
            self.base = batch.first + batch.count;
            (self.progress, self.patience) = (now, PATIENCE);
            self.forget_first();
            self.since = (!self.batches.is_empty()).then_some(now);
        }
    }

    /// Nothing more is known of what is not acknowledged: `lost` hears of each item, in order, and the stream begins anew as
    /// `number`.
    pub fn give_up(&mut self, number: u64, mut lost: impl FnMut(Item<'_, W>)) {
        let batches = std::mem::take(&mut self.batches);
        let base = self.base;
        *self = Outgoing::new(number);
        for batch in batches {
            let mut ids = &*batch.ids;
            for (number, item) in (batch.first..).zip(Items(&batch.items).flatten()) {
                let (length, rest) = ids.split_first().map_or((0, ids), |(length, rest)| (usize::from(*length), rest));
                let (id, rest) = rest.split_at(length.min(rest.len()));
                ids = rest;
                if number >= base {
                    lost(Item { who: &batch.who, what: &batch.what, item, id, version: batch.version, outcome: None });
                }
            }
        }
    }

    /// The other end knows nothing of the stream: what waits, none of which was sent so far, goes as `number` from item 1 on.
    pub fn begin_anew(&mut self, number: u64) {
        let before = self.batches.front().map_or(self.next, |first| first.first) - 1;
        for batch in &mut self.batches {
            batch.first -= before;
        }
        (self.number, self.base, self.next, self.sent) = (number, 1, self.next - before, 0);
    }

    /// Nothing waits, and nothing has for a while: what was kept to be used again is given back.
    pub fn rest(&mut self) {
        (self.spare, self.spare_bytes) = (Vec::new(), 0);
    }

    fn forget_first(&mut self) {
        let Some(batch) = self.batches.pop_front() else { return };
        self.sent = self.sent.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(batch.what.len() + batch.items.len() + batch.ids.len() + OVERHEAD);
        let mut buffers = [batch.what, batch.items, batch.ids];
        // A busy stream allocates nothing.
        if self.spare_bytes + buffers[1].capacity() <= SPARE && buffers[1].capacity() <= 2 * BATCH {
            self.spare_bytes += buffers[1].capacity();
            buffers.iter_mut().for_each(Vec::clear);
            self.spare.push(buffers);
        }
        if self.batches.is_empty() {
            self.bytes = 0;
        }
    }
}
