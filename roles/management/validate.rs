//! VALIDATE and VALIDATEKEY (64482): is this ticket good, is this server's certificate the right one.

use super::online::Who;
use super::presence;
use super::Management;
use crate::accounts::users;
use crate::accounts::users::State;
use crate::accounts::users::User;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::wire::hex;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

pub const VALIDATE: Command<Management> = Command {
    name: "VALIDATE",
    ports: &[PortKey::Validation],
    args: "username LF ticket[ LF server-id]",
    gate: anyone,
    run: ticket,
};

pub const VALIDATE_KEY: Command<Management> = Command {
    name: "VALIDATEKEY",
    ports: &[PortKey::Validation],
    args: "server-id LF fingerprint",
    gate: anyone,
    run: key,
};

fn ticket(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [user, rest] = request.data().take()?;
    let (ticket, server) = rest.split_field();
    let user = user.text()?;
    name::check_user(&user)?;
    let server = server.map(|server| server.text().map(|server| server.into_owned())).transpose()?;
    let folded = name::fold(&user).into_owned();
    let account = management.tickets.take(&folded, &ticket.text()?, server.as_deref(), ctx.now())?;
    let later = request.later();
    ctx.query(
        move |db| users::find(db, &folded),
        move |management, ctx, found| {
            // Disabled or deleted since the ticket was given, or deleted and the name is another's.
            let gone = || Fail::new(Code::Wrong, "this ticket is not good");
            let good = |user: &User| {
                let barred = management.barred.contains(&*name::fold(&user.name));
                user.id == account && user.state == State::Active && !barred
            };
            let user = found.and_then(|found| found.filter(good).ok_or_else(gone)).and_then(|user| {
                let folded = name::fold(&user.name).into_owned();
                if management.online.all_sessions(&folded) >= presence::SESSIONS {
                    return Err(Fail::new(Code::Limit, "this user is signed on 8 times already"));
                }
                // Only the server that the ticket was made for may say that the user is there.
                let receipt = server.as_deref().map(|server| {
                    let who = Who { id: user.id, name: Box::from(&*user.name) };
                    management.trust.grant(&folded, server, &who, ctx.now());
                    management.receipts.give(&folded, user.id, server, ctx.now())
                });
                Ok((user, receipt))
            });
            // Main servers name themselves, and want the name as registered and the account's number: a name may be
            // given up and taken by somebody else.
            let answer = user.map(|(user, receipt)| match receipt {
                Some(receipt) => format!("{}\n{}\n{receipt}", user.name, user.id.0).into_bytes(),
                None => Vec::new(),
            });
            ctx.answer(&later, answer);
        },
    );
    Ok(Answer::Later)
}

fn key(management: &mut Management, _: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [server, print] = request.data().take()?;
    let wrong = || Fail::new(Code::Wrong, "this is not that server's certificate; go elsewhere");
    let server = management.mains.get(&*server.text()?).ok_or_else(wrong)?;
    let print =
        hex::decode_32(&print.text()?).ok_or_else(|| Fail::bad_args("a fingerprint is 64 hexadecimal digits"))?;
    match server.fingerprint == print {
        true => Ok(Answer::Ok),
        false => Err(wrong()),
    }
}
