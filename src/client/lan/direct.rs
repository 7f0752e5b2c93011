//! The client on the local network as a role: who is there, whom to believe, and direct links.
//!
//! ```text
//! announcement ─► heard ─► whose key is it? (Event::Vouch, `vouched`) ─► verified ─► a link, when there is something to send
//! link of ours:     dialing ─HELLO─► the other has proven itself ─PROVE─► ready: SENDMESSAGE
//! link of another:  stranger ─HELLO─► offered ─PROVE, vouched for─► friend: SENDMESSAGE is taken
//! ```
//! `accept` is the side that was connected to, `vouch` what is known of keys.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::net::SocketAddr;

use zeroize::Zeroizing;

use super::accept;
use super::announce;
use super::announce::Announcement;
use super::announce::Datagram;
use super::id::Id;
use super::prove::Meeting;
use super::prove::Side;
use super::table::Place;
use super::table::Table;
use super::table::Trust;
use super::vouch::Vouches;
use crate::accounts::keys;
use crate::accounts::secret;
use crate::client::core::BROKE;
use crate::config::PortKey;
use crate::engine::rt::channel;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Gone;
use crate::engine::LinkId;
use crate::engine::Role;
use crate::engine::Target;
use crate::engine::Verify;
use crate::wire::hex;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// From an open link to a proven one; milliseconds.
pub(super) const LIMIT: u64 = 10_000;
/// A message that is not answered for so long: the link is given up; milliseconds.
const ANSWER: u64 = 10_000;
/// A client that was not reached is not tried again for so long; milliseconds.
const AGAIN: u64 = 30_000;
/// Announcements at the start, after it, and then one every so often; milliseconds.
const FIRST: [u64; 3] = [0, 1_000, 3_000];
const EVERY: u64 = 10_000;
/// The least time between two, and how long one that was asked for may wait; milliseconds.
const APART: u64 = 1_000;
const SPREAD: u64 = 300;
/// Clients of one user that a message goes to.
const CLIENTS: usize = 8;

/// This user.
#[derive(Clone)]
pub struct Me {
    /// Who.
    pub id: Id,
    /// The seed of an Ed25519 key that the account knows; without it, this client only looks who is there.
    pub seed: Option<Zeroizing<[u8; 32]>>,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message, over a direct link.
    Message {
        /// Who sent it: proven.
        sender: String,
        /// When it came; Unix milliseconds.
        sent_at: u64,
        /// What.
        body: Vec<u8>,
    },
    /// Whose keys are those of this user? `Lan::vouch` wants to know.
    Vouch(String),
    /// Who is there, or who is believed, has changed.
    Changed,
}

/// Takes events; true: it has enough for now.
pub type Sink = Box<dyn FnMut(Event) -> bool + Send>;

/// What a link is for.
#[derive(Debug, Default)]
pub enum Peer {
    /// Nothing, or one that was accepted and has said nothing.
    #[default]
    Stranger,
    /// One of ours, to that client.
    Dialing(Place),
    /// The same, proven on both sides.
    Ready(Place),
    /// Accepted: HELLO was answered.
    Offered(Box<Meeting>),
    /// Accepted: PROVE waits for an answer about the keys of the other.
    Asking,
    /// Accepted, and proven on both sides.
    Friend {
        /// The user's name.
        name: String,
        /// The key.
        public: [u8; 32],
    },
}

/// Somebody who was heard.
#[derive(Clone, Debug)]
pub struct Person {
    /// Who it says it is.
    pub id: Id,
    /// Whether it is believed.
    pub trust: Trust,
    /// Where it takes direct links.
    pub address: SocketAddr,
    /// Its key.
    pub public: [u8; 32],
}

/// See the module.
pub struct Direct {
    pub(super) me: Option<Me>,
    pub(super) public: [u8; 32],
    sink: Sink,
    full: bool,
    pub(super) friends: BTreeSet<LinkId>,
    /// Where this client takes direct links: then it announces itself.
    listens: Option<(PortKey, u16)>,
    pub(super) table: Table,
    pub(super) vouches: Vouches,
    ready: HashMap<Place, LinkId>,
    dialing: HashMap<Place, Vec<channel::Sender<bool>>>,
    /// Messages that were sent, and those of them that are not answered.
    posts: u64,
    unanswered: BTreeSet<u64>,
    /// When the next announcement is due, how many there were, and when the last was made.
    due: u64,
    said: usize,
    last: u64,
}

