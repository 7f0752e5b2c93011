//! The hierarchy: folders, names, lists, rights. `/`, `/users`, `/workspaces`, homes and the folders of workspaces are fixed.
//!
//! FAIL of all of it: BADARGS for what a fixed folder, a folder, or a file is not for; DENIED where rights are missing, also
//! for what is not there in a folder that the caller may not read; NOTFOUND.

use rusqlite::params;
use rusqlite::Connection;

use super::accounts;
use super::args;
use super::args::Path;
use super::args::Rights;
use super::args::ADMINISTER;
use super::args::READ;
use super::args::WRITE;
use super::objects;
use super::objects::Growth;
use super::prepare;
use super::rights;
use super::rights::Base;
use super::rights::Found;
use super::rights::Subject;
use super::rights::Way;
use super::rights::FILE;
use super::rights::OWN_LIST;
use super::sql;
use super::unsql;
use super::workspaces;
use super::Caller;
use super::Hash;
use super::Posted;
use super::ServerNo;
use super::MAX_ENTRIES;
use crate::wire::Code;
use crate::wire::Fail;

/// One line of LISTFOLDER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// A folder, not a file.
    pub folder: bool,
    /// Bytes of a file; 0 for a folder.
    pub size: u64,
    /// When it changed, in Unix ms; a folder changes when an entry comes or goes.
    pub modified: u64,
}

/// What GETINFO says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its number; a file's bytes are asked for with it ([`super::files::hash_plan`]).
    pub object: u64,
    /// Which bytes these are; for [`super::files::set_hash`].
    pub version: u64,
    /// A folder, not a file.
    pub folder: bool,
    /// Bytes of a file; 0 for a folder.
    pub size: u64,
    /// The name of who made it; `None`: nobody (a fixed folder), or an account that is gone.
    pub owner: Option<String>,
    /// When it was made, in Unix ms.
    pub created: u64,
    /// When it changed, in Unix ms.
    pub modified: u64,
    /// BLAKE3 of a file's bytes, when it is known: it is one whole block, or was computed since its last change. An empty file has
    /// none (the caller knows the hash of nothing).
    pub hash: Option<Hash>,
    /// The fewest live copies of any block; `None` for a folder or an empty file.
    pub copies: Option<u64>,
    /// Who has which rights, as text: `alice rwa`, `* r`. Those who have them by the place it is in come first.
    pub permissions: Vec<String>,
}

/// The most entries that move at once from one who pays to another.
pub const MAX_MOVED: u64 = 100_000;

/// Store lane. Makes a folder; needs w on the one it is in. EXISTS; LIMIT: [`super::MAX_ENTRIES`],
/// [`super::MAX_ITEMS`].
pub fn create_folder(db: &Connection, caller: &Caller, path: &Path, now: u64) -> Result<Vec<Posted>, Fail> {
    create(db, caller, path, 0, now)
}

/// Store lane. Makes an empty file; as [`create_folder`].
pub fn create_file(db: &Connection, caller: &Caller, path: &Path, now: u64) -> Result<Vec<Posted>, Fail> {
    create(db, caller, path, FILE, now)
}

/// Store lane. Deletes an empty folder; needs w on it and on the one it is in. BADARGS when it is not empty.
pub fn delete_folder(db: &Connection, caller: &Caller, path: &Path, now: u64) -> Result<Vec<Posted>, Fail> {
    let way = rights::follow(db, caller, path)?;
    let (folder, entry) = changeable(db, caller, &way)?;
    if !entry.is_folder() {
        return Err(Fail::bad_args("this is a file"));
    }
    if objects::known(db, entry.id)?.size > 0 {
        return Err(Fail::bad_args("the folder is not empty"));
    }
    take_out(db, &folder, &way.name, now)?;
    forget_list(db, &entry)?;
    objects::forget(db, entry.id)?;
    accounts::charge(db, way.payer(), Growth { bytes: 0, items: -1 })?;
    workspaces::post_file(db, caller, &way.base, "deleted", &[path], now)
}

