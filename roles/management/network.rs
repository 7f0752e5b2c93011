//! The servers of the network: those that the operator added, the keys that they are known by, and their handshakes.

use std::collections::BTreeMap;

use rusqlite::params;
use rusqlite::Connection;

use super::directory;
use super::map;
use super::realms;
use super::storage;
use super::Management;
use crate::config::PortKey;
use crate::config::RoleName;
use crate::engine::handshake;
use crate::engine::handshake::Handshakes;
use crate::engine::handshake::Member;
use crate::engine::identity::PublicKey;
use crate::engine::identity::ServerKey;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::wire::Code;
use crate::wire::Fail;

/// The table of servers; times are Unix ms.
pub const SCHEMA: &str = "
CREATE TABLE servers (
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    key BLOB NOT NULL,                    -- X25519, 32 bytes
    volatile INTEGER NOT NULL,
    capacity INTEGER,                     -- bytes; none: what the server says itself
    added INTEGER NOT NULL,
    PRIMARY KEY (name, role)
) STRICT, WITHOUT ROWID;
";

/// Realms that stand alone have a place in the directory of realms, and are no part of the network.
pub const SCHEMA_ALONE: &str = "ALTER TABLE servers ADD COLUMN alone INTEGER NOT NULL DEFAULT 0;";

/// Servers that can be added.
const SERVERS: usize = 10_000;
/// How soon the table is read again when that failed; milliseconds.
const AGAIN: u64 = 1_000;

/// The ports on which servers come, and as what.
const PORTS: &[(PortKey, &[RoleName])] = &[
    // A realm that uses the accounts here is a main server with other doors.
    (PortKey::MainManagement, &[RoleName::Main, RoleName::Realm]),
    (PortKey::DatamanagementManagement, &[RoleName::DataManagement, RoleName::Data]),
    (PortKey::RealmManagement, &[RoleName::Realm]),
];
const KEYS: &[PortKey] = &[PortKey::MainManagement, PortKey::DatamanagementManagement, PortKey::RealmManagement];

/// A server that was added, in one of its roles.
#[derive(Clone, Debug)]
pub struct Server {
    pub key: PublicKey,
    pub volatile: bool,
    /// A realm that is only in the directory of realms.
    pub alone: bool,
    /// Bytes.
    pub capacity: Option<u64>,
    /// Unix milliseconds.
    pub added: u64,
}

/// What management knows of the servers.
pub struct Network {
    pub shakes: Handshakes,
    /// By name and role; all of the database.
    servers: BTreeMap<String, BTreeMap<RoleName, Server>>,
    /// Since when a server is up or down, as far as this run has seen.
    since: BTreeMap<(RoleName, String), u64>,
}

pub const HELLO: Command<Management> = handshake::hello(KEYS);
pub const PROVE: Command<Management> = handshake::prove(KEYS);

impl Network {
    /// Without any server.
    pub fn new(own_id: &str, key: ServerKey) -> Network {
        Network { shakes: Handshakes::new(own_id, key), servers: BTreeMap::new(), since: BTreeMap::new() }
    }

    /// Every server in every role: name, role, what is known of it.
    pub fn servers(&self) -> impl Iterator<Item = (&str, RoleName, &Server)> {
        self.servers
            .iter()
            .flat_map(|(name, roles)| roles.iter().map(move |(role, server)| (name.as_str(), *role, server)))
    }

    /// The same without realms that stand alone: the others know nothing of them.
    pub fn members(&self) -> impl Iterator<Item = (&str, RoleName, &Server)> {
        self.servers().filter(|(_, _, server)| !server.alone)
    }

    /// A server came or went just now.
    pub fn changed(&mut self, role: RoleName, server: &str, now: u64) {
        if self.servers.contains_key(server) || server == self.shakes.own_id() {
            self.since.insert((role, server.to_owned()), now);
        }
    }

    /// A server that was added, in that role.
    pub fn server(&self, role: RoleName, server: &str) -> Option<&Server> {
        self.servers.get(server)?.get(&role)
    }

    /// Since when it is up or down.
    pub fn since(&self, role: RoleName, server: &str) -> Option<u64> {
        self.since.get(&(role, server.to_owned())).copied()
    }

