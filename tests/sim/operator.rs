//! Operators among the users: what they may do from a session, and nobody else; quotas of single accounts.

use crate::many::client_at;
use crate::network::seeds;
use crate::network::Log;
use crate::network::Network;
use crate::rogue::stage::logged;
use crate::rogue::stage::Stage;
use crate::storage::World;
use convergia::client::Event;
use convergia::config::PortKey;
use convergia::engine::sim::NodeId;
use convergia::engine::Target;
use convergia::roles::main::Main;
use convergia::wire::Code;
use convergia::wire::Fail;

/// Every command that operators have, with DATA that is right; none that leaves alice or bob shut out.
const COMMANDS: &[&[&str]] = &[
    &["USERS", "", "10"],
    &["USERADD", "dora", "a password"],
    &["USERSTATE", "dora", "disabled"],
    &["USERPASSWD", "dora", "another password"],
    &["QUOTA", "dora", "5"],
    &["USERDELETE", "dora"],
    &["INVITE", "3"],
    &["INVITES"],
    &["STATUS"],
    &["SERVERS"],
    &["NOTICE", "hello"],
    &["SESSIONS"],
    &["SESSIONS", "", "5"],
    &["SAMPLES"],
    &["KICK", "carol", "bye"],
    &["DRAIN", "b"],
];

/// What is for those alone who can reach the Unix socket, and what is no command.
const NEVER: &[&[&str]] = &[
    &["USEROPERATOR", "alice", "yes"],
    &["ADDSERVER", "x", "main", "key", "", ""],
    &["REMOVESERVER", "b"],
    &["MOVECLIENTS", "a", "1", "b"],
    &["LOOKUP", "bob"],
    &["OPERATE"],
    &["users", "", "10"],
    &[""],
];

