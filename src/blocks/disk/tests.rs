use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;

use rand::rngs::StdRng;
use rand::RngExt;
use rand::SeedableRng;

use super::*;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder that goes when the test ends.
struct Temp(PathBuf);

impl Temp {
    fn new() -> Temp {
        let name = format!("cvg-blocks-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        Temp(path)
    }

    /// What is in it now, copied.
    fn copy(&self) -> Temp {
        let copy = Temp::new();
        fs::create_dir_all(&copy.0).unwrap();
        for file in fs::read_dir(&self.0).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), copy.0.join(file.file_name())).unwrap();
        }
        copy
    }

    fn lose_index(&self) {
        index::remove(&self.0).unwrap();
    }

    /// The segments and their lengths.
    fn segments(&self) -> BTreeMap<PathBuf, u64> {
        let files = fs::read_dir(&self.0).unwrap().map(|file| file.unwrap().path());
        let files = files.filter(|path| path.extension().is_some_and(|end| end == "blocks"));
        files.map(|path| (path.clone(), fs::metadata(&path).unwrap().len())).collect()
    }

    /// Bytes on the disk.
    fn taken(&self) -> u64 {
        self.segments().keys().map(|path| fs::metadata(path).unwrap().blocks() * 512).sum()
    }

    fn open(&self, segment: u64) -> Disk {
        Disk::with_segments(&self.0, 1 << 30, segment).unwrap()
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn seed() -> u64 {
    let seed = std::env::var("CONVERGIA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("CONVERGIA_SEED={seed}");
    seed
}

/// Content number `n`, of a length of its own.
fn content(n: usize) -> Vec<u8> {
    const LENGTHS: &[usize] = &[1, 63, 64, 65, 700, 4096, 5000, 80 << 10, 200_000];
    let length = LENGTHS[n % LENGTHS.len()];
    (0..length).map(|at| (at * 31 + n * 7) as u8).chain((n as u32).to_le_bytes()).collect()
}

fn put(disk: &Disk, data: &[u8]) -> Stored {
    disk.put(&[data]).remove(0).unwrap()
}

fn all(disk: &Disk) -> Vec<Listed> {
    let mut listed: Vec<Listed> = Vec::new();
    loop {
        let page = disk.list(listed.last().map(|last| &last.hash), 5).unwrap();
        if page.is_empty() {
            return listed;
        }
        assert!(page.len() <= 5);
        listed.extend(page);
    }
}

fn tend(disk: &Disk) {
    for _ in 0..10_000 {
        if !disk.tend().unwrap() {
            return;
        }
    }
    panic!("upkeep does not end");
}

type Model = BTreeMap<Hash, (u64, usize)>;

/// All that is known is there; what else is there is in `also`, and is whole.
fn check(disk: &Disk, model: &Model, also: &BTreeSet<Hash>) {
    let listed = all(disk);
    assert!(listed.windows(2).all(|pair| pair[0].hash < pair[1].hash));
    assert_eq!(disk.usage().blocks, listed.len() as u64);
    let there: BTreeMap<Hash, u64> = listed.iter().map(|listed| (listed.hash, listed.seq)).collect();
    for (hash, (seq, n)) in model {
        assert_eq!(disk.get(hash).unwrap(), content(*n));
        match also.contains(hash) {
            true => assert!(there[hash] >= *seq),
            false => assert_eq!(there[hash], *seq),
        }
    }
    for listed in &listed {
        assert_eq!(disk.get(&listed.hash).unwrap().len(), listed.size as usize);
        assert!(model.contains_key(&listed.hash) || also.contains(&listed.hash), "{} is there", listed.hash);
    }
}

/// The folder as a power cut may leave it in a put: the index does not know of it, and of what was appended since `before` any
/// part is on the disk.
fn cut(before: &Temp, after: &Temp, random: &mut StdRng) -> Temp {
    let image = before.copy();
    let old = before.segments();
    for (path, length) in after.segments() {
        let known = old.get(&before.0.join(path.file_name().unwrap())).copied().unwrap_or(0);
        let target = image.0.join(path.file_name().unwrap());
        fs::copy(&path, &target).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&target).unwrap();
        let end = random.random_range(known..=length);
        file.set_len(end).unwrap();
        for _ in 0..random.random_range(0..3) {
            let at = random.random_range(known..=end);
            let zeros = vec![0; usize::try_from((end - at).min(512)).unwrap()];
            file.write_all_at(&zeros, at).unwrap();
        }
    }
    image
}

/// Anything that can be done, in any order, and cut off.
#[test]
fn whatever_happens_what_was_answered_is_there() {
    let mut random = StdRng::seed_from_u64(seed());
    for _ in 0..4 {
        let segment = [4 << 10, 64 << 10, 1 << 20][random.random_range(0..3)];
        let folder = Temp::new();
        let mut disk = folder.open(segment);
        let (mut model, mut gone, mut last) = (Model::new(), BTreeSet::new(), 0);
        for _ in 0..100 {
            match random.random_range(0..20) {
                0..9 => {
                    let numbers: Vec<usize> =
                        (0..random.random_range(1..8)).map(|_| random.random_range(0..40)).collect();
                    let blocks: Vec<Vec<u8>> = numbers.iter().map(|n| content(*n)).collect();
                    let blocks: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
                    let before = (random.random_range(0..4) == 0).then(|| (folder.copy(), model.clone()));
                    for (n, stored) in numbers.iter().zip(disk.put(&blocks)) {
                        let stored = stored.unwrap();
                        assert_eq!(stored.hash, Hash::of(&content(*n)));
                        assert!(stored.seq > last, "{} after {last}", stored.seq);
                        last = stored.seq;
                        model.insert(stored.hash, (stored.seq, *n));
                    }
                    if let Some((before, known)) = before {
                        let image = cut(&before, &folder, &mut random);
                        let also = blocks.iter().map(|data| Hash::of(data)).collect();
                        let disk = image.open(segment);
                        check(&disk, &known, &also);
                        let newest = known.values().map(|(seq, _)| *seq).max().unwrap_or(0);
                        assert!(put(&disk, b"after the cut").seq > newest);
                        drop(disk);
                        let disk = image.open(segment);
                        assert_eq!(disk.get(&Hash::of(b"after the cut")).unwrap(), b"after the cut");
                    }
                }
                9..15 => {
                    let some: Vec<(Hash, u64)> = model
                        .iter()
                        .filter(|_| random.random_range(0..4) == 0)
                        .map(|(hash, (seq, _))| (*hash, *seq))
                        .collect();
                    let stale = model.iter().next().map(|(hash, (seq, _))| (*hash, seq - 1));
                    let asked: Vec<(Hash, u64)> = some.iter().copied().chain(stale).collect();
                    let answer: BTreeSet<Hash> = disk.delete(&asked).unwrap().into_iter().collect();
                    for (hash, _) in &some {
                        model.remove(hash);
                        gone.insert(*hash);
                        assert_eq!(disk.get(hash), Err(Error::NotFound));
                    }
                    assert_eq!(
                        answer,
                        asked.iter().map(|(hash, _)| *hash).filter(|hash| !model.contains_key(hash)).collect()
                    );
                }
                15..17 => {
                    let more = disk.tend().unwrap();
                    if more && random.random_range(0..2) == 0 {
                        tend(&disk);
                    }
                }
                17 => {
                    drop(disk);
                    disk = folder.open(segment);
                    check(&disk, &model, &BTreeSet::new());
                }
                18 => {
                    // Not closed: as after kill -9.
                    let image = folder.copy();
                    check(&image.open(segment), &model, &BTreeSet::new());
                }
                _ => {
                    let image = folder.copy();
                    image.lose_index();
                    let disk = image.open(segment);
                    let back = gone.iter().filter(|hash| !model.contains_key(hash)).copied().collect();
                    check(&disk, &model, &back);
                    let none = put(&disk, b"after the loss").seq;
                    assert!(none > last, "{none} after {last}");
                }
            }
        }
        check(&disk, &model, &BTreeSet::new());
    }
}

#[test]
fn a_changed_byte_is_rotten_and_a_put_heals_it() {
    let folder = Temp::new();
    let disk = folder.open(1 << 20);
    let stored = put(&disk, &content(5));
    let path = folder.segments().into_keys().next().unwrap();
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
    // From the block's header, after that of the segment; not what fills the record up.
    for at in (64..128 + content(5).len()).step_by(11) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at as u64).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at as u64).unwrap();
        assert_eq!(disk.get(&stored.hash), Err(Error::Rotten), "{at} of {length}");
        file.write_all_at(&byte, at as u64).unwrap();
    }
    assert_eq!(disk.get(&stored.hash).unwrap(), content(5));
    file.write_all_at(b"rotten", 200).unwrap();
    let again = put(&disk, &content(5));
    assert!(again.seq > stored.seq);
    assert_eq!(disk.get(&stored.hash).unwrap(), content(5));
    assert_eq!(disk.usage().blocks, 1);
    // The same after the file was cut.
    file.set_len(300).unwrap();
    assert_eq!(disk.get(&stored.hash), Err(Error::Rotten));
}

