//! Clusters: several real processes that are one network, with roles as a test wants them, alone on this machine's loopback
//! or in sites with firewalls between them.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use convergia::client::Options;
use convergia::client::Secret;
use convergia::config::PortKey;
use convergia::wire::Code;
use rustix::process::Signal;
use serde_json::Value;

use super::chat::Chat;
use super::command::admin;
use super::raw::Raw;
use super::server::public_key;
use super::server::Server;
use super::sign_on;
use super::sites;
use super::sites::Sites;
use super::sites::Topology;
use super::temp::TempDir;
use super::traffic::Library;
use super::traffic::Talker;

/// How long what the whole network must agree on may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// In sites, ports are fixed, below those that the system gives out. This many for each process.
const PORTS: usize = 100;
const FIRST_PORT: usize = 20_000;

/// What a process of the cluster shall be.
#[derive(Clone)]
pub struct Plan {
    name: String,
    roles: Vec<String>,
    site: Option<String>,
    options: Vec<String>,
    /// Of `admin add-server`.
    added: Vec<String>,
}

impl Plan {
    /// A process with that name, which is its server-id, and these roles.
    pub fn new(name: &str, roles: &[&str]) -> Plan {
        let roles = roles.iter().map(|&role| role.to_owned()).collect();
        Plan { name: name.to_owned(), roles, site: None, options: Vec::new(), added: Vec::new() }
    }

    /// One key of the configuration: `KEY=VALUE`.
    #[must_use]
    pub fn set(self, setting: &str) -> Plan {
        self.option("--set").option(setting)
    }

    /// One argument more on its command line.
    #[must_use]
    pub fn option(mut self, option: &str) -> Plan {
        self.options.push(option.to_owned());
        self
    }

    /// A data server that may lose what it stores.
    #[must_use]
    pub fn volatile(mut self) -> Plan {
        self.added.push("--volatile".to_owned());
        self
    }

    /// Which site it is in; otherwise the one of its name.
    #[must_use]
    pub fn site(mut self, site: &str) -> Plan {
        self.site = Some(site.to_owned());
        self
    }

    fn has(&self, role: &str) -> bool {
        self.roles.iter().any(|own| own == role)
    }
}

/// What a cluster shall be.
#[derive(Default)]
pub struct Builder {
    plans: Vec<Plan>,
    topology: Option<Topology>,
}

impl Builder {
    /// One process more.
    #[must_use]
    pub fn node(mut self, plan: Plan) -> Builder {
        assert!(self.plans.iter().all(|other| other.name != plan.name), "two are called {}", plan.name);
        self.plans.push(plan);
        self
    }

    /// A process with the role management alone, called `management`. Anyone may register on it.
    #[must_use]
    pub fn management(self) -> Builder {
        self.node(Plan::new("management", &["management"]).set("management.registration=open"))
    }

    /// Processes with the role main alone.
    #[must_use]
    pub fn mains(self, names: &[&str]) -> Builder {
        names.iter().fold(self, |builder, name| builder.node(Plan::new(name, &["main"])))
    }

    /// With firewalls. Management is in `sites::MANAGEMENT`.
    #[must_use]
    pub fn topology(mut self, topology: Topology) -> Builder {
        self.topology = Some(topology);
        self
    }

