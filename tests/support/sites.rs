//! Firewalls: sites are network namespaces of Linux, joined by virtual cables only where a topology says so. Needs root.
//!
//! Site number S (from 1) has two addresses of its own: 10.77.S.1, to which only sites with a link to it have a route, and
//! 10.77.S.2, which is reached only from within, for its clients. Nothing is forwarded from one cable to the next. The
//! management server is in a namespace of its own, 10.77.0.1, which every site reaches, and which forwards nothing either.
//! People who reach several sites are in another one, see `Topology::users`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::panic;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::thread;

use rustix::process::geteuid;
use rustix::thread::move_into_link_name_space;
use rustix::thread::LinkNameSpaceType;

/// The site that the management server is in.
pub const MANAGEMENT: &str = "management";
/// The site of people who can be moved, see `Topology::users`.
pub const USERS: &str = "users";
/// Where `ip netns` keeps its names.
const NAMES: &str = "/run/netns";
/// Each needs a net of four addresses out of 256.
const MOST: usize = 60;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Whether there can be sites here: only for root, with `ip` and `tc`. Where it is not so, a test says that and is not run;
/// where CI is set, it fails.
pub fn available() -> bool {
    let has = |program: &str| Command::new(program).arg("-V").output().is_ok_and(|output| output.status.success());
    let why = match (geteuid().is_root(), has("ip") && has("tc")) {
        (true, true) => return true,
        (false, _) => "only root may make network namespaces: run it as root",
        (true, false) => "there is no `ip` or no `tc`: on Debian, apt-get install iproute2",
    };
    assert!(std::env::var_os("CI").is_none(), "CI must be able to make network namespaces. {why}");
    println!("NOT RUN: this test makes network namespaces. {why}");
    false
}

/// Which sites there are, and which reach each other.
#[derive(Clone, Default)]
pub struct Topology {
    sites: Vec<String>,
    links: Vec<(String, String)>,
    users: Vec<String>,
    silent: bool,
}

impl Topology {
    /// Sites that do not reach each other yet; each reaches management.
    pub fn sites(names: &[&str]) -> Topology {
        let sites: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        assert!(sites.len() <= MOST && !sites.iter().any(|name| name == MANAGEMENT || name == USERS), "{sites:?}");
        Topology { sites, ..Topology::default() }
    }

    /// A row of sites: each reaches the one before it and the one after it.
    pub fn chain(names: &[&str]) -> Topology {
        names.windows(2).fold(Topology::sites(names), |topology, pair| topology.link(pair[0], pair[1]))
    }

    /// Two sites reach each other.
    #[must_use]
    pub fn link(mut self, one: &str, other: &str) -> Topology {
        for site in [one, other] {
            assert!(self.sites.iter().any(|name| name == site), "no site {site}");
        }
        self.links.push((one.to_owned(), other.to_owned()));
        assert!(self.links.len() <= MOST, "too many links");
        self
    }

    /// People in a site of their own, `USERS`, who reach what clients reach in each of these sites. No server is there, and
    /// it forwards nothing.
    #[must_use]
    pub fn users(mut self, sites: &[&str]) -> Topology {
        assert!(sites.iter().all(|site| self.sites.iter().any(|name| name == site)), "{sites:?}");
        self.users = sites.iter().map(|&name| name.to_owned()).collect();
        self
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        let users = (!self.users.is_empty()).then_some(USERS);
        self.sites.iter().map(String::as_str).chain(users)
    }

    /// What goes to a site out of reach is swallowed, as firewalls do. Otherwise it is refused at once.
    #[must_use]
    pub fn silent(mut self) -> Topology {
        self.silent = true;
        self
    }
}

/// One end of a cable.
struct End {
    namespace: String,
    device: String,
    address: String,
    hardware: String,
}

/// Sites that are there; gone when dropped.
pub struct Sites {
    prefix: String,
    numbers: BTreeMap<String, usize>,
    links: BTreeMap<(String, String), [(String, String); 2]>,
}

