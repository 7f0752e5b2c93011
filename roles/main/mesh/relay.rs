//! RELAY: items of a stream, from another main server. What is for a third goes on to it as it stands.

use super::complain;
use super::control;
use super::stream;
use super::stream::Ends;
use super::way;
use crate::config::PortKey;
use crate::engine::ctx::put_number;
use crate::engine::handshake;
use crate::engine::tag;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::relay::packet::Items;
use crate::relay::packet::Routed;
use crate::relay::packet::Signed;
use crate::relay::Relay;
use crate::relay::Taken;
use crate::roles::main::deliver;
use crate::roles::main::Main;
use crate::roles::main::Peer;
use crate::route::ServerNo;
use crate::wire::raw;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// Packets of one server that wait for this server's table, in bytes.
const EARLY: usize = 4 << 20;
/// Without any way for this long, what waits is given up; milliseconds.
const GIVE_UP: u64 = 5_000;
/// The same for a server that management does not reach either: enough for one whose links all broke to come back.
const GIVE_UP_DOWN: u64 = 400;

pub const RELAY: Command<Main> = Command {
    name: "RELAY",
    ports: &[PortKey::MainMain],
    args: "hops|server|… LF what LF items",
    gate: handshake::proven_server::<Main>,
    run,
};

fn run(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let neighbour = neighbour_of(ctx, request.link)?;
    let result = Routed::parse(request.data()).and_then(|routed| {
        if *routed.dest != *main.settings.server_id {
            return forward(main, ctx, request.link, b"RELAY ", &routed);
        }
        receive(main, ctx, neighbour, request.data())
    });
    refused(main, neighbour, "RELAY", result.map(|()| Answer::None))
}

/// Logs what is refused of a server.
pub fn refused(main: &Main, neighbour: ServerNo, kind: &str, result: Result<Answer, Fail>) -> Result<Answer, Fail> {
    if let Err(fail) = &result {
        complain(main, neighbour, format_args!("sends a {kind} that is refused: {fail}"));
    }
    result
}

/// The main server at the other end of a link.
pub fn neighbour_of(ctx: &Ctx<Main>, link: LinkId) -> Result<ServerNo, Fail> {
    match ctx.peer_ref(link) {
        Some(Peer::Server(server)) => Ok(*server),
        _ => Err(Fail::new(Code::Denied, "not a main server of this network")),
    }
}

/// Passes a packet on. What finds no way is dropped: its origin sends it again.
pub fn forward(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    from: LinkId,
    command: &[u8],
    routed: &Routed<'_>,
) -> Result<(), Fail> {
    let to = main.table.server_no(&routed.dest).ok_or_else(|| Fail::new(Code::NotFound, "no such server"))?;
    let ttl = routed.ttl.checked_sub(1).ok_or_else(|| Fail::new(Code::Refused, "it has passed too many servers"))?;
    let Some((link, _)) = way(main, ctx, to).filter(|(link, _)| *link != from) else { return Ok(()) };
    let mut hops = Vec::with_capacity(4);
    put_number(&mut hops, u64::from(ttl));
    // Full: it is sent again by its origin.
    let _ = ctx.put_parts(link, &[command, &hops, b"|", routed.rest]);
    Ok(())
}

/// Whether a packet comes from whom it says: from the neighbour itself, or with a tag that only the two ends can make. `rest` is the
/// end of its body: the items, or the results.
pub fn authentic(
    main: &Main,
    link: ServerNo,
    from: ServerNo,
    kind: &str,
    signed: &Signed<'_>,
    rest: &[u8],
) -> Result<(), Fail> {
    let own = from == link && signed.tag.is_empty();
    let key = main.mesh.get(from).and_then(|server| server.mac.as_ref());
    let before = signed.body.len().saturating_sub(rest.len());
    let start = [kind.as_bytes(), signed.head, raw::SEPARATOR, signed.body.get(..before).unwrap_or_default()];
    if own || key.is_some_and(|key| tag::is_good(key, &start, rest, signed.tag)) {
        return Ok(());
    }
    Err(Fail::new(Code::Denied, format!("it is not of {}, as it says", main.table.server_id(from))))
}

fn receive(main: &mut Main, ctx: &mut Ctx<Main>, neighbour: ServerNo, data: Raw<'_>) -> Result<(), Fail> {
    let routed = Routed::parse(data)?;
    let (relay, what, items, signed) = Relay::parse(&routed)?;
    let origin = main.table.server_no(&relay.origin).filter(|origin| {
        main.mesh.get(*origin).is_some_and(|server| !server.facts.mesh.is_empty() || server.neighbour.is_some())
    });
    let origin = origin.filter(|_| relay.origin != main.settings.server_id);
    let origin = origin.ok_or_else(|| Fail::new(Code::Denied, "of a server that sends nothing here"))?;
    authentic(main, neighbour, origin, "RELAY", &signed, items.0)?;
    if relay.boot != main.mesh.boot {
        // Of a stream to an earlier start of this server.
        if let Some(entry) = main.mesh.get_mut(origin) {
            entry.unknown = Some(relay.stream);
            main.mesh.touch(origin);
        }
        return Ok(());
    }
    let (version, suspended) = (main.version, main.holds.is_suspended());
    let Some(entry) = main.mesh.get_mut(origin) else { return Ok(()) };
    if relay.version > version || suspended || !entry.early.is_empty() {
        // Who may send what is not known here yet, or not any more.
        if entry.early_bytes + data.0.len() <= EARLY {
            entry.early_bytes += data.0.len();
            entry.early.push_back(data.0.to_vec());
        } else {
            entry.early_lost = true;
        }
        return Ok(());
    }
    take(main, ctx, origin, &relay, what, items)
}

