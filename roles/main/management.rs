//! The links to management: 64478, where this server reports who is signed on, and 64482, where tickets are checked.

use std::collections::BTreeSet;

use super::fetch;
use super::get_server_map;
use super::kept;
use super::mesh::links;
use super::realm;
use super::receipts;
use super::redirect;
use super::routes;
use super::settle;
use super::voice;
use super::Main;
use super::Peer;
use crate::config::PortKey;
use crate::engine::handshake;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Target;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// How long to wait before the next try to reach management, at first and at most; milliseconds.
const BACK_OFF: (u64, u64) = (100, 10_000);
/// How often it is told who writes to whom, in seconds, and how many pairs at most.
const TALKS: u64 = 10;
/// See `TALKS`.
const TALKED: usize = 256;

/// What is known of the two links.
#[derive(Debug, Default)]
pub struct Management {
    link: Option<LinkId>,
    validation: Option<LinkId>,
    /// 64478, before management has answered.
    introducing: Option<LinkId>,
    /// Told once, when management knows this server for the first time.
    pub(super) when_known: Option<std::sync::mpsc::Sender<()>>,
    tries: u32,
    /// What to connect to once management's ports are known.
    wanted: BTreeSet<PortKey>,
    asking: bool,
}

impl Management {
    /// 64478, while it is up.
    pub fn link(&self) -> Option<LinkId> {
        self.link
    }

    /// 64482, while it is up.
    pub fn validation(&self) -> Option<LinkId> {
        self.validation
    }
}

/// Opens both links.
pub fn connect(main: &mut Main, ctx: &mut Ctx<Main>) {
    reach(main, ctx, PortKey::MainManagement);
    reach(main, ctx, PortKey::Validation);
}

/// Connects to one of management's ports, after asking which it is, if that may have changed.
fn reach(main: &mut Main, ctx: &mut Ctx<Main>, port: PortKey) {
    let Some(public) = &main.settings.public else { return dial(main, ctx, port) };
    main.management.wanted.insert(port);
    if !std::mem::replace(&mut main.management.asking, true) {
        ctx.connect(PortKey::PublicManagement, public.clone(), Peer::Public);
    }
}

fn dial(main: &Main, ctx: &mut Ctx<Main>, port: PortKey) {
    let (target, peer) = match port {
        PortKey::Validation => (&main.settings.validation, Peer::Validation),
        _ => (&main.settings.management, Peer::Management),
    };
    ctx.connect(port, target.clone(), peer);
}

fn ask_ports(ctx: &mut Ctx<Main>, link: LinkId) {
    ctx.request(link, "GETPORTS", &[], move |main, ctx, answer| {
        let text = answer.and_then(|data| Ok(data.text()?.into_owned())).unwrap_or_default();
        let find = |key: PortKey| {
            let line = text.lines().find_map(|line| line.strip_prefix(key.name())?.strip_prefix('|'));
            line.and_then(|port| port.parse::<u16>().ok())
        };
        let settings = &mut main.settings;
        match (find(PortKey::MainManagement), find(PortKey::Validation)) {
            (Some(management), Some(validation)) => {
                move_to(&mut settings.management, management);
                move_to(&mut settings.validation, validation);
                for port in std::mem::take(&mut main.management.wanted) {
                    dial(main, ctx, port);
                }
            }
            _ => log::warn!("management does not tell its ports {}", PortKey::MainManagement.name()),
        }
        ctx.close(link, "done");
    });
}

/// The same host, another port.
fn move_to(target: &mut Target, port: u16) {
    if let Target::Net(address, _) = target {
        let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
        *address = format!("{host}:{port}");
    }
}

/// The link on which the ports were asked for is gone; those that were not told are asked for again.
pub fn ports_closed(main: &mut Main, ctx: &mut Ctx<Main>, why: &str) {
    main.management.asking = false;
    for port in std::mem::take(&mut main.management.wanted) {
        log::debug!("management is not reachable: {why}");
        again(main, ctx, port);
    }
}

