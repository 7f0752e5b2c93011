//! Networks of a few servers, at random: whatever happens, in whatever order, each portion is what management means.

use super::entry;
use super::Change;
use super::Network;
use super::ServerNo;
use super::Table;
use super::Update;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

const SERVERS: usize = 7;
const USERS: usize = 9;

#[derive(Clone, Debug)]
enum Step {
    Up(usize),
    Down(usize),
    /// The link to management breaks; these users are reported again, the others have gone meanwhile.
    Blink(usize, Vec<bool>),
    Link(usize, usize, u32),
    Unlink(usize, usize),
    Presence(usize, usize, u32),
    Move(usize, usize, usize),
    Plan,
    Take,
    /// The next page of a server that loads, or the first.
    Page(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (server, user) = (0..SERVERS, 0..USERS);
    prop_oneof![
        3 => server.clone().prop_map(Step::Up),
        1 => server.clone().prop_map(Step::Down),
        1 => (server.clone(), prop::collection::vec(any::<bool>(), USERS)).prop_map(|(s, kept)| Step::Blink(s, kept)),
        6 => (server.clone(), server.clone(), 1u32..5000).prop_map(|(a, b, cost)| Step::Link(a, b, cost)),
        2 => (server.clone(), server.clone()).prop_map(|(a, b)| Step::Unlink(a, b)),
        8 => (server.clone(), user.clone(), 0u32..4).prop_map(|(s, u, n)| Step::Presence(s, u, n)),
        4 => (server.clone(), server.clone(), user).prop_map(|(a, b, u)| Step::Move(a, b, u)),
        2 => Just(Step::Plan),
        4 => Just(Step::Take),
        8 => (server, 1usize..60).prop_map(|(s, bytes)| Step::Page(s, bytes)),
    ]
}

fn server(n: usize) -> String {
    format!("s{n}")
}

fn user(n: usize) -> String {
    format!("User{n}")
}

/// What is true, kept in the simplest way.
#[derive(Default)]
struct World {
    up: BTreeSet<usize>,
    links: BTreeMap<(usize, usize), u32>,
    sessions: BTreeMap<(String, usize), u32>,
    tables: BTreeMap<usize, Portion>,
}

#[derive(Default)]
struct Portion {
    table: Table<u32>,
    /// Where the load is; none: it is done.
    cursor: Option<u64>,
    version: u64,
}

impl World {
    fn report(&self, network: &mut Network, s: usize) {
        if self.up.contains(&s) {
            let links: Vec<(String, u32)> = (0..SERVERS)
                .filter_map(|other| Some((server(other), *self.links.get(&(s.min(other), s.max(other)))?)))
                .collect();
            network.links(&server(s), links.iter().map(|(id, cost)| (&**id, *cost))).unwrap();
        }
    }

    fn give(&mut self, updates: Vec<Update>) {
        for update in updates {
            let s = update.server[1..].parse().unwrap();
            let portion = self.tables.get_mut(&s).expect("only who has begun to load gets updates");
            assert!(update.version >= portion.version || portion.cursor.is_some(), "versions do not fall");
            portion.version = update.version;
            portion.table.apply(&update.routes).unwrap();
            portion.table.apply(&update.users).unwrap();
            if portion.cursor.is_none() {
                assert_eq!(portion.table.checksum(), update.checksum, "after each update");
            }
        }
    }

    fn page(&mut self, network: &mut Network, s: usize, bytes: usize) {
        let portion = self.tables.entry(s).or_insert_with(|| Portion { cursor: Some(0), ..Portion::default() });
        if portion.cursor.is_none() {
            // Whatever went wrong before.
            portion.table.apply("u|User1|s1|s2\nr|s5|s6\nu|stranger|s3\n").unwrap();
            match bytes % 2 {
                0 => portion.table.forget(),
                _ => portion.table.begin_load(),
            }
        }
        let page = network.page(&server(s), portion.cursor.unwrap_or(0), bytes).unwrap();
        portion.cursor = Some(0);
        self.give(page.before);
        let portion = self.tables.get_mut(&s).unwrap();
        portion.table.apply(&page.lines).unwrap();
        portion.cursor = page.next;
        if page.next.is_none() {
            portion.version = page.version;
            portion.table.end_load();
            assert_eq!(portion.table.checksum(), page.checksum, "after the last page");
        }
    }

