//! The driver for simulations: whole networks of roles in one thread, on a virtual clock, from a seed.
//!
//! Bytes on a link arrive in order, cut into pieces at random, after a random delay; links are independent, so packets
//! of different links overtake each other. Links can be cut (what is under way is lost), readers can stall, nodes can crash
//! (what was not committed is lost) and start again. The same seed gives the same run.

mod node;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use rand::rngs::StdRng;
use rand::Rng;
use rand::RngExt;
use rand::SeedableRng;
use rusqlite::Connection;

use super::chunk::Chunk;
use super::command::Role;
use super::ctx::Connect;
use super::ctx::Ctx;
use super::ctx::Fingerprint;
use super::ctx::Job;
use super::ctx::Lane;
use super::ctx::LinkId;
use super::ctx::Target;
use super::ctx::Verify;
use super::database;
use super::host::Host;
use super::host::Next;
use super::limits::Limits;
use super::worker;
use crate::config::PortKey;
use crate::voice;
use crate::wire::Fail;
use node::Node;

/// A node of the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(usize);

/// What varies.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Milliseconds on the way.
    pub delay: RangeInclusive<u64>,
    /// Milliseconds that a job takes.
    pub job: RangeInclusive<u64>,
    /// Pieces that a write is cut into at most.
    pub pieces: usize,
}

impl Default for Faults {
    fn default() -> Faults {
        Faults { delay: 0..=20, job: 0..=30, pieces: 3 }
    }
}

type Make = Box<dyn Fn([u8; 32], u64) -> Box<dyn Node>>;

struct Place {
    make: Make,
    node: Option<Box<dyn Node>>,
    /// Survives a crash, as a disk does.
    database: Option<Connection>,
    fingerprint: Fingerprint,
    /// Counts starts: what an earlier run scheduled does not touch this one.
    run: u64,
    deadline: Option<u64>,
    /// What it asked of the thread of voice, which is not simulated.
    orders: Vec<voice::Order>,
}

type End = (NodeId, LinkId);

struct Wire {
    to: End,
    /// Within a process.
    local: bool,
    /// When the last piece arrives: the next arrives no earlier.
    last: u64,
    stalled: bool,
}

enum Event {
    Connect(NodeId, u64, Connect),
    Arrive(End, Chunk),
    Broken(End, String),
    /// The first has closed, and the second reads the end of the stream now.
    Ended(End, End),
    Pump(End),
    Job(NodeId, u64, Job),
    Timers(NodeId, u64),
}

/// A simulated network.
pub struct Sim {
    /// What varies; may be changed between steps.
    pub faults: Faults,
    now: u64,
    rng: StdRng,
    places: Vec<Place>,
    addresses: HashMap<String, (NodeId, PortKey)>,
    wires: BTreeMap<End, Wire>,
    /// Ends that have closed, and whose peers have not read so far.
    ending: BTreeSet<End>,
    /// Pairs of nodes that cannot connect to each other.
    walls: BTreeSet<(NodeId, NodeId)>,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    /// Folded over everything that happens: two runs of one seed must agree.
    trace: u64,
}

/// How soon a writer tries again whose reader takes nothing at the moment; milliseconds.
const RETRY: u64 = 10;
/// Why a link is gone whose other end was closed after all was written.
const ENDED: &str = "closed by the peer";
/// When simulated time begins: some day in 2026.
const EPOCH: u64 = 1_790_000_000_000;

impl Sim {
    /// An empty network.
    pub fn new(seed: u64) -> Sim {
        Sim {
            faults: Faults::default(),
            now: EPOCH,
            rng: StdRng::seed_from_u64(seed),
            places: Vec::new(),
            addresses: HashMap::new(),
            wires: BTreeMap::new(),
            walls: BTreeSet::new(),
            ending: BTreeSet::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            trace: 0,
        }
    }

    /// Unix milliseconds, simulated.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// A number that depends on everything that happened so far.
    pub fn trace(&self) -> u64 {
        self.trace
    }

    /// The simulation's random source, for choices of the test.
    pub fn rng(&mut self) -> &mut StdRng {
        &mut self.rng
    }

    /// Adds a node and starts it. `make` is called again after a crash. `listen`: its addresses, `host:port`.
    pub fn add<R: Role>(
        &mut self,
        migrations: Option<&[&str]>,
        limits: Limits,
        fingerprint: Fingerprint,
        listen: &[(PortKey, &str)],
        make: impl Fn() -> R + 'static,
    ) -> Result<NodeId, String> {
        let id = NodeId(self.places.len());
        let database = migrations.map(database::in_memory).transpose()?;
        let make: Make = Box::new(move |seed, now| Box::new(Host::new(make(), limits.clone(), seed, now)));
        self.places.push(Place { make, node: None, database, fingerprint, run: 0, deadline: None, orders: Vec::new() });
        for (port, address) in listen {
            self.addresses.insert((*address).to_owned(), (id, *port));
        }
        self.start(id);
        Ok(id)
    }

