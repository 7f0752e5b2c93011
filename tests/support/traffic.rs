//! Users who talk while something happens to the network.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use convergia::client::Client;
use convergia::client::Event;
use convergia::client::Options;
use convergia::client::Reply;
use convergia::engine::rt;
use convergia::wire::Code;

use super::check::Checker;
use super::raw::Answer;
use super::raw::Raw;

/// How long the last answers and messages may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Messages of one user that wait for their answer, at most.
const WINDOW: usize = 1_000;
/// How often a talker looks whether it is time to send.
const TICK: Duration = Duration::from_millis(2);
/// How long signing off may take.
const GOODBYE: Duration = Duration::from_secs(5);
/// The shortest time without a message that is noted, and how near to a move it belongs to that.
const SILENCE: Duration = Duration::from_millis(1);
/// See `SILENCE`.
const AROUND: Duration = Duration::from_millis(250);
/// How often a thread looks whether its client is still wanted.
const PAUSE: Duration = Duration::from_millis(500);

/// What comes to a user.
pub enum Came {
    /// The answer to the message posted under that number.
    Answer(u64, Result<(), Code>),
    /// A message: its sender, its body.
    Message(String, Vec<u8>),
    /// The connection broke, or anything else that a user whose server is fine does not see.
    Broke(String),
}

/// A signed-on user, however it is connected.
pub trait Voice: Send {
    /// Sends a message; `Came::Answer` will have the number that is returned. An error: the connection broke.
    fn post(&mut self, recipient: &str, body: &[u8]) -> Result<u64, String>;
    /// What comes next, if anything does before `patience` is over.
    fn next(&mut self, patience: Duration) -> Option<Came>;
    /// Signs off, if its server still listens. A session that only breaks has its last messages kept for the next.
    fn sign_off(&mut self);
}

impl Voice for Raw {
    fn post(&mut self, recipient: &str, body: &[u8]) -> Result<u64, String> {
        let id = self.id();
        self.try_send(&id, "SENDMESSAGE", &[recipient.as_bytes(), body]).map_err(|error| error.to_string())?;
        Ok(id.parse().expect("an ID that is a number"))
    }

    fn next(&mut self, patience: Duration) -> Option<Came> {
        let line = match self.next_line(patience) {
            Ok(Some(line)) if line.command == "REDIRECT" => {
                // Redirects are for the library; this one stays where the test has put it.
                let [request, ..] = line.fields::<6>();
                let refused = [b"REFUSED ".as_slice(), &request].concat();
                let answer = [line.id.as_bytes(), b" REDIRECT FAIL ", &refused, b"\n"].concat();
                return self.send_bytes(&answer).err().map(|error| Came::Broke(error.to_string()));
            }
            Ok(Some(line)) => line,
            Ok(None) => return Some(Came::Broke("the server has closed".to_owned())),
            Err(error) if error.kind() == ErrorKind::TimedOut => return None,
            Err(error) => return Some(Came::Broke(error.to_string())),
        };
        Some(match line.command.as_str() {
            "SENDMESSAGE" => {
                let answer = match line.answer() {
                    Answer::Ok(_) => Ok(()),
                    Answer::Fail(code, _) => Err(code),
                };
                Came::Answer(line.id.parse().expect("the ID of a request"), answer)
            }
            "RECEIVEMESSAGE" => {
                let [sender, _, body] = line.fields::<3>();
                Came::Message(String::from_utf8(sender).expect("a name"), body)
            }
            _ => Came::Broke(format!("{line:?}")),
        })
    }

    fn sign_off(&mut self) {
        let id = self.id();
        if self.try_send(&id, "SIGNOFF", &[]).is_ok() {
            while let Ok(Some(_)) = self.read(GOODBYE) {}
        }
    }
}

/// What a client of the library has seen, and when.
#[derive(Default)]
pub struct Trace {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    server: String,
    moves: Vec<Instant>,
    /// The last message, and how long nothing came before others.
    last: Option<Instant>,
    silences: Vec<(Instant, Duration)>,
}

