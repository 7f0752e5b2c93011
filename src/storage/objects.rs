//! Objects: bytes, as extents of blocks. Extents follow each other without holes; a write puts a new one and cuts those
//! that it covers. What is deleted at once is bounded; the rest waits in the trash.

use rusqlite::params;
use rusqlite::Connection;
use rusqlite::OptionalExtension;

use super::copies;
use super::prepare;
use super::sql;
use super::unsql;
use super::Hash;
use super::Piece;
use super::Placed;
use super::MAX_EXTENTS;
use super::MAX_SIZE;
use crate::wire::Code;
use crate::wire::Fail;

/// Extents that are deleted together with their object; with more it goes to the trash.
const AT_ONCE: u64 = 64;

/// What a row of `objects` says about bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object {
    pub id: i64,
    pub size: u64,
    pub extents: u64,
    pub version: u64,
}

/// How a change of an object changes what its payer pays for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Growth {
    pub bytes: i64,
    pub items: i64,
}

struct Extent {
    at: u64,
    length: u64,
    block: i64,
    skip: u64,
}

/// A new, empty object, or a folder: its id.
pub(super) fn create(db: &Connection, owner: u64, now: u64) -> Result<i64, Fail> {
    let text = "INSERT INTO objects (size, extents, version, created, modified, owner) VALUES (0, 0, 0, ?1, ?1, ?2)";
    prepare(db, text)?.execute([sql(now), sql(owner)]).map_err(Fail::internal)?;
    Ok(db.last_insert_rowid())
}

pub(super) fn get(db: &Connection, id: i64) -> Result<Option<Object>, Fail> {
    prepare(db, "SELECT size, extents, version FROM objects WHERE id = ?1")?
        .query_row([id], |row| {
            let (size, extents, version) = (unsql(row.get(0)?), unsql(row.get(1)?), unsql(row.get(2)?));
            Ok(Object { id, size, extents, version })
        })
        .optional()
        .map_err(Fail::internal)
}

/// One that a row of ours names.
pub(super) fn known(db: &Connection, id: i64) -> Result<Object, Fail> {
    get(db, id)?.ok_or_else(|| Fail::internal("a row names an object that is not there"))
}

/// Whether `length` bytes may be written at `offset`: the object's size then.
pub(super) fn check_write(object: &Object, offset: u64, length: u64) -> Result<u64, Fail> {
    if offset > object.size {
        return Err(Fail::bad_args("a write begins at most at the end"));
    }
    let size = object.size.max(offset.saturating_add(length));
    if size > MAX_SIZE {
        return Err(Fail::bad_args("too large"));
    }
    // A write within one extent makes three of it.
    if object.extents + 2 > MAX_EXTENTS {
        return Err(Fail::new(Code::Limit, "this was written in too many small pieces"));
    }
    Ok(size)
}

/// Writes a block at `offset`.
pub(super) fn write(db: &Connection, object: &Object, offset: u64, placed: &Placed, now: u64) -> Result<Growth, Fail> {
    let length = u64::from(placed.size);
    if length == 0 || length > super::MAX_BLOCK || placed.copies.is_empty() {
        return Err(Fail::internal("a block has 1 byte to 1 MiB, and a copy"));
    }
    let size = check_write(object, offset, length)?;
    // The new block first: what is cut may be of the same block, whose row must stay.
    let block = copies::refer(db, placed)?;
    let cut = if offset < object.size { cut(db, object.id, offset, offset + length)? } else { 0 };
    insert(db, object.id, &Extent { at: offset, length, block, skip: 0 })?;
    let items = cut + 1;
    update(db, object, size, items, now)?;
    Ok(Growth { bytes: sql(size) - sql(object.size), items })
}

