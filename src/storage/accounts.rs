//! Accounts: who may ask, what each uses, and what goes when one is removed.

#![allow(unused_variables)]

use rusqlite::Connection;

use super::prepare;
use super::sql;
use super::unsql;
use super::Caller;
use crate::wire::Fail;

/// What an account uses, and may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of its files, messages and changes.
    pub used: u64,
    /// Bytes that it may use.
    pub quota: u64,
    /// Rows that it caused: entries, extents, messages, changes; at most [`super::MAX_ITEMS`].
    pub items: u64,
}

/// Store lane. Makes an account known, with its home `/users/NAME`. Another account of that name was removed without a
/// word: it goes first ([`remove`]). False: it was known.
pub fn welcome(db: &Connection, caller: &Caller, now: u64) -> Result<bool, Fail> {
    Err(Fail::internal("not built yet"))
}

/// Whether an account is known.
pub fn known(db: &Connection, account: u64) -> Result<bool, Fail> {
    Err(Fail::internal("not built yet"))
}

/// The account of a name, in whatever case.
pub fn find(db: &Connection, name: &str) -> Result<Option<Caller>, Fail> {
    Err(Fail::internal("not built yet"))
}

/// Known accounts by number, those after `after`, at most `count`: to ask management which are gone.
pub fn list(db: &Connection, after: u64, count: u64) -> Result<Vec<u64>, Fail> {
    prepare(db, "SELECT account FROM accounts WHERE account > ?1 ORDER BY account LIMIT ?2")?
        .query_map([sql(after), sql(count)], |row| row.get(0).map(unsql))
        .and_then(Iterator::collect)
        .map_err(Fail::internal)
}

/// What an account uses. NOTFOUND.
pub fn usage(db: &Connection, account: u64) -> Result<Usage, Fail> {
    Err(Fail::internal("not built yet"))
}

/// Store lane. The quota of all accounts without their own.
pub fn set_default_quota(db: &Connection, bytes: u64) -> Result<(), Fail> {
    Err(Fail::internal("not built yet"))
}

/// Store lane. The quota of one account; `None`: that of all. NOTFOUND.
pub fn set_quota(db: &Connection, account: u64, bytes: Option<u64>) -> Result<(), Fail> {
    Err(Fail::internal("not built yet"))
}

/// Store lane. Removes an account: from now on nothing of it is seen, and its name is free. [`super::tend::step`]
/// cleans up behind it. False: it was not known.
pub fn remove(db: &Connection, account: u64) -> Result<bool, Fail> {
    Err(Fail::internal("not built yet"))
}
