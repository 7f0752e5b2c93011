//! Session tokens: they stand in for the password at the next sign-on. Only their hashes are stored.

use crate::wire::hex;
use rusqlite::params;
use rusqlite::Connection;
use rusqlite::OptionalExtension;

use super::prepare;
use super::secret;
use super::sql;
use super::users;
use super::users::User;
use super::users::UserId;
use super::DAY;
use crate::wire::Fail;

/// Tokens of one user. One more, and its oldest goes.
pub const MAX_PER_USER: usize = 32;
/// Tokens that one [`expire`] deletes at most, so that it never holds up the writer for long.
pub const EXPIRE_STEP: usize = 1000;

/// A new token, 64 hexadecimal digits, good for `days` days.
pub fn issue(conn: &Connection, user: UserId, now: u64, days: u64) -> Result<String, Fail> {
    issue_as(conn, user, &secret::system()?, now, days)
}

/// The same with the 32 random bytes that the caller has (a simulation has its own).
pub fn issue_as(conn: &Connection, user: UserId, bytes: &[u8; 32], now: u64, days: u64) -> Result<String, Fail> {
    let token = hex::encode(bytes);
    let surplus = "DELETE FROM tokens WHERE user = ?1 AND (expires <= ?2 OR seq IN (
                       SELECT seq FROM tokens WHERE user = ?1 ORDER BY seq DESC LIMIT -1 OFFSET ?3))";
    let others = sql(MAX_PER_USER as u64 - 1);
    prepare(conn, surplus)?.execute(params![user.0, sql(now), others]).map_err(Fail::internal)?;
    let expires = now.saturating_add(days.saturating_mul(DAY));
    prepare(conn, "INSERT INTO tokens (hash, user, created, expires) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![secret::sha256(token.as_bytes()), user.0, sql(now), sql(expires)])
        .map_err(Fail::internal)?;
    Ok(token)
}

/// The account that the token belongs to, if that is the one named `folded`, active, and the token is not over.
/// The time taken tells nothing: what is looked up is a hash, which a guesser does not control.
pub fn check(conn: &Connection, folded: &str, token: &str, now: u64) -> Result<Option<User>, Fail> {
    let text = format!(
        "SELECT {} FROM tokens JOIN users ON users.id = tokens.user
         WHERE tokens.hash = ?1 AND tokens.expires > ?2 AND users.folded = ?3 AND users.active",
        users::COLUMNS
    );
    prepare(conn, &text)?
        .query_row(params![secret::sha256(token.as_bytes()), sql(now), folded], users::from_row)
        .optional()
        .map_err(Fail::internal)
}

/// Revokes all tokens of a user: how many there were.
pub fn revoke(conn: &Connection, user: UserId) -> Result<usize, Fail> {
    prepare(conn, "DELETE FROM tokens WHERE user = ?1")?.execute([user.0]).map_err(Fail::internal)
}

/// Deletes tokens that are over, at most [`EXPIRE_STEP`]: how many.
pub fn expire(conn: &Connection, now: u64) -> Result<usize, Fail> {
    let text = "DELETE FROM tokens WHERE seq IN (SELECT seq FROM tokens WHERE expires <= ?1 LIMIT ?2)";
    prepare(conn, text)?.execute(params![sql(now), sql(EXPIRE_STEP as u64)]).map_err(Fail::internal)
}

#[cfg(test)]
mod tests {
    use super::super::users::tests::database;
    use super::*;

    #[test]
    fn good_for_its_user_and_its_days() {
        let conn = database();
        let alice = users::create(&conn, "Alice", "x", 0).unwrap();
        users::create(&conn, "bob", "x", 0).unwrap();
        let token = issue(&conn, alice, 1000, 30).unwrap();
        assert_eq!(token.len(), 64);
        let who = |name, token: &str, now| check(&conn, name, token, now).unwrap().map(|user| user.id);
        assert_eq!(who("alice", &token, 1000), Some(alice));
        assert_eq!(who("alice", &token, 999 + 30 * DAY), Some(alice));
        assert_eq!(who("alice", &token, 1000 + 30 * DAY), None);
        assert_eq!(who("bob", &token, 1000), None);
        for bad in ["", "x", &token[1..], &token.to_uppercase().replace('0', "1")] {
            assert_eq!(who("alice", bad, 1000), None);
        }
        let mut stored = conn.prepare("SELECT hash FROM tokens").unwrap();
        let stored: Vec<u8> = stored.query_row([], |row| row.get(0)).unwrap();
        assert_ne!(hex::encode(&stored), token, "only the hash is stored");
    }

    #[test]
    fn a_disabled_user_and_revoked_tokens() {
        let conn = database();
        let alice = users::create(&conn, "alice", "x", 0).unwrap();
        let token = issue(&conn, alice, 0, 30).unwrap();
        users::set_state(&conn, alice, users::State::Disabled).unwrap();
        assert!(check(&conn, "alice", &token, 1).unwrap().is_none());
        users::set_state(&conn, alice, users::State::Active).unwrap();
        assert!(check(&conn, "alice", &token, 1).unwrap().is_some());
        assert_eq!(revoke(&conn, alice).unwrap(), 1);
        assert!(check(&conn, "alice", &token, 1).unwrap().is_none());
        assert_eq!(revoke(&conn, alice).unwrap(), 0);
    }

    #[test]
    fn bounded_and_the_oldest_goes() {
        let conn = database();
        let alice = users::create(&conn, "alice", "x", 0).unwrap();
        let bob = users::create(&conn, "bob", "x", 0).unwrap();
        let other = issue(&conn, bob, 0, 30).unwrap();
        let tokens: Vec<_> = (0..MAX_PER_USER + 3).map(|_| issue(&conn, alice, 7, 30).unwrap()).collect();
        let good: Vec<_> = tokens.iter().map(|t| check(&conn, "alice", t, 8).unwrap().is_some()).collect();
        assert!(good[..3].iter().all(|good| !good));
        assert!(good[3..].iter().all(|good| *good));
        assert!(check(&conn, "bob", &other, 8).unwrap().is_some());
    }

    #[test]
    fn expired_ones_are_deleted() {
        let conn = database();
        let alice = users::create(&conn, "alice", "x", 0).unwrap();
        for n in 0..5u8 {
            issue_as(&conn, alice, &[n; 32], u64::from(n), 1).unwrap();
        }
        assert_eq!(expire(&conn, DAY + 2).unwrap(), 3);
        assert_eq!(expire(&conn, DAY + 2).unwrap(), 0);
        assert_eq!(revoke(&conn, alice).unwrap(), 2);
    }
}
