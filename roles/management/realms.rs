//! The directory of realms: REALM and FINDREALM (63747), from realms that have proven who they are, and LISTREALMS (63746), from anybody. A
//! realm's id belongs to the server that named it first, as long as the operator does not remove that server.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use rusqlite::params;
use rusqlite::Connection;

use super::main_server;
use super::mains;
use super::Management;
use crate::config::Policy;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::ctx::Fingerprint;
use crate::engine::handshake::Member;
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

/// The table of the directory; `seen` is in Unix milliseconds.
pub const SCHEMA: &str = "
CREATE TABLE realms (
    realm TEXT PRIMARY KEY,               -- host:port
    server TEXT NOT NULL,                 -- as the operator added it
    key BLOB NOT NULL,                    -- X25519, 32 bytes
    fingerprint BLOB NOT NULL,            -- of the certificate, 32 bytes
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    registration TEXT NOT NULL,
    users INTEGER NOT NULL,
    cap INTEGER NOT NULL,                 -- accounts; 0: any number
    quota INTEGER NOT NULL,               -- bytes
    seen INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX realms_by_server ON realms(server);
";

/// What a realm may say of itself, in bytes.
const DESCRIPTION: usize = 500;
/// A realm that is away is still listed for so long; milliseconds.
const LISTED: u64 = 3_600_000;
/// How soon the table is read again when that failed; milliseconds.
const AGAIN: u64 = 1_000;

/// A realm in the directory.
#[derive(Clone, Debug)]
struct Realm {
    server: String,
    key: PublicKey,
    fingerprint: Fingerprint,
    name: String,
    description: String,
    registration: String,
    users: u64,
    cap: u64,
    quota: u64,
    /// Unix milliseconds.
    seen: u64,
    /// While it is connected.
    link: Option<LinkId>,
}

/// All of them, by id. One for each server, so the number of servers bounds it.
#[derive(Debug, Default)]
pub struct Realms {
    by_id: BTreeMap<String, Realm>,
    /// What the operator has blocked; all of the database.
    pub blocks: BTreeSet<String>,
}

impl Realms {
    /// Whether the realm of that server is connected.
    pub fn is_up(&self, server: &str) -> bool {
        self.by_id.values().any(|realm| realm.server == server && realm.link.is_some())
    }
}

pub const REALM: Command<Management> = Command {
    name: "REALM",
    ports: &[PortKey::RealmManagement],
    args: "realm LF name LF description LF registration LF users LF cap LF quota LF fingerprint",
    gate: main_server,
    run: realm,
};

pub const FIND_REALM: Command<Management> =
    Command { name: "FINDREALM", ports: &[PortKey::RealmManagement], args: "realm", gate: main_server, run: find };

pub const LIST_REALMS: Command<Management> =
    Command { name: "LISTREALMS", ports: &[PortKey::ClientRealms], args: "", gate: anyone, run: list };

/// Reads the table, then goes on with `then`.
pub fn load(ctx: &mut Ctx<Management>, then: fn(&mut Ctx<Management>)) {
    ctx.query(all, move |management, ctx, loaded| match loaded {
        Ok((by_id, blocks)) => {
            management.realms = Realms { by_id, blocks };
            then(ctx);
        }
        Err(_) => ctx.after(AGAIN, move |_, ctx| load(ctx, then)),
    });
}

fn all(db: &Connection) -> Result<(BTreeMap<String, Realm>, BTreeSet<String>), Fail> {
    let mut statement = db.prepare("SELECT what FROM blocks").map_err(Fail::internal)?;
    let rows = statement.query_map([], |row| row.get(0));
    let blocks = rows.and_then(Iterator::collect).map_err(Fail::internal)?;
    let text =
        "SELECT realm, server, key, fingerprint, name, description, registration, users, cap, quota, seen FROM realms";
    let mut statement = db.prepare(text).map_err(Fail::internal)?;
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    let rows = statement.query_map([], |row| {
        let realm = Realm {
            server: row.get(1)?,
            key: PublicKey(row.get(2)?),
            fingerprint: row.get(3)?,
            name: row.get(4)?,
            description: row.get(5)?,
            registration: row.get(6)?,
            users: number(row.get(7)?),
            cap: number(row.get(8)?),
            quota: number(row.get(9)?),
            seen: number(row.get(10)?),
            link: None,
        };
        Ok((row.get(0)?, realm))
    });
    Ok((rows.and_then(Iterator::collect).map_err(Fail::internal)?, blocks))
}

fn realm(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [id, name, description, registration, users, cap, quota, print] = request.data().take()?;
    let id = mains::complete(ctx, request.link, &id.text()?)?.to_ascii_lowercase();
    name::check_realm(&id)?;
    let (name, description) = (name.text()?.into_owned(), description.text()?.into_owned());
    name::check(&name)?;
    if description.len() > DESCRIPTION || description.chars().any(|c| c.is_control() || c == '|') {
        return Err(Fail::bad_args("a description is one line of at most 500 bytes, without |"));
    }
    let registration = registration.text()?.into_owned();
    if !Policy::NAMES.contains(&&*registration) {
        return Err(Fail::bad_args("a policy is captcha, open, invite or closed"));
    }
    let fingerprint =
        hex::decode_32(&print.text()?).ok_or_else(|| Fail::bad_args("a fingerprint is 64 hexadecimal digits"))?;
    let (users, cap, quota) = (users.number()?, cap.number()?, quota.number()?);
    let shakes = &management.network.shakes;
    let server = shakes.server(request.link).unwrap_or_default().to_owned();
    let local = ctx.info(request.link).is_some_and(|info| info.remote.is_none());
    let key = if local { Some(shakes.key().public()) } else { management.key_of(&server, request.port) };
    let key = key.ok_or_else(|| Fail::new(Code::Denied, "this server was removed"))?;
    let realms = &mut management.realms;
    let before = realms.by_id.get(&id);
    if let Some(other) = before.filter(|other| other.key != key) {
        log::warn!(
            "REALM: DENIED to the server {server}, which calls itself the realm {id}: that is the server {}",
            other.server
        );
        return Err(Fail::new(Code::Denied, "this realm is another server's"));
    }
    let (now, link) = (ctx.now(), request.link);
    let fresh = Realm {
        server: server.clone(),
        key,
        fingerprint,
        name,
        description,
        registration,
        users,
        cap,
        quota,
        seen: now,
        link: Some(link),
    };
    if before.is_none() {
        log::info!("the realm {id} is in the directory: server {server}");
    }
    // It has another address now.
    realms.by_id.retain(|other, realm| *other == id || realm.server != server);
    realms.by_id.insert(id.clone(), fresh.clone());
    if let Some(peer) = ctx.peer(link) {
        peer.realm = Some(id.clone());
    }
    let later = request.later();
    let stored = id.clone();
    ctx.store(
        move |db| store(db, &stored, &fresh),
        move |_, ctx, done| ctx.answer(&later, done.map(|()| id.into_bytes())),
    );
    Ok(Answer::Later)
}

fn store(db: &Connection, id: &str, realm: &Realm) -> Result<(), Fail> {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let Realm { server, key, fingerprint, name, description, registration, .. } = realm;
    db.execute("DELETE FROM realms WHERE server = ?1 AND realm <> ?2", [server, id]).map_err(Fail::internal)?;
    let text = "INSERT OR REPLACE INTO realms
        (realm, server, key, fingerprint, name, description, registration, users, cap, quota, seen)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let (users, cap, quota, seen) = (number(realm.users), number(realm.cap), number(realm.quota), number(realm.seen));
    let values = params![id, server, key.0, fingerprint, name, description, registration, users, cap, quota, seen];
    db.execute(text, values).map(drop).map_err(Fail::internal)
}

fn find(management: &mut Management, _: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let id = request.data().text()?.to_ascii_lowercase();
    name::check_realm(&id)?;
    let realm = management.realms.by_id.get(&id);
    let realm = realm.ok_or_else(|| Fail::new(Code::NotFound, "no such realm is in the directory"))?;
    Ok(Answer::Data(format!("{}\n{}", realm.key, hex::encode(&realm.fingerprint)).into_bytes()))
}

fn list(management: &mut Management, ctx: &mut Ctx<Management>, _: &Request<'_>) -> Result<Answer, Fail> {
    let now = ctx.now();
    let listed = |realm: &Realm| realm.link.is_some() || now.saturating_sub(realm.seen) < LISTED;
    let line = |(id, realm): (&String, &Realm)| {
        let Realm { name, description, registration, users, cap, quota, .. } = realm;
        format!("{id}|{name}|{description}|{registration}|{users}|{cap}|{quota}")
    };
    let lines: Vec<String> = management.realms.by_id.iter().filter(|(_, realm)| listed(realm)).map(line).collect();
    Ok(Answer::Data(lines.join("\n").into_bytes()))
}

/// The link of a realm is gone.
pub fn lost(management: &mut Management, ctx: &Ctx<Management>, link: LinkId, id: &str) {
    if let Some(realm) = management.realms.by_id.get_mut(id).filter(|realm| realm.link == Some(link)) {
        (realm.link, realm.seen) = (None, ctx.now());
    }
}

/// The operator removed a server; the database does not have its realm any more.
pub fn removed(management: &mut Management, server: &str) {
    management.realms.by_id.retain(|_, realm| realm.server != server);
}
