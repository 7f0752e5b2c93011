//! LISTSERVERS and REPORTSERVERS: the choice of a main server.

use super::account_of;
use super::choose;
use super::choose::Candidate;
use super::mains::MainServer;
use super::signed_on;
use super::Management;
use super::ACCOUNT_PORTS;
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
    ports: ACCOUNT_PORTS,
    args: "lines server-id|yes or no|round trip in ms",
    gate: signed_on,
    run: report,
};

/// Lines of one REPORTSERVERS; more is no client of ours.
const LINES: usize = 4_096;

/// Whether clients can come to it: a realm may have only doors of its own.
fn takes(server: &MainServer) -> bool {
    !server.draining && !server.address.is_empty()
}

fn list(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let line = |(id, server): (&String, &MainServer)| {
        let address = address_for(ctx, request.link, &server.address);
        let clients = management.online.clients(id);
        format!("{id}|{}|{address}|{}|{clients}", server.name, hex::encode(&server.fingerprint))
    };
    let lines: Vec<String> = management.mains.iter().filter(|(_, server)| takes(server)).map(line).collect();
    Ok(Answer::Data(lines.join("\n").into_bytes()))
}

/// The address as the other end of this link reaches it: a server that listens on every address of the host that management is
/// on has no host of its own to tell, so it is the one by which management is reached.
pub fn address_for(ctx: &Ctx<Management>, link: LinkId, address: &str) -> String {
    match (address.strip_prefix(':'), ctx.info(link).and_then(|info| info.local)) {
        (Some(port), Some(local)) => match local.ip().to_canonical() {
            std::net::IpAddr::V6(ip) => format!("[{ip}]:{port}"),
            std::net::IpAddr::V4(ip) => format!("{ip}:{port}"),
        },
        _ => address.to_owned(),
    }
}

fn report(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let account = account_of(ctx, request.link)?;
    let now = ctx.now();
    let text = request.data().text()?;
    if text.lines().count() > LINES {
        return Err(Fail::bad_args("at most 4096 lines"));
    }
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    for line in text.lines() {
        let [id, reached, millis] = line.split('|').collect::<Vec<_>>()[..] else {
            return Err(Fail::bad_args("a line is server-id|yes or no|round trip in ms"));
        };
        let reached = match reached {
            "yes" => true,
            "no" => false,
            _ => return Err(Fail::bad_args("reached is yes or no")),
        };
        let round_trip = match millis.parse::<u64>() {
            Ok(millis) => millis,
            Err(_) if !reached => 0,
            Err(_) => return Err(Fail::bad_args("the round trip is a number of milliseconds")),
        };
        let takes = management.mains.get(id).is_some_and(|server| !server.draining);
        if reached && takes && candidates.iter().all(|known| known.id != id) {
            candidates.push(Candidate { id, round_trip, clients: management.online.clients(id) });
        }
    }
    let mut near: Vec<(&str, u64)> = Vec::new();
    for (peer, weight) in management.talks.peers(&account.folded, now) {
        let servers = management.online.get(peer).into_iter().flat_map(|peer| peer.servers.keys());
        near.extend(servers.map(|server| (&**server, *weight)));
    }
    let Some(server) = choose::choose(&candidates, &near) else {
        return Err(Fail::new(Code::Unavailable, "none of the servers that you reach is up; retry later"));
    };
    let ticket = management.tickets.issue(ctx.rng(), &account.folded, account.id, server, now);
    Ok(Answer::Data(format!("{server}\n{ticket}").into_bytes()))
}
