//! Networks of many main servers in one thread, on a virtual clock, from a seed: links break, servers crash, clients
//! move; what was answered OK arrives, once and in order.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::network::bodies;
use crate::network::seeds;
use crate::network::Log;
use crate::network::Network;
use convergia::client::core::Core;
use convergia::client::Event;
use convergia::engine::rt::channel;
use convergia::engine::sim::NodeId;
use convergia::roles::main::Main;
use convergia::wire::Code;
use convergia::wire::Fail;
use rand::RngExt;

/// Signs a user on at that main server: the others cannot be reached meanwhile.
pub fn client_at(net: &mut Network, name: &str, at: usize) -> (NodeId, Log) {
    let log = Log::default();
    let id = net.client_with(name, &log, |_| {});
    let others: Vec<NodeId> = net.mains.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, id)| *id).collect();
    others.iter().for_each(|other| net.sim.wall(id, *other, true));
    net.until_on(&[id]);
    others.iter().for_each(|other| net.sim.wall(id, *other, false));
    (id, log)
}

/// Messages from one to another, and what became of them.
pub struct Stream {
    from: NodeId,
    to: &'static str,
    name: &'static str,
    sent: Vec<channel::Receiver<Result<Vec<u8>, Fail>>>,
}

impl Stream {
    pub fn new(from: NodeId, name: &'static str, to: &'static str) -> Stream {
        Stream { from, to, name, sent: Vec::new() }
    }

    pub fn send(&mut self, net: &mut Network) {
        let body = format!("{} {}", self.name, self.sent.len());
        self.sent.push(net.send(self.from, self.to, &body));
    }

    /// Whether what was sent last was answered OK, and is there. None: it was not answered.
    pub fn heard(&self, told: &Log) -> Option<bool> {
        let answer = self.sent.last()?.try_recv().ok()?;
        let body = format!("{} {}", self.name, self.sent.len() - 1);
        Some(answer.is_ok() && bodies(told).contains(&body))
    }

    /// What was answered OK is there, once, in order; `failed`: how many may have failed.
    pub fn check(&self, told: &Log, failed: usize) {
        self.check_all(&[told], failed);
    }

    /// What was answered OK is there, once in each session, in any order.
    pub fn check_once(&self, told: &[&Log]) {
        let prefix = format!("{} ", self.name);
        let mut got: BTreeSet<usize> = BTreeSet::new();
        for log in told {
            let bodies = bodies(log);
            let one: Vec<usize> = bodies.iter().filter_map(|body| body.strip_prefix(&prefix)?.parse().ok()).collect();
            assert_eq!(one.iter().collect::<BTreeSet<_>>().len(), one.len(), "{}: doubled: {one:?}", self.name);
            got.extend(one);
        }
        for (n, answer) in self.sent.iter().enumerate() {
            let answer = answer.try_recv().unwrap_or_else(|_| panic!("{} {n}: no answer", self.name));
            assert!(
                answer.is_err() || got.contains(&n),
                "{} → {}: {n} was answered OK and is lost",
                self.name,
                self.to
            );
        }
    }

    /// The same, with several sessions of the recipient: OK means that one of them has it at least.
    pub fn check_all(&self, told: &[&Log], failed: usize) {
        let prefix = format!("{} ", self.name);
        let mut got: BTreeSet<usize> = BTreeSet::new();
        for log in told {
            let one: Vec<usize> =
                bodies(log).iter().filter_map(|body| body.strip_prefix(&prefix)).map(|n| n.parse().unwrap()).collect();
            let in_order = one.is_sorted_by(|a, b| a < b);
            assert!(in_order, "{} → {}: doubled or out of order: {one:?}", self.name, self.to);
            got.extend(one);
        }
        let mut bad: BTreeMap<String, usize> = BTreeMap::new();
        for (n, answer) in self.sent.iter().enumerate() {
            match answer.try_recv().unwrap_or_else(|_| panic!("{} {n}: no answer", self.name)) {
                Ok(_) => assert!(got.contains(&n), "{} → {}: {n} was answered OK and is lost", self.name, self.to),
                Err(fail) => *bad.entry(fail.to_string()).or_default() += 1,
            }
        }
        assert!(bad.values().sum::<usize>() <= failed, "{} → {}: failed: {bad:?}", self.name, self.to);
    }
}