fn fields(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn operate(world: &mut World, client: NodeId, words: &[&str]) -> Result<String, Fail> {
    let words = fields(words);
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    world.get(client, "OPERATOR", &words).map(|answer| String::from_utf8(answer).expect("text"))
}

/// On the Unix socket.
fn socket(net: &mut Network, command: &str, fields: &[&str]) -> Result<String, Fail> {
    let operator = net.asker(PortKey::Admin, Target::Unix("admin.sock".into()));
    let answer = net.ask(operator, command, fields).try_recv().expect("an answer");
    answer.map(|answer| String::from_utf8(answer).expect("text"))
}

fn code(result: Result<String, Fail>) -> Code {
    result.expect_err("refused").code
}

fn world(seed: u64) -> World {
    let mut world = World::new(seed, &["a", "b"], &[false], &["alice", "bob", "carol", "erin"]);
    world.net.sim.run_for(6_000);
    world
}

fn info(world: &mut World, client: NodeId) -> String {
    String::from_utf8(world.get(client, "GETACCOUNT", &[]).expect("known")).expect("text")
}

#[test]
fn who_is_no_operator_may_nothing_and_who_was_one_may_nothing_more() {
    seeds(3, |seed| {
        let mut world = world(seed);
        let (alice, _) = client_at(&mut world.net, "alice", 0);
        let (carol, _) = client_at(&mut world.net, "carol", 1);
        for words in COMMANDS.iter().chain(NEVER) {
            assert_eq!(code(operate(&mut world, alice, words)), Code::Denied, "{words:?}");
        }
        assert!(info(&mut world, alice).contains("operator|no"));
        socket(&mut world.net, "USEROPERATOR", &["ALICE", "yes"]).unwrap();
        assert!(info(&mut world, alice).contains("operator|yes"));
        // Not that of another account.
        assert_eq!(code(operate(&mut world, carol, &["STATUS"])), Code::Denied);
        for words in COMMANDS {
            operate(&mut world, alice, words).unwrap_or_else(|fail| panic!("{words:?}: {fail}"));
        }
        for words in NEVER {
            assert_eq!(code(operate(&mut world, alice, words)), Code::BadCommand, "{words:?}");
        }
        // It was true for as long as it was.
        for (user, word, fits) in [("alice", "maybe", Code::BadArgs), ("nobody", "yes", Code::NotFound)] {
            assert_eq!(code(socket(&mut world.net, "USEROPERATOR", &[user, word])), fits);
        }
        socket(&mut world.net, "USEROPERATOR", &["alice", "no"]).unwrap();
        for words in COMMANDS.iter().chain(NEVER) {
            assert_eq!(code(operate(&mut world, alice, words)), Code::Denied, "{words:?}");
        }
    });
}

#[test]
fn what_operators_do_is_done_as_on_the_socket() {
    let mut world = world(1);
    let (alice, _) = client_at(&mut world.net, "alice", 0);
    let (bob, told) = client_at(&mut world.net, "bob", 1);
    socket(&mut world.net, "USEROPERATOR", &["alice", "yes"]).unwrap();
    let users = operate(&mut world, alice, &["USERS", "", "2"]).unwrap();
    let (users, quota) = (users.lines().collect::<Vec<_>>(), 1u64 << 30);
    assert_eq!(users, [format!("alice|active|0|1|yes|{quota}|0"), format!("bob|active|0|1|no|{quota}|0")]);
    // The answers are the socket's, and FAILs are its FAILs.
    for command in ["SERVERS", "INVITES"] {
        let mut words = vec![command];
        assert_eq!(operate(&mut world, alice, &words), socket(&mut world.net, command, &[]), "{words:?}");
        words.push("x");
        assert_eq!(code(operate(&mut world, alice, &words)), Code::BadArgs, "{words:?}");
    }
    let status = operate(&mut world, alice, &["STATUS"]).unwrap();
    assert!(status.contains("users|4") && status.contains(&format!("capacity|{}", 1u64 << 30)), "{status}");
    assert_eq!(code(operate(&mut world, alice, &["USERADD", "BOB", "x"])), Code::Exists);
    assert_eq!(code(operate(&mut world, alice, &["KICK", "erin", ""])), Code::Offline);
    assert_eq!(code(operate(&mut world, alice, &["QUOTA", "nobody", "1"])), Code::NotFound);
    for bad in ["", "-1", "x", "1125899906842625"] {
        assert_eq!(code(operate(&mut world, alice, &["QUOTA", "bob", bad])), Code::BadArgs, "{bad}");
    }
    let code_of_invite = operate(&mut world, alice, &["INVITE", "2"]).unwrap();
    assert_eq!(code_of_invite.len(), 19);
    let invites = operate(&mut world, alice, &["INVITES"]).unwrap();
    let (created, expires) = invites.split_once('|').expect("created|expires");
    let days = (expires.parse::<u64>().unwrap() - created.parse::<u64>().unwrap()) / 86_400_000;
    assert_eq!(days, 2, "{invites}");
    // A body of any bytes comes through: what is escaped once is escaped once.
    operate(&mut world, alice, &["KICK", "bob", "a~b|c \\ \"d\""]).unwrap();
    world.net.sim.run_for(1_000);
    assert!(told.lock().unwrap().contains(&Event::Disconnected("a~b|c \\ \"d\"".into())));
    assert!(!Network::is_on(&mut world.net.sim, bob));
    operate(&mut world, alice, &["USERSTATE", "bob", "disabled"]).unwrap();
    assert!(operate(&mut world, alice, &["USERS", "Alice", "1"]).unwrap().starts_with("bob|disabled|0|0|no|"));
    let long = "x".repeat(70_000);
    assert_eq!(code(operate(&mut world, alice, &["KICK", "bob", &long])), Code::BadArgs);
}

/// A session that has come from another server shows the receipt of that one.
#[test]
fn an_operator_who_was_moved_to_another_server_is_one_there() {
    let mut world = world(2);
    let (alice, log) = client_at(&mut world.net, "alice", 0);
    socket(&mut world.net, "USEROPERATOR", &["alice", "yes"]).unwrap();
    let main = world.net.mains[0];
    assert_eq!(world.net.sim.with(main, |main: &mut Main, ctx| main.move_clients(ctx, 1, "b")), Some(true));
    let until = world.net.sim.now() + 20_000;
    let moved = |log: &Log| log.lock().unwrap().contains(&Event::Moved("b".into()));
    assert!(world.net.sim.run(until, |_| moved(&log)), "not moved");
    world.net.sim.run_for(1_000);
    let sessions = operate(&mut world, alice, &["SESSIONS"]).unwrap();
    assert!(sessions.starts_with("alice|b|client_main|"), "{sessions}");
    assert!(info(&mut world, alice).starts_with("name|alice\noperator|yes\nregistered|0\nquota|"));
}

#[test]
fn a_notice_reaches_every_session_on_every_server() {
    seeds(3, |seed| {
        let mut world = world(seed);
        let logs: Vec<(NodeId, Log)> = [("alice", 0), ("alice", 1), ("bob", 1), ("carol", 0)]
            .into_iter()
            .map(|(user, at)| client_at(&mut world.net, user, at))
            .collect();
        socket(&mut world.net, "USEROPERATOR", &["alice", "yes"]).unwrap();
        let text = "The server is away at ten~\nand back at |eleven|";
        assert_eq!(operate(&mut world, logs[0].0, &["NOTICE", text]), Ok("4".into()));
        for bad in ["", " \n", &"x".repeat(4_097)] {
            assert_eq!(code(operate(&mut world, logs[0].0, &["NOTICE", bad])), Code::BadArgs);
        }
        world.net.sim.run_for(1_000);
        let now = world.net.sim.now();
        for (_, log) in &logs {
            let events = log.lock().unwrap();
            let notices = events.iter().filter_map(|event| match event {
                Event::Notice { sent_at, text } => Some((now - sent_at < 10_000, text.as_str())),
                _ => None,
            });
            assert_eq!(notices.collect::<Vec<_>>(), [(true, text)]);
        }
    });
}

#[test]
fn sessions_are_listed_in_pages_over_all_servers() {
    let mut world = world(3);
    let began = world.net.sim.now();
    let on = [("bob", 0), ("alice", 0), ("alice", 1), ("carol", 1)];
    let clients: Vec<NodeId> = on.iter().map(|(user, at)| client_at(&mut world.net, user, *at).0).collect();
    let now = world.net.sim.now();
    socket(&mut world.net, "USEROPERATOR", &["alice", "yes"]).unwrap();
    let page = |world: &mut World, words: &[&str]| -> Vec<String> {
        let words: Vec<&str> = [&["SESSIONS"], words].concat();
        let text = operate(world, clients[1], &words).unwrap();
        let line = |line: &str| {
            let [user, server, door, since, address] = line.split('|').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            assert_eq!(door, "client_main");
            assert!((began..=now).contains(&since.parse().unwrap()), "{since}");
            assert!(address.starts_with("10.0.0."), "{address}");
            format!("{user}@{server}")
        };
        text.lines().map(line).collect()
    };
    assert_eq!(page(&mut world, &[]), ["alice@a", "alice@b", "bob@a", "carol@b"]);
    assert_eq!(page(&mut world, &["", "1"]), ["alice@a", "alice@b"]);
    assert_eq!(page(&mut world, &["ALICE", "1"]), ["bob@a"]);
    assert_eq!(page(&mut world, &["bob", "1000000"]), ["carol@b"]);
    assert!(page(&mut world, &["carol", "5"]).is_empty());
    // A server that does not answer holds nobody up.
    let (b, management) = (world.net.mains[1], world.net.management);
    world.net.sim.stall(b, management, true);
    assert_eq!(page(&mut world, &[]), ["alice@a", "bob@a"]);
}

#[test]
fn samples_tell_what_was_moved_in_each_minute() {
    let mut world = world(4);
    let (alice, _) = client_at(&mut world.net, "alice", 0);
    let (_bob, _) = client_at(&mut world.net, "bob", 1);
    socket(&mut world.net, "USEROPERATOR", &["alice", "yes"]).unwrap();
    let minute = 60_000;
    // Until just behind the middle of a minute.
    let wait = minute + 35_000 - world.net.sim.now() % minute;
    world.net.sim.run_for(wait);
    let begin = world.net.sim.now();
    for n in 0..7 {
        let sent = world.net.send(alice, "bob", &format!("{n}"));
        world.net.sim.run_for(100);
        assert!(sent.try_recv().unwrap().is_ok());
    }
    world.get_sometime(alice, "CREATEFILE", &[b"/users/alice/a"]).unwrap();
    world.get_sometime(alice, "WRITEFILE", &[b"/users/alice/a", b"0", &[b'x'; 5_000]]).unwrap();
    world.net.sim.run_for(2 * minute);
    let after = begin.to_string();
    let text = operate(&mut world, alice, &["SAMPLES", &after]).unwrap();
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let lines: Vec<Vec<u64>> = text.lines().map(|line| line.split('|').map(number).collect()).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines.iter().all(|line| line.len() == 7 && line[0] % minute < 40_000 && line[1] == 2), "{text}");
    assert_eq!((lines[0][2], lines[1][2]), (7, 0), "{text}");
    assert!(lines[0][3] > 5_000 && lines[0][4] > 5_000 && lines[1][3] > 0, "{text}");
    assert!((5_000..20_000).contains(&lines[0][5]) && lines[0][6] == 1 << 30, "{text}");
    let all = operate(&mut world, alice, &["SAMPLES"]).unwrap();
    assert!(all.lines().count() > 2 && all.ends_with(&text), "{all}");
    assert_eq!(code(operate(&mut world, alice, &["SAMPLES", "x"])), Code::BadArgs);
}

