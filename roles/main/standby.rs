//! The redundant link: a second server that has a copy of every message which a session was sent and may not have read.
//!
//! On the session's server a standby is a name and a server; on the standby it is a silent link and the copies.

use std::collections::HashMap;
use std::collections::VecDeque;

use super::drain;
use super::handover;
use super::management;
use super::marks;
use super::mesh::control;
use super::mesh::settled;
use super::redirect;
use super::session_of;
use super::sign_on;
use super::signed_on;
use super::Came;
use super::Main;
use super::Peer;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::command::Later;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::route::ServerNo;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// Bytes of copies for one session: over it, it has no standby any more.
const COPIES: usize = 8 << 20;
/// The same for all sessions of one server.
const COPIES_OF_ONE: usize = 256 << 20;
/// What a copy costs beside its bytes, about.
const COPY: usize = 64;
/// Standbys that one server is.
const MOST: usize = 100_000;

pub const STANDBY: Command<Main> =
    Command { name: "STANDBY", ports: &[PortKey::ClientMain], args: "server-id", gate: signed_on, run: ask };

pub const ATTACH: Command<Main> = Command {
    name: "ATTACH",
    ports: &[PortKey::ClientMain],
    args: "request-id LF username LF secret",
    gate: anyone,
    run: attach,
};

pub const TAKE_OVER: Command<Main> =
    Command { name: "TAKEOVER", ports: &[PortKey::ClientMain], args: "received", gate: is_standby, run: take_over };

/// What a session knows of its standby.
#[derive(Clone, Debug)]
pub struct Link {
    /// Where it is.
    pub server: ServerNo,
    /// The request's id.
    pub id: String,
    /// Messages up to this number were read, and the standby knows it.
    seen: u64,
}

/// A session of another server, for which this one stands by.
#[derive(Debug)]
struct Held {
    from: ServerNo,
    user: String,
    account: u64,
    /// That server's, for this user.
    receipt: String,
    link: LinkId,
    copies: VecDeque<(u64, Vec<u8>)>,
    bytes: usize,
}

/// Both sides.
#[derive(Debug, Default)]
pub struct Standbys {
    /// Sessions of other servers, by request id.
    held: HashMap<String, Held>,
    /// Bytes of their copies, by server.
    bytes: HashMap<ServerNo, usize>,
    /// Sessions of this server that have asked: by request id, and the secret.
    asked: HashMap<String, (usize, LinkId, Later, String)>,
    /// Sessions of this server that have one, or have been told of one: by request id, and where it is.
    sessions: HashMap<String, (usize, LinkId, ServerNo)>,
    /// Copies that the other server has not said to have: by request id, their numbers, and what waits for that.
    waiting: HashMap<String, VecDeque<(u64, u64)>>,
    /// Joints that wait for a copy no more.
    over: Vec<u64>,
    /// Request ids of copies that came in this event, and the last number of each.
    came: Vec<(String, u64)>,
}

impl Standbys {
    /// The other server has all copies up to `number`, or it does not matter any more.
    fn have(&mut self, id: &str, number: u64) {
        let Some(waiting) = self.waiting.get_mut(id) else { return };
        while let Some((_, joint)) = waiting.front().copied().filter(|(of, _)| *of <= number) {
            waiting.pop_front();
            self.over.push(joint);
        }
        if waiting.is_empty() {
            self.waiting.remove(id);
        }
    }

    fn remove(&mut self, id: &str) -> Option<Held> {
        let held = self.held.remove(id)?;
        self.freed(held.from, held.bytes);
        Some(held)
    }

    fn freed(&mut self, from: ServerNo, bytes: usize) {
        if let Some(all) = self.bytes.get_mut(&from) {
            *all = all.saturating_sub(bytes);
        }
    }
}

fn is_standby(_: &Main, ctx: &Ctx<Main>, link: LinkId) -> Result<(), Fail> {
    match ctx.peer_ref(link) {
        Some(Peer::Standby(_)) => Ok(()),
        _ => Err(Fail::new(Code::Expired, "this connection stands by for nothing")),
    }
}

