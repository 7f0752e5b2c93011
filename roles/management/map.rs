//! The map of the network (GETSERVERMAP, seed 000): which servers there are, and who is signed on where.
//!
//! A line is `id|name|type|status|notes|ids that it is connected to`. A link between two servers stands on both lines; a
//! client's link stands on the client's line alone, so that a sign-on changes one line and not also one that grows with the
//! number of clients.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;

use super::main_server;
use super::Management;
use crate::accounts::users;
use crate::accounts::users::UserId;
use crate::config::PortKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// Changes are gathered this long before main servers are told; milliseconds.
const GATHER: u64 = 20;

/// Who is signed on, and what has to be told to whom.
#[derive(Debug, Default)]
pub struct Online {
    /// By folded name.
    users: HashMap<String, Presence>,
    /// Main servers that hold a copy of the map.
    watchers: Vec<LinkId>,
    changed: BTreeMap<String, String>,
    timer: bool,
    /// Users whose ticket was just found good, by folded name: their sign-on is about to be reported.
    expected: HashMap<String, UserId>,
}

/// Users expected at once; more are looked up in the database.
const EXPECTED: usize = 10_000;

#[derive(Debug)]
struct Presence {
    /// As registered.
    name: String,
    /// Known once the database has told.
    id: Option<UserId>,
    /// Sessions by server.
    servers: BTreeMap<String, u64>,
    status: String,
}

impl Online {
    /// A ticket of this user was found good.
    pub fn expect(&mut self, folded: String, id: UserId) {
        if self.expected.len() >= EXPECTED {
            self.expected.clear();
        }
        self.expected.insert(folded, id);
    }

    /// Users that are signed on.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Sessions of the user, over all servers.
    pub fn sessions(&self, folded: &str) -> u64 {
        self.users.get(folded).map_or(0, |user| user.servers.values().sum())
    }

    /// The servers that the user is signed on to.
    pub fn servers(&self, folded: &str) -> Vec<String> {
        self.users.get(folded).map(|user| user.servers.keys().cloned().collect()).unwrap_or_default()
    }

    /// A main server's link is gone.
    pub fn forget_watcher(&mut self, link: LinkId) {
        self.watchers.retain(|watcher| *watcher != link);
    }
}

pub const WATCH_MAP: Command<Management> =
    Command { name: "WATCHMAP", ports: &[PortKey::MainManagement], args: "", gate: main_server, run: watch };

pub const SYNC_MAP: Command<Management> =
    Command { name: "SYNCMAP", ports: &[PortKey::MainManagement], args: "", gate: main_server, run: sync };

fn server_id(id: &str) -> String {
    format!("server-{id}")
}

fn user_id(id: UserId) -> String {
    format!("user-{}", id.0)
}

const MANAGEMENT_ID: &str = "management";

fn management_line(management: &Management) -> String {
    let servers: Vec<String> = management.mains.keys().map(|id| server_id(id)).collect();
    format!("{MANAGEMENT_ID}|{}|managementserver|online||{}", management.settings.name, servers.join("|"))
}

fn server_line(management: &Management, id: &str) -> String {
    let name = management.mains.get(id).map_or(id, |server| &server.name);
    format!("{}|{name}|mainserver|online||{MANAGEMENT_ID}", server_id(id))
}

fn user_line(id: UserId, name: &str, presence: Option<&Presence>) -> String {
    match presence.filter(|presence| !presence.servers.is_empty()) {
        Some(presence) => {
            let servers: Vec<String> = presence.servers.keys().map(|id| server_id(id)).collect();
            format!("{}|{name}|client|online|{}|{}", user_id(id), presence.status, servers.join("|"))
        }
        None => format!("{}|{name}|client|offline||", user_id(id)),
    }
}

fn watch(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    if !management.online.watchers.contains(&request.link) {
        management.online.watchers.push(request.link);
    }
    let later = request.later();
    ctx.query(all_users, move |management, ctx, all| {
        let map = all.map(|all| {
            let mut lines = vec![management_line(management)];
            lines.extend(management.mains.keys().map(|id| server_line(management, id)));
            lines.extend(all.iter().map(|(id, name)| {
                let presence = management.online.users.get(name::fold(name).as_ref());
                user_line(*id, name, presence)
            }));
            lines.join("\n").into_bytes()
        });
        ctx.answer(&later, map);
    });
    Ok(Answer::Later)
}

fn all_users(db: &rusqlite::Connection) -> Result<Vec<(UserId, String)>, Fail> {
    let mut all: Vec<(UserId, String)> = Vec::new();
    let mut after = String::new();
    loop {
        let page = users::list(db, &after, users::MAX_LIST)?;
        let Some(last) = page.last() else { return Ok(all) };
        after.clone_from(&last.name);
        all.extend(page.into_iter().map(|user| (user.id, user.name)));
    }
}

fn tell(management: &mut Management, ctx: &mut Ctx<Management>, line: String) {
    if management.online.watchers.is_empty() {
        return;
    }
    let id = line.split('|').next().unwrap_or_default().to_owned();
    management.online.changed.insert(id, line);
    if std::mem::replace(&mut management.online.timer, true) {
        return;
    }
    ctx.after(GATHER, send_changes);
}

