//! Blocks: where their copies are, which have too few or too many, and what data servers shall delete.

use std::collections::HashMap;

use rusqlite::params;
use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Row;

use super::prepare;
use super::sql;
use super::unsql;
use super::Hash;
use super::Placed;
use super::ServerNo;
use crate::wire::Fail;

/// The copies that a block needs when none of them is on a server that keeps its data.
pub const VOLATILE_COPIES: usize = 3;

/// A data server that counts as live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Live {
    /// Its number.
    pub server: ServerNo,
    /// It may lose what it has: [`VOLATILE_COPIES`] copies are needed.
    pub volatile: bool,
}

/// Where a walk over blocks goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The place.
    pub place: u64,
    /// The last block.
    pub block: u64,
}

/// A block, and all its copies, live or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copies {
    /// Its name.
    pub hash: Hash,
    /// Its bytes.
    pub size: u32,
    /// Where it is, in order of servers, and the numbers of the puts.
    pub copies: Vec<(ServerNo, u64)>,
}

/// A part of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, C> {
    /// What was found.
    pub rows: Vec<T>,
    /// Where to go on; `None`: that was the end.
    pub next: Option<C>,
}

/// How all blocks are, told from places alone: cheap however many blocks there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Blocks.
    pub blocks: u64,
    /// Their bytes, each block counted once.
    pub bytes: u64,
    /// Blocks with a live copy, but fewer than needed.
    pub short: u64,
    /// Blocks without a live copy.
    pub lost: u64,
    /// Blocks with more live copies than needed.
    pub surplus: u64,
}

impl Cursor {
    fn new(place: i64, block: i64) -> Cursor {
        Cursor { place: unsql(place), block: unsql(block) }
    }
}

/// Store lane. The number of a data server, made at its first use.
pub fn server(db: &Connection, id: &str) -> Result<ServerNo, Fail> {
    let there = prepare(db, "SELECT no FROM servers WHERE id = ?1")?.query_row([id], |row| row.get(0)).optional();
    if let Some(no) = there.map_err(Fail::internal)? {
        return Ok(no);
    }
    prepare(db, "INSERT INTO servers (id) VALUES (?1) RETURNING no")?
        .query_row([id], |row| row.get(0))
        .map_err(Fail::internal)
}

/// All data servers that have a number.
pub fn servers(db: &Connection) -> Result<Vec<(ServerNo, String)>, Fail> {
    prepare(db, "SELECT no, id FROM servers ORDER BY no")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect)
        .map_err(Fail::internal)
}

/// Blocks and bytes that a server has copies of.
pub fn held(db: &Connection, server: ServerNo) -> Result<(u64, u64), Fail> {
    let with = places(db, 0)?.into_iter().filter(|place| place.servers.contains(&server));
    Ok(with.fold((0, 0), |(blocks, bytes), place| (blocks + place.blocks, bytes + place.bytes)))
}

/// How all blocks are. `live`: in order of servers.
pub fn health(db: &Connection, live: &[Live]) -> Result<Health, Fail> {
    let mut health = Health::default();
    for place in places(db, 0)? {
        health.blocks += place.blocks;
        health.bytes += place.bytes;
        match Standing::of(&place.servers, live) {
            Standing::Lost => health.lost += place.blocks,
            Standing::Short => health.short += place.blocks,
            Standing::Good => {}
            Standing::Surplus => health.surplus += place.blocks,
        }
    }
    Ok(health)
}

/// Blocks that have a live copy but fewer than needed, behind `after`, at most `count`, and where to go on; `None`:
/// that was the end. What it costs depends on what it returns and the number of places, not on the number of blocks.
pub fn short(db: &Connection, live: &[Live], after: Cursor, count: u64) -> Result<Page<Copies, Cursor>, Fail> {
    walk(db, after, count, |place| Standing::of(&place.servers, live) == Standing::Short)
}

/// Blocks with more live copies than needed, with those that can go as `copies`; otherwise as [`short`].
pub fn surplus(db: &Connection, live: &[Live], after: Cursor, count: u64) -> Result<Page<Copies, Cursor>, Fail> {
    let mut page = walk(db, after, count, |place| Standing::of(&place.servers, live) == Standing::Surplus)?;
    for block in &mut page.rows {
        let here: Vec<Live> =
            live.iter().copied().filter(|l| block.copies.iter().any(|(no, _)| *no == l.server)).collect();
        let mut keeping: Vec<ServerNo> = here.iter().filter(|l| !l.volatile).map(|l| l.server).collect();
        let keep = if keeping.is_empty() { VOLATILE_COPIES } else { 1 };
        if keeping.is_empty() {
            keeping = here.iter().map(|l| l.server).collect();
        }
        // Not the first ones for every block: servers shall be freed evenly.
        let turn = usize::from(block.hash.0[0]) % keeping.len().max(1);
        keeping.rotate_left(turn);
        keeping.truncate(keep);
        block.copies.retain(|(no, _)| here.iter().any(|l| l.server == *no) && !keeping.contains(no));
    }
    Ok(page)
}

