//! COPYBLOCK (64479) and FETCHBLOCK (64480): a data server gets a block straight from another one. Who may fetch what is in the ticket
//! that data management makes, with a key that it shares with the server that gives.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq;

use super::puts;
use super::Data;
use super::Peer;
use crate::blocks::Hash;
use crate::blocks::MAX_BLOCK;
use crate::config::PortKey;
use crate::engine::handshake::proven_server;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Later;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::engine::Target;
use crate::engine::Verify;
use crate::wire::hex;
use crate::wire::name;
use crate::wire::raw;
use crate::wire::raw::SEPARATOR;
use crate::wire::Blob;
use crate::wire::Body;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// Copies under way at once: each may hold a block.
const AT_ONCE: usize = 64;
/// A link to another data server that was not used for so long is closed; milliseconds.
const IDLE: u64 = 30_000;

/// Links to other data servers, and what is fetched there.
#[derive(Default)]
pub struct Copies {
    /// Of the tickets for what is fetched here; from data management.
    pub key: Option<[u8; 32]>,
    sources: BTreeMap<String, Source>,
    under_way: usize,
}

struct Source {
    link: LinkId,
    ready: bool,
    waiting: Vec<Copy>,
    used: u64,
}

struct Copy {
    hash: Hash,
    ticket: String,
    later: Later,
}

pub const COPY_BLOCK: Command<Data> = Command {
    name: "COPYBLOCK",
    ports: &[PortKey::DataDatamanagement],
    args: "hash LF length LF server-id LF host:port LF fingerprint LF ticket",
    gate: puts::from_data_management,
    run: copy,
};

pub const FETCH_BLOCK: Command<Data> = Command {
    name: "FETCHBLOCK",
    ports: &[PortKey::DataData],
    args: "hash LF offset LF length LF ticket",
    gate: proven_server,
    run: fetch,
};

fn copy(data: &mut Data, ctx: &mut Ctx<Data>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [hash, length, server, address, print, ticket] = request.data().take()?;
    let (hash, length) = (puts::name(&hash.text()?)?, length.number()?.min(MAX_BLOCK as u64));
    let (server, address, ticket) = (server.text()?.into_owned(), address.text()?, ticket.text()?.into_owned());
    name::check(&server)?;
    let print =
        hex::decode_32(&print.text()?).ok_or_else(|| Fail::bad_args("a fingerprint is 64 hexadecimal digits"))?;
    if data.copies.under_way >= AT_ONCE {
        return Err(Fail::new(Code::Busy, "too many copies are under way; retry later"));
    }
    data.copies.under_way += 1;
    let mut later = request.later();
    ctx.weigh(&mut later, length);
    let copy = Copy { hash, ticket: format!("{length}\n{ticket}"), later };
    match data.copies.sources.get_mut(&server) {
        Some(source) if source.ready => {
            let link = source.link;
            ask(data, ctx, &server, link, copy);
        }
        Some(source) => source.waiting.push(copy),
        None => {
            let target = Target::Net(address.into_owned(), Verify::Pinned(print));
            let link = ctx.connect(PortKey::DataData, target, Peer::Source(server.clone()));
            let source = Source { link, ready: false, waiting: vec![copy], used: ctx.now() };
            data.copies.sources.insert(server, source);
        }
    }
    Ok(Answer::Later)
}

/// The handshake with another data server is done.
pub fn source_ready(data: &mut Data, ctx: &mut Ctx<Data>, link: LinkId) {
    let Some(Peer::Source(server)) = ctx.peer_ref(link) else { return };
    let server = server.clone();
    let Some(source) = data.copies.sources.get_mut(&server).filter(|source| source.link == link) else { return };
    source.ready = true;
    for copy in std::mem::take(&mut source.waiting) {
        ask(data, ctx, &server, link, copy);
    }
}

