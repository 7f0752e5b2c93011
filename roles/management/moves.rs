//! MOVE (64478): a session goes on at another main server.

use super::introduced;
use super::mains;
use super::map;
use super::online::Who;
use super::presence;
use super::refused;
use super::routes;
use super::server_of;
use super::Management;
use crate::config::PortKey;
use crate::engine::command::Later;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// How long a standby's word waits for that of the server that had the session; milliseconds. One that does not even answer
/// a PING within it is gone.
const PATIENCE: u64 = 5_000;
/// How many wait, over all.
const WAITING: usize = 4_096;

/// Sessions that standbys have taken over from servers that are up and have not said so yet.
#[derive(Debug, Default)]
pub struct Moves {
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    user: String,
    from: String,
    to: String,
    id: String,
    later: Later,
    until: u64,
    /// The server that had the session answers.
    alive: bool,
}

pub const MOVE: Command<Management> = Command {
    name: "MOVE",
    ports: &[PortKey::MainManagement],
    args: "username LF to LF request-id, or username LF from LF request-id LF taken LF receipt",
    gate: introduced,
    run: moved,
};

fn moved(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let server = server_of(ctx, request.link)?;
    let text = request.data().text()?;
    let (user, other, id, receipt) = match text.split('\n').collect::<Vec<_>>()[..] {
        [user, to, id] => (user, to, id, None),
        [user, from, id, "taken", receipt] => (user, from, id, Some(receipt)),
        _ => return Err(Fail::bad_args(MOVE.args)),
    };
    name::check_user(user)?;
    name::check(id)?;
    let user = name::fold(user).into_owned();
    if other == server || !management.directory.knows(other) {
        return Err(refused(&server, "MOVE", "there is no such other server"));
    }
    match receipt {
        Some(receipt) => {
            // Whoever it is that may be gone on with: the receipt is for this account, at that server.
            let who =
                management.trust.whose(&user, other).or_else(|| management.online.get(&user).map(|user| &user.who));
            let good = who.and_then(|who| management.receipts.check(receipt, &user, who.id));
            if good.is_none_or(|good| good.server != other) {
                return Err(refused(&server, "MOVE", "the server that has the session never offered it there"));
            }
            take_over(management, ctx, request, &user, other, &server, id)
        }
        None => hand_over(management, ctx, request, &user, &server, other, id),
    }
}

/// From the server that had the session.
fn hand_over(
    management: &mut Management,
    ctx: &mut Ctx<Management>,
    request: &Request<'_>,
    user: &str,
    from: &str,
    to: &str,
    id: &str,
) -> Result<Answer, Fail> {
    if !management.mains.contains_key(to) {
        return Err(Fail::new(Code::Unavailable, "that server is not up"));
    }
    let sessions = management.online.sessions(user, from);
    let who = match sessions {
        // Reported as gone from there just before.
        0 => management.trust.take_over(user, from, ctx.now()),
        _ => management.online.get(user).map(|presence| presence.who.clone()),
    };
    let Some(who) = who else { return Err(refused(from, "MOVE", "this user has no session there")) };
    if management.online.sessions(user, to) >= presence::SESSIONS {
        return Err(Fail::new(Code::Limit, "the user has 8 sessions there"));
    }
    management.online.set(user, &who, from, sessions.saturating_sub(1));
    apply(management, ctx, user, &who, from, to, id);
    routes::when_numbered(management, ctx, request.later(), Vec::new());
    Ok(Answer::Later)
}

