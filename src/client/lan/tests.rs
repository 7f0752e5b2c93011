//! Direct links over loopback, with the sockets and TLS that ship; announcements are handed over by hand.

use std::collections::HashMap;

use super::*;
use crate::accounts::keys;
use crate::engine::Answer as Answered;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Gone;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::engine::Role;
use crate::engine::Target;
use crate::engine::Verify;

/// How long what happens at once may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client, the keys that its server would name, and what happened there.
struct Node {
    handle: Handle<Direct>,
    events: channel::Receiver<Event>,
    port: u16,
    _listening: net::Listening,
}

fn id(name: &str) -> Id {
    Id::parse(&format!("{}::{name}", "ab".repeat(32))).unwrap()
}

fn public(seed: u8) -> [u8; 32] {
    keys::public_of(&[seed; 32]).unwrap()
}

fn listen_on<R: Role>(handle: &Handle<R>, ip: [u8; 4], port: u16) -> (u16, net::Listening) {
    let identity = Identity::fresh().unwrap();
    let tls = tls::server(&identity).unwrap();
    let address = SocketAddr::from((ip, port));
    let (bound, listening) = net::listen(handle, PortKey::RealmClientClient, address, tls, &identity).unwrap();
    (bound.port(), listening)
}

impl Node {
    /// `room`: events that it takes before it reads no more.
    fn new(name: &str, seed: u8, room: usize) -> Node {
        let (send, events) = channel::unbounded();
        let paused = send.clone();
        let sink = move |event| {
            send.try_send(event).unwrap();
            paused.len() >= room
        };
        let me = Me { id: id(name), seed: Some([seed; 32].into()) };
        let direct = Direct::new(Some(me), Box::new(sink)).unwrap();
        let handle = Handle::new(direct, Limits::default(), 1, None, &Arc::new(Registry::default())).unwrap();
        let (port, listening) = listen_on(&handle, [127, 0, 0, 1], 0);
        handle.with(|direct, _| direct.listens(PortKey::RealmClientClient, port));
        Node { handle, events, port, _listening: listening }
    }

    /// Its announcement.
    fn says(&self) -> Vec<u8> {
        self.handle.with(|direct, ctx| direct.announcement(ctx.now(), false).unwrap())
    }

    fn hears(&self, from: [u8; 4], said: &[u8]) {
        self.handle.with(|direct, ctx| direct.heard(ctx, SocketAddr::from((from, 63749)), said));
    }

    /// The next event. Questions about keys are answered by `server`.
    fn next(&self, server: &Server) -> Event {
        loop {
            match rt::block_on(rt::timeout(PATIENCE, self.events.recv())).expect("an event").unwrap() {
                Event::Vouch(user) => {
                    let keys = server.get(user.as_str()).cloned().unwrap_or_default();
                    self.handle.with(|direct, ctx| direct.vouched(ctx, &user, Vouch::Keys(keys), 600_000));
                }
                Event::Changed => {}
                event => return event,
            }
        }
    }

    /// Answers one question about keys.
    fn vouches(&self, server: &Server) {
        while let Ok(event) = rt::block_on(rt::timeout(PATIENCE, self.events.recv())).expect("a question") {
            let Event::Vouch(user) = event else { continue };
            let keys = server.get(user.as_str()).cloned().unwrap_or_default();
            return self.handle.with(|direct, ctx| {
                direct.vouched(ctx, &user, Vouch::Keys(keys), 600_000);
                direct.resume(ctx);
            });
        }
    }

    fn trusts(&self) -> Vec<(String, Trust)> {
        let people = self.handle.with(|direct, ctx| direct.people(ctx.now()));
        people.into_iter().map(|person| (person.id.name().to_owned(), person.trust)).collect()
    }

    /// Makes a link. `other`: answers a question about keys meanwhile.
    fn reaches(&self, user: &str, other: Option<(&Node, &Server)>) -> bool {
        let waits = self.handle.with(|direct, ctx| direct.reach(ctx, user));
        if let Some((other, server)) = other {
            other.vouches(server);
        }
        waits.iter().all(|wait| rt::block_on(rt::timeout(PATIENCE, wait.recv())).expect("an end") == Ok(true))
            && self.handle.with(|direct, ctx| direct.is_reached(ctx, user))
    }

