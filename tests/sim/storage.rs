//! Storage in one thread, on a virtual clock, from a seed: data servers, data management, management and main servers crash, links break;
//! what was answered OK reads back, and nothing is half there. In the end all copies are made, and what was deleted is gone everywhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::network::seeds;
use crate::network::servers;
use crate::network::Network;
use convergia::blocks::memory::Memory;
use convergia::blocks::BlockStore;
use convergia::blocks::Hash;
use convergia::client::core::Core;
use convergia::config::PortKey;
use convergia::engine::identity::ServerKey;
use convergia::engine::limits::Limits;
use convergia::engine::rt::channel;
use convergia::engine::sim::NodeId;
use convergia::engine::Target;
use convergia::members::Where;
use convergia::roles::data;
use convergia::roles::data_management;
use convergia::wire::blob::LARGE;
use convergia::wire::hex;
use convergia::wire::Blob;
use convergia::wire::Code;
use convergia::wire::Fail;
use rand::Rng;
use rand::RngExt;

type Answer = channel::Receiver<Result<Vec<u8>, Fail>>;

/// A network that stores.
pub struct World {
    pub net: Network,
    pub dm: NodeId,
    data: Vec<NodeId>,
    stores: Vec<Arc<Memory>>,
}

fn management() -> Where {
    Where { public: None, management: Target::Local(PortKey::DatamanagementManagement) }
}

impl World {
    /// `data`: of each data server whether it is volatile.
    pub fn new(seed: u64, mains: &[&str], data: &[bool], names: &[&str]) -> World {
        let mut rows = servers(mains);
        for (n, volatile) in data.iter().enumerate() {
            let key = hex::encode(&ServerKey::from_bytes(&[100 + n as u8; 32]).public().0);
            rows += &format!(
                "INSERT INTO servers (name, role, key, volatile, added) VALUES ('data{n}', 'data', x'{key}', {}, 0);",
                u8::from(*volatile)
            );
        }
        let mut net = Network::with_rows(seed, mains, &rows, names);
        let settings = data_management::Settings {
            server_id: "dm".into(),
            key: ServerKey::from_bytes(&[99; 32]),
            fingerprint: [99; 32],
            address: "dm:81".into(),
            data: "dm:79".into(),
            management: management(),
            quota: 1 << 30,
            grace: 10_000,
        };
        let listen = [(PortKey::MainDatamanagement, "dm:81"), (PortKey::DataDatamanagement, "dm:79")];
        let make = move || data_management::DataManagement::new(settings.clone());
        let dm = net.sim.add(Some(data_management::MIGRATIONS), Limits::default(), [99; 32], &listen, make).unwrap();
        let mut world = World { net, dm, data: Vec::new(), stores: Vec::new() };
        for n in 0..data.len() {
            world.add_data(n);
        }
        world
    }

    fn add_data(&mut self, n: usize) {
        let number = 100 + u8::try_from(n).unwrap();
        let address = format!("data{n}:80");
        let settings = data::Settings {
            server_id: format!("data{n}"),
            key: ServerKey::from_bytes(&[number; 32]),
            fingerprint: [number; 32],
            address: address.clone(),
            management: management(),
            local: false,
            scrub_days: 1,
        };
        let store = Arc::new(Memory::new(1 << 30));
        self.stores.push(Arc::clone(&store));
        let make = move || data::Data::new(settings.clone(), Arc::clone(&store) as Arc<dyn BlockStore>);
        let listen = [(PortKey::DataData, &*address)];
        let id = self.net.sim.add(Some(data::MIGRATIONS), Limits::default(), [number; 32], &listen, make).unwrap();
        self.data.push(id);
    }

    fn ask(&mut self, client: NodeId, command: &str, fields: &[&[u8]]) -> Answer {
        let (send, receive) = channel::bounded(1);
        let large = fields.split_last().filter(|(last, _)| last.len() >= LARGE && last.len() % 2 == 0);
        let Some((last, fields)) = large else {
            self.net.sim.with(client, |core: &mut Core, ctx| core.request(ctx, command, fields, send)).unwrap();
            return receive;
        };
        // As files are sent.
        let last = Some(Blob::from(last.to_vec()));
        let reply = move |answer: Result<Blob, Fail>| drop(send.try_send(answer.map(Blob::into_vec)));
        self.net.sim.with(client, |core: &mut Core, ctx| core.ask(ctx, command, fields, last, reply)).unwrap();
        receive
    }

