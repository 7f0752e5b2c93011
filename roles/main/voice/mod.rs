//! Voice (KV) at a main server: who of its clients is in which channel, and what is said, over links, UDP (`Ctx::voice`) and to other
//! main servers. Who may what, and who is where, management decides; its lists are all that is believed of other servers.

mod control;
mod here;
mod join;
mod lists;
mod media;
mod mesh;
mod session;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;

use super::Main;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::route::ServerNo;
use crate::voice::Event;
use crate::wire::hex;
use crate::wire::Code;
use crate::wire::Fail;

pub use lists::management_back;

/// Questions of voice that management has not answered: it has others to serve.
const ASKED: usize = 2_000;

/// Who waits for UDP ports, of all channels.
const OPENING: usize = 2_000;
/// JOINVOICEs and LEAVEVOICEs of a session in a second: one that was moved joins all its channels anew at once.
const MOVES: u32 = 20;

/// The rows of voice, on all ports.
pub const COMMANDS: [Command<Main>; 14] = [
    control::VOICE_CONTROL,
    session::CREATE,
    session::DELETE,
    session::LIST,
    session::GET,
    session::KICK,
    session::LEAVE,
    join::JOIN,
    media::VOICE,
    mesh::VOICE,
    lists::MEMBERS,
    lists::CAME,
    lists::LEFT,
    lists::ENDED,
];

/// Why a membership is over, as its session is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// The channel is no more.
    Deleted,
    /// Somebody who may has said so.
    Kicked,
    /// The user is in the channel at another place now.
    Elsewhere,
    /// The user has left it at another place.
    Left,
    /// Nothing came by UDP for 60 s.
    Silent,
    /// Management, back again, does not know of it; or there is no UDP port any more.
    Unavailable,
}

impl Why {
    fn word(self) -> &'static str {
        match self {
            Why::Deleted => "deleted",
            Why::Kicked => "kicked",
            Why::Elsewhere => "elsewhere",
            Why::Left => "left",
            Why::Silent => "silent",
            Why::Unavailable => "unavailable",
        }
    }
}

/// A member of a channel, by management's word.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    server: ServerNo,
    /// Which of its joins this is.
    join: u64,
    /// The account's name; empty: it has none.
    user: Box<str>,
}

/// A member that is here.
#[derive(Debug)]
struct Place {
    join: u64,
    /// The session that it ends with; None: it came by voice control.
    link: Option<LinkId>,
    /// By UDP; else over the session's link.
    udp: bool,
    /// Of the last datagram that was made for it.
    counter: u64,
}

/// A channel of which this server knows the members, because one is here.
#[derive(Debug, Default)]
struct Channel {
    signed: bool,
    /// All of them, by uid.
    members: HashMap<u64, Member>,
    /// Those here, by uid.
    here: HashMap<u64, Place>,
    /// Of these, who hears over a link, with the uid; sorted.
    links: Vec<(LinkId, u64)>,
    /// Of these, how many are there by UDP.
    udp: usize,
    /// Other servers with members, and how many each has.
    elsewhere: BTreeMap<ServerNo, usize>,
    /// What `Order::Listen` has said last.
    listening: bool,
    /// Management has told the members since it is back.
    told: bool,
    /// Management has told the members at all.
    listed: bool,
    /// For those here by UDP, at the end of the event.
    play: Vec<u8>,
    /// What was said here, for other servers, at the end of the event.
    said: Vec<u8>,
    /// One of the two is not empty.
    dirty: bool,
}

/// What a session has of voice.
#[derive(Debug, Default)]
struct Seat {
    /// Where it is a member: the channel, its uid there, and what it calls the channel.
    places: Vec<(u64, u64, Box<str>)>,
    /// Its JOINVOICEs that are not answered.
    joining: usize,
    /// Memberships that have ended meanwhile. If one of these joins replaces it, the session is not told of it.
    ended: Vec<(u64, Why)>,
    /// Its LEAVEVOICEs that management has not answered: what ends by them it is not told.
    leaving: usize,
    /// What it has said in this second, in datagrams.
    second: u64,
    said: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Voice {
    /// The public key of this server's voice, in hex; None: it has no UDP ports.
    server_key: Option<String>,
    allow_unsigned: bool,
    /// By how much the ports that members are told are above those of this host.
    shift: i32,
    channels: HashMap<u64, Channel>,
    seats: HashMap<LinkId, Seat>,
    /// Who waits for a channel's UDP port. At most `OPENING`.
    opening: HashMap<u64, Vec<join::Waiting>>,
    /// How many these are.
    waiting: usize,
    /// See `ASKED`.
    asked: usize,
    /// Lines of VOICEGONE that management's link had no room for so far.
    gone: Vec<String>,
    /// Channel, uid and join of members that are here by management's word, and had no place when it said so. Most have one a moment later.
    ghosts: BTreeSet<(u64, u64, u64)>,
    /// Somebody is in a channel here whose list is not known.
    unlisted: bool,
    /// When VOICEHERE was sent last.
    said_here: u64,
    /// How often sessions have asked to join or leave in this second.
    moves: HashMap<LinkId, u32>,
    /// Sessions that are over, and had a seat.
    over: Vec<LinkId>,
    dirty: Vec<u64>,
    /// Of the last VOICE to other servers.
    number: u64,
    /// The last VOICE of each server: its start, and the number.
    heard: HashMap<ServerNo, (u64, u64)>,
    counts: Counts,
}

/// What was dropped, for the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Datagrams of who is no member there, by management's word.
    strangers: u64,
    /// Datagrams and packets that had no room on their link.
    late: u64,
    /// Over the rate.
    fast: u64,
    /// Packets that were repeated, or overtaken.
    again: u64,
    /// Packets over a minute behind the clock.
    old: u64,
}

