//! A network of one server with voice channels, in memory: so that a test can make channels that are not signed, break connections,
//! and leave datagrams unanswered.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;
use std::time::SystemTime;

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
use convergia::voice::packet;
use convergia::voice::packet::Datagram;
use convergia::voice::packet::Operation;
use convergia::voice::packet::Signer;
use convergia::voice::DATA;
use convergia::voice::DATA_SIGNED;
use convergia::voice::KEY;
use convergia::voice::PACKET;
use convergia::wire::hex;
use convergia::wire::Code;
use convergia::wire::Fail;

use super::support::TempDir;

/// The seed of the server's voice key.
const SEED: [u8; KEY] = [9; KEY];

struct Member {
    uid: u64,
    user: String,
    link: LinkId,
    udp: bool,
    key: [u8; KEY],
    at: Option<SocketAddr>,
    counter: u64,
}

pub struct Channel {
    id: u64,
    owner: String,
    signed: bool,
    socket: Arc<UdpSocket>,
    members: Vec<Member>,
}

#[derive(Default)]
pub struct State {
    ports: (u16, u16),
    main: (String, [u8; 32]),
    pub channels: BTreeMap<String, Channel>,
    users: Vec<String>,
    /// Datagrams are not answered, and go nowhere.
    pub deaf: bool,
    /// Datagrams that were no good.
    pub bad: usize,
    /// JOINVOICEs so far.
    pub joins: usize,
}

type World = Arc<Mutex<State>>;

pub struct Server {
    world: World,
    on: Vec<(LinkId, String)>,
    handle: Option<Handle<Server>>,
    over: Arc<AtomicBool>,
}

type Handler = fn(&mut Server, &mut Ctx<Server>, &Request<'_>) -> Result<Answer, Fail>;

fn row(name: &'static str, ports: &'static [PortKey], args: &'static str, run: Handler) -> Command<Server> {
    Command { name, ports, args, gate: |_, _, _| Ok(()), run }
}

impl Role for Server {
    type Peer = ();
    const NAME: &'static str = "fake";

    fn commands() -> &'static [Command<Server>] {
        static ROWS: LazyLock<Vec<Command<Server>>> = LazyLock::new(|| {
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
                    role.on.push((request.link, user.text()?.into_owned()));
                    ctx.trust(request.link);
                    Ok(Answer::Data(b"session".to_vec()))
                }),
                row("SIGNOFF", &[PortKey::ClientMain], "", |_, ctx, request| {
                    let link = request.link;
                    ctx.after(0, move |_, ctx| ctx.close(link, "signed off"));
                    Ok(Answer::Ok)
                }),
            ];
            for name in ["CREATEVOICE", "DELETEVOICE", "LISTVOICE", "GETVOICE", "JOINVOICE", "LEAVEVOICE", "KICKVOICE"]
            {
                rows.push(row(name, &[PortKey::ClientMain], "x", serve));
            }
            rows.push(row("VOICE", &[PortKey::ClientMain], "channel LF bytes", say));
            rows
        });
        &ROWS
    }

    fn closed(&mut self, ctx: &mut Ctx<Server>, link: LinkId, _: Gone<()>) {
        self.on.retain(|(other, _)| *other != link);
        let names: Vec<String> = self.state().channels.keys().cloned().collect();
        names.iter().for_each(|name| self.remove(ctx, name, |member| member.link == link, None));
    }
}

fn fail<T>(code: Code) -> Result<T, Fail> {
    Err(Fail::new(code, "the fake says so"))
}

fn serve(role: &mut Server, ctx: &mut Ctx<Server>, request: &Request<'_>) -> Result<Answer, Fail> {
    let Some((_, user)) = role.on.iter().find(|(link, _)| *link == request.link).cloned() else {
        return fail(Code::SignIn);
    };
    let fields: Vec<String> = request.data().fields().map(|field| field.text().unwrap().into_owned()).collect();
    let command = std::str::from_utf8(request.packet.command).unwrap();
    let name = fields.first().cloned().unwrap_or_default();
    let name =
        role.state().channels.iter().find(|(_, c)| c.id.to_string() == name).map_or(name, |(name, _)| name.clone());
    if command == "LISTVOICE" {
        let lines = role
            .state()
            .channels
            .iter()
            .map(|(name, c)| format!("{}|{name}|{}|{}|{}", c.id, c.owner, u8::from(c.signed), c.members.len()))
            .collect::<Vec<_>>();
        return Ok(Answer::Data(lines.join("\n").into_bytes()));
    }
    if command == "CREATEVOICE" {
        let there = role.state().channels.contains_key(&name);
        return match there {
            true => fail(Code::Exists),
            false => Ok(Answer::Data(role.create(&name, &user, true).to_string().into_bytes())),
        };
    }
    let world = Arc::clone(&role.world);
    let Some((id, owner)) = role.state().channels.get(&name).map(|c| (c.id, c.owner.clone())) else {
        return fail(Code::NotFound);
    };
    match command {
        "GETVOICE" => {
            let state = world.lock().unwrap();
            let channel = &state.channels[&name];
            let mut text = format!("{id}|{name}|{}", u8::from(channel.signed));
            channel.members.iter().for_each(|m| text.push_str(&format!("\n{}|{}", m.uid, m.user)));
            Ok(Answer::Data(text.into_bytes()))
        }
        "JOINVOICE" => Ok(Answer::Data(role.join(ctx, &name, user, request.link, fields[1] == "udp").into_bytes())),
        "LEAVEVOICE" => {
            let link = request.link;
            // Who leaves here is told nothing; a session elsewhere is.
            role.remove(ctx, &name, |member| member.link == link, None);
            role.remove(ctx, &name, |member| member.user == user, Some("left"));
            Ok(Answer::Ok)
        }
        _ if owner != user => fail(Code::Denied),
        "KICKVOICE" => {
            role.remove(ctx, &name, |member| member.user == fields[1], Some("kicked"));
            Ok(Answer::Ok)
        }
        _ => {
            role.remove(ctx, &name, |_| true, Some("deleted"));
            role.state().channels.remove(&name);
            Ok(Answer::Ok)
        }
    }
}

