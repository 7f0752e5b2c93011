//! Moving a client to another main server (contract 9): the source's side.
//!
//! ```text
//! offered ─► asked ─► arrived ─► (MOVE) ─► flipped, signed off, all answered ─► done
//!    └─────────┴─ refused, timed out: cancelled, nothing has changed
//! ```

use rand::Rng;

use super::management;
use super::marks;
use super::mesh::control;
use super::session_of;
use super::sign_off;
use super::Main;
use super::Peer;
use crate::engine::command::Later;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::route::ServerNo;
use crate::wire::hex;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Framer;
use crate::wire::Packet;
use crate::wire::Raw;

/// How long a client has to arrive at the target; milliseconds.
pub const TIMEOUT: u64 = 8_000;

/// How long a client that has arrived there may take to leave here; milliseconds.
const LEAVING: u64 = 60_000;

/// How long a client whose move came to nothing is left alone, or moved after the others; milliseconds. What was in the way
/// may be gone by then.
const FORGOTTEN: u64 = 60_000;

/// A move that is under way.
#[derive(Debug)]
pub struct Moving {
    /// The request's id.
    pub id: String,
    /// Where to.
    pub to: ServerNo,
    /// The user, as registered.
    user: String,
    stage: Stage,
    until: u64,
    /// The client has said that it sends nothing more here. Answered when it has been sent everything.
    signed_off: Option<Later>,
    /// Its link is gone.
    cut: bool,
    /// The session is at the target since this version of the table; `u64::MAX`: the table has not said it, and the two servers have
    /// settled it alone.
    flipped: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Offered,
    Asked,
    Arrived,
}

impl Moving {
    /// The user, as registered.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The client stands at the target: from here on there is no way back.
    pub fn has_arrived(&self) -> bool {
        self.stage == Stage::Arrived
    }
}

/// A client that has left for another server, and may not have read all that it was sent here.
#[derive(Debug)]
pub struct Left {
    /// Where to.
    pub to: ServerNo,
    /// The request's id.
    pub id: String,
    /// The user, as registered.
    pub user: String,
    /// The account's number.
    pub account: u64,
}

/// Random bytes in hex.
pub fn random_hex<const N: usize>(ctx: &mut Ctx<Main>) -> String {
    let mut bytes = [0; N];
    ctx.rng().fill_bytes(&mut bytes);
    hex::encode(&bytes)
}

/// Begins to move a session. False: it cannot be moved now.
pub fn start(main: &mut Main, ctx: &mut Ctx<Main>, index: usize, to: ServerNo) -> bool {
    let (id, secret) = (random_hex::<16>(ctx), random_hex::<32>(ctx));
    let until = ctx.now().saturating_add(TIMEOUT);
    let Some(Some(session)) = main.sessions.get_mut(index) else { return false };
    if session.door || session.moving.is_some() || session.quiet.is_some() || !ctx.is_open(session.link) {
        return false;
    }
    let Some(user) = main.table.get(session.user) else { return false };
    let (name, account) = (user.name.to_string(), session.account.to_string());
    let receipt = main.receipts.of(session.account).to_owned();
    let watching = main.map.watchers.contains(&session.link);
    let flags = if watching { "w" } else { "" };
    session.moving = Some(Moving {
        id: id.clone(),
        to,
        user: name.clone(),
        stage: Stage::Offered,
        until,
        signed_off: None,
        cut: false,
        flipped: None,
    });
    session.secret = secret.clone();
    main.moves.insert(id.clone(), index);
    let status = main.statuses.get(&*name).cloned().unwrap_or_default();
    let mut item = Vec::new();
    crate::wire::raw::escape_into(&mut item, status.as_bytes());
    let left = TIMEOUT.to_string();
    control::push(main, to, &["offer", &id, &name, &account, &left, &secret, flags, &receipt], &item);
    true
}

fn find<'a>(main: &'a mut Main, id: &str) -> Option<(usize, &'a mut super::Session)> {
    let index = *main.moves.get(id)?;
    let session = main.sessions.get_mut(index)?.as_mut()?;
    session.moving.as_ref().is_some_and(|moving| moving.id == id).then_some((index, session))
}

