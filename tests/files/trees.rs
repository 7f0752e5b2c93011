//! Trees that go up and come down.

use std::fs;

use serde_json::json;

use super::noise;
use super::tree;
use super::Fake;
use super::Net;
use super::Person;

super::on_both!(a_tree_is_the_same_there_and_back, a_file_is_replaced_whole, the_lines_for_programs);

/// What one WRITEFILE carries.
const PIECE: usize = convergia::client::store::PIECE;

fn a_tree_is_the_same_there_and_back(net: &Net) {
    let alice = net.person("alice");
    let sizes = [0, 1, 4_096, PIECE - 1, PIECE, PIECE + 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 * PIECE + 17];
    for (n, size) in sizes.into_iter().enumerate() {
        alice.write(&format!("tree/sizes/{size}"), &noise(n as u64, size));
    }
    let odd = [
        "a b  c",
        " lead",
        "ünï 名前",
        "-dash",
        "...",
        "~",
        "quote'\"",
        "a\\b",
        &"x".repeat(64),
        ".hidden",
        "%2F",
        "*?",
    ];
    for name in odd {
        alice.write(&format!("tree/odd/{name}/{name}"), name.as_bytes());
    }
    alice.write("tree/escapes", b"~\n\r~~\r\n\n~");
    fs::create_dir_all(alice.work().join("tree/empty/deeper")).expect("a folder");
    let before = tree(&alice.work().join("tree"));
    alice.run(&["put", "-r", "tree"]).expect(0);
    alice.run(&["get", "-r", "tree", "back"]).expect(0);
    assert!(tree(&alice.work().join("back")) == before, "the tree is another");
    // Into a folder that is there.
    fs::create_dir(alice.work().join("into")).expect("a folder");
    alice.run(&["get", "-r", "tree/odd", "tree/escapes", "into"]).expect(0);
    assert_eq!(alice.read("into/escapes"), b"~\n\r~~\r\n\n~");
    assert!(alice.work().join("into/odd/ünï 名前/ünï 名前").exists());
    // What is there is not sent again.
    let again = alice.run(&["put", "-r", "tree", "--json"]).expect(0).json();
    assert_eq!(again.len(), before.iter().filter(|(_, bytes)| bytes.is_some()).count());
    assert!(again.iter().all(|line| line["ok"] == true && line["unchanged"] == true), "{again:?}");
    // The second time under a folder that is there: within it.
    alice.run(&["put", "-r", "tree", "tree"]).expect(0);
    assert_eq!(alice.run(&["ls", "tree/tree"]).expect(0).text(), "empty/\nescapes\nodd/\nsizes/\n");
    alice.run(&["rm", "-r", "tree"]).expect(0);
    alice.run(&["ls", "tree"]).expect(1);
}

fn a_file_is_replaced_whole(net: &Net) {
    let alice = net.person("alice");
    for (n, size) in [3 * PIECE, 10, PIECE + 5, 0, 7].into_iter().enumerate() {
        let bytes = noise(n as u64 + 50, size);
        alice.write("x", &bytes);
        alice.run(&["put", "x"]).expect(0);
        alice.run(&["get", "x", "y"]).expect(0);
        assert!(alice.read("y") == bytes, "{size}");
        assert!(alice.run(&["get", "--stdout", "x"]).expect(0).out == bytes, "{size}");
    }
    assert_eq!(alice.run(&["ls", "-a"]).expect(0).text(), "x\n", "nothing of the parts is left");
    let left = tree(&alice.work());
    assert_eq!(left.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["x", "y"]);
}

#[test]
fn many_small_files_are_under_way_at_once() {
    let fake = Fake::start();
    let alice = Person::at(&fake, "alice");
    for n in 0..1_500 {
        alice.write(&format!("many/{}/{n}", n % 7), format!("file {n}").as_bytes());
    }
    fake.look().delay = 300;
    alice.run(&["put", "-r", "many"]).expect(0);
    assert!(fake.look().peak >= 64, "{} at once", fake.look().peak);
    fake.look().peak = 0;
    alice.run(&["get", "-r", "many", "back"]).expect(0);
    assert!(fake.look().peak >= 64, "{} at once", fake.look().peak);
    assert!(tree(&alice.work().join("many")) == tree(&alice.work().join("back")));
    fake.look().peak = 0;
    alice.run(&["rm", "-r", "many"]).expect(0);
    assert!(fake.look().peak >= 64, "{} at once", fake.look().peak);
    assert!(fake.look().nodes.keys().all(|path| !path.contains("many")));
}

#[test]
fn what_is_under_way_is_bounded() {
    let fake = Fake::start();
    let alice = Person::at(&fake, "alice");
    let bytes = noise(1, 40 << 20);
    alice.write("large", &bytes);
    fake.look().delay = 1_000;
    alice.run(&["put", "large"]).expect(0);
    assert!(fake.look().peak <= 9, "{} MiB at once", fake.look().peak);
    assert!(fake.look().peak >= 4, "{} MiB at once", fake.look().peak);
    fake.look().peak = 0;
    alice.run(&["get", "large", "back"]).expect(0);
    assert!(fake.look().peak <= 9, "{} MiB at once", fake.look().peak);
    assert!(alice.read("back") == bytes);
}

fn the_lines_for_programs(net: &Net) {
    let alice = net.person("alice");
    alice.write("a", b"12345");
    let home = format!("/users/{}", alice.name);
    let put = alice.run(&["put", "a", "--json"]).expect(0).json();
    assert_eq!(put, [json!({ "path": format!("{home}/a"), "ok": true, "size": 5, "unchanged": false })]);
    let get = alice.run(&["get", "a", "b", "--json"]).expect(0).json();
    let line = json!({ "path": format!("{home}/a"), "local": "b", "ok": true, "size": 5, "unchanged": false });
    assert_eq!(get, [line]);
    alice.run(&["mkdir", "d"]).expect(0);
    let ls = alice.run(&["ls", "--json"]).expect(0).json();
    let modified = [0, 1].map(|n: usize| ls[n]["modified"].as_u64().expect("a time"));
    let file = json!({ "path": format!("{home}/a"), "name": "a", "type": "file", "size": 5, "modified": modified[0] });
    let folder = json!({ "path": format!("{home}/d"), "name": "d", "type": "folder", "modified": modified[1] });
    assert_eq!(ls, [file, folder]);
    let missing = alice.run(&["rm", "nothing", "--json"]).expect(1);
    assert_eq!((&missing.json()[0]["ok"], &missing.json()[0]["code"]), (&json!(false), &json!("NOTFOUND")));
    let moved = alice.run(&["mv", "a", "d", "--json"]).expect(0).json();
    assert_eq!(moved, [json!({ "path": format!("{home}/a"), "to": format!("{home}/d/a"), "ok": true })]);
}
