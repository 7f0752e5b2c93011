//! Messages that other servers keep for users who are signed on here: management names those servers, this one asks them, and
//! takes such messages from nobody else. A session that has just signed on waits for them, as they are older than what comes now.

use std::collections::BTreeMap;
use std::collections::HashMap;

use super::deliver;
use super::handover;
use super::kept;
use super::mesh::complain;
use super::mesh::control;
use super::Main;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::route::ServerNo;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// How long a new session waits for what others keep; milliseconds.
const PATIENCE: u64 = 2_000;
/// After so long without a word a server is asked again, or not counted on any more; milliseconds.
const SILENCE: u64 = 60_000;
/// How soon a server is asked again that could not be, at first and at most; milliseconds.
const AGAIN: (u64, u64) = (1_000, 60_000);
/// The same for one that has given all it had, and may have more by now.
const SOON: u64 = 100;
/// Servers that are asked for one user, at most.
const MOST: usize = 256;

pub const KEEPERS: Command<Main> = Command {
    name: "KEEPERS",
    ports: &[PortKey::MainManagement],
    args: "username LF account LF servers",
    gate: anyone,
    run,
};

/// What one server was asked.
#[derive(Debug)]
struct Keeper {
    /// It has been asked, and has not ended. Else it could not be.
    asked: bool,
    /// What it keeps came to be more, or had no room here: it is asked again when it has ended.
    again: bool,
    /// When something is done if nothing comes.
    at: u64,
    tries: u32,
    /// The latest `sent-at` so far: a clock that was set back changes no order.
    last: u64,
}

/// What is fetched for one account.
#[derive(Debug)]
struct Fetch {
    /// The user, as registered.
    user: String,
    keepers: BTreeMap<ServerNo, Keeper>,
    /// Sessions that get nothing newer before.
    waiting: Vec<LinkId>,
}

impl Fetch {
    fn is_over(&self) -> bool {
        !self.keepers.values().any(|keeper| keeper.asked)
    }
}

/// By account.
#[derive(Debug, Default)]
pub struct Fetches {
    all: HashMap<u64, Fetch>,
    /// What has come for sessions that are quiet, all together.
    bytes: usize,
}

impl Fetches {
    /// A session has this no more, or is no more.
    pub fn freed(&mut self, older: &[(u64, Vec<u8>)]) {
        self.bytes = self.bytes.saturating_sub(older.iter().map(|(_, data)| data.len()).sum());
    }
}

fn run(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [user, account, servers] = request.data().take()?;
    named(main, ctx, &user.text()?, account.number()?, &servers.text()?);
    Ok(Answer::None)
}

/// The links of an account's sessions here that take messages.
fn links(main: &Main, ctx: &Ctx<Main>, user: &str, account: u64) -> Vec<LinkId> {
    let here = main.table.find(user).and_then(|user| main.table.get(user)).map(|user| user.here.to_vec());
    // The name may be another person's by now.
    let of_it = |link: &LinkId| main.session_at(*link).is_some_and(|session| session.account == account);
    here.unwrap_or_default().into_iter().filter(|link| of_it(link) && ctx.is_open(*link)).collect()
}

/// Management says which servers keep messages for a user: `server-id|server-id…`.
pub fn named(main: &mut Main, ctx: &mut Ctx<Main>, user: &str, account: u64, servers: &str) {
    if servers.is_empty() || links(main, ctx, user, account).is_empty() {
        return;
    }
    for id in servers.split('|').take(MOST) {
        let Some(server) = main.table.server_no(id).filter(|server| *server != main.own) else { continue };
        let fresh = || Fetch { user: user.to_owned(), keepers: BTreeMap::new(), waiting: Vec::new() };
        let fetch = main.fetches.all.entry(account).or_insert_with(fresh);
        match fetch.keepers.get_mut(&server).filter(|keeper| keeper.asked) {
            Some(keeper) => keeper.again = true,
            None => ask(main, ctx, account, server, 0),
        }
    }
}