/// The copies of a server in order of hashes: those behind `after` up to `until` (`None`: all), at most `count`; and
/// where to go on (`None`: that was the end). One call looks at no more than 10 × `count` blocks, so it may return few
/// and go on.
pub fn placements(
    db: &Connection,
    server: ServerNo,
    after: Option<&Hash>,
    until: Option<&Hash>,
    count: u64,
) -> Result<Page<(Hash, u64), Hash>, Fail> {
    let with: HashMap<i64, usize> = places(db, 0)?
        .iter()
        .filter_map(|place| Some((place.id, place.servers.iter().position(|no| *no == server)?)))
        .collect();
    let after = after.map_or(&[][..], |hash| &hash.0);
    let until = until.map_or(&[0xff; 32], |hash| &hash.0);
    let most = count.saturating_mul(10);
    let mut statement =
        prepare(db, "SELECT hash, place, seqs FROM blocks WHERE hash > ?1 AND hash <= ?2 ORDER BY hash LIMIT ?3")?;
    let mut rows = statement.query(params![after, until, sql(most)]).map_err(Fail::internal)?;
    let (mut page, mut seen) = (Page { rows: Vec::new(), next: None }, 0);
    while let Some(row) = rows.next().map_err(Fail::internal)? {
        let (hash, place, seqs): ([u8; 32], i64, Vec<u8>) = three(row).map_err(Fail::internal)?;
        seen += 1;
        if let Some(at) = with.get(&place) {
            page.rows.push((Hash(hash), seq_at(&seqs, *at)));
        }
        if seen == most || page.rows.len() as u64 == count {
            page.next = Some(Hash(hash));
            break;
        }
    }
    Ok(page)
}

/// A block, if there is one of that name.
pub fn find(db: &Connection, hash: &Hash) -> Result<Option<Copies>, Fail> {
    Ok(block(db, hash)?.map(|block| Copies { hash: *hash, size: block.size, copies: block.copies }))
}

/// Store lane. A copy of a block is on a server, too. False: there is no such block any more, and the copy is garbage
/// now.
pub fn add(db: &Connection, hash: &Hash, server: ServerNo, seq: u64) -> Result<bool, Fail> {
    let Some(mut block) = block(db, hash)? else {
        waste(db, hash, server, seq)?;
        return Ok(false);
    };
    let merged = merge(db, hash, &block.copies, &[(server, seq)])?;
    set_copies(db, &mut block, merged)?;
    Ok(true)
}

/// Store lane. A copy is not, or must not be, on a server: its row goes, if it is not of a later put than `seq`, and
/// with `delete` the server is told to delete it. False: there was no such copy.
pub fn drop_copy(db: &Connection, hash: &Hash, server: ServerNo, seq: u64, delete: bool) -> Result<bool, Fail> {
    let Some(mut block) = block(db, hash)? else { return Ok(false) };
    let Some((_, had)) = block.copies.iter().copied().find(|(no, had)| *no == server && *had <= seq) else {
        return Ok(false);
    };
    let left = block.copies.iter().copied().filter(|(no, _)| *no != server).collect();
    set_copies(db, &mut block, left)?;
    if delete {
        waste(db, hash, server, had.max(seq))?;
    }
    Ok(true)
}

/// Store lane. A server has its copy of another put than was known, whether of a later one that was cut off before its commit, or
/// because one side was started from a backup. Nothing happens if the row has changed since `was` was read.
pub fn renumber(db: &Connection, hash: &Hash, server: ServerNo, was: u64, now: u64) -> Result<(), Fail> {
    if let Some(mut block) = block(db, hash)? {
        if let Some(copy) = block.copies.iter().position(|copy| *copy == (server, was)) {
            let mut copies = block.copies.clone();
            copies[copy].1 = now;
            return set_copies(db, &mut block, copies);
        }
    }
    let text = "UPDATE garbage SET seq = ?4 WHERE server = ?1 AND hash = ?2 AND seq = ?3";
    prepare(db, text)?.execute(params![server, hash.0, sql(was), sql(now)]).map(drop).map_err(Fail::internal)
}

