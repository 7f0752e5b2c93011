//! A main server that passes on what others say, or says what is not its own. It counts what it gets, too.

use std::collections::HashMap;

use convergia::config::PortKey;
use convergia::engine::identity::ServerKey;
use convergia::engine::limits::Limits;
use convergia::engine::sim::NodeId;

use super::caller::Caller;
use super::data;
use super::datagram;
use super::desk::uid;
use super::desk::PLAIN;
use super::Stage;
use super::USERS;
use crate::network::Network;
use crate::rogue::server::Rogue;
use crate::rogue::stage::keep_log;
use crate::rogue::stage::logged;

/// `a` and `b` are honest; `rogue` is not, and is linked to both, unless a wall is in the way.
struct Lying {
    stage: Stage,
    rogue: NodeId,
}

impl Lying {
    /// `wall`: which two of a, b and rogue have no link.
    fn new(seed: u64, wall: Option<(&str, &str)>) -> Lying {
        keep_log();
        let net = Network::with_another(seed, &["a", "b"], "rogue", &USERS);
        let mut stage = Stage::with(net, &["a", "b"]);
        let keys: HashMap<_, _> = [("a", 2u8), ("b", 3)]
            .into_iter()
            .map(|(id, n)| (id.to_owned(), ServerKey::from_bytes(&[n; 32]).public()))
            .collect();
        let make = move || Rogue::new(keys.clone(), ServerKey::from_bytes(&[4; 32]));
        let listen = [(PortKey::MainMain, "rogue:77")];
        let rogue = stage.net.sim.add(None, Limits::default(), [9; 32], &listen, make).expect("a server");
        stage.net.sim.run_for(3_000);
        if let Some((one, other)) = wall {
            let node = |name: &str| if name == "rogue" { rogue } else { stage.main(name) };
            let (one, other) = (node(one), node(other));
            stage.net.sim.wall(one, other, true);
            stage.net.sim.cut(one, other);
            stage.net.sim.run_for(3_000);
        }
        Lying { stage, rogue }
    }

    /// The VOICE packets that it got since the last call, each with its sender.
    fn got(&mut self) -> Vec<(String, String)> {
        let got = self.stage.net.sim.with(self.rogue, |rogue: &mut Rogue, _| std::mem::take(&mut rogue.got));
        let voice = got.expect("it runs").into_iter().filter(|(_, command, _)| command == "VOICE");
        voice.map(|(from, _, data)| (from, data)).collect()
    }

    fn send(&mut self, to: &str, data: &[u8]) {
        let sent = self.stage.net.sim.with(self.rogue, |rogue: &mut Rogue, ctx| rogue.send(ctx, to, "VOICE", data));
        assert_eq!(sent, Some(true), "it is linked to {to}");
        self.stage.run();
    }

    /// Somebody is a member at a server, by management's word.
    fn member(&mut self, account: u64, server: &str) {
        self.stage.desk(|desk, ctx| desk.join(ctx, PLAIN, uid(account), server, "somebody"));
    }

    fn clients(&mut self) -> [NodeId; 2] {
        let clients = [self.stage.caller("alice", "a"), self.stage.caller("bob", "b")];
        for id in clients {
            self.stage.join(id, &PLAIN.to_string());
        }
        self.member(3, "rogue");
        self.stage.run();
        let _ = clients.map(|id| self.stage.told(id));
        clients
    }
}

/// How a link is told of it.
fn heard(uid: u64, text: &str) -> String {
    format!("VOICE {PLAIN}|{uid}\\n{}", data(text).escape_ascii())
}

#[test]
fn a_packet_crosses_each_link_once() {
    // What a says goes over it to b.
    let mut lying = Lying::new(11, Some(("a", "b")));
    let [alice, bob] = lying.clients();
    let dave = lying.stage.caller("dave", "b");
    lying.stage.join(dave, &PLAIN.to_string());
    lying.stage.run();
    let _ = [alice, bob, dave].map(|id| lying.stage.told(id));
    lying.got();
    lying.stage.say(alice, &PLAIN.to_string(), &data("one"));
    lying.stage.run();
    let got = lying.got();
    let [(from, packet)] = &got[..] else { panic!("{got:?}") };
    assert_eq!(from, "a");
    let parts: Vec<&str> = packet.splitn(3, "~\n").collect();
    let head: Vec<&str> = parts[0].split('|').collect();
    assert_eq!((head[0], head[1], head[3], &head[4..]), ("16", "a", &*PLAIN.to_string(), &["b", "rogue"][..]));
    let tags: Vec<&str> = parts[1].split('|').collect();
    assert_eq!((tags[0].len(), tags[1]), (64, ""), "a tag for who is not next to a");
    assert_eq!(parts[2].as_bytes(), datagram(uid(1), "one"));
    assert!(lying.stage.told(bob).is_empty(), "it was not passed on so far");

    // Passed on as it should be, and once more; and changed.
    let number = head[2];
    let passed = |tag: &str, text: &str| {
        let mut data = format!("15|a|{number}|{PLAIN}|b~\n{tag}~\n").into_bytes();
        data.extend_from_slice(&datagram(uid(1), text));
        data
    };
    logged();
    lying.send("b", &passed(tags[0], "two"));
    lying.send("b", &passed("", "one"));
    assert!(logged().iter().filter(|line| line.contains("not of a")).count() == 2);
    assert!(lying.stage.told(bob).is_empty());
    lying.send("b", &passed(tags[0], "one"));
    assert_eq!(lying.stage.told(bob), [heard(uid(1), "one")]);
    assert_eq!(lying.stage.told(dave), [heard(uid(1), "one")]);
    lying.send("b", &passed(tags[0], "one"));
    assert!(lying.stage.told(bob).is_empty(), "it was said once");
}