    /// Whether a server may be added. EXISTS, LIMIT, or REFUSED when not.
    pub fn check_new(&self, name: &str, role: RoleName, key: PublicKey) -> Result<(), Fail> {
        if name == self.shakes.own_id() || key == self.shakes.key().public() {
            return Err(Fail::new(
                Code::Refused,
                "that is the name or the key of this server; each has its own: the key `name` of its configuration",
            ));
        }
        if self.servers().count() >= SERVERS {
            return Err(Fail::new(Code::Limit, format!("a network has at most {SERVERS} servers")));
        }
        for (other, other_role, server) in self.servers() {
            if other == name && other_role == role {
                return Err(Fail::new(Code::Exists, "this server was added already; remove-server removes it"));
            }
            if (other == name) != (server.key == key) {
                return Err(Fail::new(Code::Exists, "another server has this name, or this key"));
            }
        }
        Ok(())
    }

    /// Takes what the database holds since now.
    pub fn added(&mut self, name: &str, role: RoleName, server: Server) {
        self.servers.entry(name.to_owned()).or_default().insert(role, server);
    }
}

/// Reads the table; until then, servers that connect wait.
pub fn load(ctx: &mut Ctx<Management>) {
    ctx.query(all, |management, ctx, loaded| match loaded {
        Ok(servers) => {
            for (name, role, server) in servers {
                added(management, ctx, &name, role, server);
            }
            handshake::ready(management, ctx);
        }
        Err(_) => ctx.after(AGAIN, |_, ctx| load(ctx)),
    });
}

/// The database has this server.
pub fn added(management: &mut Management, ctx: &mut Ctx<Management>, name: &str, role: RoleName, server: Server) {
    let (key, alone) = (server.key, server.alone);
    management.network.added(name, role, server);
    if alone {
        return;
    }
    if matches!(role, RoleName::Main | RoleName::Realm) {
        directory::added(management, ctx, name, &key.to_string());
    }
    storage::member_changed(management, ctx, role, name);
    map::storage_changed(management, ctx);
}

fn all(db: &Connection) -> Result<Vec<(String, RoleName, Server)>, Fail> {
    let text = "SELECT name, role, key, volatile, capacity, added, alone FROM servers";
    let mut statement = db.prepare(text).map_err(Fail::internal)?;
    let mut rows = statement.query([]).map_err(Fail::internal)?;
    let mut servers = Vec::new();
    while let Some(row) = rows.next().map_err(Fail::internal)? {
        let role: String = row.get(1).map_err(Fail::internal)?;
        let Some(role) = RoleName::parse(&role) else { continue };
        let capacity: Option<i64> = row.get(4).map_err(Fail::internal)?;
        let server = Server {
            key: PublicKey(row.get(2).map_err(Fail::internal)?),
            volatile: row.get(3).map_err(Fail::internal)?,
            alone: row.get(6).map_err(Fail::internal)?,
            capacity: capacity.and_then(|bytes| u64::try_from(bytes).ok()),
            added: row.get::<_, i64>(5).map_err(Fail::internal)?.try_into().unwrap_or(0),
        };
        servers.push((row.get(0).map_err(Fail::internal)?, role, server));
    }
    Ok(servers)
}

/// Writes a server into the database. EXISTS when it is there.
pub fn insert(db: &Connection, name: &str, role: RoleName, server: &Server) -> Result<(), Fail> {
    let text =
        "INSERT INTO servers (name, role, key, volatile, capacity, added, alone) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                ON CONFLICT DO NOTHING";
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let (capacity, added) = (server.capacity.map(number), number(server.added));
    let values = params![name, role.name(), server.key.0, server.volatile, capacity, added, server.alone];
    match db.execute(text, values).map_err(Fail::internal)? {
        0 => Err(Fail::new(Code::Exists, "this server was added already; remove-server removes it")),
        _ => Ok(()),
    }
}

/// Deletes a server in all its roles. NOTFOUND when there is none.
pub fn delete(db: &Connection, name: &str) -> Result<(), Fail> {
    db.execute("DELETE FROM realms WHERE server = ?1", [name]).map_err(Fail::internal)?;
    match db.execute("DELETE FROM servers WHERE name = ?1", [name]).map_err(Fail::internal)? {
        0 => Err(Fail::new(Code::NotFound, "no server of this name was added")),
        _ => Ok(()),
    }
}

