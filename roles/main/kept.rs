//! Messages answered OK whose recipient's link died before it proved to have read them. They are stored, and given to the
//! user's next session, from when on its link is responsible for them.

use std::collections::HashMap;

use rusqlite::params;

use super::Main;
use crate::engine::Ctx;
use crate::wire::name;
use crate::wire::Fail;
use crate::wire::Framer;
use crate::wire::Packet;

/// The schema of the main server's database.
pub const MIGRATIONS: &[&str] = &["
    CREATE TABLE kept (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        user TEXT NOT NULL,
        data BLOB NOT NULL,
        kept_at INTEGER NOT NULL
    );
    CREATE INDEX kept_by_user ON kept(user);
"];

/// Kept for one user at most, in bytes: what an outbox and its unproven part can hold, twice.
const PER_USER: usize = 20 << 20;
/// Kept for all users together at most, in bytes; in memory and on disk.
const TOTAL: usize = 256 << 20;
/// Kept this long at most, in milliseconds: 30 days.
const AGE: i64 = 30 * 24 * 3_600 * 1_000;

/// What is kept, by folded user name. Also in the database, from where it is loaded at start.
#[derive(Debug, Default)]
pub struct Kept {
    users: HashMap<String, Vec<Message>>,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Message {
    /// `sender LF sent-at LF body`, escaped.
    data: Vec<u8>,
    /// The row, once stored.
    row: Option<i64>,
}

/// Loads what an earlier run kept.
pub fn load(ctx: &mut Ctx<Main>) {
    let oldest = i64::try_from(ctx.now()).unwrap_or(i64::MAX).saturating_sub(AGE);
    ctx.store(
        move |db| {
            db.execute("DELETE FROM kept WHERE kept_at < ?1", [oldest]).map_err(Fail::internal)?;
            let mut rows = db.prepare("SELECT id, user, data FROM kept ORDER BY id").map_err(Fail::internal)?;
            let rows = rows
                .query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, Vec<u8>>(2)?)))
                .map_err(Fail::internal)?;
            rows.collect::<Result<Vec<_>, _>>().map_err(Fail::internal)
        },
        |main, _, loaded| {
            for (row, user, data) in loaded.unwrap_or_default() {
                main.kept.bytes += data.len();
                main.kept.users.entry(user).or_default().push(Message { data, row: Some(row) });
            }
        },
    );
}

/// Keeps the messages among `undelivered`, unless another session of the user was signed on when they were sent.
pub fn keep(main: &mut Main, ctx: &mut Ctx<Main>, user: &str, undelivered: &[u8]) {
    let others: Vec<_> =
        main.table.find(user).and_then(|user| main.table.get(user)).map(|user| user.here.clone()).unwrap_or_default();
    let earliest = main.sessions.iter().flatten().filter(|s| others.contains(&s.link)).map(|s| s.since).min();
    let (mut framer, mut at) = (Framer::default(), 0);
    let mut messages = Vec::new();
    while let Some(line) = framer.next(undelivered, &mut at) {
        let Ok(packet) = Packet::parse(line) else { continue };
        if packet.command != b"RECEIVEMESSAGE" {
            continue;
        }
        let Ok([_, sent_at, _]) = packet.data.take::<3>() else { continue };
        let sent_at = sent_at.number().unwrap_or(0);
        if earliest.is_some_and(|since| since < sent_at) {
            continue;
        }
        messages.push(packet.data.0.to_vec());
    }
    if messages.is_empty() {
        return;
    }
    if !others.is_empty() {
        // The sessions that are there came after these messages: they get them now.
        for data in messages {
            for link in &others {
                if let Ok(out) = ctx.begin(*link, "RECEIVEMESSAGE") {
                    out.extend_from_slice(&data);
                    out.push(b'\n');
                }
            }
        }
        return;
    }
    log::info!("{user}: {} messages are kept for the next sign-on", messages.len());
    let key = name::fold(user).into_owned();
    let now = i64::try_from(ctx.now()).unwrap_or(i64::MAX);
    let held = main.kept.users.entry(key.clone()).or_default();
    let mut of_user: usize = held.iter().map(|message| message.data.len()).sum();
    let mut stored = Vec::new();
    for data in messages {
        of_user += data.len();
        if of_user > PER_USER || main.kept.bytes + data.len() > TOTAL {
            log::error!("{user}: a message that was answered OK is lost: too much is kept already");
            continue;
        }
        main.kept.bytes += data.len();
        stored.push(data.clone());
        held.push(Message { data, row: None });
    }
    let user = key.clone();
    ctx.store(
        move |db| {
            let mut insert = db
                .prepare_cached("INSERT INTO kept(user, data, kept_at) VALUES (?1, ?2, ?3)")
                .map_err(Fail::internal)?;
            let mut rows = Vec::new();
            for data in &stored {
                insert.execute(params![user, data, now]).map_err(Fail::internal)?;
                rows.push(db.last_insert_rowid());
            }
            Ok(rows)
        },
        move |main, ctx, rows| {
            let Ok(rows) = rows else { return };
            match main.kept.users.get_mut(&key) {
                Some(held) => {
                    for (message, row) in held.iter_mut().filter(|message| message.row.is_none()).zip(rows) {
                        message.row = Some(row);
                    }
                }
                // Delivered while they were being stored.
                None => delete(ctx, rows),
            }
        },
    );
}

/// A session begins: it gets what is kept for its user. From here on the session's own unproven part keeps it.
pub fn deliver(main: &mut Main, ctx: &mut Ctx<Main>, index: usize) {
    let Some((link, user)) = main.session(index).map(|session| (session.link, session.user)) else { return };
    let Some(user) = main.table.get(user) else { return };
    let Some(held) = main.kept.users.remove(name::fold(&user.name).as_ref()) else { return };
    let mut rows = Vec::new();
    for message in held {
        main.kept.bytes = main.kept.bytes.saturating_sub(message.data.len());
        rows.extend(message.row);
        // Whatever the outbox's limit: it fitted into one before.
        ctx.push_kept(link, "RECEIVEMESSAGE", &message.data);
    }
    delete(ctx, rows);
}

fn delete(ctx: &mut Ctx<Main>, rows: Vec<i64>) {
    if rows.is_empty() {
        return;
    }
    ctx.store(
        move |db| {
            let mut delete = db.prepare_cached("DELETE FROM kept WHERE id = ?1").map_err(Fail::internal)?;
            for row in rows {
                delete.execute([row]).map_err(Fail::internal)?;
            }
            Ok(())
        },
        |_, _, _| {},
    );
}
