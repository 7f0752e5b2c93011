//! What sessions ask about channels: management answers, as it has them (VOICEFOR).

use super::here;
use super::may_ask;
use super::may_move;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Later;
use crate::engine::Request;
use crate::roles::main::session_of;
use crate::roles::main::signed_on;
use crate::roles::main::Main;
use crate::roles::main::CLIENTS;
use crate::wire::raw::SEPARATOR;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// What each of these weighs: a session has few of them under way, and is not read meanwhile.
const WEIGHT: u64 = 1 << 20;
/// Bytes of one, as they stand on the wire.
const BYTES: usize = 4 << 10;

const fn row(
    name: &'static str,
    args: &'static str,
    run: fn(&mut Main, &mut Ctx<Main>, &Request<'_>) -> Result<Answer, Fail>,
) -> Command<Main> {
    Command { name, ports: CLIENTS, args, gate: signed_on, run }
}

pub const CREATE: Command<Main> = row("CREATEVOICE", "name", pass_on);
pub const DELETE: Command<Main> = row("DELETEVOICE", "channel", pass_on);
pub const LIST: Command<Main> = row("LISTVOICE", "", pass_on);
pub const GET: Command<Main> = row("GETVOICE", "channel", pass_on);
pub const KICK: Command<Main> = row("KICKVOICE", "channel LF user", pass_on);
pub const LEAVE: Command<Main> = row("LEAVEVOICE", "channel", leave);

fn pass_on(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    ask(main, ctx, request, |_, ctx, later, answer| ctx.answer_kept(&later, answer))
}

/// A place of this session is over at once; of one elsewhere management knows.
fn leave(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    may_move(main, request.link)?;
    let channel = request.data().text()?;
    let number = channel.parse::<u64>().ok();
    let seat = main.voice.seats.get(&request.link);
    let place = seat.and_then(|seat| {
        let mut places = seat.places.iter();
        places.find(|(at, _, name)| Some(*at) == number || **name == *channel).map(|(at, uid, _)| (*at, *uid))
    });
    match place {
        Some((channel, uid)) => {
            here::gone(main, ctx, channel, uid, None);
            Ok(Answer::Ok)
        }
        None => leave_elsewhere(main, ctx, request),
    }
}

/// A place at another session, or one that this session knows by another name.
fn leave_elsewhere(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let link = request.link;
    let answer = ask(main, ctx, request, move |main, ctx, later, answer| {
        if let Some(seat) = main.voice.seats.get_mut(&link) {
            seat.leaving = seat.leaving.saturating_sub(1);
        }
        here::drop_seat(main, link);
        ctx.answer_kept(&later, answer);
    })?;
    main.voice.seats.entry(link).or_default().leaving += 1;
    Ok(answer)
}

/// Asks management for the user of a session.
///
/// # Errors
/// UNAVAILABLE, BUSY, SIGNIN, BADARGS.
pub fn ask(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    request: &Request<'_>,
    then: impl FnOnce(&mut Main, &mut Ctx<Main>, Later, Result<Raw<'_>, Fail>) + Send + 'static,
) -> Result<Answer, Fail> {
    let data = request.data();
    if data.0.len() > BYTES {
        return Err(Fail::bad_args("at most 4 KiB"));
    }
    let session = main.session(session_of(ctx, request.link)?);
    let account = session.ok_or_else(|| Fail::new(Code::SignIn, "sign on first"))?.account.to_string();
    let link = may_ask(main)?;
    // What has gone before is told before.
    here::tell_gone(main, ctx);
    let mut later = request.later();
    ctx.weigh(&mut later, WEIGHT);
    let parts = [account.as_bytes(), SEPARATOR, request.packet.command, SEPARATOR, data.0];
    ctx.request_parts(link, "VOICEFOR", &parts, move |main, ctx, answer| {
        main.voice.asked = main.voice.asked.saturating_sub(1);
        then(main, ctx, later, answer);
    });
    Ok(Answer::Later)
}
