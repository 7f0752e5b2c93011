//! The server handshake (contract 2) against a real server: who is let in, and who is not.

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use convergia::config::PortKey;
use convergia::engine::identity::PublicKey;
use convergia::engine::identity::ServerKey;
use convergia::engine::Role;
use convergia::roles::main::Main;
use convergia::roles::management::Management;
use convergia::wire::hex;
use convergia::wire::Code;
use rustix::process::getrlimit;
use rustix::process::setrlimit;
use rustix::process::Resource;
use rustix::process::Rlimit;

use crate::opener::add;
use crate::opener::assert_denied;
use crate::opener::introduce;
use crate::opener::key;
use crate::opener::sealed;
use crate::opener::Opener;
use crate::support;
use crate::support::Answer;
use crate::support::Raw;
use crate::support::Server;
use crate::PATIENCE;

const DENIED: &str = "main_management: DENIED to 127.0.0.1, which calls itself";

/// The example of docs/protocol.md: whoever writes a server by that page can check each step with it.
#[test]
fn the_worked_example_is_right() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/protocol.md")).expect("the page");
    let after = |what: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(what));
        line.unwrap_or_else(|| panic!("no line {what:?}")).trim_end_matches('⏎').to_owned()
    };
    let bytes = |first: u8| std::array::from_fn::<u8, 32, _>(|n| first + n as u8);
    let (opener, target) = (ServerKey::from_bytes(&bytes(0)), ServerKey::from_bytes(&bytes(32)));
    assert_eq!(PublicKey::parse(&after("opener's public key: ")), Some(opener.public()));
    assert_eq!(PublicKey::parse(&after("target's public key: ")), Some(target.public()));
    let open = |key: &ServerKey, text: &str| key.open(&STANDARD.decode(text).expect("Base64")).expect("a good box");
    let offer = open(&opener, &after("target: 1 HELLO OK "));
    assert_eq!(offer[..], [bytes(64), target.public().0, bytes(96)].concat());
    assert_eq!(open(&target, &after("opener: 1 PROVE "))[..], [bytes(64), bytes(96)].concat());
    for (one, other) in [(&opener, &target), (&target, &opener)] {
        let shared = one.mac_key(&other.public(), "an example").expect("a key");
        assert_eq!(hex::encode(shared.as_slice()), after("shared key: "));
    }
}

#[test]
fn a_server_that_was_added_comes_in() {
    let server = Server::open();
    add(&server, "second", &key(7));
    let mut link = Opener::prove(&server, "second", &key(7));
    let joined = link.ask("JOIN", &[]).text();
    let burst = link.receive();
    let [sequence, records, lines] = burst.fields::<3>().map(|field| String::from_utf8(field).expect("UTF-8"));
    assert_eq!((burst.command.as_str(), sequence.as_str(), records.as_str()), ("BURST", "1", "5"));
    assert!(joined.starts_with("5\n"), "{joined}");
    assert!(lines.contains(&format!("server|second|main|{}||", key(7).public())), "{lines}");
    // The name and the key that were proven, and no others.
    assert_eq!(introduce(&mut link, "main", &key(7)).code(), Code::Denied);
    assert_eq!(introduce(&mut link, "second", &key(8)).code(), Code::Denied);
    introduce(&mut link, "second", &key(7)).ok();
    let servers = support::admin(&server, &["servers"]);
    let row = servers.lines().find(|line| line.starts_with("second")).expect("a row");
    assert!(row.contains(" up ") && row.contains("127.0.0.1:1"), "{servers}");
    drop(link);
    server.wait_for_log("main server second is gone");
    let servers = support::admin(&server, &["servers"]);
    assert!(servers.lines().any(|line| line.starts_with("second") && line.contains(" down ")), "{servers}");
}