/// The target has taken the offer, or not: the client is asked.
pub fn offered(main: &mut Main, ctx: &mut Ctx<Main>, server: ServerNo, id: &str, fail: Option<Fail>) {
    if let Some(fail) = fail {
        log::debug!("{} takes no client: {fail}", main.table.server_id(server));
        return cancel(main, ctx, id);
    }
    let server_id = main.table.server_id(server).to_owned();
    let Some(facts) = main.mesh.get(server).map(|entry| entry.facts.clone()) else { return cancel(main, ctx, id) };
    let now = ctx.now();
    let Some((_, session)) = find(main, id) else { return };
    let Some(moving) = session.moving.as_mut().filter(|moving| moving.stage == Stage::Offered) else { return };
    moving.stage = Stage::Asked;
    let left = moving.until.saturating_sub(now).to_string();
    let fields = [id, &server_id, &facts.client, &facts.fingerprint, &left, &session.secret].map(str::as_bytes);
    let (link, id) = (session.link, id.to_owned());
    ctx.request(link, "REDIRECT", &fields, move |main, ctx, answer| {
        // Nothing is answered when it goes well; a link that breaks meanwhile is looked at in `link_closed`.
        if answer.is_err_and(|fail| fail.code != Code::Unavailable) {
            cancel(main, ctx, &id);
            if find(main, &id).is_some() {
                // It was at the target already, and does not know: it signs on anew.
                ctx.close(link, "its session is at another server");
            }
        }
    });
}

/// Nothing has changed: the session goes on here.
fn cancel(main: &mut Main, ctx: &mut Ctx<Main>, id: &str) {
    let now = ctx.now();
    let Some((index, session)) = find(main, id) else { return };
    let Some(moving) = session.moving.take_if(|moving| moving.stage != Stage::Arrived) else { return };
    session.moves_failed += 1;
    session.move_failed_at = now;
    let (link, signed_off) = (session.link, moving.signed_off);
    main.moves.remove(id);
    control::push(main, moving.to, &["cancel", id], b"");
    if let Some(later) = signed_off {
        // It was meant as it stands.
        ctx.answer(&later, Ok(Vec::new()));
        sign_off::finish(main, ctx, index, link);
    }
}

/// The client stands at the target.
///
/// # Errors
/// EXPIRED: the move was cancelled.
pub fn arrived(main: &mut Main, ctx: &mut Ctx<Main>, from: ServerNo, id: &str) -> Result<(), Fail> {
    let expired = || Fail::new(Code::Expired, "this move was cancelled");
    let own = main.table.server_id(from).to_owned();
    let now = ctx.now();
    let Some((_, session)) = find(main, id) else {
        control::reply(main, from, &["cancel", id]);
        return Err(expired());
    };
    let Some(moving) = session.moving.as_mut().filter(|m| m.to == from && m.stage != Stage::Offered) else {
        return Err(expired());
    };
    if moving.has_arrived() {
        // It is said again when the answer was lost.
        return Ok(());
    }
    moving.stage = Stage::Arrived;
    moving.until = now.saturating_add(LEAVING);
    let user = session.user;
    let name = main.table.get(user).map(|user| user.name.to_string()).unwrap_or_default();
    let id = id.to_owned();
    let Some(link) = main.management.link() else {
        alone(main, ctx, &id);
        return Ok(());
    };
    let fields = [name.as_bytes(), own.as_bytes(), id.as_bytes()];
    let again = id.clone();
    ctx.request(link, "MOVE", &fields, move |main, ctx, answer| {
        if let Err(fail) = answer {
            log::warn!("management does not note a move: {fail}");
        }
        // The line that says so comes before the answer; but not to one that waits for its portion.
        alone(main, ctx, &again);
    });
    Ok(())
}

/// The table has not said it, and will not: the target has the session all the same, and what comes here for it is sent on.
fn alone(main: &mut Main, ctx: &mut Ctx<Main>, id: &str) {
    let Some((_, session)) = find(main, id) else { return };
    let Some(moving) = session.moving.as_mut().filter(|moving| moving.flipped.is_none()) else { return };
    let (name, to) = (moving.user.clone(), moving.to);
    // Else the others would not believe what it sends from there.
    let target = main.table.server_id(to).to_owned();
    control::push_all(main, &["went", &name, &target]);
    flipped(main, ctx, id, &name, to, u64::MAX);
}

/// A session of `user` has gone from `origin` to another server, and management could not be told.
///
/// # Errors
/// DENIED: it was not there. NOTFOUND: there is no such server.
pub fn went(main: &mut Main, origin: ServerNo, user: &str, to: &str) -> Result<(), Fail> {
    let to = main.table.server_no(to).ok_or_else(|| Fail::new(Code::NotFound, "no such server"))?;
    let there = main.table.find(user).and_then(|user| main.table.get(user));
    if !there.is_some_and(|user| user.at.contains(&origin)) && !main.moved.had(user, origin) {
        return Err(Fail::new(Code::Denied, "not signed on there"));
    }
    main.moved.vouch(user, to);
    Ok(())
}

