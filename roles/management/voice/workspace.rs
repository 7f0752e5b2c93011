//! Channels of workspaces: data management alone knows who takes part.

use super::usage;
use super::Management;
use crate::accounts::users::UserId;
use crate::engine::Ctx;
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

fn away() -> Fail {
    Fail::new(Code::Unavailable, "data management does not answer; retry later")
}
