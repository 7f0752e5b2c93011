//! Offline messages: made by INIT, grown by APPEND, and from SEND on their recipients'.

#![allow(unused_variables)]

use rusqlite::Connection;

use super::Caller;
use super::Piece;
use super::Placed;
use crate::wire::Fail;

/// What a client calls a message: 128 random bits.
pub type MessageId = [u8; 16];

/// One line of LISTOFFLINEMESSAGES, and what OFFLINEMESSAGEAVAILABLE tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// The sender's name as registered.
    pub sender: String,
    /// Bytes.
    pub size: u64,
    /// When it was sent, in Unix ms.
    pub sent: u64,
}

/// A message that was sent: what to tell, and whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// What to tell.
    pub message: Message,
    /// The accounts of its recipients.
    pub recipients: Vec<u64>,
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
    Err(Fail::internal("not built yet"))
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
    Err(Fail::internal("not built yet"))
}

/// Whether [`append`] of `length` bytes would be refused as things stand.
pub fn check_append(db: &Connection, caller: &Caller, id: &MessageId, length: u64) -> Result<(), Fail> {
    Err(Fail::internal("not built yet"))
}

/// Store lane. Sends a message. NOTFOUND: not the caller's, or sent; LIMIT: a recipient's inbox is full; REFUSED: all
/// recipients are gone.
pub fn send(db: &Connection, caller: &Caller, id: &MessageId, now: u64) -> Result<Sent, Fail> {
    Err(Fail::internal("not built yet"))
}

/// The messages that wait for the caller, oldest first.
pub fn list(db: &Connection, caller: &Caller) -> Result<Vec<Message>, Fail> {
    Err(Fail::internal("not built yet"))
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
    Err(Fail::internal("not built yet"))
}

/// Store lane. Deletes a message for the caller; when the last recipient does, or the sender before it is sent, it is
/// gone. NOTFOUND.
pub fn delete(db: &Connection, caller: &Caller, id: &MessageId) -> Result<(), Fail> {
    Err(Fail::internal("not built yet"))
}
