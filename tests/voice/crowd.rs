//! A channel with 1,000 members, of whom one speaks.

use std::time::Instant;

use crate::alone;
use crate::grant;
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
use crate::support::Server;
use crate::udp::Member;

const MEMBERS: usize = 1_000;
/// Things said: 3 s.
const SAID: u32 = 150;

/// One of them speaks; what is lost, and what it costs.
#[track_caller]
fn one_speaks(server: &Server, members: Vec<Member>, what: &str) {
    let mut groups = [Group { members, speakers: 1 }];
    let (before, began) = (cpu(server), Instant::now());
    let loss = talk(&mut groups, SAID);
    let (took, after) = (began.elapsed(), cpu(server));
    let (process, voice) = (after.0 - before.0, after.1 - before.1);
    println!(
        "{what}: 1 of {MEMBERS} speaks {SAID} times in {took:?}: {loss:?}; CPU of the process {process:?}, of it the thread of voice {voice:?}: \
         {:.2} us for each packet that was passed on, {:.1} % of a core",
        process.as_secs_f64() * 1e6 / loss.expected as f64,
        100.0 * process.as_secs_f64() / took.as_secs_f64(),
    );
    assert_eq!(loss.disordered, 0, "{loss:?}");
    assert!(loss.part() < 0.001, "{loss:?}");
}

#[test]
fn one_of_a_thousand_speaks() {
    let server = server();
    let at = &server.addr("voice_control");
    let owner = user(at);
    let chid = done(at, CREATE, &[owner]);
    let began = Instant::now();
    let join = |count: usize| -> Vec<Member> { (0..count).map(|_| Member::join(at, user(at), chid)).collect() };
    let parts: Vec<Vec<Member>> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| join(MEMBERS / 8))).collect();
        all.into_iter().map(|part| part.join().expect("they join")).collect()
    });
    println!(
        "{MEMBERS} members registered and joined in {:?}; the server has {} KiB",
        began.elapsed(),
        server.rss_kib()
    );
    let _alone = alone();
    one_speaks(&server, parts.into_iter().flatten().collect(), "not signed");
}

#[test]
fn one_of_a_thousand_speaks_signed() {
    let server = server();
    let at = &server.addr("voice_control");
    let mut key = Key::of(&server, "alice");
    let alice = key.register(at);
    grant(&server, alice, "admin");
    let chid = number(&send(at, &key.sign(CREATE, &[alice])));
    // She joins all of them: each has a key of its own.
    let join = |_| {
        let uid = user(at);
        let answer = send(at, &key.sign(crate::kv::JOIN, &[alice, uid, chid]));
        let mut member = Member::granted(at, &answer, uid);
        member.acknowledged(1);
        member
    };
    let members: Vec<Member> = (0..MEMBERS).map(join).collect();
    let _alone = alone();
    one_speaks(&server, members, "signed");
}