/// Writes so many bytes into a new file.
fn write(world: &mut World, client: NodeId, file: &str, bytes: usize) -> Result<(), Code> {
    let path = format!("/users/{file}");
    world.get_sometime(client, "CREATEFILE", &[path.as_bytes()]).expect("made");
    let bytes = vec![b'x'; bytes];
    world.get_sometime(client, "WRITEFILE", &[path.as_bytes(), b"0", &bytes]).map(|_| ()).map_err(|fail| fail.code)
}

#[test]
fn a_quota_of_one_account_is_kept_to_whoever_was_away_when_it_was_set() {
    seeds(3, |seed| {
        let mut world = world(seed);
        let (alice, _) = client_at(&mut world.net, "alice", 0);
        let (bob, _) = client_at(&mut world.net, "bob", 1);
        socket(&mut world.net, "USEROPERATOR", &["alice", "yes"]).unwrap();
        write(&mut world, bob, "bob/first", 100).unwrap();
        let known = info(&mut world, bob);
        assert!(known.ends_with(&format!("\nquota|{}\nused|100", 1u64 << 30)), "{known}");
        // At once; what is there already stays.
        operate(&mut world, alice, &["QUOTA", "BOB", "150"]).unwrap();
        assert_eq!(write(&mut world, bob, "bob/more", 51), Err(Code::Quota));
        assert_eq!(write(&mut world, alice, "alice/other", 5_000), Ok(()));
        operate(&mut world, alice, &["QUOTA", "bob", "20"]).unwrap();
        assert_eq!(write(&mut world, bob, "bob/one", 1), Err(Code::Quota));
        assert_eq!(world.get(bob, "READFILE", &[b"/users/bob/first", b"0", b"100"]).unwrap().len(), 100);
        operate(&mut world, alice, &["QUOTA", "bob", "150"]).unwrap();
        assert_eq!(write(&mut world, bob, "bob/more2", 50), Ok(()));
        // Of one who has never stored anything.
        operate(&mut world, alice, &["QUOTA", "carol", "10"]).unwrap();
        let listed = operate(&mut world, alice, &["USERS", "bob", "1"]).unwrap();
        assert_eq!(listed, "carol|active|0|0|no|10|0");
        let (carol, _) = client_at(&mut world.net, "carol", 1);
        assert_eq!(write(&mut world, carol, "carol/a", 11), Err(Code::Quota));
        assert_eq!(write(&mut world, carol, "carol/b", 10), Ok(()));
        // Data management is away: it hears of it when it is back.
        let dm = world.dm;
        world.net.sim.crash(dm);
        world.net.sim.run_for(2_000);
        operate(&mut world, alice, &["QUOTA", "bob", "1000"]).unwrap();
        operate(&mut world, alice, &["QUOTA", "carol", "default"]).unwrap();
        let known = info(&mut world, bob);
        assert!(known.ends_with("\nquota|1000"), "{known}");
        assert!(operate(&mut world, alice, &["USERS", "bob", "1"]).unwrap().ends_with("|no||"));
        world.net.sim.start(dm);
        world.net.sim.run_for(10_000);
        assert_eq!(write(&mut world, bob, "bob/more3", 851), Err(Code::Quota));
        assert_eq!(write(&mut world, bob, "bob/more4", 850), Ok(()));
        assert_eq!(write(&mut world, carol, "carol/c", 100_000), Ok(()));
        // It is as it was after a restart of all.
        let management = world.net.management;
        for node in [dm, management] {
            world.net.sim.crash(node);
        }
        world.net.sim.start(management);
        world.net.sim.start(dm);
        world.net.sim.run_for(30_000);
        assert_eq!(write(&mut world, bob, "bob/more5", 1), Err(Code::Quota));
        assert!(operate(&mut world, alice, &["USERS", "alice", "1"]).unwrap().ends_with("|no|1000|1000"));
    });
}

