//! Floor 3: what the data management server knows. Names, rights, quotas, objects and where their blocks lie, offline
//! messages, workspaces, metadata: functions on a database connection, pure but for SQLite.
//!
//! What changes something runs in the engine's store lane (a savepoint each, one commit for many); what does not say so
//! only reads, and may run in the query lane. Times (Unix ms) and random ids are arguments. A function that fails may have
//! done half of its work: the caller's savepoint takes it back. A connection is made ready by [`tune`].
//!
//! Whoever asks is a [`Caller`] that [`accounts::welcome`] has seen; all others, and those removed, get DENIED. Users of other realms
//! need no welcome: they have what was shared with them by name, and nothing of their own.

pub mod abroad;
pub mod accounts;
pub mod args;
pub mod copies;
pub mod files;
pub mod hash;
pub mod mail;
pub mod metadata;
pub mod objects;
pub mod rights;
mod schema;
pub mod tend;
pub mod tree;
pub mod workspaces;

pub use hash::Hash;
pub use schema::SCHEMA;
pub use schema::SCHEMA_ABROAD;

use rusqlite::CachedStatement;
use rusqlite::Connection;

use crate::wire::Fail;

/// The most bytes of one block, of one write and of one read.
pub const MAX_BLOCK: u64 = 1 << 20;
/// The most bytes of one object: 15 decimal digits.
pub const MAX_SIZE: u64 = 1 << 49;
/// The most entries of one folder: with the longest names, LISTFOLDER's answer then is just below 1 MiB.
pub const MAX_ENTRIES: u64 = 10_000;
/// The most extents of one object: so long is the longest work of one write or truncation.
pub const MAX_EXTENTS: u64 = 1 << 18;
/// The most rows that an account may cause: entries, extents, messages, changes. Bytes are bounded by its quota, empty files
/// are not.
pub const MAX_ITEMS: u64 = 20_000_000;
/// A quota where nobody has said another, in bytes.
pub const DEFAULT_QUOTA: u64 = 10 << 30;

/// A local account, or a user of another realm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its number at management, never used again; [`FOREIGN`] for a user of another realm.
    pub account: u64,
    /// Its name as registered; `realm::user` of another realm.
    pub name: String,
}

/// Stands for the account of every user of another realm: they have no row here, so nothing that they ask for makes one, and no quota.
/// What tells them apart is the name. No account of management's has this number.
pub const FOREIGN: u64 = i64::MAX as u64;

impl Caller {
    /// A user of another realm.
    pub fn foreign(realm: &str, user: &str) -> Caller {
        Caller { account: FOREIGN, name: format!("{realm}::{user}") }
    }

    /// Whether it is a user of another realm.
    pub fn is_foreign(&self) -> bool {
        self.account == FOREIGN
    }

    /// The realm, and the user's name as it is compared; None: a local account.
    fn abroad(&self) -> Option<(&str, String)> {
        let (realm, user) = self.name.rsplit_once("::").filter(|_| self.is_foreign())?;
        Some((realm, crate::wire::name::fold(user).into_owned()))
    }
}

/// A data server in this database: a small number in place of its name ([`copies::server`]).
pub type ServerNo = u32;

/// A block that was put on data servers and is about to be part of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its name.
    pub hash: Hash,
    /// Its bytes: 1 to [`MAX_BLOCK`].
    pub size: u32,
    /// Where it is, each with the number that the server gave this put.
    pub copies: Vec<(ServerNo, u64)>,
}

/// Bytes of an object: a part of one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The block.
    pub hash: Hash,
    /// The first byte within it.
    pub offset: u32,
    /// How many; never 0.
    pub length: u32,
    /// Who has the block, live or not; none when all copies were lost.
    pub servers: Vec<ServerNo>,
}

/// A change in a workspace, to be told to those participants that are signed on (WORKSPACECHANGED).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// The workspace's name.
    pub workspace: String,
    /// The change's number.
    pub seq: u64,
    /// Its author's name as registered.
    pub author: String,
    /// Its bytes; `None` when they stand in an object: whoever posted them has them.
    pub body: Option<Vec<u8>>,
    /// The accounts of the participants.
    pub tell: Vec<u64>,
}

/// Makes a connection ready, before its first use: room for all statements of this module, and a cache of `cache` bytes.
///
/// # Errors
/// FAIL INTERNAL when SQLite refuses.
pub fn tune(db: &Connection, cache: u64) -> Result<(), Fail> {
    db.set_prepared_statement_cache_capacity(256);
    // Negative: in KiB.
    db.pragma_update(None, "cache_size", -sql(cache >> 10)).map_err(Fail::internal)
}

/// A time, count or size as SQLite keeps it; what does not fit is the greatest that does.
fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A time, count or size from SQLite; we never write a negative one.
fn unsql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// The one place where statements are prepared; the connection keeps them.
fn prepare<'c>(db: &'c Connection, text: &str) -> Result<CachedStatement<'c>, Fail> {
    db.prepare_cached(text).map_err(Fail::internal)
}
