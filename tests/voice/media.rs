//! Datagrams: who hears whom, what the server itself says, and when.

use crate::beside;
use crate::grant;
use crate::kv;
use crate::kv::done;
use crate::kv::number;
use crate::kv::send;
use crate::kv::user;
use crate::kv::Key;
use crate::kv::CREATE;
use crate::kv::DELETE;
use crate::kv::JOIN;
use crate::kv::LEAVE;
use crate::kv::UNREGISTER;
use crate::server;
use crate::support;
use crate::udp;
use crate::udp::eight;
use crate::udp::is_signed;
use crate::udp::operation;
use crate::udp::Member;
use crate::udp::Packet;
use crate::udp::END;
use crate::udp::LEFT;

/// Every byte of a datagram is another.
fn data(seed: u8) -> Vec<u8> {
    (0..504).map(|n: u32| seed.wrapping_add(n.wrapping_mul(7) as u8)).collect()
}

#[test]
fn all_others_hear_the_same_bytes_and_nobody_itself() {
    let _beside = beside();
    let server = server();
    let at = &server.addr("voice_control");
    let owner = user(at);
    let chid = done(at, CREATE, &[owner]);
    let elsewhere = Member::join(at, user(at), done(at, CREATE, &[owner]));
    let mut members: Vec<Member> = (0..5).map(|_| Member::join(at, user(at), chid)).collect();
    for speaker in 0..5 {
        for n in 0..10 {
            let packet = members[speaker].say(&data(n));
            for (index, member) in members.iter().enumerate() {
                if index != speaker {
                    member.hears(&packet);
                }
            }
        }
    }
    // Each has heard exactly what others said: the next thing it hears is the answer to what it asks now.
    for member in &mut members {
        member.acknowledged(77);
    }
    let mut elsewhere = elsewhere;
    elsewhere.acknowledged(5);
    // Who has joined and sent nothing is nowhere yet; a keepalive is enough, and nobody hears that.
    let mut late = Member::unbound(at, user(at), chid);
    let packet = members[0].say(b"before");
    members[1..].iter().for_each(|member| member.hears(&packet));
    late.keepalive(0);
    let packet = members[0].say(b"after");
    members[1..].iter().chain([&late]).for_each(|member| member.hears(&packet));
    // Whatever is in it: not looked at.
    let mut last = udp::user(late.uid, &[0; 504]);
    last[488..].fill(0xFF);
    late.send(&last);
    members.iter().for_each(|member| member.hears(&last));
}

#[test]
fn a_keepalive_is_acknowledged_if_it_wants_to_be() {
    let _beside = beside();
    let server = server();
    let at = &server.addr("voice_control");
    let owner = user(at);
    let chid = done(at, CREATE, &[owner]);
    let (mut one, mut other) = (Member::join(at, owner, chid), Member::join(at, user(at), chid));
    let first = one.acknowledged(0xFFFF_FFFF);
    let second = one.acknowledged(0x0102_0304);
    assert_eq!([eight(&first, 24), eight(&second, 24)], [chid; 2], "the channel");
    assert!(eight(&first, 32) < eight(&second, 32), "its counter rises");
    assert!(second[40..].iter().all(|byte| *byte == 0), "nothing else, as nothing is signed here");
    // Without an ackid there is none, and others do not hear of either.
    one.keepalive(0);
    let marker = other.say(b"marker");
    one.hears(&marker);
    let marker = one.say(b"marker");
    other.hears(&marker);
    // At most four within a second, however many are asked for.
    for ackid in 1..=50 {
        one.keepalive(ackid);
    }
    // What is acknowledged may be told behind what was said in the same moment; but not behind what was said once that was heard.
    let mut acknowledged = 0;
    for marker in [b"first", b"later"] {
        let marker = other.say(marker);
        while one.next() != marker {
            acknowledged += 1;
        }
    }
    assert!((1..=8).contains(&acknowledged), "{acknowledged}");
    other.acknowledged(9);
}

/// The server's packet of that operation, about that uid.
#[track_caller]
fn told(packet: &Packet, about: (u32, u64), channel: u64) -> u64 {
    assert_eq!(operation(packet), about);
    assert_eq!(udp::four(packet, 16), 0, "no acknowledgement is wanted");
    assert_eq!(eight(packet, 24), channel);
    eight(packet, 32)
}

