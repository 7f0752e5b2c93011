//! Offline messages between realms: the message stays in the sender's realm, and the recipient's knows of it.

use convergia::wire::Code;
use rusqlite::params;

use crate::id;
use crate::management;
use crate::realm;
use crate::support::sign_on::sign_on;
use crate::support::Answer;
use crate::support::Raw;
use crate::support::Server;
use crate::until;
use crate::user;
use crate::wait_listed;

/// What fits into one packet beside an id.
const PIECE: usize = (1 << 20) - 1_024;

/// Begins a message to these, of these pieces: its id.
#[track_caller]
fn begin(server: &Server, link: &mut Raw, to: &[&str], pieces: &[&[u8]]) -> String {
    let mut message = String::new();
    // A realm that has just started may not know yet that it reaches others.
    until(server, "a message is begun", || match link.ask("INITOFFLINEMESSAGE", to) {
        Answer::Ok(id) => {
            message = String::from_utf8(id).expect("an id");
            true
        }
        Answer::Fail(code, text) => {
            assert_eq!(code, Code::Unavailable, "{text}");
            false
        }
    });
    for piece in pieces {
        link.request("APPENDOFFLINEMESSAGE", &[message.as_bytes(), piece]).ok();
    }
    message
}

/// The same, and sends it.
#[track_caller]
fn send(server: &Server, link: &mut Raw, to: &[&str], text: &str) -> String {
    let message = begin(server, link, to, &[text.as_bytes()]);
    link.ask("SENDOFFLINEMESSAGE", &[&message]).ok();
    message
}

/// What a user stores, in bytes.
#[track_caller]
pub fn used(link: &mut Raw) -> u64 {
    let lines = link.ask("GETACCOUNT", &[]).text();
    let line = lines.lines().find_map(|line| line.strip_prefix("used|"));
    line.expect("data management answers").parse().expect("bytes")
}

/// The messages that wait: id and sender.
#[track_caller]
fn waiting(link: &mut Raw) -> Vec<(String, String)> {
    let lines = link.ask("LISTOFFLINEMESSAGES", &[]).text();
    let two = |line: &str| {
        let mut columns = line.split('|').map(str::to_owned);
        columns.next().zip(columns.next()).expect("two columns")
    };
    lines.lines().map(two).collect()
}

/// Waits until a message is there, and is the only one: its id.
#[track_caller]
fn only(server: &Server, link: &mut Raw) -> (String, String) {
    until(server, "a message is there", || !waiting(link).is_empty());
    let mut all = waiting(link);
    assert_eq!(all.len(), 1, "{all:?}");
    all.pop().expect("one")
}

#[track_caller]
fn read(link: &mut Raw, message: &str) -> String {
    link.ask("READOFFLINEMESSAGE", &[message, "0", "1048576"]).text()
}

/// Waits until the other realm answers.
#[track_caller]
pub fn reach(server: &Server, link: &mut Raw, other: &Server) {
    let root = format!("{}::/", id(other));
    until(server, "the other realm answers", || match link.ask("LISTFOLDER", &[&root]) {
        Answer::Ok(_) => true,
        Answer::Fail(code, text) => {
            assert_eq!(code, Code::Unavailable, "{text}");
            false
        }
    });
}

/// Two realms that are in the directory, with Alice on the first and Bob on the second.
fn two(settings: &[&str]) -> (Server, Server, Server, Raw, Raw) {
    let management = management();
    let (north, south) = (realm(&management, "north", settings), realm(&management, "south", &[]));
    wait_listed(&management, &[&north, &south]);
    let (alice, bob) = (user(&north, "alice"), user(&south, "Bob"));
    (management, north, south, alice, bob)
}

