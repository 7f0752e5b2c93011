//! DISCONNECT (64478): management tells this server to end the sessions of a user.

use super::Main;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::wire::Code;
use crate::wire::Fail;

pub const DISCONNECT: Command<Main> =
    Command { name: "DISCONNECT", ports: &[PortKey::MainManagement], args: "username LF reason", gate: anyone, run };

fn run(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [user, reason] = request.data().take()?;
    let user = user.text()?;
    let reason = reason.unescape();
    let Some(user) = main.table.find(&user).and_then(|user| main.table.get(user)) else {
        return Err(Fail::new(Code::Offline, "not signed on here"));
    };
    for link in &user.here {
        let _ = ctx.push(*link, "DISCONNECTED", &[&reason]);
        ctx.close(*link, "disconnected by management");
    }
    Ok(Answer::Ok)
}
