//! A realm is away: what is sent meanwhile waits, is delivered once and in order, or is dropped with a notice.

use convergia::wire::Code;

use crate::id;
use crate::management;
use crate::next;
use crate::next_but;
use crate::realm;
use crate::send;
use crate::support::Answer;
use crate::support::Raw;
use crate::user;
use crate::wait_listed;

#[test]
fn what_was_sent_meanwhile_comes_once_and_in_order() {
    let management = management();
    let (mut north, mut south) = (realm(&management, "north", &[]), realm(&management, "south", &[]));
    wait_listed(&management, &[&north, &south]);
    let (mut alice, mut bob) = (user(&north, "alice"), user(&south, "bob"));
    let to_bob = format!("{}::bob", id(&south));
    send(&north, &mut alice, &to_bob, "before");
    assert_eq!(next(&mut bob).1, "before");
    south.kill();
    for n in 0..40 {
        send(&north, &mut alice, &to_bob, &n.to_string());
    }
    send(&north, &mut alice, &format!("{}::nobody", id(&south)), "who is that");
    // What waits is on disk, at the one and at the other.
    north.kill();
    north.restart_in_place();
    south.restart_in_place();
    let mut alice = user(&north, "alice");
    for n in 40..50 {
        send(&north, &mut alice, &to_bob, &n.to_string());
    }
    // Who does not exist is told when the realm is back; by then all before it has arrived there.
    let (from, text) = next_but(&mut alice, "before");
    assert_eq!(from, id(&north));
    assert!(text.contains("::nobody") && text.contains(Code::NotFound.word()), "{text}");
    south.kill();
    south.restart_in_place();
    let mut bob = user(&south, "bob");
    for n in 0..50 {
        assert_eq!(next_but(&mut bob, "before"), (format!("{}::alice", id(&north)), n.to_string()));
    }
    send(&north, &mut alice, &to_bob, "after");
    assert_eq!(next(&mut bob).1, "after");
}

#[test]
fn what_waits_too_long_is_dropped_and_its_sender_is_told() {
    let management = management();
    let mut north = realm(&management, "north", &["realm.queue_seconds=2"]);
    let mut south = realm(&management, "south", &[]);
    wait_listed(&management, &[&north, &south]);
    let (mut alice, mut bob) = (user(&north, "alice"), user(&south, "bob"));
    let to_bob = format!("{}::bob", id(&south));
    send(&north, &mut alice, &to_bob, "before");
    assert_eq!(next(&mut bob).1, "before");
    south.kill();
    let mut carol = user(&north, "carol");
    send(&north, &mut alice, &to_bob, "too late");
    send(&north, &mut carol, &to_bob, "too late");
    // Carol leaves, and is told when she is back.
    carol.ask("SIGNOFF", &[]).ok();
    let told = |link: &mut Raw| {
        let (from, text) = next(link);
        assert_eq!(from, id(&north));
        assert!(text.contains(&to_bob) && text.contains("not delivered"), "{text}");
    };
    told(&mut alice);
    north.wait_for_log("a message of carol");
    told(&mut user(&north, "carol"));
    south.restart_in_place();
    let mut bob = user(&south, "bob");
    // One alone is there: those that were dropped do not come after all.
    send(&north, &mut alice, &to_bob, "in time");
    assert_eq!(next_but(&mut bob, "before").1, "in time");
    north.terminate();
}

#[test]
fn a_sender_has_room_for_so_many_and_no_more() {
    let management = management();
    let (north, mut south) = (realm(&management, "north", &[]), realm(&management, "south", &[]));
    wait_listed(&management, &[&north, &south]);
    let (mut alice, mut bob) = (user(&north, "alice"), user(&south, "bob"));
    let to_bob = format!("{}::bob", id(&south));
    send(&north, &mut alice, &to_bob, "before");
    assert_eq!(next(&mut bob).1, "before");
    south.kill();
    // Until north knows that south is gone; a few of these may be in flight before, and are told as that.
    send(&north, &mut alice, &to_bob, "before");
    let mut taken = 0;
    'all: for round in 0..11 {
        for n in 0..100 {
            let text = (100 * round + n).to_string();
            alice.send(&format!("n{text}"), "SENDMESSAGE", &[to_bob.as_bytes(), text.as_bytes()]);
        }
        for n in 0..100 {
            match alice.answer(&format!("n{}", 100 * round + n)) {
                Answer::Ok(_) => taken += 1,
                fail => {
                    assert_eq!(fail.code(), Code::Busy);
                    break 'all;
                }
            }
        }
    }
    // Those before may have waited too, and their acknowledgements be lost.
    assert!((998..=999).contains(&taken), "{taken}");
    // Others have their own room.
    let mut carol = user(&north, "carol");
    send(&north, &mut carol, &to_bob, "of carol");
    south.restart_in_place();
    let mut bob = user(&south, "bob");
    for n in 0..taken {
        assert_eq!(next_but(&mut bob, "before").1, n.to_string());
    }
    assert_eq!(next(&mut bob).1, "of carol");
    send(&north, &mut alice, &to_bob, "room again");
    assert_eq!(next(&mut bob).1, "room again");
}
