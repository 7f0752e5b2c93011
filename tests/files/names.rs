//! Names that the storage does not take, and those that are one in Unicode form NFC.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use super::Net;

super::on_both!(
    what_cannot_be_a_name_is_refused_in_words_and_the_rest_is_sent,
    two_forms_of_one_name,
    links_and_special_files_are_left_out
);

fn what_cannot_be_a_name_is_refused_in_words_and_the_rest_is_sent(net: &Net) {
    let alice = net.person("alice");
    for name in ["good", &"x".repeat(65), "a:b", "a|b", "line\nfeed"] {
        alice.write(&format!("tree/{name}"), b"x");
    }
    fs::write(alice.work().join("tree").join(OsStr::from_bytes(b"\xff\xfe")), b"x").expect("a file");
    let done = alice.run(&["put", "-r", "tree"]).expect(1);
    assert_eq!(done.err.matches("not sent").count(), 5, "{}", done.err);
    assert!(done.err.contains("1 to 64 bytes") && done.err.contains("not UTF-8"), "{}", done.err);
    assert_eq!(alice.run(&["ls", "tree"]).expect(0).text(), "good\n");
    for bad in [&["ls", "../x"][..], &["mkdir", "a:b"], &["rm", "a|b"], &["get", &"x".repeat(65)], &["mv", "a", "b\n"]]
    {
        let done = alice.run(bad).expect(2);
        assert!(done.err.contains("a name"), "{bad:?}: {}", done.err);
    }
}

fn two_forms_of_one_name(net: &Net) {
    let alice = net.person("alice");
    let (composed, apart) = ("\u{e9}t\u{e9}", "e\u{301}te\u{301}");
    alice.write(&format!("one/{apart}"), b"apart");
    alice.run(&["put", "-r", "one"]).expect(0);
    assert_eq!(alice.run(&["ls", "one"]).expect(0).text(), format!("{composed}\n"));
    // Any form reads it.
    assert_eq!(alice.run(&["get", "--stdout", &format!("one/{apart}")]).expect(0).out, b"apart");
    alice.write(&format!("two/{apart}"), b"apart");
    alice.write(&format!("two/{composed}"), b"composed");
    alice.write("two/e\u{301}t\u{e9}", b"half");
    let done = alice.run(&["put", "-r", "two"]).expect(1);
    assert!(done.err.contains("same name in Unicode form NFC"), "{}", done.err);
    assert_eq!(alice.run(&["get", "--stdout", &format!("two/{composed}")]).expect(0).out, b"composed");
}

fn links_and_special_files_are_left_out(net: &Net) {
    let alice = net.person("alice");
    alice.write("tree/file", b"x");
    std::os::unix::fs::symlink("..", alice.work().join("tree/loop")).expect("a link");
    std::os::unix::net::UnixListener::bind(alice.work().join("tree/socket")).expect("a socket");
    let done = alice.run(&["put", "-r", "tree"]).expect(0);
    assert_eq!(done.err.matches("left out").count(), 2, "{}", done.err);
    assert_eq!(alice.run(&["ls", "tree"]).expect(0).text(), "file\n");
}
