//! Clients of the product's own library, each on a thread: they send at a steady rate and note what comes, and when.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::sync::Arc;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use convergia::client::Client;
use convergia::client::Event;
use convergia::client::Reply;
use convergia::engine::rt;

use crate::support::Cluster;
use crate::Result;

/// Bytes of a message.
const BODY: usize = 64;
/// How long a client waits for events at a time.
const TICK: Duration = Duration::from_millis(20);
/// How long answers, and what is still on its way, may take at the end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client to be.
pub struct Plan {
    pub user: String,
    /// To whom, and how many messages a second.
    pub sends: Option<(String, u32)>,
}

/// Something else than a message.
#[derive(Clone, Debug)]
pub enum Happened {
    /// It goes on at another server.
    Moved,
    /// Its connection broke, or was closed by the server, or made anew.
    Broke(String),
}

/// What one client saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub user: String,
    /// When, from whom, which number.
    pub messages: Vec<(Instant, String, u64)>,
    pub happened: Vec<(Instant, Happened)>,
    to: Option<String>,
    /// What each message was answered.
    answers: Vec<bool>,
}

impl Seen {
    /// The longest time between two messages within a time.
    pub fn longest_gap(&self, from: Instant, to: Instant) -> Duration {
        let times: Vec<Instant> = self.messages.iter().map(|(at, ..)| *at).collect();
        let within = times.windows(2).filter(|pair| pair[1] >= from && pair[0] <= to);
        within.map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// The usual time between two messages.
    pub fn usual_gap(&self) -> Duration {
        let mut gaps: Vec<Duration> = self.messages.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        gaps.sort_unstable();
        gaps.get(gaps.len() / 2).copied().unwrap_or_default()
    }
}

/// What became of all messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub sent: u64,
    /// Answered OK, and never came.
    pub lost: u64,
    /// Answered FAIL; the sender knows.
    pub refused: u64,
    pub doubled: u64,
    pub reordered: u64,
    /// Connections that broke or were closed, of all clients.
    pub disconnects: u64,
    pub moves: u64,
}

/// Clients that talk.
pub struct Crowd {
    clients: Vec<JoinHandle<Seen>>,
    quiet: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    moved: mpsc::Receiver<(String, String)>,
}

/// Signs them all on at one server, by stopping the others for so long, and returns them in order.
pub fn sign_on(cluster: &Cluster, users: &[&str], server: &str) -> Result<Vec<Client>> {
    let options: Vec<_> = users.iter().map(|user| cluster.options(user)).collect();
    let others: Vec<_> = cluster.up().into_iter().filter(|other| other != server).collect();
    others.iter().for_each(|other| cluster.server(other).pause());
    let clients = thread::scope(|scope| {
        let all: Vec<_> = options.into_iter().map(|one| scope.spawn(|| rt::block_on(Client::sign_on(one)))).collect();
        all.into_iter().map(|one| one.join().map_err(|_| "a client has panicked")).collect::<Vec<_>>()
    });
    others.iter().for_each(|other| cluster.resume(other));
    let mut signed_on = Vec::new();
    for client in clients {
        let client = client?.map_err(|fail| format!("signing on: {fail}"))?;
        match rt::block_on(client.next()) {
            Some(Event::SignedOn(at)) if at == server => signed_on.push(client),
            other => return Err(format!("not signed on at {server}: {other:?}").into()),
        }
    }
    Ok(signed_on)
}

