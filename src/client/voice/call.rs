//! The membership of a session in a channel: it is joined, by UDP or over the link, and joined anew when the session is at another
//! server, or the server has forgotten it. One task owns a `Voice` and asks it for what comes.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use super::datagram;
use super::datagram::Heard;
use super::datagram::Member;
use super::frame::Frame;
use super::frame::HEAD;
use super::joined::Joined;
use super::joined::Person;
use super::udp::Reach;
use super::udp::Udp;
use crate::client::Client;
use crate::client::Event;
use crate::client::VoiceEvent;
use crate::engine::rt;
use crate::engine::rt::channel;
use crate::wire::Code;
use crate::wire::Fail;

/// What waits to be looked at.
const INBOX: usize = 4_096;
/// The wait before a membership that was lost is tried again, at first and at most, and how long that goes on.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(4));
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the words on why a membership is over may come behind the datagram that says so.
const WORDS: Duration = Duration::from_secs(1);
/// How long leaving waits for its answer.
const LEAVING: Duration = Duration::from_secs(2);
/// Members that are known, at most: more than a channel has.
const MEMBERS: usize = 8_192;
/// Events that wait for an answer to JOINVOICE, at most.
const HELD: usize = 4_096;

/// What the one task is told by others.
pub enum Inbox {
    /// The client tells this; None: it has given up.
    Client(Option<Event>),
    /// Came by UDP, to the socket of that round.
    Datagram(u64, Vec<u8>),
    /// A join of that round is answered.
    Joined(u64, Result<Box<Seat>, Fail>),
    /// Somebody wants the task to look up.
    Nudge,
}

/// A place in the channel.
pub struct Seat {
    joined: Joined,
    udp: Option<Udp>,
    /// Why it is not by UDP.
    instead: Option<String>,
}

/// What a `Voice` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A member; also after each time that it was joined anew.
    Joined {
        /// By UDP; else over the link.
        udp: bool,
        /// Why not by UDP, though that was wanted.
        instead: Option<String>,
        /// Who is there, oneself too.
        members: Vec<Person>,
    },
    /// Somebody is there now.
    Came(Person),
    /// Somebody is not there any more.
    Left(Person),
    /// Somebody says something.
    Heard {
        /// Who.
        uid: u64,
        /// The data of a datagram, with its padding or without.
        data: Vec<u8>,
    },
    /// No member at the moment, and why; it is tried again.
    Away(String),
    /// No member any more: why, in the server's word: `kicked`, `deleted`, `elsewhere`, `left`.
    Over(String),
    /// The same, because the channel cannot be joined anew, or the client has given up.
    Failed(Fail),
    /// `Nudge` was used.
    Nudged,
    /// Something that has nothing to do with voice.
    Event(Event),
}

/// Wakes the task that waits in `Voice::next`.
#[derive(Clone)]
pub struct Nudge(channel::Sender<Inbox>);

impl Nudge {
    /// Does it; it then hears `Told::Nudged`.
    pub fn nudge(&self) {
        // If the inbox is full it wakes up anyway.
        let _ = self.0.try_send(Inbox::Nudge);
    }
}

/// See the module.
pub struct Voice {
    client: Arc<Client>,
    name: String,
    /// By UDP, unless that does not work.
    by_udp: bool,
    inbox: channel::Receiver<Inbox>,
    post: channel::Sender<Inbox>,
    /// Counts joins: what an earlier one brings does not count.
    round: u64,
    joining: bool,
    seat: Option<Box<Seat>>,
    /// By its keepalives the way by UDP is good; or there is none.
    settled: bool,
    members: BTreeMap<u64, String>,
    /// What was told of a channel while it was joined.
    held: Vec<VoiceEvent>,
    told: VecDeque<Told>,
    sequence: u16,
    /// Since when there is no membership, what to wait before the next attempt, and until when.
    trouble: Option<Instant>,
    wait: Duration,
    again: Option<Instant>,
    /// By UDP somebody says that the membership is over; the link will say why.
    ending: Option<(Instant, &'static str)>,
    over: bool,
}

impl Voice {
    /// Joins a channel: its name, its number, or `workspace:NAME`. All events of the client go through the `Voice` from now on.
    ///
    /// # Errors
    /// NOTFOUND, DENIED, LIMIT, UNAVAILABLE.
    pub async fn join(client: Arc<Client>, name: &str, by_udp: bool) -> Result<Voice, Fail> {
        let (post, inbox) = channel::bounded(INBOX);
        rt::spawn(pump(Arc::clone(&client), post.clone()));
        let mut voice = Voice {
            client,
            name: name.to_owned(),
            by_udp,
            inbox,
            post,
            round: 0,
            joining: false,
            seat: None,
            settled: false,
            members: BTreeMap::new(),
            held: Vec::new(),
            told: VecDeque::new(),
            sequence: rand::random(),
            trouble: None,
            wait: BACK_OFF.0,
            again: None,
            ending: None,
            over: false,
        };
        voice.begin(by_udp, None);
        loop {
            voice.step(None).await;
            match voice.told.iter().find(|told| matches!(told, Told::Joined { .. } | Told::Failed(_) | Told::Over(_))) {
                Some(Told::Failed(fail)) => return Err(fail.clone()),
                Some(Told::Over(why)) => return Err(Fail::new(Code::Refused, why.clone())),
                Some(_) => return Ok(voice),
                None => {}
            }
        }
    }

