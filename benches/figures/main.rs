//! The figures of docs/performance.md: `cargo bench --bench figures -- [relay|idle|sockets|page|voice|signon|latency|hops|federation|redirect|signon-bytes|files …] [--quick]`.
//!
//! Servers run as processes of their own; all clients live in this one. Networks of several servers are those of the tests. `--self-check` puts the bare relay on both
//! sides of every comparison: what differs then is the bench's own error.

#![forbid(unsafe_code)]

mod account;
mod bare;
mod channel;
mod crowd;
mod federation;
mod files;
mod hops;
mod idle;
mod latency;
mod load;
mod measure;
mod page;
mod pairs;
mod pattern;
mod redirect;
mod relay;
mod signon;
mod signon_bytes;
mod sockets;
mod subject;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;
mod tally;
mod tls;
mod voice;

use std::process::ExitCode;

use rustix::process::getrlimit;
use rustix::process::setrlimit;
use rustix::process::Resource;
use rustix::process::Rlimit;

/// Errors are for people: they end the bench.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What the command line asks for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Fewer and shorter rounds: to see that all works, not to quote.
    pub quick: bool,
    /// The bare relay in place of Convergia.
    pub self_check: bool,
}

impl Options {
    /// What is measured.
    pub fn subject(&self) -> &'static str {
        match self.self_check {
            true => "bare relay again",
            false => "Convergia",
        }
    }
}

type Scenario = fn(&Options) -> Result<()>;
const SCENARIOS: [(&str, Scenario); 14] = [
    ("relay", relay::run),
    ("idle", idle::run),
    ("sockets", sockets::run),
    ("page", page::run),
    ("voice", voice::run),
    ("signon", signon::run),
    ("latency", latency::run),
    ("hops", hops::run),
    ("federation", federation::run),
    ("redirect", redirect::run),
    ("signon-bytes", signon_bytes::run),
    ("files-large", files::large),
    ("files-small", files::small),
    ("files-sync", files::sync),
];

fn main() -> ExitCode {
    match figures() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("figures: {error}");
            ExitCode::FAILURE
        }
    }
}

fn figures() -> Result<()> {
    let (mut options, mut chosen, mut bench) = (Options::default(), Vec::new(), false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            subject::SERVE_BARE => return bare::serve(),
            voice::SERVE_SENDTO => return voice::serve(false),
            voice::SERVE_SENDMMSG => return voice::serve(true),
            // cargo bench says so; cargo test, which has no use for figures, does not.
            "--bench" => bench = true,
            "--quick" => options.quick = true,
            "--self-check" => options.self_check = true,
            "files" => chosen.extend(SCENARIOS.iter().filter(|(name, _)| name.starts_with("files-"))),
            name => {
                let known = SCENARIOS.iter().find(|(known, _)| *known == name);
                let names = SCENARIOS.map(|(known, _)| known).join(", ");
                chosen.push(*known.ok_or_else(|| format!("{name}? {names}, --quick, --self-check"))?);
            }
        }
    }
    if !bench {
        println!("figures: run it with cargo bench");
        return Ok(());
    }
    if chosen.is_empty() {
        chosen.extend(SCENARIOS);
    }
    convergia::engine::rt::set_up();
    // Five thousand connections need as many descriptors, here and in the servers that inherit the limit.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    for (_, scenario) in chosen {
        scenario(&options)?;
    }
    Ok(())
}
