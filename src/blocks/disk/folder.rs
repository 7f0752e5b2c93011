//! The files of a store: its key, its lock, its segments.

use std::collections::HashMap;
use std::fs;
use std::fs::File;
use std::io;
use std::io::IoSlice;
use std::io::IoSliceMut;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use rustix::buffer::spare_capacity;
use rustix::fs::FallocateFlags;
use rustix::fs::FlockOperation;

use crate::blocks::record::Key;
use crate::blocks::record::Source;
use crate::blocks::record::HEADER;
use crate::engine::files;
use crate::wire::blob::buffer;
use crate::wire::blob::GROWN;
use crate::wire::hex;

/// The file with the key of the store's checks, in hexadecimal.
pub const KEY_FILE: &str = "store.key";
/// Whoever uses the store has it locked.
const LOCK_FILE: &str = "lock";
/// How many segments are kept open, at most.
const OPEN_FILES: usize = 128;
/// How many slices one call writes, at most (IOV_MAX is 1,024).
const SLICES: usize = 512;

/// The folder of a store.
pub struct Folder {
    path: PathBuf,
    open: Mutex<HashMap<u32, Arc<File>>>,
    /// Locked for as long as the store is open.
    lock: File,
}

/// A segment's file, as the scanner reads it.
pub struct Reading<'a>(pub &'a File);

