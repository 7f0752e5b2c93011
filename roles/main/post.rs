//! The way of a message that needs more than an outbox of this server: sessions on other servers, or on several.

use super::deliver;
use super::hold;
use super::hold::Letter;
use super::marks;
use super::mesh::joint::Asker;
use super::mesh::settled;
use super::mesh::Who;
use super::Main;
use super::Session;
use crate::engine::Answer;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::relay::Outcome;
use crate::route::ServerNo;
use crate::route::UserRef;
use crate::wire::name;
use crate::wire::raw;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// What became of a message so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is queued to a session at least.
    Done,
    /// The answer comes later.
    Waits,
}

/// What an item of messages is, for RELAY: `m|sender|recipient|sent-at|only`, escaped. `only`: the move whose session alone
/// is meant.
pub fn what(out: &mut Vec<u8>, sender: &str, recipient: &str, sent_at: u64, only: &str) {
    out.clear();
    out.extend_from_slice(b"m|");
    raw::escape_into(out, sender.as_bytes());
    out.push(b'|');
    raw::escape_into(out, recipient.as_bytes());
    out.push(b'|');
    crate::engine::ctx::put_number(out, sent_at);
    out.push(b'|');
    raw::escape_into(out, only.as_bytes());
}

/// The common case among those that leave this server: the recipient is signed on at one other server and nowhere else, and
/// nothing waits. None: it is not that case.
///
/// # Errors
/// BUSY, UNAVAILABLE.
pub fn quick(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    index: usize,
    link: LinkId,
    id: &[u8],
    to: Raw<'_>,
    body: Raw<'_>,
) -> Result<Option<Answer>, Fail> {
    let Main { sessions, table, mesh, holds, version, .. } = main;
    let Some(Some(session)) = sessions.get_mut(index) else { return Ok(None) };
    let Some(user) = table.get(session.last.1).filter(|_| session.last.0 == to.0) else { return Ok(None) };
    let (marks::ELSEWHERE, [], [server]) = (user.mark, &*user.here, &*user.at) else { return Ok(None) };
    if holds.is_suspended() {
        return Ok(None);
    }
    let now = ctx.now();
    if session.what.1 != now || session.what.2 != session.last.1 {
        let Some(sender) = table.get(session.user) else { return Ok(None) };
        what(&mut session.what.0, &sender.name, &user.name, now, "");
        (session.what.1, session.what.2) = (now, session.last.1);
        mesh.talked(table, session.user, &user.name, now);
    }
    let entry = mesh.get_mut(*server).filter(|entry| !entry.out.is_full());
    let entry =
        entry.ok_or_else(|| Fail::new(Code::Busy, "too much waits to go to the recipient's server; retry later"))?;
    session.relaying += 1;
    entry.out.push(*version, &session.what.0, Who::Session { index, link }, id, body.0);
    mesh.touch(*server);
    Ok(Some(Answer::None))
}

/// Sends a message that did not find its recipient unmarked.
///
/// # Errors
/// OFFLINE, BUSY, NOTFOUND: to be told to the sender.
pub fn send(main: &mut Main, ctx: &mut Ctx<Main>, letter: &Letter) -> Result<Sent, Fail> {
    let folded = name::fold(&letter.recipient);
    if hold::keep(main, || letter.clone(), &folded)?.is_some() {
        return Ok(Sent::Waits);
    }
    let found = main.table.find(&letter.recipient);
    let Some(user) = found.filter(|user| is_somewhere(main, *user)) else {
        return look_up(main, ctx, letter);
    };
    let Some((sender, at)) = places(main, letter, user) else {
        return Err(Fail::new(Code::SignIn, "sign on first"));
    };
    let here = deliver::here(main, ctx, user, &sender, letter.sent_at, &letter.body, main.version)?;
    if let (false, 0, [server]) = (here.queued, here.copies.len(), &*at) {
        // The plain case: one session, elsewhere.
        return one(main, letter, &sender, *server);
    }
    let count = at.len() + here.copies.len();
    if count == 0 {
        return match here.queued {
            true => Ok(Sent::Done),
            false => Err(Fail::new(Code::Offline, "not signed on")),
        };
    }
    let joint = main.mesh.joints.open(letter.asker.clone(), count, here.queued);
    let mut kind = Vec::new();
    what(&mut kind, &sender, &letter.recipient, letter.sent_at, "");
    under_way(&mut main.sessions, &letter.asker);
    for server in &at {
        // Some sessions may have it already: a failure is one of several results.
        if let Err(fail) = push(main, *server, &kind, Who::Joint(joint), b"", &letter.body) {
            settled::joined(main, ctx, joint, Some(Outcome::Fail(fail.code, fail.text.into_owned())));
        }
    }
    here.copy(main, &sender, letter.sent_at, &letter.body, joint);
    Ok(Sent::Waits)
}

