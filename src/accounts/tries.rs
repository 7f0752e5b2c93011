//! The limit on password tries: a guesser is slowed down, nobody else is.
//!
//! A try is refused when any of three limits says so:
//! - the **pair** of account and network: five failures are free, then each one doubles the wait, from 1 s to 15 minutes;
//! - the **network**: 100 failures at once, and one more each 6 s; this machine gets ten times that;
//! - the **account**: 60 failures at once, and one more a minute, all networks together.
//!
//! A network from which the account was signed on before is **known** to it, and only the first limit holds there: so
//! neither a guess from a thousand networks locks the owner out, nor a guesser behind the same router.
//! A try counts as a failure from [`Tries::check`] on, until it is known to have succeeded: many tries at once
//! gain nothing. Accounts that do not exist are treated alike. Session tokens and keys cannot be guessed, and need no limit.

use std::net::IpAddr;

use super::expiring::Expiring;
use super::net::Net;
use super::DAY;
use crate::wire::Code;
use crate::wire::Fail;

/// Failures of a pair without a wait.
pub const FREE: u32 = 5;
/// The longest wait of a pair, in ms.
pub const LONGEST_WAIT: u64 = 15 * 60_000;
/// Tries of a pair under way at once before its first wait: more than the sessions of one user, so that all of
/// these may sign on at once.
pub const UNDER_WAY: u32 = 16;

/// A pair's failures are forgotten this long after the last one, in ms.
const PAIR_MEMORY: u64 = 60 * 60_000;
/// A try whose end nobody reported is taken as over after this long, in ms.
const TRY_TIMEOUT: u64 = 60_000;
/// Pairs, networks, and accounts remembered. Each entry takes a try with its Argon2, of which two cores do some
/// 70 a second, so pushing one out takes 16 minutes: longer than it would have waited.
const MAX_ENTRIES: usize = 65_536;
/// Accounts whose known networks are remembered, and for how long, and how many of each (an account
/// with a changing address must not push out others).
const MAX_KNOWN: usize = 65_536;
const KNOWN_MEMORY: u64 = 30 * DAY;
const MAX_KNOWN_NETS: usize = 16;

/// A burst of failures, and how often one more.
struct Rule {
    burst: u64,
    interval: u64,
}

const NET: Rule = Rule { burst: 100, interval: 6_000 };
const LOOPBACK: Rule = Rule { burst: 1_000, interval: 600 };
const ACCOUNT: Rule = Rule { burst: 60, interval: 60_000 };

impl Rule {
    const fn memory(&self) -> u64 {
        self.burst * self.interval
    }
}

/// When all failures so far will be worked off, one each interval, in Unix ms.
#[derive(Default)]
struct Debt(u64);

impl Debt {
    fn wait(&self, rule: &Rule, now: u64) -> u64 {
        self.0.saturating_sub(now).saturating_sub(rule.memory() - rule.interval)
    }

    fn add(&mut self, rule: &Rule, now: u64) {
        self.0 = (self.0.max(now) + rule.interval).min(now + rule.memory());
    }

    fn take_back(&mut self, rule: &Rule) {
        self.0 = self.0.saturating_sub(rule.interval);
    }
}

#[derive(Default)]
struct Pair {
    failures: u32,
    next_at: u64,
    under_way: u32,
    /// Of those, how many were charged to the network and the account.
    charged: u32,
    last_try: u64,
}

impl Pair {
    fn wait(&self, now: u64) -> u64 {
        let under_way = if now < self.last_try.saturating_add(TRY_TIMEOUT) { self.under_way } else { 0 };
        let max = if self.failures < FREE { UNDER_WAY } else { 1 };
        let busy = if under_way >= max { 1_000 } else { 0 };
        self.next_at.saturating_sub(now).max(busy)
    }
}

/// The tries on passwords so far. Times are Unix ms; accounts are folded, checked names.
pub struct Tries {
    pairs: Expiring<(String, Net), Pair>,
    nets: Expiring<Net, Debt>,
    accounts: Expiring<String, Debt>,
    /// The networks known to an account, the one seen last at the end.
    known: Expiring<String, Vec<Net>>,
}

impl Default for Tries {
    fn default() -> Tries {
        Tries::new()
    }
}

impl Tries {
    /// No tries yet.
    pub fn new() -> Tries {
        Tries {
            pairs: Expiring::new(MAX_ENTRIES, PAIR_MEMORY),
            nets: Expiring::new(MAX_ENTRIES, NET.memory()),
            accounts: Expiring::new(MAX_ENTRIES, ACCOUNT.memory()),
            known: Expiring::new(MAX_KNOWN, KNOWN_MEMORY),
        }
    }

