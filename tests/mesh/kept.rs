//! Messages that are kept for a user on one server, and the user signs on at another.

use crate::support::raw::Raw;
use crate::support::Cluster;

/// Sends messages with these bodies, which must all be answered OK.
fn send(alice: &mut Raw, bodies: &[&str]) {
    for body in bodies {
        alice.ask("SENDMESSAGE", &["bob", body]).ok();
    }
}

/// Signs bob on at a server; he reads nothing, and his connection breaks. What alice sent him is kept there.
fn does_not_read(cluster: &Cluster, alice: &mut Raw, at: &str, bodies: &[&str]) {
    let bob = cluster.sign_on("bob", at);
    let word = format!("bob: {} messages are kept", bodies.len());
    let kept = |cluster: &Cluster| cluster.server(at).log().matches(&word).count();
    let before = kept(cluster);
    send(alice, bodies);
    drop(bob);
    cluster.until("the messages are kept", || kept(cluster) > before);
}

/// Signs bob on at a server, where he reads these messages, no others before them, and one that alice sends then.
fn reads(cluster: &Cluster, alice: &mut Raw, at: &str, bodies: &[&str]) {
    let mut bob = cluster.sign_on("bob", at);
    let mut read = |body: &str| {
        let line = bob.receive();
        let [sender, _, got] = line.fields::<3>();
        assert_eq!((line.command.as_str(), &*sender, &*got), ("RECEIVEMESSAGE", &b"alice"[..], body.as_bytes()));
    };
    bodies.iter().for_each(|body| read(body));
    send(alice, &["and this"]);
    read("and this");
    bob.ask("SIGNOFF", &[]).ok();
}

#[test]
fn they_come_where_the_user_signs_on_next_and_once() {
    let cluster = Cluster::of(&["a", "b", "c"]);
    let mut alice = cluster.sign_on("alice", "c");
    does_not_read(&cluster, &mut alice, "a", &["1", "2", "3"]);
    reads(&cluster, &mut alice, "b", &["1", "2", "3"]);
    reads(&cluster, &mut alice, "a", &[]);
    reads(&cluster, &mut alice, "b", &[]);
    // Kept on two servers.
    does_not_read(&cluster, &mut alice, "b", &["4", "5"]);
    reads(&cluster, &mut alice, "c", &["4", "5"]);
    does_not_read(&cluster, &mut alice, "c", &["6"]);
    reads(&cluster, &mut alice, "c", &["6"]);
    for at in ["a", "b", "c"] {
        reads(&cluster, &mut alice, at, &[]);
    }
}

#[test]
fn they_come_after_their_server_was_away() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    let mut alice = cluster.sign_on("alice", "c");
    does_not_read(&cluster, &mut alice, "a", &["1", "2"]);
    cluster.term("a");
    reads(&cluster, &mut alice, "b", &[]);
    let mut bob = cluster.sign_on("bob", "b");
    cluster.start("a");
    let got = [(); 2].map(|()| bob.receive().fields::<3>()[2].clone());
    assert_eq!(got, [b"1", b"2"]);
    bob.ask("SIGNOFF", &[]).ok();
    for at in ["a", "b"] {
        reads(&cluster, &mut alice, at, &[]);
    }
}
