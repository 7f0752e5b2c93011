//! MAINSERVER (64478): a main server says that it is there, and where. And what happens when its link is gone.

use super::balance;
use super::blocks;
use super::directory;
use super::main_server;
use super::map;
use super::moves;
use super::network;
use super::presence;
use super::routes;
use super::storage;
use super::voice;
use super::Management;
use crate::config::PortKey;
use crate::config::RoleName;
use crate::engine::ctx::Fingerprint;
use crate::engine::identity::PublicKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::wire::hex;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// A host name has at most 253 bytes.
const ADDRESS_BYTES: usize = 260;

/// A main server that is up.
#[derive(Debug)]
pub struct MainServer {
    /// Its link on 64478.
    pub link: LinkId,
    /// For people.
    pub name: String,
    /// `host:port` for clients; an empty host, only of a server in this process: the one by which management is reached.
    pub address: String,
    /// Of its certificate.
    pub fingerprint: Fingerprint,
    /// `host:port` for other main servers, as `address`; empty: it cannot be reached by them.
    pub mesh: String,
    /// Its identity key, Base64.
    pub public_key: String,
    /// When its process started, by its own clock; Unix milliseconds. Names the process.
    pub boot: u64,
    /// It moves its clients away, and gets no more.
    pub draining: bool,
    /// The realm that it plays: `host:port`, or nothing.
    pub realm: String,
}

pub const MAIN_SERVER: Command<Management> = Command {
    name: "MAINSERVER",
    ports: &[PortKey::MainManagement],
    args: "server-id LF name LF client host:port LF fingerprint LF mesh host:port LF public key LF boot LF realm host:port or nothing",
    gate: main_server,
    run: main,
};

fn main(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [id, name, address, print, mesh, key, boot] = request.data().take()?;
    let (id, name) = (id.text()?.into_owned(), name.text()?.into_owned());
    name::check(&id)?;
    name::check(&name)?;
    network::check_id(management, ctx, request.link, &id)?;
    let fingerprint =
        hex::decode_32(&print.text()?).ok_or_else(|| Fail::bad_args("a fingerprint is 64 hexadecimal digits"))?;
    let address = complete(ctx, request.link, &address.text()?)?;
    let mesh = complete(ctx, request.link, &mesh.text()?)?;
    // A main server of an earlier version says nothing of realms.
    let (boot, realm) = boot.split_field();
    let boot = boot.number()?;
    let realm = realm.unwrap_or_default().text()?.into_owned();
    let key = PublicKey::parse(&key.text()?).ok_or_else(|| Fail::bad_args("a public key is 32 bytes in Base64"))?;
    network::check_key(management, ctx, request.link, key)?;
    let plays = network::check_role(management, ctx, request.link, RoleName::Realm, key).is_ok();
    let realm = if plays && name::check_realm(&realm).is_ok() { realm } else { String::new() };
    if ctx.peer_ref(request.link).and_then(|peer| peer.server.as_ref()).is_some_and(|known| *known != id) {
        return Err(Fail::new(Code::Denied, "this link is another server's"));
    }
    if let Some(old) = management.mains.get(&id).filter(|old| old.link != request.link) {
        // The same process comes back before its dead link was noticed, or it was started anew. Two processes with one
        // key: the one that was started last has it.
        if boot < old.boot {
            return Err(Fail::new(Code::Exists, "a server with this id, started later, is connected"));
        }
        let link = old.link;
        ctx.abort(link, "the server has come by another link");
        lost(management, ctx, link, &id, "it comes by another link");
    }
    if let Some(peer) = ctx.peer(request.link) {
        peer.server = Some(id.clone());
    }
    let before = management.mains.get(&id);
    let came = before.is_none();
    // Introduced again on the same link: it has another certificate or address. Come back as the same process: still drains.
    let draining = before.is_some_and(|old| old.draining) || management.drained.get(&id) == Some(&boot);
    log::info!("main server {id} is up at {address}");
    let link = request.link;
    let server =
        MainServer { link, name, address, fingerprint, mesh, public_key: key.to_string(), boot, draining, realm };
    management.mains.insert(id.clone(), server);
    if came {
        // It says anew what it keeps.
        management.keepers.server_gone(&id);
        management.network.changed(RoleName::Main, &id, ctx.now());
    }
    management.trust.server_back(&id, boot);
    presence::server_came(management, ctx, &id, boot);
    directory::server_changed(management, ctx, &id);
    map::server_changed(management, ctx, &id);
    if came {
        routes::server_up(management, ctx, &id);
        balance::server_came(management, ctx);
    }
    // Behind the OK.
    ctx.after(0, move |management, ctx| {
        directory::send_all(management, ctx, link);
        storage::tell_place(management, ctx, link, true);
        blocks::tell(management, ctx, link);
    });
    storage::member_changed(management, ctx, RoleName::Main, &id);
    Ok(Answer::Ok)
}

/// An address as others reach it: a server that listens on all of its addresses has no host of its own to tell, so it is the
/// one that its link comes from.
pub fn complete(ctx: &Ctx<Management>, link: LinkId, address: &str) -> Result<String, Fail> {
    if address.is_empty() {
        return Ok(String::new());
    }
    let bad = || Fail::bad_args("an address is host:port");
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    if address.len() > ADDRESS_BYTES || address.contains(|c: char| c == '|' || c.is_control() || c.is_whitespace()) {
        return Err(bad());
    }
    match (host, ctx.info(link).and_then(|info| info.remote)) {
        ("", Some(remote)) => {
            let port: u16 = port.parse().map_err(|_| bad())?;
            Ok(std::net::SocketAddr::new(remote.to_canonical(), port).to_string())
        }
        _ => Ok(address.to_owned()),
    }
}

/// The link of a main server is gone, and its clients with it.
pub fn lost(management: &mut Management, ctx: &mut Ctx<Management>, link: LinkId, id: &str, why: &str) {
    management.watchers.forget(link);
    // Management stops: it takes all links down, and what the others know shall stay as it is.
    if ctx.is_stopping() || management.mains.get(id).is_none_or(|server| server.link != link) {
        return;
    }
    log::warn!("main server {id} is gone: {why}");
    let Some(server) = management.mains.remove(id) else { return };
    // What is still read of it is not believed.
    if let Some(peer) = ctx.peer(link) {
        peer.server = None;
    }
    management.network.changed(RoleName::Main, id, ctx.now());
    if server.draining {
        management.drained.insert(id.to_owned(), server.boot);
    }
    presence::server_lost(management, ctx, id, server.boot);
    directory::server_changed(management, ctx, id);
    map::server_lost(management, ctx, id, &server.name);
    routes::server_down(management, ctx, id);
    moves::server_lost(management, ctx, id);
    voice::server_lost(management, ctx, id, link);
}
