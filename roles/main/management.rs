//! The links to management: 64478, where this server reports who is signed on, and 64482, where tickets are checked.

use super::get_server_map;
use super::Main;
use super::Peer;
use crate::config::PortKey;
use crate::engine::Ctx;
use crate::engine::LinkId;

/// How long to wait before the next try to reach management, at first and at most; milliseconds.
const BACK_OFF: (u64, u64) = (100, 10_000);

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
    /// When this process started; names it.
    boot: u64,
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
    main.management.boot = ctx.now();
    ctx.connect(PortKey::MainManagement, main.settings.management.clone(), Peer::Management);
    ctx.connect(PortKey::Validation, main.settings.validation.clone(), Peer::Validation);
}

/// One of the links is up.
pub fn opened(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId) {
    if let Some(Peer::Validation) = ctx.peer_ref(link) {
        main.management.validation = Some(link);
        return;
    }
    main.management.introducing = Some(link);
    introduce(main, ctx);
}

/// Tells management who this server is, and all that it should know of it.
pub fn introduce(main: &mut Main, ctx: &mut Ctx<Main>) {
    let Some(link) = main.management.link.or(main.management.introducing) else { return };
    let settings = &main.settings;
    let print = settings.fingerprint_hex();
    let boot = main.management.boot.to_string();
    // No mesh yet: no address and no key for other main servers.
    let fields = [&settings.server_id, &settings.name, &settings.address, &print, "", "", &boot].map(str::as_bytes);
    ctx.request(link, "MAINSERVER", &fields, move |main, ctx, answer| match answer {
        Ok(_) => {
            main.management.link = Some(link);
            main.management.introducing = None;
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
            get_server_map::management_back(main, ctx);
        }
        Err(fail) => {
            log::error!("management refuses this server: {fail}");
            ctx.close(link, "refused");
        }
    });
}

/// One of the links is gone, or could not be made: it is tried again, later and later.
pub fn closed(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId, validation: bool, why: &str) {
    if ctx.is_stopping() {
        return;
    }
    let management = &mut main.management;
    let lost = management.link == Some(link);
    let (port, target) = if validation {
        management.validation = None;
        (PortKey::Validation, main.settings.validation.clone())
    } else {
        management.link = None;
        management.introducing = None;
        (PortKey::MainManagement, main.settings.management.clone())
    };
    management.tries = management.tries.saturating_add(1);
    if lost {
        log::warn!("management is not reachable: {why}");
        get_server_map::management_away(main, ctx);
    }
    let (first, most) = BACK_OFF;
    let wait = first.saturating_mul(1 << main.management.tries.min(16)).min(most);
    // Jitter, so that many servers do not come back in one instant.
    let jitter = rand::RngExt::random_range(ctx.rng(), 0..=wait / 2);
    ctx.after(wait / 2 + jitter, move |_, ctx| {
        // A link made while the process stops would hold up the stop.
        if !ctx.is_stopping() {
            ctx.connect(port, target, if validation { Peer::Validation } else { Peer::Management });
        }
    });
}

/// Reports how often a user is signed on here, and the user's status.
pub fn presence(main: &mut Main, ctx: &mut Ctx<Main>, name: &str) {
    let Some(link) = main.management.link else { return };
    let sessions = main.table.find(name).and_then(|user| main.table.get(user)).map_or(0, |user| user.here.len());
    let status = main.statuses.get(name).map_or("", String::as_str);
    // Lost only with the link, and then everything is reported again.
    let _ = ctx.push(link, "PRESENCE", &[name.as_bytes(), sessions.to_string().as_bytes(), status.as_bytes()]);
}
