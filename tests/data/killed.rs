//! SIGKILL, at any moment: what was answered OK is there afterwards, and nothing is half there.

use convergia::wire::Code;

use crate::bytes;
use crate::cluster;
use crate::sometime;
use crate::status;
use crate::support::Answer;
use crate::support::Cluster;
use crate::support::Raw;

/// Writes files without waiting; says how each was answered. `meanwhile` comes behind the first answer.
fn write_some(link: &mut Raw, from: usize, count: usize, meanwhile: impl FnOnce()) -> Vec<(usize, bool)> {
    for n in from..from + count {
        let path = format!("/users/alice/{n}");
        link.send(&format!("c{n}"), "CREATEFILE", &[path.as_bytes()]);
        link.send(&format!("w{n}"), "WRITEFILE", &[path.as_bytes(), b"0", &bytes(n, 20_000)]);
    }
    let answered = |n: usize, link: &mut Raw| {
        link.answer(&format!("c{n}"));
        (n, matches!(link.answer(&format!("w{n}")), Answer::Ok(_)))
    };
    let first = answered(from, link);
    meanwhile();
    std::iter::once(first).chain((from + 1..from + count).map(|n| answered(n, link))).collect()
}

#[track_caller]
fn check(link: &mut Raw, written: &[(usize, bool)]) {
    for (n, ok) in written {
        let path = format!("/users/alice/{n}");
        match sometime(link, "READFILE", &[path.as_bytes(), b"0", b"1048576"]) {
            Answer::Ok(read) if read == bytes(*n, 20_000) => {}
            Answer::Ok(read) => assert!(!ok && read.is_empty(), "{n} is {} bytes, written: {ok}", read.len()),
            Answer::Fail(code, text) => assert!(!ok && code == Code::NotFound, "{n}: {text}, written: {ok}"),
        }
    }
}

fn rounds(cluster: &mut Cluster, who: &[&str]) {
    let mut alice = cluster.sign_on("alice", "main");
    sometime(&mut alice, "LISTFOLDER", &[b"/users/alice"]).ok();
    let mut written = Vec::new();
    for (round, name) in who.iter().enumerate() {
        let mut killed = false;
        let some = write_some(&mut alice, round * 60, 60, || {
            cluster.kill(name);
            killed = true;
        });
        assert!(killed);
        written.extend(some);
        cluster.start(name);
        check(&mut alice, &written);
    }
    assert!(written.iter().filter(|(_, ok)| *ok).count() > 0, "nothing was written");
    for (n, _) in &written {
        let path = format!("/users/alice/{n}");
        let answer = sometime(&mut alice, "DELETEFILE", &[path.as_bytes()]);
        assert!(matches!(&answer, Answer::Ok(_) | Answer::Fail(Code::NotFound, _)), "{answer:?}");
    }
    // What was put when somebody was killed, and belongs to nothing, goes too.
    cluster.until("all blocks are gone", || {
        let storage = status(cluster, "storage");
        let empty = storage.matches(", 0 blocks)").count();
        status(cluster, "blocks") == "0" && empty == 2 && storage.matches(" blocks)").count() == empty
    });
}

#[test]
fn data_management_is_killed_while_people_write() {
    let mut cluster = cluster(2, 0);
    rounds(&mut cluster, &["dm", "dm", "dm"]);
}

#[test]
fn data_servers_are_killed_while_people_write() {
    let mut cluster = cluster(2, 0);
    rounds(&mut cluster, &["stable0", "stable1", "stable0", "stable1"]);
}

#[test]
fn three_of_five_volatile_servers_go_one_after_the_other() {
    let mut cluster = cluster(0, 5);
    let mut alice = cluster.sign_on("alice", "main");
    sometime(&mut alice, "LISTFOLDER", &[b"/users/alice"]).ok();
    let written = write_some(&mut alice, 0, 40, || {});
    assert!(written.iter().all(|(_, ok)| *ok));
    for n in 0..3 {
        cluster.kill(&format!("volatile{n}"));
        let (next, left) = (n + 1, 4 - n);
        // Two that are left cannot have three copies.
        cluster.until(&format!("the copies of {next} lost servers are made anew"), || {
            let short = status(&cluster, "blocks with too few copies");
            status(&cluster, "storage").matches("volatile").count() == left && (short == "0" || left == 2)
        });
    }
    check(&mut alice, &written);
    assert_eq!(alice.ask("WRITEFILE", &["/users/alice/0", "0", "x"]).code(), Code::Unavailable);
    for n in 0..3 {
        cluster.start(&format!("volatile{n}"));
    }
    cluster.until("all have three copies again", || status(&cluster, "blocks with too few copies") == "0");
    alice.ask("WRITEFILE", &["/users/alice/0", "0", "x"]).ok();
}

#[test]
fn no_data_management_is_unavailable_at_once_and_comes_back_by_itself() {
    let mut cluster = cluster(1, 0);
    let mut alice = cluster.sign_on("alice", "main");
    let mut bob = cluster.sign_on("bob", "main");
    sometime(&mut alice, "CREATEFILE", &[b"/users/alice/0"]).ok();
    cluster.kill("dm");
    cluster.server("main").wait_for_log("data management is not reachable");
    assert_eq!(alice.ask("LISTFOLDER", &["/users/alice"]).code(), Code::Unavailable);
    // Others notice nothing.
    alice.ask("SENDMESSAGE", &["bob", "hi"]).ok();
    bob.receive_command("RECEIVEMESSAGE");
    cluster.start("dm");
    assert!(!sometime(&mut alice, "LISTFOLDER", &[b"/users/alice"]).ok().is_empty());
    // Management away: who is known goes on.
    cluster.kill("management");
    alice.ask("CREATEFILE", &["/users/alice/1"]).ok();
    alice.ask("WRITEFILE", &["/users/alice/1", "0", "x"]).ok();
    cluster.start("management");
    alice.ask("READFILE", &["/users/alice/1", "0", "9"]).ok();
}

/// Changes one byte of a file in `folder` that has `wanted` in it; false: none has.
fn flip(folder: &std::path::Path, wanted: &[u8]) -> bool {
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            if flip(&entry, wanted) {
                return true;
            }
            continue;
        }
        let mut bytes = std::fs::read(&entry).expect("a file");
        if let Some(at) = bytes.windows(wanted.len()).position(|window| window == wanted) {
            bytes[at] ^= 1;
            // In place: the server has it open.
            let file = std::fs::OpenOptions::new().write(true).open(&entry).expect("a file");
            std::os::unix::fs::FileExt::write_all_at(&file, &bytes[at..=at], at as u64).expect("written");
            return true;
        }
    }
    false
}

#[test]
fn a_flipped_byte_is_never_read_and_the_copy_is_made_anew() {
    let cluster = cluster(0, 4);
    let mut alice = cluster.sign_on("alice", "main");
    sometime(&mut alice, "CREATEFILE", &[b"/users/alice/0"]).ok();
    alice.request("WRITEFILE", &[b"/users/alice/0", b"0", &bytes(0, 20_000)]).ok();
    let wanted = &bytes(0, 20_000)[100..164];
    let flipped = (0..4).filter(|n| flip(&cluster.server(&format!("volatile{n}")).data_dir().join("blocks"), wanted));
    assert_eq!(flipped.take(2).count(), 2, "two of three copies");
    // Until both were asked for it.
    cluster.until("both copies are made anew", || {
        check(&mut alice, &[(0, true)]);
        status(&cluster, "repair") == "2 blocks copied" && status(&cluster, "blocks with too few copies") == "0"
    });
    check(&mut alice, &[(0, true)]);
}
