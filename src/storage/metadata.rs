//! Short values under keys, a few for each user.

#![allow(unused_variables)]

use rusqlite::Connection;

use super::Caller;
use crate::wire::Fail;

/// The most bytes of one user's keys and values together.
pub const MAX_METADATA: u64 = 256 << 10;

/// Store lane. Sets a value; an empty one removes the key. QUOTA: over [`MAX_METADATA`].
pub fn set(db: &Connection, caller: &Caller, key: &str, value: &[u8]) -> Result<(), Fail> {
    Err(Fail::internal("not built yet"))
}

/// A value of a user; of others only keys that begin with `public-` (DENIED). NOTFOUND.
pub fn get(db: &Connection, caller: &Caller, user: &str, key: &str) -> Result<Vec<u8>, Fail> {
    Err(Fail::internal("not built yet"))
}

/// Keys of a user that the caller may read, and how long their values are, in order. NOTFOUND.
pub fn list(db: &Connection, caller: &Caller, user: &str) -> Result<Vec<(String, u64)>, Fail> {
    Err(Fail::internal("not built yet"))
}
