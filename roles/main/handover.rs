//! Moving a client to another main server (contract 9): the target's side, and the arrival of any session that is not to get
//! messages yet.

use std::collections::HashMap;

use subtle::ConstantTimeEq;

use super::deliver;
use super::kept;
use super::management;
use super::marks;
use super::mesh::complain;
use super::mesh::control;
use super::receipts;
use super::settle;
use super::sign_on;
use super::storage;
use super::Came;
use super::Main;
use super::Peer;
use super::SESSIONS;
use super::STATUS_BYTES;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::command::Later;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::route::ServerNo;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// Clients that are on their way here, at most; and from one server.
const MOST: usize = 20_000;
/// See `MOST`.
const OF_ONE: usize = 10_000;
/// Bytes that one server may send after its clients before they are ready.
const LATE: usize = 64 << 20;
/// How long after a session came the server that it came from may send messages after it; milliseconds.
const LATE_FOR: u64 = 300_000;
/// When the source is told again that a client is here, because it was not reached; milliseconds.
const AGAIN: u64 = 500;
/// How long a client may take at most, whatever the source says; milliseconds.
const LONGEST: u64 = 30_000;

pub const HANDOVER: Command<Main> = Command {
    name: "HANDOVER",
    ports: &[PortKey::ClientMain],
    args: "request-id LF username LF secret",
    gate: anyone,
    run,
};

/// Messages that wait for their session to be ready.
#[derive(Debug, Default)]
pub struct Quiet {
    /// What was kept for its user, and comes before the others; each with the time by which it is sorted.
    pub older: Vec<(u64, Vec<u8>)>,
    /// DATA of RECEIVEMESSAGE, escaped.
    pub messages: Vec<Vec<u8>>,
    /// All together.
    pub bytes: usize,
}

/// What another server says of a client that it wants to send, or to have a standby for.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// The request's id.
    pub id: &'a str,
    /// The user, as registered.
    pub user: &'a str,
    /// The account's number.
    pub account: &'a str,
    /// How many milliseconds the client has.
    pub left: &'a str,
    /// What the client will show.
    pub secret: &'a str,
    /// `w`: it wants changes of the map. `s`: it comes as a standby.
    pub flags: &'a str,
    /// Management's word that the user is signed on at the server that offers it.
    pub receipt: &'a str,
}

/// A client that is on its way here, or has come and is not ready.
#[derive(Debug)]
pub struct Arrival {
    /// The server that has the session.
    pub from: ServerNo,
    /// The user, as registered.
    pub user: String,
    /// The account's number.
    pub account: u64,
    /// What the client will show.
    pub secret: String,
    until: u64,
    status: String,
    watching: bool,
    /// The source's, for this user.
    pub receipt: String,
    /// It comes as a standby.
    pub standby: bool,
    /// Its session, once it is here. None again when its link has gone.
    session: Option<(usize, LinkId)>,
    came: bool,
    /// The client's HANDOVER: answered when it is certain that the source does not take the client back.
    asked: Option<Later>,
    flipped: bool,
    done: bool,
    /// Its source is lost, or has not come to an end: what that one has still under way shall not come behind what follows.
    lost: bool,
    /// What the source sends after it.
    late: Vec<Vec<u8>>,
}

impl Arrival {
    /// A session that this server has taken over: all that is missing is that the table says so.
    pub fn settled(
        from: ServerNo,
        (user, account, receipt): (String, u64, String),
        at: (usize, LinkId),
        late: Vec<Vec<u8>>,
    ) -> Arrival {
        Arrival {
            from,
            user,
            account,
            secret: String::new(),
            until: 0,
            status: String::new(),
            watching: false,
            receipt,
            standby: false,
            session: Some(at),
            came: true,
            asked: None,
            flipped: false,
            done: true,
            lost: false,
            late,
        }
    }
}

/// All of them, by request id.
#[derive(Debug, Default)]
pub struct Arrivals {
    all: HashMap<String, Arrival>,
    /// By server: how many, and the bytes of what was sent after them.
    of: HashMap<ServerNo, (usize, usize)>,
}

impl Arrivals {
    /// The arrival of that id.
    pub fn get(&self, id: &str) -> Option<&Arrival> {
        self.all.get(id)
    }

