//! Guessing passwords.

use std::net::Ipv4Addr;
use std::time::Duration;
use std::time::Instant;

use convergia::wire::Code;

use crate::support;
use crate::support::sign_on::PASSWORD;
use crate::support::Answer;
use crate::support::Raw;
use crate::support::Server;

#[test]
fn fifty_wrong_passwords_slow_only_the_guesser() {
    const GUESSES: usize = 50;
    let server = Server::open();
    support::register_open(&server, "victim", PASSWORD);
    support::register_open(&server, "bystander", PASSWORD);
    let token = support::login(&server, "victim", PASSWORD);

    let mut guesser = Raw::connect_from(Ipv4Addr::new(127, 0, 0, 66), &server.addr("client_management"));
    let began = Instant::now();
    for n in 0..GUESSES {
        guesser.send(&format!("g{n}"), "LOGIN", &[b"victim", format!("guess {n}").as_bytes()]);
    }
    // While they are worked on: another account with its password, and the same account with its token.
    let measured = Instant::now();
    support::login(&server, "bystander", PASSWORD);
    let by_password = measured.elapsed();
    let measured = Instant::now();
    let mut link = Raw::connect(&server.addr("client_management"));
    link.ask("LOGIN", &["victim", &format!("token:{token}")]).ok();
    let by_token = measured.elapsed();

    let (mut wrong, mut held) = (0, 0);
    for n in 0..GUESSES {
        match guesser.answer(&format!("g{n}")) {
            Answer::Fail(Code::Wrong, _) => wrong += 1,
            Answer::Fail(Code::Limit | Code::Busy, _) => held += 1,
            other => panic!("guess {n}: {other:?}"),
        }
    }
    let guessing = began.elapsed();
    println!("{wrong} wrong, {held} held off, in {guessing:?}; bystander {by_password:?}, token {by_token:?}");
    assert!(by_password < Duration::from_secs(3), "the bystander waited {by_password:?}");
    assert!(by_token < Duration::from_secs(2), "the token waited {by_token:?}");
    assert!(wrong < GUESSES / 2 || guessing > Duration::from_secs(20), "50 guesses in {guessing:?}");
    // Afterwards too.
    let measured = Instant::now();
    support::login(&server, "bystander", PASSWORD);
    assert!(measured.elapsed() < Duration::from_secs(3), "{:?}", measured.elapsed());
}

#[test]
fn an_unknown_user_and_a_wrong_password_look_the_same() {
    const TRIES: usize = 8;
    let server = Server::open();
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for n in 0..TRIES {
        support::register_open(&server, &format!("known{n}"), PASSWORD);
    }
    let mut words = std::collections::BTreeSet::new();
    let mut ask = |user: &str, times: &mut Vec<Duration>| {
        let mut link = Raw::connect(&server.addr("client_management"));
        let began = Instant::now();
        let answer = link.ask("LOGIN", &[user, "not the password"]);
        times.push(began.elapsed());
        let Answer::Fail(Code::Wrong, text) = answer else { panic!("{user}: {answer:?}") };
        words.insert(text.replace(user, "USER"));
        assert!(!text.contains(user), "the words name the user: {text}");
    };
    for n in 0..TRIES {
        ask(&format!("known{n}"), &mut known);
        ask(&format!("nobody{n}"), &mut unknown);
    }
    assert_eq!(words.len(), 1, "{words:?}");
    // The fastest of each: a user that is not looked at at all would be tens of times faster.
    let (known, unknown) = (known.iter().min().unwrap(), unknown.iter().min().unwrap());
    println!("wrong password {known:?}, unknown user {unknown:?}");
    assert!(*unknown * 5 > *known && *known * 5 > *unknown, "known {known:?}, unknown {unknown:?}");
}

#[test]
fn tokens_and_keys_of_unknown_users_tell_nothing_either() {
    let server = Server::open();
    support::register_open(&server, "known", PASSWORD);
    let mut link = Raw::connect(&server.addr("client_management"));
    let token = format!("token:{}", "0".repeat(64));
    let one = link.ask("LOGIN", &["known", &token]);
    let other = link.ask("LOGIN", &["nobody", &token]);
    assert_eq!(one, other);
    assert_eq!(one.code(), Code::Wrong);
    let one = link.ask("LOGINKEY", &["known"]);
    let other = link.ask("LOGINKEY", &["nobody"]);
    match (&one, &other) {
        (Answer::Ok(one), Answer::Ok(other)) => assert_eq!(one.len(), other.len(), "the challenges differ in shape"),
        _ => assert_eq!(one, other),
    }
}