impl Direct {
    /// Nobody was heard so far.
    ///
    /// # Errors
    /// INTERNAL, when the seed of `me` is none.
    pub fn new(me: Option<Me>, sink: Sink) -> Result<Direct, Fail> {
        let seed = me.as_ref().and_then(|me| me.seed.as_ref());
        let public = seed.map_or(Ok([0; 32]), |seed| keys::public_of(seed))?;
        Ok(Direct {
            me,
            public,
            sink,
            full: false,
            friends: BTreeSet::new(),
            listens: None,
            table: Table::default(),
            vouches: Vouches::default(),
            ready: HashMap::new(),
            dialing: HashMap::new(),
            posts: 0,
            unanswered: BTreeSet::new(),
            due: 0,
            said: 0,
            last: 0,
        })
    }

    /// This client takes direct links there, and announces itself from now on.
    pub fn listens(&mut self, kind: PortKey, port: u16) {
        self.listens = Some((kind, port));
    }

    pub(super) fn tell(&mut self, ctx: &mut Ctx<Direct>, event: Event) {
        if (self.sink)(event) && !self.full {
            self.full = true;
            self.friends.iter().for_each(|link| ctx.pause(*link, true));
        }
    }

    /// A link brings messages from now on.
    pub(super) fn befriend(&mut self, ctx: &mut Ctx<Direct>, link: LinkId) {
        self.friends.insert(link);
        ctx.pause(link, self.full);
    }

    /// The reader of events has room again.
    pub fn resume(&mut self, ctx: &mut Ctx<Direct>) {
        self.full = false;
        self.friends.iter().for_each(|link| ctx.pause(*link, false));
    }

    /// A datagram came. True: an announcement of this client is due earlier.
    pub fn heard(&mut self, ctx: &mut Ctx<Direct>, from: SocketAddr, bytes: &[u8]) -> bool {
        let (now, ip) = (ctx.now(), from.ip());
        match announce::parse(bytes) {
            Some(Datagram::WhoIsHere) if self.listens.is_some() => {
                let wait = rand::RngExt::random_range(ctx.rng(), 0..=SPREAD);
                let at = now.saturating_add(wait).max(self.last.saturating_add(APART));
                let earlier = at < self.due;
                self.due = self.due.min(at);
                earlier
            }
            Some(Datagram::Announce(said)) if said.place().0 != self.public && self.table.admits(now, ip, &said) => {
                let Some(said) = said.check() else { return false };
                let (place, id) = ((said.public, said.port), said.id.clone());
                let changed = self.table.heard(now, from, said);
                if self.table.get(now, &place).is_some() {
                    self.look_up(ctx, &id, true);
                }
                self.judge(ctx, &id.folded());
                if changed {
                    self.tell(ctx, Event::Changed);
                }
                false
            }
            _ => false,
        }
    }

    /// The announcement that is due now, if one is, and when the next is; Unix milliseconds.
    pub fn due(&mut self, ctx: &mut Ctx<Direct>) -> (Option<Vec<u8>>, u64) {
        let now = ctx.now();
        if self.listens.is_none() {
            return (None, u64::MAX);
        }
        if now < self.due {
            return (None, self.due);
        }
        let announcement = self.announcement(now, false);
        self.said = self.said.saturating_add(1);
        let step = FIRST.windows(2).nth(self.said - 1).map_or(EVERY, |pair| pair[1] - pair[0]);
        self.due = now.saturating_add(step);
        (announcement, self.due)
    }

    /// That this client leaves.
    pub fn farewell(&mut self, ctx: &mut Ctx<Direct>) -> Option<Vec<u8>> {
        let now = ctx.now();
        self.announcement(now, true)
    }

    pub(super) fn announcement(&mut self, now: u64, leaves: bool) -> Option<Vec<u8>> {
        let (me, (kind, port)) = (self.me.as_ref()?, self.listens?);
        self.last = now.max(self.last + 1);
        let kind = Some(kind).filter(|_| !leaves);
        let seed = me.seed.as_ref()?;
        let said = Announcement { id: me.id.clone(), kind, port, public: self.public, time: self.last };
        said.sign(seed).inspect_err(|fail| log::warn!("this client cannot be announced: {fail}")).ok()
    }

