use proptest::prelude::*;

use super::*;

const T0: u64 = 1_800_000_000_000;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// An address of a network of its own, for each n.
fn elsewhere(n: u64) -> IpAddr {
    let [.., a, b, c] = n.to_be_bytes();
    IpAddr::from([20, a, b, c])
}

/// The wait that a refusal names, in ms; 0 when the try may begin. It is then over at once, with `result`.
fn try_once(tries: &mut Tries, account: &str, addr: IpAddr, now: u64, right: bool) -> u64 {
    match tries.check(account, addr, now) {
        Ok(()) if right => tries.succeeded(account, addr, now),
        Ok(()) => tries.failed(account, addr, now),
        Err(fail) => {
            assert_eq!(fail.code, Code::Limit);
            let words: Vec<_> = fail.text.split(' ').collect();
            assert_eq!((&words[..4], words[5]), (&["too", "many", "tries;", "wait"][..], "s"));
            return words[4].parse::<u64>().unwrap() * 1000;
        }
    }
    0
}

#[test]
fn waits_double_up_to_a_quarter_of_an_hour() {
    let mut tries = Tries::new();
    let guesser = ip("192.0.2.1");
    let mut now = T0;
    let mut waits = Vec::new();
    for _ in 0..20 {
        let wait = try_once(&mut tries, "alice", guesser, now, false);
        if wait > 0 {
            waits.push(wait / 1000);
            assert!(try_once(&mut tries, "alice", guesser, now + wait - 1, false) > 0);
            now += wait;
            assert_eq!(try_once(&mut tries, "alice", guesser, now, false), 0);
        }
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900, 900]);
}

#[test]
fn fifty_wrong_passwords_slow_only_the_guesser() {
    for (guesser, other) in [("192.0.2.1", "192.0.2.2"), ("127.0.0.1", "127.0.0.1"), ("192.0.2.1", "192.0.2.1")] {
        let mut tries = Tries::new();
        let allowed = (0..50).filter(|_| try_once(&mut tries, "alice", ip(guesser), T0, false) == 0).count();
        assert_eq!(allowed, 5);
        assert_eq!(try_once(&mut tries, "bob", ip(other), T0, true), 0);
        if guesser != other {
            assert_eq!(try_once(&mut tries, "alice", ip(other), T0, true), 0);
        }
    }
}

#[test]
fn success_and_time_clear_a_pair() {
    let mut tries = Tries::new();
    let home = ip("192.0.2.1");
    for _ in 0..3 {
        for _ in 0..4 {
            assert_eq!(try_once(&mut tries, "alice", home, T0, false), 0);
        }
        assert_eq!(try_once(&mut tries, "alice", home, T0, true), 0);
    }
    for _ in 0..5 {
        try_once(&mut tries, "bob", home, T0, false);
    }
    assert!(try_once(&mut tries, "bob", home, T0, false) > 0);
    for _ in 0..5 {
        assert_eq!(try_once(&mut tries, "bob", home, T0 + PAIR_MEMORY, false), 0);
    }
}

#[test]
fn tries_at_once_gain_nothing() {
    let mut tries = Tries::new();
    let addr = ip("192.0.2.1");
    let begun = (0..1000).filter(|_| tries.check("alice", addr, T0).is_ok()).count();
    assert_eq!(begun, UNDER_WAY as usize);
    for _ in 0..begun {
        tries.failed("alice", addr, T0);
    }
    assert_eq!(try_once(&mut tries, "alice", addr, T0, false), LONGEST_WAIT);
    // After the wait, one at a time.
    let now = T0 + LONGEST_WAIT;
    assert_eq!((0..10).filter(|_| tries.check("alice", addr, now).is_ok()).count(), 1);
}

#[test]
fn all_sessions_of_a_user_may_begin_at_once() {
    let mut tries = Tries::new();
    let addr = ip("192.0.2.1");
    for _ in 0..100 {
        for _ in 0..8 {
            tries.check("alice", addr, T0).unwrap();
        }
        for _ in 0..8 {
            tries.succeeded("alice", addr, T0);
        }
    }
    assert!(tries.pairs.is_empty(), "nothing is left of tries that succeeded");
    assert_eq!(tries.nets.get(&Net::of(addr), T0).map_or(0, |debt| debt.0.saturating_sub(T0)), 0);
}

#[test]
fn a_try_that_never_ends_is_given_up() {
    let mut tries = Tries::new();
    let addr = ip("192.0.2.1");
    for _ in 0..UNDER_WAY {
        tries.check("alice", addr, T0).unwrap();
    }
    assert!(tries.check("alice", addr, T0 + TRY_TIMEOUT - 1).is_err());
    assert!(tries.check("alice", addr, T0 + TRY_TIMEOUT).is_ok());
    assert_eq!(tries.pairs.get(&("alice".to_owned(), Net::of(addr)), T0).map(|pair| pair.under_way), Some(1));
}

#[test]
fn a_success_among_tries_under_way_clears_the_failures() {
    let mut tries = Tries::new();
    let addr = ip("192.0.2.1");
    for _ in 0..6 {
        tries.check("alice", addr, T0).unwrap();
    }
    (0..4).for_each(|_| tries.failed("alice", addr, T0));
    tries.succeeded("alice", addr, T0);
    tries.failed("alice", addr, T0);
    assert_eq!(try_once(&mut tries, "alice", addr, T0, false), 0);
}

