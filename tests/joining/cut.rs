//! The burst, cut off at any byte, and bursts that are not what they say.

use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::sync::mpsc;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use convergia::client::Address;
use convergia::config::PortKey;
use convergia::config::RoleName;
use convergia::engine::anyone;
use convergia::engine::database;
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
use convergia::members;
use convergia::node;
use convergia::node::Joiner;
use convergia::roles::main;
use convergia::wire::hex;
use convergia::wire::Fail;

use crate::opener::add;
use crate::opener::key;
use crate::support::Server;
use crate::support::TempDir;

/// Servers that the burst tells of, besides those that are there.
const OTHERS: usize = 1_500;

#[derive(Default)]
struct State {
    /// After so many bytes from management the next connection is cut.
    cut: Option<usize>,
    /// Bytes from management on the last connection.
    passed: usize,
    connections: usize,
}

/// Stands at 127.0.0.2 in front of a management at 127.0.0.1, on the same ports.
struct Proxy {
    state: Arc<Mutex<State>>,
}

impl Proxy {
    /// `between` runs whenever a connection to `main_management` comes, with how many there were before.
    fn start(server: &Server, between: impl Fn(usize) + Send + Sync + 'static) -> Proxy {
        let state = Arc::new(Mutex::new(State::default()));
        let between = Arc::new(between);
        for port in ["public_management", "main_management"] {
            let address = server.addr(port);
            let here = address.replace("127.0.0.1", "127.0.0.2");
            let listener = TcpListener::bind(here).expect("the same port on another loopback address");
            let (state, between) = (Arc::clone(&state), Arc::clone(&between));
            std::thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let mut cut = None;
                    if port == "main_management" {
                        let mut state = state.lock().unwrap();
                        between(state.connections);
                        state.connections += 1;
                        state.passed = 0;
                        cut = state.cut.take();
                    }
                    let Ok(onward) = TcpStream::connect(&address) else { continue };
                    let counted = (port == "main_management").then(|| Arc::clone(&state));
                    let (from, to) = (stream.try_clone().unwrap(), onward.try_clone().unwrap());
                    std::thread::spawn(move || pass(from, to, None, None));
                    std::thread::spawn(move || pass(onward, stream, cut, counted));
                }
            });
        }
        Proxy { state }
    }
}

