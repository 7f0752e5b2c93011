//! The client as a role: signing on (contract 5), staying signed on, and what comes from the server. It runs on the
//! engine as servers do, so a simulation runs it too.
//!
//! ```text
//! ports ─► management ─► choosing ─► signing on ─► on ◄──────────── taking over, moving
//!   ▲   GETPORTS   LOGIN, LISTSERVERS   │ every server tried,   │   ▲             ▲
//!   │                                   │ VALIDATEKEY,          │   └─────────────┘
//!   │                                   │ REPORTSERVERS, SIGNON │ TAKEOVER on the standby link; REDIRECT
//!   └────────────── waiting (back-off) ◄┴───────────────────────┴ the connection broke, or the attempt failed
//! ```
//! `signing_on` is the way to "on", `moving` goes on at another server because this one asks for it, `standby` because this one
//! is gone, `told` is what a server says unasked.

mod moving;
mod signing_on;
mod standby;
mod told;
mod voice;

use std::net::IpAddr;

use zeroize::Zeroizing;

use super::received::Received;
use super::Address;
use crate::engine::rt::channel;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Gone;
use crate::engine::LinkId;
use crate::engine::Role;
use crate::wire::raw;
use crate::wire::raw::SEPARATOR;
use crate::wire::Blob;
use crate::wire::Body;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;
use moving::Moving;
use signing_on::Candidate;
use standby::Standby;
use standby::AT_ONCE;
pub use voice::VoiceEvent;

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

/// The words of the FAIL UNAVAILABLE of a request that was not sent, as there was no connection.
pub(super) const NOT_CONNECTED: &str = "not connected at the moment; retry when the connection is back";
/// The same of one that may have been carried out, as the connection broke before its answer.
pub(crate) const BROKE: &str = "the connection broke before the answer; it may have arrived";

/// How to sign on. `Options { reconnect: false, ..Options::new(address, user, secret) }`
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
    /// Whether to go to another server when the one that the client is signed on to asks for it.
    pub redirects: bool,
    /// Whether to keep a second, silent link to another server, to go on there when the first dies without a word.
    pub redundant: bool,
    /// How long the first sign-on is tried again while a server that is needed is away; milliseconds, `u64::MAX`: as long as the
    /// client lives.
    pub patience: u64,
}

impl Options {
    /// Comes back by itself, follows redirects, keeps no second link, and does not wait for the first sign-on.
    pub fn new(address: Address, user: String, secret: Secret) -> Options {
        Options { address, user, secret, reconnect: true, redirects: true, redundant: false, patience: 0 }
    }
}

/// What a client tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Signed on, to the server of that id; also after every reconnect.
    SignedOn(String),
    /// The session goes on at the server of that id, without a gap: it was moved there, or the one before it died.
    Moved(String),
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
    /// OFFLINEMESSAGEAVAILABLE: a message waits in the storage.
    OfflineMessage {
        /// What READOFFLINEMESSAGE takes.
        id: String,
        /// Who sent it.
        sender: String,
        /// Bytes.
        size: u64,
        /// Unix milliseconds.
        sent_at: u64,
    },
    /// WORKSPACECHANGED: a change of a workspace that the user takes part in.
    WorkspaceChange {
        /// The workspace.
        workspace: String,
        /// The number of the change.
        seq: u64,
        /// Who made it.
        author: String,
        /// What.
        body: Vec<u8>,
    },
    /// VOICE, and what else a voice channel tells.
    Voice(VoiceEvent),
    /// NOTICE: the operator says something to everybody.
    Notice {
        /// Unix milliseconds.
        sent_at: u64,
        /// What.
        text: String,
    },
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
    /// The main server that a move goes to.
    MoveTo,
    /// The main server that would take over.
    Standby,
    /// The main server that the client has signed on to.
    On,
}

