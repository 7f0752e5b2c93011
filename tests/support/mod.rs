//! What integration tests stand on: the real executable as a child process, and a client that can misbehave.
//!
//! `Server` starts and stops the executable, `Raw` speaks (or breaks) the protocol over TLS, `sign_on` has the steps of
//! the contract's sections 4 and 5. `Cluster` starts networks of several processes, with `Topology` behind firewalls, `traffic`
//! lets many users talk, `Checker` knows what must have arrived. Tests wait for packets, closes and exits, each with a bound, and never sleep.

// Every test file is a crate of its own and uses only a part of this.
#![allow(dead_code, unused_imports)]

pub mod chat;
pub mod check;
pub mod cluster;
pub mod command;
pub mod raw;
pub mod realms;
pub mod server;
pub mod sign_on;
pub mod sites;
pub mod slow;
pub mod temp;
pub mod tls;
pub mod traffic;

pub use chat::Chat;
pub use check::Checker;
pub use cluster::Cluster;
pub use cluster::Plan;
pub use command::admin;
pub use command::run;
pub use raw::Answer;
pub use raw::Line;
pub use raw::Raw;
pub use server::Server;
pub use sign_on::login;
pub use sign_on::register_open;
pub use sign_on::sign_on;
pub use sites::Sites;
pub use sites::Topology;
pub use slow::SlowLine;
pub use temp::TempDir;

/// Numbers that a seed decides: splitmix64. Tests print the seed, so that a failure can be run again.
pub struct Random(u64);

impl Random {
    /// `CONVERGIA_SEED`, or one from the clock; printed.
    pub fn seeded() -> Random {
        let clock = || {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.map_or(1, |since| u64::from(since.subsec_nanos()) ^ since.as_secs())
        };
        let seed = std::env::var("CONVERGIA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(clock);
        println!("CONVERGIA_SEED={seed}");
        Random(seed)
    }

    /// Those of this seed.
    pub fn from(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number below `bound` (not 0).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}
