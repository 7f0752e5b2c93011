//! Files: `convergia put` and `get` beside what people copy files with today, in turns.

mod large;
pub mod others;
mod small;
mod sync;

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use rand::Rng;

use crate::account;
use crate::subject::Convergia;
use crate::subject::Scratch;
use crate::tls;
use crate::Options;
use crate::Result;

pub use large::run as large;
pub use small::run as small;
pub use sync::run as sync;

const USER: &str = "alice";
const PASSWORD: &str = "a long enough password";
/// The unit of /proc/PID/stat.
const TICK: f64 = 0.01;

/// What a command took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    /// Of the clock.
    pub seconds: f64,
    /// CPU of the command and all that it started, and of its server.
    pub cpu: (f64, f64),
}

/// A server with one user, who is signed on with the executable.
pub struct Storage {
    pub scratch: Scratch,
    pub server: Convergia,
}

impl Storage {
    fn start(name: &str) -> Result<Storage> {
        let scratch = Scratch::new(name)?;
        let server = Convergia::start(&scratch)?;
        account::register(&tls::client()?, &server.ports, USER, PASSWORD)?;
        Ok(Storage { scratch, server })
    }

    /// The executable as a user runs it.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_convergia"));
        command.args(arguments).args(["--server", &self.server.url, "--user", USER]);
        command.env("CONVERGIA_PASSWORD", PASSWORD).env("HOME", self.scratch.path());
        command.env("CONVERGIA_CLIENT_STATE", self.scratch.path().join("client.json")).current_dir(self.scratch.path());
        command
    }

    fn took(&self, arguments: &[&str]) -> Result<Took> {
        took(&mut self.command(arguments), self.server.pid())
    }
}

/// Runs a command to its end.
fn took(command: &mut Command, server: u32) -> Result<Took> {
    let (own, before, begun) = (ended_children()?, cpu_of_all(server)?, Instant::now());
    let output = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
    let seconds = begun.elapsed().as_secs_f64();
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{:?} failed: {words}", command.get_program()).into());
    }
    // What a server does for the client right behind its end counts too.
    std::thread::sleep(Duration::from_millis(200));
    Ok(Took { seconds, cpu: (ended_children()? - own, cpu_of_all(server)? - before) })
}

/// user, system, and both of the children that have ended; seconds.
fn times(pid: &str) -> Result<[f64; 4]> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/PID/stat has no name")?;
    let mut ticks = fields.split_whitespace().skip(11).map(|ticks| ticks.parse::<f64>().unwrap_or(0.0) * TICK);
    Ok(std::array::from_fn(|_| ticks.next().unwrap_or(0.0)))
}

/// CPU of the commands that this process has run; seconds.
fn ended_children() -> Result<f64> {
    let [_, _, user, system] = times("self")?;
    Ok(user + system)
}

/// CPU of a process and all that it has started; seconds.
fn cpu_of_all(pid: u32) -> Result<f64> {
    let own: f64 = times(&pid.to_string())?.iter().sum();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    // One that has ended meanwhile is counted with the parent.
    Ok(own + children.map(|child| cpu_of_all(child).unwrap_or(0.0)).sum::<f64>())
}

/// Writes a file of random bytes, which no compression makes smaller and no store has already.
fn random_file(path: &Path, bytes: usize) -> Result<()> {
    let (mut file, mut left) = (fs::File::create(path)?, bytes);
    let mut buffer = vec![0; left.min(1 << 20)];
    while left > 0 {
        let piece = &mut buffer[..left.min(1 << 20)];
        rand::rng().fill_bytes(piece);
        std::io::Write::write_all(&mut file, piece)?;
        left -= piece.len();
    }
    Ok(file.sync_all()?)
}

/// A tree of folders with files of 4 KiB.
fn random_tree(root: PathBuf, folders: usize, files: usize) -> Result<PathBuf> {
    for folder in 0..folders {
        let here = root.join(format!("folder-{folder:03}"));
        fs::create_dir_all(&here)?;
        for file in 0..files {
            let mut bytes = [0; 4096];
            rand::rng().fill_bytes(&mut bytes);
            fs::write(here.join(format!("file-{file:03}")), bytes)?;
        }
    }
    Ok(root)
}

/// The load of the machine in the last minute: figures of a busy one are not to be quoted.
fn load() -> String {
    fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next().unwrap_or_default().to_owned()
}

fn text(path: &Path) -> Result<&str> {
    Ok(path.to_str().ok_or("a path that is not UTF-8")?)
}

fn rounds(options: &Options) -> usize {
    if options.quick {
        1
    } else {
        3
    }
}