#[test]
fn who_leaves_or_is_kicked_is_told_and_hears_no_more() {
    let _beside = beside();
    let server = server();
    let at = &server.addr("voice_control");
    let (owner, kicker) = (user(at), user(at));
    grant(&server, kicker, "kick_user,delete_user");
    let chid = done(at, CREATE, &[owner]);
    let uids: Vec<u64> = (0..4).map(|_| user(at)).collect();
    let mut stays = Member::join(at, owner, chid);
    let members: Vec<Member> = uids.iter().map(|uid| Member::join(at, *uid, chid)).collect();
    assert_eq!(done(at, LEAVE, &[uids[0], uids[0], chid]), 1);
    assert_eq!(done(at, LEAVE, &[kicker, uids[1], chid]), 1);
    assert_eq!(done(at, UNREGISTER, &[kicker, uids[2]]), uids[2]);
    // Who joins once more is told so at the old address, and is heard at the new one.
    let anew = Member::join(at, uids[3], chid);
    for member in &members {
        told(&member.next(), (LEFT, member.uid), chid);
    }
    for gone in &members {
        gone.send(&udp::user(gone.uid, b"not a member here"));
    }
    let packet = stays.say(b"who is here?");
    anew.hears(&packet);
    let mut anew = anew;
    let packet = anew.say(b"I am");
    stays.hears(&packet);
    for gone in &members {
        gone.socket.set_nonblocking(true).expect("does not wait");
        assert!(gone.socket.recv(&mut [0; 600]).is_err(), "who is gone hears nothing");
    }
}

#[test]
fn all_members_are_told_of_the_end_of_a_channel() {
    let _beside = beside();
    let server = server();
    let at = &server.addr("voice_control");
    let owner = user(at);
    let chid = done(at, CREATE, &[owner]);
    let members: Vec<Member> = (0..20).map(|_| Member::join(at, user(at), chid)).collect();
    assert_eq!(done(at, DELETE, &[owner, chid]), chid);
    let counters: Vec<u64> = members.iter().map(|member| told(&member.next(), (END, 0), chid)).collect();
    assert!(counters.iter().all(|counter| *counter == counters[0]), "one packet for all");
    assert_eq!(kv::fails(at, JOIN, &[owner, owner, chid]), kv::VALUE);
}

#[test]
fn in_a_signed_channel_all_is_signed() {
    let _beside = beside();
    let server = server();
    let at = &server.addr("voice_control");
    let (mut alice, mut bob) = (Key::of(&server, "alice"), Key::of(&server, "bob"));
    let (alice_uid, bob_uid) = (alice.register(at), bob.register(at));
    grant(&server, alice_uid, "admin");
    let chid = number(&send(at, &alice.sign(CREATE, &[alice_uid])));
    // A session is told the key of the server's packets.
    let mut session = support::sign_on(&server, "carol");
    let joined = session.ask("JOINVOICE", &[&chid.to_string(), "udp"]).text();
    let fields: Vec<&str> = joined.split(['|', '\n']).collect();
    let hex = |text: &str| -> Vec<u8> {
        let pairs = (0..text.len() / 2).map(|n| &text[2 * n..2 * n + 2]);
        pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect()
    };
    let text = fields[6].trim_end_matches('~');
    let (server_key, own): (Vec<u8>, [u8; 32]) = (hex(text), hex(fields[5]).try_into().expect("a key"));
    let to = udp::at(at, fields[4].parse().expect("a port"));
    let uid: u64 = fields[1].parse().expect("a uid");
    let mut carol = Member { uid, socket: udp::socket("127.0.0.1"), to, key: Some(own), counter: 0 };
    let mut told_before = 0;
    let mut rises = |packet: &Packet| {
        assert!(is_signed(packet, &server_key), "the server's signature");
        assert!(eight(packet, 32) > told_before, "its counter rises");
        told_before = eight(packet, 32);
    };
    rises(&carol.acknowledged(3));
    let mut alice_there = Member::join_signed(at, &mut alice, alice_uid, chid);
    let mut bob_there = Member::join_signed(at, &mut bob, bob_uid, chid);
    rises(&bob_there.acknowledged(4));
    // 480 bytes of sound, counter and tag: passed on as they are.
    let packet = alice_there.say(&data(9)[..480]);
    bob_there.hears(&packet);
    carol.hears(&packet);
    // A counter may be late, once, and not too much.
    let (key, base) = (alice_there.key.expect("a key"), alice_there.counter + 1_000);
    let numbered = |counter: u64| udp::sealed(udp::user(alice_uid, b"numbered"), &key, counter);
    alice_there.send(&numbered(base));
    for good in [1, 63, 2, 40] {
        alice_there.send(&numbered(base - good));
    }
    for bad in [0, 1, 64, 65, 900] {
        alice_there.send(&numbered(base - bad));
    }
    alice_there.send(&numbered(base + 1));
    for behind in [0, 1, 63, 2, 40] {
        carol.hears(&numbered(base - behind));
    }
    carol.hears(&numbered(base + 1));
    // Kicked, and the end.
    assert_eq!(number(&send(at, &alice.sign(LEAVE, &[alice_uid, bob_uid, chid]))), 1);
    let last = std::iter::repeat_with(|| bob_there.next()).find(|packet| packet[..4] == [0xFF; 4]).expect("told");
    rises(&last);
    told(&last, (LEFT, bob_uid), chid);
    assert_eq!(number(&send(at, &alice.sign(DELETE, &[alice_uid, chid]))), chid);
    let end = carol.next();
    rises(&end);
    told(&end, (END, 0), chid);
    for at_byte in [0, 8, 24, 32, 100, 447, 448, 511] {
        let mut forged = end;
        forged[at_byte] ^= 1;
        assert!(!is_signed(&forged, &server_key));
    }
}