    /// Starts all; when this returns, every process has joined and says that it is ready.
    #[track_caller]
    pub fn start(self) -> Cluster {
        let began = Instant::now();
        let at = self.plans.iter().position(|plan| plan.has("management")).expect("one has the role management");
        let sites = self.topology.as_ref().map(Sites::new);
        let mut cluster = Cluster {
            nodes: BTreeMap::new(),
            management: self.plans[at].name.clone(),
            next: 0,
            took: Duration::ZERO,
            sites,
        };
        let mut plans = self.plans;
        cluster.launch(plans.remove(at), TempDir::new());
        // Keys need no server.
        let mains: Vec<(Plan, TempDir)> = plans.into_iter().map(|plan| (plan, TempDir::new())).collect();
        let keys: Vec<String> = thread::scope(|scope| {
            let makes: Vec<_> = mains.iter().map(|(_, directory)| scope.spawn(|| public_key(directory))).collect();
            cluster.node_mut(&cluster.management.clone()).server.wait_until_ready();
            makes.into_iter().map(|make| make.join().expect("`convergia key` works")).collect()
        });
        thread::scope(|scope| {
            for ((plan, _), key) in mains.iter().zip(&keys) {
                scope.spawn(|| cluster.introduce(plan, key));
            }
        });
        let names: Vec<String> = mains.iter().map(|(plan, _)| plan.name.clone()).collect();
        for (plan, directory) in mains {
            cluster.launch(plan, directory);
        }
        for name in names {
            cluster.node_mut(&name).server.wait_until_ready();
        }
        cluster.took = began.elapsed();
        cluster
    }
}

struct Node {
    site: Option<String>,
    server: Server,
}

/// Running processes that are one network. Whatever still runs is killed when dropped; when the test has failed, the logs of
/// all are printed.
pub struct Cluster {
    // Before the sites: processes go first.
    nodes: BTreeMap<String, Node>,
    management: String,
    /// Processes that were ever started.
    next: usize,
    took: Duration,
    sites: Option<Sites>,
}

impl Cluster {
    /// A cluster of no processes yet.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Management and these main servers, without firewalls.
    #[track_caller]
    pub fn of(mains: &[&str]) -> Cluster {
        Cluster::builder().management().mains(mains).start()
    }

    /// Management, and a main server in each site of the topology, with the site's name.
    #[track_caller]
    pub fn in_sites(topology: Topology, mains: &[&str]) -> Cluster {
        Cluster::builder().management().mains(mains).topology(topology).start()
    }

    /// One process more, into the running network: the operator adds it, it joins. When this returns, it is ready.
    #[track_caller]
    pub fn add(&mut self, plan: Plan) {
        let directory = TempDir::new();
        self.introduce(&plan, &public_key(&directory));
        let name = plan.name.clone();
        self.launch(plan, directory);
        self.node_mut(&name).server.wait_until_ready();
    }

    fn introduce(&self, plan: &Plan, key: &str) {
        for role in &plan.roles {
            let mut arguments = vec!["add-server", &plan.name, role, key];
            arguments.extend(plan.added.iter().map(String::as_str));
            self.admin(&arguments);
        }
    }

    fn launch(&mut self, plan: Plan, directory: TempDir) {
        let mut arguments = vec!["--set".to_owned(), format!("name={}", plan.name)];
        for role in &plan.roles {
            arguments.extend(["--role".to_owned(), role.clone()]);
        }
        if plan.name != self.management {
            arguments.extend(["--set".to_owned(), format!("join={}", self.url())]);
        }
        let site = self.sites.as_ref().map(|_| match (&plan.site, plan.name == self.management) {
            (Some(site), _) => site.clone(),
            (None, true) => sites::MANAGEMENT.to_owned(),
            (None, false) => plan.name.clone(),
        });
        let places = match (&self.sites, &site) {
            (Some(sites), Some(site)) => places(sites, site, &plan, FIRST_PORT + PORTS * self.next),
            _ => vec!["--any-port".to_owned()],
        };
        arguments.extend(plan.options);
        self.next += 1;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let start = || Server::begin_at(directory, places, &arguments);
        let mut server = self.within_site(site.as_deref(), start);
        let host = match self.sites.as_ref().zip(site.as_deref()) {
            Some((sites, sites::MANAGEMENT)) => sites.address(sites::MANAGEMENT),
            Some((sites, site)) => sites.inner(site),
            None => "127.0.0.1".to_owned(),
        };
        server.set_name(&plan.name, &host);
        self.nodes.insert(plan.name, Node { site, server });
    }

    fn node(&self, name: &str) -> &Node {
        self.nodes.get(name).unwrap_or_else(|| panic!("no process {name}"))
    }

