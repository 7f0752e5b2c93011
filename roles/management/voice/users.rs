//! Voice users in the database: those of accounts, which are made when they are first needed, and those that have none.

use rusqlite::params;
use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Row;

use super::ids;
use crate::accounts::users;
use crate::accounts::users::State;
use crate::accounts::users::UserId;
use crate::voice::Rights;
use crate::wire::Code;
use crate::wire::Fail;

/// The tables of voice.
pub const SCHEMA: &str = "
CREATE TABLE voice_users (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, -- the upper half of the uid; never used again
    low INTEGER NOT NULL,                  -- the lower half
    account INTEGER UNIQUE,                -- NULL: it has none
    rights INTEGER NOT NULL,
    counter INTEGER                        -- of the last signed request, as its 64 bits; NULL: there was none
) STRICT;
CREATE INDEX voice_users_alone ON voice_users (seq) WHERE account IS NULL;
CREATE TABLE voice_kept (                  -- of accounts whose voice user was deleted: what the next one may do
    account INTEGER PRIMARY KEY,
    rights INTEGER NOT NULL
) STRICT;
CREATE TABLE voice_channels (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, -- the upper half of the id; never used again
    low INTEGER NOT NULL,
    owner INTEGER NOT NULL,                -- a uid, perhaps deleted since; 0: nobody
    signed INTEGER NOT NULL,
    name TEXT,
    folded TEXT UNIQUE,
    workspace TEXT UNIQUE,                 -- NULL: it stands alone
    used INTEGER NOT NULL                  -- when it was joined last, in Unix ms; 0: it stands alone
) STRICT;
CREATE INDEX voice_channels_alone ON voice_channels (owner) WHERE workspace IS NULL;
CREATE INDEX voice_channels_by_use ON voice_channels (used) WHERE workspace IS NOT NULL;
CREATE INDEX keys_by_public ON keys (public, created);
";

/// Voice users without an account.
const ALONE: u64 = 10_000;

/// A voice user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoiceUser {
    pub uid: u64,
    pub account: Option<UserId>,
    pub rights: Rights,
    /// Of its last signed request.
    pub counter: Option<u64>,
    /// Its account's name as registered; empty: it has none.
    pub name: String,
    /// Its account is not disabled.
    pub active: bool,
}

const TEXT: &str = "SELECT v.seq, v.low, v.account, v.rights, v.counter, u.name, u.active
    FROM voice_users v LEFT JOIN users u ON u.id = v.account";

fn row(row: &Row<'_>) -> rusqlite::Result<(i64, u32, VoiceUser)> {
    let account: Option<i64> = row.get(2)?;
    let active: Option<bool> = row.get(6)?;
    let user = VoiceUser {
        uid: 0,
        account: account.map(UserId),
        rights: Rights(ids::unsql(row.get(3)?)),
        counter: row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
        name: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
        active: account.is_none() || active == Some(true),
    };
    Ok((row.get(0)?, row.get(1)?, user))
}

fn one(db: &Connection, condition: &str, values: impl rusqlite::Params) -> Result<Option<VoiceUser>, Fail> {
    let mut statement = db.prepare_cached(&format!("{TEXT} WHERE {condition}")).map_err(Fail::internal)?;
    let found = statement.query_row(values, row).optional().map_err(Fail::internal)?;
    found.map(|(seq, low, user)| Ok(VoiceUser { uid: ids::join(seq, low)?, ..user })).transpose()
}

/// The voice user of a uid.
///
/// # Errors
/// NOTFOUND.
pub fn get(db: &Connection, uid: u64) -> Result<VoiceUser, Fail> {
    let unknown = || Fail::new(Code::NotFound, "there is no such voice user");
    one(db, "v.seq = ?1 AND v.low = ?2", ids::split(uid))?.ok_or_else(unknown)
}

/// The voice user of a uid, who asks for something.
///
/// # Errors
/// NOTFOUND; DENIED: its account is disabled.
pub fn acting(db: &Connection, uid: u64) -> Result<VoiceUser, Fail> {
    let user = get(db, uid)?;
    match user.active {
        true => Ok(user),
        false => Err(Fail::new(Code::Denied, "this account is disabled")),
    }
}

