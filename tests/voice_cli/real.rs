//! The same with a real server.

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;

use super::calls::ends_well;
use super::sound;
use super::support::sign_on::register_if_new;
use super::support::Server;
use super::Person;

/// One on which anybody may make channels.
fn server() -> Server {
    Server::start(&["--set", "management.registration=open", "--set", "voice.default_rights=[\"add_channel\"]"])
}

fn people(server: &Server) -> [Person; 2] {
    ["alice", "bob"].map(|name| {
        register_if_new(server, name);
        Person::new(&server.url(), name)
    })
}

/// Alice plays, bob records.
fn from_alice_to_bob(channel: &str, alice: &Person, alice_by: &[&str], bob: &Person, bob_by: &[&str]) {
    sound::make(&alice.path("in.opus"), 1, 1_500, 440.0, &["--bitrate", "64"]);
    let listening = bob.join(channel, &[&["--record", "out.opus"], bob_by].concat());
    let done = alice.voice(&[&["join", channel, "--play", "in.opus", "--json"], alice_by].concat()).expect(0);
    let joined = &done.json()[0];
    assert_eq!(joined["way"], if alice_by.is_empty() { "udp" } else { "link" }, "{done:?}");
    assert_eq!(listening.event("came")["user"], "alice");
    assert_eq!(listening.event("speaks")["user"], "alice");
    assert_eq!(listening.event("left")["user"], "alice");
    ends_well(listening);
    sound::compare(&alice.path("in.opus"), &bob.path("out.opus"));
}

#[test]
fn by_udp() {
    let server = server();
    let [alice, bob] = people(&server);
    alice.voice(&["create", "team"]).expect(0);
    from_alice_to_bob("team", &alice, &[], &bob, &[]);
    let alice_again = Person::new(&server.url(), "alice");
    from_alice_to_bob("workspace:plans", &alice_again, &[], &with_workspace(&server, &alice_again), &["--link"]);
}

/// Bob, in a workspace that alice has made.
fn with_workspace(server: &Server, alice: &Person) -> Person {
    let made = alice.command(&["workspace", "create", "plans", "bob"]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    Person::new(&server.url(), "bob")
}

#[test]
fn in_a_channel_of_kv_that_nobody_signs() {
    let server = server();
    let [alice, bob] = people(&server);
    let control = server.addr("voice_control");
    let ask = |words: &[u64], kind: u32| {
        let mut socket = TcpStream::connect(control.as_str()).unwrap();
        socket.write_all(&kind.to_be_bytes()).unwrap();
        socket.write_all(&words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>()).unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        u64::from_be_bytes(answer.as_slice().try_into().expect("one number"))
    };
    let stranger = ask(&[0, 0], 4);
    let channel = ask(&[stranger], 0).to_string();
    from_alice_to_bob(&channel, &alice, &[], &bob, &[]);
}

#[test]
fn over_links() {
    let server = server();
    let [alice, bob] = people(&server);
    alice.voice(&["create", "team"]).expect(0);
    from_alice_to_bob("team", &alice, &["--link"], &bob, &["--link"]);
}

#[test]
fn the_channel_of_a_workspace() {
    let server = server();
    let [alice, bob] = people(&server);
    let made = alice.command(&["workspace", "create", "plans", "bob"]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    from_alice_to_bob("workspace:plans", &alice, &["--link"], &bob, &["--link"]);
    register_if_new(&server, "carol");
    let carol = Person::new(&server.url(), "carol");
    // Who is taken out while it goes on is taken out of the channel too.
    let call = bob.join("workspace:plans", &["--link"]);
    let out = alice.command(&["workspace", "remove", "plans", "bob"]).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    let done = call.end().expect(1);
    assert!(done.err.contains("you were removed"), "{done:?}");
    let refused = carol.voice(&["join", "workspace:plans", "--link"]).expect(1);
    assert!(refused.err.contains("NOTFOUND") || refused.err.contains("DENIED"), "{refused:?}");
}

#[test]
fn whose_membership_is_ended_hears_why() {
    let server = server();
    let [alice, bob] = people(&server);
    alice.voice(&["create", "team"]).expect(0);
    let ends: [(&Person, &[&str], &str); 3] = [
        (&alice, &["kick", "team", "bob"], "you were removed"),
        (&bob, &["leave", "team"], "left it at another place"),
        (&alice, &["delete", "team"], "was deleted"),
    ];
    for (person, command, words) in ends {
        let call = bob.join("team", &["--link"]);
        assert_eq!(alice.voice(&["list", "team"]).expect(0).out, "bob\n");
        person.voice(command).expect(0);
        let done = call.end().expect(1);
        assert!(done.err.contains(words), "{done:?}");
    }
    let none = alice.voice(&["list"]).expect(0);
    assert!(none.out.contains("voice create"), "{none:?}");
}
