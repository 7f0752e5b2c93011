//! Files that are shared with users of other realms, and what the terminal makes of them.

use std::fs;
use std::process::Command;
use std::process::Stdio;

use convergia::wire::Code;
use rustix::process::Signal;

use crate::id;
use crate::mail::reach;
use crate::mail::used;
use crate::management;
use crate::realm;
use crate::support::command::executable;
use crate::support::command::finish;
use crate::support::command::Done;
use crate::support::sign_on::PASSWORD;

use crate::support::Answer;
use crate::support::Raw;
use crate::support::Server;
use crate::support::TempDir;
use crate::user;
use crate::wait_listed;

/// Two realms that reach each other, with Alice on the first and Bob on the second.
fn two() -> (Server, Server, Server, Raw, Raw) {
    let management = management();
    let (north, south) = (realm(&management, "north", &[]), realm(&management, "south", &[]));
    wait_listed(&management, &[&north, &south]);
    let (alice, mut bob) = (user(&north, "alice"), user(&south, "Bob"));
    reach(&south, &mut bob, &north);
    (management, north, south, alice, bob)
}

#[test]
fn a_shared_folder_is_read_and_written_and_rights_count_at_once() {
    let (_management, north, south, mut alice, mut bob) = two();
    let there = |path: &str| format!("{}::{path}", id(&north));
    let (folder, plan) = ("/users/alice/shared", "/users/alice/shared/plan");
    for path in [folder, "/users/alice/own"] {
        alice.ask("CREATEFOLDER", &[path]).ok();
    }
    alice.ask("CREATEFILE", &[plan]).ok();
    alice.ask("WRITEFILE", &[plan, "0", "the plan"]).ok();
    alice.ask("SETPERMISSIONS", &["/users/alice/own", "*|rwa"]).ok();
    // Nothing was shared with him; `*` are the users of her realm.
    for path in [folder, plan, "/users/alice", "/users/alice/own", "/users/alice/none", "/users/nobody/x", "/users/Bob"]
    {
        assert_eq!(bob.ask("GETINFO", &[&there(path)]).code(), Code::Denied, "{path}");
        assert_eq!(bob.ask("CREATEFILE", &[&there(&format!("{path}/new"))]).code(), Code::Denied, "{path}");
    }
    let full = format!("{}::bob", id(&south));
    alice.ask("SETPERMISSIONS", &[folder, &format!("{full}|r"), "alice|rwa"]).ok();
    let info = alice.ask("GETINFO", &[folder]).text();
    assert!(info.contains(&format!("{full} r")), "{info}");
    assert_eq!(bob.ask("READFILE", &[&there(plan), "4", "99"]).text(), "plan");
    assert!(bob.ask("LISTFOLDER", &[&there(folder)]).text().starts_with("plan|file|8|"));
    assert_eq!(bob.ask("WRITEFILE", &[&there(plan), "0", "x"]).code(), Code::Denied);
    assert_eq!(bob.ask("LISTFOLDER", &[&there("/users")]).text(), "");
    // Another user of his realm, and one of that name here, are somebody else.
    for (server, name) in [(&south, "bobby"), (&south, "alice")] {
        assert_eq!(user(server, name).ask("READFILE", &[&there(plan), "0", "9"]).code(), Code::Denied, "{name}");
    }
    assert_eq!(user(&north, "bob").ask("READFILE", &[plan, "0", "9"]).code(), Code::Denied);

    alice.ask("SETPERMISSIONS", &[folder, &format!("{full}|rw")]).ok();
    let before = used(&mut alice);
    bob.ask("CREATEFOLDER", &[&there("/users/alice/shared/in")]).ok();
    let new = there("/users/alice/shared/in/new");
    bob.ask("CREATEFILE", &[&new]).ok();
    // Written in order, though nothing waits for an answer.
    let piece = vec![b'~'; 700_000];
    for n in 0..6usize {
        let offset = (n * piece.len()).to_string();
        bob.send(&format!("w{n}"), "WRITEFILE", &[new.as_bytes(), offset.as_bytes(), &piece]);
    }
    (0..6).for_each(|n| drop(bob.answer(&format!("w{n}")).ok()));
    bob.ask("TRUNCATEFILE", &[&new, "4000000"]).ok();
    bob.ask("MOVE", &[&new, &there("/users/alice/shared/moved")]).ok();
    bob.ask("REPLACE", &[&there("/users/alice/shared/moved"), &new]).ok();
    bob.ask("REPLACE", &[&new, &there("/users/alice/shared/moved")]).ok();
    assert_eq!((used(&mut alice) - before, used(&mut bob)), (4_000_000, 0), "who shares pays");
    let info = bob.ask("GETINFO", &[&there("/users/alice/shared/moved")]).text();
    assert!(info.contains("size|4000000\nowner|alice"), "{info}");
    let last = alice.ask("READFILE", &["/users/alice/shared/moved", "3999000", "1048576"]).ok();
    assert!(last == vec![b'~'; 1_000]);
    for (from, to) in [(there(plan), "/users/Bob/plan".to_owned()), ("/users/Bob/x".to_owned(), there(plan))] {
        assert_eq!(bob.ask("MOVE", &[&from, &to]).code(), Code::BadArgs);
    }
    // He may not give rights, and takes part in nothing.
    assert_eq!(bob.ask("SETPERMISSIONS", &[&there(folder), &format!("{full}|rwa")]).code(), Code::Denied);
    assert_eq!(alice.ask("CREATEWORKSPACE", &["team", &full]).code(), Code::Refused);
    // By its own name a realm is no other.
    assert_eq!(alice.ask("READFILE", &[&there(plan), "0", "99"]).text(), "the plan");

    alice.ask("SETPERMISSIONS", &[folder, "alice|rwa"]).ok();
    assert_eq!(bob.ask("READFILE", &[&there(plan), "0", "9"]).code(), Code::Denied);
    assert_eq!(bob.ask("DELETEFILE", &[&there(plan)]).code(), Code::Denied);
}

