//! Role main: the server that clients sign on to, and that relays their online messages.

mod commands;
mod deliver;
mod disconnect;
mod drain;
mod fetch;
mod get_keys;
mod get_server_map;
mod handover;
mod hold;
mod kept;
mod leave;
mod management;
mod marks;
mod members;
mod mesh;
mod moved;
mod operator;
mod post;
#[path = "../realm/mod.rs"]
pub mod realm;
mod receipts;
mod redirect;
mod report;
mod routes;
mod send_message;
mod set_status;
mod settle;
mod sign_off;
mod sign_on;
mod standby;
mod storage;
mod voice;

use std::collections::HashMap;

use crate::config::PortKey;
use crate::engine::ctx::put_number;
use crate::engine::ctx::Fingerprint;
use crate::engine::ctx::Words;
use crate::engine::handshake;
use crate::engine::identity::ServerKey;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Gone;
use crate::engine::LinkId;
use crate::engine::Role;
use crate::engine::Target;
use crate::members::Centre;
use crate::members::Members;
use crate::route::ServerNo;
use crate::route::Table;
use crate::route::UserRef;
use crate::session;
use crate::voice::Event;
use crate::wire::hex;
use crate::wire::raw;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;
use crate::wire::SERVER_STOPS;

/// The schema of the main server's database.
pub const MIGRATIONS: &[&str] = &[
    kept::SCHEMA,
    crate::members::SCHEMA_BEFORE,
    kept::SCHEMA_NAMES,
    kept::SCHEMA_RECEIPTS,
    crate::members::RENAMED,
    realm::SCHEMAS[0],
    realm::SCHEMAS[1],
    realm::SCHEMAS[2],
    realm::SCHEMAS[3],
];

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
    /// Data management is in this process.
    pub storage: bool,
    /// `host:port` for main servers; an empty host as in `address`. Empty: none.
    pub mesh: String,
    /// Role realm is played too.
    pub realm: Option<realm::Settings>,
}

/// What a main server remembers of a link.
#[derive(Debug, Default)]
pub enum Peer {
    /// A client that has not signed on.
    #[default]
    Stranger,
    /// A client at a door of the realm, which has not signed on.
    Door(Box<realm::Door>),
    /// Management, 64478, for a client at a door.
    Desk(LinkId),
    /// The directory of realms.
    Directory(realm::directory::Step),
    /// A realm that this one dials, and one that has proven who it is.
    DialedRealm(realm::RealmNo),
    Realm(realm::RealmNo),
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
    /// A main server that this one dials.
    Dialed(ServerNo),
    /// A main server that has proven who it is.
    Server(ServerNo),
    /// A client whose session is at another server; this one stands by. The request's id.
    Standby(String),
    /// Data management, 64481.
    Centre,
    /// A client that went to another server.
    Moved(Box<redirect::Left>),
}

/// How a session came here.
#[derive(Clone, Debug)]
pub struct Came {
    /// The move's id.
    pub id: String,
    /// The server that had it.
    pub from: ServerNo,
    /// The version of the table that says so; `u64::MAX` while none does.
    pub version: u64,
    /// Management is asked for it, as it did not believe that it is here.
    pub claimed: bool,
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
    /// What its last message to another server was as an item, the time in it, and the recipient.
    what: (Vec<u8>, u64, UserRef),
    /// The same of its last message to another realm.
    abroad: Option<Box<realm::abroad::Last>>,
    /// Messages of this session that are held, or on their way to other servers.
    relaying: usize,
    /// Set while it gets no messages yet: they wait here.
    quiet: Option<handover::Quiet>,
    /// It came in by a door of the realm: no other server has it, so it stays.
    door: bool,
    /// It is being moved to another server.
    moving: Option<redirect::Moving>,
    /// What its client will show there.
    secret: String,
    /// Moves that came to nothing, not long ago.
    moves_failed: u32,
    /// When the last of them did.
    move_failed_at: u64,
    /// The id of the move by which it came here, the server that had it, and the version of the table with which it came.
    came: Option<Came>,
    /// How often it has asked for a standby.
    standbys_asked: usize,
    /// The standby that it was told of, and that it has not come to so far.
    standby_told: Option<(ServerNo, String)>,
    /// Its standby.
    standby: Option<standby::Link>,
    /// Messages since it has the standby.
    delivered: u64,
}

