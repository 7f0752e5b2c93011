//! examples/client.py was written from docs/protocol.md alone: two of it register, sign on and talk.

mod support;

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use support::Server;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/client.py");

/// Whether there is a Python to run it. Building and testing needs only Rust and a C compiler, so these tests do nothing
/// without one; CI has it, and fails if it has not.
fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    assert!(found || std::env::var_os("CI").is_none(), "CI must have python3");
    if !found {
        println!("no python3: examples/client.py is not tested");
    }
    found
}

struct Python {
    child: Child,
    input: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Python {
    fn start(url: &str, user: &str) -> Python {
        let mut child = Command::new("python3")
            .args([SCRIPT, url, user, "--register"])
            .env("CONVERGIA_PASSWORD", "a password that is long")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (told, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = told.send(line);
            }
        });
        Python { input: child.stdin.take(), child, lines }
    }

    #[track_caller]
    fn expect(&self, wanted: &str) {
        let line = self.lines.recv_timeout(Duration::from_secs(60)).expect("a line of the client's output");
        assert_eq!(line, wanted);
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().expect("its input"), "{line}").expect("the client reads");
    }

    /// Ends its input; it signs off and exits with status 0.
    #[track_caller]
    fn finish(mut self) {
        drop(self.input.take());
        // Its output ends when it does.
        let end = self.lines.recv_timeout(Duration::from_secs(60));
        assert_eq!(end, Err(mpsc::RecvTimeoutError::Disconnected));
        assert!(self.child.wait().expect("its status").success());
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn two_python_clients_talk() {
    if !has_python() {
        return;
    }
    let server = Server::open();
    let mut alice = Python::start(&server.url(), "alice");
    alice.expect("signed on as alice");
    alice.say("bob are you there?");
    let refused = alice.lines.recv_timeout(Duration::from_secs(60)).expect("an answer");
    assert!(refused.starts_with("not sent: SENDMESSAGE: "), "{refused}");
    let mut bob = Python::start(&server.url(), "bob");
    bob.expect("signed on as bob");
    alice.say("bob hello, Bob ~ grüß dich");
    bob.expect("alice hello, Bob ~ grüß dich");
    bob.say("alice and hello to you");
    alice.expect("bob and hello to you");
    alice.finish();
    bob.finish();
}

#[test]
fn another_certificate_is_refused() {
    if !has_python() {
        return;
    }
    let server = Server::open();
    let url = server.url();
    let (address, _) = url.split_once('#').expect("a pinned address");
    let output = Command::new("python3")
        .args([SCRIPT, &format!("{address}#{}", "0".repeat(64)), "alice", "--register"])
        .env("CONVERGIA_PASSWORD", "a password that is long")
        .stdin(Stdio::null())
        .output()
        .expect("python3 is there");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("another certificate"));
}

#[test]
fn the_script_has_at_most_100_lines() {
    let text = std::fs::read_to_string(SCRIPT).expect("the script");
    assert!(text.lines().count() <= 100, "{}", text.lines().count());
}