    /// Starts a node that crashed.
    pub fn start(&mut self, id: NodeId) {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let now = self.now;
        let Some(place) = self.places.get_mut(id.0) else { return };
        place.run += 1;
        place.deadline = None;
        let mut node = (place.make)(seed, now);
        node.start(now);
        place.node = Some(node);
        self.settle(id);
    }

    /// The node is gone without a word: its links break, jobs that are not done are not done.
    pub fn crash(&mut self, id: NodeId) {
        let Some(place) = self.places.get_mut(id.0) else { return };
        place.node = None;
        place.run += 1;
        let ends: Vec<End> = self.wires.keys().filter(|(node, _)| *node == id).copied().collect();
        for end in ends {
            self.break_wire(end, "the other node crashed");
        }
    }

    /// Cuts every link between two nodes: what is under way is lost.
    pub fn cut(&mut self, a: NodeId, b: NodeId) {
        let ends: Vec<End> =
            self.wires.iter().filter(|((node, _), wire)| *node == a && wire.to.0 == b).map(|(end, _)| *end).collect();
        for end in ends {
            self.break_wire(end, "the link was cut");
            self.later(end, "the link was cut");
        }
    }

    /// Puts a wall between two nodes, or takes it away: no connection is made through it. Those that there are stay; see `cut`.
    pub fn wall(&mut self, a: NodeId, b: NodeId, there: bool) {
        for pair in [(a, b), (b, a)] {
            match there {
                true => self.walls.insert(pair),
                false => self.walls.remove(&pair),
            };
        }
    }

    /// Stops or resumes reading at `reader` of what comes from `from`.
    pub fn stall(&mut self, reader: NodeId, from: NodeId, stalled: bool) {
        let mut ends = Vec::new();
        for (end, wire) in &mut self.wires {
            if end.0 == from && wire.to.0 == reader {
                wire.stalled = stalled;
                ends.push(*end);
            }
        }
        if !stalled {
            for end in ends {
                self.pump(end);
            }
            self.settle(from);
        }
    }

    /// Enters the role of a node. None: it has crashed, or is of another role.
    pub fn with<R: Role, T>(&mut self, id: NodeId, run: impl FnOnce(&mut R, &mut Ctx<R>) -> T) -> Option<T> {
        let now = self.now;
        let node = self.places.get_mut(id.0)?.node.as_mut()?;
        let result = node.as_any().downcast_mut::<Host<R>>()?.with(now, run);
        self.settle(id);
        Some(result)
    }

    /// What the node has asked of the thread of voice since the last call, oldest first. What that thread tells is `Role::voice`.
    pub fn orders(&mut self, id: NodeId) -> Vec<voice::Order> {
        self.places.get_mut(id.0).map(|place| std::mem::take(&mut place.orders)).unwrap_or_default()
    }

    /// Runs until nothing is due before `until` (simulated), or `done` says so. True: done.
    pub fn run(&mut self, until: u64, mut done: impl FnMut(&mut Sim) -> bool) -> bool {
        loop {
            if done(self) {
                return true;
            }
            let Some(first) = self.queue.first_entry().filter(|first| first.key().0 <= until) else {
                self.now = self.now.max(until);
                return done(self);
            };
            let (time, _) = *first.key();
            let event = first.remove();
            self.now = self.now.max(time);
            self.step(event);
        }
    }

    /// Runs for so many simulated milliseconds.
    pub fn run_for(&mut self, millis: u64) {
        let until = self.now + millis;
        self.run(until, |_| false);
    }

    fn at(&mut self, time: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((time.max(self.now), self.sequence), event);
    }

    fn note(&mut self, what: u64) {
        self.trace = (self.trace ^ what ^ self.now).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
    }

    fn delay(&mut self) -> u64 {
        self.rng.random_range(self.faults.delay.clone())
    }

    /// The other end of `end` learns of the break; `end`'s own node is not told.
    fn break_wire(&mut self, end: End, why: &str) {
        let Some(wire) = self.wires.remove(&end) else { return };
        self.wires.remove(&wire.to);
        self.later(wire.to, why);
    }

    fn later(&mut self, end: End, why: &str) {
        let time = self.now + self.delay();
        self.at(time, Event::Broken(end, why.to_owned()));
    }

    fn node(&mut self, id: NodeId) -> Option<&mut Box<dyn Node>> {
        self.places.get_mut(id.0)?.node.as_mut()
    }