/// Store lane. Deletes a file; needs w on it and on its folder.
pub fn delete_file(db: &Connection, caller: &Caller, path: &Path, now: u64) -> Result<Vec<Posted>, Fail> {
    let way = rights::follow(db, caller, path)?;
    let (folder, entry) = changeable(db, caller, &way)?;
    if entry.is_folder() {
        return Err(Fail::bad_args("this is a folder"));
    }
    take_out(db, &folder, &way.name, now)?;
    let growth = discard_file(db, &entry)?;
    accounts::charge(db, way.payer(), growth)?;
    workspaces::post_file(db, caller, &way.base, "deleted", &[path], now)
}

/// Store lane. Moves an entry, with all that is in it; needs w on it, on its folder, and on the new one. Its own
/// rights go with it. EXISTS; BADARGS into itself; when another account pays afterwards, QUOTA, and LIMIT for more
/// than [`MAX_MOVED`] entries.
pub fn move_entry(db: &Connection, caller: &Caller, from: &Path, to: &Path, now: u64) -> Result<Vec<Posted>, Fail> {
    let old = rights::follow(db, caller, from)?;
    let (old_folder, entry) = changeable(db, caller, &old)?;
    let new = rights::follow(db, caller, to)?;
    let new_folder = new.folder(db, caller)?;
    if new.above.iter().any(|folder| folder.id == entry.id) {
        return Err(Fail::bad_args("a folder cannot be moved into itself"));
    }
    if new.entry.is_some() {
        return Err(exists());
    }
    if old.payer() != new.payer() {
        let growth = weight(db, &entry)?;
        accounts::charge(db, new.payer(), growth)?;
        accounts::charge(db, old.payer(), Growth { bytes: -growth.bytes, items: -growth.items })?;
    }
    take_out(db, &old_folder, &old.name, now)?;
    put_in(db, &new_folder, &new.name, &entry, now)?;
    if old.base == new.base {
        return workspaces::post_file(db, caller, &old.base, "moved", &[from, to], now);
    }
    // What is not in the workspace is none of its participants' business: its path is not told.
    let mut posted = workspaces::post_file(db, caller, &old.base, "deleted", &[from], now)?;
    posted.extend(workspaces::post_file(db, caller, &new.base, "created", &[to], now)?);
    Ok(posted)
}

/// Store lane. [`move_entry`] to where a file may be: that goes in the same transaction, and the moved file has its rights, its
/// owner, and the time at which it was made. Needs w on it too. EXISTS when one of the two is a folder. A file stays where it is.
pub fn replace(db: &Connection, caller: &Caller, from: &Path, to: &Path, now: u64) -> Result<Vec<Posted>, Fail> {
    let old = rights::follow(db, caller, from)?;
    let (old_folder, entry) = changeable(db, caller, &old)?;
    let new = rights::follow(db, caller, to)?;
    if new.entry.is_none() || new.above.iter().any(|folder| folder.id == entry.id) {
        return move_entry(db, caller, from, to, now);
    }
    let (new_folder, there) = changeable(db, caller, &new)?;
    if entry.is_folder() || there.is_folder() {
        return Err(exists());
    }
    if entry.id == there.id {
        return Ok(Vec::new());
    }
    let text = "UPDATE objects SET (owner, created) = (SELECT owner, created FROM objects WHERE id = ?2) WHERE id = ?1";
    prepare(db, text)?.execute([entry.id, there.id]).map_err(Fail::internal)?;
    forget_list(db, &entry)?;
    prepare(db, "UPDATE acl SET object = ?1 WHERE object = ?2")?
        .execute([entry.id, there.id])
        .map_err(Fail::internal)?;
    let object = objects::known(db, entry.id)?;
    let moved = Growth { bytes: sql(object.size), items: 1 + sql(object.extents) };
    take_out(db, &new_folder, &new.name, now)?;
    let gone = discard_file(db, &Found { kind: FILE, ..there })?;
    match old.payer() == new.payer() {
        true => accounts::charge(db, new.payer(), gone)?,
        false => {
            let growth = Growth { bytes: gone.bytes + moved.bytes, items: gone.items + moved.items };
            accounts::charge(db, new.payer(), growth)?;
            accounts::charge(db, old.payer(), Growth { bytes: -moved.bytes, items: -moved.items })?;
        }
    }
    take_out(db, &old_folder, &old.name, now)?;
    put_in(db, &new_folder, &new.name, &Found { kind: there.kind, ..entry }, now)?;
    if old.base == new.base {
        return workspaces::post_file(db, caller, &old.base, "moved", &[from, to], now);
    }
    let mut posted = workspaces::post_file(db, caller, &old.base, "deleted", &[from], now)?;
    posted.extend(workspaces::post_file(db, caller, &new.base, "written", &[to], now)?);
    Ok(posted)
}

