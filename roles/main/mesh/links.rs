//! Links to the other main servers: dialling, one link a pair, probes, and the report to management.

use rand::RngExt;

use super::way;
use super::Neighbour;
use crate::config::PortKey;
use crate::engine::ctx::Fingerprint;
use crate::engine::handshake;
use crate::engine::handshake::Member;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::engine::Target;
use crate::engine::Verify;
use crate::roles::main::Main;
use crate::roles::main::Peer;
use crate::route::ServerNo;
use crate::wire::hex;
use crate::wire::Fail;

/// How long to wait before the next dial, at first and at most; milliseconds.
const BACK_OFF: (u64, u64) = (100, 20_000);
/// Of two servers the one with the greater id waits this long for the other to dial.
const COURTESY: u64 = 50;
/// How often a neighbour is probed, and how long it may take to answer; milliseconds. A link that is dead without a word is
/// noticed after both.
const PROBE: (u64, u64) = (2_000, 4_000);
/// When a report is made again that management did not take; milliseconds.
const AGAIN: u64 = 1_000;
/// Changes of links are gathered for so long before they are reported.
const GATHER: u64 = 10;

pub const PROBE_COMMAND: Command<Main> = Command {
    name: "PROBE",
    ports: &[PortKey::MainMain],
    args: "",
    gate: handshake::proven_server::<Main>,
    run: |_, _, _: &Request<'_>| Ok(Answer::Ok),
};

/// The round trip of a link; microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundTrip {
    smoothed: Option<u64>,
    /// What management was told last. Only a change by much is told, as it makes everybody plan anew.
    told: Option<u64>,
}

impl RoundTrip {
    /// Takes another one. True: management is to be told.
    fn measured(&mut self, trip: u64) -> bool {
        let fresh = self.smoothed.map_or(trip, |before| (before.saturating_mul(3).saturating_add(trip)) / 4);
        self.smoothed = Some(fresh);
        if self.told.is_some_and(|told| fresh.abs_diff(told) <= told / 2 + 2_000) {
            return false;
        }
        self.told = Some(fresh);
        true
    }
}

/// Management has told something of a server: it is dialled if that makes sense.
pub fn changed(main: &mut Main, ctx: &mut Ctx<Main>, server: ServerNo, fresh: bool) {
    let courtesy = if main.table.server_id(server) < &*main.settings.server_id { COURTESY } else { 0 };
    let Some(entry) = main.mesh.get_mut(server) else { return };
    if fresh {
        entry.tries = 0;
        entry.waiting = false;
    }
    if entry.facts.up && entry.neighbour.is_none() && entry.dialing.is_none() && !entry.waiting {
        later(main, ctx, server, courtesy);
    }
}

fn later(main: &mut Main, ctx: &mut Ctx<Main>, server: ServerNo, wait: u64) {
    let Some(entry) = main.mesh.get_mut(server) else { return };
    entry.waiting = true;
    ctx.after(wait, move |main, ctx| {
        if let Some(entry) = main.mesh.get_mut(server).filter(|entry| entry.waiting) {
            entry.waiting = false;
            dial(main, ctx, server);
        }
    });
}

fn dial(main: &mut Main, ctx: &mut Ctx<Main>, server: ServerNo) {
    let Some(entry) = main.mesh.get_mut(server) else { return };
    // A server that is away by management's word may be reached all the same; but not one that was removed.
    let wanted = !entry.facts.mesh.is_empty() && entry.neighbour.is_none() && entry.dialing.is_none();
    if !wanted || ctx.is_stopping() {
        return;
    }
    let Some(print): Option<Fingerprint> = hex::decode_32(&entry.facts.fingerprint) else { return };
    let target = Target::Net(entry.facts.mesh.clone(), Verify::Pinned(print));
    entry.dialing = Some(ctx.connect(PortKey::MainMain, target, Peer::Dialed(server)));
}

/// A link that this side dialled is open.
pub fn opened(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId, server: ServerNo) {
    let id = main.table.server_id(server).to_owned();
    let key = main.key_of(&id, PortKey::MainMain);
    if key.is_none() {
        return ctx.close(link, "the key of that server is not known");
    }
    handshake::open(main, ctx, link, &id, key);
}

/// The handshake is done.
pub fn proven(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId, id: &str) {
    let Ok(server) = main.table.server(id) else { return ctx.close(link, "too many servers") };
    let opener = ctx.info(link).is_some_and(|info| info.opener);
    let now = ctx.now();
    if let Some(peer) = ctx.peer(link) {
        *peer = Peer::Server(server);
    }
    // Of two links, the one that the server with the smaller id has opened stays; of two of the same opener, the later.
    let smaller = if &*main.settings.server_id < id { opener } else { !opener };
    let entry = main.mesh.place(server, now);
    if entry.dialing == Some(link) {
        entry.dialing = None;
    }
    if let Some(old) = entry.neighbour {
        if old.opener != opener && !smaller {
            return ctx.close(link, "there is a link already");
        }
        ctx.close(old.link, "there is a later link");
    }
    entry.neighbour = Some(Neighbour { link, opener, round_trip: RoundTrip::default(), probed: None });
    entry.tries = 0;
    log::info!("linked to main server {id}");
    probe(main, ctx, server);
    rerouted(main, server);
}

/// There may be a way now to more than this server.
fn rerouted(main: &mut Main, server: ServerNo) {
    let through: Vec<ServerNo> =
        main.mesh.numbers().filter(|to| *to == server || main.table.next_hop(*to) == Some(server)).collect();
    for to in through {
        reroute(main, to);
    }
}