impl Sites {
    /// Makes them. What processes that are gone have left is removed first.
    pub fn new(topology: &Topology) -> Sites {
        remove_stale();
        let prefix = format!("cvg-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut sites = Sites { prefix, numbers: BTreeMap::new(), links: BTreeMap::new() };
        for (number, name) in std::iter::once(MANAGEMENT).chain(topology.all()).enumerate() {
            // First its name, so that it is removed whatever happens next.
            sites.numbers.insert(name.to_owned(), number);
            ip(&["netns", "add", &sites.namespace(name)]);
            // The host may forward, and a new namespace does as the host does.
            sites.within(name, || std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").expect("no forwarding"));
            let mut own = format!("link set lo up\naddr add 10.77.{number}.1/32 dev lo\n");
            if number > 0 {
                let _ = writeln!(own, "addr add 10.77.{number}.2/32 dev lo");
            }
            batch(&sites.namespace(name), &own);
        }
        for name in topology.all() {
            let [there, _] = sites.cable(MANAGEMENT, name, 250, sites.numbers[name]);
            let mut routes = format!("route add 10.77.0.1/32 via {}\n", there.address);
            if topology.silent {
                let _ = writeln!(routes, "route add 10.77.0.0/16 via {}", there.address);
            }
            batch(&sites.namespace(name), &routes);
        }
        for (number, (one, other)) in topology.links.iter().enumerate() {
            let [here, there] = sites.cable(one, other, 251, number);
            for (from, to, via) in [(one, other, &there), (other, one, &here)] {
                let route = format!("route add {}/32 via {}\n", sites.address(to), via.address);
                batch(&sites.namespace(from), &route);
            }
            sites.join(one, other, here, there);
        }
        for (number, name) in topology.users.iter().enumerate() {
            let [here, there] = sites.cable(USERS, name, 252, number);
            let route = format!("route add {}/32 via {}\n", sites.inner(name), there.address);
            batch(&sites.namespace(USERS), &route);
            sites.join(USERS, name, here, there);
        }
        sites
    }

    /// Notes a cable, so that it can be cut.
    fn join(&mut self, one: &str, other: &str, here: End, there: End) {
        let ends = [(here.namespace, here.device), (there.namespace, there.device)];
        self.links.insert(pair(one, other), ends);
    }

    /// A cable with a net of its own, the one numbered `number` of 10.77.`net`. Both ends know each other's hardware address, so
    /// that silence on it is silence, and not an address that cannot be found.
    fn cable(&self, one: &str, other: &str, net: usize, number: usize) -> [End; 2] {
        let end = |site: &str, n: usize| End {
            namespace: self.namespace(site),
            device: format!("c{net}-{number}"),
            address: format!("10.77.{net}.{}", 4 * number + n),
            hardware: format!("02:77:00:{:02x}:{number:02x}:{n:02x}", net % 256),
        };
        let ends = [end(one, 1), end(other, 2)];
        let [a, b] = &ends;
        let (from, to) = (a.namespace.as_str(), b.namespace.as_str());
        ip(&["link", "add", &a.device, "netns", from, "type", "veth", "peer", "name", &b.device, "netns", to]);
        for (own, peer) in [(a, b), (b, a)] {
            let End { namespace, device, address, hardware } = own;
            let lines = format!(
                "link set {device} address {hardware}\nlink set {device} up\naddr add {address}/30 dev {device}\n\
                 neigh replace {} lladdr {} nud permanent dev {device}\n",
                peer.address, peer.hardware
            );
            batch(namespace, &lines);
        }
        ends
    }

    /// The name of a site's namespace, as `ip netns` has it.
    pub fn namespace(&self, site: &str) -> String {
        assert!(self.numbers.contains_key(site), "no site {site}");
        format!("{}-{site}", self.prefix)
    }

    /// The address under which its neighbours reach a site.
    pub fn address(&self, site: &str) -> String {
        format!("10.77.{}.1", self.numbers[site])
    }

    /// The address under which a site's clients reach its servers; nobody else does.
    pub fn inner(&self, site: &str) -> String {
        format!("10.77.{}.2", self.numbers[site])
    }

    /// Does work inside a site: sockets that it opens, processes and threads that it starts, are there, and stay there when it
    /// is done.
    #[track_caller]
    pub fn within<T: Send>(&self, site: &str, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(Path::new(NAMES).join(self.namespace(site))).expect("the site's namespace");
        let inside = || {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), network).expect("a thread may enter the namespace");
            work()
        };
        // A thread of its own: what runs next on this one is not in the site.
        match thread::scope(|scope| scope.spawn(inside).join()) {
            Ok(done) => done,
            Err(what) => panic::resume_unwind(what),
        }
    }

    /// Nothing passes between two sites any more, and neither end is told: no reset, only silence.
    pub fn cut(&self, one: &str, other: &str) {
        for (namespace, device) in self.ends(one, other) {
            // A queue with room for nothing.
            run("tc", &["-n", namespace, "qdisc", "replace", "dev", device, "root", "pfifo", "limit", "0"], "");
        }
    }

    /// Undoes `cut`.
    pub fn heal(&self, one: &str, other: &str) {
        for (namespace, device) in self.ends(one, other) {
            run("tc", &["-n", namespace, "qdisc", "del", "dev", device, "root"], "");
        }
    }

    fn ends(&self, one: &str, other: &str) -> &[(String, String); 2] {
        self.links.get(&pair(one, other)).unwrap_or_else(|| panic!("no link {one} – {other}"))
    }
}

impl Drop for Sites {
    fn drop(&mut self) {
        for site in self.numbers.keys() {
            // Not with a panic: the test may be failing already.
            let _ = Command::new("ip").args(["netns", "del", &format!("{}-{site}", self.prefix)]).output();
        }
    }
}

fn pair(one: &str, other: &str) -> (String, String) {
    let (first, last) = if one < other { (one, other) } else { (other, one) };
    (first.to_owned(), last.to_owned())
}

/// A killed test leaves its namespaces; their names tell whose they are.
fn remove_stale() {
    let Ok(names) = std::fs::read_dir(NAMES) else { return };
    for name in names.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let Some(owner) = name.strip_prefix("cvg-").and_then(|rest| rest.split('-').next()) else { continue };
        if owner.parse::<u32>().is_ok() && !Path::new("/proc").join(owner).exists() {
            // Another test process may be doing the same.
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}

#[track_caller]
fn ip(arguments: &[&str]) {
    run("ip", arguments, "");
}

/// Many lines for `ip` at once, in a namespace.
#[track_caller]
fn batch(namespace: &str, lines: &str) {
    run("ip", &["-n", namespace, "-batch", "-"], lines);
}

#[track_caller]
fn run(program: &str, arguments: &[&str], input: &str) {
    let mut command = Command::new(program);
    let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("the program reads");
    let output = child.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}\n{input}");
}
