//! SAMPLES: how the network did in the last 24 hours, a line a minute. Main servers tell once a minute what they moved (TRAFFIC), data
//! management tells what is stored (STORAGESTATUS); it is in memory, and begins anew with management.

use std::collections::VecDeque;

use super::introduced;
use super::Management;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::wire::Fail;

/// One a minute, for 24 hours.
const KEPT: usize = 24 * 60;
/// How often; milliseconds.
const EVERY: u64 = 60_000;
/// In the middle of a minute: main servers tell at its start.
const WITHIN: u64 = 30_000;
/// How long after the start the first one is made; milliseconds.
const FIRST: u64 = 5_000;

pub const SAMPLES: Command<Management> =
    Command { name: "SAMPLES", ports: &[PortKey::Admin], args: "after, or nothing", gate: anyone, run: list };

pub const TRAFFIC: Command<Management> = Command {
    name: "TRAFFIC",
    ports: &[PortKey::MainManagement],
    args: "messages LF bytes in LF bytes out",
    gate: introduced,
    run: traffic,
};

/// What main servers have moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Moved {
    messages: u64,
    bytes_in: u64,
    bytes_out: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    /// Unix milliseconds.
    at: u64,
    sessions: u64,
    moved: Moved,
    /// Bytes, and how many there is room for.
    stored: u64,
    capacity: u64,
}

/// The samples, oldest first.
#[derive(Debug, Default)]
pub struct Samples {
    all: VecDeque<Sample>,
    /// Since the last one.
    moved: Moved,
    next: u64,
}

impl Samples {
    fn take(&mut self, at: u64, sessions: u64, stored: u64, capacity: u64) {
        let moved = std::mem::take(&mut self.moved);
        if self.all.len() >= KEPT {
            self.all.pop_front();
        }
        self.all.push_back(Sample { at, sessions, moved, stored, capacity });
    }

    /// Lines `time|sessions|messages|bytes in|bytes out|stored|capacity` of those later than `after`.
    fn lines(&self, after: u64) -> String {
        let line = |sample: &Sample| {
            let Sample { at, sessions, moved, stored, capacity } = sample;
            let Moved { messages, bytes_in, bytes_out } = moved;
            format!("{at}|{sessions}|{messages}|{bytes_in}|{bytes_out}|{stored}|{capacity}")
        };
        self.all.iter().filter(|sample| sample.at > after).map(line).collect::<Vec<_>>().join("\n")
    }
}

fn traffic(management: &mut Management, _: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [messages, bytes_in, bytes_out] = request.data().take()?;
    let (messages, bytes_in, bytes_out) = (messages.number()?, bytes_in.number()?, bytes_out.number()?);
    let moved = &mut management.samples.moved;
    moved.messages = moved.messages.saturating_add(messages);
    moved.bytes_in = moved.bytes_in.saturating_add(bytes_in);
    moved.bytes_out = moved.bytes_out.saturating_add(bytes_out);
    Ok(Answer::None)
}

fn list(management: &mut Management, _: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let after = if request.data().is_empty() { 0 } else { request.data().number()? };
    Ok(Answer::Data(management.samples.lines(after).into_bytes()))
}

/// Once a second.
pub fn tick(management: &mut Management, ctx: &Ctx<Management>) {
    let now = ctx.now();
    if management.samples.next == 0 {
        management.samples.next = now.saturating_add(FIRST);
    }
    if now < management.samples.next {
        return;
    }
    let sessions = management.online.total();
    let [stored, capacity] = ["bytes used", "capacity"].map(|key| management.storage.number(key));
    let samples = &mut management.samples;
    samples.next = (now / EVERY).saturating_add(1).saturating_mul(EVERY).saturating_add(WITHIN);
    samples.take(now, sessions, stored, capacity);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_kept_and_what_was_moved_counts_once() {
        let mut samples = Samples::default();
        for minute in 1..=KEPT as u64 + 2 {
            samples.moved.messages = minute;
            samples.take(minute, 3, 10, 20);
        }
        assert_eq!((samples.all.len(), samples.all[0].at, samples.moved), (KEPT, 3, Moved::default()));
        assert_eq!(samples.lines(KEPT as u64), "1441|3|1441|0|0|10|20\n1442|3|1442|0|0|10|20");
    }
}
