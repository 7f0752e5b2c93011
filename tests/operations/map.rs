//! GETSERVERMAP and SERVERMAPUPDATE (contract 6).

use std::collections::BTreeMap;
use std::time::Duration;
use std::time::Instant;

use crate::support;
use crate::support::sign_on::sign_on_again;
use crate::support::Raw;
use crate::support::Server;

/// id → its other columns.
type Map = BTreeMap<String, Vec<String>>;

fn parse(lines: &str) -> Map {
    let row = |line: &str| {
        let mut columns = line.split('|').map(str::to_owned);
        let id = columns.next().expect("an id");
        let rest: Vec<String> = columns.collect();
        assert!(rest.len() >= 5, "{line}");
        (id, rest)
    };
    let map: Map = lines.lines().map(row).collect();
    assert_eq!(map.len(), lines.lines().count(), "an id stands twice: {lines}");
    map
}

#[track_caller]
fn get(link: &mut Raw) -> Map {
    parse(&link.ask("GETSERVERMAP", &[]).text())
}

/// The node of that name and type: its id, status, notes, and what it is connected to.
#[track_caller]
fn node(map: &Map, name: &str, kind: &str) -> (String, String, String, Vec<String>) {
    let found: Vec<_> = map.iter().filter(|(_, row)| row[0] == name && row[1] == kind).collect();
    assert_eq!(found.len(), 1, "{name} in {map:?}");
    let (id, row) = found[0];
    let links = row[4..].iter().filter(|id| !id.is_empty()).cloned().collect();
    (id.clone(), row[2].clone(), row[3].clone(), links)
}

/// Reads updates until one has the user in that state.
fn until(link: &mut Raw, user: &str, right: impl Fn(&(String, String, String, Vec<String>)) -> bool) {
    loop {
        let line = link.receive_command("SERVERMAPUPDATE");
        let map = parse(&String::from_utf8(line.fields::<1>()[0].clone()).expect("UTF-8"));
        if map.values().any(|row| row[0] == user) && right(&node(&map, user, "client")) {
            return;
        }
    }
}

#[test]
fn right_after_signing_on_a_user_sees_itself() {
    let server = Server::open();
    for n in 0..10 {
        let user = format!("user{n}");
        let mut link = support::sign_on(&server, &user);
        let map = get(&mut link);
        let (_, status, _, links) = node(&map, &user, "client");
        assert_eq!(status, "online");
        let (main, status, _, up) = node(&map, "main", "mainserver");
        assert_eq!((status.as_str(), links), ("online", vec![main.clone()]));
        // Both ends of a link between servers name it.
        assert_eq!(up.len(), 2);
        for kind in ["managementserver", "datamanagementserver"] {
            let other = map.iter().find(|(_, row)| row[1] == kind).expect(kind);
            assert!(up.contains(other.0) && other.1[4..].contains(&main), "{kind}");
        }
        link.ask("SIGNOFF", &[]).ok();
    }
}

#[test]
fn a_user_is_one_line_however_often_it_is_signed_on() {
    let server = Server::open();
    let mut alice = support::sign_on(&server, "alice");
    let mut first = support::sign_on(&server, "Bob");
    let before = node(&get(&mut alice), "Bob", "client");
    let mut second = sign_on_again(&server, "Bob");
    assert_eq!(node(&get(&mut alice), "Bob", "client"), before);
    first.ask("SIGNOFF", &[]).ok();
    assert_eq!(node(&get(&mut alice), "Bob", "client").1, "online");
    second.ask("SIGNOFF", &[]).ok();
    until(&mut alice, "Bob", |bob| *bob == (before.0.clone(), "offline".into(), String::new(), vec![]));
    assert_eq!(node(&get(&mut alice), "Bob", "client").1, "offline");
    // Signed on again: the same node.
    let _third = sign_on_again(&server, "Bob");
    assert_eq!(node(&get(&mut alice), "Bob", "client"), before);
}

#[test]
fn a_status_is_shown_until_the_user_signs_off() {
    let server = Server::open();
    let mut alice = support::sign_on(&server, "alice");
    let mut bob = support::sign_on(&server, "bob");
    get(&mut alice);
    bob.ask("SETSTATUS", &["at lunch | back at two"]).ok();
    until(&mut alice, "bob", |bob| bob.2 == "at lunch   back at two");
    assert_eq!(node(&get(&mut alice), "bob", "client").2, "at lunch   back at two");
    bob.ask("SIGNOFF", &[]).ok();
    until(&mut alice, "bob", |bob| bob.1 == "offline" && bob.2.is_empty());
    let _bob = sign_on_again(&server, "bob");
    assert_eq!(node(&get(&mut alice), "bob", "client").2, "");
}

#[test]
fn updates_come_once_a_second_at_most_and_only_to_those_who_asked() {
    let server = Server::open();
    let mut watcher = support::sign_on(&server, "watcher");
    let mut other = support::sign_on(&server, "other");
    let mut busy = support::sign_on(&server, "busy");
    get(&mut watcher);
    let began = Instant::now();
    let mut updates = 0;
    let mut n = 0;
    let mut shown = String::new();
    // Something changes all the time; for three seconds the updates are counted.
    while began.elapsed() < Duration::from_secs(3) {
        n += 1;
        busy.ask("SETSTATUS", &[&format!("step {n}")]).ok();
        match watcher.read(Duration::from_millis(20)) {
            Ok(line) => {
                let line = line.expect("the server has closed");
                assert_eq!(line.command, "SERVERMAPUPDATE");
                updates += 1;
                shown =
                    node(&parse(&String::from_utf8(line.fields::<1>()[0].clone()).expect("UTF-8")), "busy", "client").2;
            }
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::TimedOut),
        }
    }
    let seconds = began.elapsed().as_secs();
    assert!((2..=seconds + 1).contains(&updates), "{updates} updates in {seconds} s");
    assert!(shown.starts_with("step "), "{shown}");
    // The last change is told too.
    let last = format!("step {n}");
    if shown != last {
        until(&mut watcher, "busy", |busy| busy.2 == last);
    }
    // Who did not ask heard nothing: the next thing that comes is a message.
    watcher.ask("SENDMESSAGE", &["other", "hello"]).ok();
    assert_eq!(other.receive().command, "RECEIVEMESSAGE");
}
