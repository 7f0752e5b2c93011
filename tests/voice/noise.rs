//! 100,000 packets a second of noise at the ports of two channels, while their members talk.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use rustix::net::sendmmsg;
use rustix::net::MMsgHdr;
use rustix::net::SendAncillaryBuffer;
use rustix::net::SendFlags;

use crate::alone;
use crate::kv::done;
use crate::kv::number;
use crate::kv::send;
use crate::kv::user;
use crate::kv::Key;
use crate::kv::CREATE;
use crate::load::cpu;
use crate::load::talk;
use crate::load::Group;
use crate::server;
use crate::support::Random;
use crate::udp;
use crate::udp::Member;

const PER_SECOND: u64 = 100_000;
/// Things that each member says meanwhile: 3 s.
const SAID: u32 = 150;
const BATCH: usize = 64;

/// What a stranger sends: bytes, strangers' packets, members' names, forged tags, packets of the system, wrong lengths.
fn noise(random: &mut Random, members: &[u64]) -> Vec<Vec<u8>> {
    let mut byte = || u8::try_from(random.below(256)).expect("a byte");
    let mut all = Vec::new();
    for n in 0..32 {
        let mut packet: Vec<u8> = (0..udp::LENGTH).map(|_| byte()).collect();
        let uid = members[n % members.len()];
        match n % 5 {
            0 => {}
            1 => packet[..8].copy_from_slice(&uid.to_le_bytes()),
            2 => packet[..24].copy_from_slice(&udp::system(0x8000_0000 + n as u32 % 6, uid, 5)[..24]),
            3 => {
                // A counter that may be, and a tag that is none.
                packet[..8].copy_from_slice(&uid.to_le_bytes());
                packet[488..496].copy_from_slice(&(10_000 + n as u64).to_le_bytes());
            }
            _ => packet.resize(udp::LENGTH - 1 + n % 2 * 2, 0),
        }
        all.push(packet);
    }
    all
}

/// Sends noise at its rate until it is told to stop; how many packets that were, and in what time.
fn make_noise(packets: &[Vec<u8>], targets: &[SocketAddr], stop: &AtomicBool) -> (u64, Duration) {
    let sockets: Vec<UdpSocket> = targets
        .iter()
        .map(|target| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            socket.connect(target).expect("an address");
            socket
        })
        .collect();
    let parts: Vec<[IoSlice<'_>; 1]> = packets.iter().map(|packet| [IoSlice::new(packet)]).collect();
    let (began, mut sent) = (Instant::now(), 0);
    while !stop.load(Ordering::Relaxed) {
        let due = began.elapsed().as_micros() as u64 * PER_SECOND / 1_000_000;
        if due < sent + BATCH as u64 {
            std::thread::yield_now();
            continue;
        }
        let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> =
            (0..BATCH).map(|_| SendAncillaryBuffer::default()).collect();
        let mut messages: Vec<MMsgHdr<'_>> =
            controls.iter_mut().zip(parts.iter().cycle()).map(|(control, part)| MMsgHdr::new(part, control)).collect();
        let socket = &sockets[usize::try_from(sent).expect("small") / BATCH % sockets.len()];
        sent += sendmmsg(socket, &mut messages, SendFlags::empty()).unwrap_or(0) as u64;
    }
    (sent, began.elapsed())
}

#[test]
fn members_hear_each_other_through_noise() {
    let mut random = Random::seeded();
    let server = server();
    let at = &server.addr("voice_control");
    let owner = user(at);
    let chid = done(at, CREATE, &[owner]);
    let members: Vec<Member> = (0..4).map(|_| Member::join(at, user(at), chid)).collect();
    let mut keys: Vec<Key> = ["a", "b", "c", "d"].iter().map(|user| Key::of(&server, user)).collect();
    let uids: Vec<u64> = keys.iter_mut().map(|key| key.register(at)).collect();
    let signed = number(&send(at, &keys[0].sign(CREATE, &[uids[0]])));
    let signed: Vec<Member> =
        keys.iter_mut().zip(&uids).map(|(key, uid)| Member::join_signed(at, key, *uid, signed)).collect();
    let all: Vec<u64> = members.iter().chain(&signed).map(|member| member.uid).collect();
    let (packets, targets) = (noise(&mut random, &all), [members[0].to, signed[0].to]);
    let mut groups = [Group { members, speakers: 4 }, Group { members: signed, speakers: 4 }];
    let _alone = alone();
    let stop = AtomicBool::new(false);
    let (before, memory) = (cpu(&server), server.rss_kib());
    let (loss, (sent, took)) = std::thread::scope(|scope| {
        let noise = scope.spawn(|| make_noise(&packets, &targets, &stop));
        let loss = talk(&mut groups, SAID);
        stop.store(true, Ordering::Relaxed);
        (loss, noise.join().expect("noise"))
    });
    let after = cpu(&server);
    let rate = sent as f64 / took.as_secs_f64();
    println!(
        "{sent} packets of noise in {took:?}, {rate:.0} a second; {loss:?}; CPU of the process {:?}, {:.2} us for each packet",
        after.0 - before.0,
        (after.0 - before.0).as_secs_f64() * 1e6 / sent as f64,
    );
    assert!(
        rate > 0.9 * PER_SECOND as f64,
        "this machine is too busy to make so much noise: {rate:.0} packets a second"
    );
    assert_eq!(loss.disordered, 0, "{loss:?}");
    assert!(loss.part() < 0.001, "{loss:?}");
    let grown = server.peak_rss_kib().saturating_sub(memory);
    assert!(grown < 8 << 10, "{grown} KiB");
}
