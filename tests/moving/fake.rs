//! A network of one's own: a desk in place of management, and main servers that do with one user's session what contract 9
//! asks of them, as briefly as can be. What they would tell each other stands in `State`, which all of them see; each looks at
//! it now and then. Messages to the user are numbers, and so are the user's own.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

use convergia::config::PortKey;
use convergia::engine::anyone;
use convergia::engine::Answer;
use convergia::engine::Command;
use convergia::engine::Ctx;
use convergia::engine::Gone;
use convergia::engine::Later;
use convergia::engine::LinkId;
use convergia::engine::Request;
use convergia::engine::Role;
use convergia::wire::hex;
use convergia::wire::Code;
use convergia::wire::Fail;
use rand::RngExt;

/// How far a redirect, or a standby, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The target waits for the client.
    Pending,
    /// The target has answered the client.
    Arrived,
    /// Messages go to the target now.
    Moved,
    /// The source has sent all.
    Done,
    Over,
}

pub struct Offer {
    pub source: usize,
    pub target: usize,
    pub id: String,
    pub secret: String,
    pub step: Step,
    /// At the target.
    pub link: Option<LinkId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub server: usize,
    pub link: LinkId,
}

/// How a target behaves when a client comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    #[default]
    Good,
    /// FAIL EXPIRED.
    Refuses,
    /// Never answers.
    Silent,
    /// Moves nothing, as the source.
    Stuck,
}

/// What is known everywhere.
#[derive(Default)]
pub struct State {
    /// Where messages to the user go.
    pub session: Option<Place>,
    /// The number of the next message, and of the last that will be made.
    pub made: u64,
    pub total: u64,
    /// The number of the session's first message; below 0 when some were given again.
    pub first: i64,
    /// What came from the user, in order.
    pub taken: Vec<u64>,
    pub offers: Vec<Offer>,
    /// Of the servers: `host:port`, and fingerprint.
    pub addresses: Vec<(String, [u8; 32])>,
    /// Of `client_management` and `validation`.
    pub ports: (u16, u16),
    /// Messages made at once, at most.
    pub burst: u64,
    pub dead: Vec<bool>,
    pub manner: Manner,
    /// The desk answers UNAVAILABLE.
    pub away: bool,
    /// How many messages a standby gives that the client has already.
    pub overlap: u64,
    pub sign_ons: u64,
    pub standbys: u64,
    /// A standby that the session's server has not told of yet.
    pub attached: Option<usize>,
    /// How many messages were made when it told, of each.
    pub copied_from: Vec<u64>,
    /// What TAKEOVERs told.
    pub received: Vec<u64>,
    /// Request-ids of refused redirects.
    pub refused: Vec<String>,
    /// What a client must not do.
    pub wrong: Vec<String>,
}

pub type World = Arc<Mutex<State>>;

pub fn look(world: &World) -> MutexGuard<'_, State> {
    world.lock().unwrap()
}

/// In place of management.
pub struct Desk(pub World);

fn desk(name: &'static str, port: &'static [PortKey], run: Handler<Desk>) -> Command<Desk> {
    Command { name, ports: port, args: "as in docs/protocol.md", gate: |_, _, _| Ok(()), run }
}

type Handler<R> = fn(&mut R, &mut Ctx<R>, &Request<'_>) -> Result<Answer, Fail>;

fn text(text: &str) -> Result<Answer, Fail> {
    Ok(Answer::Data(text.as_bytes().to_vec()))
}

impl Role for Desk {
    type Peer = ();
    const NAME: &'static str = "desk";

    fn commands() -> &'static [Command<Desk>] {
        static ROWS: std::sync::LazyLock<Vec<Command<Desk>>> = std::sync::LazyLock::new(|| {
            vec![
                Command {
                    args: "",
                    ..desk("GETPORTS", &[PortKey::PublicManagement], |desk, _, _| {
                        let (client_management, validation) = look(&desk.0).ports;
                        text(&format!("client_management|{client_management}\nvalidation|{validation}"))
                    })
                },
                desk("LOGIN", &[PortKey::ClientManagement], |desk, _, _| match look(&desk.0).away {
                    true => Err(Fail::new(Code::Unavailable, "away")),
                    false => text("token"),
                }),
                Command {
                    args: "",
                    ..desk("LISTSERVERS", &[PortKey::ClientManagement], |desk, _, _| {
                        let state = look(&desk.0);
                        let up = (0..state.dead.len()).filter(|n| !state.dead[*n]);
                        let line = |n: usize| {
                            let (address, print) = &state.addresses[n];
                            format!("s{n}|s{n}|{address}|{}|0", hex::encode(print))
                        };
                        text(&up.map(line).collect::<Vec<_>>().join("\n"))
                    })
                },
                desk("REPORTSERVERS", &[PortKey::ClientManagement], |_, ctx, request| {
                    let report = request.data().text()?.into_owned();
                    let reached: Vec<_> = report.lines().filter(|line| line.contains("|yes|")).collect();
                    if reached.is_empty() {
                        return Err(Fail::new(Code::Unavailable, "none"));
                    }
                    let one = reached[ctx.rng().random_range(0..reached.len())];
                    text(&format!("{}\nticket", one.split('|').next().unwrap()))
                }),
                desk("VALIDATEKEY", &[PortKey::Validation], |_, _, _| Ok(Answer::Ok)),
            ]
        });
        &ROWS
    }
}

