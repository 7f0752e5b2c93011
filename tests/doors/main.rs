//! The door of a realm (63745): the first line, the states before the sign-on, policies, accounts, and sessions that are like all others.
//! Everything holds for a realm that stands alone and for one that is attached.

#[path = "../support/mod.rs"]
mod support;

use std::io::Write;
use std::time::Duration;

use convergia::accounts::keys;
use convergia::wire::Code;
use support::sign_on::PASSWORD;
use support::Answer;
use support::Cluster;
use support::Plan;
use support::Raw;
use support::Server;

const PATIENCE: Duration = Duration::from_secs(20);

/// A realm that stands alone, and one that is attached to the management of its process, both with these settings.
fn both(settings: &[&str]) -> [Server; 2] {
    let alone = [&["--role", "realm"], settings].concat();
    [Server::start(&alone), Server::start(settings)]
}

fn greeted(server: &Server) -> Raw {
    let mut link = Raw::connect(&server.addr("realm"));
    link.send_bytes(b"OpenGroove\n").expect("the door is open");
    link
}

fn register(link: &mut Raw, user: &str) -> Answer {
    link.ask("STARTREGISTRATION", &[]).ok();
    support::sign_on::register_on(link, user, PASSWORD)
}

fn connected(server: &Server, user: &str) -> Raw {
    let mut link = greeted(server);
    link.ask("LOGIN", &[user, PASSWORD]).ok();
    link
}

#[track_caller]
fn assert_fails(answer: &Answer, code: Code) {
    assert_eq!(answer.code(), code, "{answer:?}");
}

const OPEN: &[&str] = &["--set", "realm.registration=open"];

#[test]
fn the_first_line_is_opengroove_in_any_case_and_with_any_line_end() {
    for server in both(OPEN) {
        for greeting in ["OpenGroove\n", "opengroove\r", "OPENGROOVE\r\n", "\r\n\nOpenGroove\n\r\n"] {
            let mut link = Raw::connect(&server.addr("realm"));
            link.send_bytes(greeting.as_bytes()).expect("the door is open");
            link.assert_alive();
        }
        // Cut at any byte, and together with what follows it.
        for at in 1..15 {
            let mut link = Raw::connect(&server.addr("realm"));
            let bytes = b"OpenGroove\r\n1 PING\r";
            link.send_bytes(&bytes[..at]).expect("the door is open");
            link.tcp().flush().expect("flush");
            link.send_bytes(&bytes[at..]).expect("the door is open");
            assert_eq!(link.answer("1"), Answer::Ok(Vec::new()));
        }
        let long = "OpenGroov".repeat(1_000);
        for wrong in ["hello\n", "1 PING\n", "OpenGroove2\n", "OpenGroove 1 PING\n", "X", &long, &"\n".repeat(100)] {
            let mut link = Raw::connect(&server.addr("realm"));
            // It may have closed before all is sent.
            let _ = link.send_bytes(wrong.as_bytes());
            let last = link.read_to_close(PATIENCE);
            let said = last.last().map(support::Line::answer);
            assert!(matches!(said, Some(Answer::Fail(Code::BadPacket, _))), "{wrong:.20?}: {said:?}");
        }
    }
}

