//! What management tells of the network (64478): the servers, and this server's portion of the route table.

use super::fetch;
use super::handover;
use super::hold;
use super::management;
use super::marks;
use super::members;
use super::mesh::links;
use super::mesh::relay;
use super::mesh::relayed;
use super::mesh::Facts;
use super::mesh::Server;
use super::redirect;
use super::settle;
use super::standby;
use super::Main;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::identity::PublicKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::route::entry;
use crate::route::Change;
use crate::route::ServerNo;
use crate::wire::name;
use crate::wire::Fail;
use crate::wire::Raw;

/// How long to wait before the portion is loaded again when it did not come out right, at first and at most; milliseconds.
const BACK_OFF: (u64, u64) = (50, 5_000);

/// A server that is not linked to management for so long, nor to this server, is lost; milliseconds.
const LOST: u64 = 3_000;

/// The state of the portion.
#[derive(Debug, Default)]
pub struct Portion {
    /// A load is under way.
    loading: bool,
    /// Counts loads: answers of an earlier one are not for this.
    round: u64,
    /// Loads that failed since the last that did not.
    failures: u32,
}

impl Portion {
    /// Whether a load is under way.
    pub fn is_loading(&self) -> bool {
        self.loading
    }
}

pub const SERVERS: Command<Main> =
    Command { name: "SERVERS", ports: &[PortKey::MainManagement], args: "lines", gate: anyone, run: servers };

pub const ROUTES: Command<Main> = Command {
    name: "ROUTES",
    ports: &[PortKey::MainManagement],
    args: "version LF checksum LF lines",
    gate: anyone,
    run: routes,
};

fn servers(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let text = request.data().text()?.into_owned();
    for line in text.lines() {
        if let Err(fail) = server(main, ctx, line) {
            log::warn!("management tells of a server what cannot be: {fail}");
        }
    }
    Ok(Answer::None)
}

fn server(main: &mut Main, ctx: &mut Ctx<Main>, line: &str) -> Result<(), Fail> {
    let columns: Vec<&str> = line.split('|').collect();
    let [id, state, mesh, key, client, fingerprint, clients, draining, boot, ref realm @ ..] = columns[..] else {
        return Err(Fail::bad_args("a server's line has nine columns, or ten"));
    };
    let realm = realm.first().copied().filter(|realm| name::check_realm(realm).is_ok()).unwrap_or_default();
    let number = main.table.server(id)?;
    if number == main.own {
        return Err(Fail::bad_args("this server itself"));
    }
    if state == "removed" {
        log::info!("main server {id} was removed from the network");
        members::set_key(main, ctx, id, None);
        links::removed(main, ctx, number);
        relayed::give_up(main, ctx, number, "the recipient's server was removed");
        return Ok(());
    }
    let now = ctx.now();
    if state == "down" {
        // It may be reached all the same, where it was.
        let entry = main.mesh.place(number, now);
        if std::mem::replace(&mut entry.facts.up, false) {
            // Management that was started anew says so of all that have not come back to it yet.
            ctx.after(LOST, move |main, ctx| {
                let gone = |server: &Server| !server.facts.up && server.neighbour.is_none();
                if main.mesh.get(number).is_some_and(gone) {
                    handover::source_lost(main, ctx, number);
                    standby::server_lost(main, ctx, number);
                    fetch::server_lost(main, ctx, number);
                }
            });
            relay::server_down(ctx);
        }
        return Ok(());
    }
    let key = PublicKey::parse(key).ok_or_else(|| Fail::bad_args("a public key is 32 bytes in Base64"))?;
    let facts = Facts {
        up: true,
        boot: Raw(boot.as_bytes()).number()?,
        mesh: mesh.to_owned(),
        client: client.to_owned(),
        fingerprint: fingerprint.to_owned(),
        clients: Raw(clients.as_bytes()).number()?,
        draining: !draining.is_empty(),
        realm: realm.to_owned(),
    };
    members::set_key(main, ctx, id, Some(key));
    let mac = main.settings.key.mac_key(&key, "relay").map(|mac| *mac);
    let entry = main.mesh.place(number, now);
    let anew = entry.facts.boot != 0 && facts.boot != 0 && entry.facts.boot != facts.boot;
    let fresh = !entry.facts.up || anew;
    entry.mac = mac;
    entry.facts = facts;
    if anew {
        relayed::give_up(main, ctx, number, "the recipient's server was started anew");
        handover::source_lost(main, ctx, number);
        standby::server_lost(main, ctx, number);
        fetch::server_lost(main, ctx, number);
    }
    links::changed(main, ctx, number, fresh);
    Ok(())
}

fn routes(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [version, checksum, lines] = request.data().take()?;
    let (version, lines) = (version.number()?, lines.text()?);
    let checksum = entry::parse_checksum(&checksum.text()?).ok();
    let right = |main: &Main| main.portion.loading || checksum == Some(main.table.checksum());
    if !apply(main, ctx, version, &lines, right) {
        log::warn!("the route table has not the checksum that management says: it is loaded anew");
        load(main, ctx, true);
    }
    Ok(Answer::None)
}

