//! Links break, servers die, management restarts, sessions come, go and move: in the end all have the table that is true.

use std::collections::BTreeMap;

use convergia::engine::sim::NodeId;
use rand::RngExt;

use crate::network::Network;

const IDS: [&str; 4] = ["a", "b", "c", "d"];
const USERS: [&str; 5] = ["ann", "bea", "cid", "dan", "eve"];

/// One of so many.
fn pick(net: &mut Network, count: usize) -> usize {
    net.sim.rng().random_range(0..count)
}

fn sessions(net: &mut Network, node: NodeId, user: &str) -> u32 {
    net.at(node, |fake| fake.users.get(user).copied().unwrap_or(0))
}

/// Runs until all are linked to management. Who is cut off does not know it at once.
fn settle(net: &mut Network, nodes: &[NodeId]) {
    net.sim.run_for(50);
    nodes.iter().for_each(|node| net.until(*node, |fake| fake.loaded));
}

fn set(net: &mut Network, node: NodeId, user: &str, sessions: u32) {
    net.sim.with(node, |fake: &mut crate::fake::Fake, ctx| {
        fake.users.insert(user.to_owned(), sessions);
        fake.presence(ctx, user, sessions);
    });
}

fn step(net: &mut Network, nodes: &[NodeId]) {
    let management = net.management;
    let at = pick(net, nodes.len());
    let (node, user) = (nodes[at], USERS[pick(net, USERS.len())]);
    let here = sessions(net, node, user);
    match pick(net, 20) {
        0 => net.sim.cut(node, management),
        1 => {
            net.sim.crash(node);
            net.sim.start(node);
        }
        2 => {
            net.sim.crash(management);
            let away = net.sim.rng().random_range(0..3_000);
            net.sim.run_for(away);
            net.sim.start(management);
            // Long enough for everybody to be back; what is told meanwhile is told again then.
            settle(net, nodes);
        }
        3..=9 if here < 2 => {
            settle(net, nodes);
            net.validate(node, user);
            set(net, node, user, here + 1);
        }
        10..=13 if here > 0 => set(net, node, user, here - 1),
        14..=16 if here > 0 => {
            let to = (at + 1 + pick(net, nodes.len() - 1)) % nodes.len();
            settle(net, nodes);
            if net.say(node, "MOVE", &[user, IDS[to], "17"]).is_ok() {
                net.at(node, |fake| fake.users.insert(user.to_owned(), here - 1));
                let receipt = net.receipt(node, user);
                net.at(nodes[to], |fake| {
                    *fake.users.entry(user.to_owned()).or_default() += 1;
                    // It came with the session.
                    fake.receipts.entry(user.to_owned()).or_insert(receipt);
                });
            }
        }
        _ => net.sim.run_for(50),
    }
}

fn run(seed: u64) {
    let mut net = Network::new(seed);
    USERS.iter().for_each(|user| net.account(user));
    let all: [&[&str]; 4] = [&["b", "c", "d"], &["a", "c"], &["a", "b"], &["a"]];
    let nodes: Vec<NodeId> = IDS.iter().zip(all).map(|(id, links)| net.main(id, links)).collect();
    for _ in 0..60 {
        step(&mut net, &nodes);
    }
    net.sim.run_for(30_000);
    let mut truth: BTreeMap<&str, Vec<&str>> = USERS.iter().map(|user| (*user, Vec::new())).collect();
    for (id, node) in IDS.iter().zip(&nodes) {
        for user in USERS.iter().filter(|user| sessions(&mut net, *node, user) > 0) {
            truth.entry(user).or_default().push(id);
        }
    }
    for node in &nodes {
        let wrong = net.at(*node, |fake| fake.wrong.clone());
        assert!(wrong.is_empty(), "seed {seed}: {wrong:?}");
        for (user, places) in &truth {
            let (id, told) = net.at(*node, |fake| (fake.id.clone(), fake.places(user).join(" ")));
            assert_eq!(told, places.join(" "), "seed {seed}: {user}, as {id} knows it");
        }
    }
    let hops = net.at(nodes[1], |fake| ["a", "c", "d"].map(|to| fake.next_hop(to).to_owned()));
    assert_eq!(hops, ["a", "c", "a"], "seed {seed}");
}

#[test]
fn in_the_end_all_know_what_is_true() {
    (100..112).for_each(run);
}
