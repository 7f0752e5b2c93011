//! What did not work once is tried again when it may.

use crate::many::client_at;
use crate::many::is_undisturbed;
use crate::network::seeds;
use crate::network::Log;
use crate::network::Network;
use convergia::client::core::Core;
use convergia::roles::main::Main;

#[test]
fn a_client_that_could_not_be_moved_is_moved_later() {
    seeds(10, |seed| {
        let mut net = Network::of(seed, &["a", "b"], &["alice"]);
        let (a, b) = (net.mains[0], net.mains[1]);
        net.sim.run_for(3_000);
        let (alice, heard) = client_at(&mut net, "alice", 0);
        let moved = |net: &mut Network| {
            net.sim.with(a, |main: &mut Main, ctx| main.move_clients(ctx, 1, "b")).unwrap();
            net.sim.run_for(10_000);
            net.sim.with(b, |main: &mut Main, _| main.counts().0) == Some(1)
        };
        net.sim.wall(alice, b, true);
        assert!(!moved(&mut net), "it does not reach b");
        net.sim.wall(alice, b, false);
        assert!(!moved(&mut net), "others are moved first");
        net.sim.run_for(60_000);
        assert!(moved(&mut net), "a minute later it is one of them again");
        assert!(is_undisturbed(&heard));
    });
}

#[test]
fn a_standby_is_asked_for_soon_after_the_first_has_taken_over() {
    seeds(20, |seed| {
        let mut net = Network::of(seed, &["a", "b"], &["bob"]);
        let (a, b) = (net.mains[0], net.mains[1]);
        net.sim.run_for(3_000);
        let told = Log::default();
        let bob = net.client_with("bob", &told, |options| options.redundant = true);
        net.sim.wall(bob, b, true);
        net.until_on(&[bob]);
        net.sim.wall(bob, b, false);
        let safe = |net: &mut Network, within: u64| {
            let until = net.sim.now() + within;
            net.sim.run(until, |sim| sim.with(bob, |core: &mut Core, _| core.has_standby()) == Some(true))
        };
        assert!(safe(&mut net, 40_000), "b is reached a moment after the first try");
        // Its standby takes over, and there is no other server for a while.
        net.sim.crash(a);
        net.sim.run_for(5_000);
        net.sim.start(a);
        assert!(safe(&mut net, 45_000), "a is back");
        assert!(is_undisturbed(&told));
    });
}
