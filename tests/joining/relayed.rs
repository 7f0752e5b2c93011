//! Somebody between two servers, who shows a certificate of its own to the opener and passes on whatever they say. In a
//! simulation, where an opener can be made that does not look at certificates itself: the handshake alone has to notice.

use std::sync::Arc;
use std::sync::Mutex;

use convergia::config::PortKey;
use convergia::engine::anyone;
use convergia::engine::handshake;
use convergia::engine::handshake::Handshakes;
use convergia::engine::handshake::Member;
use convergia::engine::identity::PublicKey;
use convergia::engine::limits::Limits;
use convergia::engine::sim::Sim;
use convergia::engine::Answer;
use convergia::engine::Command;
use convergia::engine::Ctx;
use convergia::engine::Gone;
use convergia::engine::LinkId;
use convergia::engine::Request;
use convergia::engine::Role;
use convergia::engine::Target;
use convergia::engine::Verify;
use convergia::wire::Fail;

use crate::opener::key;

const PORTS: &[PortKey] = &[PortKey::MainMain];

/// What happened, in words.
type Log = Arc<Mutex<Vec<String>>>;

/// A server that knows every other.
struct Peer {
    shakes: Handshakes,
    connect: Option<Target>,
    expected: Option<PublicKey>,
    /// How long it takes to learn who the others are; milliseconds.
    ready_after: u64,
    log: Log,
}

impl Member for Peer {
    fn handshakes(&mut self) -> &mut Handshakes {
        &mut self.shakes
    }

    fn handshakes_ref(&self) -> &Handshakes {
        &self.shakes
    }

    fn key_of(&self, server: &str, _: PortKey) -> Option<PublicKey> {
        (server == "opener").then(|| key(1).public())
    }

    fn proven(&mut self, _: &mut Ctx<Peer>, link: LinkId, server: &str, key: PublicKey) {
        assert_eq!(self.shakes.server(link), Some(server));
        self.log.lock().unwrap().push(format!("{} has proven {server} {key}", self.shakes.own_id()));
    }

    fn refused(&mut self, _: &mut Ctx<Peer>, _: LinkId, why: &Fail) {
        self.log.lock().unwrap().push(format!("{} was refused: {why}", self.shakes.own_id()));
    }
}

impl Role for Peer {
    type Peer = ();
    const NAME: &'static str = "peer";

    fn commands() -> &'static [Command<Peer>] {
        const HELLO: Command<Peer> = handshake::hello(PORTS);
        const PROVE: Command<Peer> = handshake::prove(PORTS);
        &[HELLO, PROVE]
    }

    fn start(&mut self, ctx: &mut Ctx<Peer>) {
        ctx.after(self.ready_after, handshake::ready);
        if let Some(target) = &self.connect {
            ctx.connect(PortKey::MainMain, target.clone(), ());
        }
    }

    fn opened(&mut self, ctx: &mut Ctx<Peer>, link: LinkId) {
        match ctx.info(link).is_some_and(|info| info.opener) {
            true => handshake::open(self, ctx, link, "target", self.expected),
            false => handshake::accepted(self, ctx, link),
        }
    }

    fn closed(&mut self, _: &mut Ctx<Peer>, link: LinkId, _: Gone<()>) {
        self.shakes.closed(link);
        self.log.lock().unwrap().push(format!("{}: a link is gone", self.shakes.own_id()));
    }
}

/// Passes on what it gets.
#[derive(Default)]
struct Relay {
    onward: Option<LinkId>,
}

impl Role for Relay {
    type Peer = ();
    const NAME: &'static str = "relay";

    fn commands() -> &'static [Command<Relay>] {
        const HELLO: Command<Relay> = Command { name: "HELLO", ports: PORTS, args: "any", gate: anyone, run: pass_on };
        const PROVE: Command<Relay> = Command { name: "PROVE", ports: PORTS, args: "any", gate: anyone, run: pass_on };
        &[HELLO, PROVE]
    }

    fn start(&mut self, ctx: &mut Ctx<Relay>) {
        self.onward = Some(ctx.connect(PortKey::MainMain, Target::Net("target".into(), Verify::Any), ()));
    }
}

fn pass_on(relay: &mut Relay, ctx: &mut Ctx<Relay>, request: &Request<'_>) -> Result<Answer, Fail> {
    let command = String::from_utf8_lossy(request.packet.command).into_owned();
    let later = request.later();
    ctx.request(relay.onward.unwrap(), &command, &[&request.data().unescape()], move |_, ctx, answer| {
        ctx.answer(&later, answer.map(|data| data.unescape().into_owned()));
    });
    Ok(Answer::Later)
}