impl Session {
    fn new(link: LinkId, account: u64, name: &str, since: u64, came: Option<Came>) -> Session {
        Session {
            link,
            user: UserRef::default(),
            account,
            head: Head::new(name),
            since,
            last: (Vec::new(), UserRef::default()),
            what: (Vec::new(), 0, UserRef::default()),
            abroad: None,
            relaying: 0,
            quiet: Some(handover::Quiet::default()),
            door: false,
            moving: None,
            secret: String::new(),
            moves_failed: 0,
            move_failed_at: 0,
            came,
            standbys_asked: 0,
            standby_told: None,
            standby: None,
            delivered: 0,
        }
    }

    /// Whether it takes messages now, and for good.
    fn is_ready(&self) -> bool {
        self.quiet.is_none() && self.moving.is_none()
    }

    /// Whether a message for it needs more than its outbox.
    fn is_special(&self) -> bool {
        self.quiet.is_some()
            || self.standby.is_some()
            || self.came.as_ref().is_some_and(|came| came.version == u64::MAX)
    }
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

    /// Returns whether the time has changed.
    #[inline]
    fn renew(&mut self, now: u64) -> bool {
        let changed = now != self.time;
        if changed {
            self.time = now;
            self.words.renew(self.time_at, |bytes| {
                put_number(bytes, now);
                bytes.extend_from_slice(raw::SEPARATOR);
            });
        }
        changed
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
    members: Members,
    map: get_server_map::Map,
    kept: kept::Kept,
    fetches: fetch::Fetches,
    receipts: receipts::Receipts,
    statuses: HashMap<Box<str>, String>,
    delivered: u64,
    /// Sessions by their links.
    by_link: HashMap<LinkId, usize>,
    /// This server, in the table.
    own: ServerNo,
    /// The version of the table.
    version: u64,
    portion: routes::Portion,
    mesh: mesh::Mesh,
    holds: hold::Holds,
    moved: moved::Moved,
    /// Sessions that came from other servers, by the ids of their moves.
    came: HashMap<String, usize>,
    /// The version of the table with which the latest of them came.
    last_came: u64,
    /// Sessions that are being moved away, by request id.
    moves: HashMap<String, usize>,
    /// Clients that are on their way here.
    arrivals: handover::Arrivals,
    standbys: standby::Standbys,
    draining: Option<drain::Draining>,
    storage: storage::Storage,
    storage_ready: Option<std::sync::mpsc::Sender<()>>,
    leaving: leave::Leaving,
    traffic: report::Traffic,
    realm: Option<realm::Realm>,
    voice: voice::Voice,
    /// GETKEYS that management has not answered.
    keys_asked: usize,
    /// For building what is needed only for a moment.
    scratch: Vec<u8>,
}

impl Main {
    /// A main server that nobody has signed on to.
    pub fn new(settings: Settings) -> Main {
        let members = Members::new(&settings.server_id, settings.key.clone());
        let mut table = Table::default();
        let storage = storage::Storage::new(settings.storage);
        // The name was checked when the configuration was read; a table has room for one server.
        let own = table.set_own(&settings.server_id).unwrap_or_default();
        let realm = settings.realm.clone().map(realm::Realm::new);
        Main {
            settings,
            sessions: Vec::new(),
            free: Vec::new(),
            table,
            management: management::Management::default(),
            members,
            map: get_server_map::Map::default(),
            kept: kept::Kept::default(),
            fetches: fetch::Fetches::default(),
            receipts: receipts::Receipts::default(),
            statuses: HashMap::new(),
            delivered: 0,
            by_link: HashMap::new(),
            own,
            version: 0,
            portion: routes::Portion::default(),
            mesh: mesh::Mesh::default(),
            holds: hold::Holds::default(),
            moved: moved::Moved::default(),
            came: HashMap::new(),
            last_came: 0,
            moves: HashMap::new(),
            arrivals: handover::Arrivals::default(),
            standbys: standby::Standbys::default(),
            draining: None,
            storage,
            storage_ready: None,
            leaving: leave::Leaving::default(),
            traffic: report::Traffic::default(),
            realm,
            voice: voice::Voice::default(),
            keys_asked: 0,
            scratch: Vec::new(),
        }
    }

