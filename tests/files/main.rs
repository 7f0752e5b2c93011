//! The terminal's commands on files, mail and workspaces: the real executable against a server in memory (`fake.rs`), which
//! can cut, delay and refuse; and, where none of that is needed (`on_both!`), against a real server too. With
//! `CONVERGIA_TEST_SERVER=convergia://…` the real one is the server there; registration must be open.

mod commands;
mod fake;
mod mail;
mod names;
mod real;
mod resume;
#[path = "../support/mod.rs"]
mod support;
mod trees;

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use fake::Fake;
use serde_json::Value;
use support::sign_on::PASSWORD;
use support::Server;
use support::TempDir;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// What a command left.
#[derive(Debug)]
pub struct Done {
    status: i32,
    out: Vec<u8>,
    err: String,
}

impl Done {
    fn text(&self) -> String {
        String::from_utf8(self.out.clone()).expect("UTF-8")
    }

    fn json(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    #[track_caller]
    fn expect(self, status: i32) -> Done {
        assert_eq!(self.status, status, "{}\n{}", String::from_utf8_lossy(&self.out), self.err);
        self
    }
}

/// A user with a folder on this machine.
pub struct Person {
    url: String,
    name: String,
    folder: TempDir,
}

impl Person {
    /// One at a fake.
    fn at(fake: &Fake, name: &str) -> Person {
        Person { url: fake.url().to_owned(), name: name.to_owned(), folder: TempDir::new() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_convergia"));
        self.set(&mut command);
        command.args(args);
        command
    }

    fn set(&self, command: &mut Command) {
        command.env_clear().env("HOME", self.folder.path()).env("CONVERGIA_PASSWORD", PASSWORD);
        command.env("CONVERGIA_CLIENT_STATE", self.folder.path().join("client.json")).current_dir(self.work());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    }

    /// Where the commands run.
    fn work(&self) -> PathBuf {
        let folder = self.folder.path().join("work");
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    fn with_place<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        [args, &["--server", &self.url, "--user", &self.name]].concat()
    }

    fn start(&self, args: &[&str]) -> Child {
        self.command(&self.with_place(args)).spawn().expect("the executable starts")
    }

    fn run(&self, args: &[&str]) -> Done {
        wait(self.start(args))
    }

    fn run_with(&self, args: &[&str], input: &[u8]) -> Done {
        let mut child =
            self.command(&self.with_place(args)).stdin(Stdio::piped()).spawn().expect("the executable starts");
        let _ = std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), input);
        wait(child)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.work().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

/// Runs tests that take a `Net` with the fake, and with a real server.
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod with_fake {
            $(#[test]
            fn $test() {
                super::$test(&crate::Net::fake());
            })*
        }
        mod with_server {
            $(#[test]
            fn $test() {
                super::$test(&crate::Net::real());
            })*
        }
    };
}
use on_both;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a command prints, as it comes.
fn lines_of(child: &mut Child) -> mpsc::Receiver<String> {
    let (send, lines) = mpsc::channel();
    let out = child.stdout.take().expect("a pipe");
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
    });
    lines
}

fn wait(child: Child) -> Done {
    let output = child.wait_with_output().expect("the command ends");
    let err = String::from_utf8(output.stderr).expect("UTF-8");
    let done = Done { status: output.status.code().unwrap_or(-1), out: output.stdout, err };
    assert!(!done.err.contains("panicked"), "{done:?}");
    done
}

/// A server, and users of it: the fake, or the one that the environment names.
pub enum Net {
    Fake(Fake),
    Real(Box<Server>),
    There(String),
}

impl Net {
    fn fake() -> Net {
        Net::Fake(Fake::start())
    }

    fn real() -> Net {
        std::env::var("CONVERGIA_TEST_SERVER").map_or_else(|_| Net::Real(Box::new(Server::open())), Net::There)
    }

    /// A user that nobody else is.
    fn person(&self, name: &str) -> Person {
        let url = match self {
            Net::Fake(fake) => return Person::at(fake, name),
            Net::Real(server) => server.url(),
            Net::There(url) => url.clone(),
        };
        let name = format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let person = Person { url, name, folder: TempDir::new() };
        let register = ["register", &person.name, "--server", &person.url];
        wait(person.command(&register).spawn().expect("the executable starts")).expect(0);
        person
    }
}

/// Bytes that need escapes now and then, of a seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// All that is in a folder: names from there, and bytes; None for folders.
fn tree(root: &Path) -> Vec<(String, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let name = entry.strip_prefix(root).expect("below").to_str().expect("UTF-8").to_owned();
            match entry.is_dir() {
                true => {
                    found.push((name, None));
                    todo.push(entry);
                }
                false => found.push((name, Some(fs::read(&entry).expect("a file")))),
            }
        }
    }
    found.sort();
    found
}
