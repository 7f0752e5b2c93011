//! Floor 1: who is where, and which way. Pure: no I/O, no clock, so that whole networks can be simulated.
//!
//! Management holds the `Network`; each main server holds its **portion**, a `Table`, and is sent what changes in it as
//! lines (`entry`), with a checksum that tells when the two no longer agree.

pub mod entry;
pub mod few;
mod index;
mod members;
pub mod network;
pub mod plan;
pub mod table;

pub use few::Few;
pub use network::Network;
pub use network::Page;
pub use network::Update;
pub use table::Change;
pub use table::ServerNo;
pub use table::Table;
pub use table::User;
pub use table::UserRef;

/// Server ids that a table or network learns in its life: four times what is simulated. A plan needs 2 bytes for each
/// pair, 32 MiB in all; and the longest column fits in one packet.
pub const SERVERS: usize = 4_096;

/// Users in a table or network: four times what is simulated, some 500 MB in each server.
pub const USERS: usize = 4 << 20;

#[cfg(test)]
mod tests;
