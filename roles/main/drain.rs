//! Moving all clients away: because the operator says so, or before this server stops. And some of them, when management balances.

use super::leave;
use super::mesh::links;
use super::redirect;
use super::Main;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::route::ServerNo;
use crate::wire::Code;
use crate::wire::Fail;

/// Moves under way at once.
const AT_ONCE: usize = 256;
/// How often it is looked whether more can go; milliseconds.
const PACE: u64 = 20;
/// The same, when nobody is left who can be moved; milliseconds.
const IDLE: u64 = 1_000;
/// How often it is looked whether this server may end; milliseconds.
const LOOK: u64 = 5;
/// How long a server that is up, and not reached, is waited for when there is no other; milliseconds. It may just have come.
const HOPE: u64 = 5_000;
/// A client that could not be moved so often stays.
const TRIES: u32 = 4;

pub const DRAIN: Command<Main> =
    Command { name: "DRAIN", ports: &[PortKey::MainManagement], args: "", gate: anyone, run: drain };

pub const MOVE_CLIENTS: Command<Main> = Command {
    name: "MOVECLIENTS",
    ports: &[PortKey::MainManagement],
    args: "count LF server-id",
    gate: anyone,
    run: move_clients,
};

/// A drain that is under way.
#[derive(Debug, Default)]
pub struct Draining {
    /// Told once when this server may end.
    pub when_done: Option<std::sync::mpsc::Sender<()>>,
    /// Nobody is left who can be moved.
    done: bool,
    /// Servers that are not reached are waited for until then.
    until: u64,
}

fn drain(main: &mut Main, ctx: &mut Ctx<Main>, _: &Request<'_>) -> Result<Answer, Fail> {
    begin(main, ctx);
    Ok(Answer::Ok)
}

/// From now on no client is taken, and those that are here are moved away.
pub fn begin(main: &mut Main, ctx: &mut Ctx<Main>) {
    if main.draining.is_some() {
        return;
    }
    log::info!("moving {} clients to other main servers", main.by_link.len());
    main.draining = Some(Draining { until: ctx.now().saturating_add(HOPE), ..Draining::default() });
    if let Some(link) = main.management.link() {
        ctx.request(link, "DRAINING", &[], |_, _, _| {});
    }
    step(main, ctx);
}

fn step(main: &mut Main, ctx: &mut Ctx<Main>) {
    if main.draining.is_none() {
        return;
    }
    let mut open = main.moves.len();
    let mut left = open > 0;
    let mut targets = targets(main, ctx);
    let hope = targets.is_empty() && !main.by_link.is_empty() && may_come(main, ctx);
    for index in 0..main.sessions.len() {
        let Some(Some(session)) = main.sessions.get(index) else { continue };
        let tried = session.moves_failed;
        if session.door || session.moving.is_some() || tried >= TRIES || targets.is_empty() {
            continue;
        }
        left = true;
        if open >= AT_ONCE {
            break;
        }
        // Whom the best cannot reach, the next best perhaps can.
        targets.sort_unstable();
        let at = usize::try_from(tried).unwrap_or(0) % targets.len();
        if redirect::start(main, ctx, index, targets[at].1) {
            targets[at].0 += 1;
            open += 1;
        }
    }
    if let Some(draining) = &mut main.draining {
        draining.done = !left && !hope;
    }
    // Without clients there is nothing to do, and none are taken any more.
    if !main.by_link.is_empty() || !main.arrivals.is_empty() {
        ctx.after(if left || hope { PACE } else { IDLE }, step);
    }
}

/// Whether a server that takes clients is up, and may be reached soon.
fn may_come(main: &Main, ctx: &Ctx<Main>) -> bool {
    let waits = main.draining.as_ref().is_some_and(|draining| ctx.now() < draining.until);
    let takes = |server: ServerNo| {
        let facts = main.mesh.get(server).map(|entry| &entry.facts);
        facts.is_some_and(|facts| facts.up && !facts.draining && !facts.client.is_empty())
    };
    waits && main.mesh.numbers().any(takes)
}

/// Tells `when_done` that nobody is left who can be moved, and that nothing is on its way to this server, when it is so.
pub fn end(main: &mut Main, ctx: &mut Ctx<Main>) {
    let Some(draining) = main.draining.as_ref().filter(|draining| draining.when_done.is_some()) else { return };
    if !draining.done || !leave::may_end(main, ctx) {
        return ctx.after(LOOK, end);
    }
    if let Some(done) = main.draining.as_mut().and_then(|draining| draining.when_done.take()) {
        // Nobody waits any more: then nobody needs to know.
        let _ = done.send(());
    }
}

/// The servers that clients can be moved to: up, reached, and not draining; each with its clients, and those on their way.
pub fn targets(main: &Main, ctx: &Ctx<Main>) -> Vec<(u64, ServerNo)> {
    let mut going = std::collections::HashMap::new();
    for moving in main.moves.values().filter_map(|index| main.session(*index)?.moving.as_ref()) {
        *going.entry(moving.to).or_insert(0u64) += 1;
    }
    let fit = |server: ServerNo| {
        let facts = &main.mesh.get(server)?.facts;
        let fit = facts.up && !facts.draining && !facts.client.is_empty() && links::is_reached(main, ctx, server);
        fit.then(|| (facts.clients.saturating_add(going.get(&server).copied().unwrap_or(0)), server))
    };
    let mut all: Vec<_> = main.mesh.numbers().filter_map(fit).collect();
    all.sort_unstable();
    all
}

fn move_clients(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [count, to] = request.data().take()?;
    let moves = move_some(main, ctx, usize::try_from(count.number()?).unwrap_or(usize::MAX), &to.text()?)?;
    Ok(Answer::Data(moves.to_string().into_bytes()))
}

/// Moves up to `count` clients, within bounds. Returns how many moves have begun.
///
/// # Errors
/// NOTFOUND: that server is not reached.
pub fn move_some(main: &mut Main, ctx: &mut Ctx<Main>, count: usize, to: &str) -> Result<usize, Fail> {
    let to = main.table.server_no(to).filter(|to| *to != main.own && links::is_reached(main, ctx, *to));
    let to = to.ok_or_else(|| Fail::new(Code::NotFound, "that server is not reached"))?;
    let most = count.min(AT_ONCE);
    let mut left = most;
    // The latest first: they have the least to lose.
    for index in (0..main.sessions.len()).rev() {
        if left == 0 {
            break;
        }
        let fit = main.session(index).is_some_and(|session| session.moves_failed == 0);
        if fit && redirect::start(main, ctx, index, to) {
            left -= 1;
        }
    }
    Ok(most - left)
}
