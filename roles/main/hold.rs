//! Messages that wait before they are sent: while the table is loaded anew, while items to a server that a user has left
//! are not acknowledged, and while management is asked about a name.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::VecDeque;

use super::marks;
use super::mesh::joint::Asker;
use super::mesh::settled;
use super::mesh::settled::Sent;
use super::mesh::Who;
use super::post;
use super::Main;
use crate::engine::Ctx;
use crate::relay::Outcome;
use crate::route::ServerNo;
use crate::wire::name;
use crate::wire::raw;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// Bytes of all messages that are held, at most: over it, senders get BUSY.
const MOST: usize = 32 << 20;

/// A message that waits.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Who is told what becomes of it.
    pub asker: Asker,
    /// Who sent it; None: whoever has the session that asks.
    pub sender: Option<Box<str>>,
    /// As written by the sender.
    pub recipient: Box<str>,
    /// When it was accepted.
    pub sent_at: u64,
    /// Escaped.
    pub body: Vec<u8>,
}

impl Letter {
    /// What it costs to hold it, about.
    fn size(&self) -> usize {
        self.body.len() + self.recipient.len() + 250
    }
}

#[derive(Debug, Default)]
struct Hold {
    /// Streams, with their numbers, and the items that have to be acknowledged.
    until: Vec<(ServerNo, u64, u64)>,
    /// Management is asked.
    asked: bool,
    letters: VecDeque<Letter>,
}

/// All that waits.
#[derive(Debug, Default)]
pub struct Holds {
    users: HashMap<Box<str>, Hold>,
    /// Everything waits, in the order it came.
    suspended: Option<VecDeque<Letter>>,
    bytes: usize,
}

impl Holds {
    /// Whether everything waits.
    pub fn is_suspended(&self) -> bool {
        self.suspended.is_some()
    }

    /// Whether messages to that user wait. `folded`: the name.
    pub fn is_held(&self, folded: &str) -> bool {
        self.users.contains_key(folded)
    }
}

/// From now on everything waits.
pub fn suspend(main: &mut Main) {
    main.holds.suspended.get_or_insert_default();
}

/// Everything that waited goes on.
pub fn resume(main: &mut Main, ctx: &mut Ctx<Main>) {
    for letter in main.holds.suspended.take().unwrap_or_default() {
        send(main, ctx, letter);
    }
    release(main, ctx);
}

/// A user, or a session, has left one of `gone`: messages wait until what was sent there before is acknowledged.
pub fn user_left(main: &mut Main, user: &str, gone: &[ServerNo]) {
    for server in gone {
        let Some(out) = main.mesh.get(*server).map(|entry| &entry.out).filter(|out| !out.is_idle()) else { continue };
        let (stream, last) = (out.number(), out.last());
        until(main, user, *server, stream, last);
    }
}

/// Messages to those for whom something is on its way to `server` wait until that is acknowledged: of many users at once it is told where
/// they are now, and not which way their sessions went.
pub fn on_the_way(main: &mut Main, server: ServerNo) {
    let Some(out) = main.mesh.get(server).map(|entry| &entry.out) else { return };
    let (stream, last) = (out.number(), out.last());
    // As `post::what` writes it.
    let recipient = |what: &[u8]| Raw(what).text().ok()?.strip_prefix("m|")?.split('|').nth(1).map(str::to_owned);
    let users: BTreeSet<String> = out.kinds().filter_map(recipient).collect();
    for user in users {
        until(main, &user, server, stream, last);
    }
}

/// Holds the first message to a user of whom management is about to be asked.
///
/// # Errors
/// BUSY: it is not held, and management need not be asked.
pub fn ask(main: &mut Main, letter: &Letter) -> Result<(), Fail> {
    let folded = name::fold(&letter.recipient);
    main.holds.users.entry(Box::from(&*folded)).or_default().asked = true;
    let kept = keep(main, || letter.clone(), &folded);
    if kept.is_err() {
        // Nobody was held before: else this one would not have come so far.
        main.holds.users.remove(&*folded);
    }
    kept.map(|_| ())
}

/// Messages to a user wait until that item is acknowledged.
fn until(main: &mut Main, user: &str, server: ServerNo, stream: u64, item: u64) {
    let all = &mut main.holds.users.entry(Box::from(&*name::fold(user))).or_default().until;
    match all.iter_mut().find(|(known, number, _)| (*known, *number) == (server, stream)) {
        Some((_, _, last)) => *last = item.max(*last),
        None => all.push((server, stream, item)),
    }
    marks::renew(main, user);
}

/// Holds a message, if it has to wait. None: it does not.
///
/// # Errors
/// BUSY: too much waits already.
pub fn keep(main: &mut Main, letter: impl FnOnce() -> Letter, folded: &str) -> Result<Option<()>, Fail> {
    let Holds { users, suspended, bytes } = &mut main.holds;
    let queue = match (suspended, users.get_mut(folded)) {
        (Some(all), _) => all,
        (None, Some(hold)) => &mut hold.letters,
        (None, None) => return Ok(None),
    };
    let letter = letter();
    if *bytes + letter.size() > MOST {
        return Err(Fail::new(Code::Busy, "too much waits for a way to the recipient; retry later"));
    }
    *bytes += letter.size();
    post::under_way(&mut main.sessions, &letter.asker);
    queue.push_back(letter);
    Ok(Some(()))
}

