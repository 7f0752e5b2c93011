//! GETKEYS: the keys of any user, for clients that talk to each other directly. Management knows them.

use super::signed_on;
use super::Main;
use super::CLIENTS;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// Questions that management has not answered: it has others to serve.
const UNDER_WAY: usize = 1_024;

pub const GET_KEYS: Command<Main> =
    Command { name: "GETKEYS", ports: CLIENTS, args: "username", gate: signed_on, run: get_keys };

fn get_keys(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let user = request.data().text()?;
    name::check_user(&user)?;
    let Some(management) = main.management.link() else {
        return Err(Fail::new(Code::Unavailable, "the management server is not reachable; retry later"));
    };
    if main.keys_asked >= UNDER_WAY {
        return Err(Fail::new(Code::Busy, "too many ask for keys; retry later"));
    }
    main.keys_asked += 1;
    let later = request.later();
    ctx.request(management, "GETKEYS", &[user.as_bytes()], move |main, ctx, answer| {
        main.keys_asked = main.keys_asked.saturating_sub(1);
        ctx.answer_kept(&later, answer);
    });
    Ok(Answer::Later)
}
