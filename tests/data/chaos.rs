//! SIGKILL at random moments, round after round. `CONVERGIA_SEED=n` runs the same choices again, though not the same moments.

use std::collections::BTreeMap;
use std::time::Duration;
use std::time::Instant;

use convergia::wire::Code;

use crate::bytes;
use crate::sometime;
use crate::status_of;
use crate::support;
use crate::support::sign_on::sign_on_again;
use crate::support::sign_on::PASSWORD;
use crate::support::Answer;
use crate::support::Cluster;
use crate::support::Line;
use crate::support::Random;
use crate::support::Raw;
use crate::support::Server;

/// Files of one round.
const FILES: usize = 30;
/// The largest of a write, in bytes; two in one file.
const WRITE: u64 = 60_000;

/// A network that can be killed.
enum Net {
    One(Box<Server>),
    Apart(Box<Cluster>),
}

impl Net {
    fn management(&self) -> &Server {
        match self {
            Net::One(server) => server,
            Net::Apart(cluster) => cluster.management(),
        }
    }

    fn sign_on(&self) -> Raw {
        match self {
            Net::One(server) => sign_on_again(server, "alice"),
            Net::Apart(cluster) => cluster.sign_on("alice", "main"),
        }
    }

    fn kill(&mut self, who: &str) {
        match self {
            Net::One(server) => server.kill(),
            Net::Apart(cluster) => cluster.kill(who),
        }
    }

    fn start(&mut self, who: &str) {
        match self {
            Net::One(server) => server.restart(),
            Net::Apart(cluster) => cluster.start(who),
        }
    }
}

/// What a file may be: what was answered OK for certain, and what may have happened besides, in this order.
#[derive(Clone, Default)]
struct Known {
    /// None: it is not there.
    certain: Option<Vec<u8>>,
    maybe: Vec<Option<Vec<u8>>>,
}

impl Known {
    /// A change that would lead to `next`, and how it was answered.
    fn change(&mut self, next: Option<Vec<u8>>, answer: Option<&Answer>) {
        match answer {
            // Nothing that was doubtful before can come after it.
            Some(Answer::Ok(_)) => *self = Known { certain: next, maybe: Vec::new() },
            Some(Answer::Fail(code, _)) if ![Code::Unavailable, Code::Internal].contains(code) => {}
            _ => self.maybe.push(next),
        }
    }

    fn allows(&self, is: &Option<Vec<u8>>) -> bool {
        self.certain == *is || self.maybe.contains(is)
    }
}

/// Answers until all of `wanted` came or the connection broke; says `count` once so many have come.
fn answers(link: &mut Raw, wanted: usize, mut at: impl FnMut(usize)) -> BTreeMap<String, Answer> {
    let mut got = BTreeMap::new();
    while got.len() < wanted {
        let Ok(Some(line)) = link.next_line(Duration::from_secs(60)) else { break };
        let Line { id, .. } = &line;
        if id.starts_with('r') {
            got.insert(id.clone(), line.answer());
            at(got.len());
        }
    }
    got
}

struct Rounds {
    net: Net,
    random: Random,
    files: BTreeMap<String, Known>,
    /// Of the bytes that are written.
    next: usize,
    confirmed: usize,
}

impl Rounds {
    fn new(net: Net, random: Random) -> Rounds {
        Rounds { net, random, files: BTreeMap::new(), next: 0, confirmed: 0 }
    }

    /// People write, and delete; somebody is killed in the middle, and started again; all is as it was answered.
    fn round(&mut self, round: usize, who: &str) {
        let mut link = self.net.sign_on();
        sometime(&mut link, "LISTFOLDER", &[b"/users/alice"]).ok();
        let mut asked: Vec<(String, Option<Vec<u8>>)> = Vec::new();
        let mut sent = true;
        let mut send = |link: &mut Raw, path: &str, next: Option<Vec<u8>>, command: &str, fields: &[&[u8]]| {
            let id = format!("r{}", asked.len());
            sent = sent && link.try_send(&id, command, fields).is_ok();
            asked.push((path.to_owned(), next));
        };
        for n in 0..FILES {
            let path = format!("/users/alice/{round}-{n}");
            let at = path.as_bytes();
            let mut bytes = |random: &mut Random| {
                if random.below(4) == 0 {
                    // What was written before, and perhaps deleted: blocks that are put again.
                    let old = random.below(5) as usize;
                    return bytes(old, 10_000 + old);
                }
                self.next += 1;
                bytes(self.next, 1 + random.below(WRITE) as usize)
            };
            let (first, second) = (bytes(&mut self.random), bytes(&mut self.random));
            send(&mut link, &path, Some(Vec::new()), "CREATEFILE", &[at]);
            send(&mut link, &path, Some(first.clone()), "WRITEFILE", &[at, b"0", &first]);
            if self.random.below(2) == 0 {
                // Over a part of it, and beyond.
                let from = self.random.below(first.len() as u64 + 1) as usize;
                let mut both = first[..from].to_vec();
                both.extend_from_slice(&second);
                both.extend_from_slice(first.get(both.len()..).unwrap_or_default());
                send(&mut link, &path, Some(both), "WRITEFILE", &[at, from.to_string().as_bytes(), &second]);
            }
        }
        let old: Vec<String> = self.files.keys().cloned().collect();
        for path in old.iter().filter(|_| self.random.below(2) == 0) {
            send(&mut link, path, None, "DELETEFILE", &[path.as_bytes()]);
        }
        let moment = 1 + self.random.below(asked.len() as u64) as usize;
        let net = &mut self.net;
        let got = answers(&mut link, asked.len(), |count| {
            if count == moment {
                net.kill(who);
            }
        });
        assert!(
            got.len() >= moment,
            "round {round}: {} answers of {}, {moment} before the end",
            got.len(),
            asked.len()
        );
        for (n, (path, next)) in asked.into_iter().enumerate() {
            let answer = got.get(&format!("r{n}"));
            self.confirmed += usize::from(matches!(answer, Some(Answer::Ok(_))));
            self.files.entry(path).or_default().change(next, answer);
        }
        self.net.start(who);
        self.check(round);
    }

