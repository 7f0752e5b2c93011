//! VOICECONTROL: the commands of KV. What is not signed is believed where the main server says that it may; what is signed proves itself.

use rusqlite::Connection;

use super::channels;
use super::channels::Called;
use super::join;
use super::join::By;
use super::join::Joining;
use super::place;
use super::rights::need;
use super::users;
use super::Asked;
use super::Management;
use super::Who;
use crate::accounts::keyring;
use crate::engine::Answer;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::voice::control::Command;
use crate::voice::control::Proof;
use crate::voice::control::Request as Kv;
use crate::voice::Rights;
use crate::wire::Code;
use crate::wire::Fail;

/// One request of a client of KV.
pub fn run(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let asked = Asked::new(ctx, request)?;
    let [local, bytes] = request.data().take()?;
    let local = match &*local.text()? {
        "1" => true,
        "0" => false,
        _ => return Err(Fail::bad_args("local is 1 or 0")),
    };
    let kv = match Kv::decode(&bytes.unescape()) {
        Ok(Some((kv, _))) => kv,
        Ok(None) => return Err(Fail::new(Code::BadPacket, "the request is too short")),
        Err(_) => return Err(Fail::new(Code::BadCommand, "there is no such type of request")),
    };
    match (&kv.proof, kv.command) {
        (None, _) if !local => return Err(Fail::new(Code::Denied, "only what is signed is taken here")),
        (None, command) => carry_out(management, ctx, asked, command, false),
        // These name nobody, and need no right.
        (Some(_), Command::GetPort { .. } | Command::GetChannels) => {
            carry_out(management, ctx, asked, kv.command, true);
        }
        (Some(proof), Command::Register { auid, .. }) => register(management, ctx, asked, kv, *proof, auid)?,
        (Some(proof), _) => prove(ctx, asked, kv, proof.counter),
    }
    Ok(Answer::Later)
}

fn wrong() -> Fail {
    Fail::new(Code::Denied, "this signature is none of that user's")
}

/// The keys that may sign for a voice user: those of its account.
fn keys(db: &Connection, uid: u64) -> Result<Vec<[u8; 32]>, Fail> {
    let account = users::acting(db, uid)?.account.ok_or_else(wrong)?;
    Ok(keyring::list(db, account)?.into_iter().map(|key| key.public).collect())
}

/// Looks at the signature, takes the counter, and goes on as if the request were believed.
fn prove(ctx: &mut Ctx<Management>, asked: Asked, kv: Kv, counter: u64) {
    let uid = kv.command.asker().unwrap_or(0);
    ctx.query(
        move |db| keys(db, uid),
        move |_, ctx, known| {
            let check = move || known?.into_iter().find(|key| kv.is_signed_by(key)).ok_or_else(wrong);
            ctx.heavy(check, move |_, ctx, key| {
                let take = move |db: &Connection| {
                    let key = key?;
                    // It may have been removed meanwhile.
                    if !keys(db, uid)?.contains(&key) {
                        return Err(wrong());
                    }
                    users::count(db, &users::acting(db, uid)?, counter)
                };
                ctx.store(take, move |management, ctx, taken| match taken {
                    Ok(()) => carry_out(management, ctx, asked, kv.command, true),
                    Err(fail) => asked.answer(ctx, Err(fail)),
                });
            });
        },
    );
}

/// Signed by the key of an account: its voice user, which is made if it is the first.
fn register(
    management: &Management,
    ctx: &mut Ctx<Management>,
    asked: Asked,
    kv: Kv,
    proof: Proof,
    auid: u64,
) -> Result<(), Fail> {
    if auid != 0 {
        return Err(Fail::new(Code::Denied, "the new user's own signature says nothing about who else asks"));
    }
    let fresh = super::fresh(management, ctx);
    let check = move || proof.key.filter(|key| kv.is_signed_by(key)).ok_or_else(wrong);
    ctx.heavy(check, move |_, ctx, key| {
        let take = move |db: &Connection| {
            let account = keyring::holder(db, &key?)?.ok_or_else(wrong)?;
            let user = users::of_account(db, account, fresh.low, fresh.rights)?;
            users::count(db, &user, proof.counter)?;
            Ok(user.uid)
        };
        ctx.store(take, move |_, ctx, uid| asked.answer(ctx, uid.map(value)));
    });
    Ok(())
}

fn value(value: u64) -> String {
    format!("value {value}")
}

