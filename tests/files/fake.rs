//! A network of one server that does with files, mail and workspaces what contract 6 says, in memory: so that a test can cut,
//! delay and refuse what it likes.

mod kept;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::Mutex;
use std::sync::MutexGuard;

use convergia::config::PortKey;
use convergia::engine::limits::Limits;
use convergia::engine::net;
use convergia::engine::net::Handle;
use convergia::engine::net::Listening;
use convergia::engine::rt;
use convergia::engine::tls;
use convergia::engine::tls::Identity;
use convergia::engine::Answer;
use convergia::engine::Command;
use convergia::engine::Ctx;
use convergia::engine::Gone;
use convergia::engine::LinkId;
use convergia::engine::Request;
use convergia::engine::Role;
use convergia::session;
use convergia::wire::hex;
use convergia::wire::name;
use convergia::wire::Code;
use convergia::wire::Fail;
use rand::RngExt;

use super::support::TempDir;

/// The longest READFILE.
const READ: u64 = 1 << 20;

#[derive(Clone, Debug)]
pub struct Node {
    /// None: a folder.
    pub bytes: Option<Vec<u8>>,
    pub modified: u64,
    pub permissions: Option<Vec<(String, String)>>,
}

#[derive(Debug)]
pub struct Message {
    id: String,
    sender: String,
    to: Vec<String>,
    body: Vec<u8>,
    sent: Option<u64>,
}

#[derive(Debug, Default)]
pub struct Space {
    creator: String,
    participants: Vec<String>,
    changes: Vec<(String, Vec<u8>)>,
    acknowledged: BTreeMap<String, u64>,
}

/// What the server shall do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks before it is carried out, or behind that.
    Cut { done: bool },
    /// It is never answered, and nothing that follows is.
    Hang,
    /// FAIL.
    Refuse(Code),
}

