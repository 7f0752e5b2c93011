//! Role data management: the only one that knows names, rights, quotas, and where blocks are. Main servers pass the commands of their users
//! to it (64481); data servers keep blocks for it (64479).
//!
//! A write: [`operate`] takes the command apart, [`changes`] keeps the order of one user's, [`put`] has its block stored, and one store job
//! commits it. A read: a query says which pieces, [`get`] fetches them. What is in another realm is asked there ([`elsewhere`]); users of
//! other realms ask here ([`foreign`]); [`errands`] are what other realms have to be told. [`reconcile`], [`repair`] and [`collect`] keep what the database says
//! and what data servers have alike.

mod accounts;
mod changes;
mod collect;
mod elsewhere;
mod errands;
mod flights;
mod foreign;
mod get;
mod hashes;
mod names;
mod operate;
mod place;
mod put;
mod reads;
mod reconcile;
mod repair;
mod servers;
mod status;
mod users;

use std::sync::mpsc;

use crate::config::PortKey;
use crate::config::RoleName;
use crate::engine::anyone;
use crate::engine::ctx::Fingerprint;
use crate::engine::handshake;
use crate::engine::handshake::Handshakes;
use crate::engine::handshake::Member;
use crate::engine::identity::PublicKey;
use crate::engine::identity::ServerKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Gone;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::engine::Role;
use crate::members;
use crate::members::Joined;
use crate::members::Members;
use crate::members::StorageServer;
use crate::members::Up;
use crate::members::Uplink;
use crate::members::Where;
use crate::session;
use crate::storage;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// The schema of data management's database.
pub const MIGRATIONS: &[&str] = &[members::SCHEMA, storage::SCHEMA, storage::SCHEMA_ABROAD];

/// What data management is told at start.
#[derive(Clone)]
pub struct Settings {
    /// Its name in the network.
    pub server_id: String,
    /// Of this process.
    pub key: ServerKey,
    /// Of its certificate.
    pub fingerprint: Fingerprint,
    /// `host:port` for main servers (64481); an empty host stands for the one that its link to management comes from.
    pub address: String,
    /// The same for data servers (64479).
    pub data: String,
    /// Where management is.
    pub management: Where,
    /// Bytes that an account may use.
    pub quota: u64,
    /// How long a data server may be off before its blocks are copied; milliseconds.
    pub grace: u64,
}

/// What data management remembers of a link.
#[derive(Debug, Default)]
pub enum Peer {
    /// Has not proven who it is.
    #[default]
    Stranger,
    /// To management.
    Up(Up),
    /// A main server.
    Main(String),
    /// A data server.
    Data(String),
}

/// The state of data management.
pub struct DataManagement {
    settings: Settings,
    members: Members,
    uplink: Uplink,
    users: users::Users,
    servers: servers::Servers,
    flights: flights::Flights,
    puts: put::Puts,
    gets: get::Gets,
    names: names::Names,
    hashes: hashes::Hashes,
    repair: repair::Repair,
    accounts: accounts::Accounts,
    status: status::Status,
    elsewhere: elsewhere::Elsewhere,
    errands: errands::Errands,
    foreign: foreign::Foreigners,
    when_ready: Option<mpsc::Sender<()>>,
}

impl DataManagement {
    /// Data management before its database was read.
    pub fn new(settings: Settings) -> DataManagement {
        DataManagement {
            members: Members::new(&settings.server_id, settings.key.clone()),
            uplink: Uplink::new(settings.management.clone()),
            settings,
            users: users::Users::default(),
            servers: servers::Servers::default(),
            flights: flights::Flights::default(),
            puts: put::Puts::default(),
            gets: get::Gets::default(),
            names: names::Names::default(),
            hashes: hashes::Hashes::default(),
            repair: repair::Repair::default(),
            accounts: accounts::Accounts::default(),
            status: status::Status::default(),
            elsewhere: elsewhere::Elsewhere::default(),
            errands: errands::Errands::default(),
            foreign: foreign::Foreigners::default(),
            when_ready: None,
        }
    }