    fn get_mut(&mut self, id: &str) -> Option<&mut Arrival> {
        self.all.get_mut(id)
    }

    /// Whether nobody is on the way here.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether there is room for another from that server.
    fn has_room(&self, from: ServerNo) -> bool {
        self.all.len() < MOST && self.of.get(&from).is_none_or(|(count, _)| *count < OF_ONE)
    }

    /// Adds one.
    pub fn insert(&mut self, id: String, arrival: Arrival) {
        self.remove(&id);
        let of = self.of.entry(arrival.from).or_default();
        of.0 += 1;
        of.1 += bytes(&arrival.late);
        self.all.insert(id, arrival);
    }

    /// Takes one out.
    pub fn remove(&mut self, id: &str) -> Option<Arrival> {
        let arrival = self.all.remove(id)?;
        if let Some(of) = self.of.get_mut(&arrival.from) {
            of.0 = of.0.saturating_sub(1);
            of.1 = of.1.saturating_sub(bytes(&arrival.late));
        }
        Some(arrival)
    }

    /// Adds what is given to the client after it has come. False: there is no room.
    fn add_late(&mut self, id: &str, data: &[u8]) -> bool {
        let Some(arrival) = self.all.get_mut(id) else { return false };
        let of = self.of.entry(arrival.from).or_default();
        if of.1 + data.len() > LATE {
            return false;
        }
        of.1 += data.len();
        arrival.late.push(data.to_vec());
        true
    }

    fn ids(&self, which: impl Fn(&Arrival) -> bool) -> Vec<String> {
        self.all.iter().filter(|(_, arrival)| which(arrival)).map(|(id, _)| id.clone()).collect()
    }
}

fn bytes(messages: &[Vec<u8>]) -> usize {
    messages.iter().map(Vec::len).sum()
}

/// Another server offers a client.
///
/// # Errors
/// REFUSED, LIMIT, DENIED, BADARGS.
pub fn offered(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    from: ServerNo,
    offer: &Offer<'_>,
    item: &[u8],
) -> Result<(), Fail> {
    name::check_user(offer.user)?;
    name::check(offer.id)?;
    receipts::check(offer.receipt)?;
    let user = main.table.find(offer.user).and_then(|user| main.table.get(user));
    if !user.is_some_and(|user| user.at.contains(&from)) {
        complain(main, from, format_args!("offers {}, who is not signed on there", offer.user.escape_debug()));
        return Err(Fail::new(Code::Denied, "not signed on there"));
    }
    let standby = offer.flags.contains('s');
    if main.draining.is_some() || ctx.is_stopping() || main.management.link().is_none() {
        return Err(Fail::new(Code::Refused, "this server takes no clients at the moment"));
    }
    let full = user.is_some_and(|user| user.here.len() >= SESSIONS) && !standby;
    let known = main.arrivals.get(offer.id).is_some() || main.session_of_move(offer.id).is_some();
    if full || known || !main.arrivals.has_room(from) {
        return Err(Fail::new(Code::Limit, "too many clients are on their way here"));
    }
    let number = |text: &str| Raw(text.as_bytes()).number();
    let arrival = Arrival {
        from,
        user: offer.user.to_owned(),
        account: number(offer.account)?,
        secret: offer.secret.to_owned(),
        until: ctx.now().saturating_add(number(offer.left)?.min(LONGEST)),
        status: Raw(item).text()?.chars().take(STATUS_BYTES).collect(),
        watching: offer.flags.contains('w'),
        receipt: offer.receipt.to_owned(),
        standby,
        session: None,
        came: false,
        asked: None,
        flipped: false,
        done: false,
        lost: false,
        late: Vec::new(),
    };
    main.arrivals.insert(offer.id.to_owned(), arrival);
    Ok(())
}

/// The arrival that a client means and may mean.
///
/// # Errors
/// EXPIRED: there is none. WRONG: it is another's.
pub fn meant<'a>(main: &'a Main, id: &str, user: &str, secret: &[u8], standby: bool) -> Result<&'a Arrival, Fail> {
    let known = main.arrivals.get(id).filter(|arrival| !arrival.came && arrival.standby == standby);
    let arrival = known.ok_or_else(|| Fail::new(Code::Expired, "this server expects no such client any more"))?;
    let same = bool::from(arrival.secret.as_bytes().ct_eq(secret)) && name::fold(&arrival.user) == name::fold(user);
    match same {
        true => Ok(arrival),
        false => Err(Fail::new(Code::Wrong, "the name or the secret is wrong")),
    }
}