    /// Opus that a datagram carries, in bytes.
    pub fn room(&self) -> usize {
        let signed = self.seat.as_ref().is_none_or(|seat| seat.joined.signed);
        datagram::room(signed).saturating_sub(HEAD)
    }

    /// Whether the channel's packets are signed, and its number; None: no member at the moment.
    pub fn channel(&self) -> Option<(u64, bool)> {
        self.seat.as_ref().map(|seat| (seat.joined.channel, seat.joined.signed))
    }

    /// The own uid.
    pub fn uid(&self) -> Option<u64> {
        self.seat.as_ref().map(|seat| seat.joined.uid)
    }

    /// What others wake the task with.
    pub fn nudge(&self) -> Nudge {
        Nudge(self.post.clone())
    }

    /// Says an Opus packet of at most `room` bytes. False: it went nowhere, as there is no membership at the moment.
    pub async fn say(&mut self, opus: &[u8], timestamp: u32) -> bool {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let data = Frame { sequence, timestamp, opus }.to_bytes().filter(|_| opus.len() <= self.room());
        let (Some(data), Some(seat), true) = (data, &mut self.seat, self.settled) else { return false };
        match &mut seat.udp {
            Some(udp) => udp.say(&data).await,
            None => {
                let channel = seat.joined.channel.to_string();
                return self.client.push("VOICE", &[channel.as_bytes(), &data]).is_ok();
            }
        }
        true
    }