    fn posts(&self, user: &str, body: &str) -> Option<Sent> {
        let answers = self.handle.with(|direct, ctx| direct.post(ctx, user, body.as_bytes()));
        Some(Sent(answers)).filter(|sent| !sent.0.is_empty())
    }

    fn has_messages(&self) -> bool {
        let mut events = std::iter::from_fn(|| self.events.try_recv().ok());
        events.any(|event| matches!(event, Event::Message { .. }))
    }
}

/// The keys that a server names, by user.
type Server = HashMap<&'static str, Vec<[u8; 32]>>;

const HERE: [u8; 4] = [127, 0, 0, 1];

fn answer(sent: Sent) -> Result<(), Fail> {
    rt::block_on(rt::timeout(PATIENCE, sent.answer())).expect("an answer")
}

#[test]
fn two_talk_when_their_server_vouches_for_both() {
    let (alice, bob) = (Node::new("Alice", 1, 100), Node::new("bob", 2, 100));
    let server = Server::from([("Alice", vec![public(9), public(1)]), ("bob", vec![public(2)])]);
    alice.hears(HERE, &bob.says());
    assert_eq!(alice.trusts(), [("bob".to_owned(), Trust::Unknown)]);
    assert!(!alice.reaches("bob", None), "nobody has vouched so far");
    alice.vouches(&server);
    assert_eq!(alice.trusts(), [("bob".to_owned(), Trust::Verified)]);
    // Bob has not heard her: he asks when she comes.
    assert!(alice.reaches("BOB", Some((&bob, &server))));
    for n in 0..50 {
        answer(alice.posts("bob", &format!("{n}~\n")).unwrap()).unwrap();
    }
    for n in 0..50 {
        let Event::Message { sender, body, .. } = bob.next(&server) else { panic!() };
        assert_eq!((sender.as_str(), body), ("Alice", format!("{n}~\n").into_bytes()));
    }
    assert!(!bob.has_messages());
    // Her key is removed from the account: the link goes.
    bob.handle.with(|direct, ctx| {
        direct.vouches = Default::default();
        direct.look_up(ctx, &id("alice"), false);
        direct.vouched(ctx, "alice", Vouch::Keys(vec![public(9)]), 1_000);
    });
    let gone = |node: &Node| node.handle.with(|_, ctx| ctx.links()) == 0;
    rt::block_on(rt::timeout(PATIENCE, async {
        while !gone(&alice) {
            rt::sleep(Duration::from_millis(1)).await;
        }
    }))
    .expect("the link is closed");
    assert!(alice.posts("bob", "no").is_none());
}

#[test]
fn who_announces_the_name_of_another_gets_nothing() {
    let (alice, mallory) = (Node::new("alice", 1, 100), Node::new("bob", 3, 100));
    let server = Server::from([("alice", vec![public(1)]), ("bob", vec![public(2)])]);
    alice.hears(HERE, &mallory.says());
    alice.vouches(&server);
    assert_eq!(alice.trusts(), [("bob".to_owned(), Trust::Unverified)]);
    assert!(!alice.reaches("bob", None) && alice.posts("bob", "secret").is_none());
    // Nor does he get in, though he believes in her: her server does not name his key.
    mallory.hears(HERE, &alice.says());
    mallory.vouches(&server);
    assert!(!mallory.reaches("alice", None), "refused: alice knows already that this is no key of bob's");
    assert!(mallory.posts("alice", "I am bob").is_none() && !alice.has_messages() && !mallory.has_messages());
    // And of a user that nobody knows.
    let nobody = Node::new("nobody", 4, 100);
    nobody.hears(HERE, &alice.says());
    nobody.vouches(&server);
    assert!(!nobody.reaches("alice", Some((&alice, &server))));
}

