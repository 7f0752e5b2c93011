//! Clients are moved from server to server while messages flow, and nobody notices.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use convergia::client::Options;

use crate::support::check::all_pairs;
use crate::support::traffic::talk;
use crate::support::traffic::Library;
use crate::support::traffic::Talker;
use crate::support::traffic::Trace;
use crate::support::Checker;
use crate::support::Cluster;
use crate::support::Plan;

const NAMES: [&str; 3] = ["a", "b", "c"];
/// Messages a second of each of two users.
const RATE: u32 = 5_000;

/// Two clients of the library, each signed on somewhere, who talk to each other.
struct Pair {
    talkers: Vec<Talker>,
    traces: Vec<Arc<Trace>>,
    began: Instant,
}

const USERS: [&str; 2] = ["alice", "bob"];
/// Those on each server.
const OTHERS: [[&str; 2]; 3] = [["carol", "dave"], ["eve", "frank"], ["grace", "heidi"]];

impl Pair {
    fn new(cluster: &Cluster) -> Pair {
        Pair::of([cluster.libraries(&["alice"], "a"), cluster.libraries(&["bob"], "b")].into_iter().flatten())
    }

    /// With them, others on all servers, who talk to everybody.
    fn with_others(cluster: &Cluster) -> Pair {
        let users: Vec<&str> = OTHERS.iter().flatten().copied().chain(USERS).collect();
        let mut others = Vec::new();
        for (names, server) in OTHERS.iter().zip(NAMES) {
            others.extend(names.iter().copied().zip(cluster.libraries(names, server)));
        }
        let mut pair = Pair::new(cluster);
        for (user, client) in others {
            pair.traces.push(client.trace());
            pair.talkers.push(Talker::new(user, &users, client).rate(100));
        }
        pair
    }

    fn of(clients: impl Iterator<Item = Library>) -> Pair {
        let clients: Vec<Library> = clients.collect();
        let traces = clients.iter().map(Library::trace).collect();
        let talker = |(user, client)| Talker::new(user, &USERS, client).rate(RATE);
        Pair { talkers: USERS.into_iter().zip(clients).map(talker).collect(), traces, began: Instant::now() }
    }

    /// Nothing failed, and nothing else was seen than moves. Prints figures.
    fn check(&self, checker: &Checker, what: &str) {
        let took = self.began.elapsed().as_secs_f64();
        checker.check(&all_pairs(&USERS));
        let counts = checker.counts();
        let mut pauses: Vec<Duration> = self.traces.iter().flat_map(|trace| trace.pauses()).collect();
        pauses.sort();
        let at = |part: f64| pauses[((pauses.len() - 1) as f64 * part) as usize];
        println!(
            "{what}: {} messages ({:.0} a second), {} redirects; pause: median {:?}, p99 {:?}, most {:?}; {} failed",
            counts.ok,
            counts.ok as f64 / took,
            pauses.len(),
            at(0.5),
            at(0.99),
            at(1.0),
            counts.failed
        );
    }
}

fn moves(traces: &[Arc<Trace>]) -> usize {
    traces.iter().map(|trace| trace.moves()).sum()
}

fn other_than(one: &str, two: &str) -> &'static str {
    NAMES.into_iter().find(|name| *name != one && *name != two).expect("a third")
}

#[test]
fn a_hundred_redirects() {
    let cluster = Cluster::of(&NAMES);
    let mut pair = Pair::new(&cluster);
    let traces = pair.traces.clone();
    let checker = Checker::default();
    talk(&checker, &mut pair.talkers, || {
        checker.more(1_000);
        while moves(&traces) < 100 {
            let before = moves(&traces);
            let (alice, bob) = (traces[0].server(), traces[1].server());
            let third = other_than(&alice, &bob);
            // After each other, and at the same time.
            let begun = cluster.admin(&["move", &alice, "1", third]);
            assert!(begun.starts_with('1'), "{begun}");
            if !before.is_multiple_of(3) && alice != bob {
                cluster.admin(&["move", &bob, "1", &alice]);
                cluster.until("both are moved", || moves(&traces) >= before + 2);
            }
            cluster.until("a client is moved", || moves(&traces) > before);
            checker.more(100);
        }
    });
    pair.check(&checker, "moved by the operator");
    assert_eq!(checker.counts().failed, 0, "nothing happened that could make a message fail");
}

#[test]
fn a_rolling_upgrade() {
    let mut cluster = Cluster::of(&NAMES);
    let mut pair = Pair::with_others(&cluster);
    let traces = pair.traces.clone();
    let checker = Checker::default();
    talk(&checker, &mut pair.talkers, || {
        checker.more(1_000);
        for name in NAMES.into_iter().cycle().take(9) {
            let there = traces.iter().filter(|trace| trace.server() == name).count();
            let before = moves(&traces);
            cluster.term(name);
            assert!(moves(&traces) <= before + there, "moved once each, and none from elsewhere");
            assert!(traces.iter().all(|trace| trace.server() != name), "nobody is left at {name}");
            checker.more(200);
            cluster.start(name);
            checker.more(200);
        }
    });
    pair.check(&checker, "all servers stopped in turn, three times");
    assert_eq!(checker.counts().failed, 0, "nothing happened that could make a message fail");
}

/// How often, and where last, the user's server says that there is a standby. For servers that log at `debug`.
fn standby(cluster: &Cluster, user: &str, server: &str) -> (usize, Option<String>) {
    let (log, word) = (cluster.server(server).log(), format!("{user} has a standby at "));
    let places: Vec<&str> = log.lines().filter_map(|line| Some(line.split_once(&word)?.1)).collect();
    (places.len(), places.last().map(|&place| place.to_owned()))
}

#[test]
fn servers_are_killed_whose_clients_have_a_redundant_link() {
    let builder = Cluster::builder().management();
    let builder = NAMES.into_iter().fold(builder, |all, name| all.node(Plan::new(name, &["main"]).set("log=debug")));
    let mut cluster = builder.start();
    let client = |user| Library::sign_on(Options { redundant: true, ..cluster.options(user) });
    let mut pair = Pair::of(USERS.into_iter().map(client));
    let traces = pair.traces.clone();
    let server = |user: &str| traces[USERS.iter().position(|one| *one == user).expect("one of them")].server();
    let checker = Checker::default();
    let ready = |cluster: &Cluster, lost: &str, before: &BTreeMap<(&str, &str), usize>| {
        cluster.until("both have a standby", || {
            USERS.iter().all(|user| {
                let at = server(user);
                let (count, place) = standby(cluster, user, &at);
                let old = NAMES.into_iter().find(|name| *name == at).and_then(|at| before.get(&(*user, at)));
                place.is_some_and(|place| place != lost || old.is_some_and(|old| count > *old))
            })
        });
    };
    talk(&checker, &mut pair.talkers, || {
        ready(&cluster, "", &BTreeMap::new());
        for round in 0..4 {
            checker.more(500);
            let user = USERS[round % 2];
            let lost = server(user);
            let all = USERS.into_iter().flat_map(|user| NAMES.map(|name| (user, name)));
            let before: BTreeMap<(&str, &str), usize> =
                all.map(|(user, name)| ((user, name), standby(&cluster, user, name).0)).collect();
            let there: Vec<&Arc<Trace>> = traces.iter().filter(|trace| trace.server() == lost).collect();
            cluster.kill(&lost);
            cluster.until("its clients go on elsewhere", || there.iter().all(|trace| trace.server() != lost));
            checker.more(500);
            ready(&cluster, &lost, &before);
            cluster.start(&lost);
        }
    });
    pair.check(&checker, "servers killed whose clients have a redundant link");
}
