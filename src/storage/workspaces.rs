//! Workspaces: a folder of several, and an ordered list of changes.
//!
//! NOTFOUND: no such workspace, or the caller is no participant of it.

use rusqlite::params;
use rusqlite::Connection;
use rusqlite::OptionalExtension;

use super::accounts;
use super::args;
use super::args::Path;
use super::objects;
use super::objects::Growth;
use super::prepare;
use super::rights;
use super::rights::Base;
use super::sql;
use super::unsql;
use super::Caller;
use super::Piece;
use super::Placed;
use super::Posted;
use super::MAX_BLOCK;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// The longest body that stands in its row.
pub const MAX_INLINE: usize = 4 << 10;

/// The bytes of a change that is posted.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// At most [`MAX_INLINE`] bytes.
    Here(&'a [u8]),
    /// A block.
    Block(&'a Placed),
}

/// A change that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its number.
    pub seq: u64,
    /// Its author's name as registered.
    pub author: String,
    /// When it was posted, in Unix ms.
    pub at: u64,
    /// Its bytes, when they stand in the row.
    pub body: Option<Vec<u8>>,
    /// Its bytes, when they are an object.
    pub pieces: Vec<Piece>,
}

/// One line of LISTWORKSPACES.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// Its name.
    pub name: String,
    /// The creator's name; `None`: that account is gone.
    pub creator: Option<String>,
    /// Number of the newest change; 0: none yet.
    pub last: u64,
    /// Up to which the caller has acknowledged.
    pub acked: u64,
    /// How many participants there are.
    pub participants: u64,
}

/// The most workspaces that one account takes part in.
pub const MAX_WORKSPACES: u64 = 1_000;
/// The most changes that wait in one workspace for somebody's acknowledgement.
pub const MAX_CHANGES: u64 = 1_000_000;

/// Store lane. Makes a workspace; the caller is a participant, whether named or not. EXISTS; LIMIT:
/// [`MAX_WORKSPACES`].
pub fn create(db: &Connection, caller: &Caller, name: &str, participants: &[Caller], now: u64) -> Result<(), Fail> {
    accounts::admit(db, caller)?;
    name::check(name)?;
    let id = objects::create(db, caller.account, now)?;
    let text = "INSERT INTO workspaces (id, name, creator, created, last, done) VALUES (?1, ?2, ?3, ?4, 0, 0)
                ON CONFLICT (name) DO NOTHING";
    let made = prepare(db, text)?.execute(params![id, name, sql(caller.account), sql(now)]).map_err(Fail::internal)?;
    if made == 0 {
        return Err(Fail::new(Code::Exists, "there is a workspace of that name"));
    }
    let row = Row { id, creator: sql(caller.account), last: 0, done: 0, acked: 0 };
    replace(db, &row, caller, participants, now)?;
    accounts::charge(db, sql(caller.account), Growth { bytes: 0, items: 1 })
}

/// Store lane. Posts a change. QUOTA (the author's), LIMIT: [`MAX_CHANGES`].
pub fn post(db: &Connection, caller: &Caller, name: &str, body: Body<'_>, now: u64) -> Result<Posted, Fail> {
    let row = find(db, caller, name)?;
    match body {
        Body::Here(bytes) if bytes.len() > MAX_INLINE => Err(Fail::internal("a long change needs a block")),
        Body::Here(bytes) => put(db, caller, row.id, name, bytes, now),
        Body::Block(placed) => {
            let object = objects::known(db, objects::create(db, caller.account, now)?)?;
            let growth = objects::write(db, &object, 0, placed, now)?;
            let growth = Growth { items: growth.items + 1, ..growth };
            insert(db, caller, row.id, name, None, Some(object.id), growth, now)
        }
    }
}

/// Whether [`post`] of `length` bytes would be refused as things stand.
pub fn check_post(db: &Connection, caller: &Caller, name: &str, length: u64) -> Result<(), Fail> {
    let row = find(db, caller, name)?;
    if row.last - row.done >= sql(MAX_CHANGES) {
        return Err(too_many());
    }
    accounts::check_charge(db, sql(caller.account), Growth { bytes: sql(length), items: 1 })
}

