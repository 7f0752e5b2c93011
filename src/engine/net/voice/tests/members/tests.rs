//! What members send, hear, and are told.

use super::*;

#[test]
fn what_one_says_all_others_hear_unchanged() {
    for signed in [false, true] {
        let server = Server::new(8);
        let port = server.open(signed);
        let mut alice = Phone::join(&server, port, 1, signed);
        let mut bob = Phone::join(&server, port, 2, signed);
        let carol = Phone::join(&server, port, 3, signed);
        let said = alice.say(&[0xA5; 400]);
        assert_eq!((bob.hear(), carol.hear()), (said, said));
        let said = bob.say(b"yes");
        // Had Alice heard herself, that would come first.
        assert_eq!((alice.hear(), carol.hear()), (said, said));
        bob.hears_nothing();
        assert_eq!(server.open(signed), port, "open already");
    }
}

#[test]
fn an_unsigned_member_stays_where_it_spoke_first() {
    let server = Server::new(8);
    let port = server.open(false);
    let mut alice = Phone::join(&server, port, 1, false);
    let bob = Phone::join(&server, port, 2, false);
    let mut thief = Phone::new(port, 1, false);
    thief.say(b"I am Alice");
    thief.socket.send(&packet::system(Operation::Keepalive, 1, 9)).unwrap();
    thief.socket.send(&packet::user(99, b"nobody")).unwrap();
    let said = alice.say(b"really Alice");
    assert_eq!(bob.hear(), said, "and nothing before it");
    let mut bob = bob;
    let said = bob.say(b"hello");
    assert_eq!(alice.hear(), said);
    thief.hears_nothing();
}

#[test]
fn signed_packets_count_once_and_only_with_their_tag() {
    let server = Server::new(8);
    let port = server.open(true);
    let mut alice = Phone::join(&server, port, 1, true);
    let mut bob = Phone::join(&server, port, 2, true);
    let thief = Phone::new(port, 1, true);
    let said = alice.say(b"one");
    assert_eq!(bob.hear(), said);
    let mut bent = alice.sound(b"two");
    bent[9] ^= 1;
    let mut foreign = packet::user(1, b"with a key of somebody else");
    packet::seal(&mut foreign, &key(2), 1_000);
    for bad in [said, bent, foreign, packet::user(1, b"unsigned"), packet::system(Operation::Keepalive, 1, 3)] {
        thief.socket.send(&bad).unwrap();
        alice.socket.send(&bad).unwrap();
    }
    let said = alice.say(b"three");
    assert_eq!(bob.hear(), said, "nothing of that");
    bob.say(b"hello");
    alice.hear();
    thief.hears_nothing();
    // Alice goes on from another socket: what is signed may move.
    let mut moved = Phone { counter: alice.counter, ..Phone::new(port, 1, true) };
    let said = moved.say(b"from the train");
    assert_eq!(bob.hear(), said);
    let said = bob.say(b"fine");
    assert_eq!(moved.hear(), said);
    alice.hears_nothing();
}

#[test]
fn words_of_the_server_are_signed_and_their_counter_rises() {
    let server = Server::new(8);
    let port = server.open(true);
    let mut alice = Phone::join(&server, port, 1, true);
    let bob = Phone::join(&server, port, 2, true);
    let first = alice.settle();
    let second = alice.settle();
    server.order(Order::Leave { channel: CHANNEL, uid: 1 });
    let left = alice.hear();
    let said = alice.say(b"still here?");
    server.order(Order::Close { channel: CHANNEL });
    let ended = bob.hear();
    assert_ne!(ended, said, "who has left is not heard");
    assert_eq!(packet::parse(&left), Some(Datagram::System { operation: Some(Operation::Leave), uid: 1, ackid: 0 }));
    assert_eq!(packet::parse(&ended), Some(Datagram::System { operation: Some(Operation::End), uid: 0, ackid: 0 }));
    let mut counter = 0;
    for told in [first, second, left, ended] {
        assert!(packet::is_signed(&told, &server.key));
        assert_eq!(packet::told_channel(&told), CHANNEL);
        assert!(packet::told_counter(&told) > counter);
        counter = packet::told_counter(&told);
    }
    alice.hears_nothing();
}

#[test]
fn a_channel_without_signatures_has_the_same_words() {
    let server = Server::new(8);
    let port = server.open(false);
    let mut alice = Phone::join(&server, port, 1, false);
    let told = alice.settle();
    assert!(told[40..].iter().all(|byte| *byte == 0), "no signature");
    server.order(Order::Close { channel: CHANNEL });
    let operation = Some(Operation::End);
    assert_eq!(packet::parse(&alice.hear()), Some(Datagram::System { operation, uid: 0, ackid: 0 }));
}

#[test]
fn a_second_join_ends_the_first() {
    let server = Server::new(8);
    let port = server.open(true);
    let alice = Phone::join(&server, port, 1, true);
    let mut again = Phone::join(&server, port, 1, true);
    let operation = Some(Operation::Leave);
    assert_eq!(packet::parse(&alice.hear()), Some(Datagram::System { operation, uid: 1, ackid: 0 }));
    let mut bob = Phone::join(&server, port, 2, true);
    bob.say(b"hello");
    again.hear();
    alice.hears_nothing();
    again.say(b"hello");
    bob.hear();
}

#[test]
fn the_role_hears_and_plays() {
    let server = Server::new(8);
    let port = server.open(true);
    let mut alice = Phone::join(&server, port, 1, true);
    let bob = Phone::join(&server, port, 2, true);
    let first = alice.say(b"before anybody listens");
    assert_eq!(bob.hear(), first);
    server.order(Order::Listen { channel: CHANNEL, on: true });
    // The order is not older than what follows it.
    assert_eq!(server.open(true), port);
    let said = [alice.say(b"one"), alice.say(b"two")];
    let mut heard = Vec::new();
    while heard.len() < 2 * PACKET {
        match server.event() {
            Event::Heard { channel: CHANNEL, packets } => heard.extend(packets),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(heard, said.concat());
    assert_eq!([bob.hear(), bob.hear()], said);
    let played = [packet::user(77, b"from afar"), packet::user(1, b"from Alice herself"), packet::user(78, b"too")];
    server.order(Order::Play { channel: CHANNEL, packets: [&played.concat()[..], b"half a packet"].concat() });
    assert_eq!([bob.hear(), bob.hear(), bob.hear()], played);
    assert_eq!([alice.hear(), alice.hear()], [played[0], played[2]], "not to whom they are from");
    server.order(Order::Listen { channel: CHANNEL, on: false });
    assert_eq!(server.open(true), port);
    alice.say(b"unheard");
    bob.hear();
    assert_eq!(server.events.try_recv(), Err(mpsc::TryRecvError::Empty));
}
