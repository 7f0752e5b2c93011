//! VOICEGONE and VOICEHERE: main servers say who is a member no more, and, whenever they are back, who is one. And what becomes of members
//! whose server is away, or whose session has ended.

use std::collections::BTreeSet;

use super::channels;
use super::channels::Called;
use super::channels::Channel;
use super::members::Member;
use super::place;
use super::refused;
use super::resync;
use super::session;
use super::users;
use super::users::VoiceUser;
use super::workspace;
use super::Asked;
use super::Management;
use crate::engine::Answer;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::wire::Code;
use crate::wire::Fail;

/// How long members are kept whose server's link is lost; milliseconds.
pub const GRACE: u64 = 60_000;
/// How often memberships of sessions are looked at; and how long a server that is back has to say who is signed on; milliseconds.
pub const EVERY: u64 = 30_000;
/// After a start, lists wait so long for the servers that are not back yet, which try at least every 10 s: what their members say would be
/// dropped by those that have a list without them. Milliseconds.
const SETTLE: u64 = 15_000;
/// A server that names members that were never let in is not heard for so long, and for twice as long each time, up to a day; milliseconds.
const SILENCE: u64 = 60_000;
const SILENCE_AT_MOST: u64 = 24 * 3_600_000;
/// More packets follow.
const MORE: &str = "more";
/// Members of one server.
const LINES: usize = 65_536;

/// What a main server says of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    channel: u64,
    uid: u64,
    join: u64,
}

/// `channel|uid|join`, and perhaps more behind it.
fn said(line: &str) -> Result<Said, Fail> {
    let bad = || Fail::bad_args("a line is channel|uid|join");
    let mut numbers = line.split('|').map(|number| number.parse::<u64>().map_err(|_| bad()));
    let mut number = || numbers.next().unwrap_or_else(|| Err(bad()));
    Ok(Said { channel: number()?, uid: number()?, join: number()? })
}

fn lines(text: &str) -> Result<Vec<Said>, Fail> {
    let lines: Vec<Said> = text.lines().take(LINES + 1).map(said).collect::<Result<_, _>>()?;
    match lines.len() > LINES {
        true => Err(Fail::new(Code::Limit, "a server has at most 65,536 members of channels")),
        false => Ok(lines),
    }
}

/// Those of this server that are members no more.
pub fn gone(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let asked = Asked::new(ctx, request)?;
    for Said { channel, uid, join } in lines(&request.data().text()?)? {
        if !management.voice.joins.made(join, channel, uid, &asked.server) {
            continue;
        }
        // Also of one that is not known: VOICEHERE may be on its way through the database.
        management.voice.ended.note(&asked.server, channel, uid, join, ctx.now());
        let member = management.voice.members.get(channel, uid);
        // It may be somebody else's member by now, or have come again.
        if member.is_some_and(|member| *member.server == asked.server && member.join == join) {
            place::leave(management, ctx, channel, uid);
        }
    }
    Ok(Answer::None)
}

/// All members of this server, after it has come back. They may come in several packets; all but the last begin with the line `more`.
pub fn here(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let asked = Asked::new(ctx, request)?;
    if management.voice.guessed.get(&asked.server).is_some_and(|(_, until)| ctx.now() < *until) {
        ctx.close(asked.link, "it named members that were never let in, a while ago");
        return Err(refused(&asked.server, "VOICEHERE", "not so soon after a member that was never let in"));
    }
    let text = request.data().text()?;
    let (text, last) = match text.strip_prefix(MORE) {
        Some(rest) if rest.is_empty() || rest.starts_with('\n') => (rest.trim_start_matches('\n'), false),
        _ => (&*text, true),
    };
    let lines = lines(text)?;
    let mut checked = Vec::with_capacity(lines.len());
    for said in lines {
        let Some(session) = management.voice.joins.check(said.join, said.channel, said.uid, &asked.server) else {
            let (silence, until) = management.voice.guessed.entry(asked.server.clone()).or_default();
            *silence = silence.saturating_mul(2).clamp(SILENCE, SILENCE_AT_MOST);
            *until = ctx.now().saturating_add(*silence);
            ctx.close(asked.link, "it names members that were never let in");
            return Err(refused(&asked.server, "VOICEHERE", "this member was never let in at this server"));
        };
        checked.push((said, session));
    }
    management.voice.said.insert(asked.server.clone(), ctx.now());
    ctx.store(
        move |db| {
            let row = |(said, session): (Said, bool)| {
                let channel = channels::find(db, &Called::Id(said.channel));
                let user = users::acting(db, said.uid);
                match (channel, user) {
                    (Err(fail), _) | (_, Err(fail)) if fail.code == Code::Internal => Err(fail),
                    (channel, user) => Ok((said, session, channel.ok(), user.ok())),
                }
            };
            checked.into_iter().map(row).collect::<Result<Vec<_>, Fail>>()
        },
        move |management, ctx, rows| match rows {
            Ok(rows) => take(management, ctx, &asked, rows, last),
            Err(fail) => asked.answer(ctx, Err(fail)),
        },
    );
    Ok(Answer::Later)
}

type Row = (Said, bool, Option<Channel>, Option<VoiceUser>);

