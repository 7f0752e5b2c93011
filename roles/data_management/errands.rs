//! What other realms have to be told: that a message waits here for a user there, and that a user here has deleted a message there. It
//! is kept in the database until it was answered (`storage::abroad`). Each realm is told for itself, page after page; when it is away,
//! again later and later. A message that could not be told of in time is given up: its recipient does not get it, and the sender gets a
//! notice, which is an offline message from the realm itself.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;

use rand::Rng;

use super::elsewhere;
use super::put;
use super::users;
use super::DataManagement;
use crate::engine::Ctx;
use crate::engine::Later;
use crate::storage::abroad;
use crate::storage::abroad::After;
use crate::storage::abroad::Errand;
use crate::storage::mail;
use crate::storage::mail::MessageId;
use crate::storage::mail::Sent;
use crate::wire::hex;
use crate::wire::Blob;
use crate::wire::Code;
use crate::wire::Fail;

/// Errands of one page, under way at once.
const PAGE: u64 = 64;
/// How long to wait after a realm was not reached, at first and at most; milliseconds.
const BACK_OFF: (u64, u64) = (1_000, 30_000);
/// A realm is tried so often before SENDOFFLINEMESSAGE does not wait for it: one that sees this realm for the first time looks it up in the
/// directory, and takes the next link.
const SOON: u32 = 2;
/// How long SENDOFFLINEMESSAGE waits for what other realms say; milliseconds. What comes later is a notice.
const PATIENCE: u64 = 5_000;
/// How long a realm is tried to be told that a message there was deleted; milliseconds.
const FAREWELL: u64 = 30 * 24 * 60 * 60 * 1_000;

/// What is known of a realm that has to be told something.
#[derive(Default)]
struct Realm {
    /// A page is under way.
    busy: bool,
    /// Something came meanwhile, which the pages may have passed.
    again: bool,
    /// Of the page: how many are not answered.
    open: usize,
    /// Not reached: the other pages wait.
    away: bool,
    /// Something is to be told once more.
    left: bool,
    after: After,
    tries: u32,
    next: u64,
}

/// A SENDOFFLINEMESSAGE that is not answered.
struct Waiting {
    later: Later,
    /// Realms and users that have not said anything.
    open: BTreeSet<(String, String)>,
    /// Who will not get it, and why.
    failed: Vec<(String, Fail)>,
    /// All of them.
    count: usize,
    until: u64,
}

/// All errands.
#[derive(Default)]
pub struct Errands {
    realms: BTreeMap<String, Realm>,
    /// By message; those that wait for their store jobs bound them.
    sends: HashMap<MessageId, Waiting>,
    loaded: bool,
}

/// A gateway is there: all realms that have to be told something are.
pub fn wake(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>) {
    if std::mem::replace(&mut dm.errands.loaded, true) {
        let all: Vec<String> = dm.errands.realms.keys().cloned().collect();
        return all.iter().for_each(|realm| kick(dm, ctx, realm));
    }
    ctx.query(abroad::realms, |dm, ctx, realms| match realms {
        Ok(realms) => realms.iter().for_each(|realm| kick(dm, ctx, realm)),
        Err(fail) => {
            log::error!("what other realms have to be told could not be read: {fail}");
            dm.errands.loaded = false;
        }
    });
}

/// A realm has to be told something: now.
pub fn kick(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, realm: &str) {
    let state = dm.errands.realms.entry(realm.to_owned()).or_default();
    match state.busy {
        true => state.again = true,
        false => begin(dm, ctx, realm),
    }
}

/// Once a second: those whose time has come, and senders that have waited long enough.
pub fn tick(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>) {
    let now = ctx.now();
    if !dm.errands.loaded && elsewhere::any_gateway(dm).is_some() {
        wake(dm, ctx);
    }
    let due = dm.errands.realms.iter().filter(|(_, state)| !state.busy && state.next <= now);
    let due: Vec<String> = due.map(|(realm, _)| realm.clone()).collect();
    due.iter().for_each(|realm| begin(dm, ctx, realm));
    let late: Vec<MessageId> =
        dm.errands.sends.iter().filter(|(_, waiting)| waiting.until <= now).map(|(id, _)| *id).collect();
    for id in late {
        if let Some(waiting) = dm.errands.sends.get_mut(&id) {
            waiting.open.clear();
        }
        answer(dm, ctx, &id);
    }
}

/// A message was sent that has recipients in other realms. The answer waits a little for what they say.
pub fn sent(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, later: Later, sent: Sent) {
    let realms: BTreeSet<String> = sent.abroad.iter().map(|(realm, _)| realm.clone()).collect();
    let count = sent.recipients.len() + sent.abroad.len();
    let until = ctx.now().saturating_add(PATIENCE);
    let waiting = Waiting { later, open: sent.abroad.into_iter().collect(), failed: Vec::new(), count, until };
    dm.errands.sends.insert(sent.message.id, waiting);
    realms.iter().for_each(|realm| kick(dm, ctx, realm));
}

