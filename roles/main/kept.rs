//! Messages answered OK whose recipient's link died before it proved to have read them. They are stored, and given to the
//! user's next session, from when on its link is responsible for them.

use std::collections::HashMap;

use rusqlite::params;

use super::deliver;
use super::mesh::control;
use super::Main;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::route::ServerNo;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Framer;
use crate::wire::Packet;
use crate::wire::Raw;

/// The table of messages that are kept.
pub const SCHEMA: &str = "
    CREATE TABLE kept (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        account INTEGER NOT NULL,
        data BLOB NOT NULL,
        kept_at INTEGER NOT NULL
    );
    CREATE INDEX kept_by_account ON kept(account);
";

/// Whose they are, by name as well: other servers tell where a name is signed on.
pub const SCHEMA_NAMES: &str = "ALTER TABLE kept ADD COLUMN user TEXT NOT NULL DEFAULT '';";

/// Kept for one user at most, in bytes: what an outbox and its unproven part can hold, twice.
const PER_USER: usize = 20 << 20;
/// Kept for all users together at most, in bytes; in memory and on disk.
const TOTAL: usize = 256 << 20;
/// Kept this long at most, in milliseconds: 30 days.
const AGE: i64 = 30 * 24 * 3_600 * 1_000;

/// What is kept, by account: a name may be given up and taken by somebody else. Also in the database, from where it is loaded at start.
#[derive(Debug, Default)]
pub struct Kept {
    accounts: HashMap<u64, Vec<Message>>,
    /// Folded names and the accounts that had them when something was kept.
    names: HashMap<Box<str>, u64>,
    bytes: usize,
    /// The greatest number of a row so far.
    last_row: i64,
}

#[derive(Clone, Debug)]
struct Message {
    /// `sender LF sent-at LF body`, escaped.
    data: Vec<u8>,
    /// Its number in the database.
    row: i64,
    /// It is on its way to the server where the user is signed on.
    under_way: bool,
}

/// Loads what an earlier run kept; `then` runs after that: a session must not begin before.
pub fn load(ctx: &mut Ctx<Main>, then: fn(&mut Main, &mut Ctx<Main>)) {
    let oldest = i64::try_from(ctx.now()).unwrap_or(i64::MAX).saturating_sub(AGE);
    ctx.store(
        move |db| {
            db.execute("DELETE FROM kept WHERE kept_at < ?1", [oldest]).map_err(Fail::internal)?;
            let mut rows =
                db.prepare("SELECT id, account, data, user FROM kept ORDER BY id").map_err(Fail::internal)?;
            let rows = rows
                .query_map([], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get(2)?, row.get::<_, String>(3)?))
                })
                .map_err(Fail::internal)?;
            rows.collect::<Result<Vec<_>, _>>().map_err(Fail::internal)
        },
        move |main, ctx, loaded| {
            for (row, account, data, user) in loaded.unwrap_or_default() {
                let data: Vec<u8> = data;
                main.kept.bytes += data.len();
                main.kept.last_row = row;
                let account = u64::try_from(account).unwrap_or_default();
                main.kept.accounts.entry(account).or_default().push(Message { data, row, under_way: false });
                main.kept.names.insert(Box::from(&*name::fold(&user)), account);
            }
            then(main, ctx);
        },
    );
}

/// Another session of a user whose session has ended, as far as it can stand in for it.
struct Other {
    link: LinkId,
    /// Messages sent after this and before `until` were queued for it too.
    since: u64,
    /// None: it goes on.
    until: Option<u64>,
}

impl Other {
    fn has(&self, sent_at: u64) -> bool {
        self.since < sent_at && self.until.is_none_or(|until| sent_at < until)
    }
}

/// Keeps the messages among `undelivered`, unless another session of the user was there when they were sent: what that
/// one has not read comes here when it ends.
pub fn keep(main: &mut Main, ctx: &mut Ctx<Main>, user: &str, account: u64, undelivered: &[u8]) {
    let links =
        main.table.find(user).and_then(|user| main.table.get(user)).map(|user| user.here.clone()).unwrap_or_default();
    let others: Vec<Other> = links
        .iter()
        .filter_map(|link| main.session_at(*link))
        .map(|session| Other { link: session.link, since: session.since, until: ctx.closing_since(session.link) })
        .collect();
    let (mut framer, mut at) = (Framer::default(), 0);
    let mut messages = Vec::new();
    while let Some(line) = framer.next(undelivered, &mut at) {
        let Ok(packet) = Packet::parse(line) else { continue };
        if packet.command != b"RECEIVEMESSAGE" {
            continue;
        }
        let Ok([_, sent_at, _]) = packet.data.take::<3>() else { continue };
        let sent_at = sent_at.number().unwrap_or(0);
        if !others.iter().any(|other| other.has(sent_at)) {
            messages.push(packet.data.0.to_vec());
        }
    }
    if messages.is_empty() {
        return;
    }
    let mut given = false;
    for other in others.iter().filter(|other| other.until.is_none()) {
        // It came after these messages: it gets them now.
        for data in &messages {
            deliver::to_one(main, ctx, other.link, data);
        }
        given = true;
    }
    if !given {
        store(main, ctx, user, account, messages);
    }
}