fn ask(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let index = session_of(ctx, request.link)?;
    let wish = request.data().text()?;
    let none = || Fail::new(Code::Unavailable, "no other main server is reached; retry later");
    let wished = |server: &ServerNo| wish.is_empty() || main.table.server_id(*server) == wish;
    let mut servers: Vec<ServerNo> =
        drain::targets(main, ctx).into_iter().map(|(_, server)| server).filter(wished).collect();
    // One that this client could not reach is not proposed again before the others.
    let asked = main.session(index).map_or(0, |session| session.standbys_asked);
    if servers.is_empty() {
        return Err(none());
    }
    let server = servers.swap_remove(asked % servers.len());
    let (id, secret) = (redirect::random_hex::<16>(ctx), redirect::random_hex::<32>(ctx));
    drop_link(main, index);
    if let Some(Some(session)) = main.sessions.get_mut(index) {
        session.standbys_asked += 1;
    }
    let session = main.session(index).ok_or_else(none)?;
    let receipt = main.receipts.of(session.account);
    let (account, name) = (session.account.to_string(), main.table.get(session.user).map(|user| user.name.to_string()));
    let name = name.ok_or_else(none)?;
    main.standbys.asked.insert(id.clone(), (index, request.link, request.later(), secret.clone()));
    let (left, receipt) = (redirect::TIMEOUT.to_string(), receipt.to_owned());
    control::push(main, server, &["offer", &id, &name, &account, &left, &secret, "s", &receipt], b"");
    Ok(Answer::Later)
}

/// The other server will stand by, or not: the client is told.
pub fn offered(main: &mut Main, ctx: &mut Ctx<Main>, server: ServerNo, id: &str, fail: Option<Fail>) {
    let Some((index, link, later, secret)) = main.standbys.asked.remove(id) else { return };
    let facts = main.mesh.get(server).map(|entry| entry.facts.clone()).unwrap_or_default();
    let answer = match fail {
        Some(_) => Err(Fail::new(Code::Unavailable, "the other server takes nobody at the moment; retry later")),
        None => {
            // One of which it was told before, and to which it did not go, is given up.
            drop_link(main, index);
            let asker = main.sessions.get_mut(index).and_then(Option::as_mut).filter(|session| session.link == link);
            match asker {
                Some(session) => session.standby_told = Some((server, id.to_owned())),
                None => return control::push(main, server, &["ended", id], b""),
            }
            main.standbys.sessions.insert(id.to_owned(), (index, link, server));
            let (name, left) = (main.table.server_id(server), redirect::TIMEOUT);
            Ok(format!("{id}\n{name}\n{}\n{}\n{left}\n{secret}", facts.client, facts.fingerprint).into_bytes())
        }
    };
    ctx.answer(&later, answer);
}

fn attach(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [id, user, secret] = request.data().take()?;
    if !matches!(ctx.peer_ref(request.link), Some(Peer::Stranger)) {
        return Err(Fail::new(Code::Exists, "this connection is signed on"));
    }
    let id = id.text()?.into_owned();
    let arrival = handover::meant(main, &id, &user.text()?, &secret.unescape(), true)?;
    if main.standbys.held.len() >= MOST {
        return Err(Fail::new(Code::Busy, "this server stands by for too many; retry later"));
    }
    let (from, user, account) = (arrival.from, arrival.user.clone(), arrival.account);
    let receipt = arrival.receipt.clone();
    main.arrivals.remove(&id);
    if let Some(peer) = ctx.peer(request.link) {
        *peer = Peer::Standby(id.clone());
    }
    ctx.trust(request.link);
    let held = Held { from, user, account, receipt, link: request.link, copies: VecDeque::new(), bytes: 0 };
    main.standbys.held.insert(id.clone(), held);
    control::push(main, from, &["attached", &id], b"");
    Ok(Answer::Ok)
}

/// The client stands at the standby: from here on messages are copied there, and counted.
///
/// # Errors
/// NOTFOUND: the session is gone.
pub fn attached(main: &mut Main, ctx: &mut Ctx<Main>, server: ServerNo, id: &str) -> Result<(), Fail> {
    let known = main.standbys.sessions.get(id).copied();
    let session = known.filter(|(_, _, asked)| *asked == server).and_then(|(index, link, _)| {
        let session = main.sessions.get_mut(index)?.as_mut()?;
        let told = session.standby_told.as_ref().is_some_and(|(_, told)| told == id);
        (session.link == link && session.moving.is_none() && told).then_some(session)
    });
    let Some(session) = session else {
        control::reply(main, server, &["ended", id]);
        return Err(Fail::new(Code::NotFound, "the session is gone"));
    };
    session.standby_told = None;
    session.standby = Some(Link { server, id: id.to_owned(), seen: 0 });
    session.delivered = 0;
    let (link, user) = (session.link, session.user);
    // The client counts from here too.
    ctx.push_kept(link, "STANDBYON", id.as_bytes());
    let name = main.table.get(user).map(|user| user.name.to_string()).unwrap_or_default();
    log::debug!("{name} has a standby at {}", main.table.server_id(server));
    marks::renew(main, &name);
    Ok(())
}

/// Sends a copy to a standby; `joint` waits until it is there.
pub fn send(main: &mut Main, server: ServerNo, id: &str, number: u64, joint: u64, data: &[u8]) {
    main.standbys.waiting.entry(id.to_owned()).or_default().push_back((number, joint));
    control::push(main, server, &["copy", id, &number.to_string()], data);
}