#[test]
fn another_client_at_the_announced_address_is_refused() {
    let (alice, bob) = (Node::new("alice", 1, 100), Node::new("bob", 2, 100));
    let server = Server::from([("alice", vec![public(1)]), ("bob", vec![public(2)])]);
    // Mallory listens at the port that bob announces, at another address, and says again what bob said.
    let mallory = Node::new("bob", 3, 100);
    let (_, _listening) = listen_on(&mallory.handle, [127, 0, 0, 2], bob.port);
    alice.hears([127, 0, 0, 2], &bob.says());
    alice.vouches(&server);
    assert_eq!(alice.trusts(), [("bob".to_owned(), Trust::Verified)], "bob signed it");
    assert!(!alice.reaches("bob", None));
    assert!(alice.posts("bob", "secret").is_none() && !mallory.has_messages());
    // Bob's next word brings her to him.
    alice.hears(HERE, &bob.says());
    alice.handle.with(|direct, ctx| direct.look_up(ctx, &id("bob"), false));
    assert!(alice.reaches("bob", Some((&bob, &server))));
}

/// Passes on whatever is asked on one link over another, and the answers back.
struct Relay {
    target: String,
    pairs: HashMap<LinkId, LinkId>,
    passed: Vec<String>,
}

fn pass(relay: &mut Relay, ctx: &mut Ctx<Relay>, request: &Request<'_>) -> Result<Answered, Fail> {
    let command = String::from_utf8(request.packet.command.to_vec()).unwrap();
    relay.passed.push(command.clone());
    let (later, to) = (request.later(), relay.pairs[&request.link]);
    ctx.request_parts(to, &command, &[request.data().0], move |_, ctx, answer| ctx.answer_kept(&later, answer));
    Ok(Answered::Later)
}

const fn passed(name: &'static str) -> Command<Relay> {
    let ports = &[PortKey::RealmClientClient];
    Command { name, ports, args: "anything", gate: crate::engine::anyone, run: pass }
}

impl Role for Relay {
    type Peer = ();
    const NAME: &'static str = "relay";

    fn commands() -> &'static [Command<Relay>] {
        const { &[passed("HELLO"), passed("PROVE"), passed("SENDMESSAGE")] }
    }

    fn opened(&mut self, ctx: &mut Ctx<Relay>, link: LinkId) {
        if ctx.info(link).is_some_and(|info| !info.opener) {
            // Nothing is read before there is somewhere to pass it on to.
            ctx.pause(link, true);
            let to = ctx.connect(PortKey::RealmClientClient, Target::Net(self.target.clone(), Verify::Any), ());
            self.pairs.insert(link, to);
            self.pairs.insert(to, link);
        } else {
            ctx.pause(self.pairs[&link], false);
        }
    }

    fn closed(&mut self, ctx: &mut Ctx<Relay>, link: LinkId, _: Gone<()>) {
        if let Some(other) = self.pairs.get(&link) {
            ctx.close(*other, "the other end is gone");
        }
    }
}

#[test]
fn a_relay_in_the_middle_is_refused() {
    let (alice, bob) = (Node::new("alice", 1, 100), Node::new("bob", 2, 100));
    let server = Server::from([("alice", vec![public(1)]), ("bob", vec![public(2)])]);
    let relay = Relay { target: format!("127.0.0.1:{}", bob.port), pairs: HashMap::new(), passed: Vec::new() };
    let relay = Handle::new(relay, Limits::default(), 1, None, &Arc::new(Registry::default())).unwrap();
    let (_, _listening) = listen_on(&relay, [127, 0, 0, 2], bob.port);
    alice.hears([127, 0, 0, 2], &bob.says());
    alice.vouches(&server);
    // The signature that comes back is bob's, for his own certificate, which is not the one that alice sees.
    assert!(!alice.reaches("bob", None));
    assert_eq!(relay.with(|relay, _| relay.passed.clone()), ["HELLO"], "bob was asked, and alice has signed nothing");
    assert!(alice.posts("bob", "secret").is_none() && !bob.has_messages());
}

