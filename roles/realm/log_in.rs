//! LOGIN, LOGINKEY, PROVEKEY at a door: management says who it is, gives a ticket for this server, and the client is signed on with it.

use super::desk;
use super::door;
use super::DOORS;
use crate::engine::command::Later;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::roles::main::sign_on;
use crate::roles::main::Main;
use crate::roles::main::Peer;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

pub const LOGIN: Command<Main> = Command {
    name: "LOGIN",
    ports: DOORS,
    args: "username LF password, or username LF token:TOKEN",
    gate: door::connecting,
    run: login,
};

pub const LOGIN_KEY: Command<Main> =
    Command { name: "LOGINKEY", ports: DOORS, args: "username", gate: door::connecting, run: login_key };

pub const PROVE_KEY: Command<Main> =
    Command { name: "PROVEKEY", ports: DOORS, args: "signature", gate: door::connecting, run: prove_key };

fn login(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [user, _] = request.data().take()?;
    let user = user.text()?.into_owned();
    name::check_user(&user)?;
    prove(main, ctx, request, "LOGIN", user)
}

fn login_key(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let user = request.data().text()?.into_owned();
    name::check_user(&user)?;
    door::begin(ctx, request.link)?;
    if let Some(Peer::Door(door)) = ctx.peer(request.link) {
        door.key_of = Some(user);
    }
    let (later, data) = (request.later(), request.data().0.to_vec());
    desk::ask(main, ctx, request.link, "LOGINKEY", data, move |_, ctx, answer| {
        door::done(ctx, later.link());
        ctx.answer_kept(&later, answer);
    });
    Ok(Answer::Later)
}

fn prove_key(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let user = match ctx.peer(request.link) {
        Some(Peer::Door(door)) => door.key_of.take(),
        _ => None,
    };
    let user = user.ok_or_else(|| Fail::new(Code::BadCommand, "send LOGINKEY first"))?;
    prove(main, ctx, request, "PROVEKEY", user)
}

/// Passes on what proves who the user is.
fn prove(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    request: &Request<'_>,
    command: &'static str,
    user: String,
) -> Result<Answer, Fail> {
    door::begin(ctx, request.link)?;
    let (later, data) = (request.later(), request.data().0.to_vec());
    desk::ask(main, ctx, request.link, command, data, move |main, ctx, answer| {
        match answer.and_then(|token| Ok(token.text()?.into_owned())) {
            Ok(token) => get_ticket(main, ctx, later, user, token),
            Err(fail) => refuse(ctx, &later, fail),
        }
    });
    Ok(Answer::Later)
}

/// This server is the only one that the client could come to.
fn get_ticket(main: &mut Main, ctx: &mut Ctx<Main>, later: Later, user: String, token: String) {
    let link = later.link();
    let report = format!("{}|yes|0", main.settings.server_id).into_bytes();
    desk::ask(main, ctx, link, "REPORTSERVERS", report, move |main, ctx, answer| {
        let ticket =
            answer.and_then(|data| data.take::<2>()).map(|[_, ticket]: [Raw<'_>; 2]| ticket.unescape().into_owned());
        // What else the account is asked for, it is asked for on another link, by its receipt.
        desk::close(main, ctx, link);
        let begun = ticket.and_then(|ticket| match ctx.peer(link) {
            Some(peer @ Peer::Door(_)) => {
                *peer = Peer::SigningOn;
                sign_on::with_ticket(main, ctx, later.clone(), &user, &ticket, Some(token))
            }
            _ => Err(Fail::new(Code::Offline, "the connection is gone")),
        });
        if let Err(fail) = begun {
            sign_on::forget(ctx, link);
            refuse(ctx, &later, fail);
        }
    });
}

fn refuse(ctx: &mut Ctx<Main>, later: &Later, fail: Fail) {
    door::done(ctx, later.link());
    ctx.answer(later, Err(fail));
}
