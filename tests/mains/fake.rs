//! A main server that is none: it introduces itself to management, loads its portion, says what a test wants, and remembers
//! what it was told.

use std::collections::BTreeMap;

use convergia::config::PortKey;
use convergia::engine::anyone;
use convergia::engine::identity::ServerKey;
use convergia::engine::Answer;
use convergia::engine::Command;
use convergia::engine::Ctx;
use convergia::engine::Gone;
use convergia::engine::LinkId;
use convergia::engine::Request;
use convergia::engine::Role;
use convergia::engine::Target;
use convergia::route::entry;
use convergia::route::Table;
use convergia::wire::Fail;

pub struct Fake {
    pub id: String,
    pub boot: u64,
    pub link: Option<LinkId>,
    /// What it reports whenever it introduces itself: sessions by user, and links.
    pub users: BTreeMap<String, u32>,
    /// What it shows for them.
    pub receipts: BTreeMap<String, String>,
    pub links: Vec<&'static str>,
    /// What it says in VOICEHERE whenever it introduces itself; None: it does not.
    pub here: Option<Vec<String>>,
    pub table: Table<u32>,
    pub version: u64,
    /// The portion is complete.
    pub loaded: bool,
    /// Checksums and versions that were not as they should be.
    pub wrong: Vec<String>,
    /// Commands of management and their DATA.
    pub told: Vec<(String, String)>,
}

