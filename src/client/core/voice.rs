//! What the server says of voice channels, and what is said in them over the link.

use super::told::signed_on;
use super::told::SESSIONS;
use super::Core;
use super::Event;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::wire::Fail;
use crate::wire::Raw;

/// What a voice channel tells its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VoiceEvent {
    /// VOICE: a member says something, over the link.
    Said {
        /// The channel.
        channel: u64,
        /// Who.
        uid: u64,
        /// The data of one datagram.
        data: Vec<u8>,
    },
    /// VOICECAME.
    Came {
        /// The channel.
        channel: u64,
        /// Who.
        uid: u64,
        /// The account's name; empty: it has none.
        user: String,
    },
    /// VOICELEFT.
    Left {
        /// The channel.
        channel: u64,
        /// Who.
        uid: u64,
    },
    /// VOICEENDED: the membership of this session is over.
    Ended {
        /// The channel.
        channel: u64,
        /// Why, in a word.
        why: String,
    },
}

pub(super) const VOICE: Command<Core> =
    Command { name: "VOICE", ports: SESSIONS, args: "channel|uid LF bytes", gate: signed_on, run: said };

pub(super) const CAME: Command<Core> =
    Command { name: "VOICECAME", ports: SESSIONS, args: "channel|uid|user", gate: signed_on, run: came };

pub(super) const LEFT: Command<Core> =
    Command { name: "VOICELEFT", ports: SESSIONS, args: "channel|uid", gate: signed_on, run: left };

pub(super) const ENDED: Command<Core> =
    Command { name: "VOICEENDED", ports: SESSIONS, args: "channel LF why", gate: signed_on, run: ended };

/// `channel|uid`, and what stands behind another `|`.
fn place(text: &str) -> Result<(u64, u64, Option<&str>), Fail> {
    let mut parts = text.splitn(3, '|');
    let mut number = || parts.next().and_then(|part| part.parse().ok());
    let both = number().zip(number());
    let (channel, uid) = both.ok_or_else(|| Fail::bad_args("two numbers are needed"))?;
    Ok((channel, uid, parts.next()))
}

fn said(core: &mut Core, ctx: &mut Ctx<Core>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [head, data] = request.data().take()?;
    let (channel, uid, _) = place(&head.text()?)?;
    core.tell(ctx, Event::Voice(VoiceEvent::Said { channel, uid, data: data.unescape().into_owned() }));
    Ok(Answer::None)
}

fn came(core: &mut Core, ctx: &mut Ctx<Core>, request: &Request<'_>) -> Result<Answer, Fail> {
    let text = request.data().text()?;
    let (channel, uid, user) = place(&text)?;
    let user = user.ok_or_else(|| Fail::bad_args("a name is missing"))?.to_owned();
    core.tell(ctx, Event::Voice(VoiceEvent::Came { channel, uid, user }));
    Ok(Answer::None)
}

fn left(core: &mut Core, ctx: &mut Ctx<Core>, request: &Request<'_>) -> Result<Answer, Fail> {
    let (channel, uid, _) = place(&request.data().text()?)?;
    core.tell(ctx, Event::Voice(VoiceEvent::Left { channel, uid }));
    Ok(Answer::None)
}

fn ended(core: &mut Core, ctx: &mut Ctx<Core>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [channel, why]: [Raw<'_>; 2] = request.data().take()?;
    let (channel, why) = (channel.number()?, why.text()?.into_owned());
    core.tell(ctx, Event::Voice(VoiceEvent::Ended { channel, why }));
    Ok(Answer::None)
}