/// Passes bytes on until the end, or until `cut` of them have passed; then both directions end.
fn pass(mut from: TcpStream, mut to: TcpStream, cut: Option<usize>, state: Option<Arc<Mutex<State>>>) {
    let (mut buffer, mut left) = ([0; 4096], cut.unwrap_or(usize::MAX));
    while left > 0 {
        let most = left.min(buffer.len());
        let Ok(count @ 1..) = from.read(&mut buffer[..most]) else { break };
        left -= count;
        if let Some(state) = &state {
            state.lock().unwrap().passed += count;
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Rows of the tables of the burst, the mark included.
fn rows(path: &Path) -> usize {
    let db = rusqlite::Connection::open(path).expect("the database");
    db.busy_timeout(Duration::from_secs(10)).expect("a time-out");
    let count = "SELECT (SELECT count(*) FROM members) + (SELECT count(*) FROM network)";
    db.query_row(count, [], |row| row.get::<_, i64>(0)).expect("a count") as usize
}

#[test]
fn a_burst_cut_anywhere_leaves_nothing_and_is_taken_up_again() {
    let mut server = Server::open();
    add(&server, "second", &key(250));
    server.terminate();
    // As if the operator had added them one by one.
    let path = server.data_dir().join("management/database.sqlite");
    let mut db = rusqlite::Connection::open(path).expect("management's database");
    let transaction = db.transaction().expect("a transaction");
    for n in 0..OTHERS {
        let (name, key) =
            (format!("other-{n}"), [&[9; 28], &u32::try_from(n).expect("few").to_be_bytes()[..]].concat());
        let text = "INSERT INTO servers (name, role, key, volatile, added) VALUES (?1, 'main', ?2, 0, 0)";
        transaction.execute(text, rusqlite::params![name, key]).expect("added");
    }
    transaction.commit().expect("a commit");
    drop(db);
    server.restart();
    let folder = TempDir::new();
    let current: Arc<Mutex<Option<std::path::PathBuf>>> = Arc::default();
    let half: Arc<Mutex<Vec<String>>> = Arc::default();
    let (path, found) = (Arc::clone(&current), Arc::clone(&half));
    let proxy = Proxy::start(&server, move |connections| {
        let path = path.lock().unwrap().clone().expect("a database");
        // Made, and empty: also after a cut.
        match rows(&path) {
            0 => {}
            rows => found.lock().unwrap().push(format!("{rows} rows before connection {connections}")),
        }
    });
    let address: Address = server.url().replace("127.0.0.1", "127.0.0.2").parse().expect("an address");
    let join = |name: &str, cut: Option<usize>| {
        let path = folder.path().join(name);
        *current.lock().unwrap() = Some(path.clone());
        *proxy.state.lock().unwrap() = State { cut, ..State::default() };
        node::join(&address, "second", &key(250), RoleName::Main, (&path, convergia::roles::main::MIGRATIONS))
            .expect("joined in the end");
        // Management itself, the three other roles of its process, the one that joins; the mark.
        assert_eq!(rows(&path), OTHERS + 6, "{name}");
        let state = proxy.state.lock().unwrap();
        (state.connections, state.passed)
    };
    let (connections, all) = join("whole", None);
    assert!(connections == 1 && all > 64 << 10, "{connections} connections, {all} bytes");
    // Through the TLS handshake, ours, and the burst to its last byte.
    let positions = (0..24).map(|n| all * n / 24).chain([1, 5, 64, all - 1, all - 40, all - 100, all - 200]);
    let mut cut = 0;
    for position in positions {
        let (connections, _) = join(&format!("cut-{position}"), Some(position));
        assert!(connections <= 2, "cut at {position}: {connections} connections");
        cut += connections - 1;
    }
    assert!(cut > 24, "{cut} were cut");
    assert!(half.lock().unwrap().is_empty(), "{:?}", half.lock().unwrap());
    // Who has joined does not ask again.
    let path = folder.path().join("whole");
    *proxy.state.lock().unwrap() = State::default();
    node::join(&address, "second", &key(250), RoleName::Main, (&path, convergia::roles::main::MIGRATIONS))
        .expect("joined long ago");
    assert_eq!(proxy.state.lock().unwrap().connections, 0);
}

#[test]
fn a_burst_is_written_whole_or_not_at_all() {
    let folder = TempDir::new();
    let path = folder.path().join("main.sqlite");
    let mut db = database::open(&path, main::MIGRATIONS).expect("a database");
    let good = [format!("network|{}", key(1).public()), format!("server|a|data|{}|volatile|5", key(2).public())];
    for bad in [
        "network|AAAA".to_owned(),
        "server|a|main|AAAA||".to_owned(),
        format!("server|a/b|main|{}||", key(1).public()),
        format!("server|b|main|{}||much", key(1).public()),
    ] {
        let lines = [good[0].clone(), good[1].clone(), bad.clone()];
        assert!(members::write_burst(&mut db, &lines, 1).is_err(), "{bad}");
        assert_eq!((rows(&path), members::is_joined(&db)), (0, Ok(false)), "{bad}");
    }
    let later = "weather|of a later version".to_owned();
    members::write_burst(&mut db, &[good[0].clone(), good[1].clone(), later], 1).expect("good");
    assert_eq!((rows(&path), members::is_joined(&db)), (3, Ok(true)));
}

/// A management that sends what a test says.
struct Liar {
    shakes: Handshakes,
    pushes: Vec<(String, String, String)>,
    answer: String,
}

impl Member for Liar {
    fn handshakes(&mut self) -> &mut Handshakes {
        &mut self.shakes
    }

    fn handshakes_ref(&self) -> &Handshakes {
        &self.shakes
    }

    fn key_of(&self, _: &str, _: PortKey) -> Option<PublicKey> {
        Some(key(1).public())
    }

    fn proven(&mut self, _: &mut Ctx<Liar>, _: LinkId, _: &str, _: PublicKey) {}
}

const PUBLIC: &[PortKey] = &[PortKey::PublicManagement];
const MAINS: &[PortKey] = &[PortKey::MainManagement];

impl Role for Liar {
    type Peer = ();
    const NAME: &'static str = "liar";

    fn commands() -> &'static [Command<Liar>] {
        const GET_PORTS: Command<Liar> = Command {
            name: "GETPORTS",
            ports: PUBLIC,
            args: "",
            gate: anyone,
            run: |_, _, _| Ok(Answer::Data(b"main_management|78".to_vec())),
        };
        const HELLO: Command<Liar> = handshake::hello(MAINS);
        const PROVE: Command<Liar> = handshake::prove(MAINS);
        const JOIN: Command<Liar> =
            Command { name: "JOIN", ports: MAINS, args: "", gate: handshake::proven_server, run: lie };
        &[GET_PORTS, HELLO, PROVE, JOIN]
    }

    fn start(&mut self, ctx: &mut Ctx<Liar>) {
        handshake::ready(self, ctx);
    }

    fn opened(&mut self, ctx: &mut Ctx<Liar>, link: LinkId) {
        if ctx.info(link).is_some_and(|info| info.port == PortKey::MainManagement) {
            handshake::accepted(self, ctx, link);
        }
    }

    fn closed(&mut self, _: &mut Ctx<Liar>, link: LinkId, _: Gone<()>) {
        self.shakes.closed(link);
    }
}

fn lie(liar: &mut Liar, ctx: &mut Ctx<Liar>, request: &Request<'_>) -> Result<Answer, Fail> {
    for (sequence, records, lines) in &liar.pushes {
        ctx.push(request.link, "BURST", &[sequence.as_bytes(), records.as_bytes(), lines.as_bytes()])?;
    }
    match liar.answer.as_str() {
        "" => Ok(Answer::None),
        answer => Ok(Answer::Data(answer.as_bytes().to_vec())),
    }
}

/// What a server that joins takes of it.
fn taken(pushes: &[(&str, &str, &str)], answer: &str) -> Option<Vec<String>> {
    let mut sim = Sim::new(1);
    let owned = |(sequence, records, lines): &(&str, &str, &str)| {
        (sequence.to_string(), records.to_string(), lines.to_string())
    };
    let (pushes, answer): (Vec<_>, _) = (pushes.iter().map(owned).collect(), answer.to_owned());
    let make = move || {
        let shakes = Handshakes::new("management", key(2));
        Liar { shakes, pushes: pushes.clone(), answer: answer.clone() }
    };
    let listen = [(PortKey::PublicManagement, "host:74"), (PortKey::MainManagement, "host:78")];
    sim.add(None, Limits::default(), [2; 32], &listen, make).unwrap();
    let address = Address { host: "host".into(), port: 74, fingerprint: Some([2; 32]), realm: false };
    let (send, joined) = mpsc::channel();
    let make = move || Joiner::new(address.clone(), "second", key(1), RoleName::Main, send.clone());
    sim.add(None, Limits::default(), [0; 32], &[], make).unwrap();
    sim.run_for(120_000);
    joined.try_recv().ok()
}

#[test]
fn a_burst_that_is_not_what_it_says_is_not_taken() {
    let sum = |text: &str| hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()).as_ref());
    let (empty, two) = (sum(""), sum("a|1\nb|2\n"));
    let good = [("1", "2", "a|1"), ("2", "2", "b|2")];
    assert_eq!(taken(&good, &format!("2\n{two}")), Some(vec!["a|1".to_owned(), "b|2".to_owned()]));
    assert_eq!(taken(&[], &format!("0\n{empty}")), Some(Vec::new()));
    assert_eq!(taken(&good[..1], &format!("2\n{two}")), None, "a piece is missing");
    assert_eq!(taken(&good[1..], &format!("2\n{two}")), None, "the first piece is missing");
    assert_eq!(taken(&[good[0], good[0], good[1]], &format!("2\n{two}")), None, "a piece twice");
    assert_eq!(taken(&[("1", "2", "a|1\nb|3")], &format!("2\n{two}")), None, "another line");
    assert_eq!(taken(&good, &format!("3\n{two}")), None, "another number");
    assert_eq!(taken(&good, &two), None, "no number");
    assert_eq!(taken(&good, "2\n"), None, "no checksum");
    assert_eq!(taken(&good, ""), None, "no end");
    let line = "x".repeat(60 << 10);
    let numbers: Vec<String> = (1..=60).map(|n| n.to_string()).collect();
    let many: Vec<(&str, &str, &str)> = numbers.iter().map(|n| (n.as_str(), "60", line.as_str())).collect();
    let sixty = sum(&format!("{line}\n").repeat(60));
    assert!(taken(&many, &format!("60\n{sixty}")).is_some(), "large, and good");
}
