//! The data servers: DATASERVER, SPACE, ROTTEN (64479), and what happens when one goes.

use std::collections::BTreeMap;
use std::collections::HashSet;

use rand::Rng;

use super::data_server;
use super::place::Candidate;
use super::reconcile;
use super::DataManagement;
use super::Peer;
use crate::config::PortKey;
use crate::config::RoleName;
use crate::engine::ctx::Fingerprint;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::storage::copies;
use crate::storage::copies::Live;
use crate::storage::Hash;
use crate::storage::ServerNo;
use crate::wire::hex;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// A data server that is up.
pub struct Server {
    pub name: String,
    pub link: LinkId,
    /// `host:port` for other data servers; an empty host: the one by which this process is reached.
    address: String,
    pub fingerprint: Fingerprint,
    /// Of the tickets for what is fetched there.
    pub key: [u8; 32],
    boot: u64,
    pub capacity: u64,
    pub used: u64,
    pub blocks: u64,
    /// Bytes on their way there.
    pub coming: u64,
    /// Blocks that came since the page that is compared was asked for; None: all was compared.
    pub fresh: Option<HashSet<Hash>>,
    /// Its garbage is being deleted.
    pub collecting: bool,
}

/// All data servers there were.
#[derive(Default)]
pub struct Servers {
    pub up: BTreeMap<ServerNo, Server>,
    /// Every one that has a number.
    pub names: BTreeMap<ServerNo, String>,
    /// Since when those that are not up are off; Unix milliseconds.
    off: BTreeMap<ServerNo, u64>,
}

pub const DATA_SERVER: Command<DataManagement> = Command {
    name: "DATASERVER",
    ports: &[PortKey::DataDatamanagement],
    args: "server-id LF host:port LF fingerprint LF capacity LF used LF blocks LF boot",
    gate: data_server,
    run: come,
};

pub const SPACE: Command<DataManagement> = Command {
    name: "SPACE",
    ports: &[PortKey::DataDatamanagement],
    args: "capacity LF used LF blocks",
    gate: data_server,
    run: space,
};

pub const ROTTEN: Command<DataManagement> =
    Command { name: "ROTTEN", ports: &[PortKey::DataDatamanagement], args: "hash", gate: data_server, run: rotten };

/// Reads which servers have numbers; `then` runs after that.
pub fn load(
    _: &mut DataManagement,
    ctx: &mut Ctx<DataManagement>,
    then: fn(&mut DataManagement, &mut Ctx<DataManagement>),
) {
    ctx.query(copies::servers, move |dm, ctx, servers| {
        let now = ctx.now();
        for (no, name) in servers.unwrap_or_default() {
            dm.servers.off.insert(no, now);
            dm.servers.names.insert(no, name);
        }
        then(dm, ctx);
    });
}

impl DataManagement {
    /// The data servers that can get a block now.
    pub fn candidates(&self) -> Vec<Candidate> {
        let candidate = |(no, server): (&ServerNo, &Server)| {
            let known = self.members.get(RoleName::Data, &server.name);
            let capacity = known.and_then(|known| known.capacity).unwrap_or(u64::MAX).min(server.capacity);
            let room = capacity.saturating_sub(server.used).saturating_sub(server.coming);
            Candidate { server: *no, volatile: known.is_some_and(|known| known.volatile), room }
        };
        self.servers.up.iter().map(candidate).collect()
    }

    /// Those whose copies count: up, or off for less than `grace`. In order of their numbers.
    pub fn live(&self, now: u64, grace: u64) -> Vec<Live> {
        let live = |(no, name): (&ServerNo, &String)| {
            let up = self.servers.up.contains_key(no);
            let known = self.members.get(RoleName::Data, name);
            let soon = self.servers.off.get(no).is_some_and(|since| now.saturating_sub(*since) < grace);
            let counts = up || (soon && known.is_some());
            counts.then_some(Live { server: *no, volatile: known.is_some_and(|known| known.volatile) })
        };
        self.servers.names.iter().filter_map(live).collect()
    }

    /// Servers that the operator removed, and that have a number still.
    pub fn removed(&self) -> Option<ServerNo> {
        let gone = |(no, name): &(&ServerNo, &String)| {
            !self.servers.up.contains_key(no) && self.members.get(RoleName::Data, name).is_none()
        };
        self.servers.names.iter().find(gone).map(|(no, _)| *no)
    }

    /// Where the data server at the end of `to` finds that one.
    pub fn address_for(&self, ctx: &Ctx<DataManagement>, server: &Server, to: LinkId) -> String {
        match (server.address.strip_prefix(':'), ctx.info(to).and_then(|info| info.local)) {
            (Some(port), Some(local)) => {
                let port = port.parse().unwrap_or(0);
                std::net::SocketAddr::new(local.ip().to_canonical(), port).to_string()
            }
            _ => server.address.clone(),
        }
    }
}

