//! Blocks in memory, for simulations: what is put survives a role that ends, as a disk does.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use super::BlockStore;
use super::Error;
use super::Hash;
use super::Listed;
use super::Stored;
use super::Usage;

/// What a block takes beside its bytes.
const OVERHEAD: u64 = 64;

#[derive(Default)]
struct Inner {
    blocks: BTreeMap<Hash, (Vec<u8>, u64)>,
    seq: u64,
    used: u64,
    broken: bool,
}

/// Blocks in memory.
pub struct Memory {
    inner: Mutex<Inner>,
    capacity: u64,
}

impl Memory {
    /// An empty one that takes so many bytes.
    pub fn new(capacity: u64) -> Memory {
        Memory { inner: Mutex::new(Inner::default()), capacity }
    }

    fn works(&self) -> Result<MutexGuard<'_, Inner>, Error> {
        let inner = self.lock();
        match inner.broken {
            true => Err(broken()),
            false => Ok(inner),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a byte of a block, as a bad disk does; false: it is not there.
    pub fn spoil(&self, hash: &Hash) -> bool {
        let mut inner = self.lock();
        let byte = inner.blocks.get_mut(hash).and_then(|(bytes, _)| bytes.first_mut());
        byte.map(|byte| *byte ^= 1).is_some()
    }

    /// From now on whether it fails at all that it is asked, as a disk that breaks does.
    pub fn set_broken(&self, broken: bool) {
        self.lock().broken = broken;
    }

    /// Loses all blocks, as a volatile server does.
    pub fn lose(&self) {
        let mut inner = self.lock();
        inner.blocks.clear();
        inner.used = 0;
    }
}

fn broken() -> Error {
    Error::Io("the disk does not work".to_owned())
}

impl BlockStore for Memory {
    fn put_named(&self, blocks: &[(Hash, &[u8])]) -> Vec<Result<Stored, Error>> {
        let mut inner = self.lock();
        if inner.broken {
            return blocks.iter().map(|_| Err(broken())).collect();
        }
        let put = |(hash, bytes): &(Hash, &[u8])| {
            let hash = *hash;
            inner.seq += 1;
            let seq = inner.seq;
            if let Some((_, old)) = inner.blocks.get_mut(&hash) {
                *old = seq;
                return Ok(Stored { hash, seq });
            }
            let size = bytes.len() as u64 + OVERHEAD;
            if inner.used + size > self.capacity {
                return Err(Error::Full);
            }
            inner.used += size;
            inner.blocks.insert(hash, (bytes.to_vec(), seq));
            Ok(Stored { hash, seq })
        };
        blocks.iter().map(put).collect()
    }

    fn get(&self, hash: &Hash) -> Result<Vec<u8>, Error> {
        let inner = self.works()?;
        let bytes = inner.blocks.get(hash).map(|(bytes, _)| bytes.clone()).ok_or(Error::NotFound)?;
        drop(inner);
        match Hash::of(&bytes) == *hash {
            true => Ok(bytes),
            false => Err(Error::Rotten),
        }
    }

    fn delete(&self, blocks: &[(Hash, u64)]) -> Result<Vec<Hash>, Error> {
        let mut inner = self.works()?;
        let mut gone = Vec::new();
        for (hash, seq) in blocks {
            match inner.blocks.get(hash) {
                Some((_, latest)) if latest != seq => continue,
                Some((bytes, _)) => {
                    inner.used -= bytes.len() as u64 + OVERHEAD;
                    inner.blocks.remove(hash);
                }
                None => {}
            }
            gone.push(*hash);
        }
        Ok(gone)
    }

    fn list(&self, after: Option<&Hash>, count: usize) -> Result<Vec<Listed>, Error> {
        let inner = self.works()?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let listed = inner.blocks.range((from, Bound::Unbounded)).take(count);
        Ok(listed.map(|(hash, (bytes, seq))| Listed { hash: *hash, size: bytes.len() as u32, seq: *seq }).collect())
    }

    fn usage(&self) -> Usage {
        let inner = self.lock();
        Usage { capacity: self.capacity, used: inner.used, blocks: inner.blocks.len() as u64 }
    }

    fn tend(&self) -> Result<bool, Error> {
        Ok(false)
    }
}