/// The state of a client.
pub struct Core {
    options: Options,
    sink: Sink,
    /// The sink has enough: nothing is read from the session.
    full: bool,
    token: Option<String>,
    /// `client_management` and `validation`.
    ports: Option<(u16, u16)>,
    /// Counts attempts: what an earlier one started does not touch this one.
    attempt: u64,
    failures: u32,
    /// When the client was first told to sign on.
    began: Option<u64>,
    management: Option<LinkId>,
    validation: Option<LinkId>,
    candidates: Vec<Candidate>,
    reported: bool,
    /// Where requests go.
    main: Option<LinkId>,
    moving: Moving,
    standby: Standby,
    /// Counts what `standby` began: what is over does not touch what came after it.
    standby_round: u64,
    /// STANDBYON has come before the answer to ATTACH.
    standby_on: bool,
    /// Standbys that could not be reached, one after another.
    standby_tries: u32,
    was_on: bool,
    stopped: bool,
    waiting: Vec<channel::Sender<Result<(), Fail>>>,
    /// What was received.
    received: Received,
    /// RECEIVEMESSAGEs of this session.
    count: u64,
    /// The server has said that it closes.
    disconnected: bool,
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
            full: false,
            token,
            ports: None,
            attempt: 0,
            failures: 0,
            began: None,
            management: None,
            validation: None,
            candidates: Vec::new(),
            reported: false,
            main: None,
            moving: Moving::default(),
            standby: Standby::default(),
            standby_round: 0,
            standby_on: false,
            standby_tries: 0,
            was_on: false,
            stopped: false,
            waiting: Vec::new(),
            received: Received::default(),
            count: 0,
            disconnected: false,
            watched: false,
        }
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

    /// Whether it makes no further attempt.
    pub fn has_given_up(&self) -> bool {
        self.stopped
    }

    /// Whether the client is signed on.
    pub fn is_on(&self) -> bool {
        self.main.is_some()
    }

    /// Whether there is a server that would take over.
    pub fn has_standby(&self) -> bool {
        matches!(self.standby, Standby::Ready { on: true, .. })
    }

    /// Sends a request to the main server; the answer goes to `reply`.
    pub fn request(
        &mut self,
        ctx: &mut Ctx<Core>,
        command: &str,
        fields: &[&[u8]],
        reply: channel::Sender<Result<Vec<u8>, Fail>>,
    ) {
        self.ask(ctx, command, fields, None, move |result| drop(reply.try_send(result.map(Blob::into_vec))));
    }

    /// The same with `last` as its last field, if it is given.
    pub fn ask(
        &mut self,
        ctx: &mut Ctx<Core>,
        command: &str,
        fields: &[&[u8]],
        last: Option<Blob>,
        reply: impl FnOnce(Result<Blob, Fail>) + Send + 'static,
    ) {
        let Some(link) = self.main else {
            return reply(Err(Fail::new(Code::Unavailable, NOT_CONNECTED)));
        };
        self.watched |= command == "GETSERVERMAP";
        let mut escaped = Vec::new();
        for (n, field) in fields.iter().enumerate() {
            escaped.extend_from_slice(if n == 0 { b"" } else { SEPARATOR });
            raw::escape_into(&mut escaped, field);
        }
        let (before, body) = match last {
            Some(last) => {
                escaped.extend_from_slice(SEPARATOR);
                (&escaped[..], Body::Blob(last))
            }
            None => (&b""[..], Body::Raw(Raw(&escaped))),
        };
        ctx.request_body(link, command, &[before], body, move |_, ctx, result| {
            let result = match result {
                Ok(data) => Ok(data.into_blob()),
                // The answer is the engine's, not the server's.
                Err(fail) if fail.code == Code::Unavailable && ctx.info(link).is_none() => {
                    Err(Fail::new(Code::Unavailable, BROKE))
                }
                Err(fail) => Err(fail),
            };
            reply(result);
        });
    }

    /// Sends what has no answer. FAIL: there is no connection, or too much waits to be written.
    pub fn push(&mut self, ctx: &mut Ctx<Core>, command: &str, fields: &[&[u8]]) -> Result<(), Fail> {
        let link = self.main.ok_or_else(|| Fail::new(Code::Unavailable, NOT_CONNECTED))?;
        ctx.push(link, command, fields)
    }

    /// The address of the server that requests go to.
    pub fn server_ip(&self, ctx: &Ctx<Core>) -> Option<IpAddr> {
        ctx.info(self.main?)?.remote
    }

    /// The reader of events has room again.
    pub fn resume(&mut self, ctx: &mut Ctx<Core>) {
        self.full = false;
        if let Some(link) = self.reading() {
            ctx.pause(link, false);
        }
    }

    /// The link of the session that is read: in a move the old one, to its end.
    fn reading(&self) -> Option<LinkId> {
        self.moving.old().or(self.main)
    }

    /// Signs off; `done` is told when the server has answered, or is not there.
    pub fn sign_off(&mut self, ctx: &mut Ctx<Core>, done: channel::Sender<()>) {
        self.stopped = true;
        self.drop_standby(ctx);
        self.refuse_move(ctx, "signing off");
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
        self.drop_standby(ctx);
        self.drop_move(ctx);
        if let Some(link) = self.main.take() {
            ctx.close(link, "the client was dropped");
        }
    }

    fn tell(&mut self, ctx: &mut Ctx<Core>, event: Event) {
        if (self.sink)(event) {
            self.full = true;
            if let Some(link) = self.reading() {
                ctx.pause(link, true);
            }
        }
    }

    /// `link` is the session's from now on: requests go there. What comes on it is read as soon as the sink has room.
    fn go_on(&mut self, ctx: &mut Ctx<Core>, link: LinkId) {
        self.main = Some(link);
        self.disconnected = false;
        if let Some(peer) = ctx.peer(link) {
            *peer = Peer::On;
        }
        ctx.pause(link, self.full);
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

    /// A sign-on was answered OK.
    fn signed_on(&mut self, ctx: &mut Ctx<Core>, link: LinkId, server: &str) {
        self.was_on = true;
        self.failures = 0;
        self.drop_helpers(ctx, Some(link));
        self.received.new_connection();
        self.count = 0;
        self.go_on(ctx, link);
        self.tell(ctx, Event::SignedOn(server.to_owned()));
        self.standby_tries = 0;
        self.want_standby(ctx, AT_ONCE);
    }

    /// The session's link broke: the standby takes over, if there is one and the server did not close on purpose.
    fn lost(&mut self, ctx: &mut Ctx<Core>, why: String) {
        self.main = None;
        if self.stopped || self.disconnected || !self.take_over(ctx, &why) {
            self.failed(ctx, Fail::new(Code::Unavailable, why));
        }
    }

    /// This attempt has failed.
    fn failed(&mut self, ctx: &mut Ctx<Core>, fail: Fail) {
        self.attempt += 1;
        self.main = None;
        self.drop_helpers(ctx, None);
        self.drop_standby(ctx);
        self.drop_move(ctx);
        if self.stopped {
            return;
        }
        let hopeless = matches!(fail.code, Code::Wrong | Code::Denied | Code::BadArgs | Code::Refused);
        // A token that is not good any more: the password, if it is known, is.
        if fail.code == Code::Wrong && self.token.is_some() && !matches!(self.options.secret, Secret::Token(_)) {
            self.token = None;
            return self.begin(ctx);
        }
        let waited = ctx.now().saturating_sub(self.began.unwrap_or_default());
        let away = matches!(fail.code, Code::Unavailable | Code::Busy | Code::Expired);
        let patient = !self.was_on && away && waited < self.options.patience;
        let again = patient || self.options.reconnect;
        if hopeless || !again || (!self.was_on && fail.code == Code::Limit) {
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
        let wait = if patient { wait.min(self.options.patience - waited) } else { wait };
        // Who waits for the first sign-on hears when its time is over: the server may never be there.
        if !patient {
            for waiting in self.waiting.drain(..) {
                let _ = waiting.try_send(Err(fail.clone()));
            }
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
            spend(ctx, link);
        }
    }
}

/// Closes a link that is of no use any more.
fn spend(ctx: &mut Ctx<Core>, link: LinkId) {
    if let Some(peer) = ctx.peer(link) {
        *peer = Peer::Spent;
    }
    ctx.close(link, "done");
}

impl Role for Core {
    type Peer = Peer;
    const NAME: &'static str = "client";

    fn commands() -> &'static [Command<Core>] {
        &[
            told::RECEIVE_MESSAGE,
            told::SERVER_MAP_UPDATE,
            told::OFFLINE_MESSAGE_AVAILABLE,
            told::WORKSPACE_CHANGED,
            told::NOTICE,
            told::DISCONNECTED,
            voice::VOICE,
            voice::CAME,
            voice::LEFT,
            voice::ENDED,
            moving::REDIRECT,
            standby::STANDBY_ON,
            standby::STANDBY_GONE,
        ]
    }

    fn opened(&mut self, ctx: &mut Ctx<Core>, link: LinkId) {
        match ctx.peer_ref(link) {
            Some(Peer::Public) => self.ask_ports(ctx, link),
            Some(Peer::Management) => self.log_in(ctx, link),
            Some(Peer::Validation | Peer::Main(_)) => self.validate_keys(ctx),
            Some(Peer::MoveTo) => self.hand_over(ctx, link),
            Some(Peer::Standby) => self.attach(ctx, link),
            Some(Peer::Spent | Peer::On) | None => {}
        }
    }

    fn closed(&mut self, ctx: &mut Ctx<Core>, link: LinkId, gone: Gone<Peer>) {
        if self.main == Some(link) || self.moving.old() == Some(link) {
            return self.session_closed(ctx, link, gone.why);
        }
        match gone.peer {
            Peer::Spent | Peer::On => {}
            Peer::MoveTo => self.cannot_move(ctx, link, &gone.why),
            Peer::Standby => self.standby_closed(ctx, link, &gone.why),
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
