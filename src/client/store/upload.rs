//! A file of this machine into the storage. A small one is one WRITEFILE. A large one is written under a name of its own
//! beside the final one, and moved there when it is whole, so that no half file is ever seen; that name tells which file
//! it is half of, so that the next attempt finds it and goes on behind it.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::buffer::spare_capacity;

use super::Permit;
use super::Reply;
use super::Store;
use super::Tries;
use super::Trouble;
use super::Watch;
use super::PIECE;
use crate::engine::rt;
use crate::wire::blob::buffer;
use crate::wire::Blob;
use crate::wire::Code;
use crate::wire::Fail;

/// What an upload came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// It was written.
    Written,
    /// The same bytes were there.
    Unchanged,
}

/// What the name of a part begins with.
pub(super) const PART: &str = ".part-";
/// How much is read at once for a hash.
const HASH_STEP: usize = 1 << 20;

/// The name under which a file is written until it is whole: by where it goes, and what it is.
pub(super) fn part_name(end: &str, what: &str) -> String {
    format!("{}{}", part_of(end), short_hash(what))
}

/// What the names of all parts of one file begin with, whatever it is at the time.
pub(super) fn part_of(end: &str) -> String {
    format!("{PART}{}-", short_hash(end))
}

fn short_hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().chars().take(16).collect()
}

/// BLAKE3 of a file's first bytes.
pub(super) async fn hash_of(file: &fs::File, length: u64) -> Result<[u8; 32], Trouble> {
    let file = file.try_clone()?;
    let hash = rt::spawn_blocking(move || {
        let (mut hasher, mut buffer, mut at) = (blake3::Hasher::new(), vec![0; HASH_STEP], 0);
        while at < length {
            let want = usize::try_from(length - at).unwrap_or(usize::MAX).min(HASH_STEP);
            let piece = buffer.get_mut(..want).unwrap_or_default();
            file.read_exact_at(piece, at)?;
            hasher.update(piece);
            at += want as u64;
        }
        Ok::<_, std::io::Error>(*hasher.finalize().as_bytes())
    });
    Ok(hash.await?)
}

/// One of a file's WRITEFILEs under way.
struct Piece {
    offset: u64,
    length: usize,
    reply: Reply,
    _permit: Permit,
}

impl Store {
    /// Makes the file at `path` of that name hold what the local one holds.
    ///
    /// # Errors
    /// EXISTS when there is a folder of that name, those of `create_file`, `write` and `rename`; the local file's own.
    /// What is written stays for the next attempt when the way was cut, and is removed when the server refuses it.
    pub async fn upload(&self, local: &Path, path: &str, watch: &dyn Watch) -> Result<Upload, Trouble> {
        let file = fs::File::open(local)?;
        let facts = file.metadata()?;
        // However many files are under way: the memory for what is read of them is bounded.
        let _buffer = self.buffers.enter(usize::try_from(facts.len()).unwrap_or(PIECE).min(PIECE)).await;
        if facts.is_dir() {
            return Err(std::io::Error::from(std::io::ErrorKind::IsADirectory).into());
        }
        match facts.len() {
            0..=LARGEST_SMALL => self.upload_small(&file, &facts, path, watch).await,
            _ => self.upload_large(local, &file, &facts, path, watch).await,
        }
    }

