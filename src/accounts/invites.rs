//! Invite codes: the operator makes them, each lets one person register. Only their hashes are stored.

use rusqlite::params;
use rusqlite::Connection;
use rusqlite::OptionalExtension;
use zeroize::Zeroizing;

use super::prepare;
use super::secret;
use super::sql;
use super::unsql;
use super::users::UserId;
use super::DAY;
use crate::wire::Code;
use crate::wire::Fail;

/// Invites open at once: more than anyone hands out by hand.
pub const MAX_OPEN: u64 = 10_000;

/// 32 letters and digits, without those that look like others: I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Letters of a code, of 5 random bits each: 80 bits.
const LETTERS: usize = 16;

/// Makes a code like `K7QM-2XWP-9RTV-HB3N`, good for `days` days. LIMIT when [`MAX_OPEN`] are open.
pub fn make(conn: &Connection, now: u64, days: u64) -> Result<String, Fail> {
    make_as(conn, &secret::system()?, now, days)
}

/// The same with the random bytes that the caller has (a simulation has its own).
pub fn make_as(conn: &Connection, bytes: &[u8; LETTERS], now: u64, days: u64) -> Result<String, Fail> {
    let run = |text| prepare(conn, text)?.execute([sql(now)]).map_err(Fail::internal);
    run("DELETE FROM invites WHERE used_by IS NULL AND expires <= ?1")?;
    let open = prepare(conn, "SELECT count(*) FROM invites WHERE used_by IS NULL")?
        .query_row([], |row| row.get(0).map(unsql))
        .map_err(Fail::internal)?;
    if open >= MAX_OPEN {
        return Err(Fail::new(Code::Limit, "10000 invites are open; wait until some are used or over"));
    }
    let letters: Vec<char> = bytes.iter().map(|b| char::from(ALPHABET[usize::from(b % 32)])).collect();
    let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
    let code = groups.join("-");
    let expires = now.saturating_add(days.saturating_mul(DAY));
    prepare(conn, "INSERT INTO invites (hash, created, expires) VALUES (?1, ?2, ?3)")?
        .execute(params![hash(&code), sql(now), sql(expires)])
        .map_err(Fail::internal)?;
    Ok(code)
}

/// Codes that somebody may register with still: when each was made, and until when it is good; oldest first. In Unix ms; at most
/// [`MAX_OPEN`].
pub fn open(conn: &Connection, now: u64) -> Result<Vec<(u64, u64)>, Fail> {
    let text = "SELECT created, expires FROM invites WHERE used_by IS NULL AND expires > ?1 ORDER BY created, expires";
    prepare(conn, text)?
        .query_map([sql(now)], |row| Ok((unsql(row.get(0)?), unsql(row.get(1)?))))
        .and_then(Iterator::collect)
        .map_err(Fail::internal)
}

