//! GETPORTS: where the other ports of this server are.

use super::Management;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::wire::Fail;

pub const GET_PORTS: Command<Management> =
    Command { name: "GETPORTS", ports: &[PortKey::PublicManagement], args: "", gate: anyone, run };

fn run(management: &mut Management, _: &mut Ctx<Management>, _: &Request<'_>) -> Result<Answer, Fail> {
    let lines: Vec<String> = management.settings.ports.iter().map(|(key, port)| format!("{key}|{port}")).collect();
    Ok(Answer::Data(lines.join("\n").into_bytes()))
}
