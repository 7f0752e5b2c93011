//! The server handshake (contract 2): on a link between two servers, the one that opened it proves to hold the key that the
//! other knows it by. One shared piece for every role and every server-to-server port.
//!
//! ```text
//! opener                                            target
//! HELLO server-id ─────────────────────────────────► knows the key of that id
//!  ◄── OK sealed(opener key, random ‖ target key ‖ binding)
//! checks target key and binding
//! PROVE sealed(target key, random ‖ binding) ──────► compares, in constant time
//!  ◄── OK
//! ```
//! `binding` is the fingerprint of the target's certificate as each side sees it, so what is relayed over another TLS link
//! proves nothing. The handshake proves the opener to the target; the target is proven to the opener by its certificate, so
//! a link is opened with `Verify::Pinned` or `Verify::PublicCa`, never `Verify::Any`.

use std::collections::BTreeMap;

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use rand::Rng;
use subtle::ConstantTimeEq;

use super::command::anyone;
use super::command::Answer;
use super::command::Command;
use super::command::Request;
use super::command::Role;
use super::ctx::Ctx;
use super::ctx::LinkId;
use super::identity::PublicKey;
use super::identity::ServerKey;
use crate::config::PortKey;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// From an open link to a proven one; milliseconds.
const LIMIT: u64 = 10_000;
/// How often overdue handshakes are looked for while there are any; milliseconds.
const SWEEP: u64 = 250;
/// How much of what a stranger says is logged, in characters.
const SHOWN: usize = 64;

/// A role that is a server among servers.
pub trait Member: Role {
    /// The state of its handshakes.
    fn handshakes(&mut self) -> &mut Handshakes;

    /// The same, to look at.
    fn handshakes_ref(&self) -> &Handshakes;

    /// The key that a server is known by which opens links on `port`; None: it has no business there.
    fn key_of(&self, server: &str, port: PortKey) -> Option<PublicKey>;

    /// The handshake is done, on a link that this side accepted or opened. `server` is at the other end, and `key` is its key; on
    /// links within this process both are this process's own.
    fn proven(&mut self, ctx: &mut Ctx<Self>, link: LinkId, server: &str, key: PublicKey);

    /// A handshake that this side began has failed; the link is being closed, and `closed` follows.
    fn refused(&mut self, _ctx: &mut Ctx<Self>, _link: LinkId, _why: &Fail) {}

    /// What this process is called on that port.
    fn name_on(&self, _port: PortKey) -> String {
        self.handshakes_ref().own_id().to_owned()
    }

    /// Whether a handshake begins when HELLO comes, on a link of which `accepted` was not told: most links there are clients'.
    fn begins_with_hello(&self, _ctx: &Ctx<Self>, _link: LinkId) -> bool {
        false
    }

    /// Somebody has called itself `server` on a link that was accepted, and has not proven it.
    fn denied(&mut self, _ctx: &mut Ctx<Self>, _port: PortKey, _server: &str) {}
}

enum Stage {
    /// Accepted; HELLO has not come.
    Silent,
    /// Answered HELLO: what PROVE has to show.
    Offered { server: String, key: PublicKey, secret: [u8; 64] },
    /// This side has sent HELLO or PROVE.
    Opening,
    /// Done.
    Proven { server: String },
}

struct Shake {
    stage: Stage,
    until: u64,
}

/// The handshakes of a role, open and done. One entry a link at most, so the bounds on links bound it.
pub struct Handshakes {
    own_id: String,
    key: ServerKey,
    links: BTreeMap<LinkId, Shake>,
    sweeping: bool,
    /// Links that came before the role knew the keys of the others; None: it does.
    held: Option<Vec<LinkId>>,
}

impl Handshakes {
    /// For a server that calls itself `own_id`. Links that are accepted wait until [`ready`].
    pub fn new(own_id: &str, key: ServerKey) -> Handshakes {
        let held = Some(Vec::new());
        Handshakes { own_id: own_id.to_owned(), key, links: BTreeMap::new(), sweeping: false, held }
    }

    /// The name of this process in the network.
    pub fn own_id(&self) -> &str {
        &self.own_id
    }

    /// This process's key.
    pub fn key(&self) -> &ServerKey {
        &self.key
    }

