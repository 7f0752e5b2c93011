//! The public keys that users have registered, each under a label that its user chose.

use rusqlite::params;
use rusqlite::Connection;
use rusqlite::OptionalExtension;

use super::prepare;
use super::sql;
use super::unsql;
use super::users::UserId;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// Keys of one user.
pub const MAX_PER_USER: usize = 16;

/// A key that may sign on in its user's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// What its user calls it.
    pub label: String,
    /// The Ed25519 public key.
    pub public: [u8; 32],
    /// When it was added, in Unix ms.
    pub created: u64,
}

/// Adds a key. BADARGS for a label that is no name, EXISTS when the label or the key is there, LIMIT beyond
/// [`MAX_PER_USER`].
pub fn add(conn: &Connection, user: UserId, label: &str, public: &[u8; 32], now: u64) -> Result<(), Fail> {
    name::check(label)?;
    let count = prepare(conn, "SELECT count(*) FROM keys WHERE user = ?1")?
        .query_row([user.0], |row| row.get(0).map(unsql))
        .map_err(Fail::internal)?;
    if count >= MAX_PER_USER as u64 {
        return Err(Fail::new(Code::Limit, "a user has at most 16 keys"));
    }
    let text = "INSERT INTO keys (user, label, public, created) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
    match prepare(conn, text)?.execute(params![user.0, label, public, sql(now)]).map_err(Fail::internal)? {
        0 => Err(Fail::new(Code::Exists, "this label or this key is there already")),
        _ => Ok(()),
    }
}

/// The keys of a user, ordered by label.
pub fn list(conn: &Connection, user: UserId) -> Result<Vec<Key>, Fail> {
    prepare(conn, "SELECT label, public, created FROM keys WHERE user = ?1 ORDER BY label")?
        .query_map([user.0], |row| Ok(Key { label: row.get(0)?, public: row.get(1)?, created: unsql(row.get(2)?) }))
        .and_then(Iterator::collect)
        .map_err(Fail::internal)
}

/// The account that a key is of. Nobody proves to have the key that he adds, so that several may name one: it is of who named it first.
pub fn holder(conn: &Connection, public: &[u8; 32]) -> Result<Option<UserId>, Fail> {
    prepare(conn, "SELECT user FROM keys WHERE public = ?1 ORDER BY created, user LIMIT 1")?
        .query_row([public], |row| row.get(0).map(UserId))
        .optional()
        .map_err(Fail::internal)
}

/// Removes a key. NOTFOUND.
pub fn remove(conn: &Connection, user: UserId, label: &str) -> Result<(), Fail> {
    let text = "DELETE FROM keys WHERE user = ?1 AND label = ?2";
    match prepare(conn, text)?.execute(params![user.0, label]).map_err(Fail::internal)? {
        0 => Err(Fail::new(Code::NotFound, "no key has this label")),
        _ => Ok(()),
    }
}

/// Removes all keys of a user.
pub fn remove_all(conn: &Connection, user: UserId) -> Result<(), Fail> {
    prepare(conn, "DELETE FROM keys WHERE user = ?1")?.execute([user.0]).map(drop).map_err(Fail::internal)
}

#[cfg(test)]
mod tests {
    use super::super::users;
    use super::super::users::tests::database;
    use super::*;

    #[test]
    fn added_listed_removed() {
        let conn = database();
        let alice = users::create(&conn, "alice", "x", 0).unwrap();
        let bob = users::create(&conn, "bob", "x", 0).unwrap();
        add(&conn, alice, "phone", &[2; 32], 5).unwrap();
        add(&conn, alice, "laptop", &[1; 32], 6).unwrap();
        add(&conn, bob, "laptop", &[1; 32], 7).unwrap();
        let keys = list(&conn, alice).unwrap();
        assert_eq!(keys[0], Key { label: "laptop".into(), public: [1; 32], created: 6 });
        assert_eq!(keys[1].label, "phone");
        for (label, public) in [("laptop", [9; 32]), ("new", [1; 32])] {
            assert_eq!(add(&conn, alice, label, &public, 8).unwrap_err().code, Code::Exists);
        }
        assert_eq!(add(&conn, alice, "a|b", &[9; 32], 8).unwrap_err().code, Code::BadArgs);
        assert_eq!(holder(&conn, &[1; 32]).unwrap(), Some(alice), "bob named it later");
        assert_eq!(holder(&conn, &[9; 32]).unwrap(), None);
        remove(&conn, alice, "laptop").unwrap();
        assert_eq!(remove(&conn, alice, "laptop").unwrap_err().code, Code::NotFound);
        assert_eq!(holder(&conn, &[1; 32]).unwrap(), Some(bob));
        assert_eq!(list(&conn, alice).unwrap().len(), 1);
        assert_eq!(list(&conn, bob).unwrap().len(), 1);
    }

    #[test]
    fn bounded() {
        let conn = database();
        let alice = users::create(&conn, "alice", "x", 0).unwrap();
        for n in 0..16u8 {
            add(&conn, alice, &format!("k{n}"), &[n; 32], 0).unwrap();
        }
        assert_eq!(add(&conn, alice, "more", &[99; 32], 0).unwrap_err().code, Code::Limit);
    }
}