#[test]
fn who_passes_a_packet_on_sends_it_once() {
    let mut lying = Lying::new(12, Some(("a", "rogue")));
    let [alice, bob] = lying.clients();
    lying.got();
    lying.stage.say(alice, &PLAIN.to_string(), &data("far"));
    lying.stage.run();
    assert_eq!(lying.stage.told(bob), [heard(uid(1), "far")]);
    let got = lying.got();
    let [(from, packet)] = &got[..] else { panic!("{got:?}") };
    assert_eq!(from, "b");
    assert!(packet.starts_with("15|a|") && packet.contains(&format!("|{PLAIN}|rogue~\n")), "{packet}");
    // And b, where nobody is any more, as well.
    lying.stage.ask(bob, "LEAVEVOICE", &[&PLAIN.to_string()]).expect("it was there");
    lying.stage.run();
    lying.stage.say(alice, &PLAIN.to_string(), &data("farther"));
    lying.stage.run();
    assert_eq!(lying.got().len(), 1);
}

#[test]
fn what_is_not_its_own_is_not_heard() {
    let mut lying = Lying::new(13, None);
    let [alice, bob] = lying.clients();
    let mut number = 1_u64 << 62;
    let mut packet = |head: &str, tags: &str, datagrams: &[u8]| {
        number += 1;
        let head = head.replace("{n}", &number.to_string()).replace("{c}", &PLAIN.to_string());
        [format!("{head}~\n{tags}~\n").as_bytes(), datagrams].concat()
    };
    let good = "16|rogue|{n}|{c}|b";
    // Its own member, among others that are none or are elsewhere.
    let many =
        [datagram(uid(1), "x"), datagram(uid(3), "own"), datagram(uid(5), "x"), datagram(u64::MAX, "x")].concat();
    lying.send("b", &packet(good, "", &many));
    assert_eq!(lying.stage.told(bob), [heard(uid(3), "own")]);
    // One from before, as of another start: the last number is not known.
    let now = lying.stage.net.sim.now();
    let before = now.saturating_sub(70_000) * 1_000;
    let head = format!("16|rogue|{before}|{PLAIN}|a");
    lying.send("a", &packet(&head, "", &datagram(uid(3), "old")));
    assert!(lying.stage.told(alice).is_empty(), "it is old");
    logged();
    let own = datagram(uid(3), "evil");
    let others = datagram(uid(1), "evil");
    let bad: Vec<(Vec<u8>, &str)> = vec![
        (packet("16|a|{n}|{c}|b", "", &others), "not of a"),
        (packet("16|a|{n}|{c}|b", &"0".repeat(64), &others), "not of a"),
        (packet("16|b|{n}|{c}|b", "", &own), "DENIED"),
        (packet("16|nowhere|{n}|{c}|b", "", &own), "DENIED"),
        (packet("17|rogue|{n}|{c}|b", "", &own), "BADARGS"),
        (packet("0|rogue|{n}|{c}|a", "", &own), "too many servers"),
        (packet("16|rogue|{n}|{c}|nowhere", "", &own), "NOTFOUND"),
        (packet("16|rogue|{n}|{c}|b|b", "|", &own), "BADARGS"),
        (packet("16|rogue|{n}|{c}|b|a", "", &own), "BADARGS"),
        (packet("16|rogue|{n}|{c}", "", &own), "BADARGS"),
        (packet("16|rogue|x|{c}|b", "", &own), "BADARGS"),
        (packet("", "", &own), "BADARGS"),
        (packet(good, "", &own[..511]), "BADARGS"),
        (packet(good, "", &own.repeat(65)), "BADARGS"),
        (packet(good, "", b""), "BADARGS"),
    ];
    for (data, words) in bad {
        lying.send("b", &data);
        let logged = logged();
        let found = logged.iter().any(|line| line.contains("main server rogue") && line.contains(words));
        assert!(found, "{}: {logged:?}, not {words:?}", data.escape_ascii());
        assert!(lying.stage.told(bob).is_empty(), "{}", data.escape_ascii());
    }
    // Once its member is gone, it has nobody.
    lying.stage.desk(|desk, ctx| desk.leave(ctx, PLAIN, uid(3), "kicked"));
    lying.stage.run();
    lying.stage.told(bob);
    lying.send("b", &packet(good, "", &own));
    assert!(lying.stage.told(bob).is_empty());
    // The others hear each other.
    lying.stage.say(alice, &PLAIN.to_string(), &data("still"));
    lying.stage.run();
    assert_eq!(lying.stage.told(bob), [heard(uid(1), "still")]);
    assert!(lying.stage.at(bob, |caller: &mut Caller, _| caller.link.is_some()));
}
