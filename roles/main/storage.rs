//! Storage, offline messages, workspaces and metadata: this server knows nothing of them. It passes the commands of its users on to data
//! management (64481), and what data management tells users to their sessions.

use std::collections::HashMap;
use std::collections::HashSet;

use super::realm;
use super::redirect;
use super::session_of;
use super::signed_on;
use super::Main;
use super::Peer;
use super::CLIENTS;
use crate::config::PortKey;
use crate::engine::anyone;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Later;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::members::Centre;
use crate::members::Stores;
use crate::session;
use crate::session::Passes;
use crate::wire::Blob;
use crate::wire::Body;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// What every request weighs beside its bytes: so one main server has at most 4,096 of them under way.
const OVERHEAD: u64 = 4 << 10;

/// The rows of these commands.
pub const ROWS: [Command<Main>; session::COUNT] = session::rows(CLIENTS);

pub const TELL: Command<Main> = Command {
    name: "TELL",
    ports: &[PortKey::MainDatamanagement],
    args: "number LF command LF data",
    gate: anyone,
    run: tell,
};

pub const DATA_MANAGEMENT: Command<Main> = Command {
    name: "DATAMANAGEMENT",
    ports: &[PortKey::MainManagement],
    args: "server-id|host:port|fingerprint|public key, or nothing",
    gate: anyone,
    run: take_place,
};

/// Users with sessions here, as data management knows them.
#[derive(Default)]
pub struct Storage {
    pub centre: Centre,
    /// By account.
    users: HashMap<u64, User>,
    /// Accounts by their numbers on the link.
    numbers: HashMap<u64, u64>,
}

#[derive(Default)]
struct User {
    name: String,
    /// Its number on the link; None: data management does not know it so far.
    number: Option<u64>,
    asking: bool,
    /// What its sessions have asked meanwhile. What they weigh bounds it.
    waiting: Vec<Waiting>,
}

struct Waiting {
    later: Later,
    command: Vec<u8>,
    /// Escaped.
    data: Vec<u8>,
    /// Its last field, if that is large.
    blob: Option<Blob>,
}

impl Storage {
    /// Without users. `local`: data management is in this process.
    pub fn new(local: bool) -> Storage {
        Storage { centre: Centre::new(local), ..Storage::default() }
    }
}

fn take_place(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    Centre::told(main, ctx, &request.data().text()?)?;
    Ok(Answer::None)
}

fn unavailable() -> Fail {
    Fail::new(Code::Unavailable, "data management is not reachable; retry later")
}

impl Stores for Main {
    const CENTRE: PortKey = PortKey::MainDatamanagement;

    fn centre(&mut self) -> &mut Centre {
        &mut self.storage.centre
    }

    fn centre_peer() -> Peer {
        Peer::Centre
    }

    fn centre_proven(&mut self, ctx: &mut Ctx<Main>, link: LinkId) {
        self.storage.centre.up(link);
        realm::introduce(self, ctx);
        log::info!("data management is reachable");
        if let Some(ready) = self.storage_ready.take() {
            // Nobody waits any more: then nobody needs to know.
            let _ = ready.send(());
        }
        let accounts: Vec<u64> = self.storage.users.keys().copied().collect();
        for account in accounts {
            introduce(self, ctx, account);
        }
    }

    fn centre_gone(&mut self, ctx: &mut Ctx<Main>) {
        self.storage.numbers.clear();
        for user in self.storage.users.values_mut() {
            user.number = None;
            for waiting in std::mem::take(&mut user.waiting) {
                ctx.answer(&waiting.later, Err(unavailable()));
            }
        }
    }
}

impl Passes for Main {
    fn signed_on(&self, ctx: &Ctx<Main>, link: LinkId) -> Result<(), Fail> {
        signed_on(self, ctx, link)
    }

    fn pass_on(&mut self, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
        let session = self.session(session_of(ctx, request.link)?);
        let account = session.map(|session| session.account).ok_or_else(unavailable)?;
        let link = self.storage.centre.link().ok_or_else(unavailable)?;
        if !self.storage.users.contains_key(&account) {
            came(self, ctx, request.link);
        }
        let Some(user) = self.storage.users.get_mut(&account) else { return Err(unavailable()) };
        let mut later = request.later();
        let (command, data) = (request.packet.command, request.data());
        let blob = request.blob().cloned();
        let brings = blob.as_ref().map_or(0, |blob| blob.len()) as u64;
        ctx.weigh(&mut later, brings + weight(command, data));
        match user.number {
            Some(number) => pass(ctx, link, number, later, command, data, blob),
            None => {
                user.waiting.push(Waiting { later, command: command.to_vec(), data: data.0.to_vec(), blob });
                introduce(self, ctx, account);
            }
        }
        Ok(Answer::Later)
    }
}

/// What a command with this DATA weighs.
pub fn weight(command: &[u8], data: Raw<'_>) -> u64 {
    OVERHEAD + data.0.len() as u64 + session::asks_for(command, data)
}

fn pass(
    ctx: &mut Ctx<Main>,
    link: LinkId,
    number: u64,
    later: Later,
    command: &[u8],
    data: Raw<'_>,
    blob: Option<Blob>,
) {
    let number = number.to_string();
    let (before, body) = match blob {
        Some(blob) => (data, Body::Blob(blob)),
        None => (Raw(b""), Body::Raw(data)),
    };
    let parts = [number.as_bytes(), b"~\n", command, b"~\n", before.0];
    ctx.request_body(link, "DO", &parts, body, move |main, ctx, answer| {
        ctx.answer_body(&later, answer);
        redirect::answered(main, ctx, later.link());
    });
}

