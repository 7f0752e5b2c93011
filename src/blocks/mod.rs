//! Floor 3: blocks, byte strings of 1 B to 1 MiB that are named by their hash and never change. What a data server keeps.
//!
//! One narrow trait, two stores: `disk` (segment files with an index) and `s3` (one object a block); and `memory`, for simulations. All calls block, and are
//! made on worker threads only.

pub mod disk;
pub mod hash;
pub mod memory;
pub mod record;
pub mod s3;

use std::fmt;

use crate::config::Config;
use crate::config::Store;
use crate::wire::Code;
use crate::wire::Fail;

pub use hash::Hash;
pub use record::MAX_BLOCK;

/// A block that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub hash: Hash,
    /// The number of this put: each put has a higher one than all before it, over restarts too.
    pub seq: u64,
}

/// A block in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    pub hash: Hash,
    /// Bytes.
    pub size: u32,
    /// The number of its latest put.
    pub seq: u64,
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that it may use.
    pub capacity: u64,
    /// Bytes that it uses, with what is around the blocks, and what is deleted but not given back yet.
    pub used: u64,
    /// How many blocks.
    pub blocks: u64,
}

/// Why a store could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no such block.
    NotFound,
    /// What is stored under this name is not what was put.
    Rotten,
    /// The capacity is used up.
    Full,
    /// Nothing is deleted while a backup is made; later.
    Held,
    /// The disk or the other side failed; in words for the operator.
    Io(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotFound => f.write_str("there is no such block"),
            Error::Rotten => f.write_str("the stored bytes are not those of the block's name"),
            Error::Full => f.write_str("the capacity is used up"),
            Error::Held => f.write_str("a backup is being made"),
            Error::Io(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for Fail {
    fn from(error: Error) -> Fail {
        match error {
            Error::NotFound => Fail::new(Code::NotFound, "there is no such block"),
            Error::Rotten => Fail::new(Code::Wrong, "the bytes on the disk are not those of the name"),
            Error::Full => Fail::new(Code::Quota, "this data server is full"),
            Error::Held => Fail::new(Code::Busy, "a backup is being made; retry later"),
            Error::Io(cause) => Fail::internal(cause),
        }
    }
}

/// A place that keeps blocks. Every method may be called by many threads at once.
pub trait BlockStore: Send + Sync {
    /// Stores blocks of 1 B to 1 MiB; the answers stand in the order of `blocks`. What is `Ok` is durable on return; all
    /// blocks of a call share one sync. Putting what is there gives it a new seq and stores nothing.
    fn put(&self, blocks: &[&[u8]]) -> Vec<Result<Stored, Error>> {
        let named: Vec<(Hash, &[u8])> = blocks.iter().map(|data| (Hash::of(data), *data)).collect();
        self.put_named(&named)
    }

    /// The same for who has their hashes. They have to be right: what is stored under a wrong one is never read.
    fn put_named(&self, blocks: &[(Hash, &[u8])]) -> Vec<Result<Stored, Error>>;

    /// The bytes of a block, checked against its name.
    ///
    /// # Errors
    /// `NotFound`; `Rotten` when it cannot be read as it was put; `Io`.
    fn get(&self, hash: &Hash) -> Result<Vec<u8>, Error>;

    /// Deletes those whose latest put has that seq. Answers which of the names are gone now, whether by this call or before;
    /// one that was put again since stays. A crash may bring a deleted block back, and never takes another.
    ///
    /// # Errors
    /// `Held`: none is gone; `Io`: some may be.
    fn delete(&self, blocks: &[(Hash, u64)]) -> Result<Vec<Hash>, Error>;

    /// At most `count` blocks in the order of their names, from the first one after `after`.
    ///
    /// # Errors
    /// `Io`.
    fn list(&self, after: Option<&Hash>, count: usize) -> Result<Vec<Listed>, Error>;

    /// What it holds; costs nothing.
    fn usage(&self) -> Usage;

    /// One bounded step of upkeep, to be called from time to time; whether there is more to do.
    ///
    /// # Errors
    /// `Io`; it can be called again.
    fn tend(&self) -> Result<bool, Error>;
}

/// The store of this configuration. May take long: a disk whose index is lost is read as a whole, an S3 bucket is listed.
///
/// # Errors
/// In words for the operator.
pub fn open(config: &Config) -> Result<Box<dyn BlockStore>, String> {
    match config.data.store {
        Store::Disk => Ok(Box::new(disk::Disk::open(&config.data_folder(), config.data.capacity)?)),
        Store::S3 => Ok(Box::new(s3::S3::open(&s3::Place::of(config)?, config.data.capacity)?)),
    }
}
