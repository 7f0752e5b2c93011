//! Offline messages: made by INIT, grown by APPEND, and from SEND on their recipients'.

use rusqlite::params;
use rusqlite::Connection;
use rusqlite::OptionalExtension;

use super::abroad;
use super::accounts;
use super::args;
use super::objects;
use super::objects::Growth;
use super::objects::Object;
use super::prepare;
use super::sql;
use super::unsql;
use super::Caller;
use super::Piece;
use super::Placed;
use crate::wire::hex;
use crate::wire::Code;
use crate::wire::Fail;

/// What a client calls a message: 128 random bits.
pub type MessageId = [u8; 16];

/// One line of LISTOFFLINEMESSAGES, and what OFFLINEMESSAGEAVAILABLE tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The realm that has it; empty: it is here.
    pub realm: String,
    /// Its id there.
    pub id: MessageId,
    /// The sender's name as registered.
    pub sender: String,
    /// Bytes.
    pub size: u64,
    /// When it was sent, in Unix ms.
    pub sent: u64,
}

impl Message {
    /// What its recipient calls it: `message-id`, or `realm::message-id`.
    pub fn name(&self) -> String {
        let id = hex::encode(&self.id);
        match self.realm.is_empty() {
            true => id,
            false => format!("{}::{id}", self.realm),
        }
    }
}

/// A message that was sent: what to tell, and whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// What to tell.
    pub message: Message,
    /// The accounts of its recipients.
    pub recipients: Vec<u64>,
    /// Realms and folded names of the others: [`abroad`] has what they are to be told.
    pub abroad: Vec<(String, String)>,
}

/// The most messages that wait for one account.
pub const MAX_INBOX: u64 = 5_000;
/// The most messages that one account has begun and not sent.
pub const MAX_UNSENT: u64 = 1_000;
/// How long a message that was begun waits to be sent, in ms.
pub const UNSENT_FOR: u64 = 7 * 24 * 60 * 60 * 1000;

/// Store lane. Begins a message with the random `id`; recipients become known accounts. LIMIT: a recipient with
/// [`MAX_INBOX`] messages, a sender with [`MAX_UNSENT`]. BADARGS: none, or over 1000.
pub fn init(db: &Connection, caller: &Caller, id: &MessageId, recipients: &[Caller], now: u64) -> Result<(), Fail> {
    accounts::admit(db, caller)?;
    if recipients.is_empty() || recipients.len() > args::MAX_NAMES {
        return Err(Fail::bad_args("1 to 1000 recipients"));
    }
    let unsent: i64 = prepare(db, "SELECT count(*) FROM messages WHERE sender = ?1 AND sent = 0")?
        .query_row([sql(caller.account)], |row| row.get(0))
        .map_err(Fail::internal)?;
    if unsql(unsent) >= MAX_UNSENT {
        return Err(Fail::new(Code::Limit, "too many messages were begun and not sent"));
    }
    let object = objects::create(db, caller.account, now)?;
    let text = "INSERT INTO messages (id, key, sender, name, sent, remaining) VALUES (?1, ?2, ?3, ?4, 0, 0)
                ON CONFLICT (key) DO NOTHING";
    let made =
        prepare(db, text)?.execute(params![object, id, sql(caller.account), caller.name]).map_err(Fail::internal)?;
    if made == 0 {
        return Err(Fail::internal("a message of this id is there already"));
    }
    for recipient in recipients {
        if recipient.is_foreign() {
            abroad::address(db, object, recipient)?;
            continue;
        }
        accounts::welcome(db, recipient, now)?;
        prepare(db, "INSERT OR IGNORE INTO recipients (message, account) VALUES (?1, ?2)")?
            .execute([object, sql(recipient.account)])
            .map_err(Fail::internal)?;
        if inbox_full(db, sql(recipient.account))? == Some(true) {
            return Err(full(&recipient.name));
        }
    }
    accounts::charge(db, sql(caller.account), Growth { bytes: 0, items: 1 })
}

/// Store lane. Appends a block (`None`: no bytes); only the sender, until it is sent. The size so far. NOTFOUND,
/// QUOTA, LIMIT.
pub fn append(
    db: &Connection,
    caller: &Caller,
    id: &MessageId,
    placed: Option<&Placed>,
    now: u64,
) -> Result<u64, Fail> {
    let object = objects::known(db, unsent(db, caller, id)?)?;
    let Some(placed) = placed else { return Ok(object.size) };
    let growth = objects::write(db, &object, object.size, placed, now)?;
    accounts::charge(db, sql(caller.account), growth)?;
    Ok(object.size + u64::from(placed.size))
}

/// Whether [`append`] of `length` bytes would be refused as things stand.
pub fn check_append(db: &Connection, caller: &Caller, id: &MessageId, length: u64) -> Result<(), Fail> {
    let object = objects::known(db, unsent(db, caller, id)?)?;
    objects::check_write(&object, object.size, length)?;
    accounts::check_charge(db, sql(caller.account), Growth { bytes: sql(length), items: 1 })
}

