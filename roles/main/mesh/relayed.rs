//! RELAYED: how far the other end of a stream has come, and what failed. Here senders get their answers.

use super::control;
use super::joint::Asker;
use super::relay;
use super::Who;
use crate::config::PortKey;
use crate::engine::handshake;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::relay::packet::Routed;
use crate::relay::Item;
use crate::relay::Outcome;
use crate::relay::Relayed;
use crate::roles::main::hold;
use crate::roles::main::leave;
use crate::roles::main::redirect;
use crate::roles::main::Main;
use crate::route::ServerNo;
use crate::wire::Code;
use crate::wire::Fail;

pub const RELAYED: Command<Main> = Command {
    name: "RELAYED",
    ports: &[PortKey::MainMain],
    args: "hops|server|… LF results",
    gate: handshake::proven_server::<Main>,
    run,
};

fn run(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let neighbour = relay::neighbour_of(ctx, request.link)?;
    let result = take(main, ctx, request, neighbour);
    relay::refused(main, neighbour, "RELAYED", result)
}

fn take(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>, neighbour: ServerNo) -> Result<Answer, Fail> {
    let routed = Routed::parse(request.data())?;
    if *routed.dest != *main.settings.server_id {
        relay::forward(main, ctx, request.link, b"RELAYED ", &routed)?;
        return Ok(Answer::None);
    }
    let (head, results, signed) = Relayed::parse(&routed)?;
    let server = main.table.server_no(&head.from);
    let server = server.ok_or_else(|| Fail::new(Code::Denied, "of a server that is not known"))?;
    relay::authentic(main, neighbour, server, "RELAYED", &signed, signed.body)?;
    let now = ctx.now();
    let Some(entry) = main.mesh.get_mut(server).filter(|entry| entry.out.number() == head.stream) else {
        return Ok(Answer::None);
    };
    if head.unknown {
        entry.facts.boot = head.boot;
        give_up(main, ctx, server, "the recipient's server was started anew");
        return Ok(Answer::None);
    }
    let mut settled = Settled::default();
    entry.out.succeeded(now, head.upto, &results, |who, count, ids| settled.add_all(*who, count, ids));
    entry.out.done(now, head.upto, &results, |item| settled.add(item));
    if head.gap {
        entry.out.gap(now);
    }
    main.mesh.touch(server);
    carry_out(main, ctx, server, settled);
    hold::release(main, ctx);
    leave::look(main);
    Ok(Answer::None)
}

/// An item that a result is for.
#[derive(Clone, Debug)]
struct Odd {
    who: Who,
    sent: Sent,
    /// The asker's packet ID; empty: no answer is wanted.
    id: Vec<u8>,
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
    fn new(item: &Item<'_, Who>) -> Odd {
        let sent = Sent { what: item.what.to_vec(), item: item.item.to_vec(), version: item.version };
        Odd { who: *item.who, sent, id: item.id.to_vec(), outcome: item.outcome.cloned() }
    }
}

/// What results ask for, gathered while the stream is borrowed: for the many plain successes in a row it costs nothing but counting.
#[derive(Default)]
struct Settled {
    /// Runs of one asker, with the IDs of those that succeeded: a length before each.
    runs: Vec<(Who, usize, Vec<u8>)>,
    /// The others, one by one, each with how many of `runs` come before it.
    rest: Vec<(usize, Odd)>,
}

impl Settled {
    /// Many successes of one asker. False: what the items are matters, so that they are to be added one by one.
    fn add_all(&mut self, who: Who, count: u64, ids: &[u8]) -> bool {
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

    fn add(&mut self, item: Item<'_, Who>) {
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
}

fn carry_out(main: &mut Main, ctx: &mut Ctx<Main>, server: ServerNo, settled: Settled) {
    let mut rest = settled.rest.into_iter().peekable();
    for (at, (who, count, ids)) in settled.runs.into_iter().enumerate() {
        while let Some((_, odd)) = rest.next_if(|(before, _)| *before <= at) {
            one(main, ctx, server, odd);
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
        one(main, ctx, server, odd);
    }
}

fn one(main: &mut Main, ctx: &mut Ctx<Main>, server: ServerNo, odd: Odd) {
    let Some(Outcome::Moved { delivered, to }) = odd.outcome else { return result(main, ctx, server, odd) };
    // The sessions it was for went on: so does it, before anything that is sent to them later.
    let joint = match odd.who {
        Who::Session { index, link } => main.mesh.joints.open(Asker::Session { index, link, id: odd.id }, 1, delivered),
        Who::Joint(joint) => joint,
        Who::Control => return,
    };
    sent_on(main, ctx, joint, &odd.sent, delivered, &to);
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

fn result(main: &mut Main, ctx: &mut Ctx<Main>, server: ServerNo, odd: Odd) {
    let Odd { who, sent, id, outcome } = odd;
    match who {
        Who::Session { index, link } => tell(main, ctx, index, link, &id, outcome),
        Who::Joint(joint) => joined(main, ctx, joint, outcome),
        Who::Control => control::done(main, ctx, server, &sent.what, &sent.item, outcome),
    }
}

/// One of several results.
pub fn joined(main: &mut Main, ctx: &mut Ctx<Main>, joint: u64, outcome: Option<Outcome>) {
    match main.mesh.joints.close(joint, outcome) {
        Some((Asker::Session { index, link, id }, outcome)) => tell(main, ctx, index, link, &id, outcome),
        Some((Asker::Item { origin, stream, number }, _)) => {
            if let Some(entry) = main.mesh.get_mut(origin).filter(|entry| entry.inc.number() == stream) {
                entry.inc.close(number);
                main.mesh.touch(origin);
            }
        }
        None => {}
    }
}

/// Answers a SENDMESSAGE. `id` empty: only a FAIL is answered.
fn tell(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    index: usize,
    link: crate::engine::LinkId,
    id: &[u8],
    outcome: Option<Outcome>,
) {
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
pub fn answered(main: &mut Main, ctx: &mut Ctx<Main>, index: usize, link: crate::engine::LinkId, count: usize) {
    let Some(Some(session)) = main.sessions.get_mut(index).filter(|s| s.as_ref().is_some_and(|s| s.link == link))
    else {
        return;
    };
    session.relaying = session.relaying.saturating_sub(count);
    if session.relaying == 0 && session.moving.is_some() {
        redirect::try_finish(main, ctx, index);
    }
}

/// The other end is gone, or not reached for too long: what is not acknowledged may have arrived or not.
pub fn give_up(main: &mut Main, ctx: &mut Ctx<Main>, server: ServerNo, why: &str) {
    let now = ctx.now();
    let number = main.mesh.stream_number(now);
    let Some(entry) = main.mesh.get_mut(server) else { return };
    entry.lost_since = None;
    let mut lost = Vec::new();
    entry.out.give_up(number, |item| lost.push(Odd::new(&item)));
    if !lost.is_empty() {
        log::warn!("{} items for main server {} are given up: {why}", lost.len(), main.table.server_id(server));
    }
    for odd in lost {
        let text = format!("{why}: the message may have arrived or not");
        result(main, ctx, server, Odd { outcome: Some(Outcome::Fail(Code::Unavailable, text)), ..odd });
    }
    hold::release(main, ctx);
    leave::look(main);
}
