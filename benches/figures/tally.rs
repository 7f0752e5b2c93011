//! What is counted while a load runs: every message must come once, in order.

use std::time::Duration;
use std::time::Instant;

use crate::pattern::Pattern;
use crate::pattern::Shape;
use crate::pattern::Wire;
use crate::Result;

/// When nothing comes for so long although something must, the run has failed.
const STALL: Duration = Duration::from_secs(10);

/// What is counted for one pair in one run.
#[derive(Default)]
pub struct Pair {
    pub sent: u64,
    pub received: u64,
    pub accepted: u64,
    pub refused: u64,
    /// The lowest number that may come next.
    pub next: u64,
    /// The sum of the numbers that were accepted, to find one that was accepted twice.
    pub accepted_sum: u64,
}

impl Pair {
    /// How many were sent and have not come back.
    pub fn under_way(&self, answered: bool) -> u64 {
        let back = if answered { self.received.min(self.accepted) } else { self.received };
        self.sent - (back + self.refused).min(self.sent)
    }

    /// Counts an OK.
    pub fn accept(&mut self, number: u64) {
        self.accepted += 1;
        self.accepted_sum = self.accepted_sum.wrapping_add(number);
    }
}

/// What a run was like.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Messages that arrived.
    pub delivered: u64,
    /// Messages that the server refused.
    pub refused: u64,
    /// From the first sent to the last received.
    pub took: Duration,
    /// From send to receive, in ns, in order of arrival; only when asked for.
    pub delays: Vec<u64>,
}

/// The numbers of one run.
pub struct Run {
    pub shape: Shape,
    /// The server answers each message.
    pub answers: bool,
    pub pairs: Vec<Pair>,
    pub patterns: Vec<Pattern>,
    pub delays: Option<Vec<u64>>,
    /// When something arrived last.
    pub progress: Instant,
}

impl Run {
    /// One pair for each pattern; with or without delays.
    pub fn new(wire: Wire, shape: Shape, patterns: Vec<Pattern>, delays: bool) -> Run {
        Run {
            shape,
            answers: shape.answered && wire == Wire::Convergia,
            pairs: patterns.iter().map(|_| Pair::default()).collect(),
            patterns,
            delays: delays.then(Vec::new),
            progress: Instant::now(),
        }
    }

    /// The pair of a link.
    pub fn pair(&mut self, at: usize) -> Result<&mut Pair> {
        Ok(self.pairs.get_mut(at / 2).ok_or("an answer came to one who sent nothing")?)
    }

    /// Counts a message, and checks that it comes in order.
    pub fn message(&mut self, at: usize, number: u64, delay: u64) -> Result<()> {
        if at.is_multiple_of(2) {
            return Err("a message came to a sender".into());
        }
        let pair = self.pair(at)?;
        // A gap is a message that was refused; done() checks that there are no others.
        if number < pair.next || number >= pair.sent {
            return Err(format!("message {number} came, {} of {} was awaited", pair.next, pair.sent).into());
        }
        pair.next = number + 1;
        pair.received += 1;
        if let Some(delays) = &mut self.delays {
            delays.push(delay);
        }
        Ok(())
    }

    /// Whether every message has come, and every answer.
    pub fn done(&self) -> bool {
        let whole = |pair: &Pair| {
            let answers = pair.accepted + pair.refused;
            pair.received + pair.refused == pair.sent && (!self.answers || answers == pair.sent)
        };
        self.pairs.iter().all(whole)
    }

    /// Fails when nothing has come for too long.
    pub fn watchdog(&self) -> Result<()> {
        if self.progress.elapsed() < STALL {
            return Ok(());
        }
        let (mut sent, mut received, mut accepted, mut refused) = (0, 0, 0, 0);
        for pair in &self.pairs {
            sent += pair.sent;
            received += pair.received;
            accepted += pair.accepted;
            refused += pair.refused;
        }
        Err(format!("stalled: {sent} sent, {received} received, {accepted} accepted, {refused} refused").into())
    }

    /// The end. Fails when an answer came twice in place of another.
    pub fn outcome(self, took: Duration) -> Result<Outcome> {
        let doubled = |pair: &Pair| {
            let all = pair.sent * pair.sent.saturating_sub(1) / 2;
            self.answers && pair.refused == 0 && pair.accepted_sum != all
        };
        if self.pairs.iter().any(doubled) {
            return Err("a message was answered twice, and another not at all".into());
        }
        Ok(Outcome {
            delivered: self.pairs.iter().map(|pair| pair.received).sum(),
            refused: self.pairs.iter().map(|pair| pair.refused).sum(),
            took,
            delays: self.delays.unwrap_or_default(),
        })
    }
}
