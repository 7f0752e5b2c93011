//! Clusters of several processes.

use std::time::Duration;

use crate::support::check::all_pairs;
use crate::support::sites;
use crate::support::traffic::talk;
use crate::support::traffic::Talker;
use crate::support::Checker;
use crate::support::Cluster;
use crate::support::Plan;
use crate::support::Topology;

/// Far more than it takes: under 2 s on a machine that does nothing else.
const LONG: Duration = Duration::from_secs(10);

#[test]
fn four_processes_are_a_network_at_once() {
    let cluster = Cluster::of(&["a", "b", "c"]);
    println!("management and three main servers were ready after {:?}", cluster.took());
    assert!(cluster.took() < LONG, "{:?}", cluster.took());
    assert_eq!(cluster.up(), ["a", "b", "c"]);
    for (user, name) in [("alice", "a"), ("bob", "b"), ("carol", "c")] {
        cluster.sign_on(user, name).assert_alive();
    }
    cluster.stop();
}

#[test]
fn servers_go_and_come_back() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.term("a");
    cluster.until("a is down", || cluster.up() == ["b"]);
    cluster.start("a");
    assert_eq!(cluster.up(), ["a", "b"]);
    cluster.kill("b");
    cluster.until("b is down", || cluster.up() == ["a"]);
    cluster.start("b");
    assert_eq!(cluster.up(), ["a", "b"]);
    cluster.kill("management");
    cluster.start("management");
    cluster.wait_up(&["a", "b"]);
    cluster.sign_on("alice", "b").assert_alive();
}

#[test]
fn a_server_is_added_later() {
    let mut cluster = Cluster::of(&["a"]);
    cluster.add(Plan::new("b", &["main"]));
    assert_eq!(cluster.up(), ["a", "b"]);
    cluster.sign_on("alice", "b").assert_alive();
}

#[test]
fn a_main_server_beside_management_counts_too() {
    let both = Plan::new("one", &["management", "main"]).set("management.registration=open");
    let cluster = Cluster::builder().node(both).mains(&["two"]).start();
    assert_eq!(cluster.up(), ["one", "two"]);
    cluster.sign_on("alice", "one").assert_alive();
    cluster.sign_on("bob", "two").assert_alive();
}

#[test]
fn clients_of_the_library_are_where_the_test_wants_them() {
    let cluster = Cluster::of(&["a", "b"]);
    let users = ["alice", "bob"];
    let at_a = cluster.libraries(&["carol"], "a");
    let at_b = cluster.libraries(&users, "b");
    assert_eq!([at_a[0].server(), at_b[0].server(), at_b[1].server()], ["a", "b", "b"]);
    let voices = users.into_iter().zip(at_b);
    let mut talkers: Vec<Talker> = voices.map(|(user, voice)| Talker::new(user, &users, voice).rate(1_000)).collect();
    let checker = Checker::default();
    talk(&checker, &mut talkers, || checker.more(2_000));
    checker.check(&all_pairs(&users));
    assert_eq!(checker.counts().failed, 0);
}

#[test]
fn each_site_has_a_server_for_its_users() {
    if !sites::available() {
        return;
    }
    let names = ["a", "b", "c"];
    let mut cluster = Cluster::in_sites(Topology::chain(&names), &names);
    println!("four processes in sites were ready after {:?}", cluster.took());
    assert!(cluster.took() < LONG, "{:?}", cluster.took());
    assert_eq!(cluster.up(), names);
    for (user, name) in [("alice", "a"), ("bob", "b"), ("carol", "c")] {
        cluster.sign_on(user, name).assert_alive();
    }
    cluster.kill("b");
    cluster.start("b");
    cluster.sign_on("bob", "b").assert_alive();
    cluster.stop();
}
