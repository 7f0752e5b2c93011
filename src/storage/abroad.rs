//! Offline messages between realms. A message stays where it was written: its recipients in other realms are rows here (`abroad`), and
//! their realms have to be told; a message in another realm is a pointer there (`pointers`), and its realm has to be told when it was
//! deleted here (`farewells`). What has to be told is an [`Errand`], which stays until it was answered.

use rusqlite::params;
use rusqlite::Connection;
use rusqlite::OptionalExtension;

use super::accounts;
use super::mail;
use super::mail::Message;
use super::mail::MessageId;
use super::mail::Row;
use super::mail::MAX_INBOX;
use super::prepare;
use super::sql;
use super::unsql;
use super::Caller;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// The most messages of one other realm that wait for one account: no realm alone fills an inbox.
pub const MAX_OF_REALM: u64 = 1_000;

/// What another realm has to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// A message waits here for `user` there.
    Mail {
        /// Its row.
        message: i64,
        /// Its id.
        id: MessageId,
        /// The recipient there, folded.
        user: String,
        /// The account that sent it, and its name.
        sender: (u64, String),
        /// Bytes.
        size: u64,
        /// When it was sent, in Unix ms.
        sent: u64,
    },
    /// A user here has deleted a message there.
    Deleted {
        /// Its id there.
        id: MessageId,
        /// The user's name.
        user: String,
        /// When, in Unix ms.
        since: u64,
    },
}

/// Where a page of errands goes on: behind this message and user.
pub type After = (i64, String);

/// A recipient in another realm, of a message that was begun.
pub(super) fn address(db: &Connection, message: i64, recipient: &Caller) -> Result<(), Fail> {
    let (realm, user) = recipient.abroad().ok_or_else(|| Fail::internal("a recipient of no realm"))?;
    let text = "INSERT OR IGNORE INTO abroad (message, realm, user, state) VALUES (?1, ?2, ?3, 0)";
    prepare(db, text)?.execute(params![message, realm, user]).map(drop).map_err(Fail::internal)
}

/// The message is sent: their realms have to be told. Who they are.
pub(super) fn send(db: &Connection, message: i64) -> Result<Vec<(String, String)>, Fail> {
    let text = "UPDATE abroad SET state = 1 WHERE message = ?1 RETURNING realm, user";
    let mut all: Vec<(String, String)> = prepare(db, text)?
        .query_map([message], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect)
        .map_err(Fail::internal)?;
    all.sort_unstable();
    Ok(all)
}

pub(super) fn is_recipient(db: &Connection, message: i64, realm: &str, user: &str) -> Result<bool, Fail> {
    prepare(db, "SELECT 1 FROM abroad WHERE message = ?1 AND realm = ?2 AND user = ?3")?
        .exists(params![message, realm, user])
        .map_err(Fail::internal)
}

/// A recipient in another realm has a message no more. The last one to do so deletes it.
pub(super) fn take(db: &Connection, row: &Row, realm: &str, user: &str) -> Result<(), Fail> {
    let text = "DELETE FROM abroad WHERE message = ?1 AND realm = ?2 AND user = ?3";
    match prepare(db, text)?.execute(params![row.id, realm, user]).map_err(Fail::internal)? {
        0 => Ok(()),
        _ => mail::taken(db, row),
    }
}

pub(super) fn forget(db: &Connection, message: i64) -> Result<(), Fail> {
    prepare(db, "DELETE FROM abroad WHERE message = ?1")?.execute([message]).map(drop).map_err(Fail::internal)
}

