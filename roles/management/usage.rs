//! What accounts store, and may: QUOTA sets it, USERS and ACCOUNT (64478) tell it. Management keeps the quota of an account that has one of
//! its own; data management keeps to it (SETQUOTA, and the answers of CHECKRECEIPT and ACCOUNTS), and knows what is used (USAGE).

use std::collections::HashMap;

use super::admin;
use super::introduced;
use super::operator;
use super::Management;
use crate::accounts::users;
use crate::accounts::users::User;
use crate::accounts::users::UserId;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::wire::Code;
use crate::wire::Fail;

/// How long data management may take for an answer before things go on without it; milliseconds.
const PATIENCE: u64 = 3_000;
/// The greatest quota, in bytes.
const MOST: u64 = 1 << 50;

pub const QUOTA: Command<Management> =
    Command { name: "QUOTA", ports: &[PortKey::Admin], args: "username LF bytes", gate: anyone, run: quota };

pub const ACCOUNT: Command<Management> = Command {
    name: "ACCOUNT",
    ports: &[PortKey::MainManagement],
    args: "username LF account LF receipt",
    gate: introduced,
    run: account,
};

type Then = Box<dyn FnOnce(&mut Management, &mut Ctx<Management>, Result<String, Fail>) + Send>;

/// What data management was asked.
#[derive(Default)]
pub struct Usage {
    waiting: HashMap<u64, Then>,
    next: u64,
    /// Quotas that were set since the start: what was read before is not told after.
    pub changes: u64,
}

/// What accounts use of which quota, as far as data management has said.
#[derive(Debug, Default)]
pub struct Used(HashMap<u64, (u64, u64)>);

impl Used {
    /// An account's quota and what it uses of it, in bytes; empty: not known.
    pub fn of(&self, user: &User) -> (String, String) {
        let told = self.0.get(&number(user.id));
        let quota = user.quota.or(told.map(|(_, quota)| *quota));
        let text = |bytes: Option<u64>| bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
        (text(quota), text(told.map(|(used, _)| *used)))
    }
}

fn number(id: UserId) -> u64 {
    u64::try_from(id.0).unwrap_or(0)
}

/// Asks data management; `then` runs once, with UNAVAILABLE when there is none or it takes too long.
pub fn exchange(
    management: &mut Management,
    ctx: &mut Ctx<Management>,
    command: &str,
    fields: &[&str],
    then: impl FnOnce(&mut Management, &mut Ctx<Management>, Result<String, Fail>) + Send + 'static,
) {
    let away = || Fail::new(Code::Unavailable, "data management is not reachable; retry later");
    let Some(link) = management.storage.data_management().map(|(_, server)| server.link) else {
        return ctx.after(0, move |management, ctx| then(management, ctx, Err(away())));
    };
    management.usage.next += 1;
    let id = management.usage.next;
    management.usage.waiting.insert(id, Box::new(then));
    let fields: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
    ctx.request(link, command, &fields, move |management, ctx, answer| {
        let answer = answer.and_then(|text| Ok(text.text()?.into_owned()));
        answered(management, ctx, id, answer);
    });
    ctx.after(PATIENCE, move |management, ctx| answered(management, ctx, id, Err(away())));
}

/// The first answer counts.
fn answered(management: &mut Management, ctx: &mut Ctx<Management>, id: u64, answer: Result<String, Fail>) {
    if let Some(then) = management.usage.waiting.remove(&id) {
        then(management, ctx, answer);
    }
}

/// Asks what these accounts use, 1,000 at most; `then` runs in any case.
pub fn ask(
    management: &mut Management,
    ctx: &mut Ctx<Management>,
    accounts: &[UserId],
    then: impl FnOnce(&mut Management, &mut Ctx<Management>, Used) + Send + 'static,
) {
    if accounts.is_empty() {
        return ctx.after(0, move |management, ctx| then(management, ctx, Used::default()));
    }
    let lines: Vec<String> = accounts.iter().map(|id| id.0.to_string()).collect();
    exchange(management, ctx, "USAGE", &[&lines.join("\n")], move |management, ctx, answer| {
        let line = |line: &str| {
            let [account, used, quota] = line.split('|').collect::<Vec<_>>()[..] else { return None };
            Some((account.parse().ok()?, (used.parse().ok()?, quota.parse().ok()?)))
        };
        let used = answer.map(|text| text.lines().filter_map(line).collect()).unwrap_or_default();
        then(management, ctx, Used(used));
    });
}

fn quota(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [user, bytes] = request.data().take()?;
    let user = user.text()?.into_owned();
    let bytes = match &*bytes.text()? {
        "default" => None,
        _ => Some(bytes.number()?),
    };
    if bytes.is_some_and(|bytes| bytes > MOST) {
        return Err(Fail::bad_args("a quota is at most 1 PiB"));
    }
    let later = request.later();
    ctx.store(
        move |db| {
            let id = admin::find(db, &user)?.id;
            users::set_quota(db, id, bytes)?;
            Ok(id)
        },
        move |management, ctx, done| {
            let id = match done {
                Ok(id) => id,
                Err(fail) => return ctx.answer(&later, Err(fail)),
            };
            management.usage.changes += 1;
            let (account, bytes) = (id.0.to_string(), text(bytes));
            // Not taken: data management hears of it when it asks for its accounts, which it does whenever it is back.
            exchange(management, ctx, "SETQUOTA", &[&account, &bytes], move |_, ctx, taken| {
                if let Err(fail) = taken {
                    log::warn!("data management has not taken a quota so far: {fail}");
                }
                ctx.answer(&later, Ok(Vec::new()));
            });
        },
    );
    Ok(Answer::Later)
}

/// A quota as data management is told it: nothing for that of all.
pub fn text(bytes: Option<u64>) -> String {
    bytes.map(|bytes| bytes.to_string()).unwrap_or_default()
}

/// Lines `key|value`: what a user may know of its own account.
fn account(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let id = operator::user_there(management, ctx, request.link, request.data().take()?)?;
    let later = request.later();
    ctx.query(
        move |db| users::get(db, id)?.ok_or_else(|| Fail::new(Code::NotFound, "the account is gone")),
        move |management, ctx, user| {
            let user = match user {
                Ok(user) => user,
                Err(fail) => return ctx.answer(&later, Err(fail)),
            };
            ask(management, ctx, &[id], move |_, ctx, used| {
                let (quota, bytes) = used.of(&user);
                let operator = if user.admin { "yes" } else { "no" };
                let mut lines = format!("name|{}\noperator|{operator}\nregistered|{}", user.name, user.created);
                for (key, value) in [("quota", quota), ("used", bytes)] {
                    if !value.is_empty() {
                        lines += &format!("\n{key}|{value}");
                    }
                }
                ctx.answer(&later, Ok(lines.into_bytes()));
            });
        },
    );
    Ok(Answer::Later)
}
