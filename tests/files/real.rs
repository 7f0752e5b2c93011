//! What only a real server has: rights between people, those who are there and those who are not, and its sudden death.

use std::fs;
use std::process::Child;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Instant;

use serde_json::json;
use serde_json::Value;

use super::lines_of;
use super::noise;
use super::support;
use super::support::Answer;
use super::support::Cluster;
use super::support::Plan;
use super::support::Server;
use super::tree;
use super::wait;
use super::Net;
use super::Person;
use super::PATIENCE;

/// A tree of some hundred files: empty ones, odd names, and a large one.
fn plant(person: &Person, root: &str) {
    for n in 0..300 {
        person.write(&format!("{root}/many/{}/{n}.txt", n % 9), &noise(n, usize::try_from(n % 50).unwrap() * 31));
    }
    for name in ["a b  c", " lead", "ünï 名前", "-dash", "...", "~", "quote'\"", "a\\b", "%2F", "*?", ".hidden"] {
        person.write(&format!("{root}/odd/{name}"), name.as_bytes());
    }
    person.write(&format!("{root}/large"), &noise(1_000, 5 << 20));
    fs::create_dir_all(person.work().join(root).join("none/at all")).expect("a folder");
}

#[test]
fn a_tree_is_shared_with_one_who_was_refused_before() {
    let net = Net::real();
    let (alice, bob) = (net.person("alice"), net.person("bob"));
    plant(&alice, "tree");
    let before = tree(&alice.work().join("tree"));
    alice.run(&["mkdir", "place"]).expect(0);
    alice.run(&["put", "-r", "tree", "place"]).expect(0);
    let listing = alice.run(&["ls", "-a", "-R", "place/tree"]).expect(0).text();
    let home = format!("/users/{}/place/tree", alice.name);
    for (name, bytes) in &before {
        let (above, end) = name.rsplit_once('/').map_or((String::new(), name.as_str()), |(a, e)| (format!("/{a}"), e));
        let mut here = listing.split("\n\n").filter(|part| part.starts_with(&format!("{home}{above}:\n")));
        let end = if bytes.is_some() { end.to_owned() } else { format!("{end}/") };
        assert!(here.next().is_some_and(|part| part.lines().any(|line| line == end)), "{name}: {listing}");
    }
    alice.run(&["get", "-r", "place/tree", "back"]).expect(0);
    assert!(tree(&alice.work().join("back")) == before, "the tree is another");

    let refused = bob.run(&["get", "-r", &home, "copy"]).expect(1);
    assert!(refused.err.contains("DENIED"), "{}", refused.err);
    assert!(!bob.work().join("copy").exists());
    alice.run(&["share", "place/tree", &bob.name, "r"]).expect(0);
    bob.run(&["get", "-r", &home, "copy"]).expect(0);
    assert!(tree(&bob.work().join("copy")) == before, "the tree is another");
    bob.write("x", b"x");
    for refused in [&["put", "x", &home][..], &["rm", "-r", &home], &["mkdir", &format!("{home}/new")]] {
        assert!(bob.run(refused).expect(1).err.contains("DENIED"), "{refused:?}");
    }
    alice.run(&["share", "place/tree", &bob.name, "none"]).expect(0);
    assert!(bob.run(&["ls", &home]).expect(1).err.contains("DENIED"));
    alice.run(&["rm", "-r", "place"]).expect(0);
    assert_eq!(alice.run(&["ls", "-a"]).expect(0).text(), "");
}

/// `chat --json`, with what it prints.
struct Chatting {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Chatting {
    fn start(person: &Person) -> Chatting {
        let mut command = person.command(&person.with_place(&["chat", "--json"]));
        let mut child = command.stdin(Stdio::piped()).spawn().expect("it starts");
        let lines = lines_of(&mut child);
        Chatting { child, lines }
    }

    /// The next event of that kind.
    #[track_caller]
    fn next(&self, kind: &str) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("a line in time");
            let event: Value = serde_json::from_str(&line).expect("a line of JSON");
            if event["event"] == kind {
                return event;
            }
        }
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().expect("it ends").success());
    }
}

