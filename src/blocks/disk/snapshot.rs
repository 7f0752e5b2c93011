//! Copying a store that is in use: from another process, as segments are only appended to, once nothing is deleted any more.
//!
//! A file of the folder is locked for that: shared by each step that deletes, for as long as the step takes, and alone by who
//! copies. The system gives the lock back when its process ends, however it ends.

use std::fs;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use super::folder;
use super::index;
use super::said;
use super::Error;
use crate::engine::database::Snapshot;
use crate::engine::files;

/// The file that is locked.
const HOLD_FILE: &str = "hold";
/// How long steps that delete are waited for, or another who holds the store.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the store may be held: what is deleted meanwhile takes space.
const LONGEST: Duration = Duration::from_secs(6 * 3_600);
/// Bytes that are copied at once, and left out if they are all zeros.
const PIECE: usize = 64 << 10;

/// What a step that deletes goes through.
#[derive(Default)]
pub(super) struct Passing {
    /// It was told that the store is held.
    told: AtomicBool,
}

impl Passing {
    /// Keeps others from holding the store for as long as the answer lives.
    pub(super) fn pass(&self, folder: &Path) -> Result<File, Error> {
        // A file of its own each time: locks of one open file would be given back together.
        let file = hold_file(folder).map_err(said)?;
        match file.try_lock_shared() {
            Ok(()) => {
                if self.told.swap(false, Ordering::Relaxed) {
                    log::info!("{}: the backup has ended; blocks are deleted again", folder.display());
                }
                Ok(file)
            }
            Err(fs::TryLockError::WouldBlock) => {
                if !self.told.swap(true, Ordering::Relaxed) {
                    log::info!("{}: a backup is being made; no block is deleted until it has ended", folder.display());
                }
                Err(Error::Held)
            }
            Err(fs::TryLockError::Error(error)) => Err(said(error)),
        }
    }
}

fn hold_file(folder: &Path) -> Result<File, String> {
    let path = folder.join(HOLD_FILE);
    let open = || {
        files::create_private(&path)?;
        File::open(&path)
    };
    open().map_err(|error| format!("{}: {error}", path.display()))
}

/// As long as it lives, all blocks of a store stay, and what is put comes behind.
pub struct Hold {
    folder: PathBuf,
    until: Instant,
    /// Locked.
    _file: File,
}

/// A segment to be copied.
struct Part {
    name: String,
    /// Bytes that the index knows.
    length: u64,
}

impl Hold {
    /// Holds the store in `folder`, whoever has it open.
    ///
    /// # Errors
    /// In words: somebody else holds it, and does not end within 30 s.
    pub fn take(folder: &Path) -> Result<Hold, String> {
        let file = hold_file(folder)?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(fs::TryLockError::WouldBlock) if began.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(fs::TryLockError::WouldBlock) => {
                    return Err(format!("{}: another backup of these blocks is being made", folder.display()))
                }
                Err(fs::TryLockError::Error(error)) => return Err(format!("{}: {error}", folder.display())),
            }
        }
        // The clock of the system, which does not stand while this process does.
        let until = Instant::now().checked_add(LONGEST).unwrap_or(began);
        Ok(Hold { folder: folder.to_owned(), until, _file: file })
    }

    /// Takes the index as it is now, and says how many bytes there are to copy.
    ///
    /// # Errors
    /// In words.
    pub fn begin(&self) -> Result<Copying<'_>, String> {
        let index = Snapshot::begin(&self.folder.join(index::FILE))?;
        let part = |(id, length): (u32, u64)| Part { name: folder::segment_name(id), length };
        let parts: Vec<Part> = index.read(index::lengths)?.into_iter().map(part).collect();
        let bytes = parts.iter().fold(index.size()?, |sum, part| sum.saturating_add(part.length));
        Ok(Copying { hold: self, index, parts, bytes })
    }
}

/// A store that is about to be copied.
pub struct Copying<'a> {
    hold: &'a Hold,
    index: Snapshot,
    parts: Vec<Part>,
    bytes: u64,
}

impl Copying<'_> {
    /// Bytes to be copied, with holes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Copies the store to the folder `to`, which is there and empty; durable on return. `moved` is told of the bytes.
    ///
    /// # Errors
    /// In words; half a store is left then.
    pub fn copy(&self, to: &Path, moved: &dyn Fn(u64)) -> Result<(), String> {
        let in_time = |bytes: u64| {
            moved(bytes);
            match Instant::now() < self.hold.until {
                true => Ok(()),
                false => Err(format!("the blocks were not copied within {} hours", LONGEST.as_secs() / 3_600)),
            }
        };
        self.index.copy(&to.join(index::FILE), &in_time)?;
        let from = &self.hold.folder;
        let key = fs::read(from.join(folder::KEY_FILE))
            .and_then(|key| files::create(&to.join(folder::KEY_FILE), &key, 0o600));
        key.map_err(|error| format!("{}: {error}", from.join(folder::KEY_FILE).display()))?;
        for part in &self.parts {
            copy(&from.join(&part.name), &to.join(&part.name), part.length, &in_time)?;
        }
        File::open(to).and_then(|to| to.sync_all()).map_err(|error| format!("{}: {error}", to.display()))
    }
}

/// Copies the first `length` bytes of a file (a shorter one whole), with its holes.
fn copy(from: &Path, to: &Path, length: u64, moved: &dyn Fn(u64) -> Result<(), String>) -> Result<(), String> {
    let fail = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    let source = File::open(from).map_err(|error| fail(from, error))?;
    let target = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    let target = target.map_err(|error| fail(to, error))?;
    let (mut piece, mut at) = (vec![0; PIECE], 0_u64);
    while at < length {
        let wanted = usize::try_from(length.saturating_sub(at)).unwrap_or(PIECE).min(PIECE);
        let piece = piece.get_mut(..wanted).unwrap_or_default();
        let read = match source.read_at(piece, at) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(fail(from, error)),
        };
        let bytes = piece.get(..read).unwrap_or_default();
        if bytes.iter().any(|byte| *byte != 0) {
            target.write_all_at(bytes, at).map_err(|error| fail(to, error))?;
        }
        at = at.saturating_add(read as u64);
        moved(read as u64)?;
    }
    target.set_len(at).and_then(|()| target.sync_all()).map_err(|error| fail(to, error))
}
