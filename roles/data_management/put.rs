//! Storing a block: as many copies as it needs, on servers that take it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;

use super::place;
use super::DataManagement;
use crate::engine::Ctx;
use crate::storage::copies;
use crate::storage::copies::VOLATILE_COPIES;
use crate::storage::Hash;
use crate::storage::Placed;
use crate::storage::ServerNo;
use crate::wire::Blob;
use crate::wire::Body;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// How long a data server may take; milliseconds.
const PATIENCE: u64 = 10_000;
/// Blocks of fewer bytes are hashed at once; the others by a worker.
const SMALL: usize = 16 << 10;

type Then = Box<dyn FnOnce(&mut DataManagement, &mut Ctx<DataManagement>, Result<Placed, Fail>) + Send>;

/// Blocks that are being put; the requests that brought them bound them.
#[derive(Default)]
pub struct Puts {
    open: HashMap<u64, Put>,
    next: u64,
}

struct Put {
    bytes: Blob,
    hash: Hash,
    /// Since when each was asked; Unix milliseconds.
    asked: BTreeMap<ServerNo, u64>,
    tried: BTreeSet<ServerNo>,
    copies: Vec<(ServerNo, u64)>,
    /// One of the copies is where it stays.
    stable: bool,
    then: Then,
}

/// Puts a block (1 byte to 1 MiB). `then` has to give back what it gets, with [`settled`] or [`unused`], once it is committed or not needed.
pub fn put(
    dm: &mut DataManagement,
    ctx: &mut Ctx<DataManagement>,
    bytes: Blob,
    then: impl FnOnce(&mut DataManagement, &mut Ctx<DataManagement>, Result<Placed, Fail>) + Send + 'static,
) {
    if bytes.len() < SMALL {
        let hash = Hash(bytes.hash());
        return begin(dm, ctx, bytes, hash, Box::new(then));
    }
    let shared = bytes.clone();
    ctx.heavy(
        move || Ok(Hash(shared.hash())),
        move |dm, ctx, hash| match hash {
            Ok(hash) => begin(dm, ctx, bytes, hash, Box::new(then)),
            Err(fail) => then(dm, ctx, Err(fail)),
        },
    );
}

fn begin(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, bytes: Blob, hash: Hash, then: Then) {
    dm.puts.next += 1;
    let id = dm.puts.next;
    let put =
        Put { bytes, hash, asked: BTreeMap::new(), tried: BTreeSet::new(), copies: Vec::new(), stable: false, then };
    dm.puts.open.insert(id, put);
    step(dm, ctx, id);
}

/// Sends the block to whom it is to go next, or is done.
fn step(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, id: u64) {
    let candidates = dm.candidates();
    let Some(put) = dm.puts.open.get_mut(&id) else { return };
    let size = put.bytes.len() as u64;
    if put.stable || put.copies.len() >= VOLATILE_COPIES {
        return finish(dm, ctx, id, None);
    }
    let stable_asked = put.asked.keys().any(|no| candidates.iter().any(|one| one.server == *no && !one.volatile));
    let have = put.copies.len() + put.asked.len();
    let next = match stable_asked {
        true => Vec::new(),
        false => place::choose(ctx.rng(), &candidates, size, have, |no| put.tried.contains(&no), false),
    };
    if next.is_empty() && put.asked.is_empty() {
        let fail = Fail::new(Code::Unavailable, "not enough data servers are up and have room; retry later");
        return finish(dm, ctx, id, Some(fail));
    }
    for no in next {
        send(dm, ctx, id, no);
    }
}

fn send(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, id: u64, no: ServerNo) {
    let (Some(put), Some(server)) = (dm.puts.open.get_mut(&id), dm.servers.up.get_mut(&no)) else { return };
    put.asked.insert(no, ctx.now());
    put.tried.insert(no);
    let (size, hash, bytes) = (put.bytes.len() as u64, put.hash, put.bytes.clone());
    server.coming = server.coming.saturating_add(size);
    dm.flights.begin(no, hash);
    ctx.request_body(server.link, "PUTBLOCK", &[], Body::Blob(bytes), move |dm, ctx, answer| {
        if let Some(server) = dm.servers.up.get_mut(&no) {
            server.coming = server.coming.saturating_sub(size);
        }
        let seq = answer.and_then(|answer| sequence(answer.short()?, &hash));
        answered(dm, ctx, id, no, hash, size, seq);
    });
}

