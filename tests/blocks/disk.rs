//! Killed at any moment, and a disk that is full.

use std::collections::HashMap;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use convergia::blocks::disk::Disk;
use convergia::blocks::BlockStore;
use convergia::blocks::Error;
use convergia::blocks::Hash;

use super::all;
use super::content;
use super::support::Random;
use super::support::TempDir;

const FOLDER: &str = "CVG_BLOCKS_FOLDER";
const SEED: &str = "CVG_BLOCKS_SEED";
const MOST: usize = 20_000;
const CONTENTS: u64 = 400;
/// So that segments are 1 MiB long, and change often.
const CAPACITY: u64 = 16 << 20;

fn folder() -> PathBuf {
    PathBuf::from(std::env::var_os(FOLDER).expect("started by another test"))
}

/// This test program, for one test that another one runs.
fn this(test: &str) -> String {
    let program = std::env::current_exe().expect("this program");
    format!("{} --exact disk::{test} --ignored --nocapture --test-threads 1", program.display())
}

/// Runs shell commands to their end, and shows what they say if they fail.
fn shell(script: &str, folder: &Path) {
    let output = Command::new("sh").args(["-euc", script]).env(FOLDER, folder).output().expect("sh");
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", words(&output.stdout), words(&output.stderr));
    // One that was not run is no success.
    assert!(words(&output.stdout).contains("1 passed"), "{}", words(&output.stdout));
}

/// Puts, deletes and compacts for ever, and says each thing when it is done; a delete before, too.
#[test]
#[ignore = "killed_at_any_moment runs it, and kills it"]
fn works_until_it_is_killed() {
    let disk = Disk::open(&folder(), CAPACITY).expect("the store");
    let seed = std::env::var(SEED).expect("a seed").parse().expect("a number");
    let mut random = Random::from(seed);
    let mut known: Vec<(Hash, u64)> = Vec::new();
    for round in 0..1_000_000_u64 {
        let numbers: Vec<u64> = (0..1 + random.below(12)).map(|_| random.below(CONTENTS)).collect();
        let blocks: Vec<Vec<u8>> = numbers.iter().map(|n| content(*n, MOST)).collect();
        let blocks: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
        let stored = disk.put(&blocks);
        let mut said = String::from("\n");
        for (n, stored) in numbers.iter().zip(stored) {
            let stored = stored.expect("put");
            said.push_str(&format!("put {n} {}\n", stored.seq));
            known.retain(|(hash, _)| *hash != stored.hash);
            known.push((stored.hash, stored.seq));
        }
        print!("{said}");
        if known.len() > 150 {
            let some: Vec<(Hash, u64)> = known.drain(..60).collect();
            let lines: String = some.iter().map(|(hash, _)| format!("deleting {hash}\n")).collect();
            print!("{lines}");
            assert_eq!(disk.delete(&some).expect("deleting").len(), some.len());
            let lines: String = some.iter().map(|(hash, _)| format!("deleted {hash}\n")).collect();
            print!("{lines}");
        }
        if round % 3 == 0 {
            disk.tend().expect("upkeep");
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Put(u64, u64),
    Deleting,
    Deleted,
}

#[test]
fn killed_at_any_moment() {
    let mut random = Random::seeded();
    let temp = TempDir::new();
    let folder = temp.path().join("blocks");
    let mut told: HashMap<Hash, Told> = HashMap::new();
    let mut last = 0;
    for round in 0..8 {
        let mut child = Command::new("sh")
            .args(["-euc", &format!("exec {}", this("works_until_it_is_killed"))])
            .env(FOLDER, &folder)
            .env(SEED, random.below(u64::MAX).to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program again");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let until = 100 + random.below(1000);
        let mut take = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["put", n, seq] => {
                    let (n, seq) = (n.parse().expect("a number"), seq.parse().expect("a seq"));
                    assert!(seq > last, "seq {seq} after {last}");
                    last = seq;
                    told.insert(Hash::of(&content(n, MOST)), Told::Put(n, seq));
                    1
                }
                ["deleting", hash] => told.insert(Hash::parse(hash).expect("a hash"), Told::Deleting).map_or(0, |_| 1),
                ["deleted", hash] => told.insert(Hash::parse(hash).expect("a hash"), Told::Deleted).map_or(0, |_| 1),
                _ => 0,
            }
        };
        let mut count = 0;
        while count < until {
            let mut line = String::new();
            assert!(output.read_line(&mut line).expect("a line") > 0, "it ended by itself");
            count += take(line.trim_end());
        }
        child.kill().expect("killing it");
        // What it said before it died counts too. A line without an end was cut off, and says nothing.
        let mut rest = String::new();
        output.read_to_string(&mut rest).expect("the rest");
        for line in rest.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            take(line);
        }
        child.wait().expect("its end");
        if round % 4 == 3 {
            for end in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(folder.join(format!("index.db{end}")));
            }
        }
        check(&folder, &mut told, round % 4 == 3);
    }
}

