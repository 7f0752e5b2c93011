//! Messages answered OK whose recipient's link died before it proved to have read them. They are stored, and given to the
//! user's next session, from when on its link is responsible for them: here, or at another main server, which asks for them
//! (`fetch`).

use std::collections::HashMap;
use std::collections::VecDeque;

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

/// Management's receipt, with which it believes that this server has something for the user.
pub const SCHEMA_RECEIPTS: &str = "ALTER TABLE kept ADD COLUMN receipt TEXT NOT NULL DEFAULT '';";

/// Kept for one user at most, in bytes: what an outbox and its unproven part can hold, twice.
pub const PER_USER: usize = 20 << 20;
/// Kept for all users together at most, in bytes; in memory and on disk.
pub const TOTAL: usize = 256 << 20;
/// Kept this long at most, in milliseconds: 30 days.
const AGE: i64 = 30 * 24 * 3_600 * 1_000;

/// What is kept, by account: a name may be given up and taken by somebody else. Also in the database, from where it is loaded at start.
#[derive(Debug, Default)]
pub struct Kept {
    accounts: HashMap<u64, Held>,
    bytes: usize,
    /// The greatest number of a row so far.
    last_row: i64,
}

/// What is kept for one account.
#[derive(Debug, Default)]
struct Held {
    /// The user.
    user: String,
    /// Management's, or of the server that the session had come from; empty: none was ever given.
    receipt: String,
    messages: VecDeque<Message>,
    /// Servers that wait until it is known what has come of those under way.
    askers: Vec<ServerNo>,
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
                db.prepare("SELECT id, account, data, user, receipt FROM kept ORDER BY id").map_err(Fail::internal)?;
            let rows = rows
                .query_map([], |row| {
                    let (user, receipt) = (row.get::<_, String>(3)?, row.get::<_, String>(4)?);
                    Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get(2)?, user, receipt))
                })
                .map_err(Fail::internal)?;
            rows.collect::<Result<Vec<_>, _>>().map_err(Fail::internal)
        },
        move |main, ctx, loaded| {
            for (row, account, data, user, receipt) in loaded.unwrap_or_default() {
                let data: Vec<u8> = data;
                main.kept.bytes += data.len();
                main.kept.last_row = row;
                let held = main.kept.accounts.entry(u64::try_from(account).unwrap_or_default()).or_default();
                held.messages.push_back(Message { data, row, under_way: false });
                (held.user, held.receipt) = (user, receipt);
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
    let (owner, receipt, number) = (user.to_owned(), main.receipts.of(account).to_owned(), account);
    let Kept { accounts, bytes, last_row } = &mut main.kept;
    let held = accounts.entry(account).or_default();
    held.user = user.to_owned();
    if !receipt.is_empty() {
        held.receipt.clone_from(&receipt);
    }
    let mut of_user: usize = held.messages.iter().map(|message| message.data.len()).sum();
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
    held.messages.extend(fresh.iter().cloned());
    let account = i64::try_from(account).unwrap_or(i64::MAX);
    ctx.store(
        move |db| {
            let mut insert = db
                .prepare_cached(
                    "INSERT INTO kept(id, account, data, kept_at, user, receipt) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )
                .map_err(Fail::internal)?;
            for message in &fresh {
                let values = params![message.row, account, message.data, now, owner, receipt];
                insert.execute(values).map_err(Fail::internal)?;
            }
            Ok(())
        },
        |_, _, _| {},
    );
    // Each time: who was told that there is nothing more asks again.
    tell(main, ctx, number);
    tidy(main, number);
}

/// Tells management whether something is kept for an account: it tells the server where the user is signed on.
fn tell(main: &Main, ctx: &mut Ctx<Main>, account: u64) {
    let held = main.kept.accounts.get(&account).filter(|held| !held.receipt.is_empty());
    if let (Some(held), Some(link)) = (held, main.management.link()) {
        let (user, number, name) = (&held.user, account.to_string(), held.user.clone());
        let receipt = if held.messages.is_empty() { "" } else { &held.receipt };
        let fields = [user.as_bytes(), number.as_bytes(), receipt.as_bytes()];
        ctx.request(link, "KEEPS", &fields, move |_, _, answer| {
            // When it is lost with the link, all is told again.
            if let Err(fail) = answer {
                log::warn!("management does not note that messages are kept for {name}: {fail}");
            }
        });
    }
}

/// Management knows this server, perhaps for the first time: it is told of everybody for whom something is kept.
pub fn tell_all(main: &Main, ctx: &mut Ctx<Main>) {
    let mut accounts: Vec<u64> = main.kept.accounts.keys().copied().collect();
    accounts.sort_unstable();
    accounts.into_iter().for_each(|account| tell(main, ctx, account));
}

/// Nothing is remembered of an account for which nothing is kept any more.
fn tidy(main: &mut Main, account: u64) {
    if main.kept.accounts.get(&account).is_some_and(|held| held.messages.is_empty()) {
        main.kept.accounts.remove(&account);
    }
}

/// Some of it is gone; if that was all, management is told.
fn gone(main: &mut Main, ctx: &mut Ctx<Main>, account: u64) {
    if main.kept.accounts.get(&account).is_some_and(|held| held.messages.is_empty()) {
        tell(main, ctx, account);
        tidy(main, account);
    }
}

/// Takes what is kept for an account, and is not under way to another server: from here on the session that gets it keeps it.
pub fn take(main: &mut Main, ctx: &mut Ctx<Main>, account: u64) -> Vec<Vec<u8>> {
    let Some(held) = main.kept.accounts.get_mut(&account) else { return Vec::new() };
    // What is under way to another server may be there already.
    let (under_way, taken): (VecDeque<_>, VecDeque<_>) =
        std::mem::take(&mut held.messages).into_iter().partition(|message| message.under_way);
    held.messages = under_way;
    let rows = taken.iter().map(|message| message.row).collect();
    let taken: Vec<Vec<u8>> = taken.into_iter().map(|message| message.data).collect();
    main.kept.bytes = main.kept.bytes.saturating_sub(taken.iter().map(Vec::len).sum());
    gone(main, ctx, account);
    delete(ctx, rows);
    taken
}

/// Another server asks for what is kept for a user who is signed on there.
///
/// # Errors
/// OFFLINE: the user is not signed on there. BADARGS.
pub fn asked(main: &mut Main, from: ServerNo, user: &str, account: &str) -> Result<(), Fail> {
    name::check_user(user)?;
    let account = Raw(account.as_bytes()).number()?;
    let there = main.table.find(user).and_then(|user| main.table.get(user));
    if !there.is_some_and(|user| user.at.contains(&from)) {
        return Err(Fail::new(Code::Offline, "not signed on there"));
    }
    give(main, from, user, account);
    Ok(())
}

/// Gives what is kept. What is under way to another server is waited for: it may come back.
fn give(main: &mut Main, to: ServerNo, user: &str, account: u64) {
    let held = main.kept.accounts.get_mut(&account);
    let mut items = Vec::new();
    if let Some(held) = held.filter(|held| name::fold(&held.user) == name::fold(user)) {
        if held.messages.iter().any(|message| message.under_way) {
            if !held.askers.contains(&to) {
                held.askers.push(to);
            }
            return;
        }
        for message in &mut held.messages {
            message.under_way = true;
            items.push(message.data.clone());
        }
    }
    let account = account.to_string();
    if items.is_empty() {
        return control::reply(main, to, &["keptend", user, &account]);
    }
    for item in items {
        control::push(main, to, &["kept", user, &account], &item);
    }
    control::push(main, to, &["keptend", user, &account], b"");
}

/// The server `to` has a message that was kept here, or does not want it.
pub fn given(main: &mut Main, ctx: &mut Ctx<Main>, (user, account): (&str, &str), item: &[u8], fail: Option<Fail>) {
    let Ok(account) = account.parse::<u64>() else { return };
    let Some(held) = main.kept.accounts.get_mut(&account) else { return };
    let Some(at) = held.messages.iter().position(|message| message.under_way && message.data == item) else { return };
    match fail {
        None => {
            let Some(message) = held.messages.remove(at) else { return };
            main.kept.bytes = main.kept.bytes.saturating_sub(message.data.len());
            delete(ctx, vec![message.row]);
        }
        Some(_) => held.messages[at].under_way = false,
    }
    if held.messages.iter().any(|message| message.under_way) {
        return;
    }
    let askers = std::mem::take(&mut held.askers);
    to_those_here(main, ctx, account);
    for server in askers {
        give(main, server, user, account);
    }
    gone(main, ctx, account);
}

/// What is kept for a user who has signed on here meanwhile.
fn to_those_here(main: &mut Main, ctx: &mut Ctx<Main>, account: u64) {
    let ready =
        |session: &super::Session| session.account == account && session.is_ready() && ctx.is_open(session.link);
    let Some(link) = main.sessions.iter().flatten().find(|session| ready(session)).map(|session| session.link) else {
        return;
    };
    for data in take(main, ctx, account) {
        deliver::to_one(main, ctx, link, &data);
    }
}

/// A message that went after a client and did not reach it.
pub fn come_back(main: &mut Main, ctx: &mut Ctx<Main>, user: &str, account: &str, item: &[u8]) {
    let Ok(account) = account.parse::<u64>() else { return };
    store(main, ctx, user, account, vec![item.to_vec()]);
    to_those_here(main, ctx, account);
}

/// When a message was sent: DATA of RECEIVEMESSAGE.
pub fn sent_at(data: &[u8]) -> u64 {
    Raw(data).take::<3>().and_then(|[_, at, _]| at.number()).unwrap_or(0)
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
            realm: None,
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
            main.kept.accounts.get(&7).map_or(0, |held| held.messages.len())
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
