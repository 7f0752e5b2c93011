//! Messages that waited at another realm, and have arrived: on disk, until their recipients are there. Each is taken once, however often it is
//! sent: its number is remembered with it.

use std::collections::HashMap;
use std::collections::VecDeque;

use rusqlite::params;
use rusqlite::Connection;

use super::blocks;
use super::links;
use super::links::RealmNo;
use super::relay;
use crate::engine::Ctx;
use crate::relay::Incoming;
use crate::relay::Outcome;
use crate::roles::main::hold::Letter;
use crate::roles::main::mesh::joint::Asker;
use crate::roles::main::post;
use crate::roles::main::post::Sent;
use crate::roles::main::Main;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// What waits for its recipient, and how far each realm's numbers have come; times are Unix milliseconds.
pub const SCHEMA: &str = "
CREATE TABLE realm_inbox (
    id INTEGER PRIMARY KEY,
    sender TEXT NOT NULL,                 -- host:port::name
    recipient TEXT NOT NULL,
    sent_at INTEGER NOT NULL,
    body BLOB NOT NULL,                   -- escaped
    arrived INTEGER NOT NULL
) STRICT;
CREATE TABLE realm_taken (
    realm TEXT PRIMARY KEY,
    id INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// For one user, and for all together; bytes, in memory and on disk.
const PER_USER: usize = 20 << 20;
/// See `PER_USER`.
const TOTAL: usize = 256 << 20;
/// What a message costs beside its body, about.
const OVERHEAD: usize = 250;
/// Kept this long at most; milliseconds.
const AGE: i64 = 30 * 24 * 3_600 * 1_000;

/// A message that waits here.
#[derive(Debug)]
pub struct Row {
    id: i64,
    sender: Box<str>,
    recipient: Box<str>,
    sent_at: u64,
    body: Vec<u8>,
    /// It is on disk.
    stored: bool,
    /// Its recipient has an account, or management cannot be asked.
    checked: bool,
    /// Its item, which its realm waits for.
    item: Option<(RealmNo, u64, u64)>,
}

#[derive(Debug, Default)]
struct Waiting {
    rows: VecDeque<Row>,
    bytes: usize,
    /// The first is being delivered.
    busy: bool,
}

/// All that waits, by folded names.
#[derive(Debug, Default)]
pub struct Arrived {
    users: HashMap<Box<str>, Waiting>,
    bytes: usize,
    last: i64,
}

/// What an earlier run has left: messages, and how far realms have come.
pub type Loaded = (Vec<Row>, Vec<(String, i64)>);

/// Reads both tables.
///
/// # Errors
/// The disk.
pub fn read(db: &Connection) -> Result<Loaded, Fail> {
    let text = "SELECT id, sender, recipient, sent_at, body FROM realm_inbox ORDER BY id";
    let mut statement = db.prepare(text).map_err(Fail::internal)?;
    let rows = statement.query_map([], |row| {
        Ok(Row {
            id: row.get(0)?,
            sender: row.get(1)?,
            recipient: row.get(2)?,
            sent_at: u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0),
            body: row.get(4)?,
            stored: true,
            checked: true,
            item: None,
        })
    });
    let rows = rows.and_then(Iterator::collect).map_err(Fail::internal)?;
    let mut statement = db.prepare("SELECT realm, id FROM realm_taken").map_err(Fail::internal)?;
    let taken = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    Ok((rows, taken.and_then(Iterator::collect).map_err(Fail::internal)?))
}

/// Deletes what is too old.
pub fn expire(ctx: &mut Ctx<Main>) {
    let oldest = i64::try_from(ctx.now()).unwrap_or(i64::MAX).saturating_sub(AGE);
    ctx.store(
        move |db| db.execute("DELETE FROM realm_inbox WHERE arrived < ?1", [oldest]).map(drop).map_err(Fail::internal),
        |_, _, _| {},
    );
}

/// Takes what was read; in its order.
pub fn load(arrived: &mut Arrived, rows: Vec<Row>) {
    for row in rows {
        arrived.last = arrived.last.max(row.id);
        arrived.add(row);
    }
}

impl Arrived {
    fn add(&mut self, row: Row) {
        let bytes = row.body.len() + OVERHEAD;
        let user = self.users.entry(Box::from(&*name::fold(&row.recipient))).or_default();
        user.bytes += bytes;
        self.bytes += bytes;
        user.rows.push_back(row);
    }

    fn has_room(&self, folded: &str, bytes: usize) -> bool {
        let of_user = self.users.get(folded).map_or(0, |user| user.bytes);
        of_user + bytes <= PER_USER && self.bytes + bytes <= TOTAL
    }