    fn run(&mut self, network: &mut Network, step: &Step) {
        match step {
            Step::Up(s) => {
                network.up(&server(*s)).unwrap();
                self.up.insert(*s);
                self.tables.remove(s);
                self.report(network, *s);
            }
            Step::Down(s) => {
                network.down(&server(*s));
                self.up.remove(s);
                self.tables.remove(s);
                self.sessions.retain(|(_, at), _| at != s);
            }
            Step::Blink(s, kept) if self.up.contains(s) => {
                network.doubt(&server(*s));
                network.up(&server(*s)).unwrap();
                self.tables.remove(s);
                for (n, kept) in kept.iter().enumerate() {
                    match self.sessions.get(&(user(n), *s)) {
                        Some(sessions) if *kept => network.presence(&server(*s), &user(n), *sessions).unwrap(),
                        _ => drop(self.sessions.remove(&(user(n), *s))),
                    }
                }
                network.settle(&server(*s));
            }
            Step::Link(a, b, _) | Step::Unlink(a, b) if a != b => {
                match step {
                    Step::Link(_, _, cost) => drop(self.links.insert((*a.min(b), *a.max(b)), *cost)),
                    _ => drop(self.links.remove(&(*a.min(b), *a.max(b)))),
                }
                self.report(network, *a);
                self.report(network, *b);
            }
            Step::Presence(s, u, sessions) if self.up.contains(s) => {
                // In another case it is the same user.
                network.presence(&server(*s), &user(*u).to_uppercase(), *sessions).unwrap();
                match sessions {
                    0 => drop(self.sessions.remove(&(user(*u), *s))),
                    n => drop(self.sessions.insert((user(*u), *s), *n)),
                }
            }
            Step::Move(from, to, u) if self.up.contains(to) && from != to && network.add(&server(*from)).is_ok() => {
                network.moved("17", &user(*u), &server(*from), &server(*to)).unwrap();
                if let Some(sessions) = self.sessions.get_mut(&(user(*u), *from)) {
                    *sessions -= 1;
                }
                self.sessions.retain(|_, sessions| *sessions > 0);
                *self.sessions.entry((user(*u), *to)).or_default() += 1;
            }
            Step::Plan => drop(network.replan()),
            Step::Take => self.give(network.take()),
            Step::Page(s, bytes) if self.up.contains(s) => self.page(network, *s, *bytes),
            _ => {}
        }
    }

    /// Everything is planned, sent, loaded: then each portion says what is true.
    fn check(&mut self, network: &mut Network) {
        network.replan();
        self.give(network.take());
        for s in self.up.clone() {
            while self.tables.get(&s).is_none_or(|portion| portion.cursor.is_some()) {
                self.page(network, s, 40);
            }
        }
        assert!(!network.has_news());
        for (s, portion) in &self.tables {
            assert_eq!(portion.table.checksum(), network.checksum(&server(*s)));
            for u in 0..USERS {
                let expected: Vec<String> =
                    (0..SERVERS).filter(|at| self.sessions.contains_key(&(user(u), *at))).map(server).collect();
                let found = portion.table.find(&user(u)).and_then(|user| portion.table.get(user));
                let at: Vec<&str> =
                    found.map_or(&[][..], |user| &user.at).iter().map(|at| portion.table.server_id(*at)).collect();
                assert_eq!(at, expected, "{} at {s}", user(u));
            }
        }
        for a in &self.up {
            let near = self.distances(*a);
            for b in 0..SERVERS {
                match near.get(&b) {
                    Some(hops) => assert_eq!(self.walk(*a, b), Some(*hops), "from {a} to {b}"),
                    None => assert_eq!(self.next(*a, b), None, "there is no way from {a} to {b}"),
                }
            }
        }
    }