    /// Where main servers and data servers find this one: known once its ports are bound.
    pub fn set_addresses(&mut self, address: String, data: String) {
        (self.settings.address, self.settings.data) = (address, data);
    }

    /// Tells when management knows this server.
    pub fn when_ready(&mut self) -> mpsc::Receiver<()> {
        let (send, receive) = mpsc::channel();
        self.when_ready = Some(send);
        receive
    }

    /// The certificate was replaced: management is told by a fresh introduction.
    pub fn set_fingerprint(&mut self, ctx: &mut Ctx<DataManagement>, fingerprint: Fingerprint) {
        if std::mem::replace(&mut self.settings.fingerprint, fingerprint) != fingerprint {
            Uplink::introduce(self, ctx);
        }
    }
}

const SERVERS: &[PortKey] = &[PortKey::MainDatamanagement, PortKey::DataDatamanagement];
const HELLO: Command<DataManagement> = handshake::hello(SERVERS);
const PROVE: Command<DataManagement> = handshake::prove(SERVERS);

const MEMBERS: Command<DataManagement> = Command {
    name: "MEMBERS",
    ports: &[PortKey::DatamanagementManagement],
    args: "lines name|role|public key|volatile or nothing|capacity or nothing|removed or nothing",
    gate: anyone,
    run: take_members,
};

fn take_members(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, request: &Request<'_>) -> Result<Answer, Fail> {
    members::take(dm, ctx, &request.data().text()?, |dm, ctx, role, server| {
        if dm.members.get(role, server).is_none() {
            // Removed: what it asks here is not answered any more.
            let links: Vec<LinkId> = dm.members.shakes.links_of(server).collect();
            let remote = |link: &LinkId| ctx.info(*link).is_some_and(|info| info.remote.is_some() && !info.opener);
            let links: Vec<LinkId> = links.into_iter().filter(remote).collect();
            links.iter().for_each(|link| ctx.abort(*link, "the operator removed this server"));
        }
        if role == RoleName::Data {
            dm.repair.wake();
        }
    })?;
    Ok(Answer::None)
}

/// The gate of what main servers send.
fn main_server(_: &DataManagement, ctx: &Ctx<DataManagement>, link: LinkId) -> Result<(), Fail> {
    match ctx.peer_ref(link) {
        Some(Peer::Main(_)) => Ok(()),
        _ => Err(Fail::new(Code::SignIn, "the server handshake comes first")),
    }
}

/// The gate of what data servers send.
fn data_server(_: &DataManagement, ctx: &Ctx<DataManagement>, link: LinkId) -> Result<(), Fail> {
    match ctx.peer_ref(link) {
        Some(Peer::Data(_)) => Ok(()),
        _ => Err(Fail::new(Code::SignIn, "the server handshake comes first")),
    }
}

impl Joined for DataManagement {
    fn members(&mut self) -> &mut Members {
        &mut self.members
    }
}

impl StorageServer for DataManagement {
    const ROLE: RoleName = RoleName::DataManagement;

    fn uplink(&mut self) -> &mut Uplink {
        &mut self.uplink
    }

    fn up(up: Up) -> Peer {
        Peer::Up(up)
    }

    fn introduction(&self) -> (String, Fingerprint) {
        (format!("{}|{}", self.settings.address, self.settings.data), self.settings.fingerprint)
    }

    fn introduced(&mut self, ctx: &mut Ctx<DataManagement>) {
        self.status.forget();
        accounts::check(self, ctx);
        if let Some(ready) = self.when_ready.take() {
            // Nobody waits any more: then nobody needs to know.
            let _ = ready.send(());
        }
    }
}

impl Member for DataManagement {
    fn handshakes(&mut self) -> &mut Handshakes {
        &mut self.members.shakes
    }

