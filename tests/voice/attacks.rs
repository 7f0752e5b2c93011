//! Strangers and members who want to be somebody else, on one machine: forged and replayed datagrams.

use std::net::UdpSocket;

use crate::beside;
use crate::kv::done;
use crate::kv::number;
use crate::kv::send;
use crate::kv::user;
use crate::kv::Key;
use crate::kv::CREATE;
use crate::server;
use crate::udp;
use crate::udp::sealed;
use crate::udp::socket;
use crate::udp::system;
use crate::udp::Member;
use crate::udp::ACKNOWLEDGE;
use crate::udp::END;
use crate::udp::JOINED;
use crate::udp::KEEPALIVE;
use crate::udp::LEFT;

/// Nothing has come to a socket so far.
#[track_caller]
fn assert_nothing(socket: &UdpSocket) {
    socket.set_nonblocking(true).expect("does not wait");
    let mut bytes = [0; 600];
    let came = socket.recv(&mut bytes);
    assert!(came.is_err(), "{:?}", &bytes[..24]);
    socket.set_nonblocking(false).expect("waits");
}

#[test]
fn a_bound_uid_speaks_from_its_address_alone() {
    let _beside = beside();
    let server = server();
    let at = &server.addr("voice_control");
    let owner = user(at);
    let chid = done(at, CREATE, &[owner]);
    let (mut one, mut other) = (Member::join(at, owner, chid), Member::join(at, user(at), chid));
    let thief = socket("127.0.0.1");
    // Another port of the same host, and another host.
    for thief in [&thief, &socket("127.0.0.2")] {
        for n in 0..100_u32 {
            thief.send_to(&udp::user(one.uid, b"I am one"), one.to).expect("sent");
            thief.send_to(&system(KEEPALIVE, one.uid, 1 + n), one.to).expect("sent");
            for operation in [JOINED, LEFT, ACKNOWLEDGE, END, 0x8000_0005, 0, u32::MAX] {
                thief.send_to(&system(operation, one.uid, n), one.to).expect("sent");
                thief.send_to(&system(operation, 0, n), one.to).expect("sent");
            }
            // A member who is not the one that it says.
            other.send(&udp::user(one.uid, b"I am one"));
            other.send(&udp::user(owner ^ 1, b"I am nobody"));
        }
        // Nobody heard any of that, and the binding stands.
        let packet = one.say(b"I am");
        other.hears(&packet);
        let packet = other.say(b"so I hear");
        one.hears(&packet);
        assert_nothing(thief);
    }
    one.acknowledged(1);
}

#[test]
fn system_packets_of_the_server_are_not_taken_from_anybody() {
    let _beside = beside();
    let server = server();
    let at = &server.addr("voice_control");
    let owner = user(at);
    let chid = done(at, CREATE, &[owner]);
    let (mut one, mut other) = (Member::join(at, owner, chid), Member::join(at, user(at), chid));
    // Forged by the member itself, about itself, others and nobody; and the server's own, sent back to it.
    let told = one.acknowledged(5);
    for about in [one.uid, other.uid, 0, chid] {
        for operation in [JOINED, LEFT, ACKNOWLEDGE, END] {
            one.send(&system(operation, about, 0));
            one.send(&system(operation, about, 5));
        }
    }
    one.send(&told);
    let left = {
        let uid = user(at);
        let leaves = Member::join(at, uid, chid);
        done(at, crate::kv::LEAVE, &[uid, uid, chid]);
        leaves.next()
    };
    assert_eq!(udp::operation(&left).0, LEFT);
    one.send(&left);
    other.send(&left);
    // A keepalive in somebody else's name.
    other.send(&system(KEEPALIVE, one.uid, 9));
    let packet = one.say(b"all is well");
    other.hears(&packet);
    let packet = other.say(b"indeed");
    one.hears(&packet);
}

