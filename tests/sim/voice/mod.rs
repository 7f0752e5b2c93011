//! Voice at main servers: who hears whom, over links, between servers, and by UDP as far as orders to its thread tell.

mod caller;
mod desk;
mod ends;
mod kv;
mod lying;
mod real;
mod repair;

use convergia::config::PortKey;
use convergia::engine::limits::Limits;
use convergia::engine::rt::channel::Receiver;
use convergia::engine::sim::NodeId;
use convergia::engine::Ctx;
use convergia::engine::Role;
use convergia::roles::main::Main;
use convergia::voice::Event;
use convergia::voice::Order;
use convergia::voice::PACKET;
use convergia::wire::Fail;

use crate::network::Network;
use caller::Caller;
use desk::uid;
use desk::Desk;
use desk::CHANNEL;
use desk::NAME;

/// Main servers, somebody who keeps the members of channels in management's place, and clients.
struct Stage {
    net: Network,
    desk: NodeId,
    /// Names of the main servers.
    servers: Vec<&'static str>,
}

/// The accounts, counted from 1.
const USERS: [&str; 5] = ["alice", "bob", "carol", "dave", "eve"];

impl Stage {
    fn new(seed: u64, servers: &[&'static str]) -> Stage {
        Stage::with(Network::of(seed, servers, &USERS), servers)
    }

    fn with(mut net: Network, servers: &[&'static str]) -> Stage {
        let listen = [(PortKey::MainManagement, PortKey::MainManagement.name())];
        let desk = net.sim.add(None, Limits::default(), [0; 32], &listen, Desk::default).expect("a node");
        let mut stage = Stage { net, desk, servers: servers.to_vec() };
        stage.prepare();
        stage
    }

    /// With management as it is, where everybody may make channels.
    fn real(seed: u64, servers: &[&'static str]) -> Stage {
        let net = Network::talking(seed, servers, &USERS);
        let desk = net.management;
        let mut stage = Stage { net, desk, servers: servers.to_vec() };
        stage.prepare();
        stage
    }

    /// The servers have voice, and are linked.
    fn prepare(&mut self) {
        for id in self.net.mains.clone() {
            self.net.sim.with(id, |main: &mut Main, _| main.serve_voice(&[9; 32], false)).expect("it runs");
        }
        self.net.sim.run_for(3_000);
    }

    /// From now on these two have no link.
    fn cut(&mut self, one: &str, other: &str) {
        let (one, other) = (self.main(one), self.main(other));
        self.net.sim.wall(one, other, true);
        self.net.sim.cut(one, other);
        self.net.sim.run_for(3_000);
    }

    /// Three servers in a line: a and c have no link.
    fn line(seed: u64) -> Stage {
        let mut stage = Stage::new(seed, &["a", "b", "c"]);
        stage.cut("a", "c");
        stage
    }

    fn main(&self, server: &str) -> NodeId {
        self.net.mains[self.servers.iter().position(|known| *known == server).expect("a server")]
    }

    fn caller(&mut self, user: &'static str, server: &'static str) -> NodeId {
        let make = move || Caller::new(user, server);
        let id = self.net.sim.add(None, Limits::default(), [0; 32], &[], make).expect("a node");
        let until = self.net.sim.now() + 10_000;
        let on = |sim: &mut convergia::engine::sim::Sim| {
            sim.with(id, |caller: &mut Caller, _| caller.link.is_some()) == Some(true)
        };
        assert!(self.net.sim.run(until, on), "{user} is not signed on at {server}");
        id
    }

    fn at<T>(&mut self, id: NodeId, run: impl FnOnce(&mut Caller, &mut Ctx<Caller>) -> T) -> T {
        self.net.sim.with(id, run).expect("it runs")
    }

    fn desk<T>(&mut self, run: impl FnOnce(&mut Desk, &mut Ctx<Desk>) -> T) -> T {
        self.net.sim.with(self.desk, run).expect("it runs")
    }

    fn answer(&mut self, answer: &Receiver<Result<String, Fail>>) -> Result<String, Fail> {
        let until = self.net.sim.now() + 10_000;
        let mut got = None;
        self.net.sim.run(until, |_| {
            got = got.take().or_else(|| answer.try_recv().ok());
            got.is_some()
        });
        got.expect("an answer")
    }

    fn ask(&mut self, id: NodeId, command: &str, fields: &[&str]) -> Result<String, Fail> {
        let answer = self.at(id, |caller, ctx| caller.ask(ctx, command, fields));
        self.answer(&answer)
    }

    fn join(&mut self, id: NodeId, channel: &str) -> String {
        self.ask(id, "JOINVOICE", &[channel, "link"]).expect("joined")
    }

    /// Joins by UDP: the thread of voice is played here.
    fn join_udp(&mut self, id: NodeId, server: &str, channel: u64) -> Result<String, Fail> {
        let main = self.main(server);
        let answer = self.at(id, |caller, ctx| caller.ask(ctx, "JOINVOICE", &[&channel.to_string(), "udp"]));
        self.opened(main, channel, Ok(6_000));
        self.answer(&answer)
    }

    /// Waits for the order to open a channel, and carries it out.
    fn opened(&mut self, main: NodeId, channel: u64, port: Result<u16, String>) {
        for _ in 0..200 {
            self.net.sim.run_for(5);
            let orders = self.net.sim.orders(main);
            if orders.iter().any(|order| matches!(order, Order::Open { channel: at, .. } if *at == channel)) {
                return self.event(main, Event::Opened { channel, port });
            }
        }
        panic!("nothing asks for a port of {channel}");
    }

    fn event(&mut self, main: NodeId, event: Event) {
        self.net.sim.with(main, |main: &mut Main, ctx| main.voice(ctx, vec![event])).expect("it runs");
    }

    fn say(&mut self, id: NodeId, channel: &str, data: &[u8]) {
        self.at(id, |caller, ctx| caller.say(ctx, channel, data));
    }

    /// What a client was told since the last call, as text.
    fn told(&mut self, id: NodeId) -> Vec<String> {
        let told = self.at(id, |caller, _| std::mem::take(&mut caller.told));
        told.into_iter().map(|(command, data)| format!("{command} {}", data.escape_ascii())).collect()
    }

    fn run(&mut self) {
        self.net.sim.run_for(500);
    }
}

/// Data with so many bytes of Opus.
fn data(text: &str) -> Vec<u8> {
    let mut data = u16::try_from(text.len()).expect("short").to_le_bytes().to_vec();
    data.extend_from_slice(&[0; 6]);
    data.extend_from_slice(text.as_bytes());
    data
}

/// A datagram of a member.
fn datagram(uid: u64, text: &str) -> Vec<u8> {
    let mut packet = uid.to_le_bytes().to_vec();
    packet.extend_from_slice(&data(text));
    packet.resize(PACKET, 0);
    packet
}

/// How a link is told of it.
fn heard(uid: u64, text: &str) -> String {
    format!("VOICE {CHANNEL}|{uid}\\n{}", data(text).escape_ascii())
}

#[test]
fn members_on_links_of_one_server_hear_each_other() {
    let mut stage = Stage::new(1, &["a"]);
    let (alice, bob, carol) = (stage.caller("alice", "a"), stage.caller("bob", "a"), stage.caller("carol", "a"));
    let answer = stage.join(alice, NAME);
    assert_eq!(answer, format!("{CHANNEL}|{}|1|1|0||\n{}|alice", uid(1), uid(1)));
    let answer = stage.join(bob, &CHANNEL.to_string());
    assert!(answer.starts_with(&format!("{CHANNEL}|{}|2|1|0||\n", uid(2))), "{answer}");
    assert_eq!(answer.lines().count(), 3);
    stage.run();
    assert_eq!(stage.told(alice), [format!("VOICECAME {CHANNEL}|{}|user-2", uid(2))]);
    assert!(stage.told(bob).is_empty());
    stage.say(alice, NAME, &data("a~\n"));
    stage.say(bob, &CHANNEL.to_string(), &data("to alice"));
    // Who is no member is not heard.
    stage.say(carol, NAME, &data("carol"));
    stage.run();
    assert_eq!(stage.told(alice), [heard(uid(2), "to alice")]);
    assert_eq!(stage.told(bob), [heard(uid(1), "a~\n")]);
    assert!(stage.told(carol).is_empty());
    // Of another form: it goes whole, as it may be all of it.
    stage.say(alice, NAME, &[0xFF; 480]);
    stage.run();
    assert_eq!(stage.told(bob).len(), 1);
    stage.say(alice, NAME, &[0xFF; 481]);
    stage.run();
    assert_eq!(stage.told(bob), [] as [String; 0]);
    assert_eq!(stage.ask(bob, "LEAVEVOICE", &[NAME]), Ok(String::new()));
    stage.say(alice, NAME, &data("nobody"));
    stage.run();
    assert_eq!(stage.told(alice), [format!("VOICELEFT {CHANNEL}|{}", uid(2))]);
    assert_eq!(stage.told(bob), [] as [String; 0]);
    assert_eq!(stage.ask(bob, "LEAVEVOICE", &[NAME]).unwrap_err().code.word(), "NOTFOUND");
    assert_eq!(stage.ask(carol, "JOINVOICE", &["nowhere", "link"]).unwrap_err().code.word(), "NOTFOUND");
    assert_eq!(stage.ask(carol, "JOINVOICE", &[NAME, "tcp"]).unwrap_err().code.word(), "BADARGS");
    for command in ["CREATEVOICE", "GETVOICE"] {
        assert_eq!(stage.ask(carol, command, &[NAME]).as_deref(), Ok(command));
    }
}

#[test]
fn members_at_three_servers_in_a_line_hear_each_other() {
    let mut stage = Stage::line(2);
    let (alice, dave) = (stage.caller("alice", "a"), stage.caller("dave", "c"));
    let (bob, carol, eve) = (stage.caller("bob", "a"), stage.caller("carol", "c"), stage.caller("eve", "b"));
    for id in [alice, dave, carol] {
        stage.join(id, NAME);
    }
    stage.run();
    let _ = [alice, bob, carol, dave, eve].map(|id| stage.told(id));
    // Nobody is in it at b, which passes on what a and c say.
    let words: Vec<String> = (0..5).map(|n| format!("word {n}")).collect();
    for word in &words {
        stage.say(alice, NAME, &data(word));
        stage.run();
    }
    let all: Vec<String> = words.iter().map(|word| heard(uid(1), word)).collect();
    assert_eq!(stage.told(dave), all);
    assert_eq!(stage.told(carol), all);
    for id in [alice, bob, eve] {
        assert!(stage.told(id).is_empty());
    }
    // Now one at b as well.
    stage.join(eve, NAME);
    stage.run();
    let _ = [alice, bob, carol, dave, eve].map(|id| stage.told(id));
    stage.say(alice, NAME, &data("all"));
    stage.run();
    for id in [carol, dave, eve] {
        assert_eq!(stage.told(id), [heard(uid(1), "all")]);
    }
    stage.say(dave, NAME, &data("back"));
    stage.run();
    for id in [alice, carol, eve] {
        assert_eq!(stage.told(id), [heard(uid(4), "back")]);
    }
}