#[test]
fn paths_that_lead_nowhere() {
    let (_management, mut north, south, mut alice, mut bob) = two();
    alice.ask("SETPERMISSIONS", &["/users/alice", &format!("{}::bob|rwa", id(&south))]).ok();
    let realm = id(&north);
    let long = "x".repeat(5_000);
    for path in ["/..", "/users/../alice", "//", "/users/alice/", "/a|b", "/a\nb", "x", &format!("/{long}"), &realm] {
        let path = format!("{realm}::{path}");
        assert_eq!(bob.ask("LISTFOLDER", &[&path]).code(), Code::BadArgs, "{path}");
    }
    let twice = format!("{realm}::/{realm}::/users/alice");
    let bad_port = format!("{}::/users/alice", realm.replace("127.0.0.1:", "127.0.0.1:0"));
    for path in [&twice, &bad_port, "::/users", "h::/users", "h|x:1::/users", "a/b:1::/users", &long, "..::/x"] {
        assert_eq!(bob.ask("LISTFOLDER", &[path]).code(), Code::BadArgs, "{path}");
    }
    for id in ["h:1::", "h:1::00", &format!("h:1::{}", "G".repeat(32)), "::", &format!("{long}:1::{}", "0".repeat(32))]
    {
        assert_eq!(bob.ask("READOFFLINEMESSAGE", &[id, "0", "1"]).code(), Code::BadArgs, "{id}");
    }
    // What is not on paths names no realm.
    let named = format!("{realm}::alice");
    assert_eq!(bob.ask("GETMETADATA", &[&named, "public-x"]).code(), Code::BadArgs);
    // A realm that is not there, and one that is away.
    assert_eq!(bob.ask("LISTFOLDER", &["nowhere.example:9::/users"]).code(), Code::Unavailable);
    let home = format!("{realm}::/users/alice");
    bob.ask("LISTFOLDER", &[&home]).ok();
    north.kill();
    assert_eq!(bob.ask("LISTFOLDER", &[&home]).code(), Code::Unavailable);
    bob.ask("LISTFOLDER", &["/users/Bob"]).ok();
}

#[test]
fn a_realm_that_answers_nothing_holds_up_nobody_but_those_who_ask_it() {
    let (_management, north, south, mut alice, mut bob) = two();
    let file = "/users/alice/file";
    alice.ask("CREATEFILE", &[file]).ok();
    alice.ask("SETPERMISSIONS", &[file, &format!("{}::bob|rw", id(&south))]).ok();
    let (there, piece) = (format!("{}::{file}", id(&north)), vec![7; 900_000]);
    let mut carol = user(&south, "carol");
    north.pause();
    for n in 0..16 {
        bob.send(&format!("b{n}"), "WRITEFILE", &[there.as_bytes(), b"0", &piece]);
        carol.send(&format!("c{n}"), "WRITEFILE", &[there.as_bytes(), b"0", &piece]);
    }
    // More than 16 MiB is not taken for one realm; the storage here is there for everybody.
    let mut dave = user(&south, "dave");
    dave.ask("CREATEFILE", &["/users/dave/file"]).ok();
    dave.ask("WRITEFILE", &["/users/dave/file", "0", "here"]).ok();
    carol.ask("LISTFOLDER", &["/users/carol"]).ok();
    north.signal(Signal::CONT);
    let mut codes = Vec::new();
    for n in 0..16 {
        for (link, id) in [(&mut bob, format!("b{n}")), (&mut carol, format!("c{n}"))] {
            codes.push(match link.answer(&id) {
                Answer::Ok(_) => None,
                Answer::Fail(code, _) => Some(code),
            });
        }
    }
    assert!(codes.contains(&Some(Code::Busy)), "{codes:?}");
    let expected = [None, Some(Code::Busy), Some(Code::Denied), Some(Code::Unavailable)];
    assert!(codes.iter().all(|code| expected.contains(code)), "{codes:?}");
    reach(&south, &mut bob, &north);
    bob.ask("WRITEFILE", &[&there, "0", "again"]).ok();
}