#[derive(Default)]
pub struct State {
    pub nodes: BTreeMap<String, Node>,
    pub mail: Vec<Message>,
    pub spaces: BTreeMap<String, Space>,
    ports: (u16, u16),
    main: (String, [u8; 32]),
    pub clock: u64,
    /// Requests of section 6 so far, by command.
    pub served: Vec<String>,
    /// Bytes that came with WRITEFILE, and that went with READFILE.
    pub written: u64,
    pub read: u64,
    /// The requests, by command and count from 1 of that command, that go wrong.
    pub faults: Vec<(&'static str, usize, Fault)>,
    /// Answers wait so long at most; milliseconds.
    pub delay: u64,
    pub under_way: usize,
    /// The most that was under way at once.
    pub peak: usize,
    /// Connections on which nothing is answered any more.
    hung: Vec<LinkId>,
    /// Hears of a hang.
    pub on_hang: Option<mpsc::Sender<()>>,
    /// Bytes of all files.
    pub quota: Option<u64>,
}

type World = Arc<Mutex<State>>;

/// Desk and main server in one.
pub struct Role1 {
    world: World,
    on: Vec<(LinkId, String)>,
}

type Reply = Result<Vec<u8>, Fail>;

fn fail<T>(code: Code) -> Result<T, Fail> {
    Err(Fail::new(code, "the fake says so"))
}

fn text(text: impl Into<String>) -> Reply {
    Ok(text.into().into_bytes())
}

type Handler = fn(&mut Role1, &mut Ctx<Role1>, &Request<'_>) -> Result<Answer, Fail>;

fn row(name: &'static str, ports: &'static [PortKey], args: &'static str, run: Handler) -> Command<Role1> {
    Command { name, ports, args, gate: |_, _, _| Ok(()), run }
}

impl Role for Role1 {
    type Peer = ();
    const NAME: &'static str = "fake";

    fn commands() -> &'static [Command<Role1>] {
        static ROWS: LazyLock<Vec<Command<Role1>>> = LazyLock::new(|| {
            let mut rows = vec![
                row("GETPORTS", &[PortKey::PublicManagement], "", |role, _, _| {
                    let (management, validation) = role.state().ports;
                    Ok(Answer::Data(format!("client_management|{management}\nvalidation|{validation}").into_bytes()))
                }),
                row("LOGIN", &[PortKey::ClientManagement], "x", |_, _, _| Ok(Answer::Data(b"token".to_vec()))),
                row("LISTSERVERS", &[PortKey::ClientManagement], "", |role, _, _| {
                    let state = role.state();
                    let (address, print) = &state.main;
                    Ok(Answer::Data(format!("s|s|{address}|{}|0", hex::encode(print)).into_bytes()))
                }),
                row("REPORTSERVERS", &[PortKey::ClientManagement], "x", |_, _, _| {
                    Ok(Answer::Data(b"s\nticket".to_vec()))
                }),
                row("VALIDATEKEY", &[PortKey::Validation], "x", |_, _, _| Ok(Answer::Ok)),
                row("SIGNON", &[PortKey::ClientMain], "x", |role, ctx, request| {
                    let [user, _] = request.data().take()?;
                    let user = user.text()?.into_owned();
                    ctx.trust(request.link);
                    role.enter(ctx, request.link, user);
                    Ok(Answer::Data(b"session".to_vec()))
                }),
                row("SIGNOFF", &[PortKey::ClientMain], "", |_, ctx, request| {
                    let link = request.link;
                    ctx.after(0, move |_, ctx| ctx.close(link, "signed off"));
                    Ok(Answer::Ok)
                }),
            ];
            for spec in session::SPECS {
                rows.push(row(spec.name, &[PortKey::ClientMain], spec.args, serve));
            }
            rows
        });
        &ROWS
    }

    fn closed(&mut self, _: &mut Ctx<Role1>, link: LinkId, _: Gone<()>) {
        self.on.retain(|(other, _)| *other != link);
    }
}

/// Carries a request out, or does what the test wants instead; answers when it is time.
fn serve(role: &mut Role1, ctx: &mut Ctx<Role1>, request: &Request<'_>) -> Result<Answer, Fail> {
    let Some(user) = role.on.iter().find(|(link, _)| *link == request.link).map(|(_, user)| user.clone()) else {
        return fail(Code::SignIn);
    };
    let command = String::from_utf8(request.packet.command.to_vec()).unwrap();
    let fields: Vec<Vec<u8>> = request.data().fields().map(|field| field.unescape().into_owned()).collect();
    let world = Arc::clone(&role.world);
    let mut state = world.lock().unwrap();
    state.served.push(command.clone());
    let count = state.served.iter().filter(|other| **other == command).count();
    let fault = state.faults.iter().find(|(name, n, _)| *name == command && *n == count).map(|(_, _, fault)| *fault);
    if fault == Some(Fault::Hang) {
        state.hung.push(request.link);
        if let Some(told) = &state.on_hang {
            let _ = told.send(());
        }
    }
    if state.hung.contains(&request.link) {
        return Ok(Answer::None);
    }
    if let Some(Fault::Cut { done }) = fault {
        if done {
            let _ = state.carry_out(&user, &command, &fields);
        }
        let link = request.link;
        ctx.after(0, move |_, ctx| ctx.abort(link, "cut"));
        return Ok(Answer::None);
    }
    let result = match fault {
        Some(Fault::Refuse(code)) => fail(code),
        _ => state.carry_out(&user, &command, &fields),
    };
    if command == "SENDOFFLINEMESSAGE" && result.is_ok() {
        state.tell_mail(ctx, &role.on, &String::from_utf8_lossy(&fields[0]));
    }
    if command == "POSTCHANGE" && result.is_ok() {
        state.tell_change(ctx, &role.on, &String::from_utf8_lossy(&fields[0]));
    }
    state.under_way += 1;
    state.peak = state.peak.max(state.under_way);
    let delay = if state.delay == 0 { 0 } else { ctx.rng().random_range(0..=state.delay) };
    let later = request.later();
    ctx.after(delay, move |role, ctx| {
        role.state().under_way -= 1;
        ctx.answer(&later, result);
    });
    Ok(Answer::Later)
}

impl Role1 {
    fn state(&self) -> MutexGuard<'_, State> {
        self.world.lock().unwrap()
    }