/// Keeps messages, each as DATA of RECEIVEMESSAGE, for the user's next sign-on on this server or another.
pub fn store(main: &mut Main, ctx: &mut Ctx<Main>, user: &str, account: u64, messages: Vec<Vec<u8>>) {
    if messages.is_empty() {
        return;
    }
    log::info!("{user}: {} messages are kept for the next sign-on", messages.len());
    let now = i64::try_from(ctx.now()).unwrap_or(i64::MAX);
    main.kept.names.insert(Box::from(&*name::fold(user)), account);
    let owner = user.to_owned();
    let Kept { accounts, bytes, last_row, .. } = &mut main.kept;
    let held = accounts.entry(account).or_default();
    let mut of_user: usize = held.iter().map(|message| message.data.len()).sum();
    let mut fresh = Vec::new();
    for data in messages {
        if of_user + data.len() > PER_USER || *bytes + data.len() > TOTAL {
            log::error!("{user}: a message that was answered OK is lost: too much is kept already");
            continue;
        }
        of_user += data.len();
        *bytes += data.len();
        *last_row += 1;
        fresh.push(Message { data, row: *last_row, under_way: false });
    }
    held.extend_from_slice(&fresh);
    let account = i64::try_from(account).unwrap_or(i64::MAX);
    ctx.store(
        move |db| {
            let mut insert = db
                .prepare_cached("INSERT INTO kept(id, account, data, kept_at, user) VALUES (?1, ?2, ?3, ?4, ?5)")
                .map_err(Fail::internal)?;
            for message in &fresh {
                insert.execute(params![message.row, account, message.data, now, owner]).map_err(Fail::internal)?;
            }
            Ok(())
        },
        |_, _, _| {},
    );
}

/// A session begins: it gets what is kept for its user. From here on the session's own unproven part keeps it.
pub fn deliver(main: &mut Main, ctx: &mut Ctx<Main>, index: usize) {
    let Some((link, account)) = main.session(index).map(|session| (session.link, session.account)) else { return };
    if !ctx.is_open(link) {
        return;
    }
    let Some(held) = main.kept.accounts.remove(&account) else { return };
    let mut rows = Vec::new();
    // What is under way to another server may be there already.
    let (under_way, held): (Vec<_>, Vec<_>) = held.into_iter().partition(|message| message.under_way);
    if !under_way.is_empty() {
        main.kept.accounts.insert(account, under_way);
    }
    for message in held {
        main.kept.bytes = main.kept.bytes.saturating_sub(message.data.len());
        rows.push(message.row);
        // Whatever the outbox's limit: it fitted into one before.
        deliver::to_one(main, ctx, link, &message.data);
    }
    delete(ctx, rows);
}

/// The user is signed on at `at`: what is kept here goes there, unless there is a session here.
pub fn forward(main: &mut Main, user: &str, at: &[ServerNo]) {
    let Some(account) = main.kept.names.get(&*name::fold(user)).copied() else { return };
    let here = main.table.find(user).and_then(|user| main.table.get(user)).is_some_and(|user| !user.here.is_empty());
    let Some(server) = at.iter().find(|server| **server != main.own).filter(|_| !here) else { return };
    let mut items = Vec::new();
    for message in main.kept.accounts.get_mut(&account).into_iter().flatten().filter(|message| !message.under_way) {
        message.under_way = true;
        items.push(message.data.clone());
    }
    for item in items {
        control::push(main, *server, &["kept", user, &account.to_string()], &item);
    }
}

/// The server `to` has a message that was kept here, or does not want it.
pub fn forwarded(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    to: ServerNo,
    (user, account): (&str, &str),
    item: &[u8],
    fail: Option<Fail>,
) {
    let Ok(account) = account.parse::<u64>() else { return };
    let Some(held) = main.kept.accounts.get_mut(&account) else { return };
    let Some(at) = held.iter().position(|message| message.under_way && message.data == item) else { return };
    if fail.is_none() {
        let message = held.remove(at);
        if held.is_empty() {
            main.kept.accounts.remove(&account);
        }
        main.kept.bytes = main.kept.bytes.saturating_sub(message.data.len());
        return delete(ctx, vec![message.row]);
    }
    held[at].under_way = false;
    // Signed on here meanwhile, or somewhere else; where it was, the next change of the table tells.
    let session =
        main.sessions.iter().position(|one| one.as_ref().is_some_and(|one| one.account == account && one.is_ready()));
    if let Some(index) = session {
        return deliver(main, ctx, index);
    }
    let at = main.table.find(user).and_then(|user| main.table.get(user)).map(|user| user.at.to_vec());
    let at: Vec<ServerNo> = at.unwrap_or_default().into_iter().filter(|server| *server != to).collect();
    forward(main, user, &at);
}