/// Whether the code would be redeemed: FAIL WRONG otherwise. Asked before the password is hashed, which costs.
pub fn check(conn: &Connection, code: &str, now: u64) -> Result<(), Fail> {
    let found: Option<(Option<i64>, i64)> = prepare(conn, "SELECT used_by, expires FROM invites WHERE hash = ?1")?
        .query_row([hash(code)], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .map_err(Fail::internal)?;
    // Whoever has the code may know what became of it: nobody guesses 80 bits.
    let wrong = |text| Err(Fail::new(Code::Wrong, text));
    match found {
        None => wrong("no such invite code"),
        Some((Some(_), _)) => wrong("this invite code was used already"),
        Some((None, expires)) if unsql(expires) <= now => wrong("this invite code is too old; ask for another"),
        Some((None, _)) => Ok(()),
    }
}

/// Redeems a code for the account that the same transaction made: FAIL WRONG as [`check`], and the caller
/// then undoes the account.
pub fn redeem(conn: &Connection, code: &str, user: UserId, now: u64) -> Result<(), Fail> {
    check(conn, code, now)?;
    let text = "UPDATE invites SET used_by = ?2 WHERE hash = ?1 AND used_by IS NULL";
    prepare(conn, text)?.execute(params![hash(code), user.0]).map(drop).map_err(Fail::internal)
}

/// The hash of a code as a person may type it: any case, any dashes and spaces, O for 0, I and L for 1.
fn hash(code: &str) -> [u8; 32] {
    // A code is short; of what is longer, the rest says nothing that would make it right.
    let plain: Zeroizing<String> = Zeroizing::new(
        code.chars()
            .filter(|c| !c.is_whitespace() && *c != '-')
            .take(LETTERS + 1)
            .map(|c| match c.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            })
            .collect(),
    );
    secret::sha256(plain.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::users;
    use super::super::users::tests::database;
    use super::*;

    fn redeem_for(conn: &mut Connection, name: &str, code: &str, now: u64) -> Result<(), Fail> {
        let tx = conn.transaction().unwrap();
        let user = users::create(&tx, name, "x", now)?;
        redeem(&tx, code, user, now)?;
        tx.commit().unwrap();
        Ok(())
    }

    #[test]
    fn one_use() {
        let mut conn = database();
        let code = make(&conn, 0, 7).unwrap();
        assert_eq!(code.len(), 19);
        assert_eq!((open(&conn, 1).unwrap(), open(&conn, 7 * DAY).unwrap()), (vec![(0, 7 * DAY)], vec![]));
        assert!(code.bytes().all(|b| b == b'-' || ALPHABET.contains(&b)), "{code}");
        assert!(check(&conn, &code, 1).is_ok());
        redeem_for(&mut conn, "alice", &code, 1).unwrap();
        assert_eq!(check(&conn, &code, 1).unwrap_err().code, Code::Wrong);
        assert_eq!(open(&conn, 1).unwrap(), []);
        assert_eq!(redeem_for(&mut conn, "bob", &code, 1).unwrap_err().code, Code::Wrong);
        assert!(users::find(&conn, "bob").unwrap().is_none(), "the account is undone");
    }

    #[test]
    fn a_taken_name_does_not_use_it_up() {
        let mut conn = database();
        users::create(&conn, "alice", "x", 0).unwrap();
        let code = make(&conn, 0, 7).unwrap();
        assert_eq!(redeem_for(&mut conn, "ALICE", &code, 1).unwrap_err().code, Code::Exists);
        redeem_for(&mut conn, "bob", &code, 1).unwrap();
    }

    #[test]
    fn as_people_type_it() {
        let conn = database();
        let code = make_as(&conn, &[0, 1, 10, 31, 0, 1, 10, 31, 0, 1, 10, 31, 0, 1, 10, 31], 0, 7).unwrap();
        assert_eq!(code, "01AZ-01AZ-01AZ-01AZ");
        for typed in ["01az01az01az01az", " oiaz olaz-OIAZ-0LAZ\n", &code] {
            assert!(check(&conn, typed, 1).is_ok(), "{typed:?}");
        }
        for wrong in ["", "01AZ", "01AZ-01AZ-01AZ-01AZ-0", "01AZ-01AZ-01AZ-01AY"] {
            assert_eq!(check(&conn, wrong, 1).unwrap_err().code, Code::Wrong, "{wrong:?}");
        }
    }

    #[test]
    fn its_time_and_the_bound() {
        let mut conn = database();
        let code = make(&conn, 0, 1).unwrap();
        assert!(check(&conn, &code, DAY - 1).is_ok());
        assert_eq!(redeem_for(&mut conn, "alice", &code, DAY).unwrap_err().code, Code::Wrong);
        let many = "INSERT INTO invites (hash, created, expires)
                    WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                    SELECT CAST(i AS BLOB), 0, ?2 FROM n";
        conn.execute(many, params![sql(MAX_OPEN - 1), sql(DAY)]).unwrap();
        make(&conn, 0, 1).unwrap();
        assert_eq!(make(&conn, 0, 1).unwrap_err().code, Code::Limit);
        assert!(make(&conn, DAY, 1).is_ok(), "the old ones are gone");
    }
}
