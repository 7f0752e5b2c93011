//! Whole networks in one thread, on a virtual clock, from a seed: what users rely on, whatever goes wrong in between.

use crate::network::accounts;
use crate::network::bodies;
use crate::network::seeds;
use crate::network::token;
use crate::network::Network;
use crate::network::MANAGEMENT;
use convergia::client::core::Core;
use convergia::client::Event;
use convergia::config::PortKey;
use convergia::engine::limits::Limits;
use convergia::engine::rt::channel;
use convergia::engine::sim::NodeId;
use convergia::engine::Command;
use convergia::engine::Ctx;
use convergia::engine::Gone;
use convergia::engine::LinkId;
use convergia::engine::Role;
use convergia::engine::Target;
use convergia::engine::Verify;
use convergia::roles::management;
use convergia::wire::Fail;
use convergia::wire::Raw;
use rand::RngExt;
use std::collections::BTreeMap;

#[test]
fn two_people_talk() {
    seeds(50, |seed| {
        let mut net = Network::new(seed, &["alice", "bob"]);
        let (alice, heard) = net.client("alice");
        let (bob, told) = net.client("bob");
        net.until_on(&[alice, bob]);
        let answers: Vec<_> = (0..20).map(|n| net.send(alice, "BOB", &format!("hello {n}"))).collect();
        let back = net.send(bob, "alice", "hi\nthere ~");
        net.sim.run_for(1_000);
        for answer in answers {
            assert_eq!(answer.try_recv().unwrap(), Ok(vec![]));
        }
        assert_eq!(back.try_recv().unwrap(), Ok(vec![]));
        assert_eq!(bodies(&told), (0..20).map(|n| format!("hello {n}")).collect::<Vec<_>>());
        assert_eq!(bodies(&heard), ["hi\nthere ~"]);
    });
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut net = Network::new(seed, &["alice", "bob"]);
        let (alice, _) = net.client("alice");
        let (bob, _) = net.client("bob");
        net.until_on(&[alice, bob]);
        net.send(alice, "bob", "x");
        net.sim.run_for(5_000);
        net.sim.trace()
    };
    for seed in 0..10 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1), run(2));
}

/// Links to the recipient break at any moment: what was answered OK arrives, once, if not now then at the next sign-on.
#[test]
fn what_was_answered_ok_is_not_lost_when_links_break() {
    seeds(60, |seed| {
        let mut net = Network::new(seed, &["alice", "bob"]);
        let (alice, _) = net.client("alice");
        let (bob, told) = net.client("bob");
        net.until_on(&[alice, bob]);
        let mut answers = Vec::new();
        for n in 0..200 {
            answers.push((n.to_string(), net.send(alice, "bob", &n.to_string())));
            let pause = net.sim.rng().random_range(0..40);
            net.sim.run_for(pause);
            if net.sim.rng().random_range(0..20) == 0 {
                let main = net.main;
                net.sim.cut(main, bob);
            }
            if net.sim.rng().random_range(0..30) == 0 {
                net.until_on(&[bob]);
            }
        }
        net.until_on(&[bob]);
        net.sim.run_for(10_000);
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for body in bodies(&told) {
            *counts.entry(body).or_default() += 1;
        }
        let mut accepted = 0;
        for (body, answer) in answers {
            let ok = answer.try_recv().unwrap().is_ok();
            accepted += usize::from(ok);
            let count = counts.get(&body).copied().unwrap_or(0);
            assert_eq!(count, usize::from(ok), "message {body}: ok {ok}, arrived {count} times");
        }
        assert!(accepted > 0);
    });
}

/// A reader that stops reading: BUSY, then its link is closed; what was answered OK comes at the next sign-on.
#[test]
fn a_slow_reader_is_closed_and_loses_nothing() {
    seeds(5, |seed| {
        let mut net = Network::new(seed, &["alice", "bob", "carol"]);
        let (alice, _) = net.client("alice");
        let (bob, told) = net.client("bob");
        let (carol, heard) = net.client("carol");
        net.until_on(&[alice, bob, carol]);
        let main = net.main;
        net.sim.stall(bob, main, true);
        let body = "x".repeat(100_000);
        let mut sent = Vec::new();
        for n in 0..40 {
            sent.push((n, net.send(alice, "bob", &format!("{n} {body}"))));
            net.sim.run_for(100);
        }
        net.send(alice, "carol", "are you there");
        net.sim.run_for(500);
        assert_eq!(bodies(&heard), ["are you there"], "others notice nothing");
        let (mut ok, mut busy) = (Vec::new(), 0);
        for (n, answer) in sent {
            match answer.try_recv().unwrap() {
                Ok(_) => ok.push(n),
                Err(fail) => {
                    assert_eq!(fail.code, convergia::wire::Code::Busy);
                    busy += 1;
                }
            }
        }
        assert!(busy > 10 && !ok.is_empty(), "{busy} BUSY, {} OK", ok.len());
        net.sim.run_for(60_000);
        net.until_on(&[bob]);
        net.sim.run_for(5_000);
        let arrived: Vec<i32> =
            bodies(&told).iter().map(|body| body.split(' ').next().unwrap().parse().unwrap()).collect();
        assert_eq!(arrived, ok);
    });
}

