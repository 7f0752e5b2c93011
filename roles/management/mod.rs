//! Role management: accounts, sign-on, the choice of a main server, and who is where.

mod account;
mod admin;
mod balance;
mod behalf;
mod blocks;
mod choose;
mod directory;
mod drain;
mod get_ports;
mod join;
mod keepers;
mod keys;
mod links;
mod login;
mod mains;
mod map;
mod moves;
mod network;
mod notice;
mod online;
mod operator;
mod operator_servers;
mod presence;
mod realms;
mod receipts;
mod registration;
mod resync;
mod routes;
mod samples;
mod servers;
mod sessions;
mod storage;
mod talks;
mod trust;
mod usage;
mod validate;
mod voice;
mod whois;

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::net::IpAddr;
use std::net::Ipv4Addr;

use crate::accounts::registration::Registrations;
use crate::accounts::tickets::Tickets;
use crate::accounts::tokens;
use crate::accounts::tries::Tries;
use crate::accounts::users;
use crate::accounts::users::UserId;
use crate::config::Policy;
use crate::config::PortKey;
use crate::engine::ctx::Fingerprint;
use crate::engine::handshake;
use crate::engine::identity::ServerKey;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Gone;
use crate::engine::LinkId;
use crate::engine::Role;
use crate::wire::Code;
use crate::wire::Fail;

/// The schema of management's database.
pub const MIGRATIONS: &[&str] = &[
    users::SCHEMA,
    network::SCHEMA,
    users::SCHEMA_QUOTA,
    realms::SCHEMA,
    blocks::SCHEMA,
    network::SCHEMA_ALONE,
    voice::SCHEMA,
];

/// How often tokens that are over are deleted, a thousand at a time; milliseconds.
const EXPIRY: u64 = 600_000;

/// What management is told at start, and again on a reload.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Shown in the map; the name of this process in the network.
    pub name: String,
    /// Of this process.
    pub key: ServerKey,
    /// Who may register.
    pub registration: Policy,
    /// How long a session token lasts.
    pub token_days: u64,
    /// Of the certificate that clients see; signed by those that sign on with a key.
    pub fingerprint: Fingerprint,
    /// `config key`, port: the answer to GETPORTS.
    pub ports: Vec<(&'static str, u16)>,
    /// Names of the rights that a voice user has from the start.
    pub voice_rights: Vec<String>,
}

/// An account that a link has signed on to.
#[derive(Clone, Debug)]
pub struct Account {
    id: UserId,
    folded: String,
}

/// What management remembers of a link.
#[derive(Debug, Default)]
pub struct Peer {
    account: Option<Account>,
    /// A LOGIN or PROVEKEY of this link is being checked.
    checking: bool,
    /// The open challenge: for which account, and what.
    challenge: Option<(String, String)>,
    /// A realm speaks for a client on this link.
    behalf: Option<Box<behalf::Behalf>>,
    /// The main server at the other end.
    server: Option<String>,
    /// The storage server at the other end.
    storage: Option<storage::Id>,
    /// The realm at the other end, which is in the directory.
    realm: Option<String>,
}

/// The state of management.
pub struct Management {
    settings: Settings,
    started: u64,
    /// When tokens that are over are deleted next.
    next_expiry: u64,
    registrations: Registrations,
    tickets: Tickets,
    tries: Tries,
    /// The links that an account has signed on to, oldest first.
    signed_on: HashMap<UserId, Vec<LinkId>>,
    /// Main servers that are up.
    mains: BTreeMap<String, mains::MainServer>,
    /// All main servers there are.
    directory: directory::Directory,
    storage: storage::Storage,
    /// Servers that are not up, and drained when they were: which process.
    drained: HashMap<String, u64>,
    links: links::Links,
    online: online::Online,
    trust: trust::Trust,
    resync: resync::Resync,
    moves: moves::Moves,
    receipts: receipts::Receipts,
    keepers: keepers::Keepers,
    routes: routes::Routes,
    talks: talks::Talks,
    balance: balance::Balance,
    watchers: map::Watchers,
    network: network::Network,
    usage: usage::Usage,
    sessions: sessions::Sessions,
    samples: samples::Samples,
    /// The directory of realms.
    realms: realms::Realms,
    voice: voice::Voice,
    /// Folded names of the accounts that the operator disabled or deleted since the start: a sign-on that was under way at
    /// that moment must not come through afterwards.
    barred: HashSet<String>,
}