/// Cuts an object off at `size`.
pub(super) fn truncate(db: &Connection, object: &Object, size: u64, now: u64) -> Result<Growth, Fail> {
    if size > object.size {
        return Err(Fail::bad_args("it is shorter than that"));
    }
    if size == object.size {
        return Ok(Growth::default());
    }
    let items = cut(db, object.id, size, object.size)?;
    update(db, object, size, items, now)?;
    Ok(Growth { bytes: sql(size) - sql(object.size), items })
}

/// The pieces of at most `length` bytes from `offset`.
pub(super) fn plan(db: &Connection, object: &Object, offset: u64, length: u64) -> Result<Vec<Piece>, Fail> {
    if offset > object.size {
        return Err(Fail::bad_args("a read begins at most at the end"));
    }
    let end = object.size.min(offset.saturating_add(length));
    if offset == end {
        return Ok(Vec::new());
    }
    let text = "SELECT e.at, e.length, e.skip, b.hash, p.servers FROM extents e
                JOIN blocks b ON b.id = e.block JOIN places p ON p.id = b.place
                WHERE e.object = ?1 AND e.at < ?3
                  AND e.at >= (SELECT at FROM extents WHERE object = ?1 AND at <= ?2 ORDER BY at DESC LIMIT 1)
                ORDER BY e.at";
    prepare(db, text)?
        .query_map([object.id, sql(offset), sql(end)], |row| {
            let (at, has, skip) = (unsql(row.get(0)?), unsql(row.get(1)?), unsql(row.get(2)?));
            let (from, to) = (at.max(offset), (at + has).min(end));
            Ok(Piece {
                hash: Hash(row.get(3)?),
                offset: u32::try_from(skip + from - at).unwrap_or(u32::MAX),
                length: u32::try_from(to.saturating_sub(from)).unwrap_or(u32::MAX),
                servers: copies::servers_of(row.get_ref(4)?.as_blob()?),
            })
        })
        .and_then(Iterator::collect)
        .map_err(Fail::internal)
}

/// Deletes an object that nothing names any more; a long one goes to the trash, and is unseen from now on.
pub(super) fn discard(db: &Connection, object: &Object) -> Result<(), Fail> {
    if object.extents > AT_ONCE {
        return trash(db, object.id, false, 0);
    }
    drop_extents(db, object.id, AT_ONCE)?;
    forget(db, object.id)
}

/// What is left of it will be deleted in steps. `payer` pays for what is in a folder as long as it is there.
pub(super) fn trash(db: &Connection, id: i64, folder: bool, payer: i64) -> Result<(), Fail> {
    let text = "INSERT INTO trash (object, folder, payer) VALUES (?1, ?2, ?3)";
    prepare(db, text)?.execute(params![id, folder, payer]).map(drop).map_err(Fail::internal)
}

/// Deletes the row of an object without extents or entries.
pub(super) fn forget(db: &Connection, id: i64) -> Result<(), Fail> {
    prepare(db, "DELETE FROM objects WHERE id = ?1")?.execute([id]).map(drop).map_err(Fail::internal)
}

/// Deletes extents of an object, at most `count`: how many.
pub(super) fn drop_extents(db: &Connection, id: i64, count: u64) -> Result<u64, Fail> {
    let blocks: Vec<(i64, i64)> = prepare(db, "SELECT at, block FROM extents WHERE object = ?1 ORDER BY at LIMIT ?2")?
        .query_map([id, sql(count)], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect)
        .map_err(Fail::internal)?;
    for (at, block) in &blocks {
        delete(db, id, *at)?;
        copies::release(db, *block)?;
    }
    Ok(blocks.len() as u64)
}

/// The fewest of `live` (in order) that have any block of an object; `None` for an empty one.
pub(super) fn fewest_copies(db: &Connection, id: i64, live: &[super::ServerNo]) -> Result<Option<u64>, Fail> {
    let text =
        "SELECT DISTINCT p.servers FROM extents e JOIN blocks b ON b.id = e.block JOIN places p ON p.id = b.place
                WHERE e.object = ?1";
    let mut statement = prepare(db, text)?;
    let mut rows = statement.query([id]).map_err(Fail::internal)?;
    let mut fewest = None;
    while let Some(row) = rows.next().map_err(Fail::internal)? {
        let servers: Vec<u8> = row.get(0).map_err(Fail::internal)?;
        let up = copies::servers_of(&servers).iter().filter(|no| live.binary_search(no).is_ok()).count() as u64;
        fewest = Some(fewest.map_or(up, |fewest: u64| fewest.min(up)));
    }
    Ok(fewest)
}

