//! Management's receipts for the users of this server: its word that they are signed on here, or where they came from. What they say
//! is management's alone to read.

use std::collections::HashMap;
use std::collections::HashSet;

use super::management;
use super::Main;
use crate::engine::Ctx;
use crate::wire::Code;
use crate::wire::Fail;

/// How old a receipt gets before another is asked for; milliseconds.
const RENEW: u64 = 24 * 3_600 * 1_000;
/// How many are renewed in one round.
const AT_ONCE: usize = 1_000;
/// How often that is looked at; milliseconds.
const ROUND: u64 = 60_000;
/// How long one is remembered when its user has no session here any more: what was sent after it may come back and be kept.
const AFTER: u64 = 600_000;
/// How long a receipt is at most, in bytes.
const BYTES: usize = 192;

#[derive(Debug)]
struct Receipt {
    /// Empty while management has given none.
    own: String,
    /// Of the server that a session came from; may be empty.
    from: String,
    /// When the newest of them came.
    at: u64,
}

/// Receipts by account.
#[derive(Debug, Default)]
pub struct Receipts {
    all: HashMap<u64, Receipt>,
    next: u64,
}

/// Whether it can be one, as far as anybody but management can tell.
///
/// # Errors
/// BADARGS.
pub fn check(receipt: &str) -> Result<(), Fail> {
    let good = receipt.len() <= BYTES && !receipt.contains(|c: char| c == '|' || c.is_control());
    if good {
        Ok(())
    } else {
        Err(Fail::new(Code::BadArgs, "no receipt"))
    }
}

impl Receipts {
    /// Management has given one for this server.
    pub fn given(&mut self, account: u64, receipt: &str, now: u64) {
        let entry = self.entry(account, now);
        entry.own = receipt.to_owned();
    }

    /// A session has come from another server, with that server's.
    pub fn came(&mut self, account: u64, receipt: &str, now: u64) {
        let entry = self.entry(account, now);
        entry.from = receipt.to_owned();
    }

    /// That of the server which a session of the user came from; empty: nothing.
    pub fn where_from(&self, account: u64) -> &str {
        self.all.get(&account).map_or("", |entry| &entry.from)
    }

    fn entry(&mut self, account: u64, now: u64) -> &mut Receipt {
        let fresh = || Receipt { own: String::new(), from: String::new(), at: now };
        let entry = self.all.entry(account).or_insert_with(fresh);
        entry.at = now;
        entry
    }

    /// What this server can show for a user; empty: nothing.
    pub fn of(&self, account: u64) -> &str {
        let Some(entry) = self.all.get(&account) else { return "" };
        if entry.own.is_empty() {
            &entry.from
        } else {
            &entry.own
        }
    }
}

/// Once a second: forgets what is over, and has others renewed.
pub fn tick(main: &mut Main, ctx: &mut Ctx<Main>) {
    let now = ctx.now();
    if now < main.receipts.next {
        return;
    }
    main.receipts.next = now.saturating_add(ROUND);
    let here: HashSet<u64> = main.sessions.iter().flatten().map(|session| session.account).collect();
    main.receipts.all.retain(|account, entry| here.contains(account) || now < entry.at.saturating_add(AFTER));
    let old = |account: &u64| main.receipts.all.get(account).is_some_and(|entry| now >= entry.at.saturating_add(RENEW));
    let users = main.sessions.iter().flatten().filter(|session| old(&session.account)).map(|session| session.user);
    let names: Vec<String> =
        users.take(AT_ONCE).filter_map(|user| Some(main.table.get(user)?.name.to_string())).collect();
    for name in names {
        management::presence(main, ctx, &name);
    }
}