/// Changes after `after`, in order, at most `count` and at most 1 MiB of bodies (but one, if there is one).
pub fn read(db: &Connection, caller: &Caller, name: &str, after: u64, count: u64) -> Result<Vec<Change>, Fail> {
    let row = find(db, caller, name)?;
    let text =
        "SELECT seq, name, at, body, object FROM changes WHERE workspace = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
    let mut statement = prepare(db, text)?;
    let mut rows =
        statement.query([row.id, sql(after).max(row.done), sql(count.min(MAX_READ))]).map_err(Fail::internal)?;
    let (mut changes, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next().map_err(Fail::internal)? {
        let read = || -> rusqlite::Result<(Change, Option<i64>)> {
            let change = Change {
                seq: unsql(row.get(0)?),
                author: row.get(1)?,
                at: unsql(row.get(2)?),
                body: row.get(3)?,
                pieces: Vec::new(),
            };
            Ok((change, row.get(4)?))
        };
        let (mut change, object) = read().map_err(Fail::internal)?;
        if let Some(object) = object {
            change.pieces = objects::plan(db, &objects::known(db, object)?, 0, MAX_BLOCK)?;
        }
        let here = change.body.as_ref().map_or(0, |body| body.len() as u64);
        bytes += here + change.pieces.iter().map(|piece| u64::from(piece.length)).sum::<u64>();
        if bytes > MAX_BLOCK && !changes.is_empty() {
            break;
        }
        changes.push(change);
    }
    Ok(changes)
}

/// Store lane. The caller has all changes up to `seq`. BADARGS: there is none of that number yet.
pub fn ack(db: &Connection, caller: &Caller, name: &str, seq: u64) -> Result<(), Fail> {
    let row = find(db, caller, name)?;
    if sql(seq) > row.last {
        return Err(Fail::bad_args("there is no change of this number yet"));
    }
    if sql(seq) <= row.acked {
        return Ok(());
    }
    prepare(db, "UPDATE participants SET acked = ?3 WHERE workspace = ?1 AND account = ?2")?
        .execute([row.id, sql(caller.account), sql(seq)])
        .map_err(Fail::internal)?;
    settle(db, row.id)
}

/// Store lane. Replaces the participants; only the creator may (DENIED), and stays one. Who is new need not
/// acknowledge what was before.
pub fn set_participants(
    db: &Connection,
    caller: &Caller,
    name: &str,
    participants: &[Caller],
    now: u64,
) -> Result<(), Fail> {
    let row = find(db, caller, name)?;
    if row.creator != sql(caller.account) {
        return Err(rights::denied());
    }
    replace(db, &row, caller, participants, now)?;
    settle(db, row.id)
}

/// The names of the participants of a workspace, in the order of their accounts.
pub fn participants(db: &Connection, caller: &Caller, name: &str) -> Result<Vec<String>, Fail> {
    let row = find(db, caller, name)?;
    let text = "SELECT a.name FROM participants p JOIN accounts a ON a.account = p.account
                WHERE p.workspace = ?1 ORDER BY p.account";
    prepare(db, text)?.query_map([row.id], |row| row.get(0)).and_then(Iterator::collect).map_err(Fail::internal)
}

/// The caller's workspaces, by name.
pub fn list(db: &Connection, caller: &Caller) -> Result<Vec<Workspace>, Fail> {
    accounts::admit(db, caller)?;
    let text = "SELECT w.name, (SELECT name FROM accounts WHERE account = w.creator), w.last, max(p.acked, w.done),
                       (SELECT count(*) FROM participants WHERE workspace = w.id)
                FROM participants p JOIN workspaces w ON w.id = p.workspace WHERE p.account = ?1 ORDER BY w.name";
    prepare(db, text)?
        .query_map([sql(caller.account)], |row| {
            Ok(Workspace {
                name: row.get(0)?,
                creator: row.get(1)?,
                last: unsql(row.get(2)?),
                acked: unsql(row.get(3)?),
                participants: unsql(row.get(4)?),
            })
        })
        .and_then(Iterator::collect)
        .map_err(Fail::internal)
}

/// Store lane. The caller takes part no more; the creator cannot (REFUSED).
pub fn leave(db: &Connection, caller: &Caller, name: &str) -> Result<(), Fail> {
    let row = find(db, caller, name)?;
    if row.creator == sql(caller.account) {
        return Err(Fail::new(Code::Refused, "who made a workspace can delete it, not leave it"));
    }
    depart(db, row.id, sql(caller.account))
}

/// Store lane. Deletes a workspace with all that is in it; only the creator may (DENIED).
pub fn delete(db: &Connection, caller: &Caller, name: &str) -> Result<(), Fail> {
    let row = find(db, caller, name)?;
    if row.creator != sql(caller.account) {
        return Err(rights::denied());
    }
    // The name leads nowhere from now on; the rest is done in steps.
    discard(db, row.id, row.creator)
}

/// The most changes in one answer.
const MAX_READ: u64 = 10_000;
/// How long after a `written` the same author posts no second one for the same file, in ms.
const QUIET: u64 = 5_000;
/// Changes that go at once when they were acknowledged; more go in steps.
const AT_ONCE: u64 = 64;

struct Row {
    id: i64,
    creator: i64,
    last: i64,
    done: i64,
    /// By the caller.
    acked: i64,
}

/// The creator's account, if this account takes part in the workspace; 0: that account is gone. NOTFOUND.
pub fn takes_part(db: &Connection, account: u64, name: &str) -> Result<u64, Fail> {
    let text = "SELECT w.creator FROM workspaces w
                JOIN participants p ON p.workspace = w.id AND p.account = ?2 WHERE w.name = ?1";
    let found = prepare(db, text)?.query_row(params![name, sql(account)], |row| row.get(0).map(unsql)).optional();
    found.map_err(Fail::internal)?.ok_or_else(|| Fail::new(Code::NotFound, "no such workspace"))
}

/// A workspace of the caller's.
fn find(db: &Connection, caller: &Caller, name: &str) -> Result<Row, Fail> {
    accounts::admit(db, caller)?;
    let text = "SELECT w.id, w.creator, w.last, w.done, p.acked FROM workspaces w
                JOIN participants p ON p.workspace = w.id AND p.account = ?2 WHERE w.name = ?1";
    prepare(db, text)?
        .query_row(params![name, sql(caller.account)], |row| {
            Ok(Row { id: row.get(0)?, creator: row.get(1)?, last: row.get(2)?, done: row.get(3)?, acked: row.get(4)? })
        })
        .optional()
        .map_err(Fail::internal)?
        .ok_or_else(|| Fail::new(Code::NotFound, "no such workspace"))
}

/// Makes the participants the creator and those named.
fn replace(db: &Connection, row: &Row, creator: &Caller, named: &[Caller], now: u64) -> Result<(), Fail> {
    if named.len() > args::MAX_NAMES {
        return Err(Fail::bad_args("at most 1000 participants"));
    }
    let mut wanted: Vec<i64> = named.iter().map(|caller| sql(caller.account)).collect();
    wanted.push(sql(creator.account));
    wanted.sort_unstable();
    wanted.dedup();
    let there: Vec<i64> = prepare(db, "SELECT account FROM participants WHERE workspace = ?1 ORDER BY account")?
        .query_map([row.id], |row| row.get(0))
        .and_then(Iterator::collect)
        .map_err(Fail::internal)?;
    for gone in there.iter().filter(|account| wanted.binary_search(account).is_err()) {
        prepare(db, "DELETE FROM participants WHERE workspace = ?1 AND account = ?2")?
            .execute([row.id, *gone])
            .map_err(Fail::internal)?;
    }
    for caller in named {
        accounts::welcome(db, caller, now)?;
    }
    for account in wanted.into_iter().filter(|account| there.binary_search(account).is_err()) {
        let takes_part: i64 = prepare(db, "SELECT count(*) FROM participants WHERE account = ?1")?
            .query_row([account], |row| row.get(0))
            .map_err(Fail::internal)?;
        if unsql(takes_part) >= MAX_WORKSPACES {
            return Err(Fail::new(Code::Limit, "a participant has too many workspaces"));
        }
        prepare(db, "INSERT INTO participants (workspace, account, acked) VALUES (?1, ?2, ?3)")?
            .execute([row.id, account, row.last])
            .map_err(Fail::internal)?;
    }
    Ok(())
}

/// Somebody takes part no more. A workspace of nobody goes.
pub(super) fn depart(db: &Connection, workspace: i64, account: i64) -> Result<(), Fail> {
    prepare(db, "DELETE FROM participants WHERE workspace = ?1 AND account = ?2")?
        .execute([workspace, account])
        .map_err(Fail::internal)?;
    let left = prepare(db, "SELECT 1 FROM participants WHERE workspace = ?1")?.exists([workspace]);
    match left.map_err(Fail::internal)? {
        true => settle(db, workspace),
        false => discard(db, workspace, 0),
    }
}

fn discard(db: &Connection, id: i64, payer: i64) -> Result<(), Fail> {
    for text in [
        "DELETE FROM workspaces WHERE id = ?1",
        "DELETE FROM participants WHERE workspace = ?1",
        "DELETE FROM acl WHERE object = ?1",
        "INSERT OR IGNORE INTO acknowledged (workspace) VALUES (?1)",
    ] {
        prepare(db, text)?.execute([id]).map_err(Fail::internal)?;
    }
    objects::trash(db, id, true, payer)?;
    accounts::charge(db, payer, Growth { bytes: 0, items: -1 })
}

/// Lets go of the changes that all participants have acknowledged.
pub(super) fn settle(db: &Connection, id: i64) -> Result<(), Fail> {
    let text = "UPDATE workspaces SET done = max(done, coalesce((SELECT min(acked) FROM participants
                WHERE workspace = ?1), last)) WHERE id = ?1";
    prepare(db, text)?.execute([id]).map_err(Fail::internal)?;
    if drop_changes(db, id, AT_ONCE)? == AT_ONCE {
        let text = "INSERT OR IGNORE INTO acknowledged (workspace) VALUES (?1)";
        prepare(db, text)?.execute([id]).map_err(Fail::internal)?;
    }
    Ok(())
}

