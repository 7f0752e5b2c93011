//! Members come and go: memory is changed, and the servers that have members in the channel are told.

use super::channels::Channel;
use super::members::Member;
use super::users::VoiceUser;
use super::Asked;
use super::Management;
use crate::engine::Ctx;
use crate::wire::Code;
use crate::wire::Fail;

/// Tells one main server something, if it is up.
pub fn tell(management: &Management, ctx: &mut Ctx<Management>, server: &str, command: &str, text: &str) {
    let Some(link) = management.mains.get(server).map(|server| server.link) else { return };
    if ctx.push(link, command, &[text.as_bytes()]).is_err() && ctx.is_open(link) {
        ctx.close(link, "what it is told is not read");
    }
}

/// `server|uid|join|user`
fn line(uid: u64, member: &Member) -> String {
    format!("{}|{uid}|{}|{}", member.server, member.join, member.user)
}

/// Tells a server all members of a channel.
pub fn tell_all(management: &Management, ctx: &mut Ctx<Management>, server: &str, channel: u64) {
    let Some(known) = management.voice.members.channel(channel) else { return };
    let mut text = format!("{channel}|{}", u8::from(known.signed));
    for (uid, member) in &known.members {
        text.push('\n');
        text.push_str(&line(*uid, member));
    }
    tell(management, ctx, server, "VOICEMEMBERS", &text);
}

/// The user is a member at this server now, and nowhere else in this channel. The number of the join.
///
/// # Errors
/// LIMIT; UNAVAILABLE: the server has gone meanwhile.
pub fn join(
    management: &mut Management,
    ctx: &mut Ctx<Management>,
    asked: &Asked,
    user: &VoiceUser,
    channel: &Channel,
    session: bool,
) -> Result<u64, Fail> {
    if management.mains.get(&asked.server).is_none_or(|server| server.link != asked.link) {
        return Err(Fail::new(Code::Unavailable, "the server has gone meanwhile"));
    }
    management.voice.members.room(channel.id, user.uid, &asked.server)?;
    let join = management.voice.joins.next(channel.id, user.uid, &asked.server, session, ctx.now());
    let server = Box::from(asked.server.as_str());
    let (account, name) = (user.account, Box::from(user.name.as_str()));
    let member = Member { server, link: asked.link, join, session, account, user: name };
    come(management, ctx, channel, user.uid, member, true);
    Ok(join)
}

/// A member comes, and leaves where it was. Its own server is told as well if `tell_own`.
pub fn come(
    management: &mut Management,
    ctx: &mut Ctx<Management>,
    channel: &Channel,
    uid: u64,
    member: Member,
    tell_own: bool,
) {
    leave_as(management, ctx, channel.id, uid, "elsewhere");
    let (own, line) = (member.server.clone(), line(uid, &member));
    let before = management.voice.members.servers(channel.id);
    // By another link it may have lost its last member there, and the list, meanwhile.
    let listed = management.voice.members.confirmed(channel.id, &own, member.link);
    management.voice.members.put(channel.id, channel.signed, channel.workspace.as_deref(), uid, member);
    let text = format!("{}|{line}", channel.id);
    for server in before.iter().filter(|server| **server != own || tell_own && listed) {
        tell(management, ctx, server, "VOICECAME", &text);
    }
    if tell_own && !listed {
        tell_all(management, ctx, &own, channel.id);
    }
}

/// A member is none any more, if it was one.
pub fn leave(management: &mut Management, ctx: &mut Ctx<Management>, channel: u64, uid: u64) -> Option<Member> {
    leave_as(management, ctx, channel, uid, "")
}

/// The same; `why`, for its own session: `left` or `elsewhere`. Nothing: somebody else wanted it.
pub fn leave_as(
    management: &mut Management,
    ctx: &mut Ctx<Management>,
    channel: u64,
    uid: u64,
    why: &str,
) -> Option<Member> {
    let member = lost(management, ctx, channel, uid, why)?;
    management.voice.ended.note(&member.server, channel, uid, member.join, ctx.now());
    Some(member)
}

/// The same, of one whose server does not answer: it is a member again when that one is back and says so.
pub fn lost(
    management: &mut Management,
    ctx: &mut Ctx<Management>,
    channel: u64,
    uid: u64,
    why: &str,
) -> Option<Member> {
    let servers = management.voice.members.servers(channel);
    let member = management.voice.members.take(channel, uid)?;
    let text = format!("{channel}|{}|{uid}|{}|{why}", member.server, member.join);
    for server in &servers {
        tell(management, ctx, server, "VOICELEFT", &text);
    }
    Some(member)
}

/// The user is in no channel any more.
pub fn leave_all(management: &mut Management, ctx: &mut Ctx<Management>, uid: u64) {
    for channel in management.voice.members.of(uid) {
        leave(management, ctx, channel, uid);
    }
}

/// The database does not have the channel any more.
pub fn ended(management: &mut Management, ctx: &mut Ctx<Management>, channel: u64) {
    let members: Vec<u64> =
        management.voice.members.channel(channel).into_iter().flat_map(|c| c.members.keys().copied()).collect();
    for uid in members {
        management.voice.members.take(channel, uid);
    }
    let servers: Vec<String> = management.mains.keys().cloned().collect();
    for server in servers {
        tell(management, ctx, &server, "VOICEENDED", &channel.to_string());
    }
}
