//! What is cleaned up in small steps, so that no one waits for it.

#![allow(unused_variables)]

use rusqlite::Connection;

use crate::wire::Fail;

/// Store lane. One step of cleaning: removed accounts, what was deleted, acknowledged changes, messages never sent. At
/// most about `budget` rows. True: there is more.
pub fn step(db: &Connection, budget: u64, now: u64) -> Result<bool, Fail> {
    Err(Fail::internal("not built yet"))
}
