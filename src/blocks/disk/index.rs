//! Where each block stands: a small SQLite database beside the segments, which can be made anew from them.
//!
//! Its commits are not synced (synchronous NORMAL) where the segments have the same news: how far each segment is indexed is in
//! the same commit as what was found there, and what a crash took is found again. Deleting and moving, which the segments cannot tell,
//! is synced. It holds no index in memory: SQLite's page caches are bounded, and there is one small entry per segment.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use rusqlite::params;
use rusqlite::Connection;
use rusqlite::OpenFlags;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::Transaction;

use crate::blocks::record;
use crate::blocks::record::Key;
use crate::blocks::record::Spot;
use crate::blocks::Hash;
use crate::blocks::Listed;
use crate::engine::files;

/// The database in the store's folder.
pub const FILE: &str = "index.db";
const SCHEMA: &str = "
    CREATE TABLE blocks (
        hash BLOB PRIMARY KEY, segment INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
        seq INTEGER NOT NULL, again INTEGER
    ) WITHOUT ROWID;
    CREATE TABLE segments (
        id INTEGER PRIMARY KEY, length INTEGER NOT NULL, live INTEGER NOT NULL, blocks INTEGER NOT NULL, punched INTEGER NOT NULL
    );
    CREATE TABLE pending (hash BLOB NOT NULL, segment INTEGER NOT NULL, seq INTEGER NOT NULL);
    CREATE TABLE store (one INTEGER PRIMARY KEY CHECK (one = 1), key BLOB NOT NULL, next INTEGER NOT NULL);
    PRAGMA user_version = 1;
";
/// KiB of SQLite's page cache: the writer's, and each reader's.
const WRITER_CACHE: i64 = 8 << 10;
const READER_CACHE: i64 = 1 << 10;

/// Where a block stands, and its latest put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub hash: Hash,
    pub spot: Spot,
    pub length: u32,
    pub seq: u64,
    /// The segment of the record that gave it this seq, if that is not the block's own.
    pub again: Option<u32>,
}

/// What is known of a segment, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// How far it is indexed: all that is synced.
    pub length: u64,
    /// Of records that count.
    pub live: u64,
    /// Blocks that stand in it.
    pub blocks: u64,
    /// Given back to the file system.
    pub punched: u64,
}

impl Segment {
    /// What it takes on the disk.
    pub fn taken(&self) -> u64 {
        self.length.saturating_sub(self.punched)
    }
}

/// What a record says.
#[derive(Clone, Copy, Debug)]
pub enum News {
    /// A block stands there, put with this seq.
    Block(Entry),
    /// The block was put again, as that segment tells.
    Again { hash: Hash, segment: u32, seq: u64 },
}

/// The connection that writes.
pub struct Index {
    connection: Connection,
    segments: BTreeMap<u32, Segment>,
    path: PathBuf,
}

/// What a commit changes of segments; taken over when it is done.
struct Changes<'a> {
    before: &'a BTreeMap<u32, Segment>,
    now: BTreeMap<u32, Segment>,
}

impl Changes<'_> {
    fn of(&mut self, segment: u32) -> &mut Segment {
        self.now.entry(segment).or_insert_with(|| self.before.get(&segment).copied().unwrap_or_default())
    }
}

fn words(path: &Path, error: impl std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number of the database that is never negative.
fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|number| u64::try_from(number).unwrap_or(0))
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let spot = Spot { segment: row.get(1)?, offset: unsigned(row, 2)? };
    Ok(Entry { hash: Hash(row.get(0)?), spot, length: row.get(3)?, seq: unsigned(row, 4)?, again: row.get(5)? })
}

/// The entry of a block.
pub fn find(connection: &Connection, hash: &Hash) -> rusqlite::Result<Option<Entry>> {
    let mut query =
        connection.prepare_cached("SELECT hash, segment, offset, length, seq, again FROM blocks WHERE hash = ?1")?;
    query.query_row([hash.0], entry).optional()
}

/// Blocks in the order of their names.
pub fn list(connection: &Connection, after: Option<&Hash>, count: usize) -> rusqlite::Result<Vec<Listed>> {
    let mut query =
        connection.prepare_cached("SELECT hash, length, seq FROM blocks WHERE hash > ?1 ORDER BY hash LIMIT ?2")?;
    // No name is empty, so all come after it.
    let after = after.map(|hash| hash.0.as_slice()).unwrap_or_default();
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let listed = |row: &Row<'_>| Ok(Listed { hash: Hash(row.get(0)?), size: row.get(1)?, seq: unsigned(row, 2)? });
    let found = query.query_map(params![after, count], listed)?;
    found.collect()
}

