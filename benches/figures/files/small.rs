//! Ten thousand files of 4 KiB: copying them, and listing them. On ext4 it takes ten times longer to make files soon after many were
//! deleted, so every round has fresh folders, and all are deleted at the end of the bench.

use std::fs;
use std::process::Command;

use super::others;
use super::Storage;
use super::Took;
use crate::measure::resident;
use crate::measure::Spread;
use crate::table::Table;
use crate::Options;
use crate::Result;

/// Prints one table.
pub fn run(options: &Options) -> Result<()> {
    if let Some(missing) = others::missing(&["rsync", "ssh", "sshd", "ssh-keygen"]) {
        println!("\nSmall files: left out; not installed: {missing}");
        return Ok(());
    }
    let (folders, files) = if options.quick { (10, 100) } else { (100, 100) };
    let count = folders * files;
    let storage = Storage::start("files-small")?;
    let folder = storage.scratch.path();
    let (sshd, shell) = others::sshd(&folder.join("ssh"))?;
    let rsync =
        |arguments: &[&str]| super::took(Command::new("rsync").args(["-r", "-e", &shell]).args(arguments), sshd.pid());
    let title = format!("{count} files of 4 KiB; load {} before", super::load());
    let (mut copied, mut listed) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let before = resident(storage.server.pid())?;
    for round in 0..super::rounds(options) {
        let tree = super::random_tree(folder.join(format!("tree-{round}")), folders, files)?;
        let (from, to) = (format!("{}/", tree.display()), format!("127.0.0.1:{}/copy-{round}/", folder.display()));
        let name = format!("copy-{round}");
        copied[0].push(rsync(&["--fsync", &from, &to])?);
        copied[1].push(storage.took(&["put", "-r", super::text(&tree)?, &name])?);
        listed[0].push(rsync(&["--list-only", &to])?);
        listed[1].push(storage.took(&["ls", "-R", &name])?);
    }
    let mut table = Table::new(title, &["", "seconds", "files/s", "over rsync", "CPU, s", "goal"]);
    for (what, [rsync, own], goal) in [("copy", copied, 2.0), ("list", listed, 1.0)] {
        table.row(row(&format!("{what}: rsync over ssh"), &rsync, None, count, goal));
        table.row(row(&format!("{what}: Convergia"), &own, Some(&rsync), count, goal));
    }
    table.print();
    let database = folder.join("data/data-management/database.sqlite");
    let all = (count * super::rounds(options)) as f64;
    let grown = resident(storage.server.pid())?.saturating_sub(before) as f64 / all;
    println!("  load {} behind; memory of the server grew by {grown:.0} bytes a file", super::load());
    storage.server.stop()?;
    // What is still in the write-ahead log goes where it belongs.
    rusqlite::Connection::open(&database)?.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    let each = fs::metadata(&database)?.len() as f64 / all;
    println!("  data management's database: {each:.0} bytes a file; goal <= 1024: {}", verdict(each <= 1024.0));
    Ok(())
}

fn verdict(met: bool) -> &'static str {
    if met {
        "met"
    } else {
        "MISSED"
    }
}

fn row(name: &str, took: &[Took], over: Option<&[Took]>, count: usize, goal: f64) -> [String; 6] {
    let seconds = Spread::of(took.iter().map(|took| took.seconds));
    let ratios = over.map(|over| Spread::of(took.iter().zip(over).map(|(own, other)| other.seconds / own.seconds)));
    [
        name.to_owned(),
        seconds.show(2),
        format!("{:.0}", count as f64 / seconds.median),
        ratios.map(|ratios| format!("{:.2}", ratios.median)).unwrap_or_default(),
        Spread::of(took.iter().map(|took| took.cpu.0 + took.cpu.1)).show(2),
        ratios.map(|ratios| format!(">= {goal}: {}", verdict(ratios.median >= goal))).unwrap_or_default(),
    ]
}