fn ask(main: &mut Main, ctx: &Ctx<Main>, account: u64, server: ServerNo, tries: u32) {
    let Some(fetch) = main.fetches.all.get_mut(&account) else { return };
    let keeper = Keeper { asked: true, again: false, at: ctx.now().saturating_add(SILENCE), tries, last: 0 };
    fetch.keepers.insert(server, keeper);
    let user = fetch.user.clone();
    control::push(main, server, &["fetch", &user, &account.to_string()], b"");
}

/// The server could not be asked, or is gone: later again.
fn failed(main: &mut Main, ctx: &mut Ctx<Main>, account: u64, server: ServerNo) {
    let now = ctx.now();
    let keeper = main.fetches.all.get_mut(&account).and_then(|fetch| fetch.keepers.get_mut(&server));
    if let Some(keeper) = keeper {
        keeper.asked = false;
        keeper.at = now.saturating_add(back_off(keeper.tries));
        keeper.tries = keeper.tries.saturating_add(1);
    }
    look(main, ctx, account);
}

fn back_off(tries: u32) -> u64 {
    let (first, most) = AGAIN;
    first.saturating_mul(1 << tries.min(16)).min(most)
}

/// What became of the question itself.
pub fn answered(main: &mut Main, ctx: &mut Ctx<Main>, server: ServerNo, account: &str, fail: Option<Fail>) {
    if let (Some(fail), Ok(account)) = (fail, account.parse()) {
        log::debug!("{} does not give what it keeps: {fail}", main.table.server_id(server));
        failed(main, ctx, account, server);
    }
}

/// A message that another server has kept for a user who is signed on here.
///
/// # Errors
/// DENIED: that server was not asked for this user's. OFFLINE: not here any more. BUSY. BADARGS: no message.
pub fn kept(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    from: ServerNo,
    user: &str,
    account: &str,
    item: &[u8],
) -> Result<(), Fail> {
    let [sender, sent_at, _] = Raw(item).take::<3>()?;
    name::check_user(&sender.text()?)?;
    let sent_at = sent_at.number()?;
    let account = Raw(account.as_bytes()).number()?;
    let until = ctx.now().saturating_add(SILENCE);
    let full = ctx.queued() > ctx.limits().outbox_total || main.fetches.bytes > kept::TOTAL;
    let links = links(main, ctx, user, account);
    let quiet = |link: &LinkId| {
        main.session_at(*link).and_then(|session| session.quiet.as_ref()).map_or(0, |quiet| quiet.bytes)
    };
    let full = full || links.iter().any(|link| quiet(link) > kept::PER_USER);
    let fetch = main.fetches.all.get_mut(&account).filter(|fetch| name::fold(&fetch.user) == name::fold(user));
    let Some((fetch, keeper)) = fetch.and_then(|fetch| {
        let keeper = fetch.keepers.remove(&from)?;
        Some((fetch, keeper))
    }) else {
        let user = user.escape_debug();
        complain(main, from, format_args!("sends what it has kept for {user}, and was not asked for that"));
        return Err(Fail::new(Code::Denied, "not asked for"));
    };
    let last = keeper.last.max(sent_at);
    fetch.keepers.insert(from, Keeper { at: until, again: keeper.again || full, last, ..keeper });
    if links.is_empty() {
        return Err(Fail::new(Code::Offline, "not signed on here"));
    }
    if full {
        return Err(Fail::new(Code::Busy, "too much waits to be read; retry later"));
    }
    for link in links {
        let index = main.by_link.get(&link).copied();
        let session = index.and_then(|index| main.sessions.get_mut(index)).and_then(Option::as_mut);
        match session.and_then(|session| session.quiet.as_mut()) {
            Some(quiet) => {
                quiet.bytes += item.len();
                main.fetches.bytes += item.len();
                quiet.older.push((last, item.to_vec()));
            }
            None => drop(deliver::to_one(main, ctx, link, item)),
        }
    }
    Ok(())
}