/// What a link of a server is.
#[derive(Default)]
pub enum At {
    #[default]
    New,
    On,
    /// SIGNOFF is read, of a client that has moved.
    Leaving(Later, usize),
    /// A standby's.
    Attached(usize),
}

#[derive(Default)]
pub struct Peer {
    at: At,
    unanswered: usize,
}

/// A main server.
pub struct Server {
    pub me: usize,
    pub world: World,
    pub links: Vec<LinkId>,
}

const PORT: &[PortKey] = &[PortKey::ClientMain];

fn row(name: &'static str, run: Handler<Server>) -> Command<Server> {
    Command { name, ports: PORT, args: "as in docs/protocol.md", gate: anyone, run }
}

fn expired() -> Fail {
    Fail::new(Code::Expired, "too late")
}

impl Role for Server {
    type Peer = Peer;
    const NAME: &'static str = "server";

    fn commands() -> &'static [Command<Server>] {
        static ROWS: std::sync::LazyLock<Vec<Command<Server>>> = std::sync::LazyLock::new(|| {
            vec![
                row("SIGNON", sign_on),
                row("SENDMESSAGE", send_message),
                Command { args: "", ..row("SIGNOFF", sign_off) },
                row("HANDOVER", handover),
                row("STANDBY", standby),
                row("ATTACH", attach),
                row("TAKEOVER", takeover),
            ]
        });
        &ROWS
    }

    fn start(&mut self, ctx: &mut Ctx<Server>) {
        ctx.after(1, Server::beat);
    }

    fn opened(&mut self, _: &mut Ctx<Server>, link: LinkId) {
        self.links.push(link);
    }

    fn closed(&mut self, _: &mut Ctx<Server>, link: LinkId, _: Gone<Peer>) {
        self.links.retain(|other| *other != link);
        let mut state = look(&self.world);
        if state.session == Some(Place { server: self.me, link }) {
            state.session = None;
        }
    }
}

fn sign_on(server: &mut Server, ctx: &mut Ctx<Server>, request: &Request<'_>) -> Result<Answer, Fail> {
    let mut state = look(&server.world);
    state.session = Some(Place { server: server.me, link: request.link });
    state.first = state.made as i64;
    state.sign_ons += 1;
    ctx.trust(request.link);
    ctx.peer(request.link).unwrap().at = At::On;
    text("session")
}

fn send_message(server: &mut Server, ctx: &mut Ctx<Server>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [_, number] = request.data().take()?;
    let number = number.number()?;
    let peer = ctx.peer(request.link).unwrap();
    match peer.at {
        At::On => look(&server.world).taken.push(number),
        At::Leaving(..) => look(&server.world).wrong.push(format!("{number} came after SIGNOFF")),
        At::New | At::Attached(_) => look(&server.world).wrong.push(format!("{number} came without a session")),
    }
    if ctx.rng().random_bool(0.5) {
        return Ok(Answer::Ok);
    }
    ctx.peer(request.link).unwrap().unanswered += 1;
    let (later, delay) = (request.later(), ctx.rng().random_range(0..40));
    ctx.after(delay, move |_, ctx| {
        if let Some(peer) = ctx.peer(later.link()) {
            peer.unanswered -= 1;
        }
        ctx.answer(&later, Ok(Vec::new()));
    });
    Ok(Answer::Later)
}

fn sign_off(server: &mut Server, ctx: &mut Ctx<Server>, request: &Request<'_>) -> Result<Answer, Fail> {
    let mut state = look(&server.world);
    let away = |offer: &Offer| offer.source == server.me && matches!(offer.step, Step::Arrived | Step::Moved);
    if let Some(n) = state.offers.iter().position(away) {
        ctx.peer(request.link).unwrap().at = At::Leaving(request.later(), n);
        return Ok(Answer::Later);
    }
    state.session = None;
    let link = request.link;
    ctx.after(0, move |_, ctx| ctx.close(link, "signed off"));
    Ok(Answer::Ok)
}