/// The segments, and how many bytes of each are indexed.
pub fn lengths(connection: &Connection) -> rusqlite::Result<Vec<(u32, u64)>> {
    let mut query = connection.prepare("SELECT id, length FROM segments ORDER BY id")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, unsigned(row, 1)?)))?;
    rows.collect()
}

/// A connection that reads beside the one that writes.
pub fn reader(folder: &Path) -> Result<Connection, String> {
    let path = folder.join(FILE);
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        connection.pragma_update(None, "cache_size", -READER_CACHE)?;
        Ok(connection)
    };
    open().map_err(|error: rusqlite::Error| words(&path, error))
}

/// Removes the database, for it to be made anew.
pub fn remove(folder: &Path) -> Result<(), String> {
    for end in ["", "-wal", "-shm"] {
        let path = folder.join(format!("{FILE}{end}"));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(words(&path, error)),
            _ => (),
        }
    }
    Ok(())
}

impl Index {
    /// Opens the index, or makes an empty one with `key`; the key that it has.
    ///
    /// # Errors
    /// In words: it cannot be read, and is perhaps to be removed.
    pub fn open(folder: &Path, key: &Key) -> Result<(Index, Key), String> {
        let path = folder.join(FILE);
        let mut index = Index { connection: connect(&path)?, segments: BTreeMap::new(), path };
        let key = index.load(key).map_err(|error| words(&index.path, error))?;
        Ok((index, key))
    }

    fn load(&mut self, key: &Key) -> rusqlite::Result<Key> {
        let version: u32 = self.connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version == 0 {
            let transaction = self.connection.transaction()?;
            transaction.execute_batch(SCHEMA)?;
            transaction.execute("INSERT INTO store (one, key, next) VALUES (1, ?1, 1)", [key.0])?;
            transaction.commit()?;
        }
        let key = self.connection.query_row("SELECT key FROM store", [], |row| row.get(0).map(Key))?;
        let mut query = self.connection.prepare("SELECT id, length, live, blocks, punched FROM segments")?;
        let rows = query.query_map([], |row| {
            let at = |column| unsigned(row, column);
            let segment = Segment { length: at(1)?, live: at(2)?, blocks: at(3)?, punched: at(4)? };
            Ok((row.get(0)?, segment))
        })?;
        self.segments = rows.collect::<rusqlite::Result<_>>()?;
        Ok(key)
    }

    /// What is known of each segment.
    pub fn segments(&self) -> &BTreeMap<u32, Segment> {
        &self.segments
    }

    /// The seq of the next put, as far as the index knows.
    pub fn next_seq(&self) -> Result<u64, String> {
        let next = self.connection.query_row("SELECT next FROM store", [], |row| unsigned(row, 0));
        next.map_err(|error| words(&self.path, error))
    }

    /// The entry of a block.
    pub fn find(&self, hash: &Hash) -> Result<Option<Entry>, String> {
        find(&self.connection, hash).map_err(|error| words(&self.path, error))
    }

