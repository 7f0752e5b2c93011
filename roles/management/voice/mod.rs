//! The registry of voice: who may do what ([`users`]), which channels there are ([`channels`]), and who is in which one at which server
//! ([`members`], in memory). Main servers ask for clients of KV (VOICECONTROL) and for sessions (VOICEFOR), and are told what changes in
//! the channels that they have members of.
//!
//! What changes the database runs in its one order of store jobs, and what follows from it in memory when it is committed, in the same
//! order: a channel that was deleted is joined by nobody.

mod channels;
mod control;
mod ended;
mod here;
mod ids;
mod join;
mod joins;
mod members;
mod operate;
mod place;
mod rights;
mod session;
mod users;
mod workspace;

use std::collections::HashMap;

use super::admin;
use super::introduced;
use super::main_server;
use super::refused;
use super::resync;
use super::storage;
use super::usage;
use super::Management;
use crate::accounts::users::UserId;
use crate::config::PortKey;
use crate::engine::identity::ServerKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Later;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::voice::Rights;
use crate::wire::Code;
use crate::wire::Fail;

pub use operate::VOICE_RIGHTS;
pub use operate::VOICE_USERS;
pub use users::account_deleted;
pub use users::SCHEMA;

/// What management knows of voice, besides its database.
pub struct Voice {
    members: members::Members,
    joins: joins::Joins,
    ended: ended::Ended,
    doubts: workspace::Doubts,
    /// When a server said last who is there; Unix milliseconds.
    said: HashMap<String, u64>,
    /// Servers that named members that were never let in: how long VOICEHERE is refused then, and until when; Unix milliseconds.
    guessed: HashMap<String, (u64, u64)>,
    /// When the first server said who is there, since the start; Unix milliseconds.
    began: Option<u64>,
    /// When memberships of sessions are looked at next.
    next: u64,
}

impl Voice {
    /// Without any member.
    pub fn new(key: &ServerKey) -> Voice {
        let (members, ended, doubts, said, guessed) = Default::default();
        Voice { members, joins: joins::Joins::new(key), ended, doubts, said, guessed, began: None, next: 0 }
    }
}

type Run = fn(&mut Management, &mut Ctx<Management>, &Request<'_>) -> Result<Answer, Fail>;

const fn row(name: &'static str, args: &'static str, run: Run) -> Command<Management> {
    Command { name, ports: &[PortKey::MainManagement], args, gate: introduced, run }
}

pub const CONTROL: Command<Management> = row("VOICECONTROL", "local LF request", control::run);
pub const FOR: Command<Management> = row("VOICEFOR", "account LF command LF data", session::run);
pub const GONE: Command<Management> = row("VOICEGONE", "lines channel|uid|join", here::gone);
/// From data management.
pub const PARTICIPANTS: Command<Management> = Command {
    name: "PARTICIPANTS",
    ports: &[PortKey::DatamanagementManagement],
    args: "workspace",
    gate: main_server,
    run: workspace::changed,
};
pub const HERE: Command<Management> = row("VOICEHERE", "lines channel|uid|join|user", here::here);

/// What is being asked, and by which server.
#[derive(Clone, Debug)]
struct Asked {
    later: Later,
    link: LinkId,
    server: String,
}

impl Asked {
    fn new(ctx: &Ctx<Management>, request: &Request<'_>) -> Result<Asked, Fail> {
        let server = super::server_of(ctx, request.link)?;
        Ok(Asked { later: request.later(), link: request.link, server })
    }

    fn answer(&self, ctx: &mut Ctx<Management>, answer: Result<String, Fail>) {
        ctx.answer(&self.later, answer.map(String::into_bytes));
    }
}

/// Random bits, and rights, for a voice user or a channel that may have to be made.
#[derive(Clone, Copy, Debug)]
struct Fresh {
    low: u32,
    rights: Rights,
}

fn fresh(management: &Management, ctx: &mut Ctx<Management>) -> Fresh {
    let mut bits = [0; 4];
    rand::Rng::fill_bytes(ctx.rng(), &mut bits);
    Fresh { low: ids::low(u32::from_ne_bytes(bits)), rights: rights::configured(&management.settings.voice_rights) }
}

/// Who asks for something.
#[derive(Clone, Copy, Debug)]
enum Who {
    /// Somebody who says to be this voice user, and proves nothing. One with an account can prove it, and must.
    Said(u64),
    /// Somebody who has proven to be this voice user.
    Proven(u64),
    /// A session of this account.
    Account(UserId, Fresh),
}

impl Who {
    /// Whether it is this voice user by its uid.
    fn is(self, uid: u64) -> bool {
        matches!(self, Who::Said(own) | Who::Proven(own) if own == uid)
    }

    /// Store lane. The voice user, which is made if it is an account's first.
    ///
    /// # Errors
    /// NOTFOUND; DENIED: the account is disabled or gone, or there is one and nothing is signed.
    fn user(self, db: &rusqlite::Connection) -> Result<users::VoiceUser, Fail> {
        match self {
            Who::Said(uid) => match users::acting(db, uid)? {
                user if user.account.is_some() => {
                    Err(Fail::new(Code::Denied, "this user has an account: it signs, or asks by a session"))
                }
                user => Ok(user),
            },
            Who::Proven(uid) => users::acting(db, uid),
            Who::Account(account, fresh) => users::of_account(db, account, fresh.low, fresh.rights),
        }
    }
}

/// The link of a main server is gone: its members are kept for a while, as their media goes on.
pub fn server_lost(management: &mut Management, ctx: &mut Ctx<Management>, server: &str, link: LinkId) {
    management.voice.said.remove(server);
    if !management.voice.members.find(|_, member| member.link == link).is_empty() {
        ctx.after(here::GRACE, move |management, ctx| here::forget(management, ctx, link));
    }
}

/// The account was disabled or deleted.
pub fn account_gone(management: &mut Management, ctx: &mut Ctx<Management>, account: UserId) {
    for (channel, uid) in management.voice.members.find(|_, member| member.account == Some(account)) {
        place::leave(management, ctx, channel, uid);
    }
}

/// Data management is back, and may have had news meanwhile.
pub fn storage_is_up(management: &mut Management, ctx: &mut Ctx<Management>) {
    management.voice.doubts.ask_again();
    workspace::check(management, ctx, |_, _| true);
}

/// Once a second.
pub fn tick(management: &mut Management, ctx: &mut Ctx<Management>) {
    if ctx.now() >= management.voice.next {
        management.voice.next = ctx.now().saturating_add(here::EVERY);
        management.voice.ended.tidy(ctx.now());
        here::sweep(management, ctx);
    }
}
