//! Realms, and users of realms, that the operator has blocked: management tells of all of them (BLOCKED), and they are kept for the next start.

use std::collections::BTreeSet;

use super::links;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::roles::main::Main;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// The table.
pub const SCHEMA: &str = "CREATE TABLE realm_blocks (what TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;";

/// `host:port`, or that, `::` and a folded name.
pub type Blocks = BTreeSet<String>;

pub const BLOCKED: Command<Main> = Command {
    name: "BLOCKED",
    ports: &[PortKey::MainManagement],
    args: "lines realm or realm::user",
    gate: anyone,
    run: blocked,
};

/// FAIL of whatever goes to a blocked one, or comes from there.
pub fn denied() -> Fail {
    Fail::new(Code::Denied, "the operator has blocked that")
}

/// Whether a realm, or that user of it, is blocked. An empty name: the realm alone is asked for.
pub fn is_blocked(main: &Main, realm: &str, user: &str) -> bool {
    let Some(own) = main.realm.as_ref().filter(|own| !own.blocks.is_empty()) else { return false };
    own.blocks.contains(realm) || own.blocks.contains(&format!("{realm}::{}", name::fold(user)))
}

fn blocked(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let blocks: Blocks = request.data().text()?.lines().map(str::to_owned).collect();
    let Some(own) = main.realm.as_mut().filter(|own| own.blocks != blocks) else { return Ok(Answer::None) };
    own.blocks.clone_from(&blocks);
    // Whom sessions write to is looked at again.
    for session in main.sessions.iter_mut().flatten() {
        session.abroad = None;
    }
    links::blocked(main, ctx);
    ctx.store(
        move |db| {
            db.execute("DELETE FROM realm_blocks", []).map_err(Fail::internal)?;
            let mut insert = db.prepare("INSERT INTO realm_blocks (what) VALUES (?1)").map_err(Fail::internal)?;
            for what in blocks {
                insert.execute([what]).map_err(Fail::internal)?;
            }
            Ok(())
        },
        |_, _, _| {},
    );
    Ok(Answer::None)
}