/// The session is at the target, by the table of that version: from here on nothing more is queued to it here. `u64::MAX`: the table has not
/// said it, and the target will.
pub fn flipped(main: &mut Main, ctx: &mut Ctx<Main>, id: &str, name: &str, to: ServerNo, version: u64) {
    let now = ctx.now();
    if version != u64::MAX {
        settled(main, id, name, to, version);
    }
    let Some((index, session)) = find(main, id) else { return };
    let Some(moving) = session.moving.as_mut() else { return };
    if moving.flipped.is_some() {
        moving.flipped = moving.flipped.min(Some(version));
        return;
    }
    moving.flipped = Some(version);
    log::debug!("{id}: {name} is at another server since version {version}");
    let (link, user, was) = (session.link, session.user, session.came.clone());
    main.moved.add(name, id, was.as_ref(), to, version, now);
    main.table.sign_off(user, link);
    marks::renew(main, name);
    if version == u64::MAX {
        // Else management knows; and what it was told now could cross another session that comes here.
        management::presence_then(main, ctx, name, 1, |_, _| {});
    }
    try_finish(main, ctx, index);
}

/// A session that has left is at the target by the table of that version. If it had come here by a move that was not settled either, the server
/// that it came from is told in turn.
fn settled(main: &mut Main, id: &str, name: &str, to: ServerNo, version: u64) {
    if let Some(came) = main.moved.settle(name, id, to, version) {
        control::push(main, came.from, &["since", &came.id, name, &version.to_string()], b"");
    }
}

/// The target says by which version of the table a session that has gone there is its own.
///
/// # Errors
/// BADARGS.
pub fn since(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    from: ServerNo,
    id: &str,
    user: &str,
    version: &str,
) -> Result<(), Fail> {
    name::check_user(user)?;
    let version = Raw(version.as_bytes()).number()?;
    let moving = find(main, id).and_then(|(_, session)| session.moving.as_ref());
    if moving.is_none_or(|moving| moving.to == from && moving.has_arrived()) {
        flipped(main, ctx, id, user, from, version);
    }
    Ok(())
}

/// The target goes on without having heard the end: nothing that the session has sent here, and that waits, is sent any more.
pub fn passed(main: &mut Main, ctx: &mut Ctx<Main>, by: ServerNo, id: &str) {
    let Some((index, session)) = find(main, id) else { return };
    let link = session.link;
    let Some(moving) = session.moving.as_ref().filter(|moving| moving.to == by && moving.has_arrived()) else { return };
    let name = moving.user.clone();
    flipped(main, ctx, id, &name, by, u64::MAX);
    finish(main, ctx, index, u64::MAX);
    ctx.abort(link, "its client has gone on at another server");
}

/// When everything that came before the client's SIGNOFF is answered, the target goes on.
pub fn try_finish(main: &mut Main, ctx: &mut Ctx<Main>, index: usize) {
    let Some(Some(session)) = main.sessions.get(index) else { return };
    let Some(moving) = session.moving.as_ref() else { return };
    let link = session.link;
    // Of what it has asked, only SIGNOFF is open.
    let answered = moving.cut || (moving.signed_off.is_some() && session.relaying == 0 && ctx.unanswered(link) <= 1);
    if let Some(since) = moving.flipped.filter(|_| answered) {
        finish(main, ctx, index, since);
    }
}

fn finish(main: &mut Main, ctx: &mut Ctx<Main>, index: usize, since: u64) {
    let Some(Some(session)) = main.sessions.get(index) else { return };
    let Some(moving) = session.moving.as_ref() else { return };
    let link = session.link;
    let (id, to) = (moving.id.clone(), moving.to);
    let (user, account) = (moving.user.clone(), session.account);
    if let Some(later) = moving.signed_off.clone() {
        ctx.answer(&later, Ok(Vec::new()));
    }
    let how = if since == u64::MAX { "alone".to_owned() } else { since.to_string() };
    control::push(main, to, &["done", &id, &how], b"");
    main.moves.remove(&id);
    if let Some(peer) = ctx.peer(link) {
        *peer = Peer::Moved(Box::new(Left { to, id: id.clone(), user, account }));
        main.leaving.reading += 1;
    }
    ctx.close(link, "moved to another server");
    main.forget_session(index);
}

