//! What data management asks of accounts (64483): CHECKRECEIPT, WHOIS, ACCOUNTS.

use super::main_server;
use super::online::Presence;
use super::storage::is_data_management;
use super::usage;
use super::Management;
use crate::accounts::users;
use crate::accounts::users::UserId;
use crate::config::PortKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// Accounts of one ACCOUNTS.
const ACCOUNTS_AT_ONCE: usize = 10_000;

type Run = fn(&mut Management, &mut Ctx<Management>, &Request<'_>) -> Result<Answer, Fail>;

const fn row(name: &'static str, args: &'static str, run: Run) -> Command<Management> {
    Command { name, ports: &[PortKey::DatamanagementManagement], args, gate: main_server, run }
}

pub const CHECK_RECEIPT: Command<Management> =
    row("CHECKRECEIPT", "server-id LF username LF account LF receipt", check_receipt);
pub const WHO_IS: Command<Management> = row("WHOIS", "username", who_is);
pub const ACCOUNTS: Command<Management> = row("ACCOUNTS", "lines account", accounts);

/// Whether that user is signed on at that main server, as far as management knows now.
fn check_receipt(
    management: &mut Management,
    ctx: &mut Ctx<Management>,
    request: &Request<'_>,
) -> Result<Answer, Fail> {
    is_data_management(ctx, request.link)?;
    let [server, user, account, receipt] = request.data().take()?;
    let (server, user, account, receipt) = (server.text()?, user.text()?, account.number()?, receipt.text()?);
    let user = name::fold(&user);
    let presence = management.online.get(&user).filter(|presence| presence.servers.contains_key(&*server));
    let good = |presence: &&Presence| {
        u64::try_from(presence.who.id.0) == Ok(account)
            && management.receipts.check(&receipt, &user, presence.who.id).is_some()
    };
    let wrong = || Fail::new(Code::Wrong, "this user is not signed on there");
    let Some(who) = presence.filter(good).map(|presence| presence.who.clone()) else { return Err(wrong()) };
    let later = request.later();
    fresh(
        management,
        ctx,
        move |db| users::get(db, who.id),
        move |_, ctx, user| {
            let answer = user.and_then(|user| user.ok_or_else(wrong));
            let answer = answer.map(|user| format!("{}\n{}", who.name, usage::text(user.quota)).into_bytes());
            ctx.answer(&later, answer);
        },
    );
    Ok(Answer::Later)
}

/// Looks something up that has quotas in it: again when one was set meanwhile, as data management may have heard of that already.
fn fresh<T: Send + 'static>(
    management: &Management,
    ctx: &mut Ctx<Management>,
    work: impl Fn(&rusqlite::Connection) -> Result<T, Fail> + Clone + Send + 'static,
    then: impl FnOnce(&mut Management, &mut Ctx<Management>, Result<T, Fail>) + Send + 'static,
) {
    let before = management.usage.changes;
    ctx.query(work.clone(), move |management, ctx, found| match management.usage.changes == before {
        true => then(management, ctx, found),
        false => fresh(management, ctx, work, then),
    });
}

fn who_is(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    is_data_management(ctx, request.link)?;
    let user = request.data().text()?.into_owned();
    let later = request.later();
    ctx.query(
        move |db| {
            let user = users::find(db, &user)?.ok_or_else(|| Fail::new(Code::NotFound, "there is no such user"))?;
            Ok(format!("{}\n{}", user.id.0, user.name).into_bytes())
        },
        move |_, ctx, found| ctx.answer(&later, found),
    );
    Ok(Answer::Later)
}

/// Which of these accounts are gone, and which have a quota of their own.
fn accounts(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    is_data_management(ctx, request.link)?;
    let text = request.data().text()?;
    if text.lines().count() > ACCOUNTS_AT_ONCE {
        return Err(Fail::new(Code::Limit, "at most 10,000 accounts at once"));
    }
    let ids = text.lines().map(|line| line.parse().map(UserId).map_err(|_| Fail::bad_args("a line is an account")));
    let ids: Vec<UserId> = ids.collect::<Result<_, _>>()?;
    let later = request.later();
    fresh(
        management,
        ctx,
        move |db| {
            let mut lines = Vec::new();
            for id in &ids {
                match users::get(db, *id)?.map(|user| user.quota) {
                    None => lines.push(id.0.to_string()),
                    Some(Some(quota)) => lines.push(format!("{}|{quota}", id.0)),
                    Some(None) => {}
                }
            }
            Ok(lines.join("\n").into_bytes())
        },
        move |_, ctx, lines| ctx.answer(&later, lines),
    );
    Ok(Answer::Later)
}