impl Management {
    /// Management without any server or user.
    pub fn new(settings: Settings) -> Management {
        let network = network::Network::new(&settings.name, settings.key.clone());
        let receipts = receipts::Receipts::new(&settings.key);
        let voice = voice::Voice::new(&settings.key);
        Management {
            settings,
            started: 0,
            next_expiry: 0,
            registrations: Registrations::new(),
            tickets: Tickets::new(),
            tries: Tries::new(),
            signed_on: HashMap::new(),
            mains: BTreeMap::new(),
            directory: directory::Directory::default(),
            storage: storage::Storage::default(),
            drained: HashMap::new(),
            links: links::Links::default(),
            online: online::Online::default(),
            trust: trust::Trust::default(),
            resync: resync::Resync::default(),
            moves: moves::Moves::default(),
            receipts,
            keepers: keepers::Keepers::default(),
            routes: routes::Routes::default(),
            talks: talks::Talks::default(),
            balance: balance::Balance::default(),
            watchers: map::Watchers::default(),
            network,
            usage: usage::Usage::default(),
            sessions: sessions::Sessions::default(),
            samples: samples::Samples::default(),
            realms: realms::Realms::default(),
            voice,
            barred: HashSet::new(),
        }
    }

    /// Takes new settings; those that need a restart stay as they are.
    pub fn reload(
        &mut self,
        registration: Policy,
        token_days: u64,
        fingerprint: Fingerprint,
        voice_rights: Vec<String>,
    ) {
        self.settings.registration = registration;
        self.settings.token_days = token_days;
        self.settings.fingerprint = fingerprint;
        self.settings.voice_rights = voice_rights;
    }

