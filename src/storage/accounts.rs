//! Accounts: who may ask, what each uses, and what goes when one is removed.

use rusqlite::params;
use rusqlite::Connection;
use rusqlite::OptionalExtension;

use super::objects;
use super::objects::Growth;
use super::prepare;
use super::sql;
use super::unsql;
use super::Caller;
use super::FOREIGN;
use super::MAX_ITEMS;
use crate::wire::name;
use crate::wire::Code;
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
    if caller.account == 0 || caller.account >= FOREIGN {
        return Err(Fail::internal("no account has this number"));
    }
    if known(db, caller.account)? {
        return Ok(false);
    }
    let leaving = prepare(db, "SELECT 1 FROM leaving WHERE account = ?1")?.exists([sql(caller.account)]);
    if leaving.map_err(Fail::internal)? {
        return Err(unknown());
    }
    if let Some(other) = find(db, &caller.name)? {
        remove(db, other.account)?;
    }
    let home = objects::create(db, caller.account, now)?;
    prepare(db, "INSERT INTO accounts (account, name, folded, home) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![sql(caller.account), caller.name, name::fold(&caller.name), home])
        .map_err(Fail::internal)?;
    Ok(true)
}

/// Whether an account is known.
pub fn known(db: &Connection, account: u64) -> Result<bool, Fail> {
    prepare(db, "SELECT 1 FROM accounts WHERE account = ?1")?.exists([sql(account)]).map_err(Fail::internal)
}

/// The account of a name, in whatever case.
pub fn find(db: &Connection, name: &str) -> Result<Option<Caller>, Fail> {
    prepare(db, "SELECT account, name FROM accounts WHERE folded = ?1")?
        .query_row([name::fold(name)], |row| Ok(Caller { account: unsql(row.get(0)?), name: row.get(1)? }))
        .optional()
        .map_err(Fail::internal)
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
    let text = "SELECT used, coalesce(quota, (SELECT value FROM settings WHERE key = 1)), items FROM accounts
                WHERE account = ?1";
    prepare(db, text)?
        .query_row([sql(account)], |row| {
            Ok(Usage { used: unsql(row.get(0)?), quota: unsql(row.get(1)?), items: unsql(row.get(2)?) })
        })
        .optional()
        .map_err(Fail::internal)?
        .ok_or_else(|| Fail::new(Code::NotFound, "no such account"))
}

/// What these accounts use, in their order; one that is not known uses nothing of the quota of all.
pub fn usages(db: &Connection, accounts: &[u64]) -> Result<Vec<(u64, Usage)>, Fail> {
    let quota = prepare(db, "SELECT value FROM settings WHERE key = 1")?.query_row([], |row| row.get(0).map(unsql));
    let unknown = Usage { quota: quota.map_err(Fail::internal)?, ..Usage::default() };
    let one = |account: &u64| match usage(db, *account) {
        Err(fail) if fail.code == Code::NotFound => Ok((*account, unknown)),
        found => found.map(|usage| (*account, usage)),
    };
    accounts.iter().map(one).collect()
}

/// Store lane. The quota of all accounts without their own.
pub fn set_default_quota(db: &Connection, bytes: u64) -> Result<(), Fail> {
    let text = "UPDATE settings SET value = ?1 WHERE key = 1";
    prepare(db, text)?.execute([sql(bytes)]).map(drop).map_err(Fail::internal)
}

/// Store lane. The quota of one account; `None`: that of all. NOTFOUND.
pub fn set_quota(db: &Connection, account: u64, bytes: Option<u64>) -> Result<(), Fail> {
    let text = "UPDATE accounts SET quota = ?2 WHERE account = ?1";
    match prepare(db, text)?.execute(params![sql(account), bytes.map(sql)]).map_err(Fail::internal)? {
        0 => Err(Fail::new(Code::NotFound, "no such account")),
        _ => Ok(()),
    }
}

/// Store lane. The same, for an account that may not be known; costs little when it has that quota already.
pub fn renew_quota(db: &Connection, account: u64, bytes: Option<u64>) -> Result<(), Fail> {
    let text = "UPDATE accounts SET quota = ?2 WHERE account = ?1 AND quota IS NOT ?2";
    prepare(db, text)?.execute(params![sql(account), bytes.map(sql)]).map(drop).map_err(Fail::internal)
}

/// Store lane. Removes an account: from now on nothing of it is seen, and its name is free. [`super::tend::step`]
/// cleans up behind it. False: it was not known.
pub fn remove(db: &Connection, account: u64) -> Result<bool, Fail> {
    let home: Option<i64> = prepare(db, "SELECT home FROM accounts WHERE account = ?1")?
        .query_row([sql(account)], |row| row.get(0))
        .optional()
        .map_err(Fail::internal)?;
    let Some(home) = home else { return Ok(false) };
    prepare(db, "DELETE FROM accounts WHERE account = ?1")?.execute([sql(account)]).map_err(Fail::internal)?;
    prepare(db, "INSERT OR IGNORE INTO leaving (account) VALUES (?1)")?
        .execute([sql(account)])
        .map_err(Fail::internal)?;
    objects::trash(db, home, true, sql(account))?;
    Ok(true)
}

/// Refuses a local caller that is not known: DENIED. Those of other realms were proven by their realm.
pub(super) fn admit(db: &Connection, caller: &Caller) -> Result<(), Fail> {
    match caller.is_foreign() || known(db, caller.account)? {
        true => Ok(()),
        false => Err(unknown()),
    }
}

fn unknown() -> Fail {
    Fail::new(Code::Denied, "this account is not known here")
}

/// Adds to what an account pays for. Only what grows can fail: QUOTA, LIMIT. An account that is gone pays for nothing more,
/// and takes back what it must.
pub(super) fn charge(db: &Connection, account: i64, growth: Growth) -> Result<(), Fail> {
    if growth == Growth::default() {
        return Ok(());
    }
    let text = "UPDATE accounts SET used = used + ?2, items = items + ?3 WHERE account = ?1
                AND (?2 <= 0 OR used + ?2 <= coalesce(quota, (SELECT value FROM settings WHERE key = 1)))
                AND (?3 <= 0 OR items + ?3 <= ?4)";
    let done =
        prepare(db, text)?.execute([account, growth.bytes, growth.items, sql(MAX_ITEMS)]).map_err(Fail::internal)?;
    if done == 1 || (growth.bytes <= 0 && growth.items <= 0) {
        return Ok(());
    }
    Err(refusal(db, account, growth)?)
}

/// Whether [`charge`] would fail.
pub(super) fn check_charge(db: &Connection, account: i64, growth: Growth) -> Result<(), Fail> {
    let Ok(now) = usage(db, unsql(account)) else { return Err(nobody_pays()) };
    let used = now.used.saturating_add(unsql(growth.bytes));
    if (growth.bytes > 0 && used > now.quota) || now.items.saturating_add(unsql(growth.items)) > MAX_ITEMS {
        return Err(refusal(db, account, growth)?);
    }
    Ok(())
}

fn refusal(db: &Connection, account: i64, growth: Growth) -> Result<Fail, Fail> {
    let Ok(now) = usage(db, unsql(account)) else { return Ok(nobody_pays()) };
    let full = growth.bytes > 0 && now.used.saturating_add(unsql(growth.bytes)) > now.quota;
    Ok(match full {
        true => Fail::new(Code::Quota, "the quota would be passed"),
        false => Fail::new(Code::Limit, "too many files, messages and changes"),
    })
}

fn nobody_pays() -> Fail {
    Fail::new(Code::Quota, "the account that paid for this is gone")
}
