//! REDIRECT and HANDOVER.

use convergia::client::core::Core;
use convergia::client::Event;
use convergia::engine::rt::channel;
use convergia::wire::hex;
use rand::RngExt;

use super::fake;
use super::look;
use super::seeds;
use super::Net;
use super::Server;
use super::Step;
use crate::fake::Manner;

#[test]
fn nothing_is_lost_doubled_or_reordered_while_a_client_is_moved() {
    seeds(200, |seed| {
        let mut net = Net::new(seed, 3, 300, |options| options);
        net.until_on();
        let (mut moves, mut steps) = (0, 0);
        while moves < 4 || net.heard().len() < 300 {
            if net.sim.rng().random_bool(0.1) && net.redirect() {
                moves += 1;
            }
            net.step();
            steps += 1;
            assert!(steps < 2_000, "{moves} moves, {} messages", net.heard().len());
        }
        net.rest(2_000);
        net.assert_whole();
        assert_eq!(net.moved(), moves);
        assert_eq!(look(&net.world).refused, Vec::<String>::new());
        // The connection it ended on is a whole one.
        net.send();
        net.rest(1_000);
        net.assert_whole();
    });
}

/// What cannot be followed is refused at once, and nothing changes.
#[test]
fn what_cannot_be_followed_is_refused() {
    type Change = fn(&mut [String; 6]);
    let cases: &[(&str, Change)] = &[
        ("nobody there", |fields| fields[2] = "nowhere:1".to_owned()),
        ("another certificate", |fields| fields[3] = hex::encode(&[9; 32])),
        ("a wrong secret", |fields| fields[5] = "wrong".to_owned()),
        ("an id that the target does not know", |fields| fields[0] = "unknown".to_owned()),
        ("no time", |fields| fields[4] = "0".to_owned()),
    ];
    seeds(20, |seed| {
        let mut net = Net::new(seed, 2, 100, |options| options);
        net.until_on();
        for (what, change) in cases {
            let place = net.place().unwrap();
            let mut fields = look(&net.world).offer(place.server, 1 - place.server);
            change(&mut fields);
            let node = net.servers[place.server];
            net.sim.with(node, |server: &mut Server, ctx| server.ask(ctx, place.link, fields.clone())).unwrap();
            net.step();
            net.until(what, |state| state.refused.contains(&fields[0]));
            // That of an unknown id is still open.
            look(&net.world).offers.iter_mut().for_each(|offer| offer.step = Step::Over);
        }
        net.rest(10_000);
        net.assert_whole();
        assert_eq!(net.moved(), 0);
    });
}

#[test]
fn a_client_that_follows_nobody_says_so() {
    seeds(10, |seed| {
        let mut net = Net::new(seed, 2, 50, |mut options| {
            options.redirects = false;
            options
        });
        net.until_on();
        net.redirect();
        net.until("REFUSED", |state| state.refused.len() == 1);
        net.rest(5_000);
        net.assert_whole();
    });
}

#[test]
fn a_target_that_refuses_or_says_nothing_is_given_up() {
    for manner in [Manner::Refuses, Manner::Silent] {
        seeds(20, |seed| {
            let mut net = Net::new(seed, 2, 100, |options| options);
            look(&net.world).manner = manner;
            net.until_on();
            net.redirect();
            net.step();
            // While one is under way there is no second.
            if manner == Manner::Silent {
                net.sim.run_for(500);
                let place = net.place().unwrap();
                let fields = look(&net.world).offer(place.server, 1 - place.server);
                let node = net.servers[place.server];
                net.sim.with(node, |server: &mut Server, ctx| server.ask(ctx, place.link, fields)).unwrap();
                net.until("REFUSED", |state| state.refused.len() == 1);
                assert_eq!(look(&net.world).refused, ["offer-1"]);
            }
            net.until("REFUSED", |state| state.refused.contains(&"offer-0".to_owned()));
            net.rest(10_000);
            net.assert_whole();
            assert_eq!(net.moved(), 0);
            // And the next is followed.
            look(&net.world).manner = Manner::Good;
            assert!(net.redirect());
            net.send();
            net.rest(10_000);
            net.assert_whole();
            assert_eq!(net.moved(), 1);
        });
    }
}

/// The one that dies in the middle of a move, at a random moment of it.
fn dies(seed: u64, which: fn(&fake::Offer) -> usize) -> Net {
    let mut net = Net::new(seed, 3, 200, |options| options);
    net.until_on();
    for _ in 0..5 {
        net.step();
    }
    assert!(net.redirect());
    let moment = net.sim.rng().random_range(0..200);
    let until = net.sim.now() + moment;
    while net.sim.now() < until {
        net.step();
    }
    let dead = which(look(&net.world).offers.last().unwrap());
    net.crash(dead);
    for _ in 0..40 {
        net.step();
    }
    net.rest(8_000);
    net
}

#[test]
fn a_target_that_dies_in_the_middle_loses_only_what_nobody_has_ok_for() {
    seeds(100, |seed| {
        let mut net = dies(seed, |offer| offer.target);
        net.until_on();
        net.assert_in_order();
        let before = net.heard().len();
        look(&net.world).total += 20;
        net.send();
        net.rest(2_000);
        net.assert_in_order();
        assert_eq!(net.heard().len(), before + 20, "the new session is a whole one");
    });
}

