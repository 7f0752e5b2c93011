//! Three sites A – B – C again: clients are moved between the two ends, which do not reach each other, and keep a redundant link
//! there, while servers are stopped and killed. Nobody notices.

use std::sync::Arc;

use crate::support::check::all_pairs;
use crate::support::run;
use crate::support::sites;
use crate::support::traffic::talk;
use crate::support::traffic::Talker;
use crate::support::traffic::Trace;
use crate::support::Chat;
use crate::support::Checker;
use crate::support::Cluster;
use crate::support::Plan;
use crate::support::Topology;

const NAMES: [&str; 3] = ["a", "b", "c"];
/// Who can be moved.
const PAIR: [&str; 2] = ["alice", "anna"];

/// Some who reach A and C and can be moved, and others who stay where they are signed on.
struct People {
    talkers: Vec<Talker>,
    traces: Vec<Arc<Trace>>,
}

impl People {
    /// All talk to all. `others`: name and server.
    fn new(cluster: &Cluster, movable: &[&str], others: &[(&str, &str)]) -> People {
        let names: Vec<&str> = movable.iter().copied().chain(others.iter().map(|(user, _)| *user)).collect();
        let chats: Vec<(&str, Chat)> = movable.iter().map(|user| (*user, cluster.chat(user))).collect();
        let traces = chats.iter().map(|(_, chat)| chat.trace()).collect();
        let mut talkers: Vec<Talker> =
            chats.into_iter().map(|(user, chat)| Talker::new(user, &names, chat).rate(200)).collect();
        talkers.extend(others.iter().map(|(user, at)| cluster.talker(user, at, &names).rate(200)));
        People { talkers, traces }
    }
}

/// A and C reach each other over B alone. People reach A and C.
fn network() -> Option<Cluster> {
    let topology = || Topology::chain(&NAMES).users(&["a", "c"]);
    sites::available().then(|| {
        let builder = Cluster::builder().management().topology(topology());
        let node = |name| Plan::new(name, &["main"]).set("log=debug");
        NAMES.into_iter().fold(builder, |builder, name| builder.node(node(name))).start()
    })
}

/// How many of them are at a server.
fn at(traces: &[Arc<Trace>], server: &str) -> usize {
    traces.iter().filter(|trace| trace.server() == server).count()
}

/// All to that server, by the operator.
fn all_to(cluster: &Cluster, traces: &[Arc<Trace>], to: &str) {
    let from = if to == "a" { "c" } else { "a" };
    cluster.until(&format!("all are at {to}"), || {
        if at(traces, from) > 0 {
            // Refused until there is a way from one to the other.
            let data = cluster.management().data_dir().to_str().expect("UTF-8");
            run(&["admin", "--data-dir", data, "move", from, "100", to]);
        }
        at(traces, to) == traces.len()
    });
}

#[test]
fn clients_are_moved_between_servers_without_a_link() {
    let Some(cluster) = network() else { return };
    let others = [("bob", "b"), ("carol", "c")];
    let mut people = People::new(&cluster, &PAIR, &others);
    let traces = people.traces.clone();
    let checker = Checker::default();
    let drained = talk(&checker, &mut people.talkers, || {
        checker.more(100);
        for to in ["a", "c", "a", "c", "a"] {
            all_to(&cluster, &traces, to);
            checker.more(100);
        }
        // They do not reach B, to which a drain may send them first.
        let drained = cluster.admin(&["drain", "a", "--wait"]);
        checker.more(100);
        drained
    });
    checker.check(&all_pairs(&["alice", "anna", "bob", "carol"]));
    assert_eq!(checker.counts().failed, 0, "nothing happened that could make a message fail");
    assert!(drained.lines().last() == Some("a has no clients; it can be stopped"), "{drained}");
    assert_eq!(at(&traces, "c"), 2);
}

/// When the server between source and target is killed, and how long it is away.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// With the offers in it.
    Stuck,
    AtOnce,
    WhenOneIsMoved,
    /// Until senders have noticed.
    ForLong,
}