/// The number of a put, from its answer.
///
/// # Errors
/// INTERNAL when the server names another block.
pub fn sequence(answer: Raw<'_>, hash: &Hash) -> Result<u64, Fail> {
    let [name, seq] = answer.take()?;
    match name.text()? == hash.to_string() {
        true => seq.number(),
        false => Err(Fail::internal("a data server names a block by another hash")),
    }
}

fn answered(
    dm: &mut DataManagement,
    ctx: &mut Ctx<DataManagement>,
    id: u64,
    no: ServerNo,
    hash: Hash,
    size: u64,
    seq: Result<u64, Fail>,
) {
    if let (Some(server), Ok(_)) = (dm.servers.up.get_mut(&no), &seq) {
        server.got(hash);
    }
    let stable = dm.candidates().iter().any(|one| one.server == no && !one.volatile);
    let put = dm.puts.open.get_mut(&id);
    let Some(put) = put.filter(|put| put.asked.contains_key(&no)) else {
        // Too late: another server has it. `tick` has ended this flight.
        if let Ok(seq) = seq {
            let size = u32::try_from(size).unwrap_or(u32::MAX);
            dm.flights.begin(no, hash);
            unused(dm, ctx, Placed { hash, size, copies: vec![(no, seq)] });
        }
        return;
    };
    put.asked.remove(&no);
    match seq {
        Ok(seq) => {
            put.copies.push((no, seq));
            put.stable |= stable;
        }
        Err(fail) => {
            log::warn!("{}: a block was not put: {fail}", dm.servers.names.get(&no).map_or("", String::as_str));
            dm.flights.end(no, hash);
        }
    }
    step(dm, ctx, id);
}

fn finish(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, id: u64, fail: Option<Fail>) {
    let Some(put) = dm.puts.open.remove(&id) else { return };
    // Those that are still asked answer too late.
    put.asked.keys().for_each(|no| dm.flights.end(*no, put.hash));
    let size = u32::try_from(put.bytes.len()).unwrap_or(u32::MAX);
    let placed = Placed { hash: put.hash, size, copies: put.copies };
    match fail {
        None => (put.then)(dm, ctx, Ok(placed)),
        Some(fail) => {
            unused(dm, ctx, placed);
            (put.then)(dm, ctx, Err(fail));
        }
    }
}

/// A block that was put is committed, or is garbage in the database.
pub fn settled(dm: &mut DataManagement, placed: &Placed) {
    placed.copies.iter().for_each(|(no, _)| dm.flights.end(*no, placed.hash));
}

/// A block that was put is not needed.
pub fn unused(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, placed: Placed) {
    if placed.copies.is_empty() {
        return settled(dm, &placed);
    }
    let garbage = placed.clone();
    ctx.store(move |db| copies::unused(db, &garbage), move |dm, _, _| settled(dm, &placed));
}

/// Once a second: who takes too long is asked no more.
pub fn tick(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>) {
    let now = ctx.now();
    let mut late = Vec::new();
    for (id, put) in &mut dm.puts.open {
        let overdue = put.asked.iter().filter(|(_, since)| now.saturating_sub(**since) >= PATIENCE);
        let overdue: Vec<ServerNo> = overdue.map(|(no, _)| *no).collect();
        for no in overdue {
            put.asked.remove(&no);
            late.push((*id, no, put.hash));
        }
    }
    // The table has no order, and a simulation runs alike each time.
    late.sort_unstable();
    for (id, no, hash) in late {
        dm.flights.end(no, hash);
        step(dm, ctx, id);
    }
}
