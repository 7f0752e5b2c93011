//! The operator drains a server: its clients go on at another, and notice nothing.

use crate::support::check::all_pairs;
use crate::support::run;
use crate::support::traffic::talk;
use crate::support::traffic::Talker;
use crate::support::Checker;
use crate::support::Cluster;

#[test]
fn a_server_is_drained_while_its_clients_talk() {
    let cluster = Cluster::of(&["a", "b"]);
    let users = ["alice", "bob", "carol"];
    let clients = cluster.libraries(&users, "a");
    let checker = Checker::default();
    let mut talkers: Vec<Talker> =
        users.iter().zip(clients).map(|(user, client)| Talker::new(user, &users, client)).collect();
    let drained = talk(&checker, &mut talkers, || {
        checker.more(100);
        let drained = cluster.admin(&["drain", "a", "--wait"]);
        checker.more(300);
        drained
    });
    checker.check(&all_pairs(&users));
    assert_eq!(checker.counts().failed, 0);
    assert!(drained.lines().last() == Some("a has no clients; it can be stopped"), "{drained}");
    let status = cluster.admin(&["status"]);
    assert!(status.contains("a (0 clients, draining), b (3 clients)"), "{status}");
    assert!(status.contains("a–b "), "{status}");
    // It stands still, and can be stopped; b cannot be drained, as there is no other.
    let data = cluster.management().data_dir().to_str().expect("UTF-8");
    let last = run(&["admin", "--data-dir", data, "drain", "b"]);
    assert!(last.status == 1 && last.err.contains("no other main server"), "{last:?}");
    drop(talkers);
    cluster.stop();
}
