//! After a stop, or a power cut: clients come back by themselves.

use std::time::Duration;

use convergia::client::Client;
use convergia::client::Event;
use convergia::client::Options;
use convergia::client::Secret;
use convergia::engine::rt;

use crate::support;
use crate::support::sign_on::sign_on_again;
use crate::support::sign_on::PASSWORD;
use crate::support::Raw;
use crate::support::Server;
use crate::PATIENCE;

fn client(server: &Server, user: &str, secret: Secret) -> Client {
    let address = server.url().parse().expect("an address");
    let options = Options::new(address, user.into(), secret);
    rt::block_on(Client::sign_on(options)).expect("signed on")
}

/// Reads events until one is right.
#[track_caller]
fn until(client: &Client, right: impl Fn(&Event) -> bool) {
    let wait = async {
        while let Some(event) = client.next().await {
            if right(&event) {
                return;
            }
        }
        panic!("the client has given up");
    };
    rt::block_on(rt::timeout(PATIENCE, wait)).expect("in time");
}

fn is_on(event: &Event) -> bool {
    matches!(event, Event::SignedOn(_))
}

/// `stop` ends the server in one way or another; the clients find it again when it is back on its ports.
fn clients_come_back(stop: impl Fn(&mut Server)) {
    let mut server = Server::open();
    for user in ["alice", "bob"] {
        support::register_open(&server, user, PASSWORD);
    }
    let token = support::login(&server, "alice", PASSWORD);
    let alice = client(&server, "alice", Secret::Token(token.clone()));
    let bob = client(&server, "bob", Secret::Password(PASSWORD.to_owned().into()));
    for client in [&alice, &bob] {
        until(client, is_on);
    }
    let bobs = bob.token().expect("a token");
    stop(&mut server);
    for client in [&alice, &bob] {
        until(client, |event| matches!(event, Event::Lost(..)));
    }
    server.restart_in_place();
    for client in [&alice, &bob] {
        until(client, is_on);
    }
    // With the token that there was: no password was checked again.
    assert_eq!((alice.token(), bob.token()), (Some(token), Some(bobs)));
    rt::block_on(alice.send("bob", b"hello again")).expect("sent");
    until(
        &bob,
        |event| matches!(event, Event::Message { sender, body, .. } if sender == "alice" && body == b"hello again"),
    );
}

#[test]
fn clients_come_back_after_a_restart() {
    clients_come_back(|server| {
        server.terminate();
    });
}

#[test]
fn clients_come_back_after_a_power_cut() {
    clients_come_back(Server::kill);
}

/// kill -9 while clients sign on and off, several times over: every restart works, and everybody gets in with the token
/// from before.
#[test]
fn a_power_cut_while_clients_sign_on() {
    let mut server = Server::open();
    let users: Vec<String> = (0..4).map(|n| format!("user{n}")).collect();
    let mut tokens = Vec::new();
    for user in &users {
        support::register_open(&server, user, PASSWORD);
        tokens.push(support::login(&server, user, PASSWORD));
    }
    for _ in 0..3 {
        std::thread::scope(|scope| {
            let address = server.addr("client_management");
            let (told, heard) = std::sync::mpsc::channel();
            for (user, token) in users.iter().zip(&tokens) {
                let (address, told) = (address.clone(), told.clone());
                scope.spawn(move || while sign_on_with(&address, user, token).is_some() && told.send(()).is_ok() {});
            }
            for _ in 0..20 {
                heard.recv_timeout(Duration::from_secs(20)).expect("sign-ons");
            }
            server.kill();
        });
        server.restart();
        for (user, token) in users.iter().zip(&tokens) {
            sign_on_with(&server.addr("client_management"), user, token).expect("signed on after the restart");
        }
    }
    sign_on_again(&server, &users[0]).assert_alive();
}

/// All the way in with a token. None: the server is gone.
fn sign_on_with(management: &str, user: &str, token: &str) -> Option<Raw> {
    let mut link = Raw::try_connect(management).ok()?;
    link.try_request("LOGIN", &[user.as_bytes(), format!("token:{token}").as_bytes()])?.ok();
    let servers = link.try_request("LISTSERVERS", &[])?.text();
    let row: Vec<&str> = servers.lines().next()?.split('|').collect();
    let choice = link.try_request("REPORTSERVERS", &[format!("{}|yes|1", row[0]).as_bytes()])?.text();
    let mut main = Raw::try_connect(row[2]).ok()?;
    let ticket = choice.split_once('\n')?.1.as_bytes();
    main.try_request("SIGNON", &[user.as_bytes(), ticket])?.ok();
    Some(main)
}