/// Management has answered: what waited for it goes on. `refused`: why it cannot.
pub fn answered(main: &mut Main, ctx: &mut Ctx<Main>, user: &str, refused: Option<&Fail>) {
    let folded = name::fold(user);
    let Some(hold) = main.holds.users.get_mut(&*folded) else { return };
    hold.asked = false;
    if let Some(fail) = refused {
        for letter in std::mem::take(&mut hold.letters) {
            take_back(main, &letter);
            refuse(main, ctx, &letter, fail);
        }
    }
    release(main, ctx);
}

/// Sends what does not have to wait any more.
pub fn release(main: &mut Main, ctx: &mut Ctx<Main>) {
    if main.holds.users.is_empty() || main.holds.is_suspended() {
        return;
    }
    let mesh = &main.mesh;
    let done = |hold: &Hold| {
        !hold.asked && hold.until.iter().all(|(server, stream, item)| mesh.is_done(*server, *stream, *item))
    };
    let names: Vec<Box<str>> =
        main.holds.users.iter().filter(|(_, hold)| done(hold)).map(|(name, _)| name.clone()).collect();
    for name in names {
        let Some(hold) = main.holds.users.remove(&name) else { continue };
        marks::renew(main, &name);
        for letter in hold.letters {
            send(main, ctx, letter);
        }
    }
}

fn take_back(main: &mut Main, letter: &Letter) -> bool {
    main.holds.bytes = main.holds.bytes.saturating_sub(letter.size());
    let Asker::Session { index, link, .. } = letter.asker else { return true };
    match main.sessions.get_mut(index) {
        Some(Some(session)) if session.link == link => {
            session.relaying = session.relaying.saturating_sub(1);
            true
        }
        // Who sent it is gone, and was not told OK.
        _ => false,
    }
}

fn send(main: &mut Main, ctx: &mut Ctx<Main>, letter: Letter) {
    if !take_back(main, &letter) {
        return;
    }
    match post::send(main, ctx, &letter) {
        Ok(post::Sent::Done) => reply(main, ctx, &letter, None),
        Ok(post::Sent::Waits) => {
            if let Asker::Session { index, link, .. } = letter.asker {
                settled::answered(main, ctx, index, link, 0);
            }
        }
        Err(fail) => reply(main, ctx, &letter, Some(&fail)),
    }
}

fn refuse(main: &mut Main, ctx: &mut Ctx<Main>, letter: &Letter, fail: &Fail) {
    reply(main, ctx, letter, Some(fail));
}

/// Tells whoever asked what has become of a message that was taken back.
fn reply(main: &mut Main, ctx: &mut Ctx<Main>, letter: &Letter, refused: Option<&Fail>) {
    let Asker::Session { index, link, id } = &letter.asker else {
        let outcome = refused.map(|fail| Outcome::Fail(fail.code, fail.text.to_string()));
        return settled::tell_asker(main, ctx, letter.asker.clone(), outcome);
    };
    match refused {
        None if id.is_empty() => {}
        None => ctx.answer_to(*link, id, b"SENDMESSAGE", Ok(b"")),
        Some(fail) => {
            let id: &[u8] = if id.is_empty() { b"0" } else { id };
            ctx.answer_to(*link, id, b"SENDMESSAGE", Err(fail));
        }
    }
    settled::answered(main, ctx, *index, *link, 0);
}

/// An item that came too late for a session that has moved goes after it, to that session alone. It keeps its version: by that the
/// server there tells whether the session was sent it otherwise too.
pub fn send_on(main: &mut Main, ctx: &mut Ctx<Main>, sent: &Sent, only: &str, server: &str, joint: u64) {
    let fail = |main: &mut Main, ctx: &mut Ctx<Main>, code, text: &str| {
        settled::joined(main, ctx, joint, Some(Outcome::Fail(code, text.to_owned())));
    };
    let text = Raw(&sent.what).text().unwrap_or_default();
    let columns: Vec<&str> = text.split('|').collect();
    // As `post::what` writes it.
    let (Some(server), ["m", sender, recipient, sent_at, _]) = (main.table.server_no(server), &*columns) else {
        return fail(main, ctx, Code::Offline, "not signed on");
    };
    let (sender, sent_at) = (sender.to_string(), sent_at.to_string());
    let mut fresh = Vec::new();
    raw::escape_into(&mut fresh, format!("m|{sender}|{recipient}|{sent_at}|{only}").as_bytes());
    if *main.settings.server_id == *main.table.server_id(server) {
        // It has moved to this server.
        return match super::deliver::to_move(main, ctx, only, &sender, &sent_at, &sent.item, sent.version) {
            // And on from here.
            Some(Outcome::Moved { delivered, to }) => {
                settled::sent_on(main, ctx, joint, &Sent { what: fresh, ..sent.clone() }, delivered, &to);
            }
            outcome => settled::joined(main, ctx, joint, outcome),
        };
    }
    let Some(entry) = main.mesh.get_mut(server) else { return fail(main, ctx, Code::Offline, "not signed on") };
    if entry.out.is_full() {
        return fail(main, ctx, Code::Busy, "too much waits to go to the recipient's server; retry later");
    }
    let (stream, number) =
        (entry.out.number(), entry.out.push(sent.version, &fresh, Who::Joint(joint), b"", &sent.item));
    main.mesh.touch(server);
    let there = main.table.find(recipient).and_then(|user| main.table.get(user));
    if !there.is_some_and(|user| user.at.contains(&server)) {
        // It has gone on from there too, and what is sent to it now must not be faster than this.
        until(main, recipient, server, stream, number);
    }
}