    fn next(&self, a: usize, b: usize) -> Option<usize> {
        let table = &self.tables[&a].table;
        let next: ServerNo = table.next_hop(table.server_no(&server(b))?)?;
        table.server_id(next)[1..].parse().ok()
    }

    /// How many hops it takes over the tables.
    fn walk(&self, a: usize, b: usize) -> Option<usize> {
        let mut at = a;
        for hops in 0..=SERVERS {
            if at == b {
                return Some(hops);
            }
            at = self.next(at, b)?;
        }
        None
    }

    fn distances(&self, a: usize) -> BTreeMap<usize, usize> {
        let mut near = BTreeMap::from([(a, 0)]);
        for hops in 1..=SERVERS {
            for (x, y) in self.links.keys().flat_map(|(x, y)| [(*x, *y), (*y, *x)]) {
                if near.get(&x) == Some(&(hops - 1)) && self.up.contains(&y) {
                    near.entry(y).or_insert(hops);
                }
            }
        }
        near
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn every_portion_is_what_management_means(steps in prop::collection::vec(step(), 1..120)) {
        let mut network = Network::new(1);
        let mut world = World::default();
        (0..SERVERS).for_each(|s| network.add(&server(s)).unwrap());
        for (n, step) in steps.iter().enumerate() {
            world.run(&mut network, step);
            if n % 30 == 29 {
                world.check(&mut network);
            }
        }
        world.check(&mut network);
    }

    /// A line that is lost, or not what it was.
    #[test]
    fn a_wrong_line_is_noticed(users in prop::collection::vec((0..SERVERS, 0..USERS), 1..40), which: prop::sample::Index) {
        let mut network = Network::new(1);
        (0..SERVERS).for_each(|s| network.up(&server(s)).unwrap());
        users.iter().for_each(|(s, u)| network.presence(&server(*s), &user(*u), 1).unwrap());
        let page = network.page(&server(0), 0, usize::MAX).unwrap();
        let lines: Vec<&str> = page.lines.lines().collect();
        let wrong = which.get(&lines);
        for changed in [String::new(), wrong.replace("|s", "|t"), wrong.replace("User", "user")] {
            let mut table = Table::<u32>::default();
            table.apply(&page.lines.replacen(wrong, &changed, 1)).unwrap();
            prop_assert_ne!(table.checksum(), page.checksum);
            table.forget();
            table.apply(&page.lines).unwrap();
            prop_assert_eq!(table.checksum(), page.checksum);
        }
    }
}

/// A network of these servers, each of which has loaded its portion.
fn network(ids: &[&str]) -> Network {
    let mut network = Network::new(100);
    for id in ids {
        network.up(id).unwrap();
        network.page(id, 0, 1000).unwrap();
    }
    network
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let mut network = network(&["a", "b"]);
    network.add("c").unwrap();
    for bad in [vec![("a", 1)], vec![("x", 1)], vec![("b", 1), ("b", 2)]] {
        assert!(network.links("a", bad).is_err());
    }
    network.remove("c");
    assert!(network.links("a", [("c", 1)]).is_err());
    assert!(network.links("c", [("a", 1)]).is_err());
    assert!(network.presence("c", "bob", 1).is_err() && network.presence("x", "bob", 1).is_err());
    assert!(network.presence("a", "b b", 1).is_err());
    for (from, to) in [("a", "a"), ("a", "c"), ("x", "a")] {
        assert!(network.moved("17", "bob", from, to).is_err(), "{from} {to}");
    }
    assert!(network.moved("1|7", "bob", "a", "b").is_err());
    assert!(network.page("c", 0, 1).is_err() && network.page("a", u64::MAX, 1).is_err());
    assert!(network.is_empty() && !network.has_news() && network.version() == 100);
    network.up("d").unwrap();
    assert!(network.page("d", 1, 1).is_err(), "the first page comes first");
}

#[test]
fn too_many_places_of_one_user_are_refused() {
    let mut network = Network::new(1);
    for n in 0..entry::PLACES {
        network.up(&format!("s{n}")).unwrap();
        network.presence(&format!("s{n}"), "bob", 1).unwrap();
    }
    network.up("more").unwrap();
    assert!(network.presence("more", "bob", 1).is_err());
    assert!(network.moved("17", "bob", "s1", "more").is_ok(), "one goes, one comes");
    assert_eq!(network.places("bob").len(), entry::PLACES);
}

#[test]
fn one_line_for_a_sign_on_and_two_for_a_move() {
    let mut network = network(&["a", "b"]);
    network.presence("a", "Bob", 1).unwrap();
    network.presence("a", "bob", 2).unwrap();
    let updates = network.take();
    assert_eq!(updates.len(), 2);
    for (update, id) in updates.iter().zip(["a", "b"]) {
        assert_eq!((&*update.server, &*update.users, &*update.routes), (id, "u|Bob|a\n", ""));
        assert_eq!((update.version, update.checksum), (101, entry::hash("u|Bob|a")));
    }
    network.moved("17", "bob", "a", "b").unwrap();
    network.moved("18", "bob", "a", "b").unwrap();
    assert_eq!(&*network.take()[0].users, "m|17|Bob|a|b\nu|Bob|a|b\nm|18|Bob|a|b\nu|Bob|b\n");
    assert_eq!((network.places("BOB"), network.users_at("a"), network.users_at("b")), (vec![("b", 2)], 0, 1));
    network.down("b");
    assert_eq!((network.take().len(), network.len(), network.checksum("a")), (1, 0, 0));
}

#[test]
fn routes_are_sent_only_where_they_change_and_noise_changes_none() {
    let mut network = network(&["a", "b", "c"]);
    network.links("a", [("b", 1000), ("c", 1000)]).unwrap();
    network.links("b", [("a", 1000), ("c", 1000)]).unwrap();
    // c does not say that it is linked to a.
    network.links("c", [("b", 1000)]).unwrap();
    assert!(network.replan() && !network.replan());
    let routes: Vec<String> = network.take().into_iter().map(|update| update.routes).collect();
    assert_eq!(routes, ["r|b|b\nr|c|b\n", "r|a|a\nr|c|c\n", "r|a|b\nr|b|b\n"]);
    network.links("b", [("a", 1400), ("c", 600)]).unwrap();
    assert!(!network.plan_due());
    network.links("c", [("b", 1000), ("a", 9)]).unwrap();
    assert!(network.replan());
    let routes: Vec<String> = network.take().into_iter().map(|update| update.routes).collect();
    assert_eq!(routes, ["r|c|c\n", "r|a|a\n"]);
}

#[test]
fn one_line_for_a_server_that_is_gone_and_several_packets_for_many_changes() {
    for one_by_one in [false, true] {
        let mut network = network(&["a", "b"]);
        let mut table = Table::<u32>::default();
        (0..20_000).for_each(|n| network.presence("b", &format!("user-{n}"), 1).unwrap());
        match one_by_one {
            false => network.down("b"),
            true => (0..20_000).for_each(|n| network.presence("b", &format!("user-{n}"), 0).unwrap()),
        }
        let updates = network.take();
        assert!(updates.len() > 2 && updates.iter().all(|update| update.users.len() < 70_000));
        assert!(one_by_one || updates.last().unwrap().users.ends_with("\ng|b\n"));
        let mut gone = 0;
        for update in updates.iter().filter(|update| &*update.server == "a") {
            let changes = table.apply(&update.users).unwrap();
            let went = |change: &&Change| matches!(change, Change::User { gone, .. } if !gone.is_empty());
            gone += changes.iter().filter(went).count();
            assert_eq!(table.checksum(), update.checksum);
        }
        assert_eq!((gone, table.len()), (20_000, 0));
    }
}
