//! Random sequences of everything that can be done, against a model that is nothing but maps.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::hash::DefaultHasher;
use std::hash::Hash as _;
use std::hash::Hasher;

use convergia::storage::accounts;
use convergia::storage::copies;
use convergia::storage::files;
use convergia::storage::mail;
use convergia::storage::tend;
use convergia::storage::tree;
use convergia::storage::workspaces;
use convergia::storage::workspaces::Body;
use convergia::storage::Caller;
use convergia::storage::Hash;
use convergia::storage::Piece;
use convergia::storage::Placed;
use convergia::wire::Code;
use convergia::wire::Fail;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::proptest;
use proptest::test_runner::Config;
use rusqlite::Connection;

use crate::caller;
use crate::code;
use crate::database;
use crate::job;
use crate::number;
use crate::path;

const QUOTA: u64 = 3_000;
const SERVERS: u32 = 4;

/// A file's bytes, or a folder.
type Node = Option<Vec<u8>>;

struct Letter {
    sender: u64,
    bytes: Vec<u8>,
    recipients: Vec<u64>,
    sent: bool,
}

struct Change {
    seq: u64,
    author: u64,
    bytes: Vec<u8>,
}

/// Bytes that differ from place to place, and are the same now and then.
fn text(kind: u16, length: u16) -> Vec<u8> {
    (0..length).map(|n| (kind * 31 + n * 7) as u8).collect()
}

struct World {
    db: Connection,
    now: u64,
    next: u64,
    /// What data servers hold.
    disks: Vec<HashMap<Hash, u64>>,
    contents: HashMap<Hash, Vec<u8>>,
    nodes: BTreeMap<String, Node>,
    letters: BTreeMap<[u8; 16], Letter>,
    changes: Vec<Change>,
    acked: BTreeMap<u64, u64>,
    last: u64,
    people: Vec<Caller>,
}

impl World {
    fn new() -> World {
        let db = database();
        accounts::set_default_quota(&db, QUOTA).unwrap();
        let people: Vec<Caller> = [(1, "alice"), (2, "bob"), (3, "carol")].map(|(n, name)| caller(n, name)).into();
        for (n, person) in people.iter().enumerate() {
            assert!(accounts::welcome(&db, person, n as u64).unwrap());
        }
        for n in 0..SERVERS {
            assert_eq!(copies::server(&db, &format!("data-{n}")).unwrap(), n + 1);
        }
        workspaces::create(&db, &people[0], "team", &people[1..2], 1).unwrap();
        let nodes = ["/users/alice", "/users/bob", "/users/carol", "/workspaces/team"].map(|p| (p.to_owned(), None));
        World {
            db,
            now: 1_000_000,
            next: 0,
            disks: vec![HashMap::new(); SERVERS as usize],
            contents: HashMap::new(),
            nodes: nodes.into(),
            letters: BTreeMap::new(),
            changes: Vec::new(),
            acked: [(1, 0), (2, 0)].into(),
            last: 0,
            people,
        }
    }

    /// Puts bytes on servers, as data management does before it writes them down.
    fn put(&mut self, bytes: &[u8], choice: u16) -> Option<Placed> {
        if bytes.is_empty() {
            return None;
        }
        let parts: Vec<[u8; 8]> = (0..4u8)
            .map(|part| {
                let mut hasher = DefaultHasher::new();
                (part, bytes).hash(&mut hasher);
                hasher.finish().to_be_bytes()
            })
            .collect();
        let hash = Hash(parts.concat().try_into().unwrap());
        self.contents.insert(hash, bytes.to_vec());
        let mut on = Vec::new();
        for copy in 0..1 + choice % 3 {
            self.next += 1;
            let disk = usize::from(choice / 3 + copy) % self.disks.len();
            self.disks[disk].insert(hash, self.next);
            on.push((disk as u32 + 1, self.next));
        }
        Some(Placed { hash, size: bytes.len() as u32, copies: on })
    }

    /// A job with a block: when it fails, the block is not used.
    fn with_block<T>(
        &self,
        placed: Option<&Placed>,
        work: impl FnOnce(&Connection) -> Result<T, Fail>,
    ) -> Result<T, Fail> {
        let done = job(&self.db, work);
        if let (Err(_), Some(placed)) = (&done, placed) {
            job(&self.db, |db| copies::unused(db, placed)).unwrap();
        }
        done
    }