fn take(management: &mut Management, ctx: &mut Ctx<Management>, asked: &Asked, rows: Vec<Row>, last: bool) {
    if management.mains.get(&asked.server).is_none_or(|server| server.link != asked.link) {
        // It has come by another link meanwhile, and says it there.
        return asked.answer(ctx, Err(Fail::new(Code::Unavailable, "the server has gone meanwhile")));
    }
    let mut not = BTreeSet::new();
    for (said, session, channel, user) in rows {
        let (Some(channel), Some(user)) = (channel, user) else {
            not.insert(said);
            continue;
        };
        if !keep(management, ctx, asked, said, session, &channel, &user) {
            not.insert(said);
        }
    }
    let server = asked.server.as_str();
    // Those that it does not know any more; but not those that were named before, or have come over this link meanwhile.
    let others = management.voice.members.find(|_, member| &*member.server == server && member.link != asked.link);
    for (channel, uid) in others.into_iter().filter(|_| last) {
        place::leave(management, ctx, channel, uid);
    }
    for Said { channel, uid, join } in not {
        place::tell(management, ctx, server, "VOICELEFT", &format!("{channel}|{server}|{uid}|{join}|"));
    }
    let began = *management.voice.began.get_or_insert(ctx.now());
    let wait = began.saturating_add(SETTLE).saturating_sub(ctx.now());
    if !last || wait == 0 || own(management, asked).is_empty() {
        return settle(management, ctx, asked, last);
    }
    // Until then it goes on by the lists that it has, and hears of changes.
    let asked = asked.clone();
    ctx.after(wait, move |management, ctx| settle(management, ctx, &asked, true));
}

/// The channels of a server's members.
fn own(management: &Management, asked: &Asked) -> BTreeSet<u64> {
    let own = |member: &Member| *member.server == asked.server && member.link == asked.link;
    management.voice.members.find(|_, member| own(member)).into_iter().map(|(id, _)| id).collect()
}

/// VOICEHERE is answered; after the last of its packets, with the lists.
fn settle(management: &mut Management, ctx: &mut Ctx<Management>, asked: &Asked, last: bool) {
    asked.answer(ctx, Ok(String::new()));
    for channel in own(management, asked).into_iter().filter(|_| last) {
        place::tell_all(management, ctx, &asked.server, channel);
    }
    if last {
        // They may have left while management did not know of them.
        workspace::check(management, ctx, |_, member| *member.server == asked.server);
    }
}

/// Whether the member is one; it is put where it is not known.
fn keep(
    management: &mut Management,
    ctx: &mut Ctx<Management>,
    asked: &Asked,
    said: Said,
    session: bool,
    channel: &Channel,
    user: &VoiceUser,
) -> bool {
    let Said { channel: id, uid, join } = said;
    let now = management.voice.members.get(id, uid);
    if now.is_some_and(|now| now.join == join && *now.server == asked.server) {
        management.voice.members.relink(id, uid, asked.link);
        return true;
    }
    if management.voice.ended.has(&asked.server, id, uid, join) {
        return false;
    }
    if now.is_some_and(|now| now.join >= join) || management.voice.members.room(id, uid, &asked.server).is_err() {
        return false;
    }
    let member = Member {
        server: Box::from(asked.server.as_str()),
        link: asked.link,
        join,
        session,
        account: user.account,
        user: Box::from(user.name.as_str()),
    };
    place::come(management, ctx, channel, uid, member, false);
    true
}

/// The server of that link has not come back in time, or has not said that these are there.
pub fn forget(management: &mut Management, ctx: &mut Ctx<Management>, link: LinkId) {
    for (channel, uid) in management.voice.members.find(|_, member| member.link == link) {
        place::lost(management, ctx, channel, uid, "");
    }
}

/// A membership that a session asked for ends with it: the main server says so, and if it does not, it is not believed for long.
pub fn sweep(management: &mut Management, ctx: &mut Ctx<Management>) {
    let now = ctx.now();
    let settled = |server: &str, link: LinkId| {
        let said = management.voice.said.get(server).copied().unwrap_or(0);
        let up = management.mains.get(server).is_some_and(|main| main.link == link);
        up && now.saturating_sub(said) >= EVERY && !resync::is_on(management, server, now)
    };
    let ended = management.voice.members.find(|_, member| {
        let away = |account| !session::signed_on(management, &member.user, account, &member.server);
        member.session && member.account.is_some_and(away) && settled(&member.server, member.link)
    });
    for (channel, uid) in ended {
        log::debug!("a member of the channel {channel} is not signed on any more");
        place::leave(management, ctx, channel, uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says() {
        assert_eq!(said("1|2|3").unwrap(), Said { channel: 1, uid: 2, join: 3 });
        assert_eq!(said("1|2|3|Alice").unwrap().join, 3);
        for bad in ["", "1|2", "1|2|x", "1|2|", "-1|2|3", "1|2|99999999999999999999"] {
            assert_eq!(said(bad).unwrap_err().code, Code::BadArgs, "{bad}");
        }
        assert_eq!(lines("").unwrap(), []);
        assert_eq!(lines(&"1|2|3\n".repeat(LINES)).unwrap().len(), LINES);
        assert_eq!(lines(&"1|2|3\n".repeat(LINES + 1)).unwrap_err().code, Code::Limit);
    }
}