/// The standby has all copies up to `number`. It says so in its own stream, which is read however far this server's has come: were the
/// acknowledgements of items waited for, which wait for copies in their turn, two servers could wait for each other.
///
/// # Errors
/// BADARGS.
pub fn copied(main: &mut Main, from: ServerNo, id: &str, number: &str) -> Result<(), Fail> {
    let number = Raw(number.as_bytes()).number()?;
    let session = main.standbys.sessions.get(id).and_then(|(index, ..)| main.session(*index));
    if session.and_then(|session| session.standby.as_ref()).is_some_and(|link| link.server == from) {
        main.standbys.have(id, number);
    }
    Ok(())
}

/// A copy is acknowledged, or came to nothing.
pub fn sent(main: &mut Main, ctx: &mut Ctx<Main>, server: ServerNo, id: &str, number: &str, fail: Option<&Fail>) {
    if fail.is_some() && main.standbys.sessions.contains_key(id) {
        // With a gap it is of no use.
        let _ = ended(main, ctx, server, id);
        control::push(main, server, &["ended", id], b"");
    }
    main.standbys.have(id, number.parse().unwrap_or_default());
}

/// At the end of an event: who waited for copies is answered, and copies that came are confirmed.
pub fn settled(main: &mut Main, ctx: &mut Ctx<Main>) {
    while let Some(joint) = main.standbys.over.pop() {
        settled::joined(main, ctx, joint, None);
    }
    for (id, number) in std::mem::take(&mut main.standbys.came) {
        if let Some(from) = main.standbys.held.get(&id).map(|held| held.from) {
            control::push(main, from, &["copied", &id, &number.to_string()], b"");
        }
    }
}

/// A copy of a message.
///
/// # Errors
/// NOTFOUND, BUSY.
pub fn copy(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    from: ServerNo,
    id: &str,
    number: &str,
    item: &[u8],
) -> Result<(), Fail> {
    let number = Raw(number.as_bytes()).number()?;
    if let Some(held) = main.standbys.held.get_mut(id).filter(|held| held.from == from) {
        let all = main.standbys.bytes.entry(from).or_default();
        // Not for nothing is an empty one.
        let size = item.len() + COPY;
        if held.bytes + size > COPIES || *all + size > COPIES_OF_ONE {
            let _ = ended(main, ctx, from, id);
            return Err(Fail::new(Code::Busy, "too much waits for this session"));
        }
        held.bytes += size;
        *all += size;
        held.copies.push_back((number, item.to_vec()));
        match main.standbys.came.last_mut().filter(|(last, _)| last == id) {
            Some((_, last)) => *last = number,
            None => main.standbys.came.push((id.to_owned(), number)),
        }
        return Ok(());
    }
    // It has taken over already.
    handover::late(main, ctx, from, id, item)
}

/// The client has read all up to `number`.
///
/// # Errors
/// BADARGS.
pub fn seen(main: &mut Main, from: ServerNo, id: &str, number: &str) -> Result<(), Fail> {
    let number = Raw(number.as_bytes()).number()?;
    let mut freed = 0;
    if let Some(held) = main.standbys.held.get_mut(id).filter(|held| held.from == from) {
        while let Some((_, data)) = held.copies.front().filter(|(of, _)| *of <= number) {
            freed += data.len() + COPY;
            held.copies.pop_front();
        }
        held.bytes = held.bytes.saturating_sub(freed);
    }
    main.standbys.freed(from, freed);
    Ok(())
}

/// The other side of a standby is gone: the session, or the standby.
///
/// # Errors
/// None.
pub fn ended(main: &mut Main, ctx: &mut Ctx<Main>, from: ServerNo, id: &str) -> Result<(), Fail> {
    if main.standbys.held.get(id).is_some_and(|held| held.from == from) {
        if let Some(held) = main.standbys.remove(id) {
            if let Some(peer) = ctx.peer(held.link) {
                *peer = Peer::Stranger;
            }
            ctx.close(held.link, "its session has ended");
        }
        return Ok(());
    }
    if main.arrivals.get(id).is_some_and(|arrival| arrival.standby && arrival.from == from) {
        main.arrivals.remove(id);
    }
    if main.standbys.sessions.get(id).is_some_and(|(_, _, at)| *at == from) {
        let Some((index, link, _)) = main.standbys.sessions.remove(id) else { return Ok(()) };
        main.standbys.have(id, u64::MAX);
        let session = main.sessions.get_mut(index).and_then(Option::as_mut).filter(|session| session.link == link);
        let Some(session) = session else { return Ok(()) };
        (session.standby, session.standby_told) = (None, None);
        let user = session.user;
        let _ = ctx.push(link, "STANDBYGONE", &[id.as_bytes()]);
        let name = main.table.get(user).map(|user| user.name.to_string()).unwrap_or_default();
        marks::renew(main, &name);
    }
    Ok(())
}

