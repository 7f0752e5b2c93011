//! The table of who is where and which way (`route::Network`), and how main servers get it: PORTION and ROUTES (64478).

use std::collections::BTreeMap;

use super::introduced;
use super::refused;
use super::resync;
use super::server_of;
use super::Management;
use crate::config::PortKey;
use crate::engine::command::Later;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::route::entry;
use crate::route::Network;
use crate::route::Page;
use crate::route::Update;
use crate::wire::Code;
use crate::wire::Fail;

/// Changes are gathered this long at most before they are numbered and told; milliseconds. The first after a pause does
/// not wait.
const GATHER: u64 = 5;
/// So many main servers are told each change at once: that costs less than the wake-up for which it would wait.
const FEW: usize = 32;
/// The least time between two plans, as a server that comes or goes makes many report; milliseconds.
const PLAN: u64 = 50;
/// Lines of one page; bytes.
const PAGE: usize = 256 << 10;
/// How long after its start management waits for those who were up before; milliseconds. Longer than their longest
/// back-off.
const HOLD: u64 = 12_000;
/// Portions that wait for that: more than there are servers. A second one of a server is none of ours.
const HELD: usize = 8_192;

/// The table, and who waits for what.
pub struct Routes {
    network: Network,
    /// Requests that made changes which have no number yet.
    unnumbered: Vec<(Later, Vec<u8>)>,
    timer: bool,
    last: u64,
    last_plan: u64,
    /// First pages for servers that were up before management's start.
    held: BTreeMap<String, Vec<Later>>,
    /// Nobody is waited for any more.
    released: bool,
}

impl Default for Routes {
    fn default() -> Routes {
        let network = Network::new(0);
        Routes {
            network,
            unnumbered: Vec::new(),
            timer: false,
            last: 0,
            last_plan: 0,
            held: BTreeMap::new(),
            released: false,
        }
    }
}

impl Routes {
    /// Management starts; `now` in ms. `own`: the id of the main server in this process, if there is one.
    pub fn start(&mut self, now: u64, own: &str) {
        self.network = Network::new(now.saturating_mul(1_000));
        log(self.network.add(own));
    }

    /// The version of the table.
    pub fn version(&self) -> u64 {
        self.network.version()
    }
}

pub const PORTION: Command<Management> =
    Command { name: "PORTION", ports: &[PortKey::MainManagement], args: "cursor", gate: introduced, run: portion };

/// A server of this network, up or not.
pub fn server_known(management: &mut Management, id: &str) {
    log(management.routes.network.add(id));
}

/// A main server has come.
pub fn server_up(management: &mut Management, ctx: &mut Ctx<Management>, id: &str) {
    log(management.routes.network.up(id));
    schedule(management, ctx);
}

/// A main server is gone, and everybody there.
pub fn server_down(management: &mut Management, ctx: &mut Ctx<Management>, id: &str) {
    management.routes.held.remove(id);
    management.routes.network.down(id);
    schedule(management, ctx);
}

/// The operator removed a server.
pub fn server_removed(management: &mut Management, ctx: &mut Ctx<Management>, id: &str) {
    management.routes.network.remove(id);
    schedule(management, ctx);
}

/// What a server is linked to, with round trips in µs.
///
/// # Errors
/// As `Network::links`.
pub fn links_changed(
    management: &mut Management,
    ctx: &mut Ctx<Management>,
    id: &str,
    links: &BTreeMap<String, u32>,
) -> Result<(), Fail> {
    management.routes.network.links(id, links.iter().map(|(other, trip)| (other.as_str(), *trip)))?;
    schedule(management, ctx);
    Ok(())
}

/// A user, as registered, has as many sessions on the server now as `online` says.
pub fn user_changed(management: &mut Management, ctx: &mut Ctx<Management>, server: &str, name: &str, sessions: u32) {
    log(management.routes.network.presence(server, name, sessions));
    schedule(management, ctx);
}

/// A session of the user has moved; `left`: how many it has where that came from.
pub fn moved(
    management: &mut Management,
    ctx: &mut Ctx<Management>,
    name: &str,
    from: (&str, u32),
    to: &str,
    id: &str,
) {
    let (from, left) = from;
    let network = &mut management.routes.network;
    if left > 0 {
        // It may have been reported as one less already: then the move must not take another.
        log(network.presence(from, name, left.saturating_add(1)));
    }
    log(network.moved(id, name, from, to));
    schedule(management, ctx);
}

/// What the table does not take was checked before; but its bounds are its own.
fn log(result: Result<(), Fail>) {
    if let Err(fail) = result {
        log::error!("the table refuses a change: {fail}");
    }
}

