//! What storage costs: `cargo bench --bench storage [FILES]`. One thread, one database file, groups of jobs in one commit as
//! the engine makes them. Prints one line per figure.

use std::path::Path as FilePath;
use std::time::Instant;

use convergia::engine;
use convergia::storage::accounts;
use convergia::storage::args::Path;
use convergia::storage::copies;
use convergia::storage::copies::Live;
use convergia::storage::files;
use convergia::storage::tend;
use convergia::storage::tree;
use convergia::storage::Caller;
use convergia::storage::Hash;
use convergia::storage::Placed;
use rusqlite::Connection;

/// Jobs of one commit, as the engine groups them.
const GROUP: u64 = 1_024;
const PER_FOLDER: u64 = 10_000;

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let files = numbers.first().copied().unwrap_or(1_000_000);
    for copies in [1, 3] {
        let folder = std::env::temp_dir().join(format!("convergia-storage-{}-{copies}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        run(&folder, files, copies);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

fn hash(n: u64) -> Hash {
    // Spread like the names of real blocks; which bytes they name does not matter here.
    let mut state = n;
    Hash(std::array::from_fn(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    }))
}

fn savepoint<T>(db: &Connection, work: impl FnOnce() -> T) -> T {
    db.execute_batch("SAVEPOINT job").unwrap();
    let done = work();
    db.execute_batch("RELEASE job").unwrap();
    done
}

fn run(folder: &FilePath, files: u64, copies: u32) {
    let path = folder.join("storage.sqlite");
    let db = engine::database::open(&path, &[convergia::storage::SCHEMA]).unwrap();
    convergia::storage::tune(&db, 64 << 20).unwrap();
    let alice = Caller { account: 1, name: "alice".to_owned() };
    accounts::welcome(&db, &alice, 1).unwrap();
    accounts::set_quota(&db, 1, Some(1 << 50)).unwrap();
    let servers: Vec<u32> = (0..8).map(|n| copies::server(&db, &format!("data-{n}")).unwrap()).collect();

    let begun = Instant::now();
    let (mut slowest, mut n) = (0.0f64, 0);
    while n < files {
        let group = Instant::now();
        db.execute_batch("BEGIN IMMEDIATE").unwrap();
        for _ in 0..GROUP.min(files - n) {
            if n % PER_FOLDER == 0 {
                let folder = Path::parse(&format!("/users/alice/{}", n / PER_FOLDER)).unwrap();
                tree::create_folder(&db, &alice, &folder, n).unwrap();
            }
            let file = Path::parse(&format!("/users/alice/{}/picture-{n}.png", n / PER_FOLDER)).unwrap();
            savepoint(&db, || tree::create_file(&db, &alice, &file, n).unwrap());
            let first = n as usize;
            let at = (0..copies as usize).map(|c| (servers[(first + c) % servers.len()], n)).collect();
            let placed = Placed { hash: hash(n), size: 4096, copies: at };
            savepoint(&db, || files::write(&db, &alice, &file, 0, Some(&placed), n).unwrap());
            n += 1;
        }
        db.execute_batch("COMMIT").unwrap();
        slowest = slowest.max(group.elapsed().as_secs_f64());
    }
    let seconds = begun.elapsed().as_secs_f64();
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let bytes = std::fs::metadata(&path).unwrap().len();
    println!(
        "{copies} copies: {files} files in {seconds:.1} s, {:.0} create+write pairs/s, slowest group {:.0} ms, {} bytes/file, peak {} MiB",
        files as f64 / seconds,
        slowest * 1e3,
        bytes / files.max(1),
        peak() >> 20
    );
    time("LISTFOLDER of 10,000", 20, || {
        tree::list_folder(&db, &alice, &Path::parse("/users/alice/0").unwrap()).unwrap().len() as u64
    });
    time("READFILE plan", 10_000, || {
        files::plan_read(&db, &alice, &Path::parse("/users/alice/0/picture-77.png").unwrap(), 0, 4096).unwrap().len()
            as u64
    });
    let live: Vec<Live> = servers.iter().map(|no| Live { server: *no, volatile: copies == 3 }).collect();
    time("health", 100, || copies::health(&db, &live).unwrap().short);
    time("short, 1,000 of one server off", 20, || {
        copies::short(&db, &live[1..], copies::Cursor::default(), 1_000).unwrap().rows.len() as u64
    });
    time("placements, page of 1,000", 20, || {
        copies::placements(&db, servers[0], None, None, 1_000).unwrap().rows.len() as u64
    });
    time("remove the account", 1, || u64::from(accounts::remove(&db, 1).unwrap()));
    let (begun, mut slowest) = (Instant::now(), 0.0f64);
    let mut more = true;
    while more {
        let step = Instant::now();
        db.execute_batch("BEGIN IMMEDIATE").unwrap();
        more = tend::step(&db, 1_000, files).unwrap();
        db.execute_batch("COMMIT").unwrap();
        slowest = slowest.max(step.elapsed().as_secs_f64());
    }
    println!("  clean up behind it: {:.1} s, slowest step {:.0} ms", begun.elapsed().as_secs_f64(), slowest * 1e3);
}

fn time(what: &str, times: u32, work: impl Fn() -> u64) {
    let begun = Instant::now();
    let mut rows = 0;
    for _ in 0..times {
        rows = work();
    }
    println!("  {what}: {:.3} ms ({rows} rows)", begun.elapsed().as_secs_f64() * 1e3 / f64::from(times));
}

/// The most memory that this process had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
}
