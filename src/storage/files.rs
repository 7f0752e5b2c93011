//! The bytes of files.

#![allow(unused_variables)]

use rusqlite::Connection;

use super::args::Path;
use super::Caller;
use super::Hash;
use super::Piece;
use super::Placed;
use super::Posted;
use crate::wire::Fail;

/// Store lane. Writes a block (`None`: no bytes) at `offset`; needs w. BADARGS beyond the end; QUOTA; LIMIT:
/// [`super::MAX_EXTENTS`]. On failure the block is the caller's, who makes it garbage ([`super::copies::unused`]).
pub fn write(
    db: &Connection,
    caller: &Caller,
    path: &Path,
    offset: u64,
    placed: Option<&Placed>,
    now: u64,
) -> Result<Vec<Posted>, Fail> {
    Err(Fail::internal("not built yet"))
}

/// Whether [`write`] of `length` bytes would be refused as things stand: to refuse it before its block is put. The
/// same FAILs.
pub fn check_write(db: &Connection, caller: &Caller, path: &Path, offset: u64, length: u64) -> Result<(), Fail> {
    Err(Fail::internal("not built yet"))
}

/// What to read: the pieces of at most `length` bytes from `offset`, in order; shorter at the end. Needs r. BADARGS
/// beyond the end.
pub fn plan_read(db: &Connection, caller: &Caller, path: &Path, offset: u64, length: u64) -> Result<Vec<Piece>, Fail> {
    Err(Fail::internal("not built yet"))
}

/// Store lane. Cuts a file off; needs w. BADARGS when it is shorter.
pub fn truncate(db: &Connection, caller: &Caller, path: &Path, size: u64, now: u64) -> Result<Vec<Posted>, Fail> {
    Err(Fail::internal("not built yet"))
}

/// Pieces of an object from `offset`, at most `length` bytes, as long as it has `version`: to compute its hash.
/// NOTFOUND: it changed, or is gone.
pub fn hash_plan(db: &Connection, object: u64, version: u64, offset: u64, length: u64) -> Result<Vec<Piece>, Fail> {
    Err(Fail::internal("not built yet"))
}

/// Store lane. Remembers the hash of an object, if it still has `version`: whether.
pub fn set_hash(db: &Connection, object: u64, version: u64, hash: &Hash) -> Result<bool, Fail> {
    Err(Fail::internal("not built yet"))
}
