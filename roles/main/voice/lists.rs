//! Who is in which channel: what management tells (64478), and what it is told when it is back.

use std::collections::HashMap;
use std::collections::VecDeque;

use super::here;
use super::Channel;
use super::Member;
use super::Why;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::roles::main::Main;
use crate::voice::Order;
use crate::wire::Fail;
use crate::wire::Raw;

/// Members that are looked at again at once.
const GHOSTS: usize = 65_536;
/// How soon after a VOICEHERE another asks for lists that are missing; milliseconds.
const AGAIN: u64 = 10_000;

const fn row(
    name: &'static str,
    args: &'static str,
    run: fn(&mut Main, &mut Ctx<Main>, &Request<'_>) -> Result<Answer, Fail>,
) -> Command<Main> {
    Command { name, ports: &[PortKey::MainManagement], args, gate: anyone, run }
}

pub const MEMBERS: Command<Main> = row("VOICEMEMBERS", "channel|signed LF lines server-id|uid|join|user", members);
pub const CAME: Command<Main> = row("VOICECAME", "channel|server-id|uid|join|user", came);
pub const LEFT: Command<Main> = row("VOICELEFT", "channel|server-id|uid|join|why", left);
pub const ENDED: Command<Main> = row("VOICEENDED", "channel", ended);

fn columns<const N: usize>(text: &str) -> Result<[&str; N], Fail> {
    let columns: Vec<&str> = text.split('|').collect();
    columns.try_into().map_err(|_| Fail::bad_args(format!("{N} columns are needed")))
}

fn number(text: &str) -> Result<u64, Fail> {
    Raw(text.as_bytes()).number()
}

/// The whole list of a channel. Sessions here hear of what is new in it.
fn members(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let (head, lines) = request.data().split_field();
    let (head, lines) = (head.text()?, lines.unwrap_or_default().text()?);
    let [channel, signed] = columns(&head)?;
    let channel = number(channel)?;
    let mut told = HashMap::new();
    for line in lines.lines() {
        let [server, uid, join, user] = columns(line)?;
        let member = Member { server: main.table.server(server)?, join: number(join)?, user: Box::from(user) };
        told.insert(number(uid)?, member);
    }
    let entry = main.voice.channels.entry(channel).or_default();
    (entry.signed, entry.told, entry.listed) = (signed == "1", true, true);
    let gone = entry.members.iter().filter(|(uid, _)| !told.contains_key(uid));
    let gone: Vec<(u64, u64)> = gone.map(|(uid, member)| (*uid, member.join)).collect();
    for (uid, join) in gone {
        here::left(main, ctx, channel, uid, join);
    }
    for (uid, member) in told {
        suspect(main, channel, uid, &member);
        here::came(main, ctx, channel, uid, member);
    }
    // Of those here, whom management does not have here, or has by another join.
    let own = main.own;
    let Some(entry) = main.voice.channels.get(&channel) else { return Ok(Answer::None) };
    let over = entry.here.iter().filter_map(|(uid, place)| {
        let member = entry.members.get(uid);
        let stays = member.is_some_and(|member| member.server == own && member.join == place.join);
        (!stays).then_some((*uid, if member.is_some() { Why::Elsewhere } else { Why::Kicked }))
    });
    for (uid, why) in over.collect::<Vec<_>>() {
        here::end(main, ctx, channel, uid, Some(why));
    }
    here::refresh(main, ctx, channel);
    Ok(Answer::None)
}

fn came(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let text = request.data().text()?;
    let [channel, server, uid, join, user] = columns(&text)?;
    let member = Member { server: main.table.server(server)?, join: number(join)?, user: Box::from(user) };
    let (channel, uid) = (number(channel)?, number(uid)?);
    suspect(main, channel, uid, &member);
    // Else it would be a list with one line, which looks like a whole one.
    if !main.voice.channels.contains_key(&channel) {
        return Ok(Answer::None);
    }
    here::came(main, ctx, channel, uid, member);
    here::refresh(main, ctx, channel);
    Ok(Answer::None)
}

fn left(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let text = request.data().text()?;
    let [channel, server, uid, join, why] = columns(&text)?;
    let server = main.table.server(server)?;
    let (channel, uid, join) = (number(channel)?, number(uid)?, number(join)?);
    here::left(main, ctx, channel, uid, join);
    let entry = main.voice.channels.get(&channel);
    let place = entry.and_then(|entry| entry.here.get(&uid)).filter(|_| server == main.own);
    if place.is_some_and(|place| place.join == join) {
        let again = entry.is_some_and(|entry| entry.members.contains_key(&uid));
        let why = match why {
            "left" => Why::Left,
            "elsewhere" => Why::Elsewhere,
            _ if again => Why::Elsewhere,
            _ => Why::Kicked,
        };
        here::end(main, ctx, channel, uid, Some(why));
    }
    here::refresh(main, ctx, channel);
    Ok(Answer::None)
}

/// The channel is no more.
fn ended(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let channel = request.data().number()?;
    // Its members by UDP hear it from there.
    ctx.voice(Order::Close { channel });
    let entry = main.voice.channels.get_mut(&channel);
    let here: Vec<u64> = entry.iter().flat_map(|entry| entry.here.keys().copied()).collect();
    if let Some(entry) = entry {
        entry.here.values_mut().for_each(|place| place.udp = false);
        (entry.udp, entry.listening) = (0, false);
    }
    for uid in here {
        here::end(main, ctx, channel, uid, Some(Why::Deleted));
    }
    main.voice.channels.remove(&channel);
    Ok(Answer::None)
}

fn has_place(main: &Main, (channel, uid, join): (u64, u64, u64)) -> bool {
    let entry = main.voice.channels.get(&channel);
    entry.and_then(|entry| entry.here.get(&uid)).is_some_and(|place| place.join == join)
}

/// Notes a member that is here by management's word alone: its join is about to be answered, or its end was not heard of.
fn suspect(main: &mut Main, channel: u64, uid: u64, member: &Member) {
    let ghost = (channel, uid, member.join);
    if member.server == main.own && main.voice.ghosts.len() < GHOSTS && !has_place(main, ghost) {
        main.voice.ghosts.insert(ghost);
    }
}

/// Tells management of members that it has here and that are not; and says VOICEHERE where somebody hears nobody, for want of the list.
pub fn repair(main: &mut Main, ctx: &mut Ctx<Main>) {
    let ghosts = std::mem::take(&mut main.voice.ghosts);
    let Some(link) = main.management.link() else { return };
    if main.voice.unlisted && ctx.now().saturating_sub(main.voice.said_here) >= AGAIN {
        management_back(main, ctx, link);
    }
    let ghosts: Vec<_> = ghosts.into_iter().filter(|ghost| !has_place(main, *ghost)).collect();
    if ghosts.is_empty() {
        return;
    }
    // A join of which management had told is answered before this.
    ctx.request(link, "PING", &[], move |main, ctx, answer| {
        if answer.is_err() {
            return;
        }
        for ghost in ghosts {
            let (channel, uid, join) = ghost;
            if !has_place(main, ghost) {
                main.voice.gone.push(format!("{channel}|{uid}|{join}"));
                here::left(main, ctx, channel, uid, join);
                here::refresh(main, ctx, channel);
            }
        }
    });
}

/// Management knows this server again: it is told who is here, and tells who is there.
pub fn management_back(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId) {
    main.voice.channels.values_mut().for_each(|entry| entry.told = false);
    main.voice.gone.clear();
    (main.voice.unlisted, main.voice.said_here) = (false, ctx.now());
    let channels: Vec<u64> = main.voice.channels.keys().copied().collect();
    let of = |(channel, entry): (&u64, &Channel)| entry.here.keys().map(|uid| (*channel, *uid)).collect::<Vec<_>>();
    let here = main.voice.channels.iter().flat_map(of).collect();
    say_here(main, ctx, link, here, channels);
}

/// Says who of these is here, as far as it goes into one packet, and the rest when that is answered: the link has room for little more than one.
fn say_here(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId, mut rest: VecDeque<(u64, u64)>, channels: Vec<u64>) {
    let mut lines = String::new();
    while lines.len() < here::PIECE {
        let Some((channel, uid)) = rest.pop_front() else { break };
        // One that has gone meanwhile was told by VOICEGONE.
        let entry = main.voice.channels.get(&channel);
        let Some((entry, place)) = entry.and_then(|entry| Some((entry, entry.here.get(&uid)?))) else { continue };
        let user = entry.members.get(&uid).map_or("", |member| &member.user);
        lines.push_str(&format!("\n{channel}|{uid}|{}|{user}", place.join));
    }
    if !rest.is_empty() {
        let text = format!("more{lines}");
        return ctx.request(link, "VOICEHERE", &[text.as_bytes()], move |main, ctx, answer| match answer {
            Ok(_) => say_here(main, ctx, link, rest, channels),
            Err(fail) => not_taken(&fail),
        });
    }
    let text = lines.strip_prefix('\n').unwrap_or_default();
    ctx.request(link, "VOICEHERE", &[text.as_bytes()], move |_, ctx, answer| match answer {
        // The lists come before the answer to this.
        Ok(_) => ctx.request(link, "PING", &[], move |main, ctx, answer| {
            if answer.is_ok() {
                forgotten(main, ctx, &channels);
            }
        }),
        Err(fail) => not_taken(&fail),
    });
}

fn not_taken(fail: &Fail) {
    log::warn!("management does not take note of who is in voice channels here: {fail}");
}

/// Channels that management has told nothing of: it has no members of them here, or does not know them.
fn forgotten(main: &mut Main, ctx: &mut Ctx<Main>, channels: &[u64]) {
    for channel in channels {
        let entry = main.voice.channels.get(channel).filter(|entry| !entry.told);
        let here: Vec<u64> = entry.iter().flat_map(|entry| entry.here.keys().copied()).collect();
        for uid in here {
            here::end(main, ctx, *channel, uid, Some(Why::Unavailable));
        }
    }
}
