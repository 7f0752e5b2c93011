//! STORAGESERVER (64483): data management and data servers say that they are there, and are told of all others. And what happens when
//! such a link is gone.

use std::collections::BTreeMap;

use super::main_server;
use super::mains::complete;
use super::map;
use super::network;
use super::network::Server;
use super::servers;
use super::voice;
use super::Management;
use crate::config::PortKey;
use crate::config::RoleName;
use crate::engine::ctx::Fingerprint;
use crate::engine::identity::PublicKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::wire::hex;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// Bytes of a STORAGESTATUS that are kept.
const STATUS_BYTES: usize = 64 << 10;

/// A server's role and name.
pub type Id = (RoleName, String);

/// Data management, or a data server, that is up.
#[derive(Debug)]
pub struct StorageServer {
    /// Its link on 64483.
    pub link: LinkId,
    /// `host:port`: for main servers, of data management; for data servers, of a data server.
    pub address: String,
    /// `host:port` for data servers, of data management.
    pub data: String,
    /// Of its certificate.
    pub fingerprint: Fingerprint,
    /// Its identity key.
    pub key: PublicKey,
    /// When its process started, by its own clock; Unix milliseconds. Names the process.
    pub boot: u64,
}

/// The servers that store.
#[derive(Debug, Default)]
pub struct Storage {
    /// Those that are up; a process may be both.
    pub up: BTreeMap<Id, StorageServer>,
    /// What data management said last of how it does: lines `key|value`.
    pub status: String,
}

impl Storage {
    /// Data management, if it is up.
    pub fn data_management(&self) -> Option<(&str, &StorageServer)> {
        let found = self.up.iter().find(|((role, _), _)| *role == RoleName::DataManagement);
        found.map(|((_, name), server)| (name.as_str(), server))
    }

    /// A number of the status; 0 when it is not there.
    pub fn number(&self, key: &str) -> u64 {
        let found = self.status.lines().find_map(|line| line.split_once('|').filter(|(known, _)| *known == key));
        found.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
    }

    /// The names of the data servers that are up.
    pub fn data_servers(&self) -> impl Iterator<Item = &str> {
        self.up.keys().filter(|(role, _)| *role == RoleName::Data).map(|(_, name)| name.as_str())
    }
}

pub const STORAGE_SERVER: Command<Management> = Command {
    name: "STORAGESERVER",
    ports: &[PortKey::DatamanagementManagement],
    args: "role LF server-id LF addresses LF fingerprint LF public key LF boot",
    gate: main_server,
    run: come,
};

pub const STORAGE_STATUS: Command<Management> = Command {
    name: "STORAGESTATUS",
    ports: &[PortKey::DatamanagementManagement],
    args: "lines key|value",
    gate: main_server,
    run: status,
};

fn come(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [role, id, addresses, print, key, boot] = request.data().take()?;
    let (id, link) = (id.text()?.into_owned(), request.link);
    let role = RoleName::parse(&role.text()?).filter(|role| matches!(role, RoleName::DataManagement | RoleName::Data));
    let role = role.ok_or_else(|| Fail::bad_args("the role is data-management or data"))?;
    name::check(&id)?;
    network::check_id(management, ctx, link, &id)?;
    let key = PublicKey::parse(&key.text()?).ok_or_else(|| Fail::bad_args("a public key is 32 bytes in Base64"))?;
    network::check_role(management, ctx, link, role, key)?;
    let fingerprint =
        hex::decode_32(&print.text()?).ok_or_else(|| Fail::bad_args("a fingerprint is 64 hexadecimal digits"))?;
    let addresses = addresses.text()?;
    let (address, data) = addresses.split_once('|').unwrap_or((&addresses, ""));
    let (address, data) = (complete(ctx, link, address)?, complete(ctx, link, data)?);
    let boot = boot.number()?;
    let at = (role, id.clone());
    if ctx.peer_ref(link).and_then(|peer| peer.storage.as_ref()).is_some_and(|known| *known != at) {
        return Err(Fail::new(Code::Denied, "this link is another server's"));
    }
    let other = management.storage.data_management().filter(|(name, _)| *name != id).map(|(name, _)| name.to_owned());
    if let Some(other) = other.filter(|_| role == RoleName::DataManagement) {
        log::warn!("{id} is refused: data management is {other}, and there can be only one");
        return Err(Fail::new(Code::Exists, "another data management is connected; a network has one"));
    }
    if let Some(old) = management.storage.up.get(&at).filter(|old| old.link != link) {
        if boot < old.boot {
            return Err(Fail::new(Code::Exists, "a server with this id, started later, is connected"));
        }
        let old = old.link;
        ctx.abort(old, "the server has come by another link");
        lost(management, ctx, old, &at, "it comes by another link");
    }
    if let Some(peer) = ctx.peer(link) {
        peer.storage = Some(at.clone());
    }
    log::info!("the {} server {id} is up at {address}", role.name());
    let server = StorageServer { link, address, data, fingerprint, key, boot };
    if management.storage.up.insert(at, server).is_none() {
        management.network.changed(role, &id, ctx.now());
    }
    map::storage_changed(management, ctx);
    // Behind the OK.
    ctx.after(0, move |management, ctx| {
        let lines = all_members(management);
        push_members(ctx, link, &lines);
        // One of this process is in no table.
        member_changed(management, ctx, role, &id);
        match role {
            RoleName::DataManagement => {
                tell_all(management, ctx);
                voice::storage_is_up(management, ctx);
            }
            _ => tell_place(management, ctx, link, false),
        }
    });
    Ok(Answer::Ok)
}

