//! Realms that are not what they say, and those that the operator has blocked.

use convergia::wire::Code;

use crate::begin;
use crate::door;
use crate::id;
use crate::listed;
use crate::management;
use crate::next;
use crate::realm;
use crate::send;
use crate::support::admin;
use crate::support::Raw;
use crate::until;
use crate::user;
use crate::wait_listed;

#[test]
fn who_calls_itself_another_realm_is_refused() {
    let management = management();
    let (north, south) = (realm(&management, "north", &[]), realm(&management, "south", &[]));
    wait_listed(&management, &[&north, &south]);
    let (mut alice, mut bob) = (user(&north, "alice"), user(&south, "bob"));
    send(&south, &mut bob, &format!("{}::alice", id(&north)), "really south");
    assert_eq!(next(&mut alice).1, "really south");
    // A realm with a key of its own, which the operator knows, and another's id.
    let mut rogue = begin(&management, "rogue", &[&format!("advertise.realm={}", id(&south))]);
    rogue.wait_until_ready();
    management.wait_for_log("REALM: DENIED to the server rogue");
    rogue.wait_for_log("this realm is not taken into the directory");
    let lines = listed(&management);
    assert_eq!(lines.len(), 2, "{lines:?}");
    // The directory still has south's key: whoever has another cannot prove to be it.
    let mut link = door(&north);
    let sealed = link.ask("HELLO", &[&id(&south)]).text();
    assert_eq!(link.ask("PROVE", &[&sealed]).code(), Code::Denied);
    assert!(link.read_to_close(crate::PATIENCE).is_empty());
    north.wait_for_log("its proof is not sealed to this server");
    let mut link = door(&north);
    link.ask("HELLO", &[&id(&south)]).ok();
    drop(link);
    north.wait_for_log(&format!("somebody calls itself the realm {}", id(&south)));
    // The real one is not kept out by that.
    send(&south, &mut bob, &format!("{}::alice", id(&north)), "still south");
    assert_eq!(next(&mut alice).1, "still south");
}

#[test]
fn the_operator_blocks_realms_and_users() {
    let management = management();
    let (north, mut south) = (realm(&management, "north", &[]), realm(&management, "south", &[]));
    wait_listed(&management, &[&north, &south]);
    let (mut alice, mut bob, mut carol) = (user(&north, "alice"), user(&south, "bob"), user(&south, "carol"));
    let (to_alice, to_bob, to_carol) =
        (format!("{}::alice", id(&north)), format!("{}::bob", id(&south)), format!("{}::carol", id(&south)));
    send(&south, &mut bob, &to_alice, "1");
    assert_eq!(next(&mut alice).1, "1");
    send(&north, &mut alice, &to_bob, "2");
    assert_eq!(next(&mut bob).1, "2");
    let is = |link: &mut Raw, to: &str, code: Code| {
        let wanted =
            |answer: crate::support::Answer| matches!(answer, crate::support::Answer::Fail(is, _) if is == code);
        until(&north, &format!("{} to {to}", code.word()), || wanted(link.ask("SENDMESSAGE", &[to, "no"])));
    };
    admin(&north, &["block", &to_bob.to_uppercase()]);
    assert_eq!(admin(&north, &["blocks"]).trim(), to_bob);
    is(&mut alice, &to_bob, Code::Denied);
    is(&mut bob, &to_alice, Code::Denied);
    send(&south, &mut carol, &to_alice, "carol may");
    let mut seen = next(&mut alice);
    // What was on its way before the block may have come.
    while seen.1 == "no" {
        seen = next(&mut alice);
    }
    assert_eq!(seen.1, "carol may");
    admin(&north, &["block", &id(&south)]);
    is(&mut alice, &to_carol, Code::Denied);
    // Its links are closed, and no new one is let in.
    north.wait_for_log("the operator has blocked that realm");
    north.wait_for_log("DENIED to 127.0.0.1");
    admin(&north, &["block", &id(&south), "--off"]);
    admin(&north, &["block", &to_bob, "--off"]);
    assert_eq!(admin(&north, &["blocks"]).trim(), "");
    send(&north, &mut alice, &to_bob, "friends again");
    let mut seen = next(&mut bob);
    while seen.1 == "no" {
        seen = next(&mut bob);
    }
    assert_eq!(seen.1, "friends again");
    // What waits for somebody who is blocked then does not go there any more.
    south.kill();
    send(&north, &mut alice, &to_bob, "waits");
    admin(&north, &["block", &to_bob]);
    let (from, text) = next(&mut alice);
    assert!(from == id(&north) && text.contains(&to_bob) && text.contains("blocked"), "{from}: {text}");
}

#[test]
fn a_realm_that_stands_alone_is_no_part_of_the_network() {
    let management = management();
    let directory = crate::support::TempDir::new();
    let key = crate::support::server::public_key(&directory);
    admin(&management, &["add-server", "guest", "realm", &key, "--alone"]);
    let join = format!("join={}", management.url());
    // It comes as a member all the same.
    let arguments = ["--role", "realm", "--set", "realm.attach=true", "--set", "name=guest", "--set", &join];
    let guest = crate::support::Server::begin(directory, &arguments);
    management.wait_for_log("which calls itself \"guest\": no such server was added for this port");
    guest.wait_for_log("management does not know this server");
    let lines = admin(&management, &["servers", "--json"]);
    assert!(lines.lines().any(|line| line.contains("\"guest\"") && line.contains("\"alone\":true")), "{lines}");
}
