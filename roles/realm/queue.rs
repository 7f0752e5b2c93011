//! Messages for realms that are away: on disk, until they are there again, or until it is too late and their senders are told.

use std::collections::HashMap;
use std::collections::VecDeque;

use rusqlite::params;
use rusqlite::Connection;

use super::abroad::Abroad;
use super::blocks;
use super::links;
use super::links::Other;
use super::links::RealmNo;
use super::relay;
use crate::engine::Ctx;
use crate::relay::Outcome;
use crate::roles::main::deliver;
use crate::roles::main::kept;
use crate::roles::main::mesh::joint::Asker;
use crate::roles::main::mesh::settled;
use crate::roles::main::mesh::Who;
use crate::roles::main::Main;
use crate::wire::raw;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// The table of messages that wait; times are Unix milliseconds. Numbers only grow, over losses of this table too: the other realm remembers how far
/// it has come.
pub const SCHEMA: &str = "
CREATE TABLE realm_queue (
    id INTEGER PRIMARY KEY,
    realm TEXT NOT NULL,
    sender TEXT NOT NULL,
    account INTEGER NOT NULL,
    recipient TEXT NOT NULL,
    sent_at INTEGER NOT NULL,
    body BLOB NOT NULL                    -- escaped
) STRICT;
";

/// Of one sender: messages and bytes.
const PER_SENDER: (usize, usize) = (1_000, 16 << 20);
/// Of all, in memory and on disk; bytes.
const TOTAL: usize = 256 << 20;
/// What a message costs beside its body, about.
const OVERHEAD: usize = 250;

#[derive(Debug)]
struct Row {
    id: u64,
    sender: Box<str>,
    account: u64,
    recipient: Box<str>,
    sent_at: u64,
    body: Vec<u8>,
    /// It is on disk.
    stored: bool,
}

/// What waits for one realm.
#[derive(Debug, Default)]
pub struct Queue {
    rows: VecDeque<Row>,
    /// So many at the front are in the stream.
    pushed: usize,
}

/// What is known of all.
#[derive(Debug, Default)]
pub struct Queues {
    last: u64,
    bytes: usize,
    /// By account: messages and bytes.
    senders: HashMap<u64, (usize, usize)>,
}

impl Queue {
    /// Whether something waits that is not in the stream: what comes now must not be faster.
    pub fn waits(&self) -> bool {
        self.pushed < self.rows.len()
    }

    /// The stream is given up: all begin anew.
    pub fn rewind(&mut self) {
        self.pushed = 0;
    }
}

/// The rows of the table, by realm.
///
/// # Errors
/// The disk.
pub fn read(db: &Connection) -> Result<Vec<(String, Loaded)>, Fail> {
    let text = "SELECT realm, id, sender, account, recipient, sent_at, body FROM realm_queue ORDER BY id";
    let mut statement = db.prepare(text).map_err(Fail::internal)?;
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    let rows = statement.query_map([], |row| {
        let loaded = Loaded(Row {
            id: number(row.get(1)?),
            sender: row.get(2)?,
            account: number(row.get(3)?),
            recipient: row.get(4)?,
            sent_at: number(row.get(5)?),
            body: row.get(6)?,
            stored: true,
        });
        Ok((row.get(0)?, loaded))
    });
    rows.and_then(Iterator::collect).map_err(Fail::internal)
}

/// A row that an earlier run has left.
#[derive(Debug)]
pub struct Loaded(Row);

/// Takes such a row; in their order.
pub fn load(queues: &mut Queues, other: &mut Other, loaded: Loaded) {
    queues.add(loaded.0.account, loaded.0.body.len() + OVERHEAD);
    queues.last = queues.last.max(loaded.0.id);
    other.queue.rows.push_back(loaded.0);
}

impl Queues {
    fn add(&mut self, account: u64, bytes: usize) {
        let sender = self.senders.entry(account).or_default();
        *sender = (sender.0 + 1, sender.1 + bytes);
        self.bytes += bytes;
    }

    fn remove(&mut self, account: u64, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        let Some(sender) = self.senders.get_mut(&account) else { return };
        *sender = (sender.0.saturating_sub(1), sender.1.saturating_sub(bytes));
        if sender.0 == 0 {
            self.senders.remove(&account);
        }
    }

