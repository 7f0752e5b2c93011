//! Accounts that the operator disables, deletes, or gives a new password.

use std::time::Duration;

use convergia::accounts::keys;
use convergia::wire::Code;

use crate::assert_fails;
use crate::log_in;
use crate::log_in_token;
use crate::management;
use crate::support;
use crate::support::sign_on::connect_main;
use crate::support::sign_on::login_link;
use crate::support::sign_on::ticket_on;
use crate::support::sign_on::PASSWORD;
use crate::support::Raw;
use crate::support::Server;

/// How long a close may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The session is told why, told not to come back, and closed.
#[track_caller]
fn assert_disconnected(mut session: Raw, reason: &str) {
    let lines = session.read_to_close(PATIENCE);
    let last = lines.last().expect("a goodbye");
    assert_eq!(last.command, "DISCONNECTED", "{lines:?}");
    assert_eq!(last.fields::<1>(), [reason.as_bytes().to_vec()]);
}

#[test]
fn a_disabled_user_is_out_until_enabled() {
    let server = Server::open();
    let mut alice = support::sign_on(&server, "alice");
    let (first, second) = (support::sign_on(&server, "bob"), support::sign_on(&server, "bob"));
    let (seed, public) = keys::generate().expect("a key");
    let (mut link, token) = login_link(&server, "bob", PASSWORD);
    link.ask("ADDKEY", &["laptop", &keys::to_base64(&public)]).ok();
    let ticket = ticket_on(&mut link);
    let mut waiting = connect_main(&server, &ticket);

    support::admin(&server, &["user", "disable", "Bob"]);
    assert_disconnected(first, "the account was disabled");
    assert_disconnected(second, "the account was disabled");
    assert_fails(&waiting.ask("SIGNON", &["bob", &ticket.ticket]), Code::Wrong);
    // Who knows the password is told; who does not learns nothing.
    assert_fails(&log_in(&server, "bob", PASSWORD), Code::Denied);
    assert_fails(&log_in(&server, "bob", "wrong"), Code::Wrong);
    assert_fails(&log_in_token(&server, "bob", &token), Code::Wrong);
    let mut with_key = management(&server);
    let challenge = with_key.ask("LOGINKEY", &["bob"]).text();
    let text = keys::signed_text("bob", &server.fingerprint(), &challenge);
    let signature = keys::to_base64(&keys::sign(&seed, &text).expect("a signature"));
    assert_fails(&with_key.ask("PROVEKEY", &[&signature]), Code::Denied);
    assert_fails(&alice.ask("SENDMESSAGE", &["bob", "hello"]), Code::Offline);

    support::admin(&server, &["user", "enable", "bob"]);
    assert_fails(&log_in_token(&server, "bob", &token), Code::Wrong);
    assert_fails(&waiting.ask("SIGNON", &["bob", &ticket.ticket]), Code::Wrong);
    let mut bob = support::sign_on::sign_on_again(&server, "bob");
    alice.ask("SENDMESSAGE", &["bob", "hello"]).ok();
    assert_eq!(bob.receive_command("RECEIVEMESSAGE").fields::<3>()[2], b"hello");
}

#[test]
fn a_deleted_user_is_gone() {
    let server = Server::open();
    let mut alice = support::sign_on(&server, "alice");
    let bob = support::sign_on(&server, "bob");
    let token = support::login(&server, "bob", PASSWORD);
    support::admin(&server, &["user", "delete", "bob"]);
    assert_disconnected(bob, "the account was deleted");
    assert_fails(&log_in(&server, "bob", PASSWORD), Code::Wrong);
    assert_fails(&log_in_token(&server, "bob", &token), Code::Wrong);
    assert_fails(&alice.ask("SENDMESSAGE", &["bob", "hello"]), Code::NotFound);
    // The name is free again, for somebody who has nothing of the old one.
    support::register_open(&server, "bob", "another password");
    assert_fails(&log_in_token(&server, "bob", &token), Code::Wrong);
    assert_fails(&log_in(&server, "bob", PASSWORD), Code::Wrong);
}

/// Whoever was signed on to management cannot use that link to get back in.
#[test]
fn the_links_to_management_end_too() {
    let server = Server::open();
    for user in ["disabled", "deleted", "renewed", "other"] {
        support::register_open(&server, user, PASSWORD);
    }
    let link = |user| login_link(&server, user, PASSWORD).0;
    let (mut disabled, mut deleted, mut renewed) = (link("disabled"), link("deleted"), link("renewed"));
    let mut other = link("other");
    let file = server.data_dir().join("password");
    std::fs::write(&file, "a new one").expect("a password file");
    support::admin(&server, &["user", "disable", "disabled"]);
    support::admin(&server, &["user", "delete", "deleted"]);
    support::admin(&server, &["user", "passwd", "renewed", "--password-file", file.to_str().expect("UTF-8")]);
    for link in [&mut disabled, &mut deleted, &mut renewed] {
        link.read_to_close(PATIENCE);
    }
    other.ask("LISTKEYS", &[]).ok();
    assert_fails(&log_in(&server, "renewed", PASSWORD), Code::Wrong);
    log_in(&server, "renewed", "a new one").ok();
}