/// Store lane. Sends a message. NOTFOUND: not the caller's, or sent; LIMIT: a recipient's inbox is full; REFUSED: all
/// recipients are gone.
pub fn send(db: &Connection, caller: &Caller, id: &MessageId, now: u64) -> Result<Sent, Fail> {
    let message = unsent(db, caller, id)?;
    let object = objects::known(db, message)?;
    let accounts: Vec<i64> = prepare(db, "SELECT account FROM recipients WHERE message = ?1")?
        .query_map([message], |row| row.get(0))
        .and_then(Iterator::collect)
        .map_err(Fail::internal)?;
    let mut recipients = Vec::with_capacity(accounts.len());
    // A message that was sent has a time.
    let sent = now.max(1);
    for account in accounts {
        let text = "UPDATE accounts SET inbox = inbox + 1 WHERE account = ?1 AND inbox < ?2";
        if prepare(db, text)?.execute([account, sql(MAX_INBOX)]).map_err(Fail::internal)? == 1 {
            prepare(db, "INSERT INTO inbox (account, sent, message) VALUES (?1, ?2, ?3)")?
                .execute([account, sql(sent), message])
                .map_err(Fail::internal)?;
            recipients.push(unsql(account));
        } else if accounts::known(db, unsql(account))? {
            return Err(full("a recipient"));
        }
    }
    let abroad = abroad::send(db, message)?;
    if recipients.is_empty() && abroad.is_empty() {
        return Err(Fail::new(Code::Refused, "there is no such recipient any more"));
    }
    forget_recipients(db, message)?;
    prepare(db, "UPDATE messages SET sent = ?2, remaining = ?3 WHERE id = ?1")?
        .execute([message, sql(sent), sql((recipients.len() + abroad.len()) as u64)])
        .map_err(Fail::internal)?;
    let message = Message { realm: String::new(), id: *id, sender: caller.name.clone(), size: object.size, sent };
    Ok(Sent { message, recipients, abroad })
}

/// The messages that wait for the caller, here and in other realms, oldest first.
pub fn list(db: &Connection, caller: &Caller) -> Result<Vec<Message>, Fail> {
    accounts::admit(db, caller)?;
    let text = "SELECT m.key, m.name, o.size, i.sent FROM inbox i
                JOIN messages m ON m.id = i.message JOIN objects o ON o.id = i.message
                WHERE i.account = ?1 ORDER BY i.sent, i.message";
    let mut list: Vec<Message> = prepare(db, text)?
        .query_map([sql(caller.account)], |row| {
            let (size, sent) = (unsql(row.get(2)?), unsql(row.get(3)?));
            Ok(Message { realm: String::new(), id: row.get(0)?, sender: row.get(1)?, size, sent })
        })
        .and_then(Iterator::collect)
        .map_err(Fail::internal)?;
    let elsewhere = abroad::list(db, caller)?;
    if !elsewhere.is_empty() {
        list.extend(elsewhere);
        list.sort_by_key(|message| message.sent);
    }
    Ok(list)
}

/// What to read of a message, as [`super::files::plan_read`]: a recipient's, or the sender's until it is sent.
/// NOTFOUND.
pub fn plan_read(
    db: &Connection,
    caller: &Caller,
    id: &MessageId,
    offset: u64,
    length: u64,
) -> Result<Vec<Piece>, Fail> {
    let row = readable(db, caller, id)?;
    objects::plan(db, &objects::known(db, row.id)?, offset, length)
}

/// Store lane. Deletes a message for the caller; when the last recipient does, or the sender before it is sent, it is
/// gone. NOTFOUND.
pub fn delete(db: &Connection, caller: &Caller, id: &MessageId) -> Result<(), Fail> {
    let row = readable(db, caller, id)?;
    match (row.sent, caller.abroad()) {
        (0, _) => drop_message(db, &row),
        (_, Some((realm, user))) => abroad::take(db, &row, realm, &user),
        (_, None) => take(db, &row, sql(caller.account)),
    }
}

/// A row of `messages`.
pub(super) struct Row {
    pub id: i64,
    pub sender: i64,
    pub sent: i64,
    pub remaining: i64,
}

/// Takes a message that was sent from an inbox. The last one to do so deletes it.
pub(super) fn take(db: &Connection, row: &Row, account: i64) -> Result<(), Fail> {
    prepare(db, "DELETE FROM inbox WHERE account = ?1 AND sent = ?2 AND message = ?3")?
        .execute([account, row.sent, row.id])
        .map_err(Fail::internal)?;
    prepare(db, "UPDATE accounts SET inbox = inbox - 1 WHERE account = ?1")?
        .execute([account])
        .map_err(Fail::internal)?;
    taken(db, row)
}

