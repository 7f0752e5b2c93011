//! Ed25519 keys in place of passwords (contract 2 and 5).

use convergia::accounts::keys;
use convergia::client::Client;
use convergia::client::Options;
use convergia::client::Secret;
use convergia::engine::rt;
use convergia::wire::Code;

use crate::assert_fails;
use crate::log_in_token;
use crate::management;
use crate::support;
use crate::support::sign_on::login_link;
use crate::support::sign_on::PASSWORD;
use crate::support::Answer;
use crate::support::Raw;
use crate::support::Server;

/// A server on which alice has a key, and bob a password; the seed of the key.
fn with_key() -> (Server, [u8; 32]) {
    let server = Server::open();
    support::register_open(&server, "alice", PASSWORD);
    support::register_open(&server, "bob", PASSWORD);
    let (seed, public) = keys::generate().expect("a key");
    login_link(&server, "alice", PASSWORD).0.ask("ADDKEY", &["laptop", &keys::to_base64(&public)]).ok();
    (server, *seed)
}

/// PROVEKEY with a signature of that text.
fn prove(link: &mut Raw, seed: &[u8; 32], text: &[u8]) -> Answer {
    link.ask("PROVEKEY", &[&keys::to_base64(&keys::sign(seed, text).expect("a signature"))])
}

#[test]
fn a_key_signs_on() {
    let (server, seed) = with_key();
    let mut link = management(&server);
    let challenge = link.ask("LOGINKEY", &["Alice"]).text();
    let text = keys::signed_text("Alice", &server.fingerprint(), &challenge);
    let token = prove(&mut link, &seed, &text).text();
    link.ask("LISTSERVERS", &[]).ok();
    log_in_token(&server, "alice", &token).ok();
    assert_fails(&link.ask("LOGINKEY", &["alice"]), Code::BadCommand);
}

#[test]
fn a_signature_is_good_for_one_challenge_name_server_and_key() {
    let (server, seed) = with_key();
    let print = server.fingerprint();
    let mut elsewhere = management(&server);
    let other = elsewhere.ask("LOGINKEY", &["alice"]).text();
    let texts = |challenge: &str| {
        [
            keys::signed_text("alice", &print, &other),
            keys::signed_text("bob", &print, challenge),
            keys::signed_text("alice", &"0".repeat(64), challenge),
            challenge.as_bytes().to_vec(),
            format!("alice\n{print}\n{challenge}").into_bytes(),
        ]
    };
    for n in 0..texts("").len() {
        let mut link = management(&server);
        let challenge = link.ask("LOGINKEY", &["alice"]).text();
        assert_fails(&prove(&mut link, &seed, &texts(&challenge)[n]), Code::Wrong);
        // The challenge is spent: the right signature comes too late.
        let right = keys::signed_text("alice", &print, &challenge);
        assert_fails(&prove(&mut link, &seed, &right), Code::BadCommand);
        assert_fails(&link.ask("LISTSERVERS", &[]), Code::SignIn);
    }
    let mut link = management(&server);
    let challenge = link.ask("LOGINKEY", &["alice"]).text();
    let (stranger, _) = keys::generate().expect("a key");
    assert_fails(&prove(&mut link, &stranger, &keys::signed_text("alice", &print, &challenge)), Code::Wrong);
    // A second challenge replaces the first.
    let first = link.ask("LOGINKEY", &["alice"]).text();
    let second = link.ask("LOGINKEY", &["alice"]).text();
    assert_ne!(first, second);
    assert_fails(&prove(&mut link, &seed, &keys::signed_text("alice", &print, &first)), Code::Wrong);
    // Alice's key does not sign bob on, and an unknown user looks the same.
    for user in ["bob", "nobody"] {
        let mut link = management(&server);
        let challenge = link.ask("LOGINKEY", &[user]).text();
        assert_eq!(challenge.len(), 64);
        assert_fails(&prove(&mut link, &seed, &keys::signed_text(user, &print, &challenge)), Code::Wrong);
    }
    // The link that was copied from still works.
    prove(&mut elsewhere, &seed, &keys::signed_text("alice", &print, &other)).ok();
}

#[test]
fn ill_formed_keys_and_signatures() {
    let (server, _) = with_key();
    let mut link = management(&server);
    assert_fails(&link.ask("PROVEKEY", &[&keys::to_base64(&[1; 64])]), Code::BadCommand);
    link.ask("LOGINKEY", &["alice"]).ok();
    for bad in ["", "!", "AAAA", &keys::to_base64(&[1; 63]), &keys::to_base64(&[1; 65])] {
        assert_fails(&link.ask("PROVEKEY", &[bad]), Code::BadArgs);
    }
    assert_fails(&link.ask("PROVEKEY", &[&keys::to_base64(&[1; 64])]), Code::Wrong);
    let (mut link, _) = login_link(&server, "alice", PASSWORD);
    for bad in ["", "!", &keys::to_base64(&[1; 31]), &keys::to_base64(&[1; 33])] {
        assert_fails(&link.ask("ADDKEY", &["phone", bad]), Code::BadArgs);
    }
    for bad in ["", "a|b", "a\nb", "..", &"x".repeat(65)] {
        assert_fails(&link.ask("ADDKEY", &[bad, &keys::to_base64(&[1; 32])]), Code::BadArgs);
    }
}