#[test]
fn a_failure_stays_charged() {
    let mut tries = Tries::new();
    let addr = ip("192.0.2.1");
    tries.check("alice", addr, T0).unwrap();
    tries.failed("alice", addr, T0);
    tries.remember("alice", addr, T0);
    tries.check("alice", addr, T0).unwrap();
    tries.cancelled("alice", addr, T0);
    assert_eq!(tries.nets.get(&Net::of(addr), T0).map(|debt| debt.0 - T0), Some(NET.interval));
}

#[test]
fn one_network_against_many_accounts() {
    let mut tries = Tries::new();
    let (guesser, home) = (ip("2001:db8::1"), ip("2001:db8::2"));
    assert_eq!(try_once(&mut tries, "alice", home, T0, true), 0);
    let account = |n: usize| format!("user{n}");
    let allowed = (0..1000).filter(|n| try_once(&mut tries, &account(*n), guesser, T0, false) == 0).count();
    assert_eq!(allowed, 100);
    assert_eq!(try_once(&mut tries, "x", guesser, T0, false), 6_000);
    assert_eq!(try_once(&mut tries, "x", guesser, T0 + 6_000, false), 0);
    assert!(try_once(&mut tries, "x", guesser, T0 + 6_000, false) > 0);
    assert_eq!(try_once(&mut tries, "alice", home, T0, true), 0, "known there, so not held up by the neighbour");
    assert_eq!(try_once(&mut tries, "x", ip("2001:db8:0:1::1"), T0, false), 0);
}

#[test]
fn many_networks_against_one_account() {
    let mut tries = Tries::new();
    let home = ip("192.0.2.1");
    assert_eq!(try_once(&mut tries, "alice", home, T0, true), 0);
    let allowed = (0..5000).filter(|n| try_once(&mut tries, "alice", elsewhere(*n), T0, false) == 0).count();
    assert_eq!(allowed, 60);
    assert_eq!(try_once(&mut tries, "alice", elsewhere(9999), T0, true), 60_000);
    assert_eq!(try_once(&mut tries, "alice", home, T0, false), 0, "the owner is not locked out");
    assert_eq!(try_once(&mut tries, "alice", home, T0, true), 0);
    assert_eq!(try_once(&mut tries, "bob", elsewhere(1), T0, true), 0);
}

#[test]
fn cancelled_is_as_if_it_had_not_been() {
    let mut tries = Tries::new();
    let addr = ip("192.0.2.1");
    for _ in 0..1000 {
        tries.check("alice", addr, T0).unwrap();
        tries.cancelled("alice", addr, T0);
    }
    assert_eq!((0..1000).filter(|_| try_once(&mut tries, "alice", addr, T0, false) == 0).count(), 5);
}

#[test]
fn an_account_knows_its_last_networks() {
    let mut tries = Tries::new();
    for n in 0..=MAX_KNOWN_NETS as u64 {
        tries.remember("alice", elsewhere(n), T0);
    }
    let known = |n| tries.is_known(&"alice".to_owned(), Net::of(elsewhere(n)), T0);
    assert!(!known(0) && known(1) && known(16));
}

#[test]
fn memory_is_bounded() {
    let mut tries = Tries::new();
    for n in 0..(MAX_ENTRIES as u64 + 1000) {
        try_once(&mut tries, &format!("user{n}"), elsewhere(n), T0, n % 3 == 0);
        tries.remember(&format!("user{n}"), elsewhere(n), T0);
    }
    assert_eq!(tries.known.len(), MAX_KNOWN);
    assert!(tries.pairs.len() <= MAX_ENTRIES && tries.nets.len() <= MAX_ENTRIES && tries.accounts.len() <= MAX_ENTRIES);
}

proptest! {
    /// Whatever happened before: a wait ends when it said it would, and does not begin by waiting.
    #[test]
    fn waiting_helps(events in prop::collection::vec((0u8..3, 0u64..5, 0u64..90_000, 0u8..8), 1..200)) {
        let mut tries = Tries::new();
        let mut now = T0;
        for (account, place, later, right) in events {
            now += later;
            let (account, addr) = (format!("u{account}"), elsewhere(place));
            let wait = try_once(&mut tries, &account, addr, now, right == 0);
            prop_assert!(wait <= LONGEST_WAIT);
            if wait > 0 {
                now += wait;
                prop_assert_eq!(try_once(&mut tries, &account, addr, now, false), 0);
            }
        }
    }

    /// More failures never make the next wait shorter.
    #[test]
    fn more_failures_wait_longer(failures in 0u32..40, more in 1u32..10) {
        let wait_after = |failures| {
            let mut tries = Tries::new();
            (0..failures).for_each(|_| tries.failed("alice", elsewhere(1), T0));
            try_once(&mut tries, "alice", elsewhere(1), T0, false)
        };
        prop_assert!(wait_after(failures + more) >= wait_after(failures));
    }

    /// However a guesser spends an hour on one account from one network, it gets few guesses.
    #[test]
    fn guesses_an_hour(pauses in prop::collection::vec(0u64..200_000, 300)) {
        let mut tries = Tries::new();
        let mut now = T0;
        let mut guesses = 0;
        for pause in pauses {
            now += pause;
            if now < T0 + 3_600_000 && try_once(&mut tries, "alice", elsewhere(1), now, false) == 0 {
                guesses += 1;
            }
        }
        prop_assert!(guesses <= 18, "{}", guesses);
    }
}
