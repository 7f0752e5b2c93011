//! Floor 2: the one line-protocol engine that every role and the client library run on.

mod bodies;
mod bound;
pub mod chunk;
pub mod clock;
pub mod command;
pub mod ctx;
pub mod database;
pub mod effect;
pub mod files;
pub mod handshake;
pub mod host;
pub mod identity;
mod ids;
mod incoming;
pub mod limits;
mod link;
pub mod net;
mod outbox;
pub mod rt;
pub mod sim;
pub mod tag;
pub mod tls;
pub mod worker;

pub use command::anyone;
pub use command::run_within;
pub use command::Answer;
pub use command::Command;
pub use command::Gone;
pub use command::Later;
pub use command::Request;
pub use command::Role;
pub use ctx::Ctx;
pub use ctx::LinkId;
pub use ctx::Target;
pub use ctx::Verify;
pub use host::Host;
