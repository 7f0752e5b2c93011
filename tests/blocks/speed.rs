//! Figures of the store on disk, for people: run it in release, with --ignored and --nocapture.

use std::time::Instant;

use convergia::blocks::disk::Disk;
use convergia::blocks::BlockStore;
use convergia::blocks::Hash;

use super::support::TempDir;

fn fill(n: u64, size: usize) -> Vec<u8> {
    let mut data = vec![7; size];
    data[..8].copy_from_slice(&n.to_le_bytes());
    data
}

#[test]
#[ignore = "figures, no check"]
fn figures() {
    let temp = TempDir::new();
    let data = vec![5; 1 << 20];
    let began = Instant::now();
    for _ in 0..1000 {
        std::hint::black_box(Hash::of(&data));
    }
    println!("BLAKE3 of 1 MiB: {:.2} GB/s", 1000.0 * data.len() as f64 / began.elapsed().as_secs_f64() / 1e9);
    let disk = Disk::open(&temp.path().join("blocks"), 8 << 30).expect("the store");
    let mut stored = Vec::new();
    for (size, batch, batches) in
        [(4096, 1, 500), (4096, 128, 79), (64 << 10, 64, 16), (1 << 20, 1, 100), (1 << 20, 8, 64)]
    {
        let base = stored.len() as u64 + 1_000_000 * batch as u64;
        let blocks: Vec<Vec<Vec<u8>>> =
            (0..batches).map(|at| (0..batch).map(|n| fill(base + (at * batch + n) as u64, size)).collect()).collect();
        let began = Instant::now();
        for blocks in &blocks {
            let blocks: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
            stored.extend(disk.put(&blocks).into_iter().map(|answer| answer.expect("put")));
        }
        let (count, took) = ((batch * batches) as f64, began.elapsed().as_secs_f64());
        let rate = count * size as f64 / took / 1e6;
        println!(
            "put {size} B, {batch} a call: {:.0} blocks/s, {rate:.0} MB/s, {:.2} ms a call",
            count / took,
            took * 1e3 / batches as f64
        );
    }
    let large = &stored[stored.len() - 512..];
    for (what, some) in [("1 MiB", large), ("4 KiB", &stored[..10_000])] {
        let began = Instant::now();
        let mut bytes = 0;
        for stored in some {
            bytes += disk.get(&stored.hash).expect("get").len();
        }
        let took = began.elapsed().as_secs_f64();
        println!(
            "get {what}, in the page cache: {:.0} blocks/s, {:.2} GB/s",
            some.len() as f64 / took,
            bytes as f64 / took / 1e9
        );
    }
    let began = Instant::now();
    let listed = super::all(&disk, 1000).len();
    println!("list {listed}, 1,000 a call: {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
    let most: Vec<(Hash, u64)> = stored[..9500].iter().map(|stored| (stored.hash, stored.seq)).collect();
    let began = Instant::now();
    for some in most.chunks(500) {
        disk.delete(some).expect("delete");
    }
    println!("delete 4 KiB, 500 a call: {:.0} blocks/s", most.len() as f64 / began.elapsed().as_secs_f64());
    let began = Instant::now();
    let mut steps = 0;
    while disk.tend().expect("upkeep") {
        steps += 1;
    }
    println!(
        "compaction: {steps} steps, {:.0} ms; used {} MiB",
        began.elapsed().as_secs_f64() * 1e3,
        disk.usage().used >> 20
    );
    let folder = temp.path().join("blocks");
    drop(disk);
    let began = Instant::now();
    drop(Disk::open(&folder, 8 << 30).expect("the store"));
    println!("opening: {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.join(format!("index.db{end}")));
    }
    let began = Instant::now();
    let used = Disk::open(&folder, 8 << 30).expect("the store").usage().used;
    println!("opening without the index: {:.0} MB/s", used as f64 / began.elapsed().as_secs_f64() / 1e6);
}
