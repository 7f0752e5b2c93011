//! A second server joins the network, and people talk on it.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::net::TcpStream;
use std::time::Instant;

use convergia::wire::Code;

use crate::opener::assert_denied;
use crate::support;
use crate::support::server::public_key;
use crate::support::sign_on::connect_main;
use crate::support::sign_on::login_link;
use crate::support::sign_on::Ticket;
use crate::support::sign_on::PASSWORD;
use crate::support::Raw;
use crate::support::Server;
use crate::support::TempDir;
use crate::PATIENCE;

/// Signs a registered user on to that main server.
#[track_caller]
fn sign_on_to(management: &Server, user: &str, server: &str) -> Raw {
    let mut link = login_link(management, user, PASSWORD).0;
    let servers = link.ask("LISTSERVERS", &[]).text();
    let row: Vec<&str> =
        servers.lines().map(|line| line.split('|').collect::<Vec<_>>()).find(|row| row[0] == server).expect("listed");
    let choice = link.ask("REPORTSERVERS", &[&format!("{server}|yes|1")]).text();
    let ticket = choice.strip_prefix(&format!("{server}\n")).expect("the only one that was reached").to_owned();
    let (server_id, address, fingerprint) = (server.to_owned(), row[2].to_owned(), row[3].to_owned());
    let ticket = Ticket { server_id, address, fingerprint, ticket };
    let mut main = connect_main(management, &ticket);
    main.ask("SIGNON", &[user, &ticket.ticket]).ok();
    main
}

/// Two users on that server, one message each way.
#[track_caller]
fn assert_talk_on(management: &Server, server: &str) {
    let mut alice = sign_on_to(management, "alice", server);
    let mut bob = sign_on_to(management, "bob", server);
    alice.ask("SENDMESSAGE", &["bob", "hello"]).ok();
    bob.ask("SENDMESSAGE", &["alice", "good evening"]).ok();
    assert_eq!(bob.receive_command("RECEIVEMESSAGE").fields::<3>()[2], b"hello");
    assert_eq!(alice.receive_command("RECEIVEMESSAGE").fields::<3>()[2], b"good evening");
    for mut link in [alice, bob] {
        link.ask("SIGNOFF", &[]).ok();
    }
}

#[test]
fn people_talk_on_a_second_server() {
    let mut management = Server::open();
    for user in ["alice", "bob"] {
        support::register_open(&management, user, PASSWORD);
    }
    let mut second = Server::join(&management, "second");
    assert_eq!(second.ready()["roles"], serde_json::json!(["main"]));
    assert_eq!(second.url(), management.url());
    let address = std::fs::read_to_string(second.data_dir().join("address")).expect("for clients of that machine");
    assert_eq!(address.trim_end(), management.url());
    assert_talk_on(&management, "second");
    assert_talk_on(&management, "main");
    // Both are on the map.
    let mut alice = sign_on_to(&management, "alice", "second");
    let map = alice.ask("GETSERVERMAP", &[]).text();
    for line in ["server-main|main|mainserver|online", "server-second|second|mainserver|online"] {
        assert!(map.contains(line), "{map}");
    }
    assert!(map.lines().any(|line| line.contains("|alice|client|online|") && line.ends_with("server-second")), "{map}");
    // It joined once: the next start goes straight to work.
    drop(alice);
    second.terminate();
    second.restart();
    assert!(!second.log().contains("join"), "{}", second.log());
    assert_talk_on(&management, "second");
    // Management comes back with other ports than before, all but the one of its address.
    management.terminate();
    management.restart_elsewhere("public_management");
    management.wait_for_log("main server second is up");
    assert_talk_on(&management, "second");
    // Shut out: no client is sent there any more.
    support::admin(&management, &["remove-server", "second"]);
    second.wait_for_log("management does not know this server");
    let servers = login_link(&management, "alice", PASSWORD).0.ask("LISTSERVERS", &[]).text();
    assert!(servers.starts_with("main|") && servers.lines().count() == 1, "{servers}");
}

