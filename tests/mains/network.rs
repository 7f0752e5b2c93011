//! A simulated management with fake main servers, and one who asks for users and for the operator.

use convergia::config::Policy;
use convergia::config::PortKey;
use convergia::engine::identity::ServerKey;
use convergia::engine::limits::Limits;
use convergia::engine::rt::channel;
use convergia::engine::sim::NodeId;
use convergia::engine::sim::Sim;
use convergia::engine::Command;
use convergia::engine::Ctx;
use convergia::engine::LinkId;
use convergia::engine::Role;
use convergia::engine::Target;
use convergia::engine::Verify;
use convergia::roles::management;
use convergia::wire::Code;
use convergia::wire::Fail;

use crate::fake::Fake;

const PASSWORD: &str = "correct horse";

pub type Result = std::result::Result<String, Fail>;

/// A role that only asks.
struct Asker;

impl Role for Asker {
    type Peer = ();
    const NAME: &'static str = "asker";

    fn commands() -> &'static [Command<Asker>] {
        &[]
    }
}

pub struct Network {
    pub sim: Sim,
    pub management: NodeId,
    asker: NodeId,
}

impl Network {
    pub fn new(seed: u64) -> Network {
        Network::with_rights(seed, &[])
    }

    /// The same; voice users have these rights from the start.
    pub fn with_rights(seed: u64, rights: &[&str]) -> Network {
        let mut sim = Sim::new(seed);
        let settings = management::Settings {
            name: "box".into(),
            key: ServerKey::from_bytes(&[1; 32]),
            registration: Policy::Open,
            token_days: 2,
            fingerprint: [1; 32],
            ports: Vec::new(),
            voice_rights: rights.iter().map(|right| (*right).to_owned()).collect(),
        };
        let listen = [
            (PortKey::ClientManagement, "net:client"),
            (PortKey::Validation, "net:validation"),
            (PortKey::Admin, "net:admin"),
            (PortKey::MainManagement, "net:main_management"),
            (PortKey::MainManagement, "main_management"),
            (PortKey::DatamanagementManagement, "datamanagement_management"),
        ];
        let make = move || management::Management::new(settings.clone());
        let management =
            sim.add(Some(management::MIGRATIONS), Limits::default(), [1; 32], &listen, make).expect("management");
        let asker = sim.add(None, Limits::default(), [0; 32], &[], || Asker).expect("who asks");
        sim.run_for(1_000);
        Network { sim, management, asker }
    }

