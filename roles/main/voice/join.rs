//! JOINVOICE, and what a join by UDP waits for: the channel's port.

use std::net::IpAddr;

use rand::Rng;
use zeroize::Zeroizing;

use super::control;
use super::here;
use super::here::Grant;
use super::here::CHANNELS;
use super::may_move;
use super::session;
use super::OPENING;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Later;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::roles::main::session_of;
use crate::roles::main::signed_on;
use crate::roles::main::Main;
use crate::roles::main::CLIENTS;
use crate::voice::Order;
use crate::voice::Terms;
use crate::voice::KEY;
use crate::wire::hex;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

pub const JOIN: Command<Main> =
    Command { name: "JOINVOICE", ports: CLIENTS, args: "channel LF udp or link", gate: signed_on, run };

/// Who waits for a channel's UDP port.
#[derive(Debug)]
pub enum Waiting {
    /// A session that joins.
    Session(Later, Grant),
    /// A member that voice control has joined; it signs, or not.
    Control(Later, Grant, bool),
    /// Voice control, for the port alone.
    Port(Later),
}

/// This server has no UDP ports for voice.
pub fn no_ports() -> Fail {
    Fail::new(Code::Unavailable, "this server has no UDP ports for voice; join with link")
}

fn run(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [channel, how] = request.data().take()?;
    let (name, how) = (channel.text()?.into_owned(), how.text()?);
    let udp = match &*how {
        "udp" => true,
        "link" => false,
        _ => return Err(Fail::bad_args("it is udp or link")),
    };
    if udp && main.voice.server_key.is_none() {
        return Err(no_ports());
    }
    let link = request.link;
    may_move(main, link)?;
    let seat = main.voice.seats.get(&link);
    if seat.is_some_and(|seat| seat.places.len() + seat.joining >= CHANNELS) {
        return Err(Fail::new(Code::Limit, "a session is in 16 channels at most"));
    }
    let answer = session::ask(main, ctx, request, move |main, ctx, later, answer| {
        let granted = answer.and_then(grant);
        match granted {
            Ok(grant) => joined(main, ctx, later, grant, &name, udp),
            Err(fail) => {
                here::join_answered(main, ctx, later.link(), None);
                ctx.answer(&later, Err(fail));
            }
        }
    })?;
    main.voice.seats.entry(link).or_default().joining += 1;
    Ok(answer)
}

/// `channel|uid|join|signed`, and perhaps lines behind it.
pub fn grant(data: Raw<'_>) -> Result<Grant, Fail> {
    let text = data.text()?;
    let bad = || Fail::internal("management grants a join in other words than channel|uid|join|signed");
    let columns: Vec<&str> = text.lines().next().unwrap_or_default().split('|').collect();
    let [channel, uid, join, signed] = columns[..] else { return Err(bad()) };
    let number = |text: &str| Raw(text.as_bytes()).number().map_err(|_| bad());
    Ok(Grant { channel: number(channel)?, uid: number(uid)?, join: number(join)?, signed: signed == "1" })
}

/// Management has granted a session's join.
fn joined(main: &mut Main, ctx: &mut Ctx<Main>, later: Later, grant: Grant, name: &str, udp: bool) {
    let link = later.link();
    let session = session_of(ctx, link).ok().and_then(|index| main.session(index));
    let user = session.filter(|_| ctx.is_open(link)).and_then(|session| main.table.get(session.user));
    let Some(user) = user.map(|user| user.name.to_string()) else {
        // The session is over: so is this, before it began. Whom it has replaced, management tells.
        main.voice.gone.push(format!("{}|{}|{}", grant.channel, grant.uid, grant.join));
        here::join_answered(main, ctx, link, None);
        return ctx.answer(&later, Err(Fail::new(Code::Offline, "the connection is gone")));
    };
    if let Err(fail) = if udp { may_hear(main, ctx, link, grant, Code::Unavailable) } else { Ok(()) } {
        here::join_answered(main, ctx, link, None);
        return ctx.answer(&later, Err(fail));
    }
    here::place(main, ctx, grant, Some(&user), Some((link, name)), udp);
    match udp {
        true => open(main, ctx, grant.channel, grant.signed, Waiting::Session(later, grant)),
        false => welcome(main, ctx, &later, grant, None),
    }
}

/// The session hears that it is a member, and who else is.
fn welcome(main: &mut Main, ctx: &mut Ctx<Main>, later: &Later, grant: Grant, port: Option<(u16, &[u8; KEY])>) {
    let Grant { channel, uid, join, signed } = grant;
    here::join_answered(main, ctx, later.link(), Some(channel));
    let keys = match port {
        Some((port, key)) => {
            let server_key = main.voice.server_key.as_deref().unwrap_or_default();
            format!("{port}|{}|{server_key}", if signed { hex::encode(key) } else { String::new() })
        }
        None => "0||".to_owned(),
    };
    let mut text = format!("{channel}|{uid}|{join}|{}|{keys}", u8::from(signed));
    let entry = main.voice.channels.get(&channel);
    let mut members: Vec<_> = entry.iter().flat_map(|entry| &entry.members).collect();
    members.sort_unstable_by_key(|(uid, _)| **uid);
    for (uid, member) in members {
        text.push_str(&format!("\n{uid}|{}", member.user));
    }
    ctx.answer(later, Ok(text.into_bytes()));
}

