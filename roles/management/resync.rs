//! After a restart of management: main servers that were up before say who is signed on there, and management has no ticket to
//! compare with, as those were in its memory.
//!
//! So, for a server whose process is older than this management's, and for a while after it first came, PRESENCE is
//! believed with a receipt in place of a ticket: management's own word, of before, that the user was signed on there, or at the
//! server that the session came from meanwhile.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use super::online::Who;
use super::presence;
use super::presence::Word;
use super::refused;
use super::routes;
use super::Management;
use crate::accounts::users;
use crate::accounts::users::State;
use crate::accounts::users::User;
use crate::engine::command::Later;
use crate::engine::Ctx;

/// How long a server has to report everybody, from its first introduction; milliseconds. Enough for its link to break once
/// unnoticed, and to be made again.
const WINDOW: u64 = 300_000;
/// How soon accounts are looked up again when the database could not; milliseconds.
const AGAIN: u64 = 1_000;
/// Accounts looked up in one job.
const BATCH: usize = 256;

type Key = (String, String);

/// What is believed without a ticket, and what is looked up.
#[derive(Debug, Default)]
pub struct Resync {
    /// By server: which process, and until when.
    windows: BTreeMap<String, (u64, u64)>,
    waiting: BTreeMap<Key, Waiting>,
    queue: VecDeque<Key>,
    asking: bool,
}

/// The newest word of a server on a user, and who is told when it is taken.
#[derive(Debug)]
struct Waiting {
    word: Word,
    laters: Vec<Later>,
}

impl Resync {
    /// Whether nothing is being looked up.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A server came. Only the first time since management's start opens its window.
    pub fn introduced(&mut self, server: &str, boot: u64, started: u64, now: u64) {
        let until = if boot < started { now.saturating_add(WINDOW) } else { 0 };
        let window = self.windows.entry(server.to_owned()).or_insert((boot, until));
        if window.0 != boot {
            // Another process: whoever was on the old one is not on it.
            *window = (boot, 0);
        }
    }
}

/// Whether the server is believed without a ticket.
pub fn is_on(management: &Management, server: &str, now: u64) -> bool {
    management.resync.windows.get(server).is_some_and(|(_, until)| now < *until)
}

/// Whether an earlier word of this server on the user is still being looked up.
pub fn waits(management: &Management, server: &str, user: &str) -> bool {
    !management.resync.waiting.is_empty()
        && management.resync.waiting.contains_key(&(server.to_owned(), user.to_owned()))
}

/// Looks the account up, then takes the newest word. Bounded by the requests that a link may have open.
pub fn ask(management: &mut Management, ctx: &mut Ctx<Management>, server: &str, user: &str, word: Word, later: Later) {
    let key: Key = (server.to_owned(), user.to_owned());
    let resync = &mut management.resync;
    match resync.waiting.get_mut(&key) {
        Some(waiting) => {
            waiting.word = word;
            waiting.laters.push(later);
        }
        None => {
            resync.waiting.insert(key.clone(), Waiting { word, laters: vec![later] });
            resync.queue.push_back(key);
        }
    }
    if !std::mem::replace(&mut resync.asking, true) {
        // Behind the batch that brings more of them.
        ctx.after(0, look_up);
    }
}

fn look_up(management: &mut Management, ctx: &mut Ctx<Management>) {
    let count = management.resync.queue.len().min(BATCH);
    let keys: Vec<Key> = management.resync.queue.drain(..count).collect();
    if keys.is_empty() {
        management.resync.asking = false;
        return routes::release(management, ctx);
    }
    let names: Vec<String> = keys.iter().map(|(_, user)| user.clone()).collect();
    ctx.query(
        move |db| names.iter().map(|name| users::find(db, name)).collect::<Result<Vec<_>, _>>(),
        move |management, ctx, found| {
            let Ok(found) = found else {
                // Who is not taken now is not reported again.
                management.resync.queue.extend(keys);
                return ctx.after(AGAIN, look_up);
            };
            for (key, user) in keys.iter().zip(found) {
                if let Some(waiting) = management.resync.waiting.remove(key) {
                    take(management, ctx, key, waiting, user);
                }
            }
            look_up(management, ctx);
        },
    );
}

fn take(management: &mut Management, ctx: &mut Ctx<Management>, key: &Key, waiting: Waiting, found: Option<User>) {
    let (server, user) = key;
    let Some(found) = found.filter(|found| found.state == State::Active) else {
        let fail = refused(server, "PRESENCE", "there is no such user");
        return waiting.laters.iter().for_each(|later| ctx.answer(later, Err(fail.clone())));
    };
    let more = waiting.word.sessions > management.online.sessions(user, server);
    let receipt = management.receipts.check(&waiting.word.receipt, user, found.id);
    if more && !receipt.is_some_and(|receipt| receipt.is_fresh(ctx.now())) {
        let fail = refused(server, "PRESENCE", "this user was not signed on there before");
        return waiting.laters.iter().for_each(|later| ctx.answer(later, Err(fail.clone())));
    }
    // Its server may have gone meanwhile.
    let up = waiting.laters.iter().any(|later| ctx.is_open(later.link()));
    if up && management.mains.contains_key(server) {
        let who = Who { id: found.id, name: Box::from(found.name) };
        presence::set(management, ctx, server, user, &who, &waiting.word);
    }
    let told = presence::answer(management, server, user, ctx.now());
    for later in waiting.laters {
        routes::when_numbered(management, ctx, later, told.clone());
    }
}