    /// A main server that has loaded its portion.
    #[track_caller]
    pub fn main(&mut self, id: &'static str, links: &[&'static str]) -> NodeId {
        let links = links.to_vec();
        let make = move || Fake { links: links.clone(), ..Fake::new(id) };
        let node = self.sim.add(None, Limits::default(), [2; 32], &[], make).expect("a main server");
        self.until(node, |fake| fake.loaded);
        node
    }

    /// Looks at a main server.
    pub fn at<T>(&mut self, node: NodeId, look: impl FnOnce(&mut Fake) -> T) -> T {
        self.sim.with(node, |fake: &mut Fake, _| look(fake)).expect("the main server runs")
    }

    /// Runs until something is so at a main server, for a minute at most.
    #[track_caller]
    pub fn until(&mut self, node: NodeId, so: impl Fn(&Fake) -> bool) {
        let until = self.sim.now() + 60_000;
        let done = self.sim.run(until, |sim| sim.with(node, |fake: &mut Fake, _| so(fake)) == Some(true));
        assert!(done, "it never is so");
    }

    fn wait(&mut self, answer: &channel::Receiver<Result>) -> Result {
        let until = self.sim.now() + 20_000;
        let mut got = None;
        self.sim.run(until, |_| {
            got = got.take().or_else(|| answer.try_recv().ok());
            got.is_some()
        });
        got.expect("an answer")
    }

    /// A main server asks management.
    #[track_caller]
    pub fn say(&mut self, node: NodeId, command: &str, fields: &[&str]) -> Result {
        let answer = self.begin(node, command, fields);
        self.wait(&answer)
    }

    /// The same, and the answer is waited for later.
    pub fn begin(&mut self, node: NodeId, command: &str, fields: &[&str]) -> channel::Receiver<Result> {
        let link = self.at(node, |fake| fake.link.expect("a link"));
        self.post::<Fake>(node, link, command, fields)
    }

    /// Waits for the answer to `begin`.
    pub fn end(&mut self, answer: &channel::Receiver<Result>) -> Result {
        self.wait(answer)
    }

    fn post<R: Role>(
        &mut self,
        node: NodeId,
        link: LinkId,
        command: &str,
        fields: &[&str],
    ) -> channel::Receiver<Result> {
        let fields: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
        self.post_bytes::<R>(node, link, command, &fields)
    }

    /// The same with fields of any bytes.
    fn post_bytes<R: Role>(
        &mut self,
        node: NodeId,
        link: LinkId,
        command: &str,
        fields: &[&[u8]],
    ) -> channel::Receiver<Result> {
        let (send, answer) = channel::bounded(1);
        self.sim.with(node, |_: &mut R, ctx: &mut Ctx<R>| {
            ctx.request(link, command, fields, move |_, _, result| {
                let _ = send.try_send(result.map(|data| String::from_utf8_lossy(&data.unescape()).into_owned()));
            });
        });
        answer
    }

    /// A main server passes on a request of KV.
    #[track_caller]
    pub fn kv(&mut self, node: NodeId, local: bool, request: &[u8]) -> Result {
        let link = self.at(node, |fake| fake.link.expect("a link"));
        let local: &[u8] = if local { b"1" } else { b"0" };
        let answer = self.post_bytes::<Fake>(node, link, "VOICECONTROL", &[local, request]);
        self.wait(&answer)
    }

    /// A user signs on at management, and asks something.
    #[track_caller]
    pub fn as_user(&mut self, user: &str, command: &str, fields: &[&str]) -> Result {
        let link = self.open("net:client");
        let answer = self.post::<Asker>(self.asker, link, "LOGIN", &[user, PASSWORD]);
        self.wait(&answer).expect("signed on");
        let answer = self.post::<Asker>(self.asker, link, command, fields);
        self.wait(&answer)
    }

    /// Asks on a link of its own: that of the last answer, with `link`.
    #[track_caller]
    pub fn ask(&mut self, address: &str, command: &str, fields: &[&str]) -> Result {
        let link = self.open(address);
        let answer = self.post::<Asker>(self.asker, link, command, fields);
        self.wait(&answer)
    }

    fn open(&mut self, address: &str) -> LinkId {
        let target = Target::Net(address.to_owned(), Verify::Any);
        let asker = self.asker;
        let link = self.sim.with(asker, |_: &mut Asker, ctx| ctx.connect(PortKey::ClientMain, target, ()));
        let link = link.expect("who asks");
        let until = self.sim.now() + 1_000;
        let open = |sim: &mut Sim| sim.with(asker, |_: &mut Asker, ctx| ctx.is_open(link)) == Some(true);
        assert!(self.sim.run(until, open), "no link to {address}");
        link
    }

    /// An account.
    #[track_caller]
    pub fn account(&mut self, user: &str) {
        self.ask("net:admin", "USERADD", &[user, PASSWORD]).expect("an account");
    }

    /// The user reaches these servers, `id|yes|ms`: which one management chooses, and a ticket.
    #[track_caller]
    pub fn choose(&mut self, user: &str, reached: &str) -> std::result::Result<(String, String), Fail> {
        let link = self.open("net:client");
        let answer = self.post::<Asker>(self.asker, link, "LOGIN", &[user, PASSWORD]);
        self.wait(&answer).expect("signed on");
        let answer = self.post::<Asker>(self.asker, link, "REPORTSERVERS", &[reached]);
        self.wait(&answer).map(|choice| {
            let (server, ticket) = choice.split_once('\n').expect("server-id LF ticket");
            (server.to_owned(), ticket.to_owned())
        })
    }

    /// What a client is told of the servers.
    #[track_caller]
    pub fn list(&mut self, user: &str) -> String {
        let link = self.open("net:client");
        let answer = self.post::<Asker>(self.asker, link, "LOGIN", &[user, PASSWORD]);
        self.wait(&answer).expect("signed on");
        let answer = self.post::<Asker>(self.asker, link, "LISTSERVERS", &[]);
        self.wait(&answer).expect("the servers")
    }

    /// A main server finds a ticket of the user good: it may say that the user is there.
    #[track_caller]
    pub fn validate(&mut self, node: NodeId, user: &str) {
        let id = self.at(node, |fake| fake.id.clone());
        let (server, ticket) = self.choose(user, &format!("{id}|yes|1")).expect("a ticket");
        assert_eq!(server, id);
        let told = self.ask("net:validation", "VALIDATE", &[user, &ticket, &id]).expect("a good ticket");
        let receipt = told.split('\n').nth(2).expect("a receipt").to_owned();
        self.at(node, |fake| fake.receipts.insert(user.to_owned(), receipt));
    }

    /// A server says how often a user is there, and that a session less may go on elsewhere if `left`.
    #[track_caller]
    pub fn presence(&mut self, node: NodeId, user: &str, sessions: u32, left: bool) -> Result {
        let receipt = self.receipt(node, user);
        let left = if left { "1" } else { "0" };
        let answer = self.say(node, "PRESENCE", &[user, &sessions.to_string(), left, &receipt, ""])?;
        self.at(node, |fake| fake.given(user, &answer));
        Ok(answer)
    }

    /// What a server can show for a user.
    pub fn receipt(&mut self, node: NodeId, user: &str) -> String {
        self.at(node, |fake| fake.receipts.get(user).cloned().unwrap_or_default())
    }

    /// The user signs on there; the fake server reports it again whenever it introduces itself.
    #[track_caller]
    pub fn sign_on(&mut self, node: NodeId, user: &str) {
        self.validate(node, user);
        let sessions = self.at(node, |fake| {
            let sessions = fake.users.entry(user.to_owned()).or_default();
            *sessions += 1;
            *sessions
        });
        self.presence(node, user, sessions, false).expect("believed");
    }
}

#[track_caller]
pub fn assert_fails(result: Result, code: Code) {
    match result {
        Err(fail) => assert_eq!(fail.code, code, "{fail}"),
        Ok(data) => panic!("OK {data}, not FAIL {}", code.word()),
    }
}
