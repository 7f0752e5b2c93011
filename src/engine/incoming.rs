//! What came on a link and is not handled so far.

use std::collections::VecDeque;

use crate::wire::blob::Decoder;
use crate::wire::Blob;
use crate::wire::Framer;
use crate::wire::Raw;

/// In order: `tail`, or what is `growing`; then `behind`.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// Of the tail.
    pub framer: Framer,
    /// The beginning of a packet, or packets that have to wait.
    pub tail: Vec<u8>,
    /// A packet with a large last field, of which a part is there. The tail is empty then.
    pub growing: Option<Box<Growing>>,
    /// What came while those before it had to wait, as far as it cannot be in the tail.
    pub behind: VecDeque<Piece>,
}

/// A part of what came.
#[derive(Debug)]
pub(super) enum Piece {
    /// As it stands on the wire.
    Bytes(Vec<u8>),
    /// A packet: what stands before its last field, and that.
    Packet(Vec<u8>, Blob),
}

/// A packet whose last field is decoded as it comes.
#[derive(Debug)]
pub(super) struct Growing {
    /// Its beginning, up to the field.
    pub head: Vec<u8>,
    pub decoder: Decoder,
    /// Bytes of it on the wire, so far.
    pub wire: usize,
    /// Bytes of DATA before the field, unescaped.
    pub before: usize,
}

impl Growing {
    /// A packet that begins with `head`, in which DATA begins at `data`.
    pub fn new(head: &[u8], data: usize) -> Growing {
        let before = Raw(head.get(data..).unwrap_or_default()).unescape().len();
        Growing { head: head.to_vec(), decoder: Decoder::default(), wire: head.len(), before }
    }

    /// Bytes of its DATA so far, unescaped.
    pub fn data(&self) -> usize {
        self.before + self.payload()
    }

    /// Bytes of the field so far, unescaped.
    pub fn payload(&self) -> usize {
        self.decoder.size().0
    }
}

impl Incoming {
    /// Bytes that it holds.
    pub fn size(&self) -> usize {
        let growing = self.growing.as_ref().map_or(0, |one| one.head.len() + one.decoder.size().1);
        let piece = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::Packet(head, blob) => head.len() + blob.len(),
        };
        self.tail.capacity() + growing + self.behind.iter().map(piece).sum::<usize>()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.tail.is_empty() && self.growing.is_none() && self.behind.is_empty()
    }
}
