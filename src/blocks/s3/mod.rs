//! Blocks in a bucket of an S3-compatible object store.
//!
//! A block is the object `prefix` + hash. Its latest put is told by an empty object beside it, `prefix` + hash + `.` + seq (16
//! hexadecimal digits; the highest counts), so that one list shows names, sizes and seqs in the order of names, and a read is one
//! request. A put is OK after both are stored. A delete takes the block first, then what told its seq: cut off between, nothing is
//! listed. A block without a seq was never answered for; it is listed with seq 0, to be deleted.
//!
//! What makes "delete if the seq is that one" safe is a lock in this process: no other process may use the same prefix.
//! Seqs grow over restarts: the object `prefix` + `seq-limit` names one above all that were given.
//!
//! Memory: nothing per block. Usage is counted at the start, by a list of all, and kept up from there.

mod client;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

pub use client::Place;

use super::BlockStore;
use super::Error;
use super::Hash;
use super::Listed;
use super::Stored;
use super::Usage;
use super::MAX_BLOCK;
use client::Client;
use client::Key;

/// Requests that one call has under way at once.
const LANES: usize = 8;
/// Locks that blocks share.
const LOCKS: usize = 64;
/// How many seqs are taken at once from the object that counts them.
const SEQS: u64 = 1 << 20;
/// How many left-over objects the start clears away, at most.
const CLEARED: usize = 1000;
const LIMIT: &str = "seq-limit";

/// Blocks in an object store.
pub struct S3 {
    client: Client,
    capacity: u64,
    used: AtomicU64,
    blocks: AtomicU64,
    seqs: Mutex<Seqs>,
    locks: Vec<Mutex<()>>,
}

struct Seqs {
    next: u64,
    /// None of it or above may be given before the object says so.
    limit: u64,
}

/// One block of the list, with all that tells its seq.
#[derive(Default)]
struct Group {
    hash: Option<Hash>,
    size: Option<u64>,
    seqs: Vec<u64>,
}

