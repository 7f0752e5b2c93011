//! A new server joins a network (contract 8): it gets the burst from management, and then starts as if it had always been
//! there. Until the burst is written nothing is listened on; cut anywhere, it leaves nothing behind.

use std::path::Path;
use std::sync::mpsc;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;

use crate::client::Address;
use crate::config::PortKey;
use crate::config::RoleName;
use crate::engine::clock;
use crate::engine::database;
use crate::engine::handshake;
use crate::engine::handshake::proven_server;
use crate::engine::handshake::Handshakes;
use crate::engine::handshake::Member;
use crate::engine::identity::PublicKey;
use crate::engine::identity::ServerKey;
use crate::engine::limits::Limits;
use crate::engine::net::Handle;
use crate::engine::net::Registry;
use crate::engine::rt;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Gone;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::engine::Role;
use crate::engine::Target;
use crate::members;
use crate::wire::hex;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// What a burst may hold: bytes and lines. Far above any network, far below what hurts.
const BYTES: usize = 64 << 20;
const LINES: usize = 1_000_000;
/// The wait before the next try, at first and at most; milliseconds.
const BACK_OFF: (u64, u64) = (200, 30_000);
/// The burst may pause for so long; milliseconds.
const PATIENCE: u64 = 15_000;
/// How often progress is logged; milliseconds.
const PROGRESS: u64 = 1_000;
/// How long the last words to management may take.
const STOP: Duration = Duration::from_secs(2);

/// Joins, unless this server has before: asks until management lets it in. `path` is the role's database.
///
/// # Errors
/// In words: the disk, or a burst that is none.
pub fn unless_joined(
    address: &Address,
    own_id: &str,
    key: &ServerKey,
    role: RoleName,
    (path, migrations): (&Path, &[&str]),
) -> Result<(), String> {
    let mut database = database::open(path, migrations)?;
    if members::is_joined(&database)? {
        return Ok(());
    }
    log::info!("joining the network of {address} as {own_id}, role {}", role.name());
    let (send, joined) = mpsc::channel();
    let joiner = Joiner::new(address.clone(), own_id, key.clone(), role, send);
    let handle = Handle::new(joiner, Limits::default(), 1, None, &Arc::new(Registry::default()))?;
    handle.with(|joiner, ctx| joiner.start(ctx));
    let lines = joined.recv().map_err(|_| "joining was given up".to_owned())?;
    rt::block_on(handle.stop(STOP));
    members::write_burst(&mut database, &lines, clock::now())?;
    log::info!("joined: {} records", lines.len());
    Ok(())
}

/// What a link is for.
#[derive(Debug, Default)]
pub enum Peer {
    /// Nothing any more.
    #[default]
    Spent,
    /// GETPORTS.
    Public,
    /// JOIN.
    Management,
}

/// The records of a burst, as far as they have come.
#[derive(Default)]
struct Burst {
    pieces: u64,
    lines: Vec<String>,
    bytes: usize,
    /// When the last piece came.
    heard: u64,
    logged: u64,
}

/// A server that joins, as a role of its own: it ends when it is done.
pub struct Joiner {
    address: Address,
    key: ServerKey,
    role: RoleName,
    shakes: Handshakes,
    tries: u32,
    burst: Burst,
    /// The link that the burst comes on.
    link: Option<LinkId>,
    done: mpsc::Sender<Vec<String>>,
    finished: bool,
}

const BURST: Command<Joiner> = Command {
    name: "BURST",
    ports: &[PortKey::MainManagement, PortKey::DatamanagementManagement],
    args: "sequence LF records LF lines",
    gate: proven_server,
    run: burst,
};

impl Joiner {
    /// A server called `own_id` that asks at `address` to play `role`; `done` gets the burst.
    pub fn new(
        address: Address,
        own_id: &str,
        key: ServerKey,
        role: RoleName,
        done: mpsc::Sender<Vec<String>>,
    ) -> Joiner {
        let shakes = Handshakes::new(own_id, key.clone());
        Joiner { address, key, role, shakes, tries: 0, burst: Burst::default(), link: None, done, finished: false }
    }

    /// Management's port for servers of this role.
    fn port(&self) -> PortKey {
        match self.role {
            RoleName::DataManagement | RoleName::Data => PortKey::DatamanagementManagement,
            _ => PortKey::MainManagement,
        }
    }