    fn bytes_of(&self, pieces: &[Piece]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in pieces {
            let (from, to) = (piece.offset as usize, (piece.offset + piece.length) as usize);
            bytes.extend_from_slice(&self.contents[&piece.hash][from..to]);
            assert!(!piece.servers.is_empty());
            for no in &piece.servers {
                assert!(self.disks[*no as usize - 1].contains_key(&piece.hash), "a copy that is not there");
            }
        }
        bytes
    }

    /// Who does things at a path: its home's owner, or a participant.
    fn owner(&self, at: &str, choice: u16) -> Caller {
        let n = match at.split('/').nth(2) {
            Some("alice") => 0,
            Some("bob") => 1,
            Some("carol") => 2,
            _ => usize::from(choice % 2),
        };
        self.people[n].clone()
    }

    fn payer(at: &str) -> u64 {
        match at.split('/').nth(2) {
            Some("bob") => 2,
            Some("carol") => 3,
            _ => 1,
        }
    }

    fn used(&self, account: u64) -> u64 {
        let files = self.nodes.iter().filter(|(at, _)| World::payer(at) == account);
        let files: usize = files.filter_map(|(_, node)| node.as_ref().map(Vec::len)).sum();
        let letters = self.letters.values().filter(|letter| letter.sender == account);
        let letters: usize = letters.map(|letter| letter.bytes.len()).sum();
        let changes: usize = self.changes.iter().filter(|c| c.author == account).map(|c| c.bytes.len()).sum();
        (files + letters + changes) as u64
    }

    fn posted(&mut self, posted: Vec<convergia::storage::Posted>, author: u64) {
        for posted in posted {
            self.last += 1;
            assert_eq!((posted.seq, &posted.workspace[..]), (self.last, "team"));
            assert_eq!(posted.tell, [1, 2]);
            self.changes.push(Change { seq: posted.seq, author, bytes: posted.body.unwrap() });
        }
    }

    /// A place that is there, or is not.
    fn at(&self, choice: u16) -> String {
        let known: Vec<&String> = self.nodes.keys().collect();
        let base = known[usize::from(choice) % known.len()];
        match choice / 256 % 3 {
            0 => base.clone(),
            _ => format!("{base}/{}", ["a", "b", "ä"][usize::from(choice / 1024) % 3]),
        }
    }

    fn has_entries(&self, at: &str) -> bool {
        self.nodes.keys().any(|other| other.starts_with(&format!("{at}/")))
    }

    fn is_base(at: &str) -> bool {
        at.split('/').count() == 3
    }

    /// What the folder that an entry is in says to whoever may read it.
    fn parent_fails(&self, at: &str) -> Option<Code> {
        match self.nodes.get(at.rsplit_once('/').unwrap().0) {
            Some(None) => None,
            _ => Some(Code::NotFound),
        }
    }

    fn step(&mut self, op: u8, a: u16, b: u16, c: u16) {
        self.now += u64::from(c % 4) * 1_000;
        match op % 16 {
            0 | 1 => self.create(a, b, op.is_multiple_of(16)),
            2..=5 => self.write(a, b, c),
            6 => self.truncate(a, b, c),
            7 => self.delete(a, b),
            8 => self.rename(a, b, c),
            9 => self.begin_letter(a, b),
            10 => self.append(a, b, c),
            11 => self.send_or_delete(a, b),
            12 => self.post(a, b, c),
            13 => self.ack(a, b),
            14 => drop(job(&self.db, |db| tend::step(db, u64::from(a % 7), self.now)).unwrap()),
            _ => self.collect(usize::from(a) % self.disks.len(), u64::from(b % 5)),
        }
    }

    fn create(&mut self, a: u16, b: u16, folder: bool) {
        let at = self.at(a);
        let who = self.owner(&at, b);
        let make = if folder { tree::create_folder } else { tree::create_file };
        let done = job(&self.db, |db| make(db, &who, &path(&at), self.now));
        let expected = match () {
            _ if World::is_base(&at) => Some(Code::Denied),
            _ if self.parent_fails(&at).is_some() => self.parent_fails(&at),
            _ if self.nodes.contains_key(&at) => Some(Code::Exists),
            _ => None,
        };
        self.settle(done, expected, who.account, |world| {
            world.nodes.insert(at, if folder { None } else { Some(Vec::new()) });
        });
    }