    fn row(&mut self, folded: &str, id: i64) -> Option<&mut Row> {
        self.users.get_mut(folded)?.rows.iter_mut().find(|row| row.id == id)
    }

    fn remove(&mut self, folded: &str, id: i64) -> Option<Row> {
        let user = self.users.get_mut(folded)?;
        let at = user.rows.iter().position(|row| row.id == id)?;
        let row = user.rows.remove(at)?;
        let bytes = row.body.len() + OVERHEAD;
        user.bytes = user.bytes.saturating_sub(bytes);
        self.bytes = self.bytes.saturating_sub(bytes);
        if user.rows.is_empty() {
            self.users.remove(folded);
        }
        Some(row)
    }
}

/// Messages that have waited at another realm. `columns`: `sender|recipient|sent-at|number`.
///
/// # Errors
/// BADARGS: they are not that. Nothing was taken then.
pub fn messages<'a>(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    realm: RealmNo,
    columns: &str,
    items: impl Iterator<Item = &'a [u8]>,
    inc: &mut Incoming,
) -> Result<(), Fail> {
    let (sender, recipient, sent_at, number) = relay::columns(columns)?;
    let number = Raw(number.as_bytes()).number()?;
    for item in items {
        let asker = (realm, inc.number(), inc.next_number());
        match one(main, ctx, asker, (sender, recipient, sent_at, number), item) {
            Ok(true) => {
                let open = inc.take(None);
                inc.open(open);
            }
            Ok(false) => drop(inc.take(None)),
            Err(fail) => drop(inc.take(Some(Outcome::Fail(fail.code, fail.text.into_owned())))),
        }
    }
    Ok(())
}

/// True: it is known later what becomes of it. False: it was taken before.
fn one(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    item: (RealmNo, u64, u64),
    (sender, recipient, sent_at, number): (&str, &str, u64, u64),
    body: &[u8],
) -> Result<bool, Fail> {
    let realm = item.0;
    let id = links::other(main, realm).filter(|other| number > other.taken).map(|other| other.id.clone());
    let Some(id) = id else { return Ok(false) };
    if blocks::is_blocked(main, &id, sender) {
        return Err(blocks::denied());
    }
    let folded = name::fold(recipient).into_owned();
    let known = main.table.find(recipient).is_some_and(|user| post::is_somewhere(main, user));
    let management = main.management.link().filter(|_| !known);
    let Some(own) = &mut main.realm else { return Ok(false) };
    if !own.arrived.has_room(&folded, body.len() + OVERHEAD) {
        return Err(Fail::new(Code::Limit, "too much waits for that user already"));
    }
    if let Some(other) = own.others.get_mut(realm) {
        other.taken = number;
    }
    own.arrived.last += 1;
    let row = own.arrived.last;
    let sender = format!("{id}::{sender}");
    own.arrived.add(Row {
        id: row,
        sender: Box::from(&*sender),
        recipient: Box::from(recipient),
        sent_at,
        body: body.to_vec(),
        stored: false,
        checked: management.is_none(),
        item: Some(item),
    });
    let (user, body) = (recipient.to_owned(), body.to_vec());
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let now = ctx.now();
    let of = folded.clone();
    ctx.store(
        move |db| {
            let text = "INSERT INTO realm_inbox (id, sender, recipient, sent_at, body, arrived) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let values = params![row, sender, user, signed(sent_at), body, signed(now)];
            db.prepare_cached(text).and_then(|mut insert| insert.execute(values)).map_err(Fail::internal)?;
            let text = "INSERT OR REPLACE INTO realm_taken (realm, id) VALUES (?1, ?2)";
            let taken = params![id, signed(number)];
            db.prepare_cached(text).and_then(|mut insert| insert.execute(taken)).map(drop).map_err(Fail::internal)
        },
        move |main, ctx, done| match done {
            Ok(()) => {
                if let Some(row) = main.realm.as_mut().and_then(|own| own.arrived.row(&of, row)) {
                    row.stored = true;
                }
                settle(main, ctx, &of, row);
            }
            Err(fail) => refuse(main, ctx, &of, row, fail),
        },
    );
    if let Some(link) = management {
        ctx.request(link, "LOOKUP", &[recipient.as_bytes()], move |main, ctx, answer| match answer {
            Err(fail) if fail.code == Code::NotFound => refuse(main, ctx, &folded, row, fail),
            _ => {
                if let Some(row) = main.realm.as_mut().and_then(|own| own.arrived.row(&folded, row)) {
                    row.checked = true;
                }
                settle(main, ctx, &folded, row);
            }
        });
    }
    Ok(true)
}

