//! What must have arrived: every message answered OK, once, in the order sent. Bodies are numbered by sender and recipient.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;

use convergia::wire::Code;

/// How long messages may take while the network changes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Mistakes that are told, at most.
const TOLD: usize = 20;

/// What is known of one message.
#[derive(Clone, Copy, Default)]
struct Message {
    answer: Option<Answered>,
    arrived: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answered {
    /// It must arrive.
    Ok,
    /// It must not.
    Refused,
    /// Nobody knows: the answer was lost, or the recipient's server.
    Unknown,
}

#[derive(Default)]
struct Pair {
    /// By number.
    messages: Vec<Message>,
    /// The number of the last that arrived.
    last: Option<usize>,
}

#[derive(Default)]
struct State {
    /// By sender and recipient.
    pairs: BTreeMap<(String, String), Pair>,
    mistakes: Vec<String>,
    counts: Counts,
}

/// How many messages there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sent.
    pub sent: usize,
    /// Answered OK.
    pub ok: usize,
    /// Answered with a FAIL, or not at all.
    pub failed: usize,
    /// Arrived.
    pub arrived: usize,
    /// Answered OK, and not there yet.
    pub missing: usize,
    /// Not answered yet.
    pub open: usize,
}

impl State {
    fn mistake(&mut self, text: String) {
        if self.mistakes.len() < TOLD {
            self.mistakes.push(text);
        }
    }

    fn answered(&mut self, sender: &str, recipient: &str, number: usize, answer: Answered) {
        let pair = self.pairs.get_mut(&(sender.to_owned(), recipient.to_owned())).expect("it was sent");
        let message = &mut pair.messages[number];
        let arrived = message.arrived;
        if message.answer.replace(answer).is_some() {
            return self.mistake(format!("{sender} to {recipient}, number {number}: answered twice"));
        }
        self.counts.open -= 1;
        if answer == Answered::Ok {
            self.counts.ok += 1;
            self.counts.missing += usize::from(!arrived);
        } else {
            self.counts.failed += 1;
        }
        if arrived && answer == Answered::Refused {
            self.mistake(format!("{sender} to {recipient}, number {number}: refused, and arrived before"));
        }
    }

    fn arrived(&mut self, recipient: &str, sender: &str, body: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(body).map_err(|_| "a body that nobody sent".to_owned())?;
        let number: usize = text
            .split_once('#')
            .filter(|(names, _)| *names == format!("{sender}>{recipient}"))
            .and_then(|(_, rest)| rest.split('.').next()?.parse().ok())
            .ok_or_else(|| format!("a body of someone else: {text:?}"))?;
        let pair = self.pairs.get_mut(&(sender.to_owned(), recipient.to_owned()));
        let pair = pair.filter(|pair| number < pair.messages.len()).ok_or_else(|| format!("{number} was not sent"))?;
        let message = &mut pair.messages[number];
        let last = pair.last.replace(number);
        if std::mem::replace(&mut message.arrived, true) {
            return Err(format!("{number} came twice"));
        }
        self.counts.arrived += 1;
        let answer = message.answer;
        self.counts.missing -= usize::from(answer == Some(Answered::Ok));
        if answer == Some(Answered::Refused) {
            return Err(format!("{number} came, and was refused"));
        }
        match last.filter(|last| *last > number) {
            Some(last) => Err(format!("{number} came after {last}")),
            None => Ok(()),
        }
    }
}

/// Shared by all who send and receive in a test.
#[derive(Default)]
pub struct Checker {
    state: Mutex<State>,
    changed: Condvar,
}

