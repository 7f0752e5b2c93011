//! What the operator asks over the Unix socket (contract 12).

use super::map;
use super::presence;
use super::sign_out;
use super::storage;
use super::usage;
use super::voice;
use super::Management;
use crate::accounts::invites;
use crate::accounts::password;
use crate::accounts::password::Password;
use crate::accounts::tokens;
use crate::accounts::users;
use crate::accounts::users::State;
use crate::accounts::users::User;
use crate::accounts::users::UserId;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

type Run = fn(&mut Management, &mut Ctx<Management>, &Request<'_>) -> Result<Answer, Fail>;

const fn row(name: &'static str, args: &'static str, run: Run) -> Command<Management> {
    Command { name, ports: &[PortKey::Admin], args, gate: anyone, run }
}

pub const USERS: Command<Management> = row("USERS", "after LF count", list);
pub const USER_ADD: Command<Management> = row("USERADD", "username LF password", add);
pub const USER_STATE: Command<Management> = row("USERSTATE", "username LF active or disabled", state);
pub const USER_DELETE: Command<Management> = row("USERDELETE", "username", delete);
pub const USER_PASSWD: Command<Management> = row("USERPASSWD", "username LF password", passwd);
pub const KICK: Command<Management> = row("KICK", "username LF reason", kick);
pub const INVITE: Command<Management> = row("INVITE", "days", invite);
pub const INVITES: Command<Management> = row("INVITES", "", open_invites);
pub const STATUS: Command<Management> = row("STATUS", "", status);

fn unknown() -> Fail {
    Fail::new(Code::NotFound, "there is no such user")
}

/// The account of a name.
///
/// # Errors
/// NOTFOUND.
pub fn find(db: &rusqlite::Connection, name: &str) -> Result<User, Fail> {
    users::find(db, name)?.ok_or_else(unknown)
}

fn list(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [after, count] = request.data().take()?;
    let (after, count) = (after.text()?.into_owned(), usize::try_from(count.number()?).unwrap_or(usize::MAX));
    let later = request.later();
    ctx.query(
        move |db| users::list(db, &after, count.min(users::MAX_LIST)),
        move |management, ctx, page| {
            let page = match page {
                Ok(page) => page,
                Err(fail) => return ctx.answer(&later, Err(fail)),
            };
            let ids: Vec<UserId> = page.iter().map(|user| user.id).collect();
            usage::ask(management, ctx, &ids, move |management, ctx, used| {
                let lines: Vec<String> = page.iter().map(|user| line(management, user, &used)).collect();
                ctx.answer(&later, Ok(lines.join("\n").into_bytes()));
            });
        },
    );
    Ok(Answer::Later)
}

/// `name|state|created|sessions|operator|quota|used`
fn line(management: &Management, user: &User, used: &usage::Used) -> String {
    let state = if user.state == State::Active { "active" } else { "disabled" };
    let sessions = management.online.all_sessions(&name::fold(&user.name));
    let operator = if user.admin { "yes" } else { "no" };
    let (quota, bytes) = used.of(user);
    format!("{}|{state}|{}|{sessions}|{operator}|{quota}|{bytes}", user.name, user.created)
}

fn add(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [user, secret] = request.data().take()?;
    let user = user.text()?.into_owned();
    name::check_user(&user)?;
    let secret = Password::chosen(&secret.unescape())?;
    let (later, now) = (request.later(), ctx.now());
    ctx.heavy(
        move || password::hash(secret.bytes()),
        move |_, ctx, hashed| {
            let name = user.clone();
            ctx.store(
                move |db| users::create(db, &user, &hashed?, now),
                move |management, ctx, created| {
                    if let Ok(id) = &created {
                        map::registered(management, ctx, *id, &name);
                    }
                    ctx.answer(&later, created.map(|_| Vec::new()));
                },
            );
        },
    );
    Ok(Answer::Later)
}

fn state(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [user, state] = request.data().take()?;
    let user = user.text()?.into_owned();
    let state = match &*state.text()? {
        "active" => State::Active,
        "disabled" => State::Disabled,
        _ => return Err(Fail::bad_args("the state is active or disabled")),
    };
    let later = request.later();
    let name = user.clone();
    ctx.store(
        move |db| {
            let id = find(db, &user)?.id;
            if state == State::Disabled {
                tokens::revoke(db, id)?;
            }
            users::set_state(db, id, state)?;
            Ok(id)
        },
        move |management, ctx, done| {
            match (&done, state) {
                (Ok(id), State::Disabled) => shut_out(management, ctx, *id, &name, "the account was disabled"),
                (Ok(_), State::Active) => drop(management.barred.remove(name::fold(&name).as_ref())),
                (Err(_), _) => {}
            }
            ctx.answer(&later, done.map(|_| Vec::new()));
        },
    );
    Ok(Answer::Later)
}

/// Ends the sessions of a user who may not sign on any more, and the links to management, and voids the tickets given out.
fn shut_out(management: &mut Management, ctx: &mut Ctx<Management>, id: UserId, user: &str, reason: &str) {
    management.barred.insert(name::fold(user).into_owned());
    management.tickets.revoke(&name::fold(user));
    sign_out(management, ctx, id, None);
    voice::account_gone(management, ctx, id);
    // OFFLINE only says that there was nobody to disconnect.
    let _ = presence::disconnect(management, ctx, user, reason);
}

fn delete(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let user = request.data().text()?.into_owned();
    let later = request.later();
    ctx.store(
        move |db| {
            let user = find(db, &user)?;
            voice::account_deleted(db, user.id)?;
            users::delete(db, user.id)?;
            Ok(user)
        },
        move |management, ctx, deleted| {
            if let Ok(user) = &deleted {
                shut_out(management, ctx, user.id, &user.name, "the account was deleted");
                map::deleted(management, ctx, user.id, &user.name);
                storage::user_removed(management, ctx, u64::try_from(user.id.0).unwrap_or(0));
            }
            ctx.answer(&later, deleted.map(|_| Vec::new()));
        },
    );
    Ok(Answer::Later)
}

fn passwd(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [user, secret] = request.data().take()?;
    let user = user.text()?.into_owned();
    let secret = Password::chosen(&secret.unescape())?;
    let later = request.later();
    ctx.heavy(
        move || password::hash(secret.bytes()),
        move |_, ctx, hashed| {
            let store = move |db: &rusqlite::Connection| {
                let id = find(db, &user)?.id;
                users::set_password(db, id, &hashed?)?;
                tokens::revoke(db, id)?;
                Ok(id)
            };
            ctx.store(store, move |management, ctx, done| {
                if let Ok(id) = &done {
                    sign_out(management, ctx, *id, None);
                }
                ctx.answer(&later, done.map(|_| Vec::new()));
            });
        },
    );
    Ok(Answer::Later)
}

fn kick(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [user, reason] = request.data().take()?;
    let reason = reason.text()?;
    if reason.contains('\n') {
        return Err(Fail::bad_args("a reason is one line"));
    }
    presence::disconnect(management, ctx, &user.text()?, &reason)?;
    Ok(Answer::Ok)
}

fn invite(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let days = request.data().number()?;
    if !(1..=3650).contains(&days) {
        return Err(Fail::bad_args("an invite is good for 1 to 3650 days"));
    }
    let (later, now) = (request.later(), ctx.now());
    let mut bytes = [0u8; 16];
    rand::Rng::fill_bytes(ctx.rng(), &mut bytes);
    ctx.store(
        move |db| invites::make_as(db, &bytes, now, days),
        move |_, ctx, code| ctx.answer(&later, code.map(String::into_bytes)),
    );
    Ok(Answer::Later)
}

/// Lines `created|expires`: the codes themselves are nowhere.
fn open_invites(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let (later, now) = (request.later(), ctx.now());
    ctx.query(
        move |db| invites::open(db, now),
        move |_, ctx, open| {
            let line = |(created, expires): &(u64, u64)| format!("{created}|{expires}");
            let lines = open.map(|open| open.iter().map(line).collect::<Vec<_>>().join("\n").into_bytes());
            ctx.answer(&later, lines);
        },
    );
    Ok(Answer::Later)
}

fn status(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let later = request.later();
    ctx.query(users::count, move |management, ctx, users| {
        let counters = ctx.counters();
        let servers: Vec<String> = management.directory.ids().map(|id| server(management, id)).collect();
        let link =
            |(one, other, trip): (&str, &str, u32)| format!("{one}–{other} {}.{} ms", trip / 1_000, trip % 1_000 / 100);
        let links: Vec<String> = management.links.all().map(link).collect();
        let data_management = management.storage.data_management().map_or("none", |(id, _)| id);
        let data_servers: Vec<&str> = management.storage.data_servers().collect();
        let answer = users.map(|users| {
            let rows = [
                ("version", env!("CARGO_PKG_VERSION").to_owned()),
                ("up for", format!("{} s", ctx.now().saturating_sub(management.started) / 1_000)),
                ("registration", management.settings.registration.name().to_owned()),
                ("users", users.to_string()),
                ("online", management.online.len().to_string()),
                ("main servers", servers.join(", ")),
                ("links", links.join(", ")),
                ("data management", data_management.to_owned()),
                ("data servers", data_servers.join(", ")),
                ("table version", management.routes.version().to_string()),
                ("connections", ctx.links().to_string()),
                ("accepted", counters.accepted.to_string()),
                ("packets", counters.packets.to_string()),
                ("bytes queued", ctx.queued().to_string()),
            ];
            let rows = rows.map(|(key, value)| format!("{key}|{value}")).join("\n");
            match management.storage.status.as_str() {
                "" => rows,
                storage => format!("{rows}\n{storage}"),
            }
            .into_bytes()
        });
        ctx.answer(&later, answer);
    });
    Ok(Answer::Later)
}

fn server(management: &Management, id: &str) -> String {
    match management.mains.get(id) {
        None => format!("{id} (offline)"),
        Some(main) => {
            let draining = if main.draining { ", draining" } else { "" };
            format!("{id} ({} clients{draining})", management.online.clients(id))
        }
    }
}
