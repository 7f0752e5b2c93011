//! What is written to a link at once.

use crate::wire::raw;
use crate::wire::Blob;

/// Whole packets, as they stand on the wire; or one packet whose last field is a blob: then `bytes` is what stands before that
/// field, and neither the field nor the LF behind it is escaped or written so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// On the wire.
    pub bytes: Vec<u8>,
    /// What follows them.
    pub blob: Option<Blob>,
}

impl Chunk {
    /// How many bytes it is, before anything is escaped.
    pub fn len(&self) -> usize {
        self.bytes.len() + self.blob.as_ref().map_or(0, |blob| blob.len() + 1)
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.blob.is_none()
    }

    /// Appends to `out` what is to be written from the place `at` of the blob on, at most about `most` bytes; answers the next place.
    /// None: that was all. `bytes` are before the place 0.
    pub fn write_some(&self, out: &mut Vec<u8>, at: usize, most: usize) -> Option<usize> {
        if at == 0 {
            out.extend_from_slice(&self.bytes);
        }
        let blob = self.blob.as_ref()?;
        let rest = blob.get(at..).unwrap_or_default();
        match rest.split_at_checked(most) {
            Some((some, rest)) if !rest.is_empty() => {
                raw::escape_into(out, some);
                Some(at + most)
            }
            _ => {
                raw::escape_into(out, rest);
                out.push(b'\n');
                None
            }
        }
    }

    /// All of it, as it stands on the wire.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_some(out, 0, usize::MAX);
    }
}

impl From<Vec<u8>> for Chunk {
    fn from(bytes: Vec<u8>) -> Chunk {
        Chunk { bytes, blob: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::packet;

    #[test]
    fn a_blob_is_written_in_pieces_as_it_would_be_at_once() {
        let bytes: Vec<u8> = (0..100_000u32).map(|n| (n.wrapping_mul(n) >> 3) as u8).collect();
        let mut wanted = Vec::new();
        packet::put_packet(&mut wanted, b"7", b"PUT", &[b"name", &bytes]);
        let blob = Some(Blob::from(bytes));
        let chunk = Chunk { bytes: b"7 PUT name~\n".to_vec(), blob };
        for most in [1, 1_000, 50_000, 100_000, 100_001, usize::MAX] {
            let (mut out, mut at) = (Vec::new(), Some(0));
            while let Some(from) = at {
                at = chunk.write_some(&mut out, from, most);
            }
            assert!(out == wanted, "{most}");
        }
        assert_eq!(Chunk::from(b"x\n".to_vec()).write_some(&mut Vec::new(), 0, 1), None);
    }
}