    /// Asks, and waits for the answer.
    pub fn get(&mut self, client: NodeId, command: &str, fields: &[&[u8]]) -> Result<Vec<u8>, Fail> {
        let answer = self.ask(client, command, fields);
        let until = self.net.sim.now() + 60_000;
        let mut got = None;
        self.net.sim.run(until, |_| {
            got = got.take().or_else(|| answer.try_recv().ok());
            got.is_some()
        });
        got.unwrap_or_else(|| panic!("{command}: no answer"))
    }

    /// Asks until storage is up.
    pub fn get_sometime(&mut self, client: NodeId, command: &str, fields: &[&[u8]]) -> Result<Vec<u8>, Fail> {
        for _ in 0..200 {
            match self.get(client, command, fields) {
                Err(fail) if matches!(fail.code, Code::Unavailable | Code::Busy) => self.net.sim.run_for(1_000),
                other => return other,
            }
        }
        panic!("{command}: storage does not come back");
    }

    fn blocks(&self) -> u64 {
        self.stores.iter().map(|store| store.usage().blocks).sum()
    }

    /// How many servers have that block.
    fn copies(&self, hash: &Hash) -> usize {
        self.stores.iter().filter(|store| store.get(hash).is_ok()).count()
    }
}

fn bytes(world: &mut World, most: usize) -> Vec<u8> {
    let length = world.net.sim.rng().random_range(1..=most);
    let mut bytes = vec![0; length];
    world.net.sim.rng().fill_bytes(&mut bytes);
    bytes
}

#[test]
fn what_is_written_reads_back_while_everything_breaks() {
    seeds(20, |seed| {
        let kinds: &[&[bool]] = &[&[false, false], &[true; 5], &[false, true, true, true], &[false, false, false]];
        let kind = kinds[usize::try_from(seed).unwrap() % kinds.len()];
        let mut world = World::new(seed, &["a", "b"], kind, &["alice", "bob"]);
        world.net.sim.run_for(3_000);
        let (alice, _) = world.net.client("alice");
        let (bob, _) = world.net.client("bob");
        world.net.until_on(&[alice, bob]);
        let mut sent: Vec<(NodeId, String, Vec<u8>, Answer, Answer)> = Vec::new();
        for n in 0..80 {
            for (client, name) in [(alice, "alice"), (bob, "bob")] {
                if !Network::is_on(&mut world.net.sim, client) {
                    continue;
                }
                let path = format!("/users/{name}/{n}");
                let bytes = bytes(&mut world, 40_000);
                // Not waited for: they are carried out in this order.
                let made = world.ask(client, "CREATEFILE", &[path.as_bytes()]);
                let written = world.ask(client, "WRITEFILE", &[path.as_bytes(), b"0", &bytes]);
                sent.push((client, path, bytes, made, written));
            }
            let pause = world.net.sim.rng().random_range(0..300);
            world.net.sim.run_for(pause);
            let (dm, management) = (world.dm, world.net.management);
            let data = world.data[world.net.sim.rng().random_range(0..world.data.len())];
            let main = world.net.mains[world.net.sim.rng().random_range(0..2usize)];
            match world.net.sim.rng().random_range(0..40) {
                0..=3 => restart(&mut world, data, 4_000),
                4 => restart(&mut world, dm, 2_000),
                5 => restart(&mut world, management, 2_000),
                6 => restart(&mut world, main, 2_000),
                7..=9 => world.net.sim.cut(data, dm),
                10 => world.net.sim.cut(main, dm),
                _ => {}
            }
        }
        world.net.sim.run_for(60_000);
        world.net.until_on(&[alice, bob]);
        let mut there: BTreeMap<Hash, usize> = BTreeMap::new();
        let mut kept = 0;
        for (client, path, bytes, made, written) in &sent {
            let made = made.try_recv().unwrap_or_else(|_| panic!("{path}: no answer"));
            let written = written.try_recv().unwrap_or_else(|_| panic!("{path}: no answer"));
            let read = world.get_sometime(*client, "READFILE", &[path.as_bytes(), b"0", b"1048576"]);
            match (&made, &written, read) {
                (_, Ok(_), Ok(read)) if read == *bytes => {
                    kept += 1;
                    *there.entry(Hash::of(bytes)).or_default() += 1;
                }
                (_, Ok(_), other) => panic!("{path} was written, and is {:?}", other.map(|bytes| bytes.len())),
                // It may have happened, or not; never a part of it.
                (_, Err(_), Ok(read)) if read == *bytes => *there.entry(Hash::of(bytes)).or_default() += 1,
                (_, Err(_), Ok(read)) => assert!(read.is_empty(), "{path} is half there"),
                (Ok(_), Err(_), Err(fail)) => panic!("{path} was made, and is not there: {fail}"),
                (Err(_), Err(_), Err(fail)) => assert_eq!(fail.code, Code::NotFound, "{path}: {fail}"),
            }
        }
        assert!(kept > sent.len() / 3, "only {kept} of {} were written", sent.len());
        // All copies that are needed, and none that is not.
        world.net.sim.run_for(120_000);
        let mut blocks = 0;
        for hash in there.keys() {
            let copies = world.copies(hash);
            // With servers of both kinds it depends on who was up.
            let enough = (kind.contains(&false) && copies == 1) || (kind.contains(&true) && copies == 3);
            assert!(enough, "{copies} copies of {hash}");
            blocks += copies as u64;
        }
        assert_eq!(world.blocks(), blocks, "there is garbage");
        for (client, path, ..) in &sent {
            let _ = world.get_sometime(*client, "DELETEFILE", &[path.as_bytes()]);
        }
        world.net.sim.run_for(60_000);
        assert_eq!(world.blocks(), 0, "what was deleted is not gone");
    });
}