/// Asks for the channel's UDP port.
pub fn open(main: &mut Main, ctx: &mut Ctx<Main>, channel: u64, signed: bool, waiting: Waiting) {
    if main.voice.waiting >= OPENING {
        return not_opened(main, ctx, waiting, Fail::new(Code::Busy, "too many wait for a UDP port; retry later"));
    }
    main.voice.waiting += 1;
    main.voice.opening.entry(channel).or_default().push(waiting);
    ctx.voice(Order::Open { channel, signed });
}

/// The channel has a UDP port, or gets none: those who wait for it are answered.
pub fn opened(main: &mut Main, ctx: &mut Ctx<Main>, channel: u64, port: Result<u16, String>) {
    let all = main.voice.opening.remove(&channel).unwrap_or_default();
    main.voice.waiting = main.voice.waiting.saturating_sub(all.len());
    let shift = main.voice.shift;
    let port = port.map(|port| u16::try_from(i32::from(port) + shift).unwrap_or(port)).map_err(|why| {
        log::warn!("voice: channel {channel} gets no UDP port: {why}");
        Fail::new(Code::Unavailable, "no UDP port is free for this channel; join with link")
    });
    for waiting in all {
        match waiting {
            Waiting::Port(later) => {
                ctx.answer(&later, port.clone().map(control::port));
            }
            Waiting::Session(later, grant) => {
                let proven = ctx.info(later.link()).and_then(|info| info.remote);
                match port.clone().and_then(|port| Ok((port, enter(main, ctx, grant, proven)?))) {
                    Ok((port, key)) => welcome(main, ctx, &later, grant, Some((port, &key))),
                    Err(fail) => not_opened(main, ctx, Waiting::Session(later, grant), fail),
                }
            }
            Waiting::Control(later, grant, signs) => {
                let proven = ctx.info(later.link()).and_then(|info| info.remote);
                match port.clone().and_then(|port| Ok((port, enter(main, ctx, grant, proven)?))) {
                    Ok((port, key)) => ctx.answer(&later, Ok(control::joined(port, &key, signs))),
                    Err(fail) => not_opened(main, ctx, Waiting::Control(later, grant, signs), fail),
                }
            }
        }
    }
    if port.is_ok() && main.voice.channels.get(&channel).is_some_and(|entry| entry.listening) {
        // The port may be another than that which was listened to.
        ctx.voice(Order::Listen { channel, on: true });
    }
}

fn not_opened(main: &mut Main, ctx: &mut Ctx<Main>, waiting: Waiting, fail: Fail) {
    let later = match waiting {
        Waiting::Port(later) => later,
        Waiting::Session(later, grant) => {
            here::join_answered(main, ctx, later.link(), None);
            give_up(main, ctx, grant);
            later
        }
        Waiting::Control(later, grant, _) => {
            give_up(main, ctx, grant);
            later
        }
    };
    ctx.answer(&later, Err(fail));
}

fn is_here(main: &Main, grant: Grant) -> bool {
    let entry = main.voice.channels.get(&grant.channel);
    entry.and_then(|entry| entry.here.get(&grant.uid)).is_some_and(|place| place.join == grant.join && place.udp)
}

/// A member with a place here joins the UDP channel. Returns its key.
fn enter(main: &Main, ctx: &mut Ctx<Main>, grant: Grant, proven: Option<IpAddr>) -> Result<Zeroizing<[u8; KEY]>, Fail> {
    if !is_here(main, grant) {
        return Err(Fail::new(Code::NotFound, "the membership has ended before it began"));
    }
    let mut key = Zeroizing::new([0; KEY]);
    ctx.rng().fill_bytes(&mut *key);
    let terms = match grant.signed {
        true => Terms::Signed(key.clone()),
        false => Terms::Unsigned,
    };
    let Grant { channel, uid, join, .. } = grant;
    ctx.voice(Order::Join { channel, uid, join, terms, proven });
    Ok(key)
}

/// Whether who is behind this link may do without signatures: it is on loopback, or the operator wants it.
pub fn is_local(main: &Main, ctx: &Ctx<Main>, link: LinkId) -> bool {
    let remote = ctx.info(link).and_then(|info| info.remote);
    main.voice.allow_unsigned || remote.is_some_and(|remote| remote.to_canonical().is_loopback())
}

/// Refuses a join by UDP of a channel without signatures from where the thread of voice would not hear it.
fn may_hear(main: &mut Main, ctx: &Ctx<Main>, link: LinkId, grant: Grant, code: Code) -> Result<(), Fail> {
    if grant.signed || is_local(main, ctx, link) {
        return Ok(());
    }
    main.voice.gone.push(format!("{}|{}|{}", grant.channel, grant.uid, grant.join));
    Err(Fail::new(code, "this channel is not signed: by UDP it is for this machine alone; join with link"))
}

/// Voice control has joined a member.
pub fn controlled(main: &mut Main, ctx: &mut Ctx<Main>, later: &Later, grant: Grant, signs: bool) -> Result<(), Fail> {
    may_hear(main, ctx, later.link(), grant, Code::Denied)?;
    // Its name comes with the list.
    here::place(main, ctx, grant, None, None, true);
    open(main, ctx, grant.channel, grant.signed, Waiting::Control(later.clone(), grant, signs));
    Ok(())
}

/// There is no port for it: it is no member.
fn give_up(main: &mut Main, ctx: &mut Ctx<Main>, grant: Grant) {
    if is_here(main, grant) {
        here::gone(main, ctx, grant.channel, grant.uid, None);
    }
}