/// Store lane. A block was put and is not used: the copies that no row knows become garbage.
pub fn unused(db: &Connection, placed: &Placed) -> Result<(), Fail> {
    let Some(mut block) = block(db, &placed.hash)? else {
        return placed.copies.iter().try_for_each(|(server, seq)| waste(db, &placed.hash, *server, *seq));
    };
    // A server that has the block for somebody else: it is the same one, of a later put now.
    let (same, other): (Vec<_>, Vec<_>) =
        placed.copies.iter().copied().partition(|(no, _)| block.copies.iter().any(|(has, _)| has == no));
    let merged = merge(db, &placed.hash, &block.copies, &same)?;
    set_copies(db, &mut block, merged)?;
    other.iter().try_for_each(|(server, seq)| waste(db, &placed.hash, *server, *seq))
}

/// Store lane. A server was removed for good: `count` of its copies, and its garbage, go. True: there is more.
pub fn forget(db: &Connection, server: ServerNo, count: u64) -> Result<bool, Fail> {
    let mut left = count.max(1);
    let mut after = Cursor::default();
    loop {
        let page = walk(db, after, left, |place| place.servers.contains(&server))?;
        for copies in &page.rows {
            drop_copy(db, &copies.hash, server, u64::MAX, false)?;
        }
        left = left.saturating_sub(page.rows.len() as u64);
        match page.next {
            Some(_) if left == 0 => return Ok(true),
            Some(next) => after = next,
            None => break,
        }
    }
    let gone = prepare(
        db,
        "DELETE FROM garbage WHERE server = ?1 AND hash IN (SELECT hash FROM garbage WHERE server = ?1 LIMIT ?2)",
    )?
    .execute(params![server, sql(left)])
    .map_err(Fail::internal)?;
    if gone as u64 == left {
        return Ok(true);
    }
    prepare(db, "DELETE FROM servers WHERE no = ?1")?.execute([server]).map_err(Fail::internal)?;
    Ok(false)
}

/// What a server shall delete, at most `count`. A block of this name may be on its way again: the caller leaves out
/// those that it is putting there just now.
pub fn garbage(db: &Connection, server: ServerNo, count: u64) -> Result<Vec<(Hash, u64)>, Fail> {
    prepare(db, "SELECT hash, seq FROM garbage WHERE server = ?1 ORDER BY hash LIMIT ?2")?
        .query_map(params![server, sql(count)], |row| Ok((Hash(row.get(0)?), unsql(row.get(1)?))))
        .and_then(Iterator::collect)
        .map_err(Fail::internal)
}

/// Store lane. A server has deleted these, or has them only of a later put.
pub fn garbage_gone(db: &Connection, server: ServerNo, gone: &[(Hash, u64)]) -> Result<(), Fail> {
    let mut statement = prepare(db, "DELETE FROM garbage WHERE server = ?1 AND hash = ?2 AND seq <= ?3")?;
    for (hash, seq) in gone {
        statement.execute(params![server, hash.0, sql(*seq)]).map_err(Fail::internal)?;
    }
    Ok(())
}

/// One extent more points to a block: its number. Its copies are those known and those of this put.
pub(super) fn refer(db: &Connection, placed: &Placed) -> Result<i64, Fail> {
    let Some(mut block) = block(db, &placed.hash)? else {
        let copies = merge(db, &placed.hash, &[], &placed.copies)?;
        let place = enter_place(db, &copies, placed.size)?;
        prepare(db, "INSERT INTO blocks (hash, size, refs, place, seqs) VALUES (?1, ?2, 1, ?3, ?4)")?
            .execute(params![placed.hash.0, placed.size, place, seqs_of(&copies)])
            .map_err(Fail::internal)?;
        return Ok(db.last_insert_rowid());
    };
    if block.size != placed.size {
        return Err(Fail::internal("two blocks of one name and different sizes"));
    }
    let merged = merge(db, &placed.hash, &block.copies, &placed.copies)?;
    set_copies(db, &mut block, merged)?;
    refer_again(db, block.id)?;
    Ok(block.id)
}

/// One extent more points to a block that has one.
pub(super) fn refer_again(db: &Connection, block: i64) -> Result<(), Fail> {
    let text = "UPDATE blocks SET refs = refs + 1 WHERE id = ?1";
    prepare(db, text)?.execute([block]).map(drop).map_err(Fail::internal)
}

