//! Operators among the users: USEROPERATOR says who is one, and OPERATE (64478) is how they do from elsewhere what the Unix socket does.
//!
//! A main server passes on what a session of its asks (OPERATOR). It is believed that the user is there as far as in all else: when
//! management's own table says so, and with a receipt. Whether the user is an operator is looked up for every command.

use super::admin;
use super::drain;
use super::introduced;
use super::notice;
use super::operator_servers;
use super::refused;
use super::samples;
use super::server_of;
use super::sessions;
use super::usage;
use super::Management;
use crate::accounts::users;
use crate::accounts::users::State;
use crate::accounts::users::User;
use crate::accounts::users::UserId;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::run_within;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

pub const USER_OPERATOR: Command<Management> = Command {
    name: "USEROPERATOR",
    ports: &[PortKey::Admin],
    args: "username LF yes or no",
    gate: anyone,
    run: user_operator,
};

pub const OPERATE: Command<Management> = Command {
    name: "OPERATE",
    ports: &[PortKey::MainManagement],
    args: "username LF account LF receipt LF command LF data",
    gate: introduced,
    run: operate,
};

/// What operators may do from elsewhere, and whether it changes anything. Who is an operator, and which servers there are, is for those
/// alone who can reach the Unix socket.
const ALLOWED: &[(Command<Management>, bool)] = &[
    (admin::USERS, false),
    (admin::USER_ADD, true),
    (admin::USER_STATE, true),
    (admin::USER_DELETE, true),
    (admin::USER_PASSWD, true),
    (admin::KICK, true),
    (admin::INVITE, true),
    (admin::INVITES, false),
    (admin::STATUS, false),
    (operator_servers::SERVERS, false),
    (drain::DRAIN, true),
    (usage::QUOTA, true),
    (notice::NOTICE, true),
    (sessions::SESSIONS, false),
    (samples::SAMPLES, false),
];

/// Characters of what a command is about, in the log.
const LOGGED: usize = 64;

fn user_operator(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [user, is] = request.data().take()?;
    let user = user.text()?.into_owned();
    let is = match &*is.text()? {
        "yes" => true,
        "no" => false,
        _ => return Err(Fail::bad_args("the second field is yes or no")),
    };
    let later = request.later();
    ctx.store(
        move |db| {
            let user = admin::find(db, &user)?;
            users::set_admin(db, user.id, is)?;
            Ok(user.name)
        },
        move |_, ctx, done| {
            if let Ok(name) = &done {
                log::info!("{name} is {} operator", if is { "an" } else { "no" });
            }
            ctx.answer(&later, done.map(|_| Vec::new()));
        },
    );
    Ok(Answer::Later)
}

/// The account of a user who is signed on at the main server at the end of this link.
///
/// # Errors
/// DENIED, when the receipt is none; UNAVAILABLE, when management does not know that the user is there, or not yet.
pub fn user_there(
    management: &Management,
    ctx: &Ctx<Management>,
    link: LinkId,
    [user, account, receipt]: [Raw<'_>; 3],
) -> Result<UserId, Fail> {
    let server = server_of(ctx, link)?;
    let (user, account, receipt) = (user.text()?, account.number()?, receipt.text()?);
    let folded = name::fold(&user);
    let id = UserId(i64::try_from(account).map_err(|_| Fail::bad_args("that is no account"))?);
    if management.receipts.check(&receipt, &folded, id).is_none() {
        return Err(refused(&server, "a question for a user", "that is no receipt of this user"));
    }
    let there = management.online.get(&folded).is_some_and(|presence| {
        presence.who.id == id && presence.servers.contains_key(&*server) && !management.barred.contains(&*folded)
    });
    match there {
        true => Ok(id),
        false => Err(Fail::new(Code::Unavailable, "management does not know this session so far; retry later")),
    }
}

fn operate(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [user, account, receipt, command, data] = request.data().take()?;
    let id = user_there(management, ctx, request.link, [user, account, receipt])?;
    let (command, data) = (command.text()?.into_owned(), data.0.to_vec());
    let later = request.later();
    ctx.query(
        move |db| users::get(db, id),
        move |management, ctx, user| {
            let is_operator = |user: &User| user.admin && user.state == State::Active;
            let denied = || Fail::new(Code::Denied, "this account is no operator's");
            let user = user.and_then(|user| user.filter(is_operator).ok_or_else(denied));
            let row = user.and_then(|user| {
                let found = ALLOWED.iter().find(|(row, _)| row.name == command);
                let unknown = || Fail::new(Code::BadCommand, "operators have no such command here");
                found.map(|found| (user, found)).ok_or_else(unknown)
            });
            match row {
                Ok((user, (row, changes))) => {
                    if *changes {
                        log::info!("operator {}: {} {}", user.name, row.name, about(row, Raw(&data)));
                    }
                    run_within(management, ctx, row, &later, Raw(&data));
                }
                Err(fail) => ctx.answer(&later, Err(fail)),
            }
        },
    );
    Ok(Answer::Later)
}

/// The first field of a command's DATA, for the log: of those that bring a secret, it is the name of whose it is.
fn about(row: &Command<Management>, data: Raw<'_>) -> String {
    if row.name == notice::NOTICE.name {
        return String::new();
    }
    let first = data.split_field().0.unescape();
    String::from_utf8_lossy(&first).chars().flat_map(char::escape_debug).take(LOGGED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_the_socket_is_not_on_the_list() {
        let allowed: Vec<&str> = ALLOWED.iter().map(|(row, _)| row.name).collect();
        for row in [USER_OPERATOR, operator_servers::ADD_SERVER, operator_servers::REMOVE_SERVER] {
            assert!(!allowed.contains(&row.name), "{}", row.name);
        }
        assert!(ALLOWED.iter().all(|(row, _)| row.ports == [PortKey::Admin]));
    }

    #[test]
    fn no_secret_is_logged() {
        assert_eq!(about(&admin::USER_PASSWD, Raw(b"bob~\nsecret")), "bob");
        assert_eq!(about(&admin::USER_ADD, Raw(b"bob~\x1b[2J")), "bob\\u{1b}[2J");
        assert_eq!(about(&notice::NOTICE, Raw(b"hello")), "");
        assert_eq!(about(&admin::KICK, Raw(&[b'x'; 1_000])).len(), LOGGED);
    }
}
