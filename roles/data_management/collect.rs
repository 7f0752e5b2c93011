//! Collection: what the database says is garbage is deleted at the data servers. It can be cut anywhere: the rows stay until a server has
//! answered.

use super::DataManagement;
use crate::engine::Ctx;
use crate::storage::copies;
use crate::storage::Hash;
use crate::storage::ServerNo;

/// Blocks that are deleted at once.
const PAGE: u64 = 1_000;

/// Once a second: for every server that is up.
pub fn tick(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>) {
    let servers: Vec<ServerNo> = dm.servers.up.keys().copied().collect();
    for no in servers {
        collect(dm, ctx, no);
    }
    if let Some(no) = dm.removed().filter(|_| !ctx.is_stopping() && dm.uplink.link().is_some()) {
        ctx.store(
            move |db| copies::forget(db, no, PAGE),
            move |dm, _, more| {
                if more == Ok(false) {
                    dm.repair.wake();
                }
            },
        );
    }
}

fn collect(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, no: ServerNo) {
    let Some(server) = dm.servers.up.get_mut(&no).filter(|_| !ctx.is_stopping()) else { return };
    if std::mem::replace(&mut server.collecting, true) {
        return;
    }
    let link = server.link;
    ctx.query(
        move |db| copies::garbage(db, no, PAGE),
        move |dm, ctx, garbage| {
            let mut garbage = garbage.unwrap_or_default();
            // Of this name one is on its way there now.
            garbage.retain(|(hash, _)| !dm.flights.has(no, hash));
            if garbage.is_empty() || dm.servers.up.get(&no).is_none_or(|server| server.link != link) {
                return rest(dm, no);
            }
            let lines = lines(&garbage);
            ctx.request(link, "DELETEBLOCKS", &[lines.as_bytes()], move |dm, ctx, answer| {
                if let Err(fail) = answer {
                    log::debug!("garbage stays: {fail}");
                    return rest(dm, no);
                }
                // Those that it did not delete were put again since: the rows of that time are for nothing.
                let full = garbage.len() as u64 == PAGE;
                ctx.store(
                    move |db| copies::garbage_gone(db, no, &garbage),
                    move |dm, ctx, done| {
                        rest(dm, no);
                        if full && done.is_ok() {
                            collect(dm, ctx, no);
                        }
                    },
                );
            });
        },
    );
}

fn rest(dm: &mut DataManagement, no: ServerNo) {
    if let Some(server) = dm.servers.up.get_mut(&no) {
        server.collecting = false;
    }
}

/// The DATA of DELETEBLOCKS.
pub fn lines(blocks: &[(Hash, u64)]) -> String {
    blocks.iter().map(|(hash, seq)| format!("{hash}|{seq}")).collect::<Vec<_>>().join("\n")
}
