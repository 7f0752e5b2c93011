//! VOICEFOR: what a session asks, in the words of its commands. A main server speaks for those alone who are signed on there.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::channels;
use super::channels::Called;
use super::channels::Channel;
use super::control;
use super::join;
use super::join::By;
use super::join::Joining;
use super::place;
use super::users;
use super::workspace;
use super::Asked;
use super::Fresh;
use super::Management;
use super::Who;
use crate::accounts::users as accounts;
use crate::accounts::users::State;
use crate::accounts::users::UserId;
use crate::engine::Answer;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::voice::Rights;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// A command of a session.
#[derive(Debug)]
enum Task {
    Create(String),
    Delete(Called),
    List,
    Get(Called),
    Join(Called),
    Leave(Called),
    Kick(Called, String),
}

fn task(command: &str, data: Raw<'_>) -> Result<Task, Fail> {
    let called = |raw: Raw<'_>| Called::parse(&raw.text()?);
    Ok(match command {
        "CREATEVOICE" => Task::Create(data.text()?.into_owned()),
        "DELETEVOICE" => Task::Delete(called(data)?),
        "LISTVOICE" if data.is_empty() => Task::List,
        "LISTVOICE" => return Err(Fail::bad_args("this command takes no arguments")),
        "GETVOICE" => Task::Get(called(data)?),
        "JOINVOICE" => {
            let [channel, way] = data.take()?;
            if !["udp", "link"].contains(&&*way.text()?) {
                return Err(Fail::bad_args("the second field is udp or link"));
            }
            Task::Join(called(channel)?)
        }
        "LEAVEVOICE" => Task::Leave(called(data)?),
        "KICKVOICE" => {
            let [channel, user] = data.take()?;
            Task::Kick(called(channel)?, user.text()?.into_owned())
        }
        _ => return Err(Fail::new(Code::BadCommand, "sessions have no such command of voice")),
    })
}

/// A command of a session at that main server.
pub fn run(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let asked = Asked::new(ctx, request)?;
    let [account, command, data] = request.data().take()?;
    let account = i64::try_from(account.number()?).map_err(|_| Fail::bad_args("that is no account"))?;
    let (account, task) = (UserId(account), task(&command.text()?, data)?);
    ctx.query(
        move |db| accounts::get(db, account),
        move |management, ctx, user| {
            let user = user.and_then(|user| there(management, user, &asked.server));
            match user {
                Ok(()) => carry_out(management, ctx, asked, account, task),
                Err(fail) => asked.answer(ctx, Err(fail)),
            }
        },
    );
    Ok(Answer::Later)
}

/// Whether the account may ask, and is signed on at that server.
fn there(management: &Management, user: Option<accounts::User>, server: &str) -> Result<(), Fail> {
    let user = user.filter(|user| user.state == State::Active);
    let user = user.ok_or_else(|| Fail::new(Code::Denied, "this account is disabled, or gone"))?;
    match signed_on(management, &user.name, user.id, server) {
        true => Ok(()),
        false => Err(Fail::new(Code::Unavailable, "management does not know this session so far; retry later")),
    }
}

/// Whether the account is signed on at that server.
pub fn signed_on(management: &Management, user: &str, account: UserId, server: &str) -> bool {
    let presence = management.online.get(&name::fold(user));
    presence.is_some_and(|presence| presence.who.id == account && presence.servers.contains_key(server))
}

fn carry_out(management: &mut Management, ctx: &mut Ctx<Management>, asked: Asked, account: UserId, task: Task) {
    let fresh = super::fresh(management, ctx);
    let who = Who::Account(account, fresh);
    match task {
        Task::Create(title) => ctx.store(
            move |db| channels::create(db, &who.user(db)?, fresh.low, true, Some(&title)),
            move |_, ctx, made| asked.answer(ctx, made.map(|id| id.to_string())),
        ),
        Task::Delete(called) => {
            control::delete(ctx, who, called, move |ctx, done| asked.answer(ctx, done.map(|_| String::new())));
        }
        Task::List => list(management, ctx, asked, account),
        Task::Get(called) => get(ctx, asked, account, called),
        Task::Join(called) => joins(management, ctx, asked, who, called, fresh),
        Task::Leave(called) => ctx.store(
            move |db| Ok((who.user(db)?.uid, channels::find(db, &called)?)),
            move |management, ctx, found| {
                let left = found.and_then(|(uid, channel)| {
                    let left = place::leave_as(management, ctx, channel.id, uid, "left");
                    let no = if channel.workspace.is_some() { channels::none } else { no_member };
                    left.map(|_| String::new()).ok_or_else(no)
                });
                asked.answer(ctx, left);
            },
        ),
        Task::Kick(called, whom) => kick(ctx, asked, who, called, whom),
    }
}

fn no_member() -> Fail {
    Fail::new(Code::NotFound, "that user is no member of this channel")
}