#[test]
fn mail_is_told_at_once_or_at_the_next_sign_on() {
    let net = Net::real();
    let (alice, bob) = (net.person("alice"), net.person("bob"));
    let send = |text: &str| {
        let sent = alice.run_with(&["mail", "send", &bob.name, "--json"], text.as_bytes()).expect(0).json();
        sent[0]["id"].clone()
    };
    let chat = Chatting::start(&bob);
    chat.next("signed_on");
    let one = send("one");
    let told = chat.next("mail");
    assert_eq!((&told["messages"][0]["id"], &told["messages"][0]["sender"]), (&one, &json!(alice.name)));
    chat.end();
    let two = send("two");
    let chat = Chatting::start(&bob);
    let mut told = Vec::new();
    while told.len() < 2 {
        told.extend(chat.next("mail")["messages"].as_array().expect("messages").iter().map(|one| one["id"].clone()));
    }
    assert_eq!(told, [one.clone(), two.clone()]);
    chat.end();
    let ids = |list: Vec<Value>| list.into_iter().map(|line| line["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(bob.run(&["mail", "ls", "--json"]).expect(0).json()), told);
    let (one, two) = (one.as_str().expect("an id"), two.as_str().expect("an id"));
    assert_eq!(bob.run(&["mail", "read", two]).expect(0).text(), "two");
    // Nobody else's, not even the sender's any more.
    alice.run(&["mail", "read", two]).expect(1);
    bob.run(&["mail", "rm", one]).expect(0);
    assert_eq!(ids(bob.run(&["mail", "ls", "--json"]).expect(0).json()), [two]);
    bob.run(&["mail", "rm", two]).expect(0);
    assert_eq!(bob.run(&["mail", "ls"]).expect(0).text(), "");
}

#[test]
fn a_file_of_a_workspace_is_a_change() {
    let net = Net::real();
    let (alice, bob) = (net.person("alice"), net.person("bob"));
    let team = format!("team of {}", alice.name);
    alice.run(&["workspace", "create", &team, &bob.name]).expect(0);
    alice.run(&["workspace", "post", &team, "see the plan"]).expect(0);
    let mut follow = bob.start(&["workspace", "follow", &team, "--json"]);
    let lines = lines_of(&mut follow);
    let next = || {
        let line = lines.recv_timeout(PATIENCE).expect("a line in time");
        let line: Value = serde_json::from_str(&line).expect("a line of JSON");
        (line["author"].clone(), line["body"].as_str().expect("text").to_owned())
    };
    assert_eq!(next(), (json!(alice.name), "see the plan".to_owned()));
    alice.write("plan", b"first this, then that");
    let plan = format!("/workspaces/{team}/plan");
    alice.run(&["put", "plan", &plan]).expect(0);
    for what in ["created", "written"] {
        assert_eq!(next(), (json!(alice.name), format!("file\n{what}\n{plan}")));
    }
    // A large one is written beside its place; nobody hears of that.
    alice.write("large", &noise(1, 3 << 20));
    alice.run(&["put", "large", &format!("{plan}s")]).expect(0);
    assert_eq!(next(), (json!(alice.name), format!("file\nwritten\n{plan}s")));
    let shown = bob.run(&["workspace", "read", &team, "--after", "0"]).expect(0).text();
    assert!(shown.contains(&format!(": (written) {plan}s\n")), "{shown}");
    // Who takes part has these rights by that.
    let kept = alice.run(&["share", &format!("/workspaces/{team}"), &bob.name, "none"]).expect(1);
    assert!(kept.err.contains("keeps rw"), "{}", kept.err);
    assert_eq!(bob.run(&["get", "--stdout", &plan]).expect(0).out, b"first this, then that");
    bob.run(&["rm", &plan]).expect(0);
    assert_eq!(next(), (json!(bob.name), format!("file\ndeleted\n{plan}")));
    follow.kill().and_then(|()| follow.wait()).expect("it ends");
    // What both have acknowledged is not kept.
    alice.run(&["workspace", "read", &team, "--ack"]).expect(0);
    bob.run(&["workspace", "read", &team, "--ack"]).expect(0);
    assert_eq!(alice.run(&["workspace", "read", &team, "--after", "0"]).expect(0).text(), "");
    bob.run(&["workspace", "leave", &team]).expect(0);
    assert!(bob.run(&["ls", &format!("/workspaces/{team}")]).expect(1).err.contains("DENIED"));
    alice.run(&["workspace", "rm", &team]).expect(0);
}

#[test]
fn a_put_goes_on_when_the_server_died_in_its_midst() {
    const SIZE: usize = 30 << 20;
    let mut server = Server::open();
    let mut link = support::sign_on(&server, "alice");
    let alice = Person { url: server.url(), name: "alice".to_owned(), folder: support::TempDir::new() };
    let bytes = noise(9, SIZE);
    alice.write("large", &bytes);
    let mut put = alice.start(&["put", "large"]);
    // Some of it is there, and not all.
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(put.try_wait().expect("a child").is_none(), "it has ended: {:?}", wait(put));
        let there = match link.ask("LISTFOLDER", &["/users/alice"]) {
            Answer::Ok(lines) => String::from_utf8(lines).expect("UTF-8"),
            Answer::Fail(..) => String::new(),
        };
        let sizes = there.lines().filter_map(|line| line.split('|').nth(2)?.parse::<usize>().ok());
        if sizes.max().is_some_and(|size| size > 3 << 20) {
            assert!(!there.lines().any(|line| line.starts_with("large|")), "{there}");
            break;
        }
        assert!(Instant::now() < until, "{there}");
    }
    server.kill();
    assert!(put.try_wait().expect("a child").is_none(), "it had ended before the server died");
    server.restart_in_place();
    let done = wait(put).expect(0);
    assert!(done.err.contains("connection is lost"), "{}", done.err);
    assert!(alice.run(&["get", "--stdout", "large"]).expect(0).out == bytes, "other bytes");
    assert_eq!(alice.run(&["ls", "-a"]).expect(0).text(), "large\n", "nothing of the parts is left");
    // It dies while the file is read, too.
    let mut get = alice.start(&["get", "large", "back"]);
    let part = || {
        let mut entries = fs::read_dir(alice.work()).expect("a folder").map(|entry| entry.expect("an entry"));
        let begun = |entry: &fs::DirEntry| entry.metadata().is_ok_and(|facts| facts.len() > 0);
        entries.any(|entry| entry.file_name().to_string_lossy().starts_with(".part-") && begun(&entry))
    };
    while get.try_wait().expect("a child").is_none() && !part() {
        server.moment();
    }
    server.restart_in_place();
    wait(get).expect(0);
    assert!(alice.read("back") == bytes, "other bytes");
}

#[test]
fn a_tree_is_whole_though_the_server_died_twice() {
    let mut server = Server::open();
    let mut link = support::sign_on(&server, "alice");
    let alice = Person { url: server.url(), name: "alice".to_owned(), folder: support::TempDir::new() };
    for n in 0..900 {
        alice.write(&format!("tree/{n:04}"), &noise(n, usize::try_from(n % 40).unwrap() * 97));
    }
    let mut put = alice.start(&["put", "-r", "tree"]);
    for deaths in 1..=2 {
        let until = Instant::now() + PATIENCE;
        while count(&mut link, "/users/alice/tree") < deaths * 250 {
            assert!(put.try_wait().expect("a child").is_none() && Instant::now() < until, "it does not come so far");
        }
        server.restart_in_place();
        link = support::sign_on(&server, "alice");
    }
    wait(put).expect(0);
    alice.run(&["get", "-r", "tree", "back"]).expect(0);
    assert!(tree(&alice.work().join("tree")) == tree(&alice.work().join("back")), "the tree is another");
    // So is what goes: all of it.
    let mut rm = alice.start(&["rm", "-r", "tree"]);
    while count(&mut link, "/users/alice/tree") > 600 {
        assert!(rm.try_wait().expect("a child").is_none(), "it ended too soon");
    }
    server.restart_in_place();
    wait(rm).expect(0);
    assert_eq!(alice.run(&["ls", "-a"]).expect(0).text(), "");
}

#[test]
fn transfers_wait_for_data_management_and_data_servers_that_died() {
    let mut cluster = Cluster::builder()
        .management()
        .mains(&["main"])
        .node(Plan::new("dm", &["data-management"]).set("data_management.grace=1"))
        .node(Plan::new("stable", &["data"]))
        .start();
    let mut link = cluster.sign_on("alice", "main");
    let url = cluster.server("management").url();
    let alice = Person { url, name: "alice".to_owned(), folder: support::TempDir::new() };
    let bytes = noise(11, 30 << 20);
    alice.write("large", &bytes);
    cluster.until("storage is all there", || alice.run(&["ls"]).status == 0);
    for name in ["dm", "stable"] {
        let mut put = alice.start(&["put", "large"]);
        // Its part is there, with some pieces.
        let until = Instant::now() + PATIENCE;
        while size(&mut link, "/users/alice") < 3 << 20 {
            assert!(put.try_wait().expect("a child").is_none() && Instant::now() < until, "it does not come so far");
        }
        cluster.kill(name);
        assert!(put.try_wait().expect("a child").is_none(), "it had ended before {name} died");
        cluster.start(name);
        wait(put).expect(0);
        assert!(alice.run(&["get", "--stdout", "large"]).expect(0).out == bytes, "other bytes");
        assert_eq!(alice.run(&["ls", "-a"]).expect(0).text(), "large\n", "nothing of the parts is left");
        alice.run(&["rm", "large"]).expect(0);
    }
    cluster.stop();
}

#[test]
fn metadata_is_set_shown_to_others_and_removed() {
    let net = Net::real();
    let (alice, bob) = (net.person("alice"), net.person("bob"));
    alice.run(&["metadata", "set", "public-phone", "12 34"]).expect(0);
    let binary = b"\x00\xff\x1b[2J~\n";
    alice.run_with(&["metadata", "set", "secret"], binary).expect(0);
    assert_eq!(alice.run(&["metadata", "ls"]).expect(0).text(), "5 B  public-phone\n8 B  secret\n");
    assert_eq!(alice.run(&["metadata", "get", "secret"]).expect(0).out, binary);
    let shown = alice.run(&["metadata", "get", "secret", "--json"]).expect(0).json();
    assert_eq!(shown, [json!({ "user": alice.name, "key": "secret", "base64": "AP8bWzJKfgo=" })]);
    let shown = bob.run(&["metadata", "get", "public-phone", "--of", &alice.name, "--json"]).expect(0).json();
    assert_eq!(shown, [json!({ "user": alice.name, "key": "public-phone", "value": "12 34" })]);
    let shown = bob.run(&["metadata", "--json", "ls", "--of", &alice.name]).expect(0).json();
    assert_eq!(shown, [json!({ "user": alice.name, "key": "public-phone", "size": 5 })]);
    assert!(bob.run(&["metadata", "get", "secret", "--of", &alice.name]).expect(1).err.contains("DENIED"));
    alice.run(&["metadata", "set", "public-phone", ""]).expect(0);
    assert!(alice.run(&["metadata", "get", "public-phone"]).expect(1).err.contains("NOTFOUND"));
    assert!(alice.run(&["metadata", "set", "a|b", "x"]).expect(1).err.contains("BADARGS"));
    let much = alice.run_with(&["metadata", "set", "much"], &vec![b'x'; (256 << 10) + 1]).expect(1);
    assert!(much.err.contains("at most 256 KiB"), "{}", much.err);
    assert!(alice.run_with(&["metadata", "set", "much"], &vec![b'x'; 256 << 10]).expect(1).err.contains("QUOTA"));
    assert_eq!(alice.run(&["metadata"]).status, 2);
}

#[test]
fn a_put_goes_on_at_another_main_server_when_its_own_is_drained() {
    let cluster = Cluster::builder()
        .management()
        .mains(&["a", "b"])
        .node(Plan::new("dm", &["data-management"]))
        .node(Plan::new("stable", &["data"]))
        .start();
    let mut link = cluster.sign_on("alice", "a");
    let url = cluster.server("management").url();
    let alice = Person { url, name: "alice".to_owned(), folder: support::TempDir::new() };
    // It takes longer than draining does.
    let bytes = noise(13, 128 << 20);
    alice.write("large", &bytes);
    cluster.until("storage is all there", || alice.run(&["ls"]).status == 0);
    let mut put = alice.start(&["put", "large"]);
    let until = Instant::now() + PATIENCE;
    while size(&mut link, "/users/alice") < 3 << 20 {
        assert!(put.try_wait().expect("a child").is_none() && Instant::now() < until, "it does not come so far");
    }
    drop(link);
    let mut at = "";
    cluster.until("the put is the only client", || {
        let status = cluster.admin(&["status"]);
        let clients = |name: &str, count: u32| status.contains(&format!("{name} ({count} clients"));
        at = if clients("a", 1) { "a" } else { "b" };
        clients(at, 1) && clients(if at == "a" { "b" } else { "a" }, 0)
    });
    let drained = cluster.admin(&["drain", at, "--wait"]);
    assert!(drained.lines().last().is_some_and(|line| line.contains("has no clients")), "{drained}");
    assert!(put.try_wait().expect("a child").is_none(), "it had ended before {at} was empty");
    let drained = Instant::now();
    wait(put).expect(0);
    // The client waits 60 s for a server that it has left and that does not close.
    assert!(drained.elapsed().as_secs() < 40, "it stood still: {:?}", drained.elapsed());
    assert!(alice.run(&["get", "--stdout", "large"]).expect(0).out == bytes, "other bytes");
    assert_eq!(alice.run(&["ls", "-a"]).expect(0).text(), "large\n", "nothing of the parts is left");
    cluster.stop();
}

/// The bytes of all files in a folder; 0 when it cannot be told.
fn size(link: &mut support::Raw, path: &str) -> usize {
    match link.ask("LISTFOLDER", &[path]) {
        Answer::Ok(lines) => {
            let lines = String::from_utf8(lines).expect("UTF-8");
            lines.lines().filter_map(|line| line.split('|').nth(2)?.parse::<usize>().ok()).sum()
        }
        Answer::Fail(..) => 0,
    }
}

/// How many entries a folder has; 0 when it cannot be told.
fn count(link: &mut support::Raw, path: &str) -> usize {
    match link.ask("LISTFOLDER", &[path]) {
        Answer::Ok(lines) => lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count(),
        Answer::Fail(..) => 0,
    }
}
