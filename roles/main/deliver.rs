//! Messages into sessions of this server: from its own senders and from other servers.

use super::marks;
use super::mesh::complain;
use super::mesh::joint::Asker;
use super::mesh::joint::NOBODY;
use super::realm::abroad;
use super::realm::abroad::Abroad;
use super::standby;
use super::Main;
use crate::engine::ctx::put_number;
use crate::engine::ctx::Words;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::relay::Incoming;
use crate::relay::Outcome;
use crate::relay::Relay;
use crate::route::ServerNo;
use crate::route::UserRef;
use crate::wire::name;
use crate::wire::raw;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// How a delivery to the sessions here went.
#[derive(Debug, Default)]
pub struct Here {
    /// At least one session has it.
    pub queued: bool,
    /// Sessions that have a standby elsewhere: the server, the standby's id, and the message's number there.
    pub copies: Vec<(ServerNo, String, u64)>,
}

impl Here {
    /// Sends the copies; each has a result that `joint` waits for.
    pub fn copy(&self, main: &mut Main, sender: &str, sent_at: u64, body: &[u8], joint: u64) {
        let mut data = Vec::new();
        message(&mut data, sender, sent_at, body);
        for (server, id, number) in &self.copies {
            standby::send(main, *server, id, *number, joint, &data);
        }
    }
}

/// DATA of RECEIVEMESSAGE.
pub fn message(out: &mut Vec<u8>, sender: &str, sent_at: u64, body: &[u8]) {
    raw::escape_into(out, sender.as_bytes());
    out.extend_from_slice(raw::SEPARATOR);
    put_number(out, sent_at);
    out.extend_from_slice(raw::SEPARATOR);
    out.extend_from_slice(body);
}

/// Queues a message to all sessions of a user here, or to none. `version`: of the table under which it was sent. Sessions that came
/// later are passed over: the server that they came from sends it after them.
///
/// # Errors
/// BUSY.
#[allow(clippy::too_many_arguments)]
pub fn here(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    user: UserRef,
    sender: &str,
    sent_at: u64,
    body: &[u8],
    version: u64,
) -> Result<Here, Fail> {
    let Some(entry) = main.table.get(user) else { return Ok(Here::default()) };
    let links: Vec<LinkId> = entry.here.iter().copied().filter(|link| !came_after(main, *link, version)).collect();
    for link in &links {
        room(main, ctx, *link)?;
    }
    let mut data = Vec::new();
    message(&mut data, sender, sent_at, body);
    let mut done = Here::default();
    for link in links {
        done.queued |= to_session(main, ctx, link, &data, &mut done.copies);
    }
    main.delivered += u64::from(done.queued);
    Ok(done)
}

fn came_after(main: &Main, link: LinkId, version: u64) -> bool {
    let came = main.session_at(link).and_then(|session| session.came.as_ref());
    version < main.last_came && came.is_some_and(|came| came.version > version)
}

/// BUSY when a session's queue is full; a session that is being closed is none.
fn room(main: &Main, ctx: &Ctx<Main>, link: LinkId) -> Result<(), Fail> {
    let quiet = main.session_at(link).and_then(|session| session.quiet.as_ref());
    if quiet.is_some_and(|quiet| quiet.bytes > ctx.limits().outbox) {
        return Err(Fail::new(Code::Busy, "the queue to the recipient is full; retry later"));
    }
    match ctx.room(link) {
        Err(fail) if fail.code == Code::Busy => Err(fail),
        _ => Ok(()),
    }
}

/// Queues one message, whatever is queued before it. False: the session is being closed.
pub fn to_session(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    link: LinkId,
    data: &[u8],
    copies: &mut Vec<(ServerNo, String, u64)>,
) -> bool {
    if !ctx.is_open(link) {
        return false;
    }
    let index = main.by_link.get(&link).copied();
    let session = index.and_then(|index| main.sessions.get_mut(index)).and_then(Option::as_mut);
    let Some(session) = session else { return false };
    session.delivered += 1;
    if let Some(standby) = &session.standby {
        copies.push((standby.server, standby.id.clone(), session.delivered));
    }
    match &mut session.quiet {
        Some(quiet) => {
            quiet.bytes += data.len();
            quiet.messages.push(data.to_vec());
        }
        None => ctx.push_kept(link, "RECEIVEMESSAGE", data),
    }
    true
}

/// The same, for a message whose sender nobody answers any more; its standby gets a copy.
pub fn to_one(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId, data: &[u8]) -> bool {
    let mut copies = Vec::new();
    let queued = to_session(main, ctx, link, data, &mut copies);
    for (server, id, number) in copies {
        standby::send(main, server, &id, number, NOBODY, data);
    }
    queued
}

/// Queues one message to the session that came by a move, or one that came after it. None: done. Who sent it under a `version` that
/// has the session here has sent it here as well, for all: not from here on, and not twice.
pub fn to_move(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    only: &str,
    sender: &str,
    sent_at: &str,
    body: &[u8],
    version: u64,
) -> Option<Outcome> {
    let offline = || Some(Outcome::Fail(Code::Offline, "not signed on".to_owned()));
    if let Some(next) = main.moved.after(only).filter(|next| version < next.since) {
        let server = main.table.server_id(next.to).to_owned();
        return Some(Outcome::Moved { delivered: false, to: vec![(next.id, server)] });
    }
    let session = main.session_of_move(only);
    let session = session.filter(|session| session.came.as_ref().is_some_and(|came| version < came.version));
    let Some(link) = session.map(|session| session.link) else { return offline() };
    if let Err(fail) = room(main, ctx, link) {
        return Some(Outcome::Fail(fail.code, fail.text.into_owned()));
    }
    let mut data = Vec::new();
    message(&mut data, sender, sent_at.parse().unwrap_or_default(), body);
    match to_one(main, ctx, link, &data) {
        true => None,
        false => offline(),
    }
}

