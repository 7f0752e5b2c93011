//! What is cleaned up in small steps, so that no one waits for it.

use rusqlite::params;
use rusqlite::Connection;
use rusqlite::OptionalExtension;

use super::abroad;
use super::accounts;
use super::mail;
use super::objects;
use super::objects::Growth;
use super::prepare;
use super::rights::Found;
use super::sql;
use super::tree;
use super::unsql;
use super::workspaces;
use crate::wire::Fail;

/// Store lane. One step of cleaning: removed accounts, what was deleted, acknowledged changes, messages never sent. At
/// most about `budget` rows. True: there is more.
pub fn step(db: &Connection, budget: u64, now: u64) -> Result<bool, Fail> {
    let mut left = budget.max(1);
    for work in [empty_trash, let_leave, drop_acknowledged, drop_unsent] {
        while left > 0 {
            let Some(done) = work(db, left, now)? else { break };
            // What finds nothing to do in a row has deleted the row itself.
            left = left.saturating_sub(done.max(1));
        }
    }
    Ok(left == 0)
}

/// One piece of work of at most about `left` rows, and how many there were; `None`: there is nothing to do.
type Done = Result<Option<u64>, Fail>;

fn empty_trash(db: &Connection, left: u64, _: u64) -> Done {
    let first = prepare(db, "SELECT object, folder, payer FROM trash LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()
        .map_err(Fail::internal)?;
    let Some((id, folder, payer)) = first else { return Ok(None) };
    let done = match folder {
        true => empty_folder(db, id, payer, left)?,
        false => objects::drop_extents(db, id, left)?,
    };
    if done < left {
        objects::forget(db, id)?;
        prepare(db, "DELETE FROM acl WHERE object = ?1")?.execute([id]).map_err(Fail::internal)?;
        prepare(db, "DELETE FROM trash WHERE object = ?1")?.execute([id]).map_err(Fail::internal)?;
    }
    Ok(Some(done))
}

/// Deletes at most `left` entries of a folder; folders in it go to the trash themselves.
fn empty_folder(db: &Connection, folder: i64, payer: i64, left: u64) -> Result<u64, Fail> {
    let entries: Vec<(String, i64, i64)> =
        prepare(db, "SELECT name, id, kind FROM entries WHERE parent = ?1 ORDER BY name LIMIT ?2")?
            .query_map([folder, sql(left)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .and_then(Iterator::collect)
            .map_err(Fail::internal)?;
    let mut growth = Growth::default();
    for (name, id, kind) in &entries {
        let entry = Found { id: *id, kind: *kind, list: *id };
        prepare(db, "DELETE FROM entries WHERE parent = ?1 AND name = ?2")?
            .execute(params![folder, name])
            .map_err(Fail::internal)?;
        if entry.is_folder() {
            tree::forget_list(db, &entry)?;
            objects::trash(db, *id, true, payer)?;
            growth.items -= 1;
        } else {
            let gone = tree::discard_file(db, &entry)?;
            growth = Growth { bytes: growth.bytes + gone.bytes, items: growth.items + gone.items };
        }
    }
    accounts::charge(db, payer, growth)?;
    Ok(entries.len() as u64)
}

fn let_leave(db: &Connection, left: u64, now: u64) -> Done {
    let first: Option<i64> = prepare(db, "SELECT account FROM leaving LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()
        .map_err(Fail::internal)?;
    let Some(account) = first else { return Ok(None) };
    let text = "SELECT m.id, m.sender, m.sent, m.remaining FROM inbox i JOIN messages m ON m.id = i.message
                WHERE i.account = ?1 ORDER BY i.sent, i.message LIMIT ?2";
    let received = messages(db, text, account, left)?;
    for row in &received {
        mail::take(db, row, account)?;
    }
    let mut done = received.len() as u64;
    let text = "SELECT id, sender, sent, remaining FROM messages WHERE sender = ?1 AND sent = 0 LIMIT ?2";
    let begun = messages(db, text, account, left - done)?;
    for row in &begun {
        mail::drop_message(db, row)?;
    }
    done += begun.len() as u64;
    done += abroad::leave(db, account, left - done, now)?;
    let text = "UPDATE workspaces SET creator = 0 WHERE id IN (SELECT id FROM workspaces WHERE creator = ?1 LIMIT ?2)";
    done += prepare(db, text)?.execute([account, sql(left - done)]).map_err(Fail::internal)? as u64;
    let took_part: Vec<i64> = prepare(db, "SELECT workspace FROM participants WHERE account = ?1 LIMIT ?2")?
        .query_map([account, sql(left - done)], |row| row.get(0))
        .and_then(Iterator::collect)
        .map_err(Fail::internal)?;
    for workspace in &took_part {
        workspaces::depart(db, *workspace, account)?;
    }
    done += took_part.len() as u64;
    for text in [
        "DELETE FROM acl WHERE account = ?1 AND object IN (SELECT object FROM acl WHERE account = ?1 LIMIT ?2)",
        "DELETE FROM metadata WHERE account = ?1 AND key IN (SELECT key FROM metadata WHERE account = ?1 LIMIT ?2)",
    ] {
        done += prepare(db, text)?.execute([account, sql(left - done)]).map_err(Fail::internal)? as u64;
    }
    if done < left {
        prepare(db, "DELETE FROM leaving WHERE account = ?1")?.execute([account]).map_err(Fail::internal)?;
    }
    Ok(Some(done))
}

fn messages(db: &Connection, text: &str, account: i64, count: u64) -> Result<Vec<mail::Row>, Fail> {
    prepare(db, text)?
        .query_map([account, sql(count)], |row| {
            Ok(mail::Row { id: row.get(0)?, sender: row.get(1)?, sent: row.get(2)?, remaining: row.get(3)? })
        })
        .and_then(Iterator::collect)
        .map_err(Fail::internal)
}

fn drop_acknowledged(db: &Connection, left: u64, _: u64) -> Done {
    let first: Option<i64> = prepare(db, "SELECT workspace FROM acknowledged LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()
        .map_err(Fail::internal)?;
    let Some(workspace) = first else { return Ok(None) };
    let done = workspaces::drop_changes(db, workspace, left)?;
    if done < left {
        let text = "DELETE FROM acknowledged WHERE workspace = ?1";
        prepare(db, text)?.execute([workspace]).map_err(Fail::internal)?;
    }
    Ok(Some(done))
}

/// Ids grow with time: those that wait longest come first.
fn drop_unsent(db: &Connection, _: u64, now: u64) -> Done {
    let text = "SELECT m.id, m.sender, m.sent, m.remaining, o.created FROM messages m JOIN objects o ON o.id = m.id
                WHERE m.sent = 0 ORDER BY m.id LIMIT 1";
    let oldest = prepare(db, text)?
        .query_row([], |row| {
            let row_of = mail::Row { id: row.get(0)?, sender: row.get(1)?, sent: row.get(2)?, remaining: row.get(3)? };
            Ok((row_of, unsql(row.get(4)?)))
        })
        .optional()
        .map_err(Fail::internal)?;
    match oldest {
        Some((oldest, created)) if created.saturating_add(mail::UNSENT_FOR) < now => {
            mail::drop_message(db, &oldest)?;
            Ok(Some(1))
        }
        _ => Ok(None),
    }
}
