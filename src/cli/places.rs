//! Where things are on this machine.

use std::env;
use std::path::Path;
use std::path::PathBuf;

/// A folder of the user: `$variable/convergia`, or `~/fallback/convergia`. None: neither is known.
fn folder(variable: &str, fallback: &str) -> Option<PathBuf> {
    let given = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = given.or_else(|| {
        let home = env::var_os("HOME").map(PathBuf::from).filter(|path| path.is_absolute())?;
        Some(home.join(fallback))
    });
    base.map(|base| base.join("convergia"))
}

/// The variable that names the client's file, for several users on one machine account.
pub const STATE_VARIABLE: &str = "CONVERGIA_CLIENT_STATE";

/// What the client remembers.
pub fn state() -> Option<PathBuf> {
    match env::var_os(STATE_VARIABLE).filter(|path| !path.is_empty()) {
        Some(path) => Some(PathBuf::from(path)),
        None => folder("XDG_CONFIG_HOME", ".config").map(|folder| folder.join("client.json")),
    }
}

/// A file that need not be kept, such as the history of `chat`; beside the client's file when that was named.
pub fn beside_state(name: &str) -> Option<PathBuf> {
    match env::var_os(STATE_VARIABLE).filter(|path| !path.is_empty()) {
        Some(mut path) => {
            path.push(".");
            path.push(name);
            Some(PathBuf::from(path))
        }
        None => folder("XDG_STATE_HOME", ".local/state").map(|folder| folder.join(name)),
    }
}

/// The folder that a file is in; the current one for a bare name.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
