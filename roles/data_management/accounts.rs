//! Accounts that are gone, and quotas: management tells (USERREMOVED, SETQUOTA), and is asked for both whenever it is back, and now and
//! then. And what accounts use: management asks (USAGE).

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::users;
use super::DataManagement;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::storage::accounts;
use crate::storage::accounts::Usage;
use crate::storage::tend;
use crate::storage::workspaces;
use crate::wire::name;
use crate::wire::Code;
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

pub const SET_QUOTA: Command<DataManagement> = Command {
    name: "SETQUOTA",
    ports: &[PortKey::DatamanagementManagement],
    args: "account LF bytes or nothing",
    gate: anyone,
    run: set_quota,
};

pub const USAGE: Command<DataManagement> = Command {
    name: "USAGE",
    ports: &[PortKey::DatamanagementManagement],
    args: "lines account",
    gate: anyone,
    run: usage,
};

pub const TAKES_PART: Command<DataManagement> = Command {
    name: "TAKESPART",
    ports: &[PortKey::DatamanagementManagement],
    args: "account LF workspace",
    gate: anyone,
    run: takes_part,
};

/// Whether an account takes part in a workspace, whose channel of voice it wants to join. The account of its creator.
fn takes_part(_: &mut DataManagement, ctx: &mut Ctx<DataManagement>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [account, workspace] = request.data().take()?;
    let (account, workspace) = (account.number()?, workspace.text()?.into_owned());
    name::check(&workspace)?;
    let later = request.later();
    ctx.query(
        move |db| workspaces::takes_part(db, account, &workspace),
        move |_, ctx, creator| ctx.answer(&later, creator.map(|creator| creator.to_string().into_bytes())),
    );
    Ok(Answer::Later)
}

/// One that is not known here gets its quota when its user comes.
fn set_quota(_: &mut DataManagement, ctx: &mut Ctx<DataManagement>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [account, bytes] = request.data().take()?;
    let account = account.number()?;
    let bytes = if bytes.is_empty() { None } else { Some(bytes.number()?) };
    let later = request.later();
    ctx.store(
        move |db| accounts::renew_quota(db, account, bytes),
        move |_, ctx, done| ctx.answer(&later, done.map(|()| Vec::new())),
    );
    Ok(Answer::Later)
}

fn usage(_: &mut DataManagement, ctx: &mut Ctx<DataManagement>, request: &Request<'_>) -> Result<Answer, Fail> {
    let text = request.data().text()?;
    if text.lines().count() as u64 > PAGE {
        return Err(Fail::new(Code::Limit, "at most 1,000 accounts at once"));
    }
    let known = text.lines().map(|line| line.parse().map_err(|_| Fail::bad_args("a line is an account")));
    let known: Vec<u64> = known.collect::<Result<_, _>>()?;
    let later = request.later();
    ctx.query(
        move |db| accounts::usages(db, &known),
        move |_, ctx, usages| {
            let line = |(account, usage): &(u64, Usage)| format!("{account}|{}|{}", usage.used, usage.quota);
            let lines = usages.map(|all| all.iter().map(line).collect::<Vec<_>>().join("\n").into_bytes());
            ctx.answer(&later, lines);
        },
    );
    Ok(Answer::Later)
}

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
            ctx.request(link, "ACCOUNTS", &[lines.as_bytes()], move |dm, ctx, told| {
                let told = told.and_then(|told| Ok(told.text()?.into_owned()));
                let Ok(told) = told else {
                    dm.accounts.asking = false;
                    return;
                };
                // Of those that were asked for only.
                let (gone, quotas) = parse(&told, &known);
                gone.into_iter().for_each(|account| remove(dm, ctx, account));
                ctx.store(
                    move |db| {
                        quotas.into_iter().try_for_each(|(account, quota)| accounts::renew_quota(db, account, quota))
                    },
                    |_, _, done| {
                        if let Err(fail) = done {
                            log::error!("the quotas that management tells could not be taken: {fail}");
                        }
                    },
                );
                page(ctx, last);
            });
        },
    );
}

/// Which of the accounts that were asked for are gone, and the quotas of the others.
fn parse(told: &str, known: &[u64]) -> (Vec<u64>, Vec<(u64, Option<u64>)>) {
    let (mut gone, mut own) = (BTreeSet::new(), BTreeMap::new());
    for line in told.lines() {
        match line.split_once('|') {
            None => drop(line.parse().map(|account: u64| gone.insert(account))),
            Some((account, quota)) => {
                if let (Ok(account), Ok(quota)) = (account.parse::<u64>(), quota.parse::<u64>()) {
                    own.insert(account, quota);
                }
            }
        }
    }
    let stays = known.iter().filter(|account| !gone.contains(*account));
    let quotas = stays.map(|account| (*account, own.get(account).copied())).collect();
    (known.iter().copied().filter(|account| gone.contains(account)).collect(), quotas)
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

/// Management hears that people may have left a workspace: its voice channel is not for them any more. If it is away it asks when this
/// server introduces itself.
pub fn participants_changed(dm: &DataManagement, ctx: &mut Ctx<DataManagement>, workspace: &str) {
    if let Some(link) = dm.uplink.link() {
        // A full queue: management closes a link that is not read, and asks anew.
        let _ = ctx.push(link, "PARTICIPANTS", &[workspace.as_bytes()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_management_says_of_accounts() {
        let (gone, quotas) = parse("2\n3|50\n9\n8|1\nx\n4|x", &[1, 2, 3, 4]);
        assert_eq!((gone, quotas), (vec![2], vec![(1, None), (3, Some(50)), (4, None)]));
    }
}