    fn ask_ports(&mut self, ctx: &mut Ctx<Joiner>, link: LinkId) {
        ctx.request(link, "GETPORTS", &[], move |joiner, ctx, answer| {
            let text = answer.and_then(|data| Ok(data.text()?.into_owned())).unwrap_or_default();
            let name = joiner.port().name();
            let port = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('|'));
            match port.and_then(|port| port.parse::<u16>().ok()) {
                Some(port) => {
                    if let Some(peer) = ctx.peer(link) {
                        *peer = Peer::Spent;
                    }
                    ctx.close(link, "done");
                    let target = Target::Net(joiner.address.at(port), joiner.address.verify());
                    ctx.connect(joiner.port(), target, Peer::Management);
                }
                None => ctx
                    .close(link, "management does not tell its port for servers of this role: is it of this version?"),
            }
        });
    }

    fn ask_burst(&mut self, ctx: &mut Ctx<Joiner>, link: LinkId) {
        self.burst = Burst { heard: ctx.now(), ..Burst::default() };
        self.link = Some(link);
        ctx.request(link, "JOIN", &[], move |joiner, ctx, answer| {
            let burst = std::mem::take(&mut joiner.burst);
            match answer.and_then(|told| check(&burst, told)) {
                Ok(()) => {
                    joiner.finished = true;
                    // Nobody waits any more: the process stops.
                    let _ = joiner.done.send(burst.lines);
                    ctx.close(link, "joined");
                }
                // The link is gone, and `closed` says so.
                Err(fail) if fail.code == Code::Unavailable => {}
                Err(fail) => ctx.abort(link, &format!("the burst is not good: {fail}")),
            }
        });
    }

    fn again(&mut self, ctx: &mut Ctx<Joiner>, why: &str) {
        self.link = None;
        self.burst = Burst::default();
        let (first, most) = BACK_OFF;
        let wait = first.saturating_mul(1 << self.tries.min(16)).min(most);
        self.tries = self.tries.saturating_add(1);
        // Jitter, so that many servers do not come back in one instant.
        let wait = wait / 2 + rand::RngExt::random_range(ctx.rng(), 0..=wait / 2);
        log::warn!("joining: {why}; the next try is in {:.1} s", wait as f64 / 1_000.0);
        ctx.after(wait, |joiner, ctx| joiner.start(ctx));
    }
}

/// What came, against what management says it sent.
fn check(burst: &Burst, told: Raw<'_>) -> Result<(), Fail> {
    let [count, checksum] = told.take()?;
    if count.number()? != burst.lines.len() as u64 {
        return Err(Fail::bad_args("records are missing"));
    }
    let mut context = digest::Context::new(&digest::SHA256);
    for line in &burst.lines {
        context.update(line.as_bytes());
        context.update(b"\n");
    }
    match checksum.text()? == hex::encode(context.finish().as_ref()) {
        true => Ok(()),
        false => Err(Fail::bad_args("the checksum is another")),
    }
}

fn burst(joiner: &mut Joiner, ctx: &mut Ctx<Joiner>, request: &Request<'_>) -> Result<Answer, Fail> {
    if joiner.link != Some(request.link) {
        return Err(Fail::new(Code::BadCommand, "JOIN was not sent"));
    }
    let [sequence, records, lines] = request.data().take()?;
    let (sequence, records, lines) = (sequence.number()?, records.number()?, lines.text()?);
    let burst = &mut joiner.burst;
    burst.pieces += 1;
    burst.bytes = burst.bytes.saturating_add(lines.len());
    let count = lines.lines().count();
    let too_much = burst.bytes > BYTES || burst.lines.len().saturating_add(count) > LINES;
    if too_much || sequence != burst.pieces {
        ctx.abort(request.link, if too_much { "the burst is too large" } else { "a part of the burst is missing" });
        return Ok(Answer::None);
    }
    burst.lines.extend(lines.lines().map(str::to_owned));
    burst.heard = ctx.now();
    if burst.heard.saturating_sub(burst.logged) >= PROGRESS {
        burst.logged = burst.heard;
        log::info!("joining: {} of {records} records", burst.lines.len());
    }
    Ok(Answer::None)
}

impl Member for Joiner {
    fn handshakes(&mut self) -> &mut Handshakes {
        &mut self.shakes
    }

    fn handshakes_ref(&self) -> &Handshakes {
        &self.shakes
    }

    fn key_of(&self, _: &str, _: PortKey) -> Option<PublicKey> {
        None
    }

    fn proven(&mut self, ctx: &mut Ctx<Joiner>, link: LinkId, _: &str, _: PublicKey) {
        self.ask_burst(ctx, link);
    }

    fn refused(&mut self, _: &mut Ctx<Joiner>, _: LinkId, why: &Fail) {
        if why.code == Code::Denied {
            log::error!(
                "management does not know this server. On management: convergia admin add-server {} {} {}",
                self.shakes.own_id(),
                self.role.name(),
                self.key.public()
            );
        }
    }
}

impl Role for Joiner {
    type Peer = Peer;
    const NAME: &'static str = "joiner";

    fn commands() -> &'static [Command<Joiner>] {
        &[BURST]
    }

    fn start(&mut self, ctx: &mut Ctx<Joiner>) {
        if !ctx.is_stopping() {
            let target = Target::Net(self.address.at(self.address.port), self.address.verify());
            ctx.connect(PortKey::PublicManagement, target, Peer::Public);
        }
    }

    fn opened(&mut self, ctx: &mut Ctx<Joiner>, link: LinkId) {
        match ctx.peer_ref(link) {
            Some(Peer::Public) => self.ask_ports(ctx, link),
            // Its certificate was checked; its key is learned with the burst.
            Some(Peer::Management) => handshake::open(self, ctx, link, "management", None),
            Some(Peer::Spent) | None => {}
        }
    }

    fn closed(&mut self, ctx: &mut Ctx<Joiner>, link: LinkId, gone: Gone<Peer>) {
        self.shakes.closed(link);
        match gone.peer {
            Peer::Public | Peer::Management if !self.finished && !ctx.is_stopping() => self.again(ctx, &gone.why),
            _ => {}
        }
    }

    fn tick(&mut self, ctx: &mut Ctx<Joiner>) {
        let overdue = ctx.now().saturating_sub(self.burst.heard) > PATIENCE;
        if let Some(link) = self.link.filter(|_| overdue && !self.finished) {
            ctx.abort(link, "the burst stopped half-way");
        }
    }
}
