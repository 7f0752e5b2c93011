//! The executable: flags → configuration → roles → signal → exit status.

#![forbid(unsafe_code)]

use std::io::IsTerminal;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::sync::Arc;

use argh::FromArgs;
use async_signal::Signal;
use async_signal::Signals;
use convergia::cli;
use convergia::config;
use convergia::config::Config;
use convergia::config::Overrides;
use convergia::engine::files;
use convergia::engine::net::io;
use convergia::engine::rt;
use convergia::node::Node;

/// Convergia: a communications network in one executable. Without a command it runs the server roles on this
/// machine and prints where to go next.
#[derive(FromArgs)]
#[argh(
    example = "{command_name}\n  every role on this machine, on loopback",
    example = "{command_name} --config convergia.toml --bind 0.0.0.0",
    example = "{command_name} chat\n  talk, in another terminal",
    note = "`{command_name} COMMAND --help` tells about a command.",
    error_code(0, "done"),
    error_code(1, "refused; the reason is on standard error"),
    error_code(2, "wrong usage, or a bad configuration")
)]
struct Args {
    /// a role to run: management, main (repeatable; default: every role)
    #[argh(option)]
    role: Vec<String>,
    /// the configuration file; convergia.toml.example shows every key
    #[argh(option)]
    config: Option<PathBuf>,
    /// where data is kept
    #[argh(option)]
    data_dir: Option<PathBuf>,
    /// KEY=VALUE, as in the file, for example management.registration=open (repeatable)
    #[argh(option)]
    set: Vec<String>,
    /// the address of every listener (default: 127.0.0.1)
    #[argh(option)]
    bind: Option<String>,
    /// every listener on a free port
    #[argh(switch)]
    any_port: bool,
    /// written when everything is ready: roles, addresses, as JSON
    #[argh(option)]
    ready_file: Option<PathBuf>,
    /// check the configuration and exit
    #[argh(switch)]
    check: bool,
    /// print the version and exit
    #[argh(switch)]
    version: bool,
    #[argh(subcommand)]
    command: Option<cli::Command>,
}

/// All of it; public for the build that tests use.
pub fn main() -> ExitCode {
    let words: Vec<String> = match std::env::args_os().map(std::ffi::OsString::into_string).collect() {
        Ok(words) => words,
        Err(word) => return wrong_usage(&format!("not UTF-8: {}\n", word.display())),
    };
    let name = words.first().map_or("convergia", |word| word.rsplit('/').next().unwrap_or("convergia"));
    let rest: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
    let args = match Args::from_args(&[name], &rest) {
        Ok(args) => args,
        Err(exit) if exit.status.is_ok() => {
            println!("{}", exit.output);
            return ExitCode::SUCCESS;
        }
        Err(exit) => return wrong_usage(&exit.output),
    };
    if args.version {
        println!("convergia {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    match args.command {
        Some(command) => cli::run(command),
        None => serve(args, words.first().map_or("convergia", String::as_str)),
    }
}

fn wrong_usage(text: &str) -> ExitCode {
    eprint!("{text}");
    ExitCode::from(2)
}

fn serve(args: Args, program: &str) -> ExitCode {
    let overrides = Overrides {
        config: args.config,
        data_dir: args.data_dir,
        set: args.set,
        bind: args.bind,
        any_port: args.any_port,
        roles: args.role,
    };
    let config = match config::load(&overrides) {
        Ok(config) => config,
        Err(error) => return wrong_usage(&format!("{error}\n")),
    };
    if args.check {
        println!("the configuration is good");
        return ExitCode::SUCCESS;
    }
    env_logger::Builder::new().parse_filters(&std::env::var("RUST_LOG").unwrap_or_else(|_| config.log.clone())).init();
    // Half a state is worse than a restart: a panic in any task or thread ends the process.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
    match run(config, &overrides, args.ready_file, program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("convergia: {error}");
            ExitCode::from(1)
        }
    }
}

fn run(config: Config, overrides: &Overrides, ready_file: Option<PathBuf>, program: &str) -> Result<(), String> {
    raise_open_files();
    rt::set_up();
    io::set_threads(config.engine.threads);
    let (send, signals) = mpsc::channel();
    let mut caught = Signals::new([Signal::Term, Signal::Int, Signal::Hup]).map_err(|error| error.to_string())?;
    let started = Arc::new(AtomicBool::new(false));
    let has_started = Arc::clone(&started);
    rt::spawn(async move {
        while let Some(Ok(signal)) = rt::StreamExt::next(&mut caught).await {
            // A start may wait long, for a network that it joins; what is written is whole, and nobody has signed on.
            if signal != Signal::Hup && !has_started.load(Ordering::Acquire) {
                log::info!("stopping before the start is done");
                std::process::exit(0);
            }
            if send.send(signal).is_err() {
                return;
            }
        }
    });
    let mut node = Node::start(config)?;
    started.store(true, Ordering::Release);
    if let Some(path) = ready_file {
        files::replace(&path, node.ready()?.as_bytes(), 0o644).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    // Nobody has to read it.
    let _ = std::io::stdout().write_all(node.welcome(program)?.as_bytes());
    // This thread only waits: if it drove the runtime too, every wake-up would have two threads to choose from.
    // Started in a terminal that was closed since: that is no request to load the configuration again.
    let terminal = std::io::stdin().is_terminal();
    while let Ok(Signal::Hup) = signals.recv() {
        if terminal && !std::io::stdin().is_terminal() {
            break;
        }
        match config::load(overrides).map_err(|error| error.to_string()).and_then(|fresh| node.reload(fresh)) {
            Ok(()) => {}
            Err(error) => log::error!("reload: {error}; what was in force stays"),
        }
    }
    log::info!("stopping");
    rt::block_on(node.stop());
    Ok(())
}

/// As many connections as the system lets this user have.
fn raise_open_files() {
    use rustix::process::getrlimit;
    use rustix::process::setrlimit;
    use rustix::process::Resource;
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        log::warn!("cannot raise the number of open files: {error}");
    }
}