#[test]
fn only_a_realm_speaks_for_clients() {
    let server = Server::open();
    add(&server, "second", &key(7));
    support::admin(&server, &["add-server", "door", "realm", &key(8).public().to_string()]);
    let print = "0".repeat(64);
    let say = |link: &mut Raw| link.ask("ONBEHALF", &["127.0.0.1", "open", "0", &print, ""]);
    let mut main = Opener::prove(&server, "second", &key(7));
    assert_eq!(say(&mut main).code(), Code::Denied);
    // Nor does it get in without.
    assert_eq!(main.ask("LOGIN", &["alice", "a password"]).code(), Code::SignIn);
    server.wait_for_log("ONBEHALF of main server second is refused");
    let mut realm = Opener::prove(&server, "door", &key(8));
    say(&mut realm).ok();
    assert_eq!(realm.ask("LOGIN", &["alice", "a password"]).code(), Code::Wrong);
}

#[test]
fn nothing_is_taken_before_the_handshake() {
    let server = Server::open();
    add(&server, "second", &key(7));
    let mut link = Raw::connect(&server.addr("main_management"));
    let mut halfway = Opener::hello(&server, "second", &key(7)).link;
    let mut between = Raw::connect(&server.addr("main_main"));
    let handshake = ["HELLO", "PROVE"];
    let of = |port: PortKey, ports: &[PortKey], name: &str| ports.contains(&port) && !handshake.contains(&name);
    let rows = Management::commands().iter().filter(|row| of(PortKey::MainManagement, row.ports, row.name));
    let names: Vec<&str> = rows.map(|row| row.name).collect();
    assert!(["JOIN", "MAINSERVER", "PRESENCE"].iter().all(|name| names.contains(name)), "{names:?}");
    for name in names {
        for link in [&mut link, &mut halfway] {
            assert_eq!(link.ask(name, &[]).code(), Code::SignIn, "{name}");
        }
    }
    for row in Main::commands().iter().filter(|row| of(PortKey::MainMain, row.ports, row.name)) {
        assert_eq!(between.ask(row.name, &[]).code(), Code::SignIn, "{}", row.name);
    }
    link.assert_alive();
    // Ten seconds from the open link, whatever it says meanwhile.
    link.read_to_close(PATIENCE);
    halfway.read_to_close(PATIENCE);
    // The port of main servers among themselves: nobody is known there yet.
    assert_denied(Raw::connect(&server.addr("main_main")), "HELLO", "second");
    assert_denied(Raw::connect(&server.addr("main_main")), "HELLO", "main");
    server.wait_for_log("main_main: DENIED to 127.0.0.1");
}

#[test]
fn who_is_not_known_is_denied_and_logged() {
    let server = Server::open();
    add(&server, "second", &key(7));
    support::admin(&server, &["add-server", "store", "data", &key(8).public().to_string()]);
    let long = "x".repeat(65);
    // The last but one: a server, but not for this port.
    for name in ["nobody", "", "a|b", "a\nb", "\u{1b}[2J", long.as_str(), "store", "main"] {
        assert_denied(Raw::connect(&server.addr("main_management")), "HELLO", name);
    }
    let link = Raw::connect(&server.addr("main_management"));
    assert_denied(link, "PROVE", &sealed(&key(1).public(), &[0; 64]));
    for name in ["nobody", "a|b", "a\\nb", "\\u{1b}[2J", &long[1..], "store", "main"] {
        server.wait_for_log(&format!("{DENIED} \"{name}\""));
    }
    assert!(!server.log().contains('\u{1b}'), "what a stranger says is no command to a terminal");
    // HELLO twice on one link: the second is not expected.
    let opener = Opener::hello(&server, "second", &key(7));
    assert_denied(opener.link, "HELLO", "second");
    // And after the handshake neither.
    assert_denied(Opener::prove(&server, "second", &key(7)), "HELLO", "second");
    assert_denied(Opener::prove(&server, "second", &key(7)), "PROVE", "x");
}