impl Crowd {
    /// Lets them talk.
    pub fn start(clients: Vec<(Client, Plan)>) -> Crowd {
        let (quiet, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (tell, moved) = mpsc::channel();
        let count = clients.len().max(1) as u32;
        let talk = |(number, (client, plan)): (usize, (Client, Plan))| {
            let (quiet, over, tell) = (Arc::clone(&quiet), Arc::clone(&over), tell.clone());
            // Not all in the same instant.
            let offset = |rate: u32| Duration::from_secs(1) / rate.max(1) * number as u32 / count;
            let begin = Instant::now() + plan.sends.as_ref().map_or(Duration::ZERO, |(_, rate)| offset(*rate));
            thread::spawn(move || talk(&client, plan, begin, &quiet, &over, &tell))
        };
        let clients = clients.into_iter().enumerate().map(talk).collect();
        Crowd { clients, quiet, over, moved }
    }

    /// Waits until a client has moved: who, and where to.
    pub fn moved(&self) -> Result<(String, String)> {
        self.moved.recv_timeout(PATIENCE).map_err(|_| "no client was moved".into())
    }

    /// Nobody sends any more; when all is answered and has had time to arrive, what each saw.
    pub fn end(self) -> Result<Vec<Seen>> {
        self.quiet.store(true, Ordering::Relaxed);
        // What is answered OK is queued already; a second is plenty for it to be read.
        thread::sleep(Duration::from_secs(1));
        self.over.store(true, Ordering::Relaxed);
        self.clients.into_iter().map(|one| one.join().map_err(|_| "a client has panicked".into())).collect()
    }
}

fn talk(
    client: &Client,
    plan: Plan,
    begin: Instant,
    quiet: &AtomicBool,
    over: &AtomicBool,
    tell: &mpsc::Sender<(String, String)>,
) -> Seen {
    let mut seen = Seen { user: plan.user, to: plan.sends.as_ref().map(|(to, _)| to.clone()), ..Seen::default() };
    let mut replies: Vec<Reply> = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let mut wait = TICK;
        if let Some((to, rate)) = plan.sends.as_ref().filter(|_| !quiet.load(Ordering::Relaxed)) {
            let due = |number: usize| begin + Duration::from_secs(1) * number as u32 / *rate;
            while due(replies.len()) <= Instant::now() {
                let mut body = format!("{}#{} ", seen.user, replies.len()).into_bytes();
                body.resize(BODY.max(body.len()), b'.');
                replies.push(client.post("SENDMESSAGE", &[to.as_bytes(), &body]));
            }
            wait = wait.min(due(replies.len()).saturating_duration_since(Instant::now()));
        }
        let Ok(event) = rt::block_on(rt::timeout(wait, client.next())) else { continue };
        let now = Instant::now();
        match event {
            Some(Event::Message { sender, body, .. }) => {
                let text = String::from_utf8_lossy(&body);
                let number = text.split(['#', ' ']).nth(1).and_then(|number| number.parse().ok());
                seen.messages.push((now, sender, number.unwrap_or(u64::MAX)));
            }
            Some(Event::Moved(server)) => {
                seen.happened.push((now, Happened::Moved));
                let _ = tell.send((seen.user.clone(), server));
            }
            Some(Event::Map(_)) => {}
            Some(other) => seen.happened.push((now, Happened::Broke(format!("{other:?}")))),
            None => break,
        }
    }
    let answer = |reply: &Reply| matches!(rt::block_on(rt::timeout(PATIENCE, reply.answer())), Ok(Ok(_)));
    seen.answers = replies.iter().map(answer).collect();
    rt::block_on(client.sign_off());
    seen
}

/// Counts what became of all that was sent.
pub fn count(all: &[Seen]) -> Counts {
    let mut counts = Counts::default();
    let by_user: HashMap<&str, &Seen> = all.iter().map(|seen| (seen.user.as_str(), seen)).collect();
    for seen in all {
        let broke = |(_, happened): &&(Instant, Happened)| matches!(happened, Happened::Broke(_));
        let broken = seen.happened.iter().filter(broke).count() as u64;
        counts.disconnects += broken;
        counts.moves += seen.happened.len() as u64 - broken;
        let Some(to) = seen.to.as_deref().and_then(|to| by_user.get(to)) else { continue };
        let mut came = vec![0u32; seen.answers.len()];
        let mut highest = None;
        for (_, _, number) in to.messages.iter().filter(|(_, sender, _)| *sender == seen.user) {
            if let Some(times) = usize::try_from(*number).ok().and_then(|number| came.get_mut(number)) {
                *times += 1;
            }
            counts.reordered += u64::from(highest.is_some_and(|highest| *number < highest));
            highest = highest.max(Some(*number));
        }
        counts.sent += seen.answers.len() as u64;
        for (times, ok) in came.iter().zip(&seen.answers) {
            counts.lost += u64::from(*times == 0 && *ok);
            counts.refused += u64::from(!ok);
            counts.doubled += u64::from(times.saturating_sub(1));
        }
    }
    counts
}