    /// Who is there.
    pub fn people(&self, now: u64) -> Vec<Person> {
        let person = |(place, entry): (&Place, &super::table::Entry)| Person {
            id: entry.id.clone(),
            trust: entry.trust,
            address: entry.address,
            public: place.0,
        };
        self.table.all(now).map(person).collect()
    }

    /// The clients of a user that are believed.
    fn places(&self, now: u64, user: &str) -> Vec<Place> {
        let folded = name::fold(user);
        let fits = |entry: &super::table::Entry| entry.trust == Trust::Verified && entry.id.folded() == folded;
        self.table.all(now).filter(|(_, entry)| fits(entry)).map(|(place, _)| *place).take(CLIENTS).collect()
    }

    /// Makes links to all clients of a user that are believed, where there is none. Each channel tells whether it was made.
    pub fn reach(&mut self, ctx: &mut Ctx<Direct>, user: &str) -> Vec<channel::Receiver<bool>> {
        let now = ctx.now();
        let mut waits = Vec::new();
        for place in self.places(now, user) {
            let Some(entry) = self.table.get(now, &place).filter(|entry| entry.not_before <= now) else { continue };
            if self.public == [0; 32] || self.ready.contains_key(&place) {
                continue;
            }
            let (send, wait) = channel::bounded(1);
            waits.push(wait);
            let begun = self.dialing.contains_key(&place);
            self.dialing.entry(place).or_default().push(send);
            if !begun {
                let target = Target::Net(entry.address.to_string(), Verify::Any);
                let link = ctx.connect(entry.kind, target, Peer::Dialing(place));
                ctx.after(LIMIT, move |direct, ctx| {
                    if !direct.ready.values().any(|ready| *ready == link) {
                        ctx.abort(link, "it has not proven who it is in time");
                    }
                });
            }
        }
        waits
    }

    /// Whether there is a link to that user.
    pub fn is_reached(&self, ctx: &Ctx<Direct>, user: &str) -> bool {
        let places = self.places(ctx.now(), user);
        places.iter().any(|place| self.ready.get(place).is_some_and(|link| ctx.is_open(*link)))
    }

    /// Closes all links.
    pub fn close(&mut self, ctx: &mut Ctx<Direct>) {
        for link in self.ready.values().chain(&self.friends) {
            ctx.close(*link, "the client ends");
        }
    }

    /// Sends a message to all clients of a user to which there is a link: a channel for each answer. None: there is no link.
    pub fn post(
        &mut self,
        ctx: &mut Ctx<Direct>,
        user: &str,
        body: &[u8],
    ) -> Vec<channel::Receiver<Result<Vec<u8>, Fail>>> {
        let mut answers = Vec::new();
        for place in self.places(ctx.now(), user) {
            let Some(link) = self.ready.get(&place).copied().filter(|link| ctx.is_open(*link)) else { continue };
            let Some(id) = self.table.get(ctx.now(), &place).map(|entry| entry.id.to_string()) else { continue };
            let (send, answer) = channel::bounded(1);
            answers.push(answer);
            self.posts = self.posts.wrapping_add(1);
            let number = self.posts;
            self.unanswered.insert(number);
            ctx.request(link, "SENDMESSAGE", &[id.as_bytes(), body], move |direct, ctx, answer| {
                direct.unanswered.remove(&number);
                let answer = match answer {
                    Err(fail) if fail.code == Code::Unavailable && ctx.info(link).is_none() => {
                        Err(Fail::new(Code::Unavailable, BROKE))
                    }
                    answer => answer.map(|data| data.unescape().into_owned()),
                };
                let _ = send.try_send(answer);
            });
            ctx.after(ANSWER, move |direct, ctx| {
                if direct.unanswered.contains(&number) {
                    ctx.abort(link, "no answer in time");
                }
            });
        }
        answers
    }

