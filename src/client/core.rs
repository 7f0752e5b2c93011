//! The client as a role: signing on (contract 5), staying signed on, and what comes from the server. It runs on the
//! engine as servers do, so a simulation runs it too.
//!
//! ```text
//! ports ─► management ─► choosing ─► signing on ─► on
//!   ▲   GETPORTS   LOGIN, LISTSERVERS   │ every server tried, VALIDATEKEY, REPORTSERVERS, SIGNON
//!   └────────────── waiting (back-off) ◄┴──────────────── the connection broke, or the attempt failed
//! ```

use crate::wire::hex;
use zeroize::Zeroizing;

use super::received::Received;
use super::Address;
use crate::accounts::keys;
use crate::config::PortKey;
use crate::engine::ctx::Fingerprint;
use crate::engine::rt::channel;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Gone;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::engine::Role;
use crate::engine::Target;
use crate::engine::Verify;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;
use crate::wire::SERVER_STOPS;

/// Main servers that are tried at most, each time.
const CANDIDATES: usize = 64;
/// How long slower servers are waited for once one was reached; milliseconds.
const PATIENCE: u64 = 1_000;
/// The wait before the next attempt, at first and at most; milliseconds.
const BACK_OFF: (u64, u64) = (100, 30_000);

/// What proves who the user is.
#[derive(Clone)]
pub enum Secret {
    /// The password.
    Password(Zeroizing<String>),
    /// A token of an earlier sign-on.
    Token(String),
    /// The seed of a registered Ed25519 key.
    Key(Zeroizing<[u8; 32]>),
}

/// How to sign on.
#[derive(Clone)]
pub struct Options {
    /// Management.
    pub address: Address,
    /// The user's name.
    pub user: String,
    /// What proves it.
    pub secret: Secret,
    /// Whether to come back by itself when the connection breaks.
    pub reconnect: bool,
}

/// What a client tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Signed on, to the server of that id; also after every reconnect.
    SignedOn(String),
    /// RECEIVEMESSAGE.
    Message {
        /// Who sent it.
        sender: String,
        /// Unix milliseconds, by the sender's server.
        sent_at: u64,
        /// What.
        body: Vec<u8>,
    },
    /// SERVERMAPUPDATE: the lines that changed.
    Map(Vec<String>),
    /// The server closes on purpose, and says why.
    Disconnected(String),
    /// The connection broke, or an attempt failed; the next follows after that many milliseconds.
    Lost(String, u64),
    /// The client has given up.
    Failed(Fail),
}

/// Takes events; true: it has enough for now.
pub type Sink = Box<dyn FnMut(Event) -> bool + Send>;

/// What a link is for.
#[derive(Debug, Default)]
pub enum Peer {
    /// Nothing any more.
    #[default]
    Spent,
    /// GETPORTS.
    Public,
    /// LOGIN and the choice of a server.
    Management,
    /// VALIDATEKEY.
    Validation,
    /// A main server that is tried; index into `Core::candidates`.
    Main(usize),
    /// The main server that the client has signed on to.
    On,
}

struct Candidate {
    id: String,
    address: String,
    fingerprint: Fingerprint,
    link: LinkId,
    began: u64,
    /// None: not known yet. Some(None): not reachable. Some(Some(ms)): reachable and the right one.
    result: Option<Option<u64>>,
}

/// The state of a client.
pub struct Core {
    options: Options,
    sink: Sink,
    token: Option<String>,
    /// `client_management` and `validation`.
    ports: Option<(u16, u16)>,
    /// Counts attempts: what an earlier one started does not touch this one.
    attempt: u64,
    failures: u32,
    management: Option<LinkId>,
    validation: Option<LinkId>,
    candidates: Vec<Candidate>,
    reported: bool,
    main: Option<LinkId>,
    was_on: bool,
    stopped: bool,
    waiting: Vec<channel::Sender<Result<(), Fail>>>,
    /// What was received.
    received: Received,
    watched: bool,
}

impl Core {
    /// A client that has not begun.
    pub fn new(options: Options, sink: Sink) -> Core {
        let token = match &options.secret {
            Secret::Token(token) => Some(token.clone()),
            Secret::Password(_) | Secret::Key(_) => None,
        };
        Core {
            options,
            sink,
            token,
            ports: None,
            attempt: 0,
            failures: 0,
            management: None,
            validation: None,
            candidates: Vec::new(),
            reported: false,
            main: None,
            was_on: false,
            stopped: false,
            waiting: Vec::new(),
            received: Received::default(),
            watched: false,
        }
    }