fn say(role: &mut Server, ctx: &mut Ctx<Server>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [channel, data] = request.data().take()?;
    let (channel, data) = (channel.number()?, data.unescape().into_owned());
    let world = Arc::clone(&role.world);
    let mut state = world.lock().unwrap();
    let Some(channel) = state.channels.values_mut().find(|c| c.id == channel) else { return Ok(Answer::None) };
    let Some(uid) = channel.members.iter().find(|m| m.link == request.link && !m.udp).map(|m| m.uid) else {
        return Ok(Answer::None);
    };
    assert!(data.len() <= if channel.signed { DATA_SIGNED } else { DATA });
    let packet = packet::user(uid, &data);
    channel.pass_on(uid, &packet, &data, ctx);
    Ok(Answer::None)
}

impl Channel {
    /// To all others: by UDP as it is, over links without padding.
    fn pass_on(&self, uid: u64, packet: &[u8; PACKET], data: &[u8], ctx: &mut Ctx<Server>) {
        for member in self.members.iter().filter(|member| member.uid != uid) {
            match member.at {
                Some(at) => drop(self.socket.send_to(packet, at).unwrap()),
                None if member.udp => {}
                None => drop(ctx.push(member.link, "VOICE", &[format!("{}|{uid}", self.id).as_bytes(), data])),
            }
        }
    }

    fn answer(&self, operation: Operation, uid: u64, ackid: u32, at: SocketAddr) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let mut packet = packet::told(operation, uid, ackid, self.id, now);
        if self.signed {
            Signer::new(&SEED).unwrap().sign(&mut packet);
        }
        self.socket.send_to(&packet, at).unwrap();
    }
}

/// The datagrams of a channel.
fn listen(world: &World, handle: &Handle<Server>, name: &str, socket: &UdpSocket, over: &AtomicBool) {
    let mut buffer = [0; PACKET + 1];
    while !over.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let packet: [u8; PACKET] = buffer[..length].try_into().expect("512 bytes");
        handle.with(|_, ctx| {
            let mut state = world.lock().unwrap();
            if state.deaf {
                return;
            }
            let good = take(&mut state, name, &packet, from, ctx);
            state.bad += usize::from(good.is_none());
        });
    }
}

fn take(state: &mut State, name: &str, packet: &[u8; PACKET], from: SocketAddr, ctx: &mut Ctx<Server>) -> Option<()> {
    let channel = state.channels.get_mut(name)?;
    let datagram = packet::parse(packet)?;
    let (Datagram::User { uid } | Datagram::System { uid, .. }) = datagram;
    let signed = channel.signed;
    let member = channel.members.iter_mut().find(|member| member.uid == uid && member.udp)?;
    if signed {
        let counter = packet::counter(packet);
        if !packet::is_sealed(packet, &member.key) || counter <= member.counter {
            return None;
        }
        member.counter = counter;
    }
    member.at = Some(from);
    match datagram {
        Datagram::User { uid } => {
            let data = &packet::data(packet)[..if signed { DATA_SIGNED } else { DATA }];
            channel.pass_on(uid, packet, data, ctx);
        }
        Datagram::System { operation, ackid, .. } => {
            assert_eq!(operation, Some(Operation::Keepalive));
            if ackid != 0 {
                // Noise first: not signed by the server where it should be, and of another channel.
                channel.socket.send_to(&packet::told(Operation::Leave, uid, 0, 77, u64::MAX), from).unwrap();
                channel.answer(Operation::Acknowledge, uid, ackid, from);
            }
        }
    }
    Some(())
}