    /// Each file is what it must be, or one of what it may be; and from now on that.
    fn check(&mut self, round: usize) {
        let mut link = self.net.sign_on();
        for (path, known) in &mut self.files {
            let is = match sometime(&mut link, "READFILE", &[path.as_bytes(), b"0", b"1048576"]) {
                Answer::Ok(read) => Some(read),
                Answer::Fail(Code::NotFound, _) => None,
                Answer::Fail(code, text) => panic!("round {round}: {path}: {code:?} {text}"),
            };
            let sizes = |known: &Known| {
                let size = |is: &Option<Vec<u8>>| is.as_ref().map(Vec::len);
                (size(&known.certain), known.maybe.iter().map(size).collect::<Vec<_>>())
            };
            let found = is.as_ref().map(Vec::len);
            assert!(known.allows(&is), "round {round}: {path} is {found:?}, must or may be {:?}", sizes(known));
            *known = Known { certain: is, maybe: Vec::new() };
        }
        self.files.retain(|_, known| known.certain.is_some());
        let listed = sometime(&mut link, "LISTFOLDER", &[b"/users/alice"]).ok();
        let listed = String::from_utf8(listed).expect("UTF-8");
        let names = listed.lines().map(|line| format!("/users/alice/{}", line.split('|').next().unwrap_or_default()));
        assert!(names.eq(self.sorted()), "round {round}: the folder lists what can be read: {listed}");
    }

    fn sorted(&self) -> Vec<String> {
        let mut names: Vec<String> = self.files.keys().cloned().collect();
        names.sort();
        names
    }

    /// All is deleted: no block is left, and all that was paid for is free again.
    fn end(mut self) {
        assert!(self.confirmed > FILES, "hardly anything was done");
        // What was deleted is collected; what is not, stays.
        self.no_orphans();
        let mut link = self.net.sign_on();
        for path in std::mem::take(&mut self.files).into_keys() {
            sometime(&mut link, "DELETEFILE", &[path.as_bytes()]).ok();
        }
        self.no_orphans();
        assert_eq!(status_of(self.net.management(), "blocks"), "0");
    }

    /// As many blocks are stored as are known: each on one server.
    fn no_orphans(&self) {
        let until = Instant::now() + Duration::from_secs(60);
        let management = self.net.management();
        // Bytes that files have; those of no file have no block.
        let bytes: usize = self.files.values().filter_map(|known| known.certain.as_ref()).map(Vec::len).sum();
        loop {
            let (known, storage) = (status_of(management, "blocks"), status_of(management, "storage"));
            let count = |server: &str| -> Option<u64> { server.rsplit(", ").next()?.split(' ').next()?.parse().ok() };
            let stored: Option<u64> = storage.split("), ").map(count).sum();
            let surplus = status_of(management, "blocks with too many copies");
            let all = stored.is_some_and(|stored| stored.to_string() == known);
            if all && surplus == "0" && (bytes == 0) == (known == "0") {
                return;
            }
            assert!(
                Instant::now() < until,
                "{known} blocks are known, stored are: {storage}; {surplus} copies too many"
            );
            management.moment();
        }
    }
}

fn one() -> Net {
    let server = Server::open();
    support::register_open(&server, "alice", PASSWORD);
    Net::One(Box::new(server))
}

fn apart() -> Net {
    Net::Apart(Box::new(crate::cluster(2, 0)))
}

fn rounds(net: Net, count: usize, who: &[&str]) {
    let mut random = Random::seeded();
    let mut victims = Vec::new();
    for _ in 0..count {
        victims.push(who[random.below(who.len() as u64) as usize]);
    }
    let mut all = Rounds::new(net, random);
    for (round, who) in victims.iter().enumerate() {
        println!("round {round}: {who}");
        all.round(round, who);
    }
    all.end();
}

/// Every role in one process.
const MAIN: &[&str] = &["the server"];
/// Data management and data servers, each a process; and the main server between them and the people.
const APART: &[&str] = &["dm", "stable0", "stable1", "main"];

#[test]
fn the_one_process_is_killed_at_any_moment() {
    rounds(one(), 4, MAIN);
}

#[test]
fn any_process_is_killed_at_any_moment() {
    rounds(apart(), 5, APART);
}

#[test]
#[ignore = "200 rounds; docs/testing.md says how"]
fn two_hundred_times_any_process_is_killed_at_any_moment() {
    rounds(one(), 70, MAIN);
    rounds(apart(), 130, APART);
}
