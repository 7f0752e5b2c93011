//! Storage: against a simple model, every command against every kind of caller, and the plans of its statements.

mod abroad;
mod cleanup;
mod copies;
mod model;
mod plans;
mod rights;

use convergia::storage::accounts;
use convergia::storage::args::Path;
use convergia::storage::copies::server;
use convergia::storage::Caller;
use convergia::storage::Hash;
use convergia::storage::Placed;
use convergia::wire::Code;
use convergia::wire::Fail;
use rusqlite::Connection;

pub fn database() -> Connection {
    let db = convergia::engine::database::in_memory(&[convergia::storage::SCHEMA, convergia::storage::SCHEMA_ABROAD])
        .unwrap();
    convergia::storage::tune(&db, 8 << 20).unwrap();
    db
}

pub fn caller(account: u64, name: &str) -> Caller {
    Caller { account, name: name.to_owned() }
}

pub fn welcome(db: &Connection, account: u64, name: &str) -> Caller {
    let caller = caller(account, name);
    accounts::welcome(db, &caller, 1).unwrap();
    caller
}

pub fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

/// Runs a job as the engine does: what fails leaves nothing behind.
pub fn job<T>(db: &Connection, work: impl FnOnce(&Connection) -> Result<T, Fail>) -> Result<T, Fail> {
    db.execute_batch("SAVEPOINT job").unwrap();
    let done = work(db);
    db.execute_batch(if done.is_ok() { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" }).unwrap();
    done
}

pub fn code<T>(result: Result<T, Fail>) -> Option<Code> {
    result.err().map(|fail| fail.code)
}

/// A block of a name that its number makes, on one server.
pub fn block(db: &Connection, n: u8, size: u32) -> Placed {
    let no = server(db, "data-1").unwrap();
    Placed { hash: Hash([n; 32]), size, copies: vec![(no, u64::from(n))] }
}

pub fn number(db: &Connection, text: &str) -> i64 {
    db.query_row(text, [], |row| row.get(0)).unwrap()
}