/// A message is refused that was not acknowledged so far.
fn refuse(main: &mut Main, ctx: &mut Ctx<Main>, folded: &str, id: i64, fail: Fail) {
    let Some(row) = main.realm.as_mut().and_then(|own| own.arrived.remove(folded, id)) else { return };
    delete(ctx, id);
    if let Some((realm, stream, number)) = row.item {
        relay::close(main, realm, stream, number, Some(Outcome::Fail(fail.code, fail.text.into_owned())));
    }
    deliver(main, ctx, folded);
}

/// Acknowledges a message when it is on disk and its recipient is known.
fn settle(main: &mut Main, ctx: &mut Ctx<Main>, folded: &str, id: i64) {
    let row = main.realm.as_mut().and_then(|own| own.arrived.row(folded, id));
    let Some(row) = row.filter(|row| row.stored && row.checked) else { return };
    if let Some((realm, stream, number)) = row.item.take() {
        relay::close(main, realm, stream, number, None);
    }
    deliver(main, ctx, folded);
}

fn delete(ctx: &mut Ctx<Main>, id: i64) {
    ctx.store(
        move |db| {
            let delete = db.prepare_cached("DELETE FROM realm_inbox WHERE id = ?1");
            delete.and_then(|mut delete| delete.execute([id])).map(drop).map_err(Fail::internal)
        },
        |_, _, _| {},
    );
}

/// A message for a user is about to be delivered: what waited comes first.
pub fn hurry(main: &mut Main, ctx: &mut Ctx<Main>, recipient: &str) {
    if main.realm.as_ref().is_some_and(|own| !own.arrived.users.is_empty()) {
        deliver(main, ctx, &name::fold(recipient));
    }
}

/// Gives a user what waits, one after another, if it is signed on.
fn deliver(main: &mut Main, ctx: &mut Ctx<Main>, folded: &str) {
    loop {
        let there = main.table.find(folded).is_some_and(|user| post::is_somewhere(main, user));
        let user = main.realm.as_mut().and_then(|own| own.arrived.users.get_mut(folded));
        let Some(user) = user.filter(|user| there && !user.busy) else { return };
        let Some(row) = user.rows.front().filter(|row| row.stored && row.checked) else { return };
        let letter = Letter {
            asker: Asker::Waiting(row.id),
            sender: Some(row.sender.clone()),
            recipient: row.recipient.clone(),
            sent_at: row.sent_at,
            body: row.body.clone(),
        };
        let id = row.id;
        user.busy = true;
        match post::send(main, ctx, &letter) {
            Ok(Sent::Waits) => return,
            Ok(Sent::Done) => done(main, ctx, folded, id, None),
            Err(fail) => {
                let stays = fail.code != Code::NotFound;
                done(main, ctx, folded, id, Some(&fail));
                if stays {
                    return;
                }
            }
        }
    }
}

/// What became of the first message of a user.
fn done(main: &mut Main, ctx: &mut Ctx<Main>, folded: &str, id: i64, fail: Option<&Fail>) {
    let Some(own) = &mut main.realm else { return };
    if let Some(user) = own.arrived.users.get_mut(folded) {
        user.busy = false;
    }
    if fail.is_none_or(|fail| fail.code == Code::NotFound) {
        own.arrived.remove(folded, id);
        delete(ctx, id);
    }
}

/// A message that was being delivered is, or is not.
pub fn settled(main: &mut Main, ctx: &mut Ctx<Main>, id: i64, outcome: Option<Outcome>) {
    let Some(own) = &main.realm else { return };
    let found = own.arrived.users.iter().find(|(_, user)| user.rows.front().is_some_and(|row| row.id == id));
    let Some(folded) = found.map(|(folded, _)| folded.clone()) else { return };
    let fail = match outcome {
        Some(Outcome::Fail(code, text)) => Some(Fail::new(code, text)),
        Some(Outcome::Moved { .. }) | None => None,
    };
    done(main, ctx, &folded, id, fail.as_ref());
    if fail.is_none() {
        deliver(main, ctx, &folded);
    }
}

/// Once a second: who has signed on meanwhile gets what waits.
pub fn tick(main: &mut Main, ctx: &mut Ctx<Main>) {
    let Some(own) = main.realm.as_ref().filter(|own| !own.arrived.users.is_empty()) else { return };
    let table = &main.table;
    let users = own.arrived.users.keys().filter(|folded| table.find(folded).is_some());
    let users: Vec<Box<str>> = users.cloned().collect();
    for user in users {
        deliver(main, ctx, &user);
    }
}
