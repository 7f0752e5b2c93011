//! Role main: the server that clients sign on to, and that relays their online messages.

mod disconnect;
mod get_server_map;
mod kept;
mod management;
pub mod members;
mod send_message;
mod set_status;
mod sign_off;
mod sign_on;

use crate::config::PortKey;
use crate::engine::ctx::put_number;
use crate::engine::ctx::Fingerprint;
use crate::engine::handshake;
use crate::engine::identity::ServerKey;
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

/// The schema of the main server's database.
pub const MIGRATIONS: &[&str] = &[kept::SCHEMA, members::SCHEMA];

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
    /// Of this process.
    pub key: ServerKey,
    /// Where management's ports are asked for (GETPORTS, 64474) before every connection, as they may move. None: they
    /// are where `management` and `validation` say.
    pub public: Option<Target>,
    /// How management's ports are reached: 64478 and 64482. With `public`, only the host counts.
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
    /// Management, 64474: where its other ports are.
    Public,
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
    bytes: Vec<u8>,
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
        let mut head = Head { bytes, time_at, time: u64::MAX };
        head.renew(0);
        head
    }

    fn renew(&mut self, now: u64) {
        if now != self.time {
            self.time = now;
            self.bytes.truncate(self.time_at);
            put_number(&mut self.bytes, now);
            self.bytes.extend_from_slice(raw::SEPARATOR);
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The state of a main server.
pub struct Main {
    settings: Settings,
    sessions: Vec<Option<Session>>,
    free: Vec<usize>,
    table: Table<LinkId>,
    management: management::Management,
    members: members::Members,
    map: get_server_map::Map,
    kept: kept::Kept,
    statuses: std::collections::HashMap<Box<str>, String>,
    delivered: u64,
}

impl Main {
    /// A main server that nobody has signed on to.
    pub fn new(settings: Settings) -> Main {
        let members = members::Members::new(&settings.server_id, settings.key.clone());
        Main {
            settings,
            sessions: Vec::new(),
            free: Vec::new(),
            table: Table::default(),
            management: management::Management::default(),
            members,
            map: get_server_map::Map::default(),
            kept: kept::Kept::default(),
            statuses: std::collections::HashMap::new(),
            delivered: 0,
        }
    }

    /// Where clients find this server, and where other main servers do: known once its ports are bound.
    pub fn set_addresses(&mut self, clients: String, mesh: String) {
        self.settings.address = clients;
        self.members.address = mesh;
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
            members::HELLO,
            members::PROVE,
        ]
    }

    fn start(&mut self, ctx: &mut Ctx<Main>) {
        members::load(ctx, |_, ctx| kept::load(ctx, management::connect));
    }

    fn opened(&mut self, ctx: &mut Ctx<Main>, link: LinkId) {
        match ctx.peer_ref(link) {
            Some(Peer::Public | Peer::Management | Peer::Validation) => management::opened(self, ctx, link),
            Some(_) if ctx.info(link).is_some_and(|info| info.port == PortKey::MainMain && !info.opener) => {
                handshake::accepted(self, ctx, link);
            }
            Some(_) | None => {}
        }
    }

    fn closed(&mut self, ctx: &mut Ctx<Main>, link: LinkId, gone: Gone<Peer>) {
        self.members.shakes.closed(link);
        match gone.peer {
            Peer::Client(index) => sign_off::ended(self, ctx, index, &gone.why, &gone.undelivered),
            Peer::Public => management::ports_closed(self, ctx, &gone.why),
            Peer::Management => management::closed(self, ctx, link, PortKey::MainManagement, &gone.why),
            Peer::Validation => management::closed(self, ctx, link, PortKey::Validation, &gone.why),
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