/// From a standby, when the server that had the session is gone, or has given it up.
fn take_over(
    management: &mut Management,
    ctx: &mut Ctx<Management>,
    request: &Request<'_>,
    user: &str,
    from: &str,
    to: &str,
    id: &str,
) -> Result<Answer, Fail> {
    if management.online.sessions(user, to) >= presence::SESSIONS {
        return Err(Fail::new(Code::Limit, "the user has 8 sessions there"));
    }
    if let Some(who) = management.trust.take_over(user, from, ctx.now()) {
        apply(management, ctx, user, &who, from, to, id);
        routes::when_numbered(management, ctx, request.later(), Vec::new());
        return Ok(Answer::Later);
    }
    if management.online.sessions(user, from) == 0 {
        return Err(refused(to, "MOVE", "this user has given up no session there"));
    }
    // Both say it, each on its own link; this one was faster.
    if management.moves.waiting.len() >= WAITING {
        return Err(Fail::new(Code::Busy, "too many moves wait; retry later"));
    }
    management.moves.waiting.push(Waiting {
        user: user.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        id: id.to_owned(),
        later: request.later(),
        until: ctx.now().saturating_add(PATIENCE),
        alive: false,
    });
    let (link, server) = (management.mains.get(from).map(|main| main.link).unwrap_or_default(), from.to_owned());
    ctx.request(link, "PING", &[], move |management, _, answer| {
        let of_it = management.moves.waiting.iter_mut().filter(|waiting| waiting.from == server && answer.is_ok());
        of_it.for_each(|waiting| waiting.alive = true);
    });
    ctx.after(PATIENCE, too_late);
    Ok(Answer::Later)
}

fn too_late(management: &mut Management, ctx: &mut Ctx<Management>) {
    let now = ctx.now();
    for late in take(management, |waiting| waiting.until <= now) {
        match management.mains.get(&late.from).map(|main| main.link).filter(|_| !late.alive) {
            // Without power, or cut off: its clients cannot wait until its silence is long enough.
            Some(link) => {
                let from = late.from.clone();
                management.moves.waiting.push(late);
                ctx.abort(link, "it answers no PING");
                mains::lost(management, ctx, link, &from, "a standby has its session, and it answers no PING");
            }
            None => {
                let fail = refused(&late.to, "MOVE", "the server that has the session has not given it up");
                ctx.answer(&late.later, Err(fail));
            }
        }
    }
}

fn take(management: &mut Management, which: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
    let all = std::mem::take(&mut management.moves.waiting);
    let (taken, left) = all.into_iter().partition(which);
    management.moves.waiting = left;
    taken
}

fn apply(
    management: &mut Management,
    ctx: &mut Ctx<Management>,
    user: &str,
    who: &Who,
    from: &str,
    to: &str,
    id: &str,
) {
    let sessions = management.online.sessions(user, to);
    management.online.set(user, who, to, sessions.saturating_add(1));
    // What the target says of the session that it counts already may be under way, and cross this.
    management.trust.grant(user, to, who, ctx.now());
    let left = management.online.sessions(user, from);
    routes::moved(management, ctx, &who.name, (from, left), to, id);
    map::user_changed(management, ctx, user, who);
}

/// A server has reported a session less: whoever waits for that goes on.
pub fn given_up(management: &mut Management, ctx: &mut Ctx<Management>, user: &str, from: &str) {
    if management.moves.waiting.is_empty() {
        return;
    }
    for waiting in take(management, |waiting| waiting.user == user && waiting.from == from) {
        go_on(management, ctx, waiting);
    }
}

/// A server is gone: standbys have its sessions. One that is gone itself takes none.
pub fn server_lost(management: &mut Management, ctx: &mut Ctx<Management>, server: &str) {
    for waiting in take(management, |waiting| waiting.from == server || waiting.to == server) {
        go_on(management, ctx, waiting);
    }
}

fn go_on(management: &mut Management, ctx: &mut Ctx<Management>, waiting: Waiting) {
    if !management.mains.contains_key(&waiting.to) {
        // Its link is gone, and with it the wish for an answer.
        return ctx.answer(&waiting.later, Err(Fail::new(Code::Unavailable, "the server is gone")));
    }
    match management.trust.take_over(&waiting.user, &waiting.from, ctx.now()) {
        Some(who) => {
            apply(management, ctx, &waiting.user, &who, &waiting.from, &waiting.to, &waiting.id);
            routes::when_numbered(management, ctx, waiting.later, Vec::new());
        }
        // Two standbys wait for one session.
        None => management.moves.waiting.push(waiting),
    }
}
