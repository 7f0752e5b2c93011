//! Links to management on which the realm speaks for one client: made when the client asks for something that management decides, closed
//! when it has signed on, or is gone. What is asked passes through as it stands on the wire.

use super::DOORS;
use crate::config::PortKey;
use crate::engine::handshake;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::roles::main::Main;
use crate::roles::main::Peer;
use crate::wire::hex;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// What one client has asked and management was not asked yet.
const WAITING: usize = 8;

type Then = Box<dyn FnOnce(&mut Main, &mut Ctx<Main>, Result<Raw<'_>, Fail>) + Send>;

/// See the module.
pub struct Desk {
    link: LinkId,
    /// Management knows for whom it is.
    ready: bool,
    waiting: Vec<(&'static str, Vec<u8>, Then)>,
}

/// Asks management in the name of a client. `data` is escaped already.
pub fn ask(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    client: LinkId,
    command: &'static str,
    data: Vec<u8>,
    then: impl FnOnce(&mut Main, &mut Ctx<Main>, Result<Raw<'_>, Fail>) + Send + 'static,
) {
    let unavailable = || Fail::new(Code::Unavailable, "the management server is not reachable; retry later");
    let (reachable, target) = (main.management.link().is_some(), main.settings.management.clone());
    let Some(realm) = main.realm.as_mut().filter(|_| reachable) else {
        return ctx.after(0, move |main, ctx| then(main, ctx, Err(unavailable())));
    };
    let desk = realm.desks.entry(client).or_insert_with(|| {
        let link = ctx.connect(PortKey::MainManagement, target, Peer::Desk(client));
        Desk { link, ready: false, waiting: Vec::new() }
    });
    if desk.ready {
        return ctx.request_parts(desk.link, command, &[&data], then);
    }
    if desk.waiting.len() >= WAITING {
        let busy = Fail::new(Code::Busy, "too much is being asked; wait for the answers");
        return ctx.after(0, move |main, ctx| then(main, ctx, Err(busy)));
    }
    desk.waiting.push((command, data, Box::new(then)));
}

/// The link is open.
pub fn opened(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId) {
    let expected = main.members.management_key;
    handshake::open(main, ctx, link, "management", expected);
}

/// Management is at the other end.
pub fn proven(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId, client: LinkId) {
    let Some(realm) = &main.realm else { return };
    let info = ctx.info(client).filter(|info| DOORS.contains(&info.port));
    let Some(info) = info else { return ctx.close(link, "the client is gone") };
    let address = info.remote.map_or_else(|| "127.0.0.1".to_owned(), |remote| remote.to_canonical().to_string());
    // Without TLS there is no certificate that a client could sign.
    let print = hex::encode(&info.fingerprint.unwrap_or_default());
    let settings = &realm.settings;
    let cap = settings.user_cap.unwrap_or(0).to_string();
    let quota = settings.own_quota.map(|bytes| bytes.to_string()).unwrap_or_default();
    let fields = [address.as_str(), settings.registration.name(), &cap, &print, &quota].map(str::as_bytes);
    ctx.request(link, "ONBEHALF", &fields, move |main, ctx, answer| {
        let desk = main.realm.as_mut().and_then(|realm| realm.desks.get_mut(&client)).filter(|desk| desk.link == link);
        let Some(desk) = desk else { return };
        if let Err(fail) = answer {
            log::error!("management does not let this realm speak for its clients: {fail}");
            return ctx.close(link, "refused");
        }
        desk.ready = true;
        for (command, data, then) in std::mem::take(&mut desk.waiting) {
            ctx.request_parts(link, command, &[&data], then);
        }
    });
}

/// The link is gone, or could not be made.
pub fn closed(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId, client: LinkId) {
    let Some(realm) = &mut main.realm else { return };
    if realm.desks.get(&client).is_none_or(|desk| desk.link != link) {
        return;
    }
    let waiting = realm.desks.remove(&client).map(|desk| desk.waiting).unwrap_or_default();
    for (_, _, then) in waiting {
        then(main, ctx, Err(Fail::new(Code::Unavailable, "the management server is not reachable; retry later")));
    }
}

/// The client needs it no more.
pub fn close(main: &mut Main, ctx: &mut Ctx<Main>, client: LinkId) {
    if let Some(desk) = main.realm.as_ref().and_then(|realm| realm.desks.get(&client)) {
        ctx.close(desk.link, "done");
    }
}
