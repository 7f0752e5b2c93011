//! Floods, many members, and what there is a limited number of.

use std::net::Ipv4Addr;
use std::time::Instant;

use rustix::process::getrlimit;
use rustix::process::setrlimit;
use rustix::process::Resource;
use rustix::process::Rlimit;

use super::*;
use crate::engine::net::voice::ports::Ports;

#[test]
fn members_hear_each_other_through_a_hundred_thousand_packets_of_noise() {
    let server = Server::new(8);
    let port = server.open(true);
    let mut alice = Phone::join(&server, port, 1, true);
    let bob = Phone::join(&server, port, 2, true);
    // Together they stay under the rate, however fast the noise is read.
    let mut speakers: Vec<_> = (3..13).map(|uid| Phone::join(&server, port, uid, true)).collect();
    let noise = Phone::new(port, 1, true);
    let (unsigned, old) = (packet::user(1, b"noise"), alice.say(b"old"));
    bob.hear();
    let stranger = packet::user(12_345, b"noise");
    let magic = [0xFF; PACKET];
    let end = packet::system(Operation::End, 0, 0);
    let kinds: [&[u8]; 8] = [&unsigned, &old, &stranger, &magic, &end, b"", &[7; 100], &[7; 2_000]];
    for speaker in &speakers {
        speaker.hear();
    }
    for round in 0..500u32 {
        for kind in kinds.iter().cycle().take(200) {
            noise.socket.send(kind).unwrap();
        }
        let count = speakers.len();
        let said = speakers[round as usize % count].say(&round.to_le_bytes());
        assert_eq!(bob.hear(), said, "round {round}");
    }
    noise.hears_nothing();
    assert_eq!(server.events.try_recv(), Err(mpsc::TryRecvError::Empty));
}

#[test]
fn a_member_that_sends_too_many_is_heard_at_the_rate() {
    for signed in [true, false] {
        let server = Server::new(8);
        let port = server.open(signed);
        let mut alice = Phone::join(&server, port, 1, signed);
        let bob = Phone::join(&server, port, 2, signed);
        let mut others: Vec<_> = (3..8).map(|uid| Phone::join(&server, port, uid, signed)).collect();
        server.order(Order::Listen { channel: CHANNEL, on: true });
        server.open(signed);
        let (since, mut heard, mut end) = (Instant::now(), 0, [0; PACKET]);
        for round in 0..100 {
            for _ in 0..200 {
                alice.say(b"flood");
            }
            // Others are heard all the same.
            end = others[round % 5].say(&[round as u8]);
            loop {
                let packet = bob.hear();
                if packet == end {
                    break;
                }
                assert_eq!(packet::uid(&packet), 1);
                heard += 1;
            }
        }
        let most = 64 + since.elapsed().as_millis() / 5 + 1;
        assert!((60..=most).contains(&heard), "{heard}, not {most}: signed {signed}");
        let mut told = Vec::new();
        while !told.ends_with(&end) {
            match server.event() {
                Event::Heard { packets, .. } => told.extend(packets),
                other => panic!("{other:?}"),
            }
        }
        let told = told.chunks(PACKET).filter(|packet| packet::uid(packet) == 1).count();
        assert_eq!(told as u128, heard, "nor does the role hear more");
    }
}

#[test]
fn a_thousand_members_hear_one_speaker_without_a_gap() {
    const MEMBERS: u64 = 1_000;
    const PACKETS: u64 = 50;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let server = Server::new(8);
    let port = server.open(true);
    let mut speaker = Phone::join(&server, port, 1, true);
    let phones: Vec<_> = (2..2 + MEMBERS).map(|uid| Phone::join(&server, port, uid, true)).collect();
    let said: Vec<_> = (0..PACKETS).map(|n| speaker.say(&n.to_le_bytes())).collect();
    for phone in &phones {
        for packet in &said {
            assert!(phone.hear() == *packet, "{}", phone.uid);
        }
    }
    speaker.hears_nothing();
}