/// Management goes away and comes back: those signed on go on, new sign-ons wait, nobody is signed off.
#[test]
fn management_away_and_back() {
    seeds(20, |seed| {
        let mut net = Network::new(seed, &["alice", "bob", "carol"]);
        let (alice, _) = net.client("alice");
        let (bob, told) = net.client("bob");
        net.until_on(&[alice, bob]);
        let management = net.management;
        net.sim.crash(management);
        net.sim.run_for(5_000);
        let answer = net.send(alice, "bob", "still here");
        let (carol, _) = net.client("carol");
        net.sim.run_for(5_000);
        assert_eq!(answer.try_recv().unwrap(), Ok(vec![]));
        assert!(!Network::is_on(&mut net.sim, carol));
        net.sim.start(management);
        net.until_on(&[carol]);
        net.sim.run_for(1_000);
        assert_eq!(bodies(&told), ["still here"]);
        let (send, map) = channel::bounded(1);
        net.sim.with(carol, |core: &mut Core, ctx| core.request(ctx, "GETSERVERMAP", &[], send));
        net.sim.run_for(1_000);
        let map = String::from_utf8(map.try_recv().unwrap().unwrap()).unwrap();
        assert_eq!(map.lines().filter(|line| line.contains("|client|online|")).count(), 3, "{map}");
    });
}

/// The main server crashes and comes back: its clients sign on again by themselves.
#[test]
fn clients_come_back_after_a_crash() {
    seeds(20, |seed| {
        let mut net = Network::new(seed, &["alice", "bob"]);
        let (alice, _) = net.client("alice");
        let (bob, told) = net.client("bob");
        net.until_on(&[alice, bob]);
        let main = net.main;
        net.sim.crash(main);
        net.sim.run_for(3_000);
        assert!(!Network::is_on(&mut net.sim, alice));
        net.sim.start(main);
        net.until_on(&[alice, bob]);
        let answer = net.send(alice, "bob", "again");
        net.sim.run_for(1_000);
        assert_eq!(answer.try_recv().unwrap(), Ok(vec![]));
        assert_eq!(bodies(&told), ["again"]);
    });
}

/// What is kept is loaded before anybody can sign on: a restart does not make a message wait for the sign-on after next.
#[test]
fn what_is_kept_is_there_for_the_first_who_comes_back_after_a_restart() {
    seeds(30, |seed| {
        let mut net = Network::new(seed, &["alice", "bob"]);
        let (alice, _) = net.client("alice");
        let (bob, told) = net.client("bob");
        net.until_on(&[alice, bob]);
        let (main, management) = (net.main, net.management);
        net.sim.stall(bob, main, true);
        let answer = net.send(alice, "bob", "kept");
        net.sim.run_for(200);
        assert_eq!(answer.try_recv().unwrap(), Ok(vec![]));
        // Bob cannot come back at once.
        net.sim.crash(management);
        net.sim.cut(main, bob);
        net.sim.run_for(1_000);
        net.sim.crash(main);
        net.sim.faults.job = 0..=2_000;
        net.sim.start(management);
        net.sim.start(main);
        net.until_on(&[bob]);
        net.sim.run_for(5_000);
        assert_eq!(bodies(&told), ["kept"]);
    });
}

/// Whoever answers at the address of a main server without its certificate.
struct Impostor;

impl Role for Impostor {
    type Peer = ();
    const NAME: &'static str = "impostor";

    fn commands() -> &'static [Command<Impostor>] {
        &[]
    }

    fn opened(&mut self, ctx: &mut Ctx<Impostor>, link: LinkId) {
        ctx.push(link, "RECEIVEMESSAGE", &[b"alice", b"1790000000000", b"send me your password"]).unwrap();
        ctx.push(link, "SERVERMAPUPDATE", &[b"x|x|client|online||"]).unwrap();
        ctx.push(link, "DISCONNECTED", &[b"go away", b"final"]).unwrap();
    }
}

#[test]
fn a_client_hears_only_the_server_that_it_has_signed_on_to() {
    seeds(20, |seed| {
        let mut net = Network::new(seed, &["bob"]);
        net.sim.add(None, Limits::default(), [9; 32], &[(PortKey::ClientMain, "main:73")], || Impostor).unwrap();
        let (_, told) = net.client("bob");
        net.sim.run_for(20_000);
        let events = told.lock().unwrap();
        assert!(!events.is_empty());
        let told = events.iter().find(|event| !matches!(event, Event::Lost(..)));
        assert_eq!(told, None);
    });
}

/// One link to any port, for packets that no client library sends.
struct Asker {
    link: LinkId,
    gone: bool,
}

type Answers = channel::Receiver<Result<Vec<u8>, Fail>>;

impl Role for Asker {
    type Peer = ();
    const NAME: &'static str = "asker";

