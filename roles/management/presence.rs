//! PRESENCE and LOOKUP (64478): who is signed on where, in the words of the main servers, and how far they are believed.

use super::introduced;
use super::keepers;
use super::main_server;
use super::map;
use super::moves;
use super::online::Who;
use super::refused;
use super::resync;
use super::routes;
use super::server_of;
use super::Management;
use crate::accounts::users;
use crate::config::PortKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// Sessions of a user, on all servers together (contract 5).
pub const SESSIONS: u32 = 8;

pub const PRESENCE: Command<Management> = Command {
    name: "PRESENCE",
    ports: &[PortKey::MainManagement],
    args: "username LF sessions LF left LF receipt LF status",
    gate: introduced,
    run: presence,
};

pub const LOOKUP: Command<Management> =
    Command { name: "LOOKUP", ports: &[PortKey::MainManagement], args: "username", gate: main_server, run: lookup };

fn presence(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let server = server_of(ctx, request.link)?;
    let [user, sessions, left, receipt, status] = request.data().take()?;
    let (user, sessions, status) = (user.text()?, sessions.number()?, clean(&status.text()?));
    let (left, receipt) = (u32::try_from(left.number()?).unwrap_or(u32::MAX), receipt.text()?);
    name::check_user(&user)?;
    let user = name::fold(&user).into_owned();
    let sessions = u32::try_from(sessions).ok().filter(|sessions| *sessions <= SESSIONS);
    let Some(sessions) = sessions else {
        return Err(refused(&server, "PRESENCE", "a user has 8 sessions at most"));
    };
    let word = |status: String| Word { sessions, left, receipt: receipt.to_string(), status };
    if resync::waits(management, &server, &user) {
        resync::ask(management, ctx, &server, &user, word(status), request.later());
        return Ok(Answer::Later);
    }
    let before = management.online.sessions(&user, &server);
    let who = match sessions.checked_sub(before) {
        Some(0) | None => management.online.get(&user).map(|presence| presence.who.clone()),
        Some(more) => match management.trust.take(&user, &server, more, ctx.now()) {
            None if resync::is_on(management, &server, ctx.now()) => {
                resync::ask(management, ctx, &server, &user, word(status), request.later());
                return Ok(Answer::Later);
            }
            None => return Err(refused(&server, "PRESENCE", "no ticket of this user was shown there")),
            who => who,
        },
    };
    // Nobody: it was not there, and is not.
    let Some(who) = who else { return Ok(Answer::Ok) };
    let changed = set(management, ctx, &server, &user, &who, &word(status));
    let told = answer(management, &server, &user, ctx.now());
    match changed {
        true => {
            routes::when_numbered(management, ctx, request.later(), told);
            Ok(Answer::Later)
        }
        false => Ok(Answer::Data(told)),
    }
}

/// What a main server says of a user.
#[derive(Debug)]
pub struct Word {
    /// So many sessions are there.
    pub sessions: u32,
    /// So many that were there may go on elsewhere.
    pub left: u32,
    /// That the user was there before, or at the server that a session has come from; or nothing.
    pub receipt: String,
    /// What the user says of itself.
    pub status: String,
}

/// The answer to a server where the user is signed on: a receipt, and who keeps messages for the user. Nothing, where it is not.
pub fn answer(management: &Management, server: &str, user: &str, now: u64) -> Vec<u8> {
    let here = management.online.get(user).filter(|user| user.servers.contains_key(server));
    let Some(presence) = here else { return Vec::new() };
    let receipt = management.receipts.give(user, presence.who.id, server, now);
    format!("{receipt}\n{}", keepers::of(management, presence.who.id, server)).into_bytes()
}

/// Text for the map: one line, without the mark between columns.
fn clean(status: &str) -> String {
    status.chars().map(|c| if c == '|' || c.is_control() { ' ' } else { c }).take(256).collect()
}

/// Takes what a server says as true. Returns whether the table changes by it.
pub fn set(
    management: &mut Management,
    ctx: &mut Ctx<Management>,
    server: &str,
    user: &str,
    who: &Who,
    word: &Word,
) -> bool {
    let sessions = word.sessions;
    let before = management.online.sessions(user, server);
    let changed = management.online.set(user, who, server, sessions);
    if sessions != before {
        routes::user_changed(management, ctx, server, &who.name, sessions);
    }
    let status = sessions > 0 && management.online.set_status(user, &word.status);
    if changed || status {
        map::user_changed(management, ctx, user, who);
    }
    // Of a session that has simply ended nothing is left to go on with.
    for _ in 0..before.saturating_sub(sessions).min(word.left) {
        management.trust.release(user, server, who, ctx.now());
    }
    if sessions < before {
        moves::given_up(management, ctx, user, server);
    }
    if sessions > before && management.barred.contains(user) {
        // Its ticket was found good just before the operator shut it out.
        let _ = disconnect(management, ctx, user, "the account was disabled");
    }
    changed
}

/// A main server's link is gone: nobody is signed on there any more.
pub fn server_lost(management: &mut Management, ctx: &mut Ctx<Management>, server: &str, boot: u64) {
    let users = management.online.on(server);
    for (user, who, _) in &users {
        management.online.set(user, who, server, 0);
        map::user_changed(management, ctx, user, who);
    }
    management.trust.server_lost(server, boot, users);
}

/// A main server has introduced itself.
pub fn server_came(management: &mut Management, ctx: &Ctx<Management>, server: &str, boot: u64) {
    let (now, started) = (ctx.now(), management.started);
    management.resync.introduced(server, boot, started, now);
}

fn lookup(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let user = request.data().text()?.into_owned();
    name::check_user(&user)?;
    let later = request.later();
    let folded = name::fold(&user).into_owned();
    ctx.query(
        move |db| users::find(db, &user),
        move |management, ctx, found| {
            let none = || Fail::new(Code::NotFound, "there is no such user");
            let servers = |_| management.online.servers(&folded).join("|").into_bytes();
            ctx.answer(&later, found.and_then(|found| found.ok_or_else(none)).map(servers));
        },
    );
    Ok(Answer::Later)
}

/// Tells every main server that the user is signed on to, to end those sessions. FAIL OFFLINE when there is none.
pub fn disconnect(management: &Management, ctx: &mut Ctx<Management>, user: &str, reason: &str) -> Result<(), Fail> {
    let servers = management.online.servers(&name::fold(user));
    if servers.is_empty() {
        return Err(Fail::new(Code::Offline, "not signed on"));
    }
    for server in servers {
        if let Some(server) = management.mains.get(&server) {
            ctx.request(server.link, "DISCONNECT", &[user.as_bytes(), reason.as_bytes()], |_, _, answer| {
                if let Err(fail) = answer {
                    log::debug!("DISCONNECT: {fail}");
                }
            });
        }
    }
    Ok(())
}