fn restart(world: &mut World, node: NodeId, most: u64) {
    world.net.sim.crash(node);
    let off = world.net.sim.rng().random_range(0..most);
    world.net.sim.run_for(off);
    world.net.sim.start(node);
}

#[test]
fn volatile_servers_are_lost_one_after_the_other() {
    seeds(6, |seed| {
        let mut world = World::new(seed, &["a"], &[true; 5], &["alice"]);
        world.net.sim.run_for(3_000);
        let (alice, _) = world.net.client("alice");
        world.net.until_on(&[alice]);
        let mut files = Vec::new();
        for n in 0..30 {
            let (path, bytes) = (format!("/users/alice/{n}"), bytes(&mut world, 20_000));
            world.get_sometime(alice, "CREATEFILE", &[path.as_bytes()]).unwrap();
            world.get_sometime(alice, "WRITEFILE", &[path.as_bytes(), b"0", &bytes]).unwrap();
            files.push((path, bytes));
        }
        for (path, bytes) in &files {
            assert_eq!(world.copies(&Hash::of(bytes)), 3, "{path}");
        }
        for n in 0..3 {
            let data = world.data[n];
            world.net.sim.crash(data);
            world.stores[n].lose();
            world.net.sim.run_for(60_000);
        }
        for (path, bytes) in &files {
            let read = world.get(alice, "READFILE", &[path.as_bytes(), b"0", b"1048576"]);
            assert_eq!(read.as_deref(), Ok(&bytes[..]), "{path}");
        }
        // Two are too few for a new block.
        let fail = world.get(alice, "WRITEFILE", &[b"/users/alice/0", b"0", b"x"]).unwrap_err();
        assert_eq!(fail.code, Code::Unavailable);
        for n in 0..3 {
            let data = world.data[n];
            world.net.sim.start(data);
        }
        world.net.sim.run_for(120_000);
        for (path, bytes) in &files {
            assert_eq!(world.copies(&Hash::of(bytes)), 3, "{path}");
        }
        world.get(alice, "WRITEFILE", &[b"/users/alice/0", b"0", b"x"]).unwrap();
    });
}

