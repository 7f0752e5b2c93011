//! Voice over real sockets: the wire of KV byte by byte, attacks on it, many members, several servers. The client here makes its bytes by
//! hand, so that it is wrong where the product is wrong in none of the same ways.

#[path = "../support/mod.rs"]
mod support;

mod abroad;
mod attacks;
mod bounds;
mod commands;
mod crowd;
mod garbage;
mod kept;
mod kv;
mod load;
mod media;
mod noise;
mod pieces;
mod proven;
mod servers;
mod signed;
mod udp;

use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::RwLockReadGuard;
use std::sync::RwLockWriteGuard;
use std::time::Duration;

use support::Server;

/// Far more than anything takes here.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who counts losses has the machine for itself.
static MACHINE: RwLock<()> = RwLock::new(());

/// Beside others.
fn beside() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

/// Alone.
fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}

/// A server where anyone may register, and whoever does may make channels.
fn server() -> Server {
    Server::start(&["--set", "management.registration=open", "--set", "voice.default_rights=[\"add_channel\"]"])
}

/// What a voice user may do from now on.
#[track_caller]
fn grant(server: &Server, uid: u64, rights: &str) {
    support::admin(server, &["voice-rights", &uid.to_string(), rights]);
}
