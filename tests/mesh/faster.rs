//! Of two ways with as many hops the faster one is taken, and the other when that has become the faster one.

use crate::support::sites;
use crate::support::traffic::talk;
use crate::support::Checker;
use crate::support::Cluster;
use crate::support::Plan;
use crate::support::SlowLine;
use crate::support::Topology;

/// Where the slow lines listen, below the servers' own ports.
const PORT: u16 = 19_000;
/// Milliseconds each way.
const SLOW: u64 = 40;
/// Bytes of a message, so that what else goes over the lines is little.
const SIZE: usize = 2_000;

#[test]
fn the_faster_way_is_taken() {
    if !sites::available() {
        return;
    }
    // From A to C by B or by D. All links are dialled by A and C, over the slow lines of B and D.
    let names = ["a", "b", "c", "d"];
    let plan = |(number, name): (usize, &&str)| {
        let port = if ["b", "d"].contains(name) { PORT } else { 1 };
        Plan::new(name, &["main"]).set(&format!("advertise.main_main=10.77.{}.1:{port}", number + 1))
    };
    let builder = Cluster::builder().management().topology(Topology::chain(&names).link("d", "a"));
    let cluster = names.iter().enumerate().map(plan).fold(builder, |builder, plan| builder.node(plan)).start();
    let line = |name: &str| {
        let to = cluster.server(name).addr("main_main");
        cluster.sites().within(name, || SlowLine::new(PORT, to))
    };
    let (by_b, by_d) = (line("b"), line("d"));
    cluster.until("all four are linked", || {
        let status = cluster.admin(&["status"]);
        ["a–b", "a–d", "b–c", "c–d"].iter().all(|link| status.contains(link))
    });
    let users = ["alice", "carol"];
    let checker = Checker::default();
    let mut talkers =
        [("alice", "a"), ("carol", "c")].map(|(user, at)| cluster.talker(user, at, &users).rate(100).size(SIZE));
    talk(&checker, &mut talkers, || {
        checker.more(50);
        for (slow, fast) in [(&by_b, &by_d), (&by_d, &by_b), (&by_b, &by_d)] {
            slow.delay(SLOW);
            fast.delay(0);
            cluster.until("messages go the faster way", || {
                let before = (slow.bytes(), fast.bytes());
                checker.more(20);
                let (slow, fast) = (slow.bytes() - before.0, fast.bytes() - before.1);
                // All of some, but for those that were under way.
                fast > 30 * SIZE as u64 && slow < 4 * SIZE as u64
            });
        }
    });
    checker.check(&[("alice", "carol"), ("carol", "alice")]);
    assert_eq!(checker.counts().failed, 0, "nothing happened that could make a message fail");
}