#[test]
fn a_block_that_has_rotted_is_made_anew() {
    seeds(4, |seed| {
        let mut world = World::new(seed, &["a"], &[true; 4], &["alice"]);
        world.net.sim.run_for(3_000);
        let (alice, _) = world.net.client("alice");
        world.net.until_on(&[alice]);
        let bytes = bytes(&mut world, 9_000);
        world.get_sometime(alice, "CREATEFILE", &[b"/users/alice/a"]).unwrap();
        world.get_sometime(alice, "WRITEFILE", &[b"/users/alice/a", b"0", &bytes]).unwrap();
        let hash = Hash::of(&bytes);
        let first = world.stores.iter().position(|store| store.get(&hash).is_ok()).unwrap();
        assert!(world.stores[first].spoil(&hash));
        assert_eq!(world.copies(&hash), 2);
        // The scrub finds it, though nobody reads it.
        world.net.sim.run_for(120_000);
        assert_eq!(world.copies(&hash), 3);
        let read = world.get(alice, "READFILE", &[b"/users/alice/a", b"0", b"1048576"]);
        assert_eq!(read.as_deref(), Ok(&bytes[..]));
    });
}

#[test]
fn a_disk_that_does_not_work_costs_nobody_a_byte() {
    seeds(6, |seed| {
        let kinds: [&[bool]; 2] = [&[true; 4], &[false, false]];
        let kind = kinds[usize::try_from(seed).unwrap() % 2];
        let volatile = kind[0];
        let mut world = World::new(seed, &["a"], kind, &["alice"]);
        world.net.sim.run_for(3_000);
        let (alice, _) = world.net.client("alice");
        world.net.until_on(&[alice]);
        let mut files = Vec::new();
        let mut write = |world: &mut World, count: usize| {
            for _ in 0..count {
                let (path, bytes) = (format!("/users/alice/{}", files.len()), bytes(world, 20_000));
                world.get_sometime(alice, "CREATEFILE", &[path.as_bytes()]).unwrap();
                world.get(alice, "WRITEFILE", &[path.as_bytes(), b"0", &bytes]).unwrap();
                files.push((path, bytes));
            }
            files.clone()
        };
        write(&mut world, 10);
        let before = world.stores[0].usage().blocks;
        world.stores[0].set_broken(true);
        // Others take what it does not.
        let files = write(&mut world, 10);
        assert_eq!(world.stores[0].usage().blocks, before);
        for (path, bytes) in files.iter().filter(|_| volatile) {
            let read = world.get(alice, "READFILE", &[path.as_bytes(), b"0", b"1048576"]);
            assert_eq!(read.as_deref(), Ok(&bytes[..]), "{path} is on others too");
        }
        // Nothing was taken for lost meanwhile: a copy that could not be read was not deleted.
        world.stores[0].set_broken(false);
        world.net.sim.run_for(120_000);
        for (path, bytes) in &files {
            let read = world.get(alice, "READFILE", &[path.as_bytes(), b"0", b"1048576"]);
            assert_eq!(read.as_deref(), Ok(&bytes[..]), "{path}");
            assert_eq!(world.copies(&Hash::of(bytes)), if volatile { 3 } else { 1 }, "{path}");
        }
        let more = write(&mut world, 20).len();
        assert!(volatile || world.stores[0].usage().blocks > before, "it takes blocks again, of {more}");
    });
}

