//! The hash of a file of several blocks: its bytes are read one piece after the other, and the result is kept until it changes.

use std::collections::HashMap;
use std::collections::VecDeque;

use super::get;
use super::DataManagement;
use crate::engine::Ctx;
use crate::storage::files;
use crate::storage::Hash;
use crate::wire::Code;
use crate::wire::Fail;

/// Files that are read at once, and that wait for that.
const AT_ONCE: usize = 4;
const WAITING: usize = 1_024;
/// Bytes that are read at once of each.
const STEP: u64 = 1 << 20;

type Then = Box<dyn FnOnce(&mut DataManagement, &mut Ctx<DataManagement>, Result<Hash, Fail>) + Send>;
/// An object, and which of its versions.
type Key = (u64, u64);

/// Files that are being hashed, and who wants to know.
#[derive(Default)]
pub struct Hashes {
    wanted: HashMap<Key, Vec<Then>>,
    waiting: VecDeque<(Key, u64)>,
    open: usize,
}

/// Computes the hash of an object of `size` bytes, as long as it has that version. NOTFOUND: it has another; BUSY.
pub fn compute(
    dm: &mut DataManagement,
    ctx: &mut Ctx<DataManagement>,
    object: u64,
    version: u64,
    size: u64,
    then: impl FnOnce(&mut DataManagement, &mut Ctx<DataManagement>, Result<Hash, Fail>) + Send + 'static,
) {
    let key = (object, version);
    let all: usize = dm.hashes.wanted.values().map(Vec::len).sum();
    if all >= WAITING {
        return then(dm, ctx, Err(Fail::new(Code::Busy, "too many hashes are being computed; retry later")));
    }
    let thens = dm.hashes.wanted.entry(key).or_default();
    thens.push(Box::new(then));
    if thens.len() == 1 {
        dm.hashes.waiting.push_back((key, size));
        next(dm, ctx);
    }
}

fn next(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>) {
    if dm.hashes.open >= AT_ONCE {
        return;
    }
    if let Some((key, size)) = dm.hashes.waiting.pop_front() {
        dm.hashes.open += 1;
        step(ctx, key, size, 0, blake3::Hasher::new());
    }
}

fn step(ctx: &mut Ctx<DataManagement>, key: Key, size: u64, offset: u64, mut hasher: blake3::Hasher) {
    if offset >= size {
        let hash = Hash(*hasher.finalize().as_bytes());
        ctx.store(
            move |db| files::set_hash(db, key.0, key.1, &hash),
            move |dm, ctx, kept| {
                let changed = || Fail::new(Code::NotFound, "the file has changed");
                finish(dm, ctx, key, kept.and_then(|kept| if kept { Ok(hash) } else { Err(changed()) }));
            },
        );
        return;
    }
    let length = STEP.min(size - offset);
    ctx.query(
        move |db| files::hash_plan(db, key.0, key.1, offset, length),
        move |dm, ctx, pieces| match pieces {
            Ok(pieces) => get::read(dm, ctx, pieces, move |dm, ctx, bytes| match bytes {
                Ok(bytes) if !bytes.is_empty() => {
                    let read = bytes.len() as u64;
                    ctx.heavy(
                        move || {
                            hasher.update(&bytes);
                            Ok(hasher)
                        },
                        move |dm, ctx, hasher| match hasher {
                            Ok(hasher) => step(ctx, key, size, offset + read, hasher),
                            Err(fail) => finish(dm, ctx, key, Err(fail)),
                        },
                    );
                }
                Ok(_) => finish(dm, ctx, key, Err(Fail::internal("a file is shorter than it says"))),
                Err(fail) => finish(dm, ctx, key, Err(fail)),
            }),
            Err(fail) => finish(dm, ctx, key, Err(fail)),
        },
    );
}

fn finish(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, key: Key, hash: Result<Hash, Fail>) {
    dm.hashes.open = dm.hashes.open.saturating_sub(1);
    for then in dm.hashes.wanted.remove(&key).unwrap_or_default() {
        then(dm, ctx, hash.clone());
    }
    next(dm, ctx);
}