/// A session of this server needs its standby no more: it ends, moves, or asks for another.
pub fn drop_link(main: &mut Main, index: usize) {
    let Some(Some(session)) = main.sessions.get_mut(index) else { return };
    let (link, told) = (session.standby.take().map(|link| (link.server, link.id)), session.standby_told.take());
    for (server, id) in link.into_iter().chain(told) {
        main.standbys.sessions.remove(&id);
        main.standbys.have(&id, u64::MAX);
        control::push(main, server, &["ended", &id], b"");
    }
}

/// The silent link of a client is gone.
pub fn link_closed(main: &mut Main, id: &str) {
    if let Some(held) = main.standbys.remove(id) {
        control::push(main, held.from, &["ended", id], b"");
    }
}

fn take_over(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let received = request.data().number()?;
    let expired = || Fail::new(Code::Expired, "the session has ended; sign on again");
    let Some(Peer::Standby(id)) = ctx.peer_ref(request.link) else { return Err(expired()) };
    let id = id.clone();
    let held = main.standbys.remove(&id).ok_or_else(expired)?;
    let missing: Vec<Vec<u8>> =
        held.copies.into_iter().filter(|(number, _)| *number > received).map(|(_, data)| data).collect();
    log::info!("{} goes on here, with {} messages it has not read", held.user, missing.len());
    let came = Came { id: id.clone(), from: held.from, version: u64::MAX, claimed: false };
    main.receipts.came(held.account, &held.receipt, ctx.now());
    let index = sign_on::begin(main, ctx, request.link, &held.user, held.account, Some(came));
    // Read when everybody knows that it is here: others would not believe what it sends.
    ctx.pause(request.link, true);
    let arrival =
        handover::Arrival::settled(held.from, (held.user, held.account, held.receipt), (index, request.link), missing);
    main.arrivals.insert(id.clone(), arrival);
    control::push(main, held.from, &["taken", &id], b"");
    handover::take_over(main, ctx, &id);
    Ok(Answer::Data(id.into_bytes()))
}

/// The standby has taken a session of this server over: its client could not reach this one any more.
///
/// # Errors
/// NOTFOUND: it has ended.
pub fn taken(main: &mut Main, ctx: &mut Ctx<Main>, by: ServerNo, id: &str) -> Result<(), Fail> {
    let gone = || Fail::new(Code::NotFound, "the session has ended");
    let known = main.standbys.sessions.get(id).filter(|(_, _, at)| *at == by);
    let (index, link, _) = known.copied().ok_or_else(gone)?;
    main.standbys.sessions.remove(id);
    // They are on the way there, and are given to the session when they come.
    main.standbys.have(id, u64::MAX);
    let session = main.session(index).filter(|session| session.link == link).ok_or_else(gone)?;
    let (user, was) = (session.user, session.came.clone());
    let name = main.table.get(user).map(|user| user.name.to_string()).ok_or_else(gone)?;
    let now = ctx.now();
    main.moved.add(&name, id, was.as_ref(), by, u64::MAX, now);
    if let Some(peer) = ctx.peer(link) {
        *peer = Peer::Stranger;
    }
    ctx.abort(link, "its client goes on at another server");
    main.table.sign_off(user, link);
    main.forget_session(index);
    marks::renew(main, &name);
    management::presence_then(main, ctx, &name, 1, |_, _| {});
    Ok(())
}

/// A server is gone. Its sessions that this one stands by for are waited for; sessions of this one lose their standby there.
pub fn server_lost(main: &mut Main, ctx: &mut Ctx<Main>, server: ServerNo) {
    let lost = main.standbys.sessions.iter().filter(|(_, (_, _, at))| *at == server);
    let lost: Vec<String> = lost.map(|(id, _)| id.clone()).collect();
    for id in lost {
        let _ = ended(main, ctx, server, &id);
    }
}

/// Once a second: what was read needs no copy.
pub fn tick(main: &mut Main, ctx: &mut Ctx<Main>) {
    let with = |(index, session): (usize, &Option<super::Session>)| {
        let session = session.as_ref()?;
        let link = session.standby.as_ref()?;
        (session.delivered > link.seen).then_some((index, session.link, session.delivered))
    };
    let with: Vec<_> = main.sessions.iter().enumerate().filter_map(with).collect();
    for (index, link, number) in with {
        ctx.request(link, "PING", &[], move |main, _, answer| {
            let session = main.sessions.get_mut(index).and_then(Option::as_mut).filter(|one| one.link == link);
            let standby = session.and_then(|session| session.standby.as_mut());
            let Some(standby) = standby.filter(|_| answer.is_ok()) else { return };
            standby.seen = number;
            let (server, id) = (standby.server, standby.id.clone());
            control::push(main, server, &["seen", &id, &number.to_string()], b"");
        });
    }
}
