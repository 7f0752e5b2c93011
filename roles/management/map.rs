//! The map of the network (GETSERVERMAP, seed 000): which servers there are, and who is signed on where.
//!
//! A line is `id|name|type|status|notes|ids that it is connected to`. A link between two servers stands on both lines; a
//! client's link stands on the client's line alone, so that a sign-on changes one line and not also one that grows with the
//! number of clients.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::introduced;
use super::main_server;
use super::online::Presence;
use super::online::Who;
use super::Management;
use crate::accounts::users;
use crate::accounts::users::UserId;
use crate::config::PortKey;
use crate::config::RoleName;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::wire::name;
use crate::wire::Fail;

/// Changes are gathered this long before main servers are told; milliseconds.
const GATHER: u64 = 20;

/// Who has to be told what of the map.
#[derive(Debug, Default)]
pub struct Watchers {
    /// Main servers that hold a copy of the map.
    links: Vec<LinkId>,
    changed: BTreeMap<String, String>,
    timer: bool,
}

impl Watchers {
    /// A main server's link is gone.
    pub fn forget(&mut self, link: LinkId) {
        self.links.retain(|watcher| *watcher != link);
    }
}

pub const WATCH_MAP: Command<Management> =
    Command { name: "WATCHMAP", ports: &[PortKey::MainManagement], args: "", gate: introduced, run: watch };

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
    let mains = management.mains.keys().map(|id| server_id(id));
    let storage = management.storage.up.keys().map(|(role, id)| storage_id(*role, id));
    let servers: Vec<String> = mains.chain(storage).collect();
    format!("{MANAGEMENT_ID}|{}|managementserver|online||{}", management.settings.name, servers.join("|"))
}

fn server_line(management: &Management, id: &str) -> String {
    let Some(server) = management.mains.get(id) else { return offline_line(id, id) };
    let notes = if server.draining { "draining" } else { "" };
    let links = management.links.of(id).map(|(other, _)| format!("|{}", server_id(other))).collect::<String>();
    let storage = management.storage.data_management();
    let storage = storage.map(|(id, _)| format!("|{}", storage_id(RoleName::DataManagement, id))).unwrap_or_default();
    format!("{}|{}|mainserver|online|{notes}|{MANAGEMENT_ID}{links}{storage}", server_id(id), server.name)
}

fn offline_line(id: &str, name: &str) -> String {
    format!("{}|{name}|mainserver|offline||", server_id(id))
}

fn storage_id(role: RoleName, id: &str) -> String {
    format!("{}-{id}", role.name())
}

/// Data management and the data servers, up or not. What is up is linked: main servers and data servers to data management, and all
/// of these to management.
fn storage_lines(management: &Management) -> Vec<String> {
    let storage = |role: &RoleName| matches!(role, RoleName::DataManagement | RoleName::Data);
    let added = management.network.servers().filter(|(_, role, _)| storage(role));
    let added = added.map(|(id, role, _)| (role, id.to_owned()));
    let all: BTreeSet<(RoleName, String)> = added.chain(management.storage.up.keys().cloned()).collect();
    all.iter().map(|(role, id)| storage_line(management, *role, id)).collect()
}

fn storage_line(management: &Management, role: RoleName, id: &str) -> String {
    let kind = if role == RoleName::Data { "dataserver" } else { "datamanagementserver" };
    let (node, up) = (storage_id(role, id), management.storage.up.contains_key(&(role, id.to_owned())));
    if !up {
        return format!("{node}|{id}|{kind}|offline||");
    }
    let mut links = vec![MANAGEMENT_ID.to_owned()];
    match role {
        RoleName::DataManagement => {
            links.extend(management.mains.keys().map(|id| server_id(id)));
            links.extend(management.storage.data_servers().map(|id| storage_id(RoleName::Data, id)));
        }
        _ => links.extend(management.storage.data_management().map(|(id, _)| storage_id(RoleName::DataManagement, id))),
    }
    let volatile = management.network.server(role, id).is_some_and(|server| server.volatile);
    let notes = if volatile { "volatile" } else { "" };
    format!("{node}|{id}|{kind}|online|{notes}|{}", links.join("|"))
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
    if !management.watchers.links.contains(&request.link) {
        management.watchers.links.push(request.link);
    }
    let later = request.later();
    ctx.query(all_users, move |management, ctx, all| {
        let map = all.map(|all| {
            let mut lines = vec![management_line(management)];
            lines.extend(management.directory.ids().map(|id| server_line(management, id)));
            lines.extend(storage_lines(management));
            lines.extend(all.iter().map(|(id, name)| {
                let presence = management.online.get(name::fold(name).as_ref());
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
    if management.watchers.links.is_empty() {
        return;
    }
    let id = line.split('|').next().unwrap_or_default().to_owned();
    management.watchers.changed.insert(id, line);
    if std::mem::replace(&mut management.watchers.timer, true) {
        return;
    }
    ctx.after(GATHER, send_changes);
}

fn send_changes(management: &mut Management, ctx: &mut Ctx<Management>) {
    management.watchers.timer = false;
    let changed: Vec<String> = std::mem::take(&mut management.watchers.changed).into_values().collect();
    if changed.is_empty() {
        return;
    }
    let lines = changed.join("\n");
    for link in &management.watchers.links {
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

/// The lines of those that all main servers are linked to.
fn tell_centre(management: &mut Management, ctx: &mut Ctx<Management>) {
    tell(management, ctx, management_line(management));
    let id = management.storage.data_management().map(|(id, _)| id.to_owned());
    if let Some(id) = id {
        tell(management, ctx, storage_line(management, RoleName::DataManagement, &id));
    }
}

/// A main server came, or is another than before.
pub fn server_changed(management: &mut Management, ctx: &mut Ctx<Management>, id: &str) {
    tell(management, ctx, server_line(management, id));
    tell_centre(management, ctx);
}

/// A main server is not up, or not any more.
pub fn server_lost(management: &mut Management, ctx: &mut Ctx<Management>, id: &str, name: &str) {
    tell(management, ctx, offline_line(id, name));
    tell_centre(management, ctx);
    for other in management.links.forget(id) {
        tell(management, ctx, server_line(management, &other));
    }
}

/// The operator removed a main server; its line stays in the copies of the map, with a note, until they are made anew.
pub fn server_removed(management: &mut Management, ctx: &mut Ctx<Management>, id: &str) {
    tell(management, ctx, format!("{}|{id}|mainserver|offline|removed|", server_id(id)));
}

/// Data management or a data server came, went, or was added; its links stand on the lines of the others too.
pub fn storage_changed(management: &mut Management, ctx: &mut Ctx<Management>) {
    if management.watchers.links.is_empty() {
        return;
    }
    let mains = management.directory.ids().map(|id| server_line(management, id));
    let lines: Vec<String> = storage_lines(management).into_iter().chain(mains).collect();
    for line in lines {
        tell(management, ctx, line);
    }
    tell(management, ctx, management_line(management));
}

/// The operator removed data management or a data server.
pub fn storage_removed(management: &mut Management, ctx: &mut Ctx<Management>, role: RoleName, id: &str) {
    if matches!(role, RoleName::DataManagement | RoleName::Data) {
        let line = storage_line(management, role, id);
        tell(management, ctx, line.replace("|offline||", "|offline|removed|"));
    }
}

/// A user is signed on elsewhere than before, or has another status.
pub fn user_changed(management: &mut Management, ctx: &mut Ctx<Management>, user: &str, who: &Who) {
    tell(management, ctx, user_line(who.id, &who.name, management.online.get(user)));
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