    /// In one commit: what `work` does, and what it changes of segments. Synced: it reaches the disk before it returns.
    fn change<T>(
        &mut self,
        synced: bool,
        work: impl FnOnce(&Transaction<'_>, &mut Changes<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, String> {
        let mut changes = Changes { before: &self.segments, now: BTreeMap::new() };
        let run = || {
            self.connection.pragma_update(None, "synchronous", if synced { "FULL" } else { "NORMAL" })?;
            let transaction = self.connection.transaction()?;
            let done = work(&transaction, &mut changes)?;
            for (id, segment) in &changes.now {
                transaction
                    .prepare_cached(
                        "INSERT OR REPLACE INTO segments (id, length, live, blocks, punched) VALUES (?1, ?2, ?3, ?4, ?5)",
                    )?
                    .execute(params![
                        id,
                        number(segment.length),
                        number(segment.live),
                        number(segment.blocks),
                        number(segment.punched)
                    ])?;
            }
            transaction.commit()?;
            Ok(done)
        };
        let done = run().map_err(|error: rusqlite::Error| words(&self.path, error))?;
        let mut changed = changes.now;
        self.segments.append(&mut changed);
        Ok(done)
    }

    /// Takes what a put wrote to a segment that is now `length` bytes long. Answers which of the news were of blocks that are
    /// not there (any more): nothing is known of them.
    pub fn put(&mut self, segment: u32, length: u64, news: &[News], next: u64) -> Result<Vec<Hash>, String> {
        self.change(false, |transaction, changes| {
            let mut missing = Vec::new();
            for news in news {
                match news {
                    News::Block(entry) => take_block(transaction, changes, entry)?,
                    News::Again { hash, segment, seq } => {
                        if !take_again(transaction, changes, hash, *segment, *seq)? {
                            missing.push(*hash);
                        }
                    }
                }
            }
            changes.of(segment).length = length;
            set_next(transaction, next)?;
            Ok(missing)
        })
    }

    /// Takes what was found in a segment at the start, up to `length`. What was put again waits for `settle`, as the block may
    /// stand in a segment that is not read yet.
    pub fn found(&mut self, segment: u32, length: u64, news: &[News], next: u64) -> Result<(), String> {
        self.change(false, |transaction, changes| {
            for news in news {
                match news {
                    News::Block(entry) => take_block(transaction, changes, entry)?,
                    News::Again { hash, segment, seq } => {
                        transaction
                            .prepare_cached("INSERT INTO pending (hash, segment, seq) VALUES (?1, ?2, ?3)")?
                            .execute(params![hash.0, segment, number(*seq)])?;
                    }
                }
            }
            changes.of(segment).length = length;
            set_next(transaction, next)
        })
    }

    /// After all segments were read: what was put again. One round of at most 4,096; whether there may be more.
    pub fn settle(&mut self) -> Result<bool, String> {
        self.change(false, |transaction, changes| {
            let mut query = transaction.prepare("SELECT rowid, hash, segment, seq FROM pending LIMIT 4096")?;
            let rows =
                query.query_map([], |row| Ok((row.get(0)?, Hash(row.get(1)?), row.get(2)?, unsigned(row, 3)?)))?;
            let rows: Vec<(i64, Hash, u32, u64)> = rows.collect::<rusqlite::Result<_>>()?;
            for (id, hash, segment, seq) in &rows {
                take_again(transaction, changes, hash, *segment, *seq)?;
                transaction.prepare_cached("DELETE FROM pending WHERE rowid = ?1")?.execute([id])?;
            }
            Ok(!rows.is_empty())
        })
    }

    /// Deletes those whose seq is that one, synced. Answers the names that are not there now, and the entries that were deleted;
    /// of each block in them, `punch` says how many bytes will be given back.
    pub fn delete(
        &mut self,
        blocks: &[(Hash, u64)],
        punch: impl Fn(&Entry) -> u64,
    ) -> Result<(Vec<Hash>, Vec<Entry>), String> {
        self.change(true, |transaction, changes| {
            let (mut gone, mut deleted) = (Vec::new(), Vec::new());
            for (hash, seq) in blocks {
                match find(transaction, hash)? {
                    Some(entry) if entry.seq != *seq => continue,
                    Some(entry) => {
                        forget(transaction, changes, &entry)?;
                        let segment = changes.of(entry.spot.segment);
                        segment.punched = segment.punched.saturating_add(punch(&entry));
                        deleted.push(entry);
                    }
                    None => (),
                }
                gone.push(*hash);
            }
            Ok((gone, deleted))
        })
    }

    /// Blocks were copied: from what the first says to what the second says, synced. `length`: of the segment that was written
    /// to. Answers which copies do not count, as the block was deleted meanwhile.
    pub fn moved(
        &mut self,
        segment: u32,
        length: u64,
        moves: &[(Entry, Entry)],
        next: u64,
    ) -> Result<Vec<Entry>, String> {
        self.change(true, |transaction, changes| {
            let mut late = Vec::new();
            for (from, to) in moves {
                match find(transaction, &from.hash)? {
                    Some(now) if now == *from => {
                        forget(transaction, changes, &now)?;
                        insert(transaction, changes, to)?;
                    }
                    _ => late.push(*to),
                }
            }
            changes.of(segment).length = length;
            set_next(transaction, next)?;
            Ok(late)
        })
    }

    /// Entries that need this segment, at most `count`: the whole index is looked through.
    pub fn of_segment(&self, segment: u32, count: u32) -> Result<Vec<Entry>, String> {
        let run = || {
            let mut query = self.connection.prepare(
                "SELECT hash, segment, offset, length, seq, again FROM blocks WHERE segment = ?1 OR again = ?1 LIMIT ?2",
            )?;
            let rows = query.query_map([segment, count], entry)?;
            rows.collect::<rusqlite::Result<Vec<Entry>>>()
        };
        run().map_err(|error| words(&self.path, error))
    }

    /// Forgets the blocks of a segment that do not end by `length`, as the file is not longer any more. Answers how many.
    pub fn cut(&mut self, segment: u32, length: u64) -> Result<usize, String> {
        self.change(true, |transaction, changes| {
            let mut query = transaction.prepare(
                "SELECT hash, segment, offset, length, seq, again FROM blocks WHERE segment = ?1 AND offset + 64 + length > ?2",
            )?;
            let lost = query.query_map(params![segment, number(length)], entry)?;
            let lost: Vec<Entry> = lost.collect::<rusqlite::Result<_>>()?;
            for entry in &lost {
                forget(transaction, changes, entry)?;
            }
            changes.of(segment).length = length;
            Ok(lost.len())
        })
    }

    /// Forgets a segment that nothing needs.
    pub fn drop_segment(&mut self, segment: u32) -> Result<(), String> {
        self.change(false, |transaction, _| transaction.execute("DELETE FROM segments WHERE id = ?1", [segment]))?;
        self.segments.remove(&segment);
        Ok(())
    }
}

fn connect(path: &Path) -> Result<Connection, String> {
    files::create_private(path).map_err(|error| words(path, error))?;
    let open = || {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "cache_size", -WRITER_CACHE)?;
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(connection)
    };
    open().map_err(|error: rusqlite::Error| words(path, error))
}