/// Whether the client came back by itself, or was told of a loss.
pub fn is_undisturbed(log: &Log) -> bool {
    let events = log.lock().unwrap();
    let ons = events.iter().filter(|event| matches!(event, Event::SignedOn(_))).count();
    let lost = events.iter().any(|event| matches!(event, Event::Lost(..) | Event::Failed(_) | Event::Disconnected(_)));
    ons == 1 && !lost
}

#[test]
fn two_people_on_two_servers_talk() {
    seeds(30, |seed| {
        let mut net = Network::of(seed, &["a", "b"], &["alice", "bob"]);
        net.sim.run_for(3_000);
        let (alice, heard) = client_at(&mut net, "alice", 0);
        let (bob, told) = client_at(&mut net, "bob", 1);
        let (mut there, mut back) = (Stream::new(alice, "alice", "BOB"), Stream::new(bob, "bob", "alice"));
        for _ in 0..50 {
            there.send(&mut net);
            back.send(&mut net);
            let pause = net.sim.rng().random_range(0..30);
            net.sim.run_for(pause);
        }
        net.sim.run_for(3_000);
        there.check(&told, 0);
        back.check(&heard, 0);
        let nobody = net.send(alice, "nobody", "x");
        net.sim.run_for(1_000);
        assert_eq!(nobody.try_recv().unwrap().unwrap_err().code, Code::NotFound);
    });
}

#[test]
fn a_chain_of_servers_relays_while_links_break() {
    seeds(30, |seed| {
        let mut net = Network::of(seed, &["a", "b", "c", "d", "e"], &["alice", "bob"]);
        let mains = net.mains.clone();
        for (n, one) in mains.iter().enumerate() {
            for other in mains.iter().skip(n + 2) {
                net.sim.wall(*one, *other, true);
                net.sim.cut(*one, *other);
            }
        }
        net.sim.run_for(8_000);
        let (alice, heard) = client_at(&mut net, "alice", 0);
        let (bob, told) = client_at(&mut net, "bob", 4);
        let (mut there, mut back) = (Stream::new(alice, "alice", "bob"), Stream::new(bob, "bob", "alice"));
        for _ in 0..100 {
            there.send(&mut net);
            back.send(&mut net);
            let pause = net.sim.rng().random_range(0..60);
            net.sim.run_for(pause);
            if net.sim.rng().random_range(0..25) == 0 {
                let at = net.sim.rng().random_range(0..4);
                net.sim.cut(mains[at], mains[at + 1]);
            }
        }
        net.sim.run_for(15_000);
        there.check(&told, 0);
        back.check(&heard, 0);
        assert!(is_undisturbed(&heard) && is_undisturbed(&told));
    });
}

