//! Reading: pieces of blocks, from whichever server has them.

use std::collections::BTreeSet;
use std::collections::HashMap;

use rand::RngExt;

use super::servers;
use super::DataManagement;
use crate::engine::Ctx;
use crate::storage::Piece;
use crate::storage::ServerNo;
use crate::wire::Blob;
use crate::wire::Body;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// How long a data server may take; milliseconds.
const PATIENCE: u64 = 10_000;
/// Pieces of one read that are asked for at once.
const AT_ONCE: usize = 32;

type Then = Box<dyn FnOnce(&mut DataManagement, &mut Ctx<DataManagement>, Result<Blob, Fail>) + Send>;

/// What is being read; the requests that asked for it bound it.
#[derive(Default)]
pub struct Gets {
    open: HashMap<u64, Get>,
    reads: HashMap<u64, Read>,
    next: u64,
}

struct Get {
    piece: Piece,
    tried: BTreeSet<ServerNo>,
    /// Who was asked last, and when.
    asked: Option<(ServerNo, u64)>,
    then: Then,
}

struct Read {
    pieces: Vec<Piece>,
    /// As they come.
    bytes: Vec<Option<Blob>>,
    next: usize,
    open: usize,
    then: Then,
}

/// Reads one piece.
pub fn fetch(
    dm: &mut DataManagement,
    ctx: &mut Ctx<DataManagement>,
    piece: Piece,
    then: impl FnOnce(&mut DataManagement, &mut Ctx<DataManagement>, Result<Blob, Fail>) + Send + 'static,
) {
    dm.gets.next += 1;
    let id = dm.gets.next;
    dm.gets.open.insert(id, Get { piece, tried: BTreeSet::new(), asked: None, then: Box::new(then) });
    ask(dm, ctx, id);
}

fn ask(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, id: u64) {
    let Some(get) = dm.gets.open.get_mut(&id) else { return };
    let servers = get.piece.servers.iter().filter(|no| !get.tried.contains(no));
    let servers: Vec<ServerNo> = servers.filter(|no| dm.servers.up.contains_key(no)).copied().collect();
    if servers.is_empty() {
        let fail = Fail::new(Code::Unavailable, "no data server that has these bytes is up; retry later");
        if let Some(get) = dm.gets.open.remove(&id) {
            (get.then)(dm, ctx, Err(fail));
        }
        return;
    }
    let no = servers[ctx.rng().random_range(0..servers.len())];
    get.tried.insert(no);
    get.asked = Some((no, ctx.now()));
    let Piece { hash, offset, length, .. } = get.piece;
    let Some(link) = dm.servers.up.get(&no).map(|server| server.link) else { return };
    let fields = [hash.to_string(), offset.to_string(), length.to_string()];
    let fields = fields.join("~\n");
    ctx.request_body(link, "GETBLOCK", &[], Body::Raw(Raw(fields.as_bytes())), move |dm, ctx, answer| {
        answered(dm, ctx, id, no, answer.map(Body::into_blob));
    });
}

fn answered(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, id: u64, no: ServerNo, bytes: Result<Blob, Fail>) {
    let Some(get) = dm.gets.open.get_mut(&id).filter(|get| get.asked.is_some_and(|(asked, _)| asked == no)) else {
        return;
    };
    match bytes {
        Ok(bytes) if bytes.len() as u64 == u64::from(get.piece.length) => {
            if let Some(get) = dm.gets.open.remove(&id) {
                (get.then)(dm, ctx, Ok(bytes));
            }
        }
        other => {
            let hash = get.piece.hash;
            if let Err(fail) = &other {
                log::warn!("{}: {hash}: {fail}", dm.servers.names.get(&no).map_or("", String::as_str));
                // Of what has rotted the server tells by itself.
                if fail.code == Code::NotFound && !dm.flights.has(no, &hash) {
                    servers::drop_copy(ctx, no, hash, false);
                }
            }
            ask(dm, ctx, id);
        }
    }
}

/// Reads pieces, one after the other as they are given.
pub fn read(
    dm: &mut DataManagement,
    ctx: &mut Ctx<DataManagement>,
    pieces: Vec<Piece>,
    then: impl FnOnce(&mut DataManagement, &mut Ctx<DataManagement>, Result<Blob, Fail>) + Send + 'static,
) {
    let mut pieces = pieces;
    match pieces.len() {
        0 => return then(dm, ctx, Ok(Blob::default())),
        1 => return fetch(dm, ctx, pieces.remove(0), then),
        _ => {}
    }
    dm.gets.next += 1;
    let id = dm.gets.next;
    let bytes = vec![None; pieces.len()];
    dm.gets.reads.insert(id, Read { pieces, bytes, next: 0, open: 0, then: Box::new(then) });
    for _ in 0..AT_ONCE {
        next_piece(dm, ctx, id);
    }
}

fn next_piece(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, id: u64) {
    let Some(read) = dm.gets.reads.get_mut(&id) else { return };
    let at = read.next;
    let Some(piece) = read.pieces.get(at).cloned() else { return };
    read.next += 1;
    read.open += 1;
    fetch(dm, ctx, piece, move |dm, ctx, bytes| {
        let Some(read) = dm.gets.reads.get_mut(&id) else { return };
        read.open -= 1;
        match bytes {
            Ok(bytes) => read.bytes[at] = Some(bytes),
            Err(fail) => {
                if let Some(read) = dm.gets.reads.remove(&id) {
                    (read.then)(dm, ctx, Err(fail));
                }
                return;
            }
        }
        if read.open == 0 && read.next == read.pieces.len() {
            if let Some(read) = dm.gets.reads.remove(&id) {
                let pieces: Vec<Blob> = read.bytes.into_iter().flatten().collect();
                let all = pieces.iter().map(|piece| &**piece).collect::<Vec<&[u8]>>().concat();
                (read.then)(dm, ctx, Ok(Blob::from(all)));
            }
            return;
        }
        next_piece(dm, ctx, id);
    });
}

/// Once a second: who takes too long is asked no more.
pub fn tick(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>) {
    let now = ctx.now();
    let overdue = |get: &Get| get.asked.is_some_and(|(_, since)| now.saturating_sub(since) >= PATIENCE);
    let mut late: Vec<u64> = dm.gets.open.iter().filter(|(_, get)| overdue(get)).map(|(id, _)| *id).collect();
    late.sort_unstable();
    for id in late {
        ask(dm, ctx, id);
    }
}