#[test]
fn compaction_keeps_what_has_no_readable_header() {
    let folder = Temp::new();
    let disk = folder.open(64 << 10);
    let stored: Vec<Stored> = (0..40).map(|n| put(&disk, &[n; 4096])).collect();
    // The second block of the first segment, and the bytes of the third.
    let first = folder.segments().into_keys().next().unwrap();
    let file = fs::OpenOptions::new().write(true).open(first).unwrap();
    file.write_all_at(&[0; 64], 64 + 4160).unwrap();
    file.write_all_at(&[0; 64], 64 + 3 * 4160 - 100).unwrap();
    let most: Vec<(Hash, u64)> = stored[3..14].iter().map(|stored| (stored.hash, stored.seq)).collect();
    disk.delete(&most).unwrap();
    tend(&disk);
    assert_eq!(disk.get(&stored[0].hash).unwrap(), [0; 4096]);
    // Its bytes were good, and have a header again.
    assert_eq!(disk.get(&stored[1].hash).unwrap(), [1; 4096]);
    assert_eq!(disk.get(&stored[2].hash), Err(Error::Rotten));
    assert_eq!(disk.get(&stored[3].hash), Err(Error::NotFound));
    assert_eq!(all(&disk).len(), 40 - 11);
}

#[test]
fn space_comes_back() {
    let folder = Temp::new();
    let disk = folder.open(1 << 20);
    // Large ones at once.
    let large: Vec<Stored> = (0..8_u8).map(|n| put(&disk, &vec![n; 1 << 20])).collect();
    let full = (disk.usage().used, folder.taken());
    assert!(full.0 > 8 << 20 && full.1 > 8 << 20);
    let some: Vec<(Hash, u64)> = large[1..].iter().map(|stored| (stored.hash, stored.seq)).collect();
    assert_eq!(disk.delete(&some).unwrap().len(), 7);
    assert!(disk.usage().used < 2 << 20, "{:?}", disk.usage());
    assert!(folder.taken() < 2 << 20, "{}", folder.taken());
    // Small ones when they are tended, and the files with them.
    let small: Vec<Stored> = (0..1000_u32).map(|n| put(&disk, &[n.to_le_bytes(); 1000].concat())).collect();
    let most: Vec<(Hash, u64)> =
        small.iter().enumerate().filter(|(n, _)| n % 10 != 0).map(|(_, stored)| (stored.hash, stored.seq)).collect();
    disk.delete(&most).unwrap();
    tend(&disk);
    let used = disk.usage().used;
    assert!(used < (1 << 20) + 2 * 100 * 4200 + (1 << 20), "{used}");
    assert!(folder.segments().len() <= 4, "{:?}", folder.segments());
    assert_eq!(disk.usage().blocks, 101);
    assert_eq!(disk.get(&large[0].hash).unwrap(), vec![0; 1 << 20]);
}

