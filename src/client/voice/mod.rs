//! Voice: a member of a channel. `Voice` is the membership, an async shell like `Client`; under it everything is pure: what a datagram
//! holds, when packets go out and when they sound, recordings, and Ogg Opus files. docs/voice.md describes the formats.

mod call;
pub mod datagram;
pub mod frame;
pub mod jitter;
pub mod joined;
pub mod ogg;
pub mod pacing;
pub mod toc;
pub mod track;
mod udp;

pub use call::Nudge;
pub use call::Told;
pub use call::Voice;
pub use frame::Frame;
pub use jitter::Jitter;
pub use joined::Channel;
pub use joined::Joined;
pub use joined::Person;