    /// A user is there: has a home, and hears of the mail that waits.
    fn enter(&mut self, ctx: &mut Ctx<Role1>, link: LinkId, user: String) {
        let world = Arc::clone(&self.world);
        let mut state = world.lock().unwrap();
        for path in ["/users", "/workspaces", &format!("/users/{user}")] {
            let now = state.clock;
            state.nodes.entry(path.to_owned()).or_insert(Node { bytes: None, modified: now, permissions: None });
        }
        self.on.push((link, user.clone()));
        let waiting: Vec<String> = state.waiting(&user).map(|message| message.id.clone()).collect();
        // Behind the answer to SIGNON: before it the client believes nobody.
        ctx.after(0, move |role, ctx| {
            let me = [(link, user.clone())];
            for id in waiting {
                role.state().tell_mail(ctx, &me, &id);
            }
        });
    }
}

/// The path, as far as it can be one.
fn path(field: Option<&Vec<u8>>) -> Result<String, Fail> {
    let path = String::from_utf8(field.ok_or_else(|| Fail::bad_args("fields"))?.clone())
        .map_err(|_| Fail::bad_args("UTF-8"))?;
    let below = path.strip_prefix('/').ok_or_else(|| Fail::bad_args("a path begins with /"))?;
    if !below.is_empty() {
        below.split('/').try_for_each(name::check)?;
    }
    Ok(path)
}

fn number(field: Option<&Vec<u8>>) -> Result<u64, Fail> {
    let text = field.and_then(|field| std::str::from_utf8(field).ok());
    text.and_then(|text| text.parse().ok()).ok_or_else(|| Fail::bad_args("a number"))
}

fn word(field: &[u8]) -> String {
    String::from_utf8_lossy(field).into_owned()
}

/// What follows the first fields, as it came.
fn rest(fields: &[Vec<u8>], from: usize) -> Vec<u8> {
    fields.get(from..).unwrap_or_default().join(&b'\n')
}

fn above(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((above, _)) => above,
    }
}

impl State {
    fn carry_out(&mut self, user: &str, command: &str, fields: &[Vec<u8>]) -> Reply {
        self.clock += 1;
        match command {
            "INITOFFLINEMESSAGE"
            | "APPENDOFFLINEMESSAGE"
            | "SENDOFFLINEMESSAGE"
            | "LISTOFFLINEMESSAGES"
            | "READOFFLINEMESSAGE"
            | "DELETEOFFLINEMESSAGE" => self.mail(user, command, fields),
            "CREATEWORKSPACE" | "POSTCHANGE" | "READCHANGES" | "ACKCHANGES" | "SETPARTICIPANTS" | "LISTWORKSPACES"
            | "LISTPARTICIPANTS" | "LEAVEWORKSPACE" | "DELETEWORKSPACE" => self.space(user, command, fields),
            _ => self.file(user, command, fields),
        }
    }

