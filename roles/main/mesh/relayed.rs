//! RELAYED: how far the other end of a stream has come, and what failed.

use super::relay;
use super::settled;
use super::settled::Odd;
use super::settled::Settled;
use super::End;
use crate::config::PortKey;
use crate::engine::handshake;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::relay::packet::Routed;
use crate::relay::Relayed;
use crate::roles::main::hold;
use crate::roles::main::leave;
use crate::roles::main::Main;
use crate::route::ServerNo;
use crate::wire::Code;
use crate::wire::Fail;

pub const RELAYED: Command<Main> = Command {
    name: "RELAYED",
    ports: &[PortKey::MainMain],
    args: "hops|server|… LF results",
    gate: handshake::proven_server::<Main>,
    run,
};

fn run(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let neighbour = relay::neighbour_of(ctx, request.link)?;
    let result = take(main, ctx, request, neighbour);
    relay::refused(main, neighbour, "RELAYED", result)
}

fn take(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>, neighbour: ServerNo) -> Result<Answer, Fail> {
    let routed = Routed::parse(request.data())?;
    if *routed.dest != *main.settings.server_id {
        relay::forward(main, ctx, request.link, b"RELAYED ", &routed)?;
        return Ok(Answer::None);
    }
    let (head, results, signed) = Relayed::parse(&routed)?;
    let server = main.table.server_no(&head.from);
    let server = server.ok_or_else(|| Fail::new(Code::Denied, "of a server that is not known"))?;
    relay::authentic(main, neighbour, server, "RELAYED", &signed, signed.body)?;
    let now = ctx.now();
    let Some(entry) = main.mesh.get_mut(server).filter(|entry| entry.out.number() == head.stream) else {
        return Ok(Answer::None);
    };
    if head.unknown {
        entry.facts.boot = head.boot;
        give_up(main, ctx, server, "the recipient's server was started anew");
        return Ok(Answer::None);
    }
    let mut settled = Settled::default();
    entry.out.succeeded(now, head.upto, &results, |who, count, ids| settled.add_all(*who, count, ids));
    entry.out.done(now, head.upto, &results, |item| settled.add(item));
    if head.gap {
        entry.out.gap(now);
    }
    main.mesh.touch(server);
    settled.carry_out(main, ctx, End::Server(server));
    hold::release(main, ctx);
    leave::look(main);
    Ok(Answer::None)
}

/// The other end is gone, or not reached for too long: what is not acknowledged may have arrived or not.
pub fn give_up(main: &mut Main, ctx: &mut Ctx<Main>, server: ServerNo, why: &str) {
    let now = ctx.now();
    let number = main.mesh.stream_number(now);
    let Some(entry) = main.mesh.get_mut(server) else { return };
    entry.lost_since = None;
    let mut lost = Vec::new();
    entry.out.give_up(number, |item| lost.push(Odd::new(&item)));
    if !lost.is_empty() {
        log::warn!("{} items for main server {} are given up: {why}", lost.len(), main.table.server_id(server));
    }
    for odd in lost {
        let text = format!("{why}: the message may have arrived or not");
        settled::result(main, ctx, End::Server(server), odd.failed(Code::Unavailable, text));
    }
    hold::release(main, ctx);
    leave::look(main);
}
