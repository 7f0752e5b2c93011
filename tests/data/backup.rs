//! `convergia admin backup` while people write, and a start from what it made.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::Mutex;

use convergia::blocks::disk::snapshot::Hold;
use convergia::wire::Code;

use crate::bytes;
use crate::sometime;
use crate::status_of;
use crate::support;
use crate::support::sign_on::login;
use crate::support::sign_on::sign_on;
use crate::support::sign_on::PASSWORD;
use crate::support::Answer;
use crate::support::Raw;
use crate::support::Server;
use crate::support::TempDir;

const SIZE: usize = 50_000;

fn path(folder: &str, n: usize) -> String {
    format!("/users/alice/{folder}-{n}")
}

/// Writes file after file until it is told to stop; what was answered OK is in `done`. Every third is deleted again, and not in it.
fn write_on(link: &mut Raw, folder: &str, stop: &AtomicBool, done: &Mutex<Vec<usize>>) {
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let path = path(folder, n);
        link.ask("CREATEFILE", &[&path]).ok();
        link.request("WRITEFILE", &[path.as_bytes(), b"0", &bytes(n, SIZE)]).ok();
        if n % 3 == 2 {
            link.ask("DELETEFILE", &[&path]).ok();
        } else {
            done.lock().expect("the list").push(n);
        }
    }
}

/// Sends messages, and posts changes, until it is told to stop.
fn talk_on(link: &mut Raw, stop: &AtomicBool, sent: &Mutex<(Vec<String>, usize)>) {
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let id = link.ask("INITOFFLINEMESSAGE", &["bob"]).text();
        link.request("APPENDOFFLINEMESSAGE", &[id.as_bytes(), &bytes(n, SIZE)]).ok();
        link.ask("SENDOFFLINEMESSAGE", &[&id]).ok();
        sent.lock().expect("the list").0.push(id);
        link.ask("POSTCHANGE", &["plan", &format!("change {n}")]).ok();
        sent.lock().expect("the list").1 += 1;
    }
}

fn rights(folder: &Path) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let data = entry.metadata().expect("what it is");
        let mode = data.permissions().mode() & 0o777;
        found.push((entry.path().display().to_string(), if data.is_dir() { mode & !0o700 } else { mode & !0o600 }));
        if data.is_dir() {
            found.extend(rights(&entry.path()));
        }
    }
    found
}

#[test]
fn a_backup_of_a_server_that_is_written_to_is_whole() {
    let mut server = Server::open();
    for user in ["alice", "bob", "carol"] {
        support::register_open(&server, user, PASSWORD);
    }
    // Bob is signed on, reads nothing, and goes: what was sent to him is kept.
    let mut alice = sign_on(&server, "alice");
    let bob = sign_on(&server, "bob");
    for n in 0..5 {
        alice.ask("SENDMESSAGE", &["bob", &format!("kept {n}")]).ok();
    }
    drop(bob);
    server.wait_for_log("bob: 5 messages are kept");
    alice.ask("CREATEWORKSPACE", &["plan", "carol"]).ok();
    let stop = AtomicBool::new(false);
    let (files, more, talked) = (Mutex::default(), Mutex::default(), Mutex::default());
    let mut links: Vec<Raw> = (0..2).map(|_| sign_on(&server, "alice")).collect();
    let mut carol = sign_on(&server, "carol");
    let backups = TempDir::new();
    let names = ["one", "two", "three"].map(|name| backups.path().join(name));
    let mut before = Vec::new();
    std::thread::scope(|scope| {
        let second = links.pop().expect("a link");
        let first = links.pop().expect("a link");
        let (stop, files, more, talked) = (&stop, &files, &more, &talked);
        let writers = [
            scope.spawn(move || write_on(&mut { first }, "a", stop, files)),
            scope.spawn(move || write_on(&mut { second }, "b", stop, more)),
            scope.spawn(move || talk_on(&mut alice, stop, talked)),
        ];
        let ended = Ended(stop);
        // The last one is what is looked at: by then much was written, and deleted.
        for name in &names {
            let enough = |count: usize| {
                let files = files.lock().expect("the list").len().min(more.lock().expect("the list").len());
                files.min(talked.lock().expect("the list").1) >= count
            };
            let want = (before.len() + 1) * 10;
            while !enough(want) {
                server.moment();
                assert!(writers.iter().all(|writer| !writer.is_finished()), "a writer has ended");
            }
            before.push((
                files.lock().expect("the list").clone(),
                more.lock().expect("the list").clone(),
                talked.lock().expect("the list").clone(),
            ));
            let text = support::admin(&server, &["backup", name.to_str().expect("UTF-8"), "--json"]);
            let done: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(done["blocks"], "copied", "{done}");
            assert_eq!(done["roles"], serde_json::json!(["main", "data", "data-management", "management"]), "{done}");
        }
        drop(ended);
    });
    carol.ask("PING", &[]).ok();
    let url = server.url();
    // Both are there, so it must have another folder; and what is not empty is left as it is.
    let again = support::run(&[
        "admin",
        "--data-dir",
        server.data_dir().to_str().expect("UTF-8"),
        "backup",
        names[0].to_str().expect("UTF-8"),
    ]);
    assert_eq!((again.status, again.err.contains("is not empty")), (1, true), "{again:?}");
    assert_eq!(std::fs::read_dir(backups.path()).expect("the folder").count(), names.len(), "nothing half is left");
    server.kill();
    for (name, (files, more, (mail, changes))) in names.iter().zip(&before) {
        let folder = TempDir::new();
        std::fs::remove_dir_all(folder.path()).expect("removed");
        std::fs::rename(name, folder.path()).expect("the backup becomes a data folder");
        let readable: Vec<_> = rights(folder.path()).into_iter().filter(|(_, others)| *others != 0).collect();
        assert_eq!(readable, [], "for nobody else to read");
        let mut restored = Server::begin(folder, &["--set", "management.registration=open"]);
        restored.wait_until_ready();
        assert_eq!(restored.fingerprint(), url.split_once('#').expect("a fingerprint").1);
        login(&restored, "alice", PASSWORD);
        check(&restored, files, more, mail, *changes);
    }
}