/// `uid|user` of each member, in the order of uids.
fn members(management: &Management, channel: u64) -> String {
    let known = management.voice.members.channel(channel);
    let members = known.into_iter().flat_map(|channel| &channel.members);
    members.map(|(uid, member)| format!("\n{uid}|{}", member.user)).collect()
}

/// Those that stand alone, and those of workspaces where the account is a member.
fn list(management: &Management, ctx: &mut Ctx<Management>, asked: Asked, account: UserId) {
    let mine = management.voice.members.channels().filter(|(_, channel)| {
        channel.workspace.is_some() && channel.members.values().any(|member| member.account == Some(account))
    });
    let mine: Vec<u64> = mine.map(|(id, _)| id).collect();
    ctx.query(
        move |db| {
            let mut all = channels::alone(db)?;
            all.extend(mine.iter().filter_map(|id| channels::find(db, &Called::Id(*id)).ok()));
            owners(db, all)
        },
        move |management, ctx, all| {
            let line = |(channel, owner): &(Channel, String)| {
                let (count, signed) = (management.voice.members.count(channel.id), u8::from(channel.signed));
                format!("{}|{}|{owner}|{signed}|{count}", channel.id, channel.title())
            };
            let lines = all.map(|all| all.iter().map(line).collect::<Vec<_>>().join("\n"));
            asked.answer(ctx, lines);
        },
    );
}

/// Each with its owner: the account's name, or the uid of one that has no account; nothing, if the owner is gone.
fn owners(db: &Connection, all: Vec<Channel>) -> Result<Vec<(Channel, String)>, Fail> {
    let mut known: BTreeMap<u64, String> = BTreeMap::new();
    for channel in &all {
        if known.contains_key(&channel.owner) {
            continue;
        }
        let name = match users::get(db, channel.owner) {
            Ok(user) if user.account.is_none() => user.uid.to_string(),
            Ok(user) => user.name,
            Err(fail) if fail.code == Code::NotFound => String::new(),
            Err(fail) => return Err(fail),
        };
        known.insert(channel.owner, name);
    }
    let owner = |channel: &Channel| known.get(&channel.owner).cloned().unwrap_or_default();
    Ok(all.into_iter().map(|channel| (channel.clone(), owner(&channel))).collect())
}

fn get(ctx: &mut Ctx<Management>, asked: Asked, account: UserId, called: Called) {
    ctx.query(
        move |db| channels::find(db, &called),
        move |management, ctx, found| {
            let channel = match found {
                Ok(channel) => channel,
                Err(fail) => return asked.answer(ctx, Err(fail)),
            };
            let head = format!("{}|{}|{}", channel.id, channel.title(), u8::from(channel.signed));
            let Some(name) = channel.workspace else {
                return asked.answer(ctx, Ok(head + &members(management, channel.id)));
            };
            workspace::takes_part(management, ctx, account, &name, move |management, ctx, creator| {
                asked.answer(ctx, creator.map(|_| head + &members(management, channel.id)));
            });
        },
    );
}

fn joins(management: &mut Management, ctx: &mut Ctx<Management>, asked: Asked, who: Who, called: Called, fresh: Fresh) {
    let joining = Joining { who, whom: None, called, by: By::Session, fresh };
    let to = asked.clone();
    let then = move |management: &mut Management, ctx: &mut Ctx<Management>, joined: Result<_, Fail>| {
        let text = joined.map(|(user, channel, join): (users::VoiceUser, Channel, u64)| {
            let head = format!("{}|{}|{join}|{}", channel.id, user.uid, u8::from(channel.signed));
            head + &members(management, channel.id)
        });
        to.answer(ctx, text);
    };
    join::start(management, ctx, asked, joining, Box::new(then));
}

/// Removes a member: its user's name, or its uid.
fn kick(ctx: &mut Ctx<Management>, asked: Asked, who: Who, called: Called, whom: String) {
    ctx.store(
        move |db| {
            let channel = channels::find(db, &called)?;
            channel.need(&who.user(db)?, Rights::KICK_USER)?;
            Ok(channel.id)
        },
        move |management, ctx, channel| {
            let left = channel.and_then(|channel| {
                let uid = find(management, channel, &whom).ok_or_else(no_member)?;
                place::leave(management, ctx, channel, uid).map(|_| String::new()).ok_or_else(no_member)
            });
            asked.answer(ctx, left);
        },
    );
}

/// The member that is meant.
fn find(management: &Management, channel: u64, whom: &str) -> Option<u64> {
    let members = &management.voice.members.channel(channel)?.members;
    let folded = name::fold(whom);
    let named = members.iter().find(|(_, member)| !member.user.is_empty() && name::fold(&member.user) == folded);
    let uid = || whom.parse().ok().filter(|uid| members.contains_key(uid));
    named.map(|(uid, _)| *uid).or_else(uid)
}
