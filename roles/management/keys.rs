//! ADDKEY, LISTKEYS, REMOVEKEY: the Ed25519 keys of an account.

use super::account_of;
use super::signed_on;
use super::Management;
use super::ACCOUNT_PORTS;
use crate::accounts::keyring;
use crate::accounts::keys;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::wire::name;
use crate::wire::Fail;

pub const ADD_KEY: Command<Management> =
    Command { name: "ADDKEY", ports: ACCOUNT_PORTS, args: "label LF public key", gate: signed_on, run: add };

pub const LIST_KEYS: Command<Management> =
    Command { name: "LISTKEYS", ports: ACCOUNT_PORTS, args: "", gate: signed_on, run: list };

pub const REMOVE_KEY: Command<Management> =
    Command { name: "REMOVEKEY", ports: ACCOUNT_PORTS, args: "label", gate: signed_on, run: remove };

fn add(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [label, public] = request.data().take()?;
    let label = label.text()?.into_owned();
    name::check(&label)?;
    let public = keys::parse_public(&public.text()?)?;
    let (account, later, now) = (account_of(ctx, request.link)?, request.later(), ctx.now());
    ctx.store(
        move |db| keyring::add(db, account.id, &label, &public, now),
        move |_, ctx, done| ctx.answer(&later, done.map(|()| Vec::new())),
    );
    Ok(Answer::Later)
}

fn list(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let (account, later) = (account_of(ctx, request.link)?, request.later());
    ctx.query(
        move |db| keyring::list(db, account.id),
        move |_, ctx, held| {
            let line = |key: &keyring::Key| format!("{}|{}|{}", key.label, keys::to_base64(&key.public), key.created);
            let lines = held.map(|held| held.iter().map(line).collect::<Vec<_>>().join("\n").into_bytes());
            ctx.answer(&later, lines);
        },
    );
    Ok(Answer::Later)
}

fn remove(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let label = request.data().text()?.into_owned();
    let (account, later) = (account_of(ctx, request.link)?, request.later());
    ctx.store(
        move |db| keyring::remove(db, account.id, &label),
        move |_, ctx, done| ctx.answer(&later, done.map(|()| Vec::new())),
    );
    Ok(Answer::Later)
}