    /// Where clients and other main servers find this one: known once its ports are bound.
    pub fn set_addresses(&mut self, address: String, mesh: String) {
        (self.settings.address, self.settings.mesh) = (address, mesh);
    }

    /// Where others find the realm: known once its port is bound.
    pub fn set_realm_address(&mut self, address: String) {
        if let Some(realm) = &mut self.realm {
            realm.set_address(&address);
        }
    }

    /// Moves every client away, for this server to end; the channel tells when nobody is left who can be moved, and nothing is on its
    /// way here any more.
    pub fn drain(&mut self, ctx: &mut Ctx<Main>) -> std::sync::mpsc::Receiver<()> {
        let (send, receive) = std::sync::mpsc::channel();
        drain::begin(self, ctx);
        if let Some(draining) = &mut self.draining {
            draining.when_done = Some(send);
        }
        drain::end(self, ctx);
        receive
    }

    /// Moves up to `count` clients to another main server, the latest first; true: there is such a server.
    pub fn move_clients(&mut self, ctx: &mut Ctx<Main>, count: usize, to: &str) -> bool {
        drain::move_some(self, ctx, count, to).is_ok()
    }

    /// Tells when management knows this server: from then on clients are sent here.
    pub fn when_known(&mut self) -> std::sync::mpsc::Receiver<()> {
        let (send, receive) = std::sync::mpsc::channel();
        self.management.when_known = Some(send);
        receive
    }