/// One of the links is up.
pub fn opened(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId) {
    match ctx.peer_ref(link) {
        Some(Peer::Public) => ask_ports(ctx, link),
        Some(Peer::Validation) => {
            main.management.validation = Some(link);
            come_forward(main, ctx);
        }
        _ => {
            let expected = main.members.management_key;
            handshake::open(main, ctx, link, "management", expected);
        }
    }
}

/// The server handshake on 64478 is done.
pub fn proven(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId) {
    main.management.introducing = Some(link);
    come_forward(main, ctx);
}

/// Clients are sent here once management knows this server, so it is told when their tickets can be checked.
fn come_forward(main: &mut Main, ctx: &mut Ctx<Main>) {
    if main.management.introducing.is_some() && main.management.validation.is_some() {
        introduce(main, ctx);
    }
}

/// The server handshake on 64478 has failed.
pub fn refused(main: &Main, why: &Fail) {
    let (name, key) = (&main.settings.server_id, main.settings.key.public());
    match why.code {
        Code::Denied => log::error!(
            "management does not know this server. On management: convergia admin add-server {name} main {key}"
        ),
        Code::Refused => log::error!(
            "what answers as management is not the management that this server joined. If that is meant, stop this \
             server, remove the folder main in its data folder, and start it: it joins anew"
        ),
        _ => {}
    }
}

/// Tells management who this server is, and all that it should know of it.
pub fn introduce(main: &mut Main, ctx: &mut Ctx<Main>) {
    let Some(link) = main.management.link.or(main.management.introducing) else { return };
    let settings = &main.settings;
    let print = settings.fingerprint_hex();
    let boot = main.mesh.boot.to_string();
    let key = settings.key.public().to_string();
    let realm = realm::links::own(main);
    let fields: [&str; 8] =
        [&settings.server_id, &settings.name, &settings.address, &print, &settings.mesh, &key, &boot, realm];
    let fields = fields.map(str::as_bytes);
    ctx.request(link, "MAINSERVER", &fields, move |main, ctx, answer| match answer {
        Ok(_) => {
            // Introduced anew on the same link: it knows the rest.
            let again = main.management.link.replace(link) == Some(link);
            main.management.introducing = None;
            if again {
                return;
            }
            if let Some(known) = main.management.when_known.take() {
                // Nobody waits any more: then nobody needs to know.
                let _ = known.send(());
            }
            main.management.tries = 0;
            log::info!("management knows this server");
            let names: Vec<String> = main.table.users_here().map(|user| user.name.to_string()).collect();
            for name in names {
                presence(main, ctx, &name);
            }
            kept::tell_all(main, ctx);
            get_server_map::management_back(main, ctx);
            if main.draining.is_some() {
                ctx.request(link, "DRAINING", &[], |_, _, _| {});
            }
            links::report_again(main, ctx);
            routes::load(main, ctx, false);
            voice::management_back(main, ctx, link);
        }
        Err(fail) => {
            log::error!("management refuses this server: {fail}");
            ctx.close(link, "refused");
        }
    });
}

/// One of the links is gone, or could not be made: it is tried again, later and later.
pub fn closed(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId, port: PortKey, why: &str) {
    if ctx.is_stopping() {
        return;
    }
    let management = &mut main.management;
    let lost = management.link == Some(link);
    if port == PortKey::Validation {
        management.validation = None;
    } else {
        management.link = None;
        management.introducing = None;
    }
    if lost {
        log::warn!("management is not reachable: {why}");
        get_server_map::management_away(main, ctx);
    }
    again(main, ctx, port);
}

fn again(main: &mut Main, ctx: &mut Ctx<Main>, port: PortKey) {
    main.management.tries = main.management.tries.saturating_add(1);
    let (first, most) = BACK_OFF;
    let wait = first.saturating_mul(1 << main.management.tries.min(16)).min(most);
    // Jitter, so that many servers do not come back in one instant.
    let jitter = rand::RngExt::random_range(ctx.rng(), 0..=wait / 2);
    ctx.after(wait / 2 + jitter, move |main, ctx| {
        // A link made while the process stops would hold up the stop.
        if !ctx.is_stopping() {
            reach(main, ctx, port);
        }
    });
}