/// Says stop, whether the test goes on or panics.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn check(restored: &Server, files: &[usize], more: &[usize], mail: &[String], changes: usize) {
    let mut bob = sign_on(restored, "bob");
    for n in 0..5 {
        assert_eq!(bob.receive_command("RECEIVEMESSAGE").fields::<3>()[2], format!("kept {n}").into_bytes());
    }
    for (n, id) in mail.iter().enumerate() {
        let answer = sometime(&mut bob, "READOFFLINEMESSAGE", &[id.as_bytes(), b"0", b"1048576"]);
        assert!(matches!(&answer, Answer::Ok(read) if *read == bytes(n, SIZE)), "message {n}");
    }
    let mut carol = sign_on(restored, "carol");
    let read = carol.ask("READCHANGES", &["plan", "0", "1000"]).text();
    assert!(changes == 0 || read.contains(&format!("change {}", changes - 1)), "{changes} changes: {read}");
    let mut alice = sign_on(restored, "alice");
    for (folder, written) in [("a", files), ("b", more)] {
        for n in written {
            let read = alice.ask("READFILE", &[&path(folder, *n), "0", "1048576"]).ok();
            assert!(read == bytes(*n, SIZE), "{folder} {n}");
        }
    }
    // What was written during the backup is there as a whole, as an empty file, or not at all.
    let mut left = 0;
    for line in alice.ask("LISTFOLDER", &["/users/alice"]).text().lines() {
        let name = line.split('|').next().expect("a name");
        let n: usize = name.split_once('-').expect("a name of ours").1.parse().expect("a number");
        let path = format!("/users/alice/{name}");
        let read = alice.ask("READFILE", &[&path, "0", "1048576"]).ok();
        assert!(read.is_empty() || read == bytes(n, SIZE), "{name} has {} bytes", read.len());
        alice.ask("DELETEFILE", &[&path]).ok();
        left += 1;
    }
    assert!(left >= files.len() + more.len());
    // It takes new things, and gets rid of blocks that came too late for the databases.
    alice.ask("CREATEFILE", &["/users/alice/new"]).ok();
    alice.request("WRITEFILE", &[b"/users/alice/new", b"0", &bytes(77_777, SIZE)]).ok();
    assert_eq!(alice.ask("READFILE", &["/users/alice/new", "0", "1048576"]).ok(), bytes(77_777, SIZE));
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let (known, stored) = (status_of(restored, "blocks"), status_of(restored, "storage"));
        if stored.ends_with(&format!(", {known} blocks)")) {
            break;
        }
        assert!(std::time::Instant::now() < until, "{known} blocks are known: {stored}");
        restored.moment();
    }
    assert_eq!(alice.ask("READFILE", &["/users/alice/gone", "0", "1"]).code(), Code::NotFound);
}