#[test]
fn who_registers_at_a_realms_door_gets_the_realms_quota() {
    let mut world = world(5);
    for (user, quota, gets) in [("frank", "77", 77u64), ("grace", "", 1 << 30)] {
        let desk = world.net.asker(PortKey::MainManagement, Target::Local(PortKey::MainManagement));
        let ask = |world: &mut World, command: &str, fields: &[&str]| {
            let answer = world.net.ask(desk, command, fields).try_recv().expect("an answer");
            answer.map(|answer| String::from_utf8(answer).expect("text"))
        };
        let print = "00".repeat(32);
        ask(&mut world, "ONBEHALF", &["10.0.0.1", "open", "0", &print, quota]).unwrap();
        let begun = ask(&mut world, "REGISTERACCOUNT", &[user, "a password"]).unwrap();
        ask(&mut world, "CONFIRMREGISTERACCOUNT", &[begun.trim(), ""]).unwrap();
        let listed = socket(&mut world.net, "USERS", &["erin", "10"]).unwrap();
        let line = listed.lines().find(|line| line.starts_with(user)).expect("registered");
        assert!(line.ends_with(&format!("|0|no|{gets}|0")), "{line}");
    }
}

/// A main server acts for operators who are there, and for nobody else.
#[test]
fn a_server_that_lies_is_no_operator() {
    let mut stage = Stage::new(43);
    socket(&mut stage.net, "USEROPERATOR", &["alice", "yes"]).unwrap();
    let own = stage.receipt.clone();
    for (user, account, receipt) in [
        ("alice", "1", own.as_str()),
        ("alice", "3", &own),
        ("mallory", "1", &own),
        ("alice", "1", ""),
        ("alice", "1", "a:1:00"),
    ] {
        for (command, rest) in [("OPERATE", &["STATUS", ""][..]), ("ACCOUNT", &[])] {
            logged();
            let fields: Vec<&str> = [&[user, account, receipt], rest].concat();
            let fail = stage.management(command, &fields).expect_err("refused");
            assert_eq!(fail.code, Code::Denied, "{fields:?}: {fail}");
            assert!(logged().iter().any(|line| line.contains("main server rogue")), "{fields:?}");
        }
    }
    // Its own user is there, and no operator.
    assert!(stage.management("ACCOUNT", &["mallory", "3", &own]).expect("its own").contains("operator|no"));
    let fail = stage.management("OPERATE", &["mallory", "3", &own, "STATUS", ""]).expect_err("no operator");
    assert_eq!(fail.code, Code::Denied);
    socket(&mut stage.net, "USEROPERATOR", &["mallory", "yes"]).unwrap();
    stage.management("OPERATE", &["mallory", "3", &own, "STATUS", ""]).expect("an operator");
    // Gone from there: the receipt alone is no session.
    stage.management("PRESENCE", &["mallory", "0", "0", "", ""]).expect("it has left");
    let fail = stage.management("OPERATE", &["mallory", "3", &own, "STATUS", ""]).expect_err("not there");
    assert_eq!(fail.code, Code::Unavailable);
    stage.assert_undisturbed();
}
