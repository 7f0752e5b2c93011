//! SIGNON: a client shows the ticket that management gave it for this server.

use super::kept;
use super::management;
use super::Head;
use super::Main;
use super::Peer;
use super::Session;
use super::SESSIONS;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::route::UserRef;
use crate::wire::hex;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

pub const SIGN_ON: Command<Main> =
    Command { name: "SIGNON", ports: &[PortKey::ClientMain], args: "username LF ticket", gate: anyone, run };

fn run(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [user, ticket] = request.data().take()?;
    let (user, ticket) = (user.text()?, ticket.unescape());
    name::check_user(&user)?;
    match ctx.peer(request.link) {
        Some(peer @ Peer::Stranger) => *peer = Peer::SigningOn,
        _ => return Err(Fail::new(Code::BadCommand, "this connection has signed on already")),
    }
    let Some(validation) = main.management.validation() else {
        forget(ctx, request.link);
        return Err(Fail::new(Code::Unavailable, "the management server is not reachable; retry later"));
    };
    let later = request.later();
    let server = main.settings.server_id.clone();
    let fields = [user.as_bytes(), &ticket, server.as_bytes()];
    ctx.request(validation, "VALIDATE", &fields, move |main, ctx, answer| {
        // The answer is the name as registered, and the account's number.
        let result = answer.and_then(|data| data.take::<2>()).and_then(|[name, account]| {
            let (name, account) = (name.text()?, account.number()?);
            name::check_user(&name)?;
            begin(main, ctx, later.link(), &name, account)
        });
        match result {
            Ok((index, session_id)) => {
                ctx.answer(&later, Ok(session_id.into_bytes()));
                kept::deliver(main, ctx, index);
            }
            Err(fail) => {
                forget(ctx, later.link());
                ctx.answer(&later, Err(fail));
            }
        }
    });
    Ok(Answer::Later)
}

fn forget(ctx: &mut Ctx<Main>, link: LinkId) {
    if let Some(peer) = ctx.peer(link) {
        *peer = Peer::Stranger;
    }
}

/// The ticket is good: the link becomes a session.
fn begin(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    link: LinkId,
    name: &str,
    account: u64,
) -> Result<(usize, String), Fail> {
    let signed_on = main.table.find(name).and_then(|user| main.table.get(user)).map_or(0, |user| user.here.len());
    if signed_on >= SESSIONS {
        return Err(Fail::new(Code::Limit, "this user is signed on 8 times already"));
    }
    let now = ctx.now();
    let mut id = [0u8; 8];
    rand::Rng::fill_bytes(ctx.rng(), &mut id);
    // A link that is being closed takes nothing more: what is kept for the user would be lost on it.
    let open = ctx.is_open(link);
    let Some(peer) = ctx.peer(link).filter(|_| open) else {
        return Err(Fail::new(Code::Offline, "the connection is gone"));
    };
    let index = main.free.pop().unwrap_or_else(|| {
        main.sessions.push(None);
        main.sessions.len() - 1
    });
    *peer = Peer::Client(index);
    let user = main.table.sign_on(name, link);
    let last = (Vec::new(), UserRef::default());
    main.sessions[index] = Some(Session { link, user, account, head: Head::new(name), since: now, last });
    ctx.trust(link);
    ctx.keep_undelivered(link);
    management::presence(main, ctx, name);
    log::info!("{name} signed on ({} of {SESSIONS})", signed_on + 1);
    Ok((index, hex::encode(&id)))
}
