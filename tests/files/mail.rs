//! Offline messages and workspaces.

use convergia::client::store::PIECE;
use convergia::wire::Code;
use serde_json::json;
use serde_json::Value;

use super::fake::Fault;
use super::lines_of;
use super::noise;
use super::Fake;
use super::Net;
use super::Person;
use super::PATIENCE;

super::on_both!(messages_wait_until_they_are_removed, chat_tells_of_mail_that_waits, a_team_and_its_conversation);

fn messages_wait_until_they_are_removed(net: &Net) {
    let (alice, bob, carol) = (net.person("alice"), net.person("bob"), net.person("carol"));
    for person in [&bob, &carol] {
        assert_eq!(person.run(&["mail", "ls"]).expect(0).text(), "");
    }
    alice.run_with(&["mail", "send", &bob.name, &carol.name, "--subject", "The plan"], b"hello\nthere\n").expect(0);
    let large = noise(3, 3 * PIECE + 5);
    alice.write("large", &large);
    let sent = alice.run(&["mail", "send", &bob.name, "--file", "large", "--json"]).expect(0).json();
    let id = sent[0]["id"].as_str().expect("an id").to_owned();
    let list = bob.run(&["mail", "--json", "ls"]).expect(0).json();
    assert_eq!(list.len(), 2);
    assert_eq!((&list[0]["sender"], &list[0]["subject"]), (&json!(alice.name), &json!("The plan")));
    assert_eq!(
        (&list[1]["id"], &list[1]["size"], &list[1]["subject"]),
        (&json!(id), &json!(large.len()), &Value::Null)
    );
    assert!(bob.run(&["mail", "read", &id[..12]]).expect(0).out == large);
    let first = list[0]["id"].as_str().expect("an id");
    assert_eq!(bob.run(&["mail", "read", first]).expect(0).text(), "Subject: The plan\n\nhello\nthere\n");
    let read = carol.run(&["mail", "read", first, "--json"]).expect(0).json();
    assert_eq!((&read[0]["subject"], &read[0]["body"]), (&json!("The plan"), &json!("hello\nthere\n")));
    let table = bob.run(&["mail", "ls"]).expect(0).text();
    assert!(
        table.lines().next().is_some_and(|line| line.ends_with("The plan") && line.contains(&alice.name)),
        "{table}"
    );
    bob.run(&["mail", "rm", first, &id]).expect(0);
    assert_eq!(bob.run(&["mail", "ls"]).expect(0).text(), "");
    assert_eq!(carol.run(&["mail", "ls", "--json"]).expect(0).json().len(), 1, "hers is still there");
    assert!(bob.run(&["mail", "read", first]).expect(1).err.contains("mail ls"));
    assert!(alice.run(&["mail", "send", "nobody", "--file", "large"]).expect(1).err.contains("NOTFOUND"));
    assert!(alice.run(&["mail", "send", &bob.name, "--file", "missing"]).expect(1).err.contains("missing"));
}

#[test]
fn a_message_that_is_cut_is_not_sent_in_pieces() {
    let fake = Fake::start();
    let (alice, bob) = (Person::at(&fake, "alice"), Person::at(&fake, "bob"));
    alice.write("large", &noise(4, 4 * PIECE));
    for (command, nth, fault) in [
        ("APPENDOFFLINEMESSAGE", 2, Fault::Cut { done: true }),
        ("APPENDOFFLINEMESSAGE", 3, Fault::Refuse(Code::Unavailable)),
        ("SENDOFFLINEMESSAGE", 1, Fault::Cut { done: false }),
    ] {
        fake.fault(command, nth, fault);
        let done = alice.run(&["mail", "send", "bob", "--file", "large"]).expect(1);
        assert!(done.err.contains("UNAVAILABLE"), "{}", done.err);
        assert_eq!(bob.run(&["mail", "ls"]).expect(0).text(), "", "{command}");
    }
    fake.look().quota = Some(PIECE as u64);
    let done = alice.run(&["mail", "send", "bob", "--file", "large"]).expect(1);
    assert!(done.err.contains("QUOTA"), "{}", done.err);
}