#[test]
fn not_over_its_capacity_and_room_again_after_deletes() {
    let folder = Temp::new();
    let disk = Disk::with_segments(&folder.0, 1 << 20, 256 << 10).unwrap();
    let mut stored = Vec::new();
    let mut n = 0_u32;
    for _ in 0..3 {
        loop {
            n += 1;
            match disk.put(&[&[n.to_le_bytes(); 1000].concat()]).remove(0) {
                Ok(put) => stored.push(put),
                Err(error) => break assert_eq!(error, Error::Full),
            }
        }
        assert!(disk.usage().used <= 1 << 20);
        assert!(stored.len() > 180, "{}", stored.len());
        // What is there gets its new seq all the same.
        let first = disk.get(&stored[0].hash).unwrap();
        stored[0] = put(&disk, &first);
        let half: Vec<Stored> = stored.drain(..100).collect();
        let half: Vec<(Hash, u64)> = half.iter().map(|stored| (stored.hash, stored.seq)).collect();
        assert_eq!(disk.delete(&half).unwrap().len(), 100);
        tend(&disk);
    }
    assert!(stored.iter().all(|stored| disk.get(&stored.hash).is_ok()));
}

/// As a disk that fails: the file takes no writes, and cannot be cut back.
#[test]
fn a_segment_that_fails_is_left() {
    let folder = Temp::new();
    let disk = folder.open(1 << 20);
    let before = put(&disk, b"before");
    let path = folder.segments().into_keys().next().unwrap();
    if let Some(active) = &mut lock(&disk.writer).active {
        active.file = Arc::new(File::open(path).unwrap());
    }
    for answer in disk.put(&[b"one", b"two"]) {
        assert!(matches!(answer, Err(Error::Io(_))), "{answer:?}");
    }
    assert_eq!(disk.get(&Hash::of(b"one")), Err(Error::NotFound));
    let after = put(&disk, b"one");
    assert!(after.seq > before.seq + 2);
    assert_eq!(folder.segments().len(), 2);
    drop(disk);
    let disk = folder.open(1 << 20);
    assert_eq!(all(&disk).len(), 2);
    assert_eq!(disk.get(&before.hash).unwrap(), b"before");
}