/// What happens when the opener connects to `address`, knowing the target by `expected`.
fn run(seed: u64, address: &str, own: u8, expected: Option<PublicKey>) -> Vec<String> {
    let (mut sim, log) = (Sim::new(seed), Log::default());
    let peer = |id: &'static str, seed: u8, connect: Option<Target>| {
        let log = Arc::clone(&log);
        move || {
            let shakes = Handshakes::new(id, key(seed));
            let log = Arc::clone(&log);
            Peer { shakes, connect: connect.clone(), expected, ready_after: 0, log }
        }
    };
    let limits = Limits::default;
    let listen = [(PortKey::MainMain, "target")];
    sim.add(None, limits(), [2; 32], &listen, peer("target", 2, None)).unwrap();
    sim.add(None, limits(), [3; 32], &[(PortKey::MainMain, "relay")], Relay::default).unwrap();
    sim.run_for(1_000);
    let target = Target::Net(address.to_owned(), Verify::Any);
    sim.add(None, limits(), [1; 32], &[], peer("opener", own, Some(target))).unwrap();
    sim.run_for(30_000);
    let log = log.lock().unwrap();
    log.clone()
}

#[test]
fn without_anybody_in_between_both_know_each_other() {
    for seed in 0..20 {
        let mut log = run(seed, "target", 1, Some(key(2).public()));
        // The relay's own link says nothing, and is closed in time.
        log.retain(|line| !line.contains("gone"));
        let [opener, target] = [key(1).public(), key(2).public()];
        log.sort();
        assert_eq!(log, [format!("opener has proven target {target}"), format!("target has proven opener {opener}")]);
    }
}

#[test]
fn a_relay_is_noticed_by_the_opener() {
    for seed in 0..20 {
        for expected in [None, Some(key(2).public())] {
            let log = run(seed, "relay", 1, expected);
            assert!(!log.iter().any(|line| line.contains("proven")), "{log:?}");
            let noticed = log.iter().find(|line| line.contains("opener was refused")).expect("refused");
            assert!(noticed.contains("another certificate"), "{noticed}");
        }
    }
}

#[test]
fn another_key_than_expected_is_noticed_by_the_opener() {
    let log = run(1, "target", 1, Some(key(9).public()));
    assert!(!log.iter().any(|line| line.starts_with("opener has proven")), "{log:?}");
    assert!(log.iter().any(|line| line.contains("another key than it is known by")), "{log:?}");
}

#[test]
fn an_opener_with_another_key_cannot_read_the_offer() {
    let log = run(1, "target", 5, Some(key(2).public()));
    assert!(!log.iter().any(|line| line.contains("proven")), "{log:?}");
    assert!(log.iter().any(|line| line.contains("by another key")), "{log:?}");
}

#[test]
fn who_comes_before_the_keys_are_known_waits() {
    for (ready_after, comes_in) in [(5_000, true), (15_000, false)] {
        let (mut sim, log) = (Sim::new(ready_after), Log::default());
        for (id, own, connect) in [("target", 2, None), ("opener", 1, Some("target"))] {
            let log = Arc::clone(&log);
            let connect = connect.map(|target: &str| Target::Net(target.to_owned(), Verify::Any));
            let make = move || {
                let (shakes, log) = (Handshakes::new(id, key(own)), Arc::clone(&log));
                Peer { shakes, connect: connect.clone(), expected: None, ready_after, log }
            };
            let listen = [(PortKey::MainMain, id)];
            sim.add(None, Limits::default(), [own; 32], &listen, make).unwrap();
        }
        sim.run_for(4_900);
        assert!(log.lock().unwrap().is_empty(), "{:?}", log.lock().unwrap());
        sim.run_for(20_000);
        let proven = log.lock().unwrap().iter().filter(|line| line.contains("has proven")).count();
        assert_eq!(proven, if comes_in { 2 } else { 0 }, "{:?}", log.lock().unwrap());
    }
}

/// The relay's own link to the target says nothing: it is closed after ten seconds, and not before.
#[test]
fn a_silent_link_is_closed_in_time() {
    for seed in 0..20 {
        let (mut sim, log) = (Sim::new(seed), Log::default());
        let shared = Arc::clone(&log);
        let make = move || {
            let (shakes, log) = (Handshakes::new("target", key(2)), Arc::clone(&shared));
            Peer { shakes, connect: None, expected: None, ready_after: 0, log }
        };
        sim.add(None, Limits::default(), [2; 32], &[(PortKey::MainMain, "target")], make).unwrap();
        sim.add(None, Limits::default(), [3; 32], &[], Relay::default).unwrap();
        sim.run_for(9_900);
        assert!(log.lock().unwrap().is_empty());
        sim.run_for(1_000);
        assert_eq!(*log.lock().unwrap(), ["target: a link is gone"]);
    }
}