/// What was told is so; what is not known is taken for told.
fn check(folder: &Path, told: &mut HashMap<Hash, Told>, lost_index: bool) {
    let disk = Disk::open(folder, CAPACITY).expect("the store");
    let names: HashMap<Hash, u64> = (0..CONTENTS).map(|n| (Hash::of(&content(n, MOST)), n)).collect();
    let there: HashMap<Hash, u64> = all(&disk, 100).iter().map(|listed| (listed.hash, listed.seq)).collect();
    assert_eq!(disk.usage().blocks, there.len() as u64);
    let mut back = 0;
    for (hash, what) in told.iter() {
        match what {
            Told::Put(n, seq) => {
                let data = disk.get(hash).unwrap_or_else(|error| panic!("block {n}, seq {seq}: {error}"));
                assert!(data == content(*n, MOST), "block {n}");
                // A put that was cut off may have given it a later one.
                assert!(there[hash] >= *seq, "block {n}: {} and {seq}", there[hash]);
            }
            // Cut off, it may be both.
            Told::Deleting => (),
            Told::Deleted => back += usize::from(there.contains_key(hash)),
        }
    }
    // A call that was cut off may have put them again; without the index they may come back.
    assert!(back <= 12 || lost_index, "{back} that were deleted are there");
    for (hash, seq) in &there {
        let data = disk.get(hash).expect("what is listed can be read");
        assert!(Hash::of(&data) == *hash);
        told.insert(*hash, Told::Put(*names.get(hash).expect("one of ours"), *seq));
    }
    told.retain(|hash, _| there.contains_key(hash));
}

/// Writes fail in the middle of a record, as no file may be longer than 8 MiB here.
#[test]
#[ignore = "writes_that_fail_in_the_middle runs it with a limit"]
fn goes_on_in_another_file() {
    let folder = folder();
    let disk = Disk::open(&folder, 1 << 30).expect("the store");
    let (mut stored, mut failed) = (Vec::new(), 0);
    for n in 0..40_u64 {
        let blocks: Vec<Vec<u8>> = (0..3).map(|k| [(n * 3 + k).to_le_bytes(); 70_000].concat()).collect();
        let blocks: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
        for (data, answer) in blocks.iter().zip(disk.put(&blocks)) {
            match answer {
                Ok(put) => stored.push(put),
                Err(Error::Io(_)) => {
                    failed += 1;
                    assert_eq!(disk.get(&Hash::of(data)), Err(Error::NotFound));
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert!(failed >= 3 && stored.len() > 90, "{failed} failed, {} stored", stored.len());
    assert_eq!(all(&disk, 1000).len(), stored.len());
    drop(disk);
    let disk = Disk::open(&folder, 1 << 30).expect("the store again");
    assert_eq!(all(&disk, 1000).len(), stored.len());
    assert!(stored.iter().all(|stored| disk.get(&stored.hash).is_ok()));
}

#[test]
fn writes_that_fail_in_the_middle() {
    let temp = TempDir::new();
    // In units of 512 bytes. The signal that goes with it is not wanted.
    let script = format!("trap '' XFSZ; ulimit -f 16384; exec {}", this("goes_on_in_another_file"));
    shell(&script, &temp.path().join("blocks"));
}

#[test]
#[ignore = "a_disk_that_is_full runs it on a small one"]
fn fills_a_small_disk() {
    let folder = folder();
    let disk = Disk::open(&folder, 1 << 30).expect("the store");
    let data = |n: u64| [n.to_le_bytes(); 8 << 10].concat();
    let mut stored = Vec::new();
    for n in 0.. {
        match disk.put(&[&data(n)]).remove(0) {
            Ok(put) => stored.push(put),
            Err(error) => {
                assert_eq!(error, Error::Full);
                break;
            }
        }
    }
    assert!((200..800).contains(&stored.len()), "{} blocks", stored.len());
    // Somebody else takes the rest, to the last byte.
    let filler = folder.with_extension("filler");
    let mut rest = std::fs::File::create(&filler).expect("another file");
    while std::io::Write::write(&mut rest, &[1; 4096]).is_ok_and(|written| written > 0) {}
    assert_eq!(disk.put(&[b"one more"]).remove(0), Err(Error::Full));
    for put in &stored {
        assert_eq!(disk.get(&put.hash).map(|data| data.len()), Ok(64 << 10));
    }
    drop((disk, rest));
    std::fs::remove_file(&filler).expect("removing it");
    let disk = Disk::open(&folder, 1 << 30).expect("the store again");
    assert_eq!(all(&disk, 1000).len(), stored.len());
    // Deleting gives room to the same number.
    let half: Vec<(Hash, u64)> = stored.drain(..100).map(|put| (put.hash, put.seq)).collect();
    assert_eq!(disk.delete(&half).expect("deleting").len(), 100);
    while disk.tend().expect("upkeep") {}
    for n in 0..90 {
        stored.push(disk.put(&[&data(1_000_000 + n)]).remove(0).expect("there is room"));
    }
    assert!(stored.iter().all(|put| disk.get(&put.hash).is_ok()));
}

/// Needs root, as only root may mount: a disk of 32 MiB, in a mount namespace of its own.
#[test]
fn a_disk_that_is_full() {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "only root mounts a small disk");
        println!("NOT RUN: only root mounts a small disk");
        return;
    }
    let temp = TempDir::new();
    let mount = temp.path().join("disk");
    std::fs::create_dir(&mount).expect("a folder");
    let script = format!("mount -t tmpfs -o size=32m none {} && exec {}", mount.display(), this("fills_a_small_disk"));
    shell(&format!("exec unshare -m sh -euc '{script}'"), &mount.join("blocks"));
}