    /// Begins, or begins anew, to sign on.
    pub fn begin(&mut self, ctx: &mut Ctx<Core>) {
        self.attempt += 1;
        self.reported = false;
        let address = &self.options.address;
        let (port, number, peer) = match self.ports {
            None => (PortKey::PublicManagement, address.port, Peer::Public),
            Some((client_management, _)) => (PortKey::ClientManagement, client_management, Peer::Management),
        };
        let target = Target::Net(address.at(number), address.verify());
        let link = ctx.connect(port, target, peer);
        self.management = Some(link);
    }

    /// A channel that tells once how the sign-on went.
    pub fn when_on(&mut self) -> channel::Receiver<Result<(), Fail>> {
        let (send, receive) = channel::bounded(1);
        match (self.main, self.stopped) {
            (Some(_), _) => drop(send.try_send(Ok(()))),
            (None, true) => drop(send.try_send(Err(Fail::new(Code::Unavailable, "the client has given up")))),
            (None, false) => self.waiting.push(send),
        }
        receive
    }

    /// The session token, once there is one.
    pub fn token(&self) -> Option<String> {
        self.token.clone()
    }

    /// Whether the client is signed on.
    pub fn is_on(&self) -> bool {
        self.main.is_some()
    }

    /// Sends a request to the main server; the answer goes to `reply`.
    pub fn request(
        &mut self,
        ctx: &mut Ctx<Core>,
        command: &str,
        fields: &[&[u8]],
        reply: channel::Sender<Result<Vec<u8>, Fail>>,
    ) {
        let Some(link) = self.main else {
            let fail = Fail::new(Code::Unavailable, "not connected at the moment; retry when the connection is back");
            let _ = reply.try_send(Err(fail));
            return;
        };
        self.watched |= command == "GETSERVERMAP";
        ctx.request(link, command, fields, move |_, _, result| {
            let _ = reply.try_send(result.map(|data| data.unescape().into_owned()));
        });
    }

    /// The reader of events has room again.
    pub fn resume(&mut self, ctx: &mut Ctx<Core>) {
        if let Some(link) = self.main {
            ctx.pause(link, false);
        }
    }

    /// Signs off; `done` is told when the server has answered, or is not there.
    pub fn sign_off(&mut self, ctx: &mut Ctx<Core>, done: channel::Sender<()>) {
        self.stopped = true;
        let Some(link) = self.main.take() else {
            let _ = done.try_send(());
            return;
        };
        ctx.request(link, "SIGNOFF", &[], move |_, ctx, _| {
            ctx.close(link, "signed off");
            let _ = done.try_send(());
        });
    }

    /// Ends the client at once: every link closes, no further attempt is made, and no event follows.
    pub fn stop(&mut self, ctx: &mut Ctx<Core>) {
        self.stopped = true;
        self.attempt += 1;
        self.drop_helpers(ctx, None);
        if let Some(link) = self.main.take() {
            ctx.close(link, "the client was dropped");
        }
    }

    fn tell(&mut self, ctx: &mut Ctx<Core>, event: Event) {
        if (self.sink)(event) {
            if let Some(link) = self.main {
                ctx.pause(link, true);
            }
        }
    }

    /// This attempt has failed.
    fn failed(&mut self, ctx: &mut Ctx<Core>, fail: Fail) {
        self.attempt += 1;
        self.main = None;
        self.drop_helpers(ctx, None);
        if self.stopped {
            return;
        }
        let hopeless = matches!(fail.code, Code::Wrong | Code::Denied | Code::BadArgs | Code::Refused);
        // A token that is not good any more: the password, if it is known, is.
        if fail.code == Code::Wrong && self.token.is_some() && !matches!(self.options.secret, Secret::Token(_)) {
            self.token = None;
            return self.begin(ctx);
        }
        if hopeless || !self.options.reconnect || (!self.was_on && fail.code == Code::Limit) {
            self.stopped = true;
            for waiting in self.waiting.drain(..) {
                let _ = waiting.try_send(Err(fail.clone()));
            }
            return self.tell(ctx, Event::Failed(fail));
        }
        self.failures = self.failures.saturating_add(1);
        // Ports may have moved while the server was away.
        if self.failures.is_multiple_of(4) {
            self.ports = None;
        }
        let (first, most) = BACK_OFF;
        let full = first.saturating_mul(1 << self.failures.min(16)).min(most);
        let wait = full / 2 + rand::RngExt::random_range(ctx.rng(), 0..=full / 2);
        // Who waits for the first sign-on hears of the first failure: the server may never be there.
        for waiting in self.waiting.drain(..) {
            let _ = waiting.try_send(Err(fail.clone()));
        }
        self.tell(ctx, Event::Lost(fail.text.into_owned(), wait));
        let attempt = self.attempt;
        ctx.after(wait, move |core, ctx| {
            if core.attempt == attempt && !core.stopped {
                core.begin(ctx);
            }
        });
    }

