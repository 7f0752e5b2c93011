//! Large last fields of packets: decoded once, then shared.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;

use super::fail::Fail;
use super::marks;
use super::Raw;

/// From this length on, in bytes on the wire, the last field of a packet is worth a buffer of its own.
pub const LARGE: usize = 16 << 10;

/// From this size on, in bytes, a buffer has room for a whole block, and is used again.
pub const GROWN: usize = 128 << 10;
/// The size of such a buffer, in bytes: a block, and what decoding needs besides.
const BUFFER: usize = (1 << 20) + (4 << 10);
/// How many that are not used are kept.
const SPARES: usize = 16;
static SPARE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Bytes that never change, shared by all who hold them. Their BLAKE3 is computed once at most.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Blob(Arc<Inner>);

#[derive(Default)]
struct Inner {
    bytes: Vec<u8>,
    hash: OnceLock<[u8; 32]>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if (BUFFER..=2 * BUFFER).contains(&self.bytes.capacity()) {
            let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
            if spare.len() < SPARES {
                self.bytes.clear();
                spare.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

/// An empty buffer with room for so many bytes: where that is about a block, one that was used before. Memory that is given back to the
/// system and had again costs as much as a copy.
pub fn buffer(room: usize) -> Vec<u8> {
    if !(GROWN..=BUFFER).contains(&room) {
        return Vec::with_capacity(room);
    }
    let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    spare.unwrap_or_else(|| Vec::with_capacity(BUFFER))
}

impl PartialEq for Inner {
    fn eq(&self, other: &Inner) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Inner {}

impl Blob {
    /// The BLAKE3 of the bytes. The first call takes its time: on a worker thread.
    pub fn hash(&self) -> [u8; 32] {
        *self.0.hash.get_or_init(|| *blake3::hash(&self.0.bytes).as_bytes())
    }

    /// The bytes; copied only if others hold them too.
    pub fn into_vec(self) -> Vec<u8> {
        match Arc::try_unwrap(self.0) {
            Ok(mut inner) => std::mem::take(&mut inner.bytes),
            Err(shared) => shared.bytes.clone(),
        }
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Blob {
        Blob(Arc::new(Inner { bytes, hash: OnceLock::new() }))
    }
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// The last field of a request, or the DATA of an answer: as it stands on the wire, or decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// Still escaped.
    Raw(Raw<'a>),
    /// Decoded.
    Blob(Blob),
}

impl Body<'_> {
    /// About how many bytes they are.
    pub fn size(&self) -> usize {
        match self {
            Body::Raw(raw) => raw.0.len(),
            Body::Blob(blob) => blob.len(),
        }
    }

    /// As it stands on the wire, where nothing large is expected.
    ///
    /// # Errors
    /// INTERNAL when it is large.
    pub fn short(&self) -> Result<Raw<'_>, Fail> {
        match self {
            Body::Raw(raw) => Ok(*raw),
            Body::Blob(_) => Err(Fail::internal("an answer is larger than it can be")),
        }
    }

    /// The bytes meant.
    pub fn into_blob(self) -> Blob {
        match self {
            Body::Raw(raw) => Blob::from(raw.unescape().into_owned()),
            Body::Blob(blob) => blob,
        }
    }
}

/// Decodes a field that arrives in pieces, up to the end of its packet.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    /// The next byte is meant as it stands: the last piece ended with its `~`.
    literal: bool,
}

impl Decoder {
    /// What was decoded so far; its length and capacity in bytes.
    pub fn size(&self) -> (usize, usize) {
        (self.bytes.len(), self.bytes.capacity())
    }

    /// Takes the next piece. Some: the packet's EOL is there in it, and everything before is decoded.
    pub fn feed(&mut self, piece: &[u8]) -> Option<usize> {
        let needed = self.bytes.len() + piece.len() + marks::SPARE;
        if needed > self.bytes.capacity() && (GROWN..=BUFFER).contains(&needed) {
            // Most likely it becomes a whole block.
            let mut larger = buffer(BUFFER);
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
        match marks::decode(&mut self.bytes, piece, self.literal) {
            Ok(literal) => {
                self.literal = literal;
                None
            }
            Err(end) => Some(end),
        }
    }

    /// What was decoded.
    pub fn into_blob(self) -> Blob {
        Blob::from(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_that_of_the_bytes_and_bytes_come_back() {
        let blob = Blob::from(b"some bytes".to_vec());
        assert_eq!(blob.hash(), *blake3::hash(b"some bytes").as_bytes());
        let other = blob.clone();
        assert_eq!(other.hash(), blob.hash());
        assert_eq!((blob.into_vec(), other.into_vec()), (b"some bytes".to_vec(), b"some bytes".to_vec()));
    }

    #[test]
    fn buffers_are_used_again_within_bounds() {
        let all: Vec<Blob> = (0..2 * SPARES).map(|_| Blob::from(buffer(GROWN))).collect();
        drop(all);
        let spare = || SPARE.lock().unwrap().iter().map(Vec::capacity).collect::<Vec<_>>();
        assert!((1..=SPARES).contains(&spare().len()) && spare().iter().all(|size| *size <= 2 * BUFFER));
        let again = buffer(BUFFER);
        assert!(again.is_empty() && again.capacity() >= BUFFER);
        assert!(buffer(10).capacity() < GROWN && buffer(2 * BUFFER).capacity() >= 2 * BUFFER);
    }

    #[test]
    fn an_escape_that_is_cut_is_put_together() {
        let mut decoder = Decoder::default();
        for piece in [&b"a~"[..], b"", b"~", b"~", b"\n~\r"] {
            assert_eq!(decoder.feed(piece), None);
        }
        assert_eq!(decoder.feed(b"b\rc"), Some(1));
        assert_eq!(*decoder.into_blob(), *b"a~\n\rb");
    }
}