#[test]
fn a_long_message_is_read_in_the_other_realm_and_costs_the_sender_until_it_is_deleted() {
    let (_management, north, south, mut alice, mut bob) = two(&[]);
    let pieces: Vec<Vec<u8>> = (0..3u8).map(|n| vec![b'~' - n; PIECE]).collect();
    let of: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
    // Carol is at home in the sender's realm, and gets it as always; Bob is named in whatever case.
    let mut carol = user(&north, "carol");
    let to = format!("{}::BOB", id(&south).to_uppercase());
    let message = begin(&north, &mut alice, &[&to, "carol", &format!("{}::carol", id(&north))], &of);
    alice.ask("SENDOFFLINEMESSAGE", &[&message]).ok();
    let size = 3 * PIECE;
    let [named, sender, told, _] = bob.receive_command("OFFLINEMESSAGEAVAILABLE").fields();
    let named = String::from_utf8(named).expect("an id");
    assert_eq!(named, format!("{}::{message}", id(&north)));
    assert_eq!((sender, told), (format!("{}::alice", id(&north)).into_bytes(), size.to_string().into_bytes()));
    assert_eq!(used(&mut alice), size as u64);
    assert_eq!(used(&mut bob), 0);
    drop(alice);
    // At the next sign-on he is told again, and reads it while she is away.
    drop(bob);
    let mut bob = user(&south, "Bob");
    let [again, ..] = bob.receive_command("OFFLINEMESSAGEAVAILABLE").fields::<4>();
    assert_eq!(again, named.as_bytes());
    assert_eq!(waiting(&mut bob), [(named.clone(), format!("{}::alice", id(&north)))]);
    for (n, piece) in pieces.iter().enumerate() {
        let offset = (n * PIECE).to_string();
        let got = bob.ask("READOFFLINEMESSAGE", &[&named, &offset, &PIECE.to_string()]).ok();
        assert!(got == *piece, "piece {n}");
    }
    let beyond = (size + 1).to_string();
    assert_eq!(bob.ask("READOFFLINEMESSAGE", &[&named, &beyond, "1"]).code(), Code::BadArgs);
    // Others of his realm have no such message, whatever they know of it, and nobody deletes it twice.
    let mut dave = user(&south, "dave");
    for name in [&named, &message] {
        assert_eq!(dave.ask("READOFFLINEMESSAGE", &[name, "0", "9"]).code(), Code::NotFound);
        assert_eq!(dave.ask("DELETEOFFLINEMESSAGE", &[name]).code(), Code::NotFound);
    }
    bob.ask("DELETEOFFLINEMESSAGE", &[&named]).ok();
    assert_eq!(bob.ask("DELETEOFFLINEMESSAGE", &[&named]).code(), Code::NotFound);
    assert!(waiting(&mut bob).is_empty());
    // Carol still has hers.
    let mut alice = user(&north, "alice");
    assert_eq!(used(&mut alice), size as u64);
    assert_eq!(waiting(&mut carol), [(message.clone(), "alice".to_owned())]);
    carol.ask("DELETEOFFLINEMESSAGE", &[&message]).ok();
    until(&north, "nobody has it any more", || used(&mut alice) == 0);
}

#[test]
fn a_realm_that_is_away_gets_it_once_when_it_is_back() {
    let (_management, mut north, mut south, mut alice, _) = two(&[]);
    let to_bob = format!("{}::bob", id(&south));
    south.kill();
    let message = send(&north, &mut alice, &[&to_bob], "to one who is away");
    // What is to be told is on disk, at the one and at the other.
    north.kill();
    north.restart_in_place();
    south.restart_in_place();
    let mut bob = user(&south, "bob");
    let named = format!("{}::{message}", id(&north));
    assert_eq!(only(&south, &mut bob).0, named);
    south.kill();
    south.restart_in_place();
    let mut bob = user(&south, "bob");
    // The sender's realm is away: it waits, and what is deleted is gone here at once.
    north.kill();
    assert_eq!(only(&south, &mut bob).0, named);
    assert_eq!(bob.ask("READOFFLINEMESSAGE", &[&named, "0", "99"]).code(), Code::Unavailable);
    north.restart_in_place();
    until(&south, "it is read", || match bob.ask("READOFFLINEMESSAGE", &[&named, "0", "99"]) {
        Answer::Ok(bytes) => bytes == b"to one who is away",
        Answer::Fail(code, text) => {
            assert_eq!(code, Code::Unavailable, "{text}");
            false
        }
    });
    let mut alice = user(&north, "alice");
    assert_eq!(used(&mut alice), 18);
    north.kill();
    bob.ask("DELETEOFFLINEMESSAGE", &[&named]).ok();
    assert!(waiting(&mut bob).is_empty());
    south.kill();
    south.restart_in_place();
    north.restart_in_place();
    let mut alice = user(&north, "alice");
    until(&north, "the other realm has told that it was deleted", || used(&mut alice) == 0);
    assert!(waiting(&mut user(&south, "bob")).is_empty());
}

#[test]
fn who_does_not_exist_there_is_told_at_once_or_later() {
    let (_management, north, mut south, mut alice, mut bob) = two(&[]);
    let nobody = format!("{}::nobody", id(&south));
    let to_bob = format!("{}::bob", id(&south));
    let message = begin(&north, &mut alice, &[&nobody], &[b"hello"]);
    assert_eq!(alice.ask("SENDOFFLINEMESSAGE", &[&message]).code(), Code::NotFound);
    assert_eq!(used(&mut alice), 0, "nobody has it");
    // Others get it all the same.
    let message = begin(&north, &mut alice, &[&nobody, &to_bob], &[b"hello"]);
    match alice.ask("SENDOFFLINEMESSAGE", &[&message]) {
        Answer::Fail(Code::NotFound, text) => assert!(text.contains(&nobody) && !text.contains(&to_bob), "{text}"),
        other => panic!("{other:?}"),
    }
    let (named, _) = only(&south, &mut bob);
    assert_eq!(read(&mut bob, &named), "hello");
    bob.ask("DELETEOFFLINEMESSAGE", &[&named]).ok();
    // A realm that is in no directory.
    let message = begin(&north, &mut alice, &["nowhere.example:9::bob"], &[b"hello"]);
    assert_eq!(alice.ask("SENDOFFLINEMESSAGE", &[&message]).code(), Code::NotFound);
    until(&north, "all of it is gone", || used(&mut alice) == 0);
    // Where nobody can say, she hears of it when somebody can.
    south.kill();
    send(&north, &mut alice, &[&nobody], "hello");
    south.restart_in_place();
    let (named, sender) = only(&north, &mut alice);
    assert_eq!(sender, id(&north));
    let text = read(&mut alice, &named);
    assert!(text.contains(&nobody) && text.contains("not delivered"), "{text}");
    assert_eq!(used(&mut alice), 0, "a notice costs nothing");
    alice.ask("DELETEOFFLINEMESSAGE", &[&named]).ok();
    assert!(waiting(&mut alice).is_empty());
    assert_eq!(alice.ask("INITOFFLINEMESSAGE", &["south.example::bob"]).code(), Code::BadArgs);
}

