//! Accounts in the database. Every function runs inside a transaction that the caller made, and what fails
//! in a way that is not the asker's fault is FAIL INTERNAL.

use std::fmt;

use rusqlite::params;
use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Row;

use super::prepare;
use super::sql;
use super::unsql;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// The tables of accounts, tokens, keys, and invites: the first version of the schema. Times are Unix ms.
pub const SCHEMA: &str = "
CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
    name TEXT NOT NULL,                   -- as registered
    folded TEXT NOT NULL UNIQUE,          -- as compared
    password TEXT NOT NULL,               -- a PHC string
    active INTEGER NOT NULL DEFAULT 1,
    admin INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL
) STRICT;
CREATE TABLE tokens (
    seq INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,            -- SHA-256 of the token
    user INTEGER NOT NULL REFERENCES users (id),
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT;
CREATE INDEX tokens_by_user ON tokens (user, seq);
CREATE INDEX tokens_by_expires ON tokens (expires);
CREATE TABLE keys (
    user INTEGER NOT NULL REFERENCES users (id),
    label TEXT NOT NULL,
    public BLOB NOT NULL,                 -- Ed25519, 32 bytes
    created INTEGER NOT NULL,
    PRIMARY KEY (user, label),
    UNIQUE (user, public)
) STRICT, WITHOUT ROWID;
CREATE TABLE invites (
    hash BLOB PRIMARY KEY,                -- SHA-256 of the code
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    used_by INTEGER                       -- a user, perhaps deleted since
) STRICT, WITHOUT ROWID;
CREATE INDEX invites_open ON invites (expires) WHERE used_by IS NULL;
";

/// What came to them later.
pub const SCHEMA_QUOTA: &str = "
ALTER TABLE users ADD COLUMN quota INTEGER; -- bytes that it may store; NULL: what all may
";

/// The most accounts in one answer of [`list`].
pub const MAX_LIST: usize = 1000;

/// The number of an account, never used again after it was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub i64);

/// Whether an account may sign on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It may.
    Active,
    /// The operator has disabled it; its name stays taken.
    Disabled,
}

/// An account.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub id: UserId,
    /// Its name as registered.
    pub name: String,
    /// The PHC string of its password; never printed.
    pub password: String,
    /// Whether it may sign on.
    pub state: State,
    /// Whether it may administer.
    pub admin: bool,
    /// When it was registered, in Unix ms.
    pub created: u64,
    /// Bytes that it may store; `None`: what all accounts may.
    pub quota: Option<u64>,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "User({} {:?} {:?})", self.id.0, self.name, self.state)
    }
}

/// The columns of `users` that [`from_row`] reads, in its order.
pub(super) const COLUMNS: &str =
    "users.id, users.name, users.password, users.active, users.admin, users.created, users.quota";

pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: UserId(row.get(0)?),
        name: row.get(1)?,
        password: row.get(2)?,
        state: if row.get(3)? { State::Active } else { State::Disabled },
        admin: row.get(4)?,
        created: unsql(row.get(5)?),
        quota: row.get::<_, Option<i64>>(6)?.map(unsql),
    })
}

/// Whether there is such an account.
pub fn exists(conn: &Connection, id: UserId) -> Result<bool, Fail> {
    prepare(conn, "SELECT 1 FROM users WHERE id = ?1")?.exists([id.0]).map_err(Fail::internal)
}

/// Makes an account. BADARGS for what is no user name; EXISTS when the name is taken, in whatever case.
/// `password` is a PHC string ([`super::password::hash`]).
pub fn create(conn: &Connection, name: &str, password: &str, now: u64) -> Result<UserId, Fail> {
    name::check_user(name)?;
    let text = "INSERT INTO users (name, folded, password, created) VALUES (?1, ?2, ?3, ?4)
                ON CONFLICT (folded) DO NOTHING";
    let made =
        prepare(conn, text)?.execute(params![name, name::fold(name), password, sql(now)]).map_err(Fail::internal)?;
    match made {
        0 => Err(Fail::new(Code::Exists, "the name is taken")),
        _ => Ok(UserId(conn.last_insert_rowid())),
    }
}

