//! Networks of several main servers, as real processes: every user reaches every user whatever firewalls lie between, and what was
//! answered OK arrives once, in order, whatever happens to the servers.

#[path = "../support/mod.rs"]
mod support;

mod around;
mod by_hand;
mod chain;
mod drain;
mod faster;
mod hops;
mod kept;
mod moving;
mod servers;
mod three_sites;
mod two_machines;

use support::check::all_pairs;
use support::traffic::talk;
use support::traffic::Talker;
use support::Checker;
use support::Cluster;

/// Signs on users (name, server) who will all talk to each other.
fn talkers(cluster: &Cluster, users: &[(&str, &str)]) -> Vec<Talker> {
    let names: Vec<&str> = users.iter().map(|(user, _)| *user).collect();
    users.iter().map(|(user, server)| cluster.talker(user, server, &names).rate(100)).collect()
}

/// All users (name, server) talk to each other, and every message arrives.
fn everyone_reaches_everyone(cluster: &Cluster, users: &[(&str, &str)]) {
    let names: Vec<&str> = users.iter().map(|(user, _)| *user).collect();
    let checker = Checker::default();
    let mut talkers = talkers(cluster, users);
    let failed = talk(&checker, &mut talkers, || {
        // For a moment a server may not know yet who has just signed on elsewhere.
        checker.more(50 * users.len());
        let failed = checker.counts().failed;
        checker.more(150 * users.len());
        failed
    });
    checker.check(&all_pairs(&names));
    assert_eq!(checker.counts().failed, failed, "nothing happened that could make a message fail");
}

/// How a server goes.
#[derive(Clone, Copy)]
struct Outage {
    /// SIGTERM; otherwise SIGKILL.
    gently: bool,
    /// It stays away until senders have noticed.
    noticed: bool,
}

/// The server without which the ends do not reach each other goes while the users of all others talk, and comes back.
fn the_middle_goes_and_comes_back(cluster: &mut Cluster, users: &[(&str, &str)], middle: &str, outage: Outage) {
    let checker = Checker::default();
    everyone_reaches_everyone(cluster, users);
    let outer: Vec<(&str, &str)> = users.iter().copied().filter(|(_, server)| *server != middle).collect();
    let outer_names: Vec<&str> = outer.iter().map(|(user, _)| *user).collect();
    let mut outer_talkers = talkers(cluster, &outer);
    talk(&checker, &mut outer_talkers, || {
        checker.more(100 * outer.len());
        if outage.gently {
            cluster.term(middle);
        } else {
            cluster.kill(middle);
        }
        if outage.noticed {
            let failed = checker.counts().failed;
            assert!(checker.goes_on(|counts| counts.failed > failed), "{:?}", checker.counts());
        }
        cluster.start(middle);
        checker.more(200 * outer.len());
    });
    checker.check(&all_pairs(&outer_names));
    // Those of the middle sign on again, and all is as before.
    drop(outer_talkers);
    everyone_reaches_everyone(cluster, users);
}
