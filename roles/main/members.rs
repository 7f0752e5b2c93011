//! The other servers of the network, as this one knows them: from the burst when it joined, and from management since. And the
//! handshakes with them.

use std::collections::HashMap;

use rusqlite::params;
use rusqlite::Connection;

use super::management;
use super::mesh::links;
use super::Main;
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
use crate::wire::name;
use crate::wire::Fail;

/// The tables of the burst. `network` has the rows `management key` and, once the burst is whole, `joined`.
pub const SCHEMA: &str = "
CREATE TABLE servers (
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

const MANAGEMENT_KEY: &str = "management key";
const JOINED: &str = "joined";
const PORTS: &[PortKey] = &[PortKey::MainMain];

pub const HELLO: Command<Main> = handshake::hello(PORTS);
pub const PROVE: Command<Main> = handshake::prove(PORTS);

/// What a main server knows of the others.
pub struct Members {
    /// Handshakes on 64477 and 64478.
    pub shakes: Handshakes,
    /// The main servers, by their names.
    pub keys: HashMap<String, PublicKey>,
    /// None: management is in this process, or was never joined.
    pub management_key: Option<PublicKey>,
}

impl Members {
    /// Before the database was read.
    pub fn new(own_id: &str, key: ServerKey) -> Members {
        Members { shakes: Handshakes::new(own_id, key), keys: HashMap::new(), management_key: None }
    }
}

type Loaded = (Option<PublicKey>, Vec<(String, PublicKey)>);

/// Reads the tables; links from other servers wait until then. `then` runs after that.
pub fn load(ctx: &mut Ctx<Main>, then: fn(&mut Main, &mut Ctx<Main>)) {
    ctx.query(
        |db| read(db).map_err(Fail::internal),
        move |main, ctx, loaded| {
            if let Ok((management_key, keys)) = loaded {
                main.members.management_key = management_key;
                // What management has told since is newer.
                for (name, key) in keys {
                    main.members.keys.entry(name).or_insert(key);
                }
            }
            handshake::ready(main, ctx);
            then(main, ctx);
        },
    );
}

fn read(db: &Connection) -> rusqlite::Result<Loaded> {
    let value = db.prepare("SELECT value FROM network WHERE what = ?1")?.query_row([MANAGEMENT_KEY], |row| row.get(0));
    let management_key = value.map(|text: String| PublicKey::parse(&text)).ok().flatten();
    let mut servers = db.prepare("SELECT name, key FROM servers WHERE role = ?1")?;
    let keys = servers.query_map([RoleName::Main.name()], |row| Ok((row.get(0)?, PublicKey(row.get(1)?))))?;
    Ok((management_key, keys.collect::<rusqlite::Result<_>>()?))
}

/// Management says that a main server has this key, or that it was removed; kept for the next start too.
pub fn set_key(main: &mut Main, ctx: &mut Ctx<Main>, server: &str, key: Option<PublicKey>) {
    let before = match key {
        Some(key) => main.members.keys.insert(server.to_owned(), key),
        None => main.members.keys.remove(server),
    };
    if before == key {
        return;
    }
    let server = server.to_owned();
    ctx.store(
        move |db| {
            let role = RoleName::Main.name();
            let done = match key {
                Some(key) => db.execute(
                    "INSERT INTO servers (name, role, key, volatile) VALUES (?1, ?2, ?3, 0)
                     ON CONFLICT (name, role) DO UPDATE SET key = excluded.key",
                    params![server, role, key.0],
                ),
                None => db.execute("DELETE FROM servers WHERE name = ?1 AND role = ?2", [&server, role]),
            };
            done.map_err(Fail::internal)
        },
        |_, _, _| {},
    );
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
    transaction.execute_batch("DELETE FROM servers; DELETE FROM network;").map_err(|error| error.to_string())?;
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
                    bytes => Some(bytes.parse::<i64>().map_err(|_| bad())?),
                };
                let values = params![server, role, key.0, volatile == "volatile", capacity];
                transaction
                    .execute("INSERT OR REPLACE INTO servers (name, role, key, volatile, capacity) VALUES (?1, ?2, ?3, ?4, ?5)", values)
                    .map_err(|error| error.to_string())?;
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

impl Member for Main {
    fn handshakes(&mut self) -> &mut Handshakes {
        &mut self.members.shakes
    }

    fn handshakes_ref(&self) -> &Handshakes {
        &self.members.shakes
    }

    fn key_of(&self, server: &str, port: PortKey) -> Option<PublicKey> {
        // A server does not link to itself.
        let other = port == PortKey::MainMain && server != self.members.shakes.own_id();
        self.members.keys.get(server).copied().filter(|_| other)
    }

    fn proven(&mut self, ctx: &mut Ctx<Main>, link: LinkId, server: &str, _: PublicKey) {
        match ctx.info(link).map(|info| info.port) {
            Some(PortKey::MainManagement) => management::proven(self, ctx, link),
            Some(PortKey::MainMain) => links::proven(self, ctx, link, server),
            _ => {}
        }
    }

    fn refused(&mut self, ctx: &mut Ctx<Main>, link: LinkId, why: &Fail) {
        if ctx.info(link).is_some_and(|info| info.port == PortKey::MainManagement) {
            management::refused(self, why);
        }
    }
}
