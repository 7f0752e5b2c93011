//! Role data: keeps blocks, byte strings named by their BLAKE3, and knows nothing else of them.

mod centre;
mod copies;
mod puts;
mod scrub;

use std::sync::mpsc;
use std::sync::Arc;

use crate::blocks::BlockStore;
use crate::blocks::Usage;
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
use crate::members::Centre;
use crate::members::Joined;
use crate::members::Members;
use crate::members::StorageServer;
use crate::members::Stores;
use crate::members::Up;
use crate::members::Uplink;
use crate::members::Where;
use crate::wire::Fail;
use crate::wire::Raw;

/// The schema of a data server's database: what it knows of the network, and how far its scrub is. Blocks are elsewhere.
pub const MIGRATIONS: &[&str] = &[members::SCHEMA, scrub::SCHEMA];

/// What a data server is told at start.
#[derive(Clone)]
pub struct Settings {
    /// Its name in the network.
    pub server_id: String,
    /// Of this process.
    pub key: ServerKey,
    /// Of its certificate.
    pub fingerprint: Fingerprint,
    /// `host:port` for other data servers (64480); an empty host stands for the one that its links come from.
    pub address: String,
    /// Where management is.
    pub management: Where,
    /// Data management is in this process.
    pub local: bool,
    /// In how many days all blocks are read once.
    pub scrub_days: u64,
}

/// What a data server remembers of a link.
#[derive(Debug, Default)]
pub enum Peer {
    /// A data server that has not proven who it is.
    #[default]
    Stranger,
    /// To management.
    Up(Up),
    /// Data management.
    Centre,
    /// A data server that fetches blocks here.
    Server(String),
    /// A data server that blocks are fetched from.
    Source(String),
}

/// The state of a data server.
pub struct Data {
    settings: Settings,
    store: Arc<dyn BlockStore>,
    members: Members,
    uplink: Uplink,
    centre: Centre,
    puts: puts::Puts,
    copies: copies::Copies,
    scrub: scrub::Scrub,
    /// What data management knows of the space here.
    told: Option<Usage>,
    measuring: bool,
    tending: bool,
    when_ready: Option<mpsc::Sender<()>>,
}

impl Data {
    /// A data server over `store`.
    pub fn new(settings: Settings, store: Arc<dyn BlockStore>) -> Data {
        Data {
            members: Members::new(&settings.server_id, settings.key.clone()),
            uplink: Uplink::new(settings.management.clone()),
            centre: Centre::new(settings.local),
            settings,
            store,
            puts: puts::Puts::default(),
            copies: copies::Copies::default(),
            scrub: scrub::Scrub::default(),
            told: None,
            measuring: false,
            tending: false,
            when_ready: None,
        }
    }

    /// Where other data servers find this one: known once its port is bound.
    pub fn set_address(&mut self, address: String) {
        self.settings.address = address;
    }

    /// Tells when this server is of use: management knows it, and, where that is in this process, data management too.
    pub fn when_ready(&mut self) -> mpsc::Receiver<()> {
        let (send, receive) = mpsc::channel();
        self.when_ready = Some(send);
        receive
    }

    /// The certificate was replaced: others are told by fresh introductions.
    pub fn set_fingerprint(&mut self, ctx: &mut Ctx<Data>, fingerprint: Fingerprint) {
        if std::mem::replace(&mut self.settings.fingerprint, fingerprint) != fingerprint {
            Uplink::introduce(self, ctx);
            if let Some(link) = self.centre.link() {
                centre::introduce(self, ctx, link);
            }
        }
    }

    fn check_ready(&mut self) {
        if self.uplink.link().is_some() && (!self.settings.local || self.centre.link().is_some()) {
            if let Some(ready) = self.when_ready.take() {
                // Nobody waits any more: then nobody needs to know.
                let _ = ready.send(());
            }
        }
    }
}

const HELLO: Command<Data> = handshake::hello(&[PortKey::DataData]);
const PROVE: Command<Data> = handshake::prove(&[PortKey::DataData]);

const MEMBERS: Command<Data> = Command {
    name: "MEMBERS",
    ports: &[PortKey::DatamanagementManagement],
    args: "lines name|role|public key|volatile or nothing|capacity or nothing|removed or nothing",
    gate: anyone,
    run: take_members,
};

const DATA_MANAGEMENT: Command<Data> = Command {
    name: "DATAMANAGEMENT",
    ports: &[PortKey::DatamanagementManagement],
    args: "server-id|host:port|fingerprint|public key, or nothing",
    gate: anyone,
    run: take_place,
};

fn take_members(data: &mut Data, ctx: &mut Ctx<Data>, request: &Request<'_>) -> Result<Answer, Fail> {
    members::take(data, ctx, &request.data().text()?, |data, ctx, role, server| {
        // It was removed, or has another key: what it asks here is not answered any more.
        if role == RoleName::Data {
            copies::cut_off(data, ctx, server);
        }
    })?;
    Ok(Answer::None)
}

