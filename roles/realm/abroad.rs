//! Messages to users of other realms, and from them.

use super::arrived;
use super::blocks;
use super::directory;
use super::links;
use super::links::RealmNo;
use super::queue;
use super::relay;
use crate::engine::Answer;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::relay::Incoming;
use crate::relay::Outcome;
use crate::roles::main::deliver;
use crate::roles::main::hold::Letter;
use crate::roles::main::marks;
use crate::roles::main::mesh::joint::Asker;
use crate::roles::main::mesh::settled;
use crate::roles::main::post;
use crate::roles::main::post::Sent;
use crate::roles::main::Main;
use crate::route::ServerNo;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

pub use super::relay::close;

/// A message that leaves this realm, without its body.
#[derive(Clone, Debug)]
pub struct Abroad {
    /// The recipient's realm, in lower case.
    pub realm: String,
    /// The recipient.
    pub user: String,
    /// Who sends it.
    pub sender: String,
    /// When it was accepted.
    pub sent_at: u64,
}

/// What a session's last message to another realm was.
#[derive(Debug)]
pub struct Last {
    /// The recipient, as it stood on the wire.
    pub to: Vec<u8>,
    realm: RealmNo,
    user: String,
    sender: String,
    /// As an item, and the time in it.
    what: Vec<u8>,
    time: u64,
}

fn busy() -> Fail {
    Fail::new(Code::Busy, "too much waits to go to that realm; retry later")
}

fn id_of<'a>(request: &Request<'a>) -> &'a [u8] {
    if request.packet.id == b"0" {
        b""
    } else {
        request.packet.id
    }
}

/// SENDMESSAGE to the same user of another realm as the one before.
///
/// # Errors
/// BUSY, and as [`send`].
pub fn again(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    request: &Request<'_>,
    index: usize,
    body: Raw<'_>,
) -> Result<Answer, Fail> {
    let now = ctx.now();
    let Main { sessions, realm: own, .. } = main;
    let Some(Some(session)) = sessions.get_mut(index) else { return Err(Fail::internal("no session")) };
    let last = session.abroad.as_mut().ok_or_else(|| Fail::internal("no last message"))?;
    let realm = last.realm;
    let other = own.as_mut().and_then(|own| own.others.get_mut(realm));
    let other = other.filter(|other| other.link().is_some() && !other.queue.waits());
    let Some(other) = other else {
        let asker = Asker::Session { index, link: request.link, id: id_of(request).to_vec() };
        let message =
            Abroad { realm: String::new(), user: last.user.clone(), sender: last.sender.clone(), sent_at: now };
        to_known(main, ctx, realm, &message, body.0, &asker)?;
        post::under_way(&mut main.sessions, &asker);
        return Ok(Answer::None);
    };
    if other.streams.out.is_full() {
        return Err(busy());
    }
    if last.time != now {
        post::what(&mut last.what, &last.sender, &last.user, now, "");
        last.time = now;
    }
    session.relaying += 1;
    let who = crate::roles::main::mesh::Who::Session { index, link: request.link };
    other.streams.out.push(0, &last.what, who, id_of(request), body.0);
    relay::touch(main, realm);
    Ok(Answer::None)
}

/// SENDMESSAGE to `realm::user`, another than before.
///
/// # Errors
/// BADARGS, SIGNIN, and as [`send`].
pub fn first(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    request: &Request<'_>,
    index: usize,
    to: Raw<'_>,
    body: Raw<'_>,
) -> Result<Answer, Fail> {
    let text = to.text()?;
    let none = || Fail::bad_args("a recipient is user, or realm::user");
    let (realm, user) = name::of_realm(&text)?.ok_or_else(none)?;
    let link = request.link;
    let asker = Asker::Session { index, link, id: id_of(request).to_vec() };
    let sender = post::sender_of(main, index, link).ok_or_else(|| Fail::new(Code::SignIn, "sign on first"))?;
    let sent_at = ctx.now();
    let message = Abroad { realm, user: user.to_owned(), sender, sent_at };
    send(main, ctx, &message, body.0, &asker)?;
    post::under_way(&mut main.sessions, &asker);
    if let (Some(realm), Some(Some(session))) = (links::find(main, &message.realm), main.sessions.get_mut(index)) {
        let Abroad { user, sender, .. } = message;
        let last = Last { to: to.0.to_vec(), realm, user, sender, what: Vec::new(), time: u64::MAX };
        session.abroad = Some(Box::new(last));
    }
    Ok(Answer::None)
}

/// Sends a message to another realm. Whoever asks is told later.
///
/// # Errors
/// NOTFOUND, DENIED, BUSY, UNAVAILABLE: to be told to the sender; nothing was sent.
pub fn send(main: &mut Main, ctx: &mut Ctx<Main>, message: &Abroad, body: &[u8], asker: &Asker) -> Result<(), Fail> {
    if main.realm.is_none() {
        return through(main, message, body, asker);
    }
    if let Some(realm) = links::find(main, &message.realm) {
        return to_known(main, ctx, realm, message, body, asker);
    }
    if blocks::is_blocked(main, &message.realm, &message.user) {
        return Err(blocks::denied());
    }
    let (message, body, asker) = (message.clone(), body.to_vec(), asker.clone());
    directory::find(main, ctx, &message.realm.clone(), move |main, ctx, found| {
        let none = || Fail::new(Code::NotFound, "no such realm is in the directory");
        let sent = found.and_then(|()| {
            let realm = links::find(main, &message.realm).ok_or_else(none)?;
            to_known(main, ctx, realm, &message, &body, &asker)
        });
        if let Err(fail) = sent {
            let fail = Outcome::Fail(fail.code, fail.text.into_owned());
            settled::tell_asker(main, ctx, asker, Some(fail));
        }
    });
    Ok(())
}

