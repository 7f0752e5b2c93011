//! What needs a clock that can be turned, or a look at what is random: a simulation, from a seed.

use convergia::accounts::captcha;
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
use convergia::roles::main;
use convergia::roles::management;
use convergia::wire::Code;
use convergia::wire::Fail;
use rand::rngs::StdRng;
use rand::Rng;
use rand::SeedableRng;

const MANAGEMENT: [u8; 32] = [1; 32];
const MAIN: [u8; 32] = [2; 32];
const PASSWORD: &str = "correct horse";
const MINUTE: u64 = 60_000;

/// A role that only asks.
struct Asker;

impl Role for Asker {
    type Peer = ();
    const NAME: &'static str = "asker";

    fn commands() -> &'static [Command<Asker>] {
        &[]
    }
}

type Result = std::result::Result<Vec<u8>, Fail>;

struct Network {
    sim: Sim,
    management: NodeId,
    asker: NodeId,
}

impl Network {
    fn new(seed: u64, registration: Policy) -> Network {
        let mut sim = Sim::new(seed);
        let settings = management::Settings {
            name: "management".into(),
            key: ServerKey::from_bytes(&[1; 32]),
            registration,
            token_days: 2,
            fingerprint: MANAGEMENT,
            ports: Vec::new(),
            voice_rights: Vec::new(),
        };
        let listen = [
            (PortKey::PublicManagement, "net:public"),
            (PortKey::ClientManagement, "net:client"),
            (PortKey::Validation, "net:validation"),
            (PortKey::Admin, "net:admin"),
            (PortKey::MainManagement, "main_management"),
            (PortKey::Validation, "validation"),
        ];
        let make = move || management::Management::new(settings.clone());
        let management =
            sim.add(Some(management::MIGRATIONS), Limits::default(), MANAGEMENT, &listen, make).expect("management");
        let settings = main::Settings {
            server_id: "main".into(),
            name: "main".into(),
            address: "net:main".into(),
            mesh: String::new(),
            fingerprint: MAIN,
            key: ServerKey::from_bytes(&[2; 32]),
            public: None,
            management: Target::Local(PortKey::MainManagement),
            validation: Target::Local(PortKey::Validation),
            storage: false,
            realm: None,
        };
        let make = move || main::Main::new(settings.clone());
        let listen = [(PortKey::ClientMain, "net:main")];
        sim.add(Some(main::MIGRATIONS), Limits::default(), MAIN, &listen, make).expect("main");
        let asker = sim.add(None, Limits::default(), [0; 32], &[], || Asker).expect("a client");
        sim.run_for(1_000);
        Network { sim, management, asker }
    }

    fn with<T>(&mut self, run: impl FnOnce(&mut Asker, &mut Ctx<Asker>) -> T) -> T {
        self.sim.with(self.asker, run).expect("the client runs")
    }

    fn open(&mut self, address: &str) -> LinkId {
        let target = Target::Net(address.to_owned(), Verify::Any);
        // On this side the port only names the table of commands, which is empty.
        let link = self.with(|_, ctx| ctx.connect(PortKey::ClientMain, target, ()));
        let (until, asker) = (self.sim.now() + 1_000, self.asker);
        assert!(
            self.sim.run(until, |sim| sim.with(asker, |_: &mut Asker, ctx| ctx.is_open(link)) == Some(true)),
            "no link to {address}"
        );
        link
    }

    fn post(&mut self, link: LinkId, command: &str, fields: &[&str]) -> channel::Receiver<Result> {
        let (send, answer) = channel::bounded(1);
        let fields: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
        self.with(|_, ctx| {
            ctx.request(link, command, &fields, move |_, _, result| {
                let _ = send.try_send(result.map(|data| data.unescape().into_owned()));
            });
        });
        answer
    }

    fn wait(&mut self, answer: &channel::Receiver<Result>) -> Result {
        let until = self.sim.now() + 10_000;
        let mut got = None;
        self.sim.run(until, |_| {
            got = got.take().or_else(|| answer.try_recv().ok());
            got.is_some()
        });
        got.expect("an answer")
    }

    fn ask(&mut self, link: LinkId, command: &str, fields: &[&str]) -> Result {
        let answer = self.post(link, command, fields);
        self.wait(&answer)
    }

    /// Asks on a link of its own.
    fn ask_at(&mut self, address: &str, command: &str, fields: &[&str]) -> Result {
        let link = self.open(address);
        self.ask(link, command, fields)
    }

