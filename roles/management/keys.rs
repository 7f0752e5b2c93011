//! ADDKEY, LISTKEYS, REMOVEKEY: the Ed25519 keys of an account. GETKEYS: those of any account, as its owner is told by them where no
//! server is in between.

use super::account_of;
use super::main_server;
use super::signed_on;
use super::Management;
use super::ACCOUNT_PORTS;
use crate::accounts::keyring;
use crate::accounts::keys;
use crate::accounts::users;
use crate::accounts::users::State;
use crate::config::PortKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

pub const ADD_KEY: Command<Management> =
    Command { name: "ADDKEY", ports: ACCOUNT_PORTS, args: "label LF public key", gate: signed_on, run: add };

pub const LIST_KEYS: Command<Management> =
    Command { name: "LISTKEYS", ports: ACCOUNT_PORTS, args: "", gate: signed_on, run: list };

pub const REMOVE_KEY: Command<Management> =
    Command { name: "REMOVEKEY", ports: ACCOUNT_PORTS, args: "label", gate: signed_on, run: remove };

pub const GET_KEYS: Command<Management> =
    Command { name: "GETKEYS", ports: ACCOUNT_PORTS, args: "username", gate: may_get, run: get };

/// Users who have signed on; and main servers, which ask for theirs.
fn may_get(management: &Management, ctx: &Ctx<Management>, link: LinkId) -> Result<(), Fail> {
    match ctx.info(link).is_some_and(|info| info.port == PortKey::MainManagement) {
        true => main_server(management, ctx, link),
        false => signed_on(management, ctx, link),
    }
}

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
        move |_, ctx, held| ctx.answer(&later, held.map(|held| lines(&held))),
    );
    Ok(Answer::Later)
}

fn lines(held: &[keyring::Key]) -> Vec<u8> {
    let line = |key: &keyring::Key| format!("{}|{}|{}", key.label, keys::to_base64(&key.public), key.created);
    held.iter().map(line).collect::<Vec<_>>().join("\n").into_bytes()
}

fn get(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let user = request.data().text()?.into_owned();
    name::check_user(&user)?;
    let later = request.later();
    ctx.query(
        move |db| {
            // Nobody acts for an account that the operator has disabled.
            let user = users::find(db, &user)?.filter(|user| user.state == State::Active);
            let user = user.ok_or_else(|| Fail::new(Code::NotFound, "there is no such user"))?;
            keyring::list(db, user.id)
        },
        move |_, ctx, held| ctx.answer(&later, held.map(|held| lines(&held))),
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
