//! Files in which the client keeps something: JSON, 0600, changed by one process at a time, whole at once.

use std::fs;
use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::Serialize;

use super::places;
use crate::engine::files;

/// Reads the file; the default when there is none. `repair`: what to do with one that is broken.
///
/// # Errors
/// When there is one that cannot be read; in words.
pub fn load<T: DeserializeOwned + Default>(path: &Path, repair: &str) -> Result<T, String> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(T::default()),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}\n{repair}", path.display()))
}

/// Changes the file. Another process that changes it at the same time waits.
///
/// # Errors
/// In words, when it cannot be written.
pub fn update<T>(path: &Path, repair: &str, change: impl FnOnce(&mut T)) -> Result<(), String>
where
    T: DeserializeOwned + Serialize + Default + Clone + PartialEq,
{
    let say = |error: io::Error| format!("{}: {error}", path.display());
    files::create_folder(places::parent(path)).map_err(say)?;
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    let lock = Path::new(&lock);
    files::create_private(lock).map_err(say)?;
    let held = fs::File::open(lock).map_err(say)?;
    held.lock().map_err(say)?;
    let before: T = load(path, repair)?;
    let mut after = before.clone();
    change(&mut after);
    if after == before && path.exists() {
        return Ok(());
    }
    let text = serde_json::to_vec_pretty(&after).map_err(|error| error.to_string())?;
    files::replace(path, &text, 0o600).map_err(say)
}