    /// Compares what was said with what was to be; QUOTA, which changes of files may meet too, is told from the model's sums.
    fn settle<T: Into<Vec<convergia::storage::Posted>>>(
        &mut self,
        done: Result<T, Fail>,
        expected: Option<Code>,
        author: u64,
        apply: impl FnOnce(&mut World),
    ) {
        match done {
            Err(fail) if fail.code == Code::Quota && expected.is_none() => {
                // Posting needs room as well: nobody is refused who has plenty.
                assert!(self.people.iter().any(|p| self.used(p.account) + 600 > QUOTA), "{fail}");
            }
            Err(fail) => assert_eq!(Some(fail.code), expected, "{fail}"),
            Ok(posted) => {
                assert_eq!(expected, None);
                apply(self);
                self.posted(posted.into(), author);
            }
        }
    }

    fn file_fails(&self, at: &str) -> Option<Code> {
        match self.nodes.get(at) {
            Some(Some(_)) => None,
            Some(None) => Some(Code::BadArgs),
            None => Some(Code::NotFound),
        }
    }

    fn write(&mut self, a: u16, b: u16, c: u16) {
        let at = self.at(a);
        let who = self.owner(&at, b);
        let bytes = text(c % 5, b % 300);
        let size = self.nodes.get(&at).cloned().flatten().map_or(0, |bytes| bytes.len() as u64);
        let offset = if c.is_multiple_of(11) { size + 1 } else { u64::from(c) % (size + 1) };
        let placed = self.put(&bytes, c);
        let done = self
            .with_block(placed.as_ref(), |db| files::write(db, &who, &path(&at), offset, placed.as_ref(), self.now));
        let expected = self.file_fails(&at).or((offset > size).then_some(Code::BadArgs));
        let grown = (offset + bytes.len() as u64).saturating_sub(size);
        if expected.is_none() && grown > 0 && self.used(World::payer(&at)) + grown > QUOTA {
            assert_eq!(code(done), Some(Code::Quota));
            return;
        }
        self.settle(done, expected, who.account, |world| {
            let Some(Some(file)) = world.nodes.get_mut(&at) else { unreachable!() };
            let offset = offset as usize;
            file.resize(file.len().max(offset + bytes.len()), 0);
            file[offset..offset + bytes.len()].copy_from_slice(&bytes);
        });
    }

    fn truncate(&mut self, a: u16, b: u16, c: u16) {
        let at = self.at(a);
        let who = self.owner(&at, b);
        let size = self.nodes.get(&at).cloned().flatten().map_or(0, |bytes| bytes.len() as u64);
        let to = u64::from(c) % (size + 2);
        let done = job(&self.db, |db| files::truncate(db, &who, &path(&at), to, self.now));
        let expected = self.file_fails(&at).or((to > size).then_some(Code::BadArgs));
        self.settle(done, expected, who.account, |world| {
            let Some(Some(file)) = world.nodes.get_mut(&at) else { unreachable!() };
            file.truncate(to as usize);
        });
    }

    fn delete(&mut self, a: u16, b: u16) {
        let at = self.at(a);
        let who = self.owner(&at, b);
        let file = matches!(self.nodes.get(&at), Some(Some(_)));
        let delete = if file { tree::delete_file } else { tree::delete_folder };
        let done = job(&self.db, |db| delete(db, &who, &path(&at), self.now));
        let expected = match () {
            _ if World::is_base(&at) => Some(Code::Denied),
            _ if !self.nodes.contains_key(&at) => Some(Code::NotFound),
            _ if self.has_entries(&at) => Some(Code::BadArgs),
            _ => None,
        };
        self.settle(done, expected, who.account, |world| drop(world.nodes.remove(&at)));
    }

