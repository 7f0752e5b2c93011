//! What storage does when nothing goes wrong.

use convergia::wire::Code;

use crate::bytes;
use crate::cluster;
use crate::status;
use crate::support;
use crate::support::sign_on;
use crate::support::sign_on::PASSWORD;
use crate::support::Server;

#[test]
fn one_process_plays_all_roles_and_keeps_what_is_written() {
    let mut server = Server::open();
    support::register_open(&server, "alice", PASSWORD);
    support::register_open(&server, "bob", PASSWORD);
    let mut alice = sign_on(&server, "alice");
    let file = bytes(1, 300_000);
    alice.ask("CREATEFOLDER", &["/users/alice/a"]).ok();
    alice.ask("CREATEFILE", &["/users/alice/a/b"]).ok();
    alice.request("WRITEFILE", &[b"/users/alice/a/b", b"0", &file]).ok();
    let read = alice.ask("READFILE", &["/users/alice/a/b", "100000", "1000"]).ok();
    assert_eq!(read, file[100_000..101_000]);
    // To bob, who is not there.
    let id = alice.ask("INITOFFLINEMESSAGE", &["bob"]).text();
    alice.ask("APPENDOFFLINEMESSAGE", &[&id, "see you"]).ok();
    alice.ask("SENDOFFLINEMESSAGE", &[&id]).ok();
    let mut bob = sign_on(&server, "bob");
    let told = bob.receive_command("OFFLINEMESSAGEAVAILABLE").fields::<4>();
    assert_eq!((&told[0][..], &told[1][..], &told[2][..]), (id.as_bytes(), &b"alice"[..], &b"7"[..]));
    assert_eq!(bob.ask("READOFFLINEMESSAGE", &[&id, "0", "100"]).ok(), b"see you");
    assert_eq!(bob.ask("READFILE", &["/users/alice/a/b", "0", "1"]).code(), Code::Denied);
    // And while he is.
    let id = alice.ask("INITOFFLINEMESSAGE", &["bob"]).text();
    alice.ask("SENDOFFLINEMESSAGE", &[&id]).ok();
    assert_eq!(bob.receive_command("OFFLINEMESSAGEAVAILABLE").fields::<4>()[0], id.as_bytes());
    alice.ask("CREATEWORKSPACE", &["plan", "bob"]).ok();
    alice.ask("POSTCHANGE", &["plan", "begin"]).ok();
    let told = bob.receive_command("WORKSPACECHANGED").fields::<4>();
    assert_eq!(told.map(|field| String::from_utf8(field).unwrap()), ["plan", "1", "alice", "begin"]);
    let map = alice.ask("GETSERVERMAP", &[]).text();
    for line in [
        "data-management-main|main|datamanagementserver|online||management|server-main|data-main",
        "data-main|main|dataserver|online||management|data-management-main",
    ] {
        assert!(map.lines().any(|is| is == line), "{line}: {map}");
    }
    drop((alice, bob));
    assert!(server.terminate().success());
    server.restart();
    let mut alice = sign_on(&server, "alice");
    assert_eq!(alice.ask("READFILE", &["/users/alice/a/b", "0", "1048576"]).ok(), file);
    // The operator deletes the account: a new one of that name finds nothing.
    support::admin(&server, &["user", "delete", "alice"]);
    support::register_open(&server, "alice", PASSWORD);
    let mut alice = sign_on(&server, "alice");
    assert_eq!(crate::sometime(&mut alice, "LISTFOLDER", &[b"/users/alice"]).ok(), b"");
}

#[test]
fn every_role_is_a_process() {
    let cluster = cluster(1, 0);
    let mut alice = cluster.sign_on("alice", "main");
    crate::sometime(&mut alice, "CREATEFILE", &[b"/users/alice/a"]).ok();
    for n in 0..8 {
        let offset = (n * 1_000_000).to_string();
        alice.request("WRITEFILE", &[b"/users/alice/a", offset.as_bytes(), &bytes(n, 1_000_000)]).ok();
    }
    let read = alice.ask("READFILE", &["/users/alice/a", "2999990", "20"]).ok();
    assert_eq!(read, [&bytes(2, 1_000_000)[999_990..], &bytes(3, 1_000_000)[..10]].concat());
    let whole: Vec<u8> = (0..8).flat_map(|n| bytes(n, 1_000_000)).collect();
    let info = alice.ask("GETINFO", &["/users/alice/a"]).text();
    assert!(info.contains(&format!("hash|{}", blake3::hash(&whole))) && info.contains("copies|1"), "{info}");
    let map = alice.ask("GETSERVERMAP", &[]).text();
    for line in ["data-management-dm|dm|datamanagementserver|online|", "data-stable0|stable0|dataserver|online|"] {
        assert!(map.contains(line), "{map}");
    }
    cluster.until("the status tells of the blocks", || status(&cluster, "blocks") == "8");
    cluster.stop();
}