/// What is in a folder, as far as the caller may read it, by name. Needs r.
pub fn list_folder(db: &Connection, caller: &Caller, path: &Path) -> Result<Vec<Entry>, Fail> {
    let way = rights::follow(db, caller, path)?;
    let folder = way.entry(db, caller, READ)?;
    if !folder.is_folder() {
        return Err(Fail::bad_args("this is a file"));
    }
    match folder.id {
        rights::ROOT => {
            let fixed = |name: &str| Entry { name: name.to_owned(), folder: true, size: 0, modified: 0 };
            return Ok(vec![fixed("users"), fixed("workspaces")]);
        }
        // What is shared with them is found by its path.
        rights::USERS | rights::WORKSPACES if caller.is_foreign() => return Ok(Vec::new()),
        rights::USERS => return homes(db, caller),
        rights::WORKSPACES => return workspaces_of(db, caller),
        _ => {}
    }
    let text = "SELECT e.name, e.kind, o.size, o.modified, e.id FROM entries e JOIN objects o ON o.id = e.id
                WHERE e.parent = ?1 ORDER BY e.name";
    let mut statement = prepare(db, text)?;
    let mut rows = statement.query([folder.id]).map_err(Fail::internal)?;
    let mut list = Vec::new();
    while let Some(row) = rows.next().map_err(Fail::internal)? {
        let kind: i64 = row.get(1).map_err(Fail::internal)?;
        if kind & OWN_LIST != 0 {
            let id = row.get(4).map_err(Fail::internal)?;
            if rights::rights(db, caller, &way.base, id)? & READ == 0 {
                continue;
            }
        }
        list.push(entry(row).map_err(Fail::internal)?);
    }
    Ok(list)
}

/// All about an entry; needs r. `live`: the servers that are up, in order.
pub fn info(db: &Connection, caller: &Caller, path: &Path, live: &[ServerNo]) -> Result<Info, Fail> {
    let way = rights::follow(db, caller, path)?;
    let found = way.entry(db, caller, READ)?;
    let object = objects::known(db, found.id)?;
    let text = "SELECT (SELECT name FROM accounts WHERE account = owner), created, modified FROM objects WHERE id = ?1";
    let (owner, created, modified) = prepare(db, text)?
        .query_row([found.id], |row| Ok((row.get(0)?, unsql(row.get(1)?), unsql(row.get(2)?))))
        .map_err(Fail::internal)?;
    let folder = found.is_folder();
    Ok(Info {
        object: unsql(object.id),
        version: object.version,
        folder,
        size: if folder { 0 } else { object.size },
        owner,
        created,
        modified,
        hash: if folder { None } else { objects::hash(db, &object)? },
        copies: if folder { None } else { objects::fewest_copies(db, found.id, live)? },
        permissions: permissions(db, &way, &found)?,
    })
}

/// Store lane. Replaces the own list of rights of an entry; an empty one: it has those of the folder above again.
/// Needs a. What somebody has by the place (the home's user, the creator, participants) is not written down: who sends
/// back what GETINFO told does not give them what outlasts their part in a workspace.
pub fn set_permissions(
    db: &Connection,
    caller: &Caller,
    path: &Path,
    list: &[(Subject, Rights)],
    now: u64,
) -> Result<(), Fail> {
    if list.len() > args::MAX_NAMES {
        return Err(Fail::bad_args("at most 1000 subjects"));
    }
    let way = rights::follow(db, caller, path)?;
    let entry = way.entry(db, caller, ADMINISTER)?;
    prepare(db, "DELETE FROM acl WHERE object = ?1")?.execute([entry.id]).map_err(Fail::internal)?;
    let text = "INSERT INTO acl (object, account, remote, rights) VALUES (?1, ?2, ?3, ?4)
                ON CONFLICT DO UPDATE SET rights = rights | excluded.rights";
    let mut statement = prepare(db, text)?;
    for (subject, rights) in list {
        let (account, remote) = match subject {
            Subject::Everybody => (0, ""),
            Subject::Remote(user) => (-1, &user[..]),
            Subject::Account(user) => {
                let by_place = rights::of_place(db, &way.base, entry.id, sql(user.account))?;
                if rights & !by_place == 0 && by_place != 0 {
                    continue;
                }
                accounts::welcome(db, user, now)?;
                (sql(user.account), "")
            }
        };
        statement.execute(params![entry.id, account, remote, rights]).map_err(Fail::internal)?;
    }
    // A home and the folder of a workspace are in no folder: their list counts in any case.
    if let Some(folder) = way.above.last() {
        let kind = if list.is_empty() { entry.kind & !OWN_LIST } else { entry.kind | OWN_LIST };
        prepare(db, "UPDATE entries SET kind = ?3 WHERE parent = ?1 AND name = ?2")?
            .execute(params![folder.id, way.name, kind])
            .map_err(Fail::internal)?;
    }
    Ok(())
}