    fn rename(&mut self, a: u16, b: u16, c: u16) {
        let (from, to) = (self.at(a), self.at(b));
        let who = self.owner(&from, c);
        // Both ends must be this person's.
        if self.owner(&to, c) != who {
            return;
        }
        let replaces = c / 7 % 2 == 1;
        let go = if replaces { tree::replace } else { tree::move_entry };
        let done = job(&self.db, |db| go(db, &who, &path(&from), &path(&to), self.now));
        let is_file = |at: &String| matches!(self.nodes.get(at), Some(Some(_)));
        let expected = match () {
            _ if World::is_base(&from) => Some(Code::Denied),
            _ if !self.nodes.contains_key(&from) => Some(Code::NotFound),
            _ if World::is_base(&to) => Some(Code::Denied),
            _ if self.parent_fails(&to).is_some() => self.parent_fails(&to),
            _ if to.starts_with(&format!("{from}/")) => Some(Code::BadArgs),
            _ if replaces && is_file(&from) && is_file(&to) => None,
            _ if self.nodes.contains_key(&to) => Some(Code::Exists),
            _ => None,
        };
        self.settle(done, expected, who.account, |world| {
            let inside = |at: &String| *at == from || at.starts_with(&format!("{from}/"));
            let moved: Vec<String> = world.nodes.keys().filter(|at| inside(at)).cloned().collect();
            for at in moved {
                let node = world.nodes.remove(&at).unwrap();
                world.nodes.insert(format!("{to}{}", &at[from.len()..]), node);
            }
        });
    }

    fn begin_letter(&mut self, a: u16, b: u16) {
        self.next += 1;
        let id = u128::from(self.next).to_be_bytes();
        let sender = self.people[usize::from(a) % 3].clone();
        let to: Vec<Caller> =
            self.people.iter().enumerate().filter(|(n, _)| b >> n & 1 == 1).map(|(_, p)| p.clone()).collect();
        let done = job(&self.db, |db| mail::init(db, &sender, &id, &to, self.now));
        assert_eq!(code(done), to.is_empty().then_some(Code::BadArgs));
        if !to.is_empty() {
            let recipients = to.iter().map(|p| p.account).collect();
            self.letters.insert(id, Letter { sender: sender.account, bytes: Vec::new(), recipients, sent: false });
        }
    }

    fn letter(&self, choice: u16) -> Option<[u8; 16]> {
        self.letters.keys().nth(usize::from(choice) % self.letters.len().max(1)).copied()
    }

    fn append(&mut self, a: u16, b: u16, c: u16) {
        let Some(id) = self.letter(a) else { return };
        let who = self.people[usize::from(b) % 3].clone();
        let bytes = text(c % 7, c % 200);
        let placed = self.put(&bytes, c);
        let done = self.with_block(placed.as_ref(), |db| mail::append(db, &who, &id, placed.as_ref(), self.now));
        let used = self.used(who.account);
        let letter = self.letters.get_mut(&id).unwrap();
        let expected = match () {
            _ if letter.sent || letter.sender != who.account => Some(Code::NotFound),
            _ if !bytes.is_empty() && used + bytes.len() as u64 > QUOTA => Some(Code::Quota),
            _ => None,
        };
        if let Ok(size) = &done {
            letter.bytes.extend_from_slice(&bytes);
            assert_eq!(*size, letter.bytes.len() as u64);
        }
        assert_eq!(code(done), expected);
    }

    fn send_or_delete(&mut self, a: u16, b: u16) {
        let Some(id) = self.letter(a) else { return };
        let who = self.people[usize::from(b) % 3].clone();
        let letter = self.letters.get_mut(&id).unwrap();
        if b.is_multiple_of(2) {
            let done = job(&self.db, |db| mail::send(db, &who, &id, self.now));
            let may = !letter.sent && letter.sender == who.account;
            if let Ok(sent) = &done {
                assert_eq!(sent.recipients, letter.recipients);
                letter.sent = true;
            }
            assert_eq!(code(done), (!may).then_some(Code::NotFound));
            return;
        }
        let done = job(&self.db, |db| mail::delete(db, &who, &id));
        let may = if letter.sent { letter.recipients.contains(&who.account) } else { letter.sender == who.account };
        assert_eq!(code(done), (!may).then_some(Code::NotFound));
        if may {
            letter.recipients.retain(|account| *account != who.account);
            if !letter.sent || letter.recipients.is_empty() {
                self.letters.remove(&id);
            }
        }
    }