/// Answers OK, with `data`, when what was changed by this event has its number, and is queued to all main servers.
pub fn when_numbered(management: &mut Management, ctx: &mut Ctx<Management>, later: Later, data: Vec<u8>) {
    management.routes.unnumbered.push((later, data));
    schedule(management, ctx);
}

fn schedule(management: &mut Management, ctx: &mut Ctx<Management>) {
    if std::mem::replace(&mut management.routes.timer, true) {
        return;
    }
    let gather = if management.mains.len() <= FEW { 0 } else { GATHER };
    ctx.after(management.routes.last.saturating_add(gather).saturating_sub(ctx.now()), |management, ctx| {
        management.routes.timer = false;
        flush(management, ctx);
    });
}

fn flush(management: &mut Management, ctx: &mut Ctx<Management>) {
    // Management stops: links go one by one, and what the others know shall stay as it is.
    if ctx.is_stopping() {
        return;
    }
    let (now, routes) = (ctx.now(), &mut management.routes);
    routes.last = now;
    if routes.network.plan_due() {
        match routes.last_plan.saturating_add(PLAN).saturating_sub(now) {
            0 => {
                routes.last_plan = now;
                routes.network.replan();
            }
            wait => ctx.after(wait, schedule),
        }
    }
    let updates = routes.network.take();
    send(management, ctx, updates);
    for (later, data) in std::mem::take(&mut management.routes.unnumbered) {
        ctx.answer(&later, Ok(data));
    }
}

fn send(management: &Management, ctx: &mut Ctx<Management>, updates: Vec<Update>) {
    for update in updates {
        let Some(link) = management.mains.get(&*update.server).map(|main| main.link) else { continue };
        let (version, checksum) = (update.version.to_string(), entry::checksum_text(update.checksum));
        let lines = format!("{}{}", update.routes, update.users);
        let fields = [version.as_bytes(), checksum.as_bytes(), lines.trim_end_matches('\n').as_bytes()];
        if ctx.push(link, "ROUTES", &fields).is_err() && ctx.is_open(link) {
            log::warn!("main server {} does not read its routes", update.server);
            ctx.close(link, "its routes are not read");
        }
    }
}

fn portion(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let server = server_of(ctx, request.link)?;
    let cursor = request.data().number()?;
    if cursor == 0 && !management.routes.released && resync::is_on(management, &server, ctx.now()) {
        let held = &mut management.routes.held;
        if held.values().map(Vec::len).sum::<usize>() >= HELD {
            return Err(Fail::new(Code::Busy, "too many portions wait; retry later"));
        }
        held.entry(server).or_default().push(request.later());
        ctx.after(0, release);
        return Ok(Answer::Later);
    }
    page(management, ctx, &server, cursor).map(Answer::Data)
}

fn page(management: &mut Management, ctx: &mut Ctx<Management>, server: &str, cursor: u64) -> Result<Vec<u8>, Fail> {
    // Nothing that is not numbered is in it.
    flush(management, ctx);
    let Page { before, next, version, checksum, lines } = management
        .routes
        .network
        .page(server, cursor, PAGE)
        .map_err(|_| refused(server, "PORTION", "no such cursor"))?;
    send(management, ctx, before);
    let next = next.map(|next| next.to_string()).unwrap_or_default();
    let checksum = entry::checksum_text(checksum);
    Ok(format!("{next}\n{version}\n{checksum}\n{}", lines.trim_end_matches('\n')).into_bytes())
}

/// After a restart of management, main servers that went on over the last table would lose users of others from it, if they
/// loaded a portion before all others have reported theirs: so they get it when all have, or at the end of `HOLD`.
fn waits_for_others(management: &Management, now: u64) -> bool {
    if now >= management.started.saturating_add(HOLD) {
        return false;
    }
    // Who was up before asks for its portion when it has reported everybody; who has just started has nobody.
    let done = |id: &String| {
        let asked = management.routes.held.contains_key(id);
        management.mains.contains_key(id) && (asked || !resync::is_on(management, id, now))
    };
    !management.resync.is_idle() || !management.directory.ids().all(done)
}

/// Gives the portions that were held, if nobody is waited for any more.
pub fn release(management: &mut Management, ctx: &mut Ctx<Management>) {
    // The first tick comes before the start.
    let started = management.started > 0;
    if !started || management.routes.released || waits_for_others(management, ctx.now()) {
        return;
    }
    // With none held, one that comes later may still be the first.
    management.routes.released =
        !management.routes.held.is_empty() || ctx.now() >= management.started.saturating_add(HOLD);
    for (server, laters) in std::mem::take(&mut management.routes.held) {
        for later in laters {
            let answer = page(management, ctx, &server, 0);
            ctx.answer(&later, answer);
        }
    }
}
