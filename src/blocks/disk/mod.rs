//! Blocks in segment files of up to 64 MiB that are only appended to, and an index of them.
//!
//! - A put appends all its blocks, syncs the file once, then tells the index. Only one put writes at a time; readers wait for
//!   nobody: each has a connection of its own to the index and reads a block with one call.
//! - A delete tells the index, synced, then marks the records in place and gives the pages of large ones back.
//! - `tend` copies what lives out of segments that are mostly dead, and removes them (`compact`).
//! - While somebody holds the store (`snapshot`), nothing is deleted and no segment removed.
//! - At the start, what the index does not know of the segments is read (`recover`): after a crash the end of the last one, after a
//!   loss of the index all of them.
//!
//! Memory: a page cache of 8 MiB, 1 MiB for each thread that reads at the same time, some 100 bytes per segment. Nothing per block.

mod compact;
mod folder;
mod index;
mod recover;
pub mod snapshot;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use rusqlite::Connection;

use super::record::Header;
use super::record::Key;
use super::record::Kind;
use super::BlockStore;
use super::Error;
use super::Hash;
use super::Listed;
use super::Stored;
use super::Usage;
use folder::Folder;
use index::Entry;
use index::Index;

/// A segment is left for the next one when it is so long, in bytes; with a small capacity, earlier.
const SEGMENT: u64 = 64 << 20;
/// A block that was deleted gives its pages back at once if they are so many bytes; a segment of smaller ones is compacted.
const HOLE: u64 = 32 << 10;
/// Connections that are kept for readers.
const READERS: usize = 8;
/// How often a block is looked up anew when it was moved while it was read.
const LOOKS: usize = 8;

/// Blocks in files of one folder.
pub struct Disk {
    folder: Folder,
    key: Key,
    capacity: u64,
    /// A segment is left when it is so long.
    segment: u64,
    writer: Mutex<Writer>,
    /// Locked after `writer`, if both are.
    index: Mutex<Index>,
    readers: Mutex<Vec<Connection>>,
    used: AtomicU64,
    blocks: AtomicU64,
    /// Whether the file system gives pages back.
    punches: AtomicBool,
    passing: snapshot::Passing,
}

/// What appends.
struct Writer {
    /// The segment that is written to.
    active: Option<Active>,
    next_seq: u64,
    next_segment: u32,
    compaction: Option<compact::Compaction>,
    /// Segments whose compaction failed, left alone until all others are done.
    stuck: BTreeSet<u32>,
}

struct Active {
    id: u32,
    file: Arc<File>,
    /// All that is indexed, and the place of the next record.
    length: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change of what is behind these locks is whole, or in a transaction of SQLite.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn said(what: impl std::fmt::Display) -> Error {
    Error::Io(what.to_string())
}

impl Disk {
    /// Opens the store in `folder`, made if it is not there, that may use `capacity` bytes (the index not counted, some hundred
    /// bytes per block). Reads what the index does not know; all, if it is lost.
    ///
    /// # Errors
    /// In words, also when another process has it open.
    pub fn open(folder: &Path, capacity: u64) -> Result<Disk, String> {
        Disk::with_segments(folder, capacity, (capacity / 16).clamp(1 << 20, SEGMENT))
    }

    /// As `open`, with segments of another length.
    fn with_segments(path: &Path, capacity: u64, segment: u64) -> Result<Disk, String> {
        let folder = Folder::open(path)?;
        let (index, key, writer) = recover::recover(&folder, segment)?;
        let disk = Disk {
            folder,
            key,
            capacity,
            segment,
            writer: Mutex::new(writer),
            index: Mutex::new(index),
            readers: Mutex::new(Vec::new()),
            used: AtomicU64::new(0),
            blocks: AtomicU64::new(0),
            punches: AtomicBool::new(true),
            passing: snapshot::Passing::default(),
        };
        disk.count(&lock(&disk.index));
        Ok(disk)
    }

    /// Counts anew what is used.
    fn count(&self, index: &Index) {
        let segments = index.segments().values();
        let (used, blocks) = segments.fold((0_u64, 0_u64), |(used, blocks), segment| {
            (used.saturating_add(segment.taken()), blocks.saturating_add(segment.blocks))
        });
        self.used.store(used, Ordering::Relaxed);
        self.blocks.store(blocks, Ordering::Relaxed);
    }