/// What goes with a file that no folder has any more: how much less is paid for.
pub(super) fn discard_file(db: &Connection, entry: &Found) -> Result<Growth, Fail> {
    let object = objects::known(db, entry.id)?;
    forget_list(db, entry)?;
    objects::discard(db, &object)?;
    Ok(Growth { bytes: -sql(object.size), items: -1 - sql(object.extents) })
}

/// Deletes the own list of rights of an entry that goes.
pub(super) fn forget_list(db: &Connection, entry: &Found) -> Result<(), Fail> {
    if entry.kind & OWN_LIST == 0 {
        return Ok(());
    }
    prepare(db, "DELETE FROM acl WHERE object = ?1")?.execute([entry.id]).map(drop).map_err(Fail::internal)
}

fn create(db: &Connection, caller: &Caller, path: &Path, kind: i64, now: u64) -> Result<Vec<Posted>, Fail> {
    let way = rights::follow(db, caller, path)?;
    let folder = way.folder(db, caller)?;
    if way.entry.is_some() {
        return Err(exists());
    }
    let id = objects::create(db, way.maker(caller), now)?;
    put_in(db, &folder, &way.name, &Found { id, kind, list: folder.list }, now)?;
    accounts::charge(db, way.payer(), Growth { bytes: 0, items: 1 })?;
    workspaces::post_file(db, caller, &way.base, "created", &[path], now)
}

/// An entry that the caller may delete and move, and its folder.
fn changeable(db: &Connection, caller: &Caller, way: &Way) -> Result<(Found, Found), Fail> {
    let entry = way.entry(db, caller, WRITE)?;
    Ok((way.folder(db, caller)?, entry))
}

