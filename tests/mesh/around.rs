//! Where there is another way, messages take it.

use crate::support::sites;
use crate::support::traffic::talk;
use crate::support::Checker;
use crate::support::Cluster;
use crate::support::Topology;

/// Four sites in a ring: from A to C by B or by D.
fn ring() -> Option<Cluster> {
    let names = ["a", "b", "c", "d"];
    sites::available().then(|| Cluster::in_sites(Topology::chain(&names).link("d", "a"), &names))
}

/// Alice at A and Carol at C talk while something happens.
fn alice_and_carol(cluster: &Cluster) -> [crate::support::traffic::Talker; 2] {
    let users = ["alice", "carol"];
    [("alice", "a"), ("carol", "c")].map(|(user, name)| cluster.talker(user, name, &users).rate(200))
}

#[test]
fn around_servers_that_are_killed() {
    let Some(mut cluster) = ring() else { return };
    let checker = Checker::default();
    let mut talkers = alice_and_carol(&cluster);
    talk(&checker, &mut talkers, || {
        checker.more(200);
        for name in ["b", "d", "b"] {
            cluster.kill(name);
            checker.more(400);
            cluster.start(name);
            // Over either way, by now.
            checker.more(400);
        }
    });
    checker.check(&[("alice", "carol"), ("carol", "alice")]);
    assert_eq!(checker.counts().failed, 0, "there was a way at any moment");
}

#[test]
fn around_links_that_fall_silent() {
    let Some(cluster) = ring() else { return };
    let checker = Checker::default();
    let mut talkers = alice_and_carol(&cluster);
    talk(&checker, &mut talkers, || {
        checker.more(200);
        for (one, other) in [("a", "b"), ("c", "d")] {
            cluster.sites().cut(one, other);
            checker.more(400);
            cluster.sites().heal(one, other);
            checker.more(400);
        }
    });
    checker.check(&[("alice", "carol"), ("carol", "alice")]);
}