/// The terminal of somebody on a realm.
struct Terminal {
    folder: TempDir,
    address: String,
    user: &'static str,
}

impl Terminal {
    fn new(realm: &Server, user: &'static str) -> Terminal {
        let print = Raw::connect(&id(realm)).fingerprint().to_owned();
        Terminal { folder: TempDir::new(), address: format!("realm://{}#{print}", id(realm)), user }
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Done {
        let mut command = Command::new(executable());
        command.current_dir(self.folder.path()).args(arguments).args(["--server", &self.address, "--user", self.user]);
        command.env("CONVERGIA_CLIENT_STATE", self.folder.path().join("state.json"));
        command.env("CONVERGIA_PASSWORD", PASSWORD).stdin(Stdio::null());
        finish(command)
    }

    #[track_caller]
    fn expect(&self, status: i32, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert_eq!(done.status, status, "{arguments:?}: {done:?}");
        if status == 0 {
            done.out
        } else {
            done.err
        }
    }
}

#[test]
fn the_terminal_reaches_other_realms() {
    let (_management, north, south, _alice, _bob) = two();
    let (alice, bob) = (Terminal::new(&north, "alice"), Terminal::new(&south, "bob"));
    let full = format!("{}::bob", id(&south));
    let large: Vec<u8> = (0..5_000_000u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    fs::write(alice.folder.path().join("large"), &large).expect("a file");
    alice.expect(0, &["mkdir", "shared"]);
    alice.expect(0, &["put", "large", "shared"]);
    alice.expect(0, &["share", "shared", &full, "rw"]);
    let there = format!("{}::/users/alice/shared", id(&north));
    assert!(bob.expect(0, &["ls", &there]).contains("large"));
    bob.expect(0, &["get", &format!("{there}/large")]);
    assert!(fs::read(bob.folder.path().join("large")).expect("a file") == large);
    fs::write(bob.folder.path().join("larger"), large.repeat(2)).expect("a file");
    bob.expect(0, &["put", "larger", &there]);
    alice.expect(0, &["get", "shared/larger"]);
    assert!(fs::read(alice.folder.path().join("larger")).expect("a file") == large.repeat(2));
    bob.expect(0, &["mv", &format!("{there}/larger"), &format!("{there}/other")]);
    bob.expect(0, &["rm", &format!("{there}/other")]);
    assert!(bob.expect(1, &["ls", &format!("{}::/users/alice", id(&north))]).contains("DENIED"));
    alice.expect(0, &["share", "shared", &full, "none"]);
    assert!(bob.expect(1, &["ls", &there]).contains("DENIED"));

    alice.expect(0, &["mail", "send", &full, "--subject", "Large", "--file", "large"]);
    let list = bob.expect(0, &["mail", "ls"]);
    let (message, _) = list.split_once(' ').expect("a line");
    assert!(list.contains("Large") && list.contains(&format!("{}::alice", id(&north))), "{list}");
    let mut whole = Command::new(executable());
    whole.args(["mail", "read", message, "--server", &bob.address, "--user", "bob"]);
    whole.env("CONVERGIA_CLIENT_STATE", bob.folder.path().join("state.json")).env("CONVERGIA_PASSWORD", PASSWORD);
    let whole = whole.stdin(Stdio::null()).output().expect("it runs");
    assert!(whole.stdout == [b"Subject: Large\n\n".as_slice(), &large].concat());
    bob.expect(0, &["mail", "rm", message]);
    assert_eq!(bob.expect(0, &["mail", "ls"]), "");
    let nobody = format!("{}::nobody", id(&south));
    assert!(alice.expect(1, &["mail", "send", &nobody, "--file", "large"]).contains("NOTFOUND"));
}
