//! SETSTATUS: a line shown beside the user's name in the map, until the user signs off.

use super::management;
use super::session_of;
use super::signed_on;
use super::Main;
use super::CLIENTS;
use super::STATUS_BYTES;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::wire::Fail;

pub const SET_STATUS: Command<Main> = Command { name: "SETSTATUS", ports: CLIENTS, args: "text", gate: signed_on, run };

fn run(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let text = request.data().text()?;
    if text.len() > STATUS_BYTES {
        return Err(Fail::bad_args(format!("a status is at most {STATUS_BYTES} bytes long")));
    }
    // A column of a record in a list: what would end it is sent as a space (contract 1).
    let text: String = text.chars().map(|c| if c == '|' || c.is_control() { ' ' } else { c }).collect();
    let index = session_of(ctx, request.link)?;
    let name = main.session(index).and_then(|session| main.table.get(session.user)).map(|user| user.name.clone());
    let Some(name) = name else { return Err(Fail::internal("a session without a user")) };
    main.statuses.insert(name.clone(), text);
    management::presence(main, ctx, &name);
    Ok(Answer::Ok)
}