fn status(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    is_data_management(ctx, request.link)?;
    let text = request.data().text()?;
    if text.len() > STATUS_BYTES {
        return Err(Fail::bad_args("a status has at most 64 KiB"));
    }
    management.storage.status = text.into_owned();
    Ok(Answer::Ok)
}

/// Whether data management is at the other end.
///
/// # Errors
/// DENIED.
pub fn is_data_management(ctx: &Ctx<Management>, link: LinkId) -> Result<(), Fail> {
    match ctx.peer_ref(link).and_then(|peer| peer.storage.as_ref()) {
        Some((RoleName::DataManagement, _)) => Ok(()),
        _ => Err(Fail::new(Code::Denied, "only data management asks this")),
    }
}

/// The link of a storage server is gone.
pub fn lost(management: &mut Management, ctx: &mut Ctx<Management>, link: LinkId, at: &Id, why: &str) {
    if ctx.is_stopping() || management.storage.up.get(at).is_none_or(|server| server.link != link) {
        return;
    }
    log::warn!("the {} server {} is gone: {why}", at.0.name(), at.1);
    management.storage.up.remove(at);
    if let Some(peer) = ctx.peer(link) {
        peer.storage = None;
    }
    management.network.changed(at.0, &at.1, ctx.now());
    if at.0 == RoleName::DataManagement {
        management.storage.status.clear();
        tell_all(management, ctx);
    }
    map::storage_changed(management, ctx);
}

/// The operator removed a server: its links are being closed, and the others are told.
pub fn removed(management: &mut Management, ctx: &mut Ctx<Management>, id: &str, roles: &[RoleName]) {
    for role in roles {
        let at = (*role, id.to_owned());
        if let Some(link) = management.storage.up.get(&at).map(|server| server.link) {
            lost(management, ctx, link, &at, "the operator removed it");
        }
        member_changed(management, ctx, *role, id);
        map::storage_removed(management, ctx, *role, id);
    }
}

/// `name|role|public key|volatile or nothing|capacity or nothing|removed or nothing`
fn member(management: &Management, role: RoleName, id: &str) -> String {
    let known = management.network.server(role, id).filter(|server| !server.alone);
    let own = || match role {
        RoleName::Main => management.mains.get(id).map(|main| main.public_key.clone()),
        _ => management.storage.up.get(&(role, id.to_owned())).map(|server| server.key.to_string()),
    };
    match known {
        Some(Server { key, volatile, capacity, .. }) => {
            let volatile = if *volatile { "volatile" } else { "" };
            let capacity = capacity.map(|bytes| bytes.to_string()).unwrap_or_default();
            format!("{id}|{}|{key}|{volatile}|{capacity}|", role.name())
        }
        None => match own() {
            Some(key) => format!("{id}|{}|{key}|||", role.name()),
            None => format!("{id}|{}||||removed", role.name()),
        },
    }
}

fn all_members(management: &Management) -> String {
    let added = management.network.members().map(|(name, role, _)| (role, name.to_owned()));
    let mains = management.mains.keys().map(|name| (RoleName::Main, name.clone()));
    let all: std::collections::BTreeSet<Id> = added.chain(mains).chain(management.storage.up.keys().cloned()).collect();
    all.iter().map(|(role, id)| member(management, *role, id)).collect::<Vec<_>>().join("\n")
}

/// A server was added or removed, or one of this process has come: those that store are told.
pub fn member_changed(management: &mut Management, ctx: &mut Ctx<Management>, role: RoleName, id: &str) {
    let line = member(management, role, id);
    for server in management.storage.up.values() {
        push_members(ctx, server.link, &line);
    }
}

fn push_members(ctx: &mut Ctx<Management>, link: LinkId, lines: &str) {
    if ctx.push(link, "MEMBERS", &[lines.as_bytes()]).is_err() && ctx.is_open(link) {
        ctx.close(link, "what it is told is not read");
    }
}

/// Tells all main servers and data servers where data management is.
fn tell_all(management: &Management, ctx: &mut Ctx<Management>) {
    for main in management.mains.values() {
        tell_place(management, ctx, main.link, true);
    }
    for ((role, _), server) in &management.storage.up {
        if *role == RoleName::Data {
            tell_place(management, ctx, server.link, false);
        }
    }
}

/// Tells one server where data management is: `server-id|host:port|fingerprint|public key`, or nothing when it is away.
pub fn tell_place(management: &Management, ctx: &mut Ctx<Management>, link: LinkId, main: bool) {
    let line = management.storage.data_management().map_or(String::new(), |(id, server)| {
        let address = if main { &server.address } else { &server.data };
        let address = servers::address_for(ctx, link, address);
        format!("{id}|{address}|{}|{}", hex::encode(&server.fingerprint), server.key)
    });
    if ctx.push(link, "DATAMANAGEMENT", &[line.as_bytes()]).is_err() && ctx.is_open(link) {
        ctx.close(link, "what it is told is not read");
    }
}

/// USERREMOVED: an account was deleted, and data management forgets what it had.
pub fn user_removed(management: &Management, ctx: &mut Ctx<Management>, account: u64) {
    if let Some(link) = management.storage.data_management().map(|(_, server)| server.link) {
        // Lost with the link: data management asks with ACCOUNTS when it is back.
        let _ = ctx.push(link, "USERREMOVED", &[account.to_string().as_bytes()]);
    }
}
