//! ls, mkdir, mv, rm, share, and how they end.

use convergia::client::store::PIECE;
use serde_json::json;

use super::fake::Fake;
use super::noise;
use super::Net;
use super::Person;

super::on_both!(folders_and_names, wrong_usage, rights);

fn folders_and_names(net: &Net) {
    let alice = net.person("alice");
    assert_eq!(alice.run(&["ls"]).expect(0).text(), "");
    assert!(alice.run(&["mkdir", "a/b/c"]).expect(1).err.contains("NOTFOUND"));
    alice.run(&["mkdir", "-p", "a/b/c", "a/b"]).expect(0);
    assert!(alice.run(&["mkdir", "a"]).expect(1).err.contains("EXISTS"));
    alice.write("x", b"x");
    alice.write("y", b"yy");
    alice.run(&["put", "x", "y", "a/"]).expect(0);
    let listing = alice.run(&["ls", "-R", "a"]).expect(0).text();
    let home = format!("/users/{}", alice.name);
    assert_eq!(listing, format!("{home}/a:\nb/\nx\ny\n\n{home}/a/b:\nc/\n\n{home}/a/b/c:\n"));
    assert_eq!(alice.run(&["ls", "a/x", &format!("{home}/a/y")]).expect(0).text(), "x\n\ny\n");
    let long = alice.run(&["ls", "-l", "a"]).expect(0).text();
    assert!(long.lines().any(|line| line.starts_with("2 B  20") && line.ends_with("  y")), "{long}");
    alice.run(&["mv", "a/x", "a/b"]).expect(0);
    alice.run(&["mv", "a/y", "a/z"]).expect(0);
    assert_eq!(alice.run(&["ls", "a", "a/b"]).expect(0).text(), format!("{home}/a:\nb/\nz\n\n{home}/a/b:\nc/\nx\n"));
    assert!(alice.run(&["mv", "a/z", "a/b/x"]).expect(1).err.contains("EXISTS"));
    alice.run(&["mv", "-f", "a/z", "a/b/x"]).expect(0);
    assert_eq!(alice.run(&["get", "--stdout", "a/b/x"]).expect(0).out, b"yy");
    assert!(alice.run(&["rm", "a"]).expect(1).err.contains("-r removes it"));
    assert!(alice.run(&["rm", "nothing"]).expect(1).err.contains("NOTFOUND"));
    alice.run(&["rm", "-f", "nothing"]).expect(0);
    assert_eq!(
        alice.run(&["rm", "-r", "a", "--json"]).expect(0).json(),
        [json!({ "path": format!("{home}/a"), "ok": true })]
    );
    assert_eq!(alice.run(&["ls", "-a"]).expect(0).text(), "");
}

fn wrong_usage(net: &Net) {
    let alice = net.person("alice");
    alice.write("folder/x", b"x");
    alice.run(&["mkdir", "remote"]).expect(0);
    for wrong in [
        &["put"][..],
        &["put", "folder"],
        &["get"],
        &["get", "remote"],
        &["rm"],
        &["mkdir"],
        &["mv", "x"],
        &["share", "remote", "bob"],
        &["share", "remote", "bob", "rwx"],
        &["mail", "send"],
        &["mail", "rm"],
        &["workspace", "add", "team"],
        &["ls", "--nonsense"],
    ] {
        let done = alice.run(wrong).expect(2);
        assert!(!done.err.is_empty(), "{wrong:?}");
    }
    for refused in [&["put", "nothing"][..], &["get", "nothing"], &["put", "folder/x", "no/such"], &["get", "x", "no/"]]
    {
        let done = alice.run(refused).expect(1);
        assert!(!done.err.is_empty(), "{refused:?}");
    }
}

