//! On the local network: real clients in network namespaces of their own, that find each other by multicast and talk when their
//! server is out of reach. Needs root.

#[path = "../support/mod.rs"]
mod support;

mod open;
mod person;

use std::time::Duration;
use std::time::Instant;

use convergia::accounts::keys;
use convergia::client::lan::Event;
use convergia::client::lan::Id;
use convergia::client::lan::Lan;
use convergia::client::lan::Me;
use convergia::config::PortKey;
use convergia::engine::rt;
use person::Person;
use person::PATIENCE;
use serde_json::json;
use serde_json::Value;
use support::sites;
use support::Server;
use support::Sites;
use support::TempDir;
use support::Topology;

/// Two people who reach each other over one cable, and a server that each reaches over another.
fn two() -> Option<(Sites, Server)> {
    if !sites::available() {
        return None;
    }
    let topology = Topology::sites(&["server", "a", "b"]).link("server", "a").link("server", "b").link("a", "b");
    let sites = Sites::new(&topology);
    let places = ["--bind", &sites.address("server"), "--any-port"].map(str::to_owned).to_vec();
    let mut server =
        sites.within("server", || Server::begin_at(TempDir::new(), places, &["--set", "management.registration=open"]));
    server.wait_until_ready();
    Some((sites, server))
}

/// Nothing passes between the server and the two any more, and nobody is told.
fn cut_off(sites: &Sites) {
    sites.cut("server", "a");
    sites.cut("server", "b");
}

fn is_known(event: &Value, name: &str, trust: &str) -> bool {
    let people = event["people"].as_array().expect("people");
    people.iter().any(|person| person["user"] == name && person["trust"] == trust)
}

#[test]
fn two_find_each_other_and_talk_when_the_server_is_out_of_reach() {
    let Some((sites, server)) = two() else { return };
    let (alice, bob) = (Person::new(&sites, "a", "alice"), Person::new(&sites, "b", "bob"));
    alice.register(&server);
    bob.register(&server);
    let mut at_alice = alice.chat(&["--lan"]);
    // Nobody is heard who has not asked for it.
    let mut silent = bob.chat(&[]);
    silent.event("signed_on");
    let heard = alice.run(&["discover", "--json", "--seconds", "2"]).expect(0).json();
    assert!(heard.len() == 1 && heard[0]["user"] == "alice", "{heard:?}");
    silent.say("alice: over the server");
    assert_eq!(silent.event("sent")["way"], "server");
    assert_eq!(at_alice.event("message")["way"], "server");
    drop(silent);

    let mut at_bob = bob.chat(&["--lan"]);
    assert!(is_known(&at_bob.event("lan"), "alice", "verified"));
    assert!(is_known(&at_alice.event("lan"), "bob", "verified"));
    let state = std::fs::metadata(bob.file("client.json.lan.json")).expect("the keys");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&state.permissions()) & 0o777, 0o600);
    // Both of them: who looks is another client than the conversation.
    let found = bob.run(&["discover", "--json", "--seconds", "3"]).expect(0).json();
    let both: Vec<&Value> = found.iter().map(|person| &person["id"]).collect();
    assert_eq!(
        both,
        ["alice", "bob"].map(|name| json!(format!("{}::{name}", server.fingerprint()))).iter().collect::<Vec<_>>()
    );
    assert!(found.iter().all(|person| person["trust"] == "verified"), "{found:?}");

    cut_off(&sites);
    for n in 0..20 {
        at_bob.say(&format!("alice: {n}"));
    }
    for n in 0..20 {
        let message = at_alice.event("message");
        let expected = (json!("bob"), json!(n.to_string()), json!("lan"));
        assert_eq!((&message["sender"], &message["body"], &message["way"]), (&expected.0, &expected.1, &expected.2));
        let sent = at_bob.event("sent");
        assert_eq!((&sent["ok"], &sent["way"]), (&json!(true), &json!("lan")));
    }
    at_alice.say(&format!("{}::bob: back", server.fingerprint()));
    assert_eq!(at_bob.event("message")["body"], "back");
    // A client that starts now knows the keys from before.
    let began = Instant::now();
    let done = bob.run(&["send", "--lan", "--json", "alice", "once", "more"]).expect(0);
    assert_eq!((&done.json()[0]["ok"], &done.json()[0]["way"]), (&json!(true), &json!("lan")));
    assert!(began.elapsed() < PATIENCE, "no server was waited for");
    assert_eq!(at_alice.event("message")["body"], "once more");
    let found = bob.run(&["discover", "--json", "--seconds", "5"]).expect(0).json();
    assert_eq!((&found[0]["user"], &found[0]["trust"]), (&json!("alice"), &json!("verified")));
    // Who leaves says so.
    drop(at_bob);
    assert_eq!(at_alice.end(), 0);
    assert_eq!(bob.run(&["discover", "--json", "--seconds", "1"]).expect(0).json(), [] as [Value; 0]);
}

