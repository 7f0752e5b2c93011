//! STANDBY, ATTACH, TAKEOVER, STANDBYGONE.

use convergia::client::core::Core;
use convergia::client::Event;
use convergia::client::Options;
use rand::RngExt;

use super::look;
use super::seeds;
use super::Net;
use super::Server;
use crate::fake::Manner;

fn redundant(options: Options) -> Options {
    Options { redundant: true, ..options }
}

fn until_safe(net: &mut Net) {
    let (until, client) = (net.sim.now() + 300_000, net.client);
    let safe = |core: &mut Core, _: &mut _| core.has_standby();
    assert!(net.sim.run(until, |sim| sim.with(client, safe) == Some(true)), "there is no standby");
}

#[test]
fn a_standby_gives_what_the_dead_server_had_not_brought() {
    seeds(200, |seed| {
        let mut net = Net::new(seed, 3, 200, redundant);
        look(&net.world).overlap = seed % 4;
        net.until_on();
        until_safe(&mut net);
        let millis = net.sim.rng().random_range(0..200);
        net.sim.run_for(millis);
        // Sent, and on the way.
        for _ in 0..3 {
            net.send();
        }
        let millis = net.sim.rng().random_range(0..40);
        net.sim.run_for(millis);
        let dead = net.place().unwrap().server;
        net.crash(dead);
        net.sim.run_for(1_000);
        assert_eq!(net.moved(), 1);
        for _ in 0..20 {
            net.step();
        }
        net.rest(5_000);
        net.assert_in_order();
        let state = look(&net.world);
        assert_eq!(state.received, [net.heard_before_move(0) - state.copied_from[0]]);
        assert_eq!(net.heard(), (0..200).collect::<Vec<_>>(), "nothing is lost");
        assert_eq!(state.sign_ons, 1, "the client signed on anew");
        assert_eq!(net.count(|event| matches!(event, Event::Lost(..))), 0);
        drop(state);
        // The next standby is there, and takes over as well.
        until_safe(&mut net);
        let dead = net.place().unwrap().server;
        look(&net.world).total += 50;
        net.sim.run_for(20);
        net.crash(dead);
        net.rest(5_000);
        assert_eq!(net.heard(), (0..250).collect::<Vec<_>>(), "nothing is lost");
        assert_eq!(look(&net.world).sign_ons, 1);
        assert_eq!(look(&net.world).wrong, Vec::<String>::new());
    });
}

#[test]
fn messages_are_counted_over_moves() {
    seeds(50, |seed| {
        let mut net = Net::new(seed, 3, 300, redundant);
        net.until_on();
        until_safe(&mut net);
        assert!(net.redirect());
        net.sim.run_for(500);
        assert_eq!(net.moved(), 1);
        // That of the server before is none of this one.
        until_safe(&mut net);
        assert_eq!(look(&net.world).standbys, 2);
        let dead = net.place().unwrap().server;
        net.crash(dead);
        net.rest(5_000);
        assert_eq!(net.moved(), 2);
        let counted = net.heard_before_move(1) - look(&net.world).copied_from[1];
        assert_eq!(look(&net.world).received, [counted]);
        assert_eq!(net.heard(), (0..300).collect::<Vec<_>>(), "nothing is lost");
        assert_eq!(look(&net.world).wrong, Vec::<String>::new());
        assert_eq!(look(&net.world).sign_ons, 1);
    });
}

#[test]
fn a_standby_that_does_not_take_over_ends_in_a_sign_on() {
    for manner in [Manner::Refuses, Manner::Silent] {
        seeds(20, |seed| {
            let mut net = Net::new(seed, 3, 100, redundant);
            net.until_on();
            until_safe(&mut net);
            look(&net.world).manner = manner;
            let dead = net.place().unwrap().server;
            net.send();
            net.crash(dead);
            net.sim.run_for(1_000);
            net.rest(10_000);
            net.until_on();
            net.assert_in_order();
            assert_eq!(look(&net.world).sign_ons, 2);
            assert_eq!(net.moved(), 0);
            assert_eq!(net.count(|event| matches!(event, Event::Lost(..))), 1);
        });
    }
}

#[test]
fn a_standby_is_asked_for_until_there_is_one() {
    let mut net = Net::new(1, 2, 0, redundant);
    look(&net.world).dead[1] = true;
    net.sim.crash(net.servers[1]);
    net.until_on();
    net.sim.run_for(200_000);
    assert_eq!(look(&net.world).standbys, 0);
    look(&net.world).dead[1] = false;
    net.sim.start(net.servers[1]);
    until_safe(&mut net);
    assert_eq!(look(&net.world).standbys, 1);
    // It drains: the client asks for another, and not of an id that is not its own.
    for (id, asked) in [("offer-9", 1), ("offer-0", 2)] {
        let place = net.place().unwrap();
        let gone = |_: &mut Server, ctx: &mut convergia::engine::Ctx<Server>| {
            ctx.push(place.link, "STANDBYGONE", &[id.as_bytes()]).unwrap();
        };
        net.sim.with(net.servers[place.server], gone).unwrap();
        net.sim.run_for(10_000);
        until_safe(&mut net);
        assert_eq!(look(&net.world).standbys, asked);
    }
    // It dies: the same.
    let other = 1 - net.place().unwrap().server;
    net.sim.crash(net.servers[other]);
    net.sim.start(net.servers[other]);
    net.sim.run_for(10_000);
    until_safe(&mut net);
    assert_eq!(look(&net.world).standbys, 3);
    assert_eq!(net.events().len(), 1, "the user hears of nothing: {:?}", net.events());
}

#[test]
fn a_server_that_says_goodbye_is_not_taken_over() {
    let mut net = Net::new(2, 2, 0, redundant);
    net.until_on();
    until_safe(&mut net);
    let place = net.place().unwrap();
    let stop = |_: &mut Server, ctx: &mut convergia::engine::Ctx<Server>| {
        ctx.push(place.link, "DISCONNECTED", &[b"the server stops"]).unwrap();
        ctx.close(place.link, "stop");
    };
    net.sim.with(net.servers[place.server], stop).unwrap();
    net.sim.run_for(10_000);
    net.until_on();
    assert_eq!((look(&net.world).sign_ons, net.moved()), (2, 0));
}