/// One recipient less.
pub(super) fn taken(db: &Connection, row: &Row) -> Result<(), Fail> {
    if row.remaining <= 1 {
        return drop_message(db, row);
    }
    prepare(db, "UPDATE messages SET remaining = remaining - 1 WHERE id = ?1")?
        .execute([row.id])
        .map(drop)
        .map_err(Fail::internal)
}

/// Deletes a message that nobody has any more.
pub(super) fn drop_message(db: &Connection, row: &Row) -> Result<(), Fail> {
    let object: Object = objects::known(db, row.id)?;
    forget_recipients(db, row.id)?;
    abroad::forget(db, row.id)?;
    prepare(db, "DELETE FROM messages WHERE id = ?1")?.execute([row.id]).map_err(Fail::internal)?;
    objects::discard(db, &object)?;
    accounts::charge(db, row.sender, Growth { bytes: -sql(object.size), items: -1 - sql(object.extents) })
}

fn forget_recipients(db: &Connection, message: i64) -> Result<(), Fail> {
    prepare(db, "DELETE FROM recipients WHERE message = ?1")?.execute([message]).map(drop).map_err(Fail::internal)
}

/// Store lane. A message from the realm itself, `from`, to an account: nobody pays for it. Nothing, when the account is gone or has
/// [`MAX_INBOX`] messages.
pub fn notice(
    db: &Connection,
    account: u64,
    from: &str,
    id: &MessageId,
    placed: &Placed,
    now: u64,
) -> Result<Option<Sent>, Fail> {
    let text = "UPDATE accounts SET inbox = inbox + 1 WHERE account = ?1 AND inbox < ?2";
    if prepare(db, text)?.execute([sql(account), sql(MAX_INBOX)]).map_err(Fail::internal)? == 0 {
        return Ok(None);
    }
    let object = objects::known(db, objects::create(db, 0, now)?)?;
    objects::write(db, &object, 0, placed, now)?;
    let sent = now.max(1);
    let text = "INSERT INTO messages (id, key, sender, name, sent, remaining) VALUES (?1, ?2, 0, ?3, ?4, 1)";
    prepare(db, text)?.execute(params![object.id, id, from, sql(sent)]).map_err(Fail::internal)?;
    prepare(db, "INSERT INTO inbox (account, sent, message) VALUES (?1, ?2, ?3)")?
        .execute([sql(account), sql(sent), object.id])
        .map_err(Fail::internal)?;
    let size = u64::from(placed.size);
    let message = Message { realm: String::new(), id: *id, sender: from.to_owned(), size, sent };
    Ok(Some(Sent { message, recipients: vec![account], abroad: Vec::new() }))
}

/// A message that the caller has begun and not sent.
fn unsent(db: &Connection, caller: &Caller, id: &MessageId) -> Result<i64, Fail> {
    accounts::admit(db, caller)?;
    let row = find(db, id)?.filter(|row| row.sender == sql(caller.account) && row.sent == 0);
    row.map(|row| row.id).ok_or_else(none)
}

/// A message in the caller's inbox, or begun by it and not sent.
fn readable(db: &Connection, caller: &Caller, id: &MessageId) -> Result<Row, Fail> {
    accounts::admit(db, caller)?;
    let account = sql(caller.account);
    let row = find(db, id)?.ok_or_else(none)?;
    let may = match (row.sent, caller.abroad()) {
        (0, _) => row.sender == account,
        (_, Some((realm, user))) => abroad::is_recipient(db, row.id, realm, &user)?,
        (_, None) => prepare(db, "SELECT 1 FROM inbox WHERE account = ?1 AND sent = ?2 AND message = ?3")?
            .exists([account, row.sent, row.id])
            .map_err(Fail::internal)?,
    };
    may.then_some(row).ok_or_else(none)
}

pub(super) fn find(db: &Connection, id: &MessageId) -> Result<Option<Row>, Fail> {
    prepare(db, "SELECT id, sender, sent, remaining FROM messages WHERE key = ?1")?
        .query_row(params![id], |row| {
            Ok(Row { id: row.get(0)?, sender: row.get(1)?, sent: row.get(2)?, remaining: row.get(3)? })
        })
        .optional()
        .map_err(Fail::internal)
}

pub(super) fn inbox_full(db: &Connection, account: i64) -> Result<Option<bool>, Fail> {
    prepare(db, "SELECT inbox >= ?2 FROM accounts WHERE account = ?1")?
        .query_row([account, sql(MAX_INBOX)], |row| row.get(0))
        .optional()
        .map_err(Fail::internal)
}

pub(super) fn full(name: &str) -> Fail {
    Fail::new(Code::Limit, format!("too many messages wait for {name}"))
}

pub(super) fn none() -> Fail {
    Fail::new(Code::NotFound, "no such message")
}
