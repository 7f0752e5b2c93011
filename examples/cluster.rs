//! A network of real processes for tests of your own, on free ports and in temporary folders: management, where anyone may
//! register, and MAINS main servers (3 unless said otherwise; 0: both roles in one process). Either runs COMMAND beside it and
//! ends with its exit status, or waits for Ctrl-C. docs/testing.md tells more.
//!
//! ```text
//! cargo build --bin convergia
//! cargo run --example cluster -- [MAINS] [COMMAND …]
//! ```

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::Command;
use std::process::ExitCode;

use async_signal::Signal;
use async_signal::Signals;
use convergia::engine::rt;
use convergia::engine::rt::StreamExt;

use support::Cluster;
use support::Plan;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).peekable();
    let mains: usize = match args.peek().map(|count| count.parse()) {
        Some(Ok(count)) => {
            args.next();
            count
        }
        _ => 3,
    };
    rt::set_up();
    // Before anything is started: Ctrl-C ends the command and the servers by itself, and this ends in good order.
    let mut signals = Signals::new([Signal::Int, Signal::Term]).expect("signals can be caught");
    let names: Vec<String> = (1..=mains).map(|n| format!("main{n}")).collect();
    let both = Plan::new("main1", &["management", "main"]).set("management.registration=open");
    let builder = match mains {
        0 => Cluster::builder().node(both),
        _ => Cluster::builder().management().mains(&names.iter().map(String::as_str).collect::<Vec<_>>()),
    };
    let cluster = builder.start();
    let data_dir = cluster.management().data_dir().to_owned();
    println!("{}", cluster.url());
    println!("ready after {:?}; for the operator: convergia admin --data-dir {}", cluster.took(), data_dir.display());
    for name in cluster.names() {
        println!("{name}: process {}, {}", cluster.server(name).pid(), cluster.server(name).ready()["listen"]);
    }
    let code = match args.next() {
        Some(program) => {
            let mut command = Command::new(&program);
            command.args(args).env("CONVERGIA_URL", cluster.url()).env("CONVERGIA_DATA_DIR", &data_dir);
            let status = command.status().unwrap_or_else(|error| panic!("{program}: {error}"));
            status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
        }
        None => {
            rt::block_on(signals.next());
            0
        }
    };
    cluster.stop();
    ExitCode::from(code)
}
