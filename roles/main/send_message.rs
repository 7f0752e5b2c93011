//! SENDMESSAGE: an online message, from a session to all sessions of a user.

use super::hold::Letter;
use super::mesh::joint::Asker;
use super::post;
use super::realm;
use super::realm::abroad;
use super::session_of;
use super::signed_on;
use super::Main;
use super::CLIENTS;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::route::UserRef;
use crate::wire::name;
use crate::wire::raw;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

pub const SEND_MESSAGE: Command<Main> =
    Command { name: "SENDMESSAGE", ports: CLIENTS, args: "recipient LF body", gate: signed_on, run };

fn run(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let (to, body) = request.split()?;
    let index = session_of(ctx, request.link)?;
    let Main { sessions, table, delivered, holds, mesh, realm, .. } = main;
    let own = realm.as_ref().map_or("", realm::Realm::id);
    let Some(Some(session)) = sessions.get_mut(index) else {
        return Err(Fail::internal("a link names a session that is not there"));
    };
    let user = match raw::same(&session.last.0, to.0) {
        true => session.last.1,
        false if session.abroad.as_ref().is_some_and(|abroad| raw::same(&abroad.to, to.0)) => {
            return abroad::again(main, ctx, request, index, body);
        }
        false if is_abroad(own, to)? => return abroad::first(main, ctx, request, index, to, body),
        false => {
            let user = table.find(&checked(own, to)?).unwrap_or_default();
            session.last = (to.0.to_vec(), user);
            user
        }
    };
    let user = match table.get(user) {
        Some(user) => user,
        // Signed off, or off and on again since the last message.
        None => {
            let name = checked(own, to)?;
            let Some(found) = table.find(&name).and_then(|found| Some((found, table.get(found)?))) else {
                session.last = (Vec::new(), UserRef::default());
                return far(main, ctx, request, index, to, body);
            };
            session.last.1 = found.0;
            found.1
        }
    };
    if user.mark != 0 || holds.is_suspended() {
        return far(main, ctx, request, index, to, body);
    }
    // All sessions or none: a sender who is told BUSY sends again, and must not double it on the others.
    if let [_, _, ..] = &*user.here {
        for link in &user.here {
            ctx.room(*link).or_else(unless_busy)?;
        }
    }
    if session.head.renew(ctx.now()) {
        mesh.talked(table, session.user, &user.name, ctx.now());
    }
    let mut queued = false;
    for link in &user.here {
        match ctx.put(*link, session.head.words(), body.0) {
            Ok(()) => queued = true,
            Err(fail) => unless_busy(fail)?,
        }
    }
    if !queued {
        return Err(Fail::new(Code::Offline, "not signed on"));
    }
    *delivered += 1;
    Ok(Answer::Ok)
}

/// A session that is being closed is none.
fn unless_busy(fail: Fail) -> Result<(), Fail> {
    match fail.code {
        Code::Busy => Err(fail),
        _ => Ok(()),
    }
}

/// The recipient's name. One's own realm may stand before it.
fn checked(own: &str, to: Raw<'_>) -> Result<String, Fail> {
    let to = to.text()?;
    match name::of_realm(&to)? {
        Some((realm, user)) if realm == own => Ok(user.to_owned()),
        _ => {
            name::check_user(&to)?;
            Ok(to.into_owned())
        }
    }
}

/// Whether it is a user of another realm. No user name has a colon in it, and nobody has to escape one.
fn is_abroad(own: &str, to: Raw<'_>) -> Result<bool, Fail> {
    if !to.0.contains(&b':') {
        return Ok(false);
    }
    Ok(name::of_realm(&to.text()?)?.is_some_and(|(realm, _)| realm != own))
}

/// A message that does not just go into outboxes of this server.
fn far(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    request: &Request<'_>,
    index: usize,
    to: Raw<'_>,
    body: Raw<'_>,
) -> Result<Answer, Fail> {
    let id = if request.packet.id == b"0" { b"" } else { request.packet.id };
    if let Some(answer) = post::quick(main, ctx, index, request.link, id, to, body)? {
        return Ok(answer);
    }
    let letter = Letter {
        asker: Asker::Session { index, link: request.link, id: id.to_vec() },
        sender: None,
        recipient: checked(realm::links::own(main), to)?.into_boxed_str(),
        sent_at: ctx.now(),
        body: body.0.to_vec(),
    };
    match post::send(main, ctx, &letter)? {
        post::Sent::Done => Ok(Answer::Ok),
        post::Sent::Waits => Ok(Answer::None),
    }
}
