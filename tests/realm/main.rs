//! Realms with real processes: the directory, messages from one to another, and what happens when one of them is away, or is not what it says.

#[path = "../support/mod.rs"]
mod support;

mod directory;
mod files;
mod mail;

use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use support::admin;
use support::run;
use support::sign_on::try_register_on;
use support::sign_on::PASSWORD;
use support::Raw;
use support::Server;
use support::TempDir;

/// How long what several processes must agree on may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A management server, with the directory of realms.
pub fn management() -> Server {
    Server::start(&["--role", "management", "--set", "management.registration=open"])
}

/// A realm that stands alone, added to that directory under its name; anybody may register there.
#[track_caller]
pub fn realm(management: &Server, name: &str, settings: &[&str]) -> Server {
    let mut realm = begin(management, name, settings);
    realm.wait_until_ready();
    realm
}

/// The same, without waiting until it is ready.
#[track_caller]
pub fn begin(management: &Server, name: &str, settings: &[&str]) -> Server {
    let directory = TempDir::new();
    admin(management, &["add-server", name, "realm", &support::server::public_key(&directory)]);
    let (own, join) = (format!("name={name}"), format!("join={}", management.url()));
    let mut arguments = vec!["--role", "realm", "--set", &own, "--set", &join, "--set", "realm.registration=open"];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let mut realm = Server::begin(directory, &arguments);
    realm.set_name(name, "127.0.0.1");
    realm
}

/// The realm's id.
pub fn id(realm: &Server) -> String {
    realm.addr("realm")
}

/// A connection to a realm's door.
pub fn door(realm: &Server) -> Raw {
    let mut link = Raw::connect(&realm.addr("realm"));
    link.send_bytes(b"OpenGroove\n").expect("the door reads");
    link
}

/// Registers the user on the realm if there is none, and signs on.
#[track_caller]
pub fn user(realm: &Server, name: &str) -> Raw {
    let mut link = door(realm);
    link.ask("STARTREGISTRATION", &[]).ok();
    try_register_on(&mut link, name, PASSWORD).expect("the realm stays");
    drop(link);
    let mut link = door(realm);
    link.ask("LOGIN", &[name, PASSWORD]).ok();
    link
}

/// Looks again and again until something is so.
#[track_caller]
pub fn until(server: &Server, what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        server.moment();
    }
}

/// The lines of `convergia realms --json`.
#[track_caller]
pub fn listed(management: &Server) -> Vec<Value> {
    let done = run(&["realms", "--server", &management.url(), "--json"]);
    assert_eq!(done.status, 0, "{done:?}");
    done.out.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// Waits until the directory has all of these.
#[track_caller]
pub fn wait_listed(management: &Server, realms: &[&Server]) {
    until(management, "all realms are in the directory", || {
        let lines = listed(management);
        realms.iter().all(|realm| lines.iter().any(|line| line["realm"] == id(realm).as_str()))
    });
}