impl Fake {
    pub fn new(id: &str) -> Fake {
        let mut table = Table::default();
        table.set_own(id).expect("a good name");
        Fake {
            id: id.to_owned(),
            boot: 0,
            link: None,
            users: BTreeMap::new(),
            receipts: BTreeMap::new(),
            links: Vec::new(),
            here: None,
            table,
            version: 0,
            loaded: false,
            wrong: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Where the table has a user.
    pub fn places(&self, user: &str) -> Vec<&str> {
        let user = self.table.find(user).and_then(|user| self.table.get(user));
        user.map_or(Vec::new(), |user| user.at.iter().map(|server| self.table.server_id(*server)).collect())
    }

    /// The next hop to a server; empty: none.
    pub fn next_hop(&self, server: &str) -> &str {
        let next = self.table.server_no(server).and_then(|server| self.table.next_hop(server));
        next.map_or("", |next| self.table.server_id(next))
    }

    /// DATA of the commands of this name, oldest first.
    pub fn told(&self, command: &str) -> Vec<&str> {
        self.told.iter().filter(|(name, _)| name == command).map(|(_, data)| data.as_str()).collect()
    }

    /// The newest line of SERVERS on this server, in its columns.
    pub fn server(&self, id: &str) -> Vec<&str> {
        let mut lines =
            self.told("SERVERS").into_iter().flat_map(str::lines).filter(|line| line.split('|').next() == Some(id));
        lines.next_back().unwrap_or_default().split('|').collect()
    }

    fn connect(&mut self, ctx: &mut Ctx<Fake>) {
        self.link = Some(ctx.connect(PortKey::MainManagement, Target::Local(PortKey::MainManagement), ()));
    }

    pub fn introduce(&mut self, ctx: &mut Ctx<Fake>, link: LinkId) {
        let (key, boot) = (ServerKey::from_bytes(&[7; 32]).public().to_string(), self.boot.to_string());
        let address = format!("{}:73", self.id);
        let print = "0a".repeat(32);
        let mesh = format!("{}:77", self.id);
        let fields = [&self.id, &self.id, &address, &print, &mesh, &key, &boot].map(String::as_bytes);
        ctx.request(link, "MAINSERVER", &fields, move |fake, ctx, answer| {
            if let Err(fail) = answer {
                fake.told.push(("MAINSERVER".to_owned(), fail.to_string()));
                return ctx.close(link, "refused");
            }
            for (user, sessions) in fake.users.clone() {
                fake.presence(ctx, &user, sessions);
            }
            if let Some(lines) = &fake.here {
                ctx.request(link, "VOICEHERE", &[lines.join("\n").as_bytes()], |fake, _, answer| {
                    let word = answer.map_or_else(|fail| fail.code.word().to_owned(), |_| "OK".to_owned());
                    fake.told.push(("VOICEHERE".to_owned(), word));
                });
            }
            fake.load(ctx, "0".to_owned());
        });
    }

    /// PRESENCE whose answer nobody waits for; a refusal is remembered.
    pub fn presence(&mut self, ctx: &mut Ctx<Fake>, user: &str, sessions: u32) {
        let Some(link) = self.link else { return };
        let (count, user) = (sessions.to_string(), user.to_owned());
        let receipt = self.receipts.get(&user).cloned().unwrap_or_default();
        let fields = [&*user.clone(), &count, "0", &receipt, ""].map(|field| field.as_bytes().to_vec());
        ctx.request(link, "PRESENCE", &fields.each_ref().map(Vec::as_slice), move |fake, _, answer| match answer {
            Ok(data) => fake.given(&user, &data.text().expect("UTF-8")),
            Err(fail) => fake.told.push(("PRESENCE".to_owned(), format!("{user} {}", fail.code.word()))),
        });
    }

    /// PRESENCE was answered: `receipt LF keepers`, or nothing.
    pub fn given(&mut self, user: &str, answer: &str) {
        if let Some((receipt, _)) = answer.split_once('\n') {
            self.receipts.insert(user.to_owned(), receipt.to_owned());
        }
    }

    pub fn report_links(&self, ctx: &mut Ctx<Fake>) {
        let Some(link) = self.link else { return };
        let up = self.links.iter().filter(|id| self.server(id).get(1) == Some(&"up"));
        let lines: Vec<String> = up.map(|id| format!("{id}|1000")).collect();
        ctx.request(link, "LINKS", &[lines.join("\n").as_bytes()], |_, _, _| {});
    }

    pub fn load(&mut self, ctx: &mut Ctx<Fake>, cursor: String) {
        let Some(link) = self.link else { return };
        let first = cursor == "0";
        ctx.request(link, "PORTION", &[cursor.as_bytes()], move |fake, ctx, answer| {
            let Ok(data) = answer else { return };
            let [next, version, checksum, lines] = data.take().expect("four fields");
            if first {
                fake.table.forget();
            }
            fake.table.apply(&lines.text().expect("UTF-8")).expect("good lines");
            let next = next.text().expect("UTF-8").into_owned();
            if !next.is_empty() {
                return fake.load(ctx, next);
            }
            fake.loaded = true;
            fake.version = version.number().expect("a version");
            fake.check(&checksum.text().expect("UTF-8"));
        });
    }

    fn check(&mut self, checksum: &str) {
        let own = entry::checksum_text(self.table.checksum());
        if own != checksum {
            self.wrong.push(format!("version {}: {own}, and {checksum} was told", self.version));
        }
    }
}

fn told(fake: &mut Fake, ctx: &mut Ctx<Fake>, request: &Request<'_>) -> Result<Answer, Fail> {
    let command = String::from_utf8_lossy(request.packet.command).into_owned();
    if command == "ROUTES" {
        let [version, checksum, lines] = request.data().take()?;
        fake.table.apply(&lines.text()?)?;
        let version = version.number()?;
        if version < fake.version {
            fake.wrong.push(format!("version {version} after {}", fake.version));
        }
        fake.version = version;
        if fake.loaded {
            fake.check(&checksum.text()?);
        }
    }
    let asks = ["DRAIN", "MOVECLIENTS", "DISCONNECT"].contains(&command.as_str());
    let servers = command == "SERVERS";
    fake.told.push((command, request.data().text()?.into_owned()));
    if servers {
        fake.report_links(ctx);
    }
    Ok(if asks { Answer::Ok } else { Answer::None })
}

const fn row(name: &'static str, args: &'static str) -> Command<Fake> {
    Command { name, ports: &[PortKey::MainManagement], args, gate: anyone, run: told }
}

impl Role for Fake {
    type Peer = ();
    const NAME: &'static str = "fake";

    fn commands() -> &'static [Command<Fake>] {
        const {
            &[
                row("ROUTES", "lines"),
                row("SERVERS", "lines"),
                row("MAPCHANGED", "lines"),
                row("KEEPERS", "username LF account LF server-id|server-id…"),
                row("DRAIN", ""),
                row("MOVECLIENTS", "count LF server-id"),
                row("DISCONNECT", "username LF reason"),
                row("VOICEMEMBERS", "channel|signed LF lines"),
                row("VOICECAME", "line"),
                row("VOICELEFT", "line"),
                row("VOICEENDED", "channel"),
            ]
        }
    }

    fn start(&mut self, ctx: &mut Ctx<Fake>) {
        self.boot = ctx.now();
        self.connect(ctx);
    }

    fn opened(&mut self, ctx: &mut Ctx<Fake>, link: LinkId) {
        self.introduce(ctx, link);
    }

    fn closed(&mut self, ctx: &mut Ctx<Fake>, _: LinkId, _: Gone<()>) {
        (self.link, self.loaded) = (None, false);
        ctx.after(100, |fake, ctx| fake.connect(ctx));
    }
}
