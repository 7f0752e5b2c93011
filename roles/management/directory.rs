//! SERVERS (64478): which main servers there are, where, and how they do; told to all of them.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::map;
use super::routes;
use super::servers;
use super::Management;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::wire::hex;

/// Changes are gathered this long; milliseconds.
const GATHER: u64 = 20;
/// How often the number of clients of a server is told at most, when nothing else of it changes; milliseconds.
const COUNTS: u64 = 5_000;

/// The main servers of the network.
#[derive(Debug, Default)]
pub struct Directory {
    /// Those that the operator added, and those that have come since the start; their keys (empty: none was told).
    known: BTreeMap<String, String>,
    changed: BTreeSet<String>,
    timer: bool,
    /// How many clients were told last.
    told: BTreeMap<String, u64>,
    next_counts: u64,
}

impl Directory {
    /// Whether there is such a server, up or not.
    pub fn knows(&self, id: &str) -> bool {
        self.known.contains_key(id)
    }

    /// Every server's id, up or not.
    pub fn ids(&self) -> impl Iterator<Item = &String> {
        self.known.keys()
    }
}

/// The operator added a main server, now or before this start.
pub fn added(management: &mut Management, ctx: &mut Ctx<Management>, id: &str, public_key: &str) {
    management.directory.known.insert(id.to_owned(), public_key.to_owned());
    routes::server_known(management, id);
    change(management, ctx, id);
    if !management.mains.contains_key(id) {
        map::server_lost(management, ctx, id, id);
    }
}

/// The operator removed a main server: its link ends, and the others end theirs to it.
pub fn removed(management: &mut Management, ctx: &mut Ctx<Management>, id: &str) {
    if let Some(link) = management.mains.get(id).map(|main| main.link) {
        ctx.close(link, "the operator removed this server");
        super::mains::lost(management, ctx, link, id, "the operator removed it");
    }
    management.directory.known.remove(id);
    management.trust.server_removed(id);
    management.keepers.server_gone(id);
    management.drained.remove(id);
    routes::server_removed(management, ctx, id);
    change(management, ctx, id);
    map::server_removed(management, ctx, id);
}

/// A main server came, went, or is another than before.
pub fn server_changed(management: &mut Management, ctx: &mut Ctx<Management>, id: &str) {
    if let Some(main) = management.mains.get(id) {
        management.directory.known.insert(id.to_owned(), main.public_key.clone());
    }
    change(management, ctx, id);
}

fn change(management: &mut Management, ctx: &mut Ctx<Management>, id: &str) {
    management.directory.changed.insert(id.to_owned());
    if !std::mem::replace(&mut management.directory.timer, true) {
        ctx.after(GATHER, send_changes);
    }
}

fn send_changes(management: &mut Management, ctx: &mut Ctx<Management>) {
    management.directory.timer = false;
    let changed = std::mem::take(&mut management.directory.changed);
    if ctx.is_stopping() {
        return;
    }
    for id in &changed {
        management.directory.told.insert(id.clone(), management.online.clients(id));
    }
    let links: Vec<LinkId> = management.mains.values().map(|main| main.link).collect();
    for link in links {
        send(management, ctx, link, changed.iter());
    }
}

/// All servers, to one that has just come.
pub fn send_all(management: &mut Management, ctx: &mut Ctx<Management>, link: LinkId) {
    let ids: Vec<String> = management.directory.known.keys().cloned().collect();
    send(management, ctx, link, ids.iter());
}

fn send<'a>(management: &Management, ctx: &mut Ctx<Management>, link: LinkId, ids: impl Iterator<Item = &'a String>) {
    let Some(own) = ctx.peer_ref(link).and_then(|peer| peer.server.clone()) else { return };
    let lines: Vec<String> = ids.filter(|id| **id != own).map(|id| line(management, ctx, link, id)).collect();
    if lines.is_empty() {
        return;
    }
    if ctx.push(link, "SERVERS", &[lines.join("\n").as_bytes()]).is_err() && ctx.is_open(link) {
        log::warn!("main server {own} does not read what it is told");
        ctx.close(link, "what it is told is not read");
    }
}

/// `server-id|up, down or removed|mesh host:port|public key|client host:port|fingerprint|clients|draining or nothing|boot|realm or nothing`,
/// with the addresses as the recipient reaches them.
fn line(management: &Management, ctx: &Ctx<Management>, to: LinkId, id: &str) -> String {
    let Some(key) = management.directory.known.get(id) else { return format!("{id}|removed|||||0||0|") };
    let Some(main) = management.mains.get(id) else { return format!("{id}|down||{key}|||0||0|") };
    let mesh = servers::address_for(ctx, to, &main.mesh);
    let address = servers::address_for(ctx, to, &main.address);
    let print = hex::encode(&main.fingerprint);
    let clients = management.online.clients(id);
    let draining = if main.draining { "draining" } else { "" };
    format!("{id}|up|{mesh}|{key}|{address}|{print}|{clients}|{draining}|{}|{}", main.boot, main.realm)
}

/// Once a second: numbers of clients that have changed.
pub fn tick(management: &mut Management, ctx: &mut Ctx<Management>) {
    if ctx.now() < management.directory.next_counts {
        return;
    }
    management.directory.next_counts = ctx.now().saturating_add(COUNTS);
    let told = &management.directory.told;
    let stale = |id: &&String| told.get(*id).copied().unwrap_or(0) != management.online.clients(id);
    let stale: Vec<String> = management.mains.keys().filter(stale).cloned().collect();
    for id in stale {
        change(management, ctx, &id);
    }
}