fn find(state: &State, me: usize, request: &Request<'_>) -> Result<usize, Fail> {
    let [id, user, secret] = request.data().take()?;
    let (id, user, secret) = (id.text()?, user.text()?, secret.text()?);
    let mine = |offer: &Offer| offer.id == id && offer.target == me && offer.step == Step::Pending;
    let n = state.offers.iter().position(mine).ok_or_else(expired)?;
    match user == "alice" && state.offers[n].secret == secret {
        true => Ok(n),
        false => Err(Fail::new(Code::Wrong, "no")),
    }
}

fn handover(server: &mut Server, ctx: &mut Ctx<Server>, request: &Request<'_>) -> Result<Answer, Fail> {
    let n = find(&look(&server.world), server.me, request)?;
    let manner = look(&server.world).manner;
    match manner {
        Manner::Refuses => return Err(expired()),
        Manner::Silent => return Ok(Answer::Later),
        Manner::Good | Manner::Stuck => {}
    }
    let (later, delay) = (request.later(), ctx.rng().random_range(0..30));
    ctx.after(delay, move |server, ctx| {
        let mut state = look(&server.world);
        if state.offers[n].step != Step::Pending || !ctx.is_open(later.link()) {
            return ctx.answer(&later, Err(expired()));
        }
        (state.offers[n].step, state.offers[n].link) = (Step::Arrived, Some(later.link()));
        ctx.trust(later.link());
        ctx.peer(later.link()).unwrap().at = At::On;
        ctx.pause(later.link(), true);
        ctx.answer(&later, Ok(b"session".to_vec()));
    });
    Ok(Answer::Later)
}

fn standby(server: &mut Server, _: &mut Ctx<Server>, _: &Request<'_>) -> Result<Answer, Fail> {
    let mut state = look(&server.world);
    let other = (0..state.dead.len()).find(|n| *n != server.me && !state.dead[*n]);
    let target = other.ok_or_else(|| Fail::new(Code::Unavailable, "no other"))?;
    state.standbys += 1;
    let offer = state.offer(server.me, target);
    text(&offer.join("\n"))
}

fn attach(server: &mut Server, ctx: &mut Ctx<Server>, request: &Request<'_>) -> Result<Answer, Fail> {
    let mut state = look(&server.world);
    let n = find(&state, server.me, request)?;
    state.offers[n].step = Step::Over;
    state.attached = Some(n);
    ctx.trust(request.link);
    ctx.peer(request.link).unwrap().at = At::Attached(n);
    Ok(Answer::Ok)
}

fn takeover(server: &mut Server, ctx: &mut Ctx<Server>, request: &Request<'_>) -> Result<Answer, Fail> {
    let At::Attached(n) = ctx.peer(request.link).unwrap().at else { return Err(expired()) };
    let received = request.data().number()?;
    let mut state = look(&server.world);
    state.received.push(received);
    match state.manner {
        Manner::Refuses => return Err(expired()),
        Manner::Silent => return Ok(Answer::Later),
        Manner::Good | Manner::Stuck => {}
    }
    if state.session.is_some_and(|place| place.server != state.offers[n].source) {
        return Err(expired());
    }
    ctx.peer(request.link).unwrap().at = At::On;
    state.session = Some(Place { server: server.me, link: request.link });
    let next = state.first + received as i64;
    if next > state.made as i64 {
        let more = format!("{received} received, and {} sent", state.made as i64 - state.first);
        state.wrong.push(more);
    }
    state.made = (next as u64).saturating_sub(state.overlap.min(received));
    state.first = state.made as i64 - received as i64;
    text("session")
}

impl State {
    /// A new offer, as REDIRECT and STANDBY tell it.
    pub fn offer(&mut self, source: usize, target: usize) -> [String; 6] {
        let (id, secret) = (format!("offer-{}", self.offers.len()), format!("secret-{}", self.offers.len()));
        let fields = [
            id.clone(),
            format!("s{target}"),
            self.addresses[target].0.clone(),
            hex::encode(&self.addresses[target].1),
            "5000".to_owned(),
            secret.clone(),
        ];
        self.offers.push(Offer { source, target, id, secret, step: Step::Pending, link: None });
        fields
    }
}