/// Each role on its own: each process is backed up by itself, and nothing but its own data is in its copy.
#[test]
fn each_process_of_a_network_is_backed_up_by_itself() {
    let cluster = crate::cluster(1, 0);
    let mut alice = cluster.sign_on("alice", "main");
    sometime(&mut alice, "CREATEFILE", &[b"/users/alice/a"]).ok();
    alice.request("WRITEFILE", &[b"/users/alice/a", b"0", &bytes(1, SIZE)]).ok();
    let backups = TempDir::new();
    for (name, has) in [
        ("management", "management/database.sqlite"),
        ("main", "main/database.sqlite"),
        ("dm", "data-management/database.sqlite"),
        ("stable0", "blocks/index.db"),
    ] {
        let to = backups.path().join(name);
        support::admin(cluster.server(name), &["backup", to.to_str().expect("UTF-8")]);
        assert!(to.join(has).exists() && to.join("server-key").exists(), "{name}");
        let databases = std::fs::read_dir(&to)
            .expect("a folder")
            .filter(|entry| entry.as_ref().expect("an entry").path().join("database.sqlite").exists());
        assert_eq!(databases.count(), 1, "{name}");
    }
    assert!(!std::fs::read_dir(backups.path().join("stable0/blocks")).expect("blocks").any(|entry| {
        let name = entry.expect("an entry").file_name();
        name == "lock" || name == "hold"
    }));
}

#[test]
fn blocks_in_another_folder_come_too() {
    let (elsewhere, to) = (TempDir::new(), TempDir::new());
    let folder = format!("data.folder={}/of blocks", elsewhere.path().display());
    let mut server = Server::start(&["--set", "management.registration=open", "--set", &folder]);
    let mut alice = sign_on(&server, "alice");
    sometime(&mut alice, "CREATEFILE", &[b"/users/alice/a"]).ok();
    alice.request("WRITEFILE", &[b"/users/alice/a", b"0", &bytes(1, SIZE)]).ok();
    assert!(!server.data_dir().join("blocks").exists());
    // To a folder that is there, and empty.
    support::admin(&server, &["backup", to.path().to_str().expect("UTF-8")]);
    server.kill();
    let mut restored = Server::begin(to, &[]);
    restored.wait_until_ready();
    let mut alice = crate::support::sign_on::sign_on_again(&restored, "alice");
    let read = sometime(&mut alice, "READFILE", &[b"/users/alice/a", b"0", b"1048576"]).ok();
    assert!(read == bytes(1, SIZE));
}

#[test]
fn nothing_is_deleted_until_the_one_who_copies_has_ended() {
    let server = Server::open();
    let mut alice = sign_on(&server, "alice");
    sometime(&mut alice, "CREATEFILE", &[b"/users/alice/a"]).ok();
    alice.request("WRITEFILE", &[b"/users/alice/a", b"0", &bytes(1, SIZE)]).ok();
    let hold = Hold::take(&server.data_dir().join("blocks")).expect("held");
    alice.ask("DELETEFILE", &["/users/alice/a"]).ok();
    // It was asked to delete the block, and did not.
    server.wait_for_log("no block is deleted until it has ended");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let wait = |key: &str, end: &str| {
        while !status_of(&server, key).ends_with(end) {
            assert!(std::time::Instant::now() < until, "{key}: {}", status_of(&server, key));
            server.moment();
        }
    };
    wait("blocks", "0");
    wait("storage", ", 1 blocks)");
    // People write on meanwhile.
    alice.ask("CREATEFILE", &["/users/alice/b"]).ok();
    alice.request("WRITEFILE", &[b"/users/alice/b", b"0", &bytes(2, SIZE)]).ok();
    wait("storage", ", 2 blocks)");
    drop(hold);
    wait("storage", ", 1 blocks)");
    assert_eq!(alice.ask("READFILE", &["/users/alice/b", "0", "1048576"]).ok(), bytes(2, SIZE));
}