fn take_place(data: &mut Data, ctx: &mut Ctx<Data>, request: &Request<'_>) -> Result<Answer, Fail> {
    Centre::told(data, ctx, &request.data().text()?)?;
    Ok(Answer::None)
}

impl Joined for Data {
    fn members(&mut self) -> &mut Members {
        &mut self.members
    }
}

impl StorageServer for Data {
    const ROLE: RoleName = RoleName::Data;

    fn uplink(&mut self) -> &mut Uplink {
        &mut self.uplink
    }

    fn up(up: Up) -> Peer {
        Peer::Up(up)
    }

    fn introduction(&self) -> (String, Fingerprint) {
        (self.settings.address.clone(), self.settings.fingerprint)
    }

    fn introduced(&mut self, _: &mut Ctx<Data>) {
        self.check_ready();
    }
}

impl Stores for Data {
    const CENTRE: PortKey = PortKey::DataDatamanagement;

    fn centre(&mut self) -> &mut Centre {
        &mut self.centre
    }

    fn centre_peer() -> Peer {
        Peer::Centre
    }

    fn centre_proven(&mut self, ctx: &mut Ctx<Data>, link: LinkId) {
        centre::introduce(self, ctx, link);
    }

    fn centre_gone(&mut self, _: &mut Ctx<Data>) {
        self.told = None;
        self.copies.key = None;
    }
}

impl Member for Data {
    fn handshakes(&mut self) -> &mut Handshakes {
        &mut self.members.shakes
    }

    fn handshakes_ref(&self) -> &Handshakes {
        &self.members.shakes
    }

    fn key_of(&self, server: &str, port: PortKey) -> Option<PublicKey> {
        let other = port == PortKey::DataData && server != self.members.shakes.own_id();
        self.members.key(RoleName::Data, server).filter(|_| other)
    }

    fn proven(&mut self, ctx: &mut Ctx<Data>, link: LinkId, server: &str, _: PublicKey) {
        match ctx.info(link).map(|info| (info.port, info.opener)) {
            Some((PortKey::DatamanagementManagement, _)) => Uplink::proven(self, ctx, link),
            Some((PortKey::DataDatamanagement, _)) => self.centre_proven(ctx, link),
            Some((PortKey::DataData, true)) => copies::source_ready(self, ctx, link),
            Some((PortKey::DataData, false)) => {
                if let Some(peer) = ctx.peer(link) {
                    *peer = Peer::Server(server.to_owned());
                }
            }
            _ => {}
        }
    }

    fn refused(&mut self, ctx: &mut Ctx<Data>, link: LinkId, why: &Fail) {
        if ctx.info(link).is_some_and(|info| info.port == PortKey::DatamanagementManagement) {
            Uplink::refused(self, why);
        }
    }
}

impl Role for Data {
    type Peer = Peer;
    const NAME: &'static str = "data";

    fn commands() -> &'static [Command<Data>] {
        &[
            puts::PUT_BLOCK,
            puts::GET_BLOCK,
            puts::DELETE_BLOCKS,
            puts::LIST_BLOCKS,
            copies::COPY_BLOCK,
            copies::FETCH_BLOCK,
            MEMBERS,
            DATA_MANAGEMENT,
            HELLO,
            PROVE,
        ]
    }

    fn blob_behind(command: &[u8], _: Raw<'_>) -> Option<usize> {
        (command == b"PUTBLOCK").then_some(0)
    }

    fn start(&mut self, ctx: &mut Ctx<Data>) {
        self.uplink.boot = ctx.now();
        members::load(ctx, |data, ctx| {
            scrub::load(data, ctx);
            Uplink::connect(data, ctx);
            Centre::start(data, ctx);
        });
    }

    fn opened(&mut self, ctx: &mut Ctx<Data>, link: LinkId) {
        match ctx.peer_ref(link) {
            Some(Peer::Up(up)) => {
                let up = *up;
                Uplink::opened(self, ctx, link, up);
            }
            Some(Peer::Centre) => Centre::opened(self, ctx, link),
            Some(Peer::Source(server)) => {
                let server = server.clone();
                let key = self.members.key(RoleName::Data, &server);
                handshake::open(self, ctx, link, &server, key);
            }
            Some(Peer::Stranger) => handshake::accepted(self, ctx, link),
            Some(Peer::Server(_)) | None => {}
        }
    }

    fn closed(&mut self, ctx: &mut Ctx<Data>, link: LinkId, gone: Gone<Peer>) {
        self.members.shakes.closed(link);
        match gone.peer {
            Peer::Up(up) => Uplink::closed(self, ctx, link, up, &gone.why),
            Peer::Centre => Centre::closed(self, ctx, link, &gone.why),
            Peer::Source(server) => copies::source_gone(self, ctx, &server, link),
            Peer::Server(_) | Peer::Stranger => {}
        }
    }

    fn tick(&mut self, ctx: &mut Ctx<Data>) {
        centre::tick(self, ctx);
        copies::tick(self, ctx);
        scrub::tick(self, ctx);
    }
}