impl Group {
    fn seq(&self) -> u64 {
        self.seqs.iter().copied().max().unwrap_or(0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does it for all of these, some at once, and answers in their order.
fn together<T: Sync, R: Send>(items: &[T], work: impl Fn(usize, &T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let lane = || loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let Some(item) = items.get(n) else { return };
        let answer = work(n, item);
        lock(&done).push((n, answer));
    };
    std::thread::scope(|scope| {
        for _ in 1..LANES.min(items.len()) {
            scope.spawn(lane);
        }
        lane();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, answer)| answer).collect()
}

impl S3 {
    /// Opens the store there, and lists it. `capacity`: bytes of blocks, at most.
    ///
    /// # Errors
    /// In words: it is not reached, or does not let this server in.
    pub fn open(place: &Place, capacity: u64) -> Result<S3, String> {
        let client = Client::new(place)?;
        let store = S3 {
            client,
            capacity,
            used: AtomicU64::new(0),
            blocks: AtomicU64::new(0),
            seqs: Mutex::new(Seqs { next: 0, limit: 0 }),
            locks: (0..LOCKS).map(|_| Mutex::new(())).collect(),
        };
        store.start().map_err(|error| format!("{}: {error}", place.name()))?;
        Ok(store)
    }

    fn start(&self) -> Result<(), Error> {
        let said = self.client.get(LIMIT, 64)?.map(|bytes| String::from_utf8_lossy(&bytes).trim().parse::<u64>());
        let mut next = match said {
            None => 1,
            Some(Ok(limit)) => limit,
            Some(Err(_)) => return Err(Error::Io(format!("the object {LIMIT} holds no number"))),
        };
        let mut stray = Vec::new();
        self.groups(None, |group| {
            next = next.max(group.seq().saturating_add(1));
            match (group.size, group.hash) {
                (Some(size), _) => self.count(size, true),
                (None, Some(hash)) => stray.extend(group.seqs.iter().map(|seq| Key::seq(&hash, *seq))),
                (None, None) => (),
            }
            true
        })?;
        stray.truncate(CLEARED);
        for answer in together(&stray, |_, key| self.client.delete(key)) {
            answer?;
        }
        let mut seqs = lock(&self.seqs);
        *seqs = Seqs { next, limit: next };
        Ok(())
    }

    fn count(&self, size: u64, more: bool) {
        for (counter, by) in [(&self.used, size), (&self.blocks, 1)] {
            let change = |was: u64| Some(if more { was.saturating_add(by) } else { was.saturating_sub(by) });
            let _ = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
        }
    }

    /// Gives each block of the list to `take`, in order, until it says no.
    fn groups(&self, after: Option<&Hash>, mut take: impl FnMut(&Group) -> bool) -> Result<(), Error> {
        let mut group = Group::default();
        // `~` comes behind all that a block has beside it.
        let mut from = after.map(|hash| format!("{hash}~"));
        loop {
            let page = self.client.list("", from.as_deref())?;
            for (key, size) in &page.entries {
                let (hash, seq) = match Key::parse(key) {
                    Some(found) => found,
                    None => continue,
                };
                if group.hash != Some(hash) {
                    if group.hash.is_some() && !take(&group) {
                        return Ok(());
                    }
                    group = Group { hash: Some(hash), ..Group::default() };
                }
                match seq {
                    Some(seq) => group.seqs.push(seq),
                    None => group.size = Some(*size),
                }
            }
            match page.entries.last() {
                Some((last, _)) if page.more => from = Some(last.clone()),
                _ => break,
            }
        }
        if group.hash.is_some() {
            take(&group);
        }
        Ok(())
    }

    /// All that there is of one block.
    fn group(&self, hash: &Hash) -> Result<Group, Error> {
        let mut group = Group { hash: Some(*hash), ..Group::default() };
        let (prefix, mut from) = (hash.to_string(), None);
        loop {
            let page = self.client.list(&prefix, from.as_deref())?;
            for (key, size) in &page.entries {
                match Key::parse(key) {
                    Some((_, Some(seq))) => group.seqs.push(seq),
                    Some((_, None)) => group.size = Some(*size),
                    None => (),
                }
            }
            match page.entries.last() {
                Some((last, _)) if page.more => from = Some(last.clone()),
                _ => return Ok(group),
            }
        }
    }

    /// Nobody else puts or deletes this block meanwhile.
    fn alone(&self, hash: &Hash) -> Option<MutexGuard<'_, ()>> {
        let [first, ..] = hash.0;
        self.locks.get(usize::from(first) % LOCKS).map(lock)
    }

    /// The first of `count` seqs.
    fn take_seqs(&self, count: u64) -> Result<u64, Error> {
        let mut seqs = lock(&self.seqs);
        let first = seqs.next;
        let next = first.saturating_add(count);
        if next > seqs.limit {
            let limit = next.saturating_add(SEQS);
            self.client.put(LIMIT, limit.to_string().as_bytes())?;
            seqs.limit = limit;
        }
        seqs.next = next;
        Ok(first)
    }

    fn put_one(&self, hash: Hash, data: &[u8], seq: u64) -> Result<Stored, Error> {
        if !(1..=MAX_BLOCK).contains(&data.len()) {
            return Err(Error::Io(format!("a block has 1 to {MAX_BLOCK} bytes")));
        }
        let size = data.len() as u64;
        let _alone = self.alone(&hash);
        let key = hash.to_string();
        let there = self.client.size(&key)? == Some(size);
        if !there {
            // Before, so that puts at the same time do not go over it together.
            self.count(size, true);
            let stored = if self.used.load(Ordering::Relaxed) > self.capacity {
                Err(Error::Full)
            } else {
                self.client.put(&key, data)
            };
            if let Err(error) = stored {
                self.count(size, false);
                return Err(error);
            }
        }
        self.client.put(&Key::seq(&hash, seq), b"")?;
        if there {
            for older in self.group(&hash)?.seqs.into_iter().filter(|older| *older < seq) {
                self.client.delete(&Key::seq(&hash, older))?;
            }
        }
        Ok(Stored { hash, seq })
    }

    /// Whether the block is gone now.
    fn delete_one(&self, hash: &Hash, seq: u64) -> Result<bool, Error> {
        let _alone = self.alone(hash);
        let group = self.group(hash)?;
        if group.size.is_some() && group.seq() != seq {
            return Ok(false);
        }
        if let Some(size) = group.size {
            self.client.delete(&hash.to_string())?;
            self.count(size, false);
        }
        for seq in group.seqs {
            self.client.delete(&Key::seq(hash, seq))?;
        }
        Ok(true)
    }
}

impl BlockStore for S3 {
    fn put_named(&self, blocks: &[(Hash, &[u8])]) -> Vec<Result<Stored, Error>> {
        match self.take_seqs(blocks.len() as u64) {
            Ok(first) => together(blocks, |n, (hash, data)| self.put_one(*hash, data, first.saturating_add(n as u64))),
            Err(error) => blocks.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn get(&self, hash: &Hash) -> Result<Vec<u8>, Error> {
        let data = self.client.get(&hash.to_string(), MAX_BLOCK)?.ok_or(Error::NotFound)?;
        if Hash::of(&data) == *hash {
            Ok(data)
        } else {
            Err(Error::Rotten)
        }
    }

    fn delete(&self, blocks: &[(Hash, u64)]) -> Result<Vec<Hash>, Error> {
        let mut gone = Vec::new();
        for ((hash, _), answer) in blocks.iter().zip(together(blocks, |_, (hash, seq)| self.delete_one(hash, *seq))) {
            if answer? {
                gone.push(*hash);
            }
        }
        Ok(gone)
    }

    fn list(&self, after: Option<&Hash>, count: usize) -> Result<Vec<Listed>, Error> {
        let mut listed = Vec::new();
        if count == 0 {
            return Ok(listed);
        }
        self.groups(after, |group| {
            if let (Some(hash), Some(size)) = (group.hash, group.size) {
                listed.push(Listed { hash, size: u32::try_from(size).unwrap_or(u32::MAX), seq: group.seq() });
            }
            listed.len() < count
        })?;
        Ok(listed)
    }

    fn usage(&self) -> Usage {
        Usage {
            capacity: self.capacity,
            used: self.used.load(Ordering::Relaxed),
            blocks: self.blocks.load(Ordering::Relaxed),
        }
    }

    fn tend(&self) -> Result<bool, Error> {
        Ok(false)
    }
}
