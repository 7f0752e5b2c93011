//! Management is away when a client signs on.

use convergia::client::Event;
use convergia::client::Options;

use super::look;
use super::Net;

fn away(reconnect: bool, patience: u64) -> Net {
    let net = Net::new(0, 1, 10, |options| Options { reconnect, patience, ..options });
    look(&net.world).away = true;
    net
}

#[test]
fn one_try_is_one() {
    let mut net = away(false, 0);
    net.sim.run_for(2_000);
    assert!(matches!(&net.events()[..], [Event::Failed(_)]), "{:?}", net.events());
}

#[test]
fn the_first_sign_on_is_tried_for_as_long_as_was_said() {
    let mut net = away(false, 10_000);
    net.sim.run_for(9_000);
    assert!(net.count(|event| matches!(event, Event::Lost(..))) >= 3, "{:?}", net.events());
    assert_eq!(net.count(|event| matches!(event, Event::Failed(_))), 0);
    net.sim.run_for(2_000);
    assert!(matches!(net.events().last(), Some(Event::Failed(_))), "{:?}", net.events());
    let events = net.events().len();
    look(&net.world).away = false;
    net.sim.run_for(100_000);
    assert_eq!(net.events().len(), events, "it has given up");
    // Within that time it comes.
    let mut net = away(false, 10_000);
    net.sim.run_for(5_000);
    look(&net.world).away = false;
    net.rest(6_000);
    assert_eq!(look(&net.world).sign_ons, 1);
    // After that the client is one that does not come back.
    net.crash(0);
    net.rest(1_000);
    assert!(matches!(net.events().last(), Some(Event::Failed(_))), "{:?}", net.events());
}

#[test]
fn a_client_that_stays_waits_for_ever() {
    let mut net = away(true, u64::MAX);
    net.sim.run_for(3_600_000);
    assert_eq!(net.count(|event| !matches!(event, Event::Lost(..))), 0, "{:?}", net.events());
    let waits = net.events().len();
    assert!((60..300).contains(&waits), "{waits} tries in an hour");
    look(&net.world).away = false;
    net.until_on();
    net.rest(5_000);
    assert_eq!(net.heard().len(), 10);
}