#[test]
fn what_waits_too_long_is_given_up_with_a_notice() {
    let (_management, north, mut south, mut alice, _) = two(&["realm.queue_seconds=6"]);
    south.kill();
    let to_bob = format!("{}::bob", id(&south));
    send(&north, &mut alice, &[&to_bob], "too late");
    let (named, sender) = only(&north, &mut alice);
    assert_eq!(sender, id(&north));
    let text = read(&mut alice, &named);
    assert!(text.contains(&to_bob) && text.contains("not delivered"), "{text}");
    assert_eq!(used(&mut alice), 0);
    south.restart_in_place();
    let mut bob = user(&south, "bob");
    reach(&north, &mut alice, &south);
    send(&north, &mut alice, &[&to_bob], "in time");
    let (named, _) = only(&south, &mut bob);
    assert_eq!(read(&mut bob, &named), "in time");
}

/// A realm whose operator writes into its database what he likes.
#[test]
fn a_realm_that_a_message_is_not_for_does_not_get_it() {
    let (management, north, south, mut alice, mut bob) = two(&[]);
    let mut west = realm(&management, "west", &[]);
    wait_listed(&management, &[&west]);
    let message = send(&north, &mut alice, &[&format!("{}::bob", id(&south))], "for bob alone");
    let (named, _) = only(&south, &mut bob);
    // Its database has the account from the first command on.
    assert!(waiting(&mut user(&west, "bob")).is_empty());
    west.kill();
    let path = west.data_dir().join("data-management/database.sqlite");
    assert!(path.exists(), "{:?}", std::fs::read_dir(west.data_dir()).expect("a folder").collect::<Vec<_>>());
    let db = rusqlite::Connection::open(path).expect("its database");
    let key: Vec<u8> =
        (0..16).map(|n| u8::from_str_radix(&message[2 * n..2 * n + 2], 16).expect("hexadecimal digits")).collect();
    let text = "INSERT INTO pointers SELECT account, ?1, ?2, name, ?3, 9, 9 FROM accounts WHERE folded = 'bob'";
    let stolen = db.execute(text, params![id(&north), key, format!("{}::alice", id(&north))]).expect("a row");
    assert_eq!(stolen, 1);
    drop(db);
    west.restart_in_place();
    let mut thief = user(&west, "bob");
    until(&west, "the realm that has it says no", || match thief.ask("READOFFLINEMESSAGE", &[&named, "0", "99"]) {
        Answer::Fail(Code::NotFound, _) => true,
        Answer::Fail(Code::Unavailable, _) => false,
        other => panic!("{other:?}"),
    });
    assert!(waiting(&mut thief).is_empty(), "what its realm does not know waits for nobody");
    assert_eq!(read(&mut bob, &named), "for bob alone");
}

/// Management, data management and the realm in one process: who signs on at its main server reaches other realms as well.
#[test]
fn users_of_an_attached_realm_write_and_get_messages() {
    let mut whole = Server::start(&["--set", "management.registration=open"]);
    whole.set_name("whole", "127.0.0.1");
    let south = realm(&whole, "south", &[]);
    wait_listed(&whole, &[&whole, &south]);
    let (mut alice, mut bob) = (sign_on(&whole, "alice"), user(&south, "bob"));
    send(&whole, &mut alice, &[&format!("{}::bob", id(&south))], "hello");
    let (named, sender) = only(&south, &mut bob);
    assert_eq!((read(&mut bob, &named), sender), ("hello".to_owned(), format!("{}::alice", id(&whole))));
    send(&south, &mut bob, &[&format!("{}::alice", id(&whole))], "hello yourself");
    let [named, ..] = alice.receive_command("OFFLINEMESSAGEAVAILABLE").fields::<4>();
    assert_eq!(read(&mut alice, &String::from_utf8(named).expect("an id")), "hello yourself");
}
