//! NOTICE: the operator says something to everybody who is signed on.

use super::Management;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::wire::Fail;

/// Bytes of one.
const BYTES: usize = 4_096;

pub const NOTICE: Command<Management> =
    Command { name: "NOTICE", ports: &[PortKey::Admin], args: "text", gate: anyone, run };

/// Answers with the number of sessions there are.
fn run(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let text = request.data().text()?;
    if text.trim().is_empty() || text.len() > BYTES {
        return Err(Fail::bad_args("a notice has 1 to 4,096 bytes"));
    }
    let now = ctx.now().to_string();
    for (id, main) in &management.mains {
        if let Err(fail) = ctx.push(main.link, "NOTICE", &[now.as_bytes(), text.as_bytes()]) {
            log::warn!("main server {id} does not get the notice: {fail}");
        }
    }
    Ok(Answer::Data(management.online.total().to_string().into_bytes()))
}
