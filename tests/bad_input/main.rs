//! Bad input: whatever outsiders send, they get the FAIL of the contract or are closed, others notice nothing, and memory
//! stays bounded.

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod crash;
mod floods;
mod lines;
mod passwords;
mod sessions;
mod slow_reader;

use support::Raw;
use support::Server;

/// Two strangers can still register, sign on and talk: what every attack is measured by.
#[track_caller]
fn assert_others_talk(server: &Server, tag: &str) {
    let (one, other) = (format!("one-{tag}"), format!("other-{tag}"));
    let mut from = support::sign_on(server, &one);
    let mut to = support::sign_on(server, &other);
    assert_talk(&mut from, &mut to, &other);
}

/// One message, from one to the other.
#[track_caller]
fn assert_talk(from: &mut Raw, to: &mut Raw, to_name: &str) {
    let id = from.id();
    let body = format!("hello {id}");
    from.send(&id, "SENDMESSAGE", &[to_name.as_bytes(), body.as_bytes()]);
    loop {
        let [_, _, got] = to.receive_command("RECEIVEMESSAGE").fields::<3>();
        if got == body.as_bytes() {
            break;
        }
    }
    from.answer(&id).ok();
}