#[test]
fn people_share_what_they_store() {
    seeds(6, |seed| {
        let mut world = World::new(seed, &["a", "b"], &[false], &["alice", "bob", "carol"]);
        world.net.sim.run_for(3_000);
        let (alice, _) = crate::many::client_at(&mut world.net, "alice", 0);
        let (bob, log) = crate::many::client_at(&mut world.net, "bob", 1);
        let (carol, _) = crate::many::client_at(&mut world.net, "carol", 1);
        world.get_sometime(alice, "CREATEFILE", &[b"/users/alice/a"]).unwrap();
        world.get(alice, "WRITEFILE", &[b"/users/alice/a", b"0", b"for bob"]).unwrap();
        let read: [&[u8]; 3] = [b"/users/alice/a", b"0", b"100"];
        assert_eq!(world.get(bob, "READFILE", &read).unwrap_err().code, Code::Denied);
        world.get(alice, "SETPERMISSIONS", &[b"/users/alice/a", b"BOB|r"]).unwrap();
        assert_eq!(world.get(bob, "READFILE", &read).unwrap(), b"for bob");
        assert_eq!(world.get(bob, "WRITEFILE", &[b"/users/alice/a", b"0", b"x"]).unwrap_err().code, Code::Denied);
        assert_eq!(world.get(carol, "READFILE", &read).unwrap_err().code, Code::Denied);
        let info = String::from_utf8(world.get(bob, "GETINFO", &[b"/users/alice/a"]).unwrap()).unwrap();
        assert!(info.contains(&format!("hash|{}", Hash::of(b"for bob"))) && info.contains("copies|1"), "{info}");
        world.get(alice, "WRITEFILE", &[b"/users/alice/a", b"7", b" too"]).unwrap();
        let info = String::from_utf8(world.get(alice, "GETINFO", &[b"/users/alice/a"]).unwrap()).unwrap();
        assert!(info.contains(&format!("hash|{}", Hash::of(b"for bob too"))), "{info}");
        // An offline message to one who is there, and to one who is not.
        let id = world.get(alice, "INITOFFLINEMESSAGE", &[b"bob", b"carol"]).unwrap();
        for piece in [&b"first, "[..], b"second"] {
            world.get(alice, "APPENDOFFLINEMESSAGE", &[&id, piece]).unwrap();
        }
        assert_eq!(world.get(bob, "READOFFLINEMESSAGE", &[&id, b"0", b"100"]).unwrap_err().code, Code::NotFound);
        world.get(alice, "SENDOFFLINEMESSAGE", &[&id]).unwrap();
        assert_eq!(world.get(bob, "READOFFLINEMESSAGE", &[&id, b"0", b"100"]).unwrap(), b"first, second");
        let list = String::from_utf8(world.get(carol, "LISTOFFLINEMESSAGES", &[]).unwrap()).unwrap();
        assert!(list.starts_with(&format!("{}|alice|13|", String::from_utf8(id.clone()).unwrap())), "{list}");
        world.get(bob, "DELETEOFFLINEMESSAGE", &[&id]).unwrap();
        world.get(carol, "DELETEOFFLINEMESSAGE", &[&id]).unwrap();
        // A workspace, with a change of each kind.
        world.get(alice, "CREATEWORKSPACE", &[b"plan", b"bob"]).unwrap();
        let large = vec![b'x'; 50_000];
        assert_eq!(world.get(alice, "POSTCHANGE", &[b"plan", b"hi"]).unwrap(), b"1");
        assert_eq!(world.get(bob, "POSTCHANGE", &[b"plan", &large]).unwrap(), b"2");
        let read = world.get(bob, "READCHANGES", &[b"plan", b"0", b"10"]).unwrap();
        let text = String::from_utf8(read).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        let second = rest.strip_prefix("hi\n").unwrap().split_once('\n').unwrap();
        assert!(first.starts_with("1|alice|") && first.ends_with("|2"), "{first}");
        assert!(second.0.starts_with("2|bob|") && second.0.ends_with("|50000"), "{}", second.0);
        assert_eq!(second.1.as_bytes(), large);
        let workspaces = world.get(bob, "LISTWORKSPACES", &[]).unwrap();
        assert_eq!(workspaces, b"plan|alice|2|0|2");
        assert_eq!(world.get(bob, "LISTPARTICIPANTS", &[b"plan"]).unwrap(), b"alice\nbob");
        assert_eq!(world.get(carol, "READCHANGES", &[b"plan", b"0", b"10"]).unwrap_err().code, Code::NotFound);
        world.get(bob, "SETMETADATA", &[b"public-colour", b"green"]).unwrap();
        assert_eq!(world.get(carol, "GETMETADATA", &[b"bob", b"public-colour"]).unwrap(), b"green");
        drop(log);
    });
}
