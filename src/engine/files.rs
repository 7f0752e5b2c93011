//! Files that hold secrets: made 0600 in folders made 0700, written whole or not at all.

use std::fs;
use std::io;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Makes a folder, and those above it, for this user alone.
pub fn create_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes an empty file for this user alone, if there is none.
pub fn create_private(path: &Path) -> io::Result<()> {
    fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(|_| ())
}

/// Makes the file at `path` with `bytes`, whole at once; if there is one already, that one stays.
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write_beside(path, bytes, mode, |temporary| {
        let linked = fs::hard_link(temporary, path);
        let _ = fs::remove_file(temporary);
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    })
}

/// Replaces the file at `path` with `bytes`, whole at once: a reader sees the old file or the new one.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write_beside(path, bytes, mode, |temporary| fs::rename(temporary, path))
}

fn write_beside(path: &Path, bytes: &[u8], mode: u32, put: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = Path::new(&temporary);
    let write = || {
        let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(mode).open(temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        put(temporary)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(temporary);
    })
}
