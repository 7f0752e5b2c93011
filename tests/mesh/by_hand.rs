//! A client written from the protocol page alone is moved, refuses, and is not impersonated.

use std::time::Duration;

use crate::support::Cluster;
use crate::support::Raw;
use convergia::wire::Code;

const PATIENCE: Duration = Duration::from_secs(10);

/// Two servers, alice on b, bob on a; a is to be drained.
fn network() -> (Cluster, Raw, Raw) {
    let cluster = Cluster::of(&["a", "b"]);
    let (alice, bob) = (cluster.sign_on("alice", "b"), cluster.sign_on("bob", "a"));
    (cluster, alice, bob)
}

/// What a REDIRECT says: its packet's ID, and its fields as text.
fn redirect(link: &mut Raw) -> (String, [String; 6]) {
    let line = link.receive_command("REDIRECT");
    (line.id.clone(), line.fields::<6>().map(|field| String::from_utf8(field).unwrap()))
}

fn body(link: &mut Raw) -> String {
    let [sender, _, body] = link.receive_command("RECEIVEMESSAGE").fields();
    format!("{}: {}", String::from_utf8(sender).unwrap(), String::from_utf8(body).unwrap())
}

#[test]
fn a_client_by_hand_is_moved() {
    let (cluster, mut alice, mut old) = network();
    alice.ask("SENDMESSAGE", &["bob", "first"]).ok();
    cluster.admin(&["drain", "a"]);
    let (_, [id, server, address, fingerprint, _, secret]) = redirect(&mut old);
    assert_eq!(server, "b");
    // Sent before the move: answered on the old link, whatever comes first.
    old.send("7", "SENDMESSAGE", &[b"alice", b"from the old one"]);
    let mut new = Raw::connect(&address);
    assert_eq!(new.fingerprint(), fingerprint);
    new.ask("HANDOVER", &[&id, "bob", &secret]).ok();
    new.send("1", "SENDMESSAGE", &[b"alice", b"from the new one"]);
    old.send("8", "SIGNOFF", &[]);
    assert_eq!(old.answer("7").ok(), b"");
    alice.ask("SENDMESSAGE", &["bob", "second"]).ok();
    let rest = old.read_to_close(PATIENCE);
    assert_eq!(rest.last().map(|line| (line.id.as_str(), line.command.as_str())), Some(("8", "SIGNOFF")));
    drop(old);
    new.answer("1").ok();
    assert_eq!(body(&mut alice), "bob: from the old one");
    assert_eq!(body(&mut alice), "bob: from the new one");
    // It may have been accepted before the move was known.
    if !rest.iter().any(|line| line.command == "RECEIVEMESSAGE" && line.fields::<3>()[2] == b"second") {
        assert_eq!(body(&mut new), "alice: second");
    }
    alice.ask("SENDMESSAGE", &["bob", "third"]).ok();
    assert_eq!(body(&mut new), "alice: third");
    // The secret is good for one client.
    let mut other = Raw::connect(&address);
    assert_eq!(other.ask("HANDOVER", &[&id, "bob", &secret]).code(), Code::Expired);
}

#[test]
fn a_client_that_refuses_stays() {
    let (cluster, mut alice, mut bob) = network();
    cluster.admin(&["drain", "a"]);
    let (packet, [id, _, address, _, _, secret]) = redirect(&mut bob);
    let mut stranger = Raw::connect(&address);
    assert_eq!(stranger.ask("HANDOVER", &[&id, "bob", &"0".repeat(64)]).code(), Code::Wrong);
    assert_eq!(stranger.ask("HANDOVER", &[&id, "alice", &secret]).code(), Code::Wrong);
    assert_eq!(stranger.ask("HANDOVER", &["nothing", "bob", &secret]).code(), Code::Expired);
    let refuse = |bob: &mut Raw, packet: &str, id: &str| {
        bob.send_bytes(format!("{packet} REDIRECT FAIL REFUSED {id}\n").as_bytes()).unwrap();
    };
    refuse(&mut bob, &packet, &id);
    // It is asked again; before that the target was told that the first offer is off.
    let (packet, [again, ..]) = redirect(&mut bob);
    assert_eq!(stranger.ask("HANDOVER", &[&id, "bob", &secret]).code(), Code::Expired);
    refuse(&mut bob, &packet, &again);
    alice.ask("SENDMESSAGE", &["bob", "still there"]).ok();
    assert_eq!(body(&mut bob), "alice: still there");
    bob.assert_alive();
}
