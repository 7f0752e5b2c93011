//! SIGNOFF, and every other end of a session.

use super::handover;
use super::kept;
use super::management;
use super::marks;
use super::redirect;
use super::session_of;
use super::signed_on;
use super::standby;
use super::Main;
use super::Peer;
use super::CLIENTS;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::wire::Fail;

pub const SIGN_OFF: Command<Main> = Command { name: "SIGNOFF", ports: CLIENTS, args: "", gate: signed_on, run };

fn run(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let index = session_of(ctx, request.link)?;
    if redirect::signed_off(main, ctx, index, request) {
        return Ok(Answer::Later);
    }
    finish(main, ctx, index, request.link);
    Ok(Answer::Ok)
}

/// The session ends because its client wants it.
pub fn finish(main: &mut Main, ctx: &mut Ctx<Main>, index: usize, link: LinkId) {
    ctx.close(link, "signed off");
    if let Some(peer) = ctx.peer(link) {
        *peer = Peer::Stranger;
    }
    // Nothing is kept: whoever signs off reads to the end, or does not want to.
    // Nobody goes on with it.
    standby::drop_link(main, index);
    ended(main, ctx, index, "signed off", &[]);
}

/// The session's link is gone. What its client may not have read is kept for the next sign-on, unless another session
/// of the user was there to get it too, or another server goes on with it.
pub fn ended(main: &mut Main, ctx: &mut Ctx<Main>, index: usize, why: &str, undelivered: &[u8]) {
    if redirect::link_closed(main, ctx, index, undelivered) {
        return;
    }
    let standby = main.session(index).is_some_and(|session| session.standby.is_some());
    let Some(session) = main.forget_session(index) else { return };
    let quiet = session.quiet.unwrap_or_default();
    let waiting: Vec<Vec<u8>> = quiet.older.into_iter().map(|(_, data)| data).chain(quiet.messages).collect();
    if let Some(id) = session.came.map(|came| came.id).filter(|id| main.arrivals.get(id).is_some()) {
        let user = session.user;
        main.table.sign_off(user, session.link);
        return handover::link_closed(main, ctx, &id, waiting);
    }
    let Some(user) = main.table.get(session.user) else { return };
    let name = user.name.to_string();
    let left = main.table.sign_off(session.user, session.link);
    if left == 0 {
        main.statuses.remove(&*name);
    }
    log::info!("{name} signed off: {why}");
    marks::renew(main, &name);
    kept::keep(main, ctx, &name, session.account, undelivered);
    if !waiting.is_empty() {
        kept::store(main, ctx, &name, session.account, waiting);
    }
    // Perhaps the client is at its standby already.
    management::presence_then(main, ctx, &name, u32::from(standby), |_, _| {});
}