    fn post(&mut self, a: u16, b: u16, c: u16) {
        let who = self.people[usize::from(a) % 3].clone();
        let bytes = text(b % 9, c % 150);
        let large = b.is_multiple_of(2) && !bytes.is_empty();
        let placed = if large { self.put(&bytes, c) } else { None };
        let body = placed.as_ref().map_or(Body::Here(&bytes), Body::Block);
        let done = self.with_block(placed.as_ref(), |db| workspaces::post(db, &who, "team", body, self.now));
        let expected = match () {
            _ if who.account == 3 => Some(Code::NotFound),
            _ if !bytes.is_empty() && self.used(who.account) + bytes.len() as u64 > QUOTA => Some(Code::Quota),
            _ => None,
        };
        if let Ok(posted) = &done {
            self.last += 1;
            assert_eq!((posted.seq, posted.body.is_none()), (self.last, large));
            self.changes.push(Change { seq: self.last, author: who.account, bytes });
        }
        assert_eq!(code(done), expected);
    }

    fn ack(&mut self, a: u16, b: u16) {
        let account = 1 + u64::from(a % 2);
        let seq = u64::from(b) % (self.last + 2);
        let who = self.people[account as usize - 1].clone();
        let done = job(&self.db, |db| workspaces::ack(db, &who, "team", seq));
        assert_eq!(code(done), (seq > self.last).then_some(Code::BadArgs));
        if seq <= self.last {
            let acked = self.acked.get_mut(&account).unwrap();
            *acked = (*acked).max(seq);
            let all = *self.acked.values().min().unwrap();
            self.changes.retain(|change| change.seq > all);
            // More than a few go in steps; the model is not that fine.
            while job(&self.db, |db| tend::step(db, 1_000, self.now)).unwrap() {}
        }
    }

    /// A data server deletes what it is told to.
    fn collect(&mut self, disk: usize, count: u64) {
        let no = disk as u32 + 1;
        let garbage = copies::garbage(&self.db, no, count).unwrap();
        for (hash, seq) in &garbage {
            if self.disks[disk].get(hash) == Some(seq) {
                self.disks[disk].remove(hash);
            }
        }
        job(&self.db, |db| copies::garbage_gone(db, no, &garbage)).unwrap();
    }

    fn check(&self) {
        for (at, node) in &self.nodes {
            let who = self.owner(at, 0);
            match node {
                Some(bytes) => {
                    let pieces = files::plan_read(&self.db, &who, &path(at), 0, 1 << 20).unwrap();
                    assert_eq!(&self.bytes_of(&pieces), bytes, "{at}");
                    let (from, length) = (bytes.len() / 3, bytes.len() / 2);
                    let pieces = files::plan_read(&self.db, &who, &path(at), from as u64, length as u64).unwrap();
                    assert_eq!(self.bytes_of(&pieces), bytes[from..(from + length).min(bytes.len())], "{at}");
                }
                None => {
                    let listed = tree::list_folder(&self.db, &who, &path(at)).unwrap();
                    let prefix = format!("{at}/");
                    let inside =
                        self.nodes.iter().filter_map(|(other, node)| Some((other.strip_prefix(&prefix)?, node)));
                    let expected: Vec<(&str, u64)> = inside
                        .filter(|(name, _)| !name.contains('/'))
                        .map(|(name, node)| (name, node.as_ref().map_or(0, Vec::len) as u64))
                        .collect();
                    let listed: Vec<(&str, u64)> = listed.iter().map(|entry| (&entry.name[..], entry.size)).collect();
                    assert_eq!(listed, expected, "{at}");
                }
            }
        }
        for (id, letter) in &self.letters {
            let who = if letter.sent { letter.recipients[0] } else { letter.sender };
            let pieces = mail::plan_read(&self.db, &self.people[who as usize - 1], id, 0, 1 << 20).unwrap();
            assert_eq!(self.bytes_of(&pieces), letter.bytes);
        }
        let read = workspaces::read(&self.db, &self.people[1], "team", 0, 10_000).unwrap();
        let read: Vec<_> =
            read.iter().map(|c| (c.seq, c.body.clone().unwrap_or_else(|| self.bytes_of(&c.pieces)))).collect();
        let expected: Vec<_> = self.changes.iter().map(|c| (c.seq, c.bytes.clone())).collect();
        assert_eq!(read, expected);
        for person in &self.people {
            assert_eq!(accounts::usage(&self.db, person.account).unwrap().used, self.used(person.account));
        }
        consistent(&self.db);
    }

