//! A copy of a data folder that is in use: a data folder itself, for a new start. Made by another process than the server's; works
//! the same when no server runs.
//!
//! Why the parts fit, though they are not of one moment:
//! 1. The blocks are held first: from then on nothing is deleted. So they are the newest, and hold all that the databases name.
//! 2. The databases are fixed next, within milliseconds, each as of one commit: management's last, so that it knows every
//!    account that the others name.
//! 3. What was put after that belongs to nothing in the copy, and is deleted when the blocks are compared after the new start.

use std::fs;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use super::ADDRESS_FILE;
use super::CERTIFICATE;
use super::DATABASE;
use super::PRIVATE_KEY;
use crate::blocks::disk::snapshot::Hold;
use crate::config::Config;
use crate::config::Store;
use crate::config::BLOCKS_FOLDER;
use crate::engine::database::Snapshot;
use crate::engine::files;
use crate::engine::identity;
use crate::engine::Role;
use crate::roles::data::Data;
use crate::roles::data_management::DataManagement;
use crate::roles::main::Main;
use crate::roles::management::Management;

/// The roles, in the order in which their databases are fixed.
const ROLES: [&str; 4] = [Main::NAME, Data::NAME, DataManagement::NAME, Management::NAME];
/// In the folder of the role data: where its blocks are. The first line is `disk` or `s3`, the second the folder of `disk`.
const PLACE_FILE: &str = "blocks-place";
/// Ends the name of a copy that is not whole.
const PARTIAL: &str = ".partial";
/// A file in it, whatever name the copy is given.
const UNFINISHED: &str = "unfinished-backup";

/// Where the blocks are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// There are none: no role data.
    None,
    /// In a folder; they are copied.
    Folder,
    /// In a bucket; they are not copied.
    Bucket,
}

/// What was copied.
#[derive(Clone, Debug)]
pub struct Report {
    /// The roles whose data it is.
    pub roles: Vec<&'static str>,
    /// Bytes that were read.
    pub bytes: u64,
    /// Where the blocks are.
    pub blocks: Blocks,
}

/// How far it is; called from the thread that copies.
pub trait Watch {
    /// So many bytes are to be copied, in all.
    fn total(&self, bytes: u64);
    /// So many more were.
    fn moved(&self, bytes: u64);
}

/// Remembers where the blocks of this configuration are, for backups.
pub(super) fn remember(config: &Config) -> Result<(), String> {
    let file = config.data_dir.join(Data::NAME).join(PLACE_FILE);
    let fail = |error: io::Error| format!("{}: {error}", file.display());
    let text = match config.data.store {
        Store::Disk => {
            let folder = fs::canonicalize(config.data_folder()).map_err(fail)?;
            [b"disk\n", folder.as_os_str().as_encoded_bytes()].concat()
        }
        Store::S3 => b"s3\n".to_vec(),
    };
    files::replace(&file, &text, 0o600).map_err(fail)
}

/// Refuses a data folder that is a backup which was cut off: a part of the data would look like all of it.
///
/// # Errors
/// In words.
pub(super) fn whole(data_dir: &Path) -> Result<(), String> {
    match data_dir.join(UNFINISHED).try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => Err(format!(
            "{}: this is a backup that was cut off, and not whole: remove it, and make it anew with `convergia admin backup`, or \
             start from another one",
            data_dir.display()
        )),
        Err(error) => Err(format!("{}: {error}", data_dir.display())),
    }
}

/// The folder of the blocks, if there is one.
fn place(data_dir: &Path) -> Result<(Blocks, PathBuf), String> {
    let file = data_dir.join(Data::NAME).join(PLACE_FILE);
    match fs::read(&file) {
        Ok(text) if text.starts_with(b"s3\n") => Ok((Blocks::Bucket, PathBuf::new())),
        Ok(text) => match text.strip_prefix(b"disk\n") {
            Some(folder) => {
                let folder: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(folder);
                Ok((Blocks::Folder, PathBuf::from(folder)))
            }
            None => Err(format!("{}: does not say where the blocks are", file.display())),
        },
        // One that was copied has its blocks beside it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = data_dir.join(BLOCKS_FOLDER);
            Ok((if folder.is_dir() { Blocks::Folder } else { Blocks::None }, folder))
        }
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}

/// Copies the data folder `data_dir` to `to`, which must not exist, or be empty; it appears there when it is whole.
///
/// # Errors
/// In words; nothing is at `to` then.
pub fn make(data_dir: &Path, to: &Path, watch: &dyn Watch) -> Result<Report, String> {
    owned(data_dir)?;
    let target = Target::make(to)?;
    let report = copy(data_dir, &target.partial, watch)?;
    target.finish()?;
    Ok(report)
}