impl Trace {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("the trace")
    }

    /// It is signed on.
    pub fn signed_on(&self, server: String) {
        self.seen().server = server;
    }

    /// It was moved.
    pub fn moved(&self, server: String) {
        let mut seen = self.seen();
        seen.server = server;
        seen.moves.push(Instant::now());
    }

    /// A message came.
    pub fn message(&self) {
        let (mut seen, now) = (self.seen(), Instant::now());
        let silence = seen.last.replace(now).map_or(Duration::ZERO, |last| now - last);
        if silence >= SILENCE {
            seen.silences.push((now, silence));
        }
    }

    /// The server that it is signed on to.
    pub fn server(&self) -> String {
        self.seen().server.clone()
    }

    /// How often it was moved.
    pub fn moves(&self) -> usize {
        self.seen().moves.len()
    }

    /// For each move the longest time around it in which no message came.
    pub fn pauses(&self) -> Vec<Duration> {
        let seen = self.seen();
        let near = |moved: &Instant| {
            let is_near =
                |(end, silence): &&(Instant, Duration)| *end + AROUND > *moved && *end < *moved + AROUND + *silence;
            seen.silences.iter().filter(is_near).map(|(_, silence)| *silence).max().unwrap_or_default()
        };
        seen.moves.iter().map(near).collect()
    }
}

/// A client of the library as a `Voice`. It follows redirects, which nobody is told of, and comes back by itself when its connection breaks; that is `Came::Broke`.
pub struct Library {
    client: Arc<Client>,
    trace: Arc<Trace>,
    came: mpsc::Receiver<Came>,
    posted: mpsc::Sender<(u64, Reply)>,
    next: u64,
}

impl Library {
    /// Signs on.
    #[track_caller]
    pub fn sign_on(options: Options) -> Library {
        let user = options.user.clone();
        let client = rt::block_on(Client::sign_on(options)).unwrap_or_else(|fail| panic!("{user}: {fail}"));
        let Some(Event::SignedOn(server)) = rt::block_on(client.next()) else { panic!("{user} is signed on") };
        let client = Arc::new(client);
        let (events, came) = mpsc::channel();
        let answers = events.clone();
        let (posted, replies) = mpsc::channel::<(u64, Reply)>();
        let weak = Arc::downgrade(&client);
        let trace = Arc::new(Trace::default());
        trace.signed_on(server);
        let seen = Arc::clone(&trace);
        thread::spawn(move || {
            // It ends soon after the last owner has gone.
            while let Some(client) = weak.upgrade() {
                let came = match rt::block_on(rt::timeout(PAUSE, client.next())) {
                    Err(_) | Ok(Some(Event::Map(_))) => continue,
                    Ok(None) => return,
                    Ok(Some(Event::Moved(server))) => {
                        seen.moved(server);
                        continue;
                    }
                    Ok(Some(Event::Message { sender, body, .. })) => {
                        seen.message();
                        Came::Message(sender, body)
                    }
                    Ok(Some(other)) => Came::Broke(format!("{other:?}")),
                };
                if events.send(came).is_err() {
                    return;
                }
            }
        });
        thread::spawn(move || {
            for (number, reply) in replies {
                let answer = rt::block_on(reply.answer()).map(|_| ()).map_err(|fail| fail.code);
                if answers.send(Came::Answer(number, answer)).is_err() {
                    return;
                }
            }
        });
        Library { client, trace, came, posted, next: 0 }
    }

    /// The server that it is signed on to.
    pub fn server(&self) -> String {
        self.trace.server()
    }

    /// What it sees from now on.
    pub fn trace(&self) -> Arc<Trace> {
        Arc::clone(&self.trace)
    }

    /// For anything else.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

impl Voice for Library {
    fn post(&mut self, recipient: &str, body: &[u8]) -> Result<u64, String> {
        let reply = self.client.post("SENDMESSAGE", &[recipient.as_bytes(), body]);
        self.next += 1;
        self.posted.send((self.next, reply)).map_err(|_| "the client was stopped".to_owned())?;
        Ok(self.next)
    }

    fn next(&mut self, patience: Duration) -> Option<Came> {
        self.came.recv_timeout(patience).ok()
    }

