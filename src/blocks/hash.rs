//! The name of a block.

use std::fmt;

use crate::wire::hex;

/// The name of a block: the BLAKE3 hash of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The name of these bytes.
    pub fn of(bytes: &[u8]) -> Hash {
        Hash(*blake3::hash(bytes).as_bytes())
    }

    /// From 64 hexadecimal digits, lower case as `Display` writes them; none for anything else.
    pub fn parse(text: &str) -> Option<Hash> {
        let upper = text.bytes().any(|byte| byte.is_ascii_uppercase());
        hex::decode_32(text).filter(|_| !upper).map(Hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
