//! What a client of a realm asks of its account when it has signed on. At 63745 there is no other port to ask at.

use super::desk;
use super::DOORS;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::roles::main::session_of;
use crate::roles::main::signed_on;
use crate::roles::main::Main;
use crate::wire::raw;
use crate::wire::Code;
use crate::wire::Fail;

type Run = fn(&mut Main, &mut Ctx<Main>, &Request<'_>) -> Result<Answer, Fail>;

const fn row(name: &'static str, args: &'static str, run: Run) -> Command<Main> {
    Command { name, ports: DOORS, args, gate: signed_on, run }
}

pub const ADD_KEY: Command<Main> =
    row("ADDKEY", "label LF public key", |main, ctx, request| pass(main, ctx, request, "ADDKEY"));
pub const LIST_KEYS: Command<Main> = row("LISTKEYS", "", |main, ctx, request| pass(main, ctx, request, "LISTKEYS"));
pub const REMOVE_KEY: Command<Main> =
    row("REMOVEKEY", "label", |main, ctx, request| pass(main, ctx, request, "REMOVEKEY"));
pub const CHANGE_PASSWORD: Command<Main> =
    row("CHANGEPASSWORD", "old LF new", |main, ctx, request| pass(main, ctx, request, "CHANGEPASSWORD"));
pub const REVOKE_TOKENS: Command<Main> =
    row("REVOKETOKENS", "", |main, ctx, request| pass(main, ctx, request, "REVOKETOKENS"));

/// The receipt that the user is here signs the link on to the account; then management is asked what the user asked.
fn pass(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>, command: &'static str) -> Result<Answer, Fail> {
    let gone = || Fail::new(Code::SignIn, "sign on first");
    let session = main.session(session_of(ctx, request.link)?).ok_or_else(gone)?;
    let user = main.table.get(session.user).map(|user| user.name.to_string()).ok_or_else(gone)?;
    let account = session.account;
    let receipt = main.receipts.of(account).to_owned();
    let data = request.data().0.to_vec();
    let (later, link) = (request.later(), request.link);
    if main.realm.as_ref().is_some_and(|realm| realm.desks.contains_key(&link)) {
        return Err(Fail::new(Code::Busy, "the account is being asked about already; wait for the answer"));
    }
    let mut shown = Vec::new();
    for (n, field) in [user.as_str(), &account.to_string(), &receipt].into_iter().enumerate() {
        if n > 0 {
            shown.extend_from_slice(raw::SEPARATOR);
        }
        raw::escape_into(&mut shown, field.as_bytes());
    }
    desk::ask(main, ctx, link, "ASACCOUNT", shown, move |main, ctx, answer| {
        if let Err(fail) = answer {
            desk::close(main, ctx, link);
            return ctx.answer(&later, Err(fail));
        }
        desk::ask(main, ctx, link, command, data, move |main, ctx, answer| {
            desk::close(main, ctx, link);
            ctx.answer_kept(&later, answer);
        });
    });
    Ok(Answer::Later)
}
