//! Floods over TCP: what outsiders may make is bounded, and so is memory; others are served.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;
use std::time::Instant;

use rustix::process::getrlimit;
use rustix::process::setrlimit;
use rustix::process::Resource;
use rustix::process::Rlimit;

use crate::beside;
use crate::kv;
use crate::kv::answer;
use crate::kv::connect;
use crate::kv::done;
use crate::kv::fails;
use crate::kv::failure;
use crate::kv::padded;
use crate::kv::send;
use crate::kv::user;
use crate::kv::CREATE;
use crate::kv::DELETE;
use crate::kv::GET_PORT;
use crate::kv::JOIN;
use crate::kv::LEAVE;
use crate::kv::REGISTER;
use crate::kv::SERVER;
use crate::kv::TOO_FEW;
use crate::kv::UNREGISTER;
use crate::server;
use crate::support::Server;
use crate::udp::Member;

/// Lets this process, and the servers it starts from now on, open that many files.
fn raise_files(count: u64) {
    let now = getrlimit(Resource::Nofile);
    let most = now.maximum.unwrap_or(u64::MAX).min(count);
    if now.current.unwrap_or(u64::MAX) < most {
        setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: now.maximum }).expect("more files");
    }
    assert!(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) >= count, "this machine allows too few open files");
}

#[test]
fn thousands_of_connections_that_say_nothing() {
    const COUNT: usize = 5_000;
    let beside = beside();
    raise_files(COUNT as u64 + 1_000);
    let mut server = server();
    let at = &server.addr("voice_control");
    let before = server.rss_kib();
    let silent: Vec<TcpStream> = (0..COUNT)
        .map(|n| {
            let mut tcp = connect(at);
            // Some have begun.
            tcp.write_all(&padded(CREATE, &[1])[..n % 12]).expect("sent");
            tcp
        })
        .collect();
    let began = Instant::now();
    let owner = user(at);
    let chid = done(at, CREATE, &[owner]);
    let (mut one, other) = (Member::join(at, owner, chid), Member::join(at, user(at), chid));
    let packet = one.say(b"no matter");
    other.hears(&packet);
    println!("{COUNT} silent connections; others were served in {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let grown = server.peak_rss_kib().saturating_sub(before);
    println!("memory: {before} KiB before, {grown} KiB more at most");
    assert!(grown < 100 << 10, "{grown} KiB");
    // From here on it is a wait, which is in nobody's way.
    drop(beside);
    // All are closed, and told why; but for those that had to make room for others.
    let closed: Vec<Vec<u8>> = silent.into_iter().map(answer).collect();
    let made_room = closed.iter().position(|said| !said.is_empty()).expect("some were told");
    assert!(made_room < COUNT / 4, "{made_room}");
    assert!(closed[made_room..].iter().all(|said| *said == failure(TOO_FEW)));
    assert!(server.is_alive());
    assert_eq!(kv::channels(at), [chid]);
}

#[test]
fn users_that_register_without_end() {
    const CLIENTS: usize = 16;
    const MOST: usize = 10_000;
    let _beside = beside();
    let server = server();
    let at = &server.addr("voice_control");
    let before = server.rss_kib();
    let began = Instant::now();
    let fill = || -> Vec<u64> {
        let mut made = Vec::new();
        loop {
            let answer = send(at, &padded(REGISTER, &[0, 0]));
            match answer.len() {
                8 => made.push(kv::number(&answer)),
                _ => {
                    assert_eq!(answer, failure(SERVER));
                    return made;
                }
            }
        }
    };
    let mut made: Vec<u64> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(fill)).collect();
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    });
    let grown = server.peak_rss_kib().saturating_sub(before);
    println!("{} users in {:?}; {grown} KiB of memory more at most", made.len(), began.elapsed());
    assert!(grown < 64 << 10, "{grown} KiB");
    made.sort_unstable();
    made.dedup();
    assert_eq!(made.len(), MOST);
    // One less, and one more.
    assert_eq!(done(at, UNREGISTER, &[made[0], made[0]]), made[0]);
    assert!(user(at) > made[MOST - 1]);
    assert_eq!(fails(at, REGISTER, &[0, 0]), SERVER);
    // Those who are there are served; channels are bounded for each owner, and in all.
    for owner in &made[1..11] {
        for _ in 0..100 {
            done(at, CREATE, &[*owner]);
        }
        assert_eq!(fails(at, CREATE, &[*owner]), SERVER);
    }
    assert_eq!(fails(at, CREATE, &[made[11]]), SERVER);
    let all = kv::channels(at);
    assert_eq!(all.len(), 1_000);
    assert_eq!(done(at, DELETE, &[made[1], all[0]]), all[0]);
    done(at, CREATE, &[made[11]]);
    assert_eq!(fails(at, CREATE, &[made[1]]), SERVER);
    // A user is in so many channels, and no more.
    for chid in &all[100..164] {
        done(at, JOIN, &[made[20], made[20], *chid]);
    }
    assert_eq!(fails(at, JOIN, &[made[20], made[20], all[200]]), SERVER);
    assert_eq!(done(at, LEAVE, &[made[20], made[20], all[100]]), 1);
    done(at, JOIN, &[made[20], made[20], all[200]]);
    let grown = server.peak_rss_kib().saturating_sub(before);
    assert!(grown < 96 << 10, "{grown} KiB");
}

#[test]
fn channels_share_the_ports_that_there_are() {
    let _beside = beside();
    let rights = "voice.default_rights=[\"add_channel\"]";
    let server = Server::start(&["--set", rights, "--set", "voice.udp_ports=2"]);
    let at = &server.addr("voice_control");
    let owner = user(at);
    let all: Vec<u64> = (0..3).map(|_| done(at, CREATE, &[owner])).collect();
    let mut one = Member::join(at, owner, all[0]);
    let second = Member::join(at, user(at), all[0]);
    Member::join(at, owner, all[1]);
    // Both are used: the third gets none, neither for a member nor for who asks.
    for _ in 0..3 {
        assert_eq!(fails(at, JOIN, &[owner, owner, all[2]]), SERVER);
        assert_eq!(fails(at, GET_PORT, &[all[2]]), SERVER);
        assert_eq!(fails(at, LEAVE, &[owner, owner, all[2]]), kv::VALUE, "who was refused is no member");
    }
    // Nobody is in the second any more: its port is free.
    assert_eq!(done(at, LEAVE, &[owner, owner, all[1]]), 1);
    let third = Member::join(at, owner, all[2]);
    assert_eq!(fails(at, GET_PORT, &[all[1]]), SERVER);
    drop(third);
    let packet = one.say(b"and we are as before");
    second.hears(&packet);
}
