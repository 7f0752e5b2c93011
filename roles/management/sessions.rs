//! SESSIONS: who is signed on where, by which door, since when, from which address. Main servers know; they are asked, and what they say is
//! put together.

use std::collections::HashMap;
use std::net::IpAddr;

use super::Management;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Later;
use crate::engine::Request;
use crate::wire::name;
use crate::wire::Fail;

/// Lines of one answer, but for the last user's others.
const MOST: usize = 1_000;
/// How long main servers may take; milliseconds. Who has said nothing by then is left out.
const PATIENCE: u64 = 3_000;
/// Where sessions come in.
const DOORS: [PortKey; 3] = [PortKey::ClientMain, PortKey::Realm, PortKey::Web];

pub const SESSIONS: Command<Management> =
    Command { name: "SESSIONS", ports: &[PortKey::Admin], args: "after LF count, or nothing", gate: anyone, run };

/// Answers that are being put together.
#[derive(Debug, Default)]
pub struct Sessions {
    open: HashMap<u64, Gathering>,
    next: u64,
}

#[derive(Debug)]
struct Gathering {
    later: Later,
    count: usize,
    /// With the user's folded name.
    lines: Vec<(String, String)>,
    /// Main servers that have not answered.
    waits: usize,
}

fn run(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let (after, count) = match request.data().is_empty() {
        true => (String::new(), MOST),
        false => {
            let [after, count] = request.data().take()?;
            (after.text()?.into_owned(), usize::try_from(count.number()?).unwrap_or(MOST).clamp(1, MOST))
        }
    };
    if management.mains.is_empty() {
        return Ok(Answer::Data(Vec::new()));
    }
    let sessions = &mut management.sessions;
    sessions.next += 1;
    let id = sessions.next;
    let waits = management.mains.len();
    sessions.open.insert(id, Gathering { later: request.later(), count, lines: Vec::new(), waits });
    let count = count.to_string();
    for (server, main) in &management.mains {
        let server = server.clone();
        ctx.request(main.link, "SESSIONS", &[after.as_bytes(), count.as_bytes()], move |management, ctx, answer| {
            let text = answer.and_then(|text| Ok(text.text()?.into_owned()));
            let text = text.unwrap_or_else(|fail| {
                log::warn!("main server {server} does not tell its sessions: {fail}");
                String::new()
            });
            told(management, ctx, id, &server, &text);
        });
    }
    ctx.after(PATIENCE, move |management, ctx| finish(management, ctx, id));
    Ok(Answer::Later)
}

/// A main server's `user|door|since|address`, with its id, if that is a line.
fn line(server: &str, line: &str) -> Option<(String, String)> {
    let [user, door, since, address] = line.split('|').collect::<Vec<_>>()[..] else { return None };
    name::check_user(user).ok()?;
    let door = DOORS.iter().find(|known| known.name() == door)?.name();
    let since: u64 = since.parse().ok()?;
    let address = if address.is_empty() { String::new() } else { address.parse::<IpAddr>().ok()?.to_string() };
    Some((name::fold(user).into_owned(), format!("{user}|{server}|{door}|{since}|{address}")))
}

fn told(management: &mut Management, ctx: &mut Ctx<Management>, id: u64, server: &str, text: &str) {
    let Some(gathering) = management.sessions.open.get_mut(&id) else { return };
    // What it was asked for, and a user has 8 sessions at most.
    let most = gathering.count + 8;
    gathering.lines.extend(text.lines().take(most).filter_map(|text| line(server, text)));
    gathering.waits = gathering.waits.saturating_sub(1);
    if gathering.waits == 0 {
        finish(management, ctx, id);
    }
}

fn finish(management: &mut Management, ctx: &mut Ctx<Management>, id: u64) {
    let Some(Gathering { later, count, lines, .. }) = management.sessions.open.remove(&id) else { return };
    ctx.answer(&later, Ok(first(lines, count).join("\n").into_bytes()));
}

/// The first `count` in the order of names; a user's sessions stay together, so that the next page begins behind it.
fn first(mut lines: Vec<(String, String)>, count: usize) -> Vec<String> {
    lines.sort_unstable();
    let end = match count.checked_sub(1).and_then(|last| lines.get(last)) {
        Some((last, _)) => lines.partition_point(|(user, _)| user <= last),
        None => lines.len(),
    };
    lines.truncate(end);
    lines.into_iter().map(|(_, line)| line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_sessions_stay_on_one_page() {
        let lines = || ["b2", "a1", "b1", "c1"].map(|line| (line[..1].to_owned(), line.to_owned())).to_vec();
        assert_eq!(first(lines(), 1), ["a1"]);
        assert_eq!(first(lines(), 2), ["a1", "b1", "b2"]);
        assert_eq!(first(lines(), 9), ["a1", "b1", "b2", "c1"]);
    }

    #[test]
    fn a_main_server_cannot_forge_a_line() {
        let good = ("alice".to_owned(), "Alice|a|web|5|10.0.0.1".to_owned());
        assert_eq!(line("a", "Alice|web|5|10.0.0.1"), Some(good));
        assert_eq!(line("a", "Alice|web|5|").map(|(_, line)| line), Some("Alice|a|web|5|".to_owned()));
        for bad in ["", "Alice|web|5", "Alice|web|5||", "a b|web|5|", "Alice|admin|5|", "Alice|web|x|", "Alice|web|5|x"]
        {
            assert_eq!(line("a", bad), None, "{bad}");
        }
    }
}
