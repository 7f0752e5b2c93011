//! Two honest servers, `a` and `b`, and the one that lies between them; alice on a and bob on b talk all the time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Once;

use convergia::client::core::Core;
use convergia::client::Event;
use convergia::config::PortKey;
use convergia::engine::identity::ServerKey;
use convergia::engine::limits::Limits;
use convergia::engine::rt::channel;
use convergia::engine::sim::NodeId;
use convergia::engine::Ctx;
use convergia::engine::LinkId;
use convergia::engine::Target;
use convergia::engine::Verify;
use convergia::wire::Fail;

use crate::network::bodies;
use crate::network::token;
use crate::network::Log;
use crate::network::Network;
use crate::rogue::server;
use crate::rogue::server::Manner;
use crate::rogue::server::Rogue;

type Answers = Vec<channel::Receiver<Result<Vec<u8>, Fail>>>;

thread_local! {
    static LOGGED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps what this test's servers log, as each simulation runs in one thread; and shows what RUST_LOG asks for.
struct Keeper(env_logger::Logger);

impl log::Log for Keeper {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn || self.0.enabled(metadata)
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.level() <= log::Level::Warn {
            LOGGED.with_borrow_mut(|logged| logged.push(record.args().to_string()));
        }
        self.0.log(record);
    }

    fn flush(&self) {}
}

/// From now on there is a log.
pub fn keep_log() {
    static KEEPER: Once = Once::new();
    KEEPER.call_once(|| {
        let inner = env_logger::builder().is_test(true).build();
        log::set_max_level(inner.filter().max(log::LevelFilter::Warn));
        log::set_boxed_logger(Box::new(Keeper(inner))).expect("the first logger");
    });
}

/// What was logged since the last call.
pub fn logged() -> Vec<String> {
    LOGGED.with_borrow_mut(std::mem::take)
}

pub struct Stage {
    pub net: Network,
    pub rogue: NodeId,
    pub alice: NodeId,
    pub bob: NodeId,
    pub heard: Log,
    pub told: Log,
    /// Management's word that mallory is at the server that lies.
    pub receipt: String,
    sent: [Answers; 2],
}

impl Stage {
    pub fn new(seed: u64) -> Stage {
        keep_log();
        let mut net = Network::with_another(seed, &["a", "b"], "rogue", &["alice", "bob", "mallory", "carol"]);
        let keys = [("a", 2u8), ("b", 3)];
        let keys: HashMap<_, _> =
            keys.iter().map(|(id, n)| ((*id).to_owned(), ServerKey::from_bytes(&[*n; 32]).public())).collect();
        let make = move || Rogue::new(keys.clone(), ServerKey::from_bytes(&[4; 32]));
        let listen = [(PortKey::MainMain, "rogue:77")];
        let rogue = net.sim.add(None, Limits::default(), [9; 32], &listen, make).expect("a server");
        net.sim.run_for(3_000);
        let (heard, told) = (Log::default(), Log::default());
        let alice = client_at(&mut net, "alice", &heard, 0);
        let bob = client_at(&mut net, "bob", &told, 1);
        let mut stage =
            Stage { net, rogue, alice, bob, heard, told, receipt: String::new(), sent: [Vec::new(), Vec::new()] };
        assert_eq!(stage.at(|rogue, _| rogue.mesh.len()), 2, "linked to both");
        stage.sign_mallory_on();
        stage.talk(10);
        logged();
        stage
    }

    /// Enters the server that lies.
    pub fn at<T>(&mut self, run: impl FnOnce(&mut Rogue, &mut Ctx<Rogue>) -> T) -> T {
        self.net.sim.with(self.rogue, run).expect("it runs")
    }

    pub fn manner(&mut self, manner: Manner) {
        self.at(|rogue, _| rogue.manner = manner);
    }

    /// A message each way, so many times.
    pub fn talk(&mut self, times: usize) {
        for _ in 0..times {
            for (n, (from, to)) in [(self.alice, "bob"), (self.bob, "alice")].into_iter().enumerate() {
                let body = format!("talk {}", self.sent[n].len());
                let answer = self.net.send(from, to, &body);
                self.sent[n].push(answer);
            }
            self.net.sim.run_for(20);
        }
    }

    /// All that alice and bob said to each other was answered OK, is there once and in order, and nothing else came.
    pub fn assert_undisturbed(&mut self) {
        self.talk(10);
        self.net.sim.run_for(5_000);
        for (answers, log) in self.sent.iter().zip([&self.told, &self.heard]) {
            for (n, answer) in answers.iter().enumerate() {
                let answer = answer.try_recv();
                assert!(matches!(answer, Ok(Ok(_))), "message {n}: {answer:?}");
            }
            let wanted: Vec<String> = (0..answers.len()).map(|n| format!("talk {n}")).collect();
            assert_eq!(bodies(log), wanted);
            let events = log.lock().unwrap();
            let lost = |event: &&Event| matches!(event, Event::Lost(..) | Event::Failed(_) | Event::Disconnected(_));
            assert!(!events.iter().any(|event| lost(&event)));
        }
        self.sent.iter_mut().for_each(Vec::clear);
        for log in [&self.told, &self.heard] {
            log.lock().unwrap().retain(|event| !matches!(event, Event::Message { .. }));
        }
    }