/// The way to a server has changed: what may be lost on the old one is sent again.
pub fn reroute(main: &mut Main, to: ServerNo) {
    if let Some(entry) = main.mesh.get_mut(to) {
        entry.out.rewind();
        main.mesh.touch(to);
    }
}

fn probe(main: &mut Main, ctx: &mut Ctx<Main>, server: ServerNo) {
    let now = ctx.now();
    let Some(neighbour) = main.mesh.get_mut(server).and_then(|entry| entry.neighbour.as_mut()) else { return };
    let link = neighbour.link;
    neighbour.probed = Some(now);
    ctx.request(link, "PROBE", &[], move |main, ctx, answer| {
        let trip = ctx.now().saturating_sub(now).saturating_mul(1_000);
        let neighbour = main.mesh.get_mut(server).and_then(|entry| entry.neighbour.as_mut());
        let Some(neighbour) = neighbour.filter(|neighbour| neighbour.link == link && answer.is_ok()) else { return };
        neighbour.probed = None;
        if neighbour.round_trip.measured(trip) {
            report(main, ctx);
        }
    });
}

/// Once a second.
pub fn tick(main: &mut Main, ctx: &mut Ctx<Main>) {
    let now = ctx.now();
    for server in main.mesh.numbers() {
        let Some(neighbour) = main.mesh.get(server).and_then(|entry| entry.neighbour) else { continue };
        match neighbour.probed {
            Some(since) if now >= since.saturating_add(PROBE.1) => ctx.abort(neighbour.link, "it answers no probe"),
            Some(_) => {}
            None if (now / 1_000).is_multiple_of(PROBE.0 / 1_000) => probe(main, ctx, server),
            None => {}
        }
    }
}

/// A link to another main server is gone, or could not be made.
pub fn closed(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId, server: ServerNo, why: &str) {
    let Some(entry) = main.mesh.get_mut(server) else { return };
    let was = entry.neighbour.is_some_and(|neighbour| neighbour.link == link);
    if was {
        entry.neighbour = None;
    } else if entry.dialing == Some(link) {
        entry.dialing = None;
        entry.tries = entry.tries.saturating_add(1);
    } else {
        return;
    }
    let tries = entry.tries;
    if ctx.is_stopping() {
        return;
    }
    let id = main.table.server_id(server).to_owned();
    if was {
        log::warn!("the link to main server {id} is gone: {why}");
        rerouted(main, server);
        report(main, ctx);
    } else {
        log::debug!("main server {id} is not reached: {why}");
    }
    let (first, most) = BACK_OFF;
    let full = first.saturating_mul(1 << tries.min(16)).min(most);
    let wait = full / 2 + ctx.rng().random_range(0..=full / 2);
    if main.mesh.get(server).is_some_and(|entry| !entry.waiting) {
        later(main, ctx, server, wait);
    }
}

/// Management has told that a server is no member any more: nothing goes there, nothing is taken from it.
pub fn removed(main: &mut Main, ctx: &mut Ctx<Main>, server: ServerNo) {
    let Some(entry) = main.mesh.get_mut(server) else { return };
    entry.facts = super::Facts::default();
    entry.mac = None;
    let links = entry.neighbour.map(|neighbour| neighbour.link).into_iter().chain(entry.dialing);
    for link in links.collect::<Vec<_>>() {
        ctx.close(link, "this server was removed from the network");
    }
}

/// Tells management soon whom this server is linked to.
pub fn report(main: &mut Main, ctx: &mut Ctx<Main>) {
    if std::mem::replace(&mut main.mesh.report, true) {
        return;
    }
    ctx.after(GATHER, |main, ctx| {
        main.mesh.report = false;
        let lines: Vec<String> = main
            .mesh
            .numbers()
            .filter_map(|server| {
                let trip = main.mesh.get(server)?.neighbour?.round_trip.told?;
                Some(format!("{}|{trip}", main.table.server_id(server)))
            })
            .collect();
        let lines = lines.join("\n");
        let Some(link) = main.management.link() else { return };
        if main.mesh.reported.as_ref() != Some(&lines) {
            main.mesh.reported = Some(lines.clone());
            ctx.request(link, "LINKS", &[lines.as_bytes()], |main, ctx, answer: Result<_, Fail>| {
                if let Err(fail) = answer {
                    // It may know another server a little later than this one.
                    log::warn!("management does not take the report of links: {fail}");
                    main.mesh.reported = None;
                    ctx.after(AGAIN, report);
                }
            });
        }
    });
}

/// Management is linked anew: it knows nothing.
pub fn report_again(main: &mut Main, ctx: &mut Ctx<Main>) {
    main.mesh.reported = None;
    report(main, ctx);
}

/// Whether there is any way to a server now.
pub fn is_reached(main: &Main, ctx: &Ctx<Main>, server: ServerNo) -> bool {
    way(main, ctx, server).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told after so many probes that all take as long.
    fn told(round_trip: &mut RoundTrip, trip: u64, probes: usize) -> (u64, usize) {
        let times = (0..probes).filter(|_| round_trip.measured(trip)).count();
        (round_trip.told.unwrap(), times)
    }

    #[test]
    fn a_round_trip_that_changes_is_told() {
        let mut round_trip = RoundTrip::default();
        assert_eq!(told(&mut round_trip, 1_000, 10), (1_000, 1));
        let (slow, _) = told(&mut round_trip, 200_000, 20);
        assert!(slow > 130_000, "{slow}");
        let (fast, _) = told(&mut round_trip, 1_000, 40);
        assert!(fast < 10_000, "a link that was slow once is not slow for ever: {fast}");
        assert_eq!(told(&mut round_trip, 2_000, 10).1, 0, "noise is not told");
    }
}
