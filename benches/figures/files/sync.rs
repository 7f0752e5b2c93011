//! How many syncs small durable writes cost. strace counts them; it makes the server slower meanwhile.

use std::fs;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use rustix::process::kill_process;
use rustix::process::Pid;
use rustix::process::Signal;

use super::others;
use super::Storage;
use super::PASSWORD;
use super::USER;
use crate::account;
use crate::account::Proof;
use crate::account::Talk;
use crate::table::goal;
use crate::table::Table;
use crate::tls;
use crate::Options;
use crate::Result;

/// One link has at most 256 requests under way: the writes are spread over these.
const LINKS: usize = 8;
const WRITES: usize = 125;
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints one table.
pub fn run(options: &Options) -> Result<()> {
    if let Some(missing) = others::missing(&["strace"]) {
        println!("\nSmall writes: left out; not installed: {missing}");
        return Ok(());
    }
    let rounds = if options.quick { 2 } else { 10 };
    let storage = Storage::start("files-sync")?;
    let config = tls::client()?;
    let mut talks = Vec::new();
    for _ in 0..LINKS {
        talks.push(account::sign_on(&config, &storage.server.ports, USER, Proof::Password(PASSWORD))?);
    }
    let path = |link: usize, file: usize| format!("/users/{USER}/file-{link}-{file}");
    each(&mut talks, "CREATEFILE", |link, file| vec![path(link, file)])?;
    let report = storage.scratch.path().join("strace");
    let mut strace = Command::new("strace");
    strace.args([
        "-f",
        "-c",
        "-U",
        "name,calls",
        "-e",
        "trace=fsync,fdatasync",
        "-p",
        &storage.server.pid().to_string(),
    ]);
    let strace = attach(strace.arg("-o").arg(&report).stderr(Stdio::null()).spawn()?, storage.server.pid())?;
    let begun = Instant::now();
    for round in 0..rounds {
        // Another kilobyte for each: the same would be stored once.
        let bytes = |link: usize, file: usize| format!("{:>1024}", format!("{round} {link} {file}"));
        each(&mut talks, "WRITEFILE", |link, file| vec![path(link, file), "0".to_owned(), bytes(link, file)])?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    detach(strace)?;
    let calls = fs::read_to_string(&report)?;
    let count = |line: &str| line.split_whitespace().find_map(|word| word.parse::<f64>().ok());
    let calls: f64 = calls.lines().filter(|line| line.contains("sync")).filter_map(count).sum();
    let writes = (rounds * LINKS * WRITES) as f64;
    let title = format!("{} concurrent WRITEFILEs of 1 KiB, {rounds} times; load {}", LINKS * WRITES, super::load());
    let mut table = Table::new(title, &["", "fsync and fdatasync", "per write", "goal", "writes/s, traced"]);
    let each = calls / writes;
    let verdict = goal(each, 0.05, "");
    table.row([
        String::from("Convergia"),
        calls.to_string(),
        format!("{each:.4}"),
        verdict,
        format!("{:.0}", writes / seconds),
    ]);
    table.print();
    storage.server.stop()
}

/// One request a file on every link, all at once.
fn each(talks: &mut [Talk], command: &str, fields: impl Fn(usize, usize) -> Vec<String> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = talks
            .iter_mut()
            .enumerate()
            .map(|(link, talk)| {
                let fields = &fields;
                scope.spawn(move || {
                    talk.ask_all(command, &(0..WRITES).map(|file| fields(link, file)).collect::<Vec<_>>())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread of the load has panicked")?)
    })
}

/// Waits until every thread of the server is traced.
fn attach(mut strace: Child, server: u32) -> Result<Child> {
    let begun = Instant::now();
    loop {
        let mut all = true;
        for thread in fs::read_dir(format!("/proc/{server}/task"))? {
            let status = fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
            all &= !status.contains("TracerPid:\t0\n");
        }
        if all {
            return Ok(strace);
        }
        if strace.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
            let _ = strace.kill();
            let _ = strace.wait();
            return Err("strace may not trace the server here".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn detach(mut strace: Child) -> Result<()> {
    let pid = i32::try_from(strace.id()).ok().and_then(Pid::from_raw).ok_or("no such pid")?;
    kill_process(pid, Signal::INT)?;
    strace.wait()?;
    Ok(())
}