    fn has_room(&self, account: u64, bytes: usize) -> bool {
        let (count, of_sender) = self.senders.get(&account).copied().unwrap_or_default();
        count < PER_SENDER.0 && of_sender + bytes <= PER_SENDER.1 && self.bytes + bytes <= TOTAL
    }
}

/// A message waits from now on; its sender is told OK when it is on disk.
///
/// # Errors
/// BUSY: too much waits already. UNAVAILABLE: it is not of a session here, to which it could be told later what became of it.
pub fn add(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    realm: RealmNo,
    message: &Abroad,
    body: &[u8],
    asker: &Asker,
) -> Result<(), Fail> {
    let away = || Fail::new(Code::Unavailable, "that realm is not reachable; retry later");
    let session = match asker {
        Asker::Session { index, link, .. } => main.session(*index).filter(|session| session.link == *link),
        _ => None,
    };
    let account = session.map(|session| session.account).ok_or_else(away)?;
    let now = ctx.now();
    let Some(own) = &mut main.realm else { return Err(away()) };
    let bytes = body.len() + OVERHEAD;
    if !own.queues.has_room(account, bytes) {
        return Err(Fail::new(Code::Busy, "that realm is away, and too much waits for it already; retry later"));
    }
    // Greater than before, whatever becomes of this table: by the clock.
    let id = (own.queues.last + 1).max(now << 10);
    own.queues.last = id;
    own.queues.add(account, bytes);
    let Some(other) = own.others.get_mut(realm) else { return Err(away()) };
    let (sender, recipient) = (Box::from(&*message.sender), Box::from(&*message.user));
    let row = Row { id, sender, account, recipient, sent_at: message.sent_at, body: body.to_vec(), stored: false };
    other.queue.rows.push_back(row);
    let (to, message, body, asker) = (other.id.clone(), message.clone(), body.to_vec(), asker.clone());
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    ctx.store(
        move |db| {
            let text = "INSERT INTO realm_queue (id, realm, sender, account, recipient, sent_at, body)
                        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let Abroad { user, sender, sent_at, .. } = message;
            let values = params![number(id), to, sender, number(account), user, number(sent_at), body];
            db.prepare_cached(text).and_then(|mut insert| insert.execute(values)).map(drop).map_err(Fail::internal)
        },
        move |main, ctx, done| match done {
            Ok(()) => {
                let row =
                    links::other(main, realm).and_then(|other| other.queue.rows.iter_mut().rfind(|row| row.id == id));
                if let Some(row) = row {
                    row.stored = true;
                }
                settled::tell_asker(main, ctx, asker, None);
                fill(main, ctx, realm);
            }
            Err(fail) => {
                take(main, realm, id);
                let fail = Outcome::Fail(fail.code, fail.text.into_owned());
                settled::tell_asker(main, ctx, asker, Some(fail));
            }
        },
    );
    Ok(())
}

/// An item of the stream, which has not left this server, waits from now on. False: it cannot.
pub fn add_item(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    realm: RealmNo,
    who: Who,
    what: &[u8],
    item: &[u8],
    id: &[u8],
) -> bool {
    let Who::Session { index, link } = who else { return false };
    let Ok(text) = Raw(what).text() else { return false };
    let Some(Ok((sender, user, sent_at, _))) = text.strip_prefix("m|").map(relay::columns) else { return false };
    let message = Abroad { realm: String::new(), user: user.to_owned(), sender: sender.to_owned(), sent_at };
    let asker = Asker::Session { index, link, id: id.to_vec() };
    add(main, ctx, realm, &message, item, &asker).is_ok()
}

/// Puts what waits into the stream, if there is a link, as far as there is room.
pub fn fill(main: &mut Main, _: &mut Ctx<Main>, realm: RealmNo) {
    let Some(other) = links::other(main, realm).filter(|other| other.link().is_some()) else { return };
    let Other { streams, queue, .. } = other;
    let before = queue.pushed;
    while let Some(row) = queue.rows.get(queue.pushed).filter(|row| row.stored && !streams.out.is_full()) {
        let Row { id, sender, recipient, sent_at, body, .. } = row;
        let mut what = Vec::new();
        raw::escape_into(&mut what, format!("q|{sender}|{recipient}|{sent_at}|{id}").as_bytes());
        streams.out.push(0, &what, Who::Queued(*id), b"", body);
        queue.pushed += 1;
    }
    if queue.pushed > before {
        relay::touch(main, realm);
    }
}

