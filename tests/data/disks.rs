//! Disks that fill up or break under a data server that runs. Only root may make such disks; each test has a mount namespace of its own.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::bytes;
use crate::sometime;
use crate::status;
use crate::support::Cluster;
use crate::support::Plan;
use crate::support::Raw;
use crate::support::TempDir;

/// Where the disk of the test is mounted, for the test that another one starts.
const DISK: &str = "CVG_DISK";
const BLOCK: usize = 512 << 10;

/// Runs a test of this program once more, where `mounts` was done before. `$0` is a new folder.
fn with_disk(test: &str, mounts: &str) {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "only root makes disks");
        println!("NOT RUN: only root makes disks");
        return;
    }
    let temp = TempDir::new();
    let script = format!("{mounts}\nexec \"$1\" --exact disks::{test} --ignored --nocapture --test-threads 1");
    let program = std::env::current_exe().expect("this program");
    let output = Command::new("unshare")
        .args(["-m", "sh", "-euc", &script])
        .args([temp.path(), &program])
        .env(DISK, temp.path())
        .output()
        .expect("unshare");
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", words(&output.stdout), words(&output.stderr));
    // One that was not run is no success.
    assert!(words(&output.stdout).contains("1 passed"), "{}", words(&output.stdout));
}

fn disk() -> PathBuf {
    PathBuf::from(std::env::var_os(DISK).expect("started by another test"))
}

/// A data server that keeps its blocks there, and would take more than the disk does.
fn on(folder: &Path, name: &str) -> Plan {
    Plan::new(name, &["data"]).set(&format!("data.folder={}", folder.display())).set("data.capacity=1 GiB")
}

fn path(n: usize) -> String {
    format!("/users/alice/{n}")
}

/// Writes files of a block each, many at a time; all are answered OK.
#[track_caller]
fn write(link: &mut Raw, numbers: std::ops::Range<usize>) {
    for n in numbers.clone() {
        link.send(&format!("c{n}"), "CREATEFILE", &[path(n).as_bytes()]);
        link.send(&format!("w{n}"), "WRITEFILE", &[path(n).as_bytes(), b"0", &bytes(n, BLOCK)]);
    }
    for n in numbers {
        link.answer(&format!("c{n}")).ok();
        link.answer(&format!("w{n}")).ok();
    }
}

#[track_caller]
fn check(link: &mut Raw, numbers: std::ops::Range<usize>) {
    for n in numbers {
        let read = sometime(link, "READFILE", &[path(n).as_bytes(), b"0", b"1048576"]).ok();
        assert!(read == bytes(n, BLOCK), "{n} is {} bytes", read.len());
    }
}

/// Takes all that is left, to the last byte.
fn fill(file: &Path) {
    let mut filler = fs::File::create(file).expect("another file");
    while filler.write(&[1; 64 << 10]).is_ok_and(|written| written > 0) {}
    while filler.write(&[1]).is_ok_and(|written| written > 0) {}
}

#[test]
#[ignore = "a_full_disk runs it on a small one"]
fn fills_up() {
    let disk = disk();
    // 8 MiB are left free by the data server; so some 15 of these blocks fit, and later 40 more.
    let filler = disk.join("filler");
    fs::write(&filler, vec![1; 20 << 20]).expect("another file");
    let mut cluster = Cluster::builder()
        .management()
        .mains(&["main"])
        .node(Plan::new("dm", &["data-management"]).set("data_management.grace=1"))
        .node(on(&disk.join("blocks"), "small"))
        .node(Plan::new("large", &["data"]).set("data.capacity=1 GiB"))
        .start();
    let mut alice = cluster.sign_on("alice", "main");
    sometime(&mut alice, "LISTFOLDER", &[b"/users/alice"]).ok();
    cluster.until("both are there", || status(&cluster, "storage").matches(" blocks)").count() == 2);
    write(&mut alice, 0..100);
    cluster.server("dm").wait_for_log("small: a block was not put");
    check(&mut alice, 0..100);
    // To the last byte, by somebody else: it goes on reading.
    let more = disk.join("more");
    fill(&more);
    check(&mut alice, 0..100);
    write(&mut alice, 100..110);
    // With room it takes blocks again: there is no other.
    fs::remove_file(&more).expect("removing it");
    fs::remove_file(&filler).expect("removing it");
    cluster.kill("large");
    for n in 110..120 {
        sometime(&mut alice, "CREATEFILE", &[path(n).as_bytes()]).ok();
        sometime(&mut alice, "WRITEFILE", &[path(n).as_bytes(), b"0", &bytes(n, BLOCK)]).ok();
    }
    check(&mut alice, 110..120);
    cluster.start("large");
    check(&mut alice, 0..120);
    cluster.stop();
}

