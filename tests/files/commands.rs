//! ls, mkdir, mv, rm, share, and how they end.

use serde_json::json;

use super::Net;

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