#[test]
fn wrong_sizes_and_twice_in_one_call() {
    let folder = Temp::new();
    let disk = folder.open(1 << 20);
    let long = vec![1; (1 << 20) + 1];
    let answers = disk.put(&[b"", &long, b"x", b"x", &long[1..]]);
    assert!(matches!(answers[0], Err(Error::Io(_))) && matches!(answers[1], Err(Error::Io(_))));
    let (one, two) = (answers[2].clone().unwrap(), answers[3].clone().unwrap());
    assert!(two.seq > one.seq && one.hash == two.hash);
    assert_eq!(disk.get(&Hash::of(&long[1..])).unwrap(), &long[1..]);
    // The first put's seq deletes nothing any more.
    assert_eq!(disk.delete(&[(one.hash, one.seq)]).unwrap(), []);
    assert_eq!(disk.delete(&[(one.hash, two.seq), (Hash([9; 32]), 1)]).unwrap(), [one.hash, Hash([9; 32])]);
}

#[test]
fn one_process_and_its_owner_alone() {
    let folder = Temp::new();
    let disk = folder.open(1 << 20);
    put(&disk, b"x");
    let refused = Disk::open(&folder.0, 1 << 30).err().unwrap();
    assert!(refused.contains("another process uses these blocks"), "{refused}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.0), 0o700);
    for file in fs::read_dir(&folder.0).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
}

#[test]
fn a_lost_or_broken_index_or_key() {
    let folder = Temp::new();
    let stored = put(&folder.open(1 << 20), b"words");
    let index = folder.0.join(index::FILE);
    fs::write(&index, b"this is no database, and long enough that it would be one").unwrap();
    assert_eq!(folder.open(1 << 20).get(&stored.hash).unwrap(), b"words");
    // The index has the key too.
    fs::remove_file(folder.0.join("store.key")).unwrap();
    assert_eq!(folder.open(1 << 20).get(&stored.hash).unwrap(), b"words");
    assert!(folder.0.join("store.key").exists());
    // Without both, nothing is made up.
    fs::remove_file(folder.0.join("store.key")).unwrap();
    folder.lose_index();
    let refused = Disk::open(&folder.0, 1 << 30).err().unwrap();
    assert!(refused.contains("neither the index nor the key"), "{refused}");
}

#[test]
fn many_threads_at_once() {
    let folder = Temp::new();
    let disk = folder.open(64 << 10);
    let kept: Vec<Stored> = (0..20).map(|n| put(&disk, &content(n))).collect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                disk.tend().unwrap();
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    for (n, stored) in kept.iter().enumerate() {
                        assert_eq!(disk.get(&stored.hash).unwrap(), content(n));
                    }
                }
            });
        }
        let writers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    // Both put and delete the same: what is put last is there, whoever deletes what was before.
                    for round in 0..60 {
                        let data = content(100 + round % 7);
                        let stored = put(&disk, &data);
                        let gone = disk.delete(&[(stored.hash, stored.seq)]).unwrap();
                        if gone.is_empty() {
                            let listed = all(&disk).into_iter().find(|listed| listed.hash == stored.hash);
                            assert!(listed.is_none_or(|listed| listed.seq > stored.seq));
                        }
                    }
                })
            })
            .collect();
        let ends: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(ends.iter().all(Result::is_ok));
    });
    assert_eq!(disk.usage().blocks, 20);
    tend(&disk);
    assert!(kept.iter().enumerate().all(|(n, stored)| disk.get(&stored.hash).unwrap() == content(n)));
}