    fn step(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Timers(id, run) => {
                if self.places.get(id.0).is_some_and(|place| place.run == run) {
                    if let Some(place) = self.places.get_mut(id.0) {
                        place.deadline = None;
                    }
                    self.note(1);
                    if let Some(node) = self.node(id) {
                        node.timers(now);
                    }
                    self.settle(id);
                }
            }
            Event::Job(id, run, job) => {
                if self.places.get(id.0).is_none_or(|place| place.run != run) {
                    return;
                }
                self.note(2 + job.token);
                let token = job.token;
                let Some(place) = self.places.get_mut(id.0) else { return };
                let results = match (job.lane, &place.database) {
                    (Lane::Heavy, _) => vec![(token, (job.work)(None))],
                    (Lane::Query, database) => vec![(token, (job.work)(database.as_ref()))],
                    (Lane::Store, Some(database)) => worker::commit(database, vec![job]),
                    (Lane::Store, None) => vec![(token, Err(Fail::internal("no database")))],
                };
                if let Some(node) = self.node(id) {
                    for (token, result) in results {
                        node.finished(now, token, result);
                    }
                }
                self.settle(id);
            }
            Event::Broken(end, why) => {
                self.note(3);
                if let Some(node) = self.node(end.0) {
                    node.gone(now, end.1, &why);
                }
                self.settle(end.0);
            }
            // As with a socket: the end is read when all before it was.
            Event::Ended(end, to)
                if self.wires.contains_key(&end) && self.node(to.0).is_some_and(|node| node.is_blocked(to.1)) =>
            {
                self.at(now + RETRY, Event::Ended(end, to));
            }
            Event::Ended(end, to) => {
                self.note(5);
                self.ending.remove(&end);
                // It may have been cut meanwhile: both are told of that.
                if self.wires.remove(&end).is_none() {
                    return;
                }
                self.wires.remove(&to);
                if let Some(node) = self.node(to.0) {
                    node.gone(now, to.1, ENDED);
                }
                self.settle(to.0);
                if let Some(node) = self.node(end.0) {
                    node.all_read(end.1);
                    node.gone(now, end.1, "closed");
                }
                self.settle(end.0);
            }
            Event::Pump(end) => {
                self.pump(end);
                self.settle(end.0);
            }
            Event::Arrive(end, chunk) => {
                // Its wire may have been cut meanwhile.
                if !self.wires.contains_key(&end) {
                    return;
                }
                let bytes = chunk.bytes.iter().chain(chunk.blob.iter().flat_map(|blob| blob.iter()));
                self.note(bytes.fold(4, |sum, byte| sum * 31 % 1_000_003 + u64::from(*byte)));
                if let Some(node) = self.node(end.0) {
                    match chunk.blob {
                        Some(blob) => node.received_blob(now, end.1, &chunk.bytes, blob),
                        None => node.received(now, end.1, &chunk.bytes),
                    }
                }
                self.settle(end.0);
            }
            Event::Connect(id, run, connect) => {
                if self.places.get(id.0).is_some_and(|place| place.run == run) {
                    self.connect(id, connect);
                }
            }
        }
    }

    fn connect(&mut self, id: NodeId, connect: Connect) {
        let now = self.now;
        let (address, verify) = match &connect.target {
            Target::Net(address, verify) => (address.clone(), *verify),
            Target::Local(port) => (port.name().to_owned(), Verify::Any),
            Target::Unix(path) => (path.display().to_string(), Verify::Any),
        };
        let local = matches!(connect.target, Target::Local(_));
        let remote = (!local).then(|| IpAddr::V4(Ipv4Addr::new(10, 0, 0, u8::try_from(id.0 % 250).unwrap_or(0) + 1)));
        let found = self.addresses.get(&address).copied().filter(|(peer, _)| !self.walls.contains(&(id, *peer)));
        let accepted = found.and_then(|(peer, port)| {
            let print = self.places.get(peer.0)?.fingerprint;
            if let Verify::Pinned(pin) = verify {
                if pin != print {
                    return None;
                }
            }
            let link = self.node(peer)?.accepted(now, port, remote)?;
            Some((peer, link, print))
        });
        let Some((peer, link, print)) = accepted else {
            if let Some(node) = self.node(id) {
                node.gone(now, connect.link, "cannot connect");
            }
            return self.settle(id);
        };
        let (here, there) = ((id, connect.link), (peer, link));
        self.wires.insert(here, Wire { to: there, local, last: now, stalled: false });
        self.wires.insert(there, Wire { to: here, local, last: now, stalled: false });
        let opened = self.node(peer).is_some_and(|node| node.open(now, link, remote, remote.and(Some(print))));
        self.settle(peer);
        let wanted = opened && self.node(id).is_some_and(|node| node.open(now, connect.link, remote, Some(print)));
        if !wanted {
            self.break_wire(here, "not wanted");
            self.later(here, "not wanted");
        }
        self.settle(id);
    }

    /// Carries out what the node asked for.
    fn settle(&mut self, id: NodeId) {
        let Some(effects) = self.node(id).map(|node| node.effects()) else { return };
        let Some(run) = self.places.get(id.0).map(|place| place.run) else { return };
        for job in effects.jobs {
            let time = self.now + self.rng.random_range(self.faults.job.clone());
            self.at(time, Event::Job(id, run, job));
        }
        for connect in effects.connects {
            let time = self.now + self.delay();
            self.at(time, Event::Connect(id, run, connect));
        }
        for link in effects.dirty {
            self.pump((id, link));
        }
        if let Some(place) = self.places.get_mut(id.0) {
            place.orders.extend(effects.voice);
        }
        let deadline = effects.deadline.unwrap_or(u64::MAX);
        if let Some(place) = self.places.get_mut(id.0).filter(|place| place.deadline.is_none_or(|old| deadline < old)) {
            place.deadline = Some(deadline);
            self.at(deadline, Event::Timers(id, run));
        }
    }

    /// Moves what a link has to write onto its wire.
    fn pump(&mut self, end: End) {
        let mut done = None;
        loop {
            let now = self.now;
            let (stalled, blocked) = self.wires.get(&end).map_or((false, false), |wire| {
                let reader = self.places.get(wire.to.0 .0).and_then(|place| place.node.as_ref());
                (wire.stalled, reader.is_some_and(|node| node.is_blocked(wire.to.1)))
            });
            let aborted = self.node(end.0).is_some_and(|node| node.is_aborted(end.1));
            if (stalled || blocked) && !aborted {
                // What was taken before is in the kernels' buffers; the rest waits.
                if let Some(chunk) = done {
                    self.transmitted(end, chunk);
                }
                if let Some(node) = self.node(end.0) {
                    node.resume(end.1);
                }
                if !stalled {
                    self.at(now + RETRY, Event::Pump(end));
                }
                return;
            }
            let Some(node) = self.node(end.0) else { return };
            match node.exchange(now, end.1, done.take()) {
                Next::Write(chunk) => {
                    self.transmit(end, &chunk);
                    done = Some(chunk);
                }
                Next::Idle { .. } => return,
                Next::Finish => {
                    // What was written before still arrives; the end of the stream comes after it, and then this side hears that
                    // the peer has closed too.
                    let wire = self.wires.get(&end).filter(|_| !aborted).map(|wire| (wire.to, wire.last));
                    let Some((to, last)) = wire else {
                        if let Some(node) = self.node(end.0) {
                            node.gone(now, end.1, "closed");
                        }
                        self.break_wire(end, ENDED);
                        return self.settle(end.0);
                    };
                    if self.ending.insert(end) {
                        self.at(last.max(now), Event::Ended(end, to));
                    }
                    return;
                }
            }
        }
    }

    /// Tells the node that a chunk was taken, without taking another.
    fn transmitted(&mut self, end: End, chunk: Chunk) {
        let now = self.now;
        let Some(node) = self.node(end.0) else { return };
        if let Next::Write(next) = node.exchange(now, end.1, Some(chunk)) {
            self.transmit(end, &next);
            self.transmitted(end, next);
        }
    }

    fn transmit(&mut self, end: End, chunk: &Chunk) {
        let local = self.wires.get(&end).is_some_and(|wire| wire.local);
        if chunk.blob.is_some() && local {
            let delay = self.delay();
            let Some(wire) = self.wires.get_mut(&end) else { return };
            wire.last = wire.last.max(self.now + delay);
            let (to, time) = (wire.to, wire.last);
            return self.at(time, Event::Arrive(to, chunk.clone()));
        }
        match &chunk.blob {
            Some(_) => {
                let mut bytes = Vec::new();
                chunk.write(&mut bytes);
                self.transmit_bytes(end, &bytes);
            }
            None => self.transmit_bytes(end, &chunk.bytes),
        }
    }

    fn transmit_bytes(&mut self, end: End, chunk: &[u8]) {
        let mut cuts: Vec<usize> =
            (1..self.faults.pieces.max(1)).map(|_| self.rng.random_range(0..=chunk.len())).collect();
        cuts.push(chunk.len());
        cuts.sort_unstable();
        let mut from = 0;
        for cut in cuts {
            let delay = self.delay();
            let Some(wire) = self.wires.get_mut(&end) else { return };
            wire.last = wire.last.max(self.now + delay);
            let (to, time) = (wire.to, wire.last);
            if cut > from {
                self.at(time, Event::Arrive(to, Chunk::from(chunk[from..cut].to_vec())));
            }
            from = cut;
        }
    }
}
