//! Realms, and users of realms, that the operator has blocked: BLOCK and BLOCKS on the operator's socket; BLOCKED tells main servers (64478).

use std::collections::BTreeSet;

use super::realms;
use super::Management;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// The table.
pub const SCHEMA: &str = "CREATE TABLE blocks (what TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;";

/// Blocks there can be: all of them are one packet.
const MOST: usize = 10_000;

pub const BLOCK: Command<Management> = Command {
    name: "BLOCK",
    ports: &[PortKey::Admin],
    args: "realm or realm::user LF yes or no",
    gate: anyone,
    run: block,
};

pub const BLOCKS: Command<Management> =
    Command { name: "BLOCKS", ports: &[PortKey::Admin], args: "", gate: anyone, run: list };

/// `host:port` in lower case, or that, `::` and the folded name.
fn of(what: &str) -> Result<String, Fail> {
    let realm = what.to_ascii_lowercase();
    if name::check_realm(&realm).is_ok() {
        return Ok(realm);
    }
    match name::of_realm(what)? {
        Some((realm, user)) => Ok(format!("{realm}::{}", name::fold(user))),
        None => Err(Fail::bad_args("what is blocked is host:port, or host:port::user")),
    }
}

fn block(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [what, yes] = request.data().take()?;
    let what = of(&what.text()?)?;
    let yes = match &*yes.text()? {
        "yes" => true,
        "no" => false,
        _ => return Err(Fail::bad_args("the second field is yes or no")),
    };
    let blocks = &management.realms.blocks;
    if yes && blocks.len() >= MOST {
        return Err(Fail::new(Code::Limit, "at most 10,000 realms and users can be blocked"));
    }
    if !yes && !blocks.contains(&what) {
        return Err(Fail::new(Code::NotFound, "that is not blocked"));
    }
    let (later, stored) = (request.later(), what.clone());
    ctx.store(
        move |db| {
            let text = match yes {
                true => "INSERT OR IGNORE INTO blocks (what) VALUES (?1)",
                false => "DELETE FROM blocks WHERE what = ?1",
            };
            db.execute(text, [stored]).map(drop).map_err(Fail::internal)
        },
        move |management, ctx, done| {
            if done.is_ok() {
                let blocks: &mut BTreeSet<String> = &mut management.realms.blocks;
                let _ = if yes { blocks.insert(what.clone()) } else { blocks.remove(&what) };
                log::info!("{what} is {}", if yes { "blocked" } else { "not blocked any more" });
                let links: Vec<LinkId> = management.mains.values().map(|main| main.link).collect();
                links.into_iter().for_each(|link| tell(management, ctx, link));
            }
            ctx.answer(&later, done.map(|()| Vec::new()));
        },
    );
    Ok(Answer::Later)
}

fn list(management: &mut Management, _: &mut Ctx<Management>, _: &Request<'_>) -> Result<Answer, Fail> {
    Ok(Answer::Data(lines(&management.realms).into_bytes()))
}

fn lines(realms: &realms::Realms) -> String {
    let lines: Vec<&str> = realms.blocks.iter().map(String::as_str).collect();
    lines.join("\n")
}

/// Tells a main server of all of them.
pub fn tell(management: &Management, ctx: &mut Ctx<Management>, link: LinkId) {
    if ctx.push(link, "BLOCKED", &[lines(&management.realms).as_bytes()]).is_err() && ctx.is_open(link) {
        ctx.close(link, "what it is told is not read");
    }
}
