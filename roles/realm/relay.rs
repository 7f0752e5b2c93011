//! Streams between realms: RELAY and RELAYED on 63745, as between main servers, but always over the one link between the two.

use super::abroad;
use super::arrived;
use super::links;
use super::links::Other;
use super::links::RealmNo;
use super::queue;
use crate::config::PortKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::relay::packet::Items;
use crate::relay::packet::Routed;
use crate::relay::Incoming;
use crate::relay::Outcome;
use crate::relay::Outgoing;
use crate::relay::Relay;
use crate::relay::Relayed;
use crate::relay::Taken;
use crate::roles::main::mesh::settled;
use crate::roles::main::mesh::settled::Odd;
use crate::roles::main::mesh::settled::Settled;
use crate::roles::main::mesh::stream;
use crate::roles::main::mesh::stream::Ends;
use crate::roles::main::mesh::End;
use crate::roles::main::mesh::Who;
use crate::roles::main::Main;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// Without a link for this long, what waits in a stream is given up; milliseconds.
const GIVE_UP: u64 = 5_000;

/// The streams to and from another realm.
pub struct Streams {
    /// What goes there.
    pub out: Outgoing<Who>,
    /// What comes from there.
    pub inc: Incoming,
    /// It sends on a stream to another start of this realm: it is told so.
    unknown: Option<u64>,
    ask: bool,
    /// Something of what waits in `out` has left this server.
    sent: bool,
    lost_since: Option<u64>,
    dirty: bool,
}

impl Streams {
    /// Empty ones; see `Outgoing::new`.
    pub fn new(number: u64) -> Streams {
        let out = Outgoing::new(number);
        Streams {
            out,
            inc: Incoming::default(),
            unknown: None,
            ask: false,
            sent: false,
            lost_since: None,
            dirty: false,
        }
    }
}

pub const RELAY: Command<Main> = Command {
    name: "RELAY",
    ports: &[PortKey::Realm],
    args: "hops|server|… LF what LF items",
    gate: links::from_realm,
    run: |main, ctx, request| refused(main, ctx, request, take),
};

pub const RELAYED: Command<Main> = Command {
    name: "RELAYED",
    ports: &[PortKey::Realm],
    args: "hops|server|… LF results",
    gate: links::from_realm,
    run: |main, ctx, request| refused(main, ctx, request, acknowledged),
};

