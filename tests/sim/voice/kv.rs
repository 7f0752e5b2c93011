//! What clients of KV ask, from the bytes of the request to those of the answer, and the orders to the thread of voice that come of it.

use aws_lc_rs::signature::Ed25519KeyPair;
use convergia::engine::sim::NodeId;
use convergia::roles::main::Main;
use convergia::voice::control::Answer;
use convergia::voice::control::Command;
use convergia::voice::control::Request;
use convergia::voice::Event;
use convergia::voice::Order;
use convergia::voice::Terms;
use convergia::wire::Fail;

use super::data;
use super::datagram;
use super::desk::uid;
use super::desk::CHANNEL;
use super::desk::PLAIN;
use super::heard;
use super::Stage;

impl Stage {
    /// One request at server a. `port`: what is said when a channel is to be opened.
    pub fn control(
        &mut self,
        id: NodeId,
        request: &Request,
        port: Option<Result<u16, String>>,
    ) -> Result<Answer, Fail> {
        let bytes = request.encode();
        let answer = self.at(id, |caller, ctx| caller.control(ctx, "a", &bytes));
        if let Some(port) = port {
            let main = self.main("a");
            for _ in 0..200 {
                self.net.sim.run_for(5);
                let opened = self.net.sim.orders(main).into_iter().find_map(|order| match order {
                    Order::Open { channel, .. } => Some(channel),
                    _ => None,
                });
                if let Some(channel) = opened {
                    self.event(main, Event::Opened { channel, port: port.clone() });
                    break;
                }
            }
        }
        let until = self.net.sim.now() + 10_000;
        let mut got = None;
        self.net.sim.run(until, |_| {
            got = got.take().or_else(|| answer.try_recv().ok());
            got.is_some()
        });
        let bytes = got.expect("an answer")?;
        Ok(Answer::decode(request, &bytes).expect("an answer").expect("all of it"))
    }

    fn allow_unsigned(&mut self) {
        let main = self.main("a");
        self.net.sim.with(main, |main: &mut Main, _| main.serve_voice(&[9; 32], true)).expect("it runs");
    }
}

fn code<T: std::fmt::Debug>(answer: Result<T, Fail>) -> &'static str {
    answer.unwrap_err().code.word()
}

#[test]
fn a_client_that_signs_nothing() {
    let mut stage = Stage::real(31, &["a"]);
    let main = stage.main("a");
    let id = stage.caller("alice", "a");
    let plain = Request::unsigned;
    let register = plain(Command::Register { auid: 0, rights: 0 });
    assert_eq!(code(stage.control(id, &register, None)), "DENIED", "it is from another machine");
    stage.allow_unsigned();
    let Ok(Answer::Value(bob)) = stage.control(id, &register, None) else { panic!("no uid") };
    let Ok(Answer::Value(chid)) = stage.control(id, &plain(Command::Create { uid: bob }), None) else {
        panic!("no channel")
    };
    let port = stage.control(id, &plain(Command::GetPort { chid }), Some(Ok(6_001)));
    assert_eq!(port, Ok(Answer::Value(6_001)));
    assert_eq!(stage.control(id, &plain(Command::GetChannels), None), Ok(Answer::Channels(vec![chid])));
    let join = plain(Command::Join { uid: bob, juid: bob, chid });
    assert_eq!(code(stage.control(id, &join, Some(Err("all are used".into())))), "UNAVAILABLE");
    stage.run();
    let leave = plain(Command::Leave { uid: bob, luid: bob, chid });
    assert_eq!(code(stage.control(id, &leave, None)), "NOTFOUND", "without a port it is no member");
    stage.net.sim.orders(main);
    assert_eq!(stage.control(id, &join, Some(Ok(6_001))), Ok(Answer::Value(6_001)));
    let orders = stage.net.sim.orders(main);
    let joined = |order: &Order| matches!(order, Order::Join { channel, uid, terms: Terms::Unsigned, proven: Some(_), .. } if (*channel, *uid) == (chid, bob));
    assert!(orders.iter().any(joined), "{orders:?}");
    assert_eq!(stage.control(id, &leave, None), Ok(Answer::Value(1)));
    stage.run();
    let orders = stage.net.sim.orders(main);
    let left = |order: &Order| matches!(order, Order::Leave { channel, uid } if (*channel, *uid) == (chid, bob));
    assert!(orders.iter().any(left), "{orders:?}");
    assert_eq!(stage.control(id, &plain(Command::Delete { uid: bob, chid }), None), Ok(Answer::Value(chid)));
    stage.run();
    let orders = stage.net.sim.orders(main);
    assert!(orders.iter().any(|order| matches!(order, Order::Close { channel } if *channel == chid)), "{orders:?}");
    assert_eq!(code(stage.control(id, &join, None)), "NOTFOUND");
    // A server without UDP ports: nothing that needs one.
    let bytes = |stage: &mut Stage, bytes: &[u8]| {
        let answer = stage.at(id, |caller, ctx| caller.control(ctx, "a", bytes));
        stage.run();
        code(answer.try_recv().expect("an answer"))
    };
    assert_eq!(bytes(&mut stage, &[0, 0, 0, 99]), "BADCOMMAND");
    assert_eq!(bytes(&mut stage, &join.encode()[..27]), "TOOLONG");
    assert_eq!(bytes(&mut stage, b""), "TOOLONG");
}

