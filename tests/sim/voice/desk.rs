//! Stands where main servers look for management, passes everything on, and keeps the members of voice channels itself: so a test says who
//! is kicked, and what a server is told.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;

use convergia::config::PortKey;
use convergia::engine::anyone;
use convergia::engine::Answer;
use convergia::engine::Command;
use convergia::engine::Ctx;
use convergia::engine::Gone;
use convergia::engine::LinkId;
use convergia::engine::Request;
use convergia::engine::Role;
use convergia::engine::Target;
use convergia::wire::Code;
use convergia::wire::Fail;

use crate::network::HIDDEN;

/// The channel that there is, by this name too. It is signed.
pub const CHANNEL: u64 = 77;
pub const NAME: &str = "talk";
/// Another, which is not.
pub const PLAIN: u64 = 78;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub server: String,
    pub join: u64,
    pub user: String,
}

#[derive(Default)]
pub struct Desk {
    other: HashMap<LinkId, LinkId>,
    /// Main servers by their links.
    pub mains: HashMap<LinkId, String>,
    /// Channel and uid.
    pub members: BTreeMap<(u64, u64), Member>,
    joins: u64,
    /// DATA of VOICEGONE and VOICEHERE, with the server.
    pub told: Vec<(String, String, String)>,
    /// What servers have said in pieces of VOICEHERE so far.
    said: HashMap<String, String>,
    /// What VOICECONTROL is answered, and what it brought.
    pub control: String,
    pub controlled: Vec<Vec<u8>>,
}

/// The uid of an account.
pub fn uid(account: u64) -> u64 {
    account << 32 | 5
}

impl Desk {
    fn link(&self, server: &str) -> Option<LinkId> {
        self.mains.iter().find(|(_, id)| *id == server).map(|(link, _)| *link)
    }

    fn servers(&self, channel: u64) -> BTreeSet<String> {
        let members = self.members.range((channel, 0)..=(channel, u64::MAX));
        members.map(|(_, member)| member.server.clone()).collect()
    }

    fn tell(&self, ctx: &mut Ctx<Desk>, server: &str, command: &str, text: &str) {
        if let Some(link) = self.link(server) {
            ctx.push(link, command, &[text.as_bytes()]).expect("room");
        }
    }

    fn tell_all(&self, ctx: &mut Ctx<Desk>, server: &str, channel: u64) {
        let mut text = format!("{channel}|{}", u8::from(channel != PLAIN));
        for ((_, uid), member) in self.members.range((channel, 0)..=(channel, u64::MAX)) {
            text += &format!("\n{}|{uid}|{}|{}", member.server, member.join, member.user);
        }
        self.tell(ctx, server, "VOICEMEMBERS", &text);
    }

    /// A member comes, and leaves where it was.
    pub fn join(&mut self, ctx: &mut Ctx<Desk>, channel: u64, uid: u64, server: &str, user: &str) -> u64 {
        self.leave(ctx, channel, uid, "elsewhere");
        let before = self.servers(channel);
        self.joins += 1;
        let (join, server) = (self.joins, server.to_owned());
        self.members.insert((channel, uid), Member { server: server.clone(), join, user: user.to_owned() });
        for at in &before {
            self.tell(ctx, at, "VOICECAME", &format!("{channel}|{server}|{uid}|{join}|{user}"));
        }
        if !before.contains(&server) {
            self.tell_all(ctx, &server, channel);
        }
        join
    }

    pub fn leave(&mut self, ctx: &mut Ctx<Desk>, channel: u64, uid: u64, why: &str) -> bool {
        let servers = self.servers(channel);
        let Some(member) = self.members.remove(&(channel, uid)) else { return false };
        for at in servers {
            let text = format!("{channel}|{}|{uid}|{}|{why}", member.server, member.join);
            self.tell(ctx, &at, "VOICELEFT", &text);
        }
        true
    }

    pub fn end(&mut self, ctx: &mut Ctx<Desk>, channel: u64) {
        self.members.retain(|(at, _), _| *at != channel);
        for server in self.mains.values() {
            self.tell(ctx, server, "VOICEENDED", &channel.to_string());
        }
    }
}

fn pass(desk: &mut Desk, ctx: &mut Ctx<Desk>, request: &Request<'_>) -> Result<Answer, Fail> {
    let name = String::from_utf8_lossy(request.packet.command).into_owned();
    let Some(other) = desk.other.get(&request.link).copied() else { return Ok(Answer::None) };
    if name == "MAINSERVER" {
        let id = request.data().split_field().0.text()?.into_owned();
        desk.mains.insert(request.link, id);
    }
    let data = request.data().unescape().into_owned();
    let fields: &[&[u8]] = if data.is_empty() { &[] } else { &[&data] };
    if ["ROUTES", "SERVERS", "MAPCHANGED", "KEEPERS", "BLOCKED", "TRAFFIC"].contains(&&*name) {
        ctx.push(other, &name, fields)?;
        return Ok(Answer::None);
    }
    let later = request.later();
    ctx.request(other, &name, fields, move |_, ctx, answer| {
        ctx.answer(&later, answer.map(|data| data.unescape().into_owned()));
    });
    Ok(Answer::Later)
}