impl Server {
    fn state(&self) -> MutexGuard<'_, State> {
        self.world.lock().unwrap()
    }

    fn create(&self, name: &str, owner: &str, signed: bool) -> u64 {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let id = 5 << 32 | self.state().channels.len() as u64;
        let channel = Channel { id, owner: owner.to_owned(), signed, socket: Arc::clone(&socket), members: Vec::new() };
        self.state().channels.insert(name.to_owned(), channel);
        let (world, handle) = (Arc::clone(&self.world), self.handle.clone().unwrap());
        let (over, name) = (Arc::clone(&self.over), name.to_owned());
        std::thread::spawn(move || listen(&world, &handle, &name, &socket, &over));
        id
    }

    fn join(&mut self, ctx: &mut Ctx<Server>, name: &str, user: String, link: LinkId, udp: bool) -> String {
        let world = Arc::clone(&self.world);
        let mut state = world.lock().unwrap();
        state.joins += 1;
        let number = state.users.iter().position(|other| *other == user).unwrap_or_else(|| {
            state.users.push(user.clone());
            state.users.len() - 1
        });
        let uid = (number as u64 + 1) << 32 | 7;
        let channel = state.channels.get_mut(name).unwrap();
        let id = channel.id;
        let old = channel.members.iter().position(|member| member.uid == uid);
        let old = old.map(|at| channel.members.remove(at));
        for member in &channel.members {
            if old.is_none() {
                ctx.push(member.link, "VOICECAME", &[format!("{id}|{uid}|{user}").as_bytes()]).unwrap();
            }
        }
        if let Some(old) = old.filter(|old| old.link != link) {
            let _ = ctx.push(old.link, "VOICEENDED", &[id.to_string().as_bytes(), b"elsewhere"]);
        }
        let key = rand::random();
        channel.members.push(Member { uid, user, link, udp, key, at: None, counter: 0 });
        let port = if udp { channel.socket.local_addr().unwrap().port() } else { 0 };
        let (own, server) = match channel.signed && udp {
            true => (hex::encode(&key), hex::encode(&Signer::new(&SEED).unwrap().public())),
            false => Default::default(),
        };
        let mut text = format!("{id}|{uid}|1|{}|{port}|{own}|{server}", u8::from(channel.signed));
        channel.members.iter().for_each(|m| text.push_str(&format!("\n{}|{}", m.uid, m.user)));
        text
    }

    fn remove(&mut self, ctx: &mut Ctx<Server>, name: &str, which: impl Fn(&Member) -> bool, why: Option<&str>) {
        let world = Arc::clone(&self.world);
        let mut state = world.lock().unwrap();
        let Some(channel) = state.channels.get_mut(name) else { return };
        let id = channel.id;
        let (gone, stay) = std::mem::take(&mut channel.members).into_iter().partition(|member| which(member));
        channel.members = stay;
        let gone: Vec<Member> = gone;
        for member in &gone {
            if let Some(why) = why {
                let _ = ctx.push(member.link, "VOICEENDED", &[id.to_string().as_bytes(), why.as_bytes()]);
            }
            if let Some(at) = member.at {
                channel.answer(Operation::Leave, member.uid, 0, at);
            }
            for other in &channel.members {
                let _ = ctx.push(other.link, "VOICELEFT", &[format!("{id}|{}", member.uid).as_bytes()]);
            }
        }
    }
}

/// The fake, running.
pub struct Fake {
    world: World,
    url: String,
    over: Arc<AtomicBool>,
    handle: Handle<Server>,
    _folder: TempDir,
    _listening: Vec<Listening>,
}

impl Fake {
    pub fn start() -> Fake {
        rt::set_up();
        let folder = TempDir::new();
        let file = |end: &str| folder.path().join(format!("fake.{end}"));
        let identity = Identity::load(&file("pem"), &file("key"), true).unwrap();
        let (world, over) = (World::default(), Arc::new(AtomicBool::new(false)));
        let role = Server { world: Arc::clone(&world), on: Vec::new(), handle: None, over: Arc::clone(&over) };
        let handle = Handle::new(role, Limits::default(), 1, None, &Arc::default()).unwrap();
        let own = handle.clone();
        handle.with(|role, _| role.handle = Some(own));
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
        *world.lock().unwrap() = State { ports, main, ..State::default() };
        let url = format!("convergia://{public}#{}", hex::encode(&identity.fingerprint()));
        Fake { world, url, over, handle, _folder: folder, _listening: listening }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// A channel that is there already.
    pub fn channel(&self, name: &str, owner: &str, signed: bool) {
        self.handle.with(|role, _| role.create(name, owner, signed));
    }

    /// The connections of a user break.
    pub fn cut(&self, user: &str) {
        self.handle.with(|role, ctx| {
            let links: Vec<LinkId> = role.on.iter().filter(|(_, on)| on == user).map(|(link, _)| *link).collect();
            links.into_iter().for_each(|link| ctx.abort(link, "cut"));
        });
    }

    /// The server says that a membership is over.
    pub fn end(&self, name: &str, user: &str, why: &str) {
        self.handle.with(|role, ctx| role.remove(ctx, name, |member| member.user == user, Some(why)));
    }

    pub fn look(&self) -> MutexGuard<'_, State> {
        self.world.lock().unwrap()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