impl Source for Reading<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(read) => done = done.saturating_add(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

impl Folder {
    /// Opens the folder, making it (0700) if there is none, and locks it.
    ///
    /// # Errors
    /// In words: also when another process has it locked.
    pub fn open(path: &Path) -> Result<Folder, String> {
        let fail = |error: io::Error| format!("{}: {error}", path.display());
        files::create_folder(path).map_err(fail)?;
        let lock_path = path.join(LOCK_FILE);
        files::create_private(&lock_path).map_err(fail)?;
        let lock = File::open(&lock_path).map_err(fail)?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| format!("{}: another process uses these blocks ({error})", path.display()))?;
        Ok(Folder { path: path.to_owned(), open: Mutex::new(HashMap::new()), lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key of the checks; none: the file is lost, or there never was one.
    ///
    /// # Errors
    /// In words: the file cannot be read, or holds no key.
    pub fn key(&self) -> Result<Option<Key>, String> {
        let path = self.path.join(KEY_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => match hex::decode_32(text.trim_ascii()) {
                Some(key) => Ok(Some(Key(key))),
                None => Err(format!("{}: holds no key of 64 hexadecimal digits", path.display())),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// Writes the file of the key, durably.
    ///
    /// # Errors
    /// In words.
    pub fn keep_key(&self, key: &Key) -> Result<(), String> {
        let path = self.path.join(KEY_FILE);
        let made = files::create(&path, hex::encode(&key.0).as_bytes(), 0o600);
        made.and_then(|()| self.sync()).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn segment(&self, id: u32) -> PathBuf {
        self.path.join(segment_name(id))
    }

    /// The segments that are there, in order.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn segments(&self) -> io::Result<Vec<u32>> {
        let mut found = Vec::new();
        for file in fs::read_dir(&self.path)? {
            let name = file?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".blocks")).and_then(|id| id.parse().ok());
            // Ours alone: a name that another number would have is someone else's file.
            found.extend(id.filter(|id| self.segment(*id).file_name() == Some(&name)));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// A segment's file, opened at most once for all who use it.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn file(&self, id: u32) -> io::Result<Arc<File>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&id) {
            return Ok(Arc::clone(file));
        }
        // Under the lock: a file that is removed meanwhile is not kept.
        let file = Arc::new(fs::OpenOptions::new().read(true).write(true).open(self.segment(id))?);
        if open.len() >= OPEN_FILES {
            if let Some(any) = open.keys().next().copied() {
                open.remove(&any);
            }
        }
        open.insert(id, Arc::clone(&file));
        Ok(file)
    }

    /// Makes the file (0600) of a new segment; durable on return.
    ///
    /// # Errors
    /// Those of the disk; there is no such file then.
    pub fn create(&self, id: u32, first: &[u8]) -> io::Result<Arc<File>> {
        let path = self.segment(id);
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let write = file.write_all_at(first, 0).and_then(|()| file.sync_all()).and_then(|()| self.sync());
        if let Err(error) = write {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        let file = Arc::new(file);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&file));
        Ok(file)
    }

    /// Removes the file of a segment; who reads it reads on.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn remove(&self, id: u32) -> io::Result<()> {
        match fs::remove_file(self.segment(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => (),
        }
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        self.sync()
    }

    /// Bytes that the disk has left for this user; all, if it does not say.
    pub fn free(&self) -> u64 {
        let said = rustix::fs::fstatvfs(&self.lock);
        said.map_or(u64::MAX, |said| said.f_bavail.saturating_mul(said.f_frsize))
    }

    /// Makes durable which files there are.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

/// What the file of a segment is called.
pub fn segment_name(id: u32) -> String {
    format!("{id:010}.blocks")
}

/// Writes all slices from `offset` on.
///
/// # Errors
/// Those of the disk; some may be written.
pub fn write(file: &File, mut offset: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    let mut slices = slices;
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        let some = slices.get(..slices.len().min(SLICES)).unwrap_or_default();
        match rustix::io::pwritev(file, some, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset = offset.saturating_add(written as u64);
                IoSlice::advance_slices(&mut slices, written);
            }
            Err(rustix::io::Errno::INTR) => (),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads a record: its header and `length` bytes after it. None: the file ends before.
///
/// # Errors
/// Those of the disk.
pub fn read(file: &File, offset: u64, length: usize) -> io::Result<Option<([u8; HEADER], Vec<u8>)>> {
    if length >= GROWN {
        return read_large(file, offset, length);
    }
    let (mut header, mut data) = ([0; HEADER], vec![0; length]);
    let whole = HEADER.saturating_add(length);
    let mut slices = [IoSliceMut::new(&mut header), IoSliceMut::new(&mut data)];
    match rustix::io::preadv(file, &mut slices, offset) {
        Ok(read) if read == whole => Ok(Some((header, data))),
        // Seldom: cut off by a signal, or at the end of the file.
        Ok(_) | Err(rustix::io::Errno::INTR) => {
            let source = Reading(file);
            let head = source.read_at(offset, &mut header)?;
            let rest = source.read_at(offset.saturating_add(HEADER as u64), &mut data)?;
            Ok((head.saturating_add(rest) == whole).then_some((header, data)))
        }
        Err(error) => Err(error.into()),
    }
}

/// The same into a buffer that was used before: two system calls cost less than new memory.
fn read_large(file: &File, offset: u64, length: usize) -> io::Result<Option<([u8; HEADER], Vec<u8>)>> {
    let mut header = [0; HEADER];
    if Reading(file).read_at(offset, &mut header)? < HEADER {
        return Ok(None);
    }
    let (mut data, begin) = (buffer(length), offset.saturating_add(HEADER as u64));
    while data.len() < length {
        let at = begin.saturating_add(data.len() as u64);
        // More than is wanted may come, and is cut off.
        match rustix::io::pread(file, spare_capacity(&mut data), at) {
            Ok(0) => return Ok(None),
            Ok(_) | Err(rustix::io::Errno::INTR) => (),
            Err(error) => return Err(error.into()),
        }
    }
    data.truncate(length);
    Ok(Some((header, data)))
}

/// The part of a record's bytes that whole pages of the file hold, and so can be given back: from where, how much.
pub fn hole(offset: u64, length: u32) -> (u64, u64) {
    const PAGE: u64 = 4096;
    let from = offset.saturating_add(HEADER as u64).next_multiple_of(PAGE);
    let to = offset.saturating_add(HEADER as u64).saturating_add(u64::from(length)) / PAGE * PAGE;
    (from, to.saturating_sub(from))
}

/// Gives a part of a file back to the file system; it reads as zeros then.
///
/// # Errors
/// Those of the disk; some file systems cannot do it.
pub fn punch(file: &File, (offset, length): (u64, u64)) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(rustix::fs::fallocate(file, flags, offset, length)?)
}
