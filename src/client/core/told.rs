//! What the server says unasked.

use super::Core;
use super::Event;
use super::Peer;
use crate::config::PortKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::SERVER_STOPS;

/// Where sessions are: at main servers, and at realms.
pub(super) const SESSIONS: &[PortKey] = &[PortKey::ClientMain, PortKey::Realm];

/// The gate of all that a server says unasked: only the one that the client has signed on to, whose certificate
/// management has confirmed. Whoever else is at the end of a link has nothing to tell.
pub(super) fn signed_on(_: &Core, ctx: &Ctx<Core>, link: LinkId) -> Result<(), Fail> {
    match ctx.peer_ref(link) {
        Some(Peer::On) => Ok(()),
        _ => Err(Fail::new(Code::Denied, "not signed on to this server")),
    }
}

pub(super) const RECEIVE_MESSAGE: Command<Core> = Command {
    name: "RECEIVEMESSAGE",
    ports: SESSIONS,
    args: "sender LF sent-at LF body",
    gate: signed_on,
    run: receive_message,
};

pub(super) const SERVER_MAP_UPDATE: Command<Core> = Command {
    name: "SERVERMAPUPDATE",
    ports: SESSIONS,
    args: "changed lines",
    gate: signed_on,
    run: server_map_update,
};

pub(super) const OFFLINE_MESSAGE_AVAILABLE: Command<Core> = Command {
    name: "OFFLINEMESSAGEAVAILABLE",
    ports: SESSIONS,
    args: "message-id LF sender LF size LF sent-at",
    gate: signed_on,
    run: offline_message_available,
};

pub(super) const WORKSPACE_CHANGED: Command<Core> = Command {
    name: "WORKSPACECHANGED",
    ports: SESSIONS,
    args: "name LF seq LF author LF bytes",
    gate: signed_on,
    run: workspace_changed,
};

pub(super) const NOTICE: Command<Core> =
    Command { name: "NOTICE", ports: SESSIONS, args: "sent-at LF text", gate: signed_on, run: notice };

pub(super) const DISCONNECTED: Command<Core> =
    Command { name: "DISCONNECTED", ports: SESSIONS, args: "reason", gate: signed_on, run: disconnected };

fn receive_message(core: &mut Core, ctx: &mut Ctx<Core>, request: &Request<'_>) -> Result<Answer, Fail> {
    // Whatever is made of it: TAKEOVER tells how many the server has got through.
    core.count += 1;
    let [sender, sent_at, body] = request.data().take()?;
    if !core.received.is_given_again(request.data()) {
        let (sender, sent_at, body) = (sender.text()?.into_owned(), sent_at.number()?, body.unescape().into_owned());
        core.tell(ctx, Event::Message { sender, sent_at, body });
    }
    Ok(Answer::None)
}

fn server_map_update(core: &mut Core, ctx: &mut Ctx<Core>, request: &Request<'_>) -> Result<Answer, Fail> {
    let lines = request.data().text()?.lines().map(str::to_owned).collect();
    core.tell(ctx, Event::Map(lines));
    Ok(Answer::None)
}

fn offline_message_available(core: &mut Core, ctx: &mut Ctx<Core>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [id, sender, size, sent_at] = request.data().take()?;
    let (id, sender) = (id.text()?.into_owned(), sender.text()?.into_owned());
    let (size, sent_at) = (size.number()?, sent_at.number()?);
    core.tell(ctx, Event::OfflineMessage { id, sender, size, sent_at });
    Ok(Answer::None)
}

fn workspace_changed(core: &mut Core, ctx: &mut Ctx<Core>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [workspace, seq, author, body] = request.data().take()?;
    let (workspace, seq, author) = (workspace.text()?.into_owned(), seq.number()?, author.text()?.into_owned());
    core.tell(ctx, Event::WorkspaceChange { workspace, seq, author, body: body.unescape().into_owned() });
    Ok(Answer::None)
}

fn notice(core: &mut Core, ctx: &mut Ctx<Core>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [sent_at, text] = request.data().take()?;
    core.tell(ctx, Event::Notice { sent_at: sent_at.number()?, text: text.text()?.into_owned() });
    Ok(Answer::None)
}

fn disconnected(core: &mut Core, ctx: &mut Ctx<Core>, request: &Request<'_>) -> Result<Answer, Fail> {
    let reason = request.data().text()?.into_owned();
    if reason == SERVER_STOPS && core.moving.old() == Some(request.link) {
        // The session is at another server already.
        return Ok(Answer::None);
    }
    core.disconnected = true;
    core.tell(ctx, Event::Disconnected(reason.clone()));
    // When a server stops there will be another, or the same again. Otherwise only a person begins a new session.
    if reason != SERVER_STOPS {
        core.stop(ctx);
        core.tell(ctx, Event::Failed(Fail::new(Code::Refused, reason)));
    }
    Ok(Answer::None)
}