    /// Closes every link but `keep`.
    fn drop_helpers(&mut self, ctx: &mut Ctx<Core>, keep: Option<LinkId>) {
        let candidates = std::mem::take(&mut self.candidates);
        let links = candidates
            .iter()
            .map(|candidate| candidate.link)
            .chain(self.management.take())
            .chain(self.validation.take());
        for link in links.filter(|link| Some(*link) != keep) {
            if let Some(peer) = ctx.peer(link) {
                *peer = Peer::Spent;
            }
            ctx.close(link, "done");
        }
    }

    /// Wraps a continuation so that it runs only in the attempt that it belongs to, and fails the attempt on FAIL.
    fn step(
        &self,
        then: impl FnOnce(&mut Core, &mut Ctx<Core>, Raw<'_>) -> Result<(), Fail> + Send + 'static,
    ) -> impl FnOnce(&mut Core, &mut Ctx<Core>, Result<Raw<'_>, Fail>) + Send + 'static {
        let attempt = self.attempt;
        move |core, ctx, answer| {
            if core.attempt != attempt {
                return;
            }
            if let Err(fail) = answer.and_then(|data| then(core, ctx, data)) {
                core.failed(ctx, fail);
            }
        }
    }

    fn ask_ports(&mut self, ctx: &mut Ctx<Core>, link: LinkId) {
        let then = self.step(move |core, ctx, data| {
            let text = data.text()?;
            let find = |key: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('|'));
                let missing = || Fail::new(Code::Unavailable, format!("the server does not tell its port {key}"));
                line.and_then(|port| port.parse::<u16>().ok()).ok_or_else(missing)
            };
            core.ports = Some((find("client_management")?, find("validation")?));
            if let Some(peer) = ctx.peer(link) {
                *peer = Peer::Spent;
            }
            ctx.close(link, "done");
            core.begin(ctx);
            Ok(())
        });
        ctx.request(link, "GETPORTS", &[], then);
    }

    fn log_in(&mut self, ctx: &mut Ctx<Core>, link: LinkId) {
        let user = self.options.user.clone();
        let then = self.step(move |core, ctx, data| {
            core.token = Some(data.text()?.into_owned());
            core.list_servers(ctx, link);
            Ok(())
        });
        match (&self.token, &self.options.secret) {
            (Some(token), _) | (None, Secret::Token(token)) => {
                let secret = Zeroizing::new(format!("token:{token}"));
                ctx.request(link, "LOGIN", &[user.as_bytes(), secret.as_bytes()], then);
            }
            (None, Secret::Password(password)) => {
                ctx.request(link, "LOGIN", &[user.as_bytes(), password.as_bytes()], then);
            }
            (None, Secret::Key(seed)) => {
                let seed = seed.clone();
                let prove = self.step(move |core, ctx, data| {
                    let print = ctx.info(link).and_then(|info| info.fingerprint).unwrap_or_default();
                    let text = keys::signed_text(&core.options.user, &hex::encode(&print), &data.text()?);
                    let signature = keys::to_base64(&keys::sign(&seed, &text)?);
                    ctx.request(link, "PROVEKEY", &[signature.as_bytes()], then);
                    Ok(())
                });
                ctx.request(link, "LOGINKEY", &[user.as_bytes()], prove);
            }
        }
    }