fn put_in(db: &Connection, folder: &Found, name: &str, entry: &Found, now: u64) -> Result<(), Fail> {
    let text = "UPDATE objects SET size = size + 1, modified = ?2 WHERE id = ?1 AND size < ?3";
    let room = prepare(db, text)?.execute([folder.id, sql(now), sql(MAX_ENTRIES)]).map_err(Fail::internal)?;
    if room == 0 {
        return Err(Fail::new(Code::Limit, "a folder has at most 10000 entries"));
    }
    prepare(db, "INSERT INTO entries (parent, name, id, kind) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![folder.id, name, entry.id, entry.kind])
        .map(drop)
        .map_err(Fail::internal)
}

fn take_out(db: &Connection, folder: &Found, name: &str, now: u64) -> Result<(), Fail> {
    prepare(db, "DELETE FROM entries WHERE parent = ?1 AND name = ?2")?
        .execute(params![folder.id, name])
        .map_err(Fail::internal)?;
    let text = "UPDATE objects SET size = size - 1, modified = ?2 WHERE id = ?1";
    prepare(db, text)?.execute([folder.id, sql(now)]).map(drop).map_err(Fail::internal)
}

/// What is paid for an entry with all that is in it. LIMIT when that is too much to look at.
fn weight(db: &Connection, entry: &Found) -> Result<Growth, Fail> {
    let text = "WITH RECURSIVE tree (id, kind) AS (
                    SELECT ?1, ?2 UNION ALL
                    SELECT e.id, e.kind FROM tree JOIN entries e ON e.parent = tree.id WHERE tree.kind & 1 = 0 LIMIT ?3)
                SELECT count(*), sum(iif(kind & 1, o.size, 0)), sum(1 + o.extents) FROM tree JOIN objects o USING (id)";
    let (entries, bytes, items) = prepare(db, text)?
        .query_row([entry.id, entry.kind, sql(MAX_MOVED + 1)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .map_err(Fail::internal)?;
    match unsql(entries) > MAX_MOVED {
        true => Err(Fail::new(Code::Limit, "at most 100000 entries change hands at once: move them in parts")),
        false => Ok(Growth { bytes, items }),
    }
}

fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    let folder = row.get::<_, i64>(1)? & FILE == 0;
    let size = if folder { 0 } else { unsql(row.get(2)?) };
    Ok(Entry { name: row.get(0)?, folder, size, modified: unsql(row.get(3)?) })
}

/// The caller's home, and those that it may read.
fn homes(db: &Connection, caller: &Caller) -> Result<Vec<Entry>, Fail> {
    let text = "SELECT a.name, 0, 0, o.modified FROM accounts a JOIN objects o ON o.id = a.home
                WHERE a.account = ?1 OR a.home IN (
                    SELECT object FROM acl WHERE account IN (0, ?1) AND rights & 1 LIMIT ?2)
                ORDER BY a.folded LIMIT ?2";
    prepare(db, text)?
        .query_map([sql(caller.account), sql(MAX_ENTRIES)], entry)
        .and_then(Iterator::collect)
        .map_err(Fail::internal)
}

/// The workspaces that the caller takes part in, and those that it may read.
fn workspaces_of(db: &Connection, caller: &Caller) -> Result<Vec<Entry>, Fail> {
    let text = "SELECT w.name, 0, 0, o.modified FROM workspaces w JOIN objects o ON o.id = w.id
                WHERE w.id IN (SELECT workspace FROM participants WHERE account = ?1)
                   OR w.id IN (SELECT object FROM acl WHERE account IN (0, ?1) AND rights & 1 LIMIT ?2)
                ORDER BY w.name LIMIT ?2";
    prepare(db, text)?
        .query_map([sql(caller.account), sql(MAX_ENTRIES)], entry)
        .and_then(Iterator::collect)
        .map_err(Fail::internal)
}

/// The list that counts for an entry, in words.
fn permissions(db: &Connection, way: &Way, found: &Found) -> Result<Vec<String>, Fail> {
    if way.base == Base::Fixed {
        return Ok(vec!["* r".to_owned()]);
    }
    let (all, team) = way.by_place(found.list);
    let text = "SELECT account, name, ?3 FROM accounts WHERE account = ?1
                UNION ALL
                SELECT * FROM (SELECT a.account, a.name, ?4 FROM participants p JOIN accounts a ON a.account = p.account
                    WHERE p.workspace = ?2 AND p.account <> ?1 ORDER BY p.account)";
    let mut list: Vec<(i64, String, Rights)> = prepare(db, text)?
        .query_map(params![all, team, READ | WRITE | ADMINISTER, READ | WRITE], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .and_then(Iterator::collect)
        .map_err(Fail::internal)?;
    let text = "SELECT l.account, l.remote, l.rights, a.name FROM acl l LEFT JOIN accounts a ON a.account = l.account
                WHERE l.object = ?1 ORDER BY l.account, l.remote";
    let mut statement = prepare(db, text)?;
    let mut rows = statement.query([found.list]).map_err(Fail::internal)?;
    while let Some(row) = rows.next().map_err(Fail::internal)? {
        let read = || -> rusqlite::Result<(i64, String, Rights, Option<String>)> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        };
        let (account, remote, rights, name) = read().map_err(Fail::internal)?;
        let subject = match account {
            0 => Some("*".to_owned()),
            -1 => Some(remote),
            // An account that is gone, its rows not yet.
            _ => name,
        };
        // A user stands there once, with all the rights they have.
        match list.iter_mut().find(|(other, ..)| account > 0 && *other == account) {
            Some((_, _, by_place)) => *by_place |= rights,
            None => list.extend(subject.map(|subject| (account, subject, rights))),
        }
    }
    Ok(list.into_iter().map(|(_, subject, rights)| format!("{subject} {}", args::rights_text(rights))).collect())
}

fn exists() -> Fail {
    Fail::new(Code::Exists, "there is one of that name")
}
