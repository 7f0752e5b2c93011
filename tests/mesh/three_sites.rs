//! Three sites A – B – C: A and C do not reach each other.

use crate::everyone_reaches_everyone;
use crate::support::sites;
use crate::support::traffic::talk;
use crate::support::Checker;
use crate::support::Cluster;
use crate::support::Topology;
use crate::the_middle_goes_and_comes_back;
use crate::Outage;

fn three() -> Option<Cluster> {
    let names = ["a", "b", "c"];
    sites::available().then(|| Cluster::in_sites(Topology::chain(&names), &names))
}

const USERS: &[(&str, &str)] = &[("alice", "a"), ("albert", "a"), ("bob", "b"), ("carol", "c"), ("charles", "c")];

#[test]
fn every_user_reaches_every_user() {
    let Some(cluster) = three() else { return };
    everyone_reaches_everyone(&cluster, USERS);
    cluster.stop();
}

#[test]
fn a_silent_firewall_is_no_hindrance() {
    if !sites::available() {
        return;
    }
    let names = ["a", "b", "c"];
    let cluster = Cluster::in_sites(Topology::chain(&names).silent(), &names);
    everyone_reaches_everyone(&cluster, USERS);
}

#[test]
fn the_middle_is_killed_and_comes_back_at_once() {
    let Some(mut cluster) = three() else { return };
    the_middle_goes_and_comes_back(&mut cluster, USERS, "b", Outage { gently: false, noticed: false });
}

#[test]
fn the_middle_is_killed_and_comes_back_late() {
    let Some(mut cluster) = three() else { return };
    the_middle_goes_and_comes_back(&mut cluster, USERS, "b", Outage { gently: false, noticed: true });
}

#[test]
fn the_middle_is_stopped_and_comes_back() {
    let Some(mut cluster) = three() else { return };
    the_middle_goes_and_comes_back(&mut cluster, USERS, "b", Outage { gently: true, noticed: true });
}

#[test]
fn the_middle_stands_still_for_a_while() {
    let Some(cluster) = three() else { return };
    let checker = Checker::default();
    let users = ["alice", "carol"];
    let mut talkers = [cluster.talker("alice", "a", &users).rate(200), cluster.talker("carol", "c", &users).rate(200)];
    talk(&checker, &mut talkers, || {
        checker.more(200);
        cluster.pause("b");
        // All that both servers may send before the first is answered.
        let sent = checker.counts().sent;
        assert!(checker.goes_on(|counts| counts.sent >= sent + 200), "{:?}", checker.counts());
        cluster.resume("b");
        checker.more(400);
    });
    checker.check(&[("alice", "carol"), ("carol", "alice")]);
}

#[test]
fn a_link_falls_silent_and_heals() {
    let Some(cluster) = three() else { return };
    let checker = Checker::default();
    let users = ["alice", "bob", "carol"];
    let mut talkers =
        [("alice", "a"), ("bob", "b"), ("carol", "c")].map(|(u, n)| cluster.talker(u, n, &users).rate(100));
    talk(&checker, &mut talkers, || {
        checker.more(300);
        cluster.sites().cut("a", "b");
        // Bob and Carol go on meanwhile.
        checker.more(200);
        cluster.sites().heal("a", "b");
        checker.more(600);
    });
    checker.check(&crate::support::check::all_pairs(&users));
}