fn ask(data: &mut Data, ctx: &mut Ctx<Data>, server: &str, link: LinkId, copy: Copy) {
    if let Some(source) = data.copies.sources.get_mut(server) {
        source.used = ctx.now();
    }
    let Copy { hash, ticket, later } = copy;
    let (length, ticket) = ticket.split_once('\n').unwrap_or_default();
    let text = hash.to_string();
    let fields = [text.as_bytes(), b"0", length.as_bytes(), ticket.as_bytes()];
    let mut escaped = Vec::new();
    for (n, field) in fields.iter().enumerate() {
        escaped.extend_from_slice(if n == 0 { b"" } else { SEPARATOR });
        raw::escape_into(&mut escaped, field);
    }
    ctx.request_body(link, "FETCHBLOCK", &[], Body::Raw(Raw(&escaped)), move |data, ctx, answer| match answer {
        Ok(bytes) => {
            let bytes = bytes.into_blob();
            ctx.heavy(
                move || checked(bytes, &hash),
                move |data, ctx, bytes| match bytes {
                    Ok(bytes) => puts::keep(data, ctx, bytes, move |data, ctx, stored| {
                        finish(data, ctx, &later, stored.map(|stored| stored.seq.to_string().into_bytes()));
                    }),
                    Err(fail) => finish(data, ctx, &later, Err(fail)),
                },
            );
        }
        Err(fail) => finish(data, ctx, &later, Err(fail)),
    });
}

/// Blocks that other servers give are believed as little as those on a disk.
fn checked(bytes: Blob, hash: &Hash) -> Result<Blob, Fail> {
    match bytes.len() <= MAX_BLOCK && bytes.hash() == hash.0 {
        true => Ok(bytes),
        false => Err(Fail::new(Code::Wrong, "the other server gave other bytes")),
    }
}

fn finish(data: &mut Data, ctx: &mut Ctx<Data>, later: &Later, result: Result<Vec<u8>, Fail>) {
    data.copies.under_way = data.copies.under_way.saturating_sub(1);
    ctx.answer(later, result);
}

/// A link to another data server is gone, or could not be made.
pub fn source_gone(data: &mut Data, ctx: &mut Ctx<Data>, server: &str, link: LinkId) {
    if data.copies.sources.get(server).is_none_or(|source| source.link != link) {
        return;
    }
    for copy in data.copies.sources.remove(server).map(|source| source.waiting).unwrap_or_default() {
        let fail = Fail::new(Code::Unavailable, "the other data server is not reachable");
        finish(data, ctx, &copy.later, Err(fail));
    }
}

/// That server was removed, or has another key.
pub fn cut_off(data: &mut Data, ctx: &mut Ctx<Data>, server: &str) {
    let links: Vec<LinkId> = data.members.shakes.links_of(server).collect();
    for link in links {
        if ctx.info(link).is_some_and(|info| info.port == PortKey::DataData) {
            ctx.abort(link, "this server was removed, or has another key");
        }
    }
}

/// Once a second: links that nobody needs are closed.
pub fn tick(data: &mut Data, ctx: &mut Ctx<Data>) {
    let now = ctx.now();
    for source in data.copies.sources.values() {
        if source.ready && now.saturating_sub(source.used) > IDLE {
            ctx.close(source.link, "not needed any more");
        }
    }
}

/// FETCHBLOCK: `until|hex HMAC-SHA256(key, hash LF until LF id of the one that asks)`.
fn fetch(data: &mut Data, ctx: &mut Ctx<Data>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [hash, offset, length, ticket] = request.data().take()?;
    let (hash, offset, length) = (puts::name(&hash.text()?)?, offset.number()?, length.number()?);
    let ticket = ticket.text()?;
    let wrong = || Fail::new(Code::Wrong, "the ticket is not good");
    let key = data.copies.key.ok_or_else(wrong)?;
    let asks = data.members.shakes.server(request.link).ok_or_else(wrong)?;
    let (until, told) = ticket.split_once('|').ok_or_else(wrong)?;
    let sum = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), format!("{hash}\n{until}\n{asks}").as_bytes());
    if !bool::from(hex::encode(sum.as_ref()).as_bytes().ct_eq(told.as_bytes())) {
        return Err(wrong());
    }
    if until.parse::<u64>().map_err(|_| wrong())? < ctx.now() {
        return Err(Fail::new(Code::Expired, "the ticket is over"));
    }
    puts::read(data, ctx, request.later(), hash, offset, length);
    Ok(Answer::Later)
}