/// Answers SENDOFFLINEMESSAGE, if nobody is waited for any more.
fn answer(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, id: &MessageId) {
    if dm.errands.sends.get(id).is_none_or(|waiting| !waiting.open.is_empty()) {
        return;
    }
    let Some(Waiting { later, failed, count, .. }) = dm.errands.sends.remove(id) else { return };
    let Some((_, fail)) = failed.first() else { return ctx.answer(&later, Ok(Vec::new())) };
    let names: Vec<&str> = failed.iter().map(|(name, _)| name.as_str()).collect();
    let rest = if names.len() < count { "; the other recipients get it" } else { "" };
    let text = format!("not for {}: {}{rest}", names.join(", "), fail.text);
    ctx.answer(&later, Err(Fail::new(fail.code, text)));
}

/// The first page, or the next one.
fn begin(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, realm: &str) {
    let gateway = elsewhere::any_gateway(dm).is_some();
    let Some(state) = dm.errands.realms.get_mut(realm) else { return };
    if !gateway {
        (state.busy, state.next) = (false, ctx.now().saturating_add(BACK_OFF.0));
        return;
    }
    if !std::mem::replace(&mut state.busy, true) {
        (state.again, state.away, state.left, state.after) = (false, false, false, After::default());
    }
    let (wanted, realm, after) = (realm.to_owned(), realm.to_owned(), state.after.clone());
    ctx.query(move |db| abroad::errands(db, &wanted, &after, PAGE), move |dm, ctx, page| run(dm, ctx, realm, page));
}

fn run(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, realm: String, page: Result<Vec<Errand>, Fail>) {
    let Some(state) = dm.errands.realms.get_mut(&realm) else { return };
    let page = match page {
        Ok(page) => page,
        Err(fail) => {
            log::error!("what {realm} has to be told could not be read: {fail}");
            state.left = true;
            Vec::new()
        }
    };
    if page.is_empty() {
        return end(dm, ctx, &realm);
    }
    state.open = page.len();
    for errand in page {
        if let Errand::Mail { message, user, .. } = &errand {
            state.after = (*message, user.clone());
        }
        let realm = realm.clone();
        // Each by itself, so that none finds the table half made.
        ctx.after(0, move |dm, ctx| go(dm, ctx, realm, errand));
    }
}

/// All pages were told, or the realm is away.
fn end(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, realm: &str) {
    let now = ctx.now();
    let Some(state) = dm.errands.realms.get_mut(realm) else { return };
    state.busy = false;
    if state.left {
        let wait = BACK_OFF.0.saturating_mul(1 << state.tries.min(8)).min(BACK_OFF.1);
        (state.tries, state.next) = (state.tries.saturating_add(1), now.saturating_add(wait));
        if state.tries > SOON {
            // Nobody waits for its answer any more.
            settle(dm, ctx, realm);
        }
    } else if state.again {
        begin(dm, ctx, realm);
    } else {
        dm.errands.realms.remove(realm);
    }
}

/// The realm is away: who has sent something there is answered.
fn settle(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, realm: &str) {
    let mut touched = Vec::new();
    for (id, waiting) in &mut dm.errands.sends {
        let before = waiting.open.len();
        waiting.open.retain(|(of, _)| of != realm);
        if waiting.open.len() < before {
            touched.push(*id);
        }
    }
    touched.sort_unstable();
    touched.iter().for_each(|id| answer(dm, ctx, id));
}

/// Tells one of them.
fn go(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, realm: String, errand: Errand) {
    let now = ctx.now();
    let away = || Fail::new(Code::Unavailable, "no realm server is reachable");
    let Some((link, (_, patience))) = elsewhere::any_gateway(dm).zip(elsewhere::own(dm)) else {
        return told(dm, ctx, realm, errand, Err(away()));
    };
    let overdue = match &errand {
        Errand::Mail { sent, .. } => sent.saturating_add(patience) < now,
        Errand::Deleted { since, .. } => since.saturating_add(FAREWELL) < now,
    };
    if overdue {
        let fail = Fail::new(Code::Expired, "its realm was not reached in time");
        return told(dm, ctx, realm, errand, Err(fail));
    }
    let (user, command, data) = match &errand {
        Errand::Mail { id, user, sender, size, sent, .. } => {
            (sender.1.clone(), "MAIL", format!("{}~\n{user}~\n{size}~\n{sent}", hex::encode(id)))
        }
        Errand::Deleted { id, user, .. } => (user.clone(), "DELETEOFFLINEMESSAGE", hex::encode(id)),
    };
    let asked = realm.clone();
    elsewhere::abroad(ctx, link, (&realm, &user), command, data.as_bytes(), move |dm, ctx, answer| {
        let answer = answer.map(drop);
        told(dm, ctx, asked, errand, answer);
    });
}