/// Tells data management of a user, unless it knows.
fn introduce(main: &mut Main, ctx: &mut Ctx<Main>, account: u64) {
    let Some(link) = main.storage.centre.link() else { return };
    let Some(user) = main.storage.users.get_mut(&account) else { return };
    if user.number.is_some() || std::mem::replace(&mut user.asking, true) {
        return;
    }
    let number = account.to_string();
    // What shows data management that the user is signed on here: management's word.
    let receipt = main.receipts.of(account);
    let fields = [user.name.as_bytes(), number.as_bytes(), receipt.as_bytes()];
    ctx.request(link, "USER", &fields, move |main, ctx, answer| {
        let answer = answer.and_then(|number| number.number());
        let Some(user) = main.storage.users.get_mut(&account) else {
            // It has gone meanwhile.
            if let Ok(number) = answer {
                gone(ctx, link, number);
            }
            return;
        };
        user.asking = false;
        let waiting = std::mem::take(&mut user.waiting);
        match answer {
            Ok(number) if main.storage.centre.link() == Some(link) => {
                user.number = Some(number);
                main.storage.numbers.insert(number, account);
                for Waiting { later, command, data, blob } in waiting {
                    pass(ctx, link, number, later, &command, Raw(&data), blob);
                }
            }
            Ok(_) => waiting.iter().for_each(|waiting| ctx.answer(&waiting.later, Err(unavailable()))),
            // It is asked again by the next tick.
            Err(fail) => {
                let name = &user.name;
                log::warn!("data management does not know {name}: {fail}");
                waiting.iter().for_each(|waiting| ctx.answer(&waiting.later, Err(unavailable())));
            }
        }
    });
}

fn gone(ctx: &mut Ctx<Main>, link: LinkId, number: u64) {
    // Lost with the link, like the number.
    let _ = ctx.push(link, "USERGONE", &[number.to_string().as_bytes()]);
}

/// A session has begun to speak: data management hears of its user, and the session of the messages that wait.
pub fn came(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId) {
    let Some(session) = main.session_at(link) else { return };
    let (account, user) = (session.account, session.user);
    let Some(name) = main.table.get(user).map(|user| user.name.to_string()) else { return };
    let user = main.storage.users.entry(account).or_insert_with(|| User { name, ..User::default() });
    match (user.number, main.storage.centre.link()) {
        // A session of a user that is known: only it is told.
        (Some(number), Some(centre)) => announce(ctx, centre, number, link),
        _ => introduce(main, ctx, account),
    }
}

fn announce(ctx: &mut Ctx<Main>, centre: LinkId, number: u64, link: LinkId) {
    let number = number.to_string();
    let parts = [number.as_bytes(), b"~\nLISTOFFLINEMESSAGES~\n"];
    ctx.request_parts(centre, "DO", &parts, move |_, ctx, answer| {
        let text = answer.and_then(|lines| Ok(lines.text()?.into_owned())).unwrap_or_default();
        for line in text.lines() {
            let fields: Vec<&[u8]> = line.split('|').map(str::as_bytes).collect();
            // Who cannot take it lists them.
            let _ = ctx.push(link, "OFFLINEMESSAGEAVAILABLE", &fields);
        }
    });
}

/// Once a second: users without sessions are gone, and those that data management did not take are told it again.
pub fn tick(main: &mut Main, ctx: &mut Ctx<Main>) {
    if main.storage.users.is_empty() {
        return;
    }
    let here: HashSet<u64> = main.sessions.iter().flatten().map(|session| session.account).collect();
    let link = main.storage.centre.link();
    let storage = &mut main.storage;
    let mut unknown = Vec::new();
    storage.users.retain(|account, user| {
        let stays = here.contains(account);
        match user.number {
            Some(number) if !stays => {
                storage.numbers.remove(&number);
                link.into_iter().for_each(|link| gone(ctx, link, number));
            }
            None if stays => unknown.push(*account),
            _ => {}
        }
        if !stays {
            user.waiting.drain(..).for_each(|waiting| ctx.answer(&waiting.later, Err(unavailable())));
        }
        stays
    });
    for account in unknown {
        introduce(main, ctx, account);
    }
}

/// TELL: passed on to all sessions of the user here.
fn tell(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [number, command, data] = request.data().take()?;
    let Some(account) = main.storage.numbers.get(&number.number()?) else { return Ok(Answer::None) };
    let Some(name) = main.storage.users.get(account).map(|user| &user.name) else { return Ok(Answer::None) };
    let user = main.table.find(name).and_then(|user| main.table.get(user));
    let here: Vec<LinkId> = user.map(|user| user.here.to_vec()).unwrap_or_default();
    for link in here {
        let session = main.session_at(link).filter(|session| session.account == *account);
        if session.is_some_and(|session| session.quiet.is_none()) {
            // Whose queue is full misses it, and lists what there is.
            let _ = ctx.put_parts(link, &[command.0, b" ", data.0]);
        }
    }
    Ok(Answer::None)
}