fn rights(net: &Net) {
    let (alice, bob) = (net.person("alice"), net.person("bob"));
    alice.run(&["mkdir", "-p", "a/b"]).expect(0);
    bob.run(&["ls"]).expect(0);
    let rights = |path: &str| {
        let lines = alice.run(&["share", path, "--json"]).expect(0).json();
        let mut rights: Vec<_> = lines
            .into_iter()
            .filter(|line| line["subject"] != alice.name)
            .map(|line| {
                format!("{} {}", line["subject"].as_str().expect("a user"), line["rights"].as_str().expect("rights"))
            })
            .collect();
        rights.sort();
        rights
    };
    assert_eq!(rights("a"), Vec::<String>::new());
    alice.run(&["share", "a", &bob.name, "wr"]).expect(0);
    alice.run(&["share", "a", "*", "r"]).expect(0);
    assert_eq!(rights("a"), ["* r".to_owned(), format!("{} rw", bob.name)]);
    assert_eq!(rights("a/b"), rights("a"), "a folder's rights hold for what is in it");
    alice.run(&["share", "a/b", &bob.name, "none"]).expect(0);
    assert_eq!(rights("a/b"), ["* r"]);
    alice.run(&["share", "a/b", "*", "none"]).expect(0);
    assert_eq!(rights("a/b"), Vec::<String>::new(), "not those of the folder above");
    alice.run(&["share", "a", &bob.name, "none"]).expect(0);
    assert_eq!(rights("a"), ["* r"]);
    assert!(alice.run(&["share", "nothing"]).expect(1).err.contains("NOTFOUND"));
}

/// `script` (Debian: bsdutils) gives a command a terminal of its own; what is shown there is its output.
#[test]
fn how_far_a_transfer_is_stands_on_a_terminal_and_nowhere_else() {
    let fake = Fake::start();
    let alice = Person::at(&fake, "alice");
    alice.write("large", &noise(90, 24 * PIECE));
    // Each answer takes its time: some seconds in all, with 8 MiB under way at once.
    fake.look().delay = 400;
    let program = env!("CARGO_BIN_EXE_convergia");
    let on_terminal = |line: &str| {
        let mut command = std::process::Command::new("script");
        alice.set(&mut command);
        let place = format!("{program} {line} --server '{}' --user alice", alice.url);
        command.env("TERM", "xterm").env("SHELL", "/bin/sh").args(["-qec", &place, "/dev/null"]);
        crate::wait(command.spawn().expect("script")).expect(0).text()
    };
    for (line, verb) in [("put large", "sent"), ("get large back", "received")] {
        let shown = on_terminal(line);
        let lines: Vec<&str> = shown.split(['\r', '\n']).filter(|line| line.contains(" left")).collect();
        assert!(lines.len() > 1, "{shown:?}");
        let mut before = 0;
        for line in &lines {
            // ` 42%  10.0 MiB of 24.0 MiB  8.0 MiB/s  0:02 left`
            let (percent, rest) = line.split_once("%  ").unwrap_or_else(|| panic!("no percent: {line:?}"));
            let percent: u32 = percent.trim().parse().unwrap_or_else(|_| panic!("no number: {line:?}"));
            assert!((before..=100).contains(&percent), "{line:?} after {before}%");
            before = percent;
            assert!(rest.contains(" of 24.0 MiB  ") && rest.contains("/s  "), "{line:?}");
            let left = rest.split("/s  ").nth(1).and_then(|left| left.strip_suffix(" left\x1b[K"));
            let left = left.unwrap_or_else(|| panic!("no time left: {line:?}"));
            assert!(left == "-:--" || left.split(':').all(|part| part.parse::<u32>().is_ok()), "{line:?}");
        }
        assert!(lines.iter().any(|line| !line.contains("-:--") && !line.contains(" 0 B/s")), "{lines:?}");
        assert!(before > 30, "{lines:?}");
        let last = shown.trim_end().rsplit(['\r', '\n']).next().unwrap_or_default();
        assert!(last.contains(&format!("{verb} 1 file, 24.0 MiB in ")), "{last:?}");
    }
    // Without a terminal, or on one that cannot go back in a line.
    alice.run(&["rm", "large"]).expect(0);
    let done = alice.run(&["put", "large"]).expect(0);
    assert_eq!((done.text().as_str(), done.err.as_str()), ("", ""));
    let done = alice.run(&["get", "large", "again"]).expect(0);
    assert_eq!((done.text().as_str(), done.err.as_str()), ("", ""));
}
