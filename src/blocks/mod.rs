//! Floor 3: blocks, byte strings named by their BLAKE3, and where a data server keeps them.

pub mod memory;

use std::fmt;

use crate::wire::hex;
use crate::wire::Code;
use crate::wire::Fail;

/// The largest block, in bytes.
pub const MAX_BLOCK: usize = 1 << 20;

/// The name of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The name of these bytes.
    pub fn of(bytes: &[u8]) -> Hash {
        Hash(*blake3::hash(bytes).as_bytes())
    }

    /// From lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Hash> {
        hex::decode_32(text).map(Hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

/// A block that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub hash: Hash,
    /// The number of this put; grows for ever.
    pub seq: u64,
}

/// A block that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub hash: Hash,
    /// Its bytes.
    pub size: u32,
    /// The number of its latest put.
    pub seq: u64,
}

/// What is used, in bytes on the disk, and how many blocks there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that may be used.
    pub capacity: u64,
    /// Bytes that are.
    pub used: u64,
    /// Blocks.
    pub blocks: u64,
}

/// What can go wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no such block.
    NotFound,
    /// Its bytes are not those of its name.
    Rotten,
    /// There is no room.
    Full,
    /// The disk.
    Io(String),
}

impl From<Error> for Fail {
    fn from(error: Error) -> Fail {
        match error {
            Error::NotFound => Fail::new(Code::NotFound, "there is no such block"),
            Error::Rotten => Fail::new(Code::Wrong, "the bytes on the disk are not those of the name"),
            Error::Full => Fail::new(Code::Quota, "this data server is full"),
            Error::Io(cause) => Fail::internal(cause),
        }
    }
}

/// Where blocks are kept. Blocking: called on worker threads only.
pub trait BlockStore: Send + Sync {
    /// Keeps blocks; durable on return, with one sync for all.
    fn put(&self, blocks: &[&[u8]]) -> Vec<Result<Stored, Error>>;
    /// The bytes of a block, checked against its name.
    fn get(&self, hash: &Hash) -> Result<Vec<u8>, Error>;
    /// Deletes those whose latest put has that number; returns those that are gone.
    fn delete(&self, blocks: &[(Hash, u64)]) -> Result<Vec<Hash>, Error>;
    /// Blocks behind `after`, in the order of their names.
    fn list(&self, after: Option<&Hash>, count: usize) -> Result<Vec<Listed>, Error>;
    /// What is used.
    fn usage(&self) -> Usage;
    /// One bounded step of upkeep; true: there is more to do.
    fn tend(&self) -> Result<bool, Error>;
}

/// The store of this configuration.
///
/// # Errors
/// In words for the operator.
pub fn open(config: &crate::config::Config) -> Result<Box<dyn BlockStore>, String> {
    Ok(Box::new(memory::Memory::new(config.data.capacity)))
}
