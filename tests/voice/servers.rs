//! Members of one channel at several main servers, while servers go and come.

use std::time::Instant;

use crate::alone;
use crate::kv::done;
use crate::kv::number;
use crate::kv::send;
use crate::kv::user;
use crate::kv::Key;
use crate::kv::CREATE;
use crate::kv::LEAVE;
use crate::load::talk;
use crate::load::Group;
use crate::load::Loss;
use crate::support::sites;
use crate::support::Cluster;
use crate::support::Topology;
use crate::udp;
use crate::udp::operation;
use crate::udp::Member;
use crate::udp::LEFT;
use crate::PATIENCE;

/// Voice control of a server, as its own machine reaches it.
fn control(cluster: &Cluster, name: &str) -> String {
    let address = cluster.server(name).addr("voice_control");
    format!("127.0.0.1:{}", address.rsplit_once(':').expect("a port").1)
}

/// Until all hear all: a list of members, or a way, may be under way.
#[track_caller]
fn settle(groups: &mut [Group]) {
    let until = Instant::now() + PATIENCE;
    loop {
        let loss = talk(groups, 2);
        if loss.heard == loss.expected {
            return;
        }
        assert!(Instant::now() < until, "they do not hear each other: {loss:?}");
    }
}

#[track_caller]
fn assert_whole(loss: Loss, when: &str) {
    println!("{when}: {loss:?}");
    assert_eq!(loss.disordered, 0, "{when}: {loss:?}");
    assert!(loss.part() < 0.001, "{when}: {loss:?}");
}

fn group(members: Vec<Member>) -> [Group; 1] {
    let speakers = members.len();
    [Group { members, speakers }]
}

#[test]
fn members_hear_each_other_whoever_else_dies() {
    let _alone = alone();
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    let [a, b, c] = ["a", "b", "c"].map(|name| control(&cluster, name));
    let owner = user(&a);
    cluster.admin(&["voice-rights", &owner.to_string(), "add_channel,kick_user"]);
    // Who was registered at one server is known at all.
    let chid = done(&b, CREATE, &[owner]);
    let at_c = user(&c);
    let members = vec![
        Member::join(&a, owner, chid),
        Member::join(&a, user(&b), chid),
        Member::join(&b, user(&a), chid),
        Member::join(&c, at_c, chid),
    ];
    let mut groups = group(members);
    settle(&mut groups);
    assert_whole(talk(&mut groups, 50), "three servers");
    // Management dies, and comes back, while they talk.
    let loss = std::thread::scope(|scope| {
        let talking = scope.spawn(|| talk(&mut groups, 150));
        cluster.kill("management");
        cluster.start("management");
        talking.join().expect("they talk")
    });
    assert_whole(loss, "management died");
    cluster.wait_up(&["a", "b", "c"]);
    assert_whole(talk(&mut groups, 25), "management is back");
    // It knows who is a member: one is kicked, at another server than it is at, and comes again.
    let mut kicked = 0;
    cluster.until("management knows the members again", || {
        kicked = number_or_zero(&a, owner, at_c, chid);
        kicked == 1
    });
    let [group] = &mut groups;
    let gone = group.members.pop().expect("four members");
    assert_eq!(operation(&gone.next()), (LEFT, at_c));
    group.speakers = 3;
    group.members.push(Member::join(&c, at_c, chid));
    group.speakers = 4;
    settle(&mut groups);
    // A server dies while the others talk.
    let [group] = &mut groups;
    let lost = group.members.pop().expect("four members");
    group.speakers = 3;
    let loss = std::thread::scope(|scope| {
        let talking = scope.spawn(|| talk(&mut groups, 100));
        cluster.kill("c");
        talking.join().expect("they talk")
    });
    assert_whole(loss, "a server died");
    drop(lost);
    // It is back, and so is its member.
    cluster.start("c");
    cluster.wait_up(&["a", "b", "c"]);
    let [group] = &mut groups;
    group.members.push(Member::join(&control(&cluster, "c"), at_c, chid));
    group.speakers = 4;
    settle(&mut groups);
    assert_whole(talk(&mut groups, 25), "the server is back");
}

/// 1: kicked; 0: it is no member.
fn number_or_zero(at: &str, kicker: u64, uid: u64, chid: u64) -> u64 {
    let answer = send(at, &crate::kv::padded(LEAVE, &[kicker, uid, chid]));
    if answer.len() == 8 {
        number(&answer)
    } else {
        0
    }
}

#[test]
fn a_signed_channel_over_a_row_of_servers_with_firewalls() {
    if !sites::available() {
        return;
    }
    let _alone = alone();
    let names = ["a", "b", "c"];
    let mut cluster = Cluster::in_sites(Topology::chain(&names), &names);
    let mut keys: Vec<(String, Key, u64)> = Vec::new();
    for (name, user) in [("a", "alice"), ("a", "bob"), ("c", "carol"), ("c", "dave")] {
        let at = control(&cluster, name);
        let (key, uid) = cluster.within(name, || {
            let mut key = Key::of(cluster.management(), user);
            let uid = key.register(&at);
            (key, uid)
        });
        keys.push((name.to_owned(), key, uid));
    }
    cluster.admin(&["voice-rights", "alice", "add_channel"]);
    let at = control(&cluster, "a");
    let (_, key, uid) = &mut keys[0];
    let chid = cluster.within("a", || number(&send(&at, &key.sign(CREATE, &[*uid]))));
    let mut members: Vec<Member> = Vec::new();
    for (name, key, uid) in &mut keys {
        let at = control(&cluster, name);
        members.push(cluster.within(name, || Member::join_signed(&at, key, *uid, chid)));
    }
    let mut groups = group(members);
    settle(&mut groups);
    assert_whole(talk(&mut groups, 100), "over one that has no member");
    // A session at the server between them, over its link.
    let mut eve = cluster.sign_on("eve", "b");
    let joined = eve.ask("JOINVOICE", &[&chid.to_string(), "link"]).text();
    assert_eq!(joined.lines().count(), 1 + 5, "{joined}");
    let packet = groups[0].members[3].say(b"to eve");
    let line = eve.receive_command("VOICE");
    let text = format!("{chid}|{}~\n", groups[0].members[3].uid);
    assert!(line.data.starts_with(text.as_bytes()), "{}", line.data.escape_ascii());
    groups[0].members[..3].iter().for_each(|member| member.hears(&packet));
    let uid: u64 = joined.split('|').nth(1).expect("a uid").parse().expect("a number");
    eve.send("0", "VOICE", &[chid.to_string().as_bytes(), b"from eve"]);
    for member in &groups[0].members {
        let packet = member.next();
        assert_eq!((udp::eight(&packet, 0), &packet[8..16]), (uid, &b"from eve"[..]));
    }
    // The one between dies: those at one server go on, and when it is back, all do.
    cluster.kill("b");
    let rest = groups[0].members.split_off(2);
    groups[0].speakers = 2;
    assert_whole(talk(&mut groups, 25), "the server between is away");
    cluster.start("b");
    groups[0].members.extend(rest);
    groups[0].speakers = 4;
    settle(&mut groups);
    assert_whole(talk(&mut groups, 50), "the server between is back");
}