fn run(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [id, user, secret] = request.data().take()?;
    if !matches!(ctx.peer_ref(request.link), Some(Peer::Stranger)) {
        return Err(Fail::new(Code::Exists, "this connection is signed on"));
    }
    let id = id.text()?.into_owned();
    let arrival = meant(main, &id, &user.text()?, &secret.unescape(), false)?;
    let (name, account, from, watching) = (arrival.user.clone(), arrival.account, arrival.from, arrival.watching);
    let receipt = arrival.receipt.clone();
    main.receipts.came(account, &receipt, ctx.now());
    let came = Came { id: id.clone(), from, version: u64::MAX, claimed: false };
    let index = sign_on::begin(main, ctx, request.link, &name, account, Some(came));
    if watching {
        main.map.watchers.push(request.link);
    }
    if let Some(arrival) = main.arrivals.get_mut(&id) {
        (arrival.came, arrival.session) = (true, Some((index, request.link)));
        arrival.asked = Some(request.later());
    }
    // What it sends is read when the source has answered all that came before.
    ctx.pause(request.link, true);
    control::push(main, from, &["arrived", &id], b"");
    Ok(Answer::Later)
}

/// The source knows that the client is here, or has given it up, or was not reached. The client is told only now: it would leave
/// the source at once, which may have to give the move up as long as it does not know.
pub fn source_knows(main: &mut Main, ctx: &mut Ctx<Main>, from: ServerNo, id: &str, fail: Option<Fail>) {
    match fail {
        None => settled(main, ctx, id),
        Some(fail) if fail.code == Code::Unavailable => {
            let id = id.to_owned();
            ctx.after(AGAIN, move |main, _| {
                if main.arrivals.get(&id).is_some_and(|arrival| arrival.asked.is_some()) {
                    control::push(main, from, &["arrived", &id], b"");
                }
            });
        }
        Some(_) => drop(cancelled(main, ctx, from, id)),
    }
}

/// The client may leave the source.
fn settled(main: &mut Main, ctx: &mut Ctx<Main>, id: &str) {
    if let Some(later) = main.arrivals.get_mut(id).and_then(|arrival| arrival.asked.take()) {
        ctx.answer(&later, Ok(id.as_bytes().to_vec()));
    }
}

/// The source gives the move up.
///
/// # Errors
/// None.
pub fn cancelled(main: &mut Main, ctx: &mut Ctx<Main>, from: ServerNo, id: &str) -> Result<(), Fail> {
    let Some(arrival) = main.arrivals.get(id).filter(|arrival| arrival.from == from) else { return Ok(()) };
    if arrival.flipped {
        return Ok(());
    }
    if let Some(arrival) = main.arrivals.remove(id) {
        if let Some(later) = arrival.asked {
            ctx.answer(&later, Err(Fail::new(Code::Expired, "the move was cancelled")));
        }
        if let Some((index, link)) = arrival.session {
            main.forget_session(index);
            if let Some(peer) = ctx.peer(link) {
                *peer = Peer::Stranger;
            }
            ctx.close(link, "the move was cancelled");
        }
    }
    Ok(())
}

/// A message that the client may not have read on its old link.
///
/// # Errors
/// OFFLINE: the session is gone, or never was that server's. BUSY. BADARGS: no message.
pub fn late(main: &mut Main, ctx: &mut Ctx<Main>, from: ServerNo, id: &str, item: &[u8]) -> Result<(), Fail> {
    let [sender, sent_at, _] = Raw(item).take::<3>()?;
    name::check_user(&sender.text()?)?;
    sent_at.number()?;
    let busy = || Fail::new(Code::Busy, "too much waits for this session");
    if main.arrivals.get(id).is_some_and(|arrival| arrival.from == from) {
        return if main.arrivals.add_late(id, item) { Ok(()) } else { Err(busy()) };
    }
    // All servers know the ids of moves; only the one that had the session has something to send after it, and not for ever.
    let now = ctx.now();
    let session = main.session_of_move(id).filter(|session| {
        let came = session.came.as_ref();
        came.is_some_and(|came| came.from == from) && now < session.since.saturating_add(LATE_FOR)
    });
    let gone = || Fail::new(Code::Offline, "the session is gone");
    let link = session.map(|session| session.link).ok_or_else(gone)?;
    if ctx.queued() > ctx.limits().outbox_total {
        return Err(busy());
    }
    if deliver::to_one(main, ctx, link, item) {
        Ok(())
    } else {
        Err(gone())
    }
}

