//! Floor 3: the parts that the roles with accounts share (management, and a realm that stands alone).
//!
//! Plain code: no socket, no thread, no clock. Times come in as Unix milliseconds; the functions on a
//! database connection run on a database thread, inside a transaction that the caller made.

pub mod expiring;
pub mod invites;
pub mod keyring;
pub mod keys;
pub mod net;
pub mod one_use;
pub mod password;
pub mod registration;
pub mod secret;
pub mod tickets;
pub mod tokens;
pub mod tries;
pub mod users;

/// Milliseconds in a day.
pub const DAY: u64 = 24 * 60 * 60 * 1000;

/// A time or count as SQLite keeps it; what does not fit (the year 292,000,000) is the greatest that does.
fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A time or count from SQLite; we never write a negative one.
fn unsql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// The one place where statements are prepared: the day rusqlite's `cache` feature is on, only this line changes.
fn prepare<'c>(conn: &'c rusqlite::Connection, text: &str) -> Result<rusqlite::Statement<'c>, crate::wire::Fail> {
    conn.prepare(text).map_err(crate::wire::Fail::internal)
}
