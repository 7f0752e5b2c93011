//! Blocks: where their copies are, which have too few or too many, and what data servers shall delete.

#![allow(unused_variables)]

use rusqlite::Connection;

use super::Hash;
use super::Placed;
use super::ServerNo;
use crate::wire::Fail;

/// The copies that a block needs when none of them is on a server that keeps its data.
pub const VOLATILE_COPIES: usize = 3;

/// A data server that counts as live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Live {
    /// Its number.
    pub server: ServerNo,
    /// It may lose what it has: [`VOLATILE_COPIES`] copies are needed.
    pub volatile: bool,
}

/// Where a walk over blocks goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The place.
    pub place: u64,
    /// The last block.
    pub block: u64,
}

/// A block, and all its copies, live or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copies {
    /// Its name.
    pub hash: Hash,
    /// Its bytes.
    pub size: u32,
    /// Where it is, in order of servers, and the numbers of the puts.
    pub copies: Vec<(ServerNo, u64)>,
}

/// A part of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, C> {
    /// What was found.
    pub rows: Vec<T>,
    /// Where to go on; `None`: that was the end.
    pub next: Option<C>,
}

/// How all blocks are, told from places alone: cheap however many blocks there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Blocks.
    pub blocks: u64,
    /// Their bytes, each block counted once.
    pub bytes: u64,
    /// Blocks with a live copy, but fewer than needed.
    pub short: u64,
    /// Blocks without a live copy.
    pub lost: u64,
    /// Blocks with more live copies than needed.
    pub surplus: u64,
}

/// Store lane. The number of a data server, made at its first use.
pub fn server(db: &Connection, id: &str) -> Result<ServerNo, Fail> {
    Err(Fail::internal("not built yet"))
}

/// All data servers that have a number.
pub fn servers(db: &Connection) -> Result<Vec<(ServerNo, String)>, Fail> {
    Err(Fail::internal("not built yet"))
}

/// Blocks and bytes that a server has copies of.
pub fn held(db: &Connection, server: ServerNo) -> Result<(u64, u64), Fail> {
    Err(Fail::internal("not built yet"))
}

/// How all blocks are. `live`: in order of servers.
pub fn health(db: &Connection, live: &[Live]) -> Result<Health, Fail> {
    Err(Fail::internal("not built yet"))
}

/// Blocks that have a live copy but fewer than needed, behind `after`, at most `count`, and where to go on; `None`:
/// that was the end. What it costs depends on what it returns and the number of places, not on the number of blocks.
pub fn short(db: &Connection, live: &[Live], after: Cursor, count: u64) -> Result<Page<Copies, Cursor>, Fail> {
    Err(Fail::internal("not built yet"))
}

/// Blocks with more live copies than needed, with those that can go as `copies`; otherwise as [`short`].
pub fn surplus(db: &Connection, live: &[Live], after: Cursor, count: u64) -> Result<Page<Copies, Cursor>, Fail> {
    Err(Fail::internal("not built yet"))
}

/// The copies of a server in order of hashes: those behind `after` up to `until` (`None`: all), at most `count`; and
/// where to go on (`None`: that was the end). One call looks at no more than 10 × `count` blocks, so it may return few
/// and go on.
pub fn placements(
    db: &Connection,
    server: ServerNo,
    after: Option<&Hash>,
    until: Option<&Hash>,
    count: u64,
) -> Result<Page<(Hash, u64), Hash>, Fail> {
    Err(Fail::internal("not built yet"))
}

/// A block, if there is one of that name.
pub fn find(db: &Connection, hash: &Hash) -> Result<Option<Copies>, Fail> {
    Err(Fail::internal("not built yet"))
}

/// Store lane. A copy of a block is on a server, too. False: there is no such block any more, and the copy is garbage
/// now.
pub fn add(db: &Connection, hash: &Hash, server: ServerNo, seq: u64) -> Result<bool, Fail> {
    Err(Fail::internal("not built yet"))
}

/// Store lane. A copy is not, or must not be, on a server: its row goes, if it is not of a later put than `seq`, and
/// with `delete` the server is told to delete it. False: there was no such copy.
pub fn drop_copy(db: &Connection, hash: &Hash, server: ServerNo, seq: u64, delete: bool) -> Result<bool, Fail> {
    Err(Fail::internal("not built yet"))
}

/// Store lane. A block was put and is not used: the copies that no row knows become garbage.
pub fn unused(db: &Connection, placed: &Placed) -> Result<(), Fail> {
    Err(Fail::internal("not built yet"))
}

/// Store lane. A server was removed for good: `count` of its copies, and its garbage, go. True: there is more.
pub fn forget(db: &Connection, server: ServerNo, count: u64) -> Result<bool, Fail> {
    Err(Fail::internal("not built yet"))
}

/// What a server shall delete, at most `count`. A block of this name may be on its way again: the caller leaves out
/// those that it is putting there just now.
pub fn garbage(db: &Connection, server: ServerNo, count: u64) -> Result<Vec<(Hash, u64)>, Fail> {
    Err(Fail::internal("not built yet"))
}

/// Store lane. A server has deleted these, or has them only of a later put.
pub fn garbage_gone(db: &Connection, server: ServerNo, gone: &[(Hash, u64)]) -> Result<(), Fail> {
    Err(Fail::internal("not built yet"))
}
