//! What an operator does and sees (contract 12): start, reload, stop, restart, kick, the map, and who may read the files.

#[path = "../support/mod.rs"]
mod support;

mod drain;
mod files;
mod kick;
mod map;
mod operator;
mod reload;
mod restart;
mod start;
mod stop;
mod voice;

use std::time::Duration;

/// How long what is waited for may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