    /// When everything was cleaned up, data servers hold what rows say, and nothing else.
    fn end(&mut self) {
        while job(&self.db, |db| tend::step(db, 10, self.now)).unwrap() {}
        for disk in 0..self.disks.len() {
            while !copies::garbage(&self.db, disk as u32 + 1, 1).unwrap().is_empty() {
                self.collect(disk, 3);
            }
            let mut held: Vec<(Hash, u64)> = Vec::new();
            let mut after = None;
            loop {
                let page = copies::placements(&self.db, disk as u32 + 1, after.as_ref(), None, 2).unwrap();
                held.extend(page.rows);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            let mut disk: Vec<(Hash, u64)> = self.disks[disk].iter().map(|(hash, seq)| (*hash, *seq)).collect();
            disk.sort();
            assert_eq!(held, disk);
        }
        let rows =
            "SELECT (SELECT count(*) FROM entries) + (SELECT count(*) FROM extents) + (SELECT count(*) FROM messages)
                    + (SELECT count(*) FROM changes) + (SELECT count(*) FROM workspaces)";
        assert_eq!(number(&self.db, "SELECT sum(items) FROM accounts"), number(&self.db, rows));
    }
}

/// What holds in every database.
pub fn consistent(db: &Connection) {
    let zero = [
        "SELECT count(*) FROM blocks WHERE refs <> (SELECT count(*) FROM extents WHERE block = blocks.id) OR refs = 0",
        "SELECT count(*) FROM extents WHERE block NOT IN (SELECT id FROM blocks) OR object NOT IN (SELECT id FROM objects)",
        "SELECT count(*) FROM extents e JOIN blocks b ON b.id = e.block WHERE e.skip + e.length > b.size OR e.length < 1",
        "SELECT count(*) FROM blocks WHERE length(seqs) <> 2 * (SELECT length(servers) FROM places WHERE id = place)",
        "SELECT count(*) FROM places WHERE blocks <> (SELECT count(*) FROM blocks WHERE place = places.id)
            OR bytes <> (SELECT sum(size) FROM blocks WHERE place = places.id) OR blocks = 0",
        "SELECT count(*) FROM objects o WHERE extents <> (SELECT count(*) FROM extents WHERE object = o.id)
            AND id NOT IN (SELECT object FROM trash)",
        "SELECT count(*) FROM entries e JOIN objects o ON o.id = e.id WHERE kind & 1 AND size <>
            (SELECT coalesce(sum(length), 0) FROM extents WHERE object = o.id)",
        "SELECT count(*) FROM entries e JOIN objects o ON o.id = e.id WHERE kind & 1 = 0 AND size <>
            (SELECT count(*) FROM entries WHERE parent = o.id)",
        "SELECT count(*) FROM objects WHERE id > 3 AND id NOT IN (SELECT id FROM entries UNION SELECT home FROM accounts
            UNION SELECT id FROM workspaces UNION SELECT id FROM messages UNION SELECT object FROM changes WHERE object
            IS NOT NULL UNION SELECT object FROM trash)",
        "SELECT count(*) FROM inbox WHERE message NOT IN (SELECT id FROM messages)",
        "SELECT count(*) FROM accounts a WHERE inbox <> (SELECT count(*) FROM inbox WHERE account = a.account)",
    ];
    for text in zero {
        assert_eq!(number(db, text), 0, "{text}");
    }
}

proptest! {
    #![proptest_config(Config { cases: 64, ..Config::default() })]

    #[test]
    fn storage_does_what_maps_do(steps in vec(any::<(u8, u16, u16, u16)>(), 1..250)) {
        let mut world = World::new();
        for (n, (op, a, b, c)) in steps.iter().enumerate() {
            world.step(*op, *a, *b, *c);
            if n.is_multiple_of(16) {
                world.check();
            }
        }
        world.check();
        world.end();
    }
}
