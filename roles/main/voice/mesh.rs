//! VOICE between main servers: what was said at one, for all others with members of the channel. Each hop sends it once to each next hop,
//! with the servers behind that. A packet that is lost stays lost.

use rand::Rng;

use super::media;
use crate::config::PortKey;
use crate::engine::ctx::put_number;
use crate::engine::handshake;
use crate::engine::tag;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::relay::HOPS;
use crate::roles::main::mesh::relay;
use crate::roles::main::mesh::way;
use crate::roles::main::Main;
use crate::route::ServerNo;
use crate::voice::PACKET;
use crate::wire::raw;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// Datagrams of one packet.
const DATAGRAMS: usize = 64;
/// Servers that one packet is for.
const SERVERS: usize = 1_000;

/// How far a VOICE may be behind the clock; milliseconds. Clocks of servers differ by less.
const OLD: u64 = 60_000;

pub const VOICE: Command<Main> = Command {
    name: "VOICE",
    ports: &[PortKey::MainMain],
    args: "hops|origin|number|channel|server|… LF tags LF datagrams",
    gate: handshake::proven_server::<Main>,
    run,
};

/// Servers that are reached by one link, each with its tag.
type Group<'a> = (LinkId, Vec<(&'a str, &'a str)>);

fn add<'a>(groups: &mut Vec<Group<'a>>, link: LinkId, server: (&'a str, &'a str)) {
    match groups.iter_mut().find(|(known, _)| *known == link) {
        Some((_, servers)) => servers.push(server),
        None => groups.push((link, vec![server])),
    }
}

/// Sends what was said here.
pub fn send(main: &mut Main, ctx: &mut Ctx<Main>, channel: u64, said: &[u8]) {
    let servers: Option<Vec<ServerNo>> =
        main.voice.channels.get(&channel).map(|entry| entry.elsewhere.keys().copied().collect());
    let ways: Vec<(ServerNo, LinkId, bool)> = servers
        .unwrap_or_default()
        .into_iter()
        .filter_map(|server| way(main, ctx, server).map(|(link, own)| (server, link, own)))
        .collect();
    for datagrams in said.chunks(DATAGRAMS * PACKET) {
        main.voice.number = ctx.now().saturating_mul(1_000).max(main.voice.number.saturating_add(1));
        let mut body = Vec::with_capacity(datagrams.len() + datagrams.len() / 32);
        raw::escape_into(&mut body, datagrams);
        let head = head(&main.settings.server_id, main.voice.number, channel);
        let mut tags = Vec::with_capacity(ways.len());
        for (server, _, straight) in &ways {
            // Over its own link TLS and the handshake say whose it is.
            let key = main.mesh.get(*server).and_then(|entry| entry.mac.as_ref()).filter(|_| !straight);
            tags.push(
                key.map(|key| make_tag(ctx, key, &head, main.table.server_id(*server), &body)).unwrap_or_default(),
            );
        }
        let mut groups = Vec::new();
        for ((server, link, _), tag) in ways.iter().zip(&tags) {
            add(&mut groups, *link, (main.table.server_id(*server), tag));
        }
        main.voice.counts.late += write(ctx, &groups, u64::from(HOPS), &head, &body);
    }
}

/// What stands behind the hops and before the servers.
fn head(origin: &str, number: u64, channel: u64) -> Vec<u8> {
    let mut head = Vec::with_capacity(128);
    raw::escape_into(&mut head, origin.as_bytes());
    for number in [number, channel] {
        head.push(b'|');
        put_number(&mut head, number);
    }
    head
}

fn make_tag(ctx: &mut Ctx<Main>, key: &[u8; 32], head: &[u8], server: &str, body: &[u8]) -> String {
    let mut salt = [0; tag::SALT];
    ctx.rng().fill_bytes(&mut salt);
    tag::make(key, &salt, &covered(head, server), body)
}

fn covered<'a>(head: &'a [u8], server: &'a str) -> [&'a [u8]; 5] {
    [b"VOICE", head, b"|", server.as_bytes(), raw::SEPARATOR]
}

/// Queues the packet once for each group. Returns how many were dropped.
fn write(ctx: &mut Ctx<Main>, groups: &[Group<'_>], hops: u64, head: &[u8], body: &[u8]) -> u64 {
    let mut dropped = 0;
    for (link, servers) in groups {
        let (mut words, mut tags) = (b"VOICE ".to_vec(), Vec::new());
        put_number(&mut words, hops);
        words.push(b'|');
        words.extend_from_slice(head);
        for (n, (server, tag)) in servers.iter().enumerate() {
            words.push(b'|');
            raw::escape_into(&mut words, server.as_bytes());
            if n > 0 {
                tags.push(b'|');
            }
            tags.extend_from_slice(tag.as_bytes());
        }
        let parts = [&words[..], raw::SEPARATOR, &tags, raw::SEPARATOR, body];
        dropped += u64::from(!media::put(ctx, *link, &parts));
    }
    dropped
}

/// A packet, as every server on its way reads it.
struct Packet<'a> {
    hops: u64,
    origin: &'a str,
    number: u64,
    channel: u64,
    /// Each with its tag.
    servers: Vec<(&'a str, &'a str)>,
    /// Escaped.
    body: Raw<'a>,
}