type Run = fn(&mut Main, &mut Ctx<Main>, RealmNo, &Request<'_>) -> Result<(), Fail>;

/// Logs what is refused; the realm that sends such things has nothing to lose by it but its link.
fn refused(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>, run: Run) -> Result<Answer, Fail> {
    let realm = links::realm_at(ctx, request.link)?;
    let result = run(main, ctx, realm, request);
    if let (Err(fail), Some(other)) = (&result, links::other(main, realm)) {
        log::warn!("the realm {} sends what is refused: {fail}", other.id);
        ctx.close(request.link, "it sends what no realm may");
    }
    result.map(|()| Answer::None)
}

/// At the end of the event the streams are looked at.
pub fn touch(main: &mut Main, realm: RealmNo) {
    let Some(others) = main.realm.as_mut().map(|realm| &mut realm.others) else { return };
    if let Some(other) = others.get_mut(realm) {
        if !std::mem::replace(&mut other.streams.dirty, true) {
            others.dirty.push(realm);
        }
    }
}

/// At the end of an event: what is new is sent, and what was taken is reported.
pub fn flush(main: &mut Main, ctx: &mut Ctx<Main>) {
    let boot = main.mesh.boot;
    let Some(realm) = &mut main.realm else { return };
    if realm.others.dirty.is_empty() {
        return;
    }
    let (now, own) = (ctx.now(), realm.settings.address.clone());
    let (mut again, mut unlinked) = (Vec::new(), Vec::new());
    for number in std::mem::take(&mut realm.others.dirty) {
        let Some(other) = realm.others.get_mut(number) else { continue };
        other.streams.dirty = false;
        let Some(link) = other.link() else {
            if !other.streams.out.is_idle() {
                other.streams.lost_since = other.streams.lost_since.or(Some(now));
                unlinked.push(number);
            }
            continue;
        };
        other.used = now;
        let Other { id, boot: dest_boot, streams, .. } = other;
        streams.lost_since = None;
        streams.sent |= !streams.out.is_idle();
        let ends = Ends {
            out: &mut streams.out,
            inc: &mut streams.inc,
            unknown: streams.unknown.take(),
            ask: std::mem::take(&mut streams.ask),
            dest: id,
            dest_boot: *dest_boot,
            own: &own,
            own_boot: boot,
            key: None,
        };
        if !stream::flush(ctx, link, ends) {
            again.push(number);
        }
    }
    for number in again {
        touch(main, number);
    }
    for number in unlinked {
        links::wanted(main, ctx, number);
    }
}

fn take(main: &mut Main, ctx: &mut Ctx<Main>, realm: RealmNo, request: &Request<'_>) -> Result<(), Fail> {
    let routed = Routed::parse(request.data())?;
    let (relay, what, items, _) = Relay::parse(&routed)?;
    let (own, boot) = (links::own(main) == relay.dest, main.mesh.boot);
    let Some(other) = links::other(main, realm) else { return Ok(()) };
    if !own || relay.origin != other.id {
        return Err(Fail::new(Code::Denied, "it is not between these two realms"));
    }
    let count = stream::count(items.0)?;
    if relay.boot != boot {
        other.streams.unknown = Some(relay.stream);
        touch(main, realm);
        return Ok(());
    }
    let mut inc = std::mem::take(&mut other.streams.inc);
    let taken = inc.offer(relay.stream, relay.first, count, relay.acked);
    let result = match taken {
        Taken::Nothing => Ok(()),
        Taken::Items { skip } => {
            let items = Items(items.0).skip(usize::try_from(skip).unwrap_or(usize::MAX)).flatten();
            what.text().and_then(|what| match what.split_once('|') {
                Some(("m", columns)) => abroad::messages(main, ctx, realm, columns, items, &mut inc),
                Some(("q", columns)) => arrived::messages(main, ctx, realm, columns, items, &mut inc),
                _ => Err(Fail::bad_args("an item between realms is m|… or q|…")),
            })
        }
    };
    if let Some(other) = links::other(main, realm) {
        other.streams.inc = inc;
    }
    touch(main, realm);
    result
}

/// An item that was open is done; None: it succeeded.
pub fn close(main: &mut Main, realm: RealmNo, stream: u64, number: u64, outcome: Option<Outcome>) {
    let streams = links::other(main, realm).map(|other| &mut other.streams);
    if let Some(streams) = streams.filter(|streams| streams.inc.number() == stream) {
        streams.inc.close(number, outcome);
        touch(main, realm);
    }
}

fn acknowledged(main: &mut Main, ctx: &mut Ctx<Main>, realm: RealmNo, request: &Request<'_>) -> Result<(), Fail> {
    let routed = Routed::parse(request.data())?;
    let (head, results, _) = Relayed::parse(&routed)?;
    let own = links::own(main) == head.dest;
    let now = ctx.now();
    let Some(other) = links::other(main, realm) else { return Ok(()) };
    if !own || head.from != other.id {
        return Err(Fail::new(Code::Denied, "it is not between these two realms"));
    }
    let streams = &mut other.streams;
    if streams.out.number() != head.stream {
        return Ok(());
    }
    if head.unknown {
        other.boot = head.boot;
        give_up(main, ctx, realm, "the recipient's realm was started anew");
        return Ok(());
    }
    let mut settled = Settled::default();
    streams.out.succeeded(now, head.upto, &results, |who, count, ids| settled.add_all(*who, count, ids));
    streams.out.done(now, head.upto, &results, |item| settled.add(item));
    if head.gap {
        streams.out.gap(now);
    }
    streams.sent &= !streams.out.is_idle();
    touch(main, realm);
    settled.carry_out(main, ctx, End::Realm(realm));
    queue::fill(main, ctx, realm);
    Ok(())
}

/// There is a link: what may be lost on an earlier one is sent again, and what waited goes. `anew`: the realm was started anew since.
pub fn linked(main: &mut Main, ctx: &mut Ctx<Main>, realm: RealmNo, anew: bool) {
    let number = main.mesh.stream_number(ctx.now());
    let Some(other) = links::other(main, realm) else { return };
    match (anew, other.streams.sent) {
        (false, _) => other.streams.out.rewind(),
        (true, false) => other.streams.out.begin_anew(number),
        (true, true) => give_up(main, ctx, realm, "the recipient's realm was started anew"),
    }
    queue::fill(main, ctx, realm);
    touch(main, realm);
}

/// The link is gone.
pub fn unlinked(main: &mut Main, realm: RealmNo) {
    touch(main, realm);
}

/// A dial was in vain: what has not left this server waits on disk from now on.
pub fn away(main: &mut Main, ctx: &mut Ctx<Main>, realm: RealmNo) {
    let Some(other) = links::other(main, realm) else { return };
    if !other.streams.sent && !other.streams.out.is_idle() {
        give_up(main, ctx, realm, "the recipient's realm is not reached");
    }
}

/// What is not acknowledged: what has left this server may have arrived or not; what has not waits on disk.
fn give_up(main: &mut Main, ctx: &mut Ctx<Main>, realm: RealmNo, why: &str) {
    let number = main.mesh.stream_number(ctx.now());
    let Some(other) = links::other(main, realm) else { return };
    let sent = std::mem::take(&mut other.streams.sent);
    other.streams.lost_since = None;
    let mut lost = Vec::new();
    other.streams.out.give_up(number, |item| {
        // Those that waited are on disk, and begin anew.
        if !matches!(item.who, Who::Queued(_)) {
            lost.push(Odd::new(&item));
        }
    });
    other.queue.rewind();
    if sent && !lost.is_empty() {
        log::warn!("{} messages for the realm {} are given up: {why}", lost.len(), other.id);
    }
    for odd in lost {
        if !sent && queue::add_item(main, ctx, realm, odd.who, &odd.sent.what, &odd.sent.item, &odd.id) {
            continue;
        }
        let text = match sent {
            true => format!("{why}: the message may have arrived or not"),
            false => why.to_owned(),
        };
        settled::result(main, ctx, End::Realm(realm), odd.failed(Code::Unavailable, text));
    }
}

/// Once a second, for each realm: streams without progress send again, or are given up.
pub fn tick(main: &mut Main, ctx: &mut Ctx<Main>, realm: RealmNo) {
    let now = ctx.now();
    let Some(other) = links::other(main, realm) else { return };
    let (linked, away) = (other.link().is_some(), other.is_away(now));
    let streams = &mut other.streams;
    if streams.inc.is_due() {
        touch(main, realm);
    }
    let Some(streams) = links::other(main, realm).map(|other| &mut other.streams) else { return };
    if streams.out.is_idle() {
        (streams.lost_since, streams.sent) = (None, false);
        streams.out.rest();
        return;
    }
    if !linked {
        let since = *streams.lost_since.get_or_insert(now);
        if now >= since.saturating_add(GIVE_UP) || (away && !streams.sent) {
            return give_up(main, ctx, realm, "the recipient's realm is not reached");
        }
        return links::wanted(main, ctx, realm);
    }
    if streams.out.is_hopeless(now) {
        return give_up(main, ctx, realm, "the recipient's realm does not answer");
    }
    // The one link loses nothing while it stands.
    streams.ask = streams.out.is_stuck(now);
    if streams.ask || streams.out.has_unsent() {
        touch(main, realm);
    }
}

/// The columns of an item: sender, recipient, when it was sent, and one more.
///
/// # Errors
/// BADARGS.
pub fn columns(text: &str) -> Result<(&str, &str, u64, &str), Fail> {
    let [sender, recipient, sent_at, last] = text.split('|').collect::<Vec<_>>()[..] else {
        return Err(Fail::bad_args("messages are sender|recipient|sent-at|, and nothing or a number"));
    };
    crate::wire::name::check_user(sender)?;
    crate::wire::name::check_user(recipient)?;
    Ok((sender, recipient, Raw(sent_at.as_bytes()).number()?, last))
}
