//! LISTSERVERS and REPORTSERVERS: the choice of a main server.

use super::account_of;
use super::mains::MainServer;
use super::signed_on;
use super::Management;
use crate::config::PortKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::wire::hex;
use crate::wire::Code;
use crate::wire::Fail;

pub const LIST_SERVERS: Command<Management> =
    Command { name: "LISTSERVERS", ports: &[PortKey::ClientManagement], args: "", gate: signed_on, run: list };

pub const REPORT_SERVERS: Command<Management> = Command {
    name: "REPORTSERVERS",
    ports: &[PortKey::ClientManagement],
    args: "lines server-id|yes or no|round trip in ms",
    gate: signed_on,
    run: report,
};

/// What one more client on a server weighs against a millisecond of round trip.
const CLIENTS_PER_MS: u64 = 100;

fn list(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let line = |(id, server): (&String, &MainServer)| {
        let address = address_for(ctx, request.link, server);
        format!("{id}|{}|{address}|{}|{}", server.name, hex::encode(&server.fingerprint), server.clients)
    };
    let lines: Vec<String> = management.mains.iter().map(line).collect();
    Ok(Answer::Data(lines.join("\n").into_bytes()))
}

/// The address as this client reaches it: a server that listens on every address of the host that management is on has
/// no host of its own to tell, so it is the one by which the client reached management.
fn address_for(ctx: &Ctx<Management>, link: LinkId, server: &MainServer) -> String {
    match (server.address.strip_prefix(':'), ctx.info(link).and_then(|info| info.local)) {
        (Some(port), Some(local)) => match local.ip().to_canonical() {
            std::net::IpAddr::V6(ip) => format!("[{ip}]:{port}"),
            std::net::IpAddr::V4(ip) => format!("{ip}:{port}"),
        },
        _ => server.address.clone(),
    }
}

fn report(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let text = request.data().text()?;
    let mut best: Option<(u64, &String)> = None;
    for line in text.lines() {
        let [id, reached, millis] = line.split('|').collect::<Vec<_>>()[..] else {
            return Err(Fail::bad_args("a line is server-id|yes or no|round trip in ms"));
        };
        let reached = match reached {
            "yes" => true,
            "no" => false,
            _ => return Err(Fail::bad_args("reached is yes or no")),
        };
        let millis = match millis.parse::<u64>() {
            Ok(millis) => millis,
            Err(_) if !reached => 0,
            Err(_) => return Err(Fail::bad_args("the round trip is a number of milliseconds")),
        };
        let Some((id, server)) = management.mains.get_key_value(id).filter(|_| reached) else { continue };
        let cost = millis.saturating_add(server.clients / CLIENTS_PER_MS);
        if best.is_none_or(|(least, _)| cost < least) {
            best = Some((cost, id));
        }
    }
    let Some((_, server)) = best else {
        return Err(Fail::new(Code::Unavailable, "none of the servers that you reach is up; retry later"));
    };
    let account = account_of(ctx, request.link)?;
    let now = ctx.now();
    let ticket = management.tickets.issue(ctx.rng(), &account.folded, account.id, server, now);
    Ok(Answer::Data(format!("{server}\n{ticket}").into_bytes()))
}
