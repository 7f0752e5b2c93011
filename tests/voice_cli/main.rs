//! Voice from the terminal: the real executable, with Opus files that the usual tools made, against a server in memory (`fake.rs`)
//! and against a real one.

mod calls;
mod commands;
mod fake;
mod real;
mod sound;
#[path = "../support/mod.rs"]
mod support;

use std::io::BufRead;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::kill_process;
use rustix::process::Pid;
use rustix::process::Signal;
use serde_json::Value;
use support::sign_on::PASSWORD;
use support::TempDir;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A user with a folder on this machine.
pub struct Person {
    url: String,
    name: String,
    folder: TempDir,
}

/// What a command left.
#[derive(Debug)]
pub struct Done {
    status: i32,
    out: String,
    err: String,
}

impl Done {
    #[track_caller]
    fn expect(self, status: i32) -> Done {
        assert_eq!(self.status, status, "{self:?}");
        assert!(!self.err.contains("panicked"), "{self:?}");
        self
    }

    fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

impl Person {
    pub fn new(url: &str, name: &str) -> Person {
        Person { url: url.to_owned(), name: name.to_owned(), folder: TempDir::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_convergia"));
        command.env_clear().env("HOME", self.folder.path()).env("CONVERGIA_PASSWORD", PASSWORD);
        command.env("CONVERGIA_CLIENT_STATE", self.path("client.json")).current_dir(self.folder.path());
        command.args(args).args(["--server", &self.url, "--user", &self.name]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// `convergia voice` with that, to its end.
    pub fn voice(&self, args: &[&str]) -> Done {
        done(self.command(&[&["voice"], args].concat()).spawn().expect("the executable starts"))
    }

    /// `convergia voice join --json`; it is in the channel.
    pub fn join(&self, channel: &str, args: &[&str]) -> Call {
        let all = [&["voice", "join", channel, "--json"], args].concat();
        let mut child = self.command(&all).spawn().expect("the executable starts");
        let (send, lines) = mpsc::channel();
        let out = child.stdout.take().expect("a pipe");
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let call = Call { child, lines };
        call.event("joined");
        call
    }
}

fn done(child: Child) -> Done {
    let output = child.wait_with_output().expect("the command ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Done { status: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// Somebody in a channel.
pub struct Call {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Call {
    /// The next event of that kind.
    #[track_caller]
    pub fn event(&self, kind: &str) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {kind:?}"));
            let event: Value = serde_json::from_str(&line).expect("a line of JSON");
            if event["event"] == kind {
                return event;
            }
        }
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, Signal::INT).expect("the child takes the signal");
    }

    /// Waits for its end: the exit status, and standard error.
    pub fn end(self) -> Done {
        done(self.child)
    }
}