/// Does what the asker is believed to ask.
fn carry_out(management: &mut Management, ctx: &mut Ctx<Management>, asked: Asked, command: Command, signed: bool) {
    let fresh = super::fresh(management, ctx);
    let who = move |uid| if signed { Who::Proven(uid) } else { Who::Said(uid) };
    match command {
        Command::Create { uid } => ctx.store(
            move |db| channels::create(db, &who(uid).user(db)?, fresh.low, signed, None),
            move |_, ctx, made| asked.answer(ctx, made.map(value)),
        ),
        Command::Delete { uid, chid } => {
            let then = move |ctx: &mut Ctx<Management>, done: Result<u64, Fail>| asked.answer(ctx, done.map(value));
            delete(ctx, who(uid), Called::Id(chid), then);
        }
        Command::Join { uid, juid, chid } => {
            let by = if signed { By::Signed } else { By::Unsigned };
            let joining = Joining { who: who(uid), whom: Some(juid), called: Called::Id(chid), by, fresh };
            let to = asked.clone();
            let then = move |_: &mut Management, ctx: &mut Ctx<Management>, joined: Result<_, Fail>| {
                let line = joined.map(|(user, channel, join): (users::VoiceUser, channels::Channel, u64)| {
                    format!("join {}|{}|{join}|{}", channel.id, user.uid, u8::from(channel.signed))
                });
                to.answer(ctx, line);
            };
            join::start(management, ctx, asked, joining, Box::new(then));
        }
        Command::Leave { uid, luid, chid } => leave(ctx, asked, who(uid), luid, chid),
        Command::Register { auid, rights } => ctx.store(
            move |db| {
                let rights = match auid {
                    0 => fresh.rights,
                    _ => {
                        let admin = who(auid).user(db)?;
                        need(admin.rights, Rights::REGISTER_USER)?;
                        need(admin.rights, Rights(rights))?;
                        Rights(rights)
                    }
                };
                users::create(db, fresh.low, rights)
            },
            move |_, ctx, made| asked.answer(ctx, made.map(value)),
        ),
        Command::Unregister { auid, uid } => unregister(ctx, asked, who(auid), uid),
        Command::GetPort { chid } => ctx.query(
            move |db| channels::find(db, &Called::Id(chid)),
            move |_, ctx, found| {
                let line = found.map(|channel| format!("port {}|{}", channel.id, u8::from(channel.signed)));
                asked.answer(ctx, line);
            },
        ),
        Command::GetChannels => ctx.query(channels::alone, move |_, ctx, found| {
            let line = found.map(|all| all.iter().fold("list".to_owned(), |list, one| format!("{list} {}", one.id)));
            asked.answer(ctx, line);
        }),
    }
}

/// Deletes a channel, and tells; `then` gets its id.
pub fn delete(
    ctx: &mut Ctx<Management>,
    who: Who,
    called: Called,
    then: impl FnOnce(&mut Ctx<Management>, Result<u64, Fail>) + Send + 'static,
) {
    ctx.store(
        move |db| {
            let user = who.user(db)?;
            let channel = channels::find(db, &called)?;
            channel.need(&user, Rights::RM_CHANNEL)?;
            channels::delete(db, channel.id)?;
            Ok(channel.id)
        },
        move |management, ctx, done| {
            if let Ok(channel) = &done {
                place::ended(management, ctx, *channel);
            }
            then(ctx, done);
        },
    );
}

fn leave(ctx: &mut Ctx<Management>, asked: Asked, who: Who, luid: u64, chid: u64) {
    ctx.store(
        move |db| {
            let user = who.user(db)?;
            channels::find(db, &Called::Id(chid))?;
            let own = user.uid == luid;
            if !own {
                need(user.rights, Rights::KICK_USER)?;
            }
            Ok(if own { "left" } else { "" })
        },
        move |management, ctx, done| {
            let none = || Fail::new(Code::NotFound, "that user is no member of this channel");
            let left = done.and_then(|why| place::leave_as(management, ctx, chid, luid, why).ok_or_else(none));
            asked.answer(ctx, left.map(|_| value(1)));
        },
    );
}

fn unregister(ctx: &mut Ctx<Management>, asked: Asked, who: Who, uid: u64) {
    ctx.store(
        move |db| {
            let admin = who.user(db)?;
            let user = users::get(db, uid)?;
            if admin.uid != uid {
                need(admin.rights, Rights::DELETE_USER)?;
            }
            users::delete(db, &user)
        },
        move |management, ctx, done| {
            if done.is_ok() {
                place::leave_all(management, ctx, uid);
            }
            asked.answer(ctx, done.map(|()| value(uid)));
        },
    );
}
