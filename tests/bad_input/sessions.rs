//! A user's sessions.

use convergia::wire::Code;

use crate::support;
use crate::support::raw::PATIENCE;
use crate::support::Raw;
use crate::support::Server;

#[test]
fn eight_sessions_all_receive_and_the_ninth_is_limit() {
    let server = Server::open();
    let mut sessions: Vec<Raw> = (0..8).map(|_| support::sign_on(&server, "alice")).collect();
    let ticket = support::sign_on::ticket(&server, "alice");
    let mut ninth = Raw::connect(&ticket.address);
    assert_eq!(ninth.ask("SIGNON", &["alice", &ticket.ticket]).code(), Code::Limit);
    let mut bob = support::sign_on(&server, "bob");
    bob.ask("SENDMESSAGE", &["ALICE", "to all"]).ok();
    for session in &mut sessions {
        let [sender, _, body] = session.receive_command("RECEIVEMESSAGE").fields::<3>();
        assert_eq!((sender, body), (b"bob".to_vec(), b"to all".to_vec()));
    }
    // One goes with a word: there is room for another.
    let mut gone = sessions.pop().unwrap();
    gone.ask("SIGNOFF", &[]).ok();
    assert!(gone.read_to_close(PATIENCE).is_empty());
    let mut again = support::sign_on(&server, "alice");
    again.assert_alive();
}

#[test]
fn signing_on_twice_over_one_connection_is_refused() {
    let server = Server::open();
    let mut link = support::sign_on(&server, "alice");
    let ticket = support::sign_on::ticket(&server, "alice");
    link.ask("SIGNON", &["alice", &ticket.ticket]).code();
    link.assert_alive();
}

#[test]
fn a_sign_on_over_a_connection_that_is_being_closed_takes_no_message_with_it() {
    let server = Server::open();
    let mut alice = support::sign_on(&server, "alice");
    let bob = support::sign_on(&server, "bob");
    alice.ask("SENDMESSAGE", &["bob", "keep me"]).ok();
    // Gone without having read it.
    drop(bob);
    let ticket = support::sign_on::ticket(&server, "bob");
    let mut hasty = Raw::connect(&ticket.address);
    let packets = format!("1 SIGNON bob~\n{}\n is no packet\n", ticket.ticket);
    hasty.send_bytes(packets.as_bytes()).unwrap();
    assert_eq!(hasty.receive_command("ERROR").command, "ERROR");
    // Time for the ticket to be looked at: a round trip to management, and back.
    for _ in 0..100 {
        alice.assert_alive();
        assert_eq!(alice.ask("SENDMESSAGE", &["nobody", "x"]).code(), Code::NotFound);
    }
    let mut again = support::sign_on::sign_on_again(&server, "bob");
    let [_, _, body] = again.receive_command("RECEIVEMESSAGE").fields::<3>();
    assert_eq!(body, b"keep me");
    drop(hasty);
}
