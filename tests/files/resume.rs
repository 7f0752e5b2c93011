//! Transfers that are cut: by a connection that breaks, a server that refuses, a client that dies, a disk that is full.

use std::fs;
use std::process::Command;

use convergia::client::store::PIECE;
use convergia::wire::Code;

use super::fake::Fault;
use super::noise;
use super::tree;
use super::wait;
use super::Fake;
use super::Person;
use super::PATIENCE;

/// Five pieces, and a bit of a sixth.
const SIZE: usize = 5 * PIECE + 100;

/// The bytes at a path of the server.
fn there(fake: &Fake, path: &str) -> Option<Vec<u8>> {
    fake.look().nodes.get(path).map(|node| node.bytes.clone().expect("a file"))
}

fn assert_no_parts(fake: &Fake) {
    let paths: Vec<String> = fake.look().nodes.keys().filter(|path| path.contains(".part-")).cloned().collect();
    assert!(paths.is_empty(), "{paths:?}");
}

#[test]
fn a_put_survives_a_cut_at_any_point() {
    let fake = Fake::start();
    let alice = Person::at(&fake, "alice");
    let mut points = vec![("GETINFO", 1), ("CREATEFILE", 1), ("REPLACE", 1), ("LISTFOLDER", 1)];
    points.extend((1..=6).map(|n| ("WRITEFILE", n)));
    for (round, (command, nth)) in points.into_iter().enumerate() {
        for done in [false, true] {
            let bytes = noise(round as u64 * 2 + u64::from(done), SIZE);
            alice.write("x", &bytes);
            fake.fault(command, nth, Fault::Cut { done });
            alice.run(&["put", "x", "/users/alice/y"]).expect(0);
            assert!(there(&fake, "/users/alice/y") == Some(bytes), "{command} {nth} {done}");
            assert_no_parts(&fake);
        }
    }
    // What is replaced is there until the new one is.
    assert!(!fake.look().served.iter().any(|command| command == "DELETEFILE"));
}

#[test]
fn small_files_survive_a_cut_at_any_point() {
    let fake = Fake::start();
    let alice = Person::at(&fake, "alice");
    for nth in 1..=10 {
        for (command, done) in [("CREATEFILE", true), ("WRITEFILE", true), ("WRITEFILE", false), ("CREATEFOLDER", true)]
        {
            for n in 0..30 {
                alice.write(&format!("small/{}/{n}", n % 3), &noise(nth * 100 + n, 50));
            }
            fake.fault(command, if command == "CREATEFOLDER" { 2 } else { nth as usize }, Fault::Cut { done });
            alice.run(&["put", "-r", "small"]).expect(0);
            let _ = fs::remove_dir_all(alice.work().join("back"));
            alice.run(&["get", "-r", "small", "back"]).expect(0);
            assert!(tree(&alice.work().join("small")) == tree(&alice.work().join("back")), "{command} {nth} {done}");
            if command == "CREATEFOLDER" {
                alice.run(&["rm", "-r", "small"]).expect(0);
            }
        }
    }
    assert_no_parts(&fake);
}

#[test]
fn a_get_survives_a_cut_at_any_point() {
    let fake = Fake::start();
    let alice = Person::at(&fake, "alice");
    let bytes = noise(7, SIZE);
    alice.write("x", &bytes);
    alice.run(&["put", "x"]).expect(0);
    let mut points = vec![("LISTFOLDER", 1), ("LISTFOLDER", 2)];
    points.extend((1..=5).map(|n| ("READFILE", n)));
    for (command, nth) in points {
        fake.fault(command, nth, Fault::Cut { done: false });
        alice.run(&["get", "x", "y"]).expect(0);
        assert!(alice.read("y") == bytes, "{command} {nth}");
        fs::remove_file(alice.work().join("y")).expect("a file");
    }
    assert_eq!(tree(&alice.work()).len(), 1, "nothing of the parts is left");
}

#[test]
fn a_put_that_was_killed_goes_on_where_it_stopped() {
    let fake = Fake::start();
    let alice = Person::at(&fake, "alice");
    for nth in 1..=6 {
        let bytes = noise(20 + nth as u64, SIZE);
        alice.write("x", &bytes);
        let hung = fake.hang("WRITEFILE", nth);
        let mut child = alice.start(&["put", "x", "y"]);
        hung.recv_timeout(PATIENCE).expect("it comes so far");
        child.kill().and_then(|()| child.wait()).expect("it ends");
        fake.heal();
        assert_eq!(there(&fake, "/users/alice/y"), None, "half a file is seen");
        let before = fake.look().written;
        alice.run(&["put", "x", "y"]).expect(0);
        assert!(there(&fake, "/users/alice/y") == Some(bytes), "{nth}");
        let sent = fake.look().written - before;
        assert_eq!(sent, (SIZE - (nth - 1) * PIECE) as u64, "the rest alone is sent");
        assert_no_parts(&fake);
        alice.run(&["rm", "y"]).expect(0);
    }
}

