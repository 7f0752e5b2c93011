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

/// How many runs come before it; who asked, what it is, the item, the asker's packet ID, and what became of it.
type Odd = (usize, Who, Vec<u8>, Vec<u8>, Vec<u8>, Option<Outcome>);

/// What results ask for, gathered while the stream is borrowed: for the many plain successes in a row it costs nothing but counting.
#[derive(Default)]
pub struct Settled {
    /// Runs of one asker, with the IDs of those that succeeded: a length before each.
    runs: Vec<(Who, usize, Vec<u8>)>,
    /// The others, one by one; `runs` before them first.
    rest: Vec<Odd>,
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
        let follows = self.rest.last().is_none_or(|(at, ..)| *at < self.runs.len());
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
            let (what, body) = (item.what.to_vec(), item.item.to_vec());
            self.rest.push((self.runs.len(), *item.who, what, body, item.id.to_vec(), item.outcome.cloned()));
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
            while let Some((_, who, what, item, id, outcome)) = rest.next_if(|(before, ..)| *before <= at) {
                one(main, ctx, end, who, &what, &item, &id, outcome);
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
        for (_, who, what, item, id, outcome) in rest {
            one(main, ctx, end, who, &what, &item, &id, outcome);
        }
    }
}

#[allow(clippy::too_many_arguments)]
fn one(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    end: End,
    who: Who,
    what: &[u8],
    item: &[u8],
    id: &[u8],
    outcome: Option<Outcome>,
) {
    let moved = match outcome {
        Some(Outcome::Moved { delivered, to }) => Some((delivered, to)),
        other => return result(main, ctx, end, who, what, item, id, other),
    };
    if matches!(end, End::Realm(_)) {
        // What another realm's sessions do is its own affair.
        let fail = Some(Outcome::Fail(Code::Internal, "that realm answers what no realm may".to_owned()));
        return result(main, ctx, end, who, what, item, id, fail);
    }
    // The sessions it was for went on: so does it, before anything that is sent to them later.
    let Some((delivered, to)) = moved else { return };
    let asker = match who {
        Who::Session { index, link } => Asker::Session { index, link, id: id.to_vec() },
        Who::Joint(joint) => {
            return sent_on(main, ctx, joint, what, item, delivered, &to);
        }
        Who::Control | Who::Queued(_) => return,
    };
    let joint = main.mesh.joints.open(asker, 1, delivered);
    sent_on(main, ctx, joint, what, item, delivered, &to);
}

/// One of several results becomes as many as there are sessions.
pub fn sent_on(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    joint: u64,
    what: &[u8],
    item: &[u8],
    delivered: bool,
    to: &[(String, String)],
) {
    if main.mesh.joints.more(joint, to.len(), delivered) {
        for (only, server) in to {
            hold::send_on(main, ctx, what, item, only, server, Who::Joint(joint));
        }
    }
    joined(main, ctx, joint, if delivered { None } else { skip() });
}

fn skip() -> Option<Outcome> {
    Some(Outcome::Fail(Code::Offline, "moved".to_owned()))
}

/// One result, of an item that is not sent on.
#[allow(clippy::too_many_arguments)]
pub fn result(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    end: End,
    who: Who,
    what: &[u8],
    item: &[u8],
    id: &[u8],
    outcome: Option<Outcome>,
) {
    match who {
        Who::Session { index, link } => tell(main, ctx, index, link, id, outcome),
        Who::Joint(joint) => joined(main, ctx, joint, outcome),
        Who::Control => {
            if let End::Server(server) = end {
                control::done(main, ctx, server, what, item, outcome);
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
