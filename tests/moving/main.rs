//! A client that is moved from server to server while messages go both ways, and one whose server dies. The client is ours, the
//! servers are made for this (`fake.rs`), so that they can be as slow, as early, or as dead as they like.
//! A failure prints its seed; `CONVERGIA_SEED=n cargo test --test moving` runs that one alone.

mod fake;
mod real;
mod redirects;
mod standbys;
#[path = "../support/temp.rs"]
mod temp;
mod waiting;

use std::sync::Arc;
use std::sync::Mutex;

use convergia::client::core::Core;
use convergia::client::Address;
use convergia::client::Event;
use convergia::client::Options;
use convergia::client::Secret;
use convergia::config::PortKey;
use convergia::engine::limits::Limits;
use convergia::engine::rt::channel;
use convergia::engine::sim::NodeId;
use convergia::engine::sim::Sim;
use convergia::wire::Fail;
use fake::look;
use fake::Desk;
use fake::Place;
use fake::Server;
use fake::State;
use fake::Step;
use fake::World;
use rand::RngExt;

/// What waits for an answer, and the answer.
type Sent = (channel::Receiver<Result<Vec<u8>, Fail>>, Option<Result<Vec<u8>, Fail>>);

/// Runs `test` on many seeds, or on the one that is asked for; names the seed of a failure.
fn seeds(count: u64, test: impl Fn(u64)) {
    if let Some(seed) = std::env::var("CONVERGIA_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return test(seed);
    }
    for seed in 0..count {
        struct Name(u64);
        impl Drop for Name {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    eprintln!("this was CONVERGIA_SEED={}", self.0);
                }
            }
        }
        let name = Name(seed);
        test(seed);
        drop(name);
    }
}

struct Net {
    sim: Sim,
    world: World,
    servers: Vec<NodeId>,
    client: NodeId,
    log: Arc<Mutex<Vec<Event>>>,
    /// Whether the sink has enough.
    full: Arc<Mutex<bool>>,
    /// What the client sent, by number.
    sent: Vec<Sent>,
}

impl Net {
    fn new(seed: u64, servers: usize, total: u64, options: impl FnOnce(Options) -> Options) -> Net {
        let mut sim = Sim::new(seed);
        sim.faults.delay = 0..=[1, 20, 60][seed as usize % 3];
        let world = World::default();
        let addresses: Vec<_> = (0..servers).map(|n| (format!("server-{n}:73"), [10 + n as u8; 32])).collect();
        let (dead, ports) = (vec![false; servers], (75, 82));
        *look(&world) = State { total, dead, ports, burst: 3, addresses: addresses.clone(), ..State::default() };
        let listen = [
            (PortKey::PublicManagement, "net:74"),
            (PortKey::ClientManagement, "net:75"),
            (PortKey::Validation, "net:82"),
        ];
        let shared = Arc::clone(&world);
        sim.add(None, Limits::default(), [1; 32], &listen, move || Desk(Arc::clone(&shared))).unwrap();
        let mut nodes = Vec::new();
        for (me, (address, print)) in addresses.iter().enumerate() {
            let shared = Arc::clone(&world);
            let listen = [(PortKey::ClientMain, address.as_str())];
            let make = move || Server { me, world: Arc::clone(&shared), links: Vec::new() };
            nodes.push(sim.add(None, Limits::default(), *print, &listen, make).unwrap());
        }
        let address = Address { host: "net".into(), port: 74, fingerprint: Some([1; 32]), realm: false };
        let options = options(Options::new(address, "alice".into(), Secret::Token("token".into())));
        let (log, full): (Arc<Mutex<Vec<Event>>>, Arc<Mutex<bool>>) = Default::default();
        let (events, enough) = (Arc::clone(&log), Arc::clone(&full));
        let make = move || {
            let (events, enough) = (Arc::clone(&events), Arc::clone(&enough));
            let sink = move |event| {
                events.lock().unwrap().push(event);
                *enough.lock().unwrap()
            };
            Core::new(options.clone(), Box::new(sink))
        };
        let client = sim.add(None, Limits::default(), [0; 32], &[], make).unwrap();
        sim.with(client, Core::begin).unwrap();
        Net { sim, world, servers: nodes, client, log, full, sent: Vec::new() }
    }

    fn is_on(sim: &mut Sim, client: NodeId) -> bool {
        sim.with(client, |core: &mut Core, _| core.is_on()) == Some(true)
    }

    fn until_on(&mut self) {
        let (until, client) = (self.sim.now() + 300_000, self.client);
        assert!(self.sim.run(until, |sim| Net::is_on(sim, client)), "not signed on: {:?}", self.events());
    }

    /// Runs until `done` says so.
    fn until(&mut self, what: &str, done: impl Fn(&State) -> bool) {
        self.set_full(false);
        let (until, world) = (self.sim.now() + 300_000, Arc::clone(&self.world));
        assert!(self.sim.run(until, |_| done(&look(&world))), "{what} does not come");
    }