/// The voice user of an account that is there and not disabled. It is made, with these rights, if there is none.
///
/// # Errors
/// DENIED: the account is disabled, or gone.
pub fn of_account(db: &Connection, account: UserId, low: u32, rights: Rights) -> Result<VoiceUser, Fail> {
    let active = users::get(db, account)?.is_some_and(|user| user.state == State::Active);
    if !active {
        return Err(Fail::new(Code::Denied, "this account is disabled, or gone"));
    }
    if let Some(user) = find(db, account)? {
        return Ok(user);
    }
    let mut kept = db.prepare_cached("SELECT rights FROM voice_kept WHERE account = ?1").map_err(Fail::internal)?;
    let kept = kept.query_row([account.0], |row| row.get(0).map(ids::unsql)).optional().map_err(Fail::internal)?;
    insert(db, Some(account), low, kept.map_or(rights, Rights))?;
    forget_kept(db, account)?;
    find(db, account)?.ok_or_else(|| Fail::internal("a voice user that was made is not there"))
}

/// The voice user of an account, if it has one so far.
///
/// # Errors
/// INTERNAL.
pub fn find(db: &Connection, account: UserId) -> Result<Option<VoiceUser>, Fail> {
    one(db, "v.account = ?1", [account.0])
}

/// Makes a voice user without an account.
///
/// # Errors
/// LIMIT.
pub fn create(db: &Connection, low: u32, rights: Rights) -> Result<u64, Fail> {
    let text = "SELECT count(*) FROM voice_users WHERE account IS NULL";
    let mut count = db.prepare_cached(text).map_err(Fail::internal)?;
    let count = count.query_row([], |row| row.get(0).map(ids::unsql)).map_err(Fail::internal)?;
    if count >= ALONE {
        return Err(Fail::new(Code::Limit, "there are 10,000 voice users without an account"));
    }
    insert(db, None, low, rights)
}

fn insert(db: &Connection, account: Option<UserId>, low: u32, rights: Rights) -> Result<u64, Fail> {
    let text = "INSERT INTO voice_users (low, account, rights) VALUES (?1, ?2, ?3)";
    let mut statement = db.prepare_cached(text).map_err(Fail::internal)?;
    let seq = statement.insert(params![low, account.map(|id| id.0), ids::sql(rights.0)]).map_err(Fail::internal)?;
    ids::join(seq, low)
}

/// A signed request of this user came: its counter is taken.
///
/// # Errors
/// DENIED: it is not greater than the last.
pub fn count(db: &Connection, user: &VoiceUser, counter: u64) -> Result<(), Fail> {
    if user.counter.is_some_and(|last| counter <= last) {
        return Err(Fail::new(Code::Denied, "this request was sent before: the counter must rise"));
    }
    let text = "UPDATE voice_users SET counter = ?2 WHERE seq = ?1";
    let mut statement = db.prepare_cached(text).map_err(Fail::internal)?;
    statement.execute([ids::split(user.uid).0, counter.cast_signed()]).map(drop).map_err(Fail::internal)
}

/// Sets what a voice user may do.
///
/// # Errors
/// INTERNAL.
pub fn set_rights(db: &Connection, uid: u64, rights: Rights) -> Result<(), Fail> {
    let mut statement =
        db.prepare_cached("UPDATE voice_users SET rights = ?2 WHERE seq = ?1").map_err(Fail::internal)?;
    statement.execute(params![ids::split(uid).0, ids::sql(rights.0)]).map(drop).map_err(Fail::internal)
}

/// Deletes a voice user. Who has an account gets no other rights by it: the next voice user of the account has these.
///
/// # Errors
/// INTERNAL.
pub fn delete(db: &Connection, user: &VoiceUser) -> Result<(), Fail> {
    if let Some(account) = user.account {
        let text = "INSERT OR REPLACE INTO voice_kept (account, rights) VALUES (?1, ?2)";
        let mut statement = db.prepare_cached(text).map_err(Fail::internal)?;
        statement.execute(params![account.0, ids::sql(user.rights.0)]).map_err(Fail::internal)?;
    }
    let mut statement = db.prepare_cached("DELETE FROM voice_users WHERE seq = ?1").map_err(Fail::internal)?;
    statement.execute([ids::split(user.uid).0]).map(drop).map_err(Fail::internal)
}

fn forget_kept(db: &Connection, account: UserId) -> Result<(), Fail> {
    let mut statement = db.prepare_cached("DELETE FROM voice_kept WHERE account = ?1").map_err(Fail::internal)?;
    statement.execute([account.0]).map(drop).map_err(Fail::internal)
}