    /// Tells when data management is reachable for the first time.
    pub fn when_storage(&mut self) -> std::sync::mpsc::Receiver<()> {
        let (send, receive) = std::sync::mpsc::channel();
        self.storage_ready = Some(send);
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

    /// The session that came here by that move.
    fn session_of_move(&self, id: &str) -> Option<&Session> {
        self.session(*self.came.get(id)?)
    }

    fn session_at(&self, link: LinkId) -> Option<&Session> {
        self.session(*self.by_link.get(&link)?)
    }

    /// The session is over; it is not in the table any more.
    fn forget_session(&mut self, index: usize) -> Option<Session> {
        standby::drop_link(self, index);
        let session = self.sessions.get_mut(index)?.take()?;
        self.by_link.remove(&session.link);
        self.fetches.freed(session.quiet.as_ref().map_or(&[], |quiet| &quiet.older));
        self.map.watchers.retain(|link| *link != session.link);
        self.voice.session_over(session.link);
        if let Some(moving) = &session.moving {
            self.moves.remove(&moving.id);
        }
        if let Some(came) = &session.came {
            self.came.remove(&came.id);
        }
        self.free.push(index);
        Some(session)
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

/// The ports of clients that have signed on.
const CLIENTS: &[PortKey] = &[PortKey::ClientMain, PortKey::Realm, PortKey::Web];

impl Role for Main {
    type Peer = Peer;
    const NAME: &'static str = "main";

    fn commands() -> &'static [Command<Main>] {
        commands::COMMANDS
    }

    fn blob_behind(command: &[u8], _: Raw<'_>) -> Option<usize> {
        session::blob_behind(command)
    }

    fn start(&mut self, ctx: &mut Ctx<Main>) {
        self.mesh.boot = ctx.now();
        crate::members::load(ctx, |main, ctx| {
            kept::load(ctx, management::connect);
            Centre::start(main, ctx);
        });
        realm::start(self, ctx);
    }

    fn settled(&mut self, ctx: &mut Ctx<Main>) {
        standby::settled(self, ctx);
        mesh::relay::flush(self, ctx);
        realm::relay::flush(self, ctx);
        voice::settled(self, ctx);
    }

    fn voice(&mut self, ctx: &mut Ctx<Main>, events: Vec<Event>) {
        voice::events(self, ctx, events);
    }

    fn tick(&mut self, ctx: &mut Ctx<Main>) {
        mesh::tick(self, ctx);
        mesh::links::tick(self, ctx);
        mesh::relay::tick(self, ctx);
        redirect::tick(self, ctx);
        handover::tick(self, ctx);
        standby::tick(self, ctx);
        fetch::tick(self, ctx);
        receipts::tick(self, ctx);
        management::talks(self, ctx);
        storage::tick(self, ctx);
        realm::tick(self, ctx);
        report::tick(self, ctx);
        voice::tick(self, ctx);
        self.moved.sweep(ctx.now(), self.management.link().is_none());
    }

    fn opened(&mut self, ctx: &mut Ctx<Main>, link: LinkId) {
        match ctx.peer_ref(link) {
            Some(Peer::Public | Peer::Management | Peer::Validation) => management::opened(self, ctx, link),
            Some(Peer::Centre) => Centre::opened(self, ctx, link),
            Some(Peer::Desk(_)) => realm::desk_opened(self, ctx, link),
            Some(Peer::Directory(step)) => realm::directory::opened(self, ctx, link, *step),
            Some(Peer::DialedRealm(realm)) => realm::links::opened(self, ctx, link, *realm),
            Some(Peer::Dialed(server)) => mesh::links::opened(self, ctx, link, *server),
            Some(_) if ctx.info(link).is_some_and(|info| info.port == PortKey::MainMain && !info.opener) => {
                handshake::accepted(self, ctx, link);
            }
            Some(_) if ctx.info(link).is_some_and(|info| realm::DOORS.contains(&info.port) && !info.opener) => {
                realm::opened(ctx, link);
            }
            Some(_) | None => {}
        }
    }

    fn closed(&mut self, ctx: &mut Ctx<Main>, link: LinkId, gone: Gone<Peer>) {
        let unproven = self.members.shakes.closed(link);
        if realm::DOORS.contains(&gone.port) {
            realm::closed(self, ctx, link, unproven);
        }
        match gone.peer {
            Peer::Client(index) => sign_off::ended(self, ctx, index, &gone.why, &gone.undelivered),
            Peer::Public => management::ports_closed(self, ctx, &gone.why),
            Peer::Management => management::closed(self, ctx, link, PortKey::MainManagement, &gone.why),
            Peer::Validation => management::closed(self, ctx, link, PortKey::Validation, &gone.why),
            Peer::Dialed(server) | Peer::Server(server) => mesh::links::closed(self, ctx, link, server, &gone.why),
            Peer::Centre => Centre::closed(self, ctx, link, &gone.why),
            Peer::Directory(step) => realm::directory::closed(self, ctx, link, step, &gone.why),
            Peer::DialedRealm(realm) | Peer::Realm(realm) => realm::links::closed(self, ctx, link, realm, &gone.why),
            Peer::Standby(id) => standby::link_closed(self, &id),
            Peer::Moved(left) => {
                self.leaving.reading = self.leaving.reading.saturating_sub(1);
                log::debug!("{}: {} has left: {}", left.id, left.user, gone.why);
                redirect::send_late(self, left.to, &left.id, (&left.user, left.account), &gone.undelivered);
            }
            Peer::Desk(client) => realm::desk_closed(self, ctx, link, client),
            Peer::Stranger | Peer::SigningOn | Peer::Door(_) => {}
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
