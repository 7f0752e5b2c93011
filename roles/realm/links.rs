//! Links to other realms (63745): opened when something is first to go there, kept while they are used, one a pair for both directions. Who
//! opens one proves by the server handshake to have the key of its realm, whoever accepts it by its certificate and its key; both are known from the
//! directory, and kept in the database, so that realms that know each other need no directory.

use std::collections::HashMap;

use rand::RngExt;
use rusqlite::params;
use rusqlite::Connection;

use super::arrived;
use super::blocks;
use super::directory;
use super::queue;
use super::relay;
use crate::config::PortKey;
use crate::engine::ctx::Fingerprint;
use crate::engine::handshake;
use crate::engine::identity::PublicKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::engine::Target;
use crate::engine::Verify;
use crate::roles::main::Main;
use crate::roles::main::Peer;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// The table of realms that are known; `learned` is in Unix milliseconds.
pub const SCHEMA: &str = "
CREATE TABLE realms (
    realm TEXT PRIMARY KEY,               -- host:port
    key BLOB NOT NULL,                    -- X25519, 32 bytes
    fingerprint BLOB NOT NULL,            -- of the certificate, 32 bytes
    learned INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Realms that are known, at most: as many as a directory has.
const MOST: usize = 10_000;
/// How long to wait before the next dial, at first and at most; milliseconds.
const BACK_OFF: (u64, u64) = (500, 30_000);
/// A link on which nothing was asked for so long is closed by the side that opened it; milliseconds.
const IDLE: u64 = 120_000;
/// How often a link in use is probed, and how long that may take; milliseconds. One that is dead without a word is noticed after both.
const PROBE: (u64, u64) = (5_000, 10_000);
/// What waits for a link to one realm: requests, and their bytes.
const WAITING: (usize, usize) = (1_000, 16 << 20);

/// The number of another realm, while this process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RealmNo(u32);

type Then = Box<dyn FnOnce(&mut Main, &mut Ctx<Main>, Result<Raw<'_>, Fail>) + Send>;

/// What waits for the link.
struct Ask {
    command: &'static str,
    data: Vec<u8>,
    then: Then,
}

/// A link to another realm, proven by both.
#[derive(Clone, Copy, Debug)]
struct Joined {
    link: LinkId,
    /// This side opened it.
    opener: bool,
    /// Both know the other's start: what goes there can go.
    ready: bool,
    /// When the open probe was sent; None: it was answered.
    probed: Option<u64>,
    /// When the last one was.
    last_probe: u64,
}

/// Another realm.
pub struct Other {
    /// `host:port`.
    pub id: String,
    key: PublicKey,
    fingerprint: Fingerprint,
    joined: Option<Joined>,
    dialing: Option<LinkId>,
    /// Failed dials since the last success.
    tries: u32,
    /// No dial before that.
    next_dial: u64,
    /// When something went there, or came from there, last.
    pub used: u64,
    /// When it was started, by its own clock; of its last MEET.
    pub boot: u64,
    asks: Vec<Ask>,
    asks_bytes: usize,
    /// Messages, both ways.
    pub streams: relay::Streams,
    /// Messages that wait for it to come back.
    pub queue: queue::Queue,
    /// The number of the last such message that came from there.
    pub taken: u64,
}

/// All that are known.
#[derive(Default)]
pub struct Others {
    by_id: HashMap<Box<str>, RealmNo>,
    all: Vec<Other>,
    /// Those whose streams have something to send or to report.
    pub dirty: Vec<RealmNo>,
}

impl Others {
    /// The realm of that number.
    pub fn get(&self, realm: RealmNo) -> Option<&Other> {
        self.all.get(realm.0 as usize)
    }

    /// The same, to change.
    pub fn get_mut(&mut self, realm: RealmNo) -> Option<&mut Other> {
        self.all.get_mut(realm.0 as usize)
    }

    /// Every realm's number.
    pub fn numbers(&self) -> impl Iterator<Item = RealmNo> + use<> {
        (0..self.all.len() as u32).map(RealmNo)
    }
}

impl Other {
    /// The link to it, if what goes there can go now.
    pub fn link(&self) -> Option<LinkId> {
        self.joined.filter(|joined| joined.ready).map(|joined| joined.link)
    }

    /// Whether it was dialled in vain, and is not dialled again so soon.
    pub fn is_away(&self, now: u64) -> bool {
        self.joined.is_none() && self.tries > 0 && (self.dialing.is_some() || now < self.next_dial)
    }
}

/// MEET: the first word on a link between realms.
pub const MEET: Command<Main> =
    Command { name: "MEET", ports: &[PortKey::Realm], args: "boot", gate: from_realm, run: meet };

/// The gate of what only a realm may send that has proven who it is.
///
/// # Errors
/// SIGNIN.
pub fn from_realm(_: &Main, ctx: &Ctx<Main>, link: LinkId) -> Result<(), Fail> {
    match ctx.peer_ref(link) {
        Some(Peer::Realm(_)) => Ok(()),
        _ => Err(Fail::new(Code::SignIn, "the server handshake comes first")),
    }
}

/// The realm at the other end of a link that passed [`from_realm`].
///
/// # Errors
/// SIGNIN: there is none.
pub fn realm_at(ctx: &Ctx<Main>, link: LinkId) -> Result<RealmNo, Fail> {
    match ctx.peer_ref(link) {
        Some(Peer::Realm(realm)) => Ok(*realm),
        _ => Err(Fail::new(Code::SignIn, "the server handshake comes first")),
    }
}

/// This realm's id: `host:port`. Empty where no realm is played; without a host when it listens on all addresses, and no directory has told.
pub fn own(main: &Main) -> &str {
    main.realm.as_ref().map_or("", |realm| &realm.settings.address)
}

/// A realm that is known here.
pub fn find(main: &Main, realm: &str) -> Option<RealmNo> {
    main.realm.as_ref()?.others.by_id.get(realm).copied()
}

/// The key of a realm that may open links here.
pub fn key_of(main: &Main, realm: &str) -> Option<PublicKey> {
    let others = &main.realm.as_ref().filter(|own| !own.blocks.contains(realm))?.others;
    others.by_id.get(realm).and_then(|number| others.get(*number)).map(|other| other.key)
}

fn find_id(main: &Main, realm: RealmNo) -> Option<String> {
    Some(main.realm.as_ref()?.others.get(realm)?.id.clone())
}

/// Another realm, to change.
pub fn other(main: &mut Main, realm: RealmNo) -> Option<&mut Other> {
    main.realm.as_mut()?.others.get_mut(realm)
}

/// Reads what is known; `then` runs after that.
pub fn load(ctx: &mut Ctx<Main>, then: fn(&mut Main, &mut Ctx<Main>)) {
    arrived::expire(ctx);
    ctx.query(read, move |main, ctx, loaded| {
        match loaded {
            Ok(loaded) => take(main, ctx, loaded),
            Err(fail) => log::error!("what is known of other realms cannot be read: {fail}"),
        }
        then(main, ctx);
    });
}

type Loaded = (Vec<(String, [u8; 32], [u8; 32])>, Vec<String>, Vec<(String, queue::Loaded)>, arrived::Loaded);

fn read(db: &Connection) -> Result<Loaded, Fail> {
    let text = "SELECT realm, key, fingerprint FROM realms ORDER BY learned DESC LIMIT ?1";
    let mut statement = db.prepare(text).map_err(Fail::internal)?;
    let realms = statement.query_map([MOST as i64], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let realms = realms.and_then(Iterator::collect).map_err(Fail::internal)?;
    let mut statement = db.prepare("SELECT what FROM realm_blocks").map_err(Fail::internal)?;
    let blocks = statement.query_map([], |row| row.get(0));
    let blocks = blocks.and_then(Iterator::collect).map_err(Fail::internal)?;
    Ok((realms, blocks, queue::read(db)?, arrived::read(db)?))
}

fn take(main: &mut Main, ctx: &mut Ctx<Main>, (realms, blocks, queued, (rows, taken)): Loaded) {
    let now = ctx.now();
    for (id, key, fingerprint) in realms {
        let stream = main.mesh.stream_number(now);
        if let Some(own) = &mut main.realm {
            add(&mut own.others, stream, &id, PublicKey(key), fingerprint);
        }
    }
    let Some(own) = &mut main.realm else { return };
    own.blocks.extend(blocks);
    for (id, row) in queued {
        let number = own.others.by_id.get(&*id).copied();
        if let Some(other) = number.and_then(|number| own.others.get_mut(number)) {
            queue::load(&mut own.queues, other, row);
        }
    }
    for (id, number) in taken {
        let realm = own.others.by_id.get(&*id).copied();
        if let Some(other) = realm.and_then(|realm| own.others.get_mut(realm)) {
            other.taken = u64::try_from(number).unwrap_or(0);
        }
    }
    arrived::load(&mut own.arrived, rows);
}

fn add(others: &mut Others, stream: u64, id: &str, key: PublicKey, fingerprint: Fingerprint) -> Option<RealmNo> {
    let number = RealmNo(u32::try_from(others.all.len()).ok().filter(|count| (*count as usize) < MOST)?);
    others.by_id.insert(Box::from(id), number);
    others.all.push(Other {
        id: id.to_owned(),
        key,
        fingerprint,
        joined: None,
        dialing: None,
        tries: 0,
        next_dial: 0,
        used: 0,
        boot: 0,
        asks: Vec::new(),
        asks_bytes: 0,
        streams: relay::Streams::new(stream),
        queue: queue::Queue::default(),
        taken: 0,
    });
    Some(number)
}

/// The directory says what a realm is known by; kept for the next start too.
///
/// # Errors
/// LIMIT: too many realms are known.
pub fn learn(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    id: &str,
    key: PublicKey,
    fingerprint: Fingerprint,
) -> Result<(), Fail> {
    let stream = main.mesh.stream_number(ctx.now());
    let Some(realm) = &mut main.realm else { return Ok(()) };
    let others = &mut realm.others;
    match others.by_id.get(id).copied() {
        Some(number) => {
            let Some(other) = others.get_mut(number) else { return Ok(()) };
            if (other.key, other.fingerprint) == (key, fingerprint) {
                return Ok(());
            }
            if other.key != key {
                log::warn!("the directory says that the realm {id} has another key than before: {key}");
            }
            (other.key, other.fingerprint, other.next_dial) = (key, fingerprint, 0);
        }
        None => {
            let full = || Fail::new(Code::Limit, "too many realms are known here");
            add(others, stream, id, key, fingerprint).ok_or_else(full)?;
        }
    }
    let (id, now) = (id.to_owned(), i64::try_from(ctx.now()).unwrap_or(i64::MAX));
    ctx.store(
        move |db| {
            let text = "INSERT OR REPLACE INTO realms (realm, key, fingerprint, learned) VALUES (?1, ?2, ?3, ?4)";
            db.execute(text, params![id, key.0, fingerprint, now]).map(drop).map_err(Fail::internal)
        },
        |_, _, _| {},
    );
    Ok(())
}

/// Runs `then` with the number of a realm, which is looked up in the directory if it is not known.
pub fn with_realm(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    id: &str,
    then: impl FnOnce(&mut Main, &mut Ctx<Main>, Result<RealmNo, Fail>) + Send + 'static,
) {
    if let Some(number) = find(main, id) {
        return then(main, ctx, Ok(number));
    }
    let wanted = id.to_owned();
    directory::find(main, ctx, id, move |main, ctx, found| {
        let none = || Fail::new(Code::NotFound, "no such realm is in the directory");
        let number = found.and_then(|()| find(main, &wanted).ok_or_else(none));
        then(main, ctx, number);
    });
}

/// Asks another realm, over the link to it, which is opened if there is none. `data` is escaped already. `then` gets its answer; UNAVAILABLE when
/// it is not reached or the link breaks, NOTFOUND when the directory knows no such realm, BUSY when too much waits for it.
pub fn ask(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    id: &str,
    command: &'static str,
    data: Vec<u8>,
    then: impl FnOnce(&mut Main, &mut Ctx<Main>, Result<Raw<'_>, Fail>) + Send + 'static,
) {
    with_realm(main, ctx, id, move |main, ctx, realm| match realm {
        Ok(realm) => ask_known(main, ctx, realm, command, data, then),
        Err(fail) => then(main, ctx, Err(fail)),
    });
}

fn ask_known(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    realm: RealmNo,
    command: &'static str,
    data: Vec<u8>,
    then: impl FnOnce(&mut Main, &mut Ctx<Main>, Result<Raw<'_>, Fail>) + Send + 'static,
) {
    let now = ctx.now();
    let Some(other) = other(main, realm) else { return };
    other.used = now;
    if let Some(link) = other.link() {
        return ctx.request_parts(link, command, &[&data], then);
    }
    if other.is_away(now) {
        return then(main, ctx, Err(away()));
    }
    if other.asks.len() >= WAITING.0 || other.asks_bytes.saturating_add(data.len()) > WAITING.1 {
        return then(main, ctx, Err(Fail::new(Code::Busy, "too much waits for that realm; retry later")));
    }
    other.asks_bytes += data.len();
    other.asks.push(Ask { command, data, then: Box::new(then) });
    wanted(main, ctx, realm);
}

fn away() -> Fail {
    Fail::new(Code::Unavailable, "that realm is not reachable; retry later")
}

/// A link is wanted: it is dialled, unless that is under way or was in vain just now.
pub fn wanted(main: &mut Main, ctx: &mut Ctx<Main>, realm: RealmNo) {
    let now = ctx.now();
    let named = !own(main).is_empty() && !own(main).starts_with(':');
    let blocked = find_id(main, realm).is_none_or(|id| blocks::is_blocked(main, &id, ""));
    let Some(other) = other(main, realm) else { return };
    other.used = now;
    if blocked {
        return failed(main, ctx, realm);
    }
    if other.joined.is_some() || other.dialing.is_some() || now < other.next_dial || ctx.is_stopping() {
        return;
    }
    if !named {
        log::error!("this realm has no id yet: set advertise.realm, as it listens on all addresses of its host");
        return failed(main, ctx, realm);
    }
    let target = Target::Net(other.id.clone(), Verify::Pinned(other.fingerprint));
    let link = ctx.connect(PortKey::Realm, target, Peer::DialedRealm(realm));
    other.dialing = Some(link);
}

/// A link that this side dialled is open.
pub fn opened(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId, realm: RealmNo) {
    let Some((id, key)) = other(main, realm).map(|other| (other.id.clone(), other.key)) else { return };
    ctx.trust_foreign(link);
    handshake::open(main, ctx, link, &id, Some(key));
}

/// The handshake is done, on a link that this side opened or accepted.
pub fn proven(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId, id: &str) {
    let Some(realm) = find(main, id) else { return ctx.close(link, "not a realm that is known here") };
    let own = own(main).to_owned();
    let opener = ctx.info(link).is_some_and(|info| info.opener);
    let boot = main.mesh.boot.to_string();
    match ctx.peer(link) {
        Some(peer @ (Peer::Door(_) | Peer::DialedRealm(_))) => *peer = Peer::Realm(realm),
        _ => return ctx.close(link, "this link is something else already"),
    }
    // Of two links, the one that the realm with the smaller id has opened stays; of two of the same opener, the later.
    let smaller = if *own < *id { opener } else { !opener };
    let now = ctx.now();
    let Some(other) = other(main, realm) else { return };
    if other.dialing == Some(link) {
        other.dialing = None;
    }
    if let Some(old) = other.joined {
        if old.opener != opener && !smaller {
            return ctx.close(link, "there is a link already");
        }
        ctx.close(old.link, "there is a later link");
    }
    (other.tries, other.next_dial, other.used) = (0, 0, now);
    other.joined = Some(Joined { link, opener, ready: false, probed: None, last_probe: now });
    log::info!("linked to the realm {id}");
    if opener {
        ctx.request(link, "MEET", &[boot.as_bytes()], move |main, ctx, answer| {
            match answer.and_then(|boot| boot.number()) {
                Ok(boot) => met(main, ctx, link, realm, boot),
                Err(fail) => ctx.close(link, &format!("it does not want to meet: {fail}")),
            }
        });
    }
}

fn meet(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let realm = realm_at(ctx, request.link)?;
    let boot = request.data().number()?;
    let own = main.mesh.boot.to_string().into_bytes();
    ctx.answer_to(request.link, request.packet.id, request.packet.command, Ok(&own));
    met(main, ctx, request.link, realm, boot);
    Ok(Answer::None)
}

/// What waited for the link goes.
fn met(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId, realm: RealmNo, boot: u64) {
    let Some(other) = other(main, realm) else { return };
    let Some(joined) = other.joined.as_mut().filter(|joined| joined.link == link) else { return };
    joined.ready = true;
    let anew = std::mem::replace(&mut other.boot, boot) != boot;
    other.asks_bytes = 0;
    for Ask { command, data, then } in std::mem::take(&mut other.asks) {
        ctx.request_parts(link, command, &[&data], then);
    }
    relay::linked(main, ctx, realm, anew);
}

/// A link is gone, or could not be made.
pub fn closed(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId, realm: RealmNo, why: &str) {
    let Some(other) = other(main, realm) else { return };
    if other.dialing == Some(link) {
        other.dialing = None;
        log::info!("the realm {} is not reached: {why}", other.id);
        let id = other.id.clone();
        failed(main, ctx, realm);
        // It may have another certificate or key.
        directory::doubt(main, ctx, &id);
    } else if other.joined.is_some_and(|joined| joined.link == link) {
        other.joined = None;
        log::info!("the link to the realm {} is gone: {why}", other.id);
        if !other.asks.is_empty() {
            wanted(main, ctx, realm);
        }
        relay::unlinked(main, realm);
    }
}

/// A dial was in vain: nothing waits for it any more, and the next one comes later.
fn failed(main: &mut Main, ctx: &mut Ctx<Main>, realm: RealmNo) {
    let (first, most) = BACK_OFF;
    let now = ctx.now();
    let Some(other) = other(main, realm) else { return };
    let full = first.saturating_mul(1 << other.tries.min(16)).min(most);
    other.tries = other.tries.saturating_add(1);
    other.next_dial = now.saturating_add(full / 2 + ctx.rng().random_range(0..=full / 2));
    other.asks_bytes = 0;
    for Ask { then, .. } in std::mem::take(&mut other.asks) {
        ctx.after(0, move |main, ctx| then(main, ctx, Err(away())));
    }
    relay::away(main, ctx, realm);
}

/// What the operator has blocked is other than before: links to such realms end.
pub fn blocked(main: &mut Main, ctx: &mut Ctx<Main>) {
    let Some(own) = &main.realm else { return };
    let blocked = own.others.all.iter().filter(|other| own.blocks.contains(&other.id));
    for link in blocked.flat_map(|other| other.joined.map(|joined| joined.link).into_iter().chain(other.dialing)) {
        ctx.close(link, "the operator has blocked that realm");
    }
}

/// Once a second.
pub fn tick(main: &mut Main, ctx: &mut Ctx<Main>) {
    let now = ctx.now();
    let Some(numbers) = main.realm.as_ref().map(|realm| realm.others.numbers()) else { return };
    arrived::tick(main, ctx);
    for realm in numbers {
        relay::tick(main, ctx, realm);
        queue::tick(main, ctx, realm);
        let Some(other) = other(main, realm) else { continue };
        let Some(joined) = &mut other.joined else { continue };
        let link = joined.link;
        if joined.probed.is_some_and(|since| now >= since.saturating_add(PROBE.1)) {
            ctx.abort(link, "it answers no probe");
            continue;
        }
        if joined.opener && now >= other.used.saturating_add(IDLE) {
            ctx.close(link, "nothing is asked any more");
            continue;
        }
        let idle = now >= other.used.saturating_add(PROBE.0 + PROBE.1);
        if idle || joined.probed.is_some() || now < joined.last_probe.saturating_add(PROBE.0) {
            continue;
        }
        (joined.probed, joined.last_probe) = (Some(now), now);
        ctx.request(link, "PING", &[], move |main, _, _| {
            let joined = self::other(main, realm).and_then(|other| other.joined.as_mut());
            if let Some(joined) = joined.filter(|joined| joined.link == link) {
                joined.probed = None;
            }
        });
    }
}