    /// Who is at the other end of a link; None before the handshake is done.
    pub fn server(&self, link: LinkId) -> Option<&str> {
        match self.links.get(&link) {
            Some(Shake { stage: Stage::Proven { server }, .. }) => Some(server),
            _ => None,
        }
    }

    /// Every link with that server at its other end.
    pub fn links_of<'a>(&'a self, server: &'a str) -> impl Iterator<Item = LinkId> + 'a {
        self.links.keys().copied().filter(move |link| self.server(*link) == Some(server))
    }

    /// The link is gone: to be called by every `Role::closed`. Returns what its peer has called itself, if that is all it did.
    pub fn closed(&mut self, link: LinkId) -> Option<String> {
        match self.links.remove(&link)?.stage {
            Stage::Offered { server, .. } => Some(server),
            Stage::Silent | Stage::Opening | Stage::Proven { .. } => None,
        }
    }
}

impl<R: Role> Ctx<R> {
    /// The link leads to a server of the own network: it is trusted, and has the bounds of internal links.
    pub fn promote(&mut self, link: LinkId) {
        self.trust(link);
        if let Some(entry) = self.slot_mut(link) {
            entry.internal = true;
        }
    }

    /// The link leads to a server of another network: it has signed on, and has bounds of its own.
    pub fn trust_foreign(&mut self, link: LinkId) {
        self.trust(link);
        if let Some(entry) = self.slot_mut(link) {
            entry.foreign = true;
        }
    }
}

/// The keys of the other servers are known from now on; links that came before go on.
pub fn ready<R: Member>(role: &mut R, ctx: &mut Ctx<R>) {
    for link in role.handshakes().held.take().unwrap_or_default() {
        ctx.pause(link, false);
    }
}

/// A link on a server port was accepted: to be called by `Role::opened`.
pub fn accepted<R: Member>(role: &mut R, ctx: &mut Ctx<R>, link: LinkId) {
    begin(role, ctx, link, Stage::Silent);
    let shakes = role.handshakes();
    if shakes.server(link).is_none() {
        if let Some(held) = &mut shakes.held {
            held.push(link);
            ctx.pause(link, true);
        }
    }
}

/// This side opened the link, and it is open now; `Member::proven` or `Member::refused` follows. `server`: who shall be
/// there, for `proven` and the log. `expected`: the key that it shall have; None only where it is learned here, from a link
/// whose certificate was checked.
pub fn open<R: Member>(role: &mut R, ctx: &mut Ctx<R>, link: LinkId, server: &str, expected: Option<PublicKey>) {
    if !begin(role, ctx, link, Stage::Opening) {
        return;
    }
    let port = ctx.info(link).map_or(PortKey::Admin, |info| info.port);
    let (own_id, server) = (role.name_on(port), server.to_owned());
    ctx.request(link, "HELLO", &[own_id.as_bytes()], move |role, ctx, answer| {
        let offer = answer.and_then(|sealed| answer_offer(role, ctx, link, &sealed, expected));
        let (key, proof) = match offer {
            Ok(offer) => offer,
            Err(fail) => return give_up(role, ctx, link, &server, &fail),
        };
        ctx.request(link, "PROVE", &[proof.as_bytes()], move |role, ctx, answer| match answer {
            Ok(_) => done(role, ctx, link, server, key),
            Err(fail) => give_up(role, ctx, link, &server, &fail),
        });
    });
}

/// The gate of what servers send each other.
///
/// # Errors
/// SIGNIN before the handshake is done.
pub fn proven_server<R: Member>(role: &R, _: &Ctx<R>, link: LinkId) -> Result<(), Fail> {
    match role.handshakes_ref().server(link) {
        Some(_) => Ok(()),
        None => Err(Fail::new(Code::SignIn, "the server handshake comes first")),
    }
}

/// The row of HELLO.
pub const fn hello<R: Member>(ports: &'static [PortKey]) -> Command<R> {
    Command { name: "HELLO", ports, args: "server-id", gate: anyone, run: on_hello }
}

/// The row of PROVE.
pub const fn prove<R: Member>(ports: &'static [PortKey]) -> Command<R> {
    Command { name: "PROVE", ports, args: "sealed", gate: anyone, run: on_prove }
}

