//! Servers that are stopped, one after another, while people talk: nobody notices.

use std::sync::mpsc::Receiver;

use crate::many::client_at;
use crate::many::is_undisturbed;
use crate::many::Stream;
use crate::network::seeds;
use crate::network::Log;
use crate::network::Network;
use convergia::engine::sim::NodeId;
use convergia::roles::main::Main;

const IDS: [&str; 3] = ["a", "b", "c"];
const NAMES: [&str; 3] = ["alice", "bob", "carol"];

/// Everybody talks to everybody.
struct Talk {
    logs: Vec<Log>,
    streams: Vec<(Stream, usize)>,
}

impl Talk {
    /// One at each server.
    fn new(net: &mut Network) -> Talk {
        let clients: Vec<(NodeId, Log)> = (0..3).map(|n| client_at(net, NAMES[n], n)).collect();
        let pairs = (0..3).flat_map(|from| (0..3).filter(move |to| *to != from).map(move |to| (from, to)));
        let named =
            ["alice to bob", "alice to carol", "bob to alice", "bob to carol", "carol to alice", "carol to bob"];
        let stream = |((from, to), name): ((usize, usize), _)| (Stream::new(clients[from].0, name, NAMES[to]), to);
        let streams = pairs.zip(named).map(stream).collect();
        Talk { logs: clients.into_iter().map(|(_, log)| log).collect(), streams }
    }

    fn on(&mut self, net: &mut Network, rounds: u64) {
        for _ in 0..rounds {
            self.streams.iter_mut().for_each(|(stream, _)| stream.send(net));
            net.sim.run_for(5);
        }
    }

    /// Nothing failed, and nobody saw anything.
    fn check(&self, net: &mut Network) {
        net.sim.run_for(20_000);
        for (stream, to) in &self.streams {
            stream.check(&self.logs[*to], 0);
        }
        assert!(self.logs.iter().all(is_undisturbed));
    }
}

fn drain(net: &mut Network, at: usize) -> Receiver<()> {
    let main = net.mains[at];
    net.sim.with(main, |main: &mut Main, ctx| main.drain(ctx)).unwrap()
}

#[test]
fn a_server_that_may_end_leaves_nothing_behind() {
    seeds(30, |seed| {
        let mut net = Network::of(seed, &IDS, &NAMES);
        net.sim.run_for(3_000);
        let mut talk = Talk::new(&mut net);
        // Some hear late that everybody is elsewhere.
        net.sim.faults.delay = 0..=[20, 100, 300][(seed % 3) as usize];
        talk.on(&mut net, 20);
        for at in [0, 1] {
            let done = drain(&mut net, at);
            let mut rounds = 0;
            while done.try_recv().is_err() {
                rounds += 1;
                assert!(rounds < 4_000, "it may not end after 20 s");
                talk.on(&mut net, 1);
            }
            let main = net.mains[at];
            assert_eq!(net.sim.with(main, |main: &mut Main, _| main.counts().0), Some(0));
            // From this moment on nobody needs it.
            net.sim.crash(main);
            talk.on(&mut net, 20);
            net.sim.start(main);
            net.sim.run_for(4_000);
            talk.on(&mut net, 20);
        }
        talk.check(&mut net);
    });
}

#[test]
fn clients_wait_for_a_server_that_has_only_just_come() {
    seeds(20, |seed| {
        let mut net = Network::of(seed, &IDS[..2], &NAMES);
        let (a, b) = (net.mains[0], net.mains[1]);
        net.sim.run_for(3_000);
        let (alice, heard) = client_at(&mut net, "alice", 0);
        // It is up, and the two have no link yet.
        net.sim.wall(a, b, true);
        net.sim.cut(a, b);
        net.sim.run_for(500);
        let done = drain(&mut net, 0);
        net.sim.run_for(100);
        assert!(done.try_recv().is_err(), "there is another server");
        net.sim.wall(a, b, false);
        let mut rounds = 0;
        while done.try_recv().is_err() {
            rounds += 1;
            assert!(rounds < 1_000, "it may not end after 10 s");
            net.sim.run_for(10);
        }
        net.sim.crash(a);
        let mut stream = Stream::new(alice, "alice", "alice");
        stream.send(&mut net);
        net.sim.run_for(5_000);
        stream.check(&heard, 0);
        assert!(is_undisturbed(&heard));
    });
}
