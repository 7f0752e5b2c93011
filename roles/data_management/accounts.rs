//! Accounts that are gone: management tells (USERREMOVED), and is asked whenever it is back, and now and then.

use super::users;
use super::DataManagement;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::storage::accounts;
use crate::storage::tend;
use crate::wire::Fail;

/// How often management is asked; milliseconds.
const EVERY: u64 = 3_600_000;
/// Accounts of one ACCOUNTS.
const PAGE: u64 = 1_000;
/// Rows that one step of cleaning touches, and how long it rests then; milliseconds.
const ROWS: u64 = 500;
const REST: u64 = 20;

/// What is under way.
#[derive(Debug, Default)]
pub struct Accounts {
    next: u64,
    asking: bool,
    tending: bool,
}

pub const USER_REMOVED: Command<DataManagement> = Command {
    name: "USERREMOVED",
    ports: &[PortKey::DatamanagementManagement],
    args: "account",
    gate: anyone,
    run: removed,
};

fn removed(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, request: &Request<'_>) -> Result<Answer, Fail> {
    let account = request.data().number()?;
    remove(dm, ctx, account);
    Ok(Answer::None)
}

fn remove(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, account: u64) {
    users::forget(dm, ctx, account);
    ctx.store(
        move |db| accounts::remove(db, account),
        move |_, _, removed| match removed {
            Ok(true) => log::info!("the account {account} is gone, and what it stored"),
            Ok(false) => {}
            // Asked again with the next check.
            Err(fail) => log::error!("the account {account} could not be removed: {fail}"),
        },
    );
}

/// Asks management which of the accounts here are gone.
pub fn check(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>) {
    dm.accounts.next = ctx.now().saturating_add(EVERY);
    if !std::mem::replace(&mut dm.accounts.asking, true) {
        page(ctx, 0);
    }
}

fn page(ctx: &mut Ctx<DataManagement>, after: u64) {
    ctx.query(
        move |db| accounts::list(db, after, PAGE),
        |dm, ctx, known| {
            let known = known.unwrap_or_default();
            let (Some(last), Some(link)) = (known.last().copied(), dm.uplink.link()) else {
                dm.accounts.asking = false;
                return;
            };
            let lines = known.iter().map(u64::to_string).collect::<Vec<_>>().join("\n");
            ctx.request(link, "ACCOUNTS", &[lines.as_bytes()], move |dm, ctx, gone| {
                let gone = gone.and_then(|gone| Ok(gone.text()?.into_owned()));
                let Ok(gone) = gone else {
                    dm.accounts.asking = false;
                    return;
                };
                // Of those that were asked for only.
                let gone = gone.lines().filter_map(|line| line.parse().ok()).filter(|one| known.contains(one));
                gone.collect::<Vec<u64>>().into_iter().for_each(|account| remove(dm, ctx, account));
                page(ctx, last);
            });
        },
    );
}

/// Once a second: the next check, and cleaning up in small steps.
pub fn tick(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>) {
    if dm.accounts.next != 0 && ctx.now() >= dm.accounts.next && dm.uplink.link().is_some() {
        check(dm, ctx);
    }
    clean(dm, ctx);
}

fn clean(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>) {
    if ctx.is_stopping() || std::mem::replace(&mut dm.accounts.tending, true) {
        return;
    }
    let now = ctx.now();
    ctx.store(
        move |db| tend::step(db, ROWS, now),
        |dm, ctx, more| {
            dm.accounts.tending = false;
            if more == Ok(true) {
                ctx.after(REST, clean);
            }
        },
    );
}