#[test]
fn a_full_disk() {
    with_disk("fills_up", "mount -t tmpfs -o size=36m none \"$0\"");
}

/// So that what is read next is read from the disk.
fn forget_what_was_read(folder: &Path) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            forget_what_was_read(&entry);
        } else if entry.extension().is_none_or(|end| !end.to_string_lossy().starts_with("db")) {
            let done = Command::new("dd")
                .args([&format!("if={}", entry.display()), "iflag=nocache", "count=0", "status=none"])
                .status();
            assert!(done.expect("dd").success());
        }
    }
}

#[test]
#[ignore = "a_disk_that_breaks runs it on one"]
fn breaks() {
    let (disk, back) = (disk().join("disk"), disk().join("back"));
    let mut builder = Cluster::builder().management().mains(&["main"]);
    builder = builder.node(Plan::new("dm", &["data-management"]).set("data_management.grace=1"));
    builder = builder.node(on(&disk.join("blocks"), "shaky").volatile());
    for name in ["one", "two", "three"] {
        builder = builder.node(Plan::new(name, &["data"]).volatile());
    }
    let mut cluster = builder.start();
    let mut alice = cluster.sign_on("alice", "main");
    sometime(&mut alice, "LISTFOLDER", &[b"/users/alice"]).ok();
    cluster.until("all are there", || status(&cluster, "storage").matches(" blocks)").count() == 4);
    write(&mut alice, 0..40);
    // The disk ends after its first MiB, and nothing more can be written: EIO.
    let image = fs::OpenOptions::new().write(true).open(back.join("image")).expect("the disk");
    image.set_len(1 << 20).expect("cut off");
    fill(&back.join("filler"));
    forget_what_was_read(&disk.join("blocks"));
    // Who has a copy of each elsewhere loses nothing, and others take what it cannot.
    write(&mut alice, 40..60);
    cluster.server("dm").wait_for_log("shaky: a block was not put");
    cluster.until("what it cannot read is copied anew", || {
        check(&mut alice, 0..60);
        let copied = status(&cluster, "repair");
        !copied.starts_with("0 ") && copied.contains("copied") && status(&cluster, "blocks with too few copies") == "0"
    });
    cluster.kill("shaky");
    cluster.until("all have three copies without it", || {
        !status(&cluster, "storage").contains("shaky") && status(&cluster, "blocks with too few copies") == "0"
    });
    check(&mut alice, 0..60);
    let info = alice.ask("GETINFO", &[&path(0)]).text();
    assert!(info.contains("copies|3"), "{info}");
    cluster.stop();
}

#[test]
fn a_disk_that_breaks() {
    if !Path::new("/dev/loop-control").exists() {
        println!(
            "NOT RUN: this kernel makes no disk out of a file; the simulation has data servers whose disk breaks, too"
        );
        return;
    }
    let mounts = "mkdir \"$0/back\" \"$0/disk\"
        mount -t tmpfs -o size=64m none \"$0/back\"
        truncate -s 256M \"$0/back/image\"
        mkfs.ext4 -q -F -m 0 \"$0/back/image\"
        mount -o loop \"$0/back/image\" \"$0/disk\"";
    with_disk("breaks", mounts);
}