#[test]
fn each_state_has_its_commands() {
    for server in both(OPEN) {
        let mut link = greeted(&server);
        // Connecting.
        for command in ["REGISTERACCOUNT", "CONFIRMREGISTERACCOUNT"] {
            assert_fails(&link.ask(command, &["alice", PASSWORD]), Code::BadCommand);
        }
        assert_fails(&link.ask("CANCELREGISTRATION", &[]), Code::BadCommand);
        assert_fails(&link.ask("SENDMESSAGE", &["bob", "hi"]), Code::SignIn);
        assert_fails(&link.ask("LISTFOLDER", &["/users"]), Code::SignIn);
        assert_fails(&link.ask("ADDKEY", &["x", "y"]), Code::SignIn);
        assert_fails(&link.ask("SIGNON", &["alice", "ticket"]), Code::BadCommand);
        assert_fails(&link.ask("ONBEHALF", &["a"]), Code::BadCommand);
        // Registration, left and entered again.
        link.ask("STARTREGISTRATION", &[]).ok();
        assert_fails(&link.ask("STARTREGISTRATION", &[]), Code::BadCommand);
        assert_fails(&link.ask("LOGIN", &["alice", PASSWORD]), Code::BadCommand);
        assert_fails(&link.ask("SENDMESSAGE", &["bob", "hi"]), Code::SignIn);
        link.ask("CANCELREGISTRATION", &[]).ok();
        register(&mut link, "alice").ok();
        // Back in Connecting.
        assert_fails(&link.ask("REGISTERACCOUNT", &["bob", PASSWORD]), Code::BadCommand);
        assert_fails(&link.ask("LOGIN", &["alice", "not the password"]), Code::Wrong);
        let token = link.ask("LOGIN", &["Alice", PASSWORD]).text();
        // Connected.
        for command in ["STARTREGISTRATION", "CANCELREGISTRATION"] {
            assert_fails(&link.ask(command, &[]), Code::BadCommand);
        }
        assert_fails(&link.ask("LOGIN", &["alice", PASSWORD]), Code::BadCommand);
        let mut other = greeted(&server);
        other.ask("LOGIN", &["alice", &format!("token:{token}")]).ok();
        link.ask("SENDMESSAGE", &["alice", "to all of mine"]).ok();
        for session in [&mut link, &mut other] {
            let [sender, _, body] = session.receive_command("RECEIVEMESSAGE").fields();
            assert_eq!((sender, body), (b"alice".to_vec(), b"to all of mine".to_vec()));
        }
        link.ask("SIGNOFF", &[]).ok();
        assert!(link.read_to_close(PATIENCE).is_empty());
    }
}

#[test]
fn getrealm_says_what_it_is() {
    for server in
        both(&["--set", "realm.registration=closed", "--set", "realm.user_cap=7", "--set", "realm.name=Trivergia"])
    {
        let mut link = greeted(&server);
        let text = link.ask("GETREALM", &[]).text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("realm|{}", server.addr("realm")));
        assert_eq!(lines[1..5], ["name|Trivergia", "registration|closed", "users|0", "cap|7"]);
        assert!(lines[5].starts_with("quota|") && lines.len() == 6, "{text}");
        link.ask("STARTREGISTRATION", &[]).ok();
        assert_fails(&link.ask("REGISTERACCOUNT", &["alice", PASSWORD]), Code::Refused);
    }
}

#[test]
fn the_policy_and_the_cap_are_the_realms() {
    for server in both(&["--set", "realm.registration=open", "--set", "realm.user_cap=1"]) {
        let mut link = greeted(&server);
        register(&mut link, "alice").ok();
        assert_fails(&register(&mut link, "bob"), Code::Refused);
        // A registration that began while there was room.
        support::admin(&server, &["user", "delete", "alice"]);
        let mut links = [greeted(&server), greeted(&server)];
        let begun = links.each_mut().map(|link| {
            link.ask("STARTREGISTRATION", &[]).ok();
            let user = format!("user{}", link.id());
            let data = link.ask("REGISTERACCOUNT", &[&user, PASSWORD]).ok();
            String::from_utf8(data).expect("text").trim().to_owned()
        });
        let [one, two] = [0, 1].map(|n| links[n].ask("CONFIRMREGISTERACCOUNT", &[&begun[n], ""]));
        one.ok();
        assert_fails(&two, Code::Refused);
    }
}

#[test]
fn a_captcha_stands_in_front_by_default_and_an_invite_is_good_once() {
    for server in both(&[]) {
        let mut link = greeted(&server);
        link.ask("STARTREGISTRATION", &[]).ok();
        let data = link.ask("REGISTERACCOUNT", &["alice", PASSWORD]).ok();
        let at = data.iter().position(|byte| *byte == b'\n').expect("request-id LF picture");
        assert!(data[at + 1..].starts_with(b"\x89PNG\r\n\x1a\n"), "not a PNG");
        let id = std::str::from_utf8(&data[..at]).expect("text");
        assert_fails(&link.ask("CONFIRMREGISTERACCOUNT", &[id, "00000"]), Code::Wrong);
    }
    for server in both(&["--set", "realm.registration=invite"]) {
        let code = support::admin(&server, &["invite", "--json"]);
        let code: serde_json::Value = serde_json::from_str(&code).expect("JSON");
        let code = code["invite"].as_str().expect("a code").to_owned();
        let mut link = greeted(&server);
        for (user, good) in [("alice", true), ("bob", false)] {
            link.ask("STARTREGISTRATION", &[]).ok();
            let data = link.ask("REGISTERACCOUNT", &[user, PASSWORD]).ok();
            let id = String::from_utf8(data).expect("text").trim().to_owned();
            let answer = link.ask("CONFIRMREGISTERACCOUNT", &[&id, &code]);
            match good {
                true => drop(answer.ok()),
                false => assert_fails(&answer, Code::Wrong),
            }
        }
    }
}