#[test]
fn a_link_that_breaks_before_the_answer_says_that_it_may_have_arrived() {
    // Bob takes one message, and reads no further.
    let (alice, bob) = (Node::new("alice", 1, 100), Node::new("bob", 2, 1));
    let server = Server::from([("alice", vec![public(1)]), ("bob", vec![public(2)])]);
    alice.hears(HERE, &bob.says());
    alice.vouches(&server);
    assert!(alice.reaches("bob", Some((&bob, &server))));
    answer(alice.posts("bob", "one").unwrap()).unwrap();
    let two = alice.posts("bob", "two").unwrap();
    bob.handle.with(|direct, ctx| direct.friends.iter().for_each(|link| ctx.abort(*link, "gone")));
    let fail = answer(two).unwrap_err();
    assert_eq!(fail.code, Code::Unavailable);
    assert!(fail.text.contains("may have arrived"), "{fail}");
    // And it is not sent again: bob has the first only.
    assert!(matches!(bob.next(&server), Event::Message { body, .. } if body == b"one"));
    assert!(!bob.has_messages() && alice.posts("bob", "three").is_none());
}

#[test]
fn strangers_get_nowhere() {
    let bob = Node::new("bob", 2, 100);
    let relay = Relay { target: String::new(), pairs: HashMap::new(), passed: Vec::new() };
    let raw = Handle::new(relay, Limits::default(), 1, None, &Arc::new(Registry::default())).unwrap();
    let target = Target::Net(format!("127.0.0.1:{}", bob.port), Verify::Any);
    let (send, answers) = channel::unbounded();
    raw.with(|relay, ctx| {
        let link = ctx.connect(PortKey::RealmClientClient, target, ());
        relay.pairs.insert(link, link);
    });
    let ask = |command: &'static str, fields: Vec<String>| {
        let send = send.clone();
        rt::block_on(rt::timeout(PATIENCE, async {
            while !raw.with(|relay, ctx| relay.pairs.keys().any(|link| ctx.is_open(*link))) {
                rt::sleep(Duration::from_millis(1)).await;
            }
        }))
        .expect("open");
        raw.with(|relay, ctx| {
            let link = *relay.pairs.keys().next().unwrap();
            let fields: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
            ctx.request(link, command, &fields, move |_, _, answer| {
                send.try_send(answer.map(|data| data.unescape().into_owned()).map_err(|fail| fail.code)).unwrap();
            });
        });
        rt::block_on(rt::timeout(PATIENCE, answers.recv())).expect("an answer").unwrap()
    };
    let (me, key, digits) = (id("alice").to_string(), keys::to_base64(&public(1)), "ab".repeat(32));
    let hello = |target: &str| vec![me.clone(), key.clone(), target.to_owned(), digits.clone()];
    let bob_id = id("bob").to_string();
    assert_eq!(ask("SENDMESSAGE", vec!["bob".into(), "hi".into()]), Err(Code::SignIn));
    assert_eq!(ask("PROVE", vec!["AAAA".into()]), Err(Code::BadCommand));
    assert_eq!(ask("HELLO", hello(&id("carol").to_string())), Err(Code::NotFound));
    for (at, bad) in [(0, "alice"), (1, "AAAA"), (2, "bob"), (3, "ab")] {
        let mut fields = hello(&bob_id);
        fields[at] = bad.to_owned();
        assert_eq!(ask("HELLO", fields), Err(Code::BadArgs), "{bad}");
    }
    assert!(ask("HELLO", hello(&bob_id)).is_ok());
    assert_eq!(ask("HELLO", hello(&bob_id)), Err(Code::BadCommand));
    // No question goes to the server for a signature that is none.
    assert_eq!(ask("PROVE", vec![keys::to_base64(&[7; 64])]), Err(Code::Denied));
    assert!(bob.events.try_recv().is_err());
}

#[test]
fn questions_to_the_server_are_bounded() {
    let alice = Node::new("alice", 1, 10_000);
    for seed in 10..200 {
        let said = announce::tests::announcement(&format!("u{seed}"), seed, 5, clock::now());
        let from = [10, 0, seed, 1];
        alice.hears(from, &said.sign(&[seed; 32]).unwrap());
    }
    assert!(alice.trusts().len() > 100);
    let asked = std::iter::from_fn(|| alice.events.try_recv().ok()).filter(|event| matches!(event, Event::Vouch(_)));
    let asked = asked.count();
    assert!((1..=16).contains(&asked), "{asked}");
}