    /// REGISTERACCOUNT: the request id and the picture.
    fn register(&mut self, user: &str) -> (String, Vec<u8>) {
        let data = self.ask_at("net:public", "REGISTERACCOUNT", &[user, PASSWORD]).expect("begun");
        let at = data.iter().position(|byte| *byte == b'\n').expect("request-id LF picture");
        (String::from_utf8(data[..at].to_vec()).expect("UTF-8"), data[at + 1..].to_vec())
    }

    fn confirm(&mut self, id: &str, text: &str) -> Result {
        self.ask_at("net:public", "CONFIRMREGISTERACCOUNT", &[id, text])
    }

    /// An account where the policy is `open`.
    fn account(&mut self, user: &str) {
        let (id, _) = self.register(user);
        self.confirm(&id, "").expect("registered");
    }

    fn log_in(&mut self, user: &str, secret: &str) -> Result {
        self.ask_at("net:client", "LOGIN", &[user, secret])
    }

    /// A ticket for the only main server.
    fn ticket(&mut self, user: &str) -> String {
        let link = self.open("net:client");
        self.ask(link, "LOGIN", &[user, PASSWORD]).expect("signed on");
        let choice = text(self.ask(link, "REPORTSERVERS", &["main|yes|1"]));
        choice.split_once('\n').expect("server-id LF ticket").1.to_owned()
    }

    /// Begins a registration whose captcha the test knows: it sets what management's random numbers are made of, and
    /// draws the same picture.
    fn register_knowing(&mut self, user: &str, seed: u64) -> (String, String) {
        let management = self.management;
        let set = |_: &mut management::Management, ctx: &mut Ctx<management::Management>| {
            *ctx.rng() = StdRng::seed_from_u64(seed);
        };
        self.sim.with(management, set).expect("management runs");
        // First the request's id, then the seed of the picture.
        let (mut rng, mut id, mut random) = (StdRng::seed_from_u64(seed), [0; 32], [0; 32]);
        rng.fill_bytes(&mut id);
        rng.fill_bytes(&mut random);
        let drawn = captcha::draw(&mut StdRng::from_seed(random)).unwrap();
        let (id, png) = self.register(user);
        assert!(png == drawn.png, "management drew another picture");
        (id, drawn.answer)
    }
}

#[track_caller]
fn text(result: Result) -> String {
    String::from_utf8(result.expect("OK")).expect("UTF-8")
}

#[track_caller]
fn assert_fails(result: Result, code: Code) {
    match result {
        Err(fail) => assert_eq!(fail.code, code, "{fail}"),
        Ok(data) => panic!("OK {}, not FAIL {}", data.escape_ascii(), code.word()),
    }
}

#[test]
fn who_reads_the_captcha_gets_the_account() {
    let mut net = Network::new(1, Policy::Captcha);
    let (id, answer) = net.register_knowing("alice", 10);
    net.confirm(&id, &answer.to_lowercase()).expect("the right answer");
    net.log_in("alice", PASSWORD).expect("an account");
    assert_fails(net.confirm(&id, &answer), Code::Wrong);
}

#[test]
fn after_a_wrong_answer_the_right_one_comes_too_late() {
    let mut net = Network::new(2, Policy::Captcha);
    let (id, answer) = net.register_knowing("alice", 20);
    assert_fails(net.confirm(&id, "00000"), Code::Wrong);
    assert_fails(net.confirm(&id, &answer), Code::Wrong);
    assert_fails(net.log_in("alice", PASSWORD), Code::Wrong);
    // Another request's answer is no answer to this one.
    let (first, one) = net.register_knowing("alice", 21);
    let (_, other) = net.register_knowing("alice", 22);
    assert_ne!(one, other);
    assert_fails(net.confirm(&first, &other), Code::Wrong);
}

#[test]
fn a_registration_is_open_for_60_s() {
    let mut net = Network::new(3, Policy::Captcha);
    let (late, answer) = net.register_knowing("alice", 30);
    net.sim.run_for(MINUTE);
    assert_fails(net.confirm(&late, &answer), Code::Expired);
    assert_fails(net.log_in("alice", PASSWORD), Code::Wrong);
    let (id, answer) = net.register_knowing("alice", 31);
    net.sim.run_for(MINUTE - 1_000);
    net.confirm(&id, &answer).expect("in time");
    net.log_in("alice", PASSWORD).expect("an account");
}

#[test]
fn an_invite_is_good_for_its_days() {
    let mut net = Network::new(4, Policy::Invite);
    let code = text(net.ask_at("net:admin", "INVITE", &["1"]));
    let other = text(net.ask_at("net:admin", "INVITE", &["2"]));
    net.sim.run_for(24 * 60 * MINUTE);
    let (id, _) = net.register("alice");
    assert_fails(net.confirm(&id, &code), Code::Wrong);
    let (id, _) = net.register("alice");
    net.confirm(&id, &other).expect("still good");
}

