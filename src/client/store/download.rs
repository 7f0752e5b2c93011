//! A file of the storage onto this machine. It is written beside the final name, and renamed when it is whole. The name of
//! the part tells which file it is half of, as it was then: a later attempt goes on at its end, and compares the whole.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;

use super::upload::hash_of;
use super::upload::part_name;
use super::upload::part_of;
use super::Entry;
use super::Permit;
use super::Reply;
use super::Store;
use super::Tries;
use super::Trouble;
use super::Upload;
use super::Watch;
use super::READ;
use crate::wire::Code;
use crate::wire::Fail;

/// A file that changes while it is read is begun anew so often.
const ATTEMPTS: u32 = 3;

/// One of a file's READFILEs under way.
struct Piece {
    offset: u64,
    length: usize,
    reply: Reply,
    _permit: Permit,
}

impl Store {
    /// Makes the local file hold what the file at `path` holds; `entry` is what is known of that.
    ///
    /// # Errors
    /// Those of `read`; the local file's own. `Changed`: it changed each time while it was read.
    pub async fn download(
        &self,
        path: &str,
        entry: &Entry,
        local: &Path,
        watch: &dyn Watch,
    ) -> Result<Upload, Trouble> {
        if entry.size < READ as u64 {
            // One byte more than there should be tells whether it has grown. More is not asked for: what is asked for counts.
            let most = usize::try_from(entry.size).unwrap_or(READ).saturating_add(1).min(READ);
            let bytes = self.read(path, 0, most).await?;
            if bytes.len() < most {
                return write_small(&bytes, path, entry, local, watch);
            }
            let now = self.find(path).await?;
            return self.download_large(path, now, local, watch).await;
        }
        self.download_large(path, entry.clone(), local, watch).await
    }

    async fn download_large(
        &self,
        path: &str,
        mut entry: Entry,
        local: &Path,
        watch: &dyn Watch,
    ) -> Result<Upload, Trouble> {
        if let Ok(there) = fs::File::open(local) {
            let facts = there.metadata()?;
            if facts.is_file() && facts.len() == entry.size {
                let hash = self.info(path).await?.hash;
                if hash.is_some() && hash == Some(hash_of(&there, entry.size).await?) {
                    watch.kept(entry.size);
                    return Ok(Upload::Unchanged);
                }
            }
        }
        remove_old_parts(local, path, &entry);
        for _ in 0..ATTEMPTS {
            let part = beside(local, path, &entry);
            let file = fs::OpenOptions::new().create(true).truncate(false).write(true).read(true).open(&part)?;
            let mut from = file.metadata()?.len();
            if from > entry.size {
                file.set_len(0)?;
                from = 0;
            }
            watch.kept(from);
            let mut at = from;
            let mut take = |bytes: &[u8]| {
                file.write_all_at(bytes, at)?;
                at += bytes.len() as u64;
                watch.moved(bytes.len() as u64);
                Ok(())
            };
            let read = match self.read_whole(Whole::File(path), (from, entry.size), &mut take).await {
                Err(Trouble::Changed) => false,
                read => read.map(|()| true)?,
            };
            let now = self.find(path).await?;
            let mut same = read && now == entry;
            if same && from > 0 {
                // Put together from two attempts: it is whole when it is the same as there.
                same = self.info(path).await?.hash == Some(hash_of(&file, entry.size).await?);
            }
            if same {
                fs::rename(&part, local)?;
                return Ok(Upload::Written);
            }
            drop(file);
            fs::remove_file(&part)?;
            entry = now;
        }
        Err(Trouble::Changed)
    }
}

fn write_small(bytes: &[u8], path: &str, entry: &Entry, local: &Path, watch: &dyn Watch) -> Result<Upload, Trouble> {
    let part = beside(local, path, entry);
    let write = || {
        fs::write(&part, bytes)?;
        fs::rename(&part, local)
    };
    if let Err(error) = write() {
        let _ = fs::remove_file(&part);
        return Err(error.into());
    }
    watch.moved(bytes.len() as u64);
    Ok(Upload::Written)
}

/// Parts of what the file was at other times are of no use any more.
fn remove_old_parts(local: &Path, path: &str, entry: &Entry) {
    let (begin, now) = (part_of(path), beside(local, path, entry));
    let folder = now.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| Some(entry.file_name().as_os_str()) != now.file_name()) {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(&begin)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Where the file is written until it is whole.
fn beside(local: &Path, path: &str, entry: &Entry) -> PathBuf {
    local.with_file_name(part_name(path, &format!("{} {}", entry.size, entry.modified)))
}

impl Store {
    /// Reads the bytes from `from` to `size`, with as many pieces under way as the window gives; `take` gets them in order.
    ///
    /// # Errors
    /// Those of `read`, and those of `take`. `Changed`: there are fewer.
    pub async fn read_whole(
        &self,
        what: Whole<'_>,
        (from, size): (u64, u64),
        take: &mut (dyn FnMut(&[u8]) -> std::io::Result<()> + Send),
    ) -> Result<(), Trouble> {
        let (mut done, mut next) = (from, from);
        let mut pieces: VecDeque<Piece> = VecDeque::new();
        let (mut failed, mut tries): (Option<Fail>, _) = (None, Tries::new());
        let (command, name) = match what {
            Whole::File(path) => ("READFILE", path),
            Whole::Message(id) => ("READOFFLINEMESSAGE", id),
        };
        loop {
            while next < size && failed.is_none() {
                let length = usize::try_from(size - next).unwrap_or(usize::MAX).min(READ);
                // Who has pieces under way takes their answers while it waits.
                let permit = match self.window.try_enter(length) {
                    Some(permit) => permit,
                    None if pieces.is_empty() => self.enter(length).await,
                    None => break,
                };
                let (offset, words) = (next.to_string(), length.to_string());
                let reply = self.post(command, &[name.as_bytes(), offset.as_bytes(), words.as_bytes()]);
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
            match piece.reply.blob().await {
                Ok(_) if failed.is_some() || piece.offset != done => {}
                Ok(bytes) if bytes.len() == piece.length => {
                    take(&bytes)?;
                    done += piece.length as u64;
                    tries = Tries::new();
                }
                // It has become shorter.
                Ok(_) => return Err(Trouble::Changed),
                Err(fail) if fail.code == Code::BadArgs && piece.offset > 0 => return Err(Trouble::Changed),
                Err(fail) => drop(failed.get_or_insert(fail)),
            }
        }
    }
}

/// What is read whole.
#[derive(Clone, Copy, Debug)]
pub enum Whole<'a> {
    /// The file at a path.
    File(&'a str),
    /// An offline message of that id.
    Message(&'a str),
}