#[test]
fn who_announces_the_name_of_another_is_shown_and_gets_nothing() {
    let Some((sites, server)) = two() else { return };
    let bob = Person::new(&sites, "b", "bob");
    bob.register(&server);
    Person::new(&sites, "a", "alice").register(&server);
    let (seed, _) = keys::generate().expect("a key");
    let id = Id::parse(&format!("{}::alice", server.fingerprint())).expect("an id");
    let stranger = Id::parse("elsewhere.example:1::carol").expect("an id");
    let me = |id| Me { id, seed: Some(seed.clone()) };
    let (mallory, _carol) = sites.within("a", || {
        let mallory = Lan::start(Some(me(id)), Some(PortKey::ClientClient)).expect("on the network");
        (mallory, Lan::start(Some(me(stranger)), Some(PortKey::RealmClientClient)).expect("on the network"))
    });
    let mut at_bob = bob.chat(&["--lan"]);
    assert!(is_known(&at_bob.event("lan"), "alice", "unverified"));
    at_bob.say("/lan");
    let all = loop {
        let all = at_bob.event("lan");
        if is_known(&all, "carol", "foreign") {
            break all;
        }
        at_bob.say("/lan");
    };
    assert!(is_known(&all, "alice", "unverified"), "{all}");
    at_bob.say("alice: for her alone");
    let sent = at_bob.event("sent");
    assert_eq!((&sent["ok"], &sent["way"], &sent["code"]), (&json!(false), &json!("server"), &json!("OFFLINE")));
    let found = bob.run(&["discover", "--seconds", "4"]).expect(0);
    assert!(found.out.contains("UNVERIFIED") && found.out.contains("of another network"), "{found:?}");
    let done = bob.run(&["send", "--lan", "--json", "alice", "for her alone"]).expect(1);
    assert_eq!((&done.json()[0]["way"], &done.json()[0]["code"]), (&json!("server"), &json!("OFFLINE")));
    assert_eq!(at_bob.end(), 1, "one message was refused");
    // Nobody has so much as asked for a key on the way to a link.
    let came = rt::block_on(rt::timeout(Duration::from_millis(1), async {
        while let Some(event) = mallory.next().await {
            if matches!(event, Event::Message { .. }) {
                return event;
            }
        }
        Event::Changed
    }));
    assert!(came.is_err(), "{came:?}");
}

#[test]
fn a_key_that_was_removed_is_not_believed_and_not_made_again() {
    let Some((sites, server)) = two() else { return };
    let (alice, bob) = (Person::new(&sites, "a", "alice"), Person::new(&sites, "b", "bob"));
    alice.register(&server);
    bob.register(&server);
    let at_alice = alice.chat(&["--lan"]);
    let at_bob = bob.chat(&["--lan"]);
    assert!(is_known(&at_bob.event("lan"), "alice", "verified"));
    assert_eq!(at_bob.end(), 0);
    let address = server.addr("client_management");
    let label = sites.within("b", || {
        let mut link = support::Raw::connect(&address);
        link.ask("LOGIN", &["alice", person::PASSWORD]).ok();
        let list = link.ask("LISTKEYS", &[]).text();
        let label = list.split('|').next().expect("a label").to_owned();
        link.ask("REMOVEKEY", &[&label]).ok();
        label
    });
    assert!(label.starts_with("device-"), "{label}");
    let found = bob.run(&["discover", "--json", "--seconds", "2"]).expect(0).json();
    assert_eq!((&found[0]["user"], &found[0]["trust"]), (&json!("alice"), &json!("unverified")));
    assert_eq!(at_alice.end(), 0);
    let done = alice.run(&["send", "--lan", "bob", "hi"]).expect(1);
    assert!(done.err.contains("was removed from the account"), "{done:?}");
}