#[test]
fn a_token_is_good_for_its_days() {
    let mut net = Network::new(5, Policy::Open);
    net.account("alice");
    let token = format!("token:{}", text(net.log_in("alice", PASSWORD)));
    net.sim.run_for(2 * 24 * 60 * MINUTE - MINUTE);
    net.log_in("alice", &token).expect("still good");
    net.sim.run_for(MINUTE);
    assert_fails(net.log_in("alice", &token), Code::Wrong);
}

#[test]
fn a_ticket_is_good_for_60_s() {
    let mut net = Network::new(6, Policy::Open);
    net.account("alice");
    let (late, asked, good) = (net.ticket("alice"), net.ticket("alice"), net.ticket("alice"));
    net.sim.run_for(MINUTE - 2_000);
    net.ask_at("net:main", "SIGNON", &["alice", &good]).expect("in time");
    net.sim.run_for(2_000);
    assert_fails(net.ask_at("net:main", "SIGNON", &["alice", &late]), Code::Expired);
    assert_fails(net.ask_at("net:validation", "VALIDATE", &["alice", &asked]), Code::Expired);
}

/// The operator shuts a user out at the very moment at which it signs on: whichever comes first, the user is out.
#[test]
fn shut_out_while_signing_on() {
    for seed in 0..20 {
        let mut net = Network::new(seed, Policy::Open);
        net.account("bob");
        let tickets = [net.ticket("bob"), net.ticket("bob"), net.ticket("bob")];
        let operator = net.open("net:admin");
        let log_ins: Vec<LinkId> = (0..3).map(|_| net.open("net:client")).collect();
        let sign_ons: Vec<LinkId> = (0..3).map(|_| net.open("net:main")).collect();
        let mut tokens = Vec::new();
        let mut disabled = None;
        for n in 0..3 {
            tokens.push(net.post(log_ins[n], "LOGIN", &["bob", PASSWORD]));
            net.post(sign_ons[n], "SIGNON", &["bob", &tickets[n]]);
            let pause = rand::RngExt::random_range(net.sim.rng(), 0..40);
            net.sim.run_for(pause);
            if n == 1 {
                disabled = Some(net.post(operator, "USERSTATE", &["bob", "disabled"]));
            }
        }
        net.wait(&disabled.expect("asked")).expect("disabled");
        net.sim.run_for(2_000);
        let sessions = text(net.ask(operator, "USERS", &["", "10"]));
        assert!(sessions.starts_with("bob|disabled|") && sessions.ends_with("|0|no||"), "seed {seed}: {sessions}");
        for (n, link) in sign_ons.iter().chain(&log_ins).enumerate() {
            assert!(!net.with(|_, ctx| ctx.is_open(*link)) || refused(&mut net, *link), "seed {seed}: link {n} is on");
        }
        net.ask(operator, "USERSTATE", &["bob", "active"]).expect("enabled");
        for token in tokens {
            if let Ok(Ok(token)) = token.try_recv() {
                let token = format!("token:{}", String::from_utf8(token).expect("UTF-8"));
                let answer = net.log_in("bob", &token);
                assert!(answer.is_err(), "seed {seed}: a token from before is good again");
            }
        }
    }
}

/// The operator sets another password while the old one is being checked: no token of the old one is good afterwards.
#[test]
fn another_password_while_signing_on() {
    for seed in 0..20 {
        let mut net = Network::new(seed, Policy::Open);
        net.account("bob");
        let operator = net.open("net:admin");
        let links: Vec<LinkId> = (0..4).map(|_| net.open("net:client")).collect();
        let changed = net.post(operator, "USERPASSWD", &["bob", "another"]);
        let mut tokens = Vec::new();
        for link in links {
            tokens.push(net.post(link, "LOGIN", &["bob", PASSWORD]));
            net.sim.run_for(10);
        }
        net.wait(&changed).expect("changed");
        net.sim.run_for(2_000);
        for token in tokens {
            if let Ok(token) = token.try_recv().expect("an answer") {
                let token = format!("token:{}", String::from_utf8(token).expect("UTF-8"));
                assert!(net.log_in("bob", &token).is_err(), "seed {seed}: a token of the old password is good");
            }
        }
        net.log_in("bob", "another").expect("the new password");
    }
}

/// The link stands, and is not signed on.
fn refused(net: &mut Network, link: LinkId) -> bool {
    let commands = ["GETSERVERMAP", "LISTSERVERS"];
    commands.iter().all(|command| net.ask(link, command, &[]).is_err())
}