    /// Before a password is checked: FAIL LIMIT with the time to wait, or else the try is on, and
    /// exactly one of [`Tries::failed`], [`Tries::succeeded`] and [`Tries::cancelled`] follows.
    pub fn check(&mut self, account: &str, addr: IpAddr, now: u64) -> Result<(), Fail> {
        let net = Net::of(addr);
        let account = account.to_owned();
        let known = self.is_known(&account, net, now);
        let pair_key = (account, net);
        let mut wait = self.pairs.get(&pair_key, now).map_or(0, |pair| pair.wait(now));
        if !known {
            wait = wait.max(self.nets.get(&net, now).map_or(0, |debt| debt.wait(net_rule(net), now)));
            wait = wait.max(self.accounts.get(&pair_key.0, now).map_or(0, |debt| debt.wait(&ACCOUNT, now)));
        }
        if wait > 0 {
            return Err(Fail::new(Code::Limit, format!("too many tries; wait {} s", wait.div_ceil(1000))));
        }
        let pair = self.pairs.keep(&pair_key, now, Pair::default);
        if now >= pair.last_try.saturating_add(TRY_TIMEOUT) {
            pair.under_way = 0;
            pair.charged = 0;
        }
        pair.under_way += 1;
        pair.last_try = now;
        if !known {
            pair.charged += 1;
            self.nets.keep(&net, now, Debt::default).add(net_rule(net), now);
            self.accounts.keep(&pair_key.0, now, Debt::default).add(&ACCOUNT, now);
        }
        Ok(())
    }

    /// The password was wrong, or there is no such account.
    pub fn failed(&mut self, account: &str, addr: IpAddr, now: u64) {
        let pair = self.pairs.keep(&(account.to_owned(), Net::of(addr)), now, Pair::default);
        pair.under_way = pair.under_way.saturating_sub(1);
        pair.charged = pair.charged.saturating_sub(1);
        pair.failures = pair.failures.saturating_add(1);
        if let Some(doublings) = pair.failures.checked_sub(FREE) {
            // Ten doublings of a second are more than the longest wait.
            let wait = (1_000 << doublings.min(10)).min(LONGEST_WAIT);
            pair.next_at = pair.next_at.max(now.saturating_add(wait));
        }
    }

    /// The password was right: the pair starts anew, and the network is known to the account from now on.
    pub fn succeeded(&mut self, account: &str, addr: IpAddr, now: u64) {
        self.cancelled(account, addr, now);
        let key = (account.to_owned(), Net::of(addr));
        if self.pairs.get(&key, now).is_some_and(|pair| pair.under_way == 0) {
            self.pairs.remove(&key);
        } else if let Some(pair) = self.pairs.get_mut(&key, now) {
            pair.failures = 0;
            pair.next_at = 0;
        }
        self.remember(account, addr, now);
    }

    /// The password was not checked after all (busy, or stopping): as if [`Tries::check`] had not been called.
    pub fn cancelled(&mut self, account: &str, addr: IpAddr, now: u64) {
        let net = Net::of(addr);
        let key = (account.to_owned(), net);
        let Some(pair) = self.pairs.get_mut(&key, now) else { return };
        pair.under_way = pair.under_way.saturating_sub(1);
        if pair.charged == 0 {
            return;
        }
        pair.charged -= 1;
        if let Some(debt) = self.nets.get_mut(&net, now) {
            debt.take_back(net_rule(net));
        }
        if let Some(debt) = self.accounts.get_mut(&key.0, now) {
            debt.take_back(&ACCOUNT);
        }
    }

    /// The owner of the account was seen at this address in another way: it registered, or used a token or a key.
    pub fn remember(&mut self, account: &str, addr: IpAddr, now: u64) {
        let net = Net::of(addr);
        let nets = self.known.keep(&account.to_owned(), now, Vec::new);
        nets.retain(|other| *other != net);
        if nets.len() >= MAX_KNOWN_NETS {
            nets.remove(0);
        }
        nets.push(net);
    }

    fn is_known(&self, account: &String, net: Net, now: u64) -> bool {
        self.known.get(account, now).is_some_and(|nets| nets.contains(&net))
    }
}

fn net_rule(net: Net) -> &'static Rule {
    match net {
        Net::Loopback => &LOOPBACK,
        Net::V4(_) | Net::V6(_) => &NET,
    }
}

#[cfg(test)]
mod tests;
