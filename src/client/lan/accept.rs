//! The side of a direct link that was connected to.

use super::announce::PORTS;
use super::direct::Direct;
use super::direct::Event;
use super::direct::Peer;
use super::direct::LIMIT;
use super::id::Id;
use super::prove::Meeting;
use super::prove::Side;
use super::vouch::Waiting;
use crate::accounts::keys;
use crate::accounts::secret;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Later;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::wire::hex;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

pub(super) const HELLO: Command<Direct> = Command {
    name: "HELLO",
    ports: &PORTS,
    args: "user id LF public key LF user id of the other LF challenge",
    gate: stranger,
    run: hello,
};

pub(super) const PROVE: Command<Direct> =
    Command { name: "PROVE", ports: &PORTS, args: "signature", gate: offered, run: prove };

pub(super) const SEND_MESSAGE: Command<Direct> =
    Command { name: "SENDMESSAGE", ports: &PORTS, args: "recipient LF body", gate: friend, run: send_message };

/// Only who was connected to is asked anything.
fn accepted(ctx: &Ctx<Direct>, link: LinkId) -> bool {
    ctx.info(link).is_some_and(|info| !info.opener)
}

fn stranger(_: &Direct, ctx: &Ctx<Direct>, link: LinkId) -> Result<(), Fail> {
    match ctx.peer_ref(link) {
        Some(Peer::Stranger) if accepted(ctx, link) => Ok(()),
        _ => Err(Fail::new(Code::BadCommand, "HELLO comes once")),
    }
}

fn offered(_: &Direct, ctx: &Ctx<Direct>, link: LinkId) -> Result<(), Fail> {
    match ctx.peer_ref(link) {
        Some(Peer::Offered(_)) => Ok(()),
        _ => Err(Fail::new(Code::BadCommand, "HELLO comes first")),
    }
}

fn friend(_: &Direct, ctx: &Ctx<Direct>, link: LinkId) -> Result<(), Fail> {
    match ctx.peer_ref(link) {
        Some(Peer::Friend { .. }) => Ok(()),
        _ => Err(Fail::new(Code::SignIn, "HELLO and PROVE come first")),
    }
}

/// Somebody has connected.
pub(super) fn opened(ctx: &mut Ctx<Direct>, link: LinkId) {
    ctx.after(LIMIT, move |_, ctx| {
        if !matches!(ctx.peer_ref(link), Some(Peer::Friend { .. })) {
            ctx.abort(link, "it has not proven who it is in time");
        }
    });
}

fn hello(direct: &mut Direct, ctx: &mut Ctx<Direct>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [id, public, target, challenge] = request.data().take()?;
    let bad = || Fail::bad_args("a user id is network::name, a challenge 64 hexadecimal digits");
    let (id, target) = (Id::parse(&id.text()?).ok_or_else(bad)?, Id::parse(&target.text()?).ok_or_else(bad)?);
    let theirs = hex::decode_32(&challenge.text()?).ok_or_else(bad)?;
    let public = keys::parse_public(&public.text()?)?;
    let me = direct.me.as_ref().filter(|me| me.id.is(&target));
    let seed = me.and_then(|me| me.seed.clone());
    let seed = seed.ok_or_else(|| Fail::new(Code::NotFound, "this is somebody else"))?;
    let print = ctx.info(request.link).and_then(|info| info.fingerprint);
    let fingerprint = print.ok_or_else(|| Fail::new(Code::Unavailable, "connect again"))?;
    let challenge = secret::random::<32>(ctx.rng());
    let meeting = Meeting {
        fingerprint,
        ids: [id.to_string(), target.to_string()],
        keys: [public, direct.public],
        challenges: [theirs, challenge],
    };
    let signature = meeting.sign(Side::Accepter, &seed)?;
    let answer = [keys::to_base64(&direct.public), hex::encode(&challenge), signature].join("\n");
    if let Some(peer) = ctx.peer(request.link) {
        *peer = Peer::Offered(Box::new(meeting));
    }
    Ok(Answer::Data(answer.into_bytes()))
}

fn prove(direct: &mut Direct, ctx: &mut Ctx<Direct>, request: &Request<'_>) -> Result<Answer, Fail> {
    let signature = request.data().text()?.into_owned();
    let meeting = match ctx.peer(request.link).map(|peer| std::mem::replace(peer, Peer::Asking)) {
        Some(Peer::Offered(meeting)) => meeting,
        _ => return Err(Fail::new(Code::BadCommand, "HELLO comes first")),
    };
    let [id, _] = &meeting.ids;
    let id = Id::parse(id).filter(|_| meeting.is_signed(Side::Opener, &signature));
    let later = request.later();
    let Some(id) = id else {
        refuse(ctx, &later);
        return Ok(Answer::Later);
    };
    let waiting = Waiting { later, name: id.name().to_owned(), public: meeting.keys[0] };
    direct.decide(ctx, &id, waiting);
    Ok(Answer::Later)
}

/// The keys of who wants to be let in are known, or cannot be.
pub(super) fn decided(direct: &mut Direct, ctx: &mut Ctx<Direct>, waiting: Waiting, believed: bool) {
    let Waiting { later, name, public } = waiting;
    let link = later.link();
    match ctx.peer(link) {
        Some(peer @ Peer::Asking) if believed => *peer = Peer::Friend { name, public },
        _ => return refuse(ctx, &later),
    }
    ctx.trust(link);
    direct.befriend(ctx, link);
    ctx.answer(&later, Ok(Vec::new()));
}

fn refuse(ctx: &mut Ctx<Direct>, later: &Later) {
    ctx.answer(later, Err(Fail::new(Code::Denied, "not a key of this user, as far as is known here")));
    ctx.close(later.link(), "it has not proven who it is");
}

fn send_message(direct: &mut Direct, ctx: &mut Ctx<Direct>, request: &Request<'_>) -> Result<Answer, Fail> {
    let (recipient, body) = request.split()?;
    let recipient = recipient.text()?;
    let mine = direct.me.as_ref().is_some_and(|me| match Id::parse(&recipient) {
        Some(id) => me.id.is(&id),
        None => me.id.folded() == name::fold(&recipient),
    });
    if !mine {
        return Err(Fail::new(Code::NotFound, "this is somebody else"));
    }
    let Some(Peer::Friend { name, .. }) = ctx.peer_ref(request.link) else {
        return Err(Fail::new(Code::SignIn, "HELLO and PROVE come first"));
    };
    let event = Event::Message { sender: name.clone(), sent_at: ctx.now(), body: body.unescape().into_owned() };
    direct.tell(ctx, event);
    Ok(Answer::Ok)
}