    /// The client sends the next number.
    fn send(&mut self) {
        let (send, receive) = channel::bounded(1);
        let number = self.sent.len().to_string();
        let fields = [b"bob", number.as_bytes()];
        self.sim.with(self.client, |core: &mut Core, ctx| core.request(ctx, "SENDMESSAGE", &fields, send)).unwrap();
        self.sent.push((receive, None));
    }

    fn place(&self) -> Option<Place> {
        look(&self.world).session
    }

    /// The server that has the session asks the client to move. False: not now.
    fn redirect(&mut self) -> bool {
        let Some(place) = self.place() else { return false };
        let busy = look(&self.world).offers.iter().any(|offer| offer.step != Step::Over);
        let others: Vec<usize> = {
            let state = look(&self.world);
            (0..state.dead.len()).filter(|n| *n != place.server && !state.dead[*n]).collect()
        };
        if busy || others.is_empty() {
            return false;
        }
        let target = others[self.sim.rng().random_range(0..others.len())];
        let server = self.servers[place.server];
        self.sim.with(server, |server: &mut Server, ctx| server.redirect(ctx, place.link, target));
        true
    }

    fn crash(&mut self, server: usize) {
        let mut state = look(&self.world);
        state.dead[server] = true;
        if state.session.is_some_and(|place| place.server == server) {
            state.session = None;
        }
        drop(state);
        self.sim.crash(self.servers[server]);
    }

    /// Some milliseconds in which the client sends, and its reader may stop or go on.
    fn step(&mut self) {
        for _ in 0..self.sim.rng().random_range(0..3) {
            self.send();
        }
        if self.sim.rng().random_bool(0.1) {
            let full = self.sim.rng().random_bool(0.5);
            self.set_full(full);
        }
        let millis = self.sim.rng().random_range(1..15);
        self.sim.run_for(millis);
    }

    fn set_full(&mut self, full: bool) {
        *self.full.lock().unwrap() = full;
        if !full {
            self.sim.with(self.client, Core::resume);
        }
    }

    /// Lets all that is under way come to its end.
    fn rest(&mut self, millis: u64) {
        self.set_full(false);
        self.sim.run_for(millis);
    }

    fn events(&self) -> Vec<Event> {
        self.log.lock().unwrap().clone()
    }

    fn heard(&self) -> Vec<u64> {
        let body = |event: &Event| match event {
            Event::Message { body, .. } => Some(std::str::from_utf8(body).unwrap().parse().unwrap()),
            _ => None,
        };
        self.events().iter().filter_map(body).collect()
    }

    /// Messages that came before the session went on elsewhere for the nth time, from 0.
    fn heard_before_move(&self, n: usize) -> u64 {
        let events = self.events();
        let at = events.iter().enumerate().filter(|(_, event)| matches!(event, Event::Moved(_))).nth(n).unwrap().0;
        events[..at].iter().filter(|event| matches!(event, Event::Message { .. })).count() as u64
    }

    fn count(&self, what: fn(&Event) -> bool) -> usize {
        self.events().iter().filter(|event| what(event)).count()
    }

    fn moved(&self) -> usize {
        self.count(|event| matches!(event, Event::Moved(_)))
    }

    /// One for each that was sent.
    fn answers(&mut self) -> Vec<Result<Vec<u8>, Fail>> {
        let mut answers = Vec::new();
        for (n, (answer, known)) in self.sent.iter_mut().enumerate() {
            let answer = known.get_or_insert_with(|| answer.try_recv().unwrap_or_else(|_| panic!("{n} has no answer")));
            answers.push(answer.clone());
        }
        answers
    }

    /// Nothing lost, doubled, or out of order, and the user knows of nothing.
    fn assert_whole(&mut self) {
        let answers = self.answers();
        let state = look(&self.world);
        assert_eq!(state.wrong, Vec::<String>::new());
        assert_eq!(self.heard(), (0..state.total).collect::<Vec<_>>());
        assert_eq!(state.taken, (0..self.sent.len() as u64).collect::<Vec<_>>());
        assert_eq!(answers, vec![Ok(vec![]); answers.len()]);
        assert_eq!(state.sign_ons, 1, "the client signed on anew");
        assert_eq!(self.count(|event| matches!(event, Event::Lost(..) | Event::Failed(_))), 0);
    }

    /// Nothing doubled or out of order; what was answered OK was taken; every request has an answer.
    fn assert_in_order(&mut self) {
        let answers = self.answers();
        let state = look(&self.world);
        assert_eq!(state.wrong, Vec::<String>::new());
        let heard = self.heard();
        assert!(heard.windows(2).all(|two| two[0] < two[1]), "{heard:?}");
        assert!(state.taken.windows(2).all(|two| two[0] < two[1]), "{:?}", state.taken);
        for (n, answer) in answers.iter().enumerate() {
            assert!(answer.is_err() || state.taken.contains(&(n as u64)), "{n} was answered OK");
        }
    }
}