    fn node_mut(&mut self, name: &str) -> &mut Node {
        self.nodes.get_mut(name).unwrap_or_else(|| panic!("no process {name}"))
    }

    /// How long it took until all were ready.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// A process: its addresses, its log, its memory.
    #[track_caller]
    pub fn server(&self, name: &str) -> &Server {
        &self.node(name).server
    }

    /// The names of all processes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// The process with the management role.
    pub fn management(&self) -> &Server {
        self.server(&self.management)
    }

    /// What clients are given.
    pub fn url(&self) -> String {
        self.management().url()
    }

    /// The sites it is in, to cut links and heal them.
    #[track_caller]
    pub fn sites(&self) -> &Sites {
        self.sites.as_ref().expect("a cluster with a topology")
    }

    /// `convergia admin` on management; its output. Panics unless it is done.
    #[track_caller]
    pub fn admin(&self, arguments: &[&str]) -> String {
        admin(self.management(), arguments)
    }

    /// The main servers that management calls up, sorted.
    #[track_caller]
    pub fn up(&self) -> Vec<String> {
        let text = self.admin(&["servers", "--json"]);
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
        let name = |line: Value| line["name"].as_str().expect("a name").to_owned();
        let mut up: Vec<String> = lines.filter(|line| line["state"] == "up").map(name).collect();
        up.sort();
        up
    }

    /// Waits until management calls all of these up.
    #[track_caller]
    pub fn wait_up(&self, names: &[&str]) {
        self.until(&format!("{names:?} are up"), || {
            let up = self.up();
            names.iter().all(|name| up.iter().any(|is| is == name))
        });
    }

    /// SIGKILL: the power cut.
    pub fn kill(&mut self, name: &str) {
        self.node_mut(name).server.kill();
    }

    /// SIGTERM, and waits until it has ended well.
    #[track_caller]
    pub fn term(&mut self, name: &str) {
        let status = self.node_mut(name).server.terminate();
        assert!(status.success(), "{name} ended with {status}; its log:\n{}", self.server(name).log());
    }

    /// Starts it again, on the same data and the same ports. It must have ended, or is killed. When this returns, it is ready.
    #[track_caller]
    pub fn start(&mut self, name: &str) {
        let Cluster { nodes, sites, .. } = self;
        let node = nodes.get_mut(name).unwrap_or_else(|| panic!("no process {name}"));
        match sites.as_ref().zip(node.site.as_deref()) {
            Some((sites, site)) => sites.within(site, || node.server.restart_in_place()),
            None => node.server.restart_in_place(),
        }
    }

    /// SIGSTOP: it does nothing any more, and its connections stand.
    pub fn pause(&self, name: &str) {
        self.server(name).pause();
    }

    /// SIGCONT: it goes on.
    pub fn resume(&self, name: &str) {
        self.server(name).signal(Signal::CONT);
    }

    /// SIGTERM to all that run, management last; waits until each has ended well.
    #[track_caller]
    pub fn stop(mut self) {
        let alive = |node: &mut Node| node.server.is_alive();
        let running: Vec<String> =
            self.nodes.iter_mut().filter_map(|(name, node)| alive(node).then(|| name.clone())).collect();
        let (last, first): (Vec<String>, Vec<String>) = running.into_iter().partition(|name| *name == self.management);
        for names in [first, last] {
            for name in &names {
                self.server(name).signal(Signal::TERM);
            }
            for name in &names {
                let status = self.node_mut(name).server.exit();
                assert!(status.success(), "{name} ended with {status}");
            }
        }
    }

    /// Does work where a process is: in its site, if there are sites.
    #[track_caller]
    pub fn within<T: Send>(&self, name: &str, work: impl FnOnce() -> T + Send) -> T {
        self.within_site(self.node(name).site.as_deref(), work)
    }

