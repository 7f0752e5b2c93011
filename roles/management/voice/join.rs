//! Joining: by KV, or for a session. First it is looked whether it may be; then, for the channel of a workspace, data management is asked;
//! and then it is done, after all is looked at again.

use rusqlite::Connection;

use super::channels;
use super::channels::Called;
use super::channels::Channel;
use super::place;
use super::rights::need;
use super::users;
use super::users::VoiceUser;
use super::workspace;
use super::Asked;
use super::Fresh;
use super::Management;
use super::Who;
use crate::accounts::users::UserId;
use crate::engine::Ctx;
use crate::voice::Rights;
use crate::wire::Code;
use crate::wire::Fail;

/// How somebody comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// KV, and nothing is signed.
    Unsigned,
    /// KV, signed.
    Signed,
    /// A session.
    Session,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Joining {
    /// Who asks.
    pub who: Who,
    /// Who shall be a member, if that is not who asks.
    pub whom: Option<u64>,
    /// Where.
    pub called: Called,
    pub by: By,
    /// For what has to be made.
    pub fresh: Fresh,
}

/// What was found.
struct Found {
    /// None: the workspace has none so far.
    channel: Option<Channel>,
    workspace: Option<String>,
    /// Of who shall be a member.
    account: Option<UserId>,
}

impl Joining {
    /// Whom it is about, but for a session, whose voice user may have to be made.
    fn member(&self, db: &Connection) -> Result<Option<VoiceUser>, Fail> {
        if matches!(self.who, Who::Account(..)) {
            return Ok(None);
        }
        let user = self.who.user(db)?;
        match self.whom.filter(|whom| *whom != user.uid) {
            None => Ok(Some(user)),
            Some(whom) => {
                need(user.rights, Rights::ADD_USER)?;
                users::acting(db, whom).map(Some)
            }
        }
    }

    fn look(&self, db: &Connection) -> Result<Found, Fail> {
        let account = match (self.who, self.member(db)?) {
            (Who::Account(account, _), _) => Some(account),
            (_, member) => member.and_then(|member| member.account),
        };
        let channel = match (channels::find(db, &self.called), &self.called) {
            (Err(fail), Called::Workspace(_)) if fail.code == Code::NotFound => None,
            (found, _) => Some(found?),
        };
        let signed = channel.as_ref().is_some_and(|channel| channel.signed);
        if signed && self.by == By::Unsigned {
            return Err(Fail::new(Code::Denied, "in this channel everything is signed"));
        }
        // Who asks gets the member's key: nobody gets another account's.
        let added = self.whom.is_some_and(|whom| !self.who.is(whom));
        if signed && added && account.is_some() {
            return Err(Fail::new(Code::Denied, "into a signed channel who has an account goes for himself"));
        }
        let workspace = match (&channel, &self.called) {
            (Some(channel), _) => channel.workspace.clone(),
            (None, Called::Workspace(name)) => Some(name.clone()),
            (None, _) => None,
        };
        Ok(Found { channel, workspace, account })
    }

    /// Store lane. The member and its channel; and one that had to make room for it.
    fn done(
        &self,
        db: &Connection,
        creator: Option<UserId>,
        now: u64,
        taken: &std::collections::BTreeSet<u64>,
    ) -> Result<(VoiceUser, Channel, Option<u64>), Fail> {
        let found = self.look(db)?;
        let user = match self.member(db)? {
            Some(user) => user,
            None => self.who.user(db)?,
        };
        match (found.workspace, creator, found.channel) {
            (None, _, Some(channel)) => Ok((user, channel, None)),
            (Some(workspace), Some(creator), _) => {
                // One whose account is disabled or gone owns nothing new.
                let owner =
                    users::of_account(db, creator, self.fresh.low, self.fresh.rights).map_or(0, |user| user.uid);
                let (channel, gone) = channels::of_workspace(db, &workspace, owner, self.fresh.low, now, taken)?;
                Ok((user, channel, gone))
            }
            // It was another one's a moment ago.
            _ => Err(channels::none()),
        }
    }
}

type Then = Box<dyn FnOnce(&mut Management, &mut Ctx<Management>, Result<(VoiceUser, Channel, u64), Fail>) + Send>;

/// Somebody joins; `then` gets the member, the channel and the number of the join.
pub fn start(management: &mut Management, ctx: &mut Ctx<Management>, asked: Asked, joining: Joining, then: Then) {
    let _ = management;
    let looked = joining.clone();
    ctx.query(
        move |db| looked.look(db),
        move |management, ctx, found| {
            let found = match found {
                Ok(found) => found,
                Err(fail) => return then(management, ctx, Err(fail)),
            };
            let Some(name) = found.workspace else { return finish(management, ctx, asked, joining, None, then) };
            let Some(account) = found.account else {
                let alone = Fail::new(Code::Denied, "only who takes part in the workspace may join its channel");
                return then(management, ctx, Err(alone));
            };
            let changes = management.voice.doubts.changes;
            workspace::takes_part(management, ctx, account, &name, move |management, ctx, creator| match creator {
                Ok(creator) => finish(management, ctx, asked, joining, Some((creator, changes)), then),
                Err(fail) => then(management, ctx, Err(fail)),
            });
        },
    );
}

fn finish(
    management: &mut Management,
    ctx: &mut Ctx<Management>,
    asked: Asked,
    joining: Joining,
    part: Option<(UserId, u64)>,
    then: Then,
) {
    let creator = part.map(|(creator, _)| creator);
    let taken = match creator {
        Some(_) => management.voice.members.channels().map(|(id, _)| id).collect(),
        None => std::collections::BTreeSet::new(),
    };
    let (now, session) = (ctx.now(), joining.by == By::Session);
    ctx.store(
        move |db| joining.done(db, creator, now, &taken),
        move |management, ctx, done| {
            let joined = done.and_then(|(user, channel, gone)| {
                if let Some(gone) = gone {
                    place::ended(management, ctx, gone);
                }
                let join = place::join(management, ctx, &asked, &user, &channel, session)?;
                // Somebody was taken out of a workspace since data management was asked: perhaps this one.
                if part.is_some_and(|(_, changes)| changes != management.voice.doubts.changes) {
                    workspace::doubt(management, ctx, channel.id, user.uid);
                }
                Ok((user, channel, join))
            });
            then(management, ctx, joined);
        },
    );
}
