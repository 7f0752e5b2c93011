//! What main servers report (64478): that they are there, who is signed on, and whether there is such a user.

use super::main_server;
use super::map;
use super::network;
use super::Management;
use crate::accounts::users;
use crate::config::PortKey;
use crate::engine::ctx::Fingerprint;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::wire::hex;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// A main server that is up.
#[derive(Debug)]
pub struct MainServer {
    /// Its link on 64478.
    pub link: LinkId,
    /// For people.
    pub name: String,
    /// `host:port` for clients; an empty host: that of management.
    pub address: String,
    /// Of its certificate on the client port.
    pub fingerprint: Fingerprint,
    /// Sessions there.
    pub clients: u64,
}

pub const MAIN_SERVER: Command<Management> = Command {
    name: "MAINSERVER",
    ports: &[PortKey::MainManagement],
    args: "server-id LF name LF host:port LF fingerprint",
    gate: main_server,
    run: main,
};

pub const PRESENCE: Command<Management> = Command {
    name: "PRESENCE",
    ports: &[PortKey::MainManagement],
    args: "username LF sessions LF status",
    gate: main_server,
    run: presence,
};

pub const LOOKUP: Command<Management> =
    Command { name: "LOOKUP", ports: &[PortKey::MainManagement], args: "username", gate: main_server, run: lookup };

fn main(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [id, name, address, print] = request.data().take()?;
    let (id, name, address) = (id.text()?.into_owned(), name.text()?.into_owned(), address.text()?.into_owned());
    name::check(&id)?;
    name::check(&name)?;
    network::check_id(management, ctx, request.link, &id)?;
    let fingerprint =
        hex::decode_32(&print.text()?).ok_or_else(|| Fail::bad_args("a fingerprint is 64 hexadecimal digits"))?;
    if let Some(old) = management.mains.get(&id).filter(|old| old.link != request.link) {
        return match ctx.is_open(old.link) {
            true => Err(Fail::new(Code::Exists, "a server with this id is connected")),
            false => Err(Fail::new(Code::Busy, "the last connection of this server is being closed; retry")),
        };
    }
    if let Some(peer) = ctx.peer(request.link) {
        peer.server = Some(id.clone());
    }
    let address = seen_from_here(ctx, request.link, address);
    log::info!("main server {id} is up at {address}");
    // A server that introduces itself again has another certificate or address, and the same clients.
    let clients = management.mains.get(&id).map_or(0, |old| old.clients);
    if !management.mains.contains_key(&id) {
        management.network.changed(&id, ctx.now());
    }
    management.mains.insert(id.clone(), MainServer { link: request.link, name, address, fingerprint, clients });
    map::server_changed(management, ctx, &id);
    Ok(Answer::Ok)
}

/// A server on another machine that tells no host is where its link comes from.
fn seen_from_here(ctx: &Ctx<Management>, link: LinkId, address: String) -> String {
    match (address.strip_prefix(':'), ctx.info(link).and_then(|info| info.remote)) {
        (Some(port), Some(remote)) => match remote.to_canonical() {
            std::net::IpAddr::V6(ip) => format!("[{ip}]:{port}"),
            std::net::IpAddr::V4(ip) => format!("{ip}:{port}"),
        },
        _ => address,
    }
}

/// The operator removed a server, and its links are being closed: whatever else management knows of it is forgotten, and the
/// other main servers are told.
pub fn server_removed(_: &mut Management, _: &mut Ctx<Management>, _: &str) {}

/// The link of a main server is gone, and its clients with it.
pub fn lost(management: &mut Management, ctx: &mut Ctx<Management>, link: LinkId, id: &str, why: &str) {
    management.online.forget_watcher(link);
    if management.mains.get(id).is_none_or(|server| server.link != link) {
        return;
    }
    if !ctx.is_stopping() {
        log::warn!("main server {id} is gone: {why}");
    }
    management.network.changed(id, ctx.now());
    map::server_lost(management, ctx, id);
}

fn presence(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [user, sessions, status] = request.data().take()?;
    let (user, sessions, status) = (user.text()?, sessions.number()?, status.text()?);
    name::check_user(&user)?;
    let server = ctx.peer_ref(request.link).and_then(|peer| peer.server.clone());
    let Some(server) = server else { return Err(Fail::new(Code::BadCommand, "send MAINSERVER first")) };
    map::presence(management, ctx, &server, &user, sessions, &status);
    Ok(Answer::None)
}

fn lookup(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let user = request.data().text()?.into_owned();
    let later = request.later();
    ctx.query(
        move |db| users::find(db, &user),
        move |_, ctx, found| {
            let none = || Fail::new(Code::NotFound, "there is no such user");
            ctx.answer(&later, found.and_then(|found| found.ok_or_else(none)).map(|_| Vec::new()));
        },
    );
    Ok(Answer::Later)
}
