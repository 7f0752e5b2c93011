//! PUTBLOCK, GETBLOCK, DELETEBLOCKS, LISTBLOCKS (64479): what data management asks. All blocks that came while a batch was being
//! written are the next batch, with one sync: the busier the server, the larger its batches.

use std::collections::VecDeque;
use std::sync::Arc;

use super::centre;
use super::Data;
use super::Peer;
use crate::blocks::Error;
use crate::blocks::Hash;
use crate::blocks::Stored;
use crate::blocks::MAX_BLOCK;
use crate::config::PortKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Later;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::wire::Blob;
use crate::wire::Code;
use crate::wire::Fail;

/// Bytes of one batch; one block more does not matter.
const BATCH: usize = 16 << 20;
/// Blocks of one batch, of one DELETEBLOCKS, and of one answer to LISTBLOCKS.
const BLOCKS: usize = 4_096;
/// What a request takes beside its bytes.
const OVERHEAD: u64 = 4 << 10;

/// Who is told what became of a block.
type Then = Box<dyn FnOnce(&mut Data, &mut Ctx<Data>, Result<Stored, Fail>) + Send>;

/// Blocks that wait for the disk. As many as data management may have under way (`limits::WEIGHT`), and copies (`copies::AT_ONCE`).
#[derive(Default)]
pub struct Puts {
    waiting: VecDeque<(Blob, Then)>,
    busy: bool,
}

