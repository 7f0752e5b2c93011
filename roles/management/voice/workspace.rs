//! Channels of workspaces: data management alone knows who takes part.

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
            Err(fail) if fail.code == Code::NotFound => Err(Fail::new(Code::NotFound, "there is no such workspace")),
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
    check(management, ctx, |known| known == workspace);
    Ok(Answer::None)
}

/// Those members of the channels of such workspaces who do not take part any more are none any more.
pub fn check(management: &mut Management, ctx: &mut Ctx<Management>, which: impl Fn(&str) -> bool) {
    let mut asked = Vec::new();
    for (channel, known) in management.voice.members.channels() {
        let Some(workspace) = known.workspace.as_deref().filter(|workspace| which(workspace)) else { continue };
        let member = |(uid, member): (&u64, &Member)| Some((channel, *uid, member.account?, workspace.to_owned()));
        asked.extend(known.members.iter().filter_map(member));
    }
    for (channel, uid, account, workspace) in asked {
        takes_part(management, ctx, account, &workspace, move |management, ctx, answer| {
            let member = management.voice.members.get(channel, uid);
            let is_the_same = member.is_some_and(|member| member.account == Some(account));
            if is_the_same && answer.is_err_and(|fail| fail.code == Code::NotFound) {
                place::leave(management, ctx, channel, uid);
            }
        });
    }
}

fn away() -> Fail {
    Fail::new(Code::Unavailable, "data management does not answer; retry later")
}