#[test]
fn who_signs_gets_a_key_and_talks_with_sessions() {
    let mut stage = Stage::new(32, &["a"]);
    let main = stage.main("a");
    let bob = stage.caller("bob", "a");
    stage.join(bob, &CHANNEL.to_string());
    let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("a key");
    let request = Request::signed(Command::Join { uid: uid(3), juid: uid(3), chid: CHANNEL }, 1, &pair);
    stage.desk(|desk, ctx| {
        let join = desk.join(ctx, CHANNEL, uid(3), "a", "carol");
        desk.control = format!("join {CHANNEL}|{}|{join}|1", uid(3));
    });
    let Ok(Answer::Joined { port: 6_002, key }) = stage.control(bob, &request, Some(Ok(6_002))) else {
        panic!("not joined")
    };
    assert_eq!(stage.desk(|desk, _| desk.controlled.pop()), Some([&b"0\n"[..], &request.encode()].concat()));
    let orders = stage.net.sim.orders(main);
    let with_key = |order: &Order| matches!(order, Order::Join { terms: Terms::Signed(known), .. } if **known == key);
    assert!(orders.iter().any(with_key), "{orders:?}");
    assert_eq!(orders.last().map(|order| matches!(order, Order::Listen { on: true, .. })), Some(true), "{orders:?}");
    stage.run();
    assert_eq!(stage.told(bob), [format!("VOICECAME {CHANNEL}|{}|carol", uid(3))]);
    stage.event(main, Event::Heard { channel: CHANNEL, packets: datagram(uid(3), "hello") });
    stage.run();
    assert_eq!(stage.told(bob), [heard(uid(3), "hello")]);
    stage.say(bob, &CHANNEL.to_string(), &data("hello carol"));
    stage.run();
    assert!(matches!(&stage.net.sim.orders(main)[..], [Order::Play { channel: CHANNEL, .. }]));
    // Where nothing is signed she would not be heard from there.
    stage.desk(|desk, ctx| {
        let join = desk.join(ctx, PLAIN, uid(3), "a", "carol");
        desk.control = format!("join {PLAIN}|{}|{join}|0", uid(3));
    });
    let request = Request::signed(Command::Join { uid: uid(3), juid: uid(3), chid: PLAIN }, 2, &pair);
    assert_eq!(code(stage.control(bob, &request, None)), "DENIED");
    assert_eq!(code(stage.ask(bob, "JOINVOICE", &[&PLAIN.to_string(), "udp"])), "UNAVAILABLE");
    stage.run();
    assert!(stage.desk(|desk, _| desk.members.keys().all(|(channel, _)| *channel == CHANNEL)));
    assert!(stage.net.sim.orders(main).is_empty());
    stage.ask(bob, "JOINVOICE", &[&PLAIN.to_string(), "link"]).expect("joined");
    stage.ask(bob, "LEAVEVOICE", &[&PLAIN.to_string()]).expect("left");
    stage.allow_unsigned();
    // She is let in, and thrown out before there is a port.
    stage.desk(|desk, ctx| {
        let join = desk.join(ctx, PLAIN, uid(3), "a", "carol");
        desk.control = format!("join {PLAIN}|{}|{join}|0", uid(3));
    });
    let request = Request::signed(Command::Join { uid: uid(3), juid: uid(3), chid: PLAIN }, 3, &pair);
    let bytes = request.encode();
    let answer = stage.at(bob, |caller, ctx| caller.control(ctx, "a", &bytes));
    stage.run();
    stage.desk(|desk, ctx| desk.leave(ctx, PLAIN, uid(3), "kicked"));
    stage.run();
    stage.event(main, Event::Opened { channel: PLAIN, port: Ok(6_003) });
    stage.run();
    assert_eq!(code(answer.try_recv().expect("an answer")), "NOTFOUND");
    let orders = stage.net.sim.orders(main);
    assert!(!orders.iter().any(|order| matches!(order, Order::Join { .. })), "{orders:?}");
}
