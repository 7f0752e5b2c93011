//! Floor 1: voice (KV): what is on the wire, and the state of a channel. Pure: no socket, clock, or thread.

pub mod channel;
pub mod control;
mod order;
pub mod packet;
pub mod rights;
mod window;

pub use order::Event;
pub use order::Order;
pub use order::Terms;
pub use rights::Rights;

/// Every datagram of a channel has this length, in bytes (seed 004).
pub const PACKET: usize = 512;
/// What a user packet carries behind its uid, in bytes, in a channel that is not signed.
pub const DATA: usize = PACKET - 8;
/// The same in a signed one: the rest is a counter and a tag.
pub const DATA_SIGNED: usize = DATA - 8 - TAG;
/// The keyed BLAKE3 at the end of a signed user packet, in bytes.
pub const TAG: usize = 16;
/// A key of a member of a signed channel, in bytes.
pub const KEY: usize = 32;