    fn handshakes_ref(&self) -> &Handshakes {
        &self.members.shakes
    }

    fn key_of(&self, server: &str, port: PortKey) -> Option<PublicKey> {
        match port {
            PortKey::MainDatamanagement => {
                let key = |role| self.members.key(role, server);
                key(RoleName::Main).or_else(|| key(RoleName::Realm))
            }
            PortKey::DataDatamanagement => self.members.key(RoleName::Data, server),
            _ => None,
        }
    }

    fn proven(&mut self, ctx: &mut Ctx<DataManagement>, link: LinkId, server: &str, _: PublicKey) {
        let peer = match ctx.info(link).map(|info| info.port) {
            Some(PortKey::DatamanagementManagement) => return Uplink::proven(self, ctx, link),
            Some(PortKey::MainDatamanagement) => Peer::Main(server.to_owned()),
            Some(PortKey::DataDatamanagement) => Peer::Data(server.to_owned()),
            _ => return,
        };
        if let Some(place) = ctx.peer(link) {
            *place = peer;
        }
    }

    fn refused(&mut self, _: &mut Ctx<DataManagement>, _: LinkId, why: &Fail) {
        Uplink::refused(self, why);
    }
}

impl Role for DataManagement {
    type Peer = Peer;
    const NAME: &'static str = "data-management";

    fn commands() -> &'static [Command<DataManagement>] {
        &[
            operate::DO,
            users::USER,
            users::USER_GONE,
            elsewhere::GATEWAY,
            foreign::FOREIGN,
            servers::DATA_SERVER,
            servers::SPACE,
            servers::ROTTEN,
            accounts::USER_REMOVED,
            accounts::SET_QUOTA,
            accounts::TAKES_PART,
            accounts::USAGE,
            MEMBERS,
            HELLO,
            PROVE,
        ]
    }

    /// The command of a user that a DO brings says so.
    fn blob_behind(command: &[u8], data: Raw<'_>) -> Option<usize> {
        let (_, rest) = Some(data).filter(|_| command == b"DO")?.split_field();
        session::blob_behind(rest?.split_field().0 .0).map(|fields| fields + 2)
    }

    fn start(&mut self, ctx: &mut Ctx<DataManagement>) {
        self.uplink.boot = ctx.now();
        let quota = self.settings.quota;
        ctx.store(move |db| storage::accounts::set_default_quota(db, quota), |_, _, _| {});
        members::load(ctx, |dm, ctx| servers::load(dm, ctx, Uplink::connect));
    }

    fn opened(&mut self, ctx: &mut Ctx<DataManagement>, link: LinkId) {
        match ctx.peer_ref(link) {
            Some(Peer::Up(up)) => {
                let up = *up;
                Uplink::opened(self, ctx, link, up);
            }
            Some(_) => handshake::accepted(self, ctx, link),
            None => {}
        }
    }

    fn closed(&mut self, ctx: &mut Ctx<DataManagement>, link: LinkId, gone: Gone<Peer>) {
        self.members.shakes.closed(link);
        match gone.peer {
            Peer::Up(up) => Uplink::closed(self, ctx, link, up, &gone.why),
            Peer::Main(server) => {
                log::debug!("main server {server} is gone: {}", gone.why);
                users::main_gone(self, ctx, link);
                elsewhere::gone(self, link);
                foreign::gone(self, link);
            }
            Peer::Data(server) => servers::lost(self, ctx, link, &server, &gone.why),
            Peer::Stranger => {}
        }
    }

    fn tick(&mut self, ctx: &mut Ctx<DataManagement>) {
        put::tick(self, ctx);
        get::tick(self, ctx);
        collect::tick(self, ctx);
        repair::tick(self, ctx);
        accounts::tick(self, ctx);
        status::tick(self, ctx);
        errands::tick(self, ctx);
        foreign::tick(self, ctx);
    }
}