#[test]
fn a_backup_that_is_killed_holds_nothing_up_and_is_no_backup() {
    const LARGE: usize = 1 << 20;
    const FILES: usize = 64;
    let mut server = Server::open();
    let mut alice = sign_on(&server, "alice");
    sometime(&mut alice, "LISTFOLDER", &[b"/users/alice"]).ok();
    for n in 0..FILES {
        alice.ask("CREATEFILE", &[&path("large", n)]).ok();
        alice.request("WRITEFILE", &[path("large", n).as_bytes(), b"0", &bytes(n, LARGE)]).ok();
    }
    let backups = TempDir::new();
    let (to, partial) = (backups.path().join("copy"), backups.path().join("copy.partial"));
    let (data, to_text) = (server.data_dir().to_str().expect("UTF-8").to_owned(), to.to_str().expect("UTF-8"));
    // It may have ended before the signal comes.
    for round in 0.. {
        assert!(round < 50, "each time it was over");
        let mut child = std::process::Command::new(support::command::executable())
            .args(["admin", "--data-dir", &data, "backup", to_text])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("convergia");
        while !partial.join("blocks").exists() && child.try_wait().expect("its state").is_none() {
            std::thread::yield_now();
        }
        child.kill().and_then(|()| child.wait()).expect("it ends");
        if partial.exists() {
            break;
        }
        std::fs::remove_dir_all(&to).expect("a whole one");
    }
    assert!(!to.exists());
    // The server is not held up: what is deleted goes.
    for n in 1..FILES {
        alice.ask("DELETEFILE", &[&path("large", n)]).ok();
    }
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !status_of(&server, "storage").ends_with(", 1 blocks)") {
        assert!(std::time::Instant::now() < until, "{}", status_of(&server, "storage"));
        server.moment();
    }
    // Neither under its name nor under another is it a data folder.
    let moved = backups.path().join("moved");
    std::fs::rename(&partial, &moved).expect("another name");
    let refused = support::run(&["--data-dir", moved.to_str().expect("UTF-8"), "--any-port"]);
    let says = ["was cut off", "remove it", "convergia admin backup"].iter().all(|words| refused.err.contains(words));
    assert!(refused.status == 1 && says, "{refused:?}");
    std::fs::rename(&moved, &partial).expect("its name");
    // The next one goes over it, and is whole.
    support::admin(&server, &["backup", to_text]);
    assert!(!partial.exists());
    server.kill();
    let folder = TempDir::new();
    std::fs::remove_dir_all(folder.path()).expect("removed");
    std::fs::rename(&to, folder.path()).expect("the backup becomes a data folder");
    let mut restored = Server::begin(folder, &[]);
    restored.wait_until_ready();
    let mut alice = crate::support::sign_on::sign_on_again(&restored, "alice");
    let read = sometime(&mut alice, "READFILE", &[path("large", 0).as_bytes(), b"0", b"1048576"]).ok();
    assert!(read == bytes(0, LARGE));
}

#[test]
fn a_backup_that_cannot_be_made_leaves_nothing() {
    let server = Server::open();
    let folder = TempDir::new();
    let to = folder.path().join("copy");
    let (data, to_text) = (server.data_dir().to_str().expect("UTF-8"), to.to_str().expect("UTF-8"));
    let none = support::run(&["admin", "--data-dir", to_text, "backup", to_text]);
    assert_eq!((none.status, none.err.contains("no server keeps its data there")), (1, true), "{none:?}");
    // What one that was killed has left is written over.
    std::fs::create_dir_all(folder.path().join("copy.partial/blocks")).expect("left");
    std::fs::write(folder.path().join("copy.partial/server-key"), "half").expect("left");
    // A database that cannot be read.
    let broken = server.data_dir().join("blocks/store.key");
    let kept = std::fs::read(&broken).expect("the key");
    std::fs::remove_file(&broken).expect("removed");
    let failed = support::run(&["admin", "--data-dir", data, "backup", to_text]);
    assert_eq!((failed.status, failed.err.contains("store.key")), (1, true), "{failed:?}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0, "nothing is left");
    std::fs::write(&broken, kept).expect("put back");
    support::admin(&server, &["backup", to_text]);
    assert!(to.join("server-key").exists() && !folder.path().join("copy.partial").exists());
}
