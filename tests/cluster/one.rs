//! A cluster of one process.

use std::time::Duration;

use crate::support::traffic::talk;
use crate::support::traffic::Library;
use crate::support::traffic::Talker;
use crate::support::Checker;
use crate::support::Cluster;
use crate::support::Plan;

fn one() -> Cluster {
    let plan = Plan::new("one", &["management", "main"]).set("management.registration=open");
    Cluster::builder().node(plan).start()
}

#[test]
fn users_of_one_process_talk() {
    let cluster = one();
    println!("one process was ready after {:?}", cluster.took());
    let checker = Checker::default();
    let users = ["alice", "bob", "carol"];
    let mut talkers = vec![
        Talker::new("alice", &users, cluster.sign_on("alice", "one")).rate(500),
        Talker::new("bob", &users, cluster.sign_on("bob", "one")).size(2_000),
        Talker::new("carol", &users, Library::sign_on(cluster.options("carol"))).rate(500),
    ];
    talk(&checker, &mut talkers, || checker.more(1_000));
    checker.check(&[("alice", "bob"), ("bob", "carol"), ("carol", "alice"), ("alice", "carol"), ("bob", "alice")]);
    // A server that stops says goodbye, and waits for those who do not listen.
    drop(talkers);
    cluster.stop();
}

#[test]
fn a_process_comes_back_on_its_ports() {
    let mut cluster = one();
    let (url, client) = (cluster.url(), cluster.server("one").addr("client_main"));
    drop(cluster.sign_on("alice", "one"));
    cluster.kill("one");
    cluster.start("one");
    assert_eq!((cluster.url(), cluster.server("one").addr("client_main")), (url, client));
    cluster.sign_on("alice", "one").assert_alive();
    cluster.term("one");
    cluster.start("one");
    cluster.sign_on("alice", "one").assert_alive();
}

#[test]
fn a_process_that_is_paused_answers_when_it_goes_on() {
    let cluster = one();
    let mut alice = cluster.sign_on("alice", "one");
    cluster.pause("one");
    let id = alice.id();
    alice.send(&id, "PING", &[]);
    let silent = alice.read(Duration::from_millis(100));
    assert!(silent.is_err(), "{silent:?}");
    cluster.resume("one");
    alice.answer(&id).ok();
}
