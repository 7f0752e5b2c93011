//! `convergia admin kick`.

use std::time::Duration;

use convergia::client::Client;
use convergia::client::Event;
use convergia::client::Options;
use convergia::client::Secret;
use convergia::engine::rt;
use convergia::wire::Code;

use crate::support;
use crate::support::run;
use crate::support::sign_on::sign_on_again;
use crate::support::sign_on::PASSWORD;
use crate::support::Server;
use crate::PATIENCE;

#[test]
fn a_kicked_user_is_told_why_and_may_come_back() {
    let server = Server::open();
    let mut sessions = vec![support::sign_on(&server, "bob"), sign_on_again(&server, "bob")];
    let mut alice = support::sign_on(&server, "alice");
    alice.ask("SENDMESSAGE", &["bob", "before"]).ok();
    support::admin(&server, &["kick", "BOB", "--reason", "see the rules"]);
    for session in &mut sessions {
        let lines = session.read_to_close(PATIENCE);
        let commands: Vec<&str> = lines.iter().map(|line| line.command.as_str()).collect();
        assert_eq!(commands, ["RECEIVEMESSAGE", "DISCONNECTED"]);
        assert_eq!(lines[1].fields::<1>(), [b"see the rules".to_vec()]);
    }
    alice.assert_alive();
    sign_on_again(&server, "bob").assert_alive();
    let data = server.data_dir().to_str().expect("UTF-8");
    let nobody = run(&["admin", "--data-dir", data, "kick", "nobody"]);
    assert_eq!(nobody.status, 1, "{nobody:?}");
    assert!(!nobody.err.is_empty());
}

/// The client library comes back by itself from a server that stopped, not from a kick.
#[test]
fn a_client_that_was_kicked_stays_away() {
    let server = Server::open();
    support::register_open(&server, "bob", PASSWORD);
    let options = Options::new(
        server.url().parse().expect("an address"),
        "bob".into(),
        Secret::Password(PASSWORD.to_owned().into()),
    );
    let client = rt::block_on(Client::sign_on(options)).expect("signed on");
    support::admin(&server, &["kick", "bob", "--reason", "out"]);
    let next = || rt::block_on(rt::timeout(Duration::from_secs(20), client.next())).expect("an event");
    assert!(matches!(next(), Some(Event::SignedOn(_))));
    assert_eq!(next(), Some(Event::Disconnected("out".into())));
    let Some(Event::Failed(fail)) = next() else { panic!("the client goes on") };
    assert_eq!((fail.code, &*fail.text), (Code::Refused, "out"));
}
