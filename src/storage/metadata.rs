//! Short values under keys, a few for each user.

use rusqlite::params;
use rusqlite::Connection;
use rusqlite::OptionalExtension;

use super::accounts;
use super::prepare;
use super::rights;
use super::sql;
use super::unsql;
use super::Caller;
use crate::wire::Code;
use crate::wire::Fail;

/// The most bytes of one user's keys and values together.
pub const MAX_METADATA: u64 = 256 << 10;

/// Store lane. Sets a value; an empty one removes the key. QUOTA: over [`MAX_METADATA`].
pub fn set(db: &Connection, caller: &Caller, key: &str, value: &[u8]) -> Result<(), Fail> {
    accounts::admit(db, caller)?;
    let account = sql(caller.account);
    let before = prepare(db, "SELECT length(value) FROM metadata WHERE account = ?1 AND key = ?2")?
        .query_row(params![account, key], |row| row.get::<_, i64>(0))
        .optional()
        .map_err(Fail::internal)?;
    let weight = |value: i64| value + sql(key.len() as u64);
    let after = if value.is_empty() { 0 } else { weight(sql(value.len() as u64)) };
    let growth = after - before.map_or(0, weight);
    let text = "UPDATE accounts SET metadata = metadata + ?2 WHERE account = ?1 AND (?2 <= 0 OR metadata + ?2 <= ?3)";
    if prepare(db, text)?.execute([account, growth, sql(MAX_METADATA)]).map_err(Fail::internal)? == 0 {
        return Err(Fail::new(Code::Quota, "a user has 256 KiB of metadata"));
    }
    if value.is_empty() {
        let text = "DELETE FROM metadata WHERE account = ?1 AND key = ?2";
        return prepare(db, text)?.execute(params![account, key]).map(drop).map_err(Fail::internal);
    }
    let text = "INSERT INTO metadata (account, key, value) VALUES (?1, ?2, ?3)
                ON CONFLICT DO UPDATE SET value = excluded.value";
    prepare(db, text)?.execute(params![account, key, value]).map(drop).map_err(Fail::internal)
}

/// A value of a user; of others only keys that begin with `public-` (DENIED). NOTFOUND.
pub fn get(db: &Connection, caller: &Caller, user: &str, key: &str) -> Result<Vec<u8>, Fail> {
    let of = whose(db, caller, user)?;
    if of != caller.account && !key.starts_with(PUBLIC) {
        return Err(rights::denied());
    }
    prepare(db, "SELECT value FROM metadata WHERE account = ?1 AND key = ?2")?
        .query_row(params![sql(of), key], |row| row.get(0))
        .optional()
        .map_err(Fail::internal)?
        .ok_or_else(|| Fail::new(Code::NotFound, "no such key"))
}

/// Keys of a user that the caller may read, and how long their values are, in order. NOTFOUND.
pub fn list(db: &Connection, caller: &Caller, user: &str) -> Result<Vec<(String, u64)>, Fail> {
    let of = whose(db, caller, user)?;
    let (from, to) = if of == caller.account { ("", "\u{10ffff}") } else { (PUBLIC, "public.") };
    prepare(db, "SELECT key, length(value) FROM metadata WHERE account = ?1 AND key >= ?2 AND key < ?3 ORDER BY key")?
        .query_map(params![sql(of), from, to], |row| Ok((row.get(0)?, unsql(row.get(1)?))))
        .and_then(Iterator::collect)
        .map_err(Fail::internal)
}

/// Keys that begin so are readable by all. The character behind `-` is `.`: the end of their range.
const PUBLIC: &str = "public-";

fn whose(db: &Connection, caller: &Caller, user: &str) -> Result<u64, Fail> {
    accounts::admit(db, caller)?;
    let found = accounts::find(db, user)?.ok_or_else(|| Fail::new(Code::NotFound, "no such user"))?;
    Ok(found.account)
}
