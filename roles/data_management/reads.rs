//! Commands that only read: a query, and what it says of blocks is fetched.

use super::get;
use super::hashes;
use super::operate::Ask;
use super::DataManagement;
use crate::engine::Ctx;
use crate::storage::args;
use crate::storage::files;
use crate::storage::mail;
use crate::storage::metadata;
use crate::storage::tree;
use crate::storage::tree::Info;
use crate::storage::workspaces;
use crate::storage::workspaces::Change;
use crate::storage::Caller;
use crate::storage::Piece;
use crate::storage::ServerNo;
use crate::wire::Body;
use crate::wire::Fail;
use rusqlite::Connection;

/// How often GETINFO begins anew when the file changes meanwhile.
const TRIES: u32 = 3;

fn caller(dm: &DataManagement, ask: &Ask<'_>) -> Result<Caller, Fail> {
    dm.users.get(ask.at).map(|user| user.caller.clone()).ok_or_else(super::changes::unknown)
}

/// Answers with the text of a query.
fn text(
    dm: &mut DataManagement,
    ctx: &mut Ctx<DataManagement>,
    ask: Ask<'_>,
    query: impl FnOnce(&Connection, &Caller) -> Result<String, Fail> + Send + 'static,
) -> Result<(), Fail> {
    let (caller, later) = (caller(dm, &ask)?, ask.later);
    ctx.query(move |db| query(db, &caller), move |_, ctx, text| ctx.answer(&later, text.map(String::into_bytes)));
    Ok(())
}

/// Answers with the bytes of pieces that a query says.
fn bytes(
    dm: &mut DataManagement,
    ctx: &mut Ctx<DataManagement>,
    ask: Ask<'_>,
    query: impl FnOnce(&Connection, &Caller) -> Result<Vec<Piece>, Fail> + Send + 'static,
) -> Result<(), Fail> {
    let (caller, later) = (caller(dm, &ask)?, ask.later);
    ctx.query(
        move |db| query(db, &caller),
        move |dm, ctx, pieces| match pieces {
            Ok(pieces) => get::read(dm, ctx, pieces, move |_, ctx, bytes| {
                ctx.answer_body(&later, bytes.map(Body::Blob));
            }),
            Err(fail) => ctx.answer(&later, Err(fail)),
        },
    );
    Ok(())
}

pub fn file(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>) -> Result<(), Fail> {
    let (path, offset, length) = args::read(ask.data)?;
    bytes(dm, ctx, ask, move |db, caller| files::plan_read(db, caller, &path, offset, length))
}

pub fn message(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>) -> Result<(), Fail> {
    let (id, offset, length) = args::read_message(ask.data)?;
    bytes(dm, ctx, ask, move |db, caller| mail::plan_read(db, caller, &id, offset, length))
}

/// Lines `name|file or folder|size|modified`.
pub fn folder(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>) -> Result<(), Fail> {
    let path = args::path(ask.data)?;
    text(dm, ctx, ask, move |db, caller| {
        let line = |entry: &tree::Entry| {
            let kind = if entry.folder { "folder" } else { "file" };
            format!("{}|{kind}|{}|{}", entry.name, entry.size, entry.modified)
        };
        Ok(tree::list_folder(db, caller, &path)?.iter().map(line).collect::<Vec<_>>().join("\n"))
    })
}

/// Lines `message-id|sender|size|sent-at`.
pub fn messages(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>) -> Result<(), Fail> {
    no_data(&ask)?;
    text(dm, ctx, ask, |db, caller| {
        let line = |one: &mail::Message| format!("{}|{}|{}|{}", one.name(), one.sender, one.size, one.sent);
        Ok(mail::list(db, caller)?.iter().map(line).collect::<Vec<_>>().join("\n"))
    })
}

fn no_data(ask: &Ask<'_>) -> Result<(), Fail> {
    match ask.data.is_empty() {
        true => Ok(()),
        false => Err(Fail::bad_args("this command takes no arguments")),
    }
}

/// Lines `name|creator|last change|acknowledged|number of participants`.
pub fn workspaces(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>) -> Result<(), Fail> {
    no_data(&ask)?;
    text(dm, ctx, ask, |db, caller| {
        let line = |one: &workspaces::Workspace| {
            let creator = one.creator.as_deref().unwrap_or_default();
            format!("{}|{creator}|{}|{}|{}", one.name, one.last, one.acked, one.participants)
        };
        Ok(workspaces::list(db, caller)?.iter().map(line).collect::<Vec<_>>().join("\n"))
    })
}

/// A name a line.
pub fn participants(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>) -> Result<(), Fail> {
    let workspace = args::workspace(ask.data)?;
    text(dm, ctx, ask, move |db, caller| Ok(workspaces::participants(db, caller, &workspace)?.join("\n")))
}

pub fn metadata(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>) -> Result<(), Fail> {
    let (user, key) = args::get_metadata(ask.data)?;
    let (caller, later) = (caller(dm, &ask)?, ask.later);
    ctx.query(move |db| metadata::get(db, &caller, &user, &key), move |_, ctx, value| ctx.answer(&later, value));
    Ok(())
}