/// The account of a name, in whatever case.
pub fn find(conn: &Connection, name: &str) -> Result<Option<User>, Fail> {
    prepare(conn, &format!("SELECT {COLUMNS} FROM users WHERE folded = ?1"))?
        .query_row([name::fold(name)], from_row)
        .optional()
        .map_err(Fail::internal)
}

/// The account of a number.
pub fn get(conn: &Connection, user: UserId) -> Result<Option<User>, Fail> {
    prepare(conn, &format!("SELECT {COLUMNS} FROM users WHERE id = ?1"))?
        .query_row([user.0], from_row)
        .optional()
        .map_err(Fail::internal)
}

/// Accounts ordered by folded name: those after the name `after` (empty: from the first), at most `limit` and
/// at most [`MAX_LIST`].
pub fn list(conn: &Connection, after: &str, limit: usize) -> Result<Vec<User>, Fail> {
    let limit = sql(limit.min(MAX_LIST) as u64);
    prepare(conn, &format!("SELECT {COLUMNS} FROM users WHERE folded > ?1 ORDER BY folded LIMIT ?2"))?
        .query_map(params![name::fold(after), limit], from_row)
        .and_then(Iterator::collect)
        .map_err(Fail::internal)
}

/// How many accounts there are.
pub fn count(conn: &Connection) -> Result<u64, Fail> {
    let count = prepare(conn, "SELECT count(*) FROM users")?.query_row([], |row| row.get(0));
    count.map(unsql).map_err(Fail::internal)
}

/// Enables or disables an account. Its tokens stay, and are refused while it is disabled. NOTFOUND.
pub fn set_state(conn: &Connection, user: UserId, state: State) -> Result<(), Fail> {
    change(conn, "UPDATE users SET active = ?2 WHERE id = ?1", user, state == State::Active)
}

/// Makes an account an administrator's, or takes that back. NOTFOUND.
pub fn set_admin(conn: &Connection, user: UserId, admin: bool) -> Result<(), Fail> {
    change(conn, "UPDATE users SET admin = ?2 WHERE id = ?1", user, admin)
}

/// Sets what an account may store, in bytes; `None`: what all may. NOTFOUND.
pub fn set_quota(conn: &Connection, user: UserId, bytes: Option<u64>) -> Result<(), Fail> {
    change(conn, "UPDATE users SET quota = ?2 WHERE id = ?1", user, bytes.map(sql))
}

/// Sets a password (a PHC string), and revokes all tokens: whoever stole one is out. NOTFOUND.
pub fn set_password(conn: &Connection, user: UserId, password: &str) -> Result<(), Fail> {
    change(conn, "UPDATE users SET password = ?2 WHERE id = ?1", user, password)?;
    super::tokens::revoke(conn, user).map(drop)
}

/// Deletes an account with its tokens and keys. Its name is free again, its number is not. NOTFOUND.
pub fn delete(conn: &Connection, user: UserId) -> Result<(), Fail> {
    super::tokens::revoke(conn, user)?;
    super::keyring::remove_all(conn, user)?;
    match prepare(conn, "DELETE FROM users WHERE id = ?1")?.execute([user.0]).map_err(Fail::internal)? {
        0 => Err(no_such_user()),
        _ => Ok(()),
    }
}

fn change(conn: &Connection, text: &str, user: UserId, value: impl rusqlite::ToSql) -> Result<(), Fail> {
    match prepare(conn, text)?.execute(params![user.0, value]).map_err(Fail::internal)? {
        0 => Err(no_such_user()),
        _ => Ok(()),
    }
}

fn no_such_user() -> Fail {
    Fail::new(Code::NotFound, "no such user")
}

#[cfg(test)]
pub(super) mod tests;
