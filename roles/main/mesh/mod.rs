//! The other main servers: what is known of them, the links to them (64477), and a stream each way to every one.

pub mod control;
pub mod joint;
pub mod links;
pub mod relay;
pub mod relayed;
pub mod settled;
pub mod stream;

use std::cell::Cell;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::fmt;

use super::realm::RealmNo;
use super::Main;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::relay::Incoming;
use crate::relay::Outgoing;
use crate::route::ServerNo;
use crate::route::Table;
use crate::route::UserRef;

/// Complaints about one server that are logged in a minute.
const COMPLAINTS: u32 = 20;
/// How often they are counted anew; milliseconds.
const MINUTE: u64 = 60_000;

/// Pairs of people that are counted between two reports.
const TALKS: usize = 10_000;

/// Of so many milliseconds, one is looked at.
const SAMPLE: u64 = 4;

/// Who waits for the result of an item that was sent to another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A session of this server, which sent a message.
    Session {
        /// Index into `Main::sessions`.
        index: usize,
        /// Its link: another session may have the index by now.
        link: LinkId,
    },
    /// Something that waits for several items.
    Joint(u64),
    /// What the item itself says: a redirect's step.
    Control,
    /// A message for another realm that waited, by its number.
    Queued(u64),
}

/// The other end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A main server.
    Server(ServerNo),
    /// A realm.
    Realm(RealmNo),
}

/// What management says of a main server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// It is connected to management.
    pub up: bool,
    /// When it was started, Unix milliseconds.
    pub boot: u64,
    /// `host:port`, for main servers.
    pub mesh: String,
    /// `host:port`, for clients.
    pub client: String,
    /// Of its certificate, in hex.
    pub fingerprint: String,
    /// Sessions there, not long ago.
    pub clients: u64,
    /// It moves its clients away, and takes no others.
    pub draining: bool,
    /// The realm that it plays: `host:port`, or nothing.
    pub realm: String,
}

/// A link to a main server, proven.
#[derive(Clone, Copy, Debug)]
pub struct Neighbour {
    /// The link.
    pub link: LinkId,
    /// This side opened it.
    pub opener: bool,
    /// Measured in milliseconds.
    pub round_trip: links::RoundTrip,
    /// When the open probe was sent; None: it was answered.
    pub probed: Option<u64>,
}

/// Another main server.
#[derive(Debug)]
pub struct Server {
    /// Management's word.
    pub facts: Facts,
    /// The key that only it and this server can compute.
    pub mac: Option<[u8; 32]>,
    /// The link to it, if there is one.
    pub neighbour: Option<Neighbour>,
    /// A link that is being made.
    pub dialing: Option<LinkId>,
    /// Failed dials since the last success.
    pub tries: u32,
    /// A dial is due later.
    pub waiting: bool,
    /// What this server sends there.
    pub out: Outgoing<Who>,
    /// What comes from there.
    pub inc: Incoming,
    /// Packets that were sent under a later version of the table than this server's.
    pub early: VecDeque<Vec<u8>>,
    early_bytes: usize,
    /// One that had no room there was dropped.
    early_lost: bool,
    /// What it sent that cannot be, in this minute.
    complaints: Cell<u32>,
    /// Since when something waits and there is no way to it.
    pub lost_since: Option<u64>,
    /// The stream it sends on is of another start of this server: it is told so.
    pub unknown: Option<u64>,
    /// The first packet that is not acknowledged is sent once more, to hear how far the other end has come.
    ask: bool,
    dirty: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Mesh {
    /// When this server was started, Unix milliseconds.
    pub boot: u64,
    /// By `ServerNo::index`; this server's own place stays unused.
    servers: Vec<Server>,
    /// Servers whose streams have something to send or to report.
    dirty: Vec<ServerNo>,
    last_stream: u64,
    /// Waiting for several results.
    pub joints: joint::Joints,
    report: bool,
    reported: Option<String>,
    /// Sender, recipient → milliseconds in which there was a message, about, since the last report.
    pub talks: HashMap<(Box<str>, Box<str>), u64>,
}

impl Mesh {
    /// The server of that number.
    pub fn get(&self, server: ServerNo) -> Option<&Server> {
        self.servers.get(server.index())
    }

    /// The same, to change.
    pub fn get_mut(&mut self, server: ServerNo) -> Option<&mut Server> {
        self.servers.get_mut(server.index())
    }

