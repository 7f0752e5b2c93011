//! SIGTERM.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use crate::support;
use crate::support::sign_on::sign_on_again;
use crate::support::tls;
use crate::support::Answer;
use crate::support::Line;
use crate::support::Raw;
use crate::support::Server;
use crate::PATIENCE;

/// How long a stop may take, whatever clients do.
const STOP: Duration = Duration::from_secs(10);

/// SIGTERM; exit 0, in time.
#[track_caller]
fn assert_stops(server: &mut Server) {
    let began = Instant::now();
    let status = server.terminate();
    let took = began.elapsed();
    assert!(status.success(), "{status}; the log:\n{}", server.log());
    assert!(took < STOP, "{took:?}; the log:\n{}", server.log());
}

fn bodies(lines: &[Line]) -> Vec<String> {
    let messages = lines.iter().filter(|line| line.command == "RECEIVEMESSAGE");
    messages.map(|line| String::from_utf8(line.fields::<3>()[2].clone()).expect("UTF-8")).collect()
}

#[test]
fn what_was_queued_arrives_and_then_a_goodbye() {
    let mut server = Server::open();
    let mut alice = support::sign_on(&server, "alice");
    let mut bob = support::sign_on(&server, "bob");
    // More than the socket's buffers hold, and bob has read nothing of it yet.
    let sent: Vec<String> = (0..60).map(|n| format!("{n} {}", "x".repeat(10_000))).collect();
    for body in &sent {
        alice.ask("SENDMESSAGE", &["bob", body]).ok();
    }
    let reader = std::thread::spawn(move || bob.read_to_close(PATIENCE));
    assert_stops(&mut server);
    let lines = reader.join().expect("the reader");
    assert_eq!(bodies(&lines), sent);
    let last = lines.last().expect("a goodbye");
    assert_eq!(last.command, "DISCONNECTED");
    // In just these words: there will be another server.
    assert_eq!(last.data, b"the server stops");
    let own = alice.read_to_close(PATIENCE);
    assert_eq!(own.last().map(|line| line.command.as_str()), Some("DISCONNECTED"));
    assert!(!server.data_dir().join("admin.sock").exists());
}

/// Everybody sends all the time: the stop is in time, and what was answered OK arrives, now or after the restart.
#[test]
fn under_load_nothing_that_was_answered_ok_is_lost() {
    let mut server = Server::open();
    let senders: Vec<Raw> = (0..4).map(|n| support::sign_on(&server, &format!("sender{n}"))).collect();
    let mut bob = support::sign_on(&server, "bob");
    let under_load = AtomicBool::new(false);
    let (accepted, arrived) = std::thread::scope(|scope| {
        let tasks: Vec<_> = senders
            .into_iter()
            .enumerate()
            .map(|(n, mut link)| {
                let under_load = &under_load;
                scope.spawn(move || {
                    let mut accepted = BTreeSet::new();
                    for step in 0.. {
                        let body = format!("{n}/{step}");
                        match link.try_request("SENDMESSAGE", &[b"bob", body.as_bytes()]) {
                            Some(Answer::Ok(_)) => drop(accepted.insert(body)),
                            Some(Answer::Fail(..)) => {}
                            None => break,
                        }
                        if step == 100 {
                            under_load.store(true, Ordering::Release);
                        }
                    }
                    accepted
                })
            })
            .collect();
        let reader = scope.spawn(move || bob.read_to_close(PATIENCE + STOP));
        let until = Instant::now() + PATIENCE;
        while !under_load.load(Ordering::Acquire) {
            assert!(Instant::now() < until, "no load");
            std::thread::yield_now();
        }
        assert_stops(&mut server);
        let accepted: BTreeSet<String> = tasks.into_iter().flat_map(|task| task.join().expect("a sender")).collect();
        (accepted, reader.join().expect("the reader"))
    });
    let mut arrived: BTreeSet<String> = bodies(&arrived).into_iter().collect();
    server.restart();
    let mut bob = sign_on_again(&server, "bob");
    // What was kept comes right after the sign-on, and before this.
    bob.ask("SENDMESSAGE", &["bob", "the end"]).ok();
    loop {
        let body = bodies(&[bob.receive_command("RECEIVEMESSAGE")]).remove(0);
        if body == "the end" {
            break;
        }
        arrived.insert(body);
    }
    let lost: Vec<&String> = accepted.difference(&arrived).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), accepted.len());
    assert!(accepted.len() > 100);
}

/// Clients that do not play along: one that never reads, one in the middle of a handshake, one in the middle of a packet,
/// on the ports of both roles.
#[test]
fn nobody_holds_up_a_stop() {
    let mut server = Server::open();
    let mut alice = support::sign_on(&server, "alice");
    let _deaf = support::sign_on(&server, "bob");
    let body = "x".repeat(500_000);
    while let Answer::Ok(_) = alice.ask("SENDMESSAGE", &["bob", &body]) {}
    let mut half = Vec::new();
    for key in server.tls_listeners() {
        let mut tcp = TcpStream::connect(server.addr(&key)).expect("a connection");
        let hello = tls::client_hello();
        tcp.write_all(&hello[..hello.len() / 2]).expect("sent");
        half.push(tcp);
    }
    let mut open = Vec::new();
    for key in server.tls_listeners() {
        let mut link = Raw::connect(&server.addr(&key));
        link.send_bytes(b"1 PIN").expect("sent");
        open.push(link);
    }
    assert_stops(&mut server);
}

/// A registration whose password is being hashed: OK and kept, or not answered.
#[test]
fn a_registration_under_way() {
    let mut server = Server::open();
    let mut link = Raw::connect(&server.addr("public_management"));
    let mut ids = Vec::new();
    for n in 0..20 {
        let data = link.ask("REGISTERACCOUNT", &[&format!("user{n}"), support::sign_on::PASSWORD]).text();
        ids.push(data.trim_end().to_owned());
    }
    for (n, id) in ids.iter().enumerate() {
        link.send(&format!("c{n}"), "CONFIRMREGISTERACCOUNT", &[id.as_bytes(), b""]);
    }
    assert_stops(&mut server);
    let answered: Vec<String> = link.read_to_close(PATIENCE).into_iter().map(|line| line.id).collect();
    server.restart();
    let users = support::admin(&server, &["users", "--json"]);
    for id in answered {
        let name = format!("\"user{}\"", id.trim_start_matches('c'));
        assert!(users.contains(&name), "{name} was answered: {users}");
    }
}
