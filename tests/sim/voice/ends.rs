//! How memberships end, and what of them goes on while management is away; UDP, as far as orders tell.

use convergia::engine::sim::NodeId;
use convergia::roles::main::Main;
use convergia::voice::Event;
use convergia::voice::Order;
use convergia::voice::Terms;

use super::data;
use super::datagram;
use super::desk::uid;
use super::desk::CHANNEL;
use super::desk::NAME;
use super::heard;
use super::Stage;

fn ended(why: &str) -> String {
    format!("VOICEENDED {CHANNEL}\\n{why}")
}

fn left(account: u64) -> String {
    format!("VOICELEFT {CHANNEL}|{}", uid(account))
}

impl Stage {
    fn trio(&mut self, servers: [&'static str; 3]) -> [NodeId; 3] {
        let [a, b, c] = servers;
        let all = [self.caller("alice", a), self.caller("bob", b), self.caller("carol", c)];
        for id in all {
            self.join(id, NAME);
        }
        self.run();
        let _ = all.map(|id| self.told(id));
        all
    }
}

#[test]
fn sessions_that_end_leave_and_who_is_kicked_is_told() {
    let mut stage = Stage::new(21, &["a", "b"]);
    let [alice, bob, carol] = stage.trio(["a", "a", "b"]);
    stage.at(bob, |caller, ctx| caller.leave(ctx));
    stage.run();
    assert_eq!(stage.told(alice), [left(2)]);
    assert_eq!(stage.told(carol), [left(2)]);
    assert_eq!(stage.desk(|desk, _| desk.members.len()), 2);
    stage.ask(alice, "KICKVOICE", &[NAME, "user-3"]).expect("kicked");
    stage.run();
    assert_eq!(stage.told(carol), [ended("kicked")]);
    assert_eq!(stage.told(alice), [left(3)]);
    stage.say(carol, NAME, &data("still here"));
    stage.run();
    assert!(stage.told(alice).is_empty());
    stage.join(carol, NAME);
    stage.run();
    let _ = [alice, carol].map(|id| stage.told(id));
    stage.ask(carol, "DELETEVOICE", &[NAME]).expect("deleted");
    stage.run();
    assert_eq!(stage.told(alice), [ended("deleted")]);
    assert_eq!(stage.told(carol), [ended("deleted")]);
    let (a, b) = (stage.main("a"), stage.main("b"));
    for main in [a, b] {
        let orders = stage.net.sim.orders(main);
        assert!(orders.iter().any(|order| matches!(order, Order::Close { channel: CHANNEL })), "{orders:?}");
    }
}

#[test]
fn a_user_is_in_a_channel_once() {
    let mut stage = Stage::new(22, &["a", "b"]);
    let [alice, bob, _] = stage.trio(["a", "a", "b"]);
    let again = stage.caller("bob", "b");
    stage.join(again, NAME);
    stage.run();
    assert_eq!(stage.told(bob), [ended("elsewhere")]);
    assert_eq!(stage.told(alice), [left(2), format!("VOICECAME {CHANNEL}|{}|user-2", uid(2))]);
    stage.say(again, NAME, &data("here now"));
    stage.run();
    assert_eq!(stage.told(alice), [heard(uid(2), "here now")]);
    // Back, at the same server, and then once more on the same link.
    stage.join(bob, NAME);
    stage.run();
    assert_eq!(stage.told(again), [ended("elsewhere")]);
    stage.told(bob);
    stage.join(bob, NAME);
    stage.run();
    assert!(stage.told(bob).is_empty(), "it knows that it joined again");
    // From another session of the user it leaves as well.
    stage.ask(again, "LEAVEVOICE", &[NAME]).expect("left");
    stage.run();
    assert_eq!(stage.told(bob), [ended("left")]);
}

#[test]
fn a_client_that_moves_joins_anew() {
    let mut stage = Stage::new(23, &["a", "b"]);
    let [alice, bob, carol] = stage.trio(["a", "a", "b"]);
    let main = stage.main("a");
    stage.net.sim.with(main, |main: &mut Main, ctx| main.move_clients(ctx, 1, "b")).expect("it runs");
    stage.net.sim.run_for(3_000);
    assert_eq!(stage.told(alice), [left(2)], "its session is at b");
    assert!(stage.desk(|desk, _| !desk.members.contains_key(&(CHANNEL, uid(2)))));
    let _ = [alice, bob, carol].map(|id| stage.told(id));
    stage.join(bob, NAME);
    stage.say(bob, NAME, &data("moved"));
    stage.run();
    assert_eq!(stage.desk(|desk, _| desk.members[&(CHANNEL, uid(2))].server.clone()), "b");
    for id in [alice, carol] {
        assert_eq!(stage.told(id).last(), Some(&heard(uid(2), "moved")));
    }
}

#[test]
fn media_goes_on_without_management() {
    let mut stage = Stage::new(24, &["a", "b"]);
    let [alice, bob, carol] = stage.trio(["a", "a", "b"]);
    let eve = stage.caller("eve", "b");
    let members = stage.desk(|desk, _| desk.members.clone());
    let desk = stage.desk;
    stage.net.sim.crash(desk);
    stage.run();
    stage.say(alice, NAME, &data("alone"));
    stage.run();
    for id in [bob, carol] {
        assert_eq!(stage.told(id), [heard(uid(1), "alone")]);
    }
    assert_eq!(stage.ask(eve, "JOINVOICE", &[NAME, "link"]).unwrap_err().code.word(), "UNAVAILABLE");
    // Whoever goes now is gone for those at the same server at once.
    stage.ask(bob, "LEAVEVOICE", &[NAME]).expect("left");
    stage.run();
    assert_eq!(stage.told(alice), [left(2)]);
    assert!(stage.told(carol).is_empty());
    // Management comes back with what it knew, but for one whom it has let go meanwhile.
    stage.net.sim.start(desk);
    stage.desk(|desk, _| {
        desk.members = members.into_iter().filter(|((_, uid_), _)| *uid_ != uid(1)).collect();
    });
    stage.net.sim.run_for(15_000);
    let here = stage.desk(|desk, _| desk.told.clone());
    let line = |account: u64, user: &str| format!("{CHANNEL}|{}|{account}|{user}", uid(account));
    assert!(here.contains(&("a".into(), "VOICEHERE".into(), line(1, "alice"))), "{here:?}");
    assert!(here.contains(&("b".into(), "VOICEHERE".into(), line(3, "carol"))), "{here:?}");
    assert_eq!(stage.told(alice), [left(2)].into_iter().skip(1).chain([ended("kicked")]).collect::<Vec<_>>());
    let told = stage.told(carol);
    assert!(told.contains(&left(1)) && told.contains(&left(2)) && told.len() == 2, "{told:?}");
    // And once more, with nothing: then nobody is a member.
    stage.net.sim.crash(desk);
    stage.run();
    stage.net.sim.start(desk);
    stage.net.sim.run_for(15_000);
    assert_eq!(stage.told(carol), [ended("unavailable")]);
    stage.join(eve, NAME);
}

#[test]
fn members_by_udp_are_joined_and_heard_everywhere() {
    let mut stage = Stage::new(25, &["a", "b"]);
    let a = stage.main("a");
    let (alice, bob, carol) = (stage.caller("alice", "a"), stage.caller("bob", "a"), stage.caller("carol", "b"));
    let answer = stage.join_udp(alice, "a", CHANNEL).expect("joined");
    let words: Vec<&str> = answer.lines().next().expect("a line").split('|').collect();
    assert_eq!(words[..4], [&CHANNEL.to_string(), &uid(1).to_string(), "1", "1"]);
    assert_eq!((words[4], words[5].len(), words[6]), ("6000", 64, &*"09".repeat(32)));
    let orders = stage.net.sim.orders(a);
    let [Order::Join { channel: CHANNEL, uid: who, terms: Terms::Signed(key), proven: Some(_), .. }] = &orders[..]
    else {
        panic!("{orders:?}");
    };
    assert_eq!((*who, convergia::wire::hex::encode(&**key)), (uid(1), words[5].to_owned()));
    // Nobody else is there: what she says is not asked for.
    stage.join(bob, NAME);
    let listened = |stage: &mut Stage| {
        let orders = stage.net.sim.orders(a);
        let on = orders.iter().filter_map(|order| match order {
            Order::Listen { on, .. } => Some(*on),
            _ => None,
        });
        on.collect::<Vec<_>>()
    };
    assert_eq!(listened(&mut stage), [true]);
    stage.join(carol, NAME);
    stage.ask(bob, "LEAVEVOICE", &[NAME]).expect("left");
    stage.run();
    assert_eq!(listened(&mut stage), [] as [bool; 0]);
    stage.ask(carol, "LEAVEVOICE", &[NAME]).expect("left");
    stage.run();
    assert_eq!(listened(&mut stage), [false]);
    stage.join(bob, NAME);
    stage.join(carol, NAME);
    stage.run();
    let _ = [alice, bob, carol].map(|id| stage.told(id));
    stage.net.sim.orders(a);
    let heard_here = [datagram(uid(1), "by udp"), datagram(uid(2), "not by udp"), datagram(9, "nobody")].concat();
    stage.event(a, Event::Heard { channel: CHANNEL, packets: heard_here });
    stage.run();
    for id in [bob, carol] {
        assert_eq!(stage.told(id), [heard(uid(1), "by udp")]);
    }
    assert!(stage.net.sim.orders(a).is_empty(), "those by UDP have heard it");
    // From links and from other servers to UDP.
    stage.say(bob, NAME, &data("here"));
    stage.say(carol, NAME, &data("there"));
    stage.run();
    let played: Vec<Vec<u8>> = stage
        .net
        .sim
        .orders(a)
        .into_iter()
        .map(|order| match order {
            Order::Play { channel: CHANNEL, packets } => packets,
            other => panic!("{other:?}"),
        })
        .collect();
    let mut said: Vec<Vec<u8>> = played.concat().chunks(512).map(<[u8]>::to_vec).collect();
    said.sort_unstable_by_key(|packet| packet[4]);
    let [one, other] = &said[..] else { panic!("{said:?}") };
    assert_eq!((&one[..488], &other[..488]), (&datagram(uid(2), "here")[..488], &datagram(uid(3), "there")[..488]));
    assert!(one[488..496] != [0; 8] && one[496..] == [0; 16], "a counter, and no tag");
    // Silence, and a channel without a port.
    for stale in [0, 2] {
        stage.event(a, Event::Silent { channel: CHANNEL, uid: uid(1), join: stale });
    }
    stage.run();
    assert!(stage.told(alice).iter().all(|told| *told != ended("silent")), "that is not her place");
    stage.event(a, Event::Silent { channel: CHANNEL, uid: uid(1), join: 1 });
    stage.run();
    assert_eq!(stage.told(alice), [ended("silent")]);
    assert!(stage.desk(|desk, _| !desk.members.contains_key(&(CHANNEL, uid(1)))));
    let dave = stage.caller("dave", "a");
    let answer = stage.at(dave, |caller, ctx| caller.ask(ctx, "JOINVOICE", &[NAME, "udp"]));
    stage.opened(a, CHANNEL, Err("all are used".to_owned()));
    assert_eq!(stage.answer(&answer).unwrap_err().code.word(), "UNAVAILABLE");
    stage.run();
    assert!(stage.desk(|desk, _| !desk.members.contains_key(&(CHANNEL, uid(4)))));
    // The session's end ends what it has by UDP.
    stage.join_udp(alice, "a", CHANNEL).expect("joined");
    stage.net.sim.orders(a);
    stage.at(alice, |caller, ctx| caller.leave(ctx));
    stage.run();
    let orders = stage.net.sim.orders(a);
    let gone = |order: &Order| matches!(order, Order::Leave { channel: CHANNEL, uid: who } if *who == uid(1));
    assert!(orders.iter().any(gone), "{orders:?}");
    assert!(stage.desk(|desk, _| !desk.members.contains_key(&(CHANNEL, uid(1)))));
}

#[test]
fn who_does_not_read_or_says_too_much_loses_some() {
    let mut stage = Stage::new(26, &["a"]);
    let [alice, bob, carol] = stage.trio(["a", "a", "a"]);
    let main = stage.main("a");
    stage.net.sim.stall(bob, main, true);
    let large = "x".repeat(460);
    // 20 s of 50 a second.
    for _ in 0..1_000 {
        stage.say(alice, NAME, &data(&large));
        stage.net.sim.run_for(20);
    }
    stage.run();
    assert_eq!(stage.told(carol).len(), 1_000);
    let queued = stage.net.sim.with(main, |_: &mut Main, ctx| ctx.queued()).expect("it runs");
    assert!(queued < 1 << 20, "{queued}");
    stage.net.sim.stall(bob, main, false);
    stage.run();
    let got = stage.told(bob).len();
    assert!((50..500).contains(&got), "{got} of 1000");
    // Within one second.
    stage.net.sim.run_for(1_000 - stage.net.sim.now() % 1_000);
    for _ in 0..500 {
        stage.say(alice, NAME, &data("fast"));
    }
    stage.net.sim.run_for(900);
    assert_eq!(stage.told(carol).len(), 200);
    stage.net.sim.run_for(1_000);
    stage.say(alice, NAME, &data("again"));
    stage.run();
    assert_eq!(stage.told(carol), [heard(uid(1), "again")]);
}
