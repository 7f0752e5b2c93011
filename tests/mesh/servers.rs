//! Servers come, go and crash without firewalls between them.

use crate::support::check::all_pairs;
use crate::support::traffic::talk;
use crate::support::Checker;
use crate::support::Cluster;
use crate::support::Plan;

#[test]
fn those_signed_on_talk_while_management_is_away() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let checker = Checker::default();
    let users = ["alice", "bob"];
    let mut talkers = [("alice", "a"), ("bob", "b")].map(|(user, name)| cluster.talker(user, name, &users).rate(200));
    talk(&checker, &mut talkers, || {
        checker.more(200);
        cluster.kill("management");
        checker.more(400);
        cluster.start("management");
        checker.more(400);
        // Not before its main servers have come back to it.
        cluster.wait_up(&["a", "b"]);
        drop(cluster.sign_on("dave", "b"));
        checker.more(200);
    });
    checker.check(&all_pairs(&users));
    assert_eq!(checker.counts().failed, 0, "those signed on notice nothing");
}

#[test]
fn a_server_is_added_while_others_talk() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let checker = Checker::default();
    let users = ["alice", "bob", "carol"];
    let mut talkers: Vec<_> =
        [("alice", "a"), ("bob", "b")].into_iter().map(|(u, n)| cluster.talker(u, n, &users).rate(200)).collect();
    let third = talk(&checker, &mut talkers, || {
        cluster.add(Plan::new("c", &["main"]));
        cluster.talker("carol", "c", &users).rate(200)
    });
    talkers.push(third);
    talk(&checker, &mut talkers, || checker.more(600));
    checker.check(&all_pairs(&users));
}

#[test]
fn a_server_is_killed_and_those_on_others_notice_nothing() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    let checker = Checker::default();
    let users = ["alice", "bob"];
    let mut talkers = [("alice", "a"), ("bob", "b")].map(|(user, name)| cluster.talker(user, name, &users).rate(200));
    talk(&checker, &mut talkers, || {
        for _ in 0..3 {
            checker.more(200);
            cluster.kill("c");
            checker.more(200);
            cluster.start("c");
        }
    });
    checker.check(&all_pairs(&users));
    assert_eq!(checker.counts().failed, 0);
}