/// Lines `key|size`.
pub fn keys(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>) -> Result<(), Fail> {
    let user = args::user(ask.data)?;
    text(dm, ctx, ask, move |db, caller| {
        let line = |(key, size): &(String, u64)| format!("{key}|{size}");
        Ok(metadata::list(db, caller, &user)?.iter().map(line).collect::<Vec<_>>().join("\n"))
    })
}

/// Of each change a line `seq|author|posted-at|size`, then so many bytes; an LF between two changes.
pub fn changes(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>) -> Result<(), Fail> {
    let (workspace, after, count) = args::read_changes(ask.data)?;
    let (caller, later) = (caller(dm, &ask)?, ask.later);
    ctx.query(
        move |db| workspaces::read(db, &caller, &workspace, after, count),
        move |dm, ctx, changes| match changes {
            Ok(changes) => {
                // All pieces in one read, and then shared out.
                let size = |change: &Change| match &change.body {
                    Some(body) => body.len(),
                    None => change.pieces.iter().map(|piece| piece.length as usize).sum(),
                };
                let sizes: Vec<usize> = changes.iter().map(size).collect();
                let pieces = changes.iter().flat_map(|change| change.pieces.iter().cloned()).collect();
                get::read(dm, ctx, pieces, move |_, ctx, bytes| {
                    ctx.answer(&later, bytes.map(|bytes| written(&changes, &sizes, &bytes)));
                });
            }
            Err(fail) => ctx.answer(&later, Err(fail)),
        },
    );
    Ok(())
}

fn written(changes: &[Change], sizes: &[usize], mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (change, size) in changes.iter().zip(sizes) {
        if !out.is_empty() {
            out.push(b'\n');
        }
        out.extend_from_slice(format!("{}|{}|{}|{size}\n", change.seq, change.author, change.at).as_bytes());
        match &change.body {
            Some(body) => out.extend_from_slice(body),
            None => {
                let (here, rest) = bytes.split_at_checked(*size).unwrap_or((bytes, &[]));
                out.extend_from_slice(here);
                bytes = rest;
            }
        }
    }
    out
}

/// Lines `key|value`. The hash of a file that is not known is computed now.
pub fn info(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>) -> Result<(), Fail> {
    let path = args::path(ask.data)?;
    let (caller, later) = (caller(dm, &ask)?, ask.later);
    ask_info(dm, ctx, path, caller, TRIES, move |_, ctx, answer| ctx.answer(&later, answer));
    Ok(())
}

type Then = Box<dyn FnOnce(&mut DataManagement, &mut Ctx<DataManagement>, Result<Vec<u8>, Fail>) + Send>;

fn ask_info(
    dm: &mut DataManagement,
    ctx: &mut Ctx<DataManagement>,
    path: args::Path,
    caller: Caller,
    tries: u32,
    then: impl FnOnce(&mut DataManagement, &mut Ctx<DataManagement>, Result<Vec<u8>, Fail>) + Send + 'static,
) {
    let live: Vec<ServerNo> = dm.servers.up.keys().copied().collect();
    let (wanted, asks) = (path.clone(), caller.clone());
    ctx.query(
        move |db| tree::info(db, &asks, &wanted, &live),
        move |dm, ctx, info| {
            let info = match info {
                Ok(info) => info,
                Err(fail) => return then(dm, ctx, Err(fail)),
            };
            let known = info.folder || info.hash.is_some();
            if known || info.size == 0 {
                let hash = info.hash.map(|hash| hash.to_string());
                let empty = || crate::blocks::Hash::of(b"").to_string();
                let hash = hash.or_else(|| (!info.folder).then(empty));
                return then(dm, ctx, Ok(lines(&info, hash)));
            }
            let (object, version, size) = (info.object, info.version, info.size);
            hashes::compute(dm, ctx, object, version, size, move |dm, ctx, hash| match hash {
                Ok(hash) => then(dm, ctx, Ok(lines(&info, Some(hash.to_string())))),
                // It has changed.
                Err(fail) if fail.code == crate::wire::Code::NotFound && tries > 1 => {
                    // Boxed, as it comes back to itself.
                    let then: Then = Box::new(then);
                    ask_info(dm, ctx, path, caller, tries - 1, then);
                }
                // All but the hash.
                Err(_) => then(dm, ctx, Ok(lines(&info, None))),
            });
        },
    );
}

fn lines(info: &Info, hash: Option<String>) -> Vec<u8> {
    let kind = if info.folder { "folder" } else { "file" };
    let mut lines = vec![
        format!("type|{kind}"),
        format!("size|{}", info.size),
        format!("owner|{}", info.owner.as_deref().unwrap_or_default()),
        format!("created|{}", info.created),
        format!("modified|{}", info.modified),
    ];
    lines.extend(hash.map(|hash| format!("hash|{hash}")));
    lines.extend(info.copies.map(|copies| format!("copies|{copies}")));
    lines.push(format!("permissions|{}", info.permissions.join("|")));
    lines.join("\n").into_bytes()
}