impl Main {
    /// This process has UDP ports for voice, and a key by which its system packets are signed. `allow_unsigned`: clients that sign nothing are
    /// served on other addresses than loopback too.
    pub fn serve_voice(&mut self, server_key: &[u8; 32], allow_unsigned: bool) {
        self.voice.server_key = Some(hex::encode(server_key));
        self.voice.allow_unsigned = allow_unsigned;
    }

    /// The range of UDP ports that begins with `first` here is reached from outside by one that begins with `told`: members are told ports of
    /// that. With `first` 0 there is no range, and ports are told as they are.
    pub fn advertise_voice(&mut self, first: u16, told: u16) {
        self.voice.shift = if first == 0 { 0 } else { i32::from(told) - i32::from(first) };
    }
}

impl Voice {
    /// The session on this link is over.
    pub fn session_over(&mut self, link: LinkId) {
        if self.seats.contains_key(&link) {
            self.over.push(link);
        }
    }
}

/// The link to management for one question more. Who asks it counts it off when it is answered.
fn may_ask(main: &mut Main) -> Result<LinkId, Fail> {
    let unavailable = || Fail::new(Code::Unavailable, "the management server is not reachable; retry later");
    let link = main.management.link().ok_or_else(unavailable)?;
    if main.voice.asked >= ASKED {
        return Err(Fail::new(Code::Busy, "too many ask for voice; retry later"));
    }
    main.voice.asked += 1;
    Ok(link)
}

/// A session asks to join or leave: what it costs is borne by all who are there.
fn may_move(main: &mut Main, link: LinkId) -> Result<(), Fail> {
    let moves = main.voice.moves.entry(link).or_default();
    *moves = moves.saturating_add(1);
    match *moves > MOVES {
        true => Err(Fail::new(Code::Busy, "at most 20 JOINVOICEs and LEAVEVOICEs a second; retry later")),
        false => Ok(()),
    }
}

/// What the thread of voice tells.
pub fn events(main: &mut Main, ctx: &mut Ctx<Main>, events: Vec<Event>) {
    for event in events {
        match event {
            Event::Opened { channel, port } => join::opened(main, ctx, channel, port),
            Event::Heard { channel, packets } => media::heard(main, ctx, channel, &packets),
            Event::Silent { channel, uid, join } => {
                let place = main.voice.channels.get(&channel).and_then(|entry| entry.here.get(&uid));
                // It may have another place by now.
                if place.is_some_and(|place| place.udp && place.join == join) {
                    here::gone(main, ctx, channel, uid, Some(Why::Silent));
                }
            }
        }
    }
}

/// At the end of an event: sessions that are over leave, and what was said goes out.
pub fn settled(main: &mut Main, ctx: &mut Ctx<Main>) {
    for link in std::mem::take(&mut main.voice.over) {
        here::session_over(main, ctx, link);
    }
    here::tell_gone(main, ctx);
    for channel in std::mem::take(&mut main.voice.dirty) {
        media::flush(main, ctx, channel);
    }
}

/// Once a second: what management believes of members here is put right, channels with nobody here are forgotten, and what was dropped is logged once a minute.
pub fn tick(main: &mut Main, ctx: &mut Ctx<Main>) {
    lists::repair(main, ctx);
    main.voice.moves.clear();
    let voice = &mut main.voice;
    // While management is asked, what it answers may need the list that it has told.
    if voice.asked == 0 && !voice.channels.is_empty() {
        let opening = &voice.opening;
        voice.channels.retain(|channel, entry| !entry.here.is_empty() || opening.contains_key(channel));
    }
    if (ctx.now() / 1_000).is_multiple_of(60) && voice.counts != Counts::default() {
        let Counts { strangers, late, fast, again, old } = std::mem::take(&mut voice.counts);
        log::debug!("voice: dropped {strangers} of strangers, {late} without room, {fast} too fast, {again} repeated, {old} old");
        if old > 0 {
            log::warn!(
                "voice of other servers was dropped, as it is over a minute behind this clock: are the clocks set?"
            );
        }
    }
}