    /// Reads the index beside those who write it.
    fn reading<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let kept = lock(&self.readers).pop();
        let connection = match kept {
            Some(connection) => connection,
            None => index::reader(self.folder.path()).map_err(Error::Io)?,
        };
        let answer = read(&connection).map_err(|error| said(format_args!("the index of blocks: {error}")))?;
        let mut readers = lock(&self.readers);
        if readers.len() < READERS {
            readers.push(connection);
        }
        Ok(answer)
    }

    /// The bytes of the block of that entry; none: its record does not stand there whole.
    fn read(&self, entry: &Entry) -> Result<Option<Vec<u8>>, Error> {
        let fail = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Ok(None),
            // EIO: the disk cannot read it any more.
            _ if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Ok(None),
            _ => Err(said(format_args!("segment {}: {error}", entry.spot.segment))),
        };
        let file = match self.folder.file(entry.spot.segment) {
            Ok(file) => file,
            Err(error) => return fail(error),
        };
        let (header, data) = match folder::read(&file, entry.spot.offset, entry.length as usize) {
            Ok(Some(read)) => read,
            Ok(None) => return Ok(None),
            Err(error) => return fail(error),
        };
        let good = Header::decode(&header, &self.key, entry.spot).is_some_and(|header| {
            header.kind == Kind::Block && header.hash == entry.hash && header.length == entry.length
        });
        Ok((good && Hash::of(&data) == entry.hash).then_some(data))
    }

    /// Marks the records of blocks that were deleted, and gives large ones back. The index does not name them any more, so this
    /// may fail, or be cut off, without harm.
    fn mark(&self, deleted: &[Entry]) {
        for entry in deleted {
            let Ok(file) = self.folder.file(entry.spot.segment) else { continue };
            let gone = Header { kind: Kind::Gone, length: entry.length, seq: entry.seq, hash: entry.hash };
            let bytes = gone.encode(&self.key, entry.spot);
            let marked = folder::write(&file, entry.spot.offset, &mut [io::IoSlice::new(&bytes)]);
            if let Err(error) = marked {
                log::warn!("segment {}: marking a deleted block: {error}", entry.spot.segment);
            }
            let hole = folder::hole(entry.spot.offset, entry.length);
            if self.punched(entry) > 0 {
                if let Err(error) = folder::punch(&file, hole) {
                    self.punches.store(false, Ordering::Relaxed);
                    log::warn!("giving back the pages of a deleted block: {error}; space comes back more slowly");
                }
            }
        }
    }

    /// How many bytes are given back at once when that block is deleted.
    fn punched(&self, entry: &Entry) -> u64 {
        let (_, length) = folder::hole(entry.spot.offset, entry.length);
        if length >= HOLE && self.punches.load(Ordering::Relaxed) {
            length
        } else {
            0
        }
    }
}

impl BlockStore for Disk {
    fn put_named(&self, blocks: &[(Hash, &[u8])]) -> Vec<Result<Stored, Error>> {
        self.write(blocks)
    }

    fn get(&self, hash: &Hash) -> Result<Vec<u8>, Error> {
        let mut before = None;
        for _ in 0..LOOKS {
            let Some(entry) = self.reading(|connection| index::find(connection, hash))? else {
                return Err(Error::NotFound);
            };
            if let Some(data) = self.read(&entry)? {
                return Ok(data);
            }
            // It may have been moved, or deleted, since it was looked up.
            if before == Some(entry.spot) {
                return Err(Error::Rotten);
            }
            before = Some(entry.spot);
        }
        Err(said("a block was moved each time it was read"))
    }

    fn delete(&self, blocks: &[(Hash, u64)]) -> Result<Vec<Hash>, Error> {
        let _passing = self.passing.pass(self.folder.path())?;
        let mut index = lock(&self.index);
        let (gone, deleted) = index.delete(blocks, |entry| self.punched(entry)).map_err(Error::Io)?;
        self.count(&index);
        drop(index);
        self.mark(&deleted);
        Ok(gone)
    }

    fn list(&self, after: Option<&Hash>, count: usize) -> Result<Vec<Listed>, Error> {
        self.reading(|connection| index::list(connection, after, count))
    }

    fn usage(&self) -> Usage {
        Usage {
            capacity: self.capacity,
            used: self.used.load(Ordering::Relaxed),
            blocks: self.blocks.load(Ordering::Relaxed),
        }
    }

    fn tend(&self) -> Result<bool, Error> {
        match self.passing.pass(self.folder.path()) {
            Ok(_passing) => self.compact(),
            // Called again in a while.
            Err(Error::Held) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
