//! The directory: who is in it, and what it says.

use convergia::wire::Code;

use crate::door;
use crate::id;
use crate::listed;
use crate::management;
use crate::realm;
use crate::support;
use crate::support::Raw;
use crate::until;
use crate::user;
use crate::wait_listed;

#[test]
fn realms_are_listed_and_a_removed_one_is_not() {
    let management = management();
    let settings = ["realm.name=North", "realm.description=Ships and weather", "realm.user_cap=9", "realm.quota=5 MiB"];
    let north = realm(&management, "north", &settings);
    let south = realm(&management, "south", &[]);
    wait_listed(&management, &[&north, &south]);
    let _alice = user(&north, "alice");
    until(&management, "the directory counts alice", || {
        let lines = listed(&management);
        let line = lines.iter().find(|line| line["realm"] == id(&north).as_str()).expect("it is in the list");
        assert_eq!((&line["name"], &line["description"]), (&"North".into(), &"Ships and weather".into()));
        assert_eq!((&line["registration"], &line["cap"]), (&"open".into(), &9.into()));
        assert_eq!(line["quota"], 5 << 20);
        line["users"] == 1
    });
    support::admin(&management, &["remove-server", "south"]);
    assert!(listed(&management).iter().all(|line| line["realm"] != id(&south).as_str()));
}

#[test]
fn what_realms_send_needs_the_handshake() {
    let management = management();
    let north = realm(&management, "north", &[]);
    let mut link = door(&north);
    assert_eq!(link.ask("MEET", &["1"]).code(), Code::SignIn);
    // Nobody that the directory knows: refused, and the connection is closed.
    assert_eq!(link.ask("HELLO", &["nowhere.example:1"]).code(), Code::Denied);
    assert!(link.read_to_close(crate::PATIENCE).is_empty());
    north.wait_for_log("DENIED to 127.0.0.1, which calls itself \"nowhere.example:1\"");
    // A client that has begun something is no realm.
    let mut link = door(&north);
    link.ask("STARTREGISTRATION", &[]).ok();
    assert_eq!(link.ask("HELLO", &["nowhere.example:1"]).code(), Code::Denied);
    let mut link = Raw::connect(&management.addr("realm_management"));
    link.send_bytes(b"opengroove\n").expect("it reads");
    assert_eq!(link.ask("FINDREALM", &[&id(&north)]).code(), Code::SignIn);
}
