//! Messages that are kept on one main server, and their user signs on at another, while somebody goes on sending.

use convergia::engine::sim::NodeId;
use rand::RngExt;

use crate::many::client_at;
use crate::many::Stream;
use crate::network::bodies;
use crate::network::seeds;
use crate::network::Log;
use crate::network::Network;

/// Bob on a, alice on b. Bob's connection breaks with messages in it that he has not read; he cannot reach a any more.
struct Scene {
    net: Network,
    bob: NodeId,
    told: Log,
    stream: Stream,
}

impl Scene {
    fn new(seed: u64) -> Scene {
        let mut net = Network::of(seed, &["a", "b", "c"], &["alice", "bob"]);
        net.sim.run_for(3_000);
        let (alice, _) = client_at(&mut net, "alice", 1);
        let (bob, told) = client_at(&mut net, "bob", 0);
        net.sim.faults.delay = 0..=[10, 50, 200][(seed % 3) as usize];
        Scene { net, bob, told, stream: Stream::new(alice, "alice", "bob") }
    }

    fn send(&mut self, count: usize, pause: u64) {
        for _ in 0..count {
            self.stream.send(&mut self.net);
            let pause = self.net.sim.rng().random_range(0..=pause);
            self.net.sim.run_for(pause);
        }
    }

    /// His connection to that server breaks; he reads nothing of what is sent before.
    fn breaks(&mut self, at: usize, count: usize) {
        let (main, bob) = (self.net.mains[at], self.bob);
        self.net.sim.stall(bob, main, true);
        self.send(count, 20);
        self.net.sim.wall(bob, main, true);
        self.net.sim.cut(bob, main);
        let until = self.net.sim.now() + 1_000;
        assert!(self.net.sim.run(until, |sim| !Network::is_on(sim, bob)), "he was there");
    }

    fn comes_back(&mut self) {
        for _ in 0..3_000 {
            if Network::is_on(&mut self.net.sim, self.bob) {
                return;
            }
            self.send(1, 20);
        }
        panic!("bob does not come back");
    }
}

#[test]
fn what_was_kept_comes_before_what_is_sent_since() {
    seeds(60, |seed| {
        let mut scene = Scene::new(seed);
        let b = scene.net.mains[1];
        scene.net.sim.wall(scene.bob, b, true);
        scene.send(10, 20);
        scene.breaks(0, 20);
        scene.comes_back();
        scene.send(30, 20);
        // Once more, with messages of two servers then.
        let (a, c) = (scene.net.mains[0], scene.net.mains[2]);
        scene.net.sim.wall(scene.bob, a, false);
        scene.net.sim.wall(scene.bob, b, false);
        scene.net.sim.wall(scene.bob, a, seed % 2 == 0);
        scene.breaks(2, 20);
        scene.net.sim.wall(scene.bob, c, true);
        scene.comes_back();
        scene.send(30, 20);
        scene.net.sim.run_for(20_000);
        scene.stream.check(&scene.told, usize::MAX);
        assert!(bodies(&scene.told).len() >= 60, "{}", bodies(&scene.told).len());
    });
}

#[test]
fn what_is_kept_on_a_server_that_is_away_comes_when_it_is_back() {
    seeds(30, |seed| {
        let mut scene = Scene::new(seed);
        scene.breaks(0, 20);
        let a = scene.net.mains[0];
        // On its disk by now; bob finds nobody else meanwhile.
        let (b, c) = (scene.net.mains[1], scene.net.mains[2]);
        scene.net.sim.wall(scene.bob, b, true);
        scene.net.sim.wall(scene.bob, c, true);
        scene.net.sim.run_for(1_000);
        scene.net.sim.crash(a);
        scene.net.sim.run_for(1_000);
        scene.net.sim.wall(scene.bob, c, false);
        scene.comes_back();
        scene.send(10, 20);
        assert!(!bodies(&scene.told).iter().any(|body| body == "alice 0"));
        // On he goes, and breaks there too.
        scene.breaks(2, 5);
        scene.net.sim.wall(scene.bob, b, false);
        scene.comes_back();
        scene.net.sim.start(a);
        scene.send(20, 100);
        scene.net.sim.run_for(30_000);
        scene.stream.check_once(&[&scene.told]);
    });
}

/// The server that has them cannot be reached for a while, from where he is: they come later, once.
#[test]
fn what_is_kept_behind_a_wall_comes_when_the_wall_is_gone() {
    seeds(30, |seed| {
        let mut scene = Scene::new(seed);
        let [a, b, c] = scene.net.mains[..] else { panic!("three servers") };
        scene.breaks(0, 20);
        for other in [b, c] {
            scene.net.sim.wall(a, other, true);
            scene.net.sim.cut(a, other);
        }
        scene.comes_back();
        scene.send(30, 50);
        for other in [b, c] {
            scene.net.sim.wall(a, other, false);
        }
        scene.net.sim.run_for(120_000);
        scene.stream.check_once(&[&scene.told]);
    });
}

/// He signs off, or his connection breaks again, while what was kept is on its way to him; and comes by another server.
#[test]
fn what_is_kept_follows_its_user_from_server_to_server() {
    seeds(60, |seed| {
        let mut scene = Scene::new(seed);
        scene.send(5, 20);
        for round in 0..6 {
            let at = (0..3).find(|at| {
                let main = scene.net.mains[*at];
                let count = |main: &mut convergia::roles::main::Main, _: &mut _| main.counts().0;
                let most = if *at == 1 { 1 } else { 0 };
                scene.net.sim.with(main, count).is_some_and(|count| count > most)
            });
            let Some(at) = at else { panic!("bob is nowhere") };
            scene.breaks(at, 5);
            scene.comes_back();
            // At any moment.
            let pause = scene.net.sim.rng().random_range(0..[50, 300, 2_500][round % 3]);
            scene.net.sim.run_for(pause);
            let main = scene.net.mains[at];
            scene.net.sim.wall(scene.bob, main, false);
        }
        scene.send(10, 50);
        scene.net.sim.run_for(90_000);
        scene.stream.check_once(&[&scene.told]);
    });
}

/// He comes twice at once, by two servers that do not have what was kept: one of the sessions gets it, and each gets nothing twice.
#[test]
fn what_is_kept_goes_to_one_of_two_sessions_that_come_at_once() {
    seeds(40, |seed| {
        let mut scene = Scene::new(seed);
        let [_, b, c] = scene.net.mains[..] else { panic!("three servers") };
        scene.net.sim.wall(scene.bob, b, true);
        let a = scene.net.mains[0];
        scene.net.sim.stall(scene.bob, a, true);
        scene.send(20, 20);
        scene.net.sim.run_for(1_000);
        scene.breaks(0, 0);
        let other = Log::default();
        let twin = scene.net.client_with("bob", &other, |_| {});
        scene.net.sim.wall(twin, c, true);
        // In half of them that is where it was kept.
        scene.net.sim.wall(twin, if seed % 2 == 0 { a } else { b }, true);
        scene.comes_back();
        scene.net.until_on(&[twin]);
        scene.send(20, 20);
        scene.net.sim.run_for(20_000);
        scene.stream.check_once(&[&scene.told, &other]);
        let (one, two) = (bodies(&scene.told), bodies(&other));
        for kept in (0..20).map(|n| format!("alice {n}")) {
            assert!(one.contains(&kept) != two.contains(&kept), "{kept}: given to both, or to nobody");
        }
    });
}
