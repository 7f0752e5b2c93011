//! What the operator asks about servers, over the Unix socket: ADDSERVER, REMOVESERVER, SERVERS.

use super::network;
use super::network::Server;
use super::Management;
use crate::config::PortKey;
use crate::config::RoleName;
use crate::engine::anyone;
use crate::engine::identity::PublicKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::wire::name;
use crate::wire::Fail;

pub const ADD_SERVER: Command<Management> = Command {
    name: "ADDSERVER",
    ports: &[PortKey::Admin],
    args: "name LF role LF public key LF volatile, alone or nothing LF capacity or nothing",
    gate: anyone,
    run: add,
};

pub const REMOVE_SERVER: Command<Management> =
    Command { name: "REMOVESERVER", ports: &[PortKey::Admin], args: "name", gate: anyone, run: remove };

pub const SERVERS: Command<Management> =
    Command { name: "SERVERS", ports: &[PortKey::Admin], args: "", gate: anyone, run: list };

fn add(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [name, role, key, volatile, capacity] = request.data().take()?;
    let name = name.text()?.into_owned();
    name::check(&name)?;
    let role = RoleName::parse(&role.text()?).filter(|role| *role != RoleName::Management);
    let role = role.ok_or_else(|| Fail::bad_args("the role is main, data-management, data or realm"))?;
    let key = PublicKey::parse(&key.text()?);
    let key = key.ok_or_else(|| Fail::bad_args("a public key is what `convergia key` prints: 32 bytes in Base64"))?;
    let (volatile, alone) = match &*volatile.text()? {
        "volatile" => (true, false),
        "alone" => (false, true),
        "" => (false, false),
        _ => return Err(Fail::bad_args("the fourth field is volatile or alone, or empty")),
    };
    let capacity = if capacity.is_empty() { None } else { Some(capacity.number()?) };
    if role != RoleName::Data && (volatile || capacity.is_some()) {
        return Err(Fail::bad_args("only a data server is volatile, or has a capacity"));
    }
    if role != RoleName::Realm && alone {
        return Err(Fail::bad_args("only a realm stands alone"));
    }
    management.network.check_new(&name, role, key)?;
    let (later, server) = (request.later(), Server { key, volatile, alone, capacity, added: ctx.now() });
    let (stored, known) = ((name.clone(), server.clone()), (name, server));
    ctx.store(
        move |db| network::insert(db, &stored.0, role, &stored.1),
        move |management, ctx, done| {
            if done.is_ok() {
                log::info!("the server {} was added, role {}", known.0, role.name());
                network::added(management, ctx, &known.0, role, known.1);
            }
            ctx.answer(&later, done.map(|()| Vec::new()));
        },
    );
    Ok(Answer::Later)
}

fn remove(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let name = request.data().text()?.into_owned();
    let (later, wanted) = (request.later(), name.clone());
    ctx.store(
        move |db| network::delete(db, &wanted),
        move |management, ctx, done| {
            if done.is_ok() {
                network::removed(management, ctx, &name);
            }
            ctx.answer(&later, done.map(|()| Vec::new()));
        },
    );
    Ok(Answer::Later)
}

/// Lines `name|role|up or down|since|host:port|public key|volatile, alone or nothing|capacity or nothing`, own servers first.
fn list(management: &mut Management, _: &mut Ctx<Management>, _: &Request<'_>) -> Result<Answer, Fail> {
    let line = |name: &str, role: RoleName, key: PublicKey, server: Option<&Server>| {
        let main = management.mains.get(name).filter(|_| matches!(role, RoleName::Main | RoleName::Realm));
        let realm = role == RoleName::Realm && management.realms.is_up(name);
        let storage = management.storage.up.get(&(role, name.to_owned()));
        let state = if main.is_some() || storage.is_some() || realm { "up" } else { "down" };
        let since = management.network.since(role, name).unwrap_or(management.started);
        let address =
            main.map(|main| &main.address).or(storage.map(|server| &server.address)).map_or("", String::as_str);
        let volatile = match server {
            Some(Server { volatile: true, .. }) => "volatile",
            Some(Server { alone: true, .. }) => "alone",
            _ => "",
        };
        let capacity = server.and_then(|server| server.capacity).map(|bytes| bytes.to_string()).unwrap_or_default();
        format!("{name}|{}|{state}|{since}|{address}|{key}|{volatile}|{capacity}", role.name())
    };
    let shakes = &management.network.shakes;
    let main = management.mains.contains_key(shakes.own_id()).then_some(RoleName::Main);
    let storage = management.storage.up.keys().filter(|(_, id)| id == shakes.own_id()).map(|(role, _)| *role);
    let own = main.into_iter().chain(storage).map(|role| line(shakes.own_id(), role, shakes.key().public(), None));
    let others = management.network.servers().map(|(name, role, server)| line(name, role, server.key, Some(server)));
    let lines: Vec<String> = own.chain(others).collect();
    Ok(Answer::Data(lines.join("\n").into_bytes()))
}