/// Ports that nobody listens on at the moment.
fn free_ports<const N: usize>() -> [String; N] {
    let held: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a port"));
    held.map(|listener| listener.local_addr().expect("its address").to_string())
}

#[test]
fn who_joins_refuses_connections_and_says_what_to_do() {
    let management = Server::open();
    let ports: [String; 2] = free_ports();
    let join = format!("join={}", management.url());
    let listen = [format!("listen.client_main={}", ports[0]), format!("listen.main_main={}", ports[1])];
    let places: Vec<String> = listen.iter().flat_map(|listen| ["--set".to_owned(), listen.clone()]).collect();
    let mut second = Server::begin_at(TempDir::new(), places, &["--set", &join, "--set", "name=second"]);
    second.wait_for_log("management does not know this server");
    for port in &ports {
        let refused = TcpStream::connect(port).expect_err("nothing is listened on before it has joined");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
    let log = second.log();
    // What it says is what helps.
    let words =
        log.split("On management: convergia admin ").nth(1).and_then(|rest| rest.lines().next()).expect("words");
    support::admin(&management, &words.split(' ').collect::<Vec<_>>());
    second.wait_until_ready();
    assert_eq!([second.addr("client_main"), second.addr("main_main")], ports);
    second.wait_for_log("joining: 5 of 5 records");
    for user in ["alice", "bob"] {
        support::register_open(&management, user, PASSWORD);
    }
    assert_talk_on(&management, "second");
    // Its own port for servers takes nobody that it does not know.
    assert_denied(Raw::connect(&second.addr("main_main")), "HELLO", "nobody");
    assert_denied(Raw::connect(&second.addr("main_main")), "HELLO", "second");
    let mut stranger = Raw::connect(&second.addr("main_main"));
    assert_eq!(stranger.ask("SIGNON", &["alice", "x"]).code(), Code::BadCommand);
}

/// One that waits to be let in, or for management, can be stopped.
#[test]
fn a_stop_while_it_waits() {
    let mut management = Server::open();
    let directory = TempDir::new();
    let key = public_key(&directory);
    let join = format!("join={}", management.url());
    let mut second = Server::begin(directory, &["--set", &join, "--set", "name=second"]);
    second.wait_for_log("management does not know this server");
    let began = Instant::now();
    assert!(second.terminate().success());
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    support::admin(&management, &["add-server", "second", "main", &key]);
    second.restart();
    second.terminate();
    management.kill();
    // Joined, and management is away: it waits, and says so.
    second.restart_waiting();
    second.wait_for_log("waiting for management at convergia://");
    assert!(second.is_alive());
    assert!(second.terminate().success());
    second.restart_waiting();
    management.restart_in_place();
    second.wait_until_ready();
    management.wait_for_log("main server second is up");
}

#[test]
fn the_key_is_made_once_and_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = TempDir::new();
    let path = directory.path().join("data");
    let data = path.to_str().expect("UTF-8");
    // All at once: they must agree.
    let keys: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8).map(|_| scope.spawn(|| support::run(&["key", "--data-dir", data]))).collect();
        runs.into_iter().map(|run| run.join().expect("a run").out).collect()
    });
    assert!(keys.iter().all(|key| *key == keys[0] && key.len() == 45), "{keys:?}");
    let mode = |path: &std::path::Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.join("server-key"))), (0o700, 0o600));
    assert_eq!(std::fs::read_dir(&path).expect("the folder").count(), 1, "nothing else is left there");
    std::fs::write(path.join("server-key"), "no key").expect("written");
    let bad = support::run(&["key", "--data-dir", data]);
    assert!(bad.status == 1 && bad.err.contains("server-key") && bad.out.is_empty(), "{bad:?}");
    let server = support::run(&["--data-dir", data, "--any-port"]);
    assert!(server.status == 1 && server.err.contains("server-key"), "{server:?}");
}
