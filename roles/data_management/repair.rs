//! Repair: blocks with fewer live copies than they need are copied, from server to server where that goes, else through here. A server that
//! is off counts for `grace`, as most come back. And surplus copies go.

use std::collections::VecDeque;

use aws_lc_rs::hmac;
use rand::RngExt;

use super::get;
use super::place;
use super::put;
use super::DataManagement;
use crate::engine::Ctx;
use crate::storage::copies;
use crate::storage::copies::Copies;
use crate::storage::copies::Cursor;
use crate::storage::Hash;
use crate::storage::Piece;
use crate::storage::Placed;
use crate::storage::ServerNo;
use crate::wire::hex;
use crate::wire::Body;
use crate::wire::Code;
use crate::wire::Fail;

/// Blocks that are read from the database at once, and copies under way at once.
const PAGE: u64 = 64;
const AT_ONCE: usize = 8;
/// How often all is looked over, when nothing calls for it; milliseconds.
const EVERY: u64 = 30_000;
/// How soon after a pass that left something; milliseconds.
const AGAIN: u64 = 5_000;
/// A ticket is good for so long, as clocks differ; milliseconds.
const TICKET: u64 = 600_000;

/// Where the repair is.
#[derive(Default)]
pub struct Repair {
    wanted: bool,
    next: u64,
    walking: bool,
    queue: VecDeque<Copies>,
    cursor: Option<Cursor>,
    open: usize,
    left: u64,
    /// Copies made since the start.
    pub made: u64,
}

impl Repair {
    /// There may be something to repair.
    pub fn wake(&mut self) {
        self.wanted = true;
    }

    /// Whether a pass is under way.
    pub fn is_walking(&self) -> bool {
        self.walking
    }
}

/// Once a second: begins a pass, when it is time.
pub fn tick(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>) {
    let now = ctx.now();
    let due = dm.repair.wanted || now >= dm.repair.next;
    if dm.repair.walking || !due || ctx.is_stopping() || dm.servers.up.is_empty() {
        return;
    }
    dm.repair.wanted = false;
    dm.repair.next = now.saturating_add(EVERY);
    dm.repair.walking = true;
    dm.repair.left = 0;
    page(dm, ctx, Cursor::default());
}

fn page(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, after: Cursor) {
    let live = dm.live(ctx.now(), dm.settings.grace);
    ctx.query(
        move |db| copies::short(db, &live, after, PAGE),
        |dm, ctx, found| match found {
            Ok(found) => {
                dm.repair.queue = found.rows.into();
                dm.repair.cursor = found.next;
                go_on(dm, ctx);
            }
            Err(_) => finish(dm, ctx),
        },
    );
}

fn go_on(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>) {
    while dm.repair.open < AT_ONCE {
        let Some(block) = dm.repair.queue.pop_front() else { break };
        mend(dm, ctx, &block);
    }
    if dm.repair.open == 0 && dm.repair.queue.is_empty() && dm.repair.walking {
        match dm.repair.cursor.take() {
            Some(cursor) => page(dm, ctx, cursor),
            None => surplus(dm, ctx, Cursor::default()),
        }
    }
}

/// Makes the copies that a block lacks.
fn mend(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, block: &Copies) {
    let live = dm.live(ctx.now(), dm.settings.grace);
    let of = |no: ServerNo| live.iter().find(|one| one.server == no);
    let alive: Vec<ServerNo> = block.copies.iter().map(|(no, _)| *no).filter(|no| of(*no).is_some()).collect();
    let from: Vec<ServerNo> = alive.iter().copied().filter(|no| dm.servers.up.contains_key(no)).collect();
    let avoid = |no: ServerNo| block.copies.iter().any(|(has, _)| *has == no) || dm.flights.has(no, &block.hash);
    let candidates = dm.candidates();
    let targets = place::choose(ctx.rng(), &candidates, u64::from(block.size), alive.len(), avoid, true);
    if from.is_empty() || targets.is_empty() {
        dm.repair.left += 1;
        return;
    }
    for target in targets {
        let source = from[ctx.rng().random_range(0..from.len())];
        copy(dm, ctx, block, &from, source, target);
    }
}