#[test]
fn when_all_ports_are_used_the_one_idle_longest_is_taken() {
    let server = Server::new(2);
    server.try_open(1, false).unwrap();
    server.try_open(2, false).unwrap();
    let join = |channel| {
        server.order(Order::Join { channel, uid: 5, join: channel * 10, terms: Terms::Unsigned, proven: None })
    };
    join(1);
    join(2);
    let words = server.try_open(3, false).unwrap_err();
    assert!(words.contains('2'), "{words}");
    // A join in a channel that is not open is none.
    join(3);
    assert_eq!(server.event(), Event::Silent { channel: 3, uid: 5, join: 30 });
    server.order(Order::Leave { channel: 2, uid: 5 });
    server.try_open(3, false).unwrap();
    join(2);
    assert_eq!(server.event(), Event::Silent { channel: 2, uid: 5, join: 20 }, "its port was taken");
    assert!(server.try_open(2, false).is_ok(), "that of 3, which nobody has joined");
    server.order(Order::Close { channel: 1 });
    assert!(server.try_open(3, true).is_ok());
}

#[test]
fn ports_of_a_range() {
    // Addresses that nothing else uses.
    let first = SocketAddr::from((Ipv4Addr::new(127, 64, 48, 4), 50_000));
    let mut ports = Ports::new(first, 3);
    let (one, number) = ports.open(|_| false).unwrap();
    assert_eq!((number, one.local_addr().unwrap()), (50_000, first));
    drop(one);
    let (_two, number) = ports.open(|_| false).unwrap();
    assert_eq!(number, 50_001, "one that was given back rests");
    // Another program has the next.
    let _foreign = UdpSocket::bind((first.ip(), 50_002)).unwrap();
    let (_three, number) = ports.open(|number| number == 50_001).unwrap();
    assert_eq!(number, 50_000);
    assert!(ports.open(|number| number < 50_002).is_none());
    assert_eq!(Ports::new(SocketAddr::new(first.ip(), 65_530), 100).count(), 6);
    assert!(Ports::new(first, 0).open(|_| false).is_none());
}

#[test]
fn a_member_without_a_key_is_none_in_a_signed_channel() {
    let server = Server::new(2);
    server.open(true);
    server.join(5, false);
    assert_eq!(server.event(), Event::Silent { channel: CHANNEL, uid: 5, join: 1 });
}

#[test]
fn voice_is_served_once_and_ends_with_its_role() {
    let server = Server::new(2);
    assert!(server.handle.serve_voice((LOOPBACK, 0).into(), 2, false, &[4; KEY]).is_err());
    let nowhere = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 0));
    let other = Server::new(2).handle.serve_voice(nowhere, 2, false, &[4; KEY]);
    assert!(other.unwrap_err().contains("listen.voice_udp"));
    let port = server.open(false);
    assert!(UdpSocket::bind((LOOPBACK, port)).is_err());
    drop(server);
    let since = Instant::now();
    while UdpSocket::bind((LOOPBACK, port)).is_err() {
        assert!(since.elapsed() < PATIENCE, "the thread still runs");
        std::thread::yield_now();
    }
}

#[test]
fn what_is_to_be_played_has_a_bound() {
    let (sender, _events) = mpsc::channel();
    let handle = Handle::new(Radio(sender), Limits::default(), 1, None, &Arc::new(Registry::default())).unwrap();
    let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
    let (waiting, playing, ended) = (Mutex::default(), AtomicUsize::new(0), AtomicBool::new(false));
    let inbox = Arc::new(Inbox { waiting, fresh: AtomicBool::new(false), playing, ended, wake });
    assert!(handle.shared.voice.set(Orders(Arc::clone(&inbox))).is_ok());
    // Nobody carries them out.
    for _ in 0..200 {
        handle.with(|_, ctx| ctx.voice(Order::Play { channel: 1, packets: vec![0; 1 << 20] }));
    }
    handle.with(|_, ctx| ctx.voice(Order::Close { channel: 1 }));
    assert_eq!(inbox.playing.load(Ordering::Relaxed), PLAY);
    assert_eq!(inbox.waiting.lock().unwrap().len(), PLAY / (1 << 20) + 1, "other orders are kept");
}