/// False: nothing is left to do, as the link does not leave the process.
fn begin<R: Member>(role: &mut R, ctx: &mut Ctx<R>, link: LinkId, stage: Stage) -> bool {
    let Some(info) = ctx.info(link) else { return false };
    if info.remote.is_none() {
        let (own_id, key) = (role.handshakes().own_id.clone(), role.handshakes().key.public());
        done(role, ctx, link, own_id, key);
        return false;
    }
    let until = ctx.now().saturating_add(LIMIT);
    role.handshakes().links.insert(link, Shake { stage, until });
    sweep_later(role, ctx);
    true
}

fn done<R: Member>(role: &mut R, ctx: &mut Ctx<R>, link: LinkId, server: String, key: PublicKey) {
    match ctx.info(link).map(|info| info.port) {
        // Of another network.
        Some(PortKey::Realm) => ctx.trust_foreign(link),
        _ => ctx.promote(link),
    }
    let stage = Stage::Proven { server: server.clone() };
    role.handshakes().links.insert(link, Shake { stage, until: u64::MAX });
    role.proven(ctx, link, &server, key);
}

fn sweep_later<R: Member>(role: &mut R, ctx: &mut Ctx<R>) {
    if std::mem::replace(&mut role.handshakes().sweeping, true) {
        return;
    }
    ctx.after(SWEEP, |role, ctx| {
        role.handshakes().sweeping = false;
        let (now, mut open) = (ctx.now(), false);
        for (link, shake) in role.handshakes().links.iter().filter(|(_, shake)| shake.until != u64::MAX) {
            open = true;
            if shake.until > now {
                continue;
            }
            if let Stage::Offered { server, .. } = &shake.stage {
                log_denied(ctx, *link, &shown(Raw(server.as_bytes())), "no proof in time");
            }
            ctx.abort(*link, "the server handshake was not done in time");
        }
        if open {
            sweep_later(role, ctx);
        }
    });
}

fn on_hello<R: Member>(role: &mut R, ctx: &mut Ctx<R>, request: &Request<'_>) -> Result<Answer, Fail> {
    let link = request.link;
    match offer(role, ctx, request) {
        Ok((shake, sealed)) => {
            role.handshakes().links.insert(link, shake);
            Ok(Answer::Data(sealed.into_bytes()))
        }
        Err(why) => Err(deny(role, ctx, link, &shown(request.data()), why)),
    }
}