#[test]
fn a_file_that_is_replaced_is_there_at_any_moment_and_whole() {
    let server = Server::open();
    let (mut alice, mut reader) = (sign_on(&server, "alice"), sign_on(&server, "alice"));
    let size = |round: usize| 1_000 + round;
    let write = |alice: &mut support::Raw, path: &str, round: usize| {
        alice.send(&format!("c{round}"), "CREATEFILE", &[path.as_bytes()]);
        alice.send(&format!("w{round}"), "WRITEFILE", &[path.as_bytes(), b"0", &bytes(round, size(round))]);
    };
    write(&mut alice, "/users/alice/a", 0);
    alice.answer("w0").ok();
    const ROUNDS: usize = 50;
    let mut seen = std::collections::BTreeSet::new();
    for round in 1..=ROUNDS {
        write(&mut alice, "/users/alice/b", round);
        alice.send(&format!("r{round}"), "REPLACE", &[b"/users/alice/b", b"/users/alice/a"]);
        for n in 0..10 {
            reader.send(&format!("{round}-{n}"), "READFILE", &[b"/users/alice/a", b"0", b"1048576"]);
        }
        for n in 0..10 {
            let read = reader.answer(&format!("{round}-{n}")).ok();
            let version = read.len() - 1_000;
            assert!(version <= round && read == bytes(version, size(version)), "{} bytes in round {round}", read.len());
            seen.insert(version);
        }
        alice.answer(&format!("r{round}")).ok();
    }
    println!("{} of {ROUNDS} versions were seen", seen.len());
    assert_eq!(reader.ask("READFILE", &["/users/alice/a", "0", "1048576"]).ok(), bytes(ROUNDS, size(ROUNDS)));
    assert_eq!(reader.ask("READFILE", &["/users/alice/b", "0", "1"]).code(), Code::NotFound);
}

#[test]
fn many_who_write_much_and_read_no_answer_do_not_grow_anybody() {
    let server = Server::open();
    support::register_open(&server, "alice", PASSWORD);
    let mut links: Vec<_> = (0..4).map(|_| sign_on(&server, "alice")).collect();
    let before = server.rss_kib();
    let block = bytes(7, 500_000);
    for (n, link) in links.iter_mut().enumerate() {
        let path = format!("/users/alice/{n}");
        link.send("file", "CREATEFILE", &[path.as_bytes()]);
        // Each asks for 100 MB before it looks at an answer.
        for m in 0..200 {
            link.send(&format!("w{m}"), "WRITEFILE", &[path.as_bytes(), b"0", &block]);
        }
    }
    for link in &mut links {
        link.answer("file").ok();
        for m in 0..200 {
            link.answer(&format!("w{m}")).ok();
        }
    }
    // 16 MiB of each link, a few times over on its way through four roles; 400 MB went through.
    let grown = server.peak_rss_kib().saturating_sub(before);
    assert!(grown < 350 << 10, "{grown} KiB");
}

#[test]
fn metadata_is_kept_and_only_what_is_public_is_for_others() {
    let mut server = Server::open();
    let mut alice = sign_on(&server, "alice");
    let mut bob = sign_on(&server, "bob");
    let value = b"~\n\r|\0\xff, as it is";
    alice.request("SETMETADATA", &[b"public-name", value]).ok();
    alice.ask("SETMETADATA", &["colour", "green"]).ok();
    alice.ask("SETMETADATA", &["colour", "blue"]).ok();
    assert_eq!(alice.ask("LISTMETADATA", &["alice"]).text(), format!("colour|4\npublic-name|{}", value.len()));
    assert_eq!(alice.ask("GETMETADATA", &["ALICE", "colour"]).ok(), b"blue");
    assert_eq!(bob.ask("GETMETADATA", &["alice", "public-name"]).ok(), value);
    assert_eq!(bob.ask("GETMETADATA", &["alice", "colour"]).code(), Code::Denied);
    assert_eq!(bob.ask("LISTMETADATA", &["alice"]).text(), format!("public-name|{}", value.len()));
    assert_eq!(bob.ask("LISTMETADATA", &["bob"]).ok(), b"");
    assert_eq!(bob.ask("GETMETADATA", &["alice", "public-none"]).code(), Code::NotFound);
    assert_eq!(bob.ask("LISTMETADATA", &["nobody"]).code(), Code::NotFound);
    // 256 KiB, with the keys.
    let full = bytes(1, (256 << 10) - "public-name".len() - value.len() - "colour".len() - "blue".len() - "k".len());
    assert_eq!(alice.request("SETMETADATA", &[b"kk", &full]).code(), Code::Quota);
    alice.request("SETMETADATA", &[b"k", &full]).ok();
    for (key, code) in [("", Code::BadArgs), ("a|b", Code::BadArgs), ("k2", Code::Quota)] {
        assert_eq!(alice.ask("SETMETADATA", &[key, "x"]).code(), code, "{key:?}");
    }
    alice.ask("SETMETADATA", &["colour", ""]).ok();
    assert_eq!(alice.ask("GETMETADATA", &["alice", "colour"]).code(), Code::NotFound);
    drop((alice, bob));
    server.restart();
    let mut bob = sign_on(&server, "bob");
    assert_eq!(crate::sometime(&mut bob, "GETMETADATA", &[b"alice", b"public-name"]).ok(), value);
    let mut alice = sign_on(&server, "alice");
    assert_eq!(alice.ask("GETMETADATA", &["alice", "k"]).ok(), full);
}