/// A message that went after a client and did not reach it.
pub fn come_back(main: &mut Main, ctx: &mut Ctx<Main>, user: &str, account: &str, item: &[u8]) {
    let Ok(account) = account.parse::<u64>() else { return };
    store(main, ctx, user, account, vec![item.to_vec()]);
    let at = main.table.find(user).and_then(|user| main.table.get(user)).map(|user| user.at.to_vec());
    forward(main, user, &at.unwrap_or_default());
}

/// A message that another server has kept for a user who is signed on here.
///
/// # Errors
/// OFFLINE: not here. BADARGS: no message.
pub fn from_server(main: &mut Main, ctx: &mut Ctx<Main>, user: &str, account: &str, item: &[u8]) -> Result<(), Fail> {
    let [sender, sent_at, _] = Raw(item).take::<3>()?;
    name::check_user(&sender.text()?)?;
    sent_at.number()?;
    let account = Raw(account.as_bytes()).number()?;
    let quiet = |link: &LinkId| {
        main.session_at(*link).and_then(|session| session.quiet.as_ref()).map_or(0, |quiet| quiet.bytes)
    };
    let here = main.table.find(user).and_then(|user| main.table.get(user));
    let full = here.is_some_and(|user| user.here.iter().any(|link| quiet(link) > PER_USER));
    if full || ctx.queued() > ctx.limits().outbox_total {
        return Err(Fail::new(Code::Busy, "too much waits to be read; retry later"));
    }
    let here = main.table.find(user).and_then(|user| main.table.get(user)).map(|user| user.here.to_vec());
    let mut given = false;
    for link in here.unwrap_or_default() {
        // The name may be another person's by now.
        if main.session_at(link).is_some_and(|session| session.account == account) {
            given |= deliver::to_one(main, ctx, link, item);
        }
    }
    match given {
        true => Ok(()),
        false => Err(Fail::new(Code::Offline, "not signed on here")),
    }
}

/// After what stored them, as the database's jobs run in their order.
fn delete(ctx: &mut Ctx<Main>, rows: Vec<i64>) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PortKey;
    use crate::engine::identity::ServerKey;
    use crate::engine::limits::Limits;
    use crate::engine::Host;
    use crate::engine::Target;
    use crate::roles::main::Session;
    use crate::roles::main::Settings;

    fn host() -> Host<Main> {
        let settings = Settings {
            server_id: "main".into(),
            name: "main".into(),
            address: String::new(),
            mesh: String::new(),
            fingerprint: [0; 32],
            key: ServerKey::from_bytes(&[1; 32]),
            public: None,
            management: Target::Local(PortKey::MainManagement),
            validation: Target::Local(PortKey::Validation),
            storage: false,
        };
        Host::new(Main::new(settings), Limits::default(), [0; 32], 0)
    }

    /// A session of bob that begins now.
    fn session(host: &mut Host<Main>, now: u64) -> LinkId {
        let link = host.accepted(now, PortKey::ClientMain, Some([10, 0, 0, 1].into()), None).unwrap();
        assert!(host.open(now, link, |_| {}));
        host.with(now, |main, _| {
            let user = main.table.sign_on("bob", link);
            let index = main.sessions.len();
            main.by_link.insert(link, index);
            main.sessions.push(Some(Session { user, quiet: None, ..Session::new(link, 7, "bob", now, None) }));
        });
        link
    }

    fn keep_at(host: &mut Host<Main>, now: u64, sent_at: u64) -> usize {
        let lost = format!("-1 RECEIVEMESSAGE alice~\n{sent_at}~\nhi\n");
        host.with(now, |main, ctx| {
            keep(main, ctx, "bob", 7, lost.as_bytes());
            main.kept.accounts.get(&7).map_or(0, Vec::len)
        })
    }

    #[test]
    fn a_session_that_is_being_closed_stands_in_only_for_what_it_was_given() {
        let mut host = host();
        let other = session(&mut host, 100);
        assert_eq!(keep_at(&mut host, 200, 150), 0, "it has that too");
        assert!(matches!(host.exchange(200, other, None, None), crate::engine::host::Next::Idle { .. }));
        assert_eq!(keep_at(&mut host, 200, 50), 0, "it gets that now");
        assert!(matches!(host.exchange(200, other, None, None), crate::engine::host::Next::Write(_)));
        host.with(300, |_, ctx| ctx.close(other, "a test"));
        assert_eq!(keep_at(&mut host, 400, 250), 0, "it has that too, and gives it back if it is not read");
        assert_eq!(keep_at(&mut host, 400, 350), 1, "it was not given that");
        assert_eq!(keep_at(&mut host, 400, 50), 2, "it takes nothing more");
    }
}