    #[track_caller]
    fn within_site<T: Send>(&self, site: Option<&str>, work: impl FnOnce() -> T + Send) -> T {
        match self.sites.as_ref().zip(site) {
            Some((sites, site)) => sites.within(site, work),
            None => work(),
        }
    }

    /// Registers the user if there is none, and signs on to the main server `name`, from within its site. Tries again after
    /// UNAVAILABLE, as clients do.
    #[track_caller]
    pub fn sign_on(&self, user: &str, name: &str) -> Raw {
        let mut link = None;
        self.until(&format!("{user} signs on at {name}"), || {
            match self.within(name, || sign_on::sign_on_at(self.management(), user, name)) {
                Ok(on) => link = Some(on),
                Err(fail) => assert_eq!(fail.code(), Code::Unavailable, "{fail:?}"),
            }
            link.is_some()
        });
        link.expect("signed on")
    }

    /// A user at the main server `name` who will talk to each of `others`, itself left out.
    #[track_caller]
    pub fn talker(&self, user: &str, name: &str, others: &[&str]) -> Talker {
        Talker::new(user, others, self.sign_on(user, name))
    }

    /// `convergia chat` in the site of the users, signed on at a server that it reaches; registers the user if there is none.
    #[track_caller]
    pub fn chat(&self, user: &str) -> Chat {
        self.sites().within(sites::USERS, || {
            sign_on::register_if_new(self.management(), user);
            Chat::sign_on(&self.url(), user, sign_on::PASSWORD)
        })
    }

    /// For a client of the library; registers the user if there is none. Management chooses the server. Not with sites: the
    /// library dials on a thread that no test can put into one.
    #[track_caller]
    pub fn options(&self, user: &str) -> Options {
        assert!(self.sites.is_none(), "the library does not dial within sites");
        sign_on::register_if_new(self.management(), user);
        let address = self.url().parse().expect("an address");
        Options::new(address, user.to_owned(), Secret::Password(sign_on::PASSWORD.to_owned().into()))
    }

    /// Clients of the library, signed on at the main server `name`. They choose among the servers that answer, so all others
    /// stand still for that second. Not while others talk, and not where management and a main server are one process.
    #[track_caller]
    pub fn libraries(&self, users: &[&str], name: &str) -> Vec<Library> {
        let options: Vec<Options> = users.iter().map(|user| self.options(user)).collect();
        let up = self.up();
        let others = Paused(up.iter().filter(|other| *other != name).map(|other| self.server(other)).collect());
        others.0.iter().for_each(|server| server.pause());
        let clients: Vec<Library> = thread::scope(|scope| {
            let sign_on: Vec<_> = options.into_iter().map(|one| scope.spawn(|| Library::sign_on(one))).collect();
            sign_on.into_iter().map(|client| client.join().expect("signed on")).collect()
        });
        assert!(clients.iter().all(|client| client.server() == name), "signed on elsewhere than at {name}");
        clients
    }

    /// Waits until `what` is so; asks again whenever a moment has passed. Panics if it does not become so.
    #[track_caller]
    pub fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
            self.management().moment();
        }
    }
}

/// Servers that stand still until this is dropped.
struct Paused<'a>(Vec<&'a Server>);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|server| server.signal(Signal::CONT));
    }
}

/// In a site, a process listens on all addresses; it tells other main servers the site's outer address and clients the inner.
fn places(sites: &Sites, site: &str, plan: &Plan, first: usize) -> Vec<String> {
    let mut places = Vec::new();
    for (n, key) in PortKey::ALL.iter().enumerate() {
        let (key, port) = (key.name(), first + n);
        places.extend(["--set".to_owned(), format!("listen.{key}=0.0.0.0:{port}")]);
        let told = match key {
            "client_main" if site != sites::MANAGEMENT => sites.inner(site),
            "client_main" | "main_main" | "public_management" => sites.address(site),
            _ => continue,
        };
        if key != "public_management" || plan.has("management") {
            places.extend(["--set".to_owned(), format!("advertise.{key}={told}:{port}")]);
        }
    }
    places
}
