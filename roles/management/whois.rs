//! What data management asks of accounts (64483): CHECKRECEIPT, WHOIS, ACCOUNTS.

use super::main_server;
use super::online::Presence;
use super::storage::is_data_management;
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
    match presence.filter(good) {
        Some(presence) => Ok(Answer::Data(presence.who.name.as_bytes().to_vec())),
        None => Err(Fail::new(Code::Wrong, "this user is not signed on there")),
    }
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

/// Which of these accounts are gone.
fn accounts(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    is_data_management(ctx, request.link)?;
    let text = request.data().text()?;
    if text.lines().count() > ACCOUNTS_AT_ONCE {
        return Err(Fail::new(Code::Limit, "at most 10,000 accounts at once"));
    }
    let ids = text.lines().map(|line| line.parse().map(UserId).map_err(|_| Fail::bad_args("a line is an account")));
    let ids: Vec<UserId> = ids.collect::<Result<_, _>>()?;
    let later = request.later();
    ctx.query(
        move |db| {
            let mut gone = Vec::new();
            for id in ids {
                if !users::exists(db, id)? {
                    gone.push(id.0.to_string());
                }
            }
            Ok(gone.join("\n").into_bytes())
        },
        move |_, ctx, gone| ctx.answer(&later, gone),
    );
    Ok(Answer::Later)
}