#[test]
fn clients_move_and_nobody_notices() {
    seeds(60, |seed| {
        let mut net = Network::of(seed, &["a", "b", "c"], &["alice", "bob", "carol"]);
        net.sim.run_for(3_000);
        let (alice, heard) = client_at(&mut net, "alice", 0);
        let (bob, told) = client_at(&mut net, "bob", 1);
        let (carol, known) = client_at(&mut net, "carol", 2);
        let mut streams = [
            Stream::new(alice, "alice", "bob"),
            Stream::new(bob, "bob", "alice"),
            Stream::new(carol, "carol", "bob"),
            Stream::new(bob, "bob to carol", "carol"),
        ];
        for round in 0..200 {
            for stream in &mut streams {
                stream.send(&mut net);
            }
            let pause = net.sim.rng().random_range(0..20);
            net.sim.run_for(pause);
            if round % 40 == 20 {
                // Everybody goes somewhere else.
                let (from, to) = (net.sim.rng().random_range(0..3), net.sim.rng().random_range(0..3));
                let ids = ["a", "b", "c"];
                let main = net.mains[from];
                net.sim.with(main, |main: &mut Main, ctx| main.move_clients(ctx, 10, ids[to])).unwrap();
            }
        }
        net.sim.run_for(15_000);
        for (stream, log) in streams.iter().zip([&told, &heard, &told, &known]) {
            stream.check(log, 0);
        }
        for log in [&heard, &told, &known] {
            assert!(
                is_undisturbed(log),
                "{:?}",
                log.lock().unwrap().iter().filter(|e| !matches!(e, Event::Message { .. })).collect::<Vec<_>>()
            );
        }
    });
}

/// Moves some clients somewhere.
fn shuffle(net: &mut Network) {
    let (from, to) = (net.sim.rng().random_range(0..3), net.sim.rng().random_range(0..3));
    let main = net.mains[from];
    net.sim.with(main, |main: &mut Main, ctx| main.move_clients(ctx, 2, ["a", "b", "c"][to])).unwrap();
}

#[test]
fn clients_move_to_and_fro_faster_than_messages() {
    seeds(60, |seed| {
        let mut net = Network::of(seed, &["a", "b", "c"], &["alice", "bob"]);
        net.sim.run_for(3_000);
        let (alice, heard) = client_at(&mut net, "alice", 0);
        let (bob, told) = client_at(&mut net, "bob", 1);
        net.sim.faults.delay = 0..=[10, 50, 200][(seed % 3) as usize];
        let mut streams = [Stream::new(alice, "alice", "bob"), Stream::new(bob, "bob", "alice")];
        for _ in 0..300 {
            streams.iter_mut().for_each(|stream| stream.send(&mut net));
            let pause = net.sim.rng().random_range(0..40);
            net.sim.run_for(pause);
            shuffle(&mut net);
        }
        net.sim.run_for(20_000);
        for (stream, log) in streams.iter().zip([&told, &heard]) {
            stream.check(log, 0);
            assert!(is_undisturbed(log));
        }
    });
}

#[test]
fn all_sessions_of_a_user_get_each_message_once_while_they_move() {
    seeds(60, |seed| {
        let mut net = Network::of(seed, &["a", "b", "c"], &["alice", "bob"]);
        net.sim.run_for(3_000);
        let (alice, heard) = client_at(&mut net, "alice", 0);
        let (_, one) = client_at(&mut net, "bob", 1);
        let (_, two) = client_at(&mut net, "bob", 2);
        net.sim.faults.delay = 0..=[10, 50, 200][(seed % 3) as usize];
        let mut stream = Stream::new(alice, "alice", "bob");
        for round in 0..200 {
            stream.send(&mut net);
            let pause = net.sim.rng().random_range(0..40);
            net.sim.run_for(pause);
            if round % 5 == 0 {
                shuffle(&mut net);
            }
        }
        net.sim.run_for(20_000);
        stream.check(&one, 0);
        assert_eq!(bodies(&one), bodies(&two));
        assert!([&heard, &one, &two].into_iter().all(is_undisturbed));
    });
}

#[test]
fn routes_change_for_others_and_nobody_waits() {
    seeds(10, |seed| {
        let mut net = Network::of(seed, &["a", "b", "c"], &["alice", "bob"]);
        net.sim.run_for(3_000);
        let (alice, heard) = client_at(&mut net, "alice", 0);
        let (bob, told) = client_at(&mut net, "bob", 1);
        let mut streams = [Stream::new(alice, "alice", "bob"), Stream::new(bob, "bob", "alice")];
        let (b, c) = (net.mains[1], net.mains[2]);
        for there in [true, false, true] {
            // The ways of a stay as they are.
            net.sim.wall(b, c, there);
            net.sim.cut(b, c);
            net.sim.run_for(2_000);
            streams.iter_mut().for_each(|stream| stream.send(&mut net));
            net.sim.run_for(1_000);
        }
        streams[0].check(&told, 0);
        streams[1].check(&heard, 0);
    });
}