#[test]
fn what_is_not_the_same_beginning_is_sent_again() {
    let fake = Fake::start();
    let alice = Person::at(&fake, "alice");
    let bytes = noise(40, SIZE);
    let interrupt = || {
        alice.write("x", &bytes);
        let hung = fake.hang("WRITEFILE", 4);
        let mut child = alice.start(&["put", "x"]);
        hung.recv_timeout(PATIENCE).expect("it comes so far");
        child.kill().and_then(|()| child.wait()).expect("it ends");
        fake.heal();
    };
    interrupt();
    let part = fake.look().nodes.keys().find(|path| path.contains(".part-")).cloned().expect("a part");
    fake.look().nodes.get_mut(&part).expect("a part").bytes.as_mut().expect("a file")[PIECE + 3] ^= 1;
    let before = fake.look().written;
    alice.run(&["put", "x"]).expect(0);
    assert!(there(&fake, "/users/alice/x") == Some(bytes.clone()));
    assert_eq!(fake.look().written - before, SIZE as u64, "all of it is sent");
    alice.run(&["rm", "x"]).expect(0);
    // The file was changed meanwhile.
    interrupt();
    let other = noise(41, SIZE);
    alice.write("x", &other);
    alice.run(&["put", "x"]).expect(0);
    assert!(there(&fake, "/users/alice/x") == Some(other));
}

#[test]
fn a_get_that_was_killed_goes_on_where_it_stopped() {
    let fake = Fake::start();
    let alice = Person::at(&fake, "alice");
    let mut bytes = noise(50, SIZE);
    alice.write("x", &bytes);
    alice.run(&["put", "x"]).expect(0);
    let interrupt = |nth| {
        let _ = fs::remove_file(alice.work().join("y"));
        let hung = fake.hang("READFILE", nth);
        let mut child = alice.start(&["get", "x", "y"]);
        hung.recv_timeout(PATIENCE).expect("it comes so far");
        child.kill().and_then(|()| child.wait()).expect("it ends");
        fake.heal();
        assert!(!alice.work().join("y").exists(), "half a file is seen");
        let parts = tree(&alice.work()).into_iter().filter(|(name, _)| name.starts_with(".part-"));
        parts.map(|(_, part)| part.expect("a file").len()).sum::<usize>()
    };
    for nth in 1..=5 {
        let kept = interrupt(nth);
        assert!(kept <= (nth - 1) << 20);
        let before = fake.look().read;
        alice.run(&["get", "x", "y"]).expect(0);
        assert!(alice.read("y") == bytes, "{nth}");
        assert_eq!(fake.look().read - before, (SIZE - kept) as u64, "the rest alone is read");
    }
    // A part that rotted on this disk.
    while interrupt(5) == 0 {}
    let mut files = fs::read_dir(alice.work()).expect("a folder").map(|entry| entry.expect("an entry").path());
    let part = files.find(|path| path.to_str().is_some_and(|path| path.contains(".part-"))).expect("a part");
    let mut half = fs::read(&part).expect("a part");
    half[10] ^= 1;
    fs::write(&part, half).expect("a part");
    alice.run(&["get", "x", "y"]).expect(0);
    assert!(alice.read("y") == bytes);
    // The file was changed there meanwhile.
    interrupt(4);
    bytes.reverse();
    alice.write("x", &bytes);
    alice.run(&["put", "x"]).expect(0);
    alice.run(&["get", "x", "y"]).expect(0);
    assert!(alice.read("y") == bytes);
    assert_eq!(tree(&alice.work()).len(), 2, "nothing of the parts is left");
}

#[test]
fn parts_that_nobody_goes_on_with_are_removed_after_a_day() {
    const DAY: u64 = 24 * 60 * 60 * 1_000;
    let fake = Fake::start();
    let alice = Person::at(&fake, "alice");
    let interrupt = |seed: u64, name: &str| {
        alice.write("x", &noise(seed, SIZE));
        let hung = fake.hang("WRITEFILE", 4);
        let mut child = alice.start(&["put", "x", name]);
        hung.recv_timeout(PATIENCE).expect("it comes so far");
        child.kill().and_then(|()| child.wait()).expect("it ends");
        fake.heal();
    };
    let parts =
        || -> Vec<String> { fake.look().nodes.keys().filter(|path| path.contains(".part-")).cloned().collect() };
    // A large file, a small one that is new, and a small one that replaces another: each removes what is old.
    for (round, size) in [SIZE, 50, 51].into_iter().enumerate() {
        interrupt(200 + round as u64, "y");
        let old = parts();
        assert_eq!(old.len(), 1, "{old:?}");
        interrupt(210 + round as u64, "z");
        fake.look().clock += DAY + 1;
        interrupt(220 + round as u64, "y");
        let three = parts();
        // The interrupted put has removed the one of its name already; a part of a day is not touched.
        assert!(three.len() == 2 && !three.contains(&old[0]), "{three:?} {old:?}");
        fake.look().clock += DAY / 2;
        let bytes = noise(230 + round as u64, size);
        alice.write("x", &bytes);
        alice.run(&["put", "x", "y"]).expect(0);
        assert_eq!(parts(), three, "another may go on with it");
        fake.look().clock += DAY;
        let bytes = noise(240 + round as u64, size);
        alice.write("x", &bytes);
        if round == 1 {
            alice.run(&["rm", "y"]).expect(0);
        }
        alice.run(&["put", "x", "y"]).expect(0);
        assert!(there(&fake, "/users/alice/y") == Some(bytes));
        let left = parts();
        assert!(left.len() == 1 && three.contains(&left[0]), "that of another file stays: {left:?}");
        alice.run(&["rm", "y"]).expect(0);
        fake.look().nodes.remove(&left[0]);
    }
}