/// Whoever else made files in it would shut the server out of them.
fn owned(data_dir: &Path) -> Result<(), String> {
    let key = data_dir.join(identity::FILE);
    let owner = fs::metadata(&key).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!("{}: no server keeps its data there; --data-dir names a folder", data_dir.display())
        }
        _ => format!("{}: {error}", key.display()),
    })?;
    match owner.uid() == rustix::process::geteuid().as_raw() {
        true => Ok(()),
        false => Err(format!("{}: only the user that runs the server may do this", data_dir.display())),
    }
}

/// Where the copy will be.
struct Target {
    partial: PathBuf,
    to: PathBuf,
    /// Locked, so that what a dead one has left is told from what is under way.
    _folder: File,
    done: bool,
}

impl Target {
    fn make(to: &Path) -> Result<Target, String> {
        let fail = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
        let to = std::path::absolute(to).map_err(|error| fail(to, error))?;
        match fs::read_dir(&to).map(|mut entries| entries.next().is_some()) {
            Ok(true) => return Err(format!("{}: is not empty", to.display())),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(&to, error)),
            _ => {}
        }
        let name = to.file_name().ok_or_else(|| format!("{}: is no name for a folder", to.display()))?;
        let mut name = name.to_owned();
        name.push(PARTIAL);
        let partial = to.with_file_name(name);
        files::create_folder(&partial).map_err(|error| fail(&partial, error))?;
        let folder = File::open(&partial).map_err(|error| fail(&partial, error))?;
        match folder.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(format!("{}: another backup is being made there", partial.display()))
            }
            Err(fs::TryLockError::Error(error)) => return Err(fail(&partial, error)),
        }
        let target = Target { partial, to, _folder: folder, done: false };
        // What one that was cut off has left.
        target.clear().map_err(|error| fail(&target.partial, error))?;
        let own = fs::set_permissions(&target.partial, fs::Permissions::from_mode(0o700));
        own.map_err(|error| fail(&target.partial, error))?;
        let mark = target.partial.join(UNFINISHED);
        files::create(&mark, b"", 0o600).map_err(|error| fail(&mark, error))?;
        Ok(target)
    }

    fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.partial)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        }
        Ok(())
    }

    /// Gives it its name.
    fn finish(mut self) -> Result<(), String> {
        let above = self.to.parent().unwrap_or(&self.to);
        let done = fs::remove_file(self.partial.join(UNFINISHED))
            .and_then(|()| File::open(&self.partial)?.sync_all())
            .and_then(|()| fs::rename(&self.partial, &self.to))
            .and_then(|()| File::open(above)?.sync_all());
        done.map_err(|error| format!("{}: {error}", self.to.display()))?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_dir_all(&self.partial);
        }
    }
}

fn copy(from: &Path, to: &Path, watch: &dyn Watch) -> Result<Report, String> {
    let (blocks, store) = place(from)?;
    let hold = (blocks == Blocks::Folder).then(|| Hold::take(&store)).transpose()?;
    let there = |role: &&str| from.join(role).join(DATABASE).exists();
    let roles: Vec<&'static str> = ROLES.into_iter().filter(there).collect();
    let fix = |role: &&'static str| Ok((*role, Snapshot::begin(&from.join(role).join(DATABASE))?));
    let databases: Vec<(&'static str, Snapshot)> = roles.iter().map(fix).collect::<Result<_, String>>()?;
    let copying = hold.as_ref().map(Hold::begin).transpose()?;
    let mut bytes = copying.as_ref().map_or(0, |copying| copying.bytes());
    for (_, database) in &databases {
        bytes = bytes.saturating_add(database.size()?);
    }
    watch.total(bytes);
    for file in [identity::FILE, ADDRESS_FILE] {
        small(from, to, Path::new(file))?;
    }
    for (role, database) in databases {
        let folder = to.join(role);
        create(&folder)?;
        for file in [CERTIFICATE, PRIVATE_KEY] {
            small(from, to, &Path::new(role).join(file))?;
        }
        // Dropped right after: the server's log grows as long as it lives.
        database.copy(&folder.join(DATABASE), &|bytes| {
            watch.moved(bytes);
            Ok(())
        })?;
        sync(&folder)?;
    }
    if let Some(copying) = copying {
        let folder = to.join(BLOCKS_FOLDER);
        create(&folder)?;
        copying.copy(&folder, &|bytes| watch.moved(bytes))?;
    }
    Ok(Report { roles, bytes, blocks })
}

fn create(folder: &Path) -> Result<(), String> {
    files::create_folder(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

fn sync(folder: &Path) -> Result<(), String> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| format!("{}: {error}", folder.display()))
}

/// Copies a small file, if it is there, for nobody else to read.
fn small(from: &Path, to: &Path, name: &Path) -> Result<(), String> {
    let source = from.join(name);
    match fs::read(&source).map(zeroize::Zeroizing::new) {
        Ok(bytes) => files::create(&to.join(name), &bytes, 0o600),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
    .map_err(|error| format!("{}: {error}", source.display()))
}
