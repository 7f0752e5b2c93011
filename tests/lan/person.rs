//! People at terminals, each in a site, with a home of their own.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::command::executable;
use crate::support::command::finish;
use crate::support::command::Done;
use crate::support::Server;
use crate::support::Sites;
use crate::support::TempDir;

/// How long a line may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const PASSWORD: &str = "correct horse battery";

/// A person.
pub struct Person<'a> {
    sites: &'a Sites,
    site: String,
    name: String,
    home: TempDir,
}

impl Done {
    /// The lines of standard output.
    pub fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// Panics unless that is the exit status.
    #[track_caller]
    pub fn expect(self, status: i32) -> Done {
        assert_eq!(self.status, status, "{self:?}");
        assert!(!self.err.contains("panicked"), "{self:?}");
        self
    }
}

impl<'a> Person<'a> {
    /// Somebody of that name in that site.
    pub fn new(sites: &'a Sites, site: &str, name: &str) -> Person<'a> {
        Person { sites, site: site.to_owned(), name: name.to_owned(), home: TempDir::new() }
    }

    /// A file in the person's home.
    pub fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(executable());
        command.args(arguments).env_clear().env("HOME", self.home.path());
        command.env("CONVERGIA_CLIENT_STATE", self.file("client.json"));
        command.stdin(Stdio::null());
        command
    }

    /// Makes the account; the server and the name are remembered.
    pub fn register(&self, server: &Server) {
        let mut command = self.command(&["register", &self.name, "--server", &server.url()]);
        command.env("CONVERGIA_PASSWORD", PASSWORD);
        self.sites.within(&self.site, || finish(command)).expect(0);
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Done {
        let command = self.command(arguments);
        self.sites.within(&self.site, || finish(command))
    }

    /// Begins a conversation, with JSON.
    pub fn chat(&self, arguments: &[&str]) -> Chat {
        let mut command = self.command(&[&["chat", "--json"], arguments].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = self.sites.within(&self.site, || command.spawn().expect("the executable starts"));
        let (send, lines) = mpsc::channel();
        let out = child.stdout.take().expect("a pipe");
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        Chat { stdin: child.stdin.take(), child, lines }
    }
}

/// A conversation under way; ended when dropped, as by Ctrl-D.
pub struct Chat {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Chat {
    /// The next event of that kind.
    #[track_caller]
    pub fn event(&self, kind: &str) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no event {kind}"));
            let event: Value = serde_json::from_str(&line).expect("a line of JSON");
            if event["event"] == kind {
                return event;
            }
        }
    }

    /// Types a line.
    pub fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("not ended yet");
        stdin.write_all(line.as_bytes()).and_then(|()| stdin.write_all(b"\n")).expect("the conversation reads");
    }

    /// Ends standard input, and waits for the exit status.
    pub fn end(mut self) -> i32 {
        drop(self.stdin.take());
        self.child.wait().expect("it ends").code().unwrap_or(-1)
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.child.kill();
        }
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}
