use super::*;
use crate::voice::packet::seal;
use crate::voice::packet::system;
use crate::voice::packet::user;
use crate::voice::PACKET;

const KEY_A: [u8; KEY] = [1; KEY];

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn here(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn signed_terms() -> Terms {
    Terms::Signed(Zeroizing::new(KEY_A))
}

fn channel(signed: bool) -> Channel<SocketAddr> {
    Channel::new(0, signed, false)
}

/// A signed packet with sound.
fn sound(uid: u64, counter: u64) -> [u8; PACKET] {
    let mut packet = user(uid, b"sound");
    seal(&mut packet, &KEY_A, counter);
    packet
}

fn keepalive(uid: u64, ackid: u32, counter: u64) -> [u8; PACKET] {
    let mut packet = system(Operation::Keepalive, uid, ackid);
    seal(&mut packet, &KEY_A, counter);
    packet
}

fn good(uid: u64) -> Verdict {
    Verdict::Good { uid, forward: true, acknowledge: None, challenge: None }
}

fn get(channel: &mut Channel<SocketAddr>, now: u64, from: SocketAddr, bytes: &[u8]) -> Verdict {
    channel.received(now, from, bytes, || 77)
}

/// All who hear `uid`.
fn hear(channel: &mut Channel<SocketAddr>, uid: u64) -> Vec<SocketAddr> {
    let mut more = Vec::new();
    let mut all = channel.audience(uid, &mut more).to_vec();
    all.extend(more);
    all.sort();
    all
}

#[test]
fn the_first_packet_binds_and_nothing_else_moves_it() {
    let mut channel = channel(false);
    channel.join(0, 5, 3, Terms::Unsigned, None).unwrap();
    channel.join(0, 6, 3, Terms::Unsigned, None).unwrap();
    assert_eq!(hear(&mut channel, 6), []);
    assert_eq!(get(&mut channel, 1, here(1), &user(5, b"")), good(5));
    assert_eq!(hear(&mut channel, 6), [here(1)]);
    assert_eq!(hear(&mut channel, 5), [], "not to the sender");
    for other in [here(2), at("[::1]:1"), at("192.0.2.1:1")] {
        assert_eq!(get(&mut channel, 2, other, &user(5, b"")), Verdict::Drop(Reason::Address));
        assert_eq!(
            get(&mut channel, 2, other, &system(Operation::Keepalive, 5, 1)),
            Verdict::Drop(Reason::Address),
            "a keepalive moves nobody either"
        );
    }
    assert_eq!(hear(&mut channel, 6), [here(1)]);
    assert_eq!(get(&mut channel, 3, here(1), &user(7, b"")), Verdict::Drop(Reason::Stranger));
}

#[test]
fn unsigned_packets_from_elsewhere_only_where_that_is_allowed() {
    for (everywhere, from, expected) in [
        (false, "192.0.2.1:1", Verdict::Drop(Reason::Address)),
        (false, "[2001:db8::1]:1", Verdict::Drop(Reason::Address)),
        (false, "[::ffff:127.0.0.1]:1", good(5)),
        (false, "[::1]:1", good(5)),
        (true, "192.0.2.1:1", good(5)),
    ] {
        let mut channel: Channel<SocketAddr> = Channel::new(0, false, everywhere);
        channel.join(0, 5, 3, Terms::Unsigned, None).unwrap();
        assert_eq!(get(&mut channel, 1, at(from), &user(5, b"")), expected, "{from}");
    }
}

#[test]
fn noise_is_dropped_for_what_it_is() {
    let mut channel = channel(true);
    channel.join(0, 5, 3, signed_terms(), None).unwrap();
    let mut bent = sound(5, 1);
    bent[100] ^= 1;
    let mut no_checksum = keepalive(5, 1, 1);
    no_checksum[20] ^= 1;
    let mut unknown = keepalive(5, 1, 1);
    unknown[7] = 9;
    for (bytes, reason) in [
        (&sound(5, 1)[..511], Reason::NoPacket),
        (&no_checksum, Reason::NoPacket),
        (&sound(9, 1), Reason::Stranger),
        (&bent, Reason::Tag),
        (&user(5, b"no tag"), Reason::Tag),
        (&unknown, Reason::Operation),
        (&system(Operation::Acknowledge, 5, 1), Reason::Operation),
        (&system(Operation::End, 0, 0), Reason::Operation),
        (&system(Operation::Leave, 5, 0), Reason::Operation),
    ] {
        assert_eq!(get(&mut channel, 1, here(1), bytes), Verdict::Drop(reason));
    }
    assert_eq!(hear(&mut channel, 9), [], "none of it binds");
    assert_eq!(get(&mut channel, 1, here(1), &sound(5, 1)), good(5), "nor takes a counter");
}

#[test]
fn a_signed_packet_counts_once_and_moves_its_sender() {
    let mut channel = channel(true);
    channel.join(0, 5, 3, signed_terms(), None).unwrap();
    assert_eq!(get(&mut channel, 1, here(1), &sound(5, 100)), good(5));
    for from in [here(1), here(2)] {
        assert_eq!(get(&mut channel, 1, from, &sound(5, 100)), Verdict::Drop(Reason::Replay));
        assert_eq!(get(&mut channel, 1, from, &sound(5, 36)), Verdict::Drop(Reason::Replay), "too old");
    }
    assert_eq!(hear(&mut channel, 6), [here(1)], "a replay moves nobody");
    assert_eq!(get(&mut channel, 1, here(2), &sound(5, 101)), good(5));
    assert_eq!(hear(&mut channel, 6), [here(2)]);
    assert_eq!(get(&mut channel, 1, here(1), &sound(5, 99)), good(5), "it was under way");
    assert_eq!(hear(&mut channel, 6), [here(2)], "and does not move the member back");
    assert_eq!(
        get(&mut channel, 1, here(3), &keepalive(5, 0, 102)),
        Verdict::Good { uid: 5, forward: false, acknowledge: None, challenge: None }
    );
    assert_eq!(hear(&mut channel, 6), [here(3)]);
}

#[test]
fn keys_are_what_the_channel_has() {
    let mut signed = channel(true);
    assert!(signed.join(0, 5, 3, Terms::Unsigned, None).is_err());
    assert_eq!(signed.members(), 0);
    let mut plain = channel(false);
    plain.join(0, 5, 3, signed_terms(), None).unwrap();
    assert_eq!(get(&mut plain, 1, here(1), &user(5, b"no tag")), good(5), "a key that is not used");
}

#[test]
fn who_is_silent_goes() {
    let mut channel = channel(false);
    assert_eq!(channel.idle_since(), Some(0));
    for uid in [5, 6, 7] {
        channel.join(1_000, uid, 2, Terms::Unsigned, None).unwrap();
        channel.join(1_000, uid, 3, Terms::Unsigned, None).unwrap();
    }
    assert_eq!(channel.idle_since(), None);
    get(&mut channel, 1_000, here(6), &user(6, b""));
    get(&mut channel, 1_001, here(7), &system(Operation::Keepalive, 7, 0));
    get(&mut channel, 60_000, here(9), &user(6, b""));
    assert_eq!(channel.silent(60_999), []);
    let mut gone = channel.silent(61_000);
    gone.sort();
    assert_eq!(gone, [(5, 3, None), (6, 3, Some(here(6)))], "one never spoke; a packet from elsewhere keeps nobody");
    get(&mut channel, 61_000, here(7), &user(7, b""));
    assert_eq!(channel.silent(120_999), []);
    assert_eq!(channel.silent(121_000), [(7, 3, Some(here(7)))]);
    assert_eq!((channel.members(), channel.idle_since()), (0, Some(121_000)));
}

#[test]
fn an_address_that_has_proven_nothing_gets_no_more_than_it_sends() {
    let mut channel = channel(true);
    let far = at("192.0.2.1:1");
    channel.join(0, 5, 3, signed_terms(), None).unwrap();
    assert_eq!(
        get(&mut channel, 1_000, far, &sound(5, 1)),
        Verdict::Good { uid: 5, forward: true, acknowledge: None, challenge: Some(77) }
    );
    assert_eq!(hear(&mut channel, 6), [], "the challenge took what there was");
    assert_eq!(get(&mut channel, 1_500, far, &sound(5, 2)), good(5), "no second within a second");
    assert_eq!(hear(&mut channel, 6), [far]);
    assert_eq!(hear(&mut channel, 6), []);
    let mut sent = 0;
    for counter in 3..203 {
        match get(&mut channel, 1_500 + counter * 2, far, &keepalive(5, 9, counter)) {
            Verdict::Good { acknowledge, challenge, .. } => {
                sent += usize::from(acknowledge.is_some()) + usize::from(challenge.is_some());
            }
            verdict => assert_eq!((verdict, counter > 65), (Verdict::Drop(Reason::Rate), true), "{counter}"),
        }
    }
    assert_eq!(sent, 4, "four acknowledgements a second");
    for _ in 0..200 {
        sent += hear(&mut channel, 6).len();
    }
    assert_eq!(sent, 4 + 64, "no more than the cap is saved up");
}

#[test]
fn a_challenge_answered_proves_an_address() {
    let mut channel = channel(true);
    let far = at("192.0.2.1:1");
    channel.join(0, 5, 3, signed_terms(), Some(at("192.0.2.9:1").ip())).unwrap();
    get(&mut channel, 1, far, &sound(5, 1));
    for counter in 2..5 {
        get(&mut channel, 2, far, &keepalive(5, 76, counter));
    }
    // From elsewhere and late: the address there proves nothing.
    get(&mut channel, 2, far, &sound(5, 20));
    get(&mut channel, 2, at("192.0.2.2:1"), &keepalive(5, 77, 10));
    let verdict = get(&mut channel, 2, far, &keepalive(5, 77, 21));
    assert_eq!(verdict, Verdict::Good { uid: 5, forward: false, acknowledge: Some(77), challenge: None });
    for _ in 0..100 {
        assert_eq!(hear(&mut channel, 6), [far]);
    }
    let moved = at("192.0.2.1:9");
    assert_eq!(get(&mut channel, 3, moved, &sound(5, 22)), good(5), "the same host");
    assert_eq!(hear(&mut channel, 6), [moved]);
    let other = at("192.0.2.2:1");
    assert!(matches!(get(&mut channel, 4, other, &sound(5, 23)), Verdict::Good { challenge: Some(77), .. }));
    assert_eq!(hear(&mut channel, 6), [], "another host begins anew");
}

#[test]
fn who_sends_keepalives_alone_is_challenged_too() {
    let mut channel = channel(true);
    let far = at("192.0.2.1:1");
    channel.join(0, 5, 3, signed_terms(), Some(at("192.0.2.9:1").ip())).unwrap();
    let told = |acknowledge, challenge| Verdict::Good { uid: 5, forward: false, acknowledge, challenge };
    assert_eq!(get(&mut channel, 1, far, &keepalive(5, 9, 1)), told(None, Some(77)), "in place of the acknowledgement");
    assert_eq!(get(&mut channel, 900, far, &keepalive(5, 9, 2)), told(Some(9), None));
    assert_eq!(get(&mut channel, 15_000, far, &keepalive(5, 9, 3)), told(None, Some(77)));
    assert_eq!(get(&mut channel, 15_001, far, &keepalive(5, 77, 4)), told(Some(77), None));
    for _ in 0..100 {
        assert_eq!(hear(&mut channel, 6), [far], "it is proven");
    }
    assert_eq!(get(&mut channel, 15_002, far, &keepalive(5, 10, 5)), told(Some(10), None));
}

#[test]
fn a_challenge_is_not_guessed() {
    let mut channel = channel(true);
    let far = at("192.0.2.1:1");
    channel.join(0, 5, 3, signed_terms(), None).unwrap();
    get(&mut channel, 1, far, &sound(5, 1));
    for (counter, guess) in [(2, 1), (3, 2), (4, 3), (5, 4), (6, 77)] {
        get(&mut channel, 1, far, &keepalive(5, guess, counter));
    }
    let mut heard = 0;
    while !hear(&mut channel, 6).is_empty() {
        heard += 1;
        assert!(heard < 10, "proven by the fifth guess");
    }
}

#[test]
fn the_address_that_asked_over_tcp_is_proven() {
    for proven in ["192.0.2.1:5", "[::ffff:192.0.2.1]:5"] {
        let mut channel = channel(true);
        channel.join(0, 5, 3, signed_terms(), Some(at(proven).ip())).unwrap();
        assert_eq!(get(&mut channel, 1, at("192.0.2.1:1"), &sound(5, 1)), good(5));
        for _ in 0..100 {
            assert_eq!(hear(&mut channel, 6), [at("192.0.2.1:1")]);
        }
    }
}

#[test]
fn acknowledgements_are_four_a_second() {
    let mut channel = channel(true);
    channel.join(0, 5, 3, signed_terms(), None).unwrap();
    let mut count = 0;
    for counter in 0..100 {
        let now = 5_000 + counter * 20;
        if let Verdict::Good { acknowledge: Some(9), .. } = get(&mut channel, now, here(1), &keepalive(5, 9, counter)) {
            count += 1;
        }
    }
    assert_eq!(count, 8, "in two seconds");
}

#[test]
fn a_member_has_a_rate() {
    for signed in [true, false] {
        let mut channel = channel(signed);
        for uid in [5, 6] {
            let terms = if signed { signed_terms() } else { Terms::Unsigned };
            channel.join(0, uid, 3, terms, None).unwrap();
        }
        let mut counter = 0;
        let mut passed = |channel: &mut Channel<SocketAddr>, now, count| {
            let mut passed = 0;
            for _ in 0..count {
                counter += 1;
                let packet = if counter % 2 == 0 { sound(5, counter) } else { keepalive(5, 0, counter) };
                match get(channel, now, here(1), &packet) {
                    Verdict::Good { .. } => passed += 1,
                    verdict => assert_eq!(verdict, Verdict::Drop(Reason::Rate)),
                }
            }
            passed
        };
        assert_eq!(passed(&mut channel, 9_000, 20_000), 64, "at once");
        assert_eq!(get(&mut channel, 9_000, here(2), &sound(6, 1)), good(6), "another one's is its own");
        assert_eq!(passed(&mut channel, 9_004, 9), 0);
        assert_eq!(passed(&mut channel, 9_005, 9), 1);
        assert_eq!((9_006..10_005).map(|now| passed(&mut channel, now, 20)).sum::<u32>(), 199, "in a second");
        assert_eq!(passed(&mut channel, 69_004, 100), 64, "what is not used is not saved up");
        assert_eq!(channel.silent(129_003).len(), 1, "who sends too many is not silent");
    }
}

#[test]
fn nobody_uses_up_the_rate_of_another() {
    let mut channel = channel(true);
    channel.join(0, 5, 3, signed_terms(), None).unwrap();
    let said = sound(5, 1);
    assert_eq!(get(&mut channel, 1, here(1), &said), good(5));
    let mut bent = sound(5, 2);
    bent[100] ^= 1;
    for _ in 0..1_000 {
        assert_eq!(get(&mut channel, 1, here(9), &bent), Verdict::Drop(Reason::Tag));
        assert_eq!(get(&mut channel, 1, here(9), &said), Verdict::Drop(Reason::Replay));
    }
    for counter in 2..65 {
        assert_eq!(get(&mut channel, 1, here(1), &sound(5, counter)), good(5));
    }
    assert_eq!(get(&mut channel, 1, here(1), &sound(5, 65)), Verdict::Drop(Reason::Rate));
}

#[test]
fn a_second_join_replaces_the_first() {
    let mut channel = channel(true);
    assert_eq!(channel.join(0, 5, 3, signed_terms(), None), Ok(None));
    get(&mut channel, 1, here(1), &sound(5, 9));
    let other = [2; KEY];
    assert_eq!(channel.join(1, 5, 3, Terms::Signed(Zeroizing::new(other)), None), Ok(Some(here(1))));
    assert_eq!(hear(&mut channel, 6), []);
    assert_eq!(get(&mut channel, 1, here(1), &sound(5, 10)), Verdict::Drop(Reason::Tag), "the old key");
    let mut packet = user(5, b"");
    seal(&mut packet, &other, 1);
    assert_eq!(get(&mut channel, 1, here(2), &packet), good(5), "counters begin anew");
    assert_eq!(channel.members(), 1);
}

#[test]
fn there_is_a_bound_on_members() {
    let mut channel = channel(false);
    for uid in 0..MEMBERS as u64 {
        channel.join(0, uid, 3, Terms::Unsigned, None).unwrap();
    }
    assert!(channel.join(0, 1 << 40, 3, Terms::Unsigned, None).is_err());
    assert_eq!(channel.join(0, 7, 3, Terms::Unsigned, None), Ok(None), "one that is there");
    channel.leave(0, 8);
    assert_eq!(channel.join(0, 1 << 40, 3, Terms::Unsigned, None), Ok(None));
}

#[test]
fn everyone_hears_everyone_else_whoever_comes_and_goes() {
    // Against a plain list: proven and doubtful ones, joins, moves, and ends in an order that a generator draws.
    let mut channel: Channel<SocketAddr> = Channel::new(0, true, false);
    let mut model: HashMap<u64, Option<SocketAddr>> = HashMap::new();
    let (mut seed, mut counter) = (1u64, 0);
    let mut draw = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for step in 0..20_000 {
        let uid = draw(12);
        match draw(10) {
            0 => {
                channel.join(step, uid, 3, signed_terms(), None).unwrap();
                model.insert(uid, None);
            }
            1 => {
                assert_eq!(channel.leave(step, uid).is_some(), model.remove(&uid).flatten().is_some());
            }
            _ => {
                counter += 1;
                let from = here(1 + uid as u16 * 4 + draw(4) as u16);
                let verdict = get(&mut channel, step, from, &sound(uid, counter));
                match model.get_mut(&uid) {
                    Some(place) => {
                        *place = Some(from);
                        assert_eq!(verdict, good(uid));
                    }
                    None => assert_eq!(verdict, Verdict::Drop(Reason::Stranger)),
                }
            }
        }
        let others = model.iter().filter(|(other, _)| **other != uid);
        let mut expected: Vec<_> = others.filter_map(|(_, place)| *place).collect();
        expected.sort();
        assert_eq!(hear(&mut channel, uid), expected, "step {step}");
    }
}

#[test]
fn a_member_is_small() {
    // Kept for each in the map, and for each that listens.
    let each = std::mem::size_of::<(u64, Member)>() * 2 + std::mem::size_of::<Doubtful<[u8; 136]>>() * 2;
    assert!(each <= 1_024, "{each} bytes");
}