/// One extent fewer points to a block: behind the last, its copies are garbage.
pub(super) fn release(db: &Connection, id: i64) -> Result<(), Fail> {
    let text = "UPDATE blocks SET refs = refs - 1 WHERE id = ?1 AND refs > 1";
    if prepare(db, text)?.execute([id]).map_err(Fail::internal)? == 1 {
        return Ok(());
    }
    let text = "SELECT hash, size, place, seqs, (SELECT servers FROM places WHERE places.id = place) FROM blocks
                WHERE id = ?1";
    let (hash, size, place, copies) = prepare(db, text)?
        .query_row([id], |row| {
            let copies = copies_of(row.get_ref(4)?.as_blob()?, row.get_ref(3)?.as_blob()?);
            Ok((Hash(row.get(0)?), row.get(1)?, row.get(2)?, copies))
        })
        .map_err(Fail::internal)?;
    for (server, seq) in copies {
        waste(db, &hash, server, seq)?;
    }
    leave_place(db, place, size)?;
    prepare(db, "DELETE FROM blocks WHERE id = ?1")?.execute([id]).map(drop).map_err(Fail::internal)
}

/// The servers of each place: for plans.
pub(super) fn servers_of(bytes: &[u8]) -> Vec<ServerNo> {
    bytes.as_chunks::<4>().0.iter().map(|no| ServerNo::from_be_bytes(*no)).collect()
}

struct Block {
    id: i64,
    size: u32,
    place: i64,
    copies: Vec<(ServerNo, u64)>,
}

struct Place {
    id: i64,
    servers: Vec<ServerNo>,
    blocks: u64,
    bytes: u64,
}

/// What the live copies of a block are enough for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Lost,
    Short,
    Good,
    Surplus,
}

impl Standing {
    fn of(servers: &[ServerNo], live: &[Live]) -> Standing {
        let (mut volatile, mut keeping) = (0, 0);
        for no in servers {
            if let Ok(at) = live.binary_search_by_key(no, |live| live.server) {
                *(if live[at].volatile { &mut volatile } else { &mut keeping }) += 1;
            }
        }
        match (keeping, volatile) {
            (0, 0) => Standing::Lost,
            (0, few) if few < VOLATILE_COPIES => Standing::Short,
            (0, VOLATILE_COPIES) | (1, 0) => Standing::Good,
            _ => Standing::Surplus,
        }
    }
}

fn places(db: &Connection, from: u64) -> Result<Vec<Place>, Fail> {
    prepare(db, "SELECT id, servers, blocks, bytes FROM places WHERE id >= ?1 ORDER BY id")?
        .query_map([sql(from)], |row| {
            let servers = servers_of(row.get_ref(1)?.as_blob()?);
            Ok(Place { id: row.get(0)?, servers, blocks: unsql(row.get(2)?), bytes: unsql(row.get(3)?) })
        })
        .and_then(Iterator::collect)
        .map_err(Fail::internal)
}

/// Blocks of the places that are `wanted`.
fn walk(
    db: &Connection,
    after: Cursor,
    count: u64,
    wanted: impl Fn(&Place) -> bool,
) -> Result<Page<Copies, Cursor>, Fail> {
    let mut page = Page { rows: Vec::new(), next: None };
    let mut statement =
        prepare(db, "SELECT id, hash, size, seqs FROM blocks WHERE place = ?1 AND id > ?2 ORDER BY id LIMIT ?3")?;
    for place in places(db, after.place)?.iter().filter(|place| wanted(place)) {
        let behind = if unsql(place.id) == after.place { sql(after.block) } else { 0 };
        let room = count.max(1) - page.rows.len() as u64;
        let mut rows = statement.query(params![place.id, behind, sql(room)]).map_err(Fail::internal)?;
        while let Some(row) = rows.next().map_err(Fail::internal)? {
            let read = |row: &Row<'_>| -> rusqlite::Result<(i64, Copies)> {
                let seqs = row.get_ref(3)?.as_blob()?;
                let copies = place.servers.iter().enumerate().map(|(at, no)| (*no, seq_at(seqs, at))).collect();
                Ok((row.get(0)?, Copies { hash: Hash(row.get(1)?), size: row.get(2)?, copies }))
            };
            let (id, block) = read(row).map_err(Fail::internal)?;
            page.rows.push(block);
            page.next = Some(Cursor::new(place.id, id));
        }
        if page.rows.len() as u64 >= count.max(1) {
            return Ok(page);
        }
    }
    page.next = None;
    Ok(page)
}

fn three(row: &Row<'_>) -> rusqlite::Result<([u8; 32], i64, Vec<u8>)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn seq_at(seqs: &[u8], at: usize) -> u64 {
    seqs.as_chunks::<8>().0.get(at).map_or(0, |seq| u64::from_be_bytes(*seq))
}

