//! Starting, and refusing to.

use std::net::TcpListener;

use serde_json::Value;

use crate::support;
use crate::support::run;
use crate::support::sign_on::sign_on_again;
use crate::support::sign_on::PASSWORD;
use crate::support::Raw;
use crate::support::Server;
use crate::support::TempDir;

#[test]
fn once_the_ready_file_is_there_clients_sign_on() {
    let mut server = Server::open();
    support::register_open(&server, "alice", PASSWORD);
    for _ in 0..5 {
        // `Server` takes the file as soon as it exists, and fails when it is not whole.
        sign_on_again(&server, "alice").assert_alive();
        server.terminate();
        server.restart();
    }
    assert_eq!(server.ready()["roles"], serde_json::json!(["management", "main", "data-management", "data", "realm"]));
    let names = std::fs::read_dir(server.data_dir()).expect("the data folder").flatten();
    let names: Vec<String> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(!names.iter().any(|name| name.ends_with(".new")), "{names:?}");
    // GETPORTS and the ready file agree.
    let ports = Raw::connect(&server.addr("public_management")).ask("GETPORTS", &[]).text();
    for line in ports.lines() {
        let (key, port) = line.split_once('|').expect("config key|port");
        assert!(server.addr(key).ends_with(&format!(":{port}")), "{line}");
    }
    assert_eq!(ports.lines().count(), server.listeners().len());
}

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    let server = Server::open();
    let data = server.data_dir().to_str().expect("UTF-8");
    let done = run(&["--data-dir", data, "--any-port"]);
    assert_eq!(done.status, 1, "{done:?}");
    assert!(done.err.contains("another convergia runs with this data folder"), "{done:?}");
    assert!(done.err.contains(data), "{done:?}");
    // The first has kept everything that is its own.
    support::admin(&server, &["status"]);
    support::sign_on(&server, "alice").assert_alive();
}

#[test]
fn check_says_whether_the_configuration_is_good_and_starts_nothing() {
    let folder = TempDir::new();
    let data = folder.path().join("data");
    let data = data.to_str().expect("UTF-8");
    let good = run(&["--check", "--data-dir", data, "--set", "management.registration=invite"]);
    assert_eq!((good.status, good.err.as_str()), (0, ""), "{good:?}");
    assert!(!std::path::Path::new(data).exists(), "--check made the data folder");
    let file = folder.path().join("bad.toml");
    std::fs::write(&file, "name = \"main\"\n[management]\nregistration = \"perhaps\"\n").expect("a file");
    let bad = run(&["--check", "--data-dir", data, "--config", file.to_str().expect("UTF-8")]);
    assert_eq!(bad.status, 2, "{bad:?}");
    for word in ["management.registration", "3", "captcha", "closed"] {
        assert!(bad.err.contains(word), "no {word:?}: {bad:?}");
    }
}

#[test]
fn a_role_that_cannot_run_is_refused_in_words() {
    let folder = TempDir::new();
    let data = folder.path().to_str().expect("UTF-8");
    for (roles, status, word) in [
        (&["realm", "main"][..], 2, "stands alone"),
        (&["data"], 2, "join = "),
        (&["data-management"], 2, "join = "),
        (&["postman"], 2, "postman"),
        (&["main"], 2, "join = "),
    ] {
        let mut arguments = vec!["--data-dir", data, "--any-port"];
        arguments.extend(roles.iter().flat_map(|role| ["--role", role]));
        let done = run(&arguments);
        assert_eq!(done.status, status, "{roles:?}: {done:?}");
        assert!(done.err.contains(word) && !done.err.contains("panicked"), "{roles:?}: {done:?}");
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let folder = TempDir::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let keys = [
        "public_management",
        "client_management",
        "validation",
        "main_main",
        "main_management",
        "main_datamanagement",
        "data_datamanagement",
        "data_data",
        "datamanagement_management",
    ];
    let free: Vec<String> = keys.iter().map(|key| format!("listen.{key}=127.0.0.1:0")).collect();
    let set = format!("listen.client_main={address}");
    let mut arguments = vec!["--data-dir", folder.path().to_str().expect("UTF-8"), "--set", &set];
    arguments.extend(free.iter().flat_map(|set| ["--set", set.as_str()]));
    let done = run(&arguments);
    assert_eq!(done.status, 1, "{done:?}");
    assert!(done.err.contains(&address), "{done:?}");
}

#[test]
fn status_says_how_the_server_does() {
    let server = Server::open();
    let _alice = support::sign_on(&server, "alice");
    support::register_open(&server, "bob", PASSWORD);
    let status: Value = serde_json::from_str(&support::admin(&server, &["status", "--json"])).expect("JSON");
    let text = |key: &str| status[key].as_str().map_or_else(|| status[key].to_string(), str::to_owned);
    assert_eq!((text("users"), text("online"), text("registration")), ("2".into(), "1".into(), "open".into()));
}