/// Messages from another server. `columns`: `sender|recipient|sent-at|only`.
///
/// # Errors
/// BADARGS: it is not that. Nothing was taken then.
pub fn from_server<'a>(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    origin: ServerNo,
    relay: &Relay,
    columns: &str,
    items: impl Iterator<Item = &'a [u8]>,
    inc: &mut Incoming,
) -> Result<(), Fail> {
    let columns: Vec<&str> = columns.split('|').collect();
    let [sender, recipient, sent_at, only] = *columns else {
        return Err(Fail::bad_args("messages are m|sender|recipient|sent-at|only"));
    };
    let foreign = name::of_realm(sender)?.is_some();
    if !foreign {
        name::check_user(sender)?;
    }
    if let Some((realm, user)) = name::of_realm(recipient)? {
        let to = Abroad {
            realm,
            user: user.to_owned(),
            sender: sender.to_owned(),
            sent_at: Raw(sent_at.as_bytes()).number()?,
        };
        return abroad::from_server(main, ctx, origin, &to, foreign, items, inc);
    }
    name::check_user(recipient)?;
    let time = sent_at.parse::<u64>().map_err(|_| Fail::bad_args("sent-at is a number"))?;
    if !may_send(main, origin, sender, foreign) {
        complain(main, origin, format_args!("sends messages of {}, who is not signed on there", sender.escape_debug()));
        for _ in items {
            inc.take(Some(Outcome::Fail(Code::Denied, "the sender is not signed on there".to_owned())));
        }
        return Ok(());
    }
    if main.moved.is_passed(sender, origin, relay.version) {
        let text = "not delivered: the sender has gone on elsewhere meanwhile";
        for _ in items {
            inc.take(Some(Outcome::Fail(Code::Unavailable, text.to_owned())));
        }
        return Ok(());
    }
    let user = main.table.find(recipient);
    let mark = user.and_then(|user| main.table.get(user)).map_or(0, |user| user.mark);
    let late = main.moved.of(recipient, relay.version);
    let here_since = |link: &LinkId| !came_after(main, *link, relay.version);
    let all = relay.version >= main.last_came
        || user.and_then(|user| main.table.get(user)).is_none_or(|user| user.here.iter().all(here_since));
    if only.is_empty() && mark & marks::SPECIAL == 0 && late.is_empty() && all {
        plain(main, ctx, user, sender, time, items, inc);
        return Ok(());
    }
    let late: Vec<(String, String)> =
        late.into_iter().map(|(id, server)| (id, main.table.server_id(server).to_owned())).collect();
    for item in items {
        let (mut outcome, mut copies) = (None, Here::default());
        if only.is_empty() {
            match user.map_or(Ok(Here::default()), |user| here(main, ctx, user, sender, time, item, relay.version)) {
                Ok(done) if !late.is_empty() => {
                    outcome = Some(Outcome::Moved { delivered: done.queued, to: late.clone() });
                    copies = done;
                }
                Ok(done) if !done.queued => {
                    outcome = Some(Outcome::Fail(Code::Offline, "not signed on".to_owned()));
                }
                Ok(done) => copies = done,
                Err(fail) => outcome = Some(Outcome::Fail(fail.code, fail.text.into_owned())),
            }
        } else {
            outcome = to_move(main, ctx, only, sender, sent_at, item, relay.version);
        }
        let number = inc.take(outcome);
        if !copies.copies.is_empty() {
            // Its origin hears of it when the standbys have it.
            inc.open(number);
            let asker = Asker::Item { origin, stream: inc.number(), number };
            let joint = main.mesh.joints.open(asker, copies.copies.len(), true);
            copies.copy(main, sender, time, item, joint);
        }
    }
    Ok(())
}

/// Whether a server may send in somebody's name: of its own users, and, if it is a realm's, of those of other realms.
pub fn may_send(main: &Main, origin: ServerNo, sender: &str, foreign: bool) -> bool {
    if foreign {
        return main.mesh.get(origin).is_some_and(|server| !server.facts.realm.is_empty());
    }
    let there = main.table.find(sender).and_then(|user| main.table.get(user));
    there.is_some_and(|user| user.at.contains(&origin)) || main.moved.had(sender, origin)
}

/// The common case: sessions that take their messages into their outboxes.
pub fn plain<'a>(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    user: Option<UserRef>,
    sender: &str,
    time: u64,
    items: impl Iterator<Item = &'a [u8]>,
    inc: &mut Incoming,
) {
    let Main { table, delivered, .. } = main;
    let links = user.and_then(|user| table.get(user)).map_or(&[][..], |user| &*user.here);
    let mut head = b"RECEIVEMESSAGE ".to_vec();
    message(&mut head, sender, time, b"");
    let head = Words::new(head);
    for item in items {
        let busy = match links {
            // `put` says so itself.
            [_] => None,
            all => all.iter().find_map(|link| ctx.room(*link).err().filter(|fail| fail.code == Code::Busy)),
        };
        let mut outcome = match busy {
            Some(fail) => Some(fail),
            None => Some(Fail::new(Code::Offline, "not signed on")),
        };
        if outcome.as_ref().is_some_and(|fail| fail.code == Code::Offline) {
            for link in links {
                match ctx.put(*link, &head, item) {
                    Ok(()) => outcome = None,
                    Err(fail) if fail.code == Code::Busy => outcome = Some(fail),
                    Err(_) => {}
                }
            }
        }
        *delivered += u64::from(outcome.is_none());
        inc.take(outcome.map(|fail| Outcome::Fail(fail.code, fail.text.into_owned())));
    }
}
