//! Connections that say nothing, half a handshake, half a line, and a line without end.

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;
use std::time::Instant;

use rustix::process::getrlimit;
use rustix::process::setrlimit;
use rustix::process::Resource;
use rustix::process::Rlimit;

use crate::support;
use crate::support::tls;
use crate::support::Raw;
use crate::support::Server;

/// Lets this process, and the servers it starts from now on, open `count` files; returns how many it may.
fn raise_files(count: u64) -> u64 {
    let now = getrlimit(Resource::Nofile);
    let most = now.maximum.unwrap_or(u64::MAX).min(count);
    if now.current.unwrap_or(u64::MAX) < most {
        setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: now.maximum }).expect("more files");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The peer closes within `patience`; what it sent until then is dropped.
#[track_caller]
fn assert_closed(mut stream: &TcpStream, patience: Duration, what: &str) {
    let until = Instant::now() + patience;
    let mut chunk = [0; 4096];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "{what}: not closed in {patience:?}");
        stream.set_read_timeout(Some(left)).unwrap();
        match stream.read(&mut chunk) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
            Err(error) => panic!("{what}: not closed in {patience:?}: {error}"),
        }
    }
}

#[test]
fn ten_thousand_connections_that_say_nothing() {
    let files = raise_files(12_000);
    let count = usize::try_from(files.saturating_sub(500)).unwrap().min(10_000);
    assert!(count >= 5_000, "this machine allows only {files} open files: not enough to show anything");
    println!("{count} silent connections");
    let mut server = Server::open();
    let before = server.rss_kib();
    // Half of them each on the two ports that every client needs.
    let addresses = [server.addr("client_management"), server.addr("client_main")];
    let silent: Vec<TcpStream> = (0..count)
        .map(|n| TcpStream::connect(&addresses[n % 2]).unwrap_or_else(|error| panic!("connection {n}: {error}")))
        .collect();
    let began = Instant::now();
    crate::assert_others_talk(&server, "flood");
    println!("two strangers came in and talked in {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let grown = server.peak_rss_kib().saturating_sub(before);
    println!("memory: {before} KiB before, {grown} KiB more at most");
    assert!(grown < 200 << 10, "{grown} KiB for {count} silent connections");
    // They are not kept: a handshake is done within 10 s, or closed.
    for stream in silent.iter().step_by(500) {
        assert_closed(stream, Duration::from_secs(40), "a silent connection");
    }
    assert!(server.is_alive());
    drop(silent);
    crate::assert_others_talk(&server, "after-flood");
}

#[test]
fn half_a_handshake_and_half_a_line_are_closed_in_time() {
    let server = Server::open();
    let hello = tls::client_hello();
    let begin = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(server.addr("client_main")).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    let mut halves: Vec<TcpStream> = (0..200).map(|n| begin(&hello[..1 + n % (hello.len() - 1)])).collect();
    // The server answers a whole hello; then the client is silent.
    halves.push(begin(&hello));
    let mut line = Raw::connect(&server.addr("client_main"));
    line.send_bytes(b"1 SIGNON al").unwrap();
    // What is no TLS at all is closed at once.
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"1 PING\n1 PING\n", &[0; 64], &[0xff; 64]] {
        assert_closed(&begin(garbage), Duration::from_secs(5), "no TLS");
    }
    crate::assert_others_talk(&server, "halves");
    for half in &halves {
        assert_closed(half, Duration::from_secs(20), "half a handshake");
    }
    line.read_to_close(Duration::from_secs(45));
    crate::assert_others_talk(&server, "after-halves");
}

/// Sends up to 2 GiB without a newline; how much the server took before it closed.
fn endless_line(link: &mut Raw, start: &[u8]) -> u64 {
    const ALL: u64 = 2 << 30;
    let chunk = vec![b'x'; 64 << 10];
    let mut sent = 0;
    if link.send_bytes(start).is_err() {
        return sent;
    }
    while sent < ALL && link.send_bytes(&chunk).is_ok() {
        sent += chunk.len() as u64;
    }
    sent
}

#[test]
fn a_line_of_two_gibibytes() {
    let server = Server::open();
    let mut alice = support::sign_on(&server, "alice");
    let before = server.peak_rss_kib();
    for port in ["public_management", "client_management", "validation", "client_main"] {
        let mut link = Raw::connect(&server.addr(port));
        let took = endless_line(&mut link, b"1 LOGIN ");
        assert!(took < 32 << 20, "{port}: {took} bytes before it was closed");
    }
    for start in [&b"1 SENDMESSAGE bob~\n"[..], b"", b"1 SENDMESSAGE ~"] {
        let mut link = support::sign_on(&server, "mallory");
        let took = endless_line(&mut link, start);
        assert!(took < 32 << 20, "signed on: {took} bytes before it was closed");
    }
    let grown = server.peak_rss_kib().saturating_sub(before);
    println!("memory: {before} KiB before, {grown} KiB more at most");
    assert!(grown < 64 << 10, "{grown} KiB");
    alice.assert_alive();
    crate::assert_others_talk(&server, "line");
}

#[test]
fn newlines_without_end_cost_nothing() {
    let server = Server::open();
    let mut link = Raw::connect(&server.addr("public_management"));
    let before = server.peak_rss_kib();
    let chunk = vec![b'\n'; 64 << 10];
    for _ in 0..256 {
        link.send_bytes(&chunk).expect("empty lines are ignored");
    }
    link.assert_alive();
    let grown = server.peak_rss_kib().saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB");
}

/// Questions that the server cannot answer by itself, as many as it takes: their answers are read, so nothing but the
/// server holds them back.
#[test]
fn questions_about_unknown_users_do_not_keep_others_from_signing_on() {
    const BATCH: usize = 20_000;
    let server = Server::open();
    let mut greedy = support::sign_on(&server, "greedy");
    let before = server.rss_kib();
    let (done, stop) = std::sync::mpsc::channel::<()>();
    let flood = std::thread::spawn(move || {
        let batch = "m SENDMESSAGE nobody~\nx\n".repeat(BATCH);
        let mut asked = 0;
        while matches!(stop.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty)) {
            greedy.send_bytes(batch.as_bytes()).expect("the server reads");
            for _ in 0..BATCH {
                assert_eq!(greedy.receive().command, "SENDMESSAGE");
            }
            asked += BATCH;
        }
        asked
    });
    for n in 0..10 {
        crate::assert_others_talk(&server, &format!("asking-{n}"));
    }
    drop(done);
    let asked = flood.join().expect("the flood is answered");
    let grown = server.peak_rss_kib().saturating_sub(before);
    println!("{asked} questions; {grown} KiB of memory more at most");
    assert!(grown < 128 << 10, "{grown} KiB");
}

#[test]
fn a_million_questions_whose_answers_are_not_read() {
    let server = Server::open();
    let mut greedy = support::sign_on(&server, "greedy");
    let before = server.rss_kib();
    greedy.tcp().set_write_timeout(Some(Duration::from_secs(3))).unwrap();
    let batch = "m SENDMESSAGE nobody~\nx\n".repeat(10_000);
    let mut batches = 0;
    while batches < 100 && greedy.send_bytes(batch.as_bytes()).is_ok() {
        batches += 1;
    }
    let grown = server.peak_rss_kib().saturating_sub(before);
    println!("{batches} batches were taken; {grown} KiB of memory more at most");
    assert!(grown < 32 << 10, "{grown} KiB");
    crate::assert_others_talk(&server, "greedy");
}