fn copies_of(servers: &[u8], seqs: &[u8]) -> Vec<(ServerNo, u64)> {
    servers_of(servers).into_iter().enumerate().map(|(at, no)| (no, seq_at(seqs, at))).collect()
}

fn seqs_of(copies: &[(ServerNo, u64)]) -> Vec<u8> {
    copies.iter().flat_map(|(_, seq)| seq.to_be_bytes()).collect()
}

fn block(db: &Connection, hash: &Hash) -> Result<Option<Block>, Fail> {
    let text = "SELECT id, size, place, seqs, (SELECT servers FROM places WHERE places.id = place) FROM blocks
                WHERE hash = ?1";
    prepare(db, text)?
        .query_row([hash.0], |row| {
            let copies = copies_of(row.get_ref(4)?.as_blob()?, row.get_ref(3)?.as_blob()?);
            Ok(Block { id: row.get(0)?, size: row.get(1)?, place: row.get(2)?, copies })
        })
        .optional()
        .map_err(Fail::internal)
}

/// The known copies and the new ones, in order of servers, each as of its latest put: also of one that was to be deleted and
/// is garbage no more.
fn merge(
    db: &Connection,
    hash: &Hash,
    known: &[(ServerNo, u64)],
    new: &[(ServerNo, u64)],
) -> Result<Vec<(ServerNo, u64)>, Fail> {
    let mut merged = known.to_vec();
    for &(server, seq) in new {
        let wasted: Option<i64> = prepare(db, "SELECT seq FROM garbage WHERE server = ?1 AND hash = ?2")?
            .query_row(params![server, hash.0], |row| row.get(0))
            .optional()
            .map_err(Fail::internal)?;
        if wasted.is_some() {
            prepare(db, "DELETE FROM garbage WHERE server = ?1 AND hash = ?2")?
                .execute(params![server, hash.0])
                .map_err(Fail::internal)?;
        }
        let seq = seq.max(wasted.map_or(0, unsql));
        match merged.binary_search_by_key(&server, |(no, _)| *no) {
            Ok(at) => merged[at].1 = merged[at].1.max(seq),
            Err(at) => merged.insert(at, (server, seq)),
        }
    }
    Ok(merged)
}

/// Writes down the copies of a block, in order of servers.
fn set_copies(db: &Connection, block: &mut Block, copies: Vec<(ServerNo, u64)>) -> Result<(), Fail> {
    if copies == block.copies {
        return Ok(());
    }
    if !copies.iter().map(|(no, _)| no).eq(block.copies.iter().map(|(no, _)| no)) {
        let place = enter_place(db, &copies, block.size)?;
        leave_place(db, block.place, block.size)?;
        block.place = place;
    }
    prepare(db, "UPDATE blocks SET place = ?2, seqs = ?3 WHERE id = ?1")?
        .execute(params![block.id, block.place, seqs_of(&copies)])
        .map_err(Fail::internal)?;
    block.copies = copies;
    Ok(())
}

/// The place of just these servers, with one block more.
fn enter_place(db: &Connection, copies: &[(ServerNo, u64)], size: u32) -> Result<i64, Fail> {
    let servers: Vec<u8> = copies.iter().flat_map(|(no, _)| no.to_be_bytes()).collect();
    let text = "INSERT INTO places (servers, blocks, bytes) VALUES (?1, 1, ?2)
                ON CONFLICT (servers) DO UPDATE SET blocks = blocks + 1, bytes = bytes + excluded.bytes RETURNING id";
    prepare(db, text)?.query_row(params![servers, size], |row| row.get(0)).map_err(Fail::internal)
}

/// One block fewer at a place.
fn leave_place(db: &Connection, place: i64, size: u32) -> Result<(), Fail> {
    prepare(db, "UPDATE places SET blocks = blocks - 1, bytes = bytes - ?2 WHERE id = ?1")?
        .execute(params![place, size])
        .map_err(Fail::internal)?;
    let text = "DELETE FROM places WHERE id = ?1 AND blocks = 0";
    prepare(db, text)?.execute([place]).map(drop).map_err(Fail::internal)
}

/// A server shall delete a copy, of this put or an earlier one.
fn waste(db: &Connection, hash: &Hash, server: ServerNo, seq: u64) -> Result<(), Fail> {
    let text = "INSERT INTO garbage (server, hash, seq) VALUES (?1, ?2, ?3)
                ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)";
    prepare(db, text)?.execute(params![server, hash.0, sql(seq)]).map(drop).map_err(Fail::internal)
}