type Run = fn(&mut Data, &mut Ctx<Data>, &Request<'_>) -> Result<Answer, Fail>;

const fn row(name: &'static str, args: &'static str, run: Run) -> Command<Data> {
    Command { name, ports: &[PortKey::DataDatamanagement], args, gate: from_data_management, run }
}

pub const PUT_BLOCK: Command<Data> = row("PUTBLOCK", "bytes", put);
pub const GET_BLOCK: Command<Data> = row("GETBLOCK", "hash LF offset LF length", get);
pub const DELETE_BLOCKS: Command<Data> = row("DELETEBLOCKS", "lines hash|seq", delete);
pub const LIST_BLOCKS: Command<Data> = row("LISTBLOCKS", "hash or nothing LF count", list);

/// The gate of what data management asks on the link that this server opened.
pub fn from_data_management(_: &Data, ctx: &Ctx<Data>, link: LinkId) -> Result<(), Fail> {
    match ctx.peer_ref(link) {
        Some(Peer::Centre) => Ok(()),
        _ => Err(Fail::new(Code::Denied, "only data management asks this")),
    }
}

fn put(data: &mut Data, ctx: &mut Ctx<Data>, request: &Request<'_>) -> Result<Answer, Fail> {
    let bytes = request.body(request.data()).into_blob();
    if bytes.is_empty() || bytes.len() > MAX_BLOCK {
        return Err(Fail::bad_args("a block is 1 byte to 1 MiB"));
    }
    let mut later = request.later();
    ctx.weigh(&mut later, bytes.len() as u64 + OVERHEAD);
    keep(data, ctx, bytes, move |_, ctx, stored| {
        ctx.answer(&later, stored.map(|stored| format!("{}\n{}", stored.hash, stored.seq).into_bytes()));
    });
    Ok(Answer::Later)
}

/// Keeps a block; `then` is told when it is on the disk.
pub fn keep(
    data: &mut Data,
    ctx: &mut Ctx<Data>,
    bytes: Blob,
    then: impl FnOnce(&mut Data, &mut Ctx<Data>, Result<Stored, Fail>) + Send + 'static,
) {
    data.puts.waiting.push_back((bytes, Box::new(then)));
    write(data, ctx);
}

fn write(data: &mut Data, ctx: &mut Ctx<Data>) {
    if data.puts.busy || data.puts.waiting.is_empty() {
        return;
    }
    data.puts.busy = true;
    let (mut blocks, mut thens, mut bytes) = (Vec::new(), Vec::new(), 0);
    while bytes < BATCH && blocks.len() < BLOCKS {
        let Some((block, then)) = data.puts.waiting.pop_front() else { break };
        bytes += block.len();
        blocks.push(block);
        thens.push(then);
    }
    let store = Arc::clone(&data.store);
    ctx.heavy(
        move || {
            // What came within the process was hashed there, and is the same buffer.
            let named: Vec<(Hash, &[u8])> = blocks.iter().map(|block| (Hash(block.hash()), &**block)).collect();
            Ok(store.put_named(&named))
        },
        move |data, ctx, stored| {
            data.puts.busy = false;
            // Before the answers, which bring more.
            write(data, ctx);
            let mut stored = match stored {
                Ok(stored) => stored.into_iter().map(|one| one.map_err(Fail::from)).collect::<Vec<_>>(),
                Err(fail) => vec![Err(fail); thens.len()],
            }
            .into_iter();
            for then in thens {
                let one = stored.next().unwrap_or_else(|| Err(Fail::internal("a block was not answered")));
                then(data, ctx, one);
            }
        },
    );
}

/// The part of a block that is meant. BADARGS beyond its end.
pub fn part(mut block: Vec<u8>, offset: u64, length: u64) -> Result<Vec<u8>, Fail> {
    let end = offset.checked_add(length).filter(|end| *end <= block.len() as u64);
    let end = end.ok_or_else(|| Fail::bad_args("the block is shorter"))?;
    block.truncate(usize::try_from(end).unwrap_or(usize::MAX));
    block.drain(..usize::try_from(offset).unwrap_or(usize::MAX).min(block.len()));
    Ok(block)
}

/// A block's name, as it stands in a request.
///
/// # Errors
/// BADARGS.
pub fn name(text: &str) -> Result<Hash, Fail> {
    Hash::parse(text).ok_or_else(|| Fail::bad_args("a hash is 64 hexadecimal digits"))
}

/// Reads a part of a block and answers with it; a block that has rotted is reported.
pub fn read(data: &Data, ctx: &mut Ctx<Data>, mut later: Later, hash: Hash, offset: u64, length: u64) {
    ctx.weigh(&mut later, length.min(MAX_BLOCK as u64) + OVERHEAD);
    let store = Arc::clone(&data.store);
    ctx.heavy(
        move || match store.get(&hash) {
            Ok(block) => part(block, offset, length).map(Ok),
            Err(error) => Ok(Err(error)),
        },
        move |data, ctx, read| {
            if matches!(&read, Ok(Err(Error::Rotten))) {
                centre::rotten(data, ctx, &hash);
            }
            ctx.answer(&later, read.and_then(|read| read.map_err(Fail::from)));
        },
    );
}

fn get(data: &mut Data, ctx: &mut Ctx<Data>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [hash, offset, length] = request.data().take()?;
    let (hash, offset, length) = (name(&hash.text()?)?, offset.number()?, length.number()?);
    read(data, ctx, request.later(), hash, offset, length);
    Ok(Answer::Later)
}

fn delete(data: &mut Data, ctx: &mut Ctx<Data>, request: &Request<'_>) -> Result<Answer, Fail> {
    let text = request.data().text()?;
    let line = |line: &str| {
        let (hash, seq) = line.split_once('|')?;
        Some((Hash::parse(hash)?, seq.parse().ok()?))
    };
    let lines: Option<Vec<(Hash, u64)>> = text.lines().map(line).collect();
    let lines = lines.filter(|lines| lines.len() <= BLOCKS);
    let lines = lines.ok_or_else(|| Fail::bad_args("lines hash|seq, at most 4096"))?;
    let mut later = request.later();
    ctx.weigh(&mut later, text.len() as u64 + OVERHEAD);
    let store = Arc::clone(&data.store);
    ctx.heavy(
        move || store.delete(&lines).map_err(Fail::from),
        move |_, ctx, gone| {
            let lines = gone.map(|gone| gone.iter().map(Hash::to_string).collect::<Vec<_>>().join("\n").into_bytes());
            ctx.answer(&later, lines);
        },
    );
    Ok(Answer::Later)
}

fn list(data: &mut Data, ctx: &mut Ctx<Data>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [after, count] = request.data().take()?;
    let after = if after.is_empty() { None } else { Some(name(&after.text()?)?) };
    let count = usize::try_from(count.number()?).unwrap_or(usize::MAX).min(BLOCKS);
    let mut later = request.later();
    ctx.weigh(&mut later, count as u64 * 100 + OVERHEAD);
    let store = Arc::clone(&data.store);
    ctx.heavy(
        move || store.list(after.as_ref(), count).map_err(Fail::from),
        move |_, ctx, listed| {
            let line = |block: &crate::blocks::Listed| format!("{}|{}|{}", block.hash, block.size, block.seq);
            let lines = listed.map(|all| all.iter().map(line).collect::<Vec<_>>().join("\n").into_bytes());
            ctx.answer(&later, lines);
        },
    );
    Ok(Answer::Later)
}
