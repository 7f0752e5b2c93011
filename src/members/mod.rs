//! Floor 3: what a server that is not management knows of the network: the other servers, from the burst when it joined and from
//! management since. One shared piece of the roles main, data-management and data; each keeps it in its own database.

mod centre;
mod uplink;

use std::collections::BTreeMap;

use rusqlite::params;
use rusqlite::Connection;

use crate::config::RoleName;
use crate::engine::handshake;
use crate::engine::handshake::Handshakes;
use crate::engine::identity::PublicKey;
use crate::engine::identity::ServerKey;
use crate::engine::Ctx;
use crate::wire::name;
use crate::wire::Fail;

pub use centre::Centre;
pub use centre::Stores;
pub use uplink::back_off;
pub use uplink::Place;
pub use uplink::StorageServer;
pub use uplink::Up;
pub use uplink::Uplink;
pub use uplink::Where;

/// The tables of the burst. `network` has the rows `management key` and, once the burst is whole, `joined`.
pub const SCHEMA: &str = "
CREATE TABLE members (
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    key BLOB NOT NULL,                    -- X25519, 32 bytes
    volatile INTEGER NOT NULL,
    capacity INTEGER,                     -- bytes
    PRIMARY KEY (name, role)
) STRICT, WITHOUT ROWID;
CREATE TABLE network (
    what TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// The same as main servers made it first; [`RENAMED`] makes it what it is now.
pub const SCHEMA_BEFORE: &str = "
CREATE TABLE servers (
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    key BLOB NOT NULL,
    volatile INTEGER NOT NULL,
    capacity INTEGER,
    PRIMARY KEY (name, role)
) STRICT, WITHOUT ROWID;
CREATE TABLE network (
    what TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// See [`SCHEMA_BEFORE`]. Data management has another table of this name.
pub const RENAMED: &str = "ALTER TABLE servers RENAME TO members;";

const MANAGEMENT_KEY: &str = "management key";
const JOINED: &str = "joined";

/// A server in one of its roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its identity.
    pub key: PublicKey,
    /// A data server that may lose what it stores.
    pub volatile: bool,
    /// What the operator lets a data server store, in bytes; None: what it says itself.
    pub capacity: Option<u64>,
}

/// What a server knows of the others.
pub struct Members {
    /// The handshakes on all of its server ports.
    pub shakes: Handshakes,
    /// None: management is in this process, or was never joined.
    pub management_key: Option<PublicKey>,
    servers: BTreeMap<(RoleName, String), Known>,
}

/// A role that keeps `Members`.
pub trait Joined: handshake::Member {
    /// What it knows of the others.
    fn members(&mut self) -> &mut Members;
}

impl Members {
    /// Before the database was read.
    pub fn new(own_id: &str, key: ServerKey) -> Members {
        Members { shakes: Handshakes::new(own_id, key), management_key: None, servers: BTreeMap::new() }
    }

    /// A server in that role.
    pub fn get(&self, role: RoleName, server: &str) -> Option<&Known> {
        self.servers.get(&(role, server.to_owned()))
    }

    /// Its key.
    pub fn key(&self, role: RoleName, server: &str) -> Option<PublicKey> {
        self.get(role, server).map(|known| known.key)
    }

    /// All servers of that role, in the order of their names.
    pub fn of(&self, role: RoleName) -> impl Iterator<Item = (&str, &Known)> {
        self.servers.iter().filter(move |((is, _), _)| *is == role).map(|((_, name), known)| (name.as_str(), known))
    }
}

type Loaded = (Option<PublicKey>, Vec<((RoleName, String), Known)>);

/// Reads the tables; links from other servers wait until then. `then` runs after that.
pub fn load<R: Joined>(ctx: &mut Ctx<R>, then: fn(&mut R, &mut Ctx<R>)) {
    ctx.query(
        |db| read(db).map_err(Fail::internal),
        move |role, ctx, loaded| {
            if let Ok((management_key, servers)) = loaded {
                let members = role.members();
                members.management_key = management_key;
                // What management has told since is newer.
                for (server, known) in servers {
                    members.servers.entry(server).or_insert(known);
                }
            }
            handshake::ready(role, ctx);
            then(role, ctx);
        },
    );
}

fn read(db: &Connection) -> rusqlite::Result<Loaded> {
    let value = db.prepare("SELECT value FROM network WHERE what = ?1")?.query_row([MANAGEMENT_KEY], |row| row.get(0));
    let management_key = value.map(|text: String| PublicKey::parse(&text)).ok().flatten();
    let mut statement = db.prepare("SELECT name, role, key, volatile, capacity FROM members")?;
    let mut rows = statement.query([])?;
    let mut servers = Vec::new();
    while let Some(row) = rows.next()? {
        let role: String = row.get(1)?;
        let Some(role) = RoleName::parse(&role) else { continue };
        let capacity: Option<i64> = row.get(4)?;
        let capacity = capacity.and_then(|bytes| u64::try_from(bytes).ok());
        let known = Known { key: PublicKey(row.get(2)?), volatile: row.get(3)?, capacity };
        servers.push(((role, row.get(0)?), known));
    }
    Ok((management_key, servers))
}

/// Management says what a server is, or that it was removed (None); kept for the next start too. False: that was known.
pub fn set<R: Joined>(
    role: &mut R,
    ctx: &mut Ctx<R>,
    server_role: RoleName,
    server: &str,
    known: Option<Known>,
) -> bool {
    let at = (server_role, server.to_owned());
    let servers = &mut role.members().servers;
    let before = match known {
        Some(known) => servers.insert(at, known),
        None => servers.remove(&at),
    };
    if before == known {
        return false;
    }
    let server = server.to_owned();
    ctx.store(
        move |db| match known {
            Some(known) => insert(db, &server, server_role.name(), &known),
            None => db
                .execute("DELETE FROM members WHERE name = ?1 AND role = ?2", [&*server, server_role.name()])
                .map(drop)
                .map_err(Fail::internal),
        },
        |_, _, _| {},
    );
    true
}

fn insert(db: &Connection, server: &str, role: &str, known: &Known) -> Result<(), Fail> {
    let capacity = known.capacity.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let done = db.execute(
        "INSERT INTO members (name, role, key, volatile, capacity) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (name, role) DO UPDATE
         SET key = excluded.key, volatile = excluded.volatile, capacity = excluded.capacity",
        params![server, role, known.key.0, known.volatile, capacity],
    );
    done.map(drop).map_err(Fail::internal)
}

/// Takes the lines of MEMBERS; calls `changed` for every server that is new, another than before, or removed.
///
/// # Errors
/// BADARGS for a line that is none; those before it are taken.
pub fn take<R: Joined>(
    role: &mut R,
    ctx: &mut Ctx<R>,
    lines: &str,
    mut changed: impl FnMut(&mut R, &mut Ctx<R>, RoleName, &str),
) -> Result<(), Fail> {
    for line in lines.lines() {
        let bad = || {
            Fail::bad_args("a line is name|role|public key|volatile or nothing|capacity or nothing|removed or nothing")
        };
        let [server, server_role, key, volatile, capacity, removed] = line.split('|').collect::<Vec<_>>()[..] else {
            return Err(bad());
        };
        name::check(server)?;
        // Of a newer management.
        let Some(server_role) = RoleName::parse(server_role) else { continue };
        let known = match removed {
            "removed" => None,
            _ => {
                let key = PublicKey::parse(key).ok_or_else(bad)?;
                let capacity = if capacity.is_empty() { None } else { Some(capacity.parse().map_err(|_| bad())?) };
                Some(Known { key, volatile: volatile == "volatile", capacity })
            }
        };
        if set(role, ctx, server_role, server, known) {
            changed(role, ctx, server_role, server);
        }
    }
    Ok(())
}

/// Whether a burst was written into this database.
///
/// # Errors
/// In words.
pub fn is_joined(db: &Connection) -> Result<bool, String> {
    let count = db.query_row("SELECT count(*) FROM network WHERE what = ?1", [JOINED], |row| row.get::<_, i64>(0));
    count.map(|count| count > 0).map_err(|error| error.to_string())
}

/// Writes the lines of a burst and the mark that it is whole, all or nothing. `now`: Unix milliseconds.
///
/// # Errors
/// In words; a line that is none of those that docs/protocol.md names, or the disk.
pub fn write_burst(db: &mut Connection, lines: &[String], now: u64) -> Result<(), String> {
    let transaction = db.transaction().map_err(|error| error.to_string())?;
    transaction.execute_batch("DELETE FROM members; DELETE FROM network;").map_err(|error| error.to_string())?;
    for line in lines {
        let bad = || format!("management sent a line that is no record: {}", line.escape_debug());
        match line.split('|').collect::<Vec<_>>()[..] {
            ["network", key] => {
                let key = PublicKey::parse(key).ok_or_else(bad)?;
                put(&transaction, MANAGEMENT_KEY, &key.to_string())?;
            }
            ["server", server, role, key, volatile, capacity] => {
                name::check(server).map_err(|_| bad())?;
                let key = PublicKey::parse(key).ok_or_else(bad)?;
                let capacity = match capacity {
                    "" => None,
                    bytes => Some(bytes.parse::<u64>().map_err(|_| bad())?),
                };
                let known = Known { key, volatile: volatile == "volatile", capacity };
                insert(&transaction, server, role, &known).map_err(|fail| fail.to_string())?;
            }
            // Of a newer management; what this version needs is above.
            _ => log::debug!("joining: a record that this version does not know"),
        }
    }
    put(&transaction, JOINED, &now.to_string())?;
    transaction.commit().map_err(|error| error.to_string())
}

fn put(db: &Connection, what: &str, value: &str) -> Result<(), String> {
    let done = db.execute("INSERT OR REPLACE INTO network (what, value) VALUES (?1, ?2)", [what, value]);
    done.map(|_| ()).map_err(|error| error.to_string())
}
