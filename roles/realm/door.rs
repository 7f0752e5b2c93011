//! The states of a client that has not signed on: Connecting and Registration (contract 10, the table of seed 003).
//!
//! ```text
//! Connecting ── STARTREGISTRATION ──► Registration
//!     ▲  │ ◄── CONFIRMREGISTERACCOUNT OK, CANCELREGISTRATION ──┘
//!     │  └─ LOGIN ──► Connected: a session, see `sign_on`
//! ```

use super::desk;
use super::directory;
use super::DOORS;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::roles::main::Main;
use crate::roles::main::Peer;
use crate::wire::Code;
use crate::wire::Fail;

/// Where a client stands that has not signed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It may sign on, or begin to register.
    #[default]
    Connecting,
    /// It registers.
    Registration,
}

/// A client that has not signed on.
#[derive(Debug, Default)]
pub struct Door {
    pub state: State,
    /// A LOGIN, PROVEKEY or registration is under way.
    pub busy: bool,
    /// Whom it has sent LOGINKEY for.
    pub key_of: Option<String>,
}

type Gate = fn(&Main, &Ctx<Main>, LinkId) -> Result<(), Fail>;
type Run = fn(&mut Main, &mut Ctx<Main>, &Request<'_>) -> Result<Answer, Fail>;

const fn row(name: &'static str, args: &'static str, gate: Gate, run: Run) -> Command<Main> {
    Command { name, ports: DOORS, args, gate, run }
}

pub const START_REGISTRATION: Command<Main> = row("STARTREGISTRATION", "", connecting, start);
pub const CANCEL_REGISTRATION: Command<Main> = row("CANCELREGISTRATION", "", registering, cancel);
pub const REGISTER_ACCOUNT: Command<Main> = row("REGISTERACCOUNT", "username LF password", registering, register);
pub const CONFIRM_REGISTER_ACCOUNT: Command<Main> =
    row("CONFIRMREGISTERACCOUNT", "request-id LF text", registering, confirm);
pub const GET_REALM: Command<Main> = row("GETREALM", "", crate::engine::anyone, get_realm);

/// The gate of what begins here.
pub fn connecting(_: &Main, ctx: &Ctx<Main>, link: LinkId) -> Result<(), Fail> {
    in_state(ctx, link, State::Connecting)
}

fn registering(_: &Main, ctx: &Ctx<Main>, link: LinkId) -> Result<(), Fail> {
    in_state(ctx, link, State::Registration)
}

fn in_state(ctx: &Ctx<Main>, link: LinkId, state: State) -> Result<(), Fail> {
    let text = match ctx.peer_ref(link) {
        Some(Peer::Door(door)) if door.state == state => return Ok(()),
        Some(Peer::Door(door)) if door.state == State::Registration => "CANCELREGISTRATION comes first",
        Some(Peer::Door(_)) => "STARTREGISTRATION comes first",
        _ => "this connection has signed on already",
    };
    Err(Fail::new(Code::BadCommand, text))
}

fn door(ctx: &mut Ctx<Main>, link: LinkId) -> Option<&mut Door> {
    match ctx.peer(link) {
        Some(Peer::Door(door)) => Some(door),
        _ => None,
    }
}

/// One thing at a time: `busy` until [`done`].
///
/// # Errors
/// BUSY.
pub fn begin(ctx: &mut Ctx<Main>, link: LinkId) -> Result<(), Fail> {
    match door(ctx, link) {
        Some(door) if !door.busy => {
            door.busy = true;
            Ok(())
        }
        _ => Err(Fail::new(Code::Busy, "the command before is being carried out; wait for its answer")),
    }
}

/// See [`begin`].
pub fn done(ctx: &mut Ctx<Main>, link: LinkId) {
    if let Some(door) = door(ctx, link) {
        door.busy = false;
    }
}

/// A client came to a door.
pub fn opened(ctx: &mut Ctx<Main>, link: LinkId) {
    if let Some(peer) = ctx.peer(link) {
        *peer = Peer::Door(Box::default());
    }
}

/// A client is gone, signed on or not. `unproven`: the realm that it called itself.
pub fn closed(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId, unproven: Option<String>) {
    desk::close(main, ctx, link);
    if let Some(realm) = unproven {
        log::warn!("realm: somebody calls itself the realm {realm}, and has not proven it");
        directory::doubt(main, ctx, &realm);
    }
}

/// Whether nothing has begun on a link: a realm may prove there who it is.
pub fn is_free(ctx: &Ctx<Main>, link: LinkId) -> bool {
    matches!(ctx.peer_ref(link), Some(Peer::Door(door)) if door.state == State::Connecting && !door.busy)
}

fn start(_: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    begin(ctx, request.link)?;
    done(ctx, request.link);
    if let Some(door) = door(ctx, request.link) {
        door.state = State::Registration;
    }
    Ok(Answer::Ok)
}

fn cancel(_: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    begin(ctx, request.link)?;
    done(ctx, request.link);
    if let Some(door) = door(ctx, request.link) {
        door.state = State::Connecting;
    }
    Ok(Answer::Ok)
}

fn register(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    begin(ctx, request.link)?;
    let (later, data) = (request.later(), request.data().0.to_vec());
    desk::ask(main, ctx, request.link, "REGISTERACCOUNT", data, move |_, ctx, answer| {
        done(ctx, later.link());
        ctx.answer_kept(&later, answer);
    });
    Ok(Answer::Later)
}

fn confirm(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    begin(ctx, request.link)?;
    let (later, data) = (request.later(), request.data().0.to_vec());
    desk::ask(main, ctx, request.link, "CONFIRMREGISTERACCOUNT", data, move |main, ctx, answer| {
        done(ctx, later.link());
        if answer.is_ok() {
            if let Some(door) = door(ctx, later.link()) {
                door.state = State::Connecting;
            }
            if let Some(realm) = &mut main.realm {
                realm.next_count = 0;
            }
        }
        ctx.answer_kept(&later, answer);
    });
    Ok(Answer::Later)
}

fn get_realm(main: &mut Main, _: &mut Ctx<Main>, _: &Request<'_>) -> Result<Answer, Fail> {
    let realm = main.realm.as_ref().ok_or_else(|| Fail::internal("a door without a realm"))?;
    let settings = &realm.settings;
    let lines = [
        ("realm", settings.address.clone()),
        ("name", settings.name.clone()),
        ("registration", settings.registration.name().to_owned()),
        ("users", realm.users.to_string()),
        ("cap", settings.user_cap.unwrap_or(0).to_string()),
        ("quota", settings.quota.to_string()),
    ];
    let lines: Vec<String> = lines.iter().map(|(key, value)| format!("{key}|{value}")).collect();
    Ok(Answer::Data(lines.join("\n").into_bytes()))
}
