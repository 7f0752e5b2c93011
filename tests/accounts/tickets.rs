//! Tickets (contract 2): one use, one user, one server. That they expire is in `simulated`.

use convergia::wire::Code;

use crate::assert_fails;
use crate::support;
use crate::support::sign_on::connect_main;
use crate::support::sign_on::ticket;
use crate::support::sign_on::PASSWORD;
use crate::support::Raw;
use crate::support::Server;

fn with_users() -> Server {
    let server = Server::open();
    support::register_open(&server, "alice", PASSWORD);
    support::register_open(&server, "bob", PASSWORD);
    server
}

#[test]
fn a_ticket_signs_on_once() {
    let server = with_users();
    let ticket = ticket(&server, "alice");
    let mut link = connect_main(&server, &ticket);
    link.ask("SIGNON", &["alice", &ticket.ticket]).ok();
    let mut second = connect_main(&server, &ticket);
    assert_fails(&second.ask("SIGNON", &["alice", &ticket.ticket]), Code::Wrong);
    // The first session is not touched, and the second link may still sign on.
    link.assert_alive();
    let another = support::sign_on::ticket(&server, "alice");
    second.ask("SIGNON", &["alice", &another.ticket]).ok();
    assert_fails(&second.ask("SIGNON", &["alice", &another.ticket]), Code::BadCommand);
}

#[test]
fn a_ticket_is_for_its_user_and_void_when_another_shows_it() {
    let server = with_users();
    let ticket = ticket(&server, "alice");
    let mut link = connect_main(&server, &ticket);
    assert_fails(&link.ask("SIGNON", &["bob", &ticket.ticket]), Code::Wrong);
    assert_fails(&link.ask("SIGNON", &["alice", &ticket.ticket]), Code::Wrong);
}

#[test]
fn garbage_is_no_ticket() {
    let server = with_users();
    let good = ticket(&server, "alice");
    let mut link = connect_main(&server, &good);
    for bad in ["", "x", &"0".repeat(64), &"z".repeat(64), &good.ticket[1..], "a\nb"] {
        assert_fails(&link.ask("SIGNON", &["alice", bad]), Code::Wrong);
    }
    assert_fails(&link.ask("SIGNON", &["", &good.ticket]), Code::BadArgs);
    assert_fails(&link.ask("SIGNON", &["alice"]), Code::BadArgs);
    assert_fails(&link.ask("GETSERVERMAP", &[]), Code::SignIn);
    link.ask("SIGNON", &["alice", &good.ticket]).ok();
}

/// What main servers ask on 64482.
#[test]
fn validate() {
    let server = with_users();
    let mut link = Raw::connect(&server.addr("validation"));
    let one = ticket(&server, "alice");
    assert_eq!(link.ask("VALIDATE", &["ALICE", &one.ticket]).text(), "");
    assert_fails(&link.ask("VALIDATE", &["alice", &one.ticket]), Code::Wrong);
    let two = ticket(&server, "alice");
    assert_fails(&link.ask("VALIDATE", &["alice", &two.ticket, "elsewhere"]), Code::Wrong);
    assert_fails(&link.ask("VALIDATE", &["alice", &two.ticket, &two.server_id]), Code::Wrong);
    let three = ticket(&server, "alice");
    // A server that names itself is told the name as registered, the account's number, and a receipt.
    let told = link.ask("VALIDATE", &["ALICE", &three.ticket, &three.server_id]).text();
    let [name, account, receipt] = told.split('\n').collect::<Vec<_>>()[..] else { panic!("{told:?}") };
    assert!(name == "alice" && account.parse::<u64>().is_ok());
    assert!(receipt.starts_with(&format!("{}:", three.server_id)));
}

#[test]
fn a_server_is_chosen_among_those_that_were_reached() {
    let server = with_users();
    let (mut link, _) = support::sign_on::login_link(&server, "alice", PASSWORD);
    let id = link.ask("LISTSERVERS", &[]).text().split('|').next().expect("an id").to_owned();
    assert_fails(&link.ask("REPORTSERVERS", &[&format!("{id}|no|0")]), Code::Unavailable);
    assert_fails(&link.ask("REPORTSERVERS", &["unknown|yes|1"]), Code::Unavailable);
    for bad in [format!("{id}|maybe|1"), format!("{id}|yes"), format!("{id}|yes|soon"), format!("{id}|yes|1|2")] {
        assert_fails(&link.ask("REPORTSERVERS", &[&bad]), Code::BadArgs);
    }
    let choice = link.ask("REPORTSERVERS", &[&format!("unknown|yes|0\n{id}|yes|3")]).text();
    let (chosen, ticket) = choice.split_once('\n').expect("server-id LF ticket");
    assert_eq!((chosen, ticket.len()), (&*id, 64));
}