fn chat_tells_of_mail_that_waits(net: &Net) {
    let (alice, bob) = (net.person("alice"), net.person("bob"));
    bob.run(&["ls"]).expect(0);
    for text in ["one", "two"] {
        alice.run_with(&["mail", "send", &bob.name], text.as_bytes()).expect(0);
    }
    let mut child = bob
        .command(&bob.with_place(&["chat", "--json"]))
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines = lines_of(&mut child);
    let mut count = 0;
    while count < 2 {
        let line = lines.recv_timeout(PATIENCE).expect("a line in time");
        let event: Value = serde_json::from_str(&line).expect("a line of JSON");
        if event["event"] == "mail" {
            count += event["messages"].as_array().expect("messages").len();
        }
    }
    drop(child.stdin.take());
    assert!(child.wait().expect("it ends").success());
    assert_eq!(count, 2);
}

fn a_team_and_its_conversation(net: &Net) {
    let (alice, bob) = (net.person("alice"), net.person("bob"));
    bob.run(&["ls"]).expect(0);
    let team = format!("team of {}", alice.name);
    let team = team.as_str();
    alice.run(&["workspace", "create", team]).expect(0);
    assert!(alice.run(&["workspace", "create", team]).expect(1).err.contains("EXISTS"));
    bob.run(&["workspace", "post", team, "hi"]).expect(1);
    alice.run(&["workspace", "add", team, &bob.name]).expect(0);
    let list = bob.run(&["workspace", "ls", "--json"]).expect(0).json();
    assert_eq!((&list[0]["workspace"], &list[0]["participants"]), (&json!(team), &json!(2)));
    let list = bob.run(&["workspace", "ls", "-l", "--json"]).expect(0).json();
    assert_eq!(list[0]["names"], json!([alice.name, bob.name]));
    assert_eq!(bob.run(&["workspace", "ls"]).expect(0).text(), format!("{team}  2 take part\n"));
    let posted = alice.run(&["workspace", "post", team, "hello", "all", "--json"]).expect(0).json();
    assert_eq!(posted[0]["ok"], true);
    bob.run_with(&["workspace", "post", team], b"a|b\nsecond line\n").expect(0);
    alice.run_with(&["workspace", "post", team], b"\xff\x00").expect(0);
    let read = |person: &Person, more: &[&str]| {
        let lines = person.run(&[&["workspace", "read", team, "--json"], more].concat()).expect(0).json();
        lines.into_iter().map(|line| line.get("body").unwrap_or(&line["body_base64"]).clone()).collect::<Vec<_>>()
    };
    assert_eq!(read(&bob, &[]), [json!("hello all"), json!("a|b\nsecond line"), json!("/wA=")]);
    assert_eq!(read(&bob, &["--count", "2", "--ack"]).len(), 2);
    assert_eq!(read(&bob, &[]), [json!("/wA=")]);
    let table = bob.run(&["workspace", "ls"]).expect(0).text();
    assert!(table.contains("1 new"), "{table}");

    let mut follow = bob.start(&["workspace", "follow", team, "--json"]);
    let lines = lines_of(&mut follow);
    let next = || {
        let line = lines.recv_timeout(PATIENCE).expect("a line in time");
        serde_json::from_str::<Value>(&line).expect("a line of JSON")
    };
    assert_eq!(next()["body_base64"], "/wA=");
    for text in ["one", "two"] {
        alice.run(&["workspace", "post", team, text]).expect(0);
        assert_eq!(next()["body"], text);
    }
    follow.kill().and_then(|()| follow.wait()).expect("it ends");

    alice.run(&["workspace", "remove", team, &bob.name]).expect(0);
    assert!(alice.run(&["workspace", "remove", team, &bob.name]).expect(1).err.contains("takes no part"));
    bob.run(&["workspace", "read", team]).expect(1);
    alice.run(&["workspace", "rm", team]).expect(0);
    assert_eq!(alice.run(&["workspace", "ls"]).expect(0).text(), "");
}
