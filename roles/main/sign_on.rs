//! SIGNON: a client shows the ticket that management gave it for this server.

use super::fetch;
use super::handover;
use super::management;
use super::marks;
use super::realm;
use super::receipts;
use super::Came;
use super::Main;
use super::Peer;
use super::Session;
use super::SESSIONS;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::command::Later;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
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
    with_ticket(main, ctx, request.later(), &user, &ticket, None)
}

/// Checks the ticket of a link that is `Peer::SigningOn`, and signs it on. `words`: what is answered then; None: the session's id.
///
/// # Errors
/// UNAVAILABLE, when management is away.
pub fn with_ticket(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    later: Later,
    user: &str,
    ticket: &[u8],
    words: Option<String>,
) -> Result<Answer, Fail> {
    // Without the other link nobody would be told that the user is here.
    let Some(validation) = main.management.validation().filter(|_| main.management.link().is_some()) else {
        forget(ctx, later.link());
        return Err(Fail::new(Code::Unavailable, "the management server is not reachable; retry later"));
    };
    let server = main.settings.server_id.clone();
    let fields = [user.as_bytes(), ticket, server.as_bytes()];
    ctx.request(validation, "VALIDATE", &fields, move |main, ctx, answer| {
        // The answer is the name as registered, the account's number, and a receipt.
        let result = answer.and_then(|data| data.take::<3>()).and_then(|[name, account, receipt]| {
            let (name, account, receipt) = (name.text()?.into_owned(), account.number()?, receipt.text()?);
            name::check_user(&name)?;
            receipts::check(&receipt)?;
            check(main, ctx, later.link(), &name)?;
            main.receipts.given(account, &receipt, ctx.now());
            Ok((name, account))
        });
        match result {
            Ok((name, account)) => welcome(main, ctx, later, &name, account, words),
            Err(fail) => {
                forget(ctx, later.link());
                ctx.answer(&later, Err(fail));
            }
        }
    });
    Ok(Answer::Later)
}

/// It has not signed on: back to where it stood.
pub fn forget(ctx: &mut Ctx<Main>, link: LinkId) {
    let door = ctx.info(link).is_some_and(|info| realm::DOORS.contains(&info.port));
    if let Some(peer) = ctx.peer(link) {
        *peer = if door { Peer::Door(Box::default()) } else { Peer::Stranger };
    }
}

fn check(main: &Main, ctx: &Ctx<Main>, link: LinkId, name: &str) -> Result<(), Fail> {
    let signed_on = main.table.find(name).and_then(|user| main.table.get(user)).map_or(0, |user| user.here.len());
    if signed_on >= SESSIONS {
        return Err(Fail::new(Code::Limit, "this user is signed on 8 times already"));
    }
    if main.draining.is_some() {
        return Err(Fail::new(Code::Unavailable, "this server takes no clients any more; another does"));
    }
    // A link that is being closed takes nothing more: what is kept for the user would be lost on it.
    match ctx.is_open(link) {
        true => Ok(()),
        false => Err(Fail::new(Code::Offline, "the connection is gone")),
    }
}

/// The ticket is good. OK is said when management has told everybody: who hears of it can be answered.
fn welcome(main: &mut Main, ctx: &mut Ctx<Main>, later: Later, name: &str, account: u64, words: Option<String>) {
    let mut id = [0u8; 8];
    rand::Rng::fill_bytes(ctx.rng(), &mut id);
    let link = later.link();
    let index = begin(main, ctx, link, name, account, None);
    let user = main.table.sign_on(name, link);
    if let Some(Some(session)) = main.sessions.get_mut(index) {
        session.user = user;
    }
    marks::renew(main, name);
    ctx.pause(link, true);
    log::info!("{name} signed on");
    management::presence_then(main, ctx, name, 0, move |main, ctx| {
        if main.session_at(link).is_none() {
            return;
        }
        ctx.answer(&later, Ok(words.unwrap_or_else(|| hex::encode(&id)).into_bytes()));
        // What it asks is answered when all that is older has come.
        if !fetch::waits(main, ctx, link, account) {
            handover::speak(main, ctx, index);
            ctx.pause(link, false);
        }
    });
}

/// Makes a link a session that gets no messages yet, and is not in the table. `came`: by which move.
pub fn begin(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    link: LinkId,
    name: &str,
    account: u64,
    came: Option<Came>,
) -> usize {
    let now = ctx.now();
    let index = main.free.pop().unwrap_or_else(|| {
        main.sessions.push(None);
        main.sessions.len() - 1
    });
    if let Some(peer) = ctx.peer(link) {
        *peer = Peer::Client(index);
    }
    if let Some(came) = &came {
        main.came.insert(came.id.clone(), index);
    }
    let mut session = Session::new(link, account, name, now, came);
    session.door = ctx.info(link).is_some_and(|info| realm::DOORS.contains(&info.port));
    main.sessions[index] = Some(session);
    main.by_link.insert(link, index);
    ctx.trust(link);
    ctx.keep_undelivered(link);
    index
}
