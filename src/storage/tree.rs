//! The hierarchy: folders, names, lists, rights. `/`, `/users`, `/workspaces`, homes and the folders of workspaces are fixed.
//!
//! FAIL of all of it: BADARGS for what a fixed folder, a folder, or a file is not for; DENIED where rights are missing, also
//! for what is not there in a folder that the caller may not read; NOTFOUND.

#![allow(unused_variables)]

use rusqlite::Connection;

use super::args::Path;
use super::args::Rights;
use super::rights::Subject;
use super::Caller;
use super::Hash;
use super::Posted;
use super::ServerNo;
use crate::wire::Fail;

/// One line of LISTFOLDER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// A folder, not a file.
    pub folder: bool,
    /// Bytes of a file; 0 for a folder.
    pub size: u64,
    /// When it changed, in Unix ms; a folder changes when an entry comes or goes.
    pub modified: u64,
}

/// What GETINFO says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its number; a file's bytes are asked for with it ([`super::files::hash_plan`]).
    pub object: u64,
    /// Which bytes these are; for [`super::files::set_hash`].
    pub version: u64,
    /// A folder, not a file.
    pub folder: bool,
    /// Bytes of a file; 0 for a folder.
    pub size: u64,
    /// The name of who made it; `None`: nobody (a fixed folder), or an account that is gone.
    pub owner: Option<String>,
    /// When it was made, in Unix ms.
    pub created: u64,
    /// When it changed, in Unix ms.
    pub modified: u64,
    /// BLAKE3 of a file's bytes, when it is known: it is one whole block, or was computed since its last change. An empty file has
    /// none (the caller knows the hash of nothing).
    pub hash: Option<Hash>,
    /// The fewest live copies of any block; `None` for a folder or an empty file.
    pub copies: Option<u64>,
    /// Who has which rights, as text: `alice rwa`, `* r`. Those who have them by the place it is in come first.
    pub permissions: Vec<String>,
}

/// The most entries that move at once from one who pays to another.
pub const MAX_MOVED: u64 = 100_000;

/// Store lane. Makes a folder; needs w on the one it is in. EXISTS; LIMIT: [`super::MAX_ENTRIES`],
/// [`super::MAX_ITEMS`].
pub fn create_folder(db: &Connection, caller: &Caller, path: &Path, now: u64) -> Result<Vec<Posted>, Fail> {
    Err(Fail::internal("not built yet"))
}

/// Store lane. Makes an empty file; as [`create_folder`].
pub fn create_file(db: &Connection, caller: &Caller, path: &Path, now: u64) -> Result<Vec<Posted>, Fail> {
    Err(Fail::internal("not built yet"))
}

/// Store lane. Deletes an empty folder; needs w on it and on the one it is in. BADARGS when it is not empty.
pub fn delete_folder(db: &Connection, caller: &Caller, path: &Path, now: u64) -> Result<Vec<Posted>, Fail> {
    Err(Fail::internal("not built yet"))
}

/// Store lane. Deletes a file; needs w on it and on its folder.
pub fn delete_file(db: &Connection, caller: &Caller, path: &Path, now: u64) -> Result<Vec<Posted>, Fail> {
    Err(Fail::internal("not built yet"))
}

/// Store lane. Moves an entry, with all that is in it; needs w on it, on its folder, and on the new one. Its own
/// rights go with it. EXISTS; BADARGS into itself; when another account pays afterwards, QUOTA, and LIMIT for more
/// than [`MAX_MOVED`] entries.
pub fn move_entry(db: &Connection, caller: &Caller, from: &Path, to: &Path, now: u64) -> Result<Vec<Posted>, Fail> {
    Err(Fail::internal("not built yet"))
}

/// What is in a folder, as far as the caller may read it, by name. Needs r.
pub fn list_folder(db: &Connection, caller: &Caller, path: &Path) -> Result<Vec<Entry>, Fail> {
    Err(Fail::internal("not built yet"))
}

/// All about an entry; needs r. `live`: the servers that are up, in order.
pub fn info(db: &Connection, caller: &Caller, path: &Path, live: &[ServerNo]) -> Result<Info, Fail> {
    Err(Fail::internal("not built yet"))
}

/// Store lane. Replaces the own list of rights of an entry; an empty one: it has those of the folder above again.
/// Needs a.
pub fn set_permissions(
    db: &Connection,
    caller: &Caller,
    path: &Path,
    list: &[(Subject, Rights)],
    now: u64,
) -> Result<(), Fail> {
    Err(Fail::internal("not built yet"))
}
