//! What becomes of items that were acknowledged, or given up: here senders get their answers.

use super::control;
use super::joint::Asker;
use super::End;
use super::Who;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::relay::Item;
use crate::relay::Outcome;
use crate::roles::main::hold;
use crate::roles::main::realm::abroad;
use crate::roles::main::realm::arrived;
use crate::roles::main::realm::queue;
use crate::roles::main::redirect;
use crate::roles::main::Main;
use crate::wire::Code;
use crate::wire::Fail;

/// An item that a result is for.
#[derive(Clone, Debug)]
pub struct Odd {
    /// Who asked.
    pub who: Who,
    /// What was sent for it.
    pub sent: Sent,
    /// The asker's packet ID; empty: no answer is wanted.
    pub id: Vec<u8>,
    outcome: Option<Outcome>,
}

/// What was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// What it is, as it stands on the wire.
    pub what: Vec<u8>,
    /// The item, as it stands on the wire.
    pub item: Vec<u8>,
    /// The version of the table under which its sender's server accepted it.
    pub version: u64,
}

impl Odd {
    /// Of an item, with its result.
    pub fn new(item: &Item<'_, Who>) -> Odd {
        let sent = Sent { what: item.what.to_vec(), item: item.item.to_vec(), version: item.version };
        Odd { who: *item.who, sent, id: item.id.to_vec(), outcome: item.outcome.cloned() }
    }

    /// The same, failed.
    pub fn failed(self, code: Code, text: String) -> Odd {
        Odd { outcome: Some(Outcome::Fail(code, text)), ..self }
    }
}

/// What results ask for, gathered while the stream is borrowed: for the many plain successes in a row it costs nothing but counting.
#[derive(Default)]
pub struct Settled {
    /// Runs of one asker, with the IDs of those that succeeded: a length before each.
    runs: Vec<(Who, usize, Vec<u8>)>,
    /// The others, one by one, each with how many of `runs` come before it.
    rest: Vec<(usize, Odd)>,
}

impl Settled {
    /// Many successes of one asker. False: what the items are matters, so that they are to be added one by one.
    pub fn add_all(&mut self, who: Who, count: u64, ids: &[u8]) -> bool {
        let plain = matches!(who, Who::Session { .. });
        if plain {
            // The first to be added, as `rest` is still empty.
            let run = self.run(who);
            run.1 += usize::try_from(count).unwrap_or(usize::MAX);
            if ids.iter().any(|byte| *byte != 0) {
                run.2.extend_from_slice(ids);
            }
        }
        plain
    }

    /// The last run, if it is of that asker, or a new one.
    fn run(&mut self, who: Who) -> &mut (Who, usize, Vec<u8>) {
        let follows = self.rest.last().is_none_or(|(at, _)| *at < self.runs.len());
        if !follows || self.runs.last().is_none_or(|run| run.0 != who) {
            self.runs.push((who, 0, Vec::new()));
        }
        let last = self.runs.len() - 1;
        &mut self.runs[last]
    }

    /// One item.
    pub fn add(&mut self, item: Item<'_, Who>) {
        let plain = matches!(item.who, Who::Session { .. }) && item.outcome.is_none();
        if !plain {
            self.rest.push((self.runs.len(), Odd::new(&item)));
            return;
        }
        let (_, count, ids) = self.run(*item.who);
        *count += 1;
        if !item.id.is_empty() {
            ids.push(item.id.len() as u8);
            ids.extend_from_slice(item.id);
        }
    }

    /// Answers whoever asked.
    pub fn carry_out(self, main: &mut Main, ctx: &mut Ctx<Main>, end: End) {
        let mut rest = self.rest.into_iter().peekable();
        for (at, (who, count, ids)) in self.runs.into_iter().enumerate() {
            while let Some((_, odd)) = rest.next_if(|(before, _)| *before <= at) {
                one(main, ctx, end, odd);
            }
            let Who::Session { index, link } = who else { continue };
            let mut ids = &*ids;
            while let Some((length, more)) = ids.split_first() {
                let (id, more) = more.split_at(usize::from(*length).min(more.len()));
                ids = more;
                if id.is_empty() {
                    continue;
                }
                ctx.answer_to(link, id, b"SENDMESSAGE", Ok(b""));
            }
            answered(main, ctx, index, link, count);
        }
        for (_, odd) in rest {
            one(main, ctx, end, odd);
        }
    }
}