impl Checker {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the checker")
    }

    /// The next message from one user to another: its number, and its body, filled up to `size` bytes.
    pub fn next(&self, sender: &str, recipient: &str, size: usize) -> (usize, Vec<u8>) {
        let mut state = self.state();
        state.counts.sent += 1;
        state.counts.open += 1;
        let pair = state.pairs.entry((sender.to_owned(), recipient.to_owned())).or_default();
        pair.messages.push(Message::default());
        let number = pair.messages.len() - 1;
        let mut body = format!("{sender}>{recipient}#{number}.").into_bytes();
        body.resize(size.max(body.len()), b'.');
        (number, body)
    }

    /// A message was answered. After UNAVAILABLE or INTERNAL it may have arrived; after any other FAIL it must not.
    pub fn answered(&self, sender: &str, recipient: &str, number: usize, answer: Result<(), Code>) {
        let answer = match answer {
            Ok(()) => Answered::Ok,
            Err(Code::Unavailable | Code::Internal) => Answered::Unknown,
            Err(_) => Answered::Refused,
        };
        self.state().answered(sender, recipient, number, answer);
        self.changed.notify_all();
    }

    /// A message came.
    pub fn arrived(&self, recipient: &str, sender: &str, body: &[u8]) {
        let mut state = self.state();
        if let Err(mistake) = state.arrived(recipient, sender, body) {
            state.mistake(format!("{sender} to {recipient}: {mistake}"));
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Something else that must not be; `check` will tell it.
    pub fn wrong(&self, mistake: String) {
        self.state().mistake(mistake);
        self.changed.notify_all();
    }

    /// The server of that recipient was killed: what was answered OK, and is not there yet, may be lost.
    pub fn forgive(&self, recipient: &str) {
        let mut state = self.state();
        let State { pairs, counts, .. } = &mut *state;
        for (_, pair) in pairs.iter_mut().filter(|((_, to), _)| to == recipient) {
            for message in pair.messages.iter_mut().filter(|m| !m.arrived && m.answer == Some(Answered::Ok)) {
                message.answer = Some(Answered::Unknown);
                counts.missing -= 1;
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// How many there were so far.
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Waits until it is so, or something is wrong, or `patience` is over; whether it is so.
    pub fn wait(&self, patience: Duration, mut is_so: impl FnMut(&Counts) -> bool) -> bool {
        let waits = |state: &mut State| state.mistakes.is_empty() && !is_so(&state.counts);
        let (state, _) = self.changed.wait_timeout_while(self.state(), patience, waits).expect("the checker");
        let counts = state.counts;
        drop(state);
        is_so(&counts)
    }

    /// Waits until so many messages more than now were answered OK. Panics if that does not come about, or something is wrong.
    #[track_caller]
    pub fn more(&self, messages: usize) {
        let before = self.counts().ok;
        if !self.wait(PATIENCE, |counts| counts.ok >= before + messages) {
            self.check(&[]);
            panic!("not {messages} more in {PATIENCE:?}: {:?}", self.counts());
        }
    }

    /// Waits until it is so; false: something is wrong, or it does not come about.
    pub fn goes_on(&self, is_so: impl FnMut(&Counts) -> bool) -> bool {
        self.wait(PATIENCE, is_so)
    }

    /// Waits until every message is answered, and all that were answered OK are there.
    pub fn settled(&self, patience: Duration) -> bool {
        self.wait(patience, |counts| counts.open == 0 && counts.missing == 0)
    }

    /// Panics unless all is answered, all that was answered OK arrived, once, in order, and each of `pairs` (sender, recipient)
    /// got at least one message through.
    #[track_caller]
    pub fn check(&self, pairs: &[(&str, &str)]) {
        let state = self.state();
        let mut wrong = state.mistakes.join("\n  ");
        for ((sender, recipient), pair) in &state.pairs {
            let lost = |m: &&Message| m.answer == Some(Answered::Ok) && !m.arrived;
            let open = |m: &&Message| m.answer.is_none();
            let (lost, open) = (pair.messages.iter().filter(lost).count(), pair.messages.iter().filter(open).count());
            if lost > 0 || open > 0 {
                let first = pair.messages.iter().position(lost_or_open).unwrap_or_default();
                let _ = write!(
                    wrong,
                    "\n  {sender} to {recipient}: {lost} lost, {open} not answered; the first is {first} of {}",
                    pair.messages.len()
                );
            }
        }
        for (sender, recipient) in pairs {
            let pair = state.pairs.get(&((*sender).to_owned(), (*recipient).to_owned()));
            if !pair.is_some_and(|pair| pair.messages.iter().any(|m| m.arrived && m.answer == Some(Answered::Ok))) {
                let _ = write!(wrong, "\n  {sender} to {recipient}: nothing got through");
            }
        }
        let counts = state.counts;
        // A panic under the lock would hide this one behind others.
        drop(state);
        assert!(wrong.is_empty(), "{counts:?}\n  {}", wrong.trim_start());
    }
}

/// Every user to every other.
pub fn all_pairs<'a>(users: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    let to_others = |from: &'a str| users.iter().filter(move |to| **to != from).map(move |to| (from, *to));
    users.iter().flat_map(|from| to_others(from)).collect()
}

fn lost_or_open(message: &Message) -> bool {
    message.answer.is_none() || (message.answer == Some(Answered::Ok) && !message.arrived)
}
