//! JOIN and BURST (64478, 64483): a new server gets what its role needs to know before it begins.

use super::main_server;
use super::Management;
use crate::config::PortKey;
use crate::config::RoleName;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::wire::hex;
use crate::wire::Fail;

/// Bytes of lines in one BURST.
const PIECE: usize = 64 << 10;

pub const JOIN: Command<Management> = Command {
    name: "JOIN",
    ports: &[PortKey::MainManagement, PortKey::DatamanagementManagement],
    args: "",
    gate: main_server,
    run: join,
};

fn join(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let lines = records(management);
    let count = lines.len().to_string();
    let checksum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text(&lines).as_bytes());
    let mut pieces = 0u64;
    let mut rest = lines.as_slice();
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|line| {
            bytes += line.len() + 1;
            bytes <= PIECE
        });
        let (piece, after) = rest.split_at(fits.count().max(1));
        pieces += 1;
        let lines = piece.join("\n");
        ctx.push(request.link, "BURST", &[pieces.to_string().as_bytes(), count.as_bytes(), lines.as_bytes()])?;
        rest = after;
    }
    let server = management.network.shakes.server(request.link).unwrap_or_default();
    log::info!("the server {server} joins: {count} records");
    Ok(Answer::Data(format!("{count}\n{}", hex::encode(checksum.as_ref())).into_bytes()))
}

/// What the checksum is over: every line with its LF.
fn text(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

fn records(management: &Management) -> Vec<String> {
    let shakes = &management.network.shakes;
    let mut lines = vec![format!("network|{}", shakes.key().public())];
    let main = management.mains.contains_key(shakes.own_id()).then_some(RoleName::Main);
    let storage = management.storage.up.keys().filter(|(_, id)| id == shakes.own_id()).map(|(role, _)| *role);
    for role in main.into_iter().chain(storage) {
        lines.push(format!("server|{}|{}|{}||", shakes.own_id(), role.name(), shakes.key().public()));
    }
    for (name, role, server) in management.network.members() {
        let volatile = if server.volatile { "volatile" } else { "" };
        let capacity = server.capacity.map(|bytes| bytes.to_string()).unwrap_or_default();
        lines.push(format!("server|{name}|{}|{}|{volatile}|{capacity}", role.name(), server.key));
    }
    lines
}