#[test]
fn proofs_that_are_wrong_are_denied() {
    let server = Server::open();
    add(&server, "second", &key(7));
    add(&server, "third", &key(9));
    let good = Opener::hello(&server, "second", &key(7));
    let used = good.proof();
    let mut proven = good.link;
    proven.ask("PROVE", &[&used]).ok();
    let hello = || Opener::hello(&server, "second", &key(7));
    // Replayed: on a link of its own.
    assert_denied(hello().link, "PROVE", &used);
    // Relayed: made for a link on which another certificate was shown.
    let opener = hello();
    let relayed = sealed(&opener.target, &[&opener.random[..], &[5; 32]].concat());
    assert_denied(opener.link, "PROVE", &relayed);
    // What the box holds is nearly right, too short, too long; sealed to another; no box; no Base64.
    for spoil in 0..64 {
        let opener = hello();
        let mut plain = [&opener.random[..], &opener.binding].concat();
        plain[spoil] ^= 1;
        let proof = sealed(&opener.target, &plain);
        assert_denied(opener.link, "PROVE", &proof);
    }
    for length in [0, 1, 32, 63, 65, 96] {
        let opener = hello();
        let mut plain = [&opener.random[..], &opener.binding].concat();
        plain.resize(length, 0);
        let proof = sealed(&opener.target, &plain);
        assert_denied(opener.link, "PROVE", &proof);
    }
    let opener = hello();
    let misdirected = sealed(&key(7).public(), &[&opener.random[..], &opener.binding].concat());
    assert_denied(opener.link, "PROVE", &misdirected);
    for text in ["", "AAAA", "=", "no Base64", &"A".repeat(2_000)] {
        assert_denied(hello().link, "PROVE", text);
    }
    // Who has another server's name, and not its key, cannot read what it is offered.
    let mut thief = Raw::connect(&server.addr("main_management"));
    let offer = thief.ask("HELLO", &["third"]).text();
    assert!(key(7).open(&STANDARD.decode(offer).expect("Base64")).is_none());
    assert_denied(thief, "PROVE", &used);
    // A proof can be tried once, even a good one after a bad one.
    let mut opener = hello();
    let proof = opener.proof();
    opener.link.send("a", "PROVE", &[b"AAAA"]);
    opener.link.send("b", "PROVE", &[proof.as_bytes()]);
    let answers = opener.link.read_to_close(PATIENCE);
    assert!(!answers.iter().any(|line| matches!(line.answer(), Answer::Ok(_))), "{answers:?}");
    for why in ["its proof is not sealed to this server", "its proof is wrong"] {
        server.wait_for_log(why);
    }
    // None of this harmed the one that came in first.
    proven.assert_alive();
    proven.ask("SYNCMAP", &[]).ok();
}

#[test]
fn a_removed_server_is_out_at_once() {
    let mut server = Server::open();
    add(&server, "second", &key(7));
    let mut proven = Opener::prove(&server, "second", &key(7));
    introduce(&mut proven, "second", &key(7)).ok();
    let half = Opener::hello(&server, "second", &key(7));
    support::admin(&server, &["remove-server", "second"]);
    proven.read_to_close(PATIENCE);
    let proof = half.proof();
    assert_denied(half.link, "PROVE", &proof);
    assert_denied(Raw::connect(&server.addr("main_management")), "HELLO", "second");
    let servers = support::admin(&server, &["servers"]);
    assert!(!servers.contains("second"), "{servers}");
    // Not even after a restart; and one that was added is still known then.
    add(&server, "third", &key(9));
    server.terminate();
    server.restart();
    assert_denied(Raw::connect(&server.addr("main_management")), "HELLO", "second");
    Opener::prove(&server, "third", &key(9)).assert_alive();
}

