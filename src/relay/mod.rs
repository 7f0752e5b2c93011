//! Floor 1: reliable streams between two main servers. Pure: no I/O, no clock.
//!
//! What one server accepts for another goes into an [`Outgoing`] stream, item by item, each with a number. It is sent over
//! whatever link leads there, and again when a link or route is lost; the [`Incoming`] end takes an item only when it is the next one,
//! and says up to which number it has come, and which items failed. Nothing is lost, doubled or reordered, whatever the
//! links in between lose, double or reorder.

mod incoming;
mod outgoing;
pub mod packet;

pub use incoming::Incoming;
pub use incoming::Taken;
pub use outgoing::Batch;
pub use outgoing::Item;
pub use outgoing::Outgoing;
pub use packet::Outcome;
pub use packet::Relay;
pub use packet::Relayed;

/// How many servers a packet may pass on its way.
pub const HOPS: u8 = 16;
/// Bytes of a stream that are not acknowledged, at most: over it, senders get BUSY.
pub const WINDOW: usize = 16 << 20;
/// A batch takes no more items when it holds this many bytes. With an item of 1 KiB more and the head, four fit in a chunk of
/// a link's queue, and one that is cut by a read is not much to put together.
pub const BATCH: usize = 14 << 10;
/// Without progress for this long, milliseconds, all that is not acknowledged is sent again; doubled up to `SLOWEST` each time.
pub const PATIENCE: u64 = 500;
/// See `PATIENCE`.
pub const SLOWEST: u64 = 4_000;
/// Results that are kept until the origin has read them. An origin that reads none is sent nothing more.
pub const RESULTS: usize = 20_000;
/// Items of one packet, at most: a batch is full before.
pub const ITEMS: usize = BATCH;
/// What a batch costs beside what is in it, about; so that many small ones do not pass for little.
pub const OVERHEAD: usize = 256;
/// Without any progress for this long, milliseconds, a stream is given up, though there is a way: its other end does not want.
pub const HOPELESS: u64 = 60_000;

#[cfg(test)]
mod tests;