#[test]
fn a_store_that_is_held_is_copied_whole_while_it_is_written_to() {
    let temp = Temp::new();
    let disk = temp.open(200_000);
    let stored: Vec<Stored> = (0..60).map(|n| put(&disk, &content(n))).collect();
    let (gone, stay) = stored.split_at(30);
    let names = |stored: &[Stored]| stored.iter().map(|block| (block.hash, block.seq)).collect::<Vec<_>>();
    disk.delete(&names(&gone[..20])).unwrap();
    let hold = snapshot::Hold::take(&temp.0).unwrap();
    // From now on nothing goes, and what comes is behind.
    assert_eq!(disk.delete(&names(&gone[20..])), Err(Error::Held));
    let segments = temp.segments();
    tend(&disk);
    assert_eq!(temp.segments(), segments);
    let copying = hold.begin().unwrap();
    let listed = all(&disk);
    let late: Vec<Stored> = (100..140).map(|n| put(&disk, &content(n))).collect();
    let (to, moved) = (Temp::new(), AtomicU64::new(0));
    fs::create_dir_all(&to.0).unwrap();
    let count = |bytes| {
        moved.fetch_add(bytes, Ordering::Relaxed);
    };
    copying.copy(&to.0, &count).unwrap();
    assert_eq!(moved.into_inner(), copying.bytes());
    assert!(to.taken() <= segments.values().sum::<u64>());
    drop(copying);
    drop(hold);
    assert_eq!(disk.delete(&names(gone)).unwrap().len(), gone.len());
    let copy = to.open(200_000);
    assert_eq!(all(&copy), listed);
    for block in gone[20..].iter().chain(stay) {
        assert_eq!(copy.get(&block.hash).map(|data| Hash::of(&data)), Ok(block.hash));
    }
    assert!(late.iter().all(|block| disk.get(&block.hash).is_ok()));
    assert!(put(&copy, b"new").seq > stored[59].seq);
}