#[test]
fn what_the_operator_may_not_add() {
    let server = Server::open();
    let data = server.data_dir().to_str().expect("UTF-8");
    add(&server, "second", &key(7));
    let own = support::run(&["key", "--data-dir", data]).out;
    let refused = |arguments: &[&str], status: i32, words: &str| {
        let all: Vec<&str> = ["admin", "--data-dir", data].iter().chain(arguments).copied().collect();
        let done = support::run(&all);
        assert!(done.status == status && done.err.contains(words), "{arguments:?}: {done:?}");
    };
    let (seven, nine) = (key(7).public().to_string(), key(9).public().to_string());
    refused(&["add-server", "second", "main", &seven], 1, "EXISTS");
    refused(&["add-server", "second", "realm", &nine], 1, "EXISTS");
    refused(&["add-server", "third", "main", &seven], 1, "EXISTS");
    refused(&["add-server", "main", "main", &nine], 1, "REFUSED");
    refused(&["add-server", "third", "main", own.trim_end()], 1, "REFUSED");
    refused(&["add-server", "third", "management", &nine], 1, "BADARGS");
    refused(&["add-server", "a|b", "main", &nine], 1, "BADARGS");
    refused(&["add-server", "third", "main", "AAAA"], 1, "BADARGS");
    refused(&["add-server", "third", "main", &STANDARD.encode([0; 32])], 1, "BADARGS");
    refused(&["add-server", "third", "main", &nine, "--volatile"], 1, "BADARGS");
    refused(&["add-server", "third", "data", &nine, "--capacity", "much"], 2, "--capacity");
    refused(&["remove-server", "third"], 1, "NOTFOUND");
    support::admin(&server, &["add-server", "second", "realm", &seven]);
    support::admin(&server, &["add-server", "store", "data", &nine, "--volatile", "--capacity", "2 GiB"]);
    let json = support::admin(&server, &["servers", "--json"]);
    let store = json.lines().find(|line| line.contains("store")).expect("a line");
    let store: serde_json::Value = serde_json::from_str(store).expect("JSON");
    assert_eq!((&store["volatile"], &store["capacity"]), (&true.into(), &(2u64 << 30).into()), "{json}");
    assert_eq!(store["key"], nine);
}

/// Lets this process, and the servers it starts from now on, open `count` files; returns how many it may.
fn raise_files(count: u64) -> u64 {
    let now = getrlimit(Resource::Nofile);
    let most = now.maximum.unwrap_or(u64::MAX).min(count);
    if now.current.unwrap_or(u64::MAX) < most {
        setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: now.maximum }).expect("more files");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[test]
fn ten_thousand_half_open_handshakes() {
    half_open("main_management", |link| drop(link.ask("JOIN", &[]).ok()));
}

#[test]
fn ten_thousand_half_open_handshakes_between_main_servers() {
    half_open("main_main", |link| drop(link.ask("PROBE", &[]).ok()));
}

fn half_open(port: &str, member: impl Fn(&mut Raw)) {
    let files = raise_files(12_000);
    let count = usize::try_from(files.saturating_sub(500)).expect("a number").min(10_000);
    assert!(count >= 5_000, "this machine allows only {files} open files: not enough to show anything");
    let server = Server::open();
    add(&server, "second", &key(7));
    let mut there = Opener::prove(&server, "second", &key(7));
    introduce(&mut there, "second", &key(7)).ok();
    let known = || Raw::connect(&server.addr(port)).ask("HELLO", &["second"]);
    // A main server is told a moment later than the operator.
    let until = std::time::Instant::now() + PATIENCE;
    while !matches!(known(), Answer::Ok(_)) {
        assert!(std::time::Instant::now() < until, "the server is never known");
    }
    let before = server.rss_kib();
    let address = server.addr(port);
    let half: Vec<Raw> = (0..count)
        .map(|n| {
            let mut link = Raw::connect(&address);
            // The server may have closed it already, when others came.
            let _ = link.send_bytes(b"1 HELLO second\n");
            if n % 1_000 == 999 {
                Opener::prove_at(&server, port, "second", &key(7)).assert_alive();
            }
            link
        })
        .collect();
    let mut link = Opener::prove_at(&server, port, "second", &key(7));
    member(&mut link);
    let grown = server.peak_rss_kib().saturating_sub(before);
    println!("{port}: {count} half-open handshakes: {before} KiB before, {grown} KiB more at most");
    assert!(grown < 400 << 10, "{grown} KiB for {count} half-open handshakes");
    // The oldest are closed long before the last is begun, the others in time.
    for mut link in half.into_iter().step_by(500) {
        link.read_to_close(PATIENCE);
    }
    // The first has answered no PROBE meanwhile.
    Opener::prove_at(&server, port, "second", &key(7)).assert_alive();
}