    /// What comes until that moment; None: it is over.
    pub async fn next(&mut self, until: Option<Instant>) -> Option<Told> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Some(told);
            }
            if !self.step(until).await && until.is_some_and(|until| Instant::now() >= until) {
                return None;
            }
        }
    }

    /// Leaves the channel. The client stays signed on.
    pub async fn leave(mut self) {
        let seat = self.seat.take().map(|seat| seat.joined.channel.to_string());
        if let Some(channel) = seat.filter(|_| !self.over) {
            let _ = rt::timeout(LEAVING, self.client.request("LEAVEVOICE", &[channel.as_bytes()])).await;
        }
    }

    /// Does one thing, at most until that moment; false: it was only time that passed.
    async fn step(&mut self, until: Option<Instant>) -> bool {
        let now = Instant::now();
        let udp = self.seat.as_ref().and_then(|seat| seat.udp.as_ref()).map(Udp::due);
        let ending = self.ending.map(|(at, _)| at);
        let wake = [until, udp, self.again, ending].into_iter().flatten().min();
        let wait = wake.map_or(Duration::MAX, |wake| wake.saturating_duration_since(now));
        match rt::timeout(wait, self.inbox.recv()).await {
            Ok(Ok(item)) => {
                self.take(item).await;
                true
            }
            // It is never closed: this has a sender itself.
            Ok(Err(_)) => false,
            Err(_) => {
                self.tick().await;
                false
            }
        }
    }

    async fn tick(&mut self) {
        let now = Instant::now();
        if self.again.is_some_and(|at| at <= now) {
            self.again = None;
            self.begin(self.by_udp, None);
        }
        if let Some((_, why)) = self.ending.filter(|(at, _)| *at <= now) {
            self.ended(why);
        }
        if let Some(udp) = self.seat.as_mut().and_then(|seat| seat.udp.as_mut()) {
            udp.tick().await;
        }
        self.judge();
    }

    async fn take(&mut self, item: Inbox) {
        match item {
            Inbox::Nudge => self.told.push_back(Told::Nudged),
            Inbox::Client(None) => self.fail(Fail::new(Code::Unavailable, "the client has given up")),
            Inbox::Client(Some(Event::Voice(event))) if self.joining => {
                // What it is about is known when the join is answered.
                if self.held.len() < HELD && !matches!(event, VoiceEvent::Said { .. }) {
                    self.held.push(event);
                }
            }
            Inbox::Client(Some(Event::Voice(event))) => self.voice(event),
            Inbox::Client(Some(event)) => self.event(event),
            Inbox::Datagram(round, datagram) if round == self.round => self.datagram(&datagram).await,
            Inbox::Joined(round, result) if round == self.round => self.joined(result).await,
            Inbox::Datagram(..) | Inbox::Joined(..) => {}
        }
    }

    /// Asks the server for a place; what it answers comes to the inbox.
    fn begin(&mut self, by_udp: bool, instead: Option<String>) {
        self.round += 1;
        (self.joining, self.seat, self.settled) = (true, None, false);
        (self.again, self.ending) = (None, None);
        self.held.clear();
        let (client, post, round) = (Arc::clone(&self.client), self.post.clone(), self.round);
        let name = self.name.clone();
        rt::spawn(async move {
            let seat = sit(&client, &name, by_udp, instead, &post, round).await;
            let _ = post.send(Inbox::Joined(round, seat.map(Box::new))).await;
        });
    }

    async fn joined(&mut self, result: Result<Box<Seat>, Fail>) {
        self.joining = false;
        match result {
            Ok(seat) => {
                self.members = seat.joined.members.iter().map(|person| (person.uid, person.user.clone())).collect();
                self.seat = Some(seat);
                if let Some(udp) = self.seat.as_mut().and_then(|seat| seat.udp.as_mut()) {
                    udp.tick().await;
                }
                self.judge();
                for event in std::mem::take(&mut self.held) {
                    self.voice(event);
                }
            }
            Err(fail) => {
                let patient = matches!(fail.code, Code::Unavailable | Code::Busy);
                // The first time nobody waits: whoever asked can ask again.
                let since = self.trouble.filter(|since| patient && since.elapsed() < PATIENCE);
                if since.is_none() {
                    return self.fail(fail);
                }
                self.again = Some(Instant::now() + self.wait);
                self.wait = (self.wait * 2).min(BACK_OFF.1);
            }
        }
    }

    /// Whether the way is good; if UDP is not, the link is.
    fn judge(&mut self) {
        let Some(seat) = &mut self.seat else { return };
        match seat.udp.as_ref().map_or(Reach::Good, Udp::reach) {
            Reach::Trying => {}
            Reach::Good if self.settled => {}
            Reach::Good => {
                (self.settled, self.trouble, self.wait) = (true, None, BACK_OFF.0);
                let instead = seat.instead.take();
                let udp = seat.udp.is_some();
                let members = self.members.iter().map(|(uid, user)| Person { uid: *uid, user: user.clone() }).collect();
                self.told.push_back(Told::Joined { udp, instead, members });
            }
            Reach::None => {
                self.trouble.get_or_insert_with(Instant::now);
                self.begin(false, Some("nothing comes back by UDP".to_owned()));
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Lost(why, _) => {
                // What was begun at a server that is gone is not waited for.
                self.round += 1;
                (self.seat, self.joining, self.again, self.ending) = (None, false, None, None);
                self.away(why);
            }
            Event::SignedOn(_) | Event::Moved(_) if !self.over => {
                // The membership has ended with the session at the other server, or comes along as a new one.
                self.trouble = Some(Instant::now());
                self.begin(self.by_udp, None);
                self.told.push_back(Told::Event(event));
            }
            Event::Failed(fail) => self.fail(fail),
            event => self.told.push_back(Told::Event(event)),
        }
    }

    fn away(&mut self, why: String) {
        if !self.over {
            self.trouble = Some(Instant::now());
            self.told.push_back(Told::Away(why));
        }
    }

    fn fail(&mut self, fail: Fail) {
        self.again = None;
        if !std::mem::replace(&mut self.over, true) {
            self.told.push_back(Told::Failed(fail));
        }
    }

    fn ended(&mut self, why: &str) {
        (self.seat, self.settled, self.ending) = (None, false, None);
        match why {
            _ if self.over => {}
            "kicked" | "deleted" | "elsewhere" | "left" => {
                self.over = true;
                self.told.push_back(Told::Over(why.to_owned()));
            }
            // Not meant by anybody: it is joined anew.
            why => {
                self.away(format!("the server has ended the membership: {why}"));
                self.again = Some(Instant::now() + self.wait);
            }
        }
    }

    fn voice(&mut self, event: VoiceEvent) {
        let Some(own) = self.seat.as_ref().map(|seat| seat.joined.channel) else { return };
        match event {
            VoiceEvent::Said { channel, uid, data } if channel == own => self.heard(uid, data),
            VoiceEvent::Came { channel, uid, user } if channel == own && self.members.len() < MEMBERS => {
                let new = self.members.insert(uid, user.clone()).is_none();
                self.told.extend((new && self.settled).then_some(Told::Came(Person { uid, user })));
            }
            VoiceEvent::Left { channel, uid } if channel == own => {
                if let Some(user) = self.members.remove(&uid).filter(|_| self.settled) {
                    self.told.push_back(Told::Left(Person { uid, user }));
                }
            }
            VoiceEvent::Ended { channel, why } if channel == own => self.ended(&why),
            // Of a channel that was left.
            _ => {}
        }
    }

    fn heard(&mut self, uid: u64, data: Vec<u8>) {
        // Who is not there, says nothing: it is not known who that is.
        if self.members.contains_key(&uid) && self.uid() != Some(uid) {
            self.told.push_back(Told::Heard { uid, data });
        }
    }

    async fn datagram(&mut self, datagram: &[u8]) {
        let Some(udp) = self.seat.as_mut().and_then(|seat| seat.udp.as_mut()) else { return };
        let why = match udp.take(datagram).await {
            Some(Heard::Data { uid, data }) => return self.heard(uid, data.to_vec()),
            // Where nothing is signed only the link is believed.
            Some(Heard::Removed(true)) => "kicked",
            Some(Heard::Ended(true)) => "deleted",
            _ => return self.judge(),
        };
        self.ending.get_or_insert((Instant::now() + WORDS, why));
    }
}

