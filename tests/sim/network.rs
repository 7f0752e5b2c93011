//! Simulated networks: management, main servers, and clients, on a virtual clock.

use convergia::accounts::secret;
use convergia::client::core::Core;
use convergia::client::Event;
use convergia::client::Options;
use convergia::client::Secret;
use convergia::config::Policy;
use convergia::config::PortKey;
use convergia::engine::identity::ServerKey;
use convergia::engine::limits::Limits;
use convergia::engine::rt::channel;
use convergia::engine::sim::NodeId;
use convergia::engine::sim::Sim;
use convergia::engine::Target;
use convergia::engine::Verify;
use convergia::roles::main;
use convergia::roles::management;
use convergia::wire::hex;
use convergia::wire::Fail;
use std::panic::catch_unwind;
use std::panic::resume_unwind;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::Mutex;

pub const MANAGEMENT: [u8; 32] = [1; 32];

/// Another name for management's port for main servers: something else may stand where they look for it.
pub const HIDDEN: PortKey = PortKey::MainMain;

pub type Log = Arc<Mutex<Vec<Event>>>;

/// Management, main servers, and accounts.
pub struct Network {
    pub sim: Sim,
    pub management: NodeId,
    /// The first main server.
    pub main: NodeId,
    pub mains: Vec<NodeId>,
}

/// A database with accounts whose tokens are `token-of-NAME`.
pub fn accounts(names: &[&str]) -> String {
    let mut sql = String::new();
    for (n, name) in names.iter().enumerate() {
        let (id, hash) = (n + 1, hex::encode(&secret::sha256(token(name).as_bytes())));
        sql += &format!(
            "INSERT INTO users (id, name, folded, password, created) VALUES ({id}, '{name}', '{name}', 'x', 0);
             INSERT INTO tokens (hash, user, created, expires) VALUES (x'{hash}', {id}, 0, 9000000000000);"
        );
    }
    sql
}

/// The main servers, as if the operator had added them.
pub fn servers(mains: &[&str]) -> String {
    let row = |(n, id): (usize, &&str)| {
        let key = ServerKey::from_bytes(&[u8::try_from(n).unwrap() + 2; 32]).public();
        let key = hex::encode(&key.0);
        format!("INSERT INTO servers (name, role, key, volatile, added) VALUES ('{id}', 'main', x'{key}', 0, 0);")
    };
    mains.iter().enumerate().map(row).collect()
}

pub fn token(name: &str) -> String {
    hex::encode(&secret::sha256(name.as_bytes()))
}

impl Network {
    /// One main server.
    pub fn new(seed: u64, names: &[&str]) -> Network {
        Network::of(seed, &["main"], names)
    }

    /// Main servers of these names; `names`: of the accounts.
    pub fn of(seed: u64, mains: &[&str], names: &[&str]) -> Network {
        Network::made(seed, mains, mains, names)
    }

    /// The same, with another server that the operator added, and that does not run so far.
    pub fn with_another(seed: u64, mains: &[&str], another: &str, names: &[&str]) -> Network {
        let added: Vec<&str> = mains.iter().copied().chain([another]).collect();
        Network::made(seed, mains, &added, names)
    }

    fn made(seed: u64, mains: &[&str], added: &[&str], names: &[&str]) -> Network {
        Network::with_rows(seed, mains, &servers(added), names)
    }

    /// As `of`; everybody may make voice channels.
    pub fn talking(seed: u64, mains: &[&str], names: &[&str]) -> Network {
        Network::build(seed, mains, &servers(mains), names, &["add_channel"])
    }

    /// The same; `rows` adds the servers that the operator added.
    pub fn with_rows(seed: u64, mains: &[&str], rows: &str, names: &[&str]) -> Network {
        Network::build(seed, mains, rows, names, &[])
    }

    fn build(seed: u64, mains: &[&str], rows: &str, names: &[&str], voice_rights: &[&str]) -> Network {
        let mut sim = Sim::new(seed);
        let sql = accounts(names) + rows;
        let migrations: Vec<&str> = management::MIGRATIONS.iter().copied().chain([sql.as_str()]).collect();
        let settings = management::Settings {
            name: "management".into(),
            key: ServerKey::from_bytes(&[1; 32]),
            registration: Policy::Open,
            token_days: 30,
            fingerprint: MANAGEMENT,
            ports: vec![("public_management", 74), ("client_management", 75), ("validation", 82)],
            voice_rights: voice_rights.iter().map(|right| (*right).to_owned()).collect(),
        };
        let listen = [
            (PortKey::PublicManagement, "net:74"),
            (PortKey::ClientManagement, "net:75"),
            (PortKey::Validation, "net:82"),
            (PortKey::MainManagement, "main_management"),
            (PortKey::MainManagement, HIDDEN.name()),
            (PortKey::Validation, "validation"),
            (PortKey::DatamanagementManagement, "datamanagement_management"),
            (PortKey::Admin, "admin.sock"),
        ];
        let make = move || management::Management::new(settings.clone());
        let management = sim.add(Some(&migrations), Limits::default(), MANAGEMENT, &listen, make).unwrap();
        let mut net = Network { sim, management, main: management, mains: Vec::new() };
        for (n, id) in mains.iter().enumerate() {
            let main = net.add_main(id, u8::try_from(n).unwrap() + 2);
            net.mains.push(main);
        }
        net.main = net.mains[0];
        net
    }

