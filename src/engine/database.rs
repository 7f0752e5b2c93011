//! Opening a role's SQLite database: durable settings and migrations.

use std::path::Path;

use rusqlite::backup::Backup;
use rusqlite::backup::StepResult;
use rusqlite::Connection;
use rusqlite::OpenFlags;

/// Pages that a snapshot copies between two words on how far it is.
const PAGES: i32 = 1_000;

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

/// A database that another process may be writing to, as it was at one moment: who writes goes on, and its log grows meanwhile.
pub struct Snapshot {
    connection: Connection,
    name: String,
}

impl Snapshot {
    /// Takes it, of the database at `path`.
    ///
    /// # Errors
    /// In words: there is none, or it cannot be read.
    pub fn begin(path: &Path) -> Result<Snapshot, String> {
        let name = path.display().to_string();
        let open = || {
            // Not read-only: what a killed process left in its log is put in order by whoever opens it first.
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(std::time::Duration::from_secs(10))?;
            connection.execute_batch("BEGIN")?;
            // The first read fixes the moment.
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
            Ok(connection)
        };
        let connection = open().map_err(|error: rusqlite::Error| format!("{name}: {error}"))?;
        Ok(Snapshot { connection, name })
    }

    /// Reads from it.
    ///
    /// # Errors
    /// In words.
    pub fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, String> {
        read(&self.connection).map_err(|error| format!("{}: {error}", self.name))
    }

    /// How large it is, in bytes.
    ///
    /// # Errors
    /// In words.
    pub fn size(&self) -> Result<u64, String> {
        let number = |pragma: &str| self.read(|db| db.pragma_query_value(None, pragma, |row| row.get::<_, u32>(0)));
        Ok(u64::from(number("page_count")?).saturating_mul(u64::from(number("page_size")?)))
    }

    /// Copies it to a new file (0600), durable on return. `moved` is told of every few bytes that were copied, and ends it with words.
    ///
    /// # Errors
    /// In words; half a file is left then.
    pub fn copy(&self, to: &Path, moved: &dyn Fn(u64) -> Result<(), String>) -> Result<(), String> {
        let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", to.display());
        super::files::create_private(to).map_err(|error| fail(&error))?;
        let mut copy = Connection::open(to).map_err(|error| fail(&error))?;
        // Half a copy is thrown away, and a whole one synced below.
        let quick = |pragma| copy.pragma_update(None, pragma, "OFF").map_err(|error| fail(&error));
        quick("journal_mode")?;
        quick("synchronous")?;
        let size = self.read(|db| db.pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0)))?;
        let backup = Backup::new(&self.connection, &mut copy).map_err(|error| fail(&error))?;
        let mut left = None;
        // It runs in the transaction that is open: nothing that is written meanwhile makes it begin anew.
        loop {
            let step = backup.step(PAGES).map_err(|error| fail(&error))?;
            let now = backup.progress();
            let before = left.replace(now.remaining).unwrap_or(now.pagecount);
            moved(u64::try_from(before.saturating_sub(now.remaining)).unwrap_or(0).saturating_mul(u64::from(size)))?;
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                _ => return Err(fail(&"the database is locked")),
            }
        }
        drop(backup);
        copy.close().map_err(|(_, error)| fail(&error))?;
        std::fs::File::open(to).and_then(|file| file.sync_all()).map_err(|error| fail(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_of_one_moment_whoever_writes() {
        let folder = std::env::temp_dir().join(format!("convergia-snapshot-{}", std::process::id()));
        super::super::files::create_folder(&folder).unwrap();
        let (path, copy) = (folder.join("a"), folder.join("b"));
        let writer = open(&path, &["CREATE TABLE t (n INTEGER, filling BLOB)"]).unwrap();
        let fill = |from: u32| {
            for n in from..from + 3_000 {
                writer.execute("INSERT INTO t VALUES (?1, zeroblob(4000))", [n]).unwrap();
            }
        };
        writer.execute_batch("PRAGMA synchronous = OFF").unwrap();
        fill(0);
        let snapshot = Snapshot::begin(&path).unwrap();
        fill(3_000);
        let (told, steps) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
        snapshot
            .copy(&copy, &|bytes| {
                writer.execute("UPDATE t SET n = n + 1", []).unwrap();
                told.set(told.get() + bytes);
                steps.set(steps.get() + 1);
                Ok(())
            })
            .unwrap();
        assert!(steps.get() > 1 && told.get() == snapshot.size().unwrap());
        drop(snapshot);
        let copied = open(&copy, &["CREATE TABLE t (n INTEGER, filling BLOB)"]).unwrap();
        let sum = copied.query_row("SELECT count(*), sum(n) FROM t", [], |row| Ok((row.get(0)?, row.get(1)?)));
        assert_eq!(sum, Ok((3_000_i64, 3_000 * 2_999 / 2_i64)));
        assert_eq!(
            copied.pragma_query_value(None, "integrity_check", |row| row.get::<_, String>(0)),
            Ok("ok".to_owned())
        );
        std::fs::remove_dir_all(folder).unwrap();
    }
}