fn take(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    origin: ServerNo,
    relay: &Relay,
    what: Raw<'_>,
    items: Raw<'_>,
) -> Result<(), Fail> {
    let count = stream::count(items.0)?;
    let Some(entry) = main.mesh.get_mut(origin) else { return Ok(()) };
    let mut inc = std::mem::take(&mut entry.inc);
    let taken = inc.offer(relay.stream, relay.first, count, relay.acked);
    main.mesh.touch(origin);
    let result = match taken {
        Taken::Nothing => Ok(()),
        Taken::Items { skip } => {
            let skip = usize::try_from(skip).unwrap_or(usize::MAX);
            let items = Items(items.0).skip(skip).flatten();
            what.text().and_then(|what| match what.strip_prefix("m|") {
                Some(columns) => deliver::from_server(main, ctx, origin, relay, columns, items, &mut inc),
                None => control::take(main, ctx, origin, &what, items, &mut inc),
            })
        }
    };
    if let Some(entry) = main.mesh.get_mut(origin) {
        entry.inc = inc;
    }
    result
}

/// This server's table has a later version: packets that waited for it are taken.
pub fn table_changed(main: &mut Main, ctx: &mut Ctx<Main>) {
    if main.holds.is_suspended() {
        return;
    }
    for server in main.mesh.numbers() {
        loop {
            let version = main.version;
            let Some(entry) = main.mesh.get_mut(server) else { break };
            let Some(first) = entry.early.front() else { break };
            let parsed = Routed::parse(Raw(first)).and_then(|routed| Ok(Relay::parse(&routed)?.0));
            if parsed.as_ref().is_ok_and(|relay| relay.version > version) {
                break;
            }
            let Some(first) = entry.early.pop_front() else { break };
            entry.early_bytes = entry.early_bytes.saturating_sub(first.len());
            let result = Routed::parse(Raw(&first)).and_then(|routed| {
                let (relay, what, items, _) = Relay::parse(&routed)?;
                take(main, ctx, server, &relay, what, items)
            });
            if let Err(fail) = result {
                complain(main, server, format_args!("has sent a RELAY that is refused: {fail}"));
            }
        }
        let lost = |entry: &mut super::Server| entry.early.is_empty() && std::mem::take(&mut entry.early_lost);
        if main.mesh.get_mut(server).is_some_and(lost) {
            if let Some(entry) = main.mesh.get_mut(server) {
                entry.inc.missed();
            }
            main.mesh.touch(server);
        }
    }
}

/// At the end of an event: what is new in the streams is sent, and what was taken is reported.
pub fn flush(main: &mut Main, ctx: &mut Ctx<Main>) {
    let mut waiting = Vec::new();
    for server in main.mesh.take_dirty() {
        let way = way(main, ctx, server);
        let boot = main.mesh.boot;
        let dest = main.table.server_id(server);
        let origin = &main.settings.server_id;
        let Some(entry) = main.mesh.servers.get_mut(server.index()) else { continue };
        let Some((link, straight)) = way else {
            // Reported and sent when there is a way: the other end asks again.
            if !entry.out.is_idle() {
                entry.lost_since = entry.lost_since.or(Some(ctx.now()));
            }
            continue;
        };
        entry.lost_since = None;
        let key = entry.mac.filter(|_| !straight);
        let ends = Ends {
            out: &mut entry.out,
            inc: &mut entry.inc,
            unknown: entry.unknown.take(),
            ask: std::mem::take(&mut entry.ask),
            dest,
            dest_boot: entry.facts.boot,
            own: origin,
            own_boot: boot,
            key,
        };
        if !stream::flush(ctx, link, ends) {
            waiting.push(server);
        }
    }
    // Looked at again when the next event is over.
    for server in waiting {
        main.mesh.touch(server);
    }
}

/// Management does not reach a server any more: whoever waits for it shall not wait for long.
pub fn server_down(ctx: &mut Ctx<Main>) {
    ctx.after(GIVE_UP_DOWN + GIVE_UP_DOWN / 8, tick);
}

/// Once a second: streams without progress send again, or are given up.
pub fn tick(main: &mut Main, ctx: &mut Ctx<Main>) {
    let now = ctx.now();
    for server in main.mesh.numbers() {
        let Some(entry) = main.mesh.get_mut(server) else { continue };
        if entry.inc.is_due() {
            main.mesh.touch(server);
        }
        let Some(entry) = main.mesh.get_mut(server) else { continue };
        if entry.out.is_idle() {
            entry.lost_since = None;
            entry.out.rest();
            continue;
        }
        let patience = if entry.facts.up { GIVE_UP } else { GIVE_UP_DOWN };
        if entry.lost_since.is_some_and(|since| now >= since.saturating_add(patience)) {
            super::relayed::give_up(main, ctx, server, "the recipient's server is not reached");
            continue;
        }
        if entry.out.is_hopeless(now) {
            super::relayed::give_up(main, ctx, server, "the recipient's server does not answer");
            continue;
        }
        // One link loses nothing while it stands, however slow it is: to send everything again would only fill it more. But what
        // the other end says may be lost on another way.
        let straight = way(main, ctx, server).is_some_and(|(_, straight)| straight);
        let Some(entry) = main.mesh.get_mut(server) else { continue };
        let stuck = entry.out.is_stuck(now);
        entry.ask = stuck && straight;
        if stuck && !straight {
            entry.out.rewind();
        }
        if stuck || entry.out.has_unsent() {
            main.mesh.touch(server);
        }
    }
}
