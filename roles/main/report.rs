//! What management asks for the operator (64478): SESSIONS, who is signed on here and from where, and NOTICE, which goes to all of them. And
//! TRAFFIC: once a minute management is told what was moved.

use super::Main;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::route::User;
use crate::wire::name;
use crate::wire::Fail;

/// Lines of one SESSIONS, but for the last user's others.
const MOST: usize = 1_000;
/// How often TRAFFIC is told; milliseconds.
const EVERY: u64 = 60_000;

pub const SESSIONS: Command<Main> = Command {
    name: "SESSIONS",
    ports: &[PortKey::MainManagement],
    args: "after LF count",
    gate: anyone,
    run: sessions,
};

pub const NOTICE: Command<Main> =
    Command { name: "NOTICE", ports: &[PortKey::MainManagement], args: "sent-at LF text", gate: anyone, run: notice };

/// What management was told.
#[derive(Debug, Default)]
pub struct Traffic {
    /// The minute that it was told of last; 0: none.
    minute: u64,
    /// Messages, bytes in, bytes out, all since the start.
    told: [u64; 3],
}

/// Lines `user|door|since|address`, in the order of folded names, of those behind `after`.
fn sessions(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [after, count] = request.data().take()?;
    let after = after.text()?;
    let after = name::fold(&after);
    let count = usize::try_from(count.number()?).unwrap_or(MOST).min(MOST);
    let named = main.table.users_here().map(|user| (name::fold(&user.name), user));
    let mut users: Vec<(_, &User<LinkId>)> = named.filter(|(folded, _)| *folded > after).collect();
    users.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let mut lines = Vec::new();
    for (_, user) in users {
        if lines.len() >= count {
            break;
        }
        lines.extend(user.here.iter().filter_map(|link| line(main, ctx, &user.name, *link)));
    }
    Ok(Answer::Data(lines.join("\n").into_bytes()))
}

fn line(main: &Main, ctx: &Ctx<Main>, user: &str, link: LinkId) -> Option<String> {
    let (session, info) = (main.session_at(link)?, ctx.info(link)?);
    let address = info.remote.map(|remote| remote.to_canonical().to_string()).unwrap_or_default();
    Some(format!("{user}|{}|{}|{address}", info.port.name(), session.since))
}

/// To all sessions that get anything by now; who signs on later does not get it.
fn notice(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    for session in main.sessions.iter().flatten().filter(|session| session.quiet.is_none()) {
        // Whose queue is full misses it.
        let _ = ctx.put_parts(session.link, &[b"NOTICE ", request.data().0]);
    }
    Ok(Answer::None)
}

/// Once a second: at the start of each minute. What was moved in a minute without management is told nobody.
pub fn tick(main: &mut Main, ctx: &mut Ctx<Main>) {
    let minute = ctx.now() / EVERY;
    let first = main.traffic.minute == 0;
    if main.traffic.minute == minute {
        return;
    }
    main.traffic.minute = minute;
    let counters = ctx.counters();
    let now = [main.delivered, counters.bytes_in, counters.bytes_out];
    let before = std::mem::replace(&mut main.traffic.told, now);
    let Some(link) = main.management.link().filter(|_| !first) else { return };
    let moved = [0, 1, 2].map(|n| now[n].saturating_sub(before[n]).to_string());
    let [messages, bytes_in, bytes_out] = moved.each_ref().map(|moved| moved.as_bytes());
    // Lost with the link.
    let _ = ctx.push(link, "TRAFFIC", &[messages, bytes_in, bytes_out]);
}
