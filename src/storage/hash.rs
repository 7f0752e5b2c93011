//! The name of a block.

use std::fmt;

use crate::wire::hex;

/// The BLAKE3 of a block's bytes: its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// From 64 hexadecimal digits, in lower case as they are shown; `None` for anything else.
    pub fn parse(text: &str) -> Option<Hash> {
        let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        hex::decode_32(text).filter(|_| lower).map(Hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