#[test]
fn the_account_is_looked_after_at_the_door() {
    for server in both(OPEN) {
        register(&mut greeted(&server), "alice").ok();
        let mut link = connected(&server, "alice");
        let (seed, public) = keys::generate().expect("a key");
        link.ask("ADDKEY", &["laptop", &keys::to_base64(&public)]).ok();
        assert!(link.ask("LISTKEYS", &[]).text().starts_with("laptop|"));
        assert_fails(&link.ask("CHANGEPASSWORD", &["wrong password", "another password"]), Code::Wrong);
        let token = link.ask("CHANGEPASSWORD", &[PASSWORD, "another password"]).text();
        link.assert_alive();
        let mut other = greeted(&server);
        assert_fails(&other.ask("LOGIN", &["alice", PASSWORD]), Code::Wrong);
        other.ask("LOGIN", &["alice", &format!("token:{token}")]).ok();
        other.ask("REVOKETOKENS", &[]).ok();
        let mut third = greeted(&server);
        assert_fails(&third.ask("LOGIN", &["alice", &format!("token:{token}")]), Code::Wrong);
        // With the key: what is signed has the fingerprint of the door.
        let challenge = third.ask("LOGINKEY", &["alice"]).text();
        let text = keys::signed_text("alice", &"0".repeat(64), &challenge);
        let signature = keys::to_base64(&keys::sign(&seed, &text).expect("signed"));
        assert_fails(&third.ask("PROVEKEY", &[&signature]), Code::Wrong);
        let challenge = third.ask("LOGINKEY", &["alice"]).text();
        let text = keys::signed_text("alice", third.fingerprint(), &challenge);
        let signature = keys::to_base64(&keys::sign(&seed, &text).expect("signed"));
        third.ask("PROVEKEY", &[&signature]).ok();
        third.ask("REMOVEKEY", &["laptop"]).ok();
        assert_eq!(third.ask("LISTKEYS", &[]).text(), "");
    }
}

#[test]
fn guesses_of_a_password_are_slowed_and_nobody_else() {
    for server in both(OPEN) {
        register(&mut greeted(&server), "alice").ok();
        register(&mut greeted(&server), "bob").ok();
        let token = greeted(&server).ask("LOGIN", &["alice", PASSWORD]).text();
        let mut guesser = greeted(&server);
        let limited = (0..12).any(|_| guesser.ask("LOGIN", &["alice", "a wrong guess"]).code() == Code::Limit);
        assert!(limited, "nobody counts");
        greeted(&server).ask("LOGIN", &["alice", &format!("token:{token}")]).ok();
        connected(&server, "bob").assert_alive();
    }
}

#[test]
fn sessions_of_both_doors_meet_and_files_stay_over_a_restart() {
    let mut server = Server::start(OPEN);
    register(&mut greeted(&server), "alice").ok();
    register(&mut greeted(&server), "bob").ok();
    let mut alice = connected(&server, "alice");
    let mut bob = support::sign_on::sign_on_again(&server, "bob");
    alice.ask("SENDMESSAGE", &["bob", "from the door"]).ok();
    bob.ask("SENDMESSAGE", &["alice", "from 64473"]).ok();
    assert_eq!(bob.receive_command("RECEIVEMESSAGE").fields::<3>()[2], b"from the door");
    assert_eq!(alice.receive_command("RECEIVEMESSAGE").fields::<3>()[2], b"from 64473");
    alice.ask("CREATEFILE", &["/users/alice/plan"]).ok();
    alice.ask("WRITEFILE", &["/users/alice/plan", "0", "what we do"]).ok();
    assert!(server.terminate().success());
    let told = alice.read_to_close(PATIENCE);
    assert!(told.iter().any(|line| line.command == "DISCONNECTED"), "{told:?}");
    server.restart();
    let mut alice = connected(&server, "alice");
    assert_eq!(alice.ask("READFILE", &["/users/alice/plan", "0", "100"]).text(), "what we do");
}