impl<'a> Packet<'a> {
    fn parse(head: &'a str, tags: &'a str, body: Raw<'a>) -> Result<Packet<'a>, Fail> {
        let bad = || Fail::bad_args("VOICE begins with hops|origin|number|channel|server");
        let mut columns = head.split('|');
        let mut next = || columns.next().ok_or_else(bad);
        let number = |text: &str| Raw(text.as_bytes()).number();
        let (hops, origin) = (number(next()?)?, next()?);
        let (count, channel) = (number(next()?)?, number(next()?)?);
        if hops > u64::from(HOPS) {
            return Err(bad());
        }
        let mut tags = tags.split('|');
        let mut servers: Vec<(&str, &str)> = Vec::new();
        for server in columns {
            if servers.len() >= SERVERS {
                return Err(Fail::bad_args("for too many servers"));
            }
            let tag = tags.next().ok_or_else(|| Fail::bad_args("each server has a tag, or nothing in its place"))?;
            servers.push((server, tag));
        }
        // One that is named twice would get it twice.
        servers.sort_unstable();
        if servers.is_empty() || servers.windows(2).any(|pair| matches!(pair, [a, b] if a.0 == b.0)) {
            return Err(bad());
        }
        Ok(Packet { hops, origin, number: count, channel, servers, body })
    }
}

fn run(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let neighbour = relay::neighbour_of(ctx, request.link)?;
    let result = take(main, ctx, request, neighbour);
    match relay::refused(main, neighbour, "VOICE", result.map(|()| Answer::None)) {
        Ok(answer) => Ok(answer),
        // It is in the log: a FAIL for each would only take room on the link.
        Err(_) => Ok(Answer::None),
    }
}

fn take(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>, neighbour: ServerNo) -> Result<(), Fail> {
    let [head, tags, body] = request.data().take()?;
    let (head, tags) = (head.text()?, tags.text()?);
    let mut packet = Packet::parse(&head, &tags, body)?;
    let own = packet.servers.iter().position(|(server, _)| *server == main.settings.server_id);
    let own = own.map(|at| packet.servers.remove(at).1);
    let first = match own {
        Some(tag) => receive(main, ctx, neighbour, &packet, tag),
        None => Ok(()),
    };
    let passed = match packet.servers.is_empty() {
        true => Ok(()),
        false => pass_on(main, ctx, request.link, &packet),
    };
    first.and(passed)
}

/// Sends it on to those that it is for as well, each by this server's own route; but not back.
fn pass_on(main: &mut Main, ctx: &mut Ctx<Main>, from: LinkId, packet: &Packet<'_>) -> Result<(), Fail> {
    let hops = packet.hops.checked_sub(1);
    let hops = hops.ok_or_else(|| Fail::new(Code::Refused, "it has passed too many servers"))?;
    let (mut groups, mut unknown) = (Vec::new(), false);
    for (server, tag) in &packet.servers {
        match main.table.server_no(server) {
            Some(to) => {
                if let Some((link, _)) = way(main, ctx, to).filter(|(link, _)| *link != from) {
                    add(&mut groups, link, (*server, *tag));
                }
            }
            None => unknown = true,
        }
    }
    let head = head(packet.origin, packet.number, packet.channel);
    main.voice.counts.late += write(ctx, &groups, hops, &head, packet.body.0);
    match unknown {
        true => Err(Fail::new(Code::NotFound, "no such server")),
        false => Ok(()),
    }
}

/// It is for members here.
fn receive(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    neighbour: ServerNo,
    packet: &Packet<'_>,
    tag: &str,
) -> Result<(), Fail> {
    let origin = main.table.server_no(packet.origin).filter(|origin| *origin != main.own);
    let origin = origin.ok_or_else(|| Fail::new(Code::Denied, "of a server that sends nothing here"))?;
    let head = head(packet.origin, packet.number, packet.channel);
    let entry = main.mesh.get(origin);
    let own = origin == neighbour && tag.is_empty();
    let good =
        |key: &[u8; 32]| tag::is_good(key, &covered(&head, &main.settings.server_id), packet.body.0, tag.as_bytes());
    if !own && !entry.and_then(|entry| entry.mac.as_ref()).is_some_and(good) {
        return Err(Fail::new(Code::Denied, format!("it is not of {}, as it says", packet.origin)));
    }
    let boot = entry.map_or(0, |entry| entry.facts.boot);
    let datagrams = packet.body.unescape();
    if datagrams.is_empty() || !datagrams.len().is_multiple_of(PACKET) || datagrams.len() > DATAGRAMS * PACKET {
        return Err(Fail::bad_args("datagrams have 512 bytes each, and there are at most 64"));
    }
    // After a start of either end nothing is known of what was said before: what is sent again then is old.
    if packet.number < ctx.now().saturating_sub(OLD).saturating_mul(1_000) {
        main.voice.counts.old += 1;
        return Ok(());
    }
    let last = main.voice.heard.entry(origin).or_default();
    if last.0 == boot && packet.number <= last.1 {
        main.voice.counts.again += 1;
        return Ok(());
    }
    *last = (boot, packet.number);
    media::came(main, ctx, packet.channel, &datagrams, |entry, uid| {
        entry.members.get(&uid).is_some_and(|member| member.server == origin)
    });
    Ok(())
}