/// The source has answered all that came before. `how`: the version of the table since which the session is here, or `alone` when
/// management could not be asked.
///
/// # Errors
/// EXPIRED.
pub fn done(main: &mut Main, ctx: &mut Ctx<Main>, from: ServerNo, id: &str, how: &str) -> Result<(), Fail> {
    let Some(arrival) = main.arrivals.get_mut(id).filter(|arrival| arrival.from == from && arrival.came) else {
        return Err(Fail::new(Code::Expired, "there is no such move"));
    };
    // Its packet was sent under that version at least.
    let known = Raw(how.as_bytes()).number().ok().filter(|version| *version <= main.version);
    let version = if how == "alone" { Some(u64::MAX) } else { known };
    let version = version.ok_or_else(|| Fail::bad_args("no version of the table that this server has"))?;
    arrival.done = true;
    let known = main.session_of_move(id).and_then(|session| session.came.clone()).map(|came| came.version);
    // Only one of the two had management's last word.
    match known.filter(|known| version == u64::MAX && *known != version) {
        Some(known) => settle::tell(main, id, known),
        None => flipped(main, ctx, id, version),
    }
    finish(main, ctx, id);
    Ok(())
}

/// The table says, since `version`, that the session is here: messages for it are taken, and wait. `u64::MAX`: it does not say so
/// yet, but the source does.
pub fn flipped(main: &mut Main, ctx: &mut Ctx<Main>, id: &str, version: u64) {
    let Some(arrival) = main.arrivals.get_mut(id).filter(|arrival| !arrival.flipped) else {
        let link = main.session_of_move(id).map(|session| session.link).filter(|_| version != u64::MAX);
        return settle::since(main, link.as_slice(), version);
    };
    arrival.flipped = true;
    settled(main, ctx, id);
    let Some(arrival) = main.arrivals.get_mut(id) else { return };
    let (name, session, status) = (arrival.user.clone(), arrival.session, std::mem::take(&mut arrival.status));
    log::debug!("{id}: {name} is here since version {version}");
    if let Some((index, link)) = session {
        let user = main.table.sign_on(&name, link);
        if let Some(Some(session)) = main.sessions.get_mut(index) {
            session.user = user;
            if let Some(came) = &mut session.came {
                came.version = version;
            }
        }
        main.last_came = main.last_came.max(version);
        if !status.is_empty() {
            main.statuses.insert(Box::from(&*name), status);
        }
    }
    marks::renew(main, &name);
    management::presence(main, ctx, &name);
    finish(main, ctx, id);
}

fn finish(main: &mut Main, ctx: &mut Ctx<Main>, id: &str) {
    if !main.arrivals.get(id).is_some_and(|arrival| arrival.flipped && arrival.done) {
        return;
    }
    let Some(arrival) = main.arrivals.remove(id) else { return };
    if arrival.lost {
        settle::source_lost(main, ctx, id, &arrival.user, arrival.from);
    }
    match arrival.session {
        Some((index, link)) => {
            // Ahead of what waits for it: they were sent before.
            let session = main.sessions.get_mut(index).and_then(Option::as_mut);
            if let Some(quiet) = session.and_then(|session| session.quiet.as_mut()) {
                quiet.messages.splice(0..0, arrival.late);
            }
            speak(main, ctx, index);
            ctx.pause(link, false);
        }
        None => kept::store(main, ctx, &arrival.user, arrival.account, arrival.late),
    }
}