#[test]
fn a_realm_that_stands_alone_keeps_what_it_has() {
    let mut server =
        Server::start(&["--role", "realm", "--set", "realm.registration=open", "--set", "realm.quota=64 KiB"]);
    assert_eq!(server.listeners(), ["realm", "voice_control", "voice_udp", "web"], "it opens no other port");
    assert!(server.url().starts_with("realm://127.0.0.1:"), "{}", server.url());
    register(&mut greeted(&server), "alice").ok();
    let mut alice = connected(&server, "alice");
    alice.ask("CREATEFILE", &["/users/alice/f"]).ok();
    let block = "x".repeat(40_000);
    alice.ask("WRITEFILE", &["/users/alice/f", "0", &block]).ok();
    assert_fails(&alice.ask("WRITEFILE", &["/users/alice/f", "40000", &block]), Code::Quota);
    server.kill();
    server.restart();
    let mut alice = connected(&server, "alice");
    assert_eq!(alice.ask("READFILE", &["/users/alice/f", "0", "100000"]).ok().len(), 40_000);
    // The terminal client finds it by the file in its data folder, as any server of this machine.
    let status = support::admin(&server, &["users", "--json"]);
    assert!(status.contains("alice"), "{status}");
}

#[test]
fn a_realm_of_another_machine_is_a_member_of_the_mesh() {
    let realm = Plan::new("door", &["realm"]).set("realm.attach=true").set("realm.registration=open");
    let cluster = Cluster::builder().management().mains(&["first"]).node(realm).start();
    let door = cluster.server("door");
    assert_eq!(door.listeners(), ["main_main", "realm", "voice_control", "voice_udp", "web"]);
    register(&mut greeted(door), "alice").ok();
    let mut alice = connected(door, "alice");
    let mut bob = cluster.sign_on("bob", "first");
    alice.ask("SENDMESSAGE", &["bob", "from the door"]).ok();
    bob.ask("SENDMESSAGE", &["alice", "from a main server"]).ok();
    assert_eq!(bob.receive_command("RECEIVEMESSAGE").fields::<3>()[2], b"from the door");
    assert_eq!(alice.receive_command("RECEIVEMESSAGE").fields::<3>()[2], b"from a main server");
    // Main servers list it as no place to sign on at, and management moves nobody there or away.
    let (mut link, _) = support::sign_on::login_link(cluster.management(), "bob", PASSWORD);
    let listed = link.ask("LISTSERVERS", &[]).text();
    assert!(listed.starts_with("first|") && listed.lines().count() == 1, "{listed}");
    cluster.admin(&["drain", "door"]);
    alice.ask("SENDMESSAGE", &["bob", "still here"]).ok();
    assert_eq!(bob.receive_command("RECEIVEMESSAGE").fields::<3>()[2], b"still here");
    assert_fails(&greeted(door).ask("LOGIN", &["alice", PASSWORD]), Code::Unavailable);
}

#[test]
fn the_two_examples_are_an_open_realm_and_a_private_one() {
    let start = |name: &str| {
        Server::start(&["--config", &format!("{}/examples/realms/{name}.toml", env!("CARGO_MANIFEST_DIR"))])
    };
    for (name, says) in [
        ("open", ["name|OpenGroove", "registration|captcha", "users|0", "cap|500", "quota|104857600"]),
        ("private", ["name|Trivergia", "registration|invite", "users|0", "cap|10", "quota|5368709120"]),
    ] {
        let server = start(name);
        let text = greeted(&server).ask("GETREALM", &[]).text();
        assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), says, "{name}");
        support::admin(&server, &["user", "add", "alice", "--password-file", &password_file(&server)]);
        let mut alice = connected(&server, "alice");
        alice.ask("SENDMESSAGE", &["alice", "hi"]).ok();
    }
}

fn password_file(server: &Server) -> String {
    let path = server.data_dir().join("password");
    std::fs::write(&path, PASSWORD).expect("a file");
    path.to_str().expect("a path in UTF-8").to_owned()
}