    fn list_servers(&mut self, ctx: &mut Ctx<Core>, link: LinkId) {
        let then = self.step(|core, ctx, data| {
            let none = || Fail::new(Code::Unavailable, "no main server is up; retry later");
            let text = data.text()?;
            for line in text.lines().take(CANDIDATES) {
                let [id, _, address, print, _] = line.split('|').collect::<Vec<_>>()[..] else { continue };
                let Some(fingerprint) = hex::decode_32(print) else { continue };
                let (index, began) = (core.candidates.len(), ctx.now());
                let target = Target::Net(address.to_owned(), Verify::Any);
                let link = ctx.connect(PortKey::ClientMain, target, Peer::Main(index));
                let (id, address) = (id.to_owned(), address.to_owned());
                core.candidates.push(Candidate { id, address, fingerprint, link, began, result: None });
            }
            if core.candidates.is_empty() {
                return Err(none());
            }
            if let Some((_, validation)) = core.ports {
                let address = &core.options.address;
                let target = Target::Net(address.at(validation), address.verify());
                core.validation = Some(ctx.connect(PortKey::Validation, target, Peer::Validation));
            }
            Ok(())
        });
        ctx.request(link, "LISTSERVERS", &[], then);
    }

    /// Asks management about the certificates of the servers that were reached and are not checked yet.
    fn validate_keys(&mut self, ctx: &mut Ctx<Core>) {
        let Some(validation) = self.validation.filter(|link| ctx.is_open(*link)) else { return };
        for index in 0..self.candidates.len() {
            let Some(candidate) = self.candidates.get(index).filter(|c| c.result.is_none() && ctx.is_open(c.link))
            else {
                continue;
            };
            let Some(print) = ctx.info(candidate.link).and_then(|info| info.fingerprint) else { continue };
            let millis = ctx.now().saturating_sub(candidate.began);
            if print != candidate.fingerprint {
                log::warn!("{} shows another certificate than management lists", candidate.address);
                self.candidate_done(ctx, index, None);
                continue;
            }
            let (attempt, print) = (self.attempt, hex::encode(&print));
            let id = candidate.id.clone();
            ctx.request(validation, "VALIDATEKEY", &[id.as_bytes(), print.as_bytes()], move |core, ctx, answer| {
                if core.attempt == attempt {
                    core.candidate_done(ctx, index, answer.is_ok().then_some(millis));
                }
            });
        }
    }

    fn candidate_done(&mut self, ctx: &mut Ctx<Core>, index: usize, millis: Option<u64>) {
        let Some(candidate) = self.candidates.get_mut(index).filter(|candidate| candidate.result.is_none()) else {
            return;
        };
        candidate.result = Some(millis);
        let first =
            millis.is_some() && self.candidates.iter().filter(|c| matches!(c.result, Some(Some(_)))).count() == 1;
        if self.candidates.iter().all(|candidate| candidate.result.is_some()) {
            self.report_servers(ctx);
        } else if first {
            let attempt = self.attempt;
            ctx.after(PATIENCE, move |core, ctx| {
                if core.attempt == attempt {
                    core.report_servers(ctx);
                }
            });
        }
    }

    fn report_servers(&mut self, ctx: &mut Ctx<Core>) {
        if std::mem::replace(&mut self.reported, true) {
            return;
        }
        let line = |candidate: &Candidate| match candidate.result {
            Some(Some(millis)) => format!("{}|yes|{millis}", candidate.id),
            _ => format!("{}|no|0", candidate.id),
        };
        let lines: Vec<String> = self.candidates.iter().map(line).collect();
        let then = self.step(|core, ctx, data| {
            let [id, ticket] = data.take()?;
            let (id, ticket) = (id.text()?.into_owned(), ticket.unescape());
            let chosen = core.candidates.iter().find(|candidate| candidate.id == id).map(|candidate| candidate.link);
            let link =
                chosen.ok_or_else(|| Fail::new(Code::Unavailable, "management names a server that it did not list"))?;
            let user = core.options.user.clone();
            let then = core.step(move |core, ctx, _| {
                core.signed_on(ctx, link, &id);
                Ok(())
            });
            ctx.request(link, "SIGNON", &[user.as_bytes(), &ticket], then);
            Ok(())
        });
        let Some(management) = self.management else { return };
        ctx.request(management, "REPORTSERVERS", &[lines.join("\n").as_bytes()], then);
    }