#[test]
fn the_server_between_source_and_target_is_killed_while_clients_move() {
    const PAIRS: [&str; 8] = ["alice", "anna", "alan", "agnes", "amy", "adam", "ada", "abel"];
    let Some(mut cluster) = network() else { return };
    let mut people = People::new(&cluster, &PAIRS, &[("carol", "c")]);
    let traces = people.traces.clone();
    let checker = Checker::default();
    talk(&checker, &mut people.talkers, || {
        checker.more(100);
        all_to(&cluster, &traces, "a");
        // Another two each time: whose move was given up is not chosen again.
        for when in [Moment::Stuck, Moment::AtOnce, Moment::WhenOneIsMoved, Moment::ForLong] {
            let before = at(&traces, "c");
            if matches!(when, Moment::Stuck) {
                cluster.pause("b");
            }
            let begun = cluster.admin(&["move", "a", "2", "c"]);
            assert!(begun.starts_with('2'), "{begun}");
            if matches!(when, Moment::WhenOneIsMoved) {
                cluster.until("a client is moved", || at(&traces, "c") > before);
            }
            cluster.kill("b");
            let (sent, failed) = (checker.counts().sent, checker.counts().failed);
            let for_long = matches!(when, Moment::ForLong);
            let noticed = |failures: usize| !for_long || failures > failed;
            assert!(checker.goes_on(|counts| counts.sent >= sent + 50 && noticed(counts.failed)), "{when:?}");
            cluster.start("b");
            checker.more(400);
            println!("{when:?}: {} of 2 are moved", at(&traces, "c") - before);
        }
        // Whoever was given up is where it was, and can go still.
        cluster.admin(&["drain", "a", "--wait"]);
        checker.more(400);
    });
    let pairs = PAIRS.iter().flat_map(|user| [("carol", *user), (*user, "carol")]);
    checker.check(&pairs.collect::<Vec<_>>());
    assert_eq!(at(&traces, "c"), PAIRS.len());
}

#[test]
fn a_server_is_stopped_that_others_reach_over_another() {
    let Some(mut cluster) = network() else { return };
    let others = [("albert", "a"), ("bob", "b")];
    let mut people = People::new(&cluster, &PAIR, &others);
    let traces = people.traces.clone();
    let checker = Checker::default();
    talk(&checker, &mut people.talkers, || {
        checker.more(100);
        for _ in 0..2 {
            all_to(&cluster, &traces, "c");
            checker.more(100);
            cluster.term("c");
            assert_eq!(at(&traces, "a"), 2, "they were moved before it ended");
            checker.more(100);
            cluster.start("c");
        }
    });
    checker.check(&all_pairs(&["alice", "anna", "albert", "bob"]));
    assert_eq!(checker.counts().failed, 0, "nothing happened that could make a message fail");
}

/// How often the server of a user says that there is a standby at that one.
fn standbys(cluster: &Cluster, user: &str, server: &str, standby: &str) -> usize {
    cluster.server(server).log().matches(&format!("{user} has a standby at {standby}")).count()
}

#[test]
fn a_server_is_killed_whose_clients_have_their_redundant_link_two_hops_away() {
    let Some(mut cluster) = network() else { return };
    let mut people = People::new(&cluster, &PAIR, &[("bob", "b")]);
    let traces = people.traces.clone();
    let checker = Checker::default();
    talk(&checker, &mut people.talkers, || {
        checker.more(100);
        all_to(&cluster, &traces, "a");
        for (lost, other) in [("a", "c"), ("c", "a")] {
            // A client asks for a standby at once after a move; when it got none, after a minute: it is moved again.
            let ready = (0..10).any(|_| {
                all_to(&cluster, &traces, other);
                let before = PAIR.map(|user| standbys(&cluster, user, lost, other));
                all_to(&cluster, &traces, lost);
                let ok = checker.counts().ok;
                let ready =
                    || PAIR.iter().zip(before).all(|(user, before)| standbys(&cluster, user, lost, other) > before);
                checker.goes_on(|counts| counts.ok >= ok + 3_000 || ready());
                ready()
            });
            assert!(ready, "both have a standby");
            checker.more(200);
            cluster.kill(lost);
            cluster.until("both go on at the other end", || at(&traces, other) == PAIR.len());
            checker.more(200);
            cluster.start(lost);
        }
    });
    checker.check(&all_pairs(&["alice", "anna", "bob"]));
}
