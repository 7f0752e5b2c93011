//! Users of other realms: what they ask here (FOREIGN), and messages that wait there for users here (MAIL). The realm server has checked by the
//! server handshake which realm asks; that realm says which of its users it is.

use std::collections::HashMap;

use super::changes;
use super::elsewhere;
use super::names;
use super::operate;
use super::operate::Ask;
use super::operate::OVERHEAD;
use super::users;
use super::DataManagement;
use crate::config::PortKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::session;
use crate::storage::abroad;
use crate::storage::args;
use crate::storage::Caller;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// Users of other realms who are remembered, at most, and for how long after their last command; milliseconds. What is remembered is the order
/// of what they change.
const MOST: usize = 100_000;
const IDLE: u64 = 30_000;
/// How often that is looked at.
const SWEEP: u64 = 10_000;

/// What they may ask. What is not shared with them they are not told of.
const COMMANDS: &[&str] = &[
    "CREATEFOLDER",
    "DELETEFOLDER",
    "CREATEFILE",
    "DELETEFILE",
    "WRITEFILE",
    "READFILE",
    "MOVE",
    "REPLACE",
    "TRUNCATEFILE",
    "LISTFOLDER",
    "GETINFO",
    "SETPERMISSIONS",
    "READOFFLINEMESSAGE",
    "DELETEOFFLINEMESSAGE",
];

/// Who has asked lately, by the gateway's link and the full name, folded: the number there, and when.
#[derive(Default)]
pub struct Foreigners {
    all: HashMap<(LinkId, String), (u64, u64)>,
    next_sweep: u64,
}

pub const FOREIGN: Command<DataManagement> = Command {
    name: "FOREIGN",
    ports: &[PortKey::MainDatamanagement],
    args: "realm LF username LF command LF data",
    gate: elsewhere::is_gateway,
    run: foreign,
};

fn foreign(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [realm, user, command, data] = request.data().take()?;
    let (realm, user) = (realm.text()?, user.text()?);
    name::check_realm(&realm)?;
    name::check_user(&user)?;
    let allowed = COMMANDS.iter().any(|allowed| allowed.as_bytes() == command.0);
    let run = match command.0 {
        b"MAIL" => mail,
        name => operate::handler(name)
            .filter(|_| allowed)
            .ok_or_else(|| Fail::new(Code::BadCommand, "not for users of other realms"))?,
    };
    let at = (request.link, number(dm, ctx.now(), request.link, &Caller::foreign(&realm, &user))?);
    let mut later = request.later();
    ctx.weigh(&mut later, OVERHEAD + data.0.len() as u64 + session::asks_for(command.0, data));
    operate::begin(ctx, Ask { at, later, data, blob: None }, |ctx, ask| run(dm, ctx, ask));
    Ok(Answer::Later)
}

fn number(dm: &mut DataManagement, now: u64, link: LinkId, caller: &Caller) -> Result<u64, Fail> {
    let key = (link, name::fold(&caller.name).into_owned());
    if let Some((number, used)) = dm.foreign.all.get_mut(&key) {
        *used = now;
        return Ok(*number);
    }
    if dm.foreign.all.len() >= MOST {
        return Err(Fail::new(Code::Busy, "too many users of other realms ask; retry later"));
    }
    let number = dm.users.enter_foreign(link, caller.clone());
    dm.foreign.all.insert(key, (number, now));
    Ok(number)
}

/// Once a second: who has asked nothing for a while is forgotten.
pub fn tick(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>) {
    let now = ctx.now();
    if now < dm.foreign.next_sweep {
        return;
    }
    dm.foreign.next_sweep = now.saturating_add(SWEEP);
    let (foreign, users) = (&mut dm.foreign, &mut dm.users);
    foreign
        .all
        .retain(|(link, _), (number, used)| now < used.saturating_add(IDLE) || !users.leave_foreign((*link, *number)));
}

/// The link of a gateway is gone, and its users with it.
pub fn gone(dm: &mut DataManagement, link: LinkId) {
    dm.foreign.all.retain(|(of, _), _| *of != link);
}

/// MAIL: a message waits in the caller's realm for a user here.
fn mail(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, ask: Ask<'_>) -> Result<(), Fail> {
    let (id, recipient, size, sent) = args::mail(ask.data)?;
    let sender = dm.users.get(ask.at).map(|user| user.caller.clone()).ok_or_else(changes::unknown)?;
    let later = ask.later;
    names::find(dm, ctx, vec![recipient], move |_, ctx, found| {
        let found = found.and_then(|found| {
            let one = found.into_values().next();
            one.ok_or_else(|| Fail::internal("a name was found, and no account"))
        });
        let recipient = match found {
            Ok(recipient) => recipient,
            Err(fail) => return ctx.answer(&later, Err(fail)),
        };
        let (account, now) = (recipient.account, ctx.now());
        ctx.store(
            move |db| abroad::arrive(db, &sender, &recipient, &id, (size, sent), now),
            move |dm, ctx, arrived| {
                if let Ok(Some(message)) = &arrived {
                    for at in dm.users.places(account) {
                        users::tell_message(ctx, *at, message);
                    }
                }
                ctx.answer(&later, arrived.map(|_| Vec::new()));
            },
        );
    });
    Ok(())
}