    async fn upload_small(
        &self,
        file: &fs::File,
        facts: &fs::Metadata,
        path: &str,
        watch: &dyn Watch,
    ) -> Result<Upload, Trouble> {
        let mut bytes = vec![0; usize::try_from(facts.len()).unwrap_or(0)];
        match file.read_exact_at(&mut bytes, 0) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Err(Trouble::Changed),
            result => result?,
        }
        let length = facts.len();
        match self.create_file(path).await {
            Ok(()) => {
                self.remove_old_parts(path, None).await;
                if let Err(fail) = self.write_all(path, &bytes).await {
                    self.take_back(path, &fail).await;
                    return Err(fail.into());
                }
            }
            Err(fail) if fail.code == Code::Exists => {
                let there = self.info(path).await;
                match there {
                    Ok(info) if info.folder => return Err(Trouble::Remote(fail)),
                    Ok(info) if info.size == length && info.hash == Some(*blake3::hash(&bytes).as_bytes()) => {
                        watch.kept(length);
                        return Ok(Upload::Unchanged);
                    }
                    _ => {}
                }
                let part = beside(path, facts);
                self.begin(&part).await?;
                self.remove_old_parts(path, Some(&part)).await;
                let written = async {
                    self.write_all(&part, &bytes).await?;
                    self.replace(&part, path).await
                };
                if let Err(fail) = written.await {
                    self.take_back(&part, &fail).await;
                    return Err(fail.into());
                }
            }
            Err(fail) => return Err(fail.into()),
        }
        watch.moved(length);
        Ok(Upload::Written)
    }

    async fn write_all(&self, path: &str, bytes: &[u8]) -> Result<(), Fail> {
        match bytes.is_empty() {
            true => Ok(()),
            false => self.write(path, 0, bytes).await,
        }
    }

    /// An empty file, whatever was there of an earlier attempt.
    async fn begin(&self, part: &str) -> Result<(), Fail> {
        match self.create_file(part).await {
            Err(fail) if fail.code == Code::Exists => self.truncate(part, 0).await,
            result => result,
        }
    }

    /// Removes what was begun, when it is refused and not only cut off.
    async fn take_back(&self, path: &str, fail: &Fail) {
        if !matches!(fail.code, Code::Unavailable | Code::Busy | Code::Internal) {
            let _ = self.delete_file(path).await;
        }
    }

    async fn upload_large(
        &self,
        local: &Path,
        file: &fs::File,
        facts: &fs::Metadata,
        path: &str,
        watch: &dyn Watch,
    ) -> Result<Upload, Trouble> {
        let size = facts.len();
        match self.info(path).await {
            Ok(info) if info.folder => return Err(Fail::new(Code::Exists, "a folder has this name").into()),
            Ok(info) if info.size == size && info.hash.is_some() && info.hash == Some(hash_of(file, size).await?) => {
                watch.kept(size);
                return Ok(Upload::Unchanged);
            }
            Err(fail) if matches!(fail.code, Code::Unavailable | Code::Busy | Code::BadArgs) => return Err(fail.into()),
            // What it is nobody may say: whether it can be written is seen soon.
            Ok(_) | Err(_) => {}
        }
        let part = beside(path, facts);
        let from = self.beginning(&part, file, size).await?;
        watch.kept(from);
        self.remove_old_parts(path, Some(&part)).await;
        let moved = async {
            self.write_from(&part, file, from, size, watch).await?;
            let now = fs::metadata(local)?;
            if (now.len(), now.mtime(), now.mtime_nsec()) != (size, facts.mtime(), facts.mtime_nsec()) {
                return Err(Trouble::Changed);
            }
            Ok(self.replace(&part, path).await?)
        };
        match moved.await {
            Ok(()) => Ok(Upload::Written),
            Err(trouble) => {
                match &trouble {
                    Trouble::Remote(fail) => self.take_back(&part, fail).await,
                    Trouble::Changed => drop(self.delete_file(&part).await),
                    Trouble::Local(_) => {}
                }
                Err(trouble)
            }
        }
    }

    /// How many bytes of the file are in its part already. What is there counts only when its hash is that of the file's beginning.
    async fn beginning(&self, part: &str, file: &fs::File, size: u64) -> Result<u64, Trouble> {
        match self.create_file(part).await {
            Ok(()) => return Ok(0),
            Err(fail) if fail.code == Code::Exists => {}
            Err(fail) => return Err(fail.into()),
        }
        let there = self.info(part).await?;
        if there.size == 0 {
            return Ok(0);
        }
        if there.size <= size && there.hash.is_some() && there.hash == Some(hash_of(file, there.size).await?) {
            return Ok(there.size);
        }
        self.truncate(part, 0).await?;
        Ok(0)
    }

    /// Writes the file from `from` on, with as many pieces under way as the window gives. When one fails that may work the next
    /// time, all behind it are waited for, and it goes on from there.
    async fn write_from(
        &self,
        path: &str,
        file: &fs::File,
        from: u64,
        size: u64,
        watch: &dyn Watch,
    ) -> Result<(), Trouble> {
        let (mut done, mut next) = (from, from);
        let mut pieces: VecDeque<Piece> = VecDeque::new();
        let (mut failed, mut tries) = (None, Tries::new());
        loop {
            while next < size && failed.is_none() {
                let length = usize::try_from(size - next).unwrap_or(usize::MAX).min(PIECE);
                // Who has pieces under way takes their answers while it waits.
                let permit = match self.window.try_enter(length) {
                    Some(permit) => permit,
                    None if pieces.is_empty() => self.enter(length).await,
                    None => break,
                };
                let piece = Blob::from(read_at(file, next, length)?);
                let reply = self.post_blob("WRITEFILE", &[path.as_bytes(), next.to_string().as_bytes()], piece);
                pieces.push_back(Piece { offset: next, length, reply, _permit: permit });
                next += length as u64;
            }
            let Some(piece) = pieces.pop_front() else {
                match failed.take() {
                    Some(fail) => {
                        self.wait(fail, &mut tries).await?;
                        next = done;
                        continue;
                    }
                    None => return Ok(()),
                }
            };
            match piece.reply.answer().await {
                Ok(_) if failed.is_none() && piece.offset == done => {
                    done += piece.length as u64;
                    tries = Tries::new();
                    watch.moved(piece.length as u64);
                }
                Ok(_) => {}
                // What follows the one that failed first fails for that reason.
                Err(fail) => drop(failed.get_or_insert(fail)),
            }
        }
    }
}

/// The largest file that is one piece.
const LARGEST_SMALL: u64 = PIECE as u64;

/// The bytes of a file from `offset` on.
fn read_at(file: &fs::File, offset: u64, length: usize) -> Result<Vec<u8>, Trouble> {
    let mut bytes = buffer(length);
    while bytes.len() < length {
        // Its capacity may be larger; what is too much is cut off.
        let at = offset.saturating_add(bytes.len() as u64);
        match rustix::io::pread(file, spare_capacity(&mut bytes), at) {
            Ok(0) => return Err(Trouble::Changed),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Where the file is written until it is whole.
fn beside(path: &str, facts: &fs::Metadata) -> String {
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let what = format!("{} {} {}", facts.len(), facts.mtime(), facts.mtime_nsec());
    format!("{above}/{}", part_name(name, &what))
}
