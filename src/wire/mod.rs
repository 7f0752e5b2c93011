//! Floor 0: bytes ⇄ packets ⇄ fields. No clock, no socket, no runtime.
//!
//! A packet is `ID SP COMMAND [SP DATA] EOL` (contract 1, seed 000). `~` makes the next byte literal.
//! Parsing borrows from the read buffer; nothing here copies a body.

mod batch;
pub mod blob;
pub mod fail;
pub mod frame;
pub mod hex;
mod marks;
pub mod name;
pub mod packet;
pub mod raw;

pub use batch::Batch;
pub use batch::Parsed;
pub use blob::Blob;
pub use blob::Body;
pub use fail::Code;
pub use fail::Fail;
pub use frame::Framer;
pub use packet::Packet;
pub use packet::Reply;
pub use raw::Raw;

/// The reason in DISCONNECTED when a server stops or is restarted: the client comes back by itself. Any other reason is
/// meant for the person, who decides.
pub const SERVER_STOPS: &str = "the server stops";

/// The first line of whoever opens a connection to an OpenGroove port (637xx), in any case.
pub const GREETING: &[u8] = b"OpenGroove";
