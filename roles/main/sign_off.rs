//! SIGNOFF, and every other end of a session.

use super::kept;
use super::management;
use super::session_of;
use super::signed_on;
use super::Main;
use super::Peer;
use crate::config::PortKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::wire::Fail;

pub const SIGN_OFF: Command<Main> =
    Command { name: "SIGNOFF", ports: &[PortKey::ClientMain], args: "", gate: signed_on, run };

fn run(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let index = session_of(ctx, request.link)?;
    ctx.answer(&request.later(), Ok(Vec::new()));
    ctx.close(request.link, "signed off");
    if let Some(peer) = ctx.peer(request.link) {
        *peer = Peer::Stranger;
    }
    // Nothing is kept: whoever signs off reads to the end, or does not want to.
    ended(main, ctx, index, "signed off", &[]);
    Ok(Answer::Later)
}

/// The session's link is gone. What its client may not have read is kept for the next sign-on, unless another session
/// of the user was there to get it too.
pub fn ended(main: &mut Main, ctx: &mut Ctx<Main>, index: usize, why: &str, undelivered: &[u8]) {
    let Some(session) = main.sessions.get_mut(index).and_then(Option::take) else { return };
    main.free.push(index);
    let Some(user) = main.table.get(session.user) else { return };
    let name = user.name.to_string();
    let left = main.table.sign_off(session.user, session.link);
    if left == 0 {
        main.statuses.remove(&*name);
    }
    main.map.watchers.retain(|link| *link != session.link);
    log::info!("{name} signed off: {why}");
    kept::keep(main, ctx, &name, session.account, undelivered);
    management::presence(main, ctx, &name);
}
