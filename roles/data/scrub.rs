//! The scrub: all blocks are read once in `data.scrub_days`, in the order of their names, so that what rots is found while there are
//! other copies. How far it is is kept.

use std::collections::VecDeque;
use std::sync::Arc;

use rusqlite::params;
use rusqlite::OptionalExtension;

use super::centre;
use super::Data;
use crate::blocks::Error;
use crate::blocks::Hash;
use crate::blocks::Listed;
use crate::engine::Ctx;
use crate::wire::Fail;

/// How far the scrub is.
pub const SCHEMA: &str = "
CREATE TABLE scrub (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    after BLOB NOT NULL                   -- the last block that was read; empty: it begins
) STRICT;
";

/// Blocks that are listed at once.
const PAGE: usize = 256;
/// It reads this much at least, in bytes a second.
const SLOWEST: u64 = 1 << 10;
/// It never saves up more than this, in bytes.
const BURST: u64 = 8 << 20;
const DAY: u64 = 24 * 60 * 60;

/// Where the scrub is.
#[derive(Default)]
pub struct Scrub {
    loaded: bool,
    after: Option<Hash>,
    page: VecDeque<Listed>,
    /// Bytes that may be read now.
    credit: u64,
    busy: bool,
    /// Blocks that had rotted, since the start.
    rotten: u64,
}

/// Reads how far it was.
pub fn load(_: &mut Data, ctx: &mut Ctx<Data>) {
    ctx.query(
        |db| {
            let after = db.query_row("SELECT after FROM scrub", [], |row| row.get::<_, Vec<u8>>(0));
            after.optional().map_err(Fail::internal)
        },
        |data, _, after| {
            data.scrub.loaded = true;
            let after = after.ok().flatten().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            data.scrub.after = after.map(Hash);
        },
    );
}

/// Once a second: as much as there is credit for.
pub fn tick(data: &mut Data, ctx: &mut Ctx<Data>) {
    let used = data.told.map_or(0, |usage| usage.used);
    let pace = (used / data.settings.scrub_days.saturating_mul(DAY).max(1)).max(SLOWEST);
    let scrub = &mut data.scrub;
    scrub.credit = scrub.credit.saturating_add(pace).min(BURST.max(pace));
    go_on(data, ctx);
}

fn go_on(data: &mut Data, ctx: &mut Ctx<Data>) {
    let scrub = &mut data.scrub;
    // What it finds is of no use without data management.
    if scrub.busy || !scrub.loaded || ctx.is_stopping() || data.centre.link().is_none() {
        return;
    }
    match scrub.page.front().map(|block| (block.hash, u64::from(block.size))) {
        Some((hash, size)) if size <= scrub.credit => {
            scrub.credit -= size;
            scrub.page.pop_front();
            scrub.busy = true;
            read(data, ctx, hash);
        }
        Some(_) => {}
        None => {
            scrub.busy = true;
            turn_page(data, ctx);
        }
    }
}

fn read(data: &Data, ctx: &mut Ctx<Data>, hash: Hash) {
    let store = Arc::clone(&data.store);
    ctx.heavy(
        move || Ok(store.get(&hash).map(drop)),
        move |data, ctx, read| {
            data.scrub.busy = false;
            data.scrub.after = Some(hash);
            match read {
                Ok(Err(Error::Rotten)) => {
                    data.scrub.rotten += 1;
                    centre::rotten(data, ctx, &hash);
                }
                Ok(Err(Error::Io(cause))) => log::error!("scrub: {hash}: {cause}"),
                _ => {}
            }
            go_on(data, ctx);
        },
    );
}

/// The blocks behind those that were read; how far it is is kept.
fn turn_page(data: &mut Data, ctx: &mut Ctx<Data>) {
    let (store, after) = (Arc::clone(&data.store), data.scrub.after);
    if let Some(after) = after {
        ctx.store(
            move |db| {
                let text =
                    "INSERT INTO scrub (one, after) VALUES (1, ?1) ON CONFLICT DO UPDATE SET after = excluded.after";
                db.execute(text, params![after.0]).map_err(Fail::internal)
            },
            |_, _, _| {},
        );
    }
    ctx.heavy(
        move || store.list(after.as_ref(), PAGE).map_err(Fail::from),
        |data, _, page| {
            let scrub = &mut data.scrub;
            scrub.busy = false;
            match page {
                // The end: from the beginning, at the next tick.
                Ok(page) if page.is_empty() => scrub.after = None,
                Ok(page) => scrub.page = page.into(),
                Err(_) => {}
            }
        },
    );
}