/// Whether a user is signed on, here or elsewhere.
pub fn is_somewhere(main: &Main, user: UserRef) -> bool {
    let own = main.own;
    main.table.get(user).is_some_and(|user| !user.here.is_empty() || user.at.iter().any(|server| *server != own))
}

/// The sender's name, and the other servers where the recipient is. None: the sender is gone.
fn places(main: &Main, letter: &Letter, user: UserRef) -> Option<(String, Vec<ServerNo>)> {
    let sender = match (&letter.sender, &letter.asker) {
        (Some(sender), _) => sender.to_string(),
        (None, Asker::Session { index, link, .. }) => sender_of(main, *index, *link)?,
        (None, _) => return None,
    };
    let at = main.table.get(user)?.at.iter().copied().filter(|server| *server != main.own).collect();
    Some((sender, at))
}

/// The name of whoever has that session. None: it is gone.
pub fn sender_of(main: &Main, index: usize, link: LinkId) -> Option<String> {
    let session = main.session(index).filter(|session| session.link == link)?;
    match (main.table.get(session.user), &session.moving) {
        (Some(sender), _) => Some(sender.name.to_string()),
        // It has left, and what it sent before had to wait.
        (None, Some(moving)) => Some(moving.user().to_owned()),
        (None, None) => None,
    }
}

/// One message more of a session, if it is one that asks, is under way.
pub fn under_way(sessions: &mut [Option<Session>], asker: &Asker) {
    let Asker::Session { index, .. } = asker else { return };
    if let Some(Some(session)) = sessions.get_mut(*index) {
        session.relaying += 1;
    }
}

/// Who waits for the one item that a message is.
pub fn who(main: &mut Main, asker: &Asker) -> (Who, Vec<u8>) {
    match asker {
        Asker::Session { index, link, id } => (Who::Session { index: *index, link: *link }, id.clone()),
        other => (Who::Joint(main.mesh.joints.open(other.clone(), 1, false)), Vec::new()),
    }
}

/// The item is not sent, as its asker is told otherwise.
pub fn not_sent(main: &mut Main, who: Who) {
    if let Who::Joint(joint) = who {
        main.mesh.joints.close(joint, None);
    }
}

fn one(main: &mut Main, letter: &Letter, sender: &str, server: ServerNo) -> Result<Sent, Fail> {
    let (who, id) = who(main, &letter.asker);
    let mut kind = std::mem::take(&mut main.scratch);
    what(&mut kind, sender, &letter.recipient, letter.sent_at, "");
    let result = push(main, server, &kind, who, &id, &letter.body);
    main.scratch = kind;
    if result.is_err() {
        not_sent(main, who);
    }
    result?;
    under_way(&mut main.sessions, &letter.asker);
    Ok(Sent::Waits)
}

/// Adds an item to the stream to a server.
///
/// # Errors
/// BUSY, UNAVAILABLE.
pub fn push(main: &mut Main, server: ServerNo, what: &[u8], who: Who, id: &[u8], item: &[u8]) -> Result<(), Fail> {
    let version = main.version;
    let unknown = || Fail::new(Code::Unavailable, "the recipient's server is not known here yet; retry later");
    let entry = main.mesh.get_mut(server).ok_or_else(unknown)?;
    if entry.out.is_full() {
        return Err(Fail::new(Code::Busy, "too much waits to go to the recipient's server; retry later"));
    }
    entry.out.push(version, what, who, id, item);
    main.mesh.touch(server);
    Ok(())
}

/// The table does not know the user: management does, or knows that there is none.
fn look_up(main: &mut Main, ctx: &mut Ctx<Main>, letter: &Letter) -> Result<Sent, Fail> {
    let Some(link) = main.management.link() else {
        return Err(Fail::new(Code::Offline, "not signed on"));
    };
    let name = letter.recipient.clone();
    hold::ask(main, letter)?;
    let asked = name.clone();
    ctx.request(link, "LOOKUP", &[asked.as_bytes()], move |main, ctx, answer| {
        let found = answer.and_then(|servers| Ok(!servers.text()?.is_empty()));
        // What management knows, it has told before it answered: so the table is looked at again.
        let here = main.table.find(&name).is_some_and(|user| is_somewhere(main, user));
        let refused = match found {
            Ok(true) if here => None,
            Ok(_) => Some(Fail::new(Code::Offline, "not signed on")),
            Err(fail) if fail.code == Code::NotFound => Some(fail),
            Err(_) => Some(Fail::new(Code::Offline, "not signed on")),
        };
        marks::renew(main, &name);
        hold::answered(main, ctx, &name, refused.as_ref());
    });
    Ok(Sent::Waits)
}
