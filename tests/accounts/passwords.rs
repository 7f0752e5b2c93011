//! Passwords, and the tokens that stand in for them (contract 5).

use convergia::wire::Code;

use crate::assert_fails;
use crate::log_in;
use crate::log_in_token;
use crate::management;
use crate::support;
use crate::support::sign_on::PASSWORD;
use crate::support::Server;

#[test]
fn a_password_gives_a_token_and_the_token_signs_on_until_it_is_revoked() {
    let mut server = Server::open();
    support::register_open(&server, "alice", PASSWORD);
    support::register_open(&server, "bob", PASSWORD);
    let token = log_in(&server, "alice", PASSWORD).text();
    assert_eq!(token.len(), 64);
    // The answer to a token is that token.
    assert_eq!(log_in_token(&server, "ALICE", &token).text(), token);
    assert_fails(&log_in_token(&server, "bob", &token), Code::Wrong);
    assert_fails(&log_in_token(&server, "alice", &token.replace(|_| true, "0")), Code::Wrong);
    // What the token is, a password is not.
    assert_fails(&log_in(&server, "alice", &token), Code::Wrong);
    let other = log_in(&server, "alice", PASSWORD).text();
    assert_ne!(other, token);

    server.terminate();
    server.restart();
    log_in_token(&server, "alice", &token).ok();
    let mut link = management(&server);
    link.ask("LOGIN", &["alice", &format!("token:{other}")]).ok();
    let bobs = log_in(&server, "bob", PASSWORD).text();
    link.ask("REVOKETOKENS", &[]).ok();
    for token in [&token, &other] {
        assert_fails(&log_in_token(&server, "alice", token), Code::Wrong);
    }
    log_in_token(&server, "bob", &bobs).ok();
    log_in(&server, "alice", PASSWORD).ok();
}

#[test]
fn a_new_password_voids_the_old_one_and_all_tokens() {
    let server = Server::open();
    support::register_open(&server, "alice", PASSWORD);
    let new = "a better one";
    assert_fails(&management(&server).ask("CHANGEPASSWORD", &[PASSWORD, new]), Code::SignIn);
    let before = log_in(&server, "alice", PASSWORD).text();
    let (mut link, own) = support::sign_on::login_link(&server, "alice", PASSWORD);
    let (mut elsewhere, _) = support::sign_on::login_link(&server, "alice", PASSWORD);
    assert_fails(&link.ask("CHANGEPASSWORD", &["wrong", new]), Code::Wrong);
    assert_fails(&link.ask("CHANGEPASSWORD", &[PASSWORD, ""]), Code::BadArgs);
    log_in_token(&server, "alice", &before).ok();
    let token = link.ask("CHANGEPASSWORD", &[PASSWORD, new]).text();
    // A guesser who was in is out; the link that asked stays.
    elsewhere.read_to_close(std::time::Duration::from_secs(20));
    link.ask("LISTKEYS", &[]).ok();
    for old in [&before, &own] {
        assert_ne!(*old, token);
        assert_fails(&log_in_token(&server, "alice", old), Code::Wrong);
    }
    log_in_token(&server, "alice", &token).ok();
    assert_fails(&log_in(&server, "alice", PASSWORD), Code::Wrong);
    log_in(&server, "alice", new).ok();
}

/// A password of any bytes but a line feed, also those that the wire escapes.
#[test]
fn a_password_is_bytes() {
    let server = Server::open();
    let odd: &[u8] = b"~ab\rc\0\xff d";
    let mut link = support::Raw::connect(&server.addr("public_management"));
    let data = link.request("REGISTERACCOUNT", &[b"alice", odd]).ok();
    let id = data.split(|byte| *byte == b'\n').next().expect("a request id");
    link.request("CONFIRMREGISTERACCOUNT", &[id, b""]).ok();
    management(&server).request("LOGIN", &[b"alice", odd]).ok();
    assert_fails(&management(&server).request("LOGIN", &[b"alice", &odd[..4]]), Code::Wrong);
}

/// LOGIN would take it for a token: who registered with it could never sign on.
#[test]
fn a_password_does_not_begin_like_a_token() {
    let server = Server::open();
    let mut link = support::Raw::connect(&server.addr("public_management"));
    assert_fails(&link.ask("REGISTERACCOUNT", &["alice", "token:mine"]), Code::BadArgs);
    support::register_open(&server, "alice", PASSWORD);
    let (mut link, _) = support::sign_on::login_link(&server, "alice", PASSWORD);
    assert_fails(&link.ask("CHANGEPASSWORD", &[PASSWORD, "token:mine"]), Code::BadArgs);
    log_in(&server, "alice", PASSWORD).ok();
}

/// Each takes 19 MiB while it is checked; that memory is used again and does not add up.
#[test]
fn many_passwords_cost_no_more_memory_than_a_few() {
    let server = Server::open();
    support::register_open(&server, "alice", PASSWORD);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..8 {
                    log_in(&server, "alice", PASSWORD).ok();
                }
            });
        }
    });
    let peak = server.peak_rss_kib();
    assert!(peak < 96 << 10, "{peak} KiB");
}

#[test]
fn nobody_learns_who_has_an_account() {
    let server = Server::open();
    support::register_open(&server, "alice", PASSWORD);
    let wrong = log_in(&server, "alice", "wrong");
    assert_fails(&wrong, Code::Wrong);
    assert_eq!(log_in(&server, "nobody", "wrong"), wrong);
    assert_eq!(log_in_token(&server, "alice", "wrong"), wrong);
    assert_eq!(log_in_token(&server, "nobody", "wrong"), wrong);
}

#[test]
fn a_link_signs_on_once_and_a_failed_try_is_not_the_last() {
    let server = Server::open();
    support::register_open(&server, "alice", PASSWORD);
    support::register_open(&server, "bob", PASSWORD);
    let mut link = management(&server);
    for command in ["LISTSERVERS", "LISTKEYS", "REVOKETOKENS"] {
        assert_fails(&link.ask(command, &[]), Code::SignIn);
    }
    assert_fails(&link.ask("LOGIN", &["alice", "wrong"]), Code::Wrong);
    assert_fails(&link.ask("LISTSERVERS", &[]), Code::SignIn);
    link.ask("LOGIN", &["alice", PASSWORD]).ok();
    assert_fails(&link.ask("LOGIN", &["bob", PASSWORD]), Code::BadCommand);
    link.ask("LISTSERVERS", &[]).ok();
}
