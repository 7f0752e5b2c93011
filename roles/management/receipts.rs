//! Receipts: management's word that a user is signed on at a main server. `server-id:since:sum`, where the sum is an HMAC under a
//! key that management alone has, after every start the same: so nothing is remembered, and a restart forgets nothing.
//!
//! A main server shows one where management has no other way to know that it had the user: after a restart of management, when
//! it goes on with a session of another server, and when it keeps messages for the user.

use aws_lc_rs::hmac;

use crate::accounts::users::UserId;
use crate::engine::identity::ServerKey;
use crate::wire::hex;

/// How long a receipt is worth something by itself; milliseconds. Longer than messages are kept; main servers have theirs
/// renewed long before.
const LIFETIME: u64 = 32 * 24 * 3_600 * 1_000;

/// Makes and checks them.
pub struct Receipts {
    key: hmac::Key,
}

/// A receipt that is management's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt<'a> {
    /// Where the user was.
    pub server: &'a str,
    /// When it was given; Unix milliseconds.
    pub since: u64,
}

impl Receipt<'_> {
    /// Whether it was given not too long ago.
    pub fn is_fresh(&self, now: u64) -> bool {
        now < self.since.saturating_add(LIFETIME)
    }
}

impl Receipts {
    /// Those of the management with this key.
    pub fn new(key: &ServerKey) -> Receipts {
        // 32 bytes can always be derived; without them no receipt would be good in another run.
        let bytes = key.own_key("receipt").unwrap_or_default();
        Receipts { key: hmac::Key::new(hmac::HMAC_SHA256, bytes.as_slice()) }
    }

    /// The user, by its folded name, is signed on at the server now.
    pub fn give(&self, user: &str, account: UserId, server: &str, now: u64) -> String {
        let sum = hmac::sign(&self.key, text(user, account, server, now).as_bytes());
        format!("{server}:{now}:{}", hex::encode(sum.as_ref()))
    }

    /// What a receipt of this user says; None: it is none.
    pub fn check<'a>(&self, receipt: &'a str, user: &str, account: UserId) -> Option<Receipt<'a>> {
        let [server, since, sum] = receipt.split(':').collect::<Vec<_>>()[..] else { return None };
        let (since, sum) = (since.parse().ok()?, hex::decode_32(sum)?);
        // In constant time.
        hmac::verify(&self.key, text(user, account, server, since).as_bytes(), &sum).ok()?;
        Some(Receipt { server, since })
    }
}

/// Names have no line feeds, so that no two texts are alike.
fn text(user: &str, account: UserId, server: &str, since: u64) -> String {
    format!("convergia-receipt-v1\n{user}\n{}\n{server}\n{since}", account.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_good_for_what_it_says_after_a_restart_too() {
        let receipts = |key: u8| Receipts::new(&ServerKey::from_bytes(&[key; 32]));
        let receipt = receipts(1).give("alice", UserId(7), "main-1", 5);
        let good = receipts(1).check(&receipt, "alice", UserId(7)).unwrap();
        assert_eq!(good, Receipt { server: "main-1", since: 5 });
        assert!(good.is_fresh(LIFETIME) && !good.is_fresh(LIFETIME + 5));
        assert_eq!(receipts(2).check(&receipt, "alice", UserId(7)), None);
        assert_eq!(receipts(1).check(&receipt, "alice", UserId(8)), None);
        assert_eq!(receipts(1).check(&receipt, "bob", UserId(7)), None);
        for (from, to) in [("main-1", "main-2"), (":5:", ":6:"), (":5:", ":05:"), (":5:", "::5:"), (":5:", ":5")] {
            assert_eq!(receipts(1).check(&receipt.replacen(from, to, 1), "alice", UserId(7)).map(|r| r.since), {
                // The same number, written otherwise.
                (to == ":05:").then_some(5)
            });
        }
        for bad in ["", ":", "::", "main-1:5:", &receipt[..receipt.len() - 1], &format!("{receipt}0")] {
            assert_eq!(receipts(1).check(bad, "alice", UserId(7)), None, "{bad}");
        }
    }
}
