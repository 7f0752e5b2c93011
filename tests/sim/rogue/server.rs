//! The server that lies: it has a good key, and sends what a test wants.

use std::collections::HashMap;

use convergia::config::PortKey;
use convergia::engine::anyone;
use convergia::engine::handshake;
use convergia::engine::handshake::Handshakes;
use convergia::engine::handshake::Member;
use convergia::engine::identity::PublicKey;
use convergia::engine::identity::ServerKey;
use convergia::engine::rt::channel;
use convergia::engine::Answer;
use convergia::engine::Command;
use convergia::engine::Ctx;
use convergia::engine::Gone;
use convergia::engine::LinkId;
use convergia::engine::Request;
use convergia::engine::Role;
use convergia::engine::Target;
use convergia::wire::Fail;

/// How it answers what others send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Not at all.
    Silent,
    /// All is done.
    Takes,
    /// Every message is for sessions that have moved: to unknown servers, to itself, to others.
    SendsRound,
}

pub struct Rogue {
    shakes: Handshakes,
    keys: HashMap<String, PublicKey>,
    pub management: Option<LinkId>,
    dialed: Option<LinkId>,
    /// Links to main servers.
    pub mesh: HashMap<String, LinkId>,
    /// When the others were started.
    pub boots: HashMap<String, String>,
    /// DATA of RELAY, RELAYED and VOICE as it came, each with its sender.
    pub got: Vec<(String, String, String)>,
    /// Lines of ROUTES.
    pub routes: Vec<String>,
    pub manner: Manner,
    boot: u64,
    pub stream: u64,
}

impl Rogue {
    pub fn new(keys: HashMap<String, PublicKey>, key: ServerKey) -> Rogue {
        Rogue {
            shakes: Handshakes::new("rogue", key),
            keys,
            management: None,
            dialed: None,
            mesh: HashMap::new(),
            boots: HashMap::new(),
            got: Vec::new(),
            routes: Vec::new(),
            manner: Manner::Silent,
            boot: 0,
            stream: 0,
        }
    }

    /// Sends a packet as it stands on the wire. False: it is not linked to that server.
    pub fn send(&mut self, ctx: &mut Ctx<Rogue>, to: &str, command: &str, data: &[u8]) -> bool {
        let Some(link) = self.mesh.get(to) else { return false };
        ctx.put_parts(*link, &[command.as_bytes(), b" ", data]).is_ok()
    }

    /// A fresh stream.
    pub fn next_stream(&mut self, now: u64) -> u64 {
        self.stream = now.max(self.stream + 1);
        self.stream
    }

    fn dial(&mut self, ctx: &mut Ctx<Rogue>) {
        self.dialed = Some(ctx.connect(PortKey::MainManagement, Target::Local(PortKey::MainManagement), ()));
    }

    fn introduce(&mut self, ctx: &mut Ctx<Rogue>, link: LinkId) {
        let (key, boot, print) = (self.shakes.key().public().to_string(), self.boot.to_string(), "09".repeat(32));
        let fields = ["rogue", "rogue", "rogue:73", &print, "rogue:77", &key, &boot].map(str::as_bytes);
        ctx.request(link, "MAINSERVER", &fields, move |rogue, ctx, answer| {
            answer.expect("introduced");
            rogue.management = Some(link);
            ctx.request(link, "PORTION", &[b"0"], |_, _, _| {});
            ctx.after(2_000, move |_, ctx| ctx.request(link, "LINKS", &[b"a|1000\nb|1000"], |_, _, _| {}));
        });
    }
}

/// Asks on any of its links.
pub fn ask(
    ctx: &mut Ctx<Rogue>,
    link: LinkId,
    command: &str,
    fields: &[&str],
) -> channel::Receiver<Result<String, Fail>> {
    let (send, answer) = channel::bounded(1);
    let fields: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
    ctx.request(link, command, &fields, move |_, _, result| {
        let _ = send.try_send(result.map(|data| String::from_utf8_lossy(&data.unescape()).into_owned()));
    });
    answer
}

