//! The bytes of files.

use rusqlite::params;
use rusqlite::Connection;

use super::accounts;
use super::args::Path;
use super::args::READ;
use super::args::WRITE;
use super::objects;
use super::objects::Growth;
use super::prepare;
use super::rights;
use super::sql;
use super::workspaces;
use super::Caller;
use super::Hash;
use super::Piece;
use super::Placed;
use super::Posted;
use crate::wire::Code;
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
    let way = rights::follow(db, caller, path)?;
    let file = way.file(db, caller, WRITE)?;
    let object = objects::known(db, file.id)?;
    let Some(placed) = placed else {
        return objects::check_write(&object, offset, 0).map(|_| Vec::new());
    };
    let growth = objects::write(db, &object, offset, placed, now)?;
    accounts::charge(db, way.payer(), growth)?;
    workspaces::post_written(db, caller, &way.base, file.id, path, now)
}

/// Whether [`write`] of `length` bytes would be refused as things stand: to refuse it before its block is put. The
/// same FAILs.
pub fn check_write(db: &Connection, caller: &Caller, path: &Path, offset: u64, length: u64) -> Result<(), Fail> {
    let way = rights::follow(db, caller, path)?;
    let file = way.file(db, caller, WRITE)?;
    let object = objects::known(db, file.id)?;
    let size = objects::check_write(&object, offset, length)?;
    match size > object.size {
        true => accounts::check_charge(db, way.payer(), Growth { bytes: sql(size - object.size), items: 1 }),
        false => Ok(()),
    }
}

/// What to read: the pieces of at most `length` bytes from `offset`, in order; shorter at the end. Needs r. BADARGS
/// beyond the end.
pub fn plan_read(db: &Connection, caller: &Caller, path: &Path, offset: u64, length: u64) -> Result<Vec<Piece>, Fail> {
    let file = rights::follow(db, caller, path)?.file(db, caller, READ)?;
    objects::plan(db, &objects::known(db, file.id)?, offset, length)
}

/// Store lane. Cuts a file off; needs w. BADARGS when it is shorter.
pub fn truncate(db: &Connection, caller: &Caller, path: &Path, size: u64, now: u64) -> Result<Vec<Posted>, Fail> {
    let way = rights::follow(db, caller, path)?;
    let file = way.file(db, caller, WRITE)?;
    let object = objects::known(db, file.id)?;
    let growth = objects::truncate(db, &object, size, now)?;
    if size == object.size {
        return Ok(Vec::new());
    }
    accounts::charge(db, way.payer(), growth)?;
    workspaces::post_file(db, caller, &way.base, "truncated", &[path], now)
}

/// Pieces of an object from `offset`, at most `length` bytes, as long as it has `version`: to compute its hash.
/// NOTFOUND: it changed, or is gone.
pub fn hash_plan(db: &Connection, object: u64, version: u64, offset: u64, length: u64) -> Result<Vec<Piece>, Fail> {
    let found = objects::get(db, sql(object))?.filter(|object| object.version == version);
    objects::plan(db, &found.ok_or_else(|| Fail::new(Code::NotFound, "it has changed"))?, offset, length)
}

/// Store lane. Remembers the hash of an object, if it still has `version`: whether.
pub fn set_hash(db: &Connection, object: u64, version: u64, hash: &Hash) -> Result<bool, Fail> {
    prepare(db, "UPDATE objects SET hash = ?3 WHERE id = ?1 AND version = ?2")?
        .execute(params![sql(object), sql(version), hash.0])
        .map(|changed| changed == 1)
        .map_err(Fail::internal)
}