fn one(main: &mut Main, ctx: &mut Ctx<Main>, end: End, odd: Odd) {
    let Some(Outcome::Moved { delivered, to }) = &odd.outcome else { return result(main, ctx, end, odd) };
    if matches!(end, End::Realm(_)) {
        // What another realm's sessions do is its own affair.
        return result(main, ctx, end, odd.failed(Code::Internal, "that realm answers what no realm may".to_owned()));
    }
    // The sessions it was for went on: so does it, before anything that is sent to them later.
    let joint = match odd.who {
        Who::Session { index, link } => {
            main.mesh.joints.open(Asker::Session { index, link, id: odd.id }, 1, *delivered)
        }
        Who::Joint(joint) => joint,
        Who::Control | Who::Queued(_) => return,
    };
    sent_on(main, ctx, joint, &odd.sent, *delivered, to);
}

/// One of several results becomes as many as there are sessions.
pub fn sent_on(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    joint: u64,
    sent: &Sent,
    delivered: bool,
    to: &[(String, String)],
) {
    if main.mesh.joints.more(joint, to.len(), delivered) {
        for (only, server) in to {
            hold::send_on(main, ctx, sent, only, server, joint);
        }
    }
    joined(main, ctx, joint, if delivered { None } else { skip() });
}

fn skip() -> Option<Outcome> {
    Some(Outcome::Fail(Code::Offline, "moved".to_owned()))
}

/// One result, of an item that is not sent on.
pub fn result(main: &mut Main, ctx: &mut Ctx<Main>, end: End, odd: Odd) {
    let Odd { who, sent, id, outcome } = odd;
    match who {
        Who::Session { index, link } => tell(main, ctx, index, link, &id, outcome),
        Who::Joint(joint) => joined(main, ctx, joint, outcome),
        Who::Control => {
            if let End::Server(server) = end {
                control::done(main, ctx, server, &sent.what, &sent.item, outcome);
            }
        }
        Who::Queued(row) => {
            if let End::Realm(realm) = end {
                queue::settled(main, ctx, realm, row, outcome);
            }
        }
    }
}

/// One of several results.
pub fn joined(main: &mut Main, ctx: &mut Ctx<Main>, joint: u64, outcome: Option<Outcome>) {
    if let Some((asker, outcome)) = main.mesh.joints.close(joint, outcome) {
        tell_asker(main, ctx, asker, outcome);
    }
}

/// Tells whoever asked what became of a message that was under way.
pub fn tell_asker(main: &mut Main, ctx: &mut Ctx<Main>, asker: Asker, outcome: Option<Outcome>) {
    match asker {
        Asker::Session { index, link, id } => tell(main, ctx, index, link, &id, outcome),
        Asker::Item { origin, stream, number } => {
            if let Some(entry) = main.mesh.get_mut(origin).filter(|entry| entry.inc.number() == stream) {
                entry.inc.close(number, outcome);
                main.mesh.touch(origin);
            }
        }
        Asker::RealmItem { realm, stream, number } => abroad::close(main, realm, stream, number, outcome),
        Asker::Waiting(row) => arrived::settled(main, ctx, row, outcome),
    }
}

/// Answers a SENDMESSAGE. `id` empty: only a FAIL is answered.
fn tell(main: &mut Main, ctx: &mut Ctx<Main>, index: usize, link: LinkId, id: &[u8], outcome: Option<Outcome>) {
    match outcome {
        None if id.is_empty() => {}
        None => ctx.answer_to(link, id, b"SENDMESSAGE", Ok(b"")),
        Some(Outcome::Fail(code, text)) => {
            let id = if id.is_empty() { b"0" } else { id };
            ctx.answer_to(link, id, b"SENDMESSAGE", Err(&Fail::new(code, text)));
        }
        // Sent on before it comes here.
        Some(Outcome::Moved { .. }) => {}
    }
    answered(main, ctx, index, link, 1);
}

/// So many messages of a session are not under way any more.
pub fn answered(main: &mut Main, ctx: &mut Ctx<Main>, index: usize, link: LinkId, count: usize) {
    let Some(Some(session)) = main.sessions.get_mut(index).filter(|s| s.as_ref().is_some_and(|s| s.link == link))
    else {
        return;
    };
    session.relaying = session.relaying.saturating_sub(count);
    if session.relaying == 0 && session.moving.is_some() {
        redirect::try_finish(main, ctx, index);
    }
}
