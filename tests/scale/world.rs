//! A network with firewalls: a tenth of the servers can be reached by all, the others only from within their site of ten.
//! At one site in twenty the firewall lets only one server out: the others are reached through that one, or not at all.
//!
//! Two main servers have their whole portion. Of the others only the next hops are held, in tables of their own: a
//! thousand times a million users would say a thousand times the same.

use crate::measure::Watch;
use convergia::route::Change;
use convergia::route::Network;
use convergia::route::Table;
use convergia::route::Update;
use convergia::wire::raw;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::RngExt;
use rand::SeedableRng;
use std::collections::BTreeSet;
use std::collections::HashMap;

/// What is asked of one run.
pub struct Size {
    pub servers: usize,
    pub users: usize,
    /// How many sign-ons are measured one by one.
    pub samples: usize,
    /// How many main servers have their whole portion.
    pub tables: usize,
}

pub struct World {
    pub ids: Vec<String>,
    pub network: Network,
    rng: StdRng,
    /// In µs of round trip.
    places: Vec<(f64, f64)>,
    public: Vec<bool>,
    failed: BTreeSet<usize>,
    /// Of the servers 0, 1, …
    tables: Vec<Table<u32>>,
    columns: Vec<Table<u32>>,
    numbers: HashMap<String, usize>,
}

const SITE: usize = 10;
/// As in MESH: a page of PORTION.
const PAGE: usize = 256 << 10;

pub fn user(n: usize) -> String {
    format!("user-{n:07}")
}

/// A ROUTES packet as it stands on the wire.
pub fn packet(update: &Update) -> Vec<u8> {
    let data = format!("{}\n{:016x}\n{}{}", update.version, update.checksum, update.routes, update.users);
    let mut packet = b"-1234567 ROUTES ".to_vec();
    raw::escape_into(&mut packet, data.trim_end_matches('\n').as_bytes());
    packet.push(b'\n');
    packet
}