/// Deletes changes that were acknowledged by all, or whose workspace is gone; at most `count`: how many.
pub(super) fn drop_changes(db: &Connection, id: i64, count: u64) -> Result<u64, Fail> {
    let text = "SELECT seq, author, coalesce(length(body), 0), object FROM changes WHERE workspace = ?1
                AND seq <= coalesce((SELECT done FROM workspaces WHERE id = ?1), 9223372036854775807)
                ORDER BY seq LIMIT ?2";
    let gone: Vec<(i64, i64, i64, Option<i64>)> = prepare(db, text)?
        .query_map([id, sql(count)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .and_then(Iterator::collect)
        .map_err(Fail::internal)?;
    for (seq, author, bytes, object) in &gone {
        prepare(db, "DELETE FROM changes WHERE workspace = ?1 AND seq = ?2")?
            .execute([id, *seq])
            .map_err(Fail::internal)?;
        let mut growth = Growth { bytes: -bytes, items: -1 };
        if let Some(object) = object {
            let object = objects::known(db, *object)?;
            objects::discard(db, &object)?;
            growth = Growth { bytes: -sql(object.size), items: -1 - sql(object.extents) };
        }
        accounts::charge(db, *author, growth)?;
    }
    Ok(gone.len() as u64)
}

fn put(db: &Connection, caller: &Caller, id: i64, name: &str, body: &[u8], now: u64) -> Result<Posted, Fail> {
    let growth = Growth { bytes: sql(body.len() as u64), items: 1 };
    insert(db, caller, id, name, Some(body), None, growth, now)
}

// Two callers, and each argument is a column.
#[allow(clippy::too_many_arguments)]
fn insert(
    db: &Connection,
    caller: &Caller,
    id: i64,
    name: &str,
    body: Option<&[u8]>,
    object: Option<i64>,
    growth: Growth,
    now: u64,
) -> Result<Posted, Fail> {
    let text = "UPDATE workspaces SET last = last + 1 WHERE id = ?1 AND last - done < ?2 RETURNING last";
    let seq: Option<i64> =
        prepare(db, text)?.query_row([id, sql(MAX_CHANGES)], |row| row.get(0)).optional().map_err(Fail::internal)?;
    let seq = seq.ok_or_else(too_many)?;
    // What a user of another realm does to a file here is told of at the cost of who shared it.
    let payer = match caller.is_foreign() {
        true => creator(db, id)?,
        false => sql(caller.account),
    };
    prepare(
        db,
        "INSERT INTO changes (workspace, seq, author, name, at, body, object) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![id, seq, payer, caller.name, sql(now), body, object])
    .map_err(Fail::internal)?;
    accounts::charge(db, payer, growth)?;
    let tell = prepare(db, "SELECT account FROM participants WHERE workspace = ?1 ORDER BY account")?
        .query_map([id], |row| row.get(0).map(unsql))
        .and_then(Iterator::collect)
        .map_err(Fail::internal)?;
    let body = body.map(<[u8]>::to_vec);
    Ok(Posted { workspace: name.to_owned(), seq: unsql(seq), author: caller.name.clone(), body, tell })
}

fn creator(db: &Connection, id: i64) -> Result<i64, Fail> {
    let text = "SELECT creator FROM workspaces WHERE id = ?1";
    prepare(db, text)?.query_row([id], |row| row.get(0)).map_err(Fail::internal)
}

/// What the name of a file begins with that is not whole yet. A client writes it under such a name and moves it to its own.
const PART: &str = ".part-";

fn is_part(path: &Path) -> bool {
    path.segments().last().is_some_and(|name| name.starts_with(PART))
}

/// Posts `file LF what LF path…` where the place is a workspace; nothing of parts, which are told of as `written` when they
/// are moved to their place.
pub(super) fn post_file(
    db: &Connection,
    caller: &Caller,
    base: &Base,
    what: &str,
    paths: &[&Path],
    now: u64,
) -> Result<Vec<Posted>, Fail> {
    let Base::Workspace { id, name, .. } = base else { return Ok(Vec::new()) };
    let (what, paths) = match paths {
        [from, to] => match (is_part(from), is_part(to)) {
            (false, false) => (what, paths),
            (true, false) => ("written", std::slice::from_ref(to)),
            (false, true) => ("deleted", std::slice::from_ref(from)),
            (true, true) => return Ok(Vec::new()),
        },
        [path] if is_part(path) => return Ok(Vec::new()),
        _ => (what, paths),
    };
    let mut body = format!("file\n{what}");
    for path in paths {
        body.push('\n');
        body.push_str(path.as_str());
    }
    put(db, caller, *id, name, body.as_bytes(), now).map(|posted| vec![posted])
}

/// The same for a write, but not again and again.
pub(super) fn post_written(
    db: &Connection,
    caller: &Caller,
    base: &Base,
    file: i64,
    path: &Path,
    now: u64,
) -> Result<Vec<Posted>, Fail> {
    if !matches!(base, Base::Workspace { .. }) {
        return Ok(Vec::new());
    }
    // A clock that was set back posts, too.
    let text = "UPDATE objects SET poster = ?2, posted = ?3 WHERE id = ?1
                AND (poster IS NOT ?2 OR posted > ?3 OR posted + ?4 <= ?3)";
    let due = prepare(db, text)?.execute([file, sql(caller.account), sql(now), sql(QUIET)]).map_err(Fail::internal)?;
    match due {
        0 => Ok(Vec::new()),
        _ => post_file(db, caller, base, "written", &[path], now),
    }
}

fn too_many() -> Fail {
    Fail::new(Code::Limit, "too many changes wait to be acknowledged")
}
