//! Voice: a member of a channel. `Voice` is the membership; the rest is pure: what a datagram holds, when packets go out and sound,
//! and Ogg Opus files.

pub mod frame;
pub mod jitter;
pub mod ogg;
pub mod pacing;
pub mod toc;
pub mod track;