impl World {
    pub fn new(seed: u64, size: &Size) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let ids: Vec<String> = (0..size.servers).map(|n| format!("main-{n:04}")).collect();
        // The version begins with the time: as long as it will be for the next centuries.
        let mut network = Network::new(1_800_000_000_000_000);
        ids.iter().for_each(|id| network.up(id).unwrap());
        let mut places = Vec::new();
        for n in 0..size.servers {
            let site = match n % SITE {
                0 => (rng.random_range(0.0..100_000.0), rng.random_range(0.0..100_000.0)),
                _ => places[n - n % SITE],
            };
            places.push(site);
        }
        let mut public = vec![false; size.servers];
        public.iter_mut().take(size.servers / 10).for_each(|public| *public = true);
        public.shuffle(&mut rng);
        let numbers = ids.iter().enumerate().map(|(n, id)| (id.clone(), n)).collect();
        let (tables, columns, failed) = (Vec::new(), Vec::new(), BTreeSet::new());
        World { ids, network, rng, places, public, failed, tables, columns, numbers }
    }

    /// One that has not failed.
    pub fn any_server(&mut self) -> usize {
        loop {
            let server = self.rng.random_range(0..self.ids.len());
            if !self.failed.contains(&server) {
                return server;
            }
        }
    }

    pub fn up(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.ids.len()).filter(|server| !self.failed.contains(server))
    }

    fn linked(&self, a: usize, b: usize) -> bool {
        let locked_in = |n: usize| n / SITE % 20 == 7 && !n.is_multiple_of(SITE) && !self.public[n];
        let open = (self.public[a] || self.public[b]) && !locked_in(a) && !locked_in(b);
        a != b && (open || a / SITE == b / SITE) && !self.failed.contains(&a) && !self.failed.contains(&b)
    }

    fn round_trip(&mut self, a: usize, b: usize) -> u32 {
        let ((x, y), (to_x, to_y)) = (self.places[a], self.places[b]);
        let distance = (x - to_x).hypot(y - to_y);
        300 + distance as u32 + self.rng.random_range(0..200)
    }

    /// Every server says what it is linked to. Returns how many edges there are.
    pub fn report_links(&mut self) -> usize {
        let mut ends = 0;
        for a in 0..self.ids.len() {
            if self.failed.contains(&a) {
                continue;
            }
            let near: Vec<usize> = (0..self.ids.len()).filter(|b| self.linked(a, *b)).collect();
            let links: Vec<(usize, u32)> = near.into_iter().map(|b| (b, self.round_trip(a, b))).collect();
            ends += links.len();
            self.network.links(&self.ids[a], links.iter().map(|(b, cost)| (&*self.ids[*b], *cost))).unwrap();
        }
        ends / 2
    }

    /// The first servers load their portions. Returns the pages and bytes of one, and the CPU of management for one, in ns.
    pub fn load_tables(&mut self, count: usize) -> (usize, usize, u64) {
        let (mut pages, mut total, mut building) = (0, 0, 0);
        for id in &self.ids[..count] {
            let mut table = Table::default();
            table.set_own(id).unwrap();
            let mut cursor = Some(0);
            while let Some(at) = cursor {
                let watch = Watch::start();
                let page = self.network.page(id, at, PAGE).unwrap();
                building += watch.cpu();
                assert!(page.before.is_empty());
                table.apply(&page.lines).unwrap();
                (pages, total, cursor) = (pages + 1, total + page.lines.len(), page.next);
                assert!(cursor.is_some() || table.checksum() == page.checksum);
            }
            self.tables.push(table);
        }
        (pages / count, total / count, building / count as u64)
    }

    /// The others begin with theirs, and keep the routes.
    pub fn load_columns(&mut self) {
        for id in &self.ids {
            let mut table = Table::default();
            table.set_own(id).unwrap();
            let mut cursor = 0;
            // Routes come first, then users.
            loop {
                let page = self.network.page(id, cursor, 1 << 10).unwrap();
                let end = page.lines.find("u|").unwrap_or(page.lines.len());
                table.apply(&page.lines[..end]).unwrap();
                match page.next {
                    Some(next) if end == page.lines.len() => cursor = next,
                    _ => break,
                }
            }
            self.columns.push(table);
        }
    }

    /// Gives the whole tables what is for them, and returns what has changed.
    pub fn give_tables(&mut self, updates: &[Update]) -> Vec<Change> {
        let mut changes = Vec::new();
        for (id, table) in self.ids.iter().zip(&mut self.tables) {
            for update in updates.iter().filter(|update| *update.server == **id) {
                changes.extend(table.apply(&update.routes).unwrap());
                changes.extend(table.apply(&update.users).unwrap());
                assert_eq!(table.checksum(), update.checksum, "{id}");
            }
        }
        changes
    }

    /// Gives the others theirs.
    pub fn give_columns(&mut self, updates: &[Update]) {
        for update in updates {
            self.columns[self.numbers[&*update.server]].apply(&update.routes).unwrap();
        }
    }

    /// So many fail; not those with whole tables.
    pub fn choose_failed(&mut self, count: usize) -> Vec<usize> {
        while self.failed.len() < count {
            let server = self.rng.random_range(self.tables.len()..self.ids.len());
            self.failed.insert(server);
        }
        self.failed.iter().copied().collect()
    }

    /// All agree on everything, and everyone reaches everyone whom any way leads to. Returns the hops of the longest way,
    /// and how many pairs of servers have none.
    pub fn check(&self) -> (usize, usize) {
        for (id, table) in self.ids.iter().zip(&self.tables) {
            assert_eq!(table.checksum(), self.network.checksum(id), "{id}");
        }
        // What is the same in all portions.
        let users = self.tables[0].checksum().wrapping_sub(self.columns[0].checksum());
        let next: Vec<Vec<Option<usize>>> = self.columns.iter().map(|table| self.column(table)).collect();
        let part = self.parts();
        let (mut longest, mut cut_off) = (0, 0);
        for a in self.up() {
            let sum = self.columns[a].checksum().wrapping_add(users);
            assert_eq!(sum, self.network.checksum(&self.ids[a]), "{}", self.ids[a]);
            for b in 0..self.ids.len() {
                if part[a] != part[b] {
                    assert_eq!(next[a][b], None, "{a} {b}");
                    cut_off += usize::from(a < b && !self.failed.contains(&b));
                    continue;
                }
                let (mut at, mut hops) = (a, 0);
                while at != b {
                    let hop = next[at][b].expect("a way");
                    assert!(self.linked(at, hop), "over a link that is there");
                    (at, hops) = (hop, hops + 1);
                    assert!(hops < 16, "a loop from {a} to {b}");
                }
                longest = longest.max(hops);
            }
        }
        (longest, cut_off)
    }

    fn column(&self, table: &Table<u32>) -> Vec<Option<usize>> {
        let next = |id: &String| table.next_hop(table.server_no(id)?);
        self.ids.iter().map(|id| Some(self.numbers[table.server_id(next(id)?)])).collect()
    }

    /// The connected part that each server is in, by a search that knows nothing of the planner.
    fn parts(&self) -> Vec<usize> {
        let mut part = vec![usize::MAX; self.ids.len()];
        for start in 0..self.ids.len() {
            let mut waiting = vec![start];
            while let Some(at) = waiting.pop() {
                if part[at] == usize::MAX {
                    part[at] = start;
                    waiting.extend((0..self.ids.len()).filter(|to| part[*to] == usize::MAX && self.linked(at, *to)));
                }
            }
        }
        part
    }
}