    fn signed_on(&mut self, ctx: &mut Ctx<Core>, link: LinkId, server: &str) {
        self.main = Some(link);
        if let Some(peer) = ctx.peer(link) {
            *peer = Peer::On;
        }
        self.was_on = true;
        self.failures = 0;
        self.drop_helpers(ctx, Some(link));
        self.received.new_connection();
        self.tell(ctx, Event::SignedOn(server.to_owned()));
        for waiting in self.waiting.drain(..) {
            let _ = waiting.try_send(Ok(()));
        }
        if self.watched {
            // Changes of the map are told per connection.
            ctx.request(link, "GETSERVERMAP", &[], |core, ctx, answer| {
                if let Ok(Ok(map)) =
                    answer.map(|data| data.text().map(|text| text.lines().map(str::to_owned).collect()))
                {
                    core.tell(ctx, Event::Map(map));
                }
            });
        }
    }
}

/// The gate of all that a server says unasked: only the one that the client has signed on to, whose certificate
/// management has confirmed. Whoever else is at the end of a link has nothing to tell.
fn signed_on(_: &Core, ctx: &Ctx<Core>, link: LinkId) -> Result<(), Fail> {
    match ctx.peer_ref(link) {
        Some(Peer::On) => Ok(()),
        _ => Err(Fail::new(Code::Denied, "not signed on to this server")),
    }
}

const RECEIVE_MESSAGE: Command<Core> = Command {
    name: "RECEIVEMESSAGE",
    ports: &[PortKey::ClientMain],
    args: "sender LF sent-at LF body",
    gate: signed_on,
    run: receive_message,
};

const SERVER_MAP_UPDATE: Command<Core> = Command {
    name: "SERVERMAPUPDATE",
    ports: &[PortKey::ClientMain],
    args: "changed lines",
    gate: signed_on,
    run: server_map_update,
};

const DISCONNECTED: Command<Core> =
    Command { name: "DISCONNECTED", ports: &[PortKey::ClientMain], args: "reason", gate: signed_on, run: disconnected };

fn receive_message(core: &mut Core, ctx: &mut Ctx<Core>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [sender, sent_at, body] = request.data().take()?;
    if !core.received.is_given_again(request.data()) {
        let (sender, sent_at, body) = (sender.text()?.into_owned(), sent_at.number()?, body.unescape().into_owned());
        core.tell(ctx, Event::Message { sender, sent_at, body });
    }
    Ok(Answer::None)
}

fn server_map_update(core: &mut Core, ctx: &mut Ctx<Core>, request: &Request<'_>) -> Result<Answer, Fail> {
    let lines = request.data().text()?.lines().map(str::to_owned).collect();
    core.tell(ctx, Event::Map(lines));
    Ok(Answer::None)
}

fn disconnected(core: &mut Core, ctx: &mut Ctx<Core>, request: &Request<'_>) -> Result<Answer, Fail> {
    let reason = request.data().text()?.into_owned();
    core.tell(ctx, Event::Disconnected(reason.clone()));
    // When a server stops there will be another, or the same again. Otherwise only a person begins a new session.
    if reason != SERVER_STOPS {
        core.stop(ctx);
        core.tell(ctx, Event::Failed(Fail::new(Code::Refused, reason)));
    }
    Ok(Answer::None)
}

impl Role for Core {
    type Peer = Peer;
    const NAME: &'static str = "client";

    fn commands() -> &'static [Command<Core>] {
        &[RECEIVE_MESSAGE, SERVER_MAP_UPDATE, DISCONNECTED]
    }

    fn opened(&mut self, ctx: &mut Ctx<Core>, link: LinkId) {
        match ctx.peer_ref(link) {
            Some(Peer::Public) => self.ask_ports(ctx, link),
            Some(Peer::Management) => self.log_in(ctx, link),
            Some(Peer::Validation | Peer::Main(_)) => self.validate_keys(ctx),
            Some(Peer::Spent | Peer::On) | None => {}
        }
    }

    fn closed(&mut self, ctx: &mut Ctx<Core>, link: LinkId, gone: Gone<Peer>) {
        if self.main == Some(link) {
            return self.failed(ctx, Fail::new(Code::Unavailable, gone.why));
        }
        match gone.peer {
            Peer::Spent | Peer::On => {}
            Peer::Public | Peer::Management | Peer::Validation if self.main.is_some() => {}
            Peer::Public | Peer::Management | Peer::Validation => {
                self.failed(ctx, Fail::new(Code::Unavailable, gone.why))
            }
            Peer::Main(index) => {
                log::debug!("a main server is not reachable: {}", gone.why);
                if self.candidates.get(index).is_some_and(|candidate| candidate.link == link) {
                    self.candidate_done(ctx, index, None);
                }
            }
        }
    }
}