/// Reports how often a user is signed on here, and the user's status.
pub fn presence(main: &mut Main, ctx: &mut Ctx<Main>, name: &str) {
    presence_then(main, ctx, name, 0, |_, _| {});
}

/// The same. `gone_on`: so many of those that were here may go on at another server, beside those that have arrived there. `then` runs when management has told everybody, or cannot.
pub fn presence_then(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    name: &str,
    gone_on: u32,
    then: impl FnOnce(&mut Main, &mut Ctx<Main>) + Send + 'static,
) {
    let Some(link) = main.management.link else { return ctx.after(0, then) };
    let here = main.table.find(name).and_then(|user| main.table.get(user)).map(|user| &*user.here).unwrap_or_default();
    // Of a session that moves, the target will tell.
    let stays = |link: &&LinkId| {
        let moving = main.session_at(**link).and_then(|session| session.moving.as_ref());
        !moving.is_some_and(redirect::Moving::has_arrived)
    };
    // What is claimed is not counted twice.
    let claimed = |link: &&LinkId| {
        let came = main.session_at(**link).and_then(|session| session.came.as_ref());
        came.is_some_and(|came| came.claimed && came.version == u64::MAX)
    };
    let left = here.iter().filter(|link| !stays(link)).count() + gone_on as usize;
    let sessions = here.iter().filter(stays).filter(|link| !claimed(link)).count();
    let unsettled = settle::unsettled(main, here);
    let account = here.first().and_then(|link| main.session_at(*link)).map(|session| session.account);
    let receipt = account.map_or("", |account| main.receipts.of(account));
    let (sessions, left) = (sessions.to_string(), left.to_string());
    let status = main.statuses.get(name).map_or("", String::as_str);
    let fields = [name, &sessions, &left, receipt, status].map(str::as_bytes);
    // When it is lost with the link, everything is reported again.
    let name = name.to_owned();
    ctx.request(link, "PRESENCE", &fields, move |main, ctx, answer| {
        match answer.and_then(|data| taken(main, ctx, &name, account, data)) {
            Ok(()) if main.portion.is_loading() => {}
            // The line that says so came before.
            Ok(()) => settle::since(main, &unsettled, main.version),
            Err(fail) => {
                log::warn!("management does not take note of {name}: {fail}");
                if fail.code == Code::Denied && !settle::claim(main, ctx, &name) {
                    // Nobody would ever find these sessions: their clients sign on again.
                    let here = main.table.find(&name).and_then(|user| main.table.get(user));
                    let here = here.map(|user| user.here.to_vec()).unwrap_or_default();
                    here.iter().for_each(|link| ctx.close(*link, "management does not know of it"));
                }
            }
        }
        then(main, ctx);
    });
}

/// Management has taken note: a receipt, and who keeps messages for the user; nothing when the user is not here.
fn taken(main: &mut Main, ctx: &mut Ctx<Main>, name: &str, account: Option<u64>, data: Raw<'_>) -> Result<(), Fail> {
    let Some(account) = account.filter(|_| !data.0.is_empty()) else { return Ok(()) };
    let [receipt, keepers] = data.take()?;
    let receipt = receipt.text()?;
    receipts::check(&receipt)?;
    main.receipts.given(account, &receipt, ctx.now());
    fetch::named(main, ctx, name, account, &keepers.text()?);
    Ok(())
}

/// Now and then: who writes to whom on other servers.
pub fn talks(main: &mut Main, ctx: &mut Ctx<Main>) {
    let Some(link) = main.management.link.filter(|_| (ctx.now() / 1_000).is_multiple_of(TALKS)) else { return };
    let mut talks: Vec<_> =
        std::mem::take(&mut main.mesh.talks).into_iter().map(|(pair, count)| (count, pair)).collect();
    if talks.is_empty() {
        return;
    }
    talks.sort_unstable_by(|a, b| b.cmp(a));
    let lines: Vec<String> =
        talks.iter().take(TALKED).map(|(count, (from, to))| format!("{from}|{to}|{count}")).collect();
    ctx.request(link, "TALKS", &[lines.join("\n").as_bytes()], |_, _, _| {});
}
