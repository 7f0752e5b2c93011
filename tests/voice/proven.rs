//! Amplification: an address that has not shown that it wants packets gets no more of them than it sent.

use std::net::UdpSocket;
use std::time::Duration;
use std::time::Instant;

use crate::beside;
use crate::kv::done;
use crate::kv::number;
use crate::kv::send;
use crate::kv::user;
use crate::kv::Key;
use crate::kv::CREATE;
use crate::support::sites;
use crate::support::Cluster;
use crate::support::Plan;
use crate::support::Topology;
use crate::udp;
use crate::udp::four;
use crate::udp::operation;
use crate::udp::socket;
use crate::udp::Member;
use crate::udp::Packet;
use crate::udp::KEEPALIVE;

/// Between two packets of one member: somewhat more than the server wants.
const PACE: Duration = Duration::from_millis(6);

/// All that has come to a socket.
fn all(socket: &UdpSocket) -> Vec<Packet> {
    socket.set_nonblocking(true).expect("does not wait");
    let mut packet = [0; udp::LENGTH];
    std::iter::from_fn(|| socket.recv(&mut packet).ok().map(|_| packet)).collect()
}

/// Says that many packets, and waits until a listener has heard them.
fn talk(from: &mut Member, listener: &Member, count: u32) {
    let began = Instant::now();
    for n in 0..count {
        // Not faster than a member may.
        while began.elapsed() < PACE * n {
            std::thread::yield_now();
        }
        let packet = from.say(&n.to_be_bytes());
        while listener.next() != packet {}
    }
}

#[test]
fn who_is_not_proven_gets_no_more_than_it_sends() {
    if !sites::available() {
        return;
    }
    let _beside = beside();
    let builder = Cluster::builder().management().node(Plan::new("a", &["main"]).set("voice.allow_unsigned=true"));
    let cluster = builder.topology(Topology::sites(&["a"])).start();
    let at = &cluster.server("a").addr("voice_control");
    cluster.within("a", || {
        // In a channel that is not signed: the join came from one address, datagrams come from another.
        let owner = user(at);
        cluster.admin(&["voice-rights", &owner.to_string(), "add_channel"]);
        let chid = done(at, CREATE, &[owner]);
        let (mut one, mut other) = (Member::join(at, owner, chid), Member::join(at, user(at), chid));
        let (victim, silent) = (user(at), user(at));
        let port = done(at, crate::kv::JOIN, &[victim, victim, chid]);
        done(at, crate::kv::JOIN, &[silent, silent, chid]);
        let to = udp::at(at, port);
        let far = socket("10.77.1.1");
        for n in 1..=10 {
            // As a cheat would: with an acknowledgement wanted for each.
            far.send_to(&udp::system(KEEPALIVE, victim, n), to).expect("sent");
        }
        talk(&mut one, &other, 100);
        talk(&mut other, &one, 100);
        let came = all(&far).len();
        assert!((1..=10).contains(&came), "{came} for 10");
        // However much it has saved up, 64 is the most.
        for _ in 0..200 {
            far.send_to(&udp::user(victim, b"x"), to).expect("sent");
        }
        while !udp_is(&one, victim) {}
        talk(&mut one, &other, 100);
        let came = all(&far).len();
        assert!((1..=65).contains(&came), "{came} saved up");
        // Its end is told, or not at all; never more.
        done(at, crate::kv::LEAVE, &[victim, victim, chid]);
        assert!(all(&far).len() <= 1);
        signed(&cluster, at);
    });
    cluster.stop();
}

/// The next that comes there was said by this uid.
fn udp_is(member: &Member, uid: u64) -> bool {
    udp::eight(&member.next(), 0) == uid
}

/// In a signed channel the server asks whether the address wants to hear; who answers does.
fn signed(cluster: &Cluster, at: &str) {
    let mut keys: Vec<Key> =
        ["alice", "bob", "mallory"].iter().map(|user| Key::of(cluster.management(), user)).collect();
    let uids: Vec<u64> = keys.iter_mut().map(|key| key.register(at)).collect();
    cluster.admin(&["voice-rights", "alice", "add_channel"]);
    let chid = number(&send(at, &keys[0].sign(CREATE, &[uids[0]])));
    let mut one = Member::join_signed(at, &mut keys[0], uids[0], chid);
    let other = Member::join_signed(at, &mut keys[1], uids[1], chid);
    let mut moved = Member::join_signed(at, &mut keys[2], uids[2], chid);
    // Mallory has her own key, and says that she is where the victim is.
    moved.socket = socket("10.77.1.1");
    for _ in 0..20 {
        moved.keepalive(0);
    }
    talk(&mut one, &other, 100);
    let came = all(&moved.socket);
    assert!((1..=20).contains(&came.len()), "{} for 20", came.len());
    let mut challenge = challenge_in(&came).expect("a challenge");
    assert_eq!(operation(&challenge), (KEEPALIVE, moved.uid));
    // A wrong answer proves nothing.
    for wrong in 1..4 {
        moved.keepalive(four(&challenge, 16) ^ wrong);
    }
    talk(&mut one, &other, 100);
    let came = all(&moved.socket);
    assert!(came.len() <= 3, "{} for 3", came.len());
    // The right one does; after a second there is a new challenge. It is the victim's own from then on: all that is said.
    for _ in 0..5 {
        moved.keepalive(four(&challenge, 16));
        talk(&mut one, &other, 100);
        let came = all(&moved.socket);
        let heard = came.iter().filter(|packet| udp::eight(packet, 0) == one.uid).count();
        if heard == 100 {
            return;
        }
        challenge = challenge_in(&came).unwrap_or(challenge);
    }
    panic!("the right answer is none");
}

/// The last question of the server.
fn challenge_in(came: &[Packet]) -> Option<Packet> {
    let asks = |packet: &&Packet| packet[..4] == [0xFF; 4] && operation(packet).0 == KEEPALIVE;
    let found = came.iter().rev().find(asks).copied();
    found.inspect(|packet| assert_ne!(four(packet, 16), 0))
}