#[test]
fn what_was_said_in_a_signed_channel_is_said_once() {
    let _beside = beside();
    let server = server();
    let at = &server.addr("voice_control");
    let (mut alice, mut bob) = (Key::of(&server, "alice"), Key::of(&server, "bob"));
    let (alice_uid, bob_uid) = (alice.register(at), bob.register(at));
    let chid = number(&send(at, &alice.sign(CREATE, &[alice_uid])));
    let mut one = Member::join_signed(at, &mut alice, alice_uid, chid);
    let mut other = Member::join_signed(at, &mut bob, bob_uid, chid);
    let thief = socket("127.0.0.1");
    let mut heard = Vec::new();
    for n in 0..55_u32 {
        let packet = one.say(&n.to_be_bytes());
        other.hears(&packet);
        heard.push(packet);
        // Again, from elsewhere and from its own address.
        thief.send_to(&packet, one.to).expect("sent");
        one.send(&packet);
        other.send(&packet);
    }
    for packet in &heard {
        thief.send_to(packet, one.to).expect("sent");
    }
    // A tag that is wrong, of another packet, of another's key, or none.
    let (key, bobs) = (one.key.expect("a key"), other.key.expect("a key"));
    for ahead in 1..200 {
        let counter = one.counter + ahead;
        let good = sealed(udp::user(alice_uid, b"forged"), &key, counter);
        let mut forged = vec![
            udp::user(alice_uid, b"forged"),
            sealed(udp::user(alice_uid, b"forged"), &bobs, counter),
            sealed(udp::user(alice_uid, b"forged"), &[0; 32], counter),
            sealed(system(KEEPALIVE, alice_uid, 7), &bobs, counter),
            system(KEEPALIVE, alice_uid, 7),
        ];
        let bit = usize::try_from(ahead).expect("small") * 20 % (8 * udp::LENGTH);
        let mut changed = good;
        // The uid's own bytes make it somebody else's: as wrong.
        changed[bit / 8] ^= 1 << (bit % 8);
        forged.push(changed);
        let mut grafted = good;
        grafted[496..].copy_from_slice(&heard[50][496..]);
        forged.push(grafted);
        for packet in &forged {
            thief.send_to(packet, one.to).expect("sent");
        }
    }
    // None of them has moved the window, or her.
    let packet = one.say(b"still me");
    other.hears(&packet);
    let packet = other.say(b"still I");
    one.hears(&packet);
    assert_nothing(&thief);
    // She herself moves by her key, and takes what is for her along; the old address is nobody's.
    let old = std::mem::replace(&mut one.socket, socket("127.0.0.3"));
    let packet = one.say(b"elsewhere now");
    other.hears(&packet);
    let packet = other.say(b"you are");
    one.hears(&packet);
    assert_nothing(&old);
    // What she sent before does not move her back.
    old.send_to(heard.last().expect("packets"), one.to).expect("sent");
    let packet = other.say(b"and stay");
    one.hears(&packet);
    assert_nothing(&old);
}

#[test]
fn a_place_and_a_key_end_with_the_join() {
    let _beside = beside();
    let server = server();
    let at = &server.addr("voice_control");
    let (mut alice, mut bob) = (Key::of(&server, "alice"), Key::of(&server, "bob"));
    let (alice_uid, bob_uid) = (alice.register(at), bob.register(at));
    let (first, second) =
        (number(&send(at, &alice.sign(CREATE, &[alice_uid]))), number(&send(at, &alice.sign(CREATE, &[alice_uid]))));
    let mut before = Member::join_signed(at, &mut alice, alice_uid, first);
    let mut listens = Member::join_signed(at, &mut bob, bob_uid, first);
    let recorded = before.say(b"recorded");
    listens.hears(&recorded);
    let mut elsewhere = Member::join_signed(at, &mut alice, alice_uid, second);
    let mut now = Member::join_signed(at, &mut alice, alice_uid, first);
    // Her old key, and what it sealed; what she says in the other channel, here.
    before.send(&recorded);
    let old = before.say(b"by the old key");
    now.send(&old);
    now.send(&recorded);
    let other = elsewhere.say(b"in the other channel");
    now.send(&other);
    let packet = now.say(b"now");
    listens.hears(&packet);
    let packet = listens.say(b"heard");
    now.hears(&packet);
    assert_eq!(udp::operation(&before.next()), (LEFT, alice_uid));
    assert_nothing(&before.socket);
}