    fn file(&mut self, user: &str, command: &str, fields: &[Vec<u8>]) -> Reply {
        let path = path(fields.first())?;
        let own = format!("/users/{user}");
        let inside = path == own || path.strip_prefix(&own).is_some_and(|rest| rest.starts_with('/'));
        if !inside && !path.starts_with("/workspaces") {
            return fail(Code::Denied);
        }
        let now = self.clock;
        let is_folder = |state: &State, path: &str| state.nodes.get(path).map(|node| node.bytes.is_none());
        match command {
            "CREATEFOLDER" | "CREATEFILE" => {
                match is_folder(self, above(&path)) {
                    _ if self.nodes.contains_key(&path) => return fail(Code::Exists),
                    Some(true) => {}
                    _ => return fail(Code::NotFound),
                }
                let bytes = (command == "CREATEFILE").then(Vec::new);
                self.nodes.insert(path, Node { bytes, modified: now, permissions: None });
                text("")
            }
            "DELETEFOLDER" => match is_folder(self, &path) {
                None => fail(Code::NotFound),
                Some(true) if !self.nodes.keys().any(|other| above(other) == path) => {
                    self.nodes.remove(&path);
                    text("")
                }
                Some(_) => fail(Code::BadArgs),
            },
            "DELETEFILE" => match is_folder(self, &path) {
                None => fail(Code::NotFound),
                Some(true) => fail(Code::BadArgs),
                Some(false) => {
                    self.nodes.remove(&path);
                    text("")
                }
            },
            "MOVE" => self.rename(&path, &self::path(fields.get(1))?, false),
            "REPLACE" => self.rename(&path, &self::path(fields.get(1))?, true),
            "LISTFOLDER" => match is_folder(self, &path) {
                None => fail(Code::NotFound),
                Some(false) => fail(Code::BadArgs),
                Some(true) => {
                    let below = self.nodes.iter().filter(|(other, _)| above(other) == path && **other != path);
                    let lines = below.map(|(path, node)| {
                        let (name, kind) =
                            (path.rsplit('/').next().unwrap(), node.bytes.as_ref().map_or("folder", |_| "file"));
                        format!("{name}|{kind}|{}|{}", node.bytes.as_ref().map_or(0, Vec::len), node.modified)
                    });
                    text(lines.collect::<Vec<_>>().join("\n"))
                }
            },
            "GETINFO" => {
                let Some(node) = self.nodes.get(&path) else { return fail(Code::NotFound) };
                let kind = if node.bytes.is_some() { "file" } else { "folder" };
                let size = node.bytes.as_ref().map_or(0, Vec::len);
                let mut lines =
                    format!("type|{kind}\nsize|{size}\nowner|{user}\ncreated|1\nmodified|{}", node.modified);
                if let Some(bytes) = &node.bytes {
                    lines += &format!("\nhash|{}\ncopies|1", blake3::hash(bytes).to_hex());
                }
                lines += "\npermissions";
                for (who, what) in self.rights(&path) {
                    lines += &format!("|{who} {what}");
                }
                if lines.ends_with("permissions") {
                    lines.push('|');
                }
                text(lines)
            }
            "SETPERMISSIONS" => {
                let Some(node) = self.nodes.get_mut(&path) else { return fail(Code::NotFound) };
                let pairs = fields[1..]
                    .iter()
                    .map(|pair| word(pair).split_once('|').map(|(a, b)| (a.to_owned(), b.to_owned())));
                let pairs: Vec<_> = pairs.collect::<Option<_>>().ok_or_else(|| Fail::bad_args("subject|rights"))?;
                node.permissions = (!pairs.is_empty()).then_some(pairs);
                text("")
            }
            _ => self.bytes(command, &path, fields),
        }
    }

    fn rights(&self, path: &str) -> Vec<(String, String)> {
        let mut at = path;
        loop {
            if let Some(own) = self.nodes.get(at).and_then(|node| node.permissions.clone()) {
                return own;
            }
            if at == "/" {
                return Vec::new();
            }
            at = above(at);
        }
    }

    fn rename(&mut self, from: &str, to: &str, replace: bool) -> Reply {
        if !self.nodes.contains_key(from) || !self.nodes.contains_key(above(to)) {
            return fail(Code::NotFound);
        }
        let is_file = |path: &str| self.nodes.get(path).is_some_and(|node| node.bytes.is_some());
        if self.nodes.contains_key(to) && !(replace && is_file(from) && is_file(to)) {
            return fail(Code::Exists);
        }
        let below = format!("{from}/");
        let all: Vec<String> =
            self.nodes.keys().filter(|path| *path == from || path.starts_with(&below)).cloned().collect();
        for path in all {
            let node = self.nodes.remove(&path).unwrap();
            self.nodes.insert(format!("{to}{}", &path[from.len()..]), node);
        }
        text("")
    }

