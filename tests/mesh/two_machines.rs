//! README's "A second main server on another machine", command by command: two network namespaces are the machines, with addresses
//! of their own, the ports that everybody has, and a home each.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::support::check::all_pairs;
use crate::support::command::executable;
use crate::support::command::finish;
use crate::support::command::Done;
use crate::support::sites;
use crate::support::traffic::talk;
use crate::support::traffic::Talker;
use crate::support::Chat;
use crate::support::Checker;
use crate::support::Sites;
use crate::support::TempDir;
use crate::support::Topology;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A site, and a person's home there. Nothing else is set than what a login sets.
struct Machine<'a> {
    sites: &'a Sites,
    name: &'a str,
    home: TempDir,
}

impl<'a> Machine<'a> {
    fn new(sites: &'a Sites, name: &'a str) -> Machine<'a> {
        Machine { sites, name, home: TempDir::new() }
    }

    /// `convergia` and these words.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(executable());
        command.args(words).env_clear().env("HOME", self.home.path()).env("CONVERGIA_PASSWORD", "correct horse");
        command.stdin(Stdio::null());
        command
    }

    /// How it ends.
    fn try_run(&self, words: &[&str]) -> Done {
        self.sites.within(self.name, || finish(self.command(words)))
    }

    /// What it prints. Panics unless it is done.
    #[track_caller]
    fn run(&self, words: &[&str]) -> String {
        let done = self.try_run(words);
        assert_eq!(done.status, 0, "{words:?}: {done:?}");
        done.out
    }

    /// A server, that goes on.
    fn serve(&self, words: &[&str]) -> Serving {
        let mut command = self.command(words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.sites.within(self.name, || command.spawn().expect("the executable starts"));
        let (send, lines) = mpsc::channel();
        let (out, err) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
        for pipe in [Box::new(out) as Box<dyn Read + Send>, Box::new(err)] {
            let send = send.clone();
            thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    let _ = send.send(line);
                }
            });
        }
        Serving { child, lines }
    }

    /// Somebody at a terminal of this machine.
    #[track_caller]
    fn chat(&self, user: &str, words: &[&str]) -> Chat {
        let mut command = self.command(&["chat", "--json", "--user", user]);
        command.args(words).env("CONVERGIA_CLIENT_STATE", self.home.path().join(user));
        self.sites.within(self.name, || Chat::start(command, user))
    }
}

/// A server at work. Killed when dropped.
struct Serving {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Serving {
    /// The next line that it prints with this in it: what follows there.
    #[track_caller]
    fn says(&self, words: &str) -> String {
        let (until, mut all) = (Instant::now() + PATIENCE, Vec::new());
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no {words:?} in {all:#?}"));
            if let Some((_, rest)) = line.split_once(words) {
                return rest.to_owned();
            }
            all.push(line);
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs it until that is in what it prints.
#[track_caller]
fn until(machine: &Machine<'_>, words: &[&str], is_so: impl Fn(&str) -> bool) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let out = machine.run(words);
        if is_so(&out) {
            return out;
        }
        assert!(Instant::now() < until, "{words:?}: {out}");
    }
}

#[test]
fn a_second_main_server_on_another_machine() {
    if !sites::available() {
        return;
    }
    let sites = Sites::new(&Topology::sites(&["first", "second"]).link("first", "second"));
    let (first, second) = (Machine::new(&sites, "first"), Machine::new(&sites, "second"));

    let key = second.run(&["key"]);
    let network = first.serve(&["--bind", "0.0.0.0"]);
    // In place of 127.0.0.1 the machine's own address.
    let url = network.says("Address: ").replace("127.0.0.1", &sites.address("first"));
    first.run(&["admin", "add-server", "second", "main", key.trim_end()]);
    let joined = second.serve(&["--bind", "0.0.0.0", "--set", "name=second", "--set", &format!("join={url}")]);
    joined.says("linked to main server main");
    let is_up = |out: &str| out.lines().any(|line| line.starts_with("second") && line.contains("up"));
    until(&first, &["admin", "servers"], is_up);

    let users = ["alice", "bob"];
    users.iter().for_each(|user| drop(first.run(&["admin", "user", "add", user])));
    // On the server's machine the address is known; elsewhere it is given.
    let chats = [first.chat("alice", &[]), second.chat("bob", &["--server", &url])];
    let traces = [chats[0].trace(), chats[1].trace()];
    let mut talkers: Vec<Talker> =
        users.iter().zip(chats).map(|(user, chat)| Talker::new(user, &users, chat)).collect();
    let all_at = |server: &str| traces.iter().all(|trace| trace.server() == server);
    let checker = Checker::default();
    talk(&checker, &mut talkers, || {
        checker.more(50);
        until(&first, &["admin", "move", "main", "2", "second"], |_| all_at("second"));
        checker.more(50);
        let map = second.run(&["map", "--user", "bob", "--server", &url]);
        for name in ["main", "second", "alice", "bob"] {
            assert!(map.contains(name), "{map}");
        }
        let drained = first.run(&["admin", "drain", "second", "--wait"]);
        assert!(drained.contains("second has no clients; it can be stopped"), "{drained}");
        assert!(all_at("main"), "they go on at the other");
        checker.more(50);
        first.run(&["admin", "remove-server", "second"]);
        let servers = first.run(&["admin", "servers"]);
        assert!(!servers.contains("second"), "{servers}");
        checker.more(50);
    });
    checker.check(&all_pairs(&users));
    assert_eq!(checker.counts().failed, 0, "nothing happened that could make a message fail");
    drop(talkers);

    // It is shut out: started again, it comes no further than to ask.
    drop(joined);
    let again = second.serve(&["--bind", "0.0.0.0", "--set", "name=second", "--set", &format!("join={url}")]);
    again.says("not a server of this network (DENIED)");
    assert!(!first.run(&["admin", "servers"]).contains("second"));
}