/// What may fail while links to management break as well: then nobody can say where a user is.
const BROKEN: usize = 1_000;

#[test]
fn clients_move_while_links_between_servers_break() {
    seeds(60, |seed| {
        let mut net = Network::of(seed, &["a", "b", "c"], &["alice", "bob"]);
        net.sim.run_for(3_000);
        let (alice, heard) = client_at(&mut net, "alice", 0);
        let (bob, told) = client_at(&mut net, "bob", 1);
        let mut streams = [Stream::new(alice, "alice", "bob"), Stream::new(bob, "bob", "alice")];
        for _ in 0..200 {
            streams.iter_mut().for_each(|stream| stream.send(&mut net));
            let pause = net.sim.rng().random_range(0..100);
            net.sim.run_for(pause);
            if net.sim.rng().random_range(0..4) == 0 {
                shuffle(&mut net);
            }
            if net.sim.rng().random_range(0..20) == 0 {
                let nodes = [net.mains[0], net.mains[1], net.mains[2], net.management];
                let (one, other) = (net.sim.rng().random_range(0..3), net.sim.rng().random_range(0..4));
                net.sim.cut(nodes[one], nodes[other]);
            }
        }
        net.sim.run_for(120_000);
        streams[0].check(&told, BROKEN);
        streams[1].check(&heard, BROKEN);
    });
}

#[test]
fn a_drained_server_has_nobody_left() {
    seeds(20, |seed| {
        let mut net = Network::of(seed, &["a", "b", "c"], &["alice", "bob"]);
        net.sim.run_for(3_000);
        let (alice, heard) = client_at(&mut net, "alice", 0);
        let (bob, told) = client_at(&mut net, "bob", 0);
        let mut stream = Stream::new(alice, "alice", "bob");
        let mut done = None;
        for round in 0..100 {
            stream.send(&mut net);
            let pause = net.sim.rng().random_range(0..20);
            net.sim.run_for(pause);
            if round == 30 {
                let main = net.mains[0];
                done = net.sim.with(main, |main: &mut Main, ctx| main.drain(ctx));
            }
        }
        net.sim.run_for(15_000);
        assert!(done.unwrap().try_recv().is_ok());
        stream.check(&told, 0);
        assert!(is_undisturbed(&heard) && is_undisturbed(&told));
        let main = net.mains[0];
        assert_eq!(net.sim.with(main, |main: &mut Main, _| main.counts().0), Some(0));
        let _ = bob;
    });
}

#[test]
fn a_killed_server_takes_nothing_with_it_when_its_clients_have_a_standby() {
    seeds(60, |seed| {
        let mut net = Network::of(seed, &["a", "b", "c"], &["alice", "bob"]);
        net.sim.run_for(3_000);
        let (alice, heard) = client_at(&mut net, "alice", 0);
        let told = Log::default();
        let bob = net.client_with("bob", &told, |options| options.redundant = true);
        let (a, c) = (net.mains[0], net.mains[2]);
        net.sim.wall(bob, a, true);
        net.sim.wall(bob, c, true);
        net.until_on(&[bob]);
        net.sim.wall(bob, c, false);
        let until = net.sim.now() + 300_000;
        let safe = |core: &mut Core, _: &mut _| core.has_standby();
        assert!(net.sim.run(until, |sim| sim.with(bob, safe) == Some(true)), "there is no standby");
        let mut stream = Stream::new(alice, "alice", "bob");
        for round in 0..200 {
            stream.send(&mut net);
            let pause = net.sim.rng().random_range(0..20);
            net.sim.run_for(pause);
            if round == 100 {
                let b = net.mains[1];
                net.sim.crash(b);
            }
        }
        net.sim.run_for(15_000);
        stream.check(&told, 60);
        assert!(
            is_undisturbed(&told),
            "{:?}",
            told.lock().unwrap().iter().filter(|e| !matches!(e, Event::Message { .. })).collect::<Vec<_>>()
        );
        assert!(is_undisturbed(&heard));
        let _ = net.sim.with(bob, |core: &mut Core, _| core.is_on());
    });
}

