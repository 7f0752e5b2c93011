//! The servers that are measured, each a process of its own.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use rustix::process::kill_process;
use rustix::process::Pid;
use rustix::process::Signal;
use rustls::ClientConfig;

use crate::account::Ports;
use crate::account::Talk;
use crate::load::Load;
use crate::Result;

/// The hidden argument that makes this executable the bare relay.
pub const SERVE_BARE: &str = "--serve-bare";
/// How long a server may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much of a server's log is shown when something went wrong.
const LOG_LINES: usize = 20;

/// A server process; killed when it is dropped.
struct Process(Child);

impl Process {
    /// SIGTERM, and the end; killed if it does not come.
    fn stop(&mut self) -> Result<()> {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).ok_or("no such pid")?;
        kill_process(pid, Signal::TERM)?;
        let begun = Instant::now();
        while self.0.try_wait()?.is_none() {
            if begun.elapsed() > PATIENCE {
                return Err("the server does not end on SIGTERM".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// The bare relay.
pub struct Bare {
    process: Process,
    address: SocketAddr,
}

impl Bare {
    /// Starts it.
    pub fn start() -> Result<Bare> {
        let mut command = Command::new(std::env::current_exe()?);
        let child = command.arg(SERVE_BARE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut process = Process(child);
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, line.trim().parse()?));
        Ok(Bare { process, address })
    }

    /// Of the process.
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Connects client `number` and adds it to `load`.
    pub fn connect(&self, config: &Arc<ClientConfig>, load: &mut Load, number: u64, name: &str) -> Result<()> {
        let mut talk = Talk::open(config, self.address)?;
        talk.hello(number)?;
        let (channel, inbox) = talk.into_channel()?;
        load.add(channel, inbox, name)
    }
}

/// A directory that is removed with all that is in it when it is dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new, empty one.
    pub fn new(name: &str) -> Result<Scratch> {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("figures-{}-{name}", std::process::id()));
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir_all(&path)?;
        Ok(Scratch(path))
    }
}

impl Scratch {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A Convergia server with all its roles.
pub struct Convergia {
    process: Process,
    log: PathBuf,
    /// Where it listens.
    pub ports: Ports,
    /// The doors of its realm: over TLS, and for browsers.
    pub realm: SocketAddr,
    pub web: SocketAddr,
    /// KV control.
    pub voice: SocketAddr,
    /// What clients are given: `convergia://…`.
    pub url: String,
}

impl Convergia {
    /// Starts it on `scratch`, which it finds again as it left it.
    pub fn start(scratch: &Scratch) -> Result<Convergia> {
        Convergia::start_with(scratch, &[])
    }

    /// The same, with more arguments.
    pub fn start_with(scratch: &Scratch, more: &[&str]) -> Result<Convergia> {
        let (ready, log) = (scratch.0.join("ready.json"), scratch.0.join("server.log"));
        if ready.exists() {
            fs::remove_file(&ready)?;
        }
        let output = fs::File::create(&log)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_convergia"));
        command.arg("--data-dir").arg(scratch.0.join("data")).arg("--any-port");
        command.arg("--ready-file").arg(&ready).args(["--set", "management.registration=open"]).args(more);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let mut process = Process(command.spawn()?);
        let begun = Instant::now();
        while !ready.exists() {
            if process.0.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                return Err(format!("convergia does not start: {}", fs::read_to_string(&log)?).into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let ready: serde_json::Value = serde_json::from_str(&fs::read_to_string(&ready)?)?;
        let port = |key: &str| -> Result<SocketAddr> {
            let address = ready["listen"][key].as_str().ok_or_else(|| format!("the ready file has no {key}"))?;
            Ok(address.parse()?)
        };
        let ports = Ports {
            public_management: port("public_management")?,
            client_management: port("client_management")?,
            validation: port("validation")?,
        };
        let url = ready["management"].as_str().ok_or("the ready file has no URL")?.to_owned();
        let (realm, web, voice) = (port("realm")?, port("web")?, port("voice_control")?);
        Ok(Convergia { process, log, ports, realm, web, voice, url })
    }

    /// Of the process.
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Ends it the way an operator does.
    pub fn stop(mut self) -> Result<()> {
        self.process.stop()
    }
}

impl Drop for Convergia {
    /// When the bench gives up in the middle, the server may know why.
    fn drop(&mut self) {
        if matches!(self.process.0.try_wait(), Ok(Some(status)) if status.success()) {
            return;
        }
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
        eprintln!("figures: the server did not end well; the end of its log:\n{}", tail.join("\n"));
    }
}
