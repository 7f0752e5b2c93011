//! A client that never reads: its senders get BUSY, memory is bounded, others notice nothing, and nothing that was
//! answered OK is lost.

use std::time::Duration;
use std::time::Instant;

use convergia::wire::Code;

use crate::support;
use crate::support::Answer;
use crate::support::Raw;
use crate::support::Server;

/// Numbered messages of 1 KiB to `to`, one after another, until BUSY; how many were answered OK.
fn fill(from: &mut Raw, to: &str) -> u64 {
    const MOST: u64 = 64 << 10;
    for n in 0..MOST {
        let body = format!("{n:08} {}", "x".repeat(1_015));
        match from.ask("SENDMESSAGE", &[to, &body]) {
            Answer::Ok(_) => {}
            Answer::Fail(code, text) => {
                assert_eq!(code, Code::Busy, "{text}");
                assert!(n > 0, "BUSY at once");
                return n;
            }
        }
    }
    panic!("64 MiB were queued for a client that does not read");
}

/// The number of the next message.
fn next(to: &mut Raw) -> u64 {
    let [_, _, body] = to.receive_command("RECEIVEMESSAGE").fields::<3>();
    String::from_utf8_lossy(&body[..8]).parse().expect("a numbered message")
}

/// The longest that one message between two others took, and how many there were until `done`.
fn talk_until(
    mut from: Raw,
    mut to: Raw,
    to_name: &'static str,
    done: std::sync::mpsc::Receiver<()>,
) -> std::thread::JoinHandle<(Duration, u64)> {
    std::thread::spawn(move || {
        let (mut longest, mut count) = (Duration::ZERO, 0);
        loop {
            let began = Instant::now();
            crate::assert_talk(&mut from, &mut to, to_name);
            longest = longest.max(began.elapsed());
            count += 1;
            if !matches!(done.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty)) {
                return (longest, count);
            }
        }
    })
}

#[test]
fn the_senders_get_busy_and_nothing_is_lost_when_it_reads_again() {
    let server = Server::open();
    let mut alice = support::sign_on(&server, "alice");
    let mut bob = support::sign_on(&server, "bob");
    let (carol, dave) = (support::sign_on(&server, "carol"), support::sign_on(&server, "dave"));
    let (done, stop) = std::sync::mpsc::channel();
    let others = talk_until(carol, dave, "dave", stop);
    let before = server.rss_kib();
    let accepted = fill(&mut alice, "bob");
    let grown = server.peak_rss_kib().saturating_sub(before);
    println!("{accepted} messages of 1 KiB until BUSY; {grown} KiB of memory more at most");
    assert!(grown < 64 << 10, "{grown} KiB");
    for n in 0..accepted {
        assert_eq!(next(&mut bob), n, "what was answered OK comes, in order");
    }
    bob.assert_alive();
    // Room again.
    alice.ask("SENDMESSAGE", &["bob", "99999999 again"]).ok();
    assert_eq!(next(&mut bob), 99_999_999);
    drop(done);
    let (longest, count) = others.join().expect("the others talk");
    println!("{count} messages between others meanwhile, the longest took {longest:?}");
    assert!(longest < Duration::from_secs(2), "{longest:?}");
}

#[test]
fn what_it_had_not_read_waits_for_its_next_sign_on() {
    let server = Server::open();
    let mut alice = support::sign_on(&server, "alice");
    let bob = support::sign_on(&server, "bob");
    let accepted = fill(&mut alice, "bob");
    // Gone without a word, and without having read a byte: what the kernels took was not read either.
    drop(bob);
    let mut bob = support::sign_on::sign_on_again(&server, "bob");
    for n in 0..accepted {
        assert_eq!(next(&mut bob), n, "what was answered OK comes, in order");
    }
    bob.assert_alive();
}

#[test]
fn a_slow_connection_is_closed_in_the_end_and_the_rest_is_kept() {
    let server = Server::open();
    let mut alice = support::sign_on(&server, "alice");
    let mut bob = support::sign_on(&server, "bob");
    let accepted = fill(&mut alice, "bob");
    // It is full until it is closed: the sender's next OK or OFFLINE says that it was.
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        assert!(Instant::now() < until, "a connection that reads nothing is never closed");
        match alice.ask("SENDMESSAGE", &["bob", "88888888 probe"]) {
            // OK: the kernel took a little more.
            Answer::Ok(_) | Answer::Fail(Code::Busy, _) => {}
            Answer::Fail(Code::Offline, _) => break,
            other => panic!("{other:?}"),
        }
        // Paced by another client's round trips, not by a clock.
        for _ in 0..200 {
            alice.assert_alive();
        }
    }
    // What the kernels still hold may be read from the old connection; the rest, and perhaps the same again, comes at
    // the next sign-on: nothing is missing.
    let mut seen = std::collections::BTreeSet::new();
    while let Ok(Some(line)) = bob.read(Duration::from_secs(10)) {
        if line.command == "RECEIVEMESSAGE" {
            let [_, _, body] = line.fields::<3>();
            seen.insert(String::from_utf8_lossy(&body[..8]).parse::<u64>().unwrap());
        }
    }
    seen.retain(|&n| n < accepted);
    println!("{} of {accepted} came over the old connection", seen.len());
    let mut again = support::sign_on::sign_on_again(&server, "bob");
    while seen.len() < usize::try_from(accepted).unwrap() {
        seen.insert(next(&mut again));
        seen.retain(|&n| n < accepted);
    }
    assert!(seen.iter().copied().eq(0..accepted), "every message that was answered OK");
}

#[test]
fn answers_that_are_not_read_hold_up_only_their_own_connection() {
    let server = Server::open();
    let mut greedy = support::sign_on(&server, "greedy");
    let before = server.rss_kib();
    greedy.tcp().set_write_timeout(Some(Duration::from_secs(3))).unwrap();
    // Requests whose answers are longer than they are, none of which is read: the server stops reading.
    let batch = "m GETSERVERMAP\n".repeat(2_000);
    let mut sent = 0;
    while sent < 64 << 20 && greedy.send_bytes(batch.as_bytes()).is_ok() {
        sent += batch.len();
    }
    let grown = server.peak_rss_kib().saturating_sub(before);
    println!("{sent} bytes of requests were taken; {grown} KiB of memory more at most");
    assert!(sent < 64 << 20, "the server goes on reading from a client that does not read");
    assert!(grown < 64 << 10, "{grown} KiB");
    crate::assert_others_talk(&server, "greedy");
}