/// The database does not have it any more: its links are closed, and the others are told.
pub fn removed(management: &mut Management, ctx: &mut Ctx<Management>, name: &str) {
    let servers = management.network.servers.remove(name).into_iter().flatten();
    let roles: Vec<RoleName> = servers.filter(|(_, server)| !server.alone).map(|(role, _)| role).collect();
    management.network.since.retain(|(_, server), _| server != name);
    let links: Vec<LinkId> = management.network.shakes.links_of(name).collect();
    for link in links {
        // What it still sends is not from a server of this network.
        management.network.shakes.closed(link);
        ctx.abort(link, "the operator removed this server");
    }
    log::info!("the server {name} was removed");
    realms::removed(management, name);
    if roles.contains(&RoleName::Main) || roles.contains(&RoleName::Realm) {
        directory::removed(management, ctx, name);
    }
    storage::removed(management, ctx, name, &roles);
}

/// Whether the server at the other end is the one that it calls itself. A role of this process may have any name.
pub fn check_id(management: &Management, ctx: &Ctx<Management>, link: LinkId, id: &str) -> Result<(), Fail> {
    let local = ctx.info(link).is_some_and(|info| info.remote.is_none());
    match management.network.shakes.server(link) {
        Some(server) if local || server == id => Ok(()),
        _ => Err(Fail::new(Code::Denied, "this is not the name that the handshake proved")),
    }
}

/// Whether a server names the key that it has proven. A role of this process may have any.
pub fn check_key(management: &Management, ctx: &Ctx<Management>, link: LinkId, key: PublicKey) -> Result<(), Fail> {
    let port = ctx.info(link).filter(|info| info.remote.is_some()).map(|info| info.port);
    let Some((port, server)) = port.zip(management.network.shakes.server(link)) else { return Ok(()) };
    match management.key_of(server, port) {
        Some(known) if known == key => Ok(()),
        _ => Err(Fail::new(Code::Denied, "this is not the key that the handshake proved")),
    }
}

/// Whether a server was added in that role, with that key. A role of this process may have any.
pub fn check_role(
    management: &Management,
    ctx: &Ctx<Management>,
    link: LinkId,
    role: RoleName,
    key: PublicKey,
) -> Result<(), Fail> {
    if ctx.info(link).is_some_and(|info| info.remote.is_none()) {
        return Ok(());
    }
    let server = management.network.shakes.server(link).and_then(|server| management.network.server(role, server));
    match server {
        Some(server) if server.key == key && !server.alone => Ok(()),
        _ => Err(Fail::new(Code::Denied, "this is not a role or a key that the operator added")),
    }
}

/// Whether the server at the other end was added with the role realm. A role of this process may be any.
pub fn is_realm(management: &Management, ctx: &Ctx<Management>, link: LinkId) -> bool {
    if ctx.info(link).is_some_and(|info| info.remote.is_none()) {
        return true;
    }
    let server = management.network.shakes.server(link);
    let realm = server.and_then(|server| management.network.server(RoleName::Realm, server));
    realm.is_some_and(|realm| !realm.alone)
}

impl Member for Management {
    fn handshakes(&mut self) -> &mut Handshakes {
        &mut self.network.shakes
    }

    fn handshakes_ref(&self) -> &Handshakes {
        &self.network.shakes
    }

    fn key_of(&self, server: &str, port: PortKey) -> Option<PublicKey> {
        // Of a server that plays several roles there is one key.
        let roles = PORTS.iter().find(|(known, _)| *known == port)?.1;
        let server = self.network.servers.get(server)?;
        let comes = |server: &&Server| !server.alone || port == PortKey::RealmManagement;
        roles.iter().find_map(|role| server.get(role).filter(comes)).map(|server| server.key)
    }

    fn proven(&mut self, _: &mut Ctx<Management>, _: LinkId, server: &str, _: PublicKey) {
        log::debug!("the server {server} has proven who it is");
    }
}

/// Whether servers come on this port, and have to prove who they are.
pub fn is_server_port(port: PortKey) -> bool {
    KEYS.contains(&port)
}
