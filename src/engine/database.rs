//! Opening a role's SQLite database: durable settings and migrations.

use std::path::Path;

use rusqlite::Connection;

/// Opens the database at `path`, making it (0600) if there is none, and brings its schema up to date: migration `n` of
/// `migrations` takes the database from version `n` to `n + 1`.
///
/// # Errors
/// When the file cannot be opened, a migration fails, or it was written by a newer version.
pub fn open(path: &Path, migrations: &[&str]) -> Result<Connection, String> {
    super::files::create_private(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut connection = Connection::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    migrate(&mut connection, migrations).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(connection)
}

/// A database in memory, for simulations.
pub fn in_memory(migrations: &[&str]) -> Result<Connection, String> {
    let mut connection = Connection::open_in_memory().map_err(|error| error.to_string())?;
    migrate(&mut connection, migrations)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), String> {
    let run = |connection: &mut Connection| -> rusqlite::Result<Option<usize>> {
        // An OK is sent after the commit; FULL makes the commit reach the disk.
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        connection.set_prepared_statement_cache_capacity(64);
        let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let version = version as usize;
        if version > migrations.len() {
            return Ok(Some(version));
        }
        for (n, migration) in migrations.iter().enumerate().skip(version) {
            let transaction = connection.transaction()?;
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", n as u32 + 1)?;
            transaction.commit()?;
        }
        Ok(None)
    };
    match run(connection) {
        Ok(None) => Ok(()),
        Ok(Some(version)) => {
            Err(format!("the database has version {version}; this program knows {}", migrations.len()))
        }
        Err(error) => Err(error.to_string()),
    }
}