    fn sign_off(&mut self) {
        rt::block_on(self.client.sign_off());
    }
}

/// A user who sends to others all the time. Signs off when dropped.
pub struct Talker {
    user: String,
    to: Vec<String>,
    voice: Box<dyn Voice>,
    /// Messages a second, to all together.
    rate: u32,
    size: usize,
    /// Whether its connection may break; otherwise that is a mistake.
    breaks: bool,
    open: HashMap<u64, (String, usize)>,
    sent: usize,
}

impl Talker {
    /// Of `user`, to each of `to` in turn, 50 messages a second.
    pub fn new(user: &str, to: &[&str], voice: impl Voice + 'static) -> Talker {
        let (user, voice, open) = (user.to_owned(), Box::new(voice), HashMap::new());
        let mut talker = Talker { user, to: Vec::new(), voice, rate: 50, size: 0, breaks: false, open, sent: 0 };
        talker.talk_to(to);
        talker
    }

    /// Changes whom it talks to, itself left out.
    pub fn talk_to(&mut self, others: &[&str]) {
        self.to = others.iter().filter(|name| **name != self.user).map(|&name| name.to_owned()).collect();
    }

    /// Messages a second, to all together.
    #[must_use]
    pub fn rate(mut self, rate: u32) -> Talker {
        self.rate = rate;
        self
    }

    /// Bytes of a message, at least.
    #[must_use]
    pub fn size(mut self, size: usize) -> Talker {
        self.size = size;
        self
    }

    /// Its connection may break.
    #[must_use]
    pub fn may_break(mut self) -> Talker {
        self.breaks = true;
        self
    }

    fn run(&mut self, checker: &Checker, quiet: &AtomicBool, over: &AtomicBool) {
        let began = Instant::now();
        let mut sent = 0;
        while !over.load(Ordering::Relaxed) {
            if !quiet.load(Ordering::Relaxed) && !self.to.is_empty() {
                let due = (began.elapsed().as_secs_f64() * f64::from(self.rate)) as usize;
                while sent < due && self.open.len() < WINDOW {
                    sent += 1;
                    if let Err(error) = self.post(checker) {
                        return self.broke(checker, &error);
                    }
                }
                // What the window held back is not made up for.
                sent = sent.max(due.saturating_sub(WINDOW));
            }
            match self.voice.next(TICK) {
                None => {}
                Some(Came::Message(sender, body)) => checker.arrived(&self.user, &sender, &body),
                Some(Came::Answer(id, answer)) => match self.open.remove(&id) {
                    Some((recipient, number)) => checker.answered(&self.user, &recipient, number, answer),
                    None => checker.wrong(format!("{}: an answer to {id}, which is not open", self.user)),
                },
                Some(Came::Broke(why)) if self.breaks => println!("{}: {why}", self.user),
                Some(Came::Broke(why)) => return self.broke(checker, &why),
            }
        }
    }

    fn post(&mut self, checker: &Checker) -> Result<(), String> {
        let recipient = self.to[self.sent % self.to.len()].clone();
        self.sent += 1;
        let (number, body) = checker.next(&self.user, &recipient, self.size);
        match self.voice.post(&recipient, &body) {
            Ok(id) => {
                self.open.insert(id, (recipient, number));
                Ok(())
            }
            Err(error) => {
                checker.answered(&self.user, &recipient, number, Err(Code::Unavailable));
                Err(error)
            }
        }
    }

    fn broke(&mut self, checker: &Checker, why: &str) {
        for (_, (recipient, number)) in self.open.drain() {
            checker.answered(&self.user, &recipient, number, Err(Code::Unavailable));
        }
        if !self.breaks {
            checker.wrong(format!("{}: its connection broke: {why}", self.user));
        }
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        // A test that has failed shall end soon.
        if !thread::panicking() {
            self.voice.sign_off();
        }
    }
}

/// Sets both when dropped, so that talkers end also when the scene panics.
struct End<'a>(&'a AtomicBool, &'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.store(true, Ordering::Relaxed);
    }
}

/// Lets all talk, each on a thread of its own, while `scene` runs. After it nobody sends any more, and this returns when all
/// is answered and has arrived, or will not any more: then `Checker::check` panics.
pub fn talk<T>(checker: &Checker, talkers: &mut [Talker], scene: impl FnOnce() -> T) -> T {
    let (quiet, over) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let _end = End(&quiet, &over);
        for talker in talkers {
            scope.spawn(|| talker.run(checker, &quiet, &over));
        }
        let done = scene();
        quiet.store(true, Ordering::Relaxed);
        checker.settled(PATIENCE);
        done
    })
}
