//! VOICEUSERS and VOICERIGHTS: what the operator asks.

use rusqlite::Connection;

use super::admin;
use super::users;
use super::users::VoiceUser;
use super::Fresh;
use super::Management;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::voice::Rights;
use crate::wire::Code;
use crate::wire::Fail;

/// Lines of one answer.
const MOST: usize = 1_000;

pub const VOICE_USERS: Command<Management> =
    Command { name: "VOICEUSERS", ports: &[PortKey::Admin], args: "after LF count", gate: anyone, run: list };

pub const VOICE_RIGHTS: Command<Management> = Command {
    name: "VOICERIGHTS",
    ports: &[PortKey::Admin],
    args: "uid or username LF rights",
    gate: anyone,
    run: set_rights,
};

/// Lines `uid|username or nothing|rights|channels`.
fn list(_: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [after, count] = request.data().take()?;
    let after = if after.is_empty() { 0 } else { after.number()? };
    let count = usize::try_from(count.number()?).unwrap_or(MOST).min(MOST);
    let later = request.later();
    ctx.query(
        move |db| users::list(db, after, count),
        move |management, ctx, page| {
            let line = |user: &VoiceUser| {
                let channels = management.voice.members.channels_of(user.uid);
                format!("{}|{}|{}|{channels}", user.uid, user.name, user.rights)
            };
            let lines = page.map(|page| page.iter().map(line).collect::<Vec<_>>().join("\n").into_bytes());
            ctx.answer(&later, lines);
        },
    );
    Ok(Answer::Later)
}

fn set_rights(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [whom, rights] = request.data().take()?;
    let whom = whom.text()?.into_owned();
    let rights = Rights::parse(&rights.text()?);
    let words = "rights are none, or register_user, delete_user, add_channel, rm_channel, add_user, kick_user or admin";
    let rights = rights.ok_or_else(|| Fail::bad_args(format!("{words}, with commas between them")))?;
    let (later, fresh) = (request.later(), super::fresh(management, ctx));
    ctx.store(
        move |db| {
            let user = find(db, &whom, fresh)?;
            users::set_rights(db, user.uid, rights)?;
            Ok(user)
        },
        move |_, ctx, done| {
            if let Ok(user) = &done {
                log::info!("the voice user {} {} has the rights {rights} now", user.uid, user.name);
            }
            ctx.answer(&later, done.map(|user| user.uid.to_string().into_bytes()));
        },
    );
    Ok(Answer::Later)
}

/// By its uid, or by the name of its account, for which it is made if there is none.
fn find(db: &Connection, whom: &str, fresh: Fresh) -> Result<VoiceUser, Fail> {
    if let Ok(uid) = whom.parse() {
        match users::get(db, uid) {
            Err(fail) if fail.code == Code::NotFound => {}
            found => return found,
        }
    }
    let account = admin::find(db, whom)?.id;
    match users::find(db, account)? {
        Some(user) => Ok(user),
        None => users::of_account(db, account, fresh.low, fresh.rights),
    }
}