fn asked_for(desk: &mut Desk, ctx: &mut Ctx<Desk>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [account, command, data] = request.data().take()?;
    let (account, command) = (account.number()?, command.text()?.into_owned());
    let (first, rest) = data.split_field();
    let channel = match &*first.text()? {
        NAME => CHANNEL,
        other => other.parse().ok().filter(|id| [CHANNEL, PLAIN].contains(id)).unwrap_or(0),
    };
    if channel == 0 {
        return Err(Fail::new(Code::NotFound, "there is no such channel"));
    }
    let server = desk.mains.get(&request.link).cloned().unwrap_or_default();
    match command.as_str() {
        "JOINVOICE" => {
            let user = format!("user-{account}");
            let join = desk.join(ctx, channel, uid(account), &server, &user);
            let mut text = format!("{channel}|{}|{join}|{}", uid(account), u8::from(channel != PLAIN));
            for ((_, uid), member) in desk.members.range((channel, 0)..=(channel, u64::MAX)) {
                text += &format!("\n{uid}|{}", member.user);
            }
            Ok(Answer::Data(text.into_bytes()))
        }
        "KICKVOICE" => {
            let account = rest.unwrap_or_default().text()?.trim_start_matches("user-").parse().unwrap_or(0);
            desk.leave(ctx, channel, uid(account), "kicked");
            Ok(Answer::Ok)
        }
        "LEAVEVOICE" => match desk.leave(ctx, channel, uid(account), "left") {
            true => Ok(Answer::Ok),
            false => Err(Fail::new(Code::NotFound, "no member")),
        },
        "DELETEVOICE" => {
            desk.end(ctx, channel);
            Ok(Answer::Ok)
        }
        other => Ok(Answer::Data(other.as_bytes().to_vec())),
    }
}

fn told(desk: &mut Desk, ctx: &mut Ctx<Desk>, request: &Request<'_>) -> Result<Answer, Fail> {
    let server = desk.mains.get(&request.link).cloned().unwrap_or_default();
    let command = String::from_utf8_lossy(request.packet.command).into_owned();
    let mut text = request.data().text()?.into_owned();
    if command == "VOICEHERE" {
        desk.told.push((server.clone(), command.clone(), text.clone()));
        let said = desk.said.entry(server.clone()).or_default();
        if let Some(rest) = text.strip_prefix("more") {
            said.push_str(rest);
            return Ok(Answer::Ok);
        }
        text = format!("{}\n{text}", std::mem::take(said)).trim().to_owned();
    }
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('|').collect()).collect();
    let number = |text: &str| text.parse::<u64>().expect("a number");
    if command == "VOICEGONE" {
        for line in &lines {
            let (channel, uid, join) = (number(line[0]), number(line[1]), number(line[2]));
            if desk.members.get(&(channel, uid)).is_some_and(|member| member.join == join) {
                desk.leave(ctx, channel, uid, "");
            }
        }
        desk.told.push((server, command, text));
        return Ok(Answer::None);
    }
    let here = |channel: u64, uid: u64| lines.iter().any(|line| (number(line[0]), number(line[1])) == (channel, uid));
    let gone = desk.members.iter().filter(|((channel, uid), member)| member.server == server && !here(*channel, *uid));
    let gone: Vec<(u64, u64)> = gone.map(|(at, _)| *at).collect();
    for (channel, uid) in gone {
        desk.leave(ctx, channel, uid, "");
    }
    let channels: BTreeSet<u64> = lines.iter().map(|line| number(line[0])).collect();
    for channel in channels.into_iter().filter(|channel| !desk.servers(*channel).is_empty()) {
        desk.tell_all(ctx, &server, channel);
    }
    Ok(Answer::Ok)
}

fn controlled(desk: &mut Desk, _: &mut Ctx<Desk>, request: &Request<'_>) -> Result<Answer, Fail> {
    desk.controlled.push(request.data().unescape().into_owned());
    match desk.control.as_str() {
        "" => Err(Fail::new(Code::Denied, "not allowed")),
        answer => Ok(Answer::Data(answer.as_bytes().to_vec())),
    }
}

const fn row(
    name: &'static str,
    run: fn(&mut Desk, &mut Ctx<Desk>, &Request<'_>) -> Result<Answer, Fail>,
) -> Command<Desk> {
    Command { name, ports: &[PortKey::MainManagement], args: "any", gate: anyone, run }
}

impl Role for Desk {
    type Peer = ();
    const NAME: &'static str = "desk";

    fn commands() -> &'static [Command<Desk>] {
        const {
            &[
                row("VOICEFOR", asked_for),
                row("VOICEGONE", told),
                row("VOICEHERE", told),
                row("VOICECONTROL", controlled),
                row("MAINSERVER", pass),
                row("PRESENCE", pass),
                row("LOOKUP", pass),
                row("LINKS", pass),
                row("PORTION", pass),
                row("MOVE", pass),
                row("KEEPS", pass),
                row("KEEPERS", pass),
                row("TALKS", pass),
                row("TRAFFIC", pass),
                row("DRAINING", pass),
                row("WATCHMAP", pass),
                row("SYNCMAP", pass),
                row("SERVERS", pass),
                row("ROUTES", pass),
                row("BLOCKED", pass),
                row("MAPCHANGED", pass),
                row("DRAIN", pass),
                row("MOVECLIENTS", pass),
                row("DISCONNECT", pass),
            ]
        }
    }

    fn opened(&mut self, ctx: &mut Ctx<Desk>, link: LinkId) {
        match self.other.get(&link) {
            Some(main) => ctx.pause(*main, false),
            None => {
                let other = ctx.connect(PortKey::MainManagement, Target::Local(HIDDEN), ());
                self.other.extend([(link, other), (other, link)]);
                ctx.pause(link, true);
            }
        }
    }

    fn closed(&mut self, ctx: &mut Ctx<Desk>, link: LinkId, _: Gone<()>) {
        self.mains.remove(&link);
        if let Some(other) = self.other.remove(&link) {
            ctx.close(other, "the other end is gone");
        }
    }
}
