//! More than one server: the handshake between servers and what attackers try with it, and joining a network.

#[path = "../support/mod.rs"]
mod support;

mod cut;
mod handshake;
mod join;
mod opener;
mod relayed;

use std::time::Duration;

/// How long what is waited for may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