#[test]
fn management_is_lost_and_comes_back_and_nobody_notices() {
    seeds(20, |seed| {
        let mut net = Network::of(seed, &["a", "b"], &["alice", "bob"]);
        net.sim.run_for(3_000);
        let (alice, heard) = client_at(&mut net, "alice", 0);
        let (bob, told) = client_at(&mut net, "bob", 1);
        let (mut there, mut back) = (Stream::new(alice, "alice", "bob"), Stream::new(bob, "bob", "alice"));
        for round in 0..200 {
            there.send(&mut net);
            back.send(&mut net);
            let pause = net.sim.rng().random_range(50..200);
            net.sim.run_for(pause);
            let management = net.management;
            match round {
                50 => net.sim.crash(management),
                100 => net.sim.start(management),
                _ => {}
            }
        }
        net.sim.run_for(30_000);
        there.check(&told, 0);
        back.check(&heard, 0);
        assert!(is_undisturbed(&heard) && is_undisturbed(&told));
    });
}

#[test]
fn a_server_that_comes_gets_its_share_of_the_clients() {
    const NAMES: [&str; 40] = [
        "u00", "u01", "u02", "u03", "u04", "u05", "u06", "u07", "u08", "u09", "u10", "u11", "u12", "u13", "u14", "u15",
        "u16", "u17", "u18", "u19", "u20", "u21", "u22", "u23", "u24", "u25", "u26", "u27", "u28", "u29", "u30", "u31",
        "u32", "u33", "u34", "u35", "u36", "u37", "u38", "u39",
    ];
    seeds(5, |seed| {
        let mut net = Network::of(seed, &["a", "b"], &NAMES);
        let (a, b) = (net.mains[0], net.mains[1]);
        net.sim.crash(b);
        net.sim.run_for(3_000);
        let clients: Vec<(NodeId, Log)> = NAMES.iter().map(|name| client_at(&mut net, name, 0)).collect();
        net.sim.start(b);
        let mut streams: Vec<Stream> =
            (0..40).map(|n| Stream::new(clients[n].0, NAMES[n], NAMES[(n + 1) % 40])).collect();
        for _ in 0..100 {
            streams.iter_mut().for_each(|stream| stream.send(&mut net));
            let pause = net.sim.rng().random_range(0..1_000);
            net.sim.run_for(pause);
        }
        net.sim.run_for(30_000);
        let counts = [a, b].map(|id| net.sim.with(id, |main: &mut Main, _| main.counts().0).unwrap());
        assert_eq!(counts.iter().sum::<usize>(), 40);
        assert!(counts[1] >= 8, "{counts:?}");
        for (n, stream) in streams.iter().enumerate() {
            stream.check(&clients[(n + 1) % 40].1, 0);
        }
        assert!(clients.iter().all(|(_, log)| is_undisturbed(log)));
    });
}