    fn bytes(&mut self, command: &str, path: &str, fields: &[Vec<u8>]) -> Reply {
        let used: u64 =
            self.nodes.values().filter_map(|node| node.bytes.as_ref()).map(|bytes| bytes.len() as u64).sum();
        let (now, quota) = (self.clock, self.quota);
        let Some(node) = self.nodes.get_mut(path) else { return fail(Code::NotFound) };
        let Some(bytes) = &mut node.bytes else { return fail(Code::BadArgs) };
        let at = number(fields.get(1))?;
        if at > bytes.len() as u64 {
            return fail(Code::BadArgs);
        }
        let start = at as usize;
        match command {
            "WRITEFILE" => {
                let new = rest(fields, 2);
                if new.is_empty() {
                    return fail(Code::BadArgs);
                }
                let end = bytes.len().max(start + new.len());
                if quota.is_some_and(|quota| used + (end - bytes.len()) as u64 > quota) {
                    return fail(Code::Quota);
                }
                bytes.resize(end, 0);
                bytes[start..start + new.len()].copy_from_slice(&new);
                node.modified = now;
                self.written += new.len() as u64;
                text("")
            }
            "READFILE" => {
                let length = number(fields.get(2))?;
                if length > READ {
                    return fail(Code::BadArgs);
                }
                let end = bytes.len().min(start + length as usize);
                self.read += (end - start) as u64;
                Ok(bytes[start..end].to_vec())
            }
            _ => {
                bytes.truncate(start);
                node.modified = now;
                text("")
            }
        }
    }
}

/// The fake, running.
pub struct Fake {
    world: World,
    url: String,
    _folder: TempDir,
    _listening: Vec<Listening>,
    _handle: Handle<Role1>,
}

impl Fake {
    pub fn start() -> Fake {
        rt::set_up();
        let folder = TempDir::new();
        let file = |end: &str| folder.path().join(format!("fake.{end}"));
        let identity = Identity::load(&file("pem"), &file("key"), true).unwrap();
        let world = World::default();
        let role = Role1 { world: Arc::clone(&world), on: Vec::new() };
        let limits = Limits { outbox: 64 << 20, ..Limits::default() };
        let handle = Handle::new(role, limits, 1, None, &Arc::default()).unwrap();
        let mut listening = Vec::new();
        let mut open = |port| {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let (address, hold) = net::listen(&handle, port, any, tls::server(&identity).unwrap(), &identity).unwrap();
            listening.push(hold);
            address
        };
        let public = open(PortKey::PublicManagement);
        let ports = (open(PortKey::ClientManagement).port(), open(PortKey::Validation).port());
        let main = (open(PortKey::ClientMain).to_string(), identity.fingerprint());
        *world.lock().unwrap() = State { ports, main, clock: 1_700_000_000_000, ..State::default() };
        let url = format!("convergia://{public}#{}", hex::encode(&identity.fingerprint()));
        Fake { world, url, _folder: folder, _listening: listening, _handle: handle }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The nth request of that command goes wrong, counted from now.
    pub fn fault(&self, command: &'static str, nth: usize, fault: Fault) {
        let mut state = self.look();
        let before = state.served.iter().filter(|other| *other == command).count();
        state.faults.push((command, before + nth, fault));
    }

    /// As `fault` with a hang; hears of it.
    pub fn hang(&self, command: &'static str, nth: usize) -> mpsc::Receiver<()> {
        self.fault(command, nth, Fault::Hang);
        let (told, hear) = mpsc::channel();
        self.look().on_hang = Some(told);
        hear
    }

    /// All goes well again, on new connections.
    pub fn heal(&self) {
        self.look().faults.clear();
    }

    pub fn look(&self) -> MutexGuard<'_, State> {
        self.world.lock().unwrap()
    }
}