fn copy(
    dm: &mut DataManagement,
    ctx: &mut Ctx<DataManagement>,
    block: &Copies,
    from: &[ServerNo],
    source: ServerNo,
    target: ServerNo,
) {
    let (Some(gives), Some(takes)) = (dm.servers.up.get(&source), dm.servers.up.get(&target)) else { return };
    let link = takes.link;
    let (hash, size) = (block.hash, block.size);
    let fields = [
        hash.to_string(),
        size.to_string(),
        gives.name.clone(),
        dm.address_for(ctx, gives, link),
        hex::encode(&gives.fingerprint),
        ticket(&gives.key, &hash, ctx.now().saturating_add(TICKET), &takes.name),
    ];
    let fields: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
    dm.repair.open += 1;
    dm.flights.begin(target, hash);
    let from = from.to_vec();
    ctx.request(link, "COPYBLOCK", &fields, move |dm, ctx, answer| match answer.and_then(|seq| seq.number()) {
        Ok(seq) => made(dm, ctx, target, hash, seq),
        Err(fail) => {
            log::debug!("{hash} is not copied from server to server: {fail}");
            through_here(dm, ctx, Piece { hash, offset: 0, length: size, servers: from }, target);
        }
    });
}

/// `until|hex HMAC-SHA256(key of the server that gives, hash LF until LF id of the one that asks)`.
fn ticket(key: &[u8; 32], hash: &Hash, until: u64, asks: &str) -> String {
    let sum = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), format!("{hash}\n{until}\n{asks}").as_bytes());
    format!("{until}|{}", hex::encode(sum.as_ref()))
}

/// The two servers do not reach each other.
fn through_here(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, piece: Piece, target: ServerNo) {
    let hash = piece.hash;
    get::fetch(dm, ctx, piece, move |dm, ctx, bytes| {
        let link = dm.servers.up.get(&target).map(|server| server.link);
        let (bytes, link) = match (bytes, link) {
            (Ok(bytes), Some(link)) => (bytes, link),
            (Err(fail), _) => return failed(dm, ctx, target, hash, &fail),
            (_, None) => return failed(dm, ctx, target, hash, &Fail::new(Code::Unavailable, "it is gone")),
        };
        ctx.request_body(link, "PUTBLOCK", &[], Body::Blob(bytes), move |dm, ctx, answer| {
            match answer.and_then(|answer| put::sequence(answer.short()?, &hash)) {
                Ok(seq) => made(dm, ctx, target, hash, seq),
                Err(fail) => failed(dm, ctx, target, hash, &fail),
            }
        });
    });
}

fn made(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, target: ServerNo, hash: Hash, seq: u64) {
    if let Some(server) = dm.servers.up.get_mut(&target) {
        server.got(hash);
    }
    ctx.store(
        move |db| copies::add(db, &hash, target, seq),
        move |dm, ctx, added| {
            put::settled(dm, &Placed { hash, size: 0, copies: vec![(target, seq)] });
            match added {
                Ok(_) => dm.repair.made += 1,
                Err(_) => dm.repair.left += 1,
            }
            done(dm, ctx);
        },
    );
}

fn failed(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, target: ServerNo, hash: Hash, fail: &Fail) {
    log::warn!("{hash} cannot be copied: {fail}");
    dm.flights.end(target, hash);
    dm.repair.left += 1;
    done(dm, ctx);
}

fn done(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>) {
    dm.repair.open = dm.repair.open.saturating_sub(1);
    go_on(dm, ctx);
}

/// Copies that are not needed go, as long as those that stay are up at this moment, and known to be there: a server that has come
/// back may have lost what it had, and counts when its blocks were compared.
fn surplus(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, after: Cursor) {
    let mut live = dm.live(ctx.now(), 0);
    live.retain(|one| dm.servers.up.get(&one.server).is_some_and(|server| server.fresh.is_none()));
    ctx.query(
        move |db| copies::surplus(db, &live, after, PAGE),
        move |dm, ctx, found| {
            let Ok(found) = found else { return finish(dm, ctx) };
            let rows: Vec<Copies> = found.rows;
            if rows.is_empty() {
                return match found.next {
                    Some(next) => surplus(dm, ctx, next),
                    None => finish(dm, ctx),
                };
            }
            let next = found.next;
            ctx.store(
                move |db| {
                    for block in &rows {
                        for (no, seq) in &block.copies {
                            copies::drop_copy(db, &block.hash, *no, *seq, true)?;
                        }
                    }
                    Ok(())
                },
                move |dm, ctx, dropped| match (dropped, next) {
                    (Ok(()), Some(next)) => surplus(dm, ctx, next),
                    _ => finish(dm, ctx),
                },
            );
        },
    );
}

fn finish(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>) {
    dm.repair.walking = false;
    if dm.repair.left > 0 {
        dm.repair.next = dm.repair.next.min(ctx.now().saturating_add(AGAIN));
    }
}