impl Server {
    /// Asks the client to move.
    pub fn redirect(&mut self, ctx: &mut Ctx<Server>, link: LinkId, target: usize) {
        let fields = look(&self.world).offer(self.me, target);
        self.ask(ctx, link, fields);
    }

    /// The same, with any fields.
    pub fn ask(&mut self, ctx: &mut Ctx<Server>, link: LinkId, fields: [String; 6]) {
        let id = fields[0].clone();
        let fields = fields.each_ref().map(|field| field.as_bytes());
        ctx.request(link, "REDIRECT", &fields, move |server, ctx, answer| {
            let mut state = look(&server.world);
            match answer {
                Err(fail) if fail.code == Code::Refused => {
                    if fail.text != id {
                        state.wrong.push(format!("REFUSED {}, not {id}", fail.text));
                    }
                    state.refused.push(id.clone());
                    let offer = state.offers.iter_mut().find(|offer| offer.id == id);
                    match offer {
                        Some(offer) if offer.step == Step::Moved => ctx.abort(link, "moved already"),
                        Some(offer) => offer.step = Step::Over,
                        None => {}
                    }
                }
                Err(fail) if fail.code == Code::Unavailable => {}
                answer => state.wrong.push(format!("an answer to REDIRECT: {:?}", answer.map(|data| data.0.to_vec()))),
            }
        });
    }

    /// Looks what there is to do.
    fn beat(&mut self, ctx: &mut Ctx<Server>) {
        let world = Arc::clone(&self.world);
        let mut state = look(&world);
        let state = &mut *state;
        let busy = state.made < state.total || state.offers.iter().any(|offer| offer.step != Step::Over);
        let next = ctx.rng().random_range(if busy { 1..8 } else { 20..60 });
        ctx.after(next, Server::beat);
        if let Some(place) = state.session.filter(|place| place.server == self.me) {
            if let Some(n) = state.attached.take_if(|n| state.offers[*n].source == self.me) {
                state.copied_from.push(state.made);
                state.first = state.made as i64;
                ctx.push(place.link, "STANDBYON", &[state.offers[n].id.as_bytes()]).unwrap();
            }
            for _ in 0..ctx.rng().random_range(0..=state.burst) {
                let (sent_at, body) = ((1_000 + state.made).to_string(), state.made.to_string());
                let fields = [b"bob", sent_at.as_bytes(), body.as_bytes()];
                if state.made == state.total || ctx.push(place.link, "RECEIVEMESSAGE", &fields).is_err() {
                    break;
                }
                state.made += 1;
            }
        }
        for (n, offer) in state.offers.iter_mut().enumerate() {
            if offer.source == self.me && state.manner != Manner::Stuck {
                self.as_source(ctx, n, offer, &mut state.session, &state.dead);
            }
            if offer.target == self.me {
                Server::as_target(ctx, offer, &state.dead);
            }
        }
    }

    fn as_source(
        &self,
        ctx: &mut Ctx<Server>,
        n: usize,
        offer: &mut Offer,
        session: &mut Option<Place>,
        dead: &[bool],
    ) {
        let link = self.links.iter().copied().find(
            |link| matches!(ctx.peer_ref(*link), Some(Peer { at: At::Leaving(_, leaving), .. }) if *leaving == n),
        );
        match offer.step {
            Step::Arrived if ctx.rng().random_bool(0.3) && session.is_some_and(|place| place.server == self.me) => {
                offer.step = Step::Moved;
                *session = offer.link.map(|link| Place { server: offer.target, link });
            }
            Step::Moved => {
                let Some(link) = link else { return };
                let Some(peer) = ctx.peer(link) else { return };
                if peer.unanswered > 0 {
                    return;
                }
                let At::Leaving(later, _) = std::mem::take(&mut peer.at) else { return };
                offer.step = if dead[offer.target] { Step::Over } else { Step::Done };
                ctx.answer(&later, Ok(Vec::new()));
                ctx.close(link, "moved");
            }
            _ => {}
        }
    }

    fn as_target(ctx: &mut Ctx<Server>, offer: &mut Offer, dead: &[bool]) {
        let Some(link) = offer.link else { return };
        match offer.step {
            Step::Done => {
                ctx.pause(link, false);
                offer.step = Step::Over;
            }
            // Nobody is left who could say that it is done.
            Step::Moved if dead[offer.source] => {
                ctx.pause(link, false);
                offer.step = Step::Over;
            }
            Step::Arrived if dead[offer.source] => {
                ctx.abort(link, "the source is gone");
                offer.step = Step::Over;
            }
            Step::Over => {}
            Step::Pending | Step::Arrived | Step::Moved => {}
        }
    }
}