    /// A link of ours is open: who is there?
    fn introduce(&mut self, ctx: &mut Ctx<Direct>, link: LinkId, place: Place) {
        let entry = self.table.get(ctx.now(), &place).map(|entry| entry.id.to_string());
        let print = ctx.info(link).and_then(|info| info.fingerprint);
        let me = self.me.clone().and_then(|me| Some((me.id, me.seed?)));
        let (Some((own, seed)), Some(other), Some(print)) = (me, entry, print) else {
            return ctx.abort(link, "not there any more");
        };
        let challenge = secret::random::<32>(ctx.rng());
        let own = own.to_string();
        let (public, hex) = (keys::to_base64(&self.public), hex::encode(&challenge));
        let fields = [own.as_bytes(), public.as_bytes(), other.as_bytes(), hex.as_bytes()];
        let ids = [own.clone(), other.clone()];
        let known = [self.public, place.0];
        ctx.request(link, "HELLO", &fields, move |_, ctx, answer| {
            let proof = answer.and_then(|data| {
                let [public, theirs, signature] = data.take()?;
                let wrong = || Fail::new(Code::Wrong, "it cannot prove who it is");
                let theirs = hex::decode_32(&theirs.text()?).ok_or_else(wrong)?;
                let meeting = Meeting { fingerprint: print, ids, keys: known, challenges: [challenge, theirs] };
                let right = keys::parse_public(&public.text()?)? == place.0;
                match right && meeting.is_signed(Side::Accepter, &signature.text()?) {
                    true => meeting.sign(Side::Opener, &seed),
                    false => Err(wrong()),
                }
            });
            let proof = match proof {
                Ok(proof) => proof,
                Err(fail) => {
                    log::warn!("no direct link: {fail}");
                    return ctx.abort(link, &fail.text);
                }
            };
            ctx.request(link, "PROVE", &[proof.as_bytes()], move |direct, ctx, answer| match answer {
                Ok(_) => direct.made(ctx, link, place),
                Err(fail) => ctx.abort(link, &fail.text),
            });
        });
    }

    fn made(&mut self, ctx: &mut Ctx<Direct>, link: LinkId, place: Place) {
        if let Some(peer) = ctx.peer(link) {
            *peer = Peer::Ready(place);
            self.ready.insert(place, link);
        }
        for waits in self.dialing.remove(&place).into_iter().flatten() {
            let _ = waits.try_send(true);
        }
    }

    fn not_made(&mut self, ctx: &mut Ctx<Direct>, place: Place) {
        let again = ctx.now().saturating_add(AGAIN);
        if let Some((_, entry)) = self.table.all_mut().find(|(at, _)| **at == place) {
            entry.not_before = again;
        }
        for waits in self.dialing.remove(&place).into_iter().flatten() {
            let _ = waits.try_send(false);
        }
    }

    /// Closes the links with keys that are not believed any more.
    pub(super) fn drop_links(&mut self, ctx: &mut Ctx<Direct>, folded: &str) {
        let now = ctx.now();
        for (place, link) in &self.ready {
            let entry = self.table.get(now, place);
            if entry.is_some_and(|entry| entry.trust != Trust::Verified && entry.id.folded() == folded) {
                ctx.abort(*link, "its key is not valid any more");
            }
        }
        for link in &self.friends {
            if let Some(Peer::Friend { name, public }) = ctx.peer_ref(*link) {
                if name::fold(name) == folded && self.vouches.knows(folded, public) == Some(false) {
                    ctx.abort(*link, "its key is not valid any more");
                }
            }
        }
    }
}

impl Role for Direct {
    type Peer = Peer;
    const NAME: &'static str = "client";

    fn commands() -> &'static [Command<Direct>] {
        &[accept::HELLO, accept::PROVE, accept::SEND_MESSAGE]
    }

    fn tick(&mut self, ctx: &mut Ctx<Direct>) {
        self.look_up_rest(ctx);
    }

    fn opened(&mut self, ctx: &mut Ctx<Direct>, link: LinkId) {
        match ctx.peer_ref(link) {
            Some(Peer::Dialing(place)) => {
                let place = *place;
                self.introduce(ctx, link, place);
            }
            _ => accept::opened(ctx, link),
        }
    }

    fn closed(&mut self, ctx: &mut Ctx<Direct>, link: LinkId, gone: Gone<Peer>) {
        self.friends.remove(&link);
        match gone.peer {
            Peer::Dialing(place) => {
                log::info!("no direct link: {}", gone.why);
                self.not_made(ctx, place);
            }
            Peer::Ready(place) => {
                if self.ready.get(&place) == Some(&link) {
                    self.ready.remove(&place);
                }
            }
            Peer::Stranger | Peer::Offered(_) | Peer::Asking | Peer::Friend { .. } => {}
        }
    }
}