/// The session is ready: what waited for it goes into its outbox, and what comes from now on.
pub fn speak(main: &mut Main, ctx: &mut Ctx<Main>, index: usize) {
    // A link that is being closed takes nothing more: what waits is kept when it is gone.
    let session = main.sessions.get_mut(index).and_then(Option::as_mut).filter(|session| ctx.is_open(session.link));
    let Some(session) = session else { return };
    let (link, user, account) = (session.link, session.user, session.account);
    let Some(quiet) = session.quiet.take() else { return };
    main.fetches.freed(&quiet.older);
    let mut last = 0;
    let timed = |data: Vec<u8>| {
        last = kept::sent_at(&data).max(last);
        (last, data)
    };
    let mut older: Vec<(u64, Vec<u8>)> = kept::take(main, ctx, account).into_iter().map(timed).collect();
    older.extend(quiet.older);
    // Of several servers: each has its own in order, and what one sender has sent is told apart by its time.
    older.sort_by_key(|(at, _)| *at);
    for data in older.iter().map(|(_, data)| data).chain(&quiet.messages) {
        ctx.push_kept(link, "RECEIVEMESSAGE", data);
    }
    let name = main.table.get(user).map(|user| user.name.to_string()).unwrap_or_default();
    marks::renew(main, &name);
    storage::came(main, ctx, link);
}

/// The link of a session that is not ready is gone: what waited is kept.
pub fn link_closed(main: &mut Main, ctx: &mut Ctx<Main>, id: &str, waiting: Vec<Vec<u8>>) {
    let Some(mut arrival) = main.arrivals.remove(id) else { return };
    (arrival.session, arrival.asked) = (None, None);
    arrival.late.extend(waiting);
    let (from, user, flipped) = (arrival.from, arrival.user.clone(), arrival.flipped);
    main.arrivals.insert(id.to_owned(), arrival);
    if flipped {
        if main.table.find(&user).and_then(|user| main.table.get(user)).is_none_or(|user| user.here.is_empty()) {
            main.statuses.remove(&*user);
        }
        marks::renew(main, &user);
        management::presence(main, ctx, &user);
    } else {
        // Perhaps it goes on where it was.
        control::push(main, from, &["left", id], b"");
    }
}

/// A server is gone: clients that came from there have nothing to wait for.
pub fn source_lost(main: &mut Main, ctx: &mut Ctx<Main>, server: ServerNo) {
    for id in main.arrivals.ids(|arrival| arrival.from == server) {
        let Some(arrival) = main.arrivals.get_mut(&id) else { continue };
        if !arrival.came {
            main.arrivals.remove(&id);
            continue;
        }
        (arrival.done, arrival.lost) = (true, !arrival.done);
        if arrival.flipped {
            finish(main, ctx, &id);
        } else {
            take_over(main, ctx, &id);
        }
    }
}

/// The source cannot tell management any more: the target does.
pub fn take_over(main: &mut Main, ctx: &mut Ctx<Main>, id: &str) {
    let Some(arrival) = main.arrivals.get(id) else { return };
    let from = main.table.server_id(arrival.from).to_owned();
    let (user, id, receipt) = (arrival.user.clone(), id.to_owned(), arrival.receipt.clone());
    let Some(link) = main.management.link() else { return flipped(main, ctx, &id, u64::MAX) };
    let (name, again) = (user.clone(), id.clone());
    let fields = [user.as_bytes(), from.as_bytes(), id.as_bytes(), b"taken", receipt.as_bytes()];
    ctx.request(link, "MOVE", &fields, move |main, ctx, answer| {
        if let Err(fail) = answer {
            log::warn!("management does not note that {name} is here: {fail}");
        }
        // The line that says so comes before the answer; but not to one that waits for its portion.
        flipped(main, ctx, &again, u64::MAX);
    });
}

/// Once a second: clients that did not come, and sources that do not come to an end.
pub fn tick(main: &mut Main, ctx: &mut Ctx<Main>) {
    let now = ctx.now();
    for id in main.arrivals.ids(|arrival| !arrival.came && now >= arrival.until) {
        main.arrivals.remove(&id);
    }
    let stuck = |arrival: &Arrival| arrival.came && !arrival.done && now >= arrival.until.saturating_add(LONGEST);
    for id in main.arrivals.ids(stuck) {
        let Some(arrival) = main.arrivals.get_mut(&id) else { continue };
        (arrival.done, arrival.lost) = (true, true);
        match arrival.flipped {
            true => finish(main, ctx, &id),
            false => take_over(main, ctx, &id),
        }
    }
}
