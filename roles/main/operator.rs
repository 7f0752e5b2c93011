//! OPERATOR and GETACCOUNT: what management answers to the user of a session. This server passes it on with the user's receipt; whether the
//! user may, management decides.

use super::session_of;
use super::signed_on;
use super::Main;
use super::CLIENTS;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::wire::raw;
use crate::wire::raw::SEPARATOR;
use crate::wire::Code;
use crate::wire::Fail;

/// Bytes of one OPERATOR, as they stand on the wire.
const BYTES: usize = 64 << 10;
/// What each of these weighs: a session has at most 8 of them under way, and is not read meanwhile.
const WEIGHT: u64 = 2 << 20;

pub const OPERATOR: Command<Main> =
    Command { name: "OPERATOR", ports: CLIENTS, args: "command LF data", gate: signed_on, run: operator };

pub const GET_ACCOUNT: Command<Main> =
    Command { name: "GETACCOUNT", ports: CLIENTS, args: "", gate: signed_on, run: get_account };

fn operator(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let data = request.data();
    if data.0.len() > BYTES {
        return Err(Fail::bad_args("at most 64 KiB"));
    }
    let (command, data) = data.split_field();
    let data = data.map_or(&[][..], |data| data.0);
    ask(main, ctx, request, "OPERATE", &[SEPARATOR, command.0, SEPARATOR, data])
}

fn get_account(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    ask(main, ctx, request, "ACCOUNT", &[])
}

/// Asks management for the user of a session: `username LF account LF receipt`, and what follows, escaped already.
fn ask(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    request: &Request<'_>,
    command: &str,
    rest: &[&[u8]],
) -> Result<Answer, Fail> {
    let gone = || Fail::new(Code::SignIn, "sign on first");
    let session = main.session(session_of(ctx, request.link)?).ok_or_else(gone)?;
    let user = main.table.get(session.user).ok_or_else(gone)?;
    let unavailable = || Fail::new(Code::Unavailable, "the management server is not reachable; retry later");
    let link = main.management.link().ok_or_else(unavailable)?;
    let mut shown = Vec::new();
    raw::escape_into(&mut shown, user.name.as_bytes());
    for field in [session.account.to_string().as_str(), main.receipts.of(session.account)] {
        shown.extend_from_slice(SEPARATOR);
        raw::escape_into(&mut shown, field.as_bytes());
    }
    let mut later = request.later();
    ctx.weigh(&mut later, WEIGHT);
    let parts: Vec<&[u8]> = std::iter::once(shown.as_slice()).chain(rest.iter().copied()).collect();
    ctx.request_parts(link, command, &parts, move |_, ctx, answer| ctx.answer_kept(&later, answer));
    Ok(Answer::Later)
}
