//! Online messages between realms.

use convergia::wire::Code;

use crate::id;
use crate::management;
use crate::next;
use crate::realm;
use crate::send;
use crate::support::sign_on::sign_on;
use crate::support::sign_on::sign_on_at;
use crate::support::Cluster;
use crate::support::Plan;
use crate::user;
use crate::wait_listed;

#[test]
fn users_of_two_realms_talk_with_management_or_without() {
    let mut management = management();
    let (north, south) = (realm(&management, "north", &[]), realm(&management, "south", &[]));
    wait_listed(&management, &[&north, &south]);
    let (mut alice, mut bob) = (user(&north, "alice"), user(&south, "Bob"));
    let (to_alice, to_bob) = (format!("{}::alice", id(&north)), format!("{}::bob", id(&south)));
    send(&north, &mut alice, &to_bob, "hello ~ Bob\nsecond line");
    assert_eq!(next(&mut bob), (to_alice.clone(), "hello ~ Bob\nsecond line".to_owned()));
    send(&south, &mut bob, &to_alice, "hello alice");
    assert_eq!(next(&mut alice), (format!("{}::Bob", id(&south)), "hello alice".to_owned()));
    // Many in a row, in order.
    let count = 500;
    for n in 0..count {
        alice.send(&format!("n{n}"), "SENDMESSAGE", &[to_bob.as_bytes(), n.to_string().as_bytes()]);
    }
    for n in 0..count {
        assert_eq!(next(&mut bob).1, n.to_string());
    }
    for n in 0..count {
        alice.answer(&format!("n{n}")).ok();
    }
    // One's own realm is nothing special.
    send(&north, &mut alice, &to_alice.to_uppercase().replace("ALICE", "alice"), "to myself");
    assert_eq!(next(&mut alice), ("alice".to_owned(), "to myself".to_owned()));
    let fails = |link: &mut crate::support::Raw, to: &str| link.ask("SENDMESSAGE", &[to, "x"]).code();
    assert_eq!(fails(&mut alice, &format!("{}::nobody", id(&south))), Code::NotFound);
    assert_eq!(fails(&mut alice, "127.0.0.1:1::bob"), Code::NotFound);
    assert_eq!(fails(&mut alice, "a:b"), Code::BadArgs);
    drop(user(&south, "carol"));
    crate::until(&south, "carol is off", || fails(&mut alice, &format!("{}::carol", id(&south))) == Code::Offline);
    // Without the directory, known realms go on, and so do new sign-ons.
    management.kill();
    let mut dora = user(&south, "dora");
    send(&south, &mut dora, &to_alice, "no directory");
    assert_eq!(next(&mut alice).1, "no directory");
    send(&north, &mut alice, &to_bob, "nor here");
    assert_eq!(next(&mut bob).1, "nor here");
}

#[test]
fn realms_find_each_other_without_the_directory_after_a_restart() {
    let mut management = management();
    let (mut north, south) = (realm(&management, "north", &[]), realm(&management, "south", &[]));
    wait_listed(&management, &[&north, &south]);
    let (mut alice, mut bob) = (user(&north, "alice"), user(&south, "bob"));
    let to_bob = format!("{}::bob", id(&south));
    send(&north, &mut alice, &to_bob, "before");
    assert_eq!(next(&mut bob).1, "before");
    send(&south, &mut bob, &format!("{}::alice", id(&north)), "before");
    assert_eq!(next(&mut alice).1, "before");
    management.kill();
    drop(alice);
    north.restart_in_place();
    let mut alice = user(&north, "alice");
    send(&north, &mut alice, &to_bob, "after");
    assert_eq!(next(&mut bob).1, "after");
}

#[test]
fn everybody_in_a_network_reaches_a_realm_through_the_one_that_it_has() {
    let all = Plan::new("one", &["management", "main", "realm"]).set("management.registration=open");
    let all = all.set("realm.registration=open");
    let mut cluster = Cluster::builder().node(all).mains(&["two"]).start();
    let south = realm(cluster.management(), "south", &[]);
    wait_listed(cluster.management(), &[&south]);
    let own = cluster.management().addr("realm");
    let mut bob = user(&south, "bob");
    let to_bob = format!("{}::bob", id(&south));
    let mut alice = sign_on_at(cluster.management(), "alice", "one").expect("alice signs on");
    let mut carol = sign_on_at(cluster.management(), "carol", "two").expect("carol signs on");
    let mut dora = user(cluster.management(), "dora");
    for (name, link) in [("alice", &mut alice), ("carol", &mut carol), ("dora", &mut dora)] {
        send(cluster.management(), link, &to_bob, name);
        assert_eq!(next(&mut bob), (format!("{own}::{name}"), name.to_owned()));
        send(&south, &mut bob, &format!("{own}::{name}"), "back");
        assert_eq!(next(link), (to_bob.clone(), "back".to_owned()));
        assert_eq!(link.ask("SENDMESSAGE", &[&format!("{}::nobody", id(&south)), "x"]).code(), Code::NotFound);
        // Its own id works there too, whether the server has the door or not.
        send(cluster.management(), link, &format!("{own}::alice"), "local");
    }
    for sender in ["alice", "carol", "dora"] {
        assert_eq!(next(&mut alice), (sender.to_owned(), "local".to_owned()));
    }
    drop(alice);
    // The other server goes: its users are reached where they come back.
    cluster.kill("two");
    let mut carol = sign_on(cluster.management(), "carol");
    send(&south, &mut bob, &format!("{own}::carol"), "again");
    assert_eq!(next(&mut carol).1, "again");
}