    /// Whether that item of a stream is done with: acknowledged, or given up with its stream.
    pub fn is_done(&self, server: ServerNo, stream: u64, item: u64) -> bool {
        self.get(server).is_none_or(|entry| entry.out.number() != stream || entry.out.acked() >= item)
    }

    /// The server's place, made if needed.
    pub fn place(&mut self, server: ServerNo, now: u64) -> &mut Server {
        while self.servers.len() <= server.index() {
            let number = self.stream_number(now);
            self.servers.push(Server {
                facts: Facts::default(),
                mac: None,
                neighbour: None,
                dialing: None,
                tries: 0,
                waiting: false,
                out: Outgoing::new(number),
                inc: Incoming::default(),
                early: VecDeque::new(),
                early_bytes: 0,
                early_lost: false,
                complaints: Cell::new(0),
                lost_since: None,
                unknown: None,
                ask: false,
                dirty: false,
            });
        }
        &mut self.servers[server.index()]
    }

    /// A stream's number: greater than every earlier one, of earlier starts too.
    pub fn stream_number(&mut self, now: u64) -> u64 {
        self.last_stream = now.max(self.last_stream + 1);
        self.last_stream
    }

    /// At the end of the event the server's stream is looked at.
    #[inline]
    pub fn touch(&mut self, server: ServerNo) {
        if let Some(entry) = self.servers.get_mut(server.index()) {
            if !std::mem::replace(&mut entry.dirty, true) {
                self.dirty.push(server);
            }
        }
    }

    /// Somebody has written to somebody, in a millisecond of which this is the first message. A sample of these is counted: enough to
    /// tell who writes to whom.
    #[inline]
    pub fn talked(&mut self, table: &Table<LinkId>, sender: UserRef, recipient: &str, now: u64) {
        if now.is_multiple_of(SAMPLE) {
            self.count_talk(table, sender, recipient);
        }
    }

    #[cold]
    fn count_talk(&mut self, table: &Table<LinkId>, sender: UserRef, recipient: &str) {
        let Some(sender) = table.get(sender).filter(|_| self.talks.len() < TALKS) else { return };
        *self.talks.entry((sender.name.clone(), Box::from(recipient))).or_default() += SAMPLE;
    }

    fn take_dirty(&mut self) -> Vec<ServerNo> {
        let dirty = std::mem::take(&mut self.dirty);
        for server in &dirty {
            if let Some(entry) = self.servers.get_mut(server.index()) {
                entry.dirty = false;
            }
        }
        dirty
    }

    /// Every server's number.
    pub fn numbers(&self) -> impl Iterator<Item = ServerNo> + use<> {
        (0..self.servers.len()).map(ServerNo::from_index)
    }
}

/// Logs what a server sends that cannot be; not all of it, as a server that wants to can send much.
pub fn complain(main: &Main, server: ServerNo, what: fmt::Arguments<'_>) {
    let Some(entry) = main.mesh.get(server) else { return };
    let before = entry.complaints.get();
    entry.complaints.set(before.saturating_add(1));
    if before < COMPLAINTS {
        log::warn!("main server {} {what}", main.table.server_id(server));
    }
}

/// Once a second: complaints are counted anew now and then.
pub fn tick(main: &mut Main, ctx: &Ctx<Main>) {
    if !(ctx.now() / 1_000).is_multiple_of(MINUTE / 1_000) {
        return;
    }
    for server in main.mesh.numbers() {
        let count = main.mesh.get(server).map_or(0, |entry| entry.complaints.replace(0));
        if count > COMPLAINTS {
            let more = count - COMPLAINTS;
            log::warn!(
                "main server {} sends what cannot be: {more} more packets like that",
                main.table.server_id(server)
            );
        }
    }
}

/// The link that leads to a server: to the next hop, or, when no route is known, straight to it. And whether it is straight.
pub fn way(main: &Main, ctx: &Ctx<Main>, to: ServerNo) -> Option<(LinkId, bool)> {
    let link = |server: ServerNo| {
        let link = main.mesh.get(server)?.neighbour?.link;
        ctx.is_open(link).then_some(link)
    };
    let hop = main.table.next_hop(to).and_then(|hop| Some((link(hop)?, hop == to)));
    hop.or_else(|| Some((link(to)?, true)))
}