    fn add_main(&mut self, id: &str, number: u8) -> NodeId {
        let (clients, mesh, voice) = (format!("{id}:73"), format!("{id}:77"), format!("{id}:84"));
        let settings = main::Settings {
            server_id: id.into(),
            name: id.into(),
            address: clients.clone(),
            mesh: mesh.clone(),
            fingerprint: [number; 32],
            key: ServerKey::from_bytes(&[number; 32]),
            public: None,
            management: Target::Local(PortKey::MainManagement),
            validation: Target::Local(PortKey::Validation),
            storage: false,
            realm: None,
        };
        let make = move || main::Main::new(settings.clone());
        let listen = [(PortKey::ClientMain, &*clients), (PortKey::MainMain, &*mesh), (PortKey::VoiceControl, &*voice)];
        self.sim.add(Some(main::MIGRATIONS), Limits::default(), [number; 32], &listen, make).unwrap()
    }

    pub fn client(&mut self, name: &str) -> (NodeId, Log) {
        let log = Log::default();
        let id = self.client_with(name, &log, |_| {});
        (id, log)
    }

    /// The same; `change` may change how it signs on.
    pub fn client_with(&mut self, name: &str, log: &Log, change: impl FnOnce(&mut Options)) -> NodeId {
        let mut options = Options::new(
            convergia::client::Address { host: "net".into(), port: 74, fingerprint: Some(MANAGEMENT), realm: false },
            name.to_owned(),
            Secret::Token(token(name)),
        );
        assert_eq!(options.address.verify(), Verify::Pinned(MANAGEMENT));
        change(&mut options);
        let events = Arc::clone(log);
        let make = move || {
            let events = Arc::clone(&events);
            let sink = move |event| {
                events.lock().unwrap().push(event);
                false
            };
            Core::new(options.clone(), Box::new(sink))
        };
        let id = self.sim.add(None, Limits::default(), [0; 32], &[], make).unwrap();
        self.sim.with(id, Core::begin).unwrap();
        id
    }

    pub fn is_on(sim: &mut Sim, id: NodeId) -> bool {
        sim.with(id, |core: &mut Core, _| core.is_on()) == Some(true)
    }

    pub fn until_on(&mut self, ids: &[NodeId]) {
        let until = self.sim.now() + 300_000;
        assert!(self.sim.run(until, |sim| ids.iter().all(|id| Network::is_on(sim, *id))), "not all signed on");
    }

    pub fn send(&mut self, from: NodeId, to: &str, body: &str) -> channel::Receiver<Result<Vec<u8>, Fail>> {
        let (send, receive) = channel::bounded(1);
        let fields = [to.as_bytes(), body.as_bytes()];
        self.sim.with(from, |core: &mut Core, ctx| core.request(ctx, "SENDMESSAGE", &fields, send)).unwrap();
        receive
    }
}

pub fn bodies(log: &Log) -> Vec<String> {
    let events = log.lock().unwrap();
    let body = |event: &Event| match event {
        Event::Message { body, .. } => Some(String::from_utf8(body.clone()).unwrap()),
        _ => None,
    };
    events.iter().filter_map(body).collect()
}

/// Runs `test` on many seeds, or on the one that is asked for; names the seed of a failure. `CONVERGIA_SEEDS=from..to` runs
/// these instead, all of them, and says in the end which failed.
pub fn seeds(count: u64, test: impl Fn(u64)) {
    // What the servers log, with RUST_LOG=debug.
    crate::rogue::stage::keep_log();
    if let Some(seed) = std::env::var("CONVERGIA_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return test(seed);
    }
    let asked = std::env::var("CONVERGIA_SEEDS").ok().map(|range| {
        let (from, to) = range.split_once("..").expect("CONVERGIA_SEEDS=from..to");
        from.parse::<u64>().expect("a seed")..to.parse().expect("a seed")
    });
    let (all, mut failed) = (asked.is_some(), Vec::new());
    for seed in asked.unwrap_or(0..count) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| test(seed))) {
            eprintln!("this was CONVERGIA_SEED={seed}");
            failed.push(seed);
            if !all {
                resume_unwind(panic);
            }
        }
    }
    assert!(failed.is_empty(), "these seeds failed: {failed:?}");
}
