//! Workspaces: a folder of several, and an ordered list of changes.
//!
//! NOTFOUND: no such workspace, or the caller is no participant of it.

#![allow(unused_variables)]

use rusqlite::Connection;

use super::Caller;
use super::Piece;
use super::Placed;
use super::Posted;
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
    Err(Fail::internal("not built yet"))
}

/// Store lane. Posts a change. QUOTA (the author's), LIMIT: [`MAX_CHANGES`].
pub fn post(db: &Connection, caller: &Caller, name: &str, body: Body<'_>, now: u64) -> Result<Posted, Fail> {
    Err(Fail::internal("not built yet"))
}

/// Whether [`post`] of `length` bytes would be refused as things stand.
pub fn check_post(db: &Connection, caller: &Caller, name: &str, length: u64) -> Result<(), Fail> {
    Err(Fail::internal("not built yet"))
}

/// Changes after `after`, in order, at most `count` and at most 1 MiB of bodies (but one, if there is one).
pub fn read(db: &Connection, caller: &Caller, name: &str, after: u64, count: u64) -> Result<Vec<Change>, Fail> {
    Err(Fail::internal("not built yet"))
}

/// Store lane. The caller has all changes up to `seq`. BADARGS: there is none of that number yet.
pub fn ack(db: &Connection, caller: &Caller, name: &str, seq: u64) -> Result<(), Fail> {
    Err(Fail::internal("not built yet"))
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
    Err(Fail::internal("not built yet"))
}

/// The names of the participants of a workspace, in the order of their accounts.
pub fn participants(db: &Connection, caller: &Caller, name: &str) -> Result<Vec<String>, Fail> {
    Err(Fail::internal("not built yet"))
}

/// The caller's workspaces, by name.
pub fn list(db: &Connection, caller: &Caller) -> Result<Vec<Workspace>, Fail> {
    Err(Fail::internal("not built yet"))
}

/// Store lane. The caller takes part no more; the creator cannot (REFUSED).
pub fn leave(db: &Connection, caller: &Caller, name: &str) -> Result<(), Fail> {
    Err(Fail::internal("not built yet"))
}

/// Store lane. Deletes a workspace with all that is in it; only the creator may (DENIED).
pub fn delete(db: &Connection, caller: &Caller, name: &str, now: u64) -> Result<(), Fail> {
    Err(Fail::internal("not built yet"))
}