/// What the realm said.
fn told(
    dm: &mut DataManagement,
    ctx: &mut Ctx<DataManagement>,
    realm: String,
    errand: Errand,
    answer: Result<(), Fail>,
) {
    match answer {
        Err(fail) if !abroad::is_final(&fail) => {
            // Messages behind one that does not fit are told of all the same; what was deleted comes first each time.
            let away = fail.code != Code::Limit || matches!(errand, Errand::Deleted { .. });
            later(dm, ctx, &realm, away);
        }
        Err(fail) if matches!(errand, Errand::Mail { .. }) => failed(dm, ctx, realm, errand, fail),
        // What the other realm does not have is deleted there.
        Ok(()) | Err(_) => {
            let (of, what) = (realm.clone(), errand.clone());
            ctx.store(
                move |db| abroad::told(db, &of, &what),
                move |dm, ctx, stored| match stored {
                    Ok(()) => done(dm, ctx, &realm, &errand, None),
                    Err(_) => later(dm, ctx, &realm, true),
                },
            );
        }
    }
}

/// A recipient will not get the message: whoever waits for the answer gets it, and nobody else but the sender, in a notice.
fn failed(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, realm: String, errand: Errand, fail: Fail) {
    let Errand::Mail { id, user, sender, size, .. } = &errand else { return };
    let (id, user) = (*id, user.clone());
    if dm.errands.sends.contains_key(&id) {
        let of = realm.clone();
        return ctx.store(
            move |db| abroad::give_up(db, &id, &of, &user),
            move |dm, ctx, given_up| match given_up {
                Ok(given_up) => done(dm, ctx, &realm, &errand, given_up.then_some(fail)),
                Err(_) => later(dm, ctx, &realm, false),
            },
        );
    }
    let Some((own, _)) = elsewhere::own(dm) else { return later(dm, ctx, &realm, true) };
    let (own, account) = (own.to_owned(), sender.0);
    let text = format!(
        "Subject: Not delivered\n\nYour message of {size} bytes to {realm}::{user} was not delivered: {}.\nIts id was {}.\n",
        fail.text,
        hex::encode(&id)
    );
    let mut notice = [0; 16];
    ctx.rng().fill_bytes(&mut notice);
    put::put(dm, ctx, Blob::from(text.into_bytes()), move |dm, ctx, placed| {
        let placed = match placed {
            Ok(placed) => placed,
            // Where nothing can be stored now, the sender is told later.
            Err(_) => return later(dm, ctx, &realm, false),
        };
        let (of, stored, now) = (realm.clone(), placed.clone(), ctx.now());
        ctx.store(
            move |db| match abroad::give_up(db, &id, &of, &user)? {
                true => mail::notice(db, account, &own, &notice, &stored, now),
                false => Ok(None),
            },
            move |dm, ctx, sent| {
                match &sent {
                    Ok(Some(sent)) => {
                        put::settled(dm, &placed);
                        for at in dm.users.places(account).to_vec() {
                            users::tell_message(ctx, at, &sent.message);
                        }
                    }
                    Ok(None) | Err(_) => put::unused(dm, ctx, placed),
                }
                match sent {
                    Ok(_) => done(dm, ctx, &realm, &errand, None),
                    Err(_) => later(dm, ctx, &realm, false),
                }
            },
        );
    });
}

/// One of the page is done with.
fn done(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, realm: &str, errand: &Errand, fail: Option<Fail>) {
    if let Errand::Mail { id, user, .. } = errand {
        if let Some(waiting) = dm.errands.sends.get_mut(id) {
            waiting.open.remove(&(realm.to_owned(), user.clone()));
            waiting.failed.extend(fail.map(|fail| (format!("{realm}::{user}"), fail)));
        }
        answer(dm, ctx, id);
    }
    next(dm, ctx, realm);
}

/// One of the page is to be told once more. `away`: and nothing else is told before that.
fn later(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, realm: &str, away: bool) {
    if let Some(state) = dm.errands.realms.get_mut(realm) {
        state.left = true;
        state.away |= away;
    }
    next(dm, ctx, realm);
}

fn next(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, realm: &str) {
    let Some(state) = dm.errands.realms.get_mut(realm) else { return };
    state.open = state.open.saturating_sub(1);
    if state.open > 0 {
        return;
    }
    match state.away {
        true => end(dm, ctx, realm),
        false => begin(dm, ctx, realm),
    }
}
