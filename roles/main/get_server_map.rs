//! GETSERVERMAP and SERVERMAPUPDATE. Management makes the map; this server holds a copy from the time that the first
//! client asks for it, so that many clients cost management one.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::signed_on;
use super::Main;
use super::CLIENTS;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Later;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::wire::Code;
use crate::wire::Fail;

/// At most one SERVERMAPUPDATE in this time, to each client; milliseconds.
const PACE: u64 = 1_000;

/// The copy, and who wants to hear of changes.
#[derive(Debug, Default)]
pub struct Map {
    /// Node id → its line. None: nobody has asked yet.
    lines: Option<BTreeMap<String, String>>,
    /// Asked for, and not yet here.
    waiting: Vec<Later>,
    asked: bool,
    /// Clients that asked for the map.
    pub watchers: Vec<LinkId>,
    changed: BTreeSet<String>,
    last_update: u64,
    timer: bool,
}

pub const GET_SERVER_MAP: Command<Main> =
    Command { name: "GETSERVERMAP", ports: CLIENTS, args: "", gate: signed_on, run: get };

pub const MAP_CHANGED: Command<Main> =
    Command { name: "MAPCHANGED", ports: &[PortKey::MainManagement], args: "lines", gate: anyone, run: changed };

fn get(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    if !main.map.watchers.contains(&request.link) {
        main.map.watchers.push(request.link);
    }
    match (&main.map.lines, main.management.link()) {
        (Some(lines), None) => Ok(Answer::Data(text(lines.values()))),
        (None, None) => Err(Fail::new(Code::Unavailable, "the management server is not reachable; retry later")),
        (None, Some(_)) => {
            main.map.waiting.push(request.later());
            ask(main, ctx);
            Ok(Answer::Later)
        }
        (Some(_), Some(management)) => {
            // So that who has just signed on sees itself.
            let later = request.later();
            ctx.request(management, "SYNCMAP", &[], move |main, ctx, _| give(main, ctx, &later));
            Ok(Answer::Later)
        }
    }
}

/// Answers with the copy, if the client reads its answers: they are large, and many may have been asked for at once.
fn give(main: &Main, ctx: &mut Ctx<Main>, later: &Later) {
    let map = ctx.room(later.link()).and_then(|()| match &main.map.lines {
        Some(lines) => Ok(text(lines.values())),
        None => Err(Fail::internal("the copy of the map is gone")),
    });
    ctx.answer(later, map);
}

fn text<'a>(lines: impl Iterator<Item = &'a String>) -> Vec<u8> {
    lines.map(String::as_str).collect::<Vec<_>>().join("\n").into_bytes()
}

fn ask(main: &mut Main, ctx: &mut Ctx<Main>) {
    let Some(link) = main.management.link() else { return };
    if std::mem::replace(&mut main.map.asked, true) {
        return;
    }
    ctx.request(link, "WATCHMAP", &[], |main, ctx, answer| {
        main.map.asked = false;
        let result = answer.and_then(|data| Ok(data.text()?.into_owned()));
        if let Ok(map) = &result {
            let fresh: BTreeMap<String, String> = map.lines().map(|line| (id(line), line.to_owned())).collect();
            if let Some(old) = main.map.lines.replace(fresh) {
                note_differences(main, ctx, &old);
            }
        }
        for later in std::mem::take(&mut main.map.waiting) {
            match &result {
                Ok(_) => give(main, ctx, &later),
                Err(fail) => ctx.answer(&later, Err(fail.clone())),
            }
        }
    });
}

fn id(line: &str) -> String {
    line.split('|').next().unwrap_or_default().to_owned()
}

/// After management was away: only what differs is told.
fn note_differences(main: &mut Main, ctx: &mut Ctx<Main>, old: &BTreeMap<String, String>) {
    let Some(lines) = &main.map.lines else { return };
    let changed: Vec<String> =
        lines.iter().filter(|(id, line)| old.get(*id) != Some(*line)).map(|(id, _)| id.clone()).collect();
    if !changed.is_empty() {
        main.map.changed.extend(changed);
        schedule(main, ctx);
    }
}

fn changed(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let update = request.data().text()?;
    let Some(lines) = &mut main.map.lines else { return Ok(Answer::None) };
    for line in update.lines() {
        let id = id(line);
        lines.insert(id.clone(), line.to_owned());
        main.map.changed.insert(id);
    }
    schedule(main, ctx);
    Ok(Answer::None)
}

fn schedule(main: &mut Main, ctx: &mut Ctx<Main>) {
    if std::mem::replace(&mut main.map.timer, true) {
        return;
    }
    let wait = (main.map.last_update + PACE).saturating_sub(ctx.now());
    ctx.after(wait, |main, ctx| {
        main.map.timer = false;
        main.map.last_update = ctx.now();
        let changed = std::mem::take(&mut main.map.changed);
        let Some(lines) = &main.map.lines else { return };
        let update = text(changed.iter().filter_map(|id| lines.get(id)));
        for link in &main.map.watchers {
            // A client whose queue is full misses an update; it is closed soon, or asks again.
            let _ = ctx.push(*link, "SERVERMAPUPDATE", &[&update]);
        }
    });
}

/// The link to management is up again: the copy, if there is one, is brought up to date.
pub fn management_back(main: &mut Main, ctx: &mut Ctx<Main>) {
    if main.map.lines.is_some() {
        ask(main, ctx);
    }
}

/// Management is away: the copy says so.
pub fn management_away(main: &mut Main, ctx: &mut Ctx<Main>) {
    let Some(lines) = &mut main.map.lines else { return };
    for (id, line) in lines.iter_mut() {
        let columns: Vec<&str> = line.split('|').collect();
        if let [_, name, "managementserver", "online", notes, ..] = columns[..] {
            *line = format!("{id}|{name}|managementserver|offline|{notes}|");
            main.map.changed.insert(id.clone());
        }
    }
    schedule(main, ctx);
}