    /// The ports that were bound; known after this role was made.
    pub fn set_ports(&mut self, ports: Vec<(&'static str, u16)>) {
        self.settings.ports = ports;
    }
}

/// Links of one account that are signed on at once; one more, and its oldest goes. More than its sessions.
const LINKS: usize = 64;

/// Where accounts are asked about: the clients' own port, and links on which a realm speaks for one.
const ACCOUNT_PORTS: &[PortKey] = &[PortKey::ClientManagement, PortKey::MainManagement];

/// The link is signed on to the account now.
fn add_link(management: &mut Management, ctx: &mut Ctx<Management>, account: UserId, link: LinkId) {
    let links = management.signed_on.entry(account).or_default();
    links.push(link);
    if links.len() > LINKS {
        let oldest = links.remove(0);
        ctx.close(oldest, "this account has newer connections");
    }
}

/// Closes every link of the account but `keep`: what it was signed on with is not good any more.
fn sign_out(management: &mut Management, ctx: &mut Ctx<Management>, account: UserId, keep: Option<LinkId>) {
    for link in management.signed_on.get(&account).into_iter().flatten().filter(|link| Some(**link) != keep) {
        if let Some(peer) = ctx.peer(*link) {
            peer.account = None;
        }
        ctx.close(*link, "signed out");
    }
    // `closed` does not find their account any more.
    match keep.filter(|keep| management.signed_on.get(&account).is_some_and(|links| links.contains(keep))) {
        Some(keep) => management.signed_on.insert(account, vec![keep]),
        None => management.signed_on.remove(&account),
    };
}

/// The gate of what needs a LOGIN first.
fn signed_on(_: &Management, ctx: &Ctx<Management>, link: LinkId) -> Result<(), Fail> {
    match ctx.peer_ref(link) {
        Some(Peer { account: Some(_), .. }) => Ok(()),
        _ => Err(Fail::new(Code::SignIn, "sign on first")),
    }
}

/// The gate of what main servers send: only over links within this process, or proven by the server handshake.
fn main_server(management: &Management, ctx: &Ctx<Management>, link: LinkId) -> Result<(), Fail> {
    handshake::proven_server(management, ctx, link)
}

/// The gate of what main servers send after MAINSERVER.
fn introduced(management: &Management, ctx: &Ctx<Management>, link: LinkId) -> Result<(), Fail> {
    main_server(management, ctx, link)?;
    server_of(ctx, link).map(drop)
}

/// The main server at the other end of a link that passed `main_server`. FAIL BADCOMMAND before its MAINSERVER.
fn server_of(ctx: &Ctx<Management>, link: LinkId) -> Result<String, Fail> {
    let server = ctx.peer_ref(link).and_then(|peer| peer.server.clone());
    server.ok_or_else(|| Fail::new(Code::BadCommand, "send MAINSERVER first"))
}

/// What a main server may not say. It goes to the log, with the server's name, as a server of ours does not say it.
fn refused(server: &str, command: &str, why: &'static str) -> Fail {
    log::warn!("{command} of main server {server} is refused: {why}");
    Fail::new(Code::Denied, why)
}

/// The account of a link that passed `signed_on`.
fn account_of(ctx: &Ctx<Management>, link: LinkId) -> Result<Account, Fail> {
    match ctx.peer_ref(link) {
        Some(Peer { account: Some(account), .. }) => Ok(account.clone()),
        _ => Err(Fail::new(Code::SignIn, "sign on first")),
    }
}

/// The address that tries are counted for.
fn address_of(ctx: &Ctx<Management>, link: LinkId) -> IpAddr {
    if let Some(behalf) = behalf::behalf(ctx, link) {
        return behalf.addr;
    }
    ctx.info(link).and_then(|info| info.remote).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

impl Role for Management {
    type Peer = Peer;
    const NAME: &'static str = "management";

    fn commands() -> &'static [Command<Management>] {
        &[
            registration::REGISTER_ACCOUNT,
            registration::CONFIRM_REGISTER_ACCOUNT,
            get_ports::GET_PORTS,
            login::LOGIN,
            login::LOGIN_KEY,
            login::PROVE_KEY,
            keys::ADD_KEY,
            keys::LIST_KEYS,
            keys::REMOVE_KEY,
            keys::GET_KEYS,
            account::CHANGE_PASSWORD,
            account::REVOKE_TOKENS,
            servers::LIST_SERVERS,
            servers::REPORT_SERVERS,
            validate::VALIDATE,
            validate::VALIDATE_KEY,
            network::HELLO,
            network::PROVE,
            join::JOIN,
            storage::STORAGE_SERVER,
            storage::STORAGE_STATUS,
            voice::PARTICIPANTS,
            whois::CHECK_RECEIPT,
            whois::WHO_IS,
            whois::ACCOUNTS,
            mains::MAIN_SERVER,
            behalf::ON_BEHALF,
            behalf::AS_ACCOUNT,
            behalf::COUNT_ACCOUNTS,
            blocks::BLOCK,
            blocks::BLOCKS,
            realms::REALM,
            realms::FIND_REALM,
            realms::LIST_REALMS,
            presence::PRESENCE,
            presence::LOOKUP,
            moves::MOVE,
            keepers::KEEPS,
            links::LINKS,
            routes::PORTION,
            talks::TALKS,
            drain::DRAINING,
            map::WATCH_MAP,
            map::SYNC_MAP,
            admin::USERS,
            admin::USER_ADD,
            admin::USER_STATE,
            admin::USER_DELETE,
            admin::USER_PASSWD,
            admin::KICK,
            admin::INVITE,
            admin::INVITES,
            admin::STATUS,
            operator::USER_OPERATOR,
            operator::OPERATE,
            usage::QUOTA,
            usage::ACCOUNT,
            notice::NOTICE,
            sessions::SESSIONS,
            samples::SAMPLES,
            samples::TRAFFIC,
            drain::DRAIN,
            drain::MOVE_CLIENTS,
            operator_servers::ADD_SERVER,
            operator_servers::REMOVE_SERVER,
            operator_servers::SERVERS,
            voice::CONTROL,
            voice::FOR,
            voice::GONE,
            voice::HERE,
            voice::VOICE_USERS,
            voice::VOICE_RIGHTS,
        ]
    }

    fn start(&mut self, ctx: &mut Ctx<Management>) {
        self.started = ctx.now();
        self.routes.start(ctx.now(), self.network.shakes.own_id());
        realms::load(ctx, network::load);
    }

    fn opened(&mut self, ctx: &mut Ctx<Management>, link: LinkId) {
        if ctx.info(link).is_some_and(|info| network::is_server_port(info.port)) {
            handshake::accepted(self, ctx, link);
        }
    }

    fn closed(&mut self, ctx: &mut Ctx<Management>, link: LinkId, gone: Gone<Peer>) {
        self.network.shakes.closed(link);
        if let Some(account) = gone.peer.account {
            if let Some(links) = self.signed_on.get_mut(&account.id) {
                links.retain(|other| *other != link);
                if links.is_empty() {
                    self.signed_on.remove(&account.id);
                }
            }
        }
        if let Some(server) = gone.peer.server {
            mains::lost(self, ctx, link, &server, &gone.why);
        }
        if let Some(server) = gone.peer.storage {
            storage::lost(self, ctx, link, &server, &gone.why);
        }
        if let Some(realm) = gone.peer.realm {
            realms::lost(self, ctx, link, &realm);
        }
    }

    fn tick(&mut self, ctx: &mut Ctx<Management>) {
        let now = ctx.now();
        self.registrations.sweep(now);
        self.tickets.sweep(now);
        directory::tick(self, ctx);
        routes::release(self, ctx);
        samples::tick(self, ctx);
        voice::tick(self, ctx);
        if now >= self.next_expiry {
            self.next_expiry = now.saturating_add(EXPIRY);
            ctx.store(
                move |db| tokens::expire(db, now),
                |_, _, gone| match gone {
                    Ok(0) | Err(_) => {}
                    Ok(count) => log::debug!("{count} tokens were over"),
                },
            );
        }
    }
}