fn offer<R: Member>(role: &mut R, ctx: &mut Ctx<R>, request: &Request<'_>) -> Result<(Shake, String), &'static str> {
    let begins = role.handshakes().held.is_none() && role.begins_with_hello(ctx, request.link);
    let until = match role.handshakes().links.get(&request.link) {
        Some(Shake { stage: Stage::Silent, until }) => *until,
        None if begins => {
            sweep_later(role, ctx);
            ctx.now().saturating_add(LIMIT)
        }
        _ => return Err("HELLO is not expected on this link"),
    };
    let server = request.data().text().map_err(|_| "its name is no name")?.into_owned();
    let check = if request.port == PortKey::Realm { name::check_realm } else { name::check };
    check(&server).map_err(|_| "its name is no name")?;
    let key = role.key_of(&server, request.port).ok_or("no such server was added for this port")?;
    let binding = ctx.info(request.link).and_then(|info| info.fingerprint);
    let binding = binding.ok_or("the certificate was replaced meanwhile")?;
    let mut random = [0; 32];
    ctx.rng().fill_bytes(&mut random);
    let plain = [random, role.handshakes().key.public().0, binding].concat();
    let sealed = key.seal(ctx.rng(), &plain).ok_or("its key is no key")?;
    let stage = Stage::Offered { server, key, secret: joined(&random, &binding) };
    Ok((Shake { stage, until }, STANDARD.encode(sealed)))
}

fn joined(random: &[u8; 32], binding: &[u8; 32]) -> [u8; 64] {
    std::array::from_fn(|n| if n < 32 { random[n] } else { binding[n - 32] })
}

fn on_prove<R: Member>(role: &mut R, ctx: &mut Ctx<R>, request: &Request<'_>) -> Result<Answer, Fail> {
    let link = request.link;
    // Whatever comes of it, what was offered is used up.
    let offered = role.handshakes().links.remove(&link).map(|shake| shake.stage);
    let Some(Stage::Offered { server, key, secret }) = offered else {
        return Err(deny(role, ctx, link, "", "PROVE is not expected on this link"));
    };
    let shown = shown(Raw(server.as_bytes()));
    let shakes = role.handshakes();
    let plain = STANDARD.decode(request.data().unescape()).ok().and_then(|sealed| shakes.key.open(&sealed));
    let why = match plain {
        None => Some("its proof is not sealed to this server"),
        Some(plain) if !bool::from(plain.as_slice().ct_eq(&secret)) => Some("its proof is wrong"),
        // Removed, or given another key, since HELLO.
        Some(_) if role.key_of(&server, request.port) != Some(key) => Some("it was removed meanwhile"),
        Some(_) => None,
    };
    if let Some(why) = why {
        return Err(deny(role, ctx, link, &shown, why));
    }
    // Ahead of all that the role may have to say.
    ctx.put_answer(link, request.packet.id, request.packet.command, Ok(b""));
    done(role, ctx, link, server, key);
    Ok(Answer::None)
}

/// The same words for every cause; the log has it.
fn deny<R: Member>(role: &mut R, ctx: &mut Ctx<R>, link: LinkId, server: &str, why: &str) -> Fail {
    role.handshakes().links.remove(&link);
    log_denied(ctx, link, server, why);
    ctx.close(link, "refused in the server handshake");
    if let Some(port) = ctx.info(link).map(|info| info.port) {
        role.denied(ctx, port, server);
    }
    Fail::new(Code::Denied, "not a server of this network")
}

fn log_denied<R: Member>(ctx: &Ctx<R>, link: LinkId, server: &str, why: &str) {
    let remote = ctx.info(link).and_then(|info| info.remote).map_or("this process".to_owned(), |ip| ip.to_string());
    let port = ctx.info(link).map_or("", |info| info.port.name());
    log::warn!("{port}: DENIED to {remote}, which calls itself \"{server}\": {why}");
}

/// What a stranger says, for the log: in one line, and not all of it.
fn shown(data: Raw<'_>) -> String {
    let bytes = data.unescape();
    let text: String = String::from_utf8_lossy(bytes.get(..4 * SHOWN).unwrap_or(&bytes)).chars().take(SHOWN).collect();
    text.escape_debug().to_string()
}

/// This side's answer to an offer: the key of the other server, and the proof.
fn answer_offer<R: Member>(
    role: &mut R,
    ctx: &mut Ctx<R>,
    link: LinkId,
    sealed: &Raw<'_>,
    expected: Option<PublicKey>,
) -> Result<(PublicKey, String), Fail> {
    let refused = |why: &'static str| Fail::new(Code::Refused, why);
    let sealed = STANDARD.decode(sealed.unescape()).map_err(|_| refused("its answer to HELLO is not Base64"))?;
    let plain = role.handshakes().key.open(&sealed);
    let plain = plain.ok_or_else(|| refused("it knows this server by another key: compare `convergia key`"))?;
    let part = |at: usize| plain.get(at..at + 32).and_then(|part| <[u8; 32]>::try_from(part).ok());
    let (Some(random), Some(key), Some(binding), 96) = (part(0), part(32), part(64), plain.len()) else {
        return Err(refused("its answer to HELLO has another length"));
    };
    let print = ctx.info(link).and_then(|info| info.fingerprint);
    if print != Some(binding) {
        return Err(refused("somebody stands between this server and it: it shows another certificate"));
    }
    let key = PublicKey::new(key).ok_or_else(|| refused("its key is no key"))?;
    if expected.is_some_and(|expected| expected != key) {
        return Err(refused("it has another key than it is known by"));
    }
    let sealed = key.seal(ctx.rng(), &joined(&random, &binding)).ok_or_else(|| refused("its key is no key"))?;
    Ok((key, STANDARD.encode(sealed)))
}

fn give_up<R: Member>(role: &mut R, ctx: &mut Ctx<R>, link: LinkId, server: &str, fail: &Fail) {
    role.handshakes().links.remove(&link);
    let server = shown(Raw(server.as_bytes()));
    log::warn!("the handshake with {server} failed: {fail}");
    ctx.close(link, "the server handshake failed");
    role.refused(ctx, link, fail);
}