fn send_changes(management: &mut Management, ctx: &mut Ctx<Management>) {
    management.online.timer = false;
    let changed: Vec<String> = std::mem::take(&mut management.online.changed).into_values().collect();
    if changed.is_empty() {
        return;
    }
    let lines = changed.join("\n");
    for link in &management.online.watchers {
        if ctx.push(*link, "MAPCHANGED", &[lines.as_bytes()]).is_err() {
            log::warn!("a main server does not read its updates of the map");
        }
    }
}

/// What changed so far is sent before the answer: after it, a copy shows all that its main server has reported.
fn sync(management: &mut Management, ctx: &mut Ctx<Management>, _: &Request<'_>) -> Result<Answer, Fail> {
    send_changes(management, ctx);
    Ok(Answer::Ok)
}

/// A main server came.
pub fn server_changed(management: &mut Management, ctx: &mut Ctx<Management>, id: &str) {
    tell(management, ctx, server_line(management, id));
    tell(management, ctx, management_line(management));
}

/// A main server went, and its clients are offline, or on the other servers they are signed on to.
pub fn server_lost(management: &mut Management, ctx: &mut Ctx<Management>, id: &str) {
    let Some(server) = management.mains.remove(id) else { return };
    tell(management, ctx, format!("{}|{}|mainserver|offline||", server_id(id), server.name));
    tell(management, ctx, management_line(management));
    let of_it: BTreeSet<String> = management
        .online
        .users
        .iter()
        .filter(|(_, user)| user.servers.contains_key(id))
        .map(|(folded, _)| folded.clone())
        .collect();
    for folded in of_it {
        set(management, ctx, &folded, id, 0);
    }
}

/// A main server reports how often a user is signed on there.
pub fn presence(
    management: &mut Management,
    ctx: &mut Ctx<Management>,
    server: &str,
    user: &str,
    sessions: u64,
    status: &str,
) {
    let folded = name::fold(user).into_owned();
    if !management.online.users.contains_key(&folded) {
        if sessions == 0 {
            return;
        }
        let id = management.online.expected.remove(&folded);
        let fresh = Presence { name: user.to_owned(), id, servers: BTreeMap::new(), status: String::new() };
        management.online.users.insert(folded.clone(), fresh);
        let (wanted, back) = (folded.clone(), folded.clone());
        if id.is_none() {
            ctx.query(
                move |db| users::find(db, &wanted),
                move |management, ctx, found| {
                    let Ok(Some(found)) = found else { return };
                    let Some(presence) = management.online.users.get_mut(&back) else { return };
                    presence.id = Some(found.id);
                    let line = user_line(found.id, &presence.name, Some(presence));
                    tell(management, ctx, line);
                },
            );
        }
    }
    if let Some(presence) = management.online.users.get_mut(&folded) {
        presence.status = status.chars().map(|c| if c == '|' || c.is_control() { ' ' } else { c }).take(256).collect();
    }
    set(management, ctx, &folded, server, sessions);
    if sessions > 0 && management.barred.contains(&folded) {
        // Its ticket was found good just before the operator shut it out.
        let _ = disconnect(management, ctx, user, "the account was disabled");
    }
}

fn set(management: &mut Management, ctx: &mut Ctx<Management>, folded: &str, server: &str, sessions: u64) {
    let Some(presence) = management.online.users.get_mut(folded) else { return };
    let before = match sessions {
        0 => presence.servers.remove(server).unwrap_or(0),
        _ => presence.servers.insert(server.to_owned(), sessions).unwrap_or(0),
    };
    if let Some(main) = management.mains.get_mut(server) {
        main.clients = main.clients.saturating_sub(before).saturating_add(sessions);
    }
    let gone = presence.servers.is_empty();
    let line = presence.id.map(|id| user_line(id, &presence.name, Some(presence)));
    if gone {
        management.online.users.remove(folded);
    }
    if let Some(line) = line {
        tell(management, ctx, line);
    }
}

/// An account was made.
pub fn registered(management: &mut Management, ctx: &mut Ctx<Management>, id: UserId, name: &str) {
    management.barred.remove(name::fold(name).as_ref());
    tell(management, ctx, user_line(id, name, None));
}

/// An account was deleted; its line stays in the copies of the map, with a note, until they are made anew.
pub fn deleted(management: &mut Management, ctx: &mut Ctx<Management>, id: UserId, name: &str) {
    tell(management, ctx, format!("{}|{name}|client|offline|deleted|", user_id(id)));
}

/// Tells every main server that the user is signed on to, to end those sessions. FAIL OFFLINE when there is none.
pub fn disconnect(management: &Management, ctx: &mut Ctx<Management>, user: &str, reason: &str) -> Result<(), Fail> {
    let servers = management.online.servers(&name::fold(user));
    if servers.is_empty() {
        return Err(Fail::new(Code::Offline, "not signed on"));
    }
    for server in servers {
        if let Some(server) = management.mains.get(&server) {
            ctx.request(server.link, "DISCONNECT", &[user.as_bytes(), reason.as_bytes()], |_, _, answer| {
                if let Err(fail) = answer {
                    log::debug!("DISCONNECT: {fail}");
                }
            });
        }
    }
    Ok(())
}