fn set_next(transaction: &Transaction<'_>, next: u64) -> rusqlite::Result<()> {
    transaction.prepare_cached("UPDATE store SET next = max(next, ?1)")?.execute([number(next)]).map(|_| ())
}

/// A block's record counts, unless one with a later seq does.
fn take_block(transaction: &Transaction<'_>, changes: &mut Changes<'_>, new: &Entry) -> rusqlite::Result<()> {
    if let Some(old) = find(transaction, &new.hash)? {
        if old.seq >= new.seq {
            return Ok(());
        }
        forget(transaction, changes, &old)?;
    }
    insert(transaction, changes, new)
}

/// A block was put again; false: there is none.
fn take_again(
    transaction: &Transaction<'_>,
    changes: &mut Changes<'_>,
    hash: &Hash,
    segment: u32,
    seq: u64,
) -> rusqlite::Result<bool> {
    let Some(old) = find(transaction, hash)? else { return Ok(false) };
    if old.seq < seq {
        forget(transaction, changes, &old)?;
        insert(transaction, changes, &Entry { seq, again: Some(segment), ..old })?;
    }
    Ok(true)
}

fn insert(transaction: &Transaction<'_>, changes: &mut Changes<'_>, entry: &Entry) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO blocks (hash, segment, offset, length, seq, again) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            entry.hash.0,
            entry.spot.segment,
            number(entry.spot.offset),
            entry.length,
            number(entry.seq),
            entry.again
        ])?;
    let segment = changes.of(entry.spot.segment);
    segment.live = segment.live.saturating_add(record::span(entry.length));
    segment.blocks = segment.blocks.saturating_add(1);
    if let Some(again) = entry.again {
        let segment = changes.of(again);
        segment.live = segment.live.saturating_add(record::span(0));
    }
    Ok(())
}

fn forget(transaction: &Transaction<'_>, changes: &mut Changes<'_>, entry: &Entry) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM blocks WHERE hash = ?1")?.execute([entry.hash.0])?;
    let segment = changes.of(entry.spot.segment);
    segment.live = segment.live.saturating_sub(record::span(entry.length));
    segment.blocks = segment.blocks.saturating_sub(1);
    if let Some(again) = entry.again {
        let segment = changes.of(again);
        segment.live = segment.live.saturating_sub(record::span(0));
    }
    Ok(())
}
