//! Channels of workspaces: data management alone knows who takes part.

use std::collections::BTreeSet;

use super::channels;
use super::members::Member;
use super::place;
use super::storage;
use super::usage;
use super::Management;
use crate::accounts::users::UserId;
use crate::engine::Answer;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::wire::Code;
use crate::wire::Fail;

/// How many members are asked about at once.
const AT_ONCE: usize = 256;
/// When data management does not answer, it is asked again after so long, and then after twice as long, up to a minute; milliseconds.
const AGAIN: u64 = 1_000;
const AGAIN_AT_MOST: u64 = 60_000;

/// Members of whom it is not sure that they still take part.
#[derive(Debug, Default)]
pub struct Doubts {
    /// How often people may have left a workspace, so far.
    pub changes: u64,
    /// Channel and uid of those who wait to be asked about; each was a member when it came in.
    waiting: BTreeSet<(u64, u64)>,
    asked: usize,
    /// How long is waited after the last answer that did not come; 0: it came.
    pause: u64,
    paused: bool,
}

impl Doubts {
    /// Data management is back: it is not waited any longer.
    pub fn ask_again(&mut self) {
        (self.pause, self.paused) = (0, false);
    }
}

/// Asks whether the account takes part in the workspace; `then` runs once, with the account of its creator.
///
/// Errors: NOTFOUND: it does not, or there is no such workspace; UNAVAILABLE: data management does not answer.
pub fn takes_part(
    management: &mut Management,
    ctx: &mut Ctx<Management>,
    account: UserId,
    workspace: &str,
    then: impl FnOnce(&mut Management, &mut Ctx<Management>, Result<UserId, Fail>) + Send + 'static,
) {
    let account = account.0.to_string();
    usage::exchange(management, ctx, "TAKESPART", &[&account, workspace], move |management, ctx, answer| {
        let creator = match answer {
            Ok(text) => text.parse().map(UserId).map_err(|_| away()),
            Err(fail) if fail.code == Code::NotFound => Err(channels::none()),
            Err(fail) => {
                log::debug!("TAKESPART: {fail}");
                Err(away())
            }
        };
        then(management, ctx, creator);
    });
}

/// PARTICIPANTS: people may have left a workspace.
pub fn changed(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    storage::is_data_management(ctx, request.link)?;
    let workspace = request.data().text()?;
    check(management, ctx, |known, _| known == workspace);
    Ok(Answer::None)
}

/// Those members of channels of workspaces of whom this is so are none any more if they do not take part; and who is on the way to be one,
/// while data management was asked before, is asked about again.
pub fn check(management: &mut Management, ctx: &mut Ctx<Management>, which: impl Fn(&str, &Member) -> bool) {
    let doubts = &mut management.voice.doubts;
    doubts.changes = doubts.changes.wrapping_add(1);
    for (channel, known) in management.voice.members.channels() {
        let Some(workspace) = known.workspace.as_deref() else { continue };
        let those = known.members.iter().filter(|(_, member)| which(workspace, member));
        doubts.waiting.extend(those.map(|(uid, _)| (channel, *uid)));
    }
    go_on(management, ctx);
}

/// It is not sure whether this member still takes part.
pub fn doubt(management: &mut Management, ctx: &mut Ctx<Management>, channel: u64, uid: u64) {
    management.voice.doubts.waiting.insert((channel, uid));
    go_on(management, ctx);
}

fn go_on(management: &mut Management, ctx: &mut Ctx<Management>) {
    while !management.voice.doubts.paused && management.voice.doubts.asked < AT_ONCE {
        let Some((channel, uid)) = management.voice.doubts.waiting.pop_first() else { return };
        let Some(account) = management.voice.members.get(channel, uid).and_then(|member| member.account) else {
            continue;
        };
        let workspace = management.voice.members.channel(channel).and_then(|known| known.workspace.clone());
        let Some(workspace) = workspace else { continue };
        management.voice.doubts.asked += 1;
        takes_part(management, ctx, account, &workspace, move |management, ctx, answer| {
            let doubts = &mut management.voice.doubts;
            doubts.asked = doubts.asked.saturating_sub(1);
            match answer {
                Ok(_) => doubts.pause = 0,
                Err(fail) if fail.code == Code::NotFound => {
                    doubts.pause = 0;
                    place::leave(management, ctx, channel, uid);
                }
                Err(_) => later(management, ctx, channel, uid),
            }
            go_on(management, ctx);
        });
    }
}

/// Data management did not answer: it is asked again, as long as this is a member.
fn later(management: &mut Management, ctx: &mut Ctx<Management>, channel: u64, uid: u64) {
    let doubts = &mut management.voice.doubts;
    doubts.waiting.insert((channel, uid));
    if !std::mem::replace(&mut doubts.paused, true) {
        doubts.pause = doubts.pause.saturating_mul(2).clamp(AGAIN, AGAIN_AT_MOST);
        ctx.after(doubts.pause, |management, ctx| {
            management.voice.doubts.paused = false;
            go_on(management, ctx);
        });
    }
}

fn away() -> Fail {
    Fail::new(Code::Unavailable, "data management does not answer; retry later")
}