/// An account is being deleted, and its voice user with it.
///
/// # Errors
/// INTERNAL.
pub fn account_deleted(db: &Connection, account: UserId) -> Result<(), Fail> {
    let mut statement = db.prepare_cached("DELETE FROM voice_users WHERE account = ?1").map_err(Fail::internal)?;
    statement.execute([account.0]).map_err(Fail::internal)?;
    forget_kept(db, account)
}

/// Those behind a uid, in the order in which they were made.
///
/// # Errors
/// INTERNAL.
pub fn list(db: &Connection, after: u64, count: usize) -> Result<Vec<VoiceUser>, Fail> {
    let text = format!("{TEXT} WHERE v.seq > ?1 ORDER BY v.seq LIMIT ?2");
    let mut statement = db.prepare_cached(&text).map_err(Fail::internal)?;
    let rows =
        statement.query_map(params![ids::split(after).0, ids::sql(count as u64)], row).map_err(Fail::internal)?;
    rows.map(|found| {
        let (seq, low, user) = found.map_err(Fail::internal)?;
        Ok(VoiceUser { uid: ids::join(seq, low)?, ..user })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::MIGRATIONS;
    use super::*;

    pub fn database() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        MIGRATIONS.iter().for_each(|text| db.execute_batch(text).unwrap());
        db
    }

    #[test]
    fn no_uid_is_given_twice() {
        let db = database();
        let first = create(&db, 5, Rights(8)).unwrap();
        assert_eq!(first, 1 << 32 | 5);
        delete(&db, &get(&db, first).unwrap()).unwrap();
        assert_eq!(get(&db, first).unwrap_err().code, Code::NotFound);
        let second = create(&db, 5, Rights(8)).unwrap();
        assert_eq!(second, 2 << 32 | 5);
        for wrong in [0, 5, second + 1, second ^ 1 << 63, u64::MAX] {
            assert_eq!(get(&db, wrong).unwrap_err().code, Code::NotFound, "{wrong}");
        }
        assert_eq!(list(&db, 0, 9).unwrap(), [get(&db, second).unwrap()]);
        assert!(list(&db, second, 9).unwrap().is_empty());
    }

    #[test]
    fn an_account_has_one_and_keeps_its_rights() {
        let db = database();
        let alice = users::create(&db, "Alice", "x", 0).unwrap();
        let user = of_account(&db, alice, 1, Rights(8)).unwrap();
        assert_eq!((user.name.as_str(), user.rights, user.active), ("Alice", Rights(8), true));
        assert_eq!(of_account(&db, alice, 2, Rights(16)).unwrap(), user);
        set_rights(&db, user.uid, Rights(0)).unwrap();
        delete(&db, &acting(&db, user.uid).unwrap()).unwrap();
        let again = of_account(&db, alice, 1, Rights(8)).unwrap();
        assert_eq!(again.rights, Rights(0));
        assert_ne!(again.uid, user.uid);
        users::set_state(&db, alice, State::Disabled).unwrap();
        assert_eq!(acting(&db, again.uid).unwrap_err().code, Code::Denied);
        assert_eq!(of_account(&db, alice, 1, Rights(8)).unwrap_err().code, Code::Denied);
        account_deleted(&db, alice).unwrap();
        users::delete(&db, alice).unwrap();
        assert_eq!(get(&db, again.uid).unwrap_err().code, Code::NotFound);
        assert_eq!(of_account(&db, alice, 1, Rights(8)).unwrap_err().code, Code::Denied);
    }

    #[test]
    fn counters_rise_over_all_64_bits() {
        let db = database();
        let uid = create(&db, 1, Rights(0)).unwrap();
        for (counter, good) in
            [(0, true), (0, false), (7, true), (6, false), (1 << 63, true), (8, false), (u64::MAX, true)]
        {
            let taken = count(&db, &get(&db, uid).unwrap(), counter);
            assert_eq!(taken.is_ok(), good, "{counter}");
        }
        assert_eq!(get(&db, uid).unwrap().counter, Some(u64::MAX));
    }

    #[test]
    fn those_without_an_account_are_bounded() {
        let db = database();
        let fill = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10000)
                    INSERT INTO voice_users (low, rights) SELECT 1, 0 FROM n";
        db.execute(fill, []).unwrap();
        assert_eq!(create(&db, 1, Rights(0)).unwrap_err().code, Code::Limit);
        let alice = users::create(&db, "alice", "x", 0).unwrap();
        of_account(&db, alice, 1, Rights(0)).unwrap();
    }
}
