//! Garbage of any length, over TCP and UDP: the right error, and the server goes on.

use std::net::UdpSocket;

use crate::beside;
use crate::grant;
use crate::kv;
use crate::kv::done;
use crate::kv::failure;
use crate::kv::send_and_end;
use crate::kv::user;
use crate::kv::CREATE;
use crate::server;
use crate::support::Random;
use crate::udp;
use crate::udp::Member;

/// Random bytes.
fn noise(random: &mut Random, length: usize) -> Vec<u8> {
    (0..length).map(|_| u8::try_from(random.below(256)).expect("a byte")).collect()
}

/// What bytes that nobody meant are answered, with nobody's numbers in them. None: a list.
fn expected(bytes: &[u8]) -> Option<u32> {
    let Some(kind) = bytes.first_chunk().map(|kind| u32::from_be_bytes(*kind)) else { return Some(kv::TOO_FEW) };
    let (plain, signed) = (kind % 16, kind / 16);
    if plain > 7 || signed > 1 {
        return Some(kv::NOT_IMPLEMENTED);
    }
    let key = if plain == kv::REGISTER { 32 } else { 0 };
    let behind = if signed == 1 { key + 8 + 64 } else { 0 };
    let fields = kv::FIELDS[usize::try_from(plain).expect("small")] * 8;
    if bytes.len() < 4 + fields + behind {
        return Some(kv::TOO_FEW);
    }
    match (plain, signed) {
        (kv::GET_CHANNELS, _) => None,
        // Self-signed, and by nobody.
        (kv::REGISTER, 1) => Some(kv::ACCESS),
        _ => Some(kv::VALUE),
    }
}

#[test]
fn bytes_that_nobody_meant() {
    let _beside = beside();
    let mut random = Random::seeded();
    let server = server();
    let at = &server.addr("voice_control");
    for n in 0..600 {
        let length = usize::try_from(random.below(200)).expect("small");
        let mut bytes = noise(&mut random, length);
        // Most begin like a request.
        if n % 4 != 0 && length >= 4 {
            let kind = u32::try_from(random.below(26)).expect("small");
            bytes[..4].copy_from_slice(&kind.to_be_bytes());
        }
        let answer = send_and_end(at, &bytes);
        match expected(&bytes) {
            Some(error) => assert_eq!(answer, failure(error), "{bytes:?}"),
            None => assert_eq!(answer, [0; 16], "{bytes:?}"),
        }
    }
    assert_eq!(done(at, CREATE, &[user(at)]) >> 32, 1);
}

/// With numbers in them that are somebody's: whatever is done, the answer has one of three forms.
#[test]
fn requests_put_together_at_random() {
    let _beside = beside();
    let mut random = Random::seeded();
    let server = server();
    let at = &server.addr("voice_control");
    let mut known: Vec<u64> = (0..6).map(|_| user(at)).collect();
    known[..3].iter().for_each(|uid| grant(&server, *uid, "admin"));
    let made = [0, 1, 2].map(|n| done(at, CREATE, &[known[n]]));
    known.extend(made);
    known.extend([0, 1, u64::MAX, 0x7FFF_FFFF]);
    for _ in 0..600 {
        let kind = u32::try_from(random.below(24)).expect("small");
        let mut pick = || known[usize::try_from(random.below(known.len() as u64)).expect("small")];
        let fields = [pick(), pick(), pick()];
        let mut bytes = kv::request(kind, &fields);
        bytes.resize(bytes.len() + 104, 0);
        let answer = send_and_end(at, &bytes);
        match (kind % 16, answer.len()) {
            (8.., _) => assert_eq!(answer, failure(kv::NOT_IMPLEMENTED)),
            (kv::GET_CHANNELS, length) => assert!(length >= 16 && length % 8 == 0, "{answer:?}"),
            (_, 12) => assert!((kv::VALUE..=kv::ACCESS).contains(&kv::error(&answer)), "{kind} {fields:?}: {answer:?}"),
            (_, 8) => drop(kv::number(&answer)),
            _ => panic!("{kind} {fields:?}: {answer:?}"),
        }
    }
    kv::channels(at);
}

#[test]
fn datagrams_that_nobody_meant() {
    let _beside = beside();
    let mut random = Random::seeded();
    let server = server();
    let at = &server.addr("voice_control");
    let (one, other) = (user(at), user(at));
    let chid = done(at, CREATE, &[one]);
    let (mut one, other) = (Member::join(at, one, chid), Member::join(at, other, chid));
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    stranger.set_nonblocking(true).expect("does not wait");
    let mut said = 0_u32;
    for n in 0..3_000 {
        let length = match random.below(4) {
            0 => random.below(1_500),
            1 => 511 + random.below(3),
            _ => 512,
        };
        let mut bytes = noise(&mut random, usize::try_from(length).expect("small"));
        let operation = 0x8000_0000 + u32::try_from(random.below(8)).expect("small");
        let ackid = u32::try_from(random.below(4)).expect("small");
        match random.below(4) {
            0 if bytes.len() > 24 => bytes[..24].copy_from_slice(&udp::system(operation, one.uid, ackid)[..24]),
            1 if bytes.len() > 4 => bytes[..4].fill(0xFF),
            2 if bytes.len() > 8 => bytes[..8].copy_from_slice(&one.uid.to_le_bytes()),
            _ => {}
        }
        stranger.send_to(&bytes, one.to).expect("sent");
        // A member's own address sends no better: what has the wrong length or checksum is nothing.
        bytes.truncate(511);
        one.send(&bytes);
        let mut damaged = udp::system(udp::KEEPALIVE, one.uid, 9);
        damaged[20 + n % 4] ^= 0x10;
        one.send(&damaged);
        if n % 60 == 59 {
            said += 1;
            let packet = one.say(&said.to_be_bytes());
            other.hears(&packet);
        }
    }
    assert!(stranger.recv(&mut [0; 600]).is_err(), "a stranger was answered");
}
