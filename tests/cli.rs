//! The terminal client as scripts use it: the real executable against a real server.

mod support;

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::fs::PermissionsExt;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::json;
use serde_json::Value;
use support::Server;
use support::TempDir;

/// How long a line may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PASSWORD: &str = "correct horse";

/// A person's account on this machine: a home of its own, in which the server's data folder is the default one.
struct Person {
    home: TempDir,
}

/// What a command left.
#[derive(Debug)]
struct Done {
    status: i32,
    out: String,
    err: String,
}

impl Done {
    fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    #[track_caller]
    fn expect(self, status: i32) -> Done {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

impl Person {
    fn new(server: &Server) -> Person {
        let person = Person::without_server();
        symlink(server.data_dir(), person.home.path().join("convergia")).expect("a link to the data folder");
        person
    }

    fn without_server() -> Person {
        Person { home: TempDir::new() }
    }

    fn command(&self, password: Option<&str>, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_convergia"));
        command.args(args).env_clear().env("HOME", self.home.path()).env("XDG_DATA_HOME", self.home.path());
        command.env("CONVERGIA_CLIENT_STATE", self.home.path().join("client.json"));
        if let Some(password) = password {
            command.env("CONVERGIA_PASSWORD", password);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run_with(&self, password: Option<&str>, args: &[&str], input: &[u8]) -> Done {
        let mut child = self.command(password, args).spawn().expect("the executable starts");
        // It may end without reading.
        let _ = child.stdin.take().expect("a pipe").write_all(input);
        let output = child.wait_with_output().expect("the command ends");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let done =
            Done { status: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) };
        assert!(!done.err.contains("panicked"), "{done:?}");
        done
    }

    /// Without a password: a remembered token has to do.
    fn run(&self, args: &[&str]) -> Done {
        self.run_with(None, args, b"")
    }

    fn register(&self, name: &str) {
        self.run_with(Some(PASSWORD), &["register", name], b"").expect(0);
    }

    fn chat(&self, args: &[&str]) -> Chat {
        let args: Vec<&str> = ["chat"].iter().chain(args).copied().collect();
        let mut child = self.command(None, &args).spawn().expect("the executable starts");
        let (send, lines) = mpsc::channel();
        let out = child.stdout.take().expect("a pipe");
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        Chat { stdin: child.stdin.take(), child, lines }
    }
}

/// A conversation under way.
struct Chat {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Chat {
    /// One with JSON, signed on.
    fn open(person: &Person, args: &[&str]) -> Chat {
        let args: Vec<&str> = args.iter().chain(&["--json"]).copied().collect();
        let chat = person.chat(&args);
        chat.event("signed_on");
        chat
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line in time")
    }

    /// The next event of that kind.
    fn event(&self, kind: &str) -> Value {
        loop {
            let event: Value = serde_json::from_str(&self.line()).expect("a line of JSON");
            if event["event"] == kind {
                return event;
            }
        }
    }

    fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("not ended yet");
        stdin.write_all(line.as_bytes()).and_then(|()| stdin.write_all(b"\n")).expect("the conversation reads");
    }

    /// Ends standard input, and waits for the exit status.
    fn end(mut self) -> i32 {
        drop(self.stdin.take());
        self.child.wait().expect("it ends").code().unwrap_or(-1)
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn without_a_server_it_says_what_to_do() {
    let person = Person::without_server();
    let done = person.run(&["chat"]).expect(2);
    assert!(done.err.contains("Start one on this machine with `convergia`"), "{done:?}");
    let done = person.run(&["admin", "status"]).expect(1);
    assert!(done.err.contains("no server runs on"), "{done:?}");
    let done = person.run(&["send", "bob", "hi", "--server", "convergia://127.0.0.1:1", "--user", "a"]).expect(2);
    assert!(done.err.contains("password"), "{done:?}");
    let done = person.run_with(Some("x"), &["login", "a", "--server", "convergia://127.0.0.1:1"], b"").expect(1);
    assert!(done.err.contains("Is the server running?"), "{done:?}");
    for wrong in [
        &["map", "--server", "nonsense"][..],
        &["nonsense"],
        &["register"],
        &["register", "a b"],
        &["map", "--json", "--dot"],
    ] {
        let done = person.run_with(Some("x"), wrong, b"").expect(2);
        assert!(!done.err.is_empty(), "{wrong:?}");
    }
}

#[test]
fn a_first_conversation() {
    let server = Server::open();
    let (alice, bob) = (Person::new(&server), Person::new(&server));
    let done = alice.run(&["chat"]).expect(2);
    assert!(done.err.contains("convergia register"), "{done:?}");
    let elsewhere = ["login", "alice", "--server", "convergia://127.0.0.1:1"];
    let elsewhere = alice.run_with(Some(PASSWORD), &elsewhere, b"").expect(1);
    assert!(elsewhere.err.contains(&format!("--server {}", server.url())), "{elsewhere:?}");
    alice.register("alice");
    let again = bob.run_with(Some("other"), &["register", "ALICE"], b"").expect(1);
    assert!(again.err.contains("EXISTS") && again.err.contains("Choose another name"), "{again:?}");
    bob.register("bob");

    let file = alice.home.path().join("client.json");
    assert_eq!(std::fs::metadata(&file).expect("the client's file").permissions().mode() & 0o777, 0o600);
    assert!(!std::fs::read_to_string(&file).expect("the client's file").contains(PASSWORD));

    let offline = alice.run(&["send", "bob", "hello", "--json"]).expect(1);
    assert_eq!(
        offline.json(),
        [json!({ "recipient": "bob", "ok": false, "code": "OFFLINE", "text": offline.json()[0]["text"] })]
    );
    assert!(offline.err.contains("not sent to bob"), "{offline:?}");

    let mut chat = Chat::open(&bob, &[]);
    assert_eq!(alice.run(&["send", "Bob", "hello", "there"]).expect(0).out, "");
    let message = chat.event("message");
    assert_eq!((&message["sender"], &message["body"]), (&json!("alice"), &json!("hello there")));
    alice.run_with(None, &["send", "bob"], b"two\nlines\n").expect(0);
    assert_eq!(chat.event("message")["body"], "two\nlines");
    alice.run_with(None, &["send", "bob"], b"\xff\xfe").expect(0);
    assert_eq!(chat.event("message")["body_base64"], "//4=");
    alice.run_with(None, &["send", "bob", "--lines"], b"1\n2\n\n3").expect(0);
    for body in ["1", "2", "3"] {
        assert_eq!(chat.event("message")["body"], body);
    }

    chat.say("bob: to myself");
    assert_eq!(chat.event("message")["body"], "to myself");
    chat.say("nobody: hi");
    let sent = loop {
        let sent = chat.event("sent");
        if sent["ok"] == false {
            break sent;
        }
    };
    assert_eq!((&sent["recipient"], &sent["code"]), (&json!("nobody"), &json!("NOTFOUND")));
    assert_eq!(chat.end(), 1, "one message was refused");
    let mut chat = Chat::open(&bob, &["bob"]);
    chat.say("alone: again");
    assert_eq!(chat.event("message")["body"], "alone: again");
    assert_eq!(chat.end(), 0);
}

#[test]
fn plain_lines_carry_no_terminal_codes() {
    let server = Server::open();
    let person = Person::new(&server);
    person.register("alice");
    let mut chat = person.chat(&["alice"]);
    chat.say("\u{1b}]0;owned\u{7}\u{202e}");
    assert_eq!(chat.line(), "alice: \\x1b]0;owned\\x07\\u{202e}");
    chat.say("@alice two");
    assert_eq!(chat.line(), "alice: two");
    assert_eq!(chat.end(), 0);
}

#[test]
fn a_token_that_is_void_asks_for_the_password() {
    let server = Server::open();
    let person = Person::new(&server);
    person.register("alice");
    person.run(&["map"]).expect(0);
    let operator = ["admin", "user", "passwd", "alice"];
    person.run_with(Some("new one"), &operator, b"").expect(0);
    person.run_with(Some(PASSWORD), &["map"], b"").expect(1);
    person.run_with(Some("new one"), &["map"], b"").expect(0);
    // And the token of that sign-on is remembered.
    person.run(&["map"]).expect(0);
    let file = person.home.path().join("secret");
    std::fs::write(&file, "new one\n").expect("a file");
    let done = person.run(&["login", "alice", "--json", "--password-file", file.to_str().expect("UTF-8")]).expect(0);
    assert_eq!(done.json(), [json!({ "ok": true, "user": "alice", "server": server.url() })]);
    let wrong = person.run_with(Some("wrong"), &["login"], b"").expect(1);
    assert!(wrong.err.contains("WRONG") && wrong.err.contains("convergia login alice"), "{wrong:?}");
}

#[test]
fn the_map() {
    let server = Server::open();
    let person = Person::new(&server);
    person.register("alice");
    person.register("bob");
    let chat = Chat::open(&person, &["--user", "alice"]);
    let tree = person.run(&["map", "--user", "bob"]).expect(0).out;
    assert!(tree.contains("─ ● alice") && tree.contains("(main)") && !tree.contains('\u{1b}'), "{tree}");
    let nodes = person.run(&["map", "--json"]).expect(0).json();
    let alice = nodes.iter().find(|node| node["name"] == "alice").expect("alice in the map");
    assert_eq!((&alice["type"], &alice["status"]), (&json!("client"), &json!("online")));
    let dot = person.run(&["map", "--dot"]).expect(0).out;
    assert!(dot.starts_with("graph convergia {") && dot.contains("label=\"alice\""), "{dot}");
    assert_eq!(chat.end(), 0);
}

#[test]
fn the_operator() {
    let mut server = Server::start(&["--set", "management.registration=invite"]);
    let person = Person::new(&server);
    let refused = person.run_with(Some(PASSWORD), &["register", "alice"], b"").expect(1);
    assert!(refused.err.contains("--invite CODE"), "{refused:?}");
    let invite = person.run(&["admin", "invite", "--days", "2", "--json"]).expect(0).json();
    let code = invite[0]["invite"].as_str().expect("a code").to_owned();
    assert!(person.run(&["admin", "invite", "--days", "0"]).expect(1).err.contains("BADARGS"));
    person.run_with(Some(PASSWORD), &["register", "alice", "--invite", &code], b"").expect(0);
    person.run_with(Some(PASSWORD), &["register", "eve", "--invite", &code], b"").expect(1);

    for name in ["bob", "carol"] {
        person.run_with(Some(PASSWORD), &["admin", "user", "add", name], b"").expect(0);
    }
    assert!(person.run_with(Some(PASSWORD), &["admin", "user", "add", "bob"], b"").expect(1).err.contains("EXISTS"));
    let users = person.run(&["admin", "users", "--json"]).expect(0).json();
    assert_eq!(users.iter().map(|user| &user["name"]).collect::<Vec<_>>(), ["alice", "bob", "carol"]);
    let table = person.run(&["admin", "users"]).expect(0).out;
    assert!(table.starts_with("NAME") && table.lines().count() == 4, "{table}");

    let chat = Chat::open(&person, &["--user", "alice"]);
    let data_dir = server.data_dir().to_str().expect("UTF-8").to_owned();
    person.run(&["admin", "--data-dir", &data_dir, "kick", "alice", "--reason", "a break"]).expect(0);
    assert_eq!(chat.event("disconnected")["reason"], "a break");
    // Whoever was sent away does not come back by itself.
    chat.event("failed");
    assert_eq!(chat.end(), 1);
    let chat = Chat::open(&person, &["--user", "alice"]);
    person.run(&["admin", "user", "disable", "alice"]).expect(0);
    chat.event("failed");
    assert_eq!(chat.end(), 1);
    let disabled = person.run_with(Some(PASSWORD), &["login", "alice"], b"").expect(1);
    assert!(disabled.err.contains("DENIED"), "{disabled:?}");
    person.run(&["admin", "user", "enable", "alice"]).expect(0);
    person.run_with(Some(PASSWORD), &["login", "alice"], b"").expect(0);
    assert!(person.run(&["admin", "kick", "alice"]).expect(1).err.contains("OFFLINE"));
    person.run(&["admin", "user", "delete", "alice"]).expect(0);
    assert!(person.run(&["admin", "user", "delete", "alice"]).expect(1).err.contains("admin users"));

    let status = person.run(&["admin", "--json", "status"]).expect(0).json();
    assert_eq!((&status[0]["users"], &status[0]["registration"]), (&json!(2), &json!("invite")));
    assert!(person.run(&["admin", "status"]).expect(0).out.contains("users"));
    server.terminate();
    assert!(person.run(&["admin", "status"]).expect(1).err.contains("no server runs on"));
}

#[test]
fn the_operator_of_people() {
    let server = Server::open();
    let person = Person::new(&server);
    person.register("alice");
    person.register("bob");
    let user = |name: &str| {
        let users = person.run(&["admin", "users", "--json"]).expect(0).json();
        users.into_iter().find(|user| user["name"] == name).expect("registered")
    };
    assert_eq!((&user("bob")["operator"], &user("bob")["quota"]), (&json!(false), &json!(10_737_418_240u64)));
    person.run(&["admin", "user", "operator", "BOB"]).expect(0);
    assert_eq!(user("bob")["operator"], true);
    person.run(&["admin", "user", "operator", "bob", "--off"]).expect(0);
    assert_eq!(user("bob")["operator"], false);
    assert!(person.run(&["admin", "user", "operator", "nobody"]).expect(1).err.contains("NOTFOUND"));

    let done = person.run(&["admin", "quota", "bob", "1 KiB"]).expect(0);
    assert_eq!(done.out, "bob may store 1.00 KiB\n");
    let file = person.home.path().join("file");
    std::fs::write(&file, [b'x'; 1_025]).expect("a file");
    let file = file.to_str().expect("UTF-8");
    let put = ["put", file, "/users/bob/file", "--user", "bob"];
    assert!(person.run(&put).expect(1).err.contains("QUOTA"));
    person.run(&["admin", "quota", "bob", "default"]).expect(0);
    assert_eq!(person.run(&["admin", "voice"]).expect(0).out, "UID  NAME  RIGHTS  CHANNELS\n");
    let done = person.run(&["admin", "voice-rights", "BOB", "kick_user,add_channel"]).expect(0).out;
    assert_eq!(done, "BOB has these rights: add_channel,kick_user\n");
    let voice = person.run(&["admin", "voice", "--json"]).expect(0).json();
    assert_eq!((&voice[0]["name"], &voice[0]["channels"]), (&json!("bob"), &json!(0)));
    assert_eq!(voice[0]["rights"], json!(["add_channel", "kick_user"]));
    let uid = voice[0]["uid"].as_str().expect("text");
    assert_eq!(person.run(&["admin", "voice-rights", uid, "none", "--json"]).expect(0).json()[0]["uid"], uid);
    assert_eq!(person.run(&["admin", "voice", "--json"]).expect(0).json()[0]["rights"], json!([]));
    assert!(person.run(&["admin", "voice-rights", "nobody", "admin"]).expect(1).err.contains("NOTFOUND"));
    assert!(person.run(&["admin", "voice-rights", "bob", "all"]).expect(2).err.contains("RIGHTS"));
    person.run(&put).expect(0);
    assert_eq!((&user("bob")["quota"], &user("bob")["used"]), (&json!(10_737_418_240u64), &json!(1_025)));
    for wrong in [&["admin", "quota", "bob", "much"][..], &["admin", "quota", "bob"], &["admin", "notice"]] {
        person.run(wrong).expect(2);
    }

    let chat = Chat::open(&person, &["--user", "alice"]);
    let sessions = person.run(&["admin", "sessions", "--json"]).expect(0).json();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    let shown = ["name", "server", "door", "address"].map(|key| sessions[0][key].as_str().expect("text").to_owned());
    assert_eq!(shown, ["alice", "main", "client_main", "127.0.0.1"]);
    let table = person.run(&["admin", "sessions"]).expect(0).out;
    assert!(table.starts_with("NAME") && table.lines().count() == 2, "{table}");
    assert_eq!(person.run(&["admin", "notice", "back at ten"]).expect(0).out, "said in 1 session\n");
    assert_eq!(chat.event("notice")["text"], "back at ten");
    assert_eq!(chat.end(), 0);

    assert!(person.run(&["admin", "invites", "--json"]).expect(0).json().is_empty());
    person.run(&["admin", "invite", "--days", "2"]).expect(0);
    let invites = person.run(&["admin", "invites", "--json"]).expect(0).json();
    let time = |key: &str| invites[0][key].as_u64().expect("a time");
    assert_eq!(time("expires") - time("created"), 2 * 86_400_000);
    assert_eq!(person.run(&["admin", "invites"]).expect(0).out.lines().count(), 2);
}

#[test]
fn who_signs_on_while_the_server_is_away_is_told_and_waits() {
    let mut server = Server::open();
    let person = Person::new(&server);
    person.register("alice");
    let url = server.url();
    assert!(server.terminate().success());
    let waits = |child: &mut Child| {
        let mut line = String::new();
        BufReader::new(child.stderr.as_mut().expect("a pipe")).read_line(&mut line).expect("a line");
        line
    };
    let mut chat = person.chat(&["--json", "--server", &url, "--user", "alice"]);
    let said = waits(&mut chat.child);
    assert!(said.contains("cannot sign on yet") && said.contains("until it works"), "{said}");
    let send = ["send", "alice", "hello", "--server", &url, "--user", "alice"];
    let mut send = person.command(None, &send).spawn().expect("the executable starts");
    let said = waits(&mut send);
    assert!(said.contains("cannot sign on yet") && said.contains("for 10 seconds"), "{said}");
    server.restart_in_place();
    assert_eq!(chat.event("signed_on")["server"], "main");
    assert!(send.wait().is_ok());
    chat.say("alice: I am back");
    assert_eq!(chat.event("sent")["ok"], true);
    assert_eq!(chat.end(), 0);
}