/// The server has given all that it kept.
///
/// # Errors
/// BADARGS.
pub fn end(main: &mut Main, ctx: &mut Ctx<Main>, from: ServerNo, account: &str) -> Result<(), Fail> {
    let account = Raw(account.as_bytes()).number()?;
    let fetch = main.fetches.all.get_mut(&account);
    let Some(fetch) = fetch.filter(|fetch| fetch.keepers.get(&from).is_some_and(|keeper| keeper.asked)) else {
        return Ok(());
    };
    match fetch.keepers.remove(&from) {
        Some(keeper) if keeper.again => {
            // Not at once: what had no room here has none yet.
            let wait = if keeper.tries == 0 { SOON } else { back_off(keeper.tries) };
            let (at, tries) = (ctx.now().saturating_add(wait), keeper.tries.saturating_add(1));
            fetch.keepers.insert(from, Keeper { asked: false, again: false, at, tries, last: 0 });
            ctx.after(SOON, tick);
        }
        _ => {}
    }
    look(main, ctx, account);
    Ok(())
}

/// A session has signed on. True: it waits for what others keep.
pub fn waits(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId, account: u64) -> bool {
    let Some(fetch) = main.fetches.all.get_mut(&account).filter(|fetch| !fetch.is_over()) else { return false };
    fetch.waiting.push(link);
    ctx.after(PATIENCE, move |main, ctx| {
        let waits = |fetch: &Fetch| fetch.waiting.contains(&link);
        if main.fetches.all.get(&account).is_some_and(waits) {
            release(main, ctx, account);
        }
    });
    true
}

/// Lets the sessions begin that wait, if nothing more is to be waited for.
fn look(main: &mut Main, ctx: &mut Ctx<Main>, account: u64) {
    if !main.fetches.all.get(&account).is_some_and(Fetch::is_over) {
        return;
    }
    release(main, ctx, account);
    if main.fetches.all.get(&account).is_some_and(|fetch| fetch.keepers.is_empty()) {
        main.fetches.all.remove(&account);
    }
}

/// Sessions that waited begin, with what there is.
fn release(main: &mut Main, ctx: &mut Ctx<Main>, account: u64) {
    let waiting = main.fetches.all.get_mut(&account).map(|fetch| std::mem::take(&mut fetch.waiting));
    for link in waiting.unwrap_or_default() {
        if let Some(index) = main.by_link.get(&link).copied() {
            handover::speak(main, ctx, index);
            ctx.pause(link, false);
        }
    }
}

/// A server is gone, or was started anew: what it was asked it does not know.
pub fn server_lost(main: &mut Main, ctx: &mut Ctx<Main>, server: ServerNo) {
    let asked = |fetch: &Fetch| fetch.keepers.get(&server).is_some_and(|keeper| keeper.asked);
    let accounts: Vec<u64> =
        main.fetches.all.iter().filter(|(_, fetch)| asked(fetch)).map(|(account, _)| *account).collect();
    for account in sorted(accounts) {
        failed(main, ctx, account, server);
    }
}

/// The map has no order, and a simulation runs alike each time.
fn sorted(mut accounts: Vec<u64>) -> Vec<u64> {
    accounts.sort_unstable();
    accounts
}

/// Once a second: servers that are to be asked again, or not counted on any more.
pub fn tick(main: &mut Main, ctx: &mut Ctx<Main>) {
    let now = ctx.now();
    let is_due = |fetch: &Fetch| fetch.keepers.is_empty() || fetch.keepers.values().any(|keeper| now >= keeper.at);
    let due: Vec<u64> =
        main.fetches.all.iter().filter(|(_, fetch)| is_due(fetch)).map(|(account, _)| *account).collect();
    for account in sorted(due) {
        let Some(fetch) = main.fetches.all.get(&account) else { continue };
        let here = !links(main, ctx, &fetch.user, account).is_empty();
        let due: Vec<(ServerNo, u32)> = fetch
            .keepers
            .iter()
            .filter(|(_, keeper)| now >= keeper.at)
            .map(|(server, of)| (*server, of.tries))
            .collect();
        for (server, tries) in due {
            if here {
                ask(main, ctx, account, server, tries);
            } else if let Some(fetch) = main.fetches.all.get_mut(&account) {
                fetch.keepers.remove(&server);
            }
        }
        look(main, ctx, account);
    }
}