#[test]
fn a_server_that_is_busy_or_away_for_a_moment_is_waited_for() {
    let fake = Fake::start();
    let alice = Person::at(&fake, "alice");
    let bytes = noise(60, SIZE);
    alice.write("x", &bytes);
    for nth in [1, 2, 4, 7, 8] {
        let code = if nth % 2 == 0 { Code::Busy } else { Code::Unavailable };
        fake.fault("WRITEFILE", nth, Fault::Refuse(code));
    }
    fake.fault("REPLACE", 1, Fault::Refuse(Code::Unavailable));
    alice.run(&["put", "x"]).expect(0);
    assert!(there(&fake, "/users/alice/x") == Some(bytes.clone()));
    fake.fault("READFILE", 2, Fault::Refuse(Code::Unavailable));
    fake.fault("READFILE", 3, Fault::Refuse(Code::Busy));
    alice.run(&["get", "x", "y"]).expect(0);
    assert!(alice.read("y") == bytes);
}

#[test]
fn what_the_server_refuses_is_told_and_leaves_nothing() {
    let fake = Fake::start();
    let alice = Person::at(&fake, "alice");
    alice.write("large", &noise(70, SIZE));
    alice.write("tree/a", &noise(71, 1_000));
    alice.write("tree/b", &noise(72, 1_000));
    fake.look().quota = Some(2 * PIECE as u64);
    let done = alice.run(&["put", "large"]).expect(1);
    assert!(done.err.contains("QUOTA") && done.err.contains("convergia rm"), "{}", done.err);
    assert!(fake.look().nodes.keys().all(|path| !path.starts_with("/users/alice/")));
    fake.look().quota = Some(1_500);
    let done = alice.run(&["put", "-r", "tree", "--json"]).expect(1);
    let refused: Vec<_> = done.json().into_iter().filter(|line| line["ok"] == false).collect();
    assert_eq!((refused.len(), refused[0]["code"].as_str()), (1, Some("QUOTA")));
    assert_eq!(fake.look().nodes.keys().filter(|path| path.starts_with("/users/alice/tree/")).count(), 1);
    fake.look().quota = None;
    let done = alice.run(&["put", "tree/a", "/users/bob/a"]).expect(1);
    assert!(done.err.contains("DENIED") && done.err.contains("convergia share"), "{}", done.err);
    // Never there at all: said at once.
    for nth in 1..=20 {
        fake.fault("CREATEFILE", nth, Fault::Refuse(Code::Unavailable));
    }
    let done = alice.run(&["put", "tree/a"]).expect(1);
    assert!(done.err.contains("UNAVAILABLE") && done.err.contains("same again later"), "{}", done.err);
}

#[test]
fn a_full_disk_is_told_and_the_file_goes_on_when_there_is_room() {
    let fake = Fake::start();
    let alice = Person::at(&fake, "alice");
    let (large, small) = (noise(80, SIZE), noise(81, 700_000));
    alice.write("large", &large);
    alice.write("small", &small);
    alice.run(&["put", "large", "small", "."]).expect(0);
    fs::create_dir(alice.work().join("to")).expect("a folder");
    // A limit on the size of files is as good as a disk that is full.
    let mut command = Command::new("sh");
    alice.set(command.args([
        "-c",
        "ulimit -f 1000; trap '' XFSZ; exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_convergia"),
    ]));
    command.args(alice.with_place(&["get", "large", "small", "to"]));
    let done = wait(command.spawn().expect("a shell")).expect(1);
    assert!(done.err.contains("to/large: "), "{}", done.err);
    assert!(!alice.work().join("to/large").exists());
    alice.run(&["get", "large", "small", "to"]).expect(0);
    assert!(alice.read("to/large") == large && alice.read("to/small") == small);
    assert_eq!(tree(&alice.work().join("to")).len(), 2, "nothing of the parts is left");
}