/// Everything at once, but for servers that die: links between servers are cut, clients are moved about, management comes and goes. In
/// two of three seeds a client's links are cut too: then it comes back, here or there. What was kept meanwhile comes before what is
/// sent since, if the servers reach each other and management is there; else in any order, as what it sent itself over several
/// links.
fn everything_at_once(seed: u64, slow: bool) {
    const IDS: [&str; 4] = ["a", "b", "c", "d"];
    const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];
    let (cuts, breaks, victim) = (!seed.is_multiple_of(3), seed % 3 != 1, (seed / 3 % 3) as usize);
    let mut net = Network::of(seed, &IDS, &NAMES);
    let mains = net.mains.clone();
    net.sim.run_for(3_000);
    let mut clients: Vec<(NodeId, Log)> = (0..4).map(|n| client_at(&mut net, NAMES[n], n)).collect();
    // Dave is there twice.
    clients.push(client_at(&mut net, "dave", 0));
    let mut streams: Vec<(Stream, Vec<usize>)> = Vec::new();
    for from in 0..4 {
        for to in (0..4).filter(|to| *to != from) {
            let hear = if to == 3 { vec![3, 4] } else { vec![to] };
            // One name for each pair: it is what tells the streams apart.
            let name: &'static str = Box::leak(format!("{} to {}:", NAMES[from], NAMES[to]).into_boxed_str());
            streams.push((Stream::new(clients[from].0, name, NAMES[to]), hear));
        }
    }
    if slow {
        net.sim.faults.delay = 0..=[10, 30, 100, 300][(seed / 9 % 4) as usize];
    }
    let mut up = true;
    for _ in 0..150 {
        let one = net.sim.rng().random_range(0..streams.len());
        for (stream, _) in streams.iter_mut().skip(one).step_by(3) {
            stream.send(&mut net);
        }
        let pause = net.sim.rng().random_range(0..80);
        net.sim.run_for(pause);
        let (x, y) = (net.sim.rng().random_range(0..4), net.sim.rng().random_range(0..4));
        match net.sim.rng().random_range(0..if cuts { 60 } else { 40 }) {
            // Not dave, who is there twice: what one of his sessions was sent, the other may get again.
            40.. => net.sim.cut(clients[victim].0, mains[y]),
            0..=3 => net.sim.cut(mains[x], mains[y]),
            4..=7 => {
                net.sim.with(mains[x], |main: &mut Main, ctx| main.move_clients(ctx, 1 + y, IDS[y])).unwrap();
            }
            8 if breaks => {
                net.sim.wall(mains[x], mains[y], true);
                net.sim.cut(mains[x], mains[y]);
            }
            9 => net.sim.wall(mains[x], mains[y], false),
            10 if breaks => {
                let management = net.management;
                match up {
                    true => net.sim.crash(management),
                    false => net.sim.start(management),
                }
                up = !up;
            }
            11 if breaks && slow => {
                let management = net.management;
                net.sim.cut(mains[x], management);
            }
            _ => {}
        }
    }
    if !up {
        let management = net.management;
        net.sim.start(management);
    }
    for (x, y) in (0..4).flat_map(|x| (0..4).map(move |y| (x, y))) {
        net.sim.wall(mains[x], mains[y], false);
    }
    net.sim.run_for(60_000);
    for (stream, hear) in &streams {
        let logs: Vec<&Log> = hear.iter().map(|log| &clients[*log].1).collect();
        let (from, to) = (clients[victim].0 == stream.from, hear[0] == victim);
        match cuts && (from || to && breaks) {
            true => stream.check_once(&logs),
            false => stream.check_all(&logs, stream.sent.len()),
        }
    }
    // And then everything is as before.
    for (stream, _) in &mut streams {
        stream.send(&mut net);
        net.sim.run_for(if slow { 5_000 } else { 1_000 });
        let last = stream.sent.pop().unwrap().try_recv();
        assert!(matches!(last, Ok(Ok(_))), "{}: {last:?}", stream.name);
    }
}

#[test]
fn whatever_happens_between_servers_what_was_answered_ok_arrives_once_in_order() {
    seeds(90, |seed| everything_at_once(seed, false));
}

/// The same over slower lines.
#[test]
fn whatever_happens_over_slow_lines_what_was_answered_ok_arrives_once_in_order() {
    seeds(90, |seed| everything_at_once(seed, true));
}