#[test]
fn a_source_that_dies_in_the_middle_loses_only_what_nobody_has_ok_for() {
    seeds(100, |seed| {
        let mut net = dies(seed, |offer| offer.source);
        net.until_on();
        net.assert_in_order();
        let before = net.heard().len();
        look(&net.world).total += 20;
        net.send();
        net.rest(2_000);
        net.assert_in_order();
        assert_eq!(net.heard().len(), before + 20, "the new session is a whole one");
    });
}

/// The source is gone after the move, while the target's answer is on its way: the client waits for that.
#[test]
fn a_move_that_is_through_needs_no_source() {
    seeds(50, |seed| {
        let mut net = Net::new(seed, 2, 100, |options| options);
        net.until_on();
        net.sim.faults.delay = 50..=60;
        assert!(net.redirect());
        net.until("MOVE", |state| state.offers[0].step == Step::Moved);
        let source = look(&net.world).offers[0].source;
        net.crash(source);
        net.rest(10_000);
        assert_eq!((net.moved(), look(&net.world).sign_ons), (1, 1));
        net.assert_in_order();
    });
}

/// The link to the target is cut just when the target has answered: the client cannot know.
#[test]
fn a_handover_without_an_answer_ends_in_one_session() {
    seeds(100, |seed| {
        let mut net = Net::new(seed, 2, 200, |options| options);
        net.until_on();
        assert!(net.redirect());
        net.until("HANDOVER", |state| state.offers[0].step != Step::Pending);
        let target = net.servers[look(&net.world).offers[0].target];
        net.sim.cut(target, net.client);
        for _ in 0..40 {
            net.step();
        }
        net.rest(30_000);
        net.until_on();
        net.assert_in_order();
        let open = look(&net.world).offers.iter().any(|offer| matches!(offer.step, Step::Pending));
        assert!(!open);
        let before = net.heard().len();
        look(&net.world).total += 20;
        net.rest(2_000);
        assert_eq!(net.heard().len(), before + 20);
    });
}

#[test]
fn signing_off_in_the_middle_of_a_move_ends_it() {
    seeds(100, |seed| {
        let mut net = Net::new(seed, 2, 100, |options| options);
        net.until_on();
        net.redirect();
        let millis = net.sim.rng().random_range(0..200);
        net.sim.run_for(millis);
        let (send, done) = channel::bounded(1);
        net.sim.with(net.client, |core: &mut Core, ctx| core.sign_off(ctx, send)).unwrap();
        net.rest(10_000);
        assert!(done.try_recv().is_ok(), "nobody says that it is done");
        assert_eq!(net.count(|event| matches!(event, Event::Lost(..) | Event::Failed(_))), 0);
        let links = net.sim.with(net.client, |_: &mut Core, ctx| ctx.links());
        assert_eq!(links, Some(0));
    });
}

/// The same words in the same millisecond, one before the move and one after it, are two messages.
#[test]
fn a_move_is_no_new_connection() {
    seeds(20, |seed| {
        let mut net = Net::new(seed, 2, 0, |options| options);
        net.until_on();
        let say = |net: &mut Net| {
            let place = net.place().unwrap();
            let node = net.servers[place.server];
            let fields: [&[u8]; 3] = [b"bob", b"1000", b"7"];
            net.sim.with(node, |_: &mut Server, ctx| ctx.push(place.link, "RECEIVEMESSAGE", &fields).unwrap()).unwrap();
            net.sim.run_for(2_000);
        };
        say(&mut net);
        assert!(net.redirect());
        net.sim.run_for(2_000);
        assert_eq!(net.moved(), 1);
        say(&mut net);
        assert_eq!(net.heard(), [7, 7]);
    });
}

/// Too much waits on the old link for SIGNOFF to have room: it is the last there all the same.
#[test]
fn signing_off_from_the_source_waits_for_room() {
    seeds(20, |seed| {
        let mut net = Net::new(seed, 2, 50, |options| options);
        net.until_on();
        assert!(net.redirect());
        net.until("HANDOVER", |state| state.offers[0].step != Step::Pending);
        let source = net.servers[look(&net.world).offers[0].source];
        net.sim.stall(source, net.client, true);
        for _ in 0..2 {
            let (send, _answer) = channel::bounded(1);
            let big = vec![b'x'; 700_000];
            net.sim.with(net.client, |core: &mut Core, ctx| core.request(ctx, "BIG", &[&big], send)).unwrap();
        }
        for _ in 0..30 {
            net.step();
        }
        assert_eq!(net.moved(), 0);
        net.sim.stall(source, net.client, false);
        net.rest(3_000);
        assert_eq!(net.moved(), 1);
        // What found the queue full has said so, and nothing that was not taken was answered OK.
        net.assert_in_order();
    });
}

/// A source that never closes is left behind.
#[test]
fn a_source_that_does_not_close_is_left_in_the_end() {
    let mut net = Net::new(0, 2, 10, |options| options);
    net.until_on();
    net.rest(1_000);
    look(&net.world).manner = Manner::Stuck;
    assert!(net.redirect());
    net.sim.run_for(50_000);
    assert_eq!(net.moved(), 0);
    net.sim.run_for(100_000);
    assert_eq!(net.moved(), 1);
}