/// The hash of an object, when a row has it.
pub(super) fn hash(db: &Connection, object: &Object) -> Result<Option<Hash>, Fail> {
    if object.extents == 1 {
        let text = "SELECT b.hash FROM extents e JOIN blocks b ON b.id = e.block
                    WHERE e.object = ?1 AND e.skip = 0 AND e.length = b.size";
        let whole: Option<[u8; 32]> =
            prepare(db, text)?.query_row([object.id], |row| row.get(0)).optional().map_err(Fail::internal)?;
        if whole.is_some() {
            return Ok(whole.map(Hash));
        }
    }
    let text = "SELECT hash FROM objects WHERE id = ?1";
    let hash: Option<[u8; 32]> = prepare(db, text)?.query_row([object.id], |row| row.get(0)).map_err(Fail::internal)?;
    Ok(hash.map(Hash))
}

/// Takes `from..to` out of the extents; what sticks out of it stays. How many extents more (or fewer) there are.
fn cut(db: &Connection, id: i64, from: u64, to: u64) -> Result<i64, Fail> {
    let text = "SELECT at, length, block, skip FROM extents WHERE object = ?1 AND at < ?3
                  AND at >= (SELECT at FROM extents WHERE object = ?1 AND at <= ?2 ORDER BY at DESC LIMIT 1)";
    let covered: Vec<Extent> = prepare(db, text)?
        .query_map([id, sql(from), sql(to)], |row| {
            let (at, length, skip) = (unsql(row.get(0)?), unsql(row.get(1)?), unsql(row.get(3)?));
            Ok(Extent { at, length, block: row.get(2)?, skip })
        })
        .and_then(Iterator::collect)
        .map_err(Fail::internal)?;
    let mut more = 0;
    for extent in covered {
        let end = extent.at + extent.length;
        let (before, behind) = (extent.at < from, end > to);
        delete(db, id, sql(extent.at))?;
        if before {
            insert(db, id, &Extent { length: from - extent.at, ..extent })?;
        }
        if behind {
            let gone = to - extent.at;
            insert(db, id, &Extent { at: to, length: end - to, block: extent.block, skip: extent.skip + gone })?;
        }
        match (before, behind) {
            (true, true) => copies::refer_again(db, extent.block)?,
            (false, false) => copies::release(db, extent.block)?,
            _ => {}
        }
        more += i64::from(before) + i64::from(behind) - 1;
    }
    Ok(more)
}

fn insert(db: &Connection, id: i64, extent: &Extent) -> Result<(), Fail> {
    let text = "INSERT INTO extents (object, at, length, block, skip) VALUES (?1, ?2, ?3, ?4, ?5)";
    prepare(db, text)?
        .execute([id, sql(extent.at), sql(extent.length), extent.block, sql(extent.skip)])
        .map(drop)
        .map_err(Fail::internal)
}

fn delete(db: &Connection, id: i64, at: i64) -> Result<(), Fail> {
    prepare(db, "DELETE FROM extents WHERE object = ?1 AND at = ?2")?
        .execute([id, at])
        .map(drop)
        .map_err(Fail::internal)
}

fn update(db: &Connection, object: &Object, size: u64, items: i64, now: u64) -> Result<(), Fail> {
    let text = "UPDATE objects SET size = ?2, extents = extents + ?3, version = version + 1, modified = ?4, hash = NULL
                WHERE id = ?1";
    prepare(db, text)?.execute([object.id, sql(size), items, sql(now)]).map(drop).map_err(Fail::internal)
}
