//! What a forwarded packet costs, and what a member takes. `cargo test --release --lib voice_costs -- --ignored --nocapture` prints both.

use std::fs;
use std::io::IoSlice;
use std::io::IoSliceMut;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use nix::sys::socket::recvmmsg;
use nix::sys::socket::sendmmsg;
use nix::sys::socket::ControlMessage;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::MultiHeaders;
use nix::sys::socket::SockaddrIn;

use super::*;
use crate::engine::net::voice::calls::Receiver;
use crate::engine::net::voice::calls::BATCH;

/// Packets said in one go.
const BURST: usize = 32;
const ROUNDS: usize = 40;
/// How long a member saves up for a burst.
const REST: Duration = Duration::from_millis(5 * BURST as u64 + 10);

/// CPU time of this process' thread of that name, in nanoseconds.
fn cpu(name: &str) -> u64 {
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        if fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name) {
            let times = fs::read_to_string(task.join("schedstat")).unwrap();
            return times.split(' ').next().unwrap().parse().unwrap();
        }
    }
    panic!("no thread {name}");
}

/// Nothing but the two system calls: each packet goes to all addresses but the first.
fn bare(socket: &UdpSocket, to: &[SocketAddr], end: &AtomicBool) {
    let to: Vec<_> = to.iter().map(|to| Some(SockaddrIn::from(ipv4(*to)))).collect();
    let mut buffers = Box::new([[0u8; PACKET]; BATCH]);
    let (mut came, mut out) =
        (MultiHeaders::<SockaddrIn>::preallocate(BATCH, None), MultiHeaders::<SockaddrIn>::preallocate(BATCH, None));
    let none: [ControlMessage<'_>; 0] = [];
    while !end.load(Ordering::Relaxed) {
        let mut parts = buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
        let flags = MsgFlags::MSG_WAITFORONE;
        let count = recvmmsg(socket.as_raw_fd(), &mut came, parts.iter_mut(), flags, None).map_or(0, Iterator::count);
        for buffer in buffers.iter().take(count) {
            let part = [IoSlice::new(buffer)];
            for some in to.chunks(BATCH) {
                let parts = std::iter::repeat_n(&part, some.len());
                sendmmsg(socket.as_raw_fd(), &mut out, parts, some, none, MsgFlags::empty()).unwrap();
            }
        }
    }
}

fn ipv4(address: SocketAddr) -> std::net::SocketAddrV4 {
    match address {
        SocketAddr::V4(v4) => v4,
        SocketAddr::V6(_) => panic!("{address}"),
    }
}

/// One of `phones` speaks, and the others hear it all.
fn round(phones: &mut [Phone], speaker: usize, receiver: &mut Receiver) {
    for _ in 0..BURST {
        phones[speaker].say(b"sound");
    }
    for (_, phone) in phones.iter().enumerate().filter(|(at, _)| *at != speaker) {
        let mut heard = 0;
        while heard < BURST {
            match receiver.receive(&phone.socket) {
                0 => thread::yield_now(),
                count => heard += count,
            }
        }
    }
}

#[test]
#[ignore = "prints figures"]
fn voice_costs() {
    let mut receiver = Receiver::new();
    for members in [10, 100] {
        for signed in [false, true] {
            let server = Server::new(8);
            let port = server.open(signed);
            let mut phones: Vec<_> = (1..=members).map(|uid| Phone::join(&server, port, uid, signed)).collect();
            let plain = UdpSocket::bind((LOOPBACK, 0)).unwrap();
            plain.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            let at = plain.local_addr().unwrap();
            let mut plain_phones: Vec<_> = (1..=members).map(|uid| Phone::new(at.port(), uid, signed)).collect();
            let to: Vec<_> = plain_phones[1..].iter().map(|phone| phone.socket.local_addr().unwrap()).collect();
            let end = Arc::new(AtomicBool::new(false));
            let told = Arc::clone(&end);
            let name = format!("bare{members}{}", u8::from(signed));
            let run = thread::Builder::new().name(name.clone()).spawn(move || bare(&plain, &to, &told)).unwrap();
            let repeat = 20_000 / (members as usize * BURST) + 1;
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            // Members have a rate: they take turns, and each rests behind a burst.
            let (mut turn, mut spoke) = (0, vec![Instant::now(); phones.len()]);
            for _ in 0..ROUNDS {
                for (phones, name, costs) in
                    [(&mut phones, "voice", &mut ours), (&mut plain_phones, name.as_str(), &mut theirs)]
                {
                    let before = cpu(name);
                    for _ in 0..repeat {
                        if name != "voice" {
                            round(phones, 0, &mut receiver);
                            continue;
                        }
                        turn = (turn + 1) % phones.len();
                        while spoke[turn].elapsed() < REST {
                            thread::yield_now();
                        }
                        spoke[turn] = Instant::now();
                        round(phones, turn, &mut receiver);
                    }
                    costs.push((cpu(name) - before) as f64 / (repeat * BURST * (members as usize - 1)) as f64);
                }
            }
            ours.sort_by(f64::total_cmp);
            theirs.sort_by(f64::total_cmp);
            let (ours, theirs) = (ours[ROUNDS / 2], theirs[ROUNDS / 2]);
            println!(
                "{members} members, signed {signed}: {ours:.0} ns a forwarded packet, bare {theirs:.0} ns: {:.3}",
                ours / theirs
            );
            end.store(true, Ordering::Relaxed);
            run.join().unwrap();
            drop(server);
            // The next thread has the same name.
            while thread_is_there("voice") {
                thread::yield_now();
            }
        }
    }
    memory();
}

fn thread_is_there(name: &str) -> bool {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks.map(|task| task.path().join("comm")).any(|comm| fs::read_to_string(comm).is_ok_and(|is| is.trim() == name))
}

fn memory() {
    let resident = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
    };
    let server = Server::new(16);
    let before = resident();
    for channel in 0..16 {
        let port = server.try_open(channel, true).unwrap();
        let phone = Phone::new(port, 1, true);
        for uid in 1..=4_096 {
            server.order(Order::Join { channel, uid, join: 1, terms: terms(uid, true), proven: None });
        }
        server.try_open(channel, true).unwrap();
        for uid in 1..=4_096 {
            // Now and then one is acknowledged: so the socket does not overflow, and not too much is signed.
            let waits = uid % 64 == 0;
            let mut packet = packet::system(Operation::Keepalive, uid, u32::from(waits));
            packet::seal(&mut packet, &key(uid), 1);
            phone.socket.send(&packet).unwrap();
            if waits {
                phone.hear();
            }
        }
    }
    println!("{} bytes a member", (resident() - before) / 65_536);
}