/// Realms that have to be told something.
pub fn realms(db: &Connection) -> Result<Vec<String>, Fail> {
    // From one realm to the next, so that it does not matter how much each has to be told.
    let mut all = Vec::new();
    for text in [
        "SELECT min(realm) FROM abroad WHERE state = 1 AND realm > ?1",
        "SELECT min(realm) FROM farewells WHERE realm > ?1",
    ] {
        let mut last = String::new();
        loop {
            let next: Option<String> =
                prepare(db, text)?.query_row([&last], |row| row.get(0)).map_err(Fail::internal)?;
            let Some(next) = next else { break };
            all.push(next.clone());
            last = next;
        }
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// What a realm has to be told: at most `count`; deleted messages, and when there are none of these, messages behind `after`.
pub fn errands(db: &Connection, realm: &str, after: &After, count: u64) -> Result<Vec<Errand>, Fail> {
    let text = "SELECT key, user, since FROM farewells WHERE realm = ?1 ORDER BY key, user LIMIT ?2";
    let deleted: Vec<Errand> = prepare(db, text)?
        .query_map(params![realm, sql(count)], |row| {
            Ok(Errand::Deleted { id: row.get(0)?, user: row.get(1)?, since: unsql(row.get(2)?) })
        })
        .and_then(Iterator::collect)
        .map_err(Fail::internal)?;
    if !deleted.is_empty() {
        return Ok(deleted);
    }
    let text = "SELECT a.message, m.key, a.user, m.sender, m.name, o.size, m.sent FROM abroad a
                JOIN messages m ON m.id = a.message JOIN objects o ON o.id = a.message
                WHERE a.state = 1 AND a.realm = ?1 AND (a.message, a.user) > (?2, ?3)
                ORDER BY a.message, a.user LIMIT ?4";
    prepare(db, text)?
        .query_map(params![realm, after.0, after.1, sql(count)], |row| {
            Ok(Errand::Mail {
                message: row.get(0)?,
                id: row.get(1)?,
                user: row.get(2)?,
                sender: (unsql(row.get(3)?), row.get(4)?),
                size: unsql(row.get(5)?),
                sent: unsql(row.get(6)?),
            })
        })
        .and_then(Iterator::collect)
        .map_err(Fail::internal)
}

/// Store lane. A realm was told: it has a pointer now, or the message is deleted there.
pub fn told(db: &Connection, realm: &str, errand: &Errand) -> Result<(), Fail> {
    match errand {
        Errand::Mail { message, user, .. } => {
            let text = "UPDATE abroad SET state = 2 WHERE message = ?1 AND realm = ?2 AND user = ?3";
            prepare(db, text)?.execute(params![message, realm, user])
        }
        Errand::Deleted { id, user, .. } => {
            let text = "DELETE FROM farewells WHERE realm = ?1 AND key = ?2 AND user = ?3";
            prepare(db, text)?.execute(params![realm, id, user])
        }
    }
    .map(drop)
    .map_err(Fail::internal)
}

/// Store lane. A recipient in another realm will not get a message: there is no such user, or it took too long. False: it was deleted, or its
/// realm was told meanwhile.
pub fn give_up(db: &Connection, id: &MessageId, realm: &str, user: &str) -> Result<bool, Fail> {
    let Some(row) = mail::find(db, id)? else { return Ok(false) };
    let text = "SELECT 1 FROM abroad WHERE message = ?1 AND realm = ?2 AND user = ?3 AND state = 1";
    if !prepare(db, text)?.exists(params![row.id, realm, user]).map_err(Fail::internal)? {
        return Ok(false);
    }
    take(db, &row, realm, user).map(|()| true)
}

/// Store lane. A message of `sender`, a user of another realm, waits there for a user here. None: that was known, or it was deleted here just
/// now. LIMIT: too many wait.
pub fn arrive(
    db: &Connection,
    sender: &Caller,
    recipient: &Caller,
    id: &MessageId,
    (size, sent): (u64, u64),
    now: u64,
) -> Result<Option<Message>, Fail> {
    let (realm, _) = sender.abroad().ok_or_else(|| Fail::internal("a sender of no realm"))?;
    accounts::welcome(db, recipient, now)?;
    let account = sql(recipient.account);
    let folded = name::fold(&recipient.name);
    let text = "SELECT EXISTS (SELECT 1 FROM pointers WHERE account = ?1 AND realm = ?2 AND key = ?3)
                OR EXISTS (SELECT 1 FROM farewells WHERE realm = ?2 AND key = ?3 AND user = ?4)";
    let known: bool =
        prepare(db, text)?.query_row(params![account, realm, id, folded], |row| row.get(0)).map_err(Fail::internal)?;
    if known {
        return Ok(None);
    }
    let text = "SELECT count(*) FROM (SELECT 1 FROM pointers WHERE account = ?1 AND realm = ?2 LIMIT ?3)";
    let of_realm: i64 = prepare(db, text)?
        .query_row(params![account, realm, sql(MAX_OF_REALM)], |row| row.get(0))
        .map_err(Fail::internal)?;
    let text = "UPDATE accounts SET inbox = inbox + 1 WHERE account = ?1 AND inbox < ?2";
    let room = unsql(of_realm) < MAX_OF_REALM
        && prepare(db, text)?.execute([account, sql(MAX_INBOX)]).map_err(Fail::internal)? == 1;
    if !room {
        return Err(mail::full(&recipient.name));
    }
    let text =
        "INSERT INTO pointers (account, realm, key, user, sender, size, sent) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    prepare(db, text)?
        .execute(params![account, realm, id, recipient.name, sender.name, sql(size), sql(sent)])
        .map_err(Fail::internal)?;
    Ok(Some(Message { realm: realm.to_owned(), id: *id, sender: sender.name.clone(), size, sent }))
}

/// The messages in other realms that wait for the caller.
pub(super) fn list(db: &Connection, caller: &Caller) -> Result<Vec<Message>, Fail> {
    let text = "SELECT realm, key, sender, size, sent FROM pointers WHERE account = ?1";
    prepare(db, text)?
        .query_map([sql(caller.account)], |row| {
            let (size, sent) = (unsql(row.get(3)?), unsql(row.get(4)?));
            Ok(Message { realm: row.get(0)?, id: row.get(1)?, sender: row.get(2)?, size, sent })
        })
        .and_then(Iterator::collect)
        .map_err(Fail::internal)
}

/// Refuses a message in another realm that does not wait for the caller: its realm is not even asked. NOTFOUND.
pub fn check(db: &Connection, caller: &Caller, realm: &str, id: &MessageId) -> Result<(), Fail> {
    accounts::admit(db, caller)?;
    let text = "SELECT 1 FROM pointers WHERE account = ?1 AND realm = ?2 AND key = ?3";
    match prepare(db, text)?.exists(params![sql(caller.account), realm, id]).map_err(Fail::internal)? {
        true => Ok(()),
        false => Err(mail::none()),
    }
}

/// Store lane. Deletes a message in another realm for the caller; its realm has to be told. NOTFOUND.
pub fn delete(db: &Connection, caller: &Caller, realm: &str, id: &MessageId, now: u64) -> Result<(), Fail> {
    accounts::admit(db, caller)?;
    match drop_pointer(db, sql(caller.account), realm, id)? {
        Some(user) => bid_farewell(db, realm, id, &user, now),
        None => Err(mail::none()),
    }
}

/// Store lane. The other realm says that it has no such message for the account.
pub fn lost(db: &Connection, account: u64, realm: &str, id: &MessageId) -> Result<(), Fail> {
    drop_pointer(db, sql(account), realm, id).map(drop)
}

/// Store lane. The messages of an account that goes, at most `count`: how many.
pub(super) fn leave(db: &Connection, account: i64, count: u64, now: u64) -> Result<u64, Fail> {
    let text = "SELECT realm, key FROM pointers WHERE account = ?1 LIMIT ?2";
    let all: Vec<(String, MessageId)> = prepare(db, text)?
        .query_map([account, sql(count)], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect)
        .map_err(Fail::internal)?;
    for (realm, id) in &all {
        if let Some(user) = drop_pointer(db, account, realm, id)? {
            bid_farewell(db, realm, id, &user, now)?;
        }
    }
    Ok(all.len() as u64)
}

/// The name of the user whose pointer it was; None: there was none.
fn drop_pointer(db: &Connection, account: i64, realm: &str, id: &MessageId) -> Result<Option<String>, Fail> {
    let text = "DELETE FROM pointers WHERE account = ?1 AND realm = ?2 AND key = ?3 RETURNING user";
    let user: Option<String> = prepare(db, text)?
        .query_row(params![account, realm, id], |row| row.get(0))
        .optional()
        .map_err(Fail::internal)?;
    if user.is_some() {
        let text = "UPDATE accounts SET inbox = inbox - 1 WHERE account = ?1";
        prepare(db, text)?.execute([account]).map_err(Fail::internal)?;
    }
    Ok(user)
}

fn bid_farewell(db: &Connection, realm: &str, id: &MessageId, user: &str, now: u64) -> Result<(), Fail> {
    let text = "INSERT OR IGNORE INTO farewells (realm, key, user, since) VALUES (?1, ?2, ?3, ?4)";
    prepare(db, text)?.execute(params![realm, id, name::fold(user), sql(now)]).map(drop).map_err(Fail::internal)
}

/// FAIL of what another realm says in a way that nothing changes any more.
pub fn is_final(fail: &Fail) -> bool {
    !matches!(fail.code, Code::Unavailable | Code::Busy | Code::Limit | Code::Internal | Code::SignIn)
}