/// A request of this link has its answer; of a session that moves it may have been the last one.
pub fn answered(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId) {
    let Ok(index) = session_of(ctx, link) else { return };
    let moving = main.session(index).and_then(|session| session.moving.as_ref());
    if moving.is_some_and(|moving| moving.signed_off.is_some()) {
        try_finish(main, ctx, index);
    }
}

/// The link of a session that is being moved is gone. True: the target goes on with it; what the client may not have read is
/// sent there.
pub fn link_closed(main: &mut Main, ctx: &mut Ctx<Main>, index: usize, undelivered: &[u8]) -> bool {
    let Some(Some(session)) = main.sessions.get_mut(index) else { return false };
    let Some(moving) = session.moving.as_mut() else { return false };
    let (id, to) = (moving.id.clone(), moving.to);
    if !moving.has_arrived() {
        cancel(main, ctx, &id);
        return false;
    }
    // What it asked last has nobody to answer to.
    moving.cut = true;
    let (user, account) = (moving.user.clone(), session.account);
    send_late(main, to, &id, (&user, account), undelivered);
    try_finish(main, ctx, index);
    true
}

/// Messages that the client may not have read go after it.
pub fn send_late(main: &mut Main, to: ServerNo, id: &str, (user, account): (&str, u64), undelivered: &[u8]) {
    let (mut framer, mut at) = (Framer::default(), 0);
    if !undelivered.is_empty() {
        log::debug!("{id}: {} bytes may not have been read, and go after the client", undelivered.len());
    }
    while let Some(line) = framer.next(undelivered, &mut at) {
        let Ok(packet) = Packet::parse(line) else { continue };
        if packet.command == b"RECEIVEMESSAGE" {
            control::push(main, to, &["late", id, user, &account.to_string()], packet.data.0);
        }
    }
}

/// The client's link to the target is gone before the move was settled.
///
/// # Errors
/// None.
pub fn target_left(main: &mut Main, ctx: &mut Ctx<Main>, from: ServerNo, id: &str) -> Result<(), Fail> {
    if find(main, id).and_then(|(_, session)| session.moving.as_ref()).is_some_and(|moving| moving.to == from) {
        cancel(main, ctx, id);
    }
    Ok(())
}

/// SIGNOFF of a session that is being moved. True: that is all for now.
pub fn signed_off(main: &mut Main, ctx: &mut Ctx<Main>, index: usize, request: &Request<'_>) -> bool {
    let Some(Some(session)) = main.sessions.get_mut(index) else { return false };
    let Some(moving) = session.moving.as_mut().filter(|moving| moving.stage != Stage::Offered) else { return false };
    moving.signed_off = Some(request.later());
    ctx.pause(request.link, true);
    // When it counts among what is open.
    ctx.after(0, move |main, ctx| try_finish(main, ctx, index));
    true
}

/// Once a second: failed moves that are long ago; moves that take too long. A client that has arrived and does not sign off here sends nothing here any more.
pub fn tick(main: &mut Main, ctx: &mut Ctx<Main>) {
    let now = ctx.now();
    let (mut late, mut leaving) = (Vec::new(), Vec::new());
    for (index, session) in main.sessions.iter_mut().enumerate() {
        let Some(session) = session else { continue };
        if now >= session.move_failed_at.saturating_add(FORGOTTEN) {
            session.moves_failed = 0;
        }
        let Some(moving) = session.moving.as_mut() else { continue };
        if now < moving.until {
            // What it waited for may have been answered in many ways.
            leaving.extend(moving.signed_off.is_some().then_some(index));
            continue;
        }
        moving.cut |= moving.has_arrived() && moving.signed_off.is_none();
        late.push((index, moving.id.clone()));
    }
    leaving.into_iter().for_each(|index| try_finish(main, ctx, index));
    for (index, id) in late {
        cancel(main, ctx, &id);
        try_finish(main, ctx, index);
    }
    // It may be that it never went there, whatever the target says. Its link ends, and what it was sent goes after it.
    let stays = |session: &super::Session| {
        let moving = session.moving.as_ref().filter(|moving| moving.has_arrived() && moving.signed_off.is_none())?;
        (now >= moving.until).then_some(session.link)
    };
    let stays: Vec<_> = main.sessions.iter().flatten().filter_map(stays).collect();
    for link in stays {
        ctx.abort(link, "its session is at another server, and it does not leave");
    }
}