fn relayed(rogue: &mut Rogue, ctx: &mut Ctx<Rogue>, request: &Request<'_>) -> Result<Answer, Fail> {
    let data = String::from_utf8_lossy(request.data().0).into_owned();
    let command = String::from_utf8_lossy(request.packet.command).into_owned();
    let from = rogue.shakes.server(request.link).unwrap_or_default().to_owned();
    if command == "RELAY" && rogue.manner != Manner::Silent {
        let columns: Vec<&str> = data.split('|').collect();
        let (stream, first): (&str, u64) = (columns[4], columns[5].parse().expect("a number"));
        let items = data.splitn(3, "~\n").nth(2).unwrap_or_default();
        let count = convergia::relay::packet::Items(items.as_bytes()).count() as u64;
        let message = data.contains("~\nm|");
        let round = "x1|nowhere|x2|rogue|x3|rogue|x4|a|x5|b|x6|rogue";
        let results: String = match rogue.manner {
            Manner::SendsRound if message => {
                (first..first + count).map(|number| format!("{number}|MOVED|no|{round}~\n")).collect()
            }
            _ => String::new(),
        };
        let last = first + count - 1;
        let head = format!("16|{from}|rogue|{}|{stream}|{last}||~\n{results}", rogue.boot);
        rogue.send(ctx, &from, "RELAYED", head.as_bytes());
    }
    if rogue.got.len() < 100_000 {
        rogue.got.push((from, command, data));
    }
    Ok(Answer::None)
}

fn told(rogue: &mut Rogue, _: &mut Ctx<Rogue>, request: &Request<'_>) -> Result<Answer, Fail> {
    let text = request.data().text()?.into_owned();
    match request.packet.command {
        b"SERVERS" => {
            for columns in text.lines().map(|line| line.split('|').collect::<Vec<_>>()) {
                rogue.boots.insert(columns[0].to_owned(), columns[8].to_owned());
            }
        }
        _ => rogue.routes.extend(text.lines().map(str::to_owned)),
    }
    Ok(Answer::None)
}

const fn row(
    name: &'static str,
    port: &'static [PortKey],
    run: fn(&mut Rogue, &mut Ctx<Rogue>, &Request<'_>) -> Result<Answer, Fail>,
) -> Command<Rogue> {
    Command { name, ports: port, args: "any", gate: anyone, run }
}

const MESH: &[PortKey] = &[PortKey::MainMain];
const MANAGEMENT: &[PortKey] = &[PortKey::MainManagement];

impl Role for Rogue {
    type Peer = ();
    const NAME: &'static str = "rogue";

    fn commands() -> &'static [Command<Rogue>] {
        const {
            &[
                handshake::hello(MESH),
                handshake::prove(MESH),
                row("RELAY", MESH, relayed),
                row("RELAYED", MESH, relayed),
                row("VOICE", MESH, relayed),
                Command { name: "PROBE", ports: MESH, args: "", gate: anyone, run: |_, _, _| Ok(Answer::Ok) },
                row("SERVERS", MANAGEMENT, told),
                row("ROUTES", MANAGEMENT, told),
                row("MAPCHANGED", MANAGEMENT, |_, _, _| Ok(Answer::None)),
                row("KEEPERS", MANAGEMENT, |_, _, _| Ok(Answer::None)),
                row("DISCONNECT", MANAGEMENT, |_, _, _| Ok(Answer::Ok)),
                row("MOVECLIENTS", MANAGEMENT, |_, _, _| Ok(Answer::Ok)),
            ]
        }
    }

    fn start(&mut self, ctx: &mut Ctx<Rogue>) {
        self.boot = ctx.now();
        handshake::ready(self, ctx);
        self.dial(ctx);
    }

    fn opened(&mut self, ctx: &mut Ctx<Rogue>, link: LinkId) {
        match ctx.info(link).map(|info| (info.port, info.opener)) {
            Some((PortKey::MainManagement, _)) => self.introduce(ctx, link),
            Some((PortKey::MainMain, false)) => handshake::accepted(self, ctx, link),
            _ => {}
        }
    }

    fn closed(&mut self, ctx: &mut Ctx<Rogue>, link: LinkId, _: Gone<()>) {
        self.shakes.closed(link);
        self.mesh.retain(|_, known| *known != link);
        if self.dialed == Some(link) {
            (self.management, self.dialed) = (None, None);
            ctx.after(100, Rogue::dial);
        }
    }
}

impl Member for Rogue {
    fn handshakes(&mut self) -> &mut Handshakes {
        &mut self.shakes
    }

    fn handshakes_ref(&self) -> &Handshakes {
        &self.shakes
    }

    fn key_of(&self, server: &str, _: PortKey) -> Option<PublicKey> {
        self.keys.get(server).copied()
    }

    fn proven(&mut self, _: &mut Ctx<Rogue>, link: LinkId, server: &str, _: PublicKey) {
        self.mesh.insert(server.to_owned(), link);
    }
}