fn come(_: &mut DataManagement, ctx: &mut Ctx<DataManagement>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [id, address, print, capacity, used, blocks, boot] = request.data().take()?;
    let (id, link) = (id.text()?.into_owned(), request.link);
    name::check(&id)?;
    let remote = ctx.info(link).and_then(|info| info.remote);
    let Some(Peer::Data(proven)) = ctx.peer_ref(link) else { return Err(Fail::internal("a link that is none")) };
    if remote.is_some() && *proven != id {
        return Err(Fail::new(Code::Denied, "this is not the name that the handshake proved"));
    }
    let fingerprint =
        hex::decode_32(&print.text()?).ok_or_else(|| Fail::bad_args("a fingerprint is 64 hexadecimal digits"))?;
    let address = address.text()?;
    let bad = || Fail::bad_args("an address is host:port");
    let address = match (address.rsplit_once(':'), remote) {
        (Some(("", port)), Some(remote)) => {
            std::net::SocketAddr::new(remote.to_canonical(), port.parse().map_err(|_| bad())?).to_string()
        }
        (Some(_), _) => address.into_owned(),
        // Alone with data management in one process: it listens nowhere.
        (None, None) if address.is_empty() => String::new(),
        (None, _) => return Err(bad()),
    };
    let (capacity, used, blocks) = (capacity.number()?, used.number()?, blocks.number()?);
    let boot = boot.number()?;
    let mut key = [0; 32];
    ctx.rng().fill_bytes(&mut key);
    let later = request.later();
    let stored = id.clone();
    ctx.store(
        move |db| copies::server(db, &stored),
        move |dm, ctx, no| {
            let came = no.and_then(|no| {
                if !ctx.is_open(link) {
                    return Err(Fail::new(Code::Offline, "the connection is gone"));
                }
                if let Some(old) = dm.servers.up.get(&no).filter(|old| old.link != link) {
                    if boot < old.boot {
                        return Err(Fail::new(Code::Exists, "a server with this id, started later, is connected"));
                    }
                    let old = old.link;
                    ctx.abort(old, "the server has come by another link");
                    lost(dm, ctx, old, &id, "it comes by another link");
                }
                Ok(no)
            });
            let no = match came {
                Ok(no) => no,
                Err(fail) => return ctx.answer(&later, Err(fail)),
            };
            if let Some(peer) = ctx.peer(link) {
                *peer = Peer::Data(id.clone());
            }
            log::info!("the data server {id} is up: {blocks} blocks");
            dm.servers.names.insert(no, id.clone());
            dm.servers.off.remove(&no);
            let server = Server {
                name: id,
                link,
                address,
                fingerprint,
                key,
                boot,
                capacity,
                used,
                blocks,
                coming: 0,
                fresh: Some(HashSet::new()),
                collecting: false,
            };
            let again = dm.servers.up.insert(no, server).is_some();
            ctx.answer(&later, Ok(hex::encode(&key).into_bytes()));
            if !again {
                reconcile::begin(dm, ctx, no, link);
            }
        },
    );
    Ok(Answer::Later)
}

/// The server at the other end of a link that passed `data_server`, once it has introduced itself.
fn number_of(dm: &DataManagement, link: LinkId) -> Result<ServerNo, Fail> {
    let found = dm.servers.up.iter().find(|(_, server)| server.link == link).map(|(no, _)| *no);
    found.ok_or_else(|| Fail::new(Code::BadCommand, "send DATASERVER first"))
}

fn space(dm: &mut DataManagement, _: &mut Ctx<DataManagement>, request: &Request<'_>) -> Result<Answer, Fail> {
    let no = number_of(dm, request.link)?;
    let [capacity, used, blocks] = request.data().take()?;
    let (capacity, used, blocks) = (capacity.number()?, used.number()?, blocks.number()?);
    if let Some(server) = dm.servers.up.get_mut(&no) {
        (server.capacity, server.used, server.blocks) = (capacity, used, blocks);
    }
    Ok(Answer::Ok)
}

/// The copy there is none any more: it is made anew from another.
fn rotten(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, request: &Request<'_>) -> Result<Answer, Fail> {
    let no = number_of(dm, request.link)?;
    let hash = Hash::parse(&request.data().text()?).ok_or_else(|| Fail::bad_args("a hash is 64 hexadecimal digits"))?;
    log::error!("{}: the copy of {hash} has rotted", dm.servers.up.get(&no).map_or("", |server| &server.name));
    drop_copy(ctx, no, hash, true);
    Ok(Answer::Ok)
}

/// A copy is not there, or is not good: it counts no more, and the block is repaired. `delete`: the server deletes it.
pub fn drop_copy(ctx: &mut Ctx<DataManagement>, no: ServerNo, hash: Hash, delete: bool) {
    ctx.store(
        move |db| {
            let found = copies::find(db, &hash)?;
            let seq =
                found.and_then(|found| found.copies.iter().find(|(server, _)| *server == no).map(|(_, seq)| *seq));
            match seq {
                Some(seq) => copies::drop_copy(db, &hash, no, seq, delete),
                None => Ok(false),
            }
        },
        |dm, _, dropped| {
            if dropped == Ok(true) {
                dm.repair.wake();
            }
        },
    );
}

impl Server {
    /// A block has come.
    pub fn got(&mut self, hash: Hash) {
        if let Some(fresh) = &mut self.fresh {
            fresh.insert(hash);
        }
    }
}

/// The link of a data server is gone.
pub fn lost(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, link: LinkId, id: &str, why: &str) {
    let Ok(no) = number_of(dm, link) else { return };
    dm.servers.up.remove(&no);
    dm.servers.off.insert(no, ctx.now());
    if !ctx.is_stopping() {
        log::warn!("the data server {id} is gone: {why}");
        // Unless it is back by then.
        ctx.after(dm.settings.grace, |dm, _| dm.repair.wake());
    }
}
