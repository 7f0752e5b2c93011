//! The receiving end of a stream.

use std::collections::BTreeSet;
use std::collections::VecDeque;

use super::Outcome;
use super::Relayed;
use super::RESULTS;

/// Events that are reported together at most, while more comes without a pause.
const TOGETHER: u32 = 4;

/// What is to be done with a packet's items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// They are the next ones, but for the first `skip`, which were taken before.
    Items {
        /// How many to pass over.
        skip: u64,
    },
    /// Nothing: seen already, or something before them is missing.
    Nothing,
}

/// The receiving end.
#[derive(Debug, Default)]
pub struct Incoming {
    number: u64,
    /// All up to this one were taken.
    taken: u64,
    /// Items that did not simply succeed, until the origin knows.
    results: VecDeque<(u64, Outcome)>,
    /// Taken items that are not done yet: they wait for something else.
    open: BTreeSet<u64>,
    gap: bool,
    due: bool,
    /// Since when a report waits for what comes next, and how many events it has waited for.
    waited: Option<(u64, u32)>,
}

impl Incoming {
    /// A packet of stream `number` with `count` items from `first` on, whose origin knows that all up to `acked` are
    /// done. The caller handles the items that it is told to, in order, and then calls `take`.
    pub fn offer(&mut self, number: u64, first: u64, count: u64, acked: u64) -> Taken {
        if number < self.number {
            // Of a stream that was given up.
            return Taken::Nothing;
        }
        self.due = true;
        if number > self.number {
            *self = Incoming { number, due: true, ..Incoming::default() };
        }
        while self.results.front().is_some_and(|(number, _)| *number <= acked) {
            self.results.pop_front();
        }
        let skip = (self.taken + 1).saturating_sub(first);
        if first > self.taken + 1 || self.results.len() + self.open.len() >= RESULTS {
            self.gap = true;
            return Taken::Nothing;
        }
        if skip >= count {
            return Taken::Nothing;
        }
        Taken::Items { skip }
    }

    /// The next item was taken; None: it succeeded. Returns its number.
    #[inline]
    pub fn take(&mut self, outcome: Option<Outcome>) -> u64 {
        self.taken += 1;
        if let Some(outcome) = outcome {
            self.results.push_back((self.taken, outcome));
        }
        self.taken
    }

    /// The number of the item that is taken next.
    pub fn next_number(&self) -> u64 {
        self.taken + 1
    }

    /// The item of that number was taken, and is not done before `close`.
    pub fn open(&mut self, number: u64) {
        self.open.insert(number);
    }

    /// See `open`; None: it succeeded. True: it was open.
    pub fn close(&mut self, number: u64, outcome: Option<Outcome>) -> bool {
        let was = self.open.remove(&number);
        self.due |= was;
        if let Some(outcome) = outcome.filter(|_| was) {
            // Nothing behind it was reported while it was open.
            let at = self.results.partition_point(|(other, _)| *other < number);
            self.results.insert(at, (number, outcome));
        }
        was
    }

    /// A packet that came was not taken: the origin is asked for it again.
    pub fn missed(&mut self) {
        (self.gap, self.due) = (true, true);
    }

    /// What `report` gave could not be sent.
    pub fn report_again(&mut self) {
        self.due = true;
    }

    /// Whether the report can wait a moment, as `more` is on its way: many packets in a row are reported once. Asked at the
    /// end of each event.
    pub fn waits(&mut self, now: u64, more: bool) -> bool {
        let (since, events) = self.waited.unwrap_or((now, 0));
        let urgent = self.gap || !self.results.is_empty() || now > since.saturating_add(1) || events >= TOGETHER;
        let waits = self.due && more && !urgent;
        self.waited = waits.then_some((since, events + 1));
        waits
    }

    /// Whether there is something to report.
    pub fn is_due(&self) -> bool {
        self.due
    }

    /// The stream's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What the origin is to be told, if anything, and the results that go with it. `dest` and `from`, with its start, go into the head.
    pub fn report(&mut self, ttl: u8, dest: &str, from: &str, boot: u64) -> Option<(Relayed, Vec<&(u64, Outcome)>)> {
        if !std::mem::take(&mut self.due) {
            return None;
        }
        let upto = self.open.first().map_or(self.taken, |first| self.taken.min(first - 1));
        let head = Relayed {
            ttl,
            dest: dest.to_owned(),
            from: from.to_owned(),
            boot,
            stream: self.number,
            upto,
            unknown: false,
            gap: std::mem::take(&mut self.gap),
        };
        Some((head, self.results.iter().take_while(|(number, _)| *number <= upto).collect()))
    }
}
