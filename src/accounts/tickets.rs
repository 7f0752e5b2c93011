//! One-use tickets for signing on at a main server (contract 2).

use crate::wire::hex;
use rand::CryptoRng;

use super::one_use::OneUse;
use super::one_use::Taken;
use super::secret;
use super::users::UserId;
use crate::wire::Code;
use crate::wire::Fail;

/// How long a ticket is good, in ms.
pub const LIFETIME: u64 = 60_000;
/// Tickets alive at once, over all users: a thousand sign-ons a second, each ticket never used.
pub const MAX: usize = 65_536;
/// Tickets alive at once of one user: twice the sessions it may have. More only push out its own.
pub const MAX_PER_USER: usize = 16;

/// The tickets that management handed out.
pub struct Tickets {
    tickets: OneUse<String, Ticket>,
}

struct Ticket {
    user: String,
    account: UserId,
    server: String,
}

impl Default for Tickets {
    fn default() -> Tickets {
        Tickets::new()
    }
}

impl Tickets {
    /// None yet.
    pub fn new() -> Tickets {
        Tickets { tickets: OneUse::new(MAX, LIFETIME) }
    }

    /// A ticket, 64 hexadecimal digits, with which `user` (folded), who has this account, may sign on once at the server
    /// with this id.
    pub fn issue(
        &mut self,
        rng: &mut (impl CryptoRng + ?Sized),
        user: &str,
        account: UserId,
        server: &str,
        now: u64,
    ) -> String {
        self.tickets.sweep(now);
        let owner = user.to_owned();
        while self.tickets.owned(&owner) >= MAX_PER_USER {
            self.tickets.drop_oldest_of(&owner);
        }
        let id = secret::random(rng);
        let ticket = Ticket { user: user.to_owned(), account, server: server.to_owned() };
        self.tickets.put(id, owner, ticket, now);
        hex::encode(&id)
    }

    /// Takes a ticket: FAIL WRONG or EXPIRED unless it was made for `user` (folded) and, where the one who asks
    /// proved which server it is, for `server`. Void afterwards whatever the outcome: who shows a ticket
    /// in the wrong place has seen it. The account it was made for may be gone since, and its name another's.
    pub fn take(&mut self, user: &str, ticket: &str, server: Option<&str>, now: u64) -> Result<UserId, Fail> {
        let id = hex::decode_32(ticket).ok_or_else(wrong)?;
        match self.tickets.take(&id, now) {
            Taken::Live(made) if made.user == user && server.is_none_or(|server| server == made.server) => {
                Ok(made.account)
            }
            Taken::Late => Err(Fail::new(Code::Expired, "the ticket is over 60 s old")),
            Taken::Live(_) | Taken::Unknown => Err(wrong()),
        }
    }

    /// Voids all tickets of `user` (folded), when its account is disabled or deleted.
    pub fn revoke(&mut self, user: &str) {
        let owner = user.to_owned();
        while self.tickets.owned(&owner) > 0 {
            self.tickets.drop_oldest_of(&owner);
        }
    }

    /// Drops what is over; [`Tickets::issue`] and [`Tickets::take`] do it as well.
    pub fn sweep(&mut self, now: u64) {
        self.tickets.sweep(now);
    }
}

fn wrong() -> Fail {
    Fail::new(Code::Wrong, "no such ticket")
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::SeedableRng;

    use super::*;

    fn code(result: Result<UserId, Fail>) -> Result<(), Code> {
        result.map(|account| assert_eq!(account, UserId(7))).map_err(|fail| fail.code)
    }

    #[test]
    fn good_once() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut tickets = Tickets::new();
        let ticket = tickets.issue(&mut rng, "alice", UserId(7), "m1", 1000);
        assert_eq!(ticket.len(), 64);
        assert_eq!(code(tickets.take("alice", &ticket, Some("m1"), 60_999)), Ok(()));
        assert_eq!(code(tickets.take("alice", &ticket, Some("m1"), 60_999)), Err(Code::Wrong));
        let ticket = tickets.issue(&mut rng, "alice", UserId(7), "m1", 1000);
        assert_eq!(code(tickets.take("alice", &ticket, None, 1001)), Ok(()));
    }

    #[test]
    fn another_user_or_server_voids_it() {
        let mut rng = StdRng::seed_from_u64(2);
        let mut tickets = Tickets::new();
        for (user, server) in [("bob", Some("m1")), ("alice", Some("m2"))] {
            let ticket = tickets.issue(&mut rng, "alice", UserId(7), "m1", 0);
            assert_eq!(code(tickets.take(user, &ticket, server, 1)), Err(Code::Wrong));
            assert_eq!(code(tickets.take("alice", &ticket, Some("m1"), 1)), Err(Code::Wrong));
        }
        for bad in ["", "zz", &"0".repeat(64)] {
            assert_eq!(code(tickets.take("alice", bad, None, 1)), Err(Code::Wrong));
        }
    }

    #[test]
    fn too_late() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut tickets = Tickets::new();
        let ticket = tickets.issue(&mut rng, "alice", UserId(7), "m1", 0);
        assert_eq!(code(tickets.take("alice", &ticket, None, LIFETIME)), Err(Code::Expired));
        assert_eq!(code(tickets.take("alice", &ticket, None, LIFETIME + 59_999)), Err(Code::Expired));
        assert_eq!(code(tickets.take("alice", &ticket, None, LIFETIME + 60_000)), Err(Code::Wrong));
    }

    #[test]
    fn one_user_pushes_out_only_its_own() {
        let mut rng = StdRng::seed_from_u64(4);
        let mut tickets = Tickets::new();
        let bob = tickets.issue(&mut rng, "bob", UserId(7), "m1", 0);
        let all: Vec<_> = (0..2 * MAX_PER_USER).map(|_| tickets.issue(&mut rng, "alice", UserId(7), "m1", 0)).collect();
        let good = all.iter().filter(|t| tickets.take("alice", t, None, 1).is_ok()).count();
        assert_eq!(good, MAX_PER_USER);
        assert!(tickets.take("bob", &bob, None, 1).is_ok());
    }

    #[test]
    fn revoked() {
        let mut rng = StdRng::seed_from_u64(5);
        let mut tickets = Tickets::new();
        let alice = tickets.issue(&mut rng, "alice", UserId(7), "m1", 0);
        let bob = tickets.issue(&mut rng, "bob", UserId(7), "m1", 0);
        tickets.revoke("alice");
        assert_eq!(code(tickets.take("alice", &alice, None, 1)), Err(Code::Wrong));
        assert_eq!(code(tickets.take("bob", &bob, None, 1)), Ok(()));
    }
}