/// Everything that the client tells goes to the inbox, in order; who does not take it makes the client wait.
async fn pump(client: Arc<Client>, post: channel::Sender<Inbox>) {
    loop {
        let event = client.next().await;
        let last = event.is_none();
        if post.send(Inbox::Client(event)).await.is_err() || last {
            return;
        }
    }
}

/// JOINVOICE, and the socket that goes with it.
async fn sit(
    client: &Client,
    name: &str,
    by_udp: bool,
    mut instead: Option<String>,
    post: &channel::Sender<Inbox>,
    round: u64,
) -> Result<Seat, Fail> {
    let ask = async |how: &str| {
        let answer = client.request("JOINVOICE", &[name.as_bytes(), how.as_bytes()]).await?;
        Joined::parse(&answer)
    };
    if by_udp {
        // Asked before: a session that is moved meanwhile is joined anew anyway.
        let server = client.server_ip();
        match ask("udp").await {
            Ok(joined) => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
                let now = u64::try_from(now).unwrap_or_default();
                let member = Member::new(joined.channel, joined.uid, joined.keys.clone(), now);
                let Some(server) = server.filter(|_| joined.port != 0) else {
                    return Ok(Seat { joined, udp: None, instead });
                };
                match Udp::open(SocketAddr::new(server, joined.port), member, post.clone(), round).await {
                    Ok(udp) => return Ok(Seat { joined, udp: Some(udp), instead }),
                    Err(error) => instead = Some(format!("this machine gives no UDP socket: {error}")),
                }
            }
            Err(fail) if fail.code == Code::Unavailable && client.is_on() => instead = Some(fail.text.into_owned()),
            Err(fail) => return Err(fail),
        }
    }
    Ok(Seat { joined: ask("link").await?, udp: None, instead })
}
