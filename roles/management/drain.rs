//! A main server that is to stop gets no more clients, and moves those it has away: at the operator's word (DRAIN), or
//! because it was told to stop where it runs (DRAINING). And some clients are moved at the operator's word (MOVECLIENTS).

use super::directory;
use super::introduced;
use super::map;
use super::server_of;
use super::Management;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::wire::Code;
use crate::wire::Fail;

pub const DRAIN: Command<Management> =
    Command { name: "DRAIN", ports: &[PortKey::Admin], args: "server-id", gate: anyone, run: drain };

pub const MOVE_CLIENTS: Command<Management> = Command {
    name: "MOVECLIENTS",
    ports: &[PortKey::Admin],
    args: "server-id LF count LF server-id",
    gate: anyone,
    run: move_clients,
};

pub const DRAINING: Command<Management> =
    Command { name: "DRAINING", ports: &[PortKey::MainManagement], args: "", gate: introduced, run: draining };

/// Answers with the number of clients that are left; so it is asked again and again until that is 0.
fn drain(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let id = request.data().text()?.into_owned();
    if !management.directory.knows(&id) {
        return Err(Fail::new(Code::NotFound, "there is no such main server"));
    }
    let Some(main) = management.mains.get(&id) else {
        // It may have stopped when all had left.
        return match management.drained.contains_key(&id) {
            true => Ok(Answer::Data(b"0".to_vec())),
            false => Err(Fail::new(Code::Offline, "this main server is not up; it has no clients")),
        };
    };
    let (link, others) = (main.link, management.mains.iter().any(|(other, main)| *other != id && !main.draining));
    if !main.draining {
        if !others {
            return Err(Fail::new(Code::Refused, "there is no other main server that could take its clients"));
        }
        mark(management, ctx, &id);
        let server = id.clone();
        ctx.request(link, "DRAIN", &[], move |_, _, answer| {
            if let Err(fail) = answer {
                log::warn!("main server {server} does not drain: {fail}");
            }
        });
    }
    Ok(Answer::Data(management.online.clients(&id).to_string().into_bytes()))
}

/// Passed on to the first server; its answer is how many moves have begun.
fn move_clients(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [from, count, to] = request.data().take()?;
    let (from, count, to) = (from.text()?.into_owned(), count.number()?, to.text()?.into_owned());
    if !management.directory.knows(&from) || !management.directory.knows(&to) {
        return Err(Fail::new(Code::NotFound, "there is no such main server"));
    }
    let up = |id: &String| management.mains.get(id);
    let (Some(link), Some(target)) = (up(&from).map(|main| main.link), up(&to)) else {
        return Err(Fail::new(Code::Offline, "this main server is not up"));
    };
    if from == to || target.draining {
        return Err(Fail::new(Code::Refused, "the clients cannot be moved there"));
    }
    let later = request.later();
    ctx.request(link, "MOVECLIENTS", &[count.to_string().as_bytes(), to.as_bytes()], move |_, ctx, answer| {
        ctx.answer(&later, answer.and_then(|data| Ok(data.text()?.into_owned().into_bytes())));
    });
    Ok(Answer::Later)
}

fn draining(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let id = server_of(ctx, request.link)?;
    mark(management, ctx, &id);
    Ok(Answer::Ok)
}

fn mark(management: &mut Management, ctx: &mut Ctx<Management>, id: &str) {
    let Some(main) = management.mains.get_mut(id) else { return };
    if std::mem::replace(&mut main.draining, true) {
        return;
    }
    log::info!("main server {id} drains: {} clients", management.online.clients(id));
    directory::server_changed(management, ctx, id);
    map::server_changed(management, ctx, id);
}
