//! An operator who is signed on to one of two main servers, each a process.

use convergia::wire::Code;

use crate::support;
use crate::support::sign_on::sign_on_at;
use crate::support::Raw;
use crate::support::Server;

fn signed_on(server: &Server, user: &str, at: &str) -> Raw {
    sign_on_at(server, user, at).unwrap_or_else(|fail| panic!("{user} at {at}: {fail:?}"))
}

#[test]
fn an_operator_speaks_to_all_and_sees_all() {
    let server = Server::open();
    let second = Server::join(&server, "second");
    let mut alice = signed_on(&server, "alice", "second");
    let mut others = [signed_on(&server, "bob", "main"), signed_on(&server, "carol", "second")];
    assert_eq!(alice.ask("OPERATOR", &["STATUS"]).code(), Code::Denied);
    support::admin(&server, &["user", "operator", "alice"]);
    assert!(alice.ask("GETACCOUNT", &[]).text().contains("operator|yes\n"));
    assert_eq!(alice.ask("OPERATOR", &["NOTICE", "hello, all"]).text(), "3");
    for link in others.iter_mut().chain([&mut alice]) {
        let [_, text] = link.receive_command("NOTICE").fields::<2>();
        assert_eq!(text, b"hello, all");
    }
    let sessions = alice.ask("OPERATOR", &["SESSIONS"]).text();
    let shown = |line: &str| {
        let columns: Vec<&str> = line.split('|').collect();
        assert_eq!((columns.len(), columns[2], columns[4]), (5, "client_main", "127.0.0.1"), "{line}");
        format!("{} {}", columns[0], columns[1])
    };
    assert_eq!(sessions.lines().map(shown).collect::<Vec<_>>(), ["alice second", "bob main", "carol second"]);
    // The first sample is there soon after the start.
    let until = std::time::Instant::now() + crate::PATIENCE;
    while alice.ask("OPERATOR", &["SAMPLES"]).text().is_empty() {
        assert!(std::time::Instant::now() < until, "no sample");
        server.moment();
    }
    alice.ask("OPERATOR", &["USERADD", "dora", "a secret password"]).ok();
    alice.ask("OPERATOR", &["USERDELETE", "dora"]).ok();
    let log = server.log();
    assert!(log.contains("operator alice: USERADD dora") && log.contains("operator alice: USERDELETE dora"), "{log}");
    assert!(!log.contains("a secret"), "{log}");
    // Over the socket only.
    assert_eq!(alice.ask("OPERATOR", &["USEROPERATOR", "bob", "yes"]).code(), Code::BadCommand);
    support::admin(&server, &["user", "operator", "alice", "--off"]);
    assert_eq!(alice.ask("OPERATOR", &["STATUS"]).code(), Code::Denied);
    drop(second);
}