    /// Sends a packet as it stands on the wire, with `{boot}` and `{stream}` filled in.
    pub fn send(&mut self, to: &str, command: &str, data: &str) {
        let now = self.net.sim.now();
        let sent = self.at(|rogue, ctx| {
            let (boot, stream) = (rogue.boots[to].clone(), rogue.next_stream(now).to_string());
            let data = data.replace("{boot}", &boot).replace("{stream}", &stream);
            rogue.send(ctx, to, command, data.as_bytes())
        });
        assert!(sent, "it is linked to {to}");
        self.net.sim.run_for(100);
    }

    /// Sends items of one kind to a server, on a stream of their own, as a server does.
    pub fn items(&mut self, to: &str, what: &str, items: &[&str]) {
        let items: String = items.iter().map(|item| format!("{} {item}", item.len())).collect();
        self.send(to, "RELAY", &format!("16|{to}|{{boot}}|rogue|{{stream}}|1|0|1|~\n{what}~\n{items}"));
    }

    /// Sends a packet that must be refused, and asserts that the log says so, with the server's name.
    #[track_caller]
    pub fn refused(&mut self, to: &str, command: &str, data: &str, words: &str) {
        logged();
        // Complaints are counted anew every minute.
        self.send(to, command, data);
        let logged = logged();
        let found = logged.iter().any(|line| line.contains("main server rogue") && line.contains(words));
        assert!(found, "{command} {data:?}: {logged:?}, not {words:?}");
    }

    /// A minute and a bit, in which they talk.
    pub fn minute(&mut self) {
        for _ in 0..7 {
            self.talk(1);
            self.net.sim.run_for(9_000);
        }
    }

    /// Asks on a new link from the server that lies.
    pub fn ask(
        &mut self,
        port: PortKey,
        address: &str,
        command: &str,
        fields: &[&str],
    ) -> (LinkId, Result<String, Fail>) {
        let target = Target::Net(address.to_owned(), Verify::Any);
        let link = self.at(|_, ctx| ctx.connect(port, target, ()));
        let rogue = self.rogue;
        let until = self.net.sim.now() + 1_000;
        let open = |sim: &mut convergia::engine::sim::Sim| {
            sim.with(rogue, |_: &mut Rogue, ctx| ctx.is_open(link)) == Some(true)
        };
        assert!(self.net.sim.run(until, open), "no link to {address}");
        let answer = self.ask_on(link, command, fields);
        (link, answer)
    }

    pub fn ask_on(&mut self, link: LinkId, command: &str, fields: &[&str]) -> Result<String, Fail> {
        let answer = self.at(|_, ctx| server::ask(ctx, link, command, fields));
        let until = self.net.sim.now() + 20_000;
        let mut got = None;
        self.net.sim.run(until, |_| {
            got = got.take().or_else(|| answer.try_recv().ok());
            got.is_some()
        });
        got.expect("an answer")
    }

    /// What management answers the server that lies.
    pub fn management(&mut self, command: &str, fields: &[&str]) -> Result<String, Fail> {
        let link = self.at(|rogue, _| rogue.management.expect("a link"));
        self.ask_on(link, command, fields)
    }

    fn sign_mallory_on(&mut self) {
        let secret = format!("token:{}", token("mallory"));
        let (link, answer) = self.ask(PortKey::ClientManagement, "net:75", "LOGIN", &["mallory", &secret]);
        answer.expect("signed on");
        let choice = self.ask_on(link, "REPORTSERVERS", &["rogue|yes|1"]).expect("a ticket");
        let ticket = choice.strip_prefix("rogue\n").expect("for this server").to_owned();
        let (_, good) = self.ask(PortKey::Validation, "net:82", "VALIDATE", &["mallory", &ticket, "rogue"]);
        let good = good.expect("a good ticket");
        self.receipt = good.split('\n').nth(2).expect("a receipt").to_owned();
        self.management("PRESENCE", &["mallory", "1", "0", "", ""]).expect("believed");
        self.net.sim.run_for(500);
    }
}

pub fn client_at(net: &mut Network, name: &str, log: &Log, at: usize) -> NodeId {
    let id = net.client_with(name, log, |_| {});
    let other = net.mains[1 - at];
    net.sim.wall(id, other, true);
    net.until_on(&[id]);
    net.sim.wall(id, other, false);
    assert!(net.sim.with(id, |core: &mut Core, _| core.is_on()) == Some(true));
    id
}

/// Resident memory of this process, in MiB.
pub fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number") / 256
}
