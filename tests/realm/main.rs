//! Realms with real processes: the directory, messages from one to another, and what happens when one of them is away, or is not what it says.

#[path = "../support/mod.rs"]
mod support;

mod away;
mod directory;
mod files;
mod mail;
mod messages;
mod refused;

use std::time::Duration;
use std::time::Instant;

use convergia::wire::Code;
use serde_json::Value;
use support::realms::begin;
use support::realms::door;
use support::realms::id;
use support::realms::management;
use support::realms::realm;
use support::realms::user;
use support::run;
use support::Answer;
use support::Raw;
use support::Server;

/// How long what several processes must agree on may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// Sends a message, again as long as a server that is needed is on its way back.
#[track_caller]
pub fn send(server: &Server, link: &mut Raw, to: &str, body: &str) {
    until(server, &format!("a message to {to} is taken"), || match link.ask("SENDMESSAGE", &[to, body]) {
        Answer::Ok(_) => true,
        Answer::Fail(Code::Unavailable | Code::NotFound, _) => false,
        fail => panic!("{to}: {fail:?}"),
    });
}

/// The next message: who sent it, and what.
#[track_caller]
pub fn next(link: &mut Raw) -> (String, String) {
    let [sender, _, body] = link.receive_command("RECEIVEMESSAGE").fields();
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (text(sender), text(body))
}

/// The same on a connection after a server was killed: what it had given just before may come again (docs/protocol.md, RECEIVEMESSAGE).
#[track_caller]
pub fn next_but(link: &mut Raw, before: &str) -> (String, String) {
    loop {
        let message = next(link);
        if message.1 != before {
            return message;
        }
    }
}