    fn commands() -> &'static [Command<Asker>] {
        &[]
    }

    fn closed(&mut self, _: &mut Ctx<Asker>, _: LinkId, _: Gone<()>) {
        self.gone = true;
    }
}

impl Network {
    pub fn asker(&mut self, port: PortKey, target: Target) -> NodeId {
        let make = || Asker { link: LinkId::default(), gone: false };
        let id = self.sim.add(None, Limits::default(), [0; 32], &[], make).unwrap();
        self.sim.with(id, |asker: &mut Asker, ctx| asker.link = ctx.connect(port, target, ())).unwrap();
        self.sim.run_for(1_000);
        id
    }

    pub fn ask(&mut self, id: NodeId, command: &str, fields: &[&str]) -> Answers {
        let (send, receive) = channel::bounded(1);
        let fields: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
        let then = move |_: &mut Asker, _: &mut Ctx<Asker>, answer: Result<Raw<'_>, Fail>| {
            send.try_send(answer.map(|data| data.unescape().into_owned())).unwrap();
        };
        self.sim.with(id, |asker: &mut Asker, ctx| ctx.request(asker.link, command, &fields, then)).unwrap();
        self.sim.run_for(1_000);
        receive
    }

    /// An asker that has logged in as `name`.
    fn logged_in(&mut self, name: &str) -> NodeId {
        let target = Target::Net("net:75".into(), Verify::Pinned(MANAGEMENT));
        let id = self.asker(PortKey::ClientManagement, target);
        let token = format!("token:{}", token(name));
        assert!(self.ask(id, "LOGIN", &[name, &token]).try_recv().unwrap().is_ok());
        id
    }

    fn is_gone(&mut self, id: NodeId) -> bool {
        self.sim.with(id, |asker: &mut Asker, _| asker.gone).unwrap()
    }
}

/// A connection to management that was signed on with what is not good any more is closed: it could register a key,
/// or get a ticket for whoever has the name by now.
#[test]
fn who_is_shut_out_is_shut_out_everywhere() {
    let mut net = Network::new(1, &["alice", "bob", "carol"]);
    let operator = net.asker(PortKey::Admin, Target::Unix("admin.sock".into()));
    for (command, user, fields) in [
        ("USERSTATE", "alice", &["alice", "disabled"][..]),
        ("USERDELETE", "bob", &["bob"]),
        ("USERPASSWD", "carol", &["carol", "new"]),
    ] {
        let link = net.logged_in(user);
        assert!(net.ask(operator, command, fields).try_recv().unwrap().is_ok());
        assert!(net.is_gone(link), "{command}");
    }
}

#[test]
fn revoking_tokens_keeps_the_connection_that_asked() {
    let mut net = Network::new(1, &["alice"]);
    let (stolen, own) = (net.logged_in("alice"), net.logged_in("alice"));
    assert!(net.ask(own, "REVOKETOKENS", &[]).try_recv().unwrap().is_ok());
    assert!(net.is_gone(stolen) && !net.is_gone(own));
    assert!(net.ask(own, "LISTKEYS", &[]).try_recv().unwrap().is_ok());
}

#[test]
fn one_account_holds_a_bounded_number_of_connections_to_management() {
    let mut net = Network::new(1, &["alice"]);
    let links: Vec<_> = (0..70).map(|_| net.logged_in("alice")).collect();
    let gone: Vec<_> = links.iter().map(|link| net.is_gone(*link)).collect();
    assert!(gone[..6].iter().all(|gone| *gone) && gone[6..].iter().all(|gone| !*gone), "{gone:?}");
}

/// What was kept for an account is not for the next one of that name.
#[test]
fn kept_messages_stay_with_the_account() {
    seeds(5, |seed| {
        let mut net = Network::new(seed, &["alice", "bob"]);
        let (alice, _) = net.client("alice");
        let (bob, told) = net.client("bob");
        net.until_on(&[alice, bob]);
        let main = net.main;
        net.sim.stall(bob, main, true);
        let answer = net.send(alice, "bob", "for the first bob");
        net.sim.run_for(500);
        assert_eq!(answer.try_recv().unwrap(), Ok(vec![]));
        net.sim.crash(bob);
        net.sim.run_for(1_000);
        let again = accounts(&["bob"]).replace("(1, 'bob'", "(99, 'bob'").replace("', 1, 0, 9", "', 99, 0, 9");
        let management = net.management;
        net.sim.with(management, |_: &mut management::Management, ctx| {
            let sql = format!("DELETE FROM tokens WHERE user = 2; DELETE FROM users WHERE id = 2; {again}");
            ctx.store(move |db| db.execute_batch(&sql).map_err(Fail::internal), |_, _, done| done.unwrap());
        });
        net.sim.run_for(1_000);
        let (other, heard) = net.client("bob");
        net.until_on(&[other]);
        net.sim.run_for(1_000);
        assert!(bodies(&told).is_empty() && bodies(&heard).is_empty(), "{:?}", bodies(&heard));
    });
}
