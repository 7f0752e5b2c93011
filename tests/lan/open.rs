//! Links of web pages: `convergia open`.

use std::io::Write;
use std::process::Command;
use std::process::Stdio;

use serde_json::json;

use crate::support::command::executable;
use crate::support::command::finish;
use crate::support::command::Done;
use crate::support::sign_on;
use crate::support::Server;
use crate::support::TempDir;

fn command(home: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(executable());
    command.args(arguments).env_clear().env("HOME", home.path());
    command.env("CONVERGIA_CLIENT_STATE", home.path().join("client.json"));
    command.stdin(Stdio::null());
    command
}

fn open(home: &TempDir, arguments: &[&str]) -> Done {
    finish(command(home, &[&["open"], arguments].concat()))
}

#[test]
fn a_link_says_who_and_what() {
    let home = TempDir::new();
    let done = open(&home, &["--show", "--json", "opengroovemessage://trivergia.com:64731/javawizard?subject=Hi+Alex"]);
    assert_eq!(done.json(), [json!({ "recipient": "trivergia.com:64731::javawizard", "subject": "Hi Alex" })]);
    let evil = "opengroovemessage://h/bob?subject=a%1b%5d0%3bx%07%0d%0ato%3a%20eve%c2%9b31m%e2%80%aeb";
    let done = open(&home, &["--show", evil]).expect(0);
    assert!(done.err.contains("To:      h:63745::bob\nSubject: a ]0;x   to: eve 31m b\n"), "{done:?}");
    let all = [done.out, done.err].concat();
    assert!(!all.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'), "{all:?}");
    for bad in
        ["opengroovemessage://h/..%2f..%2fetc", "opengroovemessage://h/a%0ab", "file:///etc/passwd", "x\x1b[2J\u{202e}"]
    {
        let done = open(&home, &["--show", bad]).expect(2);
        assert!(!done.err.trim_end().contains(|c: char| c.is_control() || c == '\u{202e}'), "{done:?}");
    }
}

#[test]
fn what_a_person_writes_goes_there_behind_the_subject() {
    let server = Server::open();
    let home = TempDir::new();
    let url = server.url();
    let mut bob = sign_on(&server, "bob");
    let mut register = command(&home, &["register", "alice", "--server", &url]);
    register.env("CONVERGIA_PASSWORD", "correct horse battery");
    finish(register).expect(0);
    let place = url.trim_start_matches("convergia://").split('#').next().expect("host:port");
    let link = format!("opengroovemessage://{place}/bob?subject=Lunch%3F");
    // A link alone sends nothing.
    let done = open(&home, &[&link]).expect(2);
    assert!(done.err.contains("nothing to send"), "{done:?}");
    let mut child = command(&home, &["open", &link]).stdin(Stdio::piped()).spawn().expect("the executable starts");
    child.stdin.take().expect("a pipe").write_all(b"At noon.\n").expect("it reads");
    assert!(child.wait().expect("it ends").success());
    let [sender, _, body] = bob.receive_command("RECEIVEMESSAGE").fields();
    assert_eq!((sender, body), (b"alice".to_vec(), b"Lunch?\n\nAt noon.".to_vec()));
}
