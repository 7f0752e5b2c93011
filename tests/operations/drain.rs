//! `convergia admin drain`, and what `status` says of the network.

use crate::support;
use crate::support::run;
use crate::support::Server;

#[test]
fn the_only_main_server_cannot_be_drained() {
    let server = Server::open();
    let mut alice = support::sign_on(&server, "alice");
    let data = server.data_dir().to_str().expect("UTF-8");
    let status = support::admin(&server, &["status"]);
    let servers = status.lines().find(|line| line.starts_with("main servers")).expect("main servers");
    assert!(servers.ends_with(" (1 clients)"), "{status}");
    let name = servers.split_whitespace().nth(2).expect("its name").to_owned();
    let drained = run(&["admin", "--data-dir", data, "drain", &name, "--wait"]);
    assert_eq!(drained.status, 1, "{drained:?}");
    assert!(drained.err.contains("no other main server"), "{drained:?}");
    let nowhere = run(&["admin", "--data-dir", data, "drain", "nowhere"]);
    assert_eq!(nowhere.status, 1, "{nowhere:?}");
    assert!(nowhere.err.contains("no such main server"), "{nowhere:?}");
    // It is as it was.
    alice.assert_alive();
    support::sign_on(&server, "bob").assert_alive();
    let json = support::admin(&server, &["status", "--json"]);
    assert!(json.contains("\"table_version\":1") && json.contains("\"links\":\"\""), "{json}");
}
