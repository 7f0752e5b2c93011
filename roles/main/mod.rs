//! Role main: the server that clients sign on to, and that relays their online messages.

mod disconnect;
mod get_server_map;
mod kept;
mod management;
mod send_message;
mod set_status;
mod sign_off;
mod sign_on;

use crate::engine::ctx::put_number;
use crate::engine::ctx::Fingerprint;
use crate::engine::ctx::Words;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Gone;
use crate::engine::LinkId;
use crate::engine::Role;
use crate::engine::Target;
use crate::route::Table;
use crate::route::UserRef;
use crate::wire::hex;
use crate::wire::raw;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::SERVER_STOPS;

pub use kept::MIGRATIONS;

/// How often one user may be signed on at once (contract 5).
pub const SESSIONS: usize = 8;
/// How long `status` text may be, in bytes.
pub const STATUS_BYTES: usize = 256;

/// What a main server is told at start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names this server in tickets and in the map.
    pub server_id: String,
    /// Shown to people.
    pub name: String,
    /// `host:port` for clients; an empty host stands for the one by which they reach management.
    pub address: String,
    /// Of the certificate on the client port.
    pub fingerprint: Fingerprint,
    /// How management's ports are reached: 64478 and 64482.
    pub management: Target,
    /// See `management`.
    pub validation: Target,
}

/// What a main server remembers of a link.
#[derive(Debug, Default)]
pub enum Peer {
    /// A client that has not signed on.
    #[default]
    Stranger,
    /// A client whose ticket is being checked.
    SigningOn,
    /// A client; index into `Main::sessions`.
    Client(usize),
    /// Management, 64478.
    Management,
    /// Management, 64482.
    Validation,
}

/// A signed-on client.
#[derive(Debug)]
struct Session {
    link: LinkId,
    user: UserRef,
    /// The account's number; never used again, as a name may be.
    account: u64,
    head: Head,
    since: u64,
    /// The recipient of the last message, as it stood on the wire, and who that was.
    last: (Vec<u8>, UserRef),
}

/// What stands before the body in every RECEIVEMESSAGE of one sender: `RECEIVEMESSAGE SP sender LF sent-at LF`, escaped.
/// Written anew only when the time has changed.
#[derive(Debug)]
struct Head {
    words: Words,
    /// Where `sent-at` begins.
    time_at: usize,
    time: u64,
}

impl Head {
    fn new(sender: &str) -> Head {
        let mut bytes = b"RECEIVEMESSAGE ".to_vec();
        raw::escape_into(&mut bytes, sender.as_bytes());
        bytes.extend_from_slice(raw::SEPARATOR);
        let time_at = bytes.len();
        let mut head = Head { words: Words::new(bytes), time_at, time: u64::MAX };
        head.renew(0);
        head
    }

    #[inline]
    fn renew(&mut self, now: u64) {
        if now != self.time {
            self.time = now;
            self.words.renew(self.time_at, |bytes| {
                put_number(bytes, now);
                bytes.extend_from_slice(raw::SEPARATOR);
            });
        }
    }

    fn words(&self) -> &Words {
        &self.words
    }
}

/// The state of a main server.
pub struct Main {
    settings: Settings,
    sessions: Vec<Option<Session>>,
    free: Vec<usize>,
    table: Table<LinkId>,
    management: management::Management,
    map: get_server_map::Map,
    kept: kept::Kept,
    statuses: std::collections::HashMap<Box<str>, String>,
    delivered: u64,
}

impl Main {
    /// A main server that nobody has signed on to.
    pub fn new(settings: Settings) -> Main {
        Main {
            settings,
            sessions: Vec::new(),
            free: Vec::new(),
            table: Table::default(),
            management: management::Management::default(),
            map: get_server_map::Map::default(),
            kept: kept::Kept::default(),
            statuses: std::collections::HashMap::new(),
            delivered: 0,
        }
    }

    /// Where clients find this server: known once its port is bound.
    pub fn set_address(&mut self, address: String) {
        self.settings.address = address;
    }

    /// Tells when management knows this server: from then on clients are sent here.
    pub fn when_known(&mut self) -> std::sync::mpsc::Receiver<()> {
        let (send, receive) = std::sync::mpsc::channel();
        self.management.when_known = Some(send);
        receive
    }

    /// The certificate was replaced: management is told by a fresh introduction.
    pub fn set_fingerprint(&mut self, ctx: &mut Ctx<Main>, fingerprint: Fingerprint) {
        if std::mem::replace(&mut self.settings.fingerprint, fingerprint) != fingerprint {
            management::introduce(self, ctx);
        }
    }

    /// Clients that are signed on, and messages delivered to a session since the start.
    pub fn counts(&self) -> (usize, u64) {
        (self.sessions.len() - self.free.len(), self.delivered)
    }

    fn session(&self, index: usize) -> Option<&Session> {
        self.sessions.get(index)?.as_ref()
    }
}

/// The gate of everything but SIGNON on the client port.
fn signed_on(_: &Main, ctx: &Ctx<Main>, link: LinkId) -> Result<(), Fail> {
    match ctx.peer_ref(link) {
        Some(Peer::Client(_)) => Ok(()),
        _ => Err(Fail::new(Code::SignIn, "sign on first")),
    }
}

/// The session of a link that passed `signed_on`.
fn session_of(ctx: &Ctx<Main>, link: LinkId) -> Result<usize, Fail> {
    match ctx.peer_ref(link) {
        Some(Peer::Client(index)) => Ok(*index),
        _ => Err(Fail::new(Code::SignIn, "sign on first")),
    }
}

impl Role for Main {
    type Peer = Peer;
    const NAME: &'static str = "main";

    fn commands() -> &'static [Command<Main>] {
        &[
            send_message::SEND_MESSAGE,
            sign_on::SIGN_ON,
            sign_off::SIGN_OFF,
            get_server_map::GET_SERVER_MAP,
            set_status::SET_STATUS,
            disconnect::DISCONNECT,
            get_server_map::MAP_CHANGED,
        ]
    }

    fn start(&mut self, ctx: &mut Ctx<Main>) {
        kept::load(ctx, management::connect);
    }

    fn opened(&mut self, ctx: &mut Ctx<Main>, link: LinkId) {
        if let Some(Peer::Management | Peer::Validation) = ctx.peer_ref(link) {
            management::opened(self, ctx, link);
        }
    }

    fn closed(&mut self, ctx: &mut Ctx<Main>, link: LinkId, gone: Gone<Peer>) {
        match gone.peer {
            Peer::Client(index) => sign_off::ended(self, ctx, index, &gone.why, &gone.undelivered),
            Peer::Management => management::closed(self, ctx, link, false, &gone.why),
            Peer::Validation => management::closed(self, ctx, link, true, &gone.why),
            Peer::Stranger | Peer::SigningOn => {}
        }
    }

    fn stop(&mut self, ctx: &mut Ctx<Main>) {
        for session in self.sessions.iter().flatten() {
            let _ = ctx.push(session.link, "DISCONNECTED", &[SERVER_STOPS.as_bytes()]);
        }
    }
}

impl Settings {
    /// The fingerprint in hex.
    fn fingerprint_hex(&self) -> String {
        hex::encode(&self.fingerprint)
    }
}
