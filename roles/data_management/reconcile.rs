//! At every connect of a data server: what it has against what the database says it has, a page of names after the other. What is missing
//! there counts no more, and is repaired; what nobody knows is deleted; what is of another put has its number noted. Either side may have been killed at any moment, or have lost its disk.

use std::collections::HashMap;
use std::collections::HashSet;

use super::collect;
use super::DataManagement;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::storage::copies;
use crate::storage::Hash;
use crate::storage::ServerNo;
use crate::wire::Fail;
use crate::wire::Raw;
use rusqlite::Connection;

/// Names of one page.
const PAGE: u64 = 1_024;
/// How soon a page that failed is asked for again; milliseconds.
const AGAIN: u64 = 2_000;

/// Compares all, from the first name.
pub fn begin(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, no: ServerNo, link: LinkId) {
    page(dm, ctx, no, link, None);
}

fn is_there(dm: &DataManagement, no: ServerNo, link: LinkId) -> bool {
    dm.servers.up.get(&no).is_some_and(|server| server.link == link)
}

fn page(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, no: ServerNo, link: LinkId, after: Option<Hash>) {
    let Some(server) = dm.servers.up.get_mut(&no).filter(|server| server.link == link) else { return };
    server.fresh = Some(HashSet::new());
    let (from, count) = (after.map(|hash| hash.to_string()).unwrap_or_default(), PAGE.to_string());
    ctx.request(link, "LISTBLOCKS", &[from.as_bytes(), count.as_bytes()], move |dm, ctx, answer| {
        let listed = match answer.and_then(parse) {
            Ok(listed) => listed,
            Err(fail) => return again(dm, ctx, no, link, after, &fail),
        };
        // The last page: up to the end of all names.
        let until = listed.last().map(|(hash, _)| *hash).filter(|_| listed.len() as u64 == PAGE);
        // What is on its way at this moment may be committed before the query, or after it.
        let under_way: HashSet<Hash> = dm.flights.to(no).collect();
        ctx.query(
            move |db| known(db, no, after, until),
            move |dm, ctx, known| match known {
                Ok(known) => compare(dm, ctx, no, link, &listed, &known, &under_way, until),
                Err(fail) => again(dm, ctx, no, link, after, &fail),
            },
        );
    });
}

fn again(
    dm: &DataManagement,
    ctx: &mut Ctx<DataManagement>,
    no: ServerNo,
    link: LinkId,
    after: Option<Hash>,
    fail: &Fail,
) {
    if is_there(dm, no, link) && ctx.is_open(link) {
        log::warn!("{}: its blocks cannot be compared: {fail}", dm.servers.names.get(&no).map_or("", String::as_str));
        ctx.after(AGAIN, move |dm, ctx| page(dm, ctx, no, link, after));
    }
}

fn parse(answer: Raw<'_>) -> Result<Vec<(Hash, u64)>, Fail> {
    let text = answer.text()?;
    let line = |line: &str| match line.split('|').collect::<Vec<_>>()[..] {
        [hash, _, seq] => Some((Hash::parse(hash)?, seq.parse().ok()?)),
        _ => None,
    };
    let listed: Option<Vec<(Hash, u64)>> = text.lines().map(line).collect();
    let listed = listed.filter(|listed| listed.is_sorted_by(|a, b| a.0 < b.0));
    listed.ok_or_else(|| Fail::bad_args("lines hash|size|seq in the order of hashes"))
}

fn known(db: &Connection, no: ServerNo, after: Option<Hash>, until: Option<Hash>) -> Result<HashMap<Hash, u64>, Fail> {
    let (mut all, mut from) = (HashMap::new(), after);
    loop {
        let page = copies::placements(db, no, from.as_ref(), until.as_ref(), PAGE)?;
        all.extend(page.rows);
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok(all),
        }
    }
}

#[allow(clippy::too_many_arguments)]
fn compare(
    dm: &mut DataManagement,
    ctx: &mut Ctx<DataManagement>,
    no: ServerNo,
    link: LinkId,
    listed: &[(Hash, u64)],
    known: &HashMap<Hash, u64>,
    under_way: &HashSet<Hash>,
    until: Option<Hash>,
) {
    let Some(server) = dm.servers.up.get(&no).filter(|server| server.link == link) else { return };
    let moving = |hash: &Hash| {
        under_way.contains(hash)
            || server.fresh.as_ref().is_some_and(|fresh| fresh.contains(hash))
            || dm.flights.has(no, hash)
    };
    let here: HashSet<Hash> = listed.iter().map(|(hash, _)| *hash).collect();
    let mut missing: Vec<(Hash, u64)> = known
        .iter()
        .filter(|(hash, _)| !here.contains(*hash) && !moving(hash))
        .map(|(hash, seq)| (*hash, *seq))
        .collect();
    missing.sort_unstable();
    let unknown: Vec<(Hash, u64)> =
        listed.iter().filter(|(hash, _)| !known.contains_key(hash) && !moving(hash)).copied().collect();
    // Of another put than is known: by the number that is known it could not be deleted.
    let other: Vec<(Hash, u64, u64)> = listed
        .iter()
        .filter_map(|(hash, now)| Some((*hash, *known.get(hash)?, *now)))
        .filter(|(hash, was, now)| was != now && !moving(hash))
        .collect();
    let name = server.name.clone();
    if !unknown.is_empty() {
        log::info!("{name}: {} blocks that belong to nothing are deleted", unknown.len());
        delete(ctx, link, collect::lines(&unknown));
    }
    if missing.is_empty() && other.is_empty() {
        return next(dm, ctx, no, link, until);
    }
    if !missing.is_empty() {
        log::warn!("{name}: {} blocks are missing", missing.len());
    }
    ctx.store(
        move |db| {
            missing.iter().try_for_each(|(hash, seq)| copies::drop_copy(db, hash, no, *seq, false).map(drop))?;
            other.iter().try_for_each(|(hash, was, now)| copies::renumber(db, hash, no, *was, *now))
        },
        move |dm, ctx, _| {
            dm.repair.wake();
            next(dm, ctx, no, link, until);
        },
    );
}

/// Deletes them, and tries again for as long as the server says no: they are named with their seq, so that one of them that was put
/// again since stays.
fn delete(ctx: &mut Ctx<DataManagement>, link: LinkId, lines: String) {
    if !ctx.is_open(link) {
        return;
    }
    let bytes = lines.clone();
    ctx.request(link, "DELETEBLOCKS", &[bytes.as_bytes()], move |_, ctx, answer| {
        if answer.is_err() {
            ctx.after(AGAIN, move |_, ctx| delete(ctx, link, lines));
        }
    });
}

fn next(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, no: ServerNo, link: LinkId, until: Option<Hash>) {
    match until {
        Some(last) => page(dm, ctx, no, link, Some(last)),
        None => {
            if let Some(server) = dm.servers.up.get_mut(&no).filter(|server| server.link == link) {
                server.fresh = None;
                log::info!("{}: its blocks were compared", server.name);
            }
            dm.repair.wake();
        }
    }
}