/// Applies lines, and tells whether the table is `right` then. If it is not, messages wait before anything is done by it.
fn apply(main: &mut Main, ctx: &mut Ctx<Main>, version: u64, lines: &str, right: impl Fn(&Main) -> bool) -> bool {
    let now = ctx.now();
    // Names of those who are about to be nowhere are known only before.
    let mut left = Vec::new();
    for name in lines.lines().filter_map(|line| line.strip_prefix("u|")?.split('|').next()) {
        let at = main.table.find(name).and_then(|user| main.table.get(user)).map(|user| user.at.to_vec());
        left.extend(at.filter(|at| !at.is_empty()).map(|at| (name.to_owned(), at)));
    }
    let down = lines.lines().filter_map(|line| main.table.server_no(line.strip_prefix("g|")?));
    let down: Vec<ServerNo> = down.collect();
    for server in down.iter().copied() {
        for user in main.table.users().filter(|user| user.at.contains(&server)) {
            main.moved.left(&user.name, server, now);
        }
    }
    let changes = main.table.apply(lines).unwrap_or_else(|fail| {
        log::warn!("a line of the route table is wrong: {fail}");
        Vec::new()
    });
    main.version = main.version.max(version);
    let right = right(main);
    if !right {
        hold::suspend(main);
    }
    for (name, mut at) in left {
        let stays = main.table.find(&name).and_then(|user| main.table.get(user)).map(|user| user.at.to_vec());
        // A session that is elsewhere now may have come from any of them, though others stay.
        hold::user_left(main, &name, &at);
        at.retain(|server| !stays.as_ref().is_some_and(|stays| stays.contains(server)));
        for server in &at {
            main.moved.left(&name, *server, now);
        }
    }
    for server in down {
        hold::on_the_way(main, server);
    }
    take_changes(main, ctx, changes, version);
    relay::table_changed(main, ctx);
    hold::release(main, ctx);
    right
}

fn take_changes(main: &mut Main, ctx: &mut Ctx<Main>, changes: Vec<Change>, version: u64) {
    for change in changes {
        match change {
            Change::Route(server) => links::reroute(main, server),
            Change::Moved { id, name, from, to } => {
                // Other sessions may stay: then the user has not left that server, and still this one must not be overtaken.
                hold::user_left(main, &name, &[from]);
                marks::renew(main, &name);
                if from == main.own {
                    redirect::flipped(main, ctx, &id, &name, to, version);
                }
                if to == main.own && main.arrivals.get(&id).is_none() && main.session_of_move(&id).is_none() {
                    log::warn!("a session of {name} is said to have come here, and has not");
                    management::presence(main, ctx, &name);
                } else if to == main.own {
                    handover::flipped(main, ctx, &id, version);
                }
            }
            Change::User { user, .. } => {
                let Some(entry) = main.table.get(user) else { continue };
                let name = entry.name.to_string();
                marks::renew(main, &name);
            }
        }
    }
}

/// Loads the portion, page by page. `suspend`: messages are held meanwhile, as what there is cannot be trusted. What changes meanwhile comes
/// as ROUTES, and is applied to what is there; what was told neither way is gone.
pub fn load(main: &mut Main, ctx: &mut Ctx<Main>, suspend: bool) {
    main.portion.round += 1;
    main.portion.loading = true;
    main.table.begin_load();
    if suspend {
        hold::suspend(main);
    }
    page(main, ctx, "0");
}

fn page(main: &mut Main, ctx: &mut Ctx<Main>, cursor: &str) {
    let Some(link) = main.management.link() else { return failed(main, ctx, "management is away") };
    let round = main.portion.round;
    ctx.request(link, "PORTION", &[cursor.as_bytes()], move |main, ctx, answer| {
        if main.portion.round != round {
            return;
        }
        let told = answer.and_then(|data| {
            let [next, version, checksum, lines] = data.take()?;
            let checksum = entry::parse_checksum(&checksum.text()?)?;
            Ok((next.text()?.into_owned(), version.number()?, checksum, lines.text()?.into_owned()))
        });
        let (next, version, checksum, lines) = match told {
            Ok(told) => told,
            Err(fail) => return failed(main, ctx, &fail.to_string()),
        };
        // Management may have been started anew: then others count from this version on moves that this server knew of before.
        all_on_the_way(main);
        apply(main, ctx, version, &lines, |_| true);
        if !next.is_empty() {
            return page(main, ctx, &next);
        }
        let changes = main.table.end_load();
        main.portion.loading = false;
        all_on_the_way(main);
        take_changes(main, ctx, changes, version);
        if checksum != main.table.checksum() {
            return failed(main, ctx, "the checksum is wrong");
        }
        log::info!("the route table is loaded: {} users", main.table.len());
        main.portion.failures = 0;
        // Management has been told of every move by now.
        let version = main.version;
        settle::all_told(main, version);
        main.moved.all_told();
        resume(main, ctx);
    });
}

/// See `hold::on_the_way`.
fn all_on_the_way(main: &mut Main) {
    main.mesh.numbers().for_each(|server| hold::on_the_way(main, server));
}

/// Messages go on, those from other servers as well.
fn resume(main: &mut Main, ctx: &mut Ctx<Main>) {
    if main.holds.is_suspended() {
        hold::resume(main, ctx);
        relay::table_changed(main, ctx);
    }
}

/// The load came to nothing. While management is away this server goes on with what it has; else it tries again.
fn failed(main: &mut Main, ctx: &mut Ctx<Main>, why: &str) {
    log::warn!("the route table could not be loaded: {why}");
    // What there was stays, beside what has come.
    main.portion.loading = false;
    main.portion.failures = main.portion.failures.saturating_add(1);
    if main.management.link().is_none() {
        // It begins anew when management is back.
        return resume(main, ctx);
    }
    let (first, most) = BACK_OFF;
    let wait = first.saturating_mul(1 << main.portion.failures.min(16)).min(most);
    let round = main.portion.round;
    ctx.after(wait, move |main, ctx| {
        if main.portion.round == round && main.management.link().is_some() {
            load(main, ctx, main.holds.is_suspended());
        }
    });
}