/// A main server without a realm gives it to one of its network that has one.
fn through(main: &mut Main, message: &Abroad, body: &[u8], asker: &Asker) -> Result<(), Fail> {
    let plays = |server: &ServerNo| {
        *server != main.own
            && main.mesh.get(*server).is_some_and(|entry| entry.facts.up && !entry.facts.realm.is_empty())
    };
    let server = main.mesh.numbers().find(plays);
    let none = || Fail::new(Code::NotFound, "this network has no realm, so it knows no other realms");
    let server = server.ok_or_else(none)?;
    let (who, id) = post::who(main, asker);
    let recipient = format!("{}::{}", message.realm, message.user);
    let mut kind = Vec::new();
    post::what(&mut kind, &message.sender, &recipient, message.sent_at, "");
    post::push(main, server, &kind, who, &id, body).inspect_err(|_| post::not_sent(main, who))
}

fn to_known(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    realm: RealmNo,
    message: &Abroad,
    body: &[u8],
    asker: &Asker,
) -> Result<(), Fail> {
    let now = ctx.now();
    let Some(other) = links::other(main, realm) else { return Err(Fail::internal("no such realm")) };
    let (waits, full) = (other.queue.waits() || other.is_away(now), other.streams.out.is_full());
    let id = other.id.clone();
    if blocks::is_blocked(main, &id, &message.user) {
        return Err(blocks::denied());
    }
    if waits {
        return queue::add(main, ctx, realm, message, body, asker);
    }
    if full {
        return Err(busy());
    }
    let (who, id) = post::who(main, asker);
    let mut kind = Vec::new();
    post::what(&mut kind, &message.sender, &message.user, message.sent_at, "");
    if let Some(other) = links::other(main, realm) {
        other.streams.out.push(0, &kind, who, &id, body);
    }
    relay::touch(main, realm);
    Ok(())
}

/// Messages of users of another main server, which has no realm, to another one.
///
/// # Errors
/// None.
pub fn from_server<'a>(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    origin: ServerNo,
    to: &Abroad,
    foreign: bool,
    items: impl Iterator<Item = &'a [u8]>,
    inc: &mut Incoming,
) -> Result<(), Fail> {
    let may = !foreign && main.realm.is_some() && deliver::may_send(main, origin, &to.sender, false);
    for item in items {
        let asker = Asker::Item { origin, stream: inc.number(), number: inc.next_number() };
        let sent = match may {
            true if to.realm == links::own(main) => {
                let (sender, recipient) = (Some(Box::from(&*to.sender)), Box::from(&*to.user));
                let letter = Letter { asker, sender, recipient, sent_at: to.sent_at, body: item.to_vec() };
                post::send(main, ctx, &letter)
            }
            true => send(main, ctx, to, item, &asker).map(|()| Sent::Waits),
            false => Err(Fail::new(Code::Denied, "this server takes no such messages from there")),
        };
        took(inc, sent);
    }
    Ok(())
}

/// The next item was taken, and that became of it.
fn took(inc: &mut Incoming, sent: Result<Sent, Fail>) {
    match sent {
        Ok(Sent::Done) => drop(inc.take(None)),
        Ok(Sent::Waits) => {
            let number = inc.take(None);
            inc.open(number);
        }
        Err(fail) => drop(inc.take(Some(Outcome::Fail(fail.code, fail.text.into_owned())))),
    }
}

/// Messages from another realm. `columns`: `sender|recipient|sent-at|`.
///
/// # Errors
/// BADARGS: they are not that. Nothing was taken then.
pub fn messages<'a>(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    realm: RealmNo,
    columns: &str,
    items: impl Iterator<Item = &'a [u8]>,
    inc: &mut Incoming,
) -> Result<(), Fail> {
    let (sender, recipient, sent_at, _) = relay::columns(columns)?;
    let Some(id) = links::other(main, realm).map(|other| other.id.clone()) else { return Ok(()) };
    if blocks::is_blocked(main, &id, sender) {
        items.for_each(|_| took(inc, Err(blocks::denied())));
        return Ok(());
    }
    // The realm has proven who it is; for its users it vouches.
    let sender = format!("{id}::{sender}");
    arrived::hurry(main, ctx, recipient);
    let user = main.table.find(recipient);
    let entry = user.and_then(|user| main.table.get(user));
    let plain = entry.is_some_and(|entry| {
        let special = marks::ELSEWHERE | marks::HELD | marks::SPECIAL;
        entry.mark & special == 0 && !entry.here.is_empty() && !main.holds.is_suspended()
    });
    if plain {
        deliver::plain(main, ctx, user, &sender, sent_at, items, inc);
        return Ok(());
    }
    for item in items {
        let asker = Asker::RealmItem { realm, stream: inc.number(), number: inc.next_number() };
        let (shown, recipient) = (Some(Box::from(&*sender)), Box::from(recipient));
        let letter = Letter { asker, sender: shown, recipient, sent_at, body: item.to_vec() };
        let sent = post::send(main, ctx, &letter);
        took(inc, sent);
    }
    Ok(())
}