#[test]
fn keys_are_added_listed_and_removed() {
    let (server, _) = with_key();
    let public = || keys::to_base64(&keys::generate().expect("a key").1);
    for (command, fields) in [("ADDKEY", vec!["a", "b"]), ("LISTKEYS", vec![]), ("REMOVEKEY", vec!["laptop"])] {
        assert_fails(&management(&server).ask(command, &fields), Code::SignIn);
    }
    let (mut link, _) = login_link(&server, "alice", PASSWORD);
    let phone = public();
    link.ask("ADDKEY", &["phone", &phone]).ok();
    assert_fails(&link.ask("ADDKEY", &["phone", &public()]), Code::Exists);
    assert_fails(&link.ask("ADDKEY", &["tablet", &phone]), Code::Exists);
    let list = link.ask("LISTKEYS", &[]).text();
    let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split('|').collect()).collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), ["laptop", "phone"]);
    assert_eq!(rows[1][1], phone);
    assert!(rows[1][2].parse::<u64>().expect("Unix milliseconds") > 1_700_000_000_000);
    // Bob sees and removes only his own.
    let (mut bob, _) = login_link(&server, "bob", PASSWORD);
    assert_eq!(bob.ask("LISTKEYS", &[]).text(), "");
    assert_fails(&bob.ask("REMOVEKEY", &["laptop"]), Code::NotFound);
    link.ask("REMOVEKEY", &["laptop"]).ok();
    assert_fails(&link.ask("REMOVEKEY", &["laptop"]), Code::NotFound);
    assert_eq!(link.ask("LISTKEYS", &[]).text().lines().count(), 1);
    for n in 1..16 {
        link.ask("ADDKEY", &[&format!("key {n}"), &public()]).ok();
    }
    assert_fails(&link.ask("ADDKEY", &["one more", &public()]), Code::Limit);
}

#[test]
fn whoever_has_signed_on_reads_the_keys_of_any_user() {
    let (server, seed) = with_key();
    let public = keys::to_base64(&keys::public_of(&seed).expect("a key"));
    let mut main = support::sign_on::sign_on_again(&server, "bob");
    let mut management_link = login_link(&server, "bob", PASSWORD).0;
    for link in [&mut main, &mut management_link] {
        let list = link.ask("GETKEYS", &["ALICE"]).text();
        let row: Vec<&str> = list.split('|').collect();
        assert_eq!((row.len(), row[0], row[1]), (3, "laptop", public.as_str()), "{list}");
        assert!(row[2].parse::<u64>().expect("Unix milliseconds") > 1_700_000_000_000);
        assert_eq!(link.ask("GETKEYS", &["bob"]).text(), "");
        assert_fails(&link.ask("GETKEYS", &["nobody"]), Code::NotFound);
        for bad in ["", "a b", "h:1::alice", "alice\nbob"] {
            assert_fails(&link.ask("GETKEYS", &[bad]), Code::BadArgs);
        }
    }
    // Not for strangers.
    assert_fails(&management(&server).ask("GETKEYS", &["alice"]), Code::SignIn);
    let stranger = Raw::connect(&server.addr("client_main")).ask("GETKEYS", &["alice"]);
    assert_fails(&stranger, Code::SignIn);
    // What is removed, or belongs to who is shut out, vouches for nobody.
    support::admin(&server, &["user", "disable", "alice"]);
    assert_fails(&main.ask("GETKEYS", &["alice"]), Code::NotFound);
    support::admin(&server, &["user", "enable", "alice"]);
    login_link(&server, "alice", PASSWORD).0.ask("REMOVEKEY", &["laptop"]).ok();
    assert_eq!(main.ask("GETKEYS", &["alice"]).text(), "");
}

#[test]
fn the_client_library_signs_on_with_a_key() {
    let (server, seed) = with_key();
    let options = || Options::new(server.url().parse().expect("an address"), "alice".into(), Secret::Key(seed.into()));
    let client = rt::block_on(Client::sign_on(options())).expect("signed on");
    let map = rt::block_on(client.server_map()).expect("the map");
    assert!(map.iter().any(|line| line.contains("|alice|client|online|")), "{map:?}");
    rt::block_on(client.sign_off());
    login_link(&server, "alice", PASSWORD).0.ask("REMOVEKEY", &["laptop"]).ok();
    let refused = rt::block_on(Client::sign_on(options())).err().expect("refused");
    assert_eq!(refused.code, Code::Wrong, "{refused}");
}