/// Takes a message out of the queue.
fn take(main: &mut Main, realm: RealmNo, id: u64) -> Option<Row> {
    let own = main.realm.as_mut()?;
    let queue = &mut own.others.get_mut(realm)?.queue;
    let at = queue.rows.iter().position(|row| row.id == id)?;
    let row = queue.rows.remove(at)?;
    if at < queue.pushed {
        queue.pushed -= 1;
    }
    own.queues.remove(row.account, row.body.len() + OVERHEAD);
    Some(row)
}

fn delete(ctx: &mut Ctx<Main>, id: u64) {
    let id = i64::try_from(id).unwrap_or(i64::MAX);
    ctx.store(
        move |db| {
            let delete = db.prepare_cached("DELETE FROM realm_queue WHERE id = ?1");
            delete.and_then(|mut delete| delete.execute([id])).map(drop).map_err(Fail::internal)
        },
        |_, _, _| {},
    );
}

/// The other realm has a message that waited, or does not want it.
pub fn settled(main: &mut Main, ctx: &mut Ctx<Main>, realm: RealmNo, id: u64, outcome: Option<Outcome>) {
    let Some(row) = take(main, realm, id) else { return };
    delete(ctx, id);
    if let Some(outcome) = outcome {
        let why = match outcome {
            Outcome::Fail(code, text) => format!("{}: {text}", code.word()),
            Outcome::Moved { .. } => "that realm answers what no realm may".to_owned(),
        };
        notice(main, ctx, realm, &row, &why);
    }
}

/// Once a second, for each realm: what has waited too long is dropped.
pub fn tick(main: &mut Main, ctx: &mut Ctx<Main>, realm: RealmNo) {
    let now = ctx.now();
    let Some(patience) = main.realm.as_ref().map(|own| own.settings.queue) else { return };
    loop {
        let Some(queue) = links::other(main, realm).map(|other| &other.queue) else { return };
        let late = |row: &&Row| row.stored && now >= row.sent_at.saturating_add(patience);
        let Some(id) = queue.rows.front().filter(|_| queue.pushed == 0).filter(late).map(|row| row.id) else { break };
        if let Some(row) = take(main, realm, id) {
            delete(ctx, id);
            notice(main, ctx, realm, &row, "that realm was not reached in time");
        }
    }
    for id in blocked(main, realm) {
        if let Some(row) = take(main, realm, id) {
            delete(ctx, id);
            notice(main, ctx, realm, &row, "the operator has blocked that user");
        }
    }
    if links::other(main, realm).is_some_and(|other| other.queue.waits()) {
        links::wanted(main, ctx, realm);
        fill(main, ctx, realm);
    }
}

/// What waits for users, or a realm, that were blocked meanwhile.
fn blocked(main: &Main, realm: RealmNo) -> Vec<u64> {
    let Some(own) = main.realm.as_ref().filter(|own| !own.blocks.is_empty()) else { return Vec::new() };
    let Some(other) = own.others.get(realm) else { return Vec::new() };
    let waiting = other.queue.rows.iter().skip(other.queue.pushed);
    let blocked = |row: &&Row| row.stored && blocks::is_blocked(main, &other.id, &row.recipient);
    waiting.filter(blocked).map(|row| row.id).collect()
}

/// Tells a sender, in the name of this realm, that a message was not delivered: now, or at the next sign-on.
fn notice(main: &mut Main, ctx: &mut Ctx<Main>, realm: RealmNo, row: &Row, why: &str) {
    let Some(to) = links::other(main, realm).map(|other| other.id.clone()) else { return };
    log::info!("a message of {} to {to}::{} is dropped: {why}", row.sender, row.recipient);
    let text = format!("Your message to {to}::{}, sent at {}, was not delivered: {why}.", row.recipient, row.sent_at);
    let mut body = Vec::new();
    raw::escape_into(&mut body, text.as_bytes());
    let mut data = Vec::new();
    deliver::message(&mut data, links::own(main), ctx.now(), &body);
    let here = main.table.find(&row.sender).and_then(|user| main.table.get(user)).map(|user| user.here.to_vec());
    let of_account = |main: &Main, link| main.session_at(link).is_some_and(|session| session.account == row.account);
    let mut told = false;
    for link in here.unwrap_or_default() {
        told |= of_account(main, link) && deliver::to_one(main, ctx, link, &data);
    }
    if !told {
        kept::store(main, ctx, &row.sender, row.account, vec![data]);
    }
}
